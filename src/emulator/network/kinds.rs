//! The types of the provider that have rules of their own.

use serde_json::{Map, Value, json};

use super::address;
use crate::emulator::{error::ApiError, id::Id, store::Resource, world::World};

/// What is to be made.
#[derive(Debug)]
pub struct Making<'a> {
    /// The cloud.
    pub world: &'a World,
    /// What it is called.
    pub id: &'a Id,
    /// The request's body.
    pub body: &'a Value,
    /// What is there already.
    pub existing: Option<&'a Resource>,
}

/// Checks what is asked for and adds what the provider adds.
type Prepare = fn(&Making<'_>, &mut Map<String, Value>) -> Result<(), ApiError>;

/// A type.
#[derive(Debug)]
pub struct Kind {
    name: &'static str,
    /// Which properties are lists of resources.
    pub parts: &'static [&'static str],
    /// What is checked and added.
    pub prepare: Prepare,
}

impl Kind {
    /// A part's own casing.
    pub fn part(&self, name: &str) -> Option<&'static str> {
        self.parts.iter().find(|part| part.eq_ignore_ascii_case(name)).copied()
    }
}

const KINDS: &[Kind] = &[
    Kind { name: "virtualNetworks", parts: &["subnets", "virtualNetworkPeerings"], prepare: network },
    Kind { name: "networkInterfaces", parts: &["ipConfigurations"], prepare: interface },
    Kind { name: "publicIPAddresses", parts: &[], prepare: public_address },
    Kind { name: "networkSecurityGroups", parts: &["securityRules"], prepare: security_group },
    Kind {
        name: "loadBalancers",
        parts: &["frontendIPConfigurations", "backendAddressPools", "loadBalancingRules", "probes", "inboundNatRules", "outboundRules"],
        prepare: load_balancer,
    },
    Kind { name: "routeTables", parts: &["routes"], prepare: as_given },
    Kind { name: "applicationSecurityGroups", parts: &[], prepare: as_given },
    Kind { name: "natGateways", parts: &[], prepare: as_given },
];

/// The type of this name.
pub fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name.eq_ignore_ascii_case(name))
}

#[allow(clippy::unnecessary_wraps, reason = "other types refuse something here")]
fn as_given(_: &Making<'_>, _: &mut Map<String, Value>) -> Result<(), ApiError> {
    Ok(())
}

/// The entries of a part, to be changed.
fn entries<'a>(given: &'a mut Map<String, Value>, part: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    given.get_mut(part).and_then(Value::as_array_mut).into_iter().flatten().filter_map(|entry| entry["properties"].as_object_mut())
}

fn set(given: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if given.get(name).is_none_or(Value::is_null) {
        given.insert(name.into(), value.into());
    }
}

fn network(making: &Making<'_>, given: &mut Map<String, Value>) -> Result<(), ApiError> {
    address::check_network(making.id, given)?;
    set(given, "enableDdosProtection", false);
    for subnet in entries(given, "subnets") {
        set(subnet, "delegations", json!([]));
        set(subnet, "privateEndpointNetworkPolicies", "Disabled");
        set(subnet, "privateLinkServiceNetworkPolicies", "Enabled");
    }
    Ok(())
}

fn interface(making: &Making<'_>, given: &mut Map<String, Value>) -> Result<(), ApiError> {
    let configurations = given.get("ipConfigurations").and_then(Value::as_array).map_or(0, Vec::len);
    if configurations == 0 {
        let message = format!("Network interface {} must have one or more IP configurations.", making.id);
        return Err(ApiError::bad_request("NetworkInterfaceMustHaveAtLeastOneIpConfiguration", message));
    }
    let before = making.existing.map(|existing| existing.property("ipConfigurations").clone()).unwrap_or_default();
    for (index, configuration) in entries(given, "ipConfigurations").enumerate() {
        set(configuration, "privateIPAllocationMethod", "Dynamic");
        set(configuration, "privateIPAddressVersion", "IPv4");
        set(configuration, "primary", index == 0);
        let subnet = configuration.get("subnet").and_then(|subnet| subnet["id"].as_str()).map(str::to_owned);
        if subnet.is_none() && configuration.get("privateIPAddressVersion") == Some(&json!("IPv4")) {
            let message = format!("Required property 'subnet' is missing in an IP configuration of {}.", making.id);
            return Err(ApiError::bad_request("MissingSubnet", message));
        }
        let kept = before[index]["properties"]["privateIPAddress"].clone();
        if configuration.get("privateIPAddress").is_none_or(Value::is_null) {
            let fresh = || address::private(making.world, subnet.as_deref().unwrap_or_default());
            let address = if kept.is_null() { json!(fresh()) } else { kept };
            configuration.insert("privateIPAddress".into(), address);
        }
    }
    set(given, "macAddress", address::mac(making.id));
    set(given, "enableAcceleratedNetworking", false);
    set(given, "enableIPForwarding", false);
    set(given, "dnsSettings", json!({"dnsServers": [], "appliedDnsServers": []}));
    set(given, "hostedWorkloads", json!([]));
    set(given, "tapConfigurations", json!([]));
    set(given, "nicType", "Standard");
    Ok(())
}

