//! What a lab holds beside machines, images and environments: networks, users, secrets, formulas, costs; made, changed and deleted as the
//! table of [`kinds`] says.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    disk, environment,
    kinds::{self, Verb},
    new_resource, not_in_valid_state, require_lab, with_location,
};
use crate::emulator::{
    clock::dtl_date,
    error::ApiError,
    id::Id,
    network,
    operation::{Operation, State},
    provision::{Applied, Put},
    settings::Work,
    store::Resource,
    world::World,
};

/// Marketplace images that a lab offers: display name, publisher, offer, sku, operating system.
pub const GALLERY: &[(&str, &str, &str, &str, &str)] = &[
    ("Windows Server 2022 Datacenter", "MicrosoftWindowsServer", "WindowsServer", "2022-datacenter-g2", "Windows"),
    ("Windows Server 2019 Datacenter", "MicrosoftWindowsServer", "WindowsServer", "2019-Datacenter", "Windows"),
    ("Windows Server 2016 Datacenter", "MicrosoftWindowsServer", "WindowsServer", "2016-Datacenter", "Windows"),
    ("Windows 11 Enterprise", "MicrosoftWindowsDesktop", "windows-11", "win11-23h2-ent", "Windows"),
    ("Ubuntu Server 22.04 LTS", "canonical", "0001-com-ubuntu-server-jammy", "22_04-lts", "Linux"),
    ("Ubuntu Server 24.04 LTS", "canonical", "ubuntu-24_04-lts", "server", "Linux"),
    ("Debian 12", "debian", "debian-12", "12", "Linux"),
];

/// What is to be made: what was asked for, what is there, and what comes of it.
#[derive(Debug)]
pub struct Making<'a> {
    /// The cloud.
    pub world: &'a World,
    /// The request.
    pub put: &'a Put<'a>,
    /// The lab, unless it lies beside labs.
    pub lab: Option<Arc<Resource>>,
    /// What is there already.
    pub existing: Option<Arc<Resource>>,
    /// The properties.
    pub given: Map<String, Value>,
    /// What nobody sees again.
    pub hidden: Map<String, Value>,
}

