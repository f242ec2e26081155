//! Making resources: one entry for requests and for deployments.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    authorization::lock::{self, Change},
    compute, deployment, devtestlab,
    error::ApiError,
    http::Reply,
    id::Id,
    identity::Caller,
    network,
    operation::Operation,
    provider,
    resources::{self, plain_region, tags},
    storage,
    store::Resource,
    world::World,
};

/// What a resource is made from.
#[derive(Debug)]
pub struct Put<'a> {
    /// Who makes it.
    pub caller: &'a Caller,
    /// What it shall be called.
    pub id: &'a Id,
    /// The request's body, or the template's resource.
    pub body: &'a Value,
    /// How long it takes when the provider is one that the emulator does not know.
    pub duration: Option<Duration>,
}

/// What has become of a request to make something.
#[derive(Debug)]
pub struct Applied {
    /// Whether it is new.
    pub created: bool,
    /// As it stands now.
    pub resource: Arc<Resource>,
    /// What goes on in the background.
    pub operation: Option<Arc<Operation>>,
}

impl Applied {
    /// 201 or 200, with the body.
    pub fn reply(&self) -> Reply {
        Reply::json(if self.created { 201 } else { 200 }, &self.resource.body)
    }
}

/// Makes or changes a resource. The caller holds the gate.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    lock::check(world, &put.id.key(), Change::Write)?;
    match put.id.namespace.to_ascii_lowercase().as_str() {
        "microsoft.devtestlab" => devtestlab::put(world, put),
        "microsoft.compute" => compute::put(world, put),
        "microsoft.storage" => storage::put(world, put),
        "microsoft.network" => network::put(world, put),
        "microsoft.resources" if put.id.type_name().eq_ignore_ascii_case("Microsoft.Resources/deployments") => deployment::put(world, put),
        _ => resources::generic::put(world, put),
    }
}

/// The body of a resource in Azure's order, with the type in its own casing.
pub fn body(id: &str, put_id: &Id, source: &Value, properties: &Map<String, Value>) -> Value {
    let mut body = json!({
        "properties": properties,
        "id": id,
        "name": put_id.name(),
        "type": provider::proper_type(&put_id.type_name()),
    });
    for part in ["location", "tags", "sku", "kind", "identity", "zones", "plan"] {
        if !source[part].is_null() {
            body[part] = source[part].clone();
        }
    }
    body
}

/// Checks what all providers have in common: tags, and a place where the type can be and where the resource is already.
pub fn check(world: &World, put: &Put<'_>) -> Result<(), ApiError> {
    tags::check(&put.body["tags"])?;
    let location = put.body["location"].as_str().unwrap_or_default();
    provider::check_location(&provider::proper_type(&put.id.type_name()), location)?;
    let existing = world.store.get(&put.id.key()).filter(|existing| !location.is_empty() && existing.state() != "Failed");
    match existing.as_deref().map(Resource::location) {
        Some(there) if !there.is_empty() && plain_region(there) != plain_region(location) => {
            let message = format!(
                "The resource '{}' already exists in location '{there}' in resource group '{}'. A resource with the same name cannot be created \
                 in location '{location}'. Please select a new resource name.",
                put.id.name(),
                put.id.group().unwrap_or_default()
            );
            Err(ApiError::conflict("InvalidResourceLocation", message))
        }
        _ => Ok(()),
    }
}

/// Replaces the tags, as PATCH does.
pub fn patch_tags(world: &World, id: &str, body: &Value) -> Option<Arc<Resource>> {
    world.store.update(id, |resource| {
        if body["tags"].is_object() {
            resource.body["tags"] = body["tags"].clone();
        }
    })
}

/// The properties of a body that must be an object.
pub fn properties(body: &Value) -> Result<Map<String, Value>, ApiError> {
    match &body["properties"] {
        Value::Null => Ok(Map::new()),
        Value::Object(properties) => Ok(properties.clone()),
        _ => Err(ApiError::invalid_content("'properties' must be an object")),
    }
}
