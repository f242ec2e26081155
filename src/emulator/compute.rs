//! Microsoft.Compute: virtual machines and their power, disks, images, galleries; everything else of the provider is kept as it is given.

pub mod disk;
mod gallery;
mod image;
pub mod lab;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    error::ApiError,
    http::{Reply, parse_object},
    id::Id,
    provision::{Applied, Put},
    resources::generic,
    router::{self, Target},
    settings::Work,
    store::Resource,
    world::{Call, World},
};

const MACHINES: &str = "Microsoft.Compute/virtualMachines";

/// Serves a request to the provider.
pub fn serve(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    if gallery::is_for(target) {
        return gallery::serve(world, call, target);
    }
    if disk::is_for(target) {
        return disk::serve(world, call, target);
    }
    match (call.method(), target.kinds().as_str(), target.rest.len()) {
        ("PUT", "images", 2) => put_image(world, call, target),
        ("GET", "virtualmachines", 2) => get(world, call, target),
        ("GET", "virtualmachines/instanceview", 3) => Ok(Reply::ok(&instance_view(&*machine(world, target)?))),
        ("POST", "virtualmachines/start" | "virtualmachines/restart", 3) => power(world, call, target, "running", Work::Start),
        ("POST", "virtualmachines/deallocate", 3) => power(world, call, target, "deallocated", Work::Stop),
        ("POST", "virtualmachines/poweroff", 3) => power(world, call, target, "stopped", Work::Stop),
        ("POST", "virtualmachines/generalize", 3) => generalize(world, target),
        _ => generic::serve(world, call, target),
    }
}

/// Makes or changes a resource of the provider.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    if gallery::has(put.id) {
        return gallery::put(world, put);
    }
    if disk::has(put.id) {
        return disk::put(world, put);
    }
    if image::has(put.id) {
        return image::put(world, put);
    }
    let applied = generic::put(world, put)?;
    if put.id.is(MACHINES) && applied.created {
        world.store.update(&put.id.key(), |machine| machine.hide("power", "running"));
    }
    Ok(applied)
}

fn put_image(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let id = Id { scope: target.scope(), namespace: "Microsoft.Compute".into(), pairs: vec![("images".into(), target.rest[1].clone())] };
    let body = parse_object(&call.request.body)?;
    let applied = put(world, &Put { caller: &call.caller, id: &id, body: &body, duration: None })?;
    Ok(gallery::accepted(call, target, &applied))
}

fn id_of(target: &Target) -> Id {
    Id { scope: target.scope(), namespace: "Microsoft.Compute".into(), pairs: vec![("virtualMachines".into(), target.rest[1].clone())] }
}

fn machine(world: &World, target: &Target) -> Result<Arc<Resource>, ApiError> {
    let id = id_of(target);
    world.store.get(&id.key()).ok_or_else(|| ApiError::resource_not_found(&format!("{MACHINES}/{}", id.name()), id.group()))
}

fn get(world: &World, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let machine = machine(world, target)?;
    let mut body = machine.body.clone();
    if call.request.parameter("$expand").is_some_and(|expand| expand.to_ascii_lowercase().contains("instanceview")) {
        body["properties"]["instanceView"] = instance_view(&machine);
    }
    Ok(Reply::ok(&body))
}

/// The statuses of a machine.
pub fn statuses(machine: &Resource) -> Value {
    let state = machine.state();
    let mut statuses = vec![json!({"code": format!("ProvisioningState/{}", state.to_ascii_lowercase()), "level": "Info",
        "displayStatus": format!("Provisioning {}", state.to_ascii_lowercase())})];
    if is_generalized(machine) {
        statuses.push(json!({"code": "OSState/generalized", "level": "Info", "displayStatus": "VM generalized"}));
    }
    let power = power_state(machine);
    statuses.push(json!({"code": format!("PowerState/{power}"), "level": "Info", "displayStatus": format!("VM {power}")}));
    json!(statuses)
}

/// The power state: what became of the machine here, else what it was seeded with.
pub fn power_state(machine: &Resource) -> String {
    let known = Some(machine.hidden("power")).filter(|power| !power.is_empty()).map(str::to_owned);
    known.or_else(|| seeded_status(machine, "PowerState")).unwrap_or_else(|| "running".to_owned())
}

