//! Microsoft.Network as far as machines and environments need it: networks, addresses, interfaces, security groups, load balancers.
//!
//! One table says which parts of a resource are resources of their own, such as a network's subnets. They are shown in their parent and
//! stand beside it in the store; whoever changes one changes both. What refers to what is noted on both sides, and what is referred to
//! stays.

mod address;
mod kinds;
mod reference;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    error::ApiError,
    http::{Reply, parse_object},
    id::Id,
    page, provider,
    provision::{self, Applied, Put, patch_tags, properties},
    resources::generic,
    router::{self, Target},
    store::Resource,
    world::{Call, World},
};
use kinds::Kind;
pub use reference::{hold, link, unlink};

/// Serves a request to the provider.
pub fn serve(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    if let Some(answer) = ask(world, call, target)? {
        return Ok(answer);
    }
    let Some(kind) = kinds::find(&target.rest[0]) else { return generic::serve(world, call, target) };
    if !target.is_resource() {
        return list(world, call, target);
    }
    let id = generic::id_of(target);
    if id.pairs.len() > 2 || (id.pairs.len() == 2 && kind.part(&id.pairs[1].0).is_none()) {
        return Err(router::unknown(world, call));
    }
    let found = world.store.get(&id.key());
    match call.method() {
        "GET" => found.map(|found| tagged(&shown(world, &found))).ok_or_else(|| generic::not_found(&id)),
        "HEAD" => Ok(Reply::empty(if found.is_some() { 204 } else { 404 })),
        "PUT" => {
            let body = parse_object(&call.request.body)?;
            let applied = put(world, &Put { caller: &call.caller, id: &id, body: &body, duration: None })?;
            let operation = world.begin();
            operation.finish(Ok(()));
            let mut reply = tagged(&shown(world, &applied.resource));
            reply.status = if applied.created { 201 } else { 200 };
            let headers = router::operation_accepted(world, call, &applied.resource, &operation).headers;
            reply.headers.extend(headers.into_iter().filter(|(name, _)| name == "Azure-AsyncOperation"));
            Ok(reply)
        }
        "PATCH" if id.pairs.len() == 1 => {
            let body = parse_object(&call.request.body)?;
            let etag = new_etag();
            let changed = patch_tags(world, &id.key(), &body).ok_or_else(|| generic::not_found(&id))?;
            let changed = world.store.update(&changed.key, |resource| resource.body["etag"] = json!(etag));
            changed.map(|changed| tagged(&shown(world, &changed))).ok_or_else(|| generic::not_found(&id))
        }
        "DELETE" => {
            let Some(found) = found else { return Ok(Reply::empty(204)) };
            reference::check_free(world, &found)?;
            delete(world, &id, &found)?;
            let operation = world.begin();
            operation.finish(Ok(()));
            Ok(router::operation_accepted(world, call, &found, &operation))
        }
        method => Err(ApiError::method_not_allowed(method, &call.request.path)),
    }
}

/// The answer, with the resource's tag as a header.
fn tagged(body: &Value) -> Reply {
    let reply = Reply::ok(body);
    match body["etag"].as_str() {
        Some(etag) => reply.with_header("ETag", etag),
        None => reply,
    }
}

fn list(world: &World, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    if call.method() != "GET" {
        return Err(ApiError::method_not_allowed(call.method(), &call.request.path));
    }
    let type_name = provider::proper_type(&format!("Microsoft.Network/{}", target.rest[0]));
    let show = |resource: &Resource| shown(world, resource);
    if target.group.is_none() && target.rest.len() == 1 {
        return page::list(world, call, &world.store.of_type(&target.subscription, &type_name), show);
    }
    let parent = generic::id_of(target);
    if target.rest.len() > 1 && !world.store.contains(&parent.key()) {
        return Err(generic::not_found(&parent));
    }
    page::members(world, call, &format!("{}/providers/Microsoft.Network/{}", target.scope(), target.rest.join("/")), show)
}

/// A resource without references from what is gone.
fn shown(world: &World, resource: &Resource) -> Value {
    let mut body = resource.body.clone();
    reference::prune(world, &mut body);
    body
}

fn new_etag() -> String {
    format!("W/\"{}\"", Uuid::new_v4())
}

/// Makes or changes a resource, or a part of one.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    provision::check(world, put)?;
    let Some(kind) = put.id.pairs.first().and_then(|(kind, _)| kinds::find(kind)) else { return generic::put(world, put) };
    match put.id.pairs.len() {
        1 => put_whole(world, put, kind),
        2 => put_part(world, put, kind),
        _ => generic::put(world, put),
    }
}

