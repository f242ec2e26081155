//! The manifests: complete, in step with the engine, and `docs/tasks.md` made from them.

use std::{collections::HashSet, fmt::Write as _, fs, path::Path};

use dtl::tasks::Task;
use serde_json::Value;

use crate::harness::project;

const FILES: [(Task, &str); 12] = [
    (Task::CreateVm, "create_vm"),
    (Task::DeleteVm, "delete_vm"),
    (Task::StartVm, "start_vm"),
    (Task::StopVm, "stop_vm"),
    (Task::CreateCustomImage, "create_custom_image"),
    (Task::DeleteCustomImage, "delete_custom_image"),
    (Task::CreateEnvironment, "create_environment"),
    (Task::PopulateEnvironment, "populate_environment"),
    (Task::DeleteEnvironment, "delete_environment"),
    (Task::ComputeGalleryImageDefinition, "compute_gallery_image_definition"),
    (Task::ComputeGalleryImageVersion, "compute_gallery_image_version"),
    (Task::ImageFactory, "image_factory"),
];

/// Aliases of the legacy PowerShell tasks, by task and input.
const ALIASES: [(&str, &str, &[&str]); 9] = [
    ("create_vm", "ConnectedServiceName", &["azureSubscription"]),
    ("create_vm", "TemplateFile", &["TemplateName"]),
    ("create_vm", "ParameterOverrides", &["TemplateParameters"]),
    ("create_custom_image", "LabVmId", &["SourceLabVMId"]),
    ("create_environment", "ParametersFile", &["ParameterFile", "EnvironmentParameterFile"]),
    ("create_environment", "ExportEnvironmentTemplate", &["StoreEnvironmentTemplate"]),
    ("populate_environment", "TemplateFile", &["SourceTemplate"]),
    ("populate_environment", "ParametersFile", &["SourceTemplateParameterFile"]),
    ("populate_environment", "ParameterOverrides", &["SourceTemplateParameterOverrides"]),
];

