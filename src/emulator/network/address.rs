//! Addresses: which lie in which network, which are free, and the names of public ones.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use ipnet::IpNet;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::emulator::{
    error::ApiError,
    id::{Id, scope_part},
    store::Resource,
    world::{World, random_digits},
};

/// Checks the address space of a network and of its subnets.
pub fn check_network(id: &Id, given: &Map<String, Value>) -> Result<(), ApiError> {
    let prefixes = given.get("addressSpace").and_then(|space| space["addressPrefixes"].as_array()).cloned().unwrap_or_default();
    if prefixes.is_empty() {
        let message = format!("Required property 'addressSpace.addressPrefixes' is missing for the virtual network {id}.");
        return Err(ApiError::bad_request("MissingAddressPrefixes", message));
    }
    let space = prefixes.iter().map(|prefix| parse(prefix, id.name())).collect::<Result<Vec<_>, _>>()?;
    let mut taken: Vec<(IpNet, &str)> = Vec::new();
    for subnet in given.get("subnets").and_then(Value::as_array).into_iter().flatten() {
        let name = subnet["name"].as_str().unwrap_or_default();
        for prefix in prefixes_of(&subnet["properties"]) {
            let range = parse(&prefix, name)?;
            if !space.iter().any(|space| space.contains(&range)) {
                let message = format!("Subnet '{name}' is not valid in virtual network '{}'.", id.name());
                return Err(ApiError::bad_request("NetcfgInvalidSubnet", message));
            }
            if let Some((_, other)) = taken.iter().find(|(other, _)| other.contains(&range) || range.contains(other)) {
                let message = format!(
                    "Subnet '{name}' is not valid because its IP address range overlaps with that of an existing subnet in virtual network '{}': '{other}'.",
                    id.name()
                );
                return Err(ApiError::bad_request("NetcfgSubnetRangesOverlap", message));
            }
            taken.push((range, name));
        }
    }
    Ok(())
}

fn prefixes_of(properties: &Value) -> Vec<Value> {
    match &properties["addressPrefixes"] {
        Value::Array(all) if !all.is_empty() => all.clone(),
        _ => Some(properties["addressPrefix"].clone()).filter(|prefix| !prefix.is_null()).into_iter().collect(),
    }
}

fn parse(prefix: &Value, owner: &str) -> Result<IpNet, ApiError> {
    let text = prefix.as_str().unwrap_or_default();
    let range = text.parse::<IpNet>().ok().filter(|range| range.addr() == range.network());
    range.ok_or_else(|| {
        let message = format!(
            "The address prefix '{text}' of '{owner}' is not formatted correctly. It should follow CIDR notation, for example 10.0.0.0/24."
        );
        ApiError::bad_request("InvalidAddressPrefixFormat", message)
    })
}

/// The private addresses of a network that interfaces have.
pub fn taken(world: &World, network: &Resource) -> Vec<String> {
    let subscription = scope_part(&network.key, "subscriptions").unwrap_or_default();
    let inside = |entry: &Value| {
        entry["properties"]["subnet"]["id"].as_str().is_some_and(|id| id.to_ascii_lowercase().starts_with(&format!("{}/", network.key)))
    };
    let interfaces = world.store.of_type(subscription, "Microsoft.Network/networkInterfaces");
    let entries = interfaces.iter().flat_map(|one| one.property("ipConfigurations").as_array().cloned().unwrap_or_default());
    entries.filter(inside).filter_map(|entry| entry["properties"]["privateIPAddress"].as_str().map(str::to_owned)).collect()
}

/// Some free addresses of a network.
pub fn free(network: &Resource, taken: &[String], count: usize) -> Vec<String> {
    let subnets = network.property("subnets").as_array().cloned().unwrap_or_default();
    subnets.iter().flat_map(|subnet| hosts(&subnet["properties"])).filter(|host| !taken.contains(host)).take(count).collect()
}

/// The hosts of a subnet; Azure keeps the first three for itself.
fn hosts(subnet: &Value) -> impl Iterator<Item = String> + use<> {
    let range = prefixes_of(subnet).first().and_then(|prefix| prefix.as_str()?.parse::<IpNet>().ok());
    range.into_iter().flat_map(|range| range.hosts().skip(3)).map(|host: IpAddr| host.to_string())
}

/// A free address of a subnet.
pub fn private(world: &World, subnet: &str) -> String {
    let fallback = || Ipv4Addr::new(10, 0, 0, 4).to_string();
    let Some(found) = world.store.get(subnet) else { return fallback() };
    let network = Id::parse(subnet).and_then(|id| world.store.get(&id.ancestor(1).key()));
    let taken = network.map(|network| taken(world, &network)).unwrap_or_default();
    hosts(&found.body["properties"]).find(|host| !taken.contains(host)).unwrap_or_else(fallback)
}

/// An address of the blocks that documentation is free to use.
pub fn public() -> String {
    let digits: u32 = random_digits(6).parse().unwrap_or_default();
    let block = if digits.is_multiple_of(2) { "203.0.113" } else { "198.51.100" };
    format!("{block}.{}", digits / 2 % 250 + 4)
}

/// The hardware address of an interface, of the block that Azure's have.
pub fn mac(id: &Id) -> String {
    let bytes = *Uuid::new_v5(&Uuid::NAMESPACE_URL, id.key().as_bytes()).as_bytes();
    format!("00-0D-3A-{:02X}-{:02X}-{:02X}", bytes[0], bytes[1], bytes[2])
}

/// The full name of a label in a region.
pub fn fqdn(label: &str, location: &str) -> String {
    format!("{label}.{}.cloudapp.azure.com", location.to_ascii_lowercase().replace(' ', ""))
}

/// The public address that has a name.
pub fn holder_of(world: &World, subscription: &str, fqdn: &str) -> Option<Arc<Resource>> {
    let all = world.store.of_type(subscription, "Microsoft.Network/publicIPAddresses");
    all.into_iter().find(|one| one.property("dnsSettings")["fqdn"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(fqdn)))
}
