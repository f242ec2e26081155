//! Microsoft.Resources: resource groups' deployments, their operations and outputs.

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    arm::{ApiVersion, IdError, Request, ResourceId},
    order,
};

/// The version of the provider that all requests ask for.
pub const API_VERSION: ApiVersion = ApiVersion("2022-09-01");

/// What a deployment deploys.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    /// The template.
    pub template: Value,
    /// Its parameters, `{"name": {"value": …}}`.
    pub parameters: Map<String, Value>,
}

/// A deployment, as a GET shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was last written; a nested deployment before the one around it.
    pub timestamp: Option<OffsetDateTime>,
    /// Its outputs.
    pub outputs: Vec<Output>,
}

/// An output of a deployment.
#[derive(Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name, as the template spells it.
    pub name: String,
    /// Its value, arrays and objects as JSON; absent where the service does not show it.
    pub value: Option<String>,
    /// Whether its type is a secure one.
    pub secure: bool,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Output").field("name", &self.name).field("secure", &self.secure).finish_non_exhaustive()
    }
}

/// The id of a deployment in a resource group, whose id is `/subscriptions/{s}/resourceGroups/{g}`.
pub fn deployment_id(resource_group_id: &str, name: &str) -> Result<ResourceId, IdError> {
    format!("{}/providers/Microsoft.Resources/deployments/{name}", resource_group_id.trim_end_matches('/')).parse()
}

/// PUT of an incremental deployment; long-running.
pub fn create(id: &ResourceId, deployment: &NewDeployment) -> Request {
    let body = json!({ "properties": { "mode": "Incremental", "template": &deployment.template, "parameters": &deployment.parameters } });
    Request::put(id.as_str(), API_VERSION, body)
}

/// GET of a deployment.
pub fn get(id: &ResourceId) -> Request {
    Request::get(id.as_str(), API_VERSION)
}

/// The list of a resource group's deployments.
pub fn list(resource_group_id: &str) -> Request {
    Request::get(format!("{}/providers/Microsoft.Resources/deployments", resource_group_id.trim_end_matches('/')), API_VERSION)
}

/// POST cancel.
pub fn cancel(id: &ResourceId) -> Request {
    Request::post(format!("{}/cancel", id.as_str()), API_VERSION, None)
}

/// DELETE of a deployment's record, not of what it made; long-running.
pub fn delete(id: &ResourceId) -> Request {
    Request::delete(id.as_str(), API_VERSION)
}

/// POST exportTemplate: the template that was deployed.
pub fn export_template(id: &ResourceId) -> Request {
    Request::post(format!("{}/exportTemplate", id.as_str()), API_VERSION, None)
}

/// The list of a deployment's operations.
pub fn operations(id: &ResourceId) -> Request {
    Request::get(format!("{}/deployments/{}/operations", id.resource_group_id(), id.name()), API_VERSION)
}

/// The ids of the resources of a type that a deployment's operations have written, by name.
pub fn written(operations: &[Value], resource_type: &str) -> Vec<String> {
    let ids = operations
        .iter()
        .filter_map(|operation| operation.pointer("/properties/targetResource"))
        .filter(|target| target["resourceType"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(resource_type)))
        .filter_map(|target| target["id"].as_str().map(str::to_owned));
    distinct(ids.collect())
}

/// Ids in order, each once, without regard to case.
pub fn distinct(mut ids: Vec<String>) -> Vec<String> {
    order::sort(&mut ids, &mut |one, other| one.to_ascii_lowercase().cmp(&other.to_ascii_lowercase()));
    ids.dedup_by(|left, right| left.eq_ignore_ascii_case(right));
    ids
}

/// The ids of all resources that a deployment's operations have written or tried to write, by name. Reading operations write nothing.
pub fn all_written(operations: &[Value]) -> Vec<String> {
    let creates = operations.iter().filter(|operation| {
        operation
            .pointer("/properties/provisioningOperation")
            .and_then(Value::as_str)
            .is_none_or(|word| word.eq_ignore_ascii_case("Create"))
    });
    let ids = creates.filter_map(|operation| operation.pointer("/properties/targetResource/id")?.as_str().map(str::to_owned));
    distinct(ids.collect())
}

impl Deployment {
    /// Reads an answer.
    pub fn read(value: &Value) -> Self {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        Self {
            id: text("/id").to_owned(),
            name: text("/name").to_owned(),
            timestamp: OffsetDateTime::parse(text("/properties/timestamp"), &Rfc3339).ok(),
            outputs: value.pointer("/properties/outputs").and_then(Value::as_object).into_iter().flatten().map(Output::read).collect(),
        }
    }
}

impl Output {
    fn read((name, output): (&String, &Value)) -> Self {
        let kind = output["type"].as_str().unwrap_or_default().to_ascii_lowercase();
        let value = match output.get("value") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => Some(other.to_string()),
        };
        Self { name: name.clone(), value, secure: kind.starts_with("secure") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_keep_their_types_and_secure_ones_may_have_no_value() {
        let deployment =
            Deployment::read(&json!({"id": "/d", "name": "d", "properties": {"timestamp": "2026-11-20T21:00:00.1234567Z", "outputs": {
                "text": {"type": "String", "value": "a"},
                "number": {"type": "Int", "value": 12_345},
                "flag": {"type": "Bool", "value": true},
                "list": {"type": "Array", "value": ["a", 1]},
                "secret": {"type": "SecureString"},
                "shown": {"type": "secureObject", "value": {"a": 1}},
            }}}));
        let found: Vec<_> =
            deployment.outputs.iter().map(|output| (output.name.as_str(), output.value.as_deref(), output.secure)).collect();
        assert_eq!(
            found,
            [
                ("text", Some("a"), false),
                ("number", Some("12345"), false),
                ("flag", Some("true"), false),
                ("list", Some("[\"a\",1]"), false),
                ("secret", None, true),
                ("shown", Some("{\"a\":1}"), true),
            ]
        );
        assert!(deployment.timestamp.is_some());
    }

    #[test]
    fn resources_are_found_by_type_never_by_position() {
        let operation = |kind: &str, id: &str| json!({"properties": {"targetResource": {"resourceType": kind, "id": id}}});
        let operations = [
            json!({"properties": {"provisioningOperation": "EvaluateDeploymentOutput"}}),
            operation("Microsoft.Storage/storageAccounts", "/s"),
            operation("microsoft.devtestlab/labs/virtualMachines", "/labs/l/virtualmachines/b"),
            operation("Microsoft.DevTestLab/labs/virtualmachines", "/labs/l/virtualmachines/A"),
            operation("Microsoft.DevTestLab/labs/virtualmachines", "/labs/l/virtualmachines/B"),
        ];
        assert_eq!(
            written(&operations, "Microsoft.DevTestLab/labs/virtualmachines"),
            ["/labs/l/virtualmachines/A", "/labs/l/virtualmachines/b"]
        );
    }
}
