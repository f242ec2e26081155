//! Virtual machines of Compute itself: made from interfaces, images and disks; switched, resized, deleted.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{MACHINES, catalog, disk, image_os, power_state};
use crate::emulator::{
    clock::arm_date,
    error::ApiError,
    id::Id,
    network,
    operation::{Operation, State},
    provision::{self, Applied, Put, properties},
    resources::generic,
    settings::Work,
    store::Resource,
    world::{World, random_digits},
};

/// Whether a type is this one.
pub fn has(id: &Id) -> bool {
    id.is(MACHINES)
}

/// Whether a type is what runs inside a machine.
pub fn has_extension(id: &Id) -> bool {
    id.is("Microsoft.Compute/virtualMachines/extensions")
}

fn invalid(name: &str, message: String) -> ApiError {
    ApiError::bad_request("InvalidParameter", message).with_target(name)
}

fn required(name: &str) -> ApiError {
    invalid(name, format!("Required parameter '{name}' is missing (null)."))
}

/// Makes or changes a machine.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    let id = generic::proper(put.id);
    let mut given = properties(put.body)?;
    let existing = world.store.get(&id.key());
    if let Some(existing) = &existing {
        check_steady(existing)?;
        keep(existing, &mut given)?;
    }
    check_size(given.get("hardwareProfile").unwrap_or(&Value::Null))?;
    let interfaces = interfaces(&given);
    check_interfaces(world, &id, &interfaces)?;
    let location = put.body["location"].as_str().or_else(|| existing.as_ref().map(|existing| existing.location())).unwrap_or_default();
    let location = location.to_owned();
    check_data_disks(world, &id, &given)?;
    if existing.is_none() {
        let os = check_source(world, &given)?;
        make_os_disk(world, &id, &location, &os, &mut given)?;
        given.insert("vmId".into(), json!(Uuid::new_v4().to_string()));
        given.insert("timeCreated".into(), json!(arm_date(world.clock.now())));
    }
    make_data_disks(world, &id, &location, &mut given);
    if let Some(profile) = given.get_mut("osProfile").and_then(Value::as_object_mut) {
        profile.remove("adminPassword");
        profile.entry("allowExtensionOperations").or_insert(json!(true));
        profile.entry("secrets").or_insert(json!([]));
    }
    given.remove("instanceView");
    let mut body = put.body.clone();
    if body["location"].is_null() {
        body["location"] = json!(location);
    }
    body["properties"] = Value::Object(given);
    let duration =
        put.duration.unwrap_or_else(|| world.settings().duration(if existing.is_none() { Work::VirtualMachine } else { Work::Start }));
    let applied = generic::put(world, &Put { caller: put.caller, id: &id, body: &body, duration: Some(duration) })?;
    for gone in existing.iter().flat_map(|existing| self::interfaces(existing.body["properties"].as_object().unwrap_or(&Map::new()))) {
        network::hold(world, &gone, None);
    }
    for interface in &interfaces {
        network::hold(world, interface, Some(&id.to_string()));
    }
    if applied.created {
        world.store.update(&id.key(), |machine| machine.hide("power", "running"));
    }
    Ok(applied)
}

/// While something is going on nothing else may begin.
pub fn check_steady(machine: &Resource) -> Result<(), ApiError> {
    match machine.state() {
        "Creating" | "Updating" | "Deleting" => Err(ApiError::conflict(
            "AnotherOperationInProgress",
            format!(
                "Another operation on the virtual machine '{}' is in progress: its provisioning state is '{}'. Please try again later.",
                machine.name(),
                machine.state()
            ),
        )),
        _ => Ok(()),
    }
}

/// What a change leaves out stays; what cannot be changed is refused.
fn keep(existing: &Resource, given: &mut Map<String, Value>) -> Result<(), ApiError> {
    let before = existing.property("osProfile");
    for name in ["adminUsername", "computerName"] {
        let new = given.get("osProfile").map(|profile| profile[name].clone()).unwrap_or_default();
        if !new.is_null() && new != before[name] {
            let message = format!("Changing property 'osProfile.{name}' is not allowed.");
            return Err(ApiError::conflict("PropertyChangeNotAllowed", message).with_target(format!("osProfile.{name}")));
        }
    }
    for (name, value) in existing.body["properties"].as_object().into_iter().flatten() {
        match given.get_mut(name) {
            None => {
                given.insert(name.clone(), value.clone());
            }
            Some(new) => fill(new, value),
        }
    }
    Ok(())
}

