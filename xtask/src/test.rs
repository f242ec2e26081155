//! `cargo xtask test`: everything that can be tested without Azure. The packaged tasks are tested too, so they are built first.

use anyhow::{Result, bail, ensure};

use crate::{package, shell};

/// How many seeds of faults by chance are run where time does not matter.
const SEEDS: &str = "1000";
/// More failed tests than this are no accident.
const ACCIDENTS: usize = 3;

/// Packages, then tests the whole workspace.
///
/// Four hundred tests start servers and programs beside each other; on a machine that is busy with other things one of them may starve.
/// What fails is therefore run once more, alone: it fails the run if it fails again, and is named if it does not.
pub fn run(all: bool) -> Result<()> {
    package::run()?;
    let failed = tested(all, &[])?;
    if failed.is_empty() {
        return Ok(());
    }
    ensure!(failed.len() <= ACCIDENTS, "{} tests failed: {}", failed.len(), failed.join(", "));
    eprintln!("\nonce more, alone: {}", failed.join(", "));
    let again = tested(all, &failed)?;
    ensure!(again.is_empty(), "failed twice: {}", again.join(", "));
    eprintln!("\nwarning: failed among the others and not alone, which wants a look: {}", failed.join(", "));
    Ok(())
}

/// Runs all tests, or only some, one after the other. Returns the names of those that failed.
fn tested(all: bool, only: &[String]) -> Result<Vec<String>> {
    let mut command = shell::cargo();
    if all {
        // The test of `az` says aloud that it skips without the second.
        command.env("DTL_CHAOS_RUNS", SEEDS).env("DTL_TEST_ALL", "1");
    }
    command.args(["test", "--workspace", "--quiet", "--no-fail-fast"]);
    if !only.is_empty() {
        command.args(["--", "--test-threads=1", "--exact"]).args(only);
    }
    let (status, said) = shell::run_and_read(&mut command)?;
    let failed = failures(&said);
    if !status.success() && failed.is_empty() {
        bail!("the tests ended with {status}");
    }
    Ok(failed)
}

/// The names that the test programs list at their ends.
fn failures(said: &str) -> Vec<String> {
    let mut failed = Vec::new();
    let mut is_list = false;
    for line in said.lines() {
        match line.strip_prefix("    ") {
            _ if line == "failures:" => is_list = true,
            Some(name) if is_list => failed.push(name.to_owned()),
            _ if line.is_empty() => {}
            _ => is_list = false,
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::failures;

    #[test]
    fn failed_tests_are_those_of_the_lists_at_the_end() {
        let said = "...F\nfailures:\n\n---- a::b stdout ----\n\nthread 'a::b' panicked at x.rs:1:1:\n    no name\n\n\nfailures:\n    a::b\n    src/lib.rs - c (line 3)\n\n\
            test result: FAILED. 1 passed; 2 failed\n\nrunning 1 test\n.\ntest result: ok. 1 passed\n";
        assert_eq!(failures(said), ["a::b", "src/lib.rs - c (line 3)"]);
        assert!(failures("running 1 test\n.\ntest result: ok. 1 passed\n").is_empty());
    }
}
