//! `cargo xtask test`: everything that can be tested without Azure. The packaged tasks are tested too, so they are built first.

use anyhow::Result;

use crate::{package, shell};

/// How many seeds of faults by chance are run where time does not matter.
const SEEDS: &str = "1000";

/// Packages, then tests the whole workspace.
pub fn run(all: bool) -> Result<()> {
    package::run()?;
    let mut command = shell::cargo();
    if all {
        // The test of `az` says aloud that it skips without the second.
        command.env("DTL_CHAOS_RUNS", SEEDS).env("DTL_TEST_ALL", "1");
    }
    shell::run(command.args(["test", "--workspace", "--quiet"]))
}