fn public_address(making: &Making<'_>, given: &mut Map<String, Value>) -> Result<(), ApiError> {
    let standard = making.body["sku"]["name"].as_str().is_some_and(|sku| sku.eq_ignore_ascii_case("Standard"));
    set(given, "publicIPAllocationMethod", if standard { "Static" } else { "Dynamic" });
    let dynamic = given["publicIPAllocationMethod"].as_str().is_some_and(|method| method.eq_ignore_ascii_case("Dynamic"));
    if standard && dynamic {
        let message = format!("Standard sku publicIp {} must have AllocationMethod set to Static.", making.id);
        return Err(ApiError::bad_request("StandardSkuPublicIPAddressesMustUseStaticAllocation", message));
    }
    set(given, "publicIPAddressVersion", "IPv4");
    set(given, "idleTimeoutInMinutes", 4);
    set(given, "ipTags", json!([]));
    let kept = making.existing.map(|existing| existing.property("ipAddress").clone()).filter(|kept| !kept.is_null());
    match kept {
        Some(kept) => set(given, "ipAddress", kept),
        // A dynamic address comes with the first interface.
        None if !dynamic => set(given, "ipAddress", address::public()),
        None => {}
    }
    let Some(label) = given.get("dnsSettings").and_then(|settings| settings["domainNameLabel"].as_str()) else { return Ok(()) };
    let fqdn = address::fqdn(label, making.body["location"].as_str().unwrap_or_default());
    let holder = address::holder_of(making.world, making.id.subscription().unwrap_or_default(), &fqdn);
    if holder.is_some_and(|holder| *holder.key != *making.id.key()) {
        return Err(ApiError::bad_request("DnsRecordInUse", format!("DNS record {fqdn} is already used by another public IP.")));
    }
    given["dnsSettings"]["fqdn"] = json!(fqdn);
    Ok(())
}

/// Name, direction, priority, access, source and destination of the rules that every group has.
const DEFAULT_RULES: [(&str, &str, u64, &str, &str, &str); 6] = [
    ("AllowVnetInBound", "Inbound", 65000, "Allow", "VirtualNetwork", "VirtualNetwork"),
    ("AllowAzureLoadBalancerInBound", "Inbound", 65001, "Allow", "AzureLoadBalancer", "*"),
    ("DenyAllInBound", "Inbound", 65500, "Deny", "*", "*"),
    ("AllowVnetOutBound", "Outbound", 65000, "Allow", "VirtualNetwork", "VirtualNetwork"),
    ("AllowInternetOutBound", "Outbound", 65001, "Allow", "*", "Internet"),
    ("DenyAllOutBound", "Outbound", 65500, "Deny", "*", "*"),
];

fn security_group(making: &Making<'_>, given: &mut Map<String, Value>) -> Result<(), ApiError> {
    let mut taken: Vec<(String, u64)> = Vec::new();
    for rule in given.get("securityRules").and_then(Value::as_array).into_iter().flatten() {
        let (name, rule) = (rule["name"].as_str().unwrap_or_default(), &rule["properties"]);
        for required in ["protocol", "access", "direction", "priority"] {
            if rule[required].is_null() {
                let message = format!("Required security rule parameter '{required}' is missing for the rule '{name}' of {}.", making.id);
                return Err(ApiError::bad_request("SecurityRuleParameterMissing", message));
            }
        }
        let direction = rule["direction"].as_str().unwrap_or_default().to_ascii_lowercase();
        let priority = rule["priority"].as_u64().unwrap_or_default();
        if !(100..=4096).contains(&priority) {
            let message = format!("Security rule has invalid Priority. Value provided: {priority} Allowed range 100-4096. Rule: '{name}'.");
            return Err(ApiError::bad_request("SecurityRuleInvalidPriority", message));
        }
        if taken.contains(&(direction.clone(), priority)) {
            let message = format!(
                "Security rule '{name}' conflicts with another rule: both have the priority {priority} and the direction {direction}."
            );
            return Err(ApiError::bad_request("SecurityRuleConflict", message));
        }
        taken.push((direction, priority));
    }
    let rules: Vec<Value> = DEFAULT_RULES
        .iter()
        .map(|(name, direction, priority, access, from, to)| {
            let id = making.id.child("defaultSecurityRules", name);
            json!({"name": name, "id": id.to_string(), "type": id.type_name(), "properties": {"provisioningState": "Succeeded",
                "protocol": "*", "sourcePortRange": "*", "destinationPortRange": "*", "sourceAddressPrefix": from,
                "destinationAddressPrefix": to, "access": access, "priority": priority, "direction": direction}})
        })
        .collect();
    given.insert("defaultSecurityRules".into(), json!(rules));
    Ok(())
}

fn load_balancer(making: &Making<'_>, given: &mut Map<String, Value>) -> Result<(), ApiError> {
    // A rule may only name what the balancer itself has.
    for (part, named, list) in [
        ("loadBalancingRules", "frontendIPConfiguration", "frontendIPConfigurations"),
        ("loadBalancingRules", "backendAddressPool", "backendAddressPools"),
        ("loadBalancingRules", "probe", "probes"),
        ("inboundNatRules", "frontendIPConfiguration", "frontendIPConfigurations"),
    ] {
        let known: Vec<String> =
            given[list].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str().map(str::to_ascii_lowercase)).collect();
        for rule in given[part].as_array().into_iter().flatten() {
            let Some(target) = rule["properties"][named]["id"].as_str() else { continue };
            if !known.contains(&target.to_ascii_lowercase()) {
                let message = format!(
                    "Resource {target} referenced by resource {} was not found. Please make sure that the referenced resource exists, and that \
                     both resources are in the same region.",
                    making.id
                );
                return Err(ApiError::bad_request("InvalidResourceReference", message));
            }
        }
    }
    Ok(())
}