/// Checks what is asked for and adds what the service adds.
pub type Prepare = fn(&mut Making<'_>) -> Result<(), ApiError>;

impl Making<'_> {
    /// A property that is a text; empty when there is none.
    pub fn text(&self, name: &str) -> &str {
        self.given.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Sets a property unless it is given.
    pub fn default(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        let absent = self.given.get(name).is_none_or(Value::is_null);
        let before = self.existing.as_ref().map(|existing| existing.property(name).clone()).filter(|before| !before.is_null());
        if absent {
            self.given.insert(name.into(), before.unwrap_or(value));
        }
    }

    /// What the service alone sets, once.
    fn stamp(&mut self, name: &str) {
        self.given.remove(name);
        let now = dtl_date(self.world.clock.now());
        self.default(name, now);
    }

    /// Refuses a request that lacks a property.
    pub fn require(&self, name: &str) -> Result<(), ApiError> {
        let known = self.existing.as_ref().is_some_and(|existing| !existing.property(name).is_null());
        let given = self.given.get(name).is_some_and(|value| !value.is_null() && value.as_str() != Some(""));
        if given || known { Ok(()) } else { Err(missing(name)) }
    }
}

/// The 400 for a property that is not there.
pub fn missing(name: &str) -> ApiError {
    ApiError::bad_request("MissingRequiredProperty", format!("The property '{name}' is required.")).with_target(name)
}

/// The 400 for a property that is not what it should be.
pub fn invalid(name: &str, value: &str, allowed: &str) -> ApiError {
    let message = format!("The value '{value}' of the property '{name}' is not valid: it must be {allowed}.");
    ApiError::bad_request("InvalidPropertyValue", message).with_target(name)
}

/// Makes or changes a resource as its kind says.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    let kind = kinds::of(put.id).filter(|kind| !matches!(kind.put, Verb::None | Verb::Own));
    let kind = kind.ok_or_else(|| ApiError::method_not_allowed("PUT", &put.id.to_string()))?;
    let lab = (put.id.pairs.len() > 1).then(|| require_lab(world, put.id)).transpose()?;
    check_parent(world, put.id)?;
    let existing = world.store.get(&put.id.key());
    if let Some(busy) = existing.as_ref().filter(|found| matches!(found.state(), "Creating" | "Updating" | "Deleting")) {
        return Err(not_in_valid_state(put.id, busy.state()));
    }
    let given = super::lab_properties(put.body)?;
    let mut making = Making { world, put, lab, existing, given, hidden: Map::new() };
    (kind.prepare)(&mut making)?;
    let Making { lab, existing, mut given, hidden, .. } = making;
    if let (Some(lab), true) = (&lab, put.id.pairs.len() > 2 && put.id.pairs[1].0.eq_ignore_ascii_case("users")) {
        ensure_user(world, &put.id.ancestor(2), lab, &put.caller.client_id);
    }
    let created = existing.is_none();
    let outcome = if matches!(kind.put, Verb::Long(_)) { None } else { world.faults.provisioning(&put.id.key()) };
    let state = match kind.put {
        Verb::Long(_) if created => "Creating",
        Verb::Long(_) => "Updating",
        _ => outcome.as_ref().map_or("Succeeded", |outcome| outcome.state.as_str()),
    };
    given.insert("provisioningState".into(), json!(state));
    let resource = if let Some(existing) = existing {
        world.settle(&existing.key, |resource| {
            given.into_iter().for_each(|(name, value)| resource.set(&name, value));
            resource.private.extend(hidden);
            for part in ["tags", "identity"].into_iter().filter(|part| put.body[*part].is_object()) {
                resource.body[part] = put.body[part].clone();
            }
        })
    } else {
        let source = lab.as_ref().map_or_else(|| put.body.clone(), |lab| with_location(put.body, lab));
        let mut resource = new_resource(world, put.id, &source, given);
        *resource.private = hidden;
        Some(world.store.put(resource))
    };
    let resource = resource.ok_or_else(|| super::not_found(put.id))?;
    if let Some(outcome) = outcome {
        return Err(outcome.error);
    }
    let operation = match kind.put {
        Verb::Long(work) => Some(finish_later(world, put.id, work)),
        Verb::Quick => Some(ended(world)),
        _ => None,
    };
    Ok(Applied { created, resource, operation })
}

/// An operation that has nothing left to do.
pub fn ended(world: &World) -> Arc<Operation> {
    let operation = world.begin();
    operation.finish(Ok(()));
    operation
}

fn finish_later(world: &Arc<World>, id: &Id, work: Work) -> Arc<Operation> {
    let operation = world.begin();
    let (world, id, ending) = (world.clone(), id.clone(), operation.clone());
    world.clone().spawn(async move {
        let duration = world.settings().duration(work);
        let outcome = world.provisioning(&id.key(), duration).await;
        let _gate = world.gate();
        if world.store.get(&id.key()).is_none_or(|found| !matches!(found.state(), "Creating" | "Updating")) {
            return ending.end(State::Canceled);
        }
        if outcome.is_none() && id.is("Microsoft.DevTestLab/labs/users/disks") {
            disk::provide(&world, &id);
        }
        let state = outcome.as_ref().map_or("Succeeded", |outcome| outcome.state.as_str());
        world.settle(&id.key(), |resource| resource.set_state(state));
        ending.finish(outcome.map_or(Ok(()), |outcome| Err(outcome.error)));
    });
    operation
}

fn check_parent(world: &World, id: &Id) -> Result<(), ApiError> {
    let Some(parent) = id.parent() else { return Ok(()) };
    let by_itself = parent.is("Microsoft.DevTestLab/labs/users") || parent.is("Microsoft.DevTestLab/labs/policySets");
    if by_itself || world.store.contains(&parent.key()) { Ok(()) } else { Err(ApiError::parent_not_found(&parent.to_string())) }
}