/// Objects are filled up with what was there; lists and values are replaced.
fn fill(new: &mut Value, old: &Value) {
    if let (Some(new), Some(old)) = (new.as_object_mut(), old.as_object()) {
        for (name, value) in old {
            match new.get_mut(name) {
                None => {
                    new.insert(name.clone(), value.clone());
                }
                Some(inner) => fill(inner, value),
            }
        }
    }
}

fn check_size(hardware: &Value) -> Result<(), ApiError> {
    let size = hardware["vmSize"].as_str().ok_or_else(|| required("hardwareProfile.vmSize"))?;
    let shaped = ["standard_", "basic_"].iter().any(|family| size.to_ascii_lowercase().starts_with(family) && size.len() > family.len());
    if shaped && !catalog::is_retired(size) {
        return Ok(());
    }
    let message = format!(
        "The value {size} provided for the VM size is not valid. The valid sizes in the current region are: {}.",
        catalog::size_names().join(",")
    );
    Err(invalid("vmSize", message))
}

fn interfaces(given: &Map<String, Value>) -> Vec<String> {
    let all = given.get("networkProfile").and_then(|profile| profile["networkInterfaces"].as_array());
    all.into_iter().flatten().filter_map(|one| one["id"].as_str().map(str::to_owned)).collect()
}

fn check_interfaces(world: &World, id: &Id, interfaces: &[String]) -> Result<(), ApiError> {
    if interfaces.is_empty() {
        return Err(required("networkProfile"));
    }
    for interface in interfaces {
        let found = world.store.get(interface).ok_or_else(|| {
            ApiError::bad_request("InvalidResourceReference", format!("Resource {interface} referenced by resource {id} was not found. Please make sure that the referenced resource exists, and that both resources are in the same region."))
        })?;
        let holder = found.property("virtualMachine")["id"].as_str().unwrap_or_default();
        if !holder.is_empty() && !holder.eq_ignore_ascii_case(&id.key()) && world.store.contains(holder) {
            return Err(ApiError::bad_request(
                "NicInUse",
                format!(
                    "Network Interface {interface} is used by existing resource {holder}. In order to use it, it must be dissociated from the resource."
                ),
            ));
        }
    }
    Ok(())
}

/// What a new machine is made of: an image, or a disk that is there. Tells the operating system.
fn check_source(world: &World, given: &Map<String, Value>) -> Result<String, ApiError> {
    let storage = given.get("storageProfile").cloned().unwrap_or_default();
    let option = storage["osDisk"]["createOption"].as_str().unwrap_or("FromImage");
    if option.eq_ignore_ascii_case("Attach") {
        let disk = storage["osDisk"]["managedDisk"]["id"].as_str().ok_or_else(|| required("osDisk.managedDisk"))?;
        world.store.get(disk).ok_or_else(|| ApiError::new(404, "NotFound", format!("Resource {disk} is not found.")))?;
        return storage["osDisk"]["osType"].as_str().map(str::to_owned).ok_or_else(|| required("osDisk.osType"));
    }
    let image = &storage["imageReference"];
    if !image.is_object() {
        return Err(required("imageReference"));
    }
    let source = if let Some(id) = image["id"].as_str() {
        let missing = || ApiError::new(404, "ImageNotFound", format!("The Image '{id}' cannot be found."));
        Some(find_image(world, id).ok_or_else(missing)?)
    } else {
        for part in ["publisher", "offer", "sku"] {
            image[part].as_str().ok_or_else(|| required(&format!("imageReference.{part}")))?;
        }
        None
    };
    let profile = given.get("osProfile").cloned().unwrap_or_default();
    let specialized = source.as_ref().is_some_and(|source| source.body.to_string().contains("\"Specialized\""));
    if specialized && profile.is_object() {
        return Err(invalid("osProfile", "Parameter 'osProfile' is not allowed.".into()));
    }
    if !specialized {
        for part in ["adminUsername", "computerName"] {
            if profile[part].as_str().unwrap_or_default().is_empty() {
                return Err(required(&format!("osProfile.{part}")));
            }
        }
        let by_key = profile["linuxConfiguration"]["ssh"]["publicKeys"].as_array().is_some_and(|keys| !keys.is_empty());
        if !by_key && profile["adminPassword"].as_str().unwrap_or_default().is_empty() {
            return Err(required("osProfile.adminPassword"));
        }
    }
    Ok(image_os(source.as_deref(), image, &profile))
}

