//! What a lab holds and needs no time to be made: networks, users, schedules, policies, gallery images, shared galleries.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{new_resource, require_lab, with_location};
use crate::emulator::{
    clock::dtl_date,
    error::ApiError,
    id::Id,
    provision::{Applied, Put},
    store::Resource,
    world::World,
};

/// Marketplace images that a lab offers: display name, publisher, offer, sku, operating system.
const GALLERY: &[(&str, &str, &str, &str, &str)] = &[
    ("Windows Server 2022 Datacenter", "MicrosoftWindowsServer", "WindowsServer", "2022-datacenter-g2", "Windows"),
    ("Windows Server 2019 Datacenter", "MicrosoftWindowsServer", "WindowsServer", "2019-Datacenter", "Windows"),
    ("Windows Server 2016 Datacenter", "MicrosoftWindowsServer", "WindowsServer", "2016-Datacenter", "Windows"),
    ("Windows 11 Enterprise", "MicrosoftWindowsDesktop", "windows-11", "win11-23h2-ent", "Windows"),
    ("Ubuntu Server 22.04 LTS", "canonical", "0001-com-ubuntu-server-jammy", "22_04-lts", "Linux"),
    ("Ubuntu Server 24.04 LTS", "canonical", "ubuntu-24_04-lts", "server", "Linux"),
    ("Debian 12", "debian", "debian-12", "12", "Linux"),
];

/// Makes or changes a resource that is there at once. Networks and users answer with an operation that has ended.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    let inside_lab = put.id.pairs.len() > 1;
    let source = if inside_lab { with_location(put.body, &*require_lab(world, put.id)?) } else { put.body.clone() };
    check_parent(world, put.id)?;
    let kind = put.id.type_name().to_ascii_lowercase();
    let mut given = super::lab_properties(put.body)?;
    given.insert("provisioningState".into(), json!("Succeeded"));
    let existing = world.store.get(&put.id.key());
    if existing.is_none() {
        given.entry("createdDate").or_insert(json!(dtl_date(world.clock.now())));
    }
    if kind.ends_with("/virtualnetworks") {
        given.entry("allowedSubnets").or_insert(network_properties(put.id)["allowedSubnets"].clone());
        given.entry("externalProviderResourceId").or_insert(network_properties(put.id)["externalProviderResourceId"].clone());
    }
    let created = existing.is_none();
    let resource = match existing {
        Some(existing) => world.settle(&existing.key, |resource| {
            given.into_iter().for_each(|(name, value)| resource.set(&name, value));
            if source["tags"].is_object() {
                resource.body["tags"] = source["tags"].clone();
            }
        }),
        None => Some(world.store.put(new_resource(world, put.id, &source, given))),
    };
    let resource = resource.ok_or_else(|| super::not_found(put.id))?;
    let slow = ["/virtualnetworks", "/users", "/disks"].iter().any(|kind_end| kind.ends_with(kind_end));
    let operation = slow.then(|| {
        let operation = world.begin();
        operation.finish(Ok(()));
        operation
    });
    Ok(Applied { created, resource, operation })
}

fn check_parent(world: &World, id: &Id) -> Result<(), ApiError> {
    let Some(parent) = id.parent() else { return Ok(()) };
    let by_itself = parent.is("Microsoft.DevTestLab/labs/users") || parent.is("Microsoft.DevTestLab/labs/policySets");
    if by_itself || world.store.contains(&parent.key()) { Ok(()) } else { Err(ApiError::parent_not_found(&parent.to_string())) }
}

/// No policy of the emulator's is ever violated.
pub fn evaluate_policies(body: &Value) -> Value {
    let asked = body["policies"].as_array().map_or(0, Vec::len);
    json!({"results": vec![json!({"hasError": false, "policyViolations": []}); asked]})
}

