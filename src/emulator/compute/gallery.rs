//! Compute galleries: routes, galleries themselves, and what definitions and versions have in common with them.

mod definition;
mod replication;
mod security;
mod soft_delete;
mod source;
mod version;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::emulator::{
    error::ApiError,
    http::{Reply, parse_object},
    id::Id,
    ledger,
    operation::State,
    page,
    provision::{self, Applied, Put, properties},
    router::{self, Target},
    settings::Work,
    store::Resource,
    world::{Call, World},
};

const GALLERIES: &str = "Microsoft.Compute/galleries";
const DEFINITIONS: &str = "Microsoft.Compute/galleries/images";
const VERSIONS: &str = "Microsoft.Compute/galleries/images/versions";

/// How long a gallery or a definition is in the making, in simulated seconds.
const RECORD_SECONDS: f64 = 3.0;

/// Whether a request is for a gallery or something in one.
pub fn is_for(target: &Target) -> bool {
    let kinds = target.kinds();
    ["galleries", "galleries/images", "galleries/images/versions", soft_delete::KINDS].contains(&kinds.as_str())
}

/// Serves a request for a gallery or something in one.
pub fn serve(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    if target.kinds() == soft_delete::KINDS {
        return soft_delete::list(world, call, target);
    }
    if !target.is_resource() {
        return list(world, call, target);
    }
    let id = id_of(target);
    match call.method() {
        "GET" => {
            let found = world.store.get(&id.key()).ok_or_else(|| not_found(&id))?;
            Ok(Reply::ok(&shown(call, &found)))
        }
        "PUT" => {
            let body = version::for_interface(&id, &call.api_version, parse_object(&call.request.body)?)?;
            let applied = provision::put(world, &Put { caller: &call.caller, id: &id, body: &body, duration: None })?;
            Ok(accepted(world, call, &applied))
        }
        "PATCH" => {
            let found = world.store.get(&id.key()).ok_or_else(|| not_found(&id))?;
            let body = patched(&found, &parse_object(&call.request.body)?);
            let applied = provision::put(world, &Put { caller: &call.caller, id: &id, body: &body, duration: None })?;
            Ok(accepted(world, call, &applied))
        }
        "DELETE" => delete(world, call, &id),
        method => Err(ApiError::method_not_allowed(method, &call.request.path)),
    }
}

/// Makes or changes a gallery or something in one.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    if let Some(parent) = put.id.parent()
        && !world.store.contains(&parent.key())
    {
        return Err(ApiError::parent_not_found(&format!("{}/{}", parent.type_name(), parent.full_name())));
    }
    match put.id.pairs.len() {
        1 => put_gallery(world, put),
        2 => definition::put(world, put),
        _ => version::put(world, put),
    }
}

/// Whether a type is a gallery's or of something in one.
pub fn has(id: &Id) -> bool {
    [GALLERIES, DEFINITIONS, VERSIONS].iter().any(|kind| id.is(kind))
}

fn id_of(target: &Target) -> Id {
    let kinds = ["galleries", "images", "versions"];
    let pairs = target.rest.chunks(2).zip(kinds).map(|(pair, kind)| (kind.to_owned(), pair[1].clone())).collect();
    Id { scope: target.scope(), namespace: "Microsoft.Compute".into(), pairs }
}

fn not_found(id: &Id) -> ApiError {
    ApiError::resource_not_found(&format!("{}/{}", id.type_name(), id.full_name()), id.group())
}

fn list(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    if call.method() != "GET" {
        return Err(router::unknown(world, call));
    }
    if target.rest.len() > 1 {
        let above = Target { rest: target.rest[..target.rest.len() - 1].to_vec(), ..target.clone() };
        let id = id_of(&above);
        if !world.store.contains(&id.key()) {
            return Err(not_found(&id));
        }
    }
    let items = if target.group.is_none() {
        world.store.of_type(&target.subscription, GALLERIES)
    } else {
        world.store.members(&format!("{}/providers/Microsoft.Compute/{}", target.scope(), target.rest.join("/")))
    };
    page::list(world, call, &items, |resource| resource.body.clone())
}

/// A resource as a GET shows it; a version with its replication only when asked for.
fn shown(call: &Call<'_>, resource: &Resource) -> Value {
    let mut body = resource.body.clone();
    let expand = call.request.parameter("$expand").unwrap_or_default();
    if resource.type_name.eq_ignore_ascii_case(VERSIONS) && expand.eq_ignore_ascii_case("ReplicationStatus") {
        body["properties"]["replicationStatus"] = replication::status(resource);
    }
    body
}

/// 201 or 200 with the body, and the address of the operation while it goes on.
pub fn accepted(world: &World, call: &Call<'_>, applied: &Applied) -> Reply {
    let mut reply = applied.reply();
    if let Some(operation) = &applied.operation {
        let addresses = router::operation_accepted(world, call, &applied.resource, operation).headers;
        reply.headers.extend(addresses.into_iter().filter(|(name, _)| name == "Azure-AsyncOperation"));
    }
    reply
}

/// The body that a PATCH stands for: what it names laid over what is there.
fn patched(resource: &Resource, patch: &Value) -> Value {
    let mut body = json!({"location": resource.location(), "tags": resource.body["tags"], "properties": resource.body["properties"]});
    if patch["tags"].is_object() {
        body["tags"] = patch["tags"].clone();
    }
    for (name, value) in patch["properties"].as_object().into_iter().flatten() {
        match (body["properties"][name].as_object_mut(), value.as_object()) {
            (Some(there), Some(given)) => there.extend(given.clone()),
            _ => body["properties"][name] = value.clone(),
        }
    }
    body
}

