//! Tags of anything that has an id, by themselves; and what tags may be.

use serde_json::{Map, Value, json};

use super::super::{
    error::ApiError,
    http::{Reply, parse_object},
    world::{Call, World},
};

/// A resource has so many tags at most.
const LIMIT: usize = 50;
const FORBIDDEN: [char; 6] = ['<', '>', '%', '&', '\\', '?'];

/// Serves a request to the tags at a scope, given as the parts of its path.
pub fn serve(world: &World, call: &Call<'_>, scope: &[&str]) -> Result<Reply, ApiError> {
    let id: String = scope.iter().flat_map(|part| ["/", part]).collect();
    let found = world.store.get(&id).ok_or_else(|| ApiError::resource_not_found(&id, None))?;
    let tags = found.body["tags"].as_object().cloned().unwrap_or_default();
    match call.method() {
        "GET" => Ok(shown(&id, &tags)),
        method @ ("PUT" | "PATCH") => {
            let body = parse_object(&call.request.body)?;
            let Value::Object(given) = &body["properties"]["tags"] else {
                return Err(ApiError::invalid_content("'properties.tags' must be an object"));
            };
            let operation = match (method, &body["operation"]) {
                ("PUT", _) => Operation::Replace,
                (_, operation) => Operation::of(operation)?,
            };
            let tags = operation.on(tags, given.clone());
            check(&json!(tags))?;
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

/// What PATCH does with the tags it is given.
#[derive(Clone, Copy)]
enum Operation {
    Replace,
    Merge,
    Delete,
}

impl Operation {
    fn of(operation: &Value) -> Result<Self, ApiError> {
        match operation.as_str().map(str::to_ascii_lowercase).as_deref() {
            Some("replace") => Ok(Self::Replace),
            Some("merge") => Ok(Self::Merge),
            Some("delete") => Ok(Self::Delete),
            _ => Err(ApiError::invalid_content(&format!("'operation' is {operation}: it must be 'Merge', 'Replace' or 'Delete'"))),
        }
    }

    /// Names compare without case. `Delete` takes a name with any value, or with the one that is given.
    fn on(self, mut tags: Map<String, Value>, given: Map<String, Value>) -> Map<String, Value> {
        match self {
            Self::Replace => given,
            Self::Merge => {
                for (name, value) in given {
                    let known = tags.keys().find(|known| known.eq_ignore_ascii_case(&name)).cloned();
                    tags.insert(known.unwrap_or(name), value);
                }
                tags
            }
            Self::Delete => {
                let goes = |name: &String, value: &Value| {
                    let matching = given.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
                    matching.is_some_and(|(_, wanted)| wanted.is_null() || wanted == "" || wanted == value)
                };
                tags.retain(|name, value| !goes(name, value));
                tags
            }
        }
    }
}

/// Checks a resource's tags.
pub fn check(tags: &Value) -> Result<(), ApiError> {
    let tags = match tags {
        Value::Null => return Ok(()),
        Value::Object(tags) => tags,
        _ => return Err(ApiError::invalid_content("'tags' must be an object")),
    };
    if tags.len() > LIMIT {
        let message = format!("The number of tags on the resource is {}: it must not exceed {LIMIT}.", tags.len());
        return Err(ApiError::bad_request("InvalidTags", message));
    }
    for (name, value) in tags {
        check_name(name)?;
        match value {
            Value::Null => {}
            Value::String(text) if text.chars().count() <= 256 => {}
            Value::String(_) => {
                let message = format!("The value of the tag '{name}' is too long: it can have up to 256 characters.");
                return Err(ApiError::bad_request("InvalidTagValueLength", message));
            }
            _ => return Err(ApiError::invalid_content(&format!("the value of the tag '{name}' must be a string"))),
        }
    }
    Ok(())
}

/// Checks a tag's name.
pub fn check_name(name: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.chars().count() > 512 {
        let message = format!("The tag name '{name}' is invalid: it must have 1 to 512 characters.");
        return Err(ApiError::bad_request("InvalidTagNameLength", message));
    }
    if name.contains(FORBIDDEN) {
        let message = format!("The tag name '{name}' is invalid: it must not contain any of <, >, %, &, \\, ?.");
        return Err(ApiError::bad_request("InvalidTagNameCharacters", message));
    }
    Ok(())
}

fn shown(id: &str, tags: &Map<String, Value>) -> Reply {
    Reply::ok(
        &json!({"id": format!("{id}/providers/Microsoft.Resources/tags/default"), "name": "default", "type": "Microsoft.Resources/tags",
        "properties": {"tags": tags}}),
    )
}