fn put_whole(world: &Arc<World>, put: &Put<'_>, kind: &Kind) -> Result<Applied, ApiError> {
    let id = generic::proper(put.id);
    let existing = world.store.get(&id.key());
    let mut given = properties(put.body)?;
    for part in kind.parts {
        let before = existing.as_ref().map(|existing| existing.property(part).clone()).unwrap_or_default();
        let entries = match given.remove(*part) {
            None | Some(Value::Null) => before.clone(),
            Some(entries) => entries,
        };
        given.insert((*part).into(), named(&id, part, &entries, &before)?);
    }
    (kind.prepare)(&kinds::Making { world, id: &id, body: put.body, existing: existing.as_deref() }, &mut given)?;
    reference::check_targets(world, &id, &given)?;
    if let Some(existing) = &existing {
        check_parts_stay(world, kind, existing, &given)?;
        unlink(world, existing);
        for kept in ["resourceGuid", "virtualMachine", "networkInterfaces", "subnets", "ipConfiguration"] {
            if !existing.property(kept).is_null() {
                given.entry(kept).or_insert_with(|| existing.property(kept).clone());
            }
        }
    }
    given.entry("resourceGuid").or_insert_with(|| json!(Uuid::new_v4().to_string()));
    let mut body = put.body.clone();
    body["properties"] = Value::Object(given);
    let applied = generic::put(world, &Put { caller: put.caller, id: &id, body: &body, duration: put.duration })?;
    let resource = world.store.update(&id.key(), |resource| resource.body["etag"] = json!(new_etag()));
    let resource = resource.unwrap_or(applied.resource);
    spread(world, &id, kind, &resource);
    link(world, &resource);
    let resource = world.store.get(&id.key()).unwrap_or(resource);
    Ok(Applied { created: applied.created, resource, operation: applied.operation })
}

/// The entries of a part, each with an id, a type and a tag; one that is as it was keeps its tag.
fn named(parent: &Id, part: &str, entries: &Value, before: &Value) -> Result<Value, ApiError> {
    let entries = match entries {
        Value::Null => return Ok(json!([])),
        Value::Array(entries) => entries,
        _ => return Err(ApiError::invalid_content(&format!("'properties.{part}' must be a list"))),
    };
    let named = entries.iter().map(|entry| {
        let name = entry["name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| {
            let message = format!("Required property 'name' is missing in an entry of '{part}' of the resource {parent}.");
            ApiError::bad_request("InvalidRequestFormat", message)
        })?;
        let id = parent.child(part, name);
        let old =
            before.as_array().into_iter().flatten().find(|old| old["name"].as_str().is_some_and(|old| old.eq_ignore_ascii_case(name)));
        let mut properties = entry["properties"].as_object().cloned().unwrap_or_default();
        properties.insert("provisioningState".into(), json!("Succeeded"));
        let mut made = json!({"name": name, "id": id.to_string(), "type": id.type_name(), "properties": properties});
        // Who uses it is not for the request to say.
        if let Some(old) = old.filter(|_| part == "subnets")
            && !old["properties"]["ipConfigurations"].is_null()
        {
            made["properties"]["ipConfigurations"] = old["properties"]["ipConfigurations"].clone();
        }
        let same = old.filter(|old| old["properties"] == made["properties"]);
        made["etag"] = same.map_or_else(|| json!(new_etag()), |old| old["etag"].clone());
        Ok(made)
    });
    named.collect::<Result<Vec<_>, ApiError>>().map(Value::Array)
}

/// A part that is in use cannot be left out.
fn check_parts_stay(world: &World, kind: &Kind, existing: &Resource, given: &Map<String, Value>) -> Result<(), ApiError> {
    for part in kind.parts {
        for old in existing.property(part).as_array().into_iter().flatten() {
            let id = old["id"].as_str().unwrap_or_default();
            let stays =
                given[*part].as_array().into_iter().flatten().any(|new| new["id"].as_str().is_some_and(|new| new.eq_ignore_ascii_case(id)));
            if let Some(gone) = world.store.get(id).filter(|_| !stays) {
                reference::check_free(world, &gone)?;
            }
        }
    }
    Ok(())
}

/// Puts the parts of a resource beside it.
fn spread(world: &World, id: &Id, kind: &Kind, resource: &Resource) {
    for part in kind.parts {
        let entries = resource.property(part).as_array().cloned().unwrap_or_default();
        let known: Vec<String> = entries.iter().filter_map(|entry| entry["id"].as_str().map(str::to_ascii_lowercase)).collect();
        for gone in world.store.members(&format!("{}/{part}", id.key())) {
            if !known.contains(&gone.key.to_string()) {
                world.store.remove(&gone.key);
            }
        }
        for entry in entries {
            let now = world.clock.now();
            let created = entry["id"].as_str().and_then(|id| world.store.get(id)).map_or(now, |old| old.created_at);
            let mut made = Resource::new(entry, now);
            made.created_at = created;
            world.store.put(made);
        }
    }
}

