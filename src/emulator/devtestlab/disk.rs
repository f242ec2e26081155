//! Data disks of a lab's users: made on a managed disk, attached to machines and detached.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    Acted, new_resource, not_found, not_in_valid_state,
    plain::{self, Making, invalid, missing},
};
use crate::emulator::{
    clock::dtl_date,
    error::ApiError,
    id::Id,
    operation::{Operation, State},
    settings::Work,
    store::Resource,
    world::World,
};

const DISKS: &str = "Microsoft.DevTestLab/labs/users/disks";
const TYPES: [(&str, &str); 3] = [("Standard", "Standard_LRS"), ("Premium", "Premium_LRS"), ("StandardSSD", "StandardSSD_LRS")];

/// A disk has a size, unless it stands on one that is there.
pub fn prepare(making: &mut Making<'_>) -> Result<(), ApiError> {
    making.given.remove("createdDate");
    let now = dtl_date(making.world.clock.now());
    making.default("createdDate", now);
    making.default("diskType", "Standard");
    check_type(making.text("diskType"))?;
    if making.existing.is_none() {
        // Only attaching leases a disk.
        making.given.remove("leasedByLabVmId");
        if making.text("managedDiskId").is_empty() {
            making.require("diskSizeGiB")?;
        }
    }
    let size = making.given.get("diskSizeGiB");
    if size.is_some_and(|size| size.as_u64().is_none_or(|size| !(1..=32767).contains(&size))) {
        return Err(invalid("diskSizeGiB", &size.cloned().unwrap_or_default().to_string(), "from 1 to 32767"));
    }
    Ok(())
}

fn check_type(name: &str) -> Result<(), ApiError> {
    let known = TYPES.iter().any(|(known, _)| *known == name);
    if known { Ok(()) } else { Err(invalid("diskType", name, "'Standard', 'Premium' or 'StandardSSD'")) }
}

/// Makes the managed disk that a disk stands on, unless it names one.
pub fn provide(world: &World, id: &Id) {
    let Some(disk) = world.store.get(&id.key()).filter(|disk| disk.text("managedDiskId").is_empty()) else { return };
    let managed = id.sibling("Microsoft.Compute", "disks", id.name());
    let sku = TYPES.iter().find(|(name, _)| *name == disk.text("diskType")).map_or("Standard_LRS", |(_, sku)| sku);
    let properties = json!({"diskSizeGB": disk.property("diskSizeGiB"), "creationData": {"createOption": "Empty"}, "diskState": "Unattached",
        "timeCreated": dtl_date(world.clock.now()), "provisioningState": "Succeeded"});
    let body = json!({"name": id.name(), "id": managed.to_string(), "type": "Microsoft.Compute/disks", "location": disk.location(),
        "sku": {"name": sku}, "properties": properties});
    let mut made = Resource::new(body, world.clock.now());
    made.hide("labDisk", &*disk.key);
    world.store.put(made);
    world.store.update(&disk.key, |disk| disk.set("managedDiskId", managed.to_string()));
}

/// Removes what was provided for a disk.
pub fn withdraw(world: &World, disk: &Resource) {
    let managed = world.store.get(disk.text("managedDiskId"));
    if let Some(managed) = managed.filter(|managed| managed.hidden("labDisk") == &*disk.key) {
        world.store.remove(&managed.key);
    }
}

/// POST to a disk.
pub fn act(world: &Arc<World>, id: &Id, disk: &Arc<Resource>, action: &str, body: &Value) -> Result<Acted, ApiError> {
    let machine = || {
        let machine = body["leasedByLabVmId"].as_str().ok_or_else(|| missing("leasedByLabVmId"))?;
        in_lab(world, id, machine, "virtualmachines").ok_or_else(|| {
            ApiError::bad_request("LabVirtualMachineNotFound", format!("The virtual machine '{machine}' was not found."))
                .with_target("leasedByLabVmId")
        })
    };
    Ok(Acted::Started(match action {
        "attach" => attach(world, &*machine()?, disk, "None")?,
        "detach" => detach(world, &*machine()?, disk)?,
        _ => return Ok(Acted::Unknown),
    }))
}

fn in_lab(world: &World, id: &Id, text: &str, kind: &str) -> Option<Arc<Resource>> {
    let inside = text.to_ascii_lowercase().starts_with(&format!("{}/{kind}/", id.ancestor(1).key()));
    world.store.get(text).filter(|_| inside)
}

fn ready(resource: &Resource) -> Result<(), ApiError> {
    match Id::parse(&resource.key) {
        Some(id) if resource.state() != "Succeeded" => Err(not_in_valid_state(&id, resource.state())),
        _ => Ok(()),
    }
}

