//! Builds, tests, packages and measures the project: `cargo xtask COMMAND`. Each command is a file.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a build tool talks to its user")]
#![allow(clippy::disallowed_methods, reason = "a build tool works on the real clock, files and variables")]

mod bench;
mod ci;
mod npm;
mod package;
mod reproduce;
mod shell;
mod supply;
mod test;

use clap::Parser;

/// Builds, tests, packages and measures the project.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Build everything for publishing into dist/
    Package,
    /// Run all tests; needs Rust and Node 20 or newer
    Test {
        /// Also what takes minutes: a thousand runs against faults by chance, and `az` against the emulator (needs Python 3.10 or newer)
        #[arg(long)]
        all: bool,
    },
    /// Check formatting, lints and documentation, then test and package
    Ci,
    /// Check licenses, sources and checksums of the dependencies
    Supply,
    /// Build an engine in two places and compare the bytes
    Reproduce,
    /// Measure the packaged tasks into target/bench.json
    Bench,
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Package => package::run(),
        Command::Test { all } => test::run(all),
        Command::Supply => supply::run(),
        Command::Reproduce => reproduce::run(),
        Command::Ci => ci::run(),
        Command::Bench => bench::run(),
    }
}
