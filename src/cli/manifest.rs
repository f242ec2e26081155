//! The tasks' manifests, as the service uses them: aliases, defaults, which inputs are required, which are files or connections.

use std::sync::LazyLock;

use serde_json::Value;

use super::nearest;

/// A task's manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The task's name, such as `AzureDevTestLabsCreateVM`.
    pub name: String,
    /// The name that users see.
    pub friendly_name: String,
    /// What it does, in a sentence.
    pub description: String,
    /// The major version, which a step names after `@`.
    pub major: String,
    /// The inputs in order.
    pub inputs: Vec<Input>,
    /// The names of output variables.
    pub outputs: Vec<String>,
}

/// An input of a task.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Other names that a pipeline may use.
    pub aliases: Vec<String>,
    /// `string`, `filePath`, `boolean`, `connectedService:AzureRM`, …
    pub kind: String,
    /// The value when a step gives none.
    pub default: String,
    /// Whether a step must give a value.
    pub required: bool,
    /// What the user is told about it.
    pub help: String,
    /// When the input counts at all, such as `OsType = Linux`.
    pub visible: Option<String>,
}

impl Input {
    /// Whether a name in a pipeline means this input.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }

    /// Whether the value is a file's path, which the agent roots.
    pub fn is_path(&self) -> bool {
        self.kind.eq_ignore_ascii_case("filePath")
    }

    /// Whether the value names a service connection.
    pub fn is_connection(&self) -> bool {
        self.kind.to_ascii_lowercase().starts_with("connectedservice")
    }
}

/// What all tasks share.
const SHARED: &str = include_str!("../../task.json");

/// What is each task's own.
const SOURCES: &[&str] = &[
    include_str!("../tasks/create_vm.json"),
    include_str!("../tasks/delete_vm.json"),
    include_str!("../tasks/start_vm.json"),
    include_str!("../tasks/stop_vm.json"),
    include_str!("../tasks/create_custom_image.json"),
    include_str!("../tasks/delete_custom_image.json"),
    include_str!("../tasks/create_environment.json"),
    include_str!("../tasks/populate_environment.json"),
    include_str!("../tasks/delete_environment.json"),
    include_str!("../tasks/compute_gallery_image_definition.json"),
    include_str!("../tasks/compute_gallery_image_version.json"),
    include_str!("../tasks/image_factory.json"),
];

/// All manifests.
pub fn all() -> &'static [Manifest] {
    static ALL: LazyLock<Vec<Manifest>> = LazyLock::new(|| {
        let shared = serde_json::from_str(SHARED).unwrap_or_default();
        SOURCES.iter().filter_map(|source| Manifest::read(&shared, &serde_json::from_str(source).ok()?)).collect()
    });
    &ALL
}

/// The manifest of this task, by its whole name.
pub fn find(name: &str) -> Option<&'static Manifest> {
    // A pipeline may write publisher.extension.task.
    let name = name.rsplit('.').next().unwrap_or(name);
    all().iter().find(|manifest| manifest.name.eq_ignore_ascii_case(name))
}

/// The manifest of this task, by its whole name or by the end of it, such as `CreateVM`.
pub fn find_short(name: &str) -> Option<&'static Manifest> {
    let ends = |manifest: &&Manifest| {
        ["AzureDevTestLabs", "AzureComputeGallery", "Azure"]
            .iter()
            .any(|prefix| manifest.name.strip_prefix(prefix).is_some_and(|rest| rest.eq_ignore_ascii_case(name)))
    };
    find(name).or_else(|| all().iter().find(ends))
}

/// The known task whose name is nearest, for a hint.
pub fn nearest(name: &str) -> Option<&'static str> {
    nearest::nearest(name, all().iter().map(|manifest| manifest.name.as_str()))
}

impl Manifest {
    /// One task's own part laid over what all share; `cargo xtask package` merges in the same way.
    fn read(shared: &Value, own: &Value) -> Option<Self> {
        let outputs = merged(shared, own, "outputVariables");
        Some(Self {
            name: own["name"].as_str()?.to_owned(),
            friendly_name: own["friendlyName"].as_str().unwrap_or_default().to_owned(),
            description: own["description"].as_str().unwrap_or_default().to_owned(),
            major: env!("CARGO_PKG_VERSION_MAJOR").to_owned(),
            inputs: merged(shared, own, "inputs").iter().filter_map(Input::read).collect(),
            outputs: outputs.iter().filter_map(|output| Some(output["name"].as_str()?.to_owned())).collect(),
        })
    }

    /// The input that a name in a pipeline means.
    pub fn input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.is_called(name))
    }
}

