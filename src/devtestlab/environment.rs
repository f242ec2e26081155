//! Environments: resource groups that a lab's users have made from a template.

use serde_json::{Value, json};

use super::{API_VERSION, Lab, text};
use crate::arm::{IdError, Request, ResourceId};

/// An environment, as a GET shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// Its id, the owner's object id in it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Who made it.
    pub created_by: Option<String>,
    /// The resource group that holds its resources, once it is made.
    pub resource_group_id: Option<String>,
}

/// The id of an environment of the caller's own.
pub fn own(lab: &Lab, name: &str) -> Result<ResourceId, IdError> {
    lab.id().child("users", "@me")?.child("environments", name)
}

/// GET of an environment.
pub fn get(id: &ResourceId) -> Request {
    Request::get(id.as_str(), API_VERSION)
}

/// The list of all users' environments.
pub fn list(lab: &Lab) -> Request {
    Request::get(format!("{}/users/@all/environments", lab.id().as_str()), API_VERSION)
}

/// PUT of an environment; long-running. Parameters are name and value.
pub fn create(id: &ResourceId, template: &ResourceId, parameters: &[(String, Value)]) -> Request {
    let parameters: Vec<Value> = parameters.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let body = json!({ "properties": { "deploymentProperties": { "armTemplateId": template.to_string(), "parameters": parameters } } });
    Request::put(id.as_str(), API_VERSION, body)
}

/// DELETE of an environment with its resource group; long-running.
pub fn delete(id: &ResourceId) -> Request {
    Request::delete(id.as_str(), API_VERSION)
}

impl Environment {
    /// Reads an answer.
    pub fn read(value: &Value) -> Self {
        Self {
            id: text(value, "/id").unwrap_or_default(),
            name: text(value, "/name").unwrap_or_default(),
            created_by: text(value, "/properties/createdByUser"),
            resource_group_id: text(value, "/properties/resourceGroupId"),
        }
    }
}
