//! Who refers to whom: noted at the target, so that it shows its users and stays as long as it has some.

use serde_json::{Map, Value, json};

use super::address;
use crate::emulator::{error::ApiError, id::Id, store::Resource, world::World};

/// A reference: what is named, by whom, and the property in which the target notes it.
struct Reference {
    target: String,
    from: String,
    note: &'static str,
    many: bool,
}

/// The references in a resource's properties.
fn references(id: &str, properties: &Value) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut add = |value: &Value, from: &str, note: &'static str, many: bool| {
        if let Some(target) = value["id"].as_str() {
            found.push(Reference { target: target.to_owned(), from: from.to_owned(), note, many });
        }
    };
    add(&properties["networkSecurityGroup"], id, "networkInterfaces", true);
    for part in ["ipConfigurations", "frontendIPConfigurations"] {
        // Interfaces and balancers hold addresses and places in subnets by their configurations.
        for entry in properties[part].as_array().into_iter().flatten().filter(|entry| entry["properties"].is_object()) {
            let from = entry["id"].as_str().unwrap_or(id).to_owned();
            add(&entry["properties"]["subnet"], &from, "ipConfigurations", true);
            add(&entry["properties"]["publicIPAddress"], &from, "ipConfiguration", false);
        }
    }
    for entry in properties["subnets"].as_array().into_iter().flatten() {
        let from = entry["id"].as_str().unwrap_or(id).to_owned();
        add(&entry["properties"]["networkSecurityGroup"], &from, "subnets", true);
        add(&entry["properties"]["routeTable"], &from, "subnets", true);
    }
    found
}

/// Whatever is named must be there.
pub fn check_targets(world: &World, id: &Id, given: &Map<String, Value>) -> Result<(), ApiError> {
    for reference in references(&id.to_string(), &Value::Object(given.clone())) {
        if !world.store.contains(&reference.target) {
            let message = format!(
                "Resource {} referenced by resource {id} was not found. Please make sure that the referenced resource exists, and that both \
                 resources are in the same region.",
                reference.target
            );
            return Err(ApiError::bad_request("InvalidResourceReference", message));
        }
    }
    Ok(())
}

/// Notes at all targets who refers to them.
pub fn link(world: &World, resource: &Resource) {
    for reference in references(resource.id(), &resource.body["properties"]) {
        note(world, &reference, true);
        // A dynamic address comes into being when it is first used.
        world.store.update(&reference.target, |target| {
            if target.type_name == "Microsoft.Network/publicIPAddresses" && target.text("ipAddress").is_empty() {
                target.set("ipAddress", address::public());
            }
        });
    }
}

/// Takes the notes away again.
pub fn unlink(world: &World, resource: &Resource) {
    for reference in references(resource.id(), &resource.body["properties"]) {
        note(world, &reference, false);
    }
}

fn note(world: &World, reference: &Reference, on: bool) {
    let change = |properties: &mut Value| {
        if !reference.many {
            if on {
                properties[reference.note] = json!({"id": reference.from});
            } else if let Some(properties) = properties.as_object_mut() {
                properties.remove(reference.note);
            }
            return;
        }
        let mut all = properties[reference.note].as_array().cloned().unwrap_or_default();
        all.retain(|known| known["id"].as_str().is_none_or(|id| !id.eq_ignore_ascii_case(&reference.from)));
        if on {
            all.push(json!({"id": reference.from}));
        }
        if all.is_empty()
            && let Some(properties) = properties.as_object_mut()
        {
            properties.remove(reference.note);
        } else {
            properties[reference.note] = json!(all);
        }
    };
    let Some(target) = world.store.update(&reference.target, |target| change(&mut target.body["properties"])) else { return };
    // A part is shown in its parent, too.
    let Some(id) = Id::parse(&target.key).filter(|id| id.pairs.len() == 2) else { return };
    world.store.update(&id.ancestor(1).key(), |parent| {
        let part = target.type_name.rsplit('/').next().unwrap_or_default();
        let entries = parent.body["properties"][part].as_array_mut().into_iter().flatten();
        for entry in entries.filter(|entry| entry["id"].as_str().is_some_and(|id| id.eq_ignore_ascii_case(&target.key))) {
            entry["properties"] = target.body["properties"].clone();
        }
    });
}

