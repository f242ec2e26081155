//! Managed images: captured from a generalized machine, or made of a disk, a snapshot or a VHD.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::emulator::{
    error::ApiError,
    id::Id,
    operation::State,
    provision::{self, Applied, Put, properties},
    settings::Work,
    store::Resource,
    world::World,
};

const IMAGES: &str = "Microsoft.Compute/images";

/// Whether a type is this one.
pub fn has(id: &Id) -> bool {
    id.is(IMAGES)
}

/// Makes an image.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    let mut given = properties(put.body)?;
    let existing = world.store.get(&put.id.key());
    let machine = given.get("sourceVirtualMachine").and_then(|machine| machine["id"].as_str()).map(str::to_owned);
    if let Some(existing) = existing {
        return Ok(retag(world, put, &existing));
    }
    match machine {
        Some(id) => {
            let machine = world.store.get(&id).ok_or_else(|| ApiError::resource_not_found(&id, put.id.group()))?;
            check_capturable(&machine)?;
            given.insert("storageProfile".into(), storage_of(&machine));
            given.insert("hyperVGeneration".into(), json!(super::generation(&machine)));
        }
        None => check_storage(world, given.get("storageProfile").unwrap_or(&Value::Null))?,
    }
    given.entry("hyperVGeneration").or_insert(json!("V1"));
    given.insert("provisioningState".into(), json!("Creating"));
    let resource = world.store.put(Resource::new(provision::body(&put.id.to_string(), put.id, put.body, &given), world.clock.now()));
    let operation = world.begin();
    let duration = world.settings().duration(Work::CustomImage);
    let (background, ending, key) = (world.clone(), operation.clone(), resource.key.clone());
    world.spawn(async move {
        let outcome = background.provisioning(&key, duration).await;
        let _gate = background.gate();
        let state = outcome.as_ref().map_or("Succeeded", |outcome| outcome.state.as_str());
        match background.settle(&key, |image| image.set_state(state)) {
            Some(_) => ending.finish(outcome.map_or(Ok(()), |outcome| Err(outcome.error))),
            None => ending.end(State::Canceled),
        }
    });
    Ok(Applied { created: true, resource, operation: Some(operation) })
}

/// An image that is there takes new tags and nothing else.
fn retag(world: &World, put: &Put<'_>, existing: &Arc<Resource>) -> Applied {
    let changed = provision::patch_tags(world, &existing.key, put.body);
    Applied { created: false, resource: changed.unwrap_or_else(|| existing.clone()), operation: None }
}

fn check_capturable(machine: &Resource) -> Result<(), ApiError> {
    if machine.property("securityProfile")["securityType"].as_str().is_some_and(|security| security.eq_ignore_ascii_case("TrustedLaunch")) {
        let message = format!(
            "The operation 'capture' is not supported for the Trusted Launch virtual machine '{}'. Use a gallery image version.",
            machine.name()
        );
        return Err(ApiError::conflict("OperationNotAllowed", message));
    }
    if !super::is_generalized(machine) {
        let message = format!("Operation 'capture' is not allowed on VM '{}' since the VM is not generalized.", machine.name());
        return Err(ApiError::conflict("OperationNotAllowed", message));
    }
    Ok(())
}

fn storage_of(machine: &Resource) -> Value {
    let storage = machine.property("storageProfile");
    let disks = storage["dataDisks"].as_array().into_iter().flatten();
    let disks: Vec<Value> = disks.map(|disk| captured(disk, &["lun", "caching", "diskSizeGB"])).collect();
    let mut system = captured(&storage["osDisk"], &["osType", "caching", "diskSizeGB"]);
    system["osState"] = json!("Generalized");
    system["storageAccountType"] = json!("Standard_LRS");
    json!({"osDisk": system, "dataDisks": disks, "zoneResilient": false})
}

/// What an image takes over from a machine's disk; a seeded one may lack some of it.
fn captured(disk: &Value, names: &[&str]) -> Value {
    let mut taken: serde_json::Map<String, Value> =
        names.iter().filter_map(|name| Some(((*name).to_owned(), disk.get(*name)?.clone()))).collect();
    if let Some(id) = disk["managedDisk"]["id"].as_str() {
        taken.insert("managedDisk".into(), json!({ "id": id }));
    }
    Value::Object(taken)
}

fn check_storage(world: &World, storage: &Value) -> Result<(), ApiError> {
    let disk = &storage["osDisk"];
    let required = |name: &str| {
        ApiError::bad_request("InvalidParameter", format!("Required parameter '{name}' is missing (null).")).with_target(name.to_owned())
    };
    if !disk.is_object() {
        return Err(required("image.properties.storageProfile.osDisk"));
    }
    for name in ["osType", "osState"] {
        disk[name].as_str().ok_or_else(|| required(&format!("image.properties.storageProfile.osDisk.{name}")))?;
    }
    let sources = ["managedDisk", "snapshot"].iter().filter_map(|kind| disk[*kind]["id"].as_str());
    for id in sources.clone() {
        let missing = || ApiError::new(404, "NotFound", format!("Resource {id} is not found."));
        world.store.get(id).ok_or_else(missing)?;
    }
    if sources.count() == 0 && disk["blobUri"].as_str().is_none() {
        return Err(required("image.properties.storageProfile.osDisk.managedDisk"));
    }
    Ok(())
}
