//! Labs.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Acted, artifact, disk, environment, new_resource, plain, repository, virtual_machine, virtual_machine_actions};
use crate::emulator::{
    clock::dtl_date,
    error::ApiError,
    id::Id,
    operation::{Operation, State},
    provision::{Applied, Put},
    settings::Work,
    storage,
    store::Resource,
    world::{Call, World, random_digits},
};

/// Makes a lab, or changes its settings.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    check_name(put.id.name())?;
    let given = super::lab_properties(put.body)?;
    if let Some(existing) = world.store.get(&put.id.key()) {
        return update(world, put, &existing, given);
    }
    if put.body["location"].as_str().unwrap_or_default().is_empty() {
        return Err(ApiError::bad_request("LocationRequired", "The location property is required for this definition."));
    }
    let mut resource = new_resource(world, put.id, put.body, defaults(world, given));
    resource.set_state("Creating");
    let resource = world.store.put(resource);
    let operation = world.begin();
    world.spawn(create(world.clone(), put.id.clone(), operation.clone()));
    Ok(Applied { created: true, resource, operation: Some(operation) })
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let good = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) && (1..=50).contains(&name.len());
    if good {
        return Ok(());
    }
    let message = format!("The lab name '{name}' is not valid: it must be 1 to 50 letters, digits, '-' and '_'.");
    Err(ApiError::bad_request("InvalidResourceName", message))
}

fn update(world: &Arc<World>, put: &Put<'_>, existing: &Resource, given: Map<String, Value>) -> Result<Applied, ApiError> {
    if matches!(existing.state(), "Creating" | "Deleting") {
        return Err(super::not_in_valid_state(put.id, existing.state()));
    }
    let resource = world.settle(&existing.key, |resource| {
        for (name, value) in given.into_iter().filter(|(name, _)| name != "provisioningState") {
            resource.set(&name, value);
        }
        if put.body["tags"].is_object() {
            resource.body["tags"] = put.body["tags"].clone();
        }
    });
    let resource = resource.ok_or_else(|| super::not_found(put.id))?;
    let operation = world.begin();
    operation.finish(Ok(()));
    Ok(Applied { created: false, resource, operation: Some(operation) })
}

fn defaults(world: &World, given: Map<String, Value>) -> Map<String, Value> {
    let mut properties = json!({
        "labStorageType": "Premium",
        "mandatoryArtifactsResourceIdsLinux": [],
        "mandatoryArtifactsResourceIdsWindows": [],
        "createdDate": dtl_date(world.clock.now()),
        "premiumDataDisks": "Disabled",
        "environmentPermission": "Reader",
        "announcement": {"title": "", "markdown": "", "enabled": "Disabled", "expired": false},
        "support": {"enabled": "Disabled", "markdown": ""},
    });
    if let Some(properties) = properties.as_object_mut() {
        properties.extend(given.into_iter().filter(|(name, _)| name != "provisioningState"));
    }
    properties.as_object().cloned().unwrap_or_default()
}

async fn create(world: Arc<World>, id: Id, operation: Arc<Operation>) {
    let duration = world.settings().duration(Work::Lab);
    let outcome = world.provisioning(&id.key(), duration).await;
    let _gate = world.gate();
    if !world.store.contains(&id.key()) {
        operation.end(State::Canceled);
        return;
    }
    if let Some(outcome) = outcome {
        world.settle(&id.key(), |lab| lab.set_state(&outcome.state));
        operation.finish(Err(outcome.error));
        return;
    }
    complete(&world, &id);
    world.settle(&id.key(), |lab| lab.set_state("Succeeded"));
    operation.finish(Ok(()));
}

