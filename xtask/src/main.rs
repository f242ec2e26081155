//! Builds, tests, packages and measures the project: `cargo xtask COMMAND`. Each command is a file.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a build tool talks to its user")]
#![allow(clippy::disallowed_methods, reason = "a build tool works on the real clock, files and variables")]

mod bench;
mod ci;
mod fuzz;
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
    /// Measure tasks, factory and emulator into target/bench.json
    Bench {
        /// Only take today's sizes and instruction counts as those to compare with
        #[arg(long)]
        accept: bool,
        /// Also write the figures and plots into docs/performance.md
        #[arg(long, conflicts_with = "accept")]
        docs: bool,
        /// Measure this only; in the documentation the figures of the rest stay
        #[arg(long, value_name = "PART", conflicts_with = "accept")]
        only: Option<bench::Part>,
    },
    /// Fuzz every target in turn, or one
    Fuzz {
        /// How long each
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// The only target
        target: Option<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Package => package::run(),
        Command::Test { all } => test::run(all),
        Command::Supply => supply::run(),
        Command::Reproduce => reproduce::run(),
        Command::Ci => ci::run(),
        Command::Bench { accept: false, docs, only } => bench::run(docs, only),
        Command::Bench { accept: true, .. } => {
            package::run()?;
            bench::build()?;
            bench::regression::accept()
        }
        Command::Fuzz { seconds, target } => fuzz::run(seconds, target.as_deref()),
    }
}
