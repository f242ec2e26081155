//! Disks and snapshots: what they are made from, who holds them, and access to their content by a signature.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::emulator::{
    clock::arm_date,
    error::ApiError,
    http::{Reply, parse_object},
    id::Id,
    operation::State,
    provision::{self, Applied, Put, properties},
    router::{self, Target},
    storage,
    store::Resource,
    world::{Call, World},
};

const DISKS: &str = "Microsoft.Compute/disks";
const SNAPSHOTS: &str = "Microsoft.Compute/snapshots";
/// The ways in which a disk or snapshot can come about.
const CREATE_OPTIONS: [&str; 9] = ["Empty", "Attach", "FromImage", "Import", "Copy", "CopyStart", "Restore", "Upload", "ImportSecure"];

/// Whether a type is one of these.
pub fn has(id: &Id) -> bool {
    id.is(DISKS) || id.is(SNAPSHOTS)
}

/// Whether a request is for one of these, or for access to one.
pub fn is_for(target: &Target) -> bool {
    let kinds = target.kinds();
    let mut parts = kinds.split('/');
    matches!(parts.next(), Some("disks" | "snapshots"))
        && target.rest.len() >= 2
        && parts.next().is_none_or(|action| action.ends_with("getaccess"))
}

/// Serves a request.
pub fn serve(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let kind = if target.rest[0].eq_ignore_ascii_case("disks") { "disks" } else { "snapshots" };
    let id = Id { scope: target.scope(), namespace: "Microsoft.Compute".into(), pairs: vec![(kind.into(), target.rest[1].clone())] };
    let find = || {
        let missing = || ApiError::resource_not_found(&format!("{}/{}", id.type_name(), id.name()), id.group());
        world.store.get(&id.key()).ok_or_else(missing)
    };
    let action = target.rest.get(2).map(|action| action.to_ascii_lowercase());
    match (call.method(), action.as_deref()) {
        ("GET", None) => Ok(Reply::ok(&shown(world, &*find()?))),
        ("PUT" | "PATCH", None) => {
            let mut body = parse_object(&call.request.body)?;
            if call.method() == "PATCH" {
                body = patched(&*find()?, &body);
            }
            let applied = provision::put(world, &Put { caller: &call.caller, id: &id, body: &body, duration: None })?;
            let disk = shown(world, &applied.resource);
            let mut reply = Reply::json(202, &disk);
            // The result's address gives the disk, which is where `az` reads what it has made.
            let operation = world.begin();
            operation.end(State::Succeeded(Some(disk)));
            reply.headers = router::operation_accepted(world, call, &applied.resource, &operation).headers;
            Ok(reply)
        }
        ("DELETE", None) => delete(world, call, &id),
        ("POST", Some("begingetaccess")) => grant(world, call, &*find()?),
        ("POST", Some("endgetaccess")) => {
            let disk = find()?;
            world.store.update(&disk.key, |disk| {
                disk.private.remove("access");
            });
            let operation = world.begin();
            let ending = operation.clone();
            match &world.blobs {
                Some(blobs) => blobs.revoke(&disk.key, move || ending.finish(Ok(()))),
                None => operation.finish(Ok(())),
            }
            Ok(router::operation_accepted(world, call, &disk, &operation))
        }
        (method, _) => Err(ApiError::method_not_allowed(method, &call.request.path)),
    }
}

fn patched(disk: &Resource, patch: &Value) -> Value {
    let mut body = disk.body.clone();
    for part in ["tags", "sku"] {
        if patch[part].is_object() {
            body[part] = patch[part].clone();
        }
    }
    for (name, value) in patch["properties"].as_object().into_iter().flatten() {
        body["properties"][name] = value.clone();
    }
    body
}

/// A disk as it stands now: who holds it decides its state.
pub fn shown(world: &World, disk: &Resource) -> Value {
    let mut body = disk.body.clone();
    body["properties"]["diskState"] = json!(state(world, disk));
    if let Some(machine) = holder(world, disk) {
        body["managedBy"] = json!(machine.id());
    }
    body
}