/// A lab's network stands on one of Microsoft.Network, which comes with it unless it is there.
#[allow(clippy::unnecessary_wraps, reason = "a `Prepare` may refuse")]
pub fn prepare_network(making: &mut Making<'_>) -> Result<(), ApiError> {
    let id = making.put.id;
    making.stamp("createdDate");
    let properties = network_properties(id);
    for name in ["externalProviderResourceId", "allowedSubnets", "subnetOverrides"] {
        let own = name == "externalProviderResourceId"
            || making.given.get("externalProviderResourceId") == Some(&properties["externalProviderResourceId"]);
        making.default(name, if own { properties[name].clone() } else { json!([]) });
    }
    if making.text("externalProviderResourceId") == properties["externalProviderResourceId"].as_str().unwrap_or_default()
        && let Some(lab) = &making.lab
    {
        provide_network(making.world, id, lab.location());
    }
    Ok(())
}

/// A formula is the content of a machine to be, given or taken from one that is there. It keeps no password in clear.
pub fn prepare_formula(making: &mut Making<'_>) -> Result<(), ApiError> {
    making.stamp("creationDate");
    let author = making.put.caller.client_id.clone();
    making.default("author", author);
    if let Some(source) = making.given.get("vm").and_then(|vm| vm["labVmId"].as_str()) {
        let machine = making.world.store.get(source).filter(|found| found.type_name == "Microsoft.DevTestLab/labs/virtualMachines");
        let machine = machine.ok_or_else(|| {
            ApiError::bad_request("LabVirtualMachineNotFound", format!("The virtual machine '{source}' was not found."))
                .with_target("vm.labVmId")
        })?;
        let mut content = Map::new();
        for name in FORMULA_PARTS.iter().filter(|name| !machine.property(name).is_null()) {
            content.insert((*name).into(), machine.property(name).clone());
        }
        making.default("osType", machine.text("osType"));
        making.default("formulaContent", json!({"location": machine.location(), "properties": content}));
    }
    making.require("formulaContent")?;
    if let Some(content) = making.given.get_mut("formulaContent").and_then(|content| content["properties"].as_object_mut()) {
        // `[[secret]]` names a secret of whoever uses the formula.
        content.retain(|name, value| {
            !matches!(name.as_str(), "password" | "sshKey") || value.as_str().is_some_and(|text| text.starts_with("[["))
        });
    }
    let windows = !making.given["formulaContent"]["properties"]["galleryImageReference"]["osType"]
        .as_str()
        .is_some_and(|os| os.eq_ignore_ascii_case("Linux"));
    making.default("osType", if windows { "Windows" } else { "Linux" });
    Ok(())
}

/// What a formula takes from a machine.
const FORMULA_PARTS: &[&str] = &[
    "size",
    "userName",
    "galleryImageReference",
    "customImageId",
    "isAuthenticationWithSshKey",
    "labSubnetName",
    "labVirtualNetworkId",
    "disallowPublicIpAddress",
    "artifacts",
    "storageType",
    "notes",
];

/// A channel needs somebody to tell.
pub fn prepare_channel(making: &mut Making<'_>) -> Result<(), ApiError> {
    making.stamp("createdDate");
    if making.require("webHookUrl").is_err() && making.require("emailRecipient").is_err() {
        return Err(missing("webHookUrl"));
    }
    let events = making.given.get("events").and_then(Value::as_array).cloned().unwrap_or_default();
    let unknown = events.iter().filter_map(|event| event["eventName"].as_str()).find(|name| !EVENTS.contains(name));
    unknown.map_or(Ok(()), |name| Err(invalid("events.eventName", name, "'AutoShutdown' or 'Cost'")))
}

const EVENTS: [&str; 2] = ["AutoShutdown", "Cost"];

