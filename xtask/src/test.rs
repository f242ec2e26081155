//! `cargo xtask test`: everything that can be tested without Azure. The packaged tasks are tested too, so they are built first.

use anyhow::Result;

use crate::{package, shell};

/// Packages, then tests the whole workspace.
pub fn run() -> Result<()> {
    package::run()?;
    shell::run(shell::cargo().args(["test", "--workspace", "--quiet"]))
}
