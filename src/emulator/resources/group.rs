//! Resource groups.

use std::sync::Arc;

use serde_json::json;

use super::super::{
    devtestlab,
    error::ApiError,
    http::{Reply, parse_object},
    id::{Id, group_id},
    provision::patch_tags,
    settings::Work,
    store::Resource,
    world::{Call, World},
};

/// Serves a request to one group.
pub fn serve(world: &Arc<World>, call: &Call<'_>, subscription: &str, name: &str) -> Result<Reply, ApiError> {
    let id = group_id(subscription, name);
    let found = world.store.get(&id);
    match call.method() {
        "HEAD" => Ok(Reply::empty(if found.is_some() { 204 } else { 404 })),
        "GET" => found.map(|group| Reply::ok(&group.body)).ok_or_else(|| ApiError::group_not_found(name)),
        "PUT" => put(world, call, subscription, name),
        "PATCH" => {
            let body = parse_object(&call.request.body)?;
            super::tags::check(&body["tags"])?;
            patch_tags(world, &id, &body).map(|group| Reply::ok(&group.body)).ok_or_else(|| ApiError::group_not_found(name))
        }
        "DELETE" => {
            let group = found.ok_or_else(|| ApiError::group_not_found(name))?;
            Ok(delete(world, call, subscription, &group))
        }
        method => Err(ApiError::method_not_allowed(method, &call.request.path)),
    }
}

fn put(world: &World, call: &Call<'_>, subscription: &str, name: &str) -> Result<Reply, ApiError> {
    let body = parse_object(&call.request.body)?;
    let good = name.chars().all(|c| c.is_alphanumeric() || "-_().".contains(c)) && name.chars().count() <= 90 && !name.ends_with('.');
    if !good {
        let message = format!(
            "The provided resource group name '{name}' has these invalid characters or is too long. The name can only be a letter, digit, '-', \
             '.', '(', ')' or '_', up to 90 of them, and must not end with '.'."
        );
        return Err(ApiError::bad_request("InvalidResourceGroup", message));
    }
    let location = body["location"].as_str().filter(|location| !location.is_empty());
    let location =
        location.ok_or_else(|| ApiError::bad_request("LocationRequired", "The location property is required for this definition."))?;
    if !super::is_region(location) {
        let regions: Vec<&str> = super::region_names().collect();
        let message = format!(
            "The provided location '{location}' is not available for resource group. List of available regions is '{}'.",
            regions.join(",")
        );
        return Err(ApiError::bad_request("LocationNotAvailableForResourceGroup", message));
    }
    super::tags::check(&body["tags"])?;
    let existing = world.store.get(&group_id(subscription, name));
    if let Some(existing) = &existing
        && !existing.location().eq_ignore_ascii_case(&normal_location(location))
    {
        let message = format!(
            "Invalid resource group location '{location}'. The Resource group already exists in location '{}'.",
            existing.location()
        );
        return Err(ApiError::conflict("InvalidResourceGroupLocation", message));
    }
    let id = ensure(world, subscription, name, location);
    let group = patch_tags(world, &id, &body).ok_or_else(|| ApiError::group_not_found(name))?;
    Ok(Reply::json(if existing.is_some() { 200 } else { 201 }, &group.body))
}

fn normal_location(location: &str) -> String {
    location.to_ascii_lowercase().replace(' ', "")
}

/// Makes a group unless it is there, and tells its id.
pub fn ensure(world: &World, subscription: &str, name: &str, location: &str) -> String {
    let id = group_id(subscription, name);
    if !world.store.contains(&id) {
        let body = json!({"id": id, "name": name, "type": "Microsoft.Resources/resourceGroups", "location": normal_location(location),
            "properties": {"provisioningState": "Succeeded"}});
        world.store.put(Resource::new(body, world.clock.now()));
    }
    id
}

fn delete(world: &Arc<World>, call: &Call<'_>, subscription: &str, group: &Resource) -> Reply {
    world.store.update(&group.key, |group| group.set_state("Deleting"));
    let operation = world.begin();
    let location = super::operation_address(call, Some(subscription), &operation.name);
    // Azure's own advice, in simulated seconds.
    let advice = world.settings().scaled(15.0).as_secs().max(1);
    let (world, key) = (world.clone(), group.key.clone());
    world.clone().spawn(async move {
        world.work(Work::Deletion).await;
        let _gate = world.gate();
        remove(&world, &key);
        operation.finish(Ok(()));
    });
    Reply::empty(202).with_header("Location", location).with_header("Retry-After", advice.to_string())
}

/// Removes a group with everything in it; what its labs have elsewhere goes too.
pub fn remove(world: &World, id: &str) {
    let below = format!("{}/", id.to_ascii_lowercase());
    for lab in world.store.below(&below).iter().filter(|resource| resource.type_name == "Microsoft.DevTestLab/labs") {
        if let Some(lab) = Id::parse(&lab.key) {
            devtestlab::lab::remove(world, &lab);
        }
    }
    for resource in world.store.below(&below) {
        world.store.remove(&resource.key);
    }
    world.store.remove(id);
}