/// Whether the machine is generalized: marked here, or seeded so.
pub fn is_generalized(machine: &Resource) -> bool {
    machine.private.get("generalized") == Some(&Value::Bool(true))
        || seeded_status(machine, "OSState").is_some_and(|state| state == "generalized")
}

fn seeded_status(machine: &Resource, group: &str) -> Option<String> {
    let statuses = machine.property("instanceView")["statuses"].as_array()?;
    let codes = statuses.iter().filter_map(|status| status["code"].as_str()?.split_once('/'));
    codes.filter(|(name, _)| name.eq_ignore_ascii_case(group)).map(|(_, state)| state.to_lowercase()).next_back()
}

/// The machine's generation: as it was seeded, else by what it was made from.
pub fn generation(machine: &Resource) -> String {
    let seeded = machine.property("instanceView")["hyperVGeneration"].as_str();
    let secure = machine.property("securityProfile")["securityType"].as_str().is_some_and(|security| security != "Standard");
    let image = &machine.property("storageProfile")["imageReference"];
    let text = |part: &str| image[part].as_str().unwrap_or_default().to_lowercase();
    seeded.unwrap_or(if secure || is_second_generation(&text("offer"), &text("sku")) { "V2" } else { "V1" }).to_owned()
}

/// Marketplace images tell their generation by the SKU; newer offers have the second without saying so.
fn is_second_generation(offer: &str, sku: &str) -> bool {
    let marked = ["-g2", "gen2"].iter().any(|mark| sku.contains(mark));
    let newer = ["ubuntu-24_04", "windows-11", "windowsserver2025"].iter().any(|known| offer.contains(known)) || sku.starts_with("2025-");
    marked || (newer && !sku.contains("gen1"))
}

fn instance_view(machine: &Resource) -> Value {
    json!({
        "computerName": machine.property("osProfile")["computerName"],
        "hyperVGeneration": generation(machine),
        "statuses": statuses(machine),
        "disks": [{"name": machine.property("storageProfile")["osDisk"]["name"], "statuses": [
            {"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded"}]}],
    })
}

/// Sets the power state of a machine, and of the lab machine that it belongs to.
pub fn set_power(world: &World, id: &str, power: &str) {
    world.store.update(id, |machine| machine.hide("power", power));
}

/// Marks a machine as generalized.
pub fn set_generalized(world: &World, id: &str) {
    world.store.update(id, |machine| machine.hide("generalized", true));
}

fn generalize(world: &World, target: &Target) -> Result<Reply, ApiError> {
    let machine = machine(world, target)?;
    if power_state(&machine) == "running" {
        let message = format!("Operation 'generalize' is not allowed on VM '{}' since the VM is not stopped.", machine.name());
        return Err(ApiError::conflict("OperationNotAllowed", message));
    }
    set_generalized(world, &machine.key);
    set_lab_machine(world, &machine, "Stopped", true);
    Ok(Reply::empty(200))
}

fn power(world: &Arc<World>, call: &Call<'_>, target: &Target, power: &'static str, work: Work) -> Result<Reply, ApiError> {
    parse_object(&call.request.body)?;
    let machine = machine(world, target)?;
    if power == "running" && is_generalized(&machine) {
        let message = format!("Operation 'start' is not allowed on VM '{}' since the VM is generalized.", machine.name());
        return Err(ApiError::conflict("OperationNotAllowed", message));
    }
    let operation = world.begin();
    let (world, ending) = (world.clone(), operation.clone());
    world.clone().spawn(async move {
        world.work(work).await;
        let _gate = world.gate();
        set_power(&world, &machine.key, power);
        set_lab_machine(&world, &machine, if power == "running" { "Running" } else { "Stopped" }, false);
        ending.finish(Ok(()));
    });
    Ok(router::operation_accepted(call, &target.subscription, "Microsoft.Compute", &operation))
}

fn set_lab_machine(world: &World, compute: &Resource, power: &str, generalized: bool) {
    let owner = compute.hidden("labMachine");
    world.settle(owner, |machine| {
        machine.set("lastKnownPowerState", power);
        if generalized {
            machine.hide("generalized", true);
        }
    });
}
