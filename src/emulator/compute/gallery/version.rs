//! Image versions: made from a source, replicated to regions, and only some of it changes.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{DEFINITIONS, change_not_allowed, invalid_parameter, missing, normalized, replication, security, source, word};
use crate::emulator::{
    clock::arm_date,
    error::ApiError,
    id::Id,
    provision::{self, Applied, Put, properties},
    resources::region_name,
    store::Resource,
    world::World,
};

const PROFILE: &str = "galleryImageVersion.properties.publishingProfile";
const STORAGE: [&str; 4] = ["Standard_LRS", "Standard_ZRS", "Premium_LRS", "PremiumV2_LRS"];
const MOST_REPLICAS: u64 = 100;
/// Members that came with a later version of the interface: where they stand, in what type, their name, and since when they are known.
const MEMBERS: &[(&[&str], &str, &str, &str)] = &[
    (&["storageProfile", "source"], "GalleryArtifactVersionFullSource", "virtualMachineId", "2023-07-03"),
    (&["storageProfile", "osDiskImage", "source"], "GalleryDiskImageSource", "storageAccountId", "2022-03-03"),
    (&["storageProfile", "dataDiskImages", "source"], "GalleryDiskImageSource", "storageAccountId", "2022-03-03"),
    (&["publishingProfile", "targetRegions"], "TargetRegion", "additionalReplicaSets", "2024-03-03"),
    (&["safetyProfile"], "GalleryImageVersionSafetyProfile", "blockDeletionBeforeEndOfLife", "2024-03-03"),
    (&[], "GalleryImageProperties", "allowUpdateImage", "2024-03-03"),
];

/// What the version of the interface decides: members that it does not know yet, defaults that it brought.
pub fn for_interface(id: &Id, api_version: &str, mut body: Value) -> Result<Value, ApiError> {
    if id.is(DEFINITIONS) && api_version >= "2025-03-03" && body["properties"]["hyperVGeneration"].is_null() {
        body["properties"]["hyperVGeneration"] = json!("V2");
        if body["properties"]["features"].is_null() {
            body["properties"]["features"] = json!([{"name": "SecurityType", "value": "TrustedLaunchSupported"}]);
        }
    }
    for (path, kind, member, since) in MEMBERS {
        if api_version < *since && holders(&body["properties"], path).iter().any(|holder| !holder[*member].is_null()) {
            let message = format!(
                "Could not find member '{member}' on object of type '{kind}'. The api-version '{api_version}' does not know it; it needs '{since}' or later."
            );
            return Err(ApiError::bad_request("BadRequest", message).with_target(*member));
        }
    }
    Ok(body)
}

/// The objects at a path, of which an array stands for each of its items.
fn holders<'a>(value: &'a Value, path: &[&str]) -> Vec<&'a Value> {
    let Some((name, rest)) = path.split_first() else { return vec![value] };
    match &value[*name] {
        Value::Array(items) => items.iter().flat_map(|item| holders(item, rest)).collect(),
        Value::Null => Vec::new(),
        one => holders(one, rest),
    }
}

/// Makes or changes a version.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    check_name(put.id.name())?;
    let location = put.body["location"].as_str().filter(|location| !location.is_empty()).ok_or_else(|| missing("location"))?;
    let given = properties(put.body)?;
    let definition =
        put.id.parent().and_then(|id| world.store.get(&id.key())).ok_or_else(|| ApiError::parent_not_found(&put.id.full_name()))?;
    if definition.state() != "Succeeded" {
        let message = format!("The gallery image '{}' is in provisioning state '{}'.", definition.name(), definition.state());
        return Err(ApiError::conflict("Conflict", message));
    }
    match world.store.get(&put.id.key()) {
        Some(existing) => update(world, put, &existing, &given),
        None => create(world, put, &definition, location, given),
    }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let part = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits && part.parse::<u64>().is_ok_and(|number| number <= 2_147_483_647)
    };
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() == 3 && parts.into_iter().all(part) {
        return Ok(());
    }
    let message = format!(
        "The version name '{name}' is not valid. It must have the form 'Major.Minor.Patch', and each number must be within the range of a 32-bit integer."
    );
    Err(invalid_parameter("galleryImageVersionName", message))
}

fn create(
    world: &Arc<World>,
    put: &Put<'_>,
    definition: &Resource,
    location: &str,
    mut given: Map<String, Value>,
) -> Result<Applied, ApiError> {
    let storage = given.get("storageProfile").filter(|profile| profile.is_object());
    let storage = storage.cloned().ok_or_else(|| missing("galleryImageVersion.properties.storageProfile"))?;
    let made_from = source::check(world, &storage, definition, location)?;
    let mut profile = given.get("publishingProfile").filter(|profile| profile.is_object()).cloned().unwrap_or_else(|| json!({}));
    check_profile(&mut profile, location)?;
    check_safety(&given, &profile)?;
    security::check(given.get("securityProfile").unwrap_or(&Value::Null), definition)?;
    profile["publishedDate"] = json!(arm_date(world.clock.now()));
    let replicas = replication::entries(&profile["targetRegions"], location, &Value::Null);
    given.insert("publishingProfile".into(), profile);
    given.insert("storageProfile".into(), source::shown(world, &storage, &made_from));
    given
        .entry("safetyProfile")
        .or_insert_with(|| json!({"allowDeletionOfReplicatedLocations": true, "reportedForPolicyViolation": false}));
    given.remove("replicationStatus");
    let mut resource = Resource::new(provision::body(&put.id.to_string(), put.id, put.body, &given), world.clock.now());
    resource.body["location"] = json!(normalized(location));
    resource.hide("replication", replicas);
    Ok(start(world, resource, true))
}

