//! Custom images: captured from a lab's machine, or made of a VHD, a managed image or a snapshot.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{artifact, new_resource, not_in_valid_state, require_lab, virtual_machine::check_not_busy, with_location};
use crate::emulator::{
    clock::dtl_date,
    error::ApiError,
    id::Id,
    operation::{Operation, State},
    provision::{Applied, Put},
    settings::Work,
    store::Resource,
    world::World,
};

/// What an image is made of.
#[derive(Debug)]
enum Source {
    /// A machine of the lab; `generalize` names what happens to it.
    Machine { machine: Arc<Resource>, generalized: bool },
    /// Something that lies ready.
    Ready,
}

/// Makes an image.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    let lab = require_lab(world, put.id)?;
    let given = super::lab_properties(put.body)?;
    check_name(put.id.name())?;
    if let Some(existing) = world.store.get(&put.id.key()).filter(|image| image.state() != "Failed") {
        return keep(world, put, &existing, &given);
    }
    let source = source(world, &lab, &given)?;
    let mut shown = given;
    for name in ["provisioningState", "managedImageId", "managedSnapshotId"].iter().filter(|_| matches!(source, Source::Machine { .. })) {
        shown.remove(*name);
    }
    if let Some(id) = shown.get_mut("vm").and_then(|vm| vm.get_mut("sourceVmId")) {
        *id = json!(id.as_str().unwrap_or_default().to_ascii_lowercase());
    }
    shown.insert("author".into(), shown.get("author").cloned().unwrap_or(json!(put.caller.client_id)));
    shown.insert("creationDate".into(), json!(dtl_date(world.clock.now())));
    let mut resource = new_resource(world, put.id, &with_location(put.body, &lab), shown);
    resource.set_state("Creating");
    if let Source::Machine { machine, .. } = &source {
        resource.hide("osType", machine.text("osType"));
        world.store.update(&machine.key, |machine| machine.hide("busy", format!("the custom image '{}'", put.id.name())));
    }
    let operation = world.begin();
    resource.hide("operation", operation.name.clone());
    let resource = world.store.put(resource);
    world.spawn(create(world.clone(), put.id.clone(), source, operation.clone()));
    Ok(Applied { created: true, resource, operation: Some(operation) })
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let good = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.() ".contains(&byte)) && (1..=80).contains(&name.len());
    if good {
        return Ok(());
    }
    let message =
        format!("The custom image name '{name}' is not valid: it must be 1 to 80 letters, digits, '-', '_', '.', '(', ')' and spaces.");
    Err(ApiError::bad_request("InvalidCustomImageName", message).with_target("name"))
}

fn keep(world: &World, put: &Put<'_>, existing: &Arc<Resource>, given: &Map<String, Value>) -> Result<Applied, ApiError> {
    if existing.state() != "Succeeded" {
        return Err(not_in_valid_state(put.id, existing.state()));
    }
    for name in ["vm", "vhd"] {
        let new = given.get(name).filter(|value| value.is_object());
        if new.is_some_and(|new| !new.to_string().eq_ignore_ascii_case(&existing.property(name).to_string())) {
            let message =
                format!("The property '{name}' cannot be set: the custom image '{}' exists already, with another source.", existing.name());
            return Err(ApiError::conflict("CannotSetProperty", message).with_target(name));
        }
    }
    let resource = world.settle(&existing.key, |image| {
        if let Some(description) = given.get("description") {
            image.set("description", description.clone());
        }
        if put.body["tags"].is_object() {
            image.body["tags"] = put.body["tags"].clone();
        }
    });
    let operation = world.begin();
    operation.finish(Ok(()));
    Ok(Applied { created: false, resource: resource.unwrap_or_else(|| existing.clone()), operation: Some(operation) })
}

fn source(world: &World, lab: &Resource, given: &Map<String, Value>) -> Result<Source, ApiError> {
    let named = |name: &str| given.get(name).and_then(Value::as_str).filter(|id| !id.is_empty());
    if let Some(vm) = given.get("vm").filter(|vm| vm.is_object()) {
        return machine_source(world, lab, vm);
    }
    if let Some(vhd) = given.get("vhd").filter(|vhd| vhd.is_object()) {
        if vhd["imageName"].as_str().unwrap_or_default().is_empty() {
            return Err(
                ApiError::bad_request("MissingRequiredProperty", "The property 'vhd.imageName' is required.").with_target("vhd.imageName")
            );
        }
        check_os(vhd["osType"].as_str().unwrap_or_default())?;
        check_vhd(world, lab, vhd["imageName"].as_str().unwrap_or_default())?;
        return Ok(Source::Ready);
    }
    for name in ["managedImageId", "managedSnapshotId"] {
        if let Some(id) = named(name) {
            let found = world.store.contains(id);
            let message = || format!("The resource '{id}' that the property '{name}' names was not found.");
            return if found { Ok(Source::Ready) } else { Err(ApiError::bad_request("SourceNotFound", message()).with_target(name)) };
        }
    }
    Err(ApiError::bad_request(
        "MissingRequiredProperty",
        "One of the properties 'vm', 'vhd', 'managedImageId' and 'managedSnapshotId' must be specified.",
    ))
}

