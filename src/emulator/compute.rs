//! Microsoft.Compute: virtual machines and their power, disks, images, galleries; everything else of the provider is kept as it is given.

mod catalog;
pub mod disk;
mod gallery;
mod image;
pub mod lab;
mod machine;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    error::ApiError,
    http::{Reply, parse_object},
    id::Id,
    page,
    provision::{self, Applied, Put},
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
    if let Some(answer) = catalog::serve(world, call, target)? {
        return Ok(answer);
    }
    match (call.method(), target.kinds().as_str(), target.rest.len()) {
        ("PUT", "images", 2) => put_image(world, call, target),
        // A set that is new is answered like one that was there.
        ("PUT", "availabilitysets", 2) => generic::serve(world, call, target).map(|reply| Reply { status: 200, ..reply }),
        ("GET", "virtualmachines", 2) => get(world, call, target),
        ("GET", "virtualmachines" | "disks" | "snapshots", 1) => list(world, call, target, None),
        ("GET", "locations/virtualmachines", 3) if target.group.is_none() => list(world, call, target, Some(&target.rest[1])),
        ("PUT" | "PATCH", "virtualmachines", 2) | ("PUT" | "PATCH", "virtualmachines/extensions", 4) => put_slowly(world, call, target),
        ("DELETE", "virtualmachines", 2) => {
            let id = id_of(target);
            let Some(found) = world.store.get(&id.key()) else { return Ok(Reply::empty(204)) };
            let operation = machine::delete(world, &found);
            Ok(router::operation_accepted(world, call, &found, &operation))
        }
        ("GET", "virtualmachines/vmsizes" | "availabilitysets/vmsizes", 3) => {
            let id = generic::id_of(target);
            world.store.get(&id.key()).ok_or_else(|| generic::not_found(&id))?;
            page::values(world, call, catalog::sizes())
        }
        ("POST", "virtualmachines/redeploy" | "virtualmachines/performmaintenance" | "virtualmachines/reimage", 3) => {
            power(world, call, target, "running", Work::Start)
        }
        ("POST", "virtualmachines/capture" | "virtualmachines/converttomanageddisks", 3) => Err(unmanaged_only(&*machine(world, target)?)),
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
    provision::check(world, put)?;
    if gallery::has(put.id) {
        return gallery::put(world, put);
    }
    if disk::has(put.id) {
        return disk::put(world, put);
    }
    if image::has(put.id) {
        return image::put(world, put);
    }
    if machine::has(put.id) {
        return machine::put(world, put);
    }
    if machine::has_extension(put.id) {
        return machine::put_extension(world, put);
    }
    generic::put(world, put)
}

/// Machines and extensions take their time; PATCH is a PUT of what it changes.
fn put_slowly(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let id = generic::id_of(target);
    let mut body = parse_object(&call.request.body)?;
    if call.method() == "PATCH" {
        let found = world.store.get(&id.key()).ok_or_else(|| generic::not_found(&id))?;
        for part in ["location", "tags", "plan", "identity", "zones"] {
            if body[part].is_null() && !found.body[part].is_null() {
                body[part] = found.body[part].clone();
            }
        }
        if machine::has_extension(&id) {
            let mut properties = found.body["properties"].as_object().cloned().unwrap_or_default();
            properties.extend(body["properties"].as_object().cloned().unwrap_or_default());
            body["properties"] = properties.into();
        }
    }
    if body["location"].as_str().unwrap_or_default().is_empty() && id.pairs.len() == 1 {
        return Err(ApiError::bad_request("LocationRequired", "The location property is required for this definition."));
    }
    let applied = put(world, &Put { caller: &call.caller, id: &id, body: &body, duration: None })?;
    let mut reply = applied.reply();
    if let Some(operation) = &applied.operation {
        let headers = router::operation_accepted(world, call, &applied.resource, operation).headers;
        reply.headers.extend(headers.into_iter().filter(|(name, _)| name == "Azure-AsyncOperation"));
    }
    Ok(reply)
}

fn list(world: &World, call: &Call<'_>, target: &Target, location: Option<&str>) -> Result<Reply, ApiError> {
    let kind = if location.is_some() { "virtualMachines" } else { &target.rest[0] };
    let items = match &target.group {
        None => world.store.of_type(&target.subscription, &format!("Microsoft.Compute/{kind}")),
        Some(_) => world.store.members(&format!("{}/providers/Microsoft.Compute/{kind}", target.scope())),
    };
    let plain = |text: &str| text.to_ascii_lowercase().replace(' ', "");
    let items: Vec<_> = items.into_iter().filter(|one| location.is_none_or(|location| plain(one.location()) == plain(location))).collect();
    let status = call.request.parameter("statusOnly").is_some_and(|status| status.eq_ignore_ascii_case("true"));
    page::list(world, call, &items, |one| match one.type_name.as_str() {
        MACHINES => {
            let mut body = one.body.clone();
            if status {
                body["properties"]["instanceView"] = instance_view(one);
            }
            body
        }
        _ => disk::shown(world, one),
    })
}

/// These two are for machines whose disks lie in storage accounts, of which there are none any more.
fn unmanaged_only(machine: &Resource) -> ApiError {
    let message = format!("The operation is not supported for the virtual machine '{}': its disks are managed.", machine.name());
    ApiError::conflict("OperationNotAllowed", message)
}

/// The operating system of what a machine is made from.
pub fn image_os(source: Option<&Resource>, reference: &Value, profile: &Value) -> String {
    let of_source = source.and_then(|source| {
        let disk = source.property("storageProfile")["osDisk"]["osType"].as_str();
        disk.or_else(|| source.property("osType").as_str()).map(str::to_owned)
    });
    let windows = profile["windowsConfiguration"].is_object()
        || ["publisher", "offer"]
            .iter()
            .any(|part| reference[*part].as_str().is_some_and(|text| text.to_ascii_lowercase().contains("windows")));
    of_source.unwrap_or_else(|| if windows { "Windows".into() } else { "Linux".into() })
}

fn put_image(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let id = Id { scope: target.scope(), namespace: "Microsoft.Compute".into(), pairs: vec![("images".into(), target.rest[1].clone())] };
    let body = parse_object(&call.request.body)?;
    let applied = put(world, &Put { caller: &call.caller, id: &id, body: &body, duration: None })?;
    Ok(gallery::accepted(world, call, &applied))
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
    let mut view = json!({"hyperVGeneration": generation(machine), "statuses": statuses(machine)});
    if let Some(name) = machine.property("osProfile")["computerName"].as_str() {
        view["computerName"] = json!(name);
    }
    if let Some(name) = machine.property("storageProfile")["osDisk"]["name"].as_str() {
        let done = json!({"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded"});
        view["disks"] = json!([{"name": name, "statuses": [done]}]);
    }
    view
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
    machine::check_steady(&machine)?;
    if power == "running" && is_generalized(&machine) {
        let message = format!("Operation 'start' is not allowed on VM '{}' since the VM is generalized.", machine.name());
        return Err(ApiError::conflict("OperationNotAllowed", message));
    }
    let operation = world.begin();
    let reply = router::operation_accepted(world, call, &machine, &operation);
    let world = world.clone();
    world.clone().spawn(async move {
        world.work(work).await;
        let _gate = world.gate();
        set_power(&world, &machine.key, power);
        set_lab_machine(&world, &machine, if power == "running" { "Running" } else { "Stopped" }, false);
        operation.finish(Ok(()));
    });
    Ok(reply)
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
