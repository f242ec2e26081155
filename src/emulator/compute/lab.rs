//! What a lab machine consists of: a group of its own with machine, disk, network interface and public address.

use serde_json::{Value, json};

use super::statuses;
use crate::emulator::{
    id::{Id, in_group},
    network,
    resources::group,
    store::Resource,
    world::{World, random_digits},
};

/// What has been made for a lab machine.
#[derive(Debug)]
pub struct Made {
    /// The machine's id.
    pub compute_id: String,
    group_id: String,
    fqdn: String,
}

impl Made {
    /// Enters it into the lab machine.
    pub fn enter(&self, machine: &mut Resource) {
        machine.set("computeId", self.compute_id.clone());
        machine.set("fqdn", self.fqdn.clone());
        machine.hide("computeGroup", self.group_id.clone());
    }
}

/// Makes what a lab machine consists of.
pub fn make(world: &World, id: &Id, machine: &Resource) -> Made {
    let subscription = id.subscription().unwrap_or_default();
    let lab = id.ancestor(1);
    let start: String = format!("{}-{}", lab.name(), id.name()).chars().take(83).collect();
    let name = format!("{start}-{}", random_digits(6));
    let group_id = group::ensure(world, subscription, &name, machine.location());
    let part = |namespace: &str, kind: &str| in_group(subscription, &name, namespace, kind, id.name());
    let (compute, disk) = (part("Microsoft.Compute", "virtualMachines"), part("Microsoft.Compute", "disks"));
    let (interface, address) = (part("Microsoft.Network", "networkInterfaces"), part("Microsoft.Network", "publicIPAddresses"));
    let label = format!("{}{}", id.name().to_ascii_lowercase(), random_digits(6));
    let fqdn = format!("{label}.{}.cloudapp.azure.com", machine.location());
    let public = machine.property("disallowPublicIpAddress") != &Value::Bool(true);

    add(world, machine, &compute, &compute_properties(world, machine, &disk, &interface), |made| {
        made.hide("power", "running");
        made.hide("labMachine", &*machine.key);
    });
    let disk_properties = json!({"osType": machine.text("osType"), "diskSizeGB": 127, "diskState": "Attached", "creationData": {"createOption": "FromImage"},
        "provisioningState": "Succeeded"});
    add(world, machine, &disk, &disk_properties, |_| {});
    let subnet = subnet_id(world, machine);
    let mut configuration = json!({"name": "ipconfig", "properties": {"privateIPAddress": private_address(), "privateIPAllocationMethod": "Dynamic",
        "primary": true, "provisioningState": "Succeeded", "subnet": {"id": subnet}}});
    if public {
        configuration["properties"]["publicIPAddress"] = json!({"id": address.to_string()});
        let properties = json!({"ipAddress": public_address(), "publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4",
            "dnsSettings": {"domainNameLabel": label, "fqdn": fqdn}, "provisioningState": "Succeeded"});
        add(world, machine, &address, &properties, |_| {});
    }
    let properties = json!({"ipConfigurations": [configuration], "virtualMachine": {"id": compute.to_string()}, "primary": true,
        "macAddress": "00-0D-3A-00-00-01", "provisioningState": "Succeeded"});
    add(world, machine, &interface, &properties, |_| {});
    if let Some(interface) = world.store.get(&interface.key()) {
        network::link(world, &interface);
    }
    Made { compute_id: compute.to_string(), group_id, fqdn: if public { fqdn } else { String::new() } }
}

fn add(world: &World, machine: &Resource, id: &Id, properties: &Value, finish: impl FnOnce(&mut Resource)) {
    let body =
        json!({"name": id.name(), "id": id.to_string(), "type": id.type_name(), "location": machine.location(), "properties": properties});
    let mut resource = Resource::new(body, world.clock.now());
    finish(&mut resource);
    world.store.put(resource);
}

