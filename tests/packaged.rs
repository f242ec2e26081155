//! The packaged tasks under Node.

use std::{process::Command, sync::OnceLock};

use crate::harness::project;

/// Has `cargo xtask package` install the npm packages and build `dist` where that has not been done yet.
pub fn npm_packages() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        if !project("node_modules/azure-pipelines-task-lib").exists() {
            let status = Command::new(env!("CARGO")).args(["xtask", "package"]).current_dir(project(".")).status().expect("cargo starts");
            assert!(status.success(), "cargo xtask package: {status}");
        }
    });
}