/// A list of both parts: the shared items first, those of the same name merged; `null` takes the shared ones away, and `leaveOut` those it
/// names.
fn merged(shared: &Value, own: &Value, list: &str) -> Vec<Value> {
    let mut items =
        if own.get(list).is_some_and(Value::is_null) { Vec::new() } else { shared[list].as_array().cloned().unwrap_or_default() };
    for item in own[list].as_array().into_iter().flatten() {
        match (items.iter_mut().find(|other| other["name"] == item["name"]), item.as_object()) {
            (Some(Value::Object(other)), Some(item)) => other.extend(item.clone()),
            _ => items.push(item.clone()),
        }
    }
    let left_out = own["leaveOut"].as_array().map_or(&[][..], Vec::as_slice);
    items.retain(|item| !left_out.contains(&item["name"]));
    items
}

impl Input {
    fn read(json: &Value) -> Option<Self> {
        let default = match &json["defaultValue"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        Some(Self {
            name: json["name"].as_str()?.to_owned(),
            aliases: json["aliases"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect(),
            kind: json["type"].as_str().unwrap_or("string").to_owned(),
            default,
            required: json["required"].as_bool().unwrap_or(false),
            help: json["helpMarkDown"].as_str().unwrap_or_default().to_owned(),
            visible: json["visibleRule"].as_str().map(str::to_owned),
        })
    }

    /// Whether the input counts, given the values of the others. A rule that cannot be read counts as not fulfilled.
    pub fn is_visible(&self, value: impl Fn(&str) -> Option<String>) -> bool {
        let Some(rule) = &self.visible else { return true };
        let holds = |clause: &str| {
            let (name, expected, wanted) = match clause.split_once("!=") {
                Some((name, expected)) => (name, expected, false),
                None => match clause.split_once('=') {
                    Some((name, expected)) => (name, expected.trim_start_matches('='), true),
                    None => return false,
                },
            };
            let actual = value(name.trim()).unwrap_or_default();
            actual.trim().eq_ignore_ascii_case(expected.trim().trim_matches('"')) == wanted
        };
        rule.split("||").any(|clauses| clauses.split("&&").all(holds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_of_the_project_is_known() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tasks");
        let files = std::fs::read_dir(folder)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "json"));
        assert_eq!(all().len(), files.count());
        assert!(all().iter().all(|manifest| {
            manifest.input("azureSubscription").is_some_and(|input| input.name == "ConnectedServiceName" && input.is_connection())
        }));
    }

    #[test]
    fn tasks_are_found_by_whole_and_short_names() {
        for name in ["AzureDevTestLabsCreateVM", "azuredevtestlabscreatevm", "publisher.extension.AzureDevTestLabsCreateVM"] {
            assert_eq!(find(name).map(|manifest| manifest.name.as_str()), Some("AzureDevTestLabsCreateVM"), "{name}");
        }
        assert_eq!(find_short("createvm").map(|manifest| manifest.name.as_str()), Some("AzureDevTestLabsCreateVM"));
        assert!(find("CreateVM").is_none());
        assert_eq!(nearest("AzureDevTestLabsCreateVirtualMachines"), None);
        assert_eq!(nearest("AzureDevTestLabCreateVm"), Some("AzureDevTestLabsCreateVM"));
    }

    #[test]
    fn visible_rules_are_evaluated_over_the_other_inputs() {
        let input = |rule: &str| Input {
            name: "X".into(),
            aliases: vec![],
            kind: "string".into(),
            default: String::new(),
            required: true,
            help: String::new(),
            visible: Some(rule.into()),
        };
        let value = |name: &str| (name == "OsType").then(|| "Linux".to_owned());
        for (rule, visible) in [
            ("OsType = Linux", true),
            ("OsType == linux", true),
            ("OsType = Windows", false),
            ("OsType != Windows", true),
            ("OsType = Windows || OsType = Linux", true),
            ("OsType = Linux && Other = x", false),
            ("nonsense", false),
        ] {
            assert_eq!(input(rule).is_visible(value), visible, "{rule}");
        }
    }

    #[test]
    fn a_tasks_own_part_is_laid_over_the_shared_one() {
        let shared = serde_json::json!({"inputs": [{"name": "A", "type": "string"}, {"name": "B"}]});
        let manifest =
            Manifest::read(&shared, &serde_json::json!({"name": "T", "inputs": [{"name": "C"}, {"name": "A", "required": true}]})).unwrap();
        assert_eq!(
            manifest.inputs.iter().map(|input| (input.name.as_str(), input.required)).collect::<Vec<_>>(),
            [("A", true), ("B", false), ("C", false)]
        );
        assert!(Manifest::read(&shared, &serde_json::json!({"name": "T", "inputs": null})).unwrap().inputs.is_empty());
    }
}
