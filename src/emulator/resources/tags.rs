//! Tags of anything that has an id, by themselves.

use serde_json::{Map, Value, json};

use super::super::{
    error::ApiError,
    http::{Reply, parse_object},
    world::{Call, World},
};

/// Serves a request to the tags at a scope, given as the parts of its path.
pub fn serve(world: &World, call: &Call<'_>, scope: &[&str]) -> Result<Reply, ApiError> {
    let id: String = scope.iter().flat_map(|part| ["/", part]).collect();
    let found = world.store.get(&id).ok_or_else(|| ApiError::resource_not_found(&id, None))?;
    let tags = found.body["tags"].as_object().cloned().unwrap_or_default();
    match call.method() {
        "GET" => Ok(shown(&id, &tags)),
        "PUT" | "PATCH" => {
            let body = parse_object(&call.request.body)?;
            let given = body["properties"]["tags"].as_object().cloned().unwrap_or_default();
            let tags = changed(tags, given, body["operation"].as_str().unwrap_or("Replace"));
            world.store.update(&id, |resource| resource.body["tags"] = json!(tags));
            Ok(shown(&id, &tags))
        }
        "DELETE" => {
            world.store.update(&id, |resource| resource.body["tags"] = json!({}));
            Ok(Reply::empty(200))
        }
        method => Err(ApiError::method_not_allowed(method, &call.request.path)),
    }
}

fn changed(mut tags: Map<String, Value>, given: Map<String, Value>, operation: &str) -> Map<String, Value> {
    match operation.to_ascii_lowercase().as_str() {
        "merge" => {
            tags.extend(given);
            tags
        }
        "delete" => {
            tags.retain(|name, _| !given.contains_key(name));
            tags
        }
        _ => given,
    }
}

fn shown(id: &str, tags: &Map<String, Value>) -> Reply {
    Reply::ok(
        &json!({"id": format!("{id}/providers/Microsoft.Resources/tags/default"), "name": "default", "type": "Microsoft.Resources/tags",
        "properties": {"tags": tags}}),
    )
}
