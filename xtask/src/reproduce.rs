//! Two builds of an engine in different places give the same bytes.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::{
    package::wasm::{self, Engine},
    shell,
};

/// What a build reads, besides the dependencies.
const SOURCES: [&str; 7] = ["Cargo.toml", "Cargo.lock", "askama.toml", "rust-toolchain.toml", "README.md", "src", "xtask"];

/// Builds the smallest engine here and from a copy of the sources elsewhere, and compares.
pub fn run() -> Result<()> {
    crate::npm::install()?;
    let here = wasm::build(Engine::Small)?;
    let place = tempfile::Builder::new().prefix("an-engine-built-elsewhere-").tempdir()?;
    // A folder of another depth, so that no path has the same length by chance.
    let copy = place.path().join("one").join("two");
    for source in SOURCES {
        copy_all(&shell::root().join(source), &copy.join(source))?;
    }
    // The work of compiling is the same; only where it happens differs.
    let elsewhere = wasm::build_at(Engine::Small, &copy, &copy.join("target"))?;
    let (first, second) = (fs::read(&here.wasm)?, fs::read(&elsewhere)?);
    ensure!(first == second, "two builds of the same sources differ: {} and {} bytes", first.len(), second.len());
    println!("two builds of an engine in different folders are the same {} bytes", first.len());
    Ok(())
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy_all(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(from, to).map(|_| ()).with_context(|| format!("failed to copy {}", from.display()))
}