/// `Unattached`; `Attached` to a machine that runs; `Reserved` for one that is deallocated; `ActiveSAS` while somebody reads it.
pub fn state(world: &World, disk: &Resource) -> String {
    let machine = holder(world, disk);
    let attached = machine.as_ref().is_some_and(|machine| super::power_state(machine) != "deallocated");
    if disk.private.contains_key("access") {
        return "ActiveSAS".into();
    }
    match machine {
        Some(_) if attached => "Attached".into(),
        Some(_) => "Reserved".into(),
        // A seeded state that nobody else explains stands.
        None => Some(disk.text("diskState")).filter(|state| !state.is_empty() && *state != "Attached").unwrap_or("Unattached").to_owned(),
    }
}

/// The machine that a disk belongs to.
pub fn holder(world: &World, disk: &Resource) -> Option<Arc<Resource>> {
    let subscription = Id::parse(&disk.key)?.subscription()?.to_owned();
    world.store.of_type(&subscription, super::MACHINES).into_iter().find(|machine| {
        let storage = machine.property("storageProfile");
        let is = |disk_of: &Value| disk_of["managedDisk"]["id"].as_str().is_some_and(|id| id.eq_ignore_ascii_case(&disk.key));
        is(&storage["osDisk"]) || storage["dataDisks"].as_array().into_iter().flatten().any(is)
    })
}

/// Makes or changes a disk or snapshot.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    let mut given = properties(put.body)?;
    let existing = world.store.get(&put.id.key());
    match &existing {
        None => create(world, &mut given)?,
        Some(existing) => change(existing, &mut given)?,
    }
    let size = given.get("diskSizeGB").and_then(Value::as_u64).unwrap_or_default();
    given.insert("diskSizeBytes".into(), json!(size << 30));
    given.insert("provisioningState".into(), json!("Succeeded"));
    given.entry("timeCreated").or_insert_with(|| json!(arm_date(world.clock.now())));
    given.entry("uniqueId").or_insert_with(|| json!(Uuid::new_v4().to_string()));
    given.entry("diskState").or_insert_with(|| json!("Unattached"));
    let mut resource = Resource::new(provision::body(&put.id.to_string(), put.id, put.body, &given), world.clock.now());
    if let Some(existing) = &existing {
        resource.created_at = existing.created_at;
        resource.private.clone_from(&existing.private);
    } else if let Some(outcome) = world.faults.provisioning(&resource.key) {
        return Err(outcome.error);
    }
    Ok(Applied { created: existing.is_none(), resource: world.store.put(resource), operation: None })
}

fn invalid(target: &str, message: String) -> ApiError {
    ApiError::bad_request("InvalidParameter", message).with_target(target)
}

fn required(name: &str) -> ApiError {
    invalid(name, format!("Required parameter '{name}' is missing (null)."))
}