/// A part is made by changing the list in its parent.
fn put_part(world: &Arc<World>, put: &Put<'_>, kind: &Kind) -> Result<Applied, ApiError> {
    let id = generic::proper(put.id);
    let parent_id = id.ancestor(1);
    let parent = world.store.get(&parent_id.key()).ok_or_else(|| ApiError::parent_not_found(&parent_id.full_name()))?;
    let Some(part) = kind.part(&id.pairs[1].0) else { return generic::put(world, put) };
    let created = !world.store.contains(&id.key());
    let mut body = parent.body.clone();
    let entry = json!({"name": id.name(), "properties": properties(put.body)?});
    let mut entries = body["properties"][part].as_array().cloned().unwrap_or_default();
    match entries.iter_mut().find(|entry| entry["id"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(&id.key()))) {
        Some(known) => *known = entry,
        None => entries.push(entry),
    }
    body["properties"][part] = json!(entries);
    let applied = put_whole(world, &Put { caller: put.caller, id: &parent_id, body: &body, duration: put.duration }, kind)?;
    let resource = world.store.get(&id.key()).ok_or_else(|| generic::not_found(&id))?;
    Ok(Applied { created, resource, operation: applied.operation })
}

fn delete(world: &World, id: &Id, found: &Resource) -> Result<(), ApiError> {
    if id.pairs.len() == 2 {
        let part = &id.pairs[1].0;
        world.store.update(&id.ancestor(1).key(), |parent| {
            if let Some(entries) = parent.body["properties"][part].as_array_mut() {
                entries.retain(|entry| entry["id"].as_str().is_none_or(|known| !known.eq_ignore_ascii_case(&found.key)));
            }
            parent.body["etag"] = json!(new_etag());
        });
    } else {
        for below in world.store.below(&format!("{}/", id.key())) {
            reference::check_free(world, &below)?;
        }
    }
    unlink(world, found);
    for below in world.store.below(&format!("{}/", id.key())) {
        world.store.remove(&below.key);
    }
    world.store.remove(&found.key);
    Ok(())
}

/// Questions that are not about one resource.
fn ask(world: &World, call: &Call<'_>, target: &Target) -> Result<Option<Reply>, ApiError> {
    let given = |name: &str| {
        call.request
            .parameter(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| ApiError::bad_request("MissingParameter", format!("The query parameter '{name}' is required.")))
    };
    Ok(match (call.method(), target.kinds().as_str(), target.rest.len()) {
        ("GET", "locations/checkdnsnameavailability", 3) => {
            let fqdn = address::fqdn(&given("domainNameLabel")?, &target.rest[1]);
            Some(Reply::ok(&json!({"available": address::holder_of(world, &target.subscription, &fqdn).is_none()})))
        }
        ("GET", "locations/usages", 3) => Some(page::values(world, call, usages(world, target))?),
        ("GET", "virtualnetworks/checkipaddressavailability", 3) => {
            let id = generic::id_of(target);
            let network = world.store.get(&id.key()).ok_or_else(|| generic::not_found(&id))?;
            let wanted = given("ipAddress")?;
            let taken = address::taken(world, &network);
            let body = json!({"available": !taken.contains(&wanted), "availableIPAddresses": address::free(&network, &taken, 5)});
            Some(Reply::ok(&body))
        }
        _ => None,
    })
}

fn usages(world: &World, target: &Target) -> Vec<Value> {
    let limits = [
        ("VirtualNetworks", "Virtual Networks", 1000),
        ("NetworkInterfaces", "Network Interfaces", 65536),
        ("NetworkSecurityGroups", "Network Security Groups", 5000),
        ("PublicIPAddresses", "Public IP Addresses", 1000),
        ("LoadBalancers", "Load Balancers", 1000),
    ];
    let usage = |(name, title, limit): (&str, &str, u64)| {
        let all = world.store.of_type(&target.subscription, &format!("Microsoft.Network/{name}"));
        let count = all.iter().filter(|one| one.location().eq_ignore_ascii_case(&target.rest[1])).count();
        json!({"id": format!("/subscriptions/{}/providers/Microsoft.Network/locations/{}/usages/{name}", target.subscription, target.rest[1]),
            "unit": "Count", "currentValue": count, "limit": limit, "name": {"value": name, "localizedValue": title}})
    };
    limits.into_iter().map(usage).collect()
}

/// Makes the network that a lab's network stands on, unless there is one.
pub fn provide(world: &World, id: &Id, location: &str, subnet: &str, owner: &str) {
    if world.store.contains(&id.key()) {
        return;
    }
    let entry = json!({"name": subnet, "properties": {"addressPrefix": "10.0.0.0/20"}});
    let entries = named(id, "subnets", &json!([entry]), &Value::Null).unwrap_or_default();
    let body = json!({"id": id.to_string(), "name": id.name(), "type": id.type_name(), "location": location, "etag": new_etag(),
        "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/20"]}, "subnets": entries, "virtualNetworkPeerings": [],
            "enableDdosProtection": false, "resourceGuid": Uuid::new_v4().to_string(), "provisioningState": "Succeeded"}});
    let mut network = Resource::new(body, world.clock.now());
    network.hide("labNetwork", owner);
    let network = world.store.put(network);
    if let Some(kind) = kinds::find("virtualNetworks") {
        spread(world, id, kind, &network);
    }
}

/// Removes what was provided for a lab's network.
pub fn withdraw(world: &World, id: &str, owner: &str) {
    if world.store.get(id).is_some_and(|network| network.hidden("labNetwork") == owner) {
        for below in world.store.below(&format!("{id}/")) {
            world.store.remove(&below.key);
        }
        world.store.remove(id);
    }
}
