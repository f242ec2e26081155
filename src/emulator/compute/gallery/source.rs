//! What a version is made from: that it is there, in the right state, and fits the definition.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{definition::security_type, invalid_parameter, missing, normalized};
use crate::emulator::{error::ApiError, id::Id, store::Resource, world::World};

const PROFILE: &str = "galleryImageVersion.properties.storageProfile";
/// The largest data disk in GB.
const LARGEST_DATA_DISK: u64 = 1024;

/// What is known of a source.
pub struct Source {
    /// What it is.
    pub resource: Arc<Resource>,
    os_type: String,
    os_state: Option<String>,
    generation: Option<String>,
    security: String,
    /// The size of the operating system's disk in GB.
    pub size: u64,
    /// Logical unit numbers and sizes of the data disks that it brings along.
    pub data_disks: Vec<(u64, u64)>,
}

/// The source of a request's storage profile, looked up and checked against the definition.
pub fn check(world: &World, profile: &Value, definition: &Resource, location: &str) -> Result<Source, ApiError> {
    let named = [
        ("source.id", &profile["source"]["id"]),
        ("source.virtualMachineId", &profile["source"]["virtualMachineId"]),
        ("osDiskImage.source.id", &profile["osDiskImage"]["source"]["id"]),
        ("osDiskImage.source.uri", &profile["osDiskImage"]["source"]["uri"]),
    ];
    let given: Vec<(&str, &str)> =
        named.iter().filter_map(|(name, value)| Some((*name, value.as_str().filter(|id| !id.is_empty())?))).collect();
    let (place, id) = match given.as_slice() {
        [] => return Err(missing(&format!("{PROFILE}.osDiskImage"))),
        [one] => *one,
        _ => return Err(invalid_parameter(PROFILE, "More than one source of the operating system disk was specified.")),
    };
    let source = match place {
        "osDiskImage.source.uri" => of_vhd(world, id, &profile["osDiskImage"]["source"]["storageAccountId"], definition)?,
        "source.virtualMachineId" => of_machine(found(world, id, place, &["virtualMachines"])?)?,
        "source.id" => match found(world, id, place, &["images", "galleries/images/versions", "virtualMachines", "snapshots", "disks"])? {
            machine if is(&machine, "virtualMachines") => of_machine(machine)?,
            image if is(&image, "images") => of_image(world, image)?,
            version if is(&version, "galleries/images/versions") => of_version(world, version)?,
            disk => of_disk(world, disk)?,
        },
        _ => of_disk(world, found(world, id, place, &["snapshots", "disks"])?)?,
    };
    source.check_fits(definition)?;
    if normalized(source.resource.location()) != normalized(location) {
        return Err(invalid_parameter(
            "galleryImageVersion.location",
            format!(
                "The source '{}' is in region '{}', and the gallery image version in region '{location}'. Both must be the same.",
                source.resource.id(),
                source.resource.location()
            ),
        ));
    }
    check_data_disks(world, profile, &source)?;
    Ok(source)
}

fn is(resource: &Resource, kind: &str) -> bool {
    resource.type_name.eq_ignore_ascii_case(&format!("Microsoft.Compute/{kind}"))
}

fn found(world: &World, id: &str, place: &str, kinds: &[&str]) -> Result<Arc<Resource>, ApiError> {
    let place = format!("{PROFILE}.{place}");
    let parsed = Id::parse(id)
        .ok_or_else(|| invalid_parameter(&place, format!("The value '{id}' of parameter '{place}' is not a valid resource id.")))?;
    if !kinds.iter().any(|kind| parsed.is(&format!("Microsoft.Compute/{kind}"))) {
        return Err(invalid_parameter(
            &place,
            format!("The resource type '{}' of parameter '{place}' is not supported.", parsed.type_name()),
        ));
    }
    let resource = world
        .store
        .get(id)
        .ok_or_else(|| ApiError::resource_not_found(&format!("{}/{}", parsed.type_name(), parsed.full_name()), parsed.group()))?;
    let state = resource.state();
    if !state.is_empty() && !state.eq_ignore_ascii_case("Succeeded") {
        return Err(ApiError::conflict(
            "Conflict",
            format!("The source '{id}' is in provisioning state '{state}', and must be in 'Succeeded'."),
        )
        .with_target(place));
    }
    Ok(resource)
}

fn not_allowed(message: String) -> ApiError {
    ApiError::conflict("OperationNotAllowed", message)
}

fn of_machine(machine: Arc<Resource>) -> Result<Source, ApiError> {
    let power = super::super::power_state(&machine);
    if power != "deallocated" && power != "stopped" {
        return Err(not_allowed(format!(
            "The virtual machine '{}' is {power}. It must be stopped or deallocated to be captured.",
            machine.name()
        )));
    }
    let generalized = super::super::is_generalized(&machine);
    let storage = machine.property("storageProfile");
    let disks = storage["dataDisks"].as_array().into_iter().flatten();
    Ok(Source {
        os_type: storage["osDisk"]["osType"].as_str().unwrap_or_default().to_owned(),
        os_state: Some(if generalized { "Generalized" } else { "Specialized" }.to_owned()),
        generation: Some(super::super::generation(&machine)),
        security: machine.property("securityProfile")["securityType"].as_str().unwrap_or("Standard").to_owned(),
        size: storage["osDisk"]["diskSizeGB"].as_u64().unwrap_or(127),
        data_disks: disks.map(|disk| (disk["lun"].as_u64().unwrap_or_default(), disk["diskSizeGB"].as_u64().unwrap_or(32))).collect(),
        resource: machine,
    })
}