/// Tells a channel's recipients, of whom the emulator has none: it checks what is told.
pub fn notify(body: &Value) -> Result<(), ApiError> {
    let event = body["eventName"].as_str().ok_or_else(|| missing("eventName"))?;
    if EVENTS.contains(&event) { Ok(()) } else { Err(invalid("eventName", event, "'AutoShutdown' or 'Cost'")) }
}

/// A user is who it is.
#[allow(clippy::unnecessary_wraps, reason = "a `Prepare` may refuse")]
pub fn prepare_user(making: &mut Making<'_>) -> Result<(), ApiError> {
    making.stamp("createdDate");
    let identity = user_identity(making.put.id, &making.put.caller.client_id);
    making.default("identity", identity);
    making.default("secretStore", json!({}));
    Ok(())
}

/// A secret's value is kept and never shown; its user's vault comes into being with it.
pub fn prepare_secret(making: &mut Making<'_>) -> Result<(), ApiError> {
    match making.given.remove("value") {
        Some(Value::String(value)) if !value.is_empty() => making.hidden.insert("value".into(), json!(value)),
        _ => return Err(missing("value")),
    };
    let Some(lab) = &making.lab else { return Ok(()) };
    let user = making.put.id.ancestor(2);
    ensure_user(making.world, &user, lab, &making.put.caller.client_id);
    let vault = lab.text("vaultName");
    let name = vault.rsplit('/').next().unwrap_or_default();
    let store = json!({"keyVaultUri": format!("https://{name}.vault.azure.net"), "keyVaultId": vault});
    making.world.store.update(&user.key(), |user| user.set("secretStore", store));
    Ok(())
}

/// A Service Fabric cluster of an environment.
pub fn prepare_fabric(making: &mut Making<'_>) -> Result<(), ApiError> {
    making.require("externalServiceFabricId")
}

/// A service runner is an identity and nothing else.
pub fn prepare_runner(making: &mut Making<'_>) -> Result<(), ApiError> {
    if making.put.body["identity"].is_object() || making.existing.is_some() { Ok(()) } else { Err(missing("identity")) }
}

/// Costs hold what their owner wants to spend.
#[allow(clippy::unnecessary_wraps, reason = "a `Prepare` may refuse")]
pub fn prepare_cost(making: &mut Making<'_>) -> Result<(), ApiError> {
    let Some(lab) = making.lab.clone() else { return Ok(()) };
    for (name, value) in cost_properties(&lab).as_object().into_iter().flatten() {
        making.default(name, value.clone());
    }
    Ok(())
}

/// Deletes a resource as its kind says; `None` when it is gone at once.
pub fn delete(world: &Arc<World>, id: &Id, resource: &Resource) -> Result<Option<Arc<Operation>>, ApiError> {
    let verb = kinds::of(id).map_or(Verb::None, |kind| kind.delete);
    if verb == Verb::None {
        return Err(ApiError::method_not_allowed("DELETE", &id.to_string()));
    }
    if resource.state() == "Deleting"
        && let Some(operation) = world.operations.get(resource.hidden("operation"))
    {
        return Ok(Some(operation));
    }
    check_not_in_use(world, id, resource)?;
    let Verb::Long(work) = verb else {
        remove(world, id);
        return Ok(None);
    };
    let operation = world.begin();
    world.store.update(&resource.key, |resource| {
        resource.set_state("Deleting");
        resource.hide("operation", operation.name.clone());
    });
    let (world, id, ending) = (world.clone(), id.clone(), operation.clone());
    world.clone().spawn(async move {
        world.work(work).await;
        let _gate = world.gate();
        remove(&world, &id);
        ending.finish(Ok(()));
    });
    Ok(Some(operation))
}