fn read(path: &str) -> Value {
    let text = fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A task's manifest as it is published: lists continued, inputs of the same name merged, what is left out taken away.
fn manifest(file: &str) -> Value {
    let mut merged = read("task.json");
    let Value::Object(mut own) = read(&format!("src/tasks/{file}.json")) else { panic!("{file}.json holds an object") };
    let left_out = own.shift_remove("leaveOut").unwrap_or_default();
    for (key, value) in own {
        match (merged.get_mut(&key), value) {
            (Some(Value::Array(shared)), Value::Array(items)) => items.into_iter().for_each(|item| lay_over(shared, item)),
            (_, value) => merged[&key] = value,
        }
    }
    for (list, key) in [("inputs", "name"), ("dataSourceBindings", "target")] {
        let items = merged[list].as_array_mut().expect("a list");
        items.retain(|item| !left_out.as_array().is_some_and(|names| names.contains(&item[key])));
    }
    merged
}

fn lay_over(shared: &mut Vec<Value>, item: Value) {
    let same = shared.iter_mut().find(|other| item["name"].is_string() && other["name"] == item["name"]);
    match (same.and_then(Value::as_object_mut), item) {
        (Some(other), Value::Object(item)) => other.extend(item),
        (_, item) => shared.push(item),
    }
}

fn list<'a>(manifest: &'a Value, key: &str) -> &'a [Value] {
    manifest[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn there_is_a_manifest_for_every_task() {
    let tasks: Vec<Task> = FILES.iter().map(|(task, _)| *task).collect();
    assert_eq!(tasks, Task::ALL);
    for (task, file) in FILES {
        let manifest = manifest(file);
        assert_eq!(text(&manifest, "name"), task.name());
        assert!(text(&manifest, "friendlyName").starts_with("Azure DevTest Labs "), "{file}");
        assert!(text(&manifest, "friendlyName").chars().count() <= 40, "{file}");
        assert_eq!((&manifest["version"]["Major"], text(&manifest, "minimumAgentVersion")), (&Value::from(4), "4.248.0"), "{file}");
    }
}

#[test]
fn every_input_has_a_label_help_and_a_reader_in_the_engine() {
    let engine = sources(&project("src/tasks"));
    for (_, file) in FILES {
        for input in list(&manifest(file), "inputs") {
            let name = text(input, "name");
            assert!(!text(input, "label").is_empty() && text(input, "helpMarkDown").len() > 15, "{file}: {name}");
            assert!(engine.contains(&format!("\"{name}\"")), "{file}: nothing in the engine reads the input '{name}'");
        }
    }
}

#[test]
fn names_and_aliases_are_unambiguous_and_the_legacy_ones_are_there() {
    for (_, file) in FILES {
        let manifest = manifest(file);
        let mut seen = HashSet::new();
        for input in list(&manifest, "inputs") {
            let aliases = list(input, "aliases").iter().filter_map(Value::as_str);
            for name in std::iter::once(text(input, "name")).chain(aliases) {
                assert!(seen.insert(name.to_lowercase()), "{file}: {name} is there twice");
            }
        }
    }
    for (file, name, aliases) in ALIASES {
        let manifest = manifest(file);
        let input = list(&manifest, "inputs").iter().find(|input| text(input, "name") == name).expect(name);
        let found: Vec<&str> = list(input, "aliases").iter().filter_map(Value::as_str).collect();
        assert_eq!(found, aliases, "{file}: {name}");
    }
}

#[test]
fn pick_lists_ask_the_connections_own_cloud() {
    for (_, file) in FILES {
        let manifest = manifest(file);
        let inputs: Vec<&str> = list(&manifest, "inputs").iter().map(|input| text(input, "name")).collect();
        let bindings = list(&manifest, "dataSourceBindings");
        assert!(!bindings.is_empty(), "{file}");
        for binding in bindings {
            assert!(inputs.contains(&text(binding, "target")), "{file}: {binding}");
            assert_eq!(text(binding, "endpointId"), "$(ConnectedServiceName)", "{file}");
            assert!(text(binding, "endpointUrl").starts_with("{{{endpoint.url}}}"), "{file}: {binding}");
            assert!(text(binding, "endpointUrl").contains("?api-version=20"), "{file}: {binding}");
        }
        for input in list(&manifest, "inputs").iter().filter(|input| text(input, "type") == "pickList" && input["options"].is_null()) {
            assert!(bindings.iter().any(|binding| binding["target"] == input["name"]), "{file}: {input}");
        }
    }
}

#[test]
fn the_extension_offers_every_task_once() {
    let extension = read("vss-extension.json");
    assert_eq!(extension["manifestVersion"], 1);
    assert!(!text(&extension, "publisher").is_empty());
    // Contributions and folders follow from the manifests; the build adds them.
    for contribution in list(&extension, "contributions") {
        assert!(Task::named(text(contribution, "id")).is_some(), "{contribution}");
    }
}

/// `docs/tasks.md` is made from the manifests. `UPDATE_DOCS=1 cargo test --test integration the_task_reference` writes it.
#[test]
fn the_task_reference_is_up_to_date() {
    let wanted = reference();
    let path = project("docs/tasks.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).expect("docs/tasks.md is written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(found == wanted, "docs/tasks.md is stale: run the tests with UPDATE_DOCS=1");
}

fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.push_str(&sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
    all
}

fn reference() -> String {
    let mut page = String::from(
        "# Tasks\n\n\
         Every task with every input and output. This page is made from the manifests (`task.json` and `src/tasks/*.json`): change those, then run\n\
         `UPDATE_DOCS=1 cargo test --test integration the_task_reference`.\n\n\
         Where an input takes an id or a name, a value that begins with `/` is read as an id. Ids are compared without case; an id of another lab or\n\
         of another type is an error before anything is sent. The subscription is the one in the id, whatever the service connection's is. All that is\n\
         wrong with the inputs is reported at once.\n\n",
    );
    for (_, file) in FILES {
        let manifest = manifest(file);
        let _ = writeln!(page, "- [{}](#{})", text(&manifest, "friendlyName"), text(&manifest, "name").to_lowercase());
    }
    for (task, file) in FILES {
        describe(&mut page, task, &manifest(file));
    }
    page
}

fn describe(page: &mut String, task: Task, manifest: &Value) {
    let _ = writeln!(page, "\n## {}\n\n{}\n", task.name(), text(manifest, "helpMarkDown"));
    page.push_str(&example(task, manifest));
    page.push_str("\n| input | | |\n|---|---|---|\n");
    for input in list(manifest, "inputs") {
        let aliases: Vec<String> = list(input, "aliases").iter().filter_map(Value::as_str).map(|alias| format!("`{alias}`")).collect();
        let aliases = if aliases.is_empty() { String::new() } else { format!("<br>also {}", aliases.join(", ")) };
        let kind = text(input, "type").trim_end_matches(":AzureRM").to_owned();
        let need = match (input["required"].as_bool(), text(input, "defaultValue")) {
            (Some(true), "") => "required".to_owned(),
            (_, "") => "optional".to_owned(),
            (_, default) => format!("default `{default}`"),
        };
        let rule = input["visibleRule"].as_str().map_or(String::new(), |rule| format!(" Only with `{rule}`."));
        let help = text(input, "helpMarkDown").replace('|', "\\|");
        let _ = writeln!(page, "| `{}`{aliases} | {kind}, {need} | {help}{rule} |", text(input, "name"));
    }
    let outputs = list(manifest, "outputVariables");
    if !outputs.is_empty() {
        page.push_str("\n| output variable | |\n|---|---|\n");
        for output in outputs {
            let _ = writeln!(page, "| `{}` | {} |", text(output, "name"), text(output, "description"));
        }
    }
    page.push_str(notes(task));
}

fn example(task: Task, manifest: &Value) -> String {
    let mut yaml = format!("```yaml\n- task: {}@4\n  inputs:\n    azureSubscription: my-connection\n", task.name());
    for input in list(manifest, "inputs").iter().skip(1).filter(|input| input["required"].as_bool() == Some(true)) {
        let value = match text(input, "name") {
            "LabId" => "/subscriptions/…/resourceGroups/labs/providers/Microsoft.DevTestLab/labs/main",
            "VirtualMachineName" | "LabVmId" => "build-$(Build.BuildId)",
            "TemplateFile" => "templates/lab-vm.json",
            "NewCustomImageName" | "CustomImageId" => "golden-$(Build.BuildNumber)",
            "OsType" => "Linux",
            "EnvironmentName" | "EnvironmentId" => "test-$(Build.BuildId)",
            "RepositoryId" => "Public Environment Repo",
            "TemplateId" => "WebApp",
            "GalleryName" => "golden",
            "DefinitionName" => "windows-server",
            "OsState" => "Generalized",
            "Publisher" => "contoso",
            "Offer" => "server",
            "Sku" => "datacenter",
            "Command" => "run",
            "ConfigurationLocation" => "Configuration",
            other => panic!("an example value for '{other}'"),
        };
        let _ = writeln!(yaml, "    {}: {value}", text(input, "name"));
    }
    yaml.push_str("```\n");
    yaml
}

/// What the manifests have no place for.
fn notes(task: Task) -> &'static str {
    match task {
        Task::CreateVm => {
            "\nThe template's own outputs become variables of exactly their names too, arrays and objects as JSON; secure outputs become secret variables,\n\
             or none where Azure does not show them. Values come from the parameters file, then from the task (`newVMName`, `labName`), then from the\n\
             overrides; `existingLabName`, the samples' word, is supplied only where the parameters file has none.\n\n\
             The virtual machine is found by the deployment's own operations. Where a template makes several, all are listed in a warning, and the outputs\n\
             are those of the one called `VirtualMachineName`, else of the first by name.\n\n\
             A retry follows any failure but one that would come again: a template or an identity that Azure refuses. A virtual machine that was there\n\
             before the task is never deleted.\n"
        }
        Task::CreateCustomImage => {
            "\nThe description that is used when the input is empty reads `Custom image created from build <number> requested for <name>.`\n"
        }
        Task::CreateEnvironment | Task::PopulateEnvironment => {
            "\nWith `OutputTemplateVariables` the outputs of exactly the deployment that the task made become variables of exactly their names, arrays and\n\
             objects as JSON; secure outputs become secret variables, or none where Azure does not show them.\n"
        }
        Task::ComputeGalleryImageDefinition | Task::ComputeGalleryImageVersion => {
            "\n[Compute galleries](gallery.md) tells which setting of the portal, the CLI, PowerShell and REST is which input.\n"
        }
        Task::StartVm | Task::StopVm => "\nA virtual machine that is not there is an error.\n",
        Task::ImageFactory => {
            "\n[The image factory](image-factory.md) says what the configuration folder holds and how to set the pipeline up.\n"
        }
        Task::DeleteVm | Task::DeleteCustomImage | Task::DeleteEnvironment => {
            "\nWhat is not there is a warning: the task's result is then *succeeded with issues*.\n"
        }
    }
}