/// A VHD must lie, whole, in a storage account of the lab. Without blobs nobody can tell.
fn check_vhd(world: &World, lab: &Resource, url: &str) -> Result<(), ApiError> {
    let Some(blobs) = &world.blobs else { return Ok(()) };
    let refused = |code: &str, message: String| Err(ApiError::bad_request(code, message).with_target("vhd.imageName"));
    if !blobs.contains(url) {
        return refused("VhdNotFound", format!("The VHD '{}' was not found.", url.split('?').next().unwrap_or_default()));
    }
    let accounts = ["defaultStorageAccount", "artifactsStorageAccount"].map(|name| lab.text(name).rsplit('/').next().unwrap_or_default());
    if accounts.iter().any(|account| !account.is_empty() && url.starts_with(&blobs.account_url(account))) {
        return Ok(());
    }
    refused("InvalidStorageAccountForLab", format!("The VHD '{url}' does not lie in a storage account of the lab '{}'.", lab.name()))
}

fn check_os(os: &str) -> Result<(), ApiError> {
    if os.eq_ignore_ascii_case("Windows") || os.eq_ignore_ascii_case("Linux") {
        return Ok(());
    }
    Err(ApiError::bad_request("InvalidOsType", format!("The OS type '{os}' is not valid: it must be 'Windows' or 'Linux'."))
        .with_target("osType"))
}

fn machine_source(world: &World, lab: &Resource, vm: &Value) -> Result<Source, ApiError> {
    let id = vm["sourceVmId"].as_str().unwrap_or_default();
    let inside = id.to_ascii_lowercase().starts_with(&format!("{}/virtualmachines/", lab.key));
    let machine = world.store.get(id).filter(|_| inside).ok_or_else(|| {
        let message = format!("The virtual machine '{id}' was not found in the lab '{}'.", lab.name());
        ApiError::bad_request("LabVirtualMachineNotFound", message).with_target("vm.sourceVmId")
    })?;
    let os = machine.text("osType");
    let state = state_of(vm, os)?;
    let compute = world.store.get(machine.text("computeId"));
    let security = compute.as_ref().and_then(|compute| compute.property("securityProfile")["securityType"].as_str()).unwrap_or("Standard");
    if !security.eq_ignore_ascii_case("Standard") {
        let message =
            format!("Capturing an image of the virtual machine '{}' is not supported for the security type '{security}'.", machine.name());
        return Err(ApiError::conflict("OperationNotAllowed", message).with_target("vm.sourceVmId"));
    }
    if let Some(parsed) = Id::parse(&machine.key) {
        check_not_busy(&parsed, &machine)?;
        if machine.state() != "Succeeded" {
            return Err(not_in_valid_state(&parsed, machine.state()));
        }
    }
    Ok(Source::Machine { machine, generalized: !state.starts_with("Non") })
}

/// What the request says of the machine's operating system.
fn state_of(vm: &Value, os: &str) -> Result<String, ApiError> {
    let (info, name, states) = match os {
        "Linux" => ("linuxOsInfo", "linuxOsState", ["NonDeprovisioned", "DeprovisionRequested", "DeprovisionApplied"]),
        _ => ("windowsOsInfo", "windowsOsState", ["NonSysprepped", "SysprepRequested", "SysprepApplied"]),
    };
    let other = if os == "Linux" { "windowsOsInfo" } else { "linuxOsInfo" };
    if vm[other].is_object() {
        let message = format!("The property '{other}' does not fit: the source virtual machine's operating system is {os}.");
        return Err(ApiError::bad_request("InvalidOsType", message).with_target(format!("vm.{other}")));
    }
    let given = vm[info][name].as_str().unwrap_or(states[0]);
    states.iter().find(|state| state.eq_ignore_ascii_case(given)).map(|state| (*state).to_owned()).ok_or_else(|| {
        let message = format!("The value '{given}' of '{name}' is not valid: it must be one of {}.", states.join(", "));
        ApiError::bad_request("InvalidOsState", message).with_target(format!("vm.{info}.{name}"))
    })
}