fn start(world: &Arc<World>, mut resource: Resource, created: bool) -> Applied {
    resource.set_state(if created { "Creating" } else { "Updating" });
    let operation = world.begin();
    let key = resource.key.clone();
    let resource = world.store.put(resource);
    world.spawn(replication::run(world.clone(), key, operation.clone()));
    Applied { created, resource, operation: Some(operation) }
}

fn update(world: &Arc<World>, put: &Put<'_>, existing: &Arc<Resource>, given: &Map<String, Value>) -> Result<Applied, ApiError> {
    check_same_source(existing, given.get("storageProfile").unwrap_or(&Value::Null))?;
    if existing.state() != "Succeeded" {
        let message = format!(
            "The gallery image version '{}' is in provisioning state '{}' and cannot be changed.",
            existing.name(),
            existing.state()
        );
        return Err(ApiError::conflict("OperationNotAllowed", message));
    }
    let mut profile = existing.property("publishingProfile").clone();
    let wanted = given.get("publishingProfile").unwrap_or(&Value::Null);
    for fixed in ["replicationMode", "storageAccountType"] {
        let differs = wanted[fixed].as_str().is_some_and(|value| !value.eq_ignore_ascii_case(profile[fixed].as_str().unwrap_or(value)));
        if differs {
            return Err(change_not_allowed(&format!("{PROFILE}.{fixed}")));
        }
    }
    let before = profile["targetRegions"].clone();
    for (name, value) in wanted.as_object().into_iter().flatten().filter(|(name, _)| name.as_str() != "publishedDate") {
        profile[name] = value.clone();
    }
    check_profile(&mut profile, existing.location())?;
    check_regions(existing, &before, &profile["targetRegions"])?;
    let mut resource = (**existing).clone();
    if let Some(safety) = given.get("safetyProfile").and_then(Value::as_object) {
        let mut there = existing.property("safetyProfile").clone();
        for (name, value) in safety {
            there[name] = value.clone();
        }
        resource.set("safetyProfile", there);
    }
    if put.body["tags"].is_object() {
        resource.body["tags"] = put.body["tags"].clone();
    }
    let filled = existing.private.get("replication").cloned().unwrap_or_default();
    let replicas = replication::entries(&profile["targetRegions"], existing.location(), &filled);
    resource.set("publishingProfile", profile);
    resource.hide("replication", replicas);
    check_safety(resource.body["properties"].as_object().unwrap_or(&Map::new()), resource.property("publishingProfile"))?;
    Ok(start(world, resource, false))
}

/// What a version is made from never changes; a client that leaves it out, as `az` does, means the same.
fn check_same_source(existing: &Resource, wanted: &Value) -> Result<(), ApiError> {
    let there = existing.property("storageProfile");
    for pointer in ["/source/id", "/source/virtualMachineId", "/osDiskImage/source/id", "/osDiskImage/source/uri"] {
        let text = |profile: &Value| profile.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_lowercase();
        if !text(wanted).is_empty() && text(wanted) != text(there) {
            return Err(change_not_allowed(&format!("galleryImageVersion.properties.storageProfile{}", pointer.replace('/', "."))));
        }
    }
    Ok(())
}

