//! Lab virtual machines: made with the rules of DevTest Labs, shown, deleted.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{artifact, disk, expand::Expand, new_resource, not_in_valid_state, policy, require_lab, with_location};
use crate::emulator::{
    clock::dtl_date,
    compute,
    error::ApiError,
    id::Id,
    operation::{Operation, State},
    provision::{Applied, Put},
    settings::Work,
    store::Resource,
    world::World,
};

/// What only the service sets.
pub const READ_ONLY: &[&str] = &["provisioningState", "computeId", "computeVm", "artifactDeploymentStatus", "lastKnownPowerState", "fqdn"];
/// What nobody sees again.
pub const SECRET: &[&str] = &["password", "sshKey"];
/// What cannot be changed once the machine exists.
pub const FIXED: &[&str] =
    &["size", "userName", "labSubnetName", "galleryImageReference", "customImageId", "sharedImageId", "disallowPublicIpAddress"];

/// Where a machine's disk comes from.
#[derive(Debug)]
struct Image {
    os: String,
    source: &'static str,
    needs_user: bool,
}

/// Makes a machine.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    let lab = require_lab(world, put.id)?;
    let mut given = super::lab_properties(put.body)?;
    let existing = world.store.get(&put.id.key());
    if let Some(existing) = existing.as_ref().filter(|machine| machine.state() != "Failed") {
        return keep(put.id, existing, &given);
    }
    let image = image(world, &lab, &given)?;
    check_name(put.id.name(), &image.os)?;
    check_properties(&given, &image)?;
    let network = network(world, &lab, &given)?;
    policy::check_machine(world, &lab, &put.caller.object_id, &given)?;
    let artifacts = artifact::resolve(world, &lab, given.get("artifacts").unwrap_or(&Value::Null), &image.os)?;
    if let Some(failed) = existing {
        remove_compute(world, &failed);
    }
    let secrets: Vec<&&str> = SECRET.iter().filter(|name| given.get(**name).is_some_and(|value| !value.is_null())).collect();
    let with_key = secrets.iter().any(|name| **name == "sshKey");
    given.retain(|name, _| !READ_ONLY.contains(&name.as_str()) && !SECRET.contains(&name.as_str()));
    complete(world, put, &mut given, &image, network.as_deref(), &artifacts);
    let mut resource = new_resource(world, put.id, &with_location(put.body, &lab), given);
    resource.set_state("Creating");
    resource.hide("hasSshKey", with_key);
    let operation = world.begin();
    resource.hide("operation", operation.name.clone());
    let resource = world.store.put(resource);
    world.spawn(create(world.clone(), put.id.clone(), operation.clone()));
    Ok(Applied { created: true, resource, operation: Some(operation) })
}

/// The same machine once more is fine; another one under its name is not.
fn keep(id: &Id, existing: &Arc<Resource>, given: &Map<String, Value>) -> Result<Applied, ApiError> {
    if existing.state() != "Succeeded" {
        return Err(not_in_valid_state(id, existing.state()));
    }
    let changed = FIXED.iter().find(|name| {
        let (new, old) = (given.get(**name).unwrap_or(&Value::Null), existing.property(name));
        !new.is_null() && !same(new, old)
    });
    match changed {
        Some(name) => Err(ApiError::conflict(
            "CannotSetProperty",
            format!("The property '{name}' cannot be set: the virtual machine '{}' exists already, with another value.", existing.name()),
        )
        .with_target(*name)),
        None => Ok(Applied { created: false, resource: existing.clone(), operation: None }),
    }
}

fn same(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::String(new), Value::String(old)) => new.eq_ignore_ascii_case(old),
        (Value::Object(new), Value::Object(old)) => new.iter().all(|(name, value)| same(value, old.get(name).unwrap_or(&Value::Null))),
        _ => new == old,
    }
}

fn image(world: &World, lab: &Resource, given: &Map<String, Value>) -> Result<Image, ApiError> {
    let named = |name: &str| given.get(name).and_then(Value::as_str).filter(|id| !id.is_empty());
    let gallery = given.get("galleryImageReference").filter(|reference| reference.is_object());
    match (gallery, named("customImageId"), named("sharedImageId")) {
        (Some(reference), None, None) => gallery_image(reference),
        (None, Some(id), None) => custom_image(world, lab, id),
        (None, None, Some(id)) => shared_image(world, lab, id),
        (None, None, None) => Err(ApiError::bad_request(
            "MissingRequiredProperty",
            "One of the properties 'galleryImageReference', 'customImageId' and 'sharedImageId' must be specified.",
        )),
        _ => Err(ApiError::bad_request(
            "InvalidVirtualMachineSource",
            "Only one of the properties 'galleryImageReference', 'customImageId' and 'sharedImageId' may be specified.",
        )),
    }
}