async fn create(world: Arc<World>, id: Id, source: Source, operation: Arc<Operation>) {
    let duration = world.settings().duration(Work::CustomImage);
    let outcome = world.provisioning(&id.key(), duration).await;
    let _gate = world.gate();
    if let Source::Machine { machine, .. } = &source {
        world.store.update(&machine.key, |machine| {
            machine.private.remove("busy");
        });
    }
    if world.store.get(&id.key()).is_none_or(|image| image.state() != "Creating") {
        operation.end(State::Canceled);
        return;
    }
    if let Some(outcome) = outcome {
        world.settle(&id.key(), |image| image.set_state(&outcome.state));
        operation.finish(Err(outcome.error));
        return;
    }
    let made = match &source {
        Source::Machine { machine, generalized } => Some(capture(&world, &id, machine, *generalized)),
        Source::Ready => None,
    };
    world.settle(&id.key(), |image| {
        if let Some((name, value)) = made {
            image.set(name, value);
        }
        image.set_state("Succeeded");
    });
    operation.finish(Ok(()));
}

/// Makes what the image stands on: a managed image of a generalized machine, which never runs again, or a snapshot of its disk.
fn capture(world: &World, id: &Id, machine: &Resource, generalized: bool) -> (&'static str, Value) {
    let os = machine.text("osType");
    let disk = json!({"osType": os, "osState": if generalized { "Generalized" } else { "Specialized" }, "diskSizeGB": 127,
        "storageAccountType": "Standard_LRS"});
    let (kind, property, mut properties) = if generalized {
        if let Some(machine_id) = Id::parse(&machine.key) {
            artifact::generalize(world, &machine_id, machine);
        }
        let properties = json!({"sourceVirtualMachine": {"id": machine.text("computeId")}, "storageProfile": {"osDisk": disk}, "hyperVGeneration": "V1"});
        ("images", "managedImageId", properties)
    } else {
        let properties = json!({"osType": os, "diskSizeGB": 127, "diskState": "Unattached", "hyperVGeneration": "V1",
            "creationData": {"createOption": "Copy", "sourceResourceId": machine.text("computeId")}});
        ("snapshots", "managedSnapshotId", properties)
    };
    properties["provisioningState"] = json!("Succeeded");
    let made = id.sibling("Microsoft.Compute", kind, id.name());
    let body = json!({"name": id.name(), "id": made.to_string(), "type": format!("Microsoft.Compute/{kind}"),
        "location": machine.location(), "properties": properties});
    world.store.put(Resource::new(body, world.clock.now()));
    (property, json!(made.key()))
}

/// The operating system of an image.
pub fn os_of(world: &World, image: &Resource) -> String {
    let vhd = image.property("vhd")["osType"].as_str();
    let from_machine = image.property("vm").as_object().map(|vm| if vm.contains_key("linuxOsInfo") { "Linux" } else { "Windows" });
    let hidden = Some(image.hidden("osType")).filter(|os| !os.is_empty());
    let managed = world.store.get(image.text("managedImageId"));
    let of_managed = managed.as_ref().and_then(|managed| managed.property("storageProfile")["osDisk"]["osType"].as_str());
    let snapshot = world.store.get(image.text("managedSnapshotId"));
    let of_snapshot = snapshot.as_ref().map(|snapshot| snapshot.text("osType"));
    let os = vhd.or(hidden).or(of_managed).or(of_snapshot).or(from_machine).unwrap_or("Windows");
    if os.eq_ignore_ascii_case("Linux") { "Linux".into() } else { "Windows".into() }
}

/// Deletes an image.
pub fn delete(world: &Arc<World>, id: &Id, image: &Resource) -> Result<Arc<Operation>, ApiError> {
    if image.state() == "Deleting"
        && let Some(operation) = world.operations.get(image.hidden("operation"))
    {
        return Ok(operation);
    }
    check_not_in_use(world, id)?;
    let operation = world.begin();
    world.store.update(&image.key, |image| {
        image.set_state("Deleting");
        image.hide("operation", operation.name.clone());
    });
    let (world, id, ending) = (world.clone(), id.clone(), operation.clone());
    world.clone().spawn(async move {
        world.work(Work::Deletion).await;
        let _gate = world.gate();
        if let Some(image) = world.store.remove(&id.key())
            && image.property("vm").is_object()
        {
            world.store.remove(image.text("managedImageId"));
            world.store.remove(image.text("managedSnapshotId"));
        }
        ending.finish(Ok(()));
    });
    Ok(operation)
}

/// An image that a machine is being made of cannot go.
fn check_not_in_use(world: &World, id: &Id) -> Result<(), ApiError> {
    let machines = world.store.members(&format!("{}/virtualmachines", id.ancestor(1).key()));
    let user =
        machines.iter().find(|machine| machine.state() == "Creating" && machine.text("customImageId").eq_ignore_ascii_case(&id.key()));
    match user {
        Some(machine) => Err(ApiError::conflict(
            "ResourceInUse",
            format!(
                "The custom image '{}' cannot be deleted: the virtual machine '{}' is being created from it.",
                id.name(),
                machine.name()
            ),
        )),
        None => Ok(()),
    }
}