/// A network that machines are in and a disk that a machine holds cannot go.
fn check_not_in_use(world: &World, id: &Id, resource: &Resource) -> Result<(), ApiError> {
    let in_use = |by: &str| {
        let message = format!("The resource '{}' cannot be deleted: the virtual machine '{by}' uses it.", id.key());
        Err(ApiError::conflict("ResourceInUse", message))
    };
    if id.is("Microsoft.DevTestLab/labs/users/disks") && !resource.text("leasedByLabVmId").is_empty() {
        return in_use(resource.text("leasedByLabVmId"));
    }
    if id.is("Microsoft.DevTestLab/labs/virtualNetworks") {
        let machines = world.store.members(&format!("{}/virtualmachines", id.ancestor(1).key()));
        let user = machines.iter().find(|machine| machine.text("labVirtualNetworkId").eq_ignore_ascii_case(&id.key()));
        return user.map_or(Ok(()), |user| in_use(user.name()));
    }
    Ok(())
}

/// Removes a resource and what is below it.
fn remove(world: &World, id: &Id) {
    for below in world.store.below(&format!("{}/", id.key())) {
        match below.type_name.as_str() {
            "Microsoft.DevTestLab/labs/users/environments" => environment::remove_group(world, &below),
            "Microsoft.DevTestLab/labs/users/disks" => disk::withdraw(world, &below),
            _ => {}
        }
        world.store.remove(&below.key);
    }
    let Some(removed) = world.store.remove(&id.key()) else { return };
    match removed.type_name.as_str() {
        "Microsoft.DevTestLab/labs/users/disks" => disk::withdraw(world, &removed),
        "Microsoft.DevTestLab/labs/virtualNetworks" => withdraw_network(world, &removed),
        _ => {}
    }
}

/// What is there although nobody made it: the lab's policy set, and its costs.
pub fn implied(world: &World, id: &Id) -> Option<Value> {
    let lab = world.store.get(&id.ancestor(1).key())?;
    let (kind, name) = id.pairs.last()?;
    if id.pairs.len() != 2 || !kind.eq_ignore_ascii_case("costs") || !name.eq_ignore_ascii_case("targetCost") {
        return None;
    }
    Some(json!({"properties": cost_properties(&lab), "id": id.key(), "name": name, "type": "Microsoft.DevTestLab/labs/costs",
        "location": lab.location()}))
}

fn cost_properties(lab: &Resource) -> Value {
    json!({
        "targetCost": {"status": "Disabled", "target": 0, "costThresholds": [], "cycleType": "CalendarMonth"},
        "labCostSummary": {"estimatedLabCost": 0.0}, "labCostDetails": [], "resourceCosts": [], "currencyCode": "USD",
        "createdDate": dtl_date(lab.created_at), "provisioningState": "Succeeded",
    })
}

fn user_identity(user: &Id, client_id: &str) -> Value {
    json!({"principalName": client_id, "principalId": user.name(), "tenantId": crate::emulator::identity::TENANT, "objectId": user.name(),
        "appId": client_id})
}

/// A user of the lab comes into being with the first thing that is theirs.
pub fn ensure_user(world: &World, user: &Id, lab: &Resource, client_id: &str) {
    if world.store.contains(&user.key()) {
        return;
    }
    let properties = json!({
        "identity": user_identity(user, client_id),
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
    provide_network(world, id, location);
}

fn provide_network(world: &World, id: &Id, location: &str) {
    let external = id.sibling("Microsoft.Network", "virtualNetworks", id.name());
    network::provide(world, &external, location, &format!("{}Subnet", id.name()), &id.key());
}

/// Removes the network that was provided for a lab's.
pub fn withdraw_network(world: &World, network: &Resource) {
    network::withdraw(world, &network.text("externalProviderResourceId").to_ascii_lowercase(), &network.key);
}

/// A network with the subnets that its provider knows.
pub fn show_network(world: &World, network: &Resource) -> Value {
    let mut body = network.body.clone();
    let external = world.store.get(network.text("externalProviderResourceId"));
    let subnets = external.map(|external| external.property("subnets").clone()).unwrap_or_default();
    let known = |subnet: &Value| json!({"id": subnet["id"], "name": subnet["name"]});
    body["properties"]["externalSubnets"] = subnets.as_array().into_iter().flatten().map(known).collect();
    body
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