/// Gives a lab what Azure gives it: storage, a vault, gallery images, and the public repository unless its own stands there already.
pub fn complete(world: &World, id: &Id) {
    let source = id.child("artifactsources", "public repo");
    if !world.store.contains(&source.key()) {
        artifact::add_source(world, &source, &repository::built_in());
    }
    plain::add_gallery_images(world, id);
    let digits = random_digits(4);
    let short: String = id.name().to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).take(18).collect();
    let account = id.sibling("Microsoft.Storage", "storageAccounts", &format!("a{short}{digits}"));
    let storage = account.key();
    let vault = id.sibling("Microsoft.KeyVault", "vaults", &format!("{short}{digits}")).key();
    if world.blobs.is_some() {
        let location = world.store.get(&id.key()).map(|lab| lab.location().to_owned()).unwrap_or_default();
        storage::ensure(world, &account, &location);
    }
    world.store.update(&id.key(), |lab| {
        for name in ["defaultStorageAccount", "defaultPremiumStorageAccount", "artifactsStorageAccount", "premiumDataDiskStorageAccount"] {
            lab.set(name, storage.clone());
        }
        lab.set("vaultName", vault);
    });
}

/// Puts a lab of the seed in place, finished.
pub fn seed(world: &World, id: &Id, location: &str, networks: &[String]) {
    let mut lab = new_resource(world, id, &json!({"location": location}), defaults(world, Map::new()));
    lab.set_state("Succeeded");
    world.store.put(lab);
    for network in networks {
        plain::add_network(world, &id.child("virtualnetworks", network), location);
    }
}

/// Deletes a lab with everything in it.
pub fn delete(world: &Arc<World>, id: &Id) -> Arc<Operation> {
    world.store.update(&id.key(), |lab| lab.set_state("Deleting"));
    let operation = world.begin();
    let (world, id, ending) = (world.clone(), id.clone(), operation.clone());
    world.clone().spawn(async move {
        world.work(Work::Deletion).await;
        let _gate = world.gate();
        remove(&world, &id);
        ending.finish(Ok(()));
    });
    operation
}

/// Removes a lab, what is in it, and the groups that its machines and environments live in.
pub fn remove(world: &World, id: &Id) {
    for resource in world.store.below(&format!("{}/", id.key())) {
        match resource.type_name.as_str() {
            "Microsoft.DevTestLab/labs/virtualMachines" => virtual_machine::remove_compute(world, &resource),
            "Microsoft.DevTestLab/labs/users/environments" => environment::remove_group(world, &resource),
            "Microsoft.DevTestLab/labs/virtualNetworks" => plain::withdraw_network(world, &resource),
            "Microsoft.DevTestLab/labs/users/disks" => disk::withdraw(world, &resource),
            _ => {}
        }
        world.store.remove(&resource.key);
    }
    world.store.remove(&id.key());
}

/// POST to a lab.
pub fn act(world: &Arc<World>, call: &Call<'_>, id: &Id, lab: &Arc<Resource>, action: &str, body: &Value) -> Result<Acted, ApiError> {
    Ok(match action {
        "createenvironment" => Acted::Started(create_machines(world, call, id, lab, body)?),
        "claimanyvm" => Acted::Started(claim_any(world, call, id)?),
        "importvirtualmachine" => Acted::Started(import(world, call, id, lab, body)?),
        "exportresourceusage" => {
            let uri = body["blobStorageAbsoluteSasUri"].as_str().filter(|uri| !uri.is_empty());
            uri.ok_or_else(|| plain::missing("blobStorageAbsoluteSasUri"))?;
            Acted::Started(plain::ended(world))
        }
        "generateuploaduri" => Acted::Answer(json!({"uploadUri": upload_uri(world, lab, body)?})),
        "listvhds" => Acted::Answer(json!({"value": vhds(world, lab)})),
        _ => Acted::Unknown,
    })
}

/// `createEnvironment` makes machines, whatever its name says.
fn create_machines(world: &Arc<World>, call: &Call<'_>, id: &Id, lab: &Resource, body: &Value) -> Result<Arc<Operation>, ApiError> {
    let name = body["name"].as_str().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| ApiError::bad_request("InvalidRequestContent", "The property 'name' is required."))?;
    let count = body["properties"]["bulkCreationParameters"]["instanceCount"].as_u64().unwrap_or(1).clamp(1, 100);
    let body = super::with_location(body, lab);
    let mut operations = Vec::new();
    for number in 0..count {
        let name = if count == 1 { name.to_owned() } else { format!("{name}{number:02}") };
        let machine = id.child("virtualmachines", &name);
        let put = Put { caller: &call.caller, id: &machine, body: &body, duration: None };
        operations.extend(virtual_machine::put(world, &put)?.operation);
    }
    Ok(all_of(world, operations))
}