fn gallery_image(reference: &Value) -> Result<Image, ApiError> {
    for part in ["publisher", "offer", "sku"] {
        if reference[part].as_str().unwrap_or_default().is_empty() {
            let message = format!("The property 'galleryImageReference.{part}' is required.");
            return Err(ApiError::bad_request("MissingRequiredProperty", message).with_target(format!("galleryImageReference.{part}")));
        }
    }
    let publisher = reference["publisher"].as_str().unwrap_or_default();
    let windows = publisher.to_ascii_lowercase().starts_with("microsoft") || publisher.to_ascii_lowercase().contains("windows");
    let os = reference["osType"].as_str().unwrap_or(if windows { "Windows" } else { "Linux" });
    Ok(Image { os: os_name(os)?, source: "FromGalleryImage", needs_user: true })
}

fn os_name(os: &str) -> Result<String, ApiError> {
    match os.to_ascii_lowercase().as_str() {
        "windows" => Ok("Windows".into()),
        "linux" => Ok("Linux".into()),
        _ => Err(ApiError::bad_request("InvalidOsType", format!("The OS type '{os}' is not valid: it must be 'Windows' or 'Linux'."))),
    }
}

fn custom_image(world: &World, lab: &Resource, id: &str) -> Result<Image, ApiError> {
    let inside = id.to_ascii_lowercase().starts_with(&format!("{}/customimages/", lab.key));
    let image = world.store.get(id).filter(|_| inside).ok_or_else(|| {
        ApiError::bad_request("CustomImageNotFound", format!("The custom image '{id}' was not found in the lab '{}'.", lab.name()))
            .with_target("customImageId")
    })?;
    if image.state() != "Succeeded" {
        let message = format!("The custom image '{id}' is not ready: its provisioning state is '{}'.", image.state());
        return Err(ApiError::conflict("ResourceIsNotInValidState", message));
    }
    let os = super::custom_image::os_of(world, &image);
    // A specialized image brings its users with it.
    Ok(Image { os, source: "FromCustomImage", needs_user: false })
}

fn shared_image(world: &World, lab: &Resource, id: &str) -> Result<Image, ApiError> {
    let inside = id.to_ascii_lowercase().starts_with(&format!("{}/sharedgalleries/", lab.key));
    let parsed = Id::parse(id).filter(|_| inside);
    let missing = || {
        ApiError::bad_request("SharedImageNotFound", format!("The shared image '{id}' was not found in the lab '{}'.", lab.name()))
            .with_target("sharedImageId")
    };
    let parsed = parsed.ok_or_else(missing)?;
    let definition = super::shared_gallery::allowed_definition(world, &parsed);
    // A seeded image may stand for a definition that nobody seeded.
    if let Some(image) = world.store.get(id).filter(|image| !image.text("osType").is_empty() && definition.is_some()) {
        return Ok(Image { os: os_name(image.text("osType"))?, source: "FromSharedGalleryImage", needs_user: false });
    }
    let definition = definition.and_then(|definition| world.store.get(&definition)).ok_or_else(missing)?;
    Ok(Image { os: os_name(definition.text("osType"))?, source: "FromSharedGalleryImage", needs_user: false })
}

/// The rules for names: Windows to 15 characters, Linux to 64, no machine of digits alone.
fn check_name(name: &str, os: &str) -> Result<(), ApiError> {
    let limit = if os == "Windows" { 15 } else { 64 };
    let characters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let ends = name.starts_with('-') || name.ends_with('-');
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    if characters && !ends && !digits && !name.is_empty() && name.len() <= limit {
        return Ok(());
    }
    let message = format!(
        "The virtual machine name '{name}' is not valid. A {os} virtual machine's name must be 1 to {limit} letters, digits and hyphens, \
         must not begin or end with a hyphen and must not consist of digits alone."
    );
    Err(ApiError::bad_request("InvalidVirtualMachineName", message).with_target("name"))
}

