//! Microsoft.DevTestLab: labs and what is in them.

pub mod artifact;
pub mod custom_image;
pub mod disk;
pub mod environment;
mod expand;
mod kinds;
pub mod lab;
pub mod plain;
mod policy;
pub mod repository;
mod schedule;
pub mod shared_gallery;
pub mod virtual_machine;
pub mod virtual_machine_actions;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use expand::Expand;
use kinds::Verb;

use super::{
    error::ApiError,
    http::{Reply, parse_object},
    id::Id,
    identity::Caller,
    operation::{Operation, State},
    page, provider, provision,
    provision::{Applied, Put},
    router::{self, Target},
    store::Resource,
    world::{Call, World},
};

/// The only api-version that has shared images.
const SHARED_IMAGES: &str = "2018-10-15-preview";

/// Serves a request to the provider.
pub fn serve(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    if let [locations, _, operations, name] = target.rest.as_slice()
        && locations.eq_ignore_ascii_case("locations")
        && operations.eq_ignore_ascii_case("operations")
    {
        return operation_status(world, call, name);
    }
    let target = &resolve_me(target, &call.caller);
    if target.group.is_none() {
        return list_in_subscription(world, call, target);
    }
    if target.is_resource() { serve_resource(world, call, target) } else { serve_collection(world, call, target) }
}

/// `@me` stands for the caller.
fn resolve_me(target: &Target, caller: &Caller) -> Target {
    let mut target = target.clone();
    for segment in target.rest.iter_mut().filter(|segment| segment.eq_ignore_ascii_case("@me")) {
        segment.clone_from(&caller.object_id);
    }
    target
}

fn list_in_subscription(world: &World, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    match (call.method(), target.kinds().as_str(), target.rest.len()) {
        ("GET", "labs", 1) => page::list(world, call, &world.store.of_type(&target.subscription, "Microsoft.DevTestLab/labs"), show),
        ("GET", "schedules", 1) => {
            page::list(world, call, &world.store.of_type(&target.subscription, "Microsoft.DevTestLab/schedules"), show)
        }
        _ => Err(router::unknown(world, call)),
    }
}