/// One operation that ends when all have ended.
pub fn all_of(world: &Arc<World>, mut operations: Vec<Arc<Operation>>) -> Arc<Operation> {
    if operations.len() == 1
        && let Some(operation) = operations.pop()
    {
        return operation;
    }
    let whole = world.begin();
    let ending = whole.clone();
    world.spawn(async move {
        for operation in operations {
            let state = operation.ended().await;
            if !matches!(state, State::Succeeded(_)) {
                ending.end(state);
            }
        }
        ending.finish(Ok(()));
    });
    whole
}

fn claim_any(world: &Arc<World>, call: &Call<'_>, id: &Id) -> Result<Arc<Operation>, ApiError> {
    let machines = world.store.members(&format!("{}/virtualmachines", id.key()));
    let free = machines.iter().find(|machine| machine.property("allowClaim") == &Value::Bool(true) && machine.state() == "Succeeded");
    let machine =
        free.ok_or_else(|| ApiError::conflict("NoClaimableVirtualMachine", "There is no claimable virtual machine in the lab."))?;
    virtual_machine_actions::claim(world, id, machine, &call.caller)
}

fn import(world: &Arc<World>, call: &Call<'_>, id: &Id, lab: &Arc<Resource>, body: &Value) -> Result<Arc<Operation>, ApiError> {
    let source = body["sourceVirtualMachineResourceId"].as_str().unwrap_or_default();
    let machine = world.store.get(source).filter(|machine| machine.type_name == "Microsoft.DevTestLab/labs/virtualMachines");
    let machine =
        machine.ok_or_else(|| ApiError::new(404, "LabVirtualMachineNotFound", format!("The virtual machine '{source}' was not found.")))?;
    let name = body["destinationVirtualMachineName"].as_str().unwrap_or(machine.name());
    let mut copy = json!({"location": lab.location(), "properties": {}});
    for part in ["size", "userName", "galleryImageReference", "isAuthenticationWithSshKey", "disallowPublicIpAddress", "storageType"] {
        if !machine.property(part).is_null() {
            copy["properties"][part] = machine.property(part).clone();
        }
    }
    copy["properties"]["password"] = json!("[[imported]]");
    let put = Put { caller: &call.caller, id: &id.child("virtualmachines", name), body: &copy, duration: None };
    let applied = virtual_machine::put(world, &put)?;
    let operation = applied.operation.unwrap_or_else(|| world.begin());
    let (work, ending, source) = (world.clone(), operation.clone(), machine.key.clone());
    world.spawn(async move {
        if matches!(ending.ended().await, State::Succeeded(_)) {
            let _gate = work.gate();
            virtual_machine::remove(&work, &source);
        }
    });
    Ok(operation)
}

/// The VHDs that were uploaded for custom images.
fn vhds(world: &World, lab: &Resource) -> Vec<Value> {
    let found = world.blobs.as_ref().map(|blobs| blobs.vhds(artifacts_account(lab))).unwrap_or_default();
    found.into_iter().map(|id| json!({"id": id})).collect()
}

fn artifacts_account(lab: &Resource) -> &str {
    lab.text("artifactsStorageAccount").rsplit('/').next().unwrap_or_default()
}

fn upload_uri(world: &World, lab: &Resource, body: &Value) -> Result<String, ApiError> {
    let blob = body["blobName"].as_str().filter(|name| !name.is_empty());
    let blob = blob.ok_or_else(|| ApiError::bad_request("InvalidRequestContent", "The property 'blobName' is required."))?;
    let account = artifacts_account(lab);
    if let Some(blobs) = &world.blobs {
        return Ok(blobs.upload_uri(account, blob));
    }
    Ok(format!("https://{account}.blob.core.windows.net/uploads/{blob}?sv=2017-04-17&sr=b&sp=rcw&sig={}", random_digits(12)))
}