fn of_image(world: &World, image: Arc<Resource>) -> Result<Source, ApiError> {
    if let Some(version) = fed_version(world, &image) {
        return Err(ApiError::conflict(
            "Conflict",
            format!(
                "The managed image '{}' is in use by gallery image version '{}', which is not completely replicated yet.",
                image.id(),
                version.id()
            ),
        ));
    }
    let storage = image.property("storageProfile");
    let disks = storage["dataDisks"].as_array().into_iter().flatten();
    Ok(Source {
        os_type: storage["osDisk"]["osType"].as_str().unwrap_or_default().to_owned(),
        os_state: storage["osDisk"]["osState"].as_str().map(str::to_owned),
        generation: Some(image.property("hyperVGeneration").as_str().unwrap_or("V1").to_owned()),
        security: "Standard".into(),
        size: storage["osDisk"]["diskSizeGB"].as_u64().unwrap_or(127),
        data_disks: disks.map(|disk| (disk["lun"].as_u64().unwrap_or_default(), disk["diskSizeGB"].as_u64().unwrap_or(32))).collect(),
        resource: image,
    })
}

/// The version that a managed image still feeds.
fn fed_version(world: &World, image: &Resource) -> Option<Arc<Resource>> {
    let subscription = Id::parse(&image.key)?.subscription()?.to_owned();
    let versions = world.store.of_type(&subscription, super::VERSIONS);
    versions.into_iter().find(|version| {
        let source = version.property("storageProfile")["source"]["id"].as_str().unwrap_or_default();
        matches!(version.state(), "Creating" | "Updating") && source.eq_ignore_ascii_case(&image.key)
    })
}

fn of_version(world: &World, version: Arc<Resource>) -> Result<Source, ApiError> {
    let parent = Id::parse(version.id()).and_then(|id| id.parent()).map(|id| id.key()).unwrap_or_default();
    let definition = world.store.get(&parent).ok_or_else(|| ApiError::parent_not_found(&parent))?;
    let storage = version.property("storageProfile");
    let disks = storage["dataDiskImages"].as_array().into_iter().flatten();
    let text = |name: &str| definition.property(name).as_str().unwrap_or_default().to_owned();
    Ok(Source {
        os_type: text("osType"),
        os_state: Some(text("osState")),
        generation: Some(text("hyperVGeneration")),
        security: "Standard".into(),
        size: storage["osDiskImage"]["sizeInGB"].as_u64().unwrap_or(127),
        data_disks: disks.map(|disk| (disk["lun"].as_u64().unwrap_or_default(), disk["sizeInGB"].as_u64().unwrap_or(32))).collect(),
        resource: version,
    })
}

fn of_disk(world: &World, disk: Arc<Resource>) -> Result<Source, ApiError> {
    check_readable(world, &disk)?;
    if disk.text("osType").is_empty() {
        return Err(invalid_parameter(
            &format!("{PROFILE}.osDiskImage"),
            format!("The disk '{}' contains no operating system.", disk.id()),
        ));
    }
    Ok(Source {
        os_type: disk.text("osType").to_owned(),
        os_state: None,
        generation: Some(disk.property("hyperVGeneration").as_str().unwrap_or("V1").to_owned()),
        security: disk.property("securityProfile")["securityType"].as_str().unwrap_or("Standard").to_owned(),
        size: disk.property("diskSizeGB").as_u64().unwrap_or(127),
        data_disks: Vec::new(),
        resource: disk,
    })
}

/// Nobody may write to the disk.
fn check_readable(world: &World, disk: &Resource) -> Result<(), ApiError> {
    let state = super::super::disk::state(world, disk);
    if ["Unattached", "Reserved"].contains(&state.as_str()) {
        return Ok(());
    }
    Err(not_allowed(format!(
        "The disk '{}' is in state '{state}'. It must not be attached to a running virtual machine or be accessed by a SAS.",
        disk.id()
    )))
}

fn of_vhd(world: &World, uri: &str, account: &Value, definition: &Resource) -> Result<Source, ApiError> {
    let account = vhd_account(world, uri, account, "osDiskImage")?;
    Ok(Source {
        resource: account,
        os_type: definition.text("osType").to_owned(),
        os_state: None,
        generation: None,
        security: "Standard".into(),
        size: 127,
        data_disks: Vec::new(),
    })
}