/// Puts a resource in place that is still in the making, and ends that after a while.
fn begin(world: &Arc<World>, mut resource: Resource, existing: Option<&Resource>, duration: Duration) -> Applied {
    if let Some(existing) = existing {
        resource.created_at = existing.created_at;
        resource.private.clone_from(&existing.private);
    }
    resource.set_state(if existing.is_none() { "Creating" } else { "Updating" });
    let operation = world.begin();
    let key = resource.key.clone();
    let resource = world.store.put(resource);
    let (background, ending) = (world.clone(), operation.clone());
    world.spawn(async move {
        let outcome = background.provisioning(&key, duration).await;
        let _gate = background.gate();
        let state = outcome.as_ref().map_or("Succeeded", |outcome| outcome.state.as_str());
        match background.settle(&key, |resource| resource.set_state(state)) {
            Some(_) => ending.finish(outcome.map_or(Ok(()), |outcome| Err(outcome.error))),
            None => ending.end(State::Canceled),
        }
    });
    Applied { created: existing.is_none(), resource, operation: Some(operation) }
}

fn record_duration(world: &World) -> Duration {
    world.settings().scaled(RECORD_SECONDS)
}

fn invalid_parameter(target: &str, message: impl Into<String>) -> ApiError {
    ApiError::bad_request("InvalidParameter", message).with_target(target)
}

/// What was set when it was made and is not to be changed.
fn change_not_allowed(property: &str) -> ApiError {
    ApiError::conflict("PropertyChangeNotAllowed", format!("Changing property '{property}' is not allowed.")).with_target(property)
}

fn missing(property: &str) -> ApiError {
    invalid_parameter(property, format!("Required parameter '{property}' is missing (null)."))
}

/// A property that takes one of a few values; gives it in Azure's own spelling.
fn word(value: &Value, property: &str, words: &[&'static str]) -> Result<Option<&'static str>, ApiError> {
    let Some(text) = value.as_str() else {
        return if value.is_null() {
            Ok(None)
        } else {
            Err(invalid_parameter(property, format!("The value of parameter '{property}' is invalid.")))
        };
    };
    let found = words.iter().find(|word| word.eq_ignore_ascii_case(text)).copied();
    found.map(Some).ok_or_else(|| invalid_parameter(property, format!("The value '{text}' of parameter '{property}' is invalid.")))
}

fn check_name(id: &Id, punctuation: &[char], parameter: &str) -> Result<(), ApiError> {
    let name = id.name();
    let ends = |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphanumeric());
    let good = (1..=80).contains(&name.len())
        && name.chars().all(|character| character.is_ascii_alphanumeric() || punctuation.contains(&character))
        && ends(name.chars().next())
        && ends(name.chars().next_back());
    if good {
        return Ok(());
    }
    let message = format!("The entity name '{parameter}' is invalid according to its validation rule: ^[^_\\W][\\w-._]{{0,79}}(?<![-.])$.");
    Err(invalid_parameter(parameter, message))
}

fn put_gallery(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    check_name(put.id, &['.', '_'], "galleryName")?;
    let location = put.body["location"].as_str().filter(|location| !location.is_empty()).ok_or_else(|| missing("location"))?;
    let existing = world.store.get(&put.id.key()).filter(|gallery| gallery.state() != "Failed");
    let mut given = properties(put.body)?;
    let subscription = put.id.subscription().unwrap_or_default();
    given.insert("identifier".into(), json!({"uniqueName": format!("{subscription}-{}", put.id.name().to_ascii_uppercase())}));
    let mut resource = Resource::new(provision::body(&put.id.to_string(), put.id, put.body, &given), world.clock.now());
    resource.body["location"] = json!(normalized(location));
    Ok(begin(world, resource, existing.as_deref(), record_duration(world)))
}

fn delete(world: &Arc<World>, call: &Call<'_>, id: &Id) -> Result<Reply, ApiError> {
    let Some(found) = world.store.get(&id.key()) else { return Ok(Reply::empty(204)) };
    if !world.store.below(&format!("{}/", id.key())).is_empty() || soft_delete::holds(world, id) {
        return Err(ApiError::conflict(
            "CannotDeleteResource",
            format!("Can not delete resource before nested resources are deleted. The resource '{}' has nested resources.", id.full_name()),
        ));
    }
    if id.is(VERSIONS) {
        version::check_deletable(world, &found)?;
    }
    let operation = world.begin();
    world.store.update(&id.key(), |resource| resource.set_state("Deleting"));
    let (background, ending, key) = (world.clone(), operation.clone(), id.key());
    let seconds = if id.is(VERSIONS) { None } else { Some(RECORD_SECONDS) };
    world.spawn(async move {
        match seconds {
            None => background.work(Work::Deletion).await,
            Some(_) => ledger::pause(record_duration(&background)).await,
        }
        let _gate = background.gate();
        if let Some(gone) = background.store.remove(&key) {
            soft_delete::note(&background, &gone);
        }
        ending.finish(Ok(()));
    });
    Ok(router::operation_accepted(world, call, &found, &operation))
}

/// A region's name as it compares.
fn normalized(region: &str) -> String {
    region.chars().filter(|character| !character.is_whitespace()).flat_map(char::to_lowercase).collect()
}
