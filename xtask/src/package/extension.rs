//! The extension: the packaged tasks in one VSIX, made by tfx, whose warnings are errors here.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::{VERSION, archive, icons, manifest::Task};
use crate::{npm::Tool, shell};

/// Creates the VSIX of all tasks.
pub fn create(tasks: &[Task], folder: &Path, sbom: &Path, vsix: &Path) -> Result<()> {
    let stage = shell::target().join("package/extension");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    fs::create_dir_all(stage.join("images"))?;
    icons::render(&shell::root().join("icons/extension.svg"), 128, &stage.join("images/extension.png"))?;
    fs::copy(shell::root().join("docs/marketplace.md"), stage.join("overview.md")).context("failed to copy docs/marketplace.md")?;
    fs::copy(shell::root().join("LICENSE"), stage.join("LICENSE.txt")).context("failed to copy LICENSE")?;
    fs::create_dir_all(stage.join("docs"))?;
    fs::copy(sbom, stage.join("docs/sbom.cdx.json")).context("failed to copy the list of components")?;
    fs::copy(shell::root().join("SECURITY.md"), stage.join("docs/SECURITY.md")).context("failed to copy SECURITY.md")?;
    for task in tasks {
        copy_folder(&folder.join(&task.name), &stage.join(&task.name))?;
    }
    super::write_json(&stage.join("vss-extension.json"), &manifest(tasks)?)?;
    pack(&stage, vsix)?;
    archive::normalize(vsix)
}

/// `vss-extension.json` with what follows from the tasks: a contribution and a folder each, and the version.
fn manifest(tasks: &[Task]) -> Result<Value> {
    let text = fs::read_to_string(shell::root().join("vss-extension.json")).context("failed to read vss-extension.json")?;
    let mut manifest: Value = serde_json::from_str(&text).context("vss-extension.json is not JSON")?;
    manifest["version"] = VERSION.into();
    let contributions = tasks.iter().map(|task| {
        json!({
            "id": task.name,
            "type": "ms.vss-distributed-task.task",
            "targets": ["ms.vss-distributed-task.tasks"],
            "properties": { "name": task.name },
        })
    });
    manifest["contributions"] = contributions.collect();
    let files = manifest["files"].as_array_mut().context("vss-extension.json has no list 'files'")?;
    files.extend(tasks.iter().map(|task| json!({ "path": task.name })));
    Ok(manifest)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// tfx reports most faults as warnings and then succeeds.
fn pack(stage: &Path, vsix: &Path) -> Result<()> {
    let mut command = Tool::Tfx.command();
    command.args(["extension", "create", "--no-prompt", "--no-color", "--manifests", "vss-extension.json", "--root"]).arg(stage);
    let output = shell::capture(command.arg("--output-path").arg(vsix).current_dir(stage))?;
    let said = shell::text(&output);
    ensure!(!said.to_lowercase().contains("warning"), "tfx warned, which fails the build:\n{said}");
    ensure!(vsix.exists(), "tfx made no {}:\n{said}", vsix.display());
    Ok(())
}