fn vhd_account(world: &World, uri: &str, account: &Value, place: &str) -> Result<Arc<Resource>, ApiError> {
    let property = format!("{PROFILE}.{place}.source.storageAccountId");
    let id = account.as_str().ok_or_else(|| missing(&property))?;
    let found = world.store.get(id).filter(|found| found.type_name.eq_ignore_ascii_case("Microsoft.Storage/storageAccounts"));
    let found = found.ok_or_else(|| invalid_parameter(&property, format!("The storage account '{id}' was not found.")))?;
    let host = uri.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if host.split('.').next().is_some_and(|name| name.eq_ignore_ascii_case(found.name())) && uri.contains(".vhd") {
        return Ok(found);
    }
    Err(invalid_parameter(
        &format!("{PROFILE}.{place}.source.uri"),
        format!("The blob '{uri}' is not a VHD in the storage account '{}'.", found.name()),
    ))
}

impl Source {
    fn check_fits(&self, definition: &Resource) -> Result<(), ApiError> {
        let differ = |what: &str, source: &str, wanted: &str| {
            invalid_parameter(
                PROFILE,
                format!(
                    "The {what} '{source}' of the source '{}' does not match '{wanted}' of the gallery image '{}'.",
                    self.resource.id(),
                    definition.name()
                ),
            )
        };
        let compare = |what: &str, source: Option<&str>, name: &str| {
            let wanted = definition.text(name);
            source.filter(|source| !source.eq_ignore_ascii_case(wanted)).map_or(Ok(()), |source| Err(differ(what, source, wanted)))
        };
        compare("OS type", Some(&self.os_type), "osType")?;
        compare("OS state", self.os_state.as_deref(), "osState")?;
        compare("Hyper-V generation", self.generation.as_deref(), "hyperVGeneration")?;
        let wanted = security_type(definition.property("features")).to_lowercase();
        let security = self.security.to_lowercase();
        if security != "standard" && !wanted.contains(&security) {
            return Err(differ("security type", &self.security, &wanted));
        }
        Ok(())
    }
}

fn check_data_disks(world: &World, profile: &Value, source: &Source) -> Result<(), ApiError> {
    let place = format!("{PROFILE}.dataDiskImages");
    let mut luns: Vec<u64> = source.data_disks.iter().map(|(lun, _)| *lun).collect();
    for (index, disk) in profile["dataDiskImages"].as_array().into_iter().flatten().enumerate() {
        if disk["source"].is_null() {
            // What a source brings along stands in the answers, and so comes back with updates.
            continue;
        }
        let lun = disk["lun"].as_u64().filter(|lun| *lun <= 63);
        let lun = lun.ok_or_else(|| invalid_parameter(&place, format!("The value of parameter '{place}[{index}].lun' is invalid.")))?;
        if luns.contains(&lun) {
            return Err(invalid_parameter(&place, format!("The lun '{lun}' is specified more than once.")));
        }
        luns.push(lun);
        if let Some(uri) = disk["source"]["uri"].as_str() {
            vhd_account(world, uri, &disk["source"]["storageAccountId"], &format!("dataDiskImages[{index}]"))?;
            continue;
        }
        let id = disk["source"]["id"].as_str().ok_or_else(|| missing(&format!("{place}[{index}].source")))?;
        let found = found(world, id, &format!("dataDiskImages[{index}].source.id"), &["snapshots", "disks"])?;
        check_readable(world, &found)?;
        let size = found.property("diskSizeGB").as_u64().unwrap_or_default();
        if size > LARGEST_DATA_DISK {
            return Err(invalid_parameter(
                &place,
                format!("The data disk '{id}' has {size} GB. The largest supported size is {LARGEST_DATA_DISK} GB."),
            ));
        }
    }
    Ok(())
}

/// The storage profile as Azure shows it: with sizes, and with the disks that the source brought along.
pub fn shown(world: &World, profile: &Value, source: &Source) -> Value {
    let mut shown = json!({});
    if profile["source"].is_object() {
        shown["source"] = profile["source"].clone();
    }
    shown["osDiskImage"] =
        json!({"sizeInGB": source.size, "hostCaching": profile["osDiskImage"]["hostCaching"].as_str().unwrap_or("ReadWrite")});
    if profile["osDiskImage"]["source"].is_object() {
        shown["osDiskImage"]["source"] = profile["osDiskImage"]["source"].clone();
    }
    let brought = source.data_disks.iter().map(|(lun, size)| json!({"lun": lun, "sizeInGB": size, "hostCaching": "None"}));
    let given = profile["dataDiskImages"].as_array().into_iter().flatten().filter(|disk| disk["source"].is_object()).map(|disk| {
        let size = disk["source"]["id"].as_str().and_then(|id| world.store.get(id)).and_then(|found| found.property("diskSizeGB").as_u64());
        json!({"lun": disk["lun"], "sizeInGB": size.unwrap_or(32), "hostCaching": disk["hostCaching"].as_str().unwrap_or("None"), "source": disk["source"]})
    });
    let disks: Vec<Value> = brought.chain(given).collect();
    if !disks.is_empty() {
        shown["dataDiskImages"] = json!(disks);
    }
    shown
}