/// Attaches a disk to a machine.
fn attach(world: &Arc<World>, machine: &Resource, disk: &Resource, caching: &str) -> Result<Arc<Operation>, ApiError> {
    ready(machine)?;
    ready(disk)?;
    let holder = disk.text("leasedByLabVmId");
    if !holder.is_empty() {
        let message = format!("The disk '{}' is attached to the virtual machine '{holder}' already.", disk.name());
        return Err(ApiError::conflict("DiskAlreadyAttached", message));
    }
    let caching = caching.to_owned();
    Ok(during(world, machine, disk, move |world, machine, disk| {
        enter(world, machine, disk, &caching);
    }))
}

/// Detaches a disk from the machine that holds it.
fn detach(world: &Arc<World>, machine: &Resource, disk: &Resource) -> Result<Arc<Operation>, ApiError> {
    ready(machine)?;
    ready(disk)?;
    if !disk.text("leasedByLabVmId").eq_ignore_ascii_case(&machine.key) {
        let message = format!("The disk '{}' is not attached to the virtual machine '{}'.", disk.name(), machine.name());
        return Err(ApiError::conflict("DiskNotAttached", message));
    }
    Ok(during(world, machine, disk, leave))
}

/// Both are being updated until it is done.
fn during(
    world: &Arc<World>,
    machine: &Resource,
    disk: &Resource,
    change: impl FnOnce(&World, &Resource, &Resource) + Send + 'static,
) -> Arc<Operation> {
    let operation = world.begin();
    let keys = [machine.key.clone(), disk.key.clone()];
    for key in &keys {
        world.store.update(key, |resource| resource.set_state("Updating"));
    }
    let (world, ending) = (world.clone(), operation.clone());
    world.clone().spawn(async move {
        world.work(Work::Start).await;
        let _gate = world.gate();
        let [machine, disk] = keys.map(|key| world.settle(&key, |resource| resource.set_state("Succeeded")));
        match (machine, disk) {
            (Some(machine), Some(disk)) => {
                change(&world, &machine, &disk);
                ending.finish(Ok(()));
            }
            _ => ending.end(State::Canceled),
        }
    });
    operation
}

fn enter(world: &World, machine: &Resource, disk: &Resource, caching: &str) {
    world.store.update(&disk.key, |disk| {
        disk.set("leasedByLabVmId", &*machine.key);
        disk.set("hostCaching", caching);
    });
    world.store.update(&machine.key, |machine| {
        let mut disks = machine.property("dataDiskParameters").as_array().cloned().unwrap_or_default();
        disks.push(json!({"existingLabDiskId": &*disk.key, "hostCaching": caching}));
        machine.set("dataDiskParameters", disks);
    });
    let sku = TYPES.iter().find(|(name, _)| *name == disk.text("diskType")).map_or("Standard_LRS", |(_, sku)| sku);
    world.store.update(machine.text("computeId"), |compute| {
        let disks = &mut compute.body["properties"]["storageProfile"]["dataDisks"];
        if !disks.is_array() {
            *disks = json!([]);
        }
        let Some(disks) = disks.as_array_mut() else { return };
        let lun = (0..64).find(|lun| disks.iter().all(|disk| disk["lun"].as_u64() != Some(*lun))).unwrap_or(64);
        disks.push(json!({"lun": lun, "name": disk.name(), "createOption": "Attach", "caching": caching, "diskSizeGB": disk.property("diskSizeGiB"),
            "managedDisk": {"id": disk.property("managedDiskId"), "storageAccountType": sku}}));
    });
}

fn leave(world: &World, machine: &Resource, disk: &Resource) {
    world.store.update(&disk.key, free);
    world.store.update(&machine.key, |machine| {
        let mut disks = machine.property("dataDiskParameters").as_array().cloned().unwrap_or_default();
        disks.retain(|known| known["existingLabDiskId"].as_str().is_none_or(|id| !id.eq_ignore_ascii_case(&disk.key)));
        machine.set("dataDiskParameters", disks);
    });
    world.store.update(machine.text("computeId"), |compute| {
        if let Some(disks) = compute.body["properties"]["storageProfile"]["dataDisks"].as_array_mut() {
            disks.retain(|known| known["managedDisk"]["id"].as_str().is_none_or(|id| !id.eq_ignore_ascii_case(disk.text("managedDiskId"))));
        }
    });
}

fn free(disk: &mut Resource) {
    if let Some(properties) = disk.body["properties"].as_object_mut() {
        properties.remove("leasedByLabVmId");
    }
}

/// The disks that a machine holds.
fn held(world: &World, machine: &Resource) -> Vec<Arc<Resource>> {
    let Some(lab) = Id::parse(&machine.key).map(|id| id.ancestor(1)) else { return Vec::new() };
    let below = world.store.below(&format!("{}/users/", lab.key()));
    below.into_iter().filter(|found| found.type_name == DISKS && found.text("leasedByLabVmId").eq_ignore_ascii_case(&machine.key)).collect()
}

