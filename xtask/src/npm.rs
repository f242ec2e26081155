//! The tools from npm: installed when they are missing or not those of the lock file, and run by Node without a shell.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// A tool from npm.
#[derive(Clone, Copy)]
pub enum Tool {
    /// The JavaScript bundler.
    Esbuild,
    /// The Azure DevOps extension packager.
    Tfx,
    /// The WebAssembly optimizer.
    WasmOpt,
}

impl Tool {
    fn script(self) -> &'static str {
        match self {
            Self::Esbuild => "node_modules/esbuild/bin/esbuild",
            Self::Tfx => "node_modules/tfx-cli/_build/tfx-cli.js",
            Self::WasmOpt => "node_modules/binaryen/bin/wasm-opt",
        }
    }

    /// The command that runs the tool.
    pub fn command(self) -> Command {
        let mut command = Command::new("node");
        command.arg(shell::root().join(self.script())).current_dir(shell::root());
        command
    }
}

/// Bundles a script and all that it requires into one script for Node, with further options of esbuild's.
pub fn bundle(script: &str, output: &Path, options: &[String]) -> Result<()> {
    let mut command = Tool::Esbuild.command();
    command.arg(script).arg(format!("--outfile={}", output.display())).args(options);
    command.args(["--bundle", "--minify", "--format=cjs", "--platform=node", "--target=node20", "--legal-comments=none"]);
    shell::run(&mut command)
}

/// Installs what `package-lock.json` names, unless just that is installed. No package's install scripts run.
pub fn install() -> Result<()> {
    check_node()?;
    let lock = fs::read(shell::root().join("package-lock.json")).context("failed to read package-lock.json")?;
    let stamp = shell::root().join("node_modules/.installed-package-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let flags = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    shell::run(Command::new(program).args(flags).current_dir(shell::root()))?;
    fs::write(&stamp, lock).with_context(|| format!("failed to write {}", stamp.display()))
}

/// Says what is missing before npm says it worse.
fn check_node() -> Result<()> {
    let output = Command::new("node").arg("--version").stderr(Stdio::null()).output();
    let output = output.context("Node 20 or newer is needed, and no `node` was found on the PATH")?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(20..) => Ok(()),
        _ => bail!("Node 20 or newer is needed; `node` on the PATH is '{version}'"),
    }
}

/// A Node of this major version for this machine, as npm installed it; none where npm has none.
pub fn node(major: u32) -> Option<PathBuf> {
    let system = match std::env::consts::OS {
        "windows" => "win",
        "macos" => "darwin",
        other => other,
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let folder = shell::root().join(format!("node_modules/node-{major}-{system}-{processor}/bin"));
    let program = folder.join(format!("node{}", std::env::consts::EXE_SUFFIX));
    program.exists().then_some(program)
}