fn id_of(target: &Target) -> Id {
    let pairs = target.rest.chunks(2).filter(|pair| pair.len() == 2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    Id { scope: target.scope(), namespace: "Microsoft.DevTestLab".into(), pairs }
}

fn serve_collection(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let last = target.rest.last().map(|last| last.to_ascii_lowercase()).unwrap_or_default();
    if call.method() == "POST" && target.rest.len() > 2 {
        return act(world, call, &id_of(target), &last);
    }
    if !kinds::find(&target.kinds()).is_some_and(|kind| kind.lists) {
        return Err(router::unknown(world, call));
    }
    if call.method() != "GET" {
        return Err(ApiError::method_not_allowed(call.method(), &call.request.path));
    }
    let collection = format!("{}/providers/Microsoft.DevTestLab/{}", target.scope(), target.rest.join("/"));
    if target.rest.len() > 1 {
        require_parents(world, &id_of(target))?;
    }
    let expand = Expand::parse(&call.request.parameter("$expand").unwrap_or_default());
    if target.rest.len() == 5 && target.rest[3].eq_ignore_ascii_case("@all") {
        return page::list(world, call, &of_all_users(world, target), |resource| shown(world, call, resource, &expand));
    }
    page::members(world, call, &collection, |resource| shown(world, call, resource, &expand))
}

/// The lab and everything between it and this resource must exist; users and policy sets are there by themselves.
fn require_parents(world: &World, id: &Id) -> Result<(), ApiError> {
    (1..=id.pairs.len()).map(|depth| id.ancestor(depth)).try_for_each(|parent| {
        let by_itself =
            parent.pairs.last().is_some_and(|(kind, _)| kind.eq_ignore_ascii_case("users") || kind.eq_ignore_ascii_case("policysets"));
        if by_itself || world.store.contains(&parent.key()) { Ok(()) } else { Err(not_found(&parent)) }
    })
}

/// The 404 for a resource of this provider.
pub fn not_found(id: &Id) -> ApiError {
    let name = format!("{}/{}", id.type_name(), id.full_name());
    ApiError::resource_not_found(&name, id.group())
}

/// The lab that a resource lies in.
pub fn require_lab(world: &World, id: &Id) -> Result<Arc<Resource>, ApiError> {
    let lab = id.ancestor(1);
    let found = world.store.get(&lab.key()).ok_or_else(|| ApiError::parent_not_found(&lab.to_string()))?;
    if found.state() == "Deleting" {
        return Err(not_in_valid_state(&lab, "Deleting"));
    }
    Ok(found)
}

/// Another operation is going on.
pub fn not_in_valid_state(id: &Id, state: &str) -> ApiError {
    ApiError::conflict(
        "ResourceIsNotInValidState",
        format!("The resource '{}' is not in a valid state for the requested operation. Its provisioning state is '{state}'.", id.key()),
    )
}

fn serve_resource(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let id = id_of(target);
    match call.method() {
        "GET" => get(world, call, &id),
        "HEAD" => Ok(Reply::empty(if world.store.contains(&id.key()) { 204 } else { 404 })),
        "PUT" => {
            let body = parse_object(&call.request.body)?;
            let applied = put(world, &Put { caller: &call.caller, id: &id, body: &body, duration: None })?;
            let reply = Reply::json(applied.reply().status, &show(&applied.resource));
            Ok(match &applied.operation {
                Some(operation) => reply.with_header("Azure-AsyncOperation", status_url(call, &id, &applied.resource, operation, "")),
                None => reply,
            })
        }
        "PATCH" => patch(world, call, &id),
        "DELETE" => delete(world, call, &id),
        // A name in the last place may be an action's: labs/{l}/virtualmachines/{v}/start has five parts, but schedules' have six.
        method => Err(ApiError::method_not_allowed(method, &call.request.path)),
    }
}

fn get(world: &World, call: &Call<'_>, id: &Id) -> Result<Reply, ApiError> {
    let expand = Expand::parse(&call.request.parameter("$expand").unwrap_or_default());
    if let Some(resource) = world.store.get(&id.key()) {
        return Ok(Reply::ok(&shown(world, call, &resource, &expand)));
    }
    plain::implied(world, id).map(|body| Reply::ok(&body)).ok_or_else(|| not_found(id))
}

/// A resource as a list or GET shows it, with what `$expand` asks for.
fn shown(world: &World, call: &Call<'_>, resource: &Resource, expand: &Expand) -> Value {
    let mut body = match resource.type_name.as_str() {
        "Microsoft.DevTestLab/labs/virtualMachines" => virtual_machine::show(world, resource, expand),
        "Microsoft.DevTestLab/labs/virtualNetworks" if expand.has("externalSubnets") => plain::show_network(world, resource),
        _ => show(resource),
    };
    if expand.has("applicableSchedule")
        && let Some(id) = Id::parse(&resource.key).filter(|id| id.pairs.len() > 1)
    {
        body["properties"]["applicableSchedule"] = schedule::applicable(world, &id, resource.location());
    }
    if call.api_version != SHARED_IMAGES
        && let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut)
    {
        properties.remove("sharedImageId");
        properties.remove("securityProfile");
    }
    expand.select(&mut body);
    body
}

/// Properties of a machine, network or whatever is changed: labs of 2016 take some, later ones tags alone.
fn patch(world: &World, call: &Call<'_>, id: &Id) -> Result<Reply, ApiError> {
    let body = parse_object(&call.request.body)?;
    if kinds::of(id).is_none_or(|kind| kind.put == Verb::None) {
        return Err(ApiError::method_not_allowed("PATCH", &call.request.path));
    }
    let resource = provision::patch_tags(world, &id.key(), &body).ok_or_else(|| not_found(id))?;
    if call.api_version.as_str() >= "2017" {
        return Ok(Reply::ok(&shown(world, call, &resource, &Expand::default())));
    }
    let given = lab_properties(&body)?;
    let fixed = |name: &str| virtual_machine::READ_ONLY.contains(&name) || virtual_machine::FIXED.contains(&name);
    let changed = world.settle(&resource.key, |resource| {
        for (name, value) in given.into_iter().filter(|(name, _)| !fixed(name) && !virtual_machine::SECRET.contains(&name.as_str())) {
            resource.set(&name, value);
        }
    });
    Ok(Reply::ok(&shown(world, call, &changed.unwrap_or(resource), &Expand::default())))
}

