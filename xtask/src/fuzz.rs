//! `cargo xtask fuzz`: libFuzzer on every target of `src/fuzzing.rs`, seeded from our own files and from real ones.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// The targets, and what their corpora are seeded from: folders or files, and how the names of their files end. `../shared/data` may be absent.
const TARGETS: [(&str, &[(&str, &str)]); 9] = [
    ("template", &[("examples", ".json"), ("../shared/data/arm-corpus", ".json")]),
    ("overrides", &[("fuzz/seeds/overrides", "")]),
    ("logging_command", &[("fuzz/seeds/logging_command", ""), ("tests/snapshots", ".snap")]),
    ("pipeline", &[("examples", ".yml")]),
    ("labs", &[("examples", "Labs.json"), ("examples", "factory.json"), ("../shared/data/arm-corpus", "Labs.json")]),
    ("arm_error", &[("fuzz/seeds/arm_error", ""), ("../shared/data/traces", ".json")]),
    ("retry_after", &[("fuzz/seeds/retry_after", "")]),
    ("long_running", &[("fuzz/seeds/long_running", "")]),
    ("emulator", &[("fuzz/seeds/emulator", ""), ("../shared/data/swagger-examples", ".json")]),
];

/// A larger seed teaches a fuzzer little and slows it down.
const LARGEST_SEED: u64 = 64 * 1024;

/// Fuzzes for so many seconds each. What makes a target fail is kept in `fuzz/found`, where the tests run it from then on.
pub fn run(seconds: u32, only: Option<&str>) -> Result<()> {
    let targets: Vec<_> = TARGETS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).collect();
    if targets.is_empty() {
        bail!("there is no target '{}': {}", only.unwrap_or_default(), TARGETS.map(|(name, _)| name).join(", "));
    }
    if Command::new("cargo-fuzz").arg("--version").output().is_err() {
        shell::run(shell::cargo().args(["install", "--locked", "--quiet", "cargo-fuzz"]))?;
    }
    let mut table = "| target | seconds | inputs tried | corpus |\n|---|---|---|---|\n".to_owned();
    for (name, seeds) in targets {
        let corpus = shell::root().join("fuzz/corpus").join(name);
        fs::create_dir_all(&corpus)?;
        for (place, ending) in *seeds {
            seed(&shell::root().join(place), ending, &corpus)?;
        }
        let found = shell::root().join("fuzz/found").join(name);
        fs::create_dir_all(&found)?;
        let mut command = shell::cargo();
        // Without a sanitizer the installed toolchain will do; panics, overflows and time-outs are what is looked for.
        command.args(["fuzz", "run", "--release", "--debug-assertions", "--sanitizer", "none", name]).arg(&corpus).arg("--");
        command.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", found.display()));
        command.args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536", "-print_final_stats=1"]);
        let output = command.output().context("failed to start cargo fuzz")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("{name} failed; the input is in {}\n{}", found.display(), last_lines(&said));
        }
        let tried = said.lines().find_map(|line| line.split_once("number_of_executed_units:")).map_or("?", |(_, count)| count.trim());
        let kept = fs::read_dir(&corpus)?.count();
        let _ = writeln!(table, "| {name} | {seconds} | {tried} | {kept} |");
    }
    println!("{table}");
    Ok(())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn seed(place: &Path, ending: &str, corpus: &Path) -> Result<()> {
    if !place.exists() {
        println!("skipped as seeds: {} is not there", place.display());
        return Ok(());
    }
    let mut folders: Vec<PathBuf> = vec![place.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.to_lowercase().ends_with(&ending.to_lowercase()) && fs::metadata(&path)?.len() <= LARGEST_SEED {
                let unique = path.to_string_lossy().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
                fs::copy(&path, corpus.join(&unique[unique.len().saturating_sub(120)..]))?;
            }
        }
    }
    Ok(())
}
