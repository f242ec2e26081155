//! The engine as WebAssembly, and the one script that loads it: cargo, wasm-bindgen, wasm-opt, Brotli, esbuild.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use brotli::enc::BrotliEncoderParams;
use wasm_bindgen_cli_support::Bindgen;

use crate::{
    npm::{self, Tool},
    shell,
};

/// The packed WebAssembly's name beside `index.js`.
pub const FILE_NAME: &str = "engine.wasm.br";

/// What the engines are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

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
    /// What every task uses, with the tasks that need no more.
    Small,
    /// With the making of custom images.
    Images,
    /// With the template language and the making of virtual machines.
    Machines,
    /// With the template language and environments.
    Environments,
    /// With Azure Compute Gallery.
    Galleries,
    /// With the image factory, which uses the template language.
    Factory,
}

impl Engine {
    /// The package's feature that holds the engine's tasks; it names the engine's folder too.
    fn feature(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Images => "images",
            Self::Machines => "machines",
            Self::Environments => "environments",
            Self::Galleries => "galleries",
            Self::Factory => "factory",
        }
    }
}

/// The two files that the tasks of an engine share.
pub struct Built {
    /// `index.js`, complete.
    pub script: PathBuf,
    /// The WebAssembly.
    pub wasm: PathBuf,
    /// The WebAssembly as a task's folder holds it: packed with Brotli.
    pub packed: PathBuf,
}

/// Builds an engine.
pub fn build(engine: Engine) -> Result<Built> {
    ensure_target()?;
    let wasm = build_at(engine, shell::root(), &shell::target())?;
    let work = work_folder(engine, &shell::target());
    let script = work.join("index.js");
    let glue = format!("--alias:dtl-engine={}", work.join("engine.js").display());
    let name = format!("--define:ENGINE=\"{}\"", engine.feature());
    npm::bundle("src/node/index.js", &script, &[glue, name, "--log-level=warning".to_owned()])?;
    let packed = work.join(FILE_NAME);
    pack(&wasm, &packed)?;
    Ok(Built { script, wasm, packed })
}

/// Builds an engine's WebAssembly from the sources in a folder, with another for what is compiled.
pub fn build_at(engine: Engine, root: &Path, target: &Path) -> Result<PathBuf> {
    let work = work_folder(engine, target);
    fs::create_dir_all(&work)?;
    compile(engine, root, target)?;
    bind(&target.join(TARGET).join("wasm/dtl.wasm"), &work)?;
    let wasm = work.join("optimized.wasm");
    // wasm-bindgen derives the name from the script's.
    optimize(&work.join("engine_bg.wasm"), &wasm)?;
    check_paths(&wasm, root)?;
    Ok(wasm)
}

fn work_folder(engine: Engine, target: &Path) -> PathBuf {
    target.join("package").join(engine.feature())
}

/// Nothing in the WebAssembly tells where it was built.
fn check_paths(wasm: &Path, root: &Path) -> Result<()> {
    let bytes = fs::read(wasm)?;
    let [cargo_home, home] = homes();
    for folder in [root.display().to_string(), cargo_home, home].iter().filter(|folder| folder.len() > 1) {
        let is_there = bytes.windows(folder.len()).any(|window| window == folder.as_bytes());
        ensure!(!is_there, "the WebAssembly names a folder of this machine: {folder}");
    }
    Ok(())
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

fn compile(engine: Engine, root: &Path, target: &Path) -> Result<()> {
    let mut command = shell::cargo();
    command.args(["rustc", "--quiet", "--locked", "--package", "dtl", "--lib", "--crate-type", "cdylib", "--profile", "wasm"]);
    command.args(["--target", TARGET, "--no-default-features", "--features", engine.feature()]);
    command.current_dir(root).env("CARGO_TARGET_DIR", target);
    shell::run(command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", remapped_paths(root)?))
}

/// Panic messages name source files. Folders of the machine that built them are left out, for privacy and for equal bytes everywhere.
fn remapped_paths(root: &Path) -> Result<String> {
    let [cargo_home, _] = homes();
    let library = standard_library(root)?;
    Ok(format!("--remap-path-prefix={cargo_home}=cargo {library} --remap-path-prefix={}=dtl", root.display()))
}

/// Where the component rust-src is installed, the compiler names the standard library's sources by that folder; elsewhere by its commit.
fn standard_library(root: &Path) -> Result<String> {
    let ask = |arguments: &[&str]| {
        let output = shell::capture(Command::new("rustc").args(arguments).current_dir(root))?;
        anyhow::Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let sysroot = ask(&["--print", "sysroot"])?;
    let version = ask(&["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown");
    Ok(format!("--remap-path-prefix={}/lib/rustlib/src/rust=/rustc/{commit}", sysroot.trim()))
}

/// Cargo's folder and the user's.
fn homes() -> [String; 2] {
    let home = std::env::var("HOME").or_else(|_| std::env::var("USERPROFILE")).unwrap_or_default();
    [std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo")), home]
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
    // Nothing lies in the lowest 1,024 bytes: they are the far end of the stack, which has a MiB.
    command.args(["--low-memory-unused", "-Oz", "--strip-debug", "--strip-producers", "--strip-target-features"]).args(FEATURES);
    shell::run(command.arg(input).arg("-o").arg(output))
}

fn pack(wasm: &Path, packed: &Path) -> Result<()> {
    let bytes = fs::read(wasm)?;
    let parameters = BrotliEncoderParams { size_hint: bytes.len(), ..Default::default() };
    let mut output = fs::File::create(packed)?;
    brotli::BrotliCompress(&mut bytes.as_slice(), &mut output, &parameters).context("failed to pack the WebAssembly")?;
    Ok(())
}