/// Notes at an interface which machine holds it, or that none does.
pub fn hold(world: &World, interface: &str, machine: Option<&str>) {
    world.store.update(interface, |interface| match (machine, interface.body["properties"].as_object_mut()) {
        (Some(machine), Some(properties)) => {
            properties.insert("virtualMachine".into(), json!({"id": machine}));
        }
        (None, Some(properties)) => {
            properties.remove("virtualMachine");
        }
        _ => {}
    });
}

const NOTES: [&str; 5] = ["ipConfigurations", "ipConfiguration", "networkInterfaces", "subnets", "virtualMachine"];

/// Whether a note is one, and not a list of the resource's own parts.
fn is_gone(world: &World, note: &Value) -> bool {
    note["properties"].is_null() && note["id"].as_str().is_some_and(|id| !world.store.contains(id))
}

/// Removes the notes of what is gone from a body, at every depth that has some.
pub fn prune(world: &World, body: &mut Value) {
    let Some(properties) = body["properties"].as_object_mut() else { return };
    for name in NOTES {
        match properties.get_mut(name) {
            Some(Value::Array(all)) => {
                all.retain(|note| !is_gone(world, note));
                all.iter_mut().filter(|entry| entry["properties"].is_object()).for_each(|entry| prune(world, entry));
            }
            Some(note) if is_gone(world, note) => {
                properties.remove(name);
            }
            _ => {}
        }
    }
}

/// What somebody uses cannot be deleted.
pub fn check_free(world: &World, resource: &Resource) -> Result<(), ApiError> {
    let mut body = resource.body.clone();
    prune(world, &mut body);
    let properties = &body["properties"];
    let first = |name: &str| properties[name][0]["id"].as_str().map(str::to_owned);
    let one = |name: &str| properties[name]["id"].as_str().map(str::to_owned);
    let (id, name) = (resource.id(), resource.name());
    let refused = match resource.type_name.as_str() {
        "Microsoft.Network/virtualNetworks/subnets" => first("ipConfigurations").map(|user| {
            let message = format!(
                "Subnet {name} is in use by {user} and cannot be deleted. In order to delete the subnet, delete all the resources within the \
                 subnet. See aka.ms/deletesubnet."
            );
            ("InUseSubnetCannotBeDeleted", message)
        }),
        "Microsoft.Network/publicIPAddresses" => one("ipConfiguration").map(|user| {
            let message = format!(
                "Public IP address {id} can not be deleted since it is still allocated to resource {user}. In order to delete the public IP, \
                 disassociate/detach the Public IP address from the resource."
            );
            ("PublicIPAddressCannotBeDeleted", message)
        }),
        "Microsoft.Network/networkInterfaces" => one("virtualMachine").map(|user| {
            let message = format!(
                "Network Interface {id} is used by existing resource {user}. In order to delete the network interface, it must be dissociated \
                 from the resource."
            );
            ("NicInUse", message)
        }),
        "Microsoft.Network/networkSecurityGroups" => first("networkInterfaces").or_else(|| first("subnets")).map(|user| {
            let message = format!("Network security group {id} cannot be deleted because it is in use by the following resources: {user}.");
            ("InUseNetworkSecurityGroupCannotBeDeleted", message)
        }),
        "Microsoft.Network/routeTables" => first("subnets").map(|user| {
            let message = format!("Route table {id} cannot be deleted because it is in use by the following resources: {user}.");
            ("InUseRouteTableCannotBeDeleted", message)
        }),
        _ => None,
    };
    refused.map_or(Ok(()), |(code, message)| Err(ApiError::bad_request(code, message)))
}