/// A region's storage never changes, the version's own region stays, and others go only where that was allowed.
fn check_regions(existing: &Resource, before: &Value, after: &Value) -> Result<(), ApiError> {
    let allowed = existing.property("safetyProfile")["allowDeletionOfReplicatedLocations"] != json!(false);
    for region in before.as_array().into_iter().flatten() {
        let name = normalized(region["name"].as_str().unwrap_or_default());
        let kept = after.as_array().into_iter().flatten().find(|other| normalized(other["name"].as_str().unwrap_or_default()) == name);
        match kept {
            Some(kept) if kept["storageAccountType"] != region["storageAccountType"] => {
                return Err(change_not_allowed(&format!("{PROFILE}.targetRegions.storageAccountType")));
            }
            None if !allowed => {
                let message = format!("The region '{name}' cannot be removed, because 'allowDeletionOfReplicatedLocations' is false.");
                return Err(ApiError::conflict("OperationNotAllowed", message).with_target(format!("{PROFILE}.targetRegions")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks and completes what is published.
fn check_profile(profile: &mut Value, location: &str) -> Result<(), ApiError> {
    let count = match &profile["replicaCount"] {
        Value::Null => 1,
        count => replica_count(count, &format!("{PROFILE}.replicaCount"))?,
    };
    let storage = word(&profile["storageAccountType"], &format!("{PROFILE}.storageAccountType"), &STORAGE)?.unwrap_or("Standard_LRS");
    word(&profile["replicationMode"], &format!("{PROFILE}.replicationMode"), &["Full", "Shallow"])?;
    if let Some(date) = profile["endOfLifeDate"].as_str()
        && OffsetDateTime::parse(date, &Rfc3339).is_err()
    {
        let property = format!("{PROFILE}.endOfLifeDate");
        return Err(invalid_parameter(&property, format!("The value '{date}' of parameter '{property}' is invalid.")));
    }
    let property = format!("{PROFILE}.targetRegions");
    let given = profile["targetRegions"].as_array().filter(|regions| !regions.is_empty()).cloned();
    let mut regions: Vec<Value> = Vec::new();
    for mut region in given.unwrap_or_else(|| vec![json!({"name": location})]) {
        let name = region["name"].as_str().unwrap_or_default().to_owned();
        if !crate::emulator::resources::is_region(&name) {
            let message = format!("The location '{name}' is not available for resource type 'galleries/images/versions'.");
            return Err(ApiError::bad_request("LocationNotAvailableForResourceType", message).with_target(property));
        }
        if regions.iter().any(|other| normalized(other["name"].as_str().unwrap_or_default()) == normalized(&name)) {
            return Err(invalid_parameter(&property, format!("The region '{name}' is specified more than once.")));
        }
        let replicas = &region["regionalReplicaCount"];
        region["regionalReplicaCount"] = json!(if replicas.is_null() { count } else { replica_count(replicas, &property)? });
        region["storageAccountType"] = json!(word(&region["storageAccountType"], &property, &STORAGE)?.unwrap_or(storage));
        region["name"] = json!(region_name(&name));
        for set in region.get_mut("additionalReplicaSets").and_then(Value::as_array_mut).into_iter().flatten() {
            set["regionalReplicaCount"] = json!(replica_count(&set["regionalReplicaCount"], &property)?);
            set["storageAccountType"] = json!(word(&set["storageAccountType"], &property, &STORAGE)?.unwrap_or(storage));
        }
        regions.push(region);
    }
    if !regions.iter().any(|region| normalized(region["name"].as_str().unwrap_or_default()) == normalized(location)) {
        return Err(invalid_parameter(
            &property,
            format!("The region '{location}' of the gallery image version must be among the target regions."),
        ));
    }
    let sets = regions.iter().filter_map(|region| region["additionalReplicaSets"].as_array()).flatten();
    let total: u64 = regions.iter().chain(sets).filter_map(|holder| holder["regionalReplicaCount"].as_u64()).sum();
    if total > MOST_REPLICAS {
        return Err(invalid_parameter(&property, format!("The total of {total} replicas is above the limit of {MOST_REPLICAS}.")));
    }
    profile["targetRegions"] = json!(regions);
    profile["replicaCount"] = json!(count);
    profile["storageAccountType"] = json!(storage);
    if profile["excludeFromLatest"].is_null() {
        profile["excludeFromLatest"] = json!(false);
    }
    Ok(())
}

fn replica_count(value: &Value, property: &str) -> Result<u64, ApiError> {
    let count = value.as_u64().filter(|count| (1..=MOST_REPLICAS).contains(count));
    count.ok_or_else(|| {
        invalid_parameter(property, format!("The replica count '{value}' is invalid. It must be from 1 to {MOST_REPLICAS}."))
    })
}

fn check_safety(given: &Map<String, Value>, profile: &Value) -> Result<(), ApiError> {
    let blocks = given.get("safetyProfile").is_some_and(|safety| safety["blockDeletionBeforeEndOfLife"] == json!(true));
    if blocks && profile["endOfLifeDate"].is_null() {
        let property = "galleryImageVersion.properties.safetyProfile.blockDeletionBeforeEndOfLife";
        return Err(invalid_parameter(property, "'blockDeletionBeforeEndOfLife' needs an 'endOfLifeDate' in the publishing profile."));
    }
    Ok(())
}

/// Whether a version may be deleted now.
pub fn check_deletable(world: &World, version: &Resource) -> Result<(), ApiError> {
    let ends = version.property("publishingProfile")["endOfLifeDate"].as_str().and_then(|date| OffsetDateTime::parse(date, &Rfc3339).ok());
    let blocked = version.property("safetyProfile")["blockDeletionBeforeEndOfLife"] == json!(true);
    if blocked && ends.is_some_and(|ends| ends > world.clock.now()) {
        let message = format!(
            "Deletion of the gallery image version '{}' is blocked before its end of life date '{}'.",
            version.name(),
            version.property("publishingProfile")["endOfLifeDate"].as_str().unwrap_or_default()
        );
        return Err(ApiError::conflict("OperationNotAllowed", message));
    }
    if version.state() == "Updating" {
        return Err(ApiError::conflict("OperationNotAllowed", format!("The gallery image version '{}' is being updated.", version.name())));
    }
    Ok(())
}