/// Environments, disks and the like of everybody.
fn of_all_users(world: &World, target: &Target) -> Vec<Arc<Resource>> {
    let kind = provider::proper_type(&id_of(target).child(&target.rest[4], "").type_name());
    let below = world.store.below(&format!("{}/users/", id_of(target).ancestor(1).key()));
    below.into_iter().filter(|resource| resource.type_name == kind).collect()
}

fn show(resource: &Resource) -> Value {
    let mut body = resource.body.value();
    if resource.type_name == "Microsoft.DevTestLab/labs/serviceRunners"
        && let Some(parts) = body.as_object_mut()
    {
        parts.remove("properties");
    }
    body
}

/// Makes or changes a resource of the provider.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    provision::check(world, put)?;
    let kinds: Vec<String> = put.id.pairs.iter().map(|(kind, _)| kind.to_ascii_lowercase()).collect();
    match kinds.join("/").as_str() {
        "labs" => lab::put(world, put),
        "labs/virtualmachines" => virtual_machine::put(world, put),
        "labs/customimages" => custom_image::put(world, put),
        "labs/users/environments" => environment::put(world, put),
        "labs/artifactsources" => artifact::put_source(world, put),
        _ => plain::put(world, put),
    }
}

fn delete(world: &Arc<World>, call: &Call<'_>, id: &Id) -> Result<Reply, ApiError> {
    if kinds::of(id).is_none_or(|kind| kind.delete == Verb::None) {
        return Err(ApiError::method_not_allowed("DELETE", &call.request.path));
    }
    let Some(resource) = world.store.get(&id.key()) else { return Ok(Reply::empty(204)) };
    let operation = match resource.type_name.as_str() {
        "Microsoft.DevTestLab/labs" => lab::delete(world, id),
        "Microsoft.DevTestLab/labs/virtualMachines" => virtual_machine::delete(world, id, &resource)?,
        "Microsoft.DevTestLab/labs/customImages" => custom_image::delete(world, id, &resource)?,
        "Microsoft.DevTestLab/labs/users/environments" => environment::delete(world, id, &resource),
        _ => match plain::delete(world, id, &resource)? {
            Some(operation) => operation,
            None => return Ok(Reply::empty(200)),
        },
    };
    Ok(accepted(call, id, &resource, &operation))
}

/// 202 with both addresses.
fn accepted(call: &Call<'_>, id: &Id, resource: &Resource, operation: &Operation) -> Reply {
    Reply::empty(202)
        .with_header("Azure-AsyncOperation", status_url(call, id, resource, operation, ""))
        .with_header("Location", status_url(call, id, resource, operation, "monitor=true&"))
}

fn status_url(call: &Call<'_>, id: &Id, resource: &Resource, operation: &Operation, monitor: &str) -> String {
    format!(
        "{}/subscriptions/{}/providers/Microsoft.DevTestLab/locations/{}/operations/{}?{monitor}api-version={}",
        call.root,
        id.subscription().unwrap_or_default(),
        resource.location().to_ascii_lowercase().replace(' ', ""),
        operation.name,
        call.api_version
    )
}

fn operation_status(world: &World, call: &Call<'_>, name: &str) -> Result<Reply, ApiError> {
    if call.method() != "GET" {
        return Err(ApiError::method_not_allowed(call.method(), &call.request.path));
    }
    let operation = world
        .operations
        .get(name)
        .ok_or_else(|| ApiError::new(404, "OperationNotFound", format!("The operation '{name}' could not be found.")))?;
    if call.request.parameter("monitor").is_none() {
        return Ok(Reply::ok(&operation.status_body()));
    }
    match operation.state() {
        State::Running => {
            Ok(Reply::empty(202).with_header("Location", format!("{}{}?{}", call.root, call.request.path, call.request.query)))
        }
        State::Failed(error) => Err(error),
        _ => Ok(Reply::ok(&operation.status_body())),
    }
}