fn create(world: &World, given: &mut Map<String, Value>) -> Result<(), ApiError> {
    let creation =
        given.get("creationData").filter(|data| data.is_object()).cloned().ok_or_else(|| required("disk.properties.creationData"))?;
    let option = creation["createOption"].as_str().ok_or_else(|| required("disk.properties.creationData.createOption"))?;
    let option = CREATE_OPTIONS.iter().find(|known| known.eq_ignore_ascii_case(option)).copied().ok_or_else(|| {
        invalid("disk.properties.creationData.createOption", format!("The value '{option}' of parameter 'createOption' is invalid."))
    })?;
    match option {
        "Empty" if given.get("diskSizeGB").and_then(Value::as_u64).is_none() => Err(required("disk.properties.diskSizeGB")),
        "Copy" | "CopyStart" | "Restore" => {
            let id = creation["sourceResourceId"].as_str().ok_or_else(|| required("disk.properties.creationData.sourceResourceId"))?;
            let source = world.store.get(id).ok_or_else(|| {
                ApiError::new(404, "NotFound", format!("Resource {id} is not found."))
                    .with_target("disk.properties.creationData.sourceResourceId")
            })?;
            for name in ["diskSizeGB", "osType", "hyperVGeneration", "securityProfile", "purchasePlan", "supportedCapabilities"] {
                if !source.property(name).is_null() {
                    given.entry(name).or_insert_with(|| source.property(name).clone());
                }
            }
            Ok(())
        }
        "Import" if creation["sourceUri"].as_str().is_none() => Err(required("disk.properties.creationData.sourceUri")),
        "Import" | "FromImage" => {
            given.entry("diskSizeGB").or_insert(json!(127));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A disk grows and never shrinks; what it was made from stays.
fn change(existing: &Resource, given: &mut Map<String, Value>) -> Result<(), ApiError> {
    let before = existing.property("diskSizeGB").as_u64().unwrap_or_default();
    let after = given.get("diskSizeGB").and_then(Value::as_u64).unwrap_or(before);
    if after < before {
        let message =
            format!("The new disk size '{after}' GB is smaller than the existing size '{before}' GB. Disks cannot be resized down.");
        return Err(ApiError::conflict("ResizeDiskError", message).with_target("disk.properties.diskSizeGB"));
    }
    for (name, value) in existing.body["properties"].as_object().into_iter().flatten() {
        given.entry(name.as_str()).or_insert_with(|| value.clone());
    }
    Ok(())
}

fn delete(world: &Arc<World>, call: &Call<'_>, id: &Id) -> Result<Reply, ApiError> {
    let Some(disk) = world.store.get(&id.key()) else { return Ok(Reply::empty(204)) };
    if let Some(machine) = holder(world, &disk) {
        let message = format!("Disk {} is attached to VM {}.", disk.name(), machine.id());
        return Err(ApiError::conflict("OperationNotAllowed", message));
    }
    if disk.private.contains_key("access") {
        let message = format!("The disk '{}' has an active SAS. Call EndGetAccess before deleting it.", disk.name());
        return Err(ApiError::conflict("OperationNotAllowed", message));
    }
    world.store.remove(&id.key());
    let operation = world.begin();
    operation.finish(Ok(()));
    Ok(router::operation_accepted(world, call, &disk, &operation))
}

fn grant(world: &Arc<World>, call: &Call<'_>, disk: &Resource) -> Result<Reply, ApiError> {
    let body = parse_object(&call.request.body)?;
    let access = body["access"].as_str().unwrap_or_default();
    if !["Read", "Write", "None"].iter().any(|known| known.eq_ignore_ascii_case(access)) {
        return Err(required("grantAccessData.access"));
    }
    let seconds =
        body["durationInSeconds"].as_i64().filter(|seconds| *seconds > 0).ok_or_else(|| required("grantAccessData.durationInSeconds"))?;
    if state(world, disk) == "Attached" {
        let message = format!("Cannot grant access to disk '{}' because it is attached to a running VM.", disk.name());
        return Err(ApiError::conflict("OperationNotAllowed", message));
    }
    if let Some(blobs) = &world.blobs {
        let operation = world.begin();
        let (result, ending) = (Arc::new(OnceLock::new()), operation.clone());
        let known = result.clone();
        let gib = disk.property("diskSizeGB").as_u64().unwrap_or(1);
        let then = move || ending.end(State::Succeeded(known.get().cloned()));
        let sas = blobs.grant(&disk.key, gib, storage::lifetime(seconds), then);
        result.get_or_init(|| json!({"accessSAS": sas}));
        world.store.update(&disk.key, |disk| disk.hide("access", sas));
        return Ok(router::operation_accepted(world, call, disk, &operation));
    }
    let expires = arm_date(world.clock.now() + time::Duration::seconds(seconds));
    let signature = Uuid::new_v4().simple().to_string();
    let sas = format!(
        "https://md-{signature}.z1.blob.storage.azure.net/{}/abcd?sv=2018-03-28&sr=b&se={expires}&sp=r&sig={signature}",
        disk.name()
    );
    world.store.update(&disk.key, |disk| disk.hide("access", sas.clone()));
    let operation = world.begin();
    operation.end(State::Succeeded(Some(json!({"accessSAS": sas}))));
    Ok(router::operation_accepted(world, call, disk, &operation))
}
