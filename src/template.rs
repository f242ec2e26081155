//! The ARM template language: read, declare, expand, evaluate, check.
//!
//! Nothing here sends a request or knows a resource provider: what only a running deployment can tell is asked of a [`Runtime`].

pub mod document;

use serde_json::{Map, Value};
use time::OffsetDateTime;

pub use document::{Document, ParseError, Position};

/// A template or parameter file's error or warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Azure's error code, such as `InvalidTemplate`.
    pub code: &'static str,
    /// The JSON path, such as `resources[0].properties.size`; empty for the whole file.
    pub path: String,
    /// Where it stands in the file.
    pub position: Option<Position>,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// Where a deployment takes place: what `subscription()`, `resourceGroup()`, `deployment()`, `environment()`, `utcNow()` answer.
#[derive(Clone, Debug)]
pub struct Context {
    /// The tenant's GUID.
    pub tenant_id: String,
    /// The subscription's GUID.
    pub subscription_id: String,
    /// The subscription's display name.
    pub subscription_name: String,
    /// The resource group; absent for a deployment at subscription scope.
    pub resource_group: Option<ResourceGroup>,
    /// The deployment's name.
    pub deployment_name: String,
    /// The deployment's location, at subscription scope.
    pub location: Option<String>,
    /// What `environment()` answers.
    pub environment: Value,
    /// What `utcNow()` answers.
    pub now: OffsetDateTime,
}

/// A resource group, as `resourceGroup()` answers.
#[derive(Clone, Debug)]
pub struct ResourceGroup {
    /// Its name.
    pub name: String,
    /// Its region.
    pub location: String,
    /// Its tags.
    pub tags: Map<String, Value>,
}

/// What only a running deployment can tell.
pub trait Runtime {
    /// `reference(id, apiVersion, 'Full')`: the whole resource as a GET shows it, or `None` while it cannot be told.
    fn resource(&self, id: &str, api_version: Option<&str>) -> Result<Option<Value>, String>;
    /// `list*(id, apiVersion, …)`, or `None` while it cannot be told.
    fn list(&self, function: &str, id: &str, api_version: &str, arguments: &[Value]) -> Result<Option<Value>, String>;
    /// The document behind a `templateLink` or `parametersLink`, or `None` when it cannot be fetched.
    fn linked(&self, uri: &str) -> Result<Option<Vec<u8>>, String>;
}
