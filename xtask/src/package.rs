//! `cargo xtask package`: everything for publishing, from nothing but the sources.
//!
//! `dist/tasks/<Name>/` holds exactly `task.json`, `index.js`, `engine.wasm.br` and `icon.png`; `dist/dtl-tasks.vsix` is the extension with all
//! of them; `dist/sbom.cdx.json` says what is in the WebAssembly, and `dist/package.json` states the sizes. The same sources give the same bytes.

mod archive;
mod extension;
mod icons;
mod manifest;
mod sbom;
pub mod wasm;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{npm, shell};
use manifest::Task;
use wasm::Built;

/// The version of the extension and of every task: the workspace's.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `dist/package.json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    version: &'static str,
    vsix_bytes: u64,
    tasks: Vec<TaskSize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TaskSize {
    name: String,
    bytes: u64,
    wasm_bytes: u64,
}

/// Builds everything into `dist/`.
pub fn run() -> Result<()> {
    npm::install()?;
    let tasks = manifest::read_all(shell::root())?;
    let mut engines = BTreeMap::new();
    for engine in tasks.iter().map(Task::engine) {
        if let Entry::Vacant(place) = engines.entry(engine) {
            place.insert(wasm::build(engine)?);
        }
    }
    let dist = shell::root().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).context("failed to empty dist")?;
    }
    let mut sizes = Vec::new();
    for task in &tasks {
        sizes.push(write_task(&dist.join("tasks").join(&task.name), task, &engines[&task.engine()])?);
    }
    let vsix = dist.join("dtl-tasks.vsix");
    let sbom = dist.join("sbom.cdx.json");
    write_json(&sbom, &sbom::document()?)?;
    extension::create(&tasks, &dist.join("tasks"), &sbom, &vsix)?;
    let report = Report { version: VERSION, vsix_bytes: fs::metadata(&vsix)?.len(), tasks: sizes };
    write_json(&dist.join("package.json"), &report)?;
    print(&report);
    Ok(())
}

fn write_task(folder: &Path, task: &Task, engine: &Built) -> Result<TaskSize> {
    fs::create_dir_all(folder)?;
    write_json(&folder.join("task.json"), &task.manifest)?;
    fs::copy(&engine.script, folder.join("index.js"))?;
    fs::copy(&engine.packed, folder.join(wasm::FILE_NAME))?;
    icons::render(&task.icon(), 32, &folder.join("icon.png"))?;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
    }
    let wasm_bytes = fs::metadata(&engine.wasm)?.len();
    Ok(TaskSize { name: task.name.clone(), bytes, wasm_bytes })
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

fn print(report: &Report) {
    for TaskSize { name, bytes, wasm_bytes } in &report.tasks {
        println!("{name:<42} {:>5} KB, with an engine of {:>5} KB once it is unpacked", bytes / 1000, wasm_bytes / 1000);
    }
    println!("{:<42} {:>5} KB", "dtl-tasks.vsix", report.vsix_bytes / 1000);
}
