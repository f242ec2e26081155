//! The engine as WebAssembly, and the one script that loads it: cargo, wasm-bindgen, wasm-opt, esbuild.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use wasm_bindgen_cli_support::Bindgen;

use crate::{
    npm::{self, Tool},
    shell,
};

/// The WebAssembly's name beside `index.js`; wasm-bindgen derives it from the script's.
pub const FILE_NAME: &str = "engine_bg.wasm";

const TARGET: &str = "wasm32-unknown-unknown";

/// What Node 20 and newer run, so that nothing else gets in.
const FEATURES: [&str; 6] = [
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// An engine: the same code with no more in it than its tasks use, because every job downloads it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Engine {
    /// What every task uses.
    Small,
    /// With the template language.
    Templates,
    /// With Azure Compute Gallery.
    Galleries,
    /// With the image factory, which uses the template language.
    Factory,
}

impl Engine {
    /// The package's features besides what is always there.
    fn feature(self) -> &'static str {
        match self {
            Self::Small => "",
            Self::Templates => "templates",
            Self::Galleries => "galleries",
            Self::Factory => "factory",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Small => "small",
            large => large.feature(),
        }
    }
}

/// The two files that the tasks of an engine share.
pub struct Built {
    /// `index.js`, complete.
    pub script: PathBuf,
    /// The WebAssembly.
    pub wasm: PathBuf,
}

/// Builds an engine.
pub fn build(engine: Engine) -> Result<Built> {
    ensure_target()?;
    let work = shell::target().join("package").join(engine.folder());
    fs::create_dir_all(&work)?;
    compile(engine)?;
    bind(&shell::target().join(TARGET).join("wasm/dtl.wasm"), &work)?;
    let wasm = work.join("optimized.wasm");
    optimize(&work.join(FILE_NAME), &wasm)?;
    let script = work.join("index.js");
    let glue = format!("--alias:dtl-engine={}", work.join("engine.js").display());
    npm::bundle("src/node/index.js", &script, &[glue, "--log-level=warning".to_owned()])?;
    Ok(Built { script, wasm })
}

/// Installs Rust's WebAssembly target where it is missing.
pub fn ensure_target() -> Result<()> {
    let output = shell::capture(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).current_dir(shell::root()))?;
    if Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir() {
        return Ok(());
    }
    shell::run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(shell::root()))
        .context("Rust's WebAssembly target is missing; without rustup, install it as your system does")
}

fn compile(engine: Engine) -> Result<()> {
    let mut command = shell::cargo();
    command.args(["rustc", "--quiet", "--package", "dtl", "--lib", "--crate-type", "cdylib", "--profile", "wasm", "--target", TARGET]);
    command.args(["--no-default-features", "--features", engine.feature()]);
    shell::run(command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", remapped_paths()))
}

/// Panic messages name source files. Folders of the machine that built them are left out, for privacy and for equal bytes everywhere.
fn remapped_paths() -> String {
    let home = std::env::var("HOME").or_else(|_| std::env::var("USERPROFILE")).unwrap_or_default();
    let cargo_home = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    format!("--remap-path-prefix={cargo_home}=cargo --remap-path-prefix={}=dtl", shell::root().display())
}

fn bind(wasm: &Path, folder: &Path) -> Result<()> {
    Bindgen::new()
        .input_path(wasm)
        .out_name("engine")
        .web(true)?
        .typescript(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(folder)
        .context("wasm-bindgen failed")
}

fn optimize(input: &Path, output: &Path) -> Result<()> {
    let mut command = Tool::WasmOpt.command();
    command.args(["-Oz", "--strip-debug", "--strip-producers", "--strip-target-features"]).args(FEATURES);
    shell::run(command.arg(input).arg("-o").arg(output))
}