fn compute_properties(world: &World, machine: &Resource, disk: &Id, interface: &Id) -> Value {
    let reference = machine.property("galleryImageReference");
    let image = if reference.is_object() {
        json!({"publisher": reference["publisher"], "offer": reference["offer"], "sku": reference["sku"], "version": reference["version"]})
    } else {
        let shared = crate::emulator::devtestlab::shared_gallery::image_reference(world, machine);
        // A seeded machine may name no image at all.
        let custom = machine.property("customImageId").as_str().map(|id| json!({ "id": id }));
        shared.or(custom).unwrap_or_else(|| json!({}))
    };
    let mut properties = json!({
        "vmId": uuid::Uuid::new_v4().to_string(),
        "hardwareProfile": {"vmSize": machine.text("size")},
        "storageProfile": {
            "imageReference": image,
            "osDisk": {"osType": machine.text("osType"), "name": disk.name(), "createOption": "FromImage", "caching": "ReadWrite",
                "managedDisk": {"id": disk.to_string(), "storageAccountType": "Standard_LRS"}, "diskSizeGB": 127},
            "dataDisks": [],
        },
        "osProfile": {"computerName": machine.name(), "adminUsername": machine.text("userName")},
        "networkProfile": {"networkInterfaces": [{"id": interface.to_string(), "properties": {"primary": true}}]},
        "provisioningState": "Succeeded",
    });
    if machine.property("securityProfile").is_object() {
        properties["securityProfile"] = machine.property("securityProfile").clone();
    }
    properties
}

fn subnet_id(world: &World, machine: &Resource) -> Value {
    let network = world.store.get(machine.text("labVirtualNetworkId"));
    let subnets = network.map(|network| network.property("allowedSubnets").clone()).unwrap_or_default();
    let wanted = machine.text("labSubnetName");
    let subnet = subnets.as_array().into_iter().flatten().find(|subnet| subnet["labSubnetName"].as_str() == Some(wanted));
    subnet.or_else(|| subnets.get(0)).map(|subnet| subnet["resourceId"].clone()).unwrap_or_default()
}

fn byte() -> u64 {
    random_digits(6).parse::<u64>().unwrap_or_default() % 250 + 4
}

fn private_address() -> String {
    format!("10.0.{}.{}", byte() % 16, byte())
}

/// An address of the block that documentation is free to use.
fn public_address() -> String {
    format!("203.0.113.{}", byte())
}

/// `computeVm` of a lab machine.
pub fn summary(world: &World, compute_id: &str) -> Option<Value> {
    let compute = world.store.get(compute_id)?;
    let statuses: Vec<Value> = statuses(&compute)
        .as_array()?
        .iter()
        .map(|status| json!({"code": status["code"], "displayStatus": status["displayStatus"]}))
        .collect();
    let disks = compute.property("storageProfile")["dataDisks"].as_array().cloned().unwrap_or_default();
    Some(json!({
        "statuses": statuses,
        "osType": compute.property("storageProfile")["osDisk"]["osType"],
        "vmSize": compute.property("hardwareProfile")["vmSize"],
        "networkInterfaceId": compute.property("networkProfile")["networkInterfaces"][0]["id"],
        "osDiskId": compute.property("storageProfile")["osDisk"]["managedDisk"]["id"],
        "dataDiskIds": disks.iter().map(|disk| disk["managedDisk"]["id"].clone()).collect::<Vec<_>>(),
        "dataDisks": disks.iter().map(|disk| json!({"name": disk["name"], "diskUri": "", "managedDiskId": disk["managedDisk"]["id"],
            "diskSizeGiB": disk["diskSizeGB"]})).collect::<Vec<_>>(),
    }))
}

/// `networkInterface` of a lab machine.
pub fn network_summary(world: &World, machine: &Resource) -> Option<Value> {
    let compute = world.store.get(machine.text("computeId"))?;
    let interface = world.store.get(compute.property("networkProfile")["networkInterfaces"][0]["id"].as_str()?)?;
    let configuration = &interface.property("ipConfigurations")[0]["properties"];
    let mut summary = json!({
        "virtualNetworkId": machine.text("labVirtualNetworkId"), "subnetId": configuration["subnet"]["id"],
        "privateIpAddress": configuration["privateIPAddress"],
    });
    if let Some(address) = configuration["publicIPAddress"]["id"].as_str().and_then(|id| world.store.get(id)) {
        summary["publicIpAddressId"] = json!(address.id());
        summary["publicIpAddress"] = address.property("ipAddress").clone();
        summary["dnsName"] = address.property("dnsSettings")["fqdn"].clone();
    }
    Some(summary)
}