fn check_properties(given: &Map<String, Value>, image: &Image) -> Result<(), ApiError> {
    let text = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default();
    let missing = |name: &str| {
        ApiError::bad_request("MissingRequiredProperty", format!("The property '{name}' is required to create a virtual machine."))
            .with_target(name)
    };
    if text("size").is_empty() {
        return Err(missing("size"));
    }
    if !image.needs_user {
        return Ok(());
    }
    if text("userName").is_empty() {
        return Err(missing("userName"));
    }
    let by_key = given.get("isAuthenticationWithSshKey").and_then(Value::as_bool).unwrap_or(false);
    let credential = if by_key { "sshKey" } else { "password" };
    if text(credential).is_empty() { Err(missing(credential)) } else { Ok(()) }
}

/// The lab's network that the machine joins: the one named, else the lab's first.
fn network(world: &World, lab: &Resource, given: &Map<String, Value>) -> Result<Option<Arc<Resource>>, ApiError> {
    let named = given.get("labVirtualNetworkId").and_then(Value::as_str).filter(|id| !id.is_empty());
    let Some(id) = named else {
        return Ok(world.store.members(&format!("{}/virtualnetworks", lab.key)).into_iter().next());
    };
    let inside = id.to_ascii_lowercase().starts_with(&format!("{}/virtualnetworks/", lab.key));
    let network = world.store.get(id).filter(|_| inside).ok_or_else(|| {
        ApiError::bad_request("VirtualNetworkNotFound", format!("The virtual network '{id}' was not found in the lab '{}'.", lab.name()))
            .with_target("labVirtualNetworkId")
    })?;
    let subnet = given.get("labSubnetName").and_then(Value::as_str).filter(|name| !name.is_empty());
    let allowed = network.property("allowedSubnets").as_array().cloned().unwrap_or_default();
    let known =
        |name: &str| allowed.iter().any(|subnet| subnet["labSubnetName"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name)));
    match subnet {
        Some(name) if !allowed.is_empty() && !known(name) => Err(ApiError::bad_request(
            "SubnetNotFound",
            format!("The subnet '{name}' was not found in the virtual network '{}' of the lab.", network.name()),
        )
        .with_target("labSubnetName")),
        _ => Ok(Some(network)),
    }
}

fn complete(world: &World, put: &Put<'_>, given: &mut Map<String, Value>, image: &Image, network: Option<&Resource>, artifacts: &[Value]) {
    let total = artifacts.len();
    let object_id = &put.caller.object_id;
    let mut set = |name: &str, value: Value| given.insert(name.into(), value);
    set("createdByUserId", json!(object_id));
    set("createdByUser", json!(put.caller.client_id));
    set("createdDate", json!(dtl_date(world.clock.now())));
    set("osType", json!(image.os));
    set("artifactDeploymentStatus", json!({"artifactsApplied": 0, "totalArtifacts": total}));
    set("artifacts", json!(artifacts));
    set("virtualMachineCreationSource", json!(image.source));
    if let Some(network) = network {
        set("labVirtualNetworkId", json!(&*network.key));
        given.entry("labSubnetName").or_insert_with(|| network.property("allowedSubnets")[0]["labSubnetName"].clone());
    }
    let owner = if given.get("allowClaim") == Some(&Value::Bool(true)) { String::new() } else { object_id.clone() };
    for (name, value) in [
        ("ownerObjectId", json!(owner)),
        ("ownerUserPrincipalName", json!("")),
        ("isAuthenticationWithSshKey", json!(false)),
        ("disallowPublicIpAddress", json!(false)),
        ("networkInterface", json!({})),
        ("allowClaim", json!(false)),
        ("storageType", json!("Standard")),
        ("dataDiskParameters", json!([])),
    ] {
        given.entry(name).or_insert(value);
    }
}