/// A machine that goes lets its disks go.
pub fn release(world: &World, machine: &Resource) {
    for disk in held(world, machine) {
        world.store.update(&disk.key, free);
    }
}

/// `addDataDisk`: a disk of the lab, or a new one of the machine's owner.
pub fn add(world: &Arc<World>, id: &Id, machine: &Resource, user: &str, body: &Value) -> Result<Arc<Operation>, ApiError> {
    let caching = body["hostCaching"].as_str().unwrap_or("None");
    if !["None", "ReadOnly", "ReadWrite"].contains(&caching) {
        return Err(invalid("hostCaching", caching, "'None', 'ReadOnly' or 'ReadWrite'"));
    }
    if let Some(existing) = body["existingLabDiskId"].as_str().filter(|existing| !existing.is_empty()) {
        return attach(world, machine, &*find(world, id, existing)?, caching);
    }
    let options = &body["attachNewDataDiskOptions"];
    let name = options["diskName"].as_str().filter(|name| !name.is_empty()).ok_or_else(|| {
        ApiError::bad_request(
            "MissingRequiredProperty",
            "One of the properties 'attachNewDataDiskOptions' and 'existingLabDiskId' must be specified.",
        )
    })?;
    let size = options["diskSizeGiB"].as_u64().ok_or_else(|| missing("attachNewDataDiskOptions.diskSizeGiB"))?;
    let kind = options["diskType"].as_str().unwrap_or("Standard");
    check_type(kind)?;
    let lab = super::require_lab(world, id)?;
    let owner = Some(machine.text("ownerObjectId")).filter(|owner| !owner.is_empty()).unwrap_or(user);
    let user = id.ancestor(1).child("users", owner);
    plain::ensure_user(world, &user, &lab, machine.text("createdByUser"));
    let disk = user.child("disks", name);
    if world.store.contains(&disk.key()) {
        return Err(ApiError::conflict("DiskAlreadyExists", format!("The disk '{name}' exists already.")).with_target("diskName"));
    }
    let properties =
        json!({"diskType": kind, "diskSizeGiB": size, "createdDate": dtl_date(world.clock.now()), "provisioningState": "Succeeded"});
    let properties: Map<String, Value> = properties.as_object().cloned().unwrap_or_default();
    world.store.put(new_resource(world, &disk, &json!({"location": lab.location()}), properties));
    provide(world, &disk);
    let made = world.store.get(&disk.key()).ok_or_else(|| not_found(&disk))?;
    attach(world, machine, &made, caching)
}

fn find(world: &World, id: &Id, disk: &str) -> Result<Arc<Resource>, ApiError> {
    in_lab(world, id, disk, "users").filter(|found| found.type_name == DISKS).ok_or_else(|| {
        ApiError::bad_request("LabDiskNotFound", format!("The disk '{disk}' was not found in the lab.")).with_target("existingLabDiskId")
    })
}

/// `detachDataDisk`.
pub fn take_off(world: &Arc<World>, id: &Id, machine: &Resource, body: &Value) -> Result<Arc<Operation>, ApiError> {
    let disk = body["existingLabDiskId"].as_str().filter(|disk| !disk.is_empty()).ok_or_else(|| missing("existingLabDiskId"))?;
    detach(world, machine, &*find(world, id, disk)?)
}

/// `transferDisks`: the machine's disks become the caller's.
pub fn transfer(world: &World, id: &Id, machine: &Resource, user: &str) -> Result<Arc<Operation>, ApiError> {
    let lab = super::require_lab(world, id)?;
    let mine = id.ancestor(1).child("users", user);
    plain::ensure_user(world, &mine, &lab, user);
    let moving = held(world, machine).into_iter().map(|disk| (mine.child("disks", disk.name()), disk));
    let moving: Vec<_> = moving.filter(|(target, disk)| *disk.key != *target.key()).collect();
    if let Some((_, disk)) = moving.iter().find(|(target, _)| world.store.contains(&target.key())) {
        let message = format!("The disk '{}' cannot be transferred: its new owner has one of this name.", disk.name());
        return Err(ApiError::conflict("DiskAlreadyExists", message));
    }
    for (target, disk) in moving {
        let mut moved = (*disk).clone();
        moved.key = target.key().into();
        moved.body["id"] = json!(target.key());
        world.store.update(disk.text("managedDiskId"), |managed| managed.hide("labDisk", target.key()));
        world.store.remove(&disk.key);
        world.store.put(moved);
        world.store.update(&machine.key, |machine| {
            let mut all = machine.property("dataDiskParameters").clone();
            for known in all.as_array_mut().into_iter().flatten().filter(|known| known["existingLabDiskId"].as_str() == Some(&*disk.key)) {
                known["existingLabDiskId"] = json!(target.key());
            }
            machine.set("dataDiskParameters", all);
        });
    }
    Ok(plain::ended(world))
}