/// An image; of a gallery's version its definition, which knows the operating system.
fn find_image(world: &World, id: &str) -> Option<Arc<Resource>> {
    let parsed = Id::parse(id)?;
    if !parsed.is("Microsoft.Compute/galleries/images/versions") {
        return world.store.get(id);
    }
    let there = parsed.name().eq_ignore_ascii_case("latest") || world.store.contains(id);
    world.store.get(&parsed.parent()?.key()).filter(|_| there)
}

fn make_os_disk(world: &World, id: &Id, location: &str, os: &str, given: &mut Map<String, Value>) -> Result<(), ApiError> {
    let storage = given.entry("storageProfile").or_insert_with(|| json!({}));
    let mut os_disk = storage["osDisk"].as_object().cloned().unwrap_or_default();
    os_disk.insert("osType".into(), json!(os));
    os_disk.entry("createOption").or_insert(json!("FromImage"));
    os_disk.entry("caching").or_insert(json!("ReadWrite"));
    os_disk.entry("deleteOption").or_insert(json!("Detach"));
    let attached = os_disk.get("managedDisk").and_then(|disk| disk["id"].as_str()).map(str::to_owned);
    if let Some(attached) = attached {
        check_unheld(world, id, &attached)?;
        os_disk.entry("name").or_insert(json!(attached.rsplit('/').next().unwrap_or_default()));
    } else {
        let name = os_disk
            .get("name")
            .and_then(Value::as_str)
            .map_or_else(|| format!("{}_OsDisk_1_{}", id.name(), Uuid::new_v4().simple()), str::to_owned);
        let size = os_disk.get("diskSizeGB").and_then(Value::as_u64).unwrap_or(if os == "Windows" { 127 } else { 30 });
        let kind = os_disk.get("managedDisk").and_then(|disk| disk["storageAccountType"].as_str()).unwrap_or("Premium_LRS").to_owned();
        let made = make_disk(
            world,
            id,
            location,
            &name,
            &kind,
            json!({"osType": os, "diskSizeGB": size, "hyperVGeneration": "V2",
            "creationData": {"createOption": "FromImage", "imageReference": {"id": image_id(id, location, &storage["imageReference"])}}}),
        );
        os_disk.insert("name".into(), json!(name));
        os_disk.insert("diskSizeGB".into(), json!(size));
        os_disk.insert("managedDisk".into(), json!({"id": made, "storageAccountType": kind}));
    }
    storage["osDisk"] = Value::Object(os_disk);
    if !storage["dataDisks"].is_array() {
        storage["dataDisks"] = json!([]);
    }
    Ok(())
}

/// The id of an image; a marketplace image's is that of its version.
fn image_id(machine: &Id, location: &str, reference: &Value) -> String {
    let part = |name: &str| reference[name].as_str().unwrap_or_default();
    if reference["id"].is_string() {
        return part("id").to_owned();
    }
    format!(
        "/Subscriptions/{}/Providers/Microsoft.Compute/Locations/{location}/Publishers/{}/ArtifactTypes/VMImage/Offers/{}/Skus/{}/Versions/{}",
        machine.subscription().unwrap_or_default(),
        part("publisher"),
        part("offer"),
        part("sku"),
        part("version")
    )
}

fn make_disk(world: &World, id: &Id, location: &str, name: &str, kind: &str, properties: Value) -> String {
    let disk = id.sibling("Microsoft.Compute", "disks", name);
    let mut properties = properties;
    properties["provisioningState"] = json!("Succeeded");
    properties["timeCreated"] = json!(arm_date(world.clock.now()));
    properties["uniqueId"] = json!(Uuid::new_v4().to_string());
    let body = json!({"name": name, "id": disk.to_string(), "type": "Microsoft.Compute/disks", "location": location, "sku": {"name": kind},
        "properties": properties});
    world.store.put(Resource::new(body, world.clock.now()));
    disk.to_string()
}

fn data_disks(given: &Map<String, Value>) -> Vec<Value> {
    given.get("storageProfile").and_then(|storage| storage["dataDisks"].as_array()).cloned().unwrap_or_default()
}

fn check_data_disks(world: &World, id: &Id, given: &Map<String, Value>) -> Result<(), ApiError> {
    let disks = data_disks(given);
    let mut luns = Vec::new();
    for disk in &disks {
        let lun = disk["lun"].as_u64().ok_or_else(|| required("dataDisk.lun"))?;
        if luns.contains(&lun) {
            return Err(invalid("dataDisk.lun", format!("A disk at LUN {lun} already exists.")));
        }
        luns.push(lun);
        if let Some(managed) = disk["managedDisk"]["id"].as_str() {
            check_unheld(world, id, managed)?;
        } else if disk["diskSizeGB"].as_u64().is_none() {
            return Err(required("dataDisk.diskSizeGB"));
        }
    }
    Ok(())
}