async fn create(world: Arc<World>, id: Id, operation: Arc<Operation>) {
    let duration = world.settings().duration(Work::VirtualMachine);
    let outcome = world.provisioning(&id.key(), duration).await;
    {
        let _gate = world.gate();
        let Some(machine) = world.store.get(&id.key()).filter(|machine| machine.state() == "Creating") else {
            operation.end(State::Canceled);
            return;
        };
        if let Some(outcome) = outcome {
            world.settle(&id.key(), |machine| machine.set_state(&outcome.state));
            operation.finish(Err(outcome.error));
            return;
        }
        let made = compute::lab::make(&world, &id, &machine);
        let artifacts = artifact::pending(&machine);
        world.settle(&id.key(), |machine| {
            made.enter(machine);
            machine.set("lastKnownPowerState", "Running");
            machine.set_state(if artifacts == 0 { "Succeeded" } else { "ApplyingArtifacts" });
        });
        operation.finish(Ok(()));
        if artifacts == 0 {
            return;
        }
    }
    // That an artifact failed is told by the artifact, not by the machine.
    let _ = artifact::apply_pending(&world, &id).await;
}

/// Puts a seeded machine's compute in place.
pub fn complete_seeded(world: &World, id: &Id) {
    let Some(machine) = world.store.get(&id.key()) else { return };
    if machine.text("osType").is_empty() {
        let reference = machine.property("galleryImageReference")["osType"].as_str();
        let os = reference.map_or_else(|| "Windows".to_owned(), str::to_owned);
        world.store.update(&id.key(), |machine| machine.set("osType", os));
    }
    if !machine.text("computeId").is_empty() {
        return;
    }
    let Some(machine) = world.store.get(&id.key()) else { return };
    let made = compute::lab::make(world, id, &machine);
    let running = !machine.text("lastKnownPowerState").eq_ignore_ascii_case("Stopped");
    world.store.update(&id.key(), |machine| {
        made.enter(machine);
        machine.set("lastKnownPowerState", if running { "Running" } else { "Stopped" });
    });
    if !running {
        compute::set_power(world, &made.compute_id, "deallocated");
    }
}

/// A machine as a GET shows it: artifacts, compute and network only when asked for.
pub fn show(world: &World, machine: &Resource, expand: &Expand) -> Value {
    let mut body = machine.body.value();
    let Some(properties) = body["properties"].as_object_mut() else { return body };
    if !expand.has("artifacts") {
        properties.remove("artifacts");
    }
    if expand.has("computeVm")
        && let Some(compute) = compute::lab::summary(world, machine.text("computeId"))
    {
        properties.insert("computeVm".into(), compute);
    }
    if expand.has("networkInterface")
        && let Some(network) = compute::lab::network_summary(world, machine)
    {
        properties.insert("networkInterface".into(), network);
    }
    body
}

/// Deletes a machine with all that it consists of.
pub fn delete(world: &Arc<World>, id: &Id, machine: &Resource) -> Result<Arc<Operation>, ApiError> {
    if machine.state() == "Deleting"
        && let Some(operation) = world.operations.get(machine.hidden("operation"))
    {
        return Ok(operation);
    }
    check_not_busy(id, machine)?;
    if let Some(operation) = world.operations.get(machine.hidden("operation")) {
        operation.end(State::Canceled);
    }
    let operation = world.begin();
    world.store.update(&machine.key, |machine| {
        machine.set_state("Deleting");
        machine.hide("operation", operation.name.clone());
    });
    let (world, key, ending) = (world.clone(), machine.key.clone(), operation.clone());
    world.clone().spawn(async move {
        world.work(Work::Deletion).await;
        let _gate = world.gate();
        remove(&world, &key);
        ending.finish(Ok(()));
    });
    Ok(operation)
}

/// While an image is taken of a machine nothing else may happen to it.
pub fn check_not_busy(id: &Id, machine: &Resource) -> Result<(), ApiError> {
    match machine.hidden("busy") {
        "" => Ok(()),
        busy => Err(ApiError::conflict(
            "ResourceIsNotInValidState",
            format!("The virtual machine '{}' is being used by another operation: '{busy}'. Try again when it has ended.", id.name()),
        )),
    }
}

/// Removes a machine and its compute at once.
pub fn remove(world: &World, key: &str) {
    if let Some(machine) = world.store.remove(key) {
        disk::release(world, &machine);
        remove_compute(world, &machine);
        for below in world.store.below(&format!("{key}/")) {
            world.store.remove(&below.key);
        }
    }
}

/// Removes the group that a machine's compute lives in.
pub fn remove_compute(world: &World, machine: &Resource) {
    let group = machine.hidden("computeGroup");
    if !group.is_empty() {
        crate::emulator::resources::group::remove(world, group);
    } else if let Some(compute) = world.store.get(machine.text("computeId")) {
        world.store.remove(&compute.key);
    }
}