/// POST to a resource.
fn act(world: &Arc<World>, call: &Call<'_>, id: &Id, action: &str) -> Result<Reply, ApiError> {
    let body = parse_object(&call.request.body)?;
    if action == "evaluatepolicies" {
        let lab = require_lab(world, id)?;
        return Ok(Reply::ok(&policy::evaluate(world, &lab, &call.caller.object_id, &body)));
    }
    let resource = world.store.get(&id.key()).ok_or_else(|| not_found(id))?;
    let operation = match (resource.type_name.as_str(), action) {
        ("Microsoft.DevTestLab/labs", _) => lab::act(world, call, id, &resource, action, &body)?,
        ("Microsoft.DevTestLab/labs/virtualMachines", _) => virtual_machine_actions::act(world, call, id, &resource, action, &body)?,
        ("Microsoft.DevTestLab/labs/artifactSources/artifacts", "generatearmtemplate") => {
            Acted::Answer(artifact::generate_template(&resource, &body))
        }
        ("Microsoft.DevTestLab/labs/users/disks", _) => disk::act(world, id, &resource, action, &body)?,
        ("Microsoft.DevTestLab/labs/users/serviceFabrics", "start" | "stop") => Acted::Started(plain::ended(world)),
        ("Microsoft.DevTestLab/labs/users/serviceFabrics", "listapplicableschedules") => {
            Acted::Answer(schedule::applicable(world, id, resource.location()))
        }
        ("Microsoft.DevTestLab/labs/notificationChannels", "notify") => {
            plain::notify(&body)?;
            return Ok(Reply::empty(200));
        }
        (kind, _) if kind.ends_with("chedules") => schedule::act(world, id, &resource, action, &body)?,
        _ => Acted::Unknown,
    };
    match operation {
        Acted::Started(operation) => Ok(accepted(call, id, &resource, &operation)),
        Acted::Answer(body) => Ok(Reply::ok(&body)),
        Acted::Unknown => Err(router::unknown(world, call)),
    }
}

/// What a POST has led to.
#[derive(Debug)]
pub enum Acted {
    /// An operation goes on.
    Started(Arc<Operation>),
    /// That is the answer.
    Answer(Value),
    /// There is no such action.
    Unknown,
}

/// A new resource of the provider: its id in lower case, with a unique identifier.
pub fn new_resource(world: &World, id: &Id, source: &Value, mut properties: Map<String, Value>) -> Resource {
    properties.insert("uniqueIdentifier".into(), json!(uuid::Uuid::new_v4().to_string()));
    Resource::new(provision::body(&id.key(), id, source, &properties), world.clock.now())
}

/// The location of a request's body, else the lab's.
pub fn with_location(body: &Value, lab: &Resource) -> Value {
    let mut body = body.clone();
    if body["location"].as_str().unwrap_or_default().is_empty() {
        body["location"] = json!(lab.location());
    }
    body
}

/// The properties of a body, their names spelt as DevTest Labs shows them: it takes them in any case, templates in the wild write `OsType`.
pub fn lab_properties(body: &Value) -> Result<Map<String, Value>, ApiError> {
    Ok(provision::properties(body)?.into_iter().map(|(name, value)| (camel(&name), spelt(&name, value))).collect())
}

fn camel(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_ascii_lowercase().to_string() + characters.as_str()).unwrap_or_default()
}

/// What a user's own names stand in stays as it is.
fn spelt(name: &str, value: Value) -> Value {
    match value {
        _ if matches!(name, "value" | "extendedProperties") => value,
        Value::Object(map) => map.into_iter().map(|(name, value)| (camel(&name), spelt(&name, value))).collect(),
        Value::Array(items) => items.into_iter().map(|item| spelt(name, item)).collect(),
        other => other,
    }
}
