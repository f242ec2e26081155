//! `cargo xtask ci`: what must hold before a change lands.

use anyhow::Result;

use crate::{bench, reproduce, shell, supply, test};

/// Formatting, lints for both targets, documentation, dependencies, tests, which package first, whether a build can be repeated; at last
/// sizes and instruction counts.
pub fn run() -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    shell::run(shell::cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))?;
    crate::package::wasm::ensure_target()?;
    shell::run(shell::cargo().args(["clippy", "--lib", "--target", "wasm32-unknown-unknown", "--quiet", "--", "-D", "warnings"]))?;
    // As users read it, and as those who work on the project do.
    for private in [None, Some("--document-private-items")] {
        let mut doc = shell::cargo();
        doc.args(["doc", "--no-deps", "--workspace", "--quiet"]).args(private);
        shell::run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    }
    supply::run()?;
    test::run(false)?;
    reproduce::run()?;
    bench::build()?;
    bench::regression::compare()
}
