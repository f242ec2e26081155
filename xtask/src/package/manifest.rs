//! Task manifests: `task.json` holds what every task shares, `src/tasks/<task>.json` what is one task's own.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::wasm::Engine;
use crate::shell;

/// The longest friendly name that the Marketplace takes.
const LONGEST_FRIENDLY_NAME: usize = 40;

/// A task, ready to be written.
pub struct Task {
    /// Its name in the manifest, which is its folder's name in `dist/tasks`.
    pub name: String,
    /// The file's stem in `src/tasks`, such as `create_vm`.
    pub stem: String,
    /// The merged manifest.
    pub manifest: Value,
}

impl Task {
    /// Where the task's icon is drawn.
    pub fn icon(&self) -> PathBuf {
        shell::root().join("icons").join(format!("{}.svg", self.stem))
    }

    /// The engine with what this task uses: the feature that `Task::run` in `src/tasks.rs` asks of it.
    pub fn engine(&self) -> Engine {
        match self.stem.as_str() {
            "image_factory" => Engine::Factory,
            "compute_gallery_image_definition" | "compute_gallery_image_version" => Engine::Galleries,
            "create_environment" | "populate_environment" => Engine::Environments,
            "create_vm" => Engine::Machines,
            "create_custom_image" => Engine::Images,
            _ => Engine::Small,
        }
    }
}

/// Reads and merges all manifests, in the order of their files' names.
pub fn read_all(root: &Path) -> Result<Vec<Task>> {
    let shared = read_json(&root.join("task.json"))?;
    let folder = root.join("src/tasks");
    let entries = fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    ensure!(!files.is_empty(), "{} holds no manifest", folder.display());
    let tasks = files.iter().map(|file| read(&shared, file)).collect::<Result<Vec<_>>>()?;
    check_ids(&tasks)?;
    Ok(tasks)
}

fn read(shared: &Value, file: &Path) -> Result<Task> {
    let mut manifest = shared.clone();
    merge(&mut manifest, read_json(file)?);
    leave_out(&mut manifest);
    manifest["version"] = version();
    let name = manifest["name"].as_str().unwrap_or_default().to_owned();
    check(&manifest).with_context(|| format!("the manifest {} is wrong", file.display()))?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Task { name, stem, manifest })
}

fn read_json(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))
}

/// Lays one task's own part over the shared one: objects are extended, lists are continued (so that shared inputs come first), anything
/// else is replaced, and `null` removes. An input or group of a name that is there already is merged into that one.
fn merge(shared: &mut Value, own: Value) {
    match (shared, own) {
        (Value::Object(shared), Value::Object(own)) => merge_objects(shared, own),
        (Value::Array(shared), Value::Array(own)) => {
            for item in own {
                let same = shared.iter_mut().find(|other| item.get("name").is_some() && other.get("name") == item.get("name"));
                match same {
                    Some(other) => merge(other, item),
                    None => shared.push(item),
                }
            }
        }
        (shared, own) => *shared = own,
    }
}

/// Takes away the shared inputs that a task lists under `leaveOut`, and their pick lists: not every task has a lab.
fn leave_out(manifest: &mut Value) {
    let Some(names) = manifest.as_object_mut().and_then(|manifest| manifest.shift_remove("leaveOut")) else { return };
    let names: Vec<&Value> = names.as_array().into_iter().flatten().collect();
    for (list, key) in [("inputs", "name"), ("dataSourceBindings", "target")] {
        if let Some(items) = manifest[list].as_array_mut() {
            items.retain(|item| !names.contains(&&item[key]));
        }
    }
}

fn merge_objects(shared: &mut Map<String, Value>, own: Map<String, Value>) {
    for (key, value) in own {
        if value.is_null() {
            shared.shift_remove(&key);
        } else if let Some(there) = shared.get_mut(&key) {
            merge(there, value);
        } else {
            shared.insert(key, value);
        }
    }
}

/// The workspace's version, so that no manifest repeats it.
fn version() -> Value {
    let mut numbers = super::VERSION.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    json!({ "Major": next(), "Minor": next(), "Patch": next() })
}

/// What neither tfx nor the agent would say in time.
fn check(manifest: &Value) -> Result<()> {
    for key in ["id", "name", "friendlyName", "description", "author", "instanceNameFormat", "helpMarkDown"] {
        ensure!(manifest[key].as_str().is_some_and(|value| !value.is_empty()), "'{key}' is missing");
    }
    let friendly_name = manifest["friendlyName"].as_str().unwrap_or_default();
    ensure!(friendly_name.chars().count() <= LONGEST_FRIENDLY_NAME, "'{friendly_name}' is longer than {LONGEST_FRIENDLY_NAME} characters");
    for handler in ["Node20_1", "Node24"] {
        let target = &manifest["execution"][handler]["target"];
        ensure!(target == "index.js", "the handler {handler} must have the target index.js, not {target}");
    }
    check_inputs(manifest)
}