/// Removes a resource and what is below it.
pub fn delete(world: &World, id: &Id) {
    for below in world.store.below(&format!("{}/", id.key())) {
        world.store.remove(&below.key);
    }
    world.store.remove(&id.key());
}

/// What is there although nobody made it: the lab's policy set, and its costs.
pub fn implied(world: &World, id: &Id) -> Option<Value> {
    let lab = world.store.get(&id.ancestor(1).key())?;
    let (kind, name) = id.pairs.last()?;
    if id.pairs.len() != 2 || !kind.eq_ignore_ascii_case("costs") || !name.eq_ignore_ascii_case("targetCost") {
        return None;
    }
    let properties = json!({
        "targetCost": {"status": "Disabled", "target": 0, "costThresholds": []},
        "labCostSummary": {"estimatedLabCost": 0.0}, "labCostDetails": [], "resourceCosts": [], "currencyCode": "USD",
        "createdDate": dtl_date(lab.created_at), "provisioningState": "Succeeded",
    });
    Some(
        json!({"properties": properties, "id": id.key(), "name": name, "type": "Microsoft.DevTestLab/labs/costs", "location": lab.location()}),
    )
}

/// A user of the lab comes into being with the first thing that is theirs.
pub fn ensure_user(world: &World, user: &Id, lab: &Resource, client_id: &str) {
    if world.store.contains(&user.key()) {
        return;
    }
    let properties = json!({
        "identity": {"principalName": client_id, "principalId": user.name(), "tenantId": crate::emulator::identity::TENANT,
            "objectId": user.name(), "appId": client_id},
        "secretStore": {}, "createdDate": dtl_date(world.clock.now()), "provisioningState": "Succeeded",
    });
    let properties = properties.as_object().cloned().unwrap_or_default();
    world.store.put(new_resource(world, user, &json!({"location": lab.location()}), properties));
}

/// Puts a virtual network of the lab in place.
pub fn add_network(world: &World, id: &Id, location: &str) {
    let mut properties: Map<String, Value> = network_properties(id).as_object().cloned().unwrap_or_default();
    properties.insert("createdDate".into(), json!(dtl_date(world.clock.now())));
    properties.insert("provisioningState".into(), json!("Succeeded"));
    world.store.put(new_resource(world, id, &json!({"location": location}), properties));
}

/// DevTest Labs calls a network's subnet by the network's name and `Subnet`.
fn network_properties(id: &Id) -> Value {
    let subnet = format!("{}Subnet", id.name());
    let network = id.sibling("Microsoft.Network", "virtualNetworks", id.name()).to_string();
    let subnet_id = format!("{network}/subnets/{subnet}");
    json!({
        "allowedSubnets": [{"resourceId": subnet_id, "labSubnetName": subnet, "allowPublicIp": "Allow"}],
        "externalProviderResourceId": network,
        "subnetOverrides": [{"resourceId": subnet_id, "labSubnetName": subnet, "useInVmCreationPermission": "Allow",
            "usePublicIpAddressPermission": "Allow", "sharedPublicIpAddressConfiguration": {"allowedPorts": [
                {"transportProtocol": "Tcp", "backendPort": 3389}, {"transportProtocol": "Tcp", "backendPort": 22}]}}],
    })
}

/// Puts the lab's gallery images in place.
pub fn add_gallery_images(world: &World, lab: &Id) {
    for (title, publisher, offer, sku, os) in GALLERY {
        let id = lab.child("galleryimages", title);
        let properties = json!({
            "author": publisher, "createdDate": dtl_date(world.clock.now()), "description": title,
            "imageReference": {"offer": offer, "publisher": publisher, "sku": sku, "osType": os, "version": "latest"},
            "icon": "", "enabled": true, "isPlanAuthorized": true,
        });
        let body = json!({"properties": properties, "id": id.key(), "name": title, "type": "Microsoft.DevTestLab/labs/galleryImages"});
        world.store.put(Resource::new(body, world.clock.now()));
    }
}