/// A disk is one machine's.
fn check_unheld(world: &World, id: &Id, text: &str) -> Result<(), ApiError> {
    let found = world.store.get(text).ok_or_else(|| ApiError::new(404, "NotFound", format!("Resource {text} is not found.")))?;
    match disk::holder(world, &found).filter(|holder| *holder.key != *id.key()) {
        Some(holder) => Err(ApiError::conflict(
            "ConflictingUserInput",
            format!("Disk '{}' cannot be attached as the disk is already owned by VM '{}'.", found.name(), holder.id()),
        )),
        None => Ok(()),
    }
}

fn make_data_disks(world: &World, id: &Id, location: &str, given: &mut Map<String, Value>) {
    let made: Vec<Value> = data_disks(given)
        .into_iter()
        .map(|mut disk| {
            if disk["managedDisk"]["id"].is_string() {
                return disk;
            }
            let name =
                disk["name"].as_str().map_or_else(|| format!("{}_DataDisk_{}_{}", id.name(), disk["lun"], random_digits(8)), str::to_owned);
            let kind = disk["managedDisk"]["storageAccountType"].as_str().unwrap_or("Premium_LRS").to_owned();
            let properties = json!({"diskSizeGB": disk["diskSizeGB"], "creationData": {"createOption": "Empty"}});
            let managed = make_disk(world, id, location, &name, &kind, properties);
            disk["name"] = json!(name);
            disk["managedDisk"] = json!({"id": managed, "storageAccountType": kind});
            disk
        })
        .collect();
    if let Some(storage) = given.get_mut("storageProfile") {
        storage["dataDisks"] = json!(made);
    }
}

/// Deletes a machine, with what shall go with it.
pub fn delete(world: &Arc<World>, machine: &Resource) -> Arc<Operation> {
    if machine.state() == "Deleting"
        && let Some(operation) = world.operations.get(machine.hidden("operation"))
    {
        return operation;
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
        match world.store.remove(&key) {
            Some(machine) => {
                take_apart(&world, &machine);
                ending.finish(Ok(()));
            }
            None => ending.end(State::Canceled),
        }
    });
    operation
}

fn take_apart(world: &World, machine: &Resource) {
    for below in world.store.below(&format!("{}/", machine.key)) {
        world.store.remove(&below.key);
    }
    let goes = |part: &Value| part["deleteOption"].as_str().is_some_and(|option| option.eq_ignore_ascii_case("Delete"));
    let storage = machine.property("storageProfile");
    let disks = std::iter::once(&storage["osDisk"]).chain(storage["dataDisks"].as_array().into_iter().flatten());
    for disk in disks.filter(|disk| goes(disk)) {
        world.store.remove(disk["managedDisk"]["id"].as_str().unwrap_or_default());
    }
    for interface in machine.property("networkProfile")["networkInterfaces"].as_array().into_iter().flatten() {
        let id = interface["id"].as_str().unwrap_or_default();
        network::hold(world, id, None);
        if goes(&interface["properties"])
            && let Some(found) = world.store.get(id)
        {
            network::unlink(world, &found);
            for below in world.store.below(&format!("{}/", found.key)) {
                world.store.remove(&below.key);
            }
            world.store.remove(&found.key);
        }
    }
}

/// Makes an extension of a machine, which must run for it.
pub fn put_extension(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    let id = generic::proper(put.id);
    let parent = id.ancestor(1);
    let machine = world.store.get(&parent.key()).ok_or_else(|| ApiError::parent_not_found(&parent.full_name()))?;
    if power_state(&machine) != "running" {
        let message = "Cannot modify extensions in the VM when the VM is not running.";
        return Err(ApiError::conflict("OperationNotAllowed", message));
    }
    let mut given = provision::properties(put.body)?;
    for name in ["publisher", "type", "typeHandlerVersion"] {
        given.get(name).and_then(Value::as_str).ok_or_else(|| required(&format!("virtualMachineExtension.properties.{name}")))?;
    }
    given.remove("protectedSettings");
    given.entry("autoUpgradeMinorVersion").or_insert(json!(false));
    let mut body = put.body.clone();
    body["properties"] = Value::Object(given);
    if body["location"].is_null() {
        body["location"] = json!(machine.location());
    }
    let duration = put.duration.unwrap_or_else(|| world.settings().duration(Work::Artifact));
    generic::put(world, &Put { caller: put.caller, id: &id, body: &body, duration: Some(duration) })
}