fn check_inputs(manifest: &Value) -> Result<()> {
    let groups: HashSet<_> = array(manifest, "groups").iter().filter_map(|group| group["name"].as_str()).collect();
    let mut names = HashSet::new();
    for input in array(manifest, "inputs") {
        let name = input["name"].as_str().context("an input has no name")?;
        ensure!(names.insert(name.to_lowercase()), "the input '{name}' is there twice");
        for key in ["type", "label", "helpMarkDown"] {
            ensure!(input[key].as_str().is_some_and(|value| !value.is_empty()), "the input '{name}' has no {key}");
        }
        if let Some(group) = input["groupName"].as_str() {
            ensure!(groups.contains(group), "the input '{name}' is in a group '{group}' that is not there");
        }
    }
    for binding in array(manifest, "dataSourceBindings") {
        let target = binding["target"].as_str().unwrap_or_default();
        ensure!(names.contains(&target.to_lowercase()), "a pick list is for an input '{target}' that is not there");
    }
    Ok(())
}

fn array<'a>(manifest: &'a Value, key: &str) -> &'a [Value] {
    manifest[key].as_array().map_or(&[], Vec::as_slice)
}

/// Two tasks of one id or name would overwrite each other on the server.
fn check_ids(tasks: &[Task]) -> Result<()> {
    for (index, task) in tasks.iter().enumerate() {
        for other in &tasks[..index] {
            if task.name == other.name || task.manifest["id"] == other.manifest["id"] {
                bail!("{}.json and {}.json have the same name or id", other.stem, task.stem);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_extends_replaces_and_removes_what_is_shared() {
        let mut manifest = json!({ "a": 1, "b": { "c": 2, "d": 3 }, "gone": true, "inputs": [{ "name": "X", "type": "string" }] });
        merge(
            &mut manifest,
            json!({ "a": 4, "b": { "d": 5, "e": 6 }, "gone": null, "inputs": [{ "name": "Y" }, { "name": "X", "required": true }] }),
        );
        let expected = json!({
            "a": 4,
            "b": { "c": 2, "d": 5, "e": 6 },
            "inputs": [{ "name": "X", "type": "string", "required": true }, { "name": "Y" }],
        });
        assert_eq!(manifest, expected);
    }

    #[test]
    fn faults_of_a_manifest_are_named() {
        let whole = json!({
            "id": "i", "name": "n", "friendlyName": "f", "description": "d", "author": "a", "instanceNameFormat": "x", "helpMarkDown": "h",
            "execution": { "Node20_1": { "target": "index.js" }, "Node24": { "target": "index.js" } },
            "groups": [{ "name": "advanced" }],
            "inputs": [{ "name": "LabId", "type": "string", "label": "Lab", "helpMarkDown": "The lab." }],
        });
        let check_with = |own: Value| {
            let mut manifest = whole.clone();
            merge(&mut manifest, own);
            check(&manifest).map_err(|error| error.to_string())
        };
        assert_eq!(check_with(json!({})), Ok(()));
        let cases = [
            (json!({ "id": null }), "'id' is missing"),
            (json!({ "friendlyName": "x".repeat(41) }), "is longer than 40 characters"),
            (json!({ "execution": { "Node24": { "target": "main.js" } } }), "the handler Node24 must have the target index.js"),
            (json!({ "inputs": [{ "name": "LabId", "helpMarkDown": null }] }), "the input 'LabId' has no helpMarkDown"),
            (json!({ "inputs": [{ "name": "labid" }] }), "the input 'labid' is there twice"),
            (json!({ "inputs": [{ "name": "LabId", "groupName": "basic" }] }), "in a group 'basic' that is not there"),
            (json!({ "dataSourceBindings": [{ "target": "VM" }] }), "an input 'VM' that is not there"),
        ];
        for (own, message) in cases {
            let error = check_with(own.clone()).expect_err(message);
            assert!(error.contains(message), "{own}: {error}");
        }
    }

    #[test]
    fn what_a_task_leaves_out_goes_with_its_pick_list() {
        let mut manifest = json!({
            "inputs": [{ "name": "ConnectedServiceName" }, { "name": "LabId" }],
            "dataSourceBindings": [{ "target": "LabId" }, { "target": "GalleryName" }],
            "leaveOut": ["LabId"],
        });
        leave_out(&mut manifest);
        let wanted = json!({ "inputs": [{ "name": "ConnectedServiceName" }], "dataSourceBindings": [{ "target": "GalleryName" }] });
        assert_eq!(manifest, wanted);
    }

    /// The published schema is not part of the project: where it lies beside the checkout, the manifests are held against it.
    #[test]
    fn merged_manifests_fit_the_published_schema() {
        let schema = shell::root().join("../shared/data/task-schema/tasks.schema.json");
        if !schema.exists() {
            println!("skipped: the schema is not beside this checkout");
            return;
        }
        let validator = jsonschema::validator_for(&read_json(&schema).expect("the schema")).expect("a schema");
        for task in read_all(shell::root()).expect("the manifests") {
            let faults: Vec<_> = validator.iter_errors(&task.manifest).map(|error| format!("{}: {error}", error.instance_path())).collect();
            assert!(faults.is_empty(), "{}: {faults:#?}", task.name);
        }
    }
}
