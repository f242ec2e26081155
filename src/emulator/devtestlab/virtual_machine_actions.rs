//! What can be done to a lab virtual machine: start, stop, artifacts, claims, disks.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Acted, artifact, not_in_valid_state, virtual_machine::check_not_busy};
use crate::emulator::{
    compute,
    error::ApiError,
    id::Id,
    operation::Operation,
    settings::Work,
    store::Resource,
    world::{Call, World},
};

/// POST to a machine.
pub fn act(world: &Arc<World>, call: &Call<'_>, id: &Id, machine: &Resource, action: &str, body: &Value) -> Result<Acted, ApiError> {
    match action {
        "listapplicableschedules" => return Ok(Acted::Answer(json!({}))),
        "getrdpfilecontents" => return rdp_file(machine).map(Acted::Answer),
        _ => {}
    }
    let known = [
        "start",
        "stop",
        "restart",
        "redeploy",
        "resize",
        "applyartifacts",
        "claim",
        "unclaim",
        "adddatadisk",
        "detachdatadisk",
        "transferdisks",
    ];
    if !known.contains(&action) {
        return Ok(Acted::Unknown);
    }
    check_not_busy(id, machine)?;
    if machine.state() != "Succeeded" {
        return Err(not_in_valid_state(id, machine.state()));
    }
    let operation = match action {
        "start" => power(world, id, machine, &Power::START)?,
        "stop" => power(world, id, machine, &Power::STOP)?,
        "restart" | "redeploy" => power(world, id, machine, &Power::RESTART)?,
        "resize" => resize(world, id, machine, body)?,
        "applyartifacts" => apply_artifacts(world, id, machine, body)?,
        "unclaim" => own(world, machine, "", true),
        "adddatadisk" => add_disk(world, machine, body)?,
        "detachdatadisk" => detach_disk(world, machine, body)?,
        _ => own(world, machine, &call.caller.object_id, false),
    };
    Ok(Acted::Started(operation))
}

/// A change of the power state.
struct Power {
    word: &'static str,
    during: &'static str,
    after: &'static str,
    compute: &'static str,
    work: Work,
}

impl Power {
    const START: Self = Self { word: "start", during: "Starting", after: "Running", compute: "running", work: Work::Start };
    const STOP: Self = Self { word: "stop", during: "Stopping", after: "Stopped", compute: "deallocated", work: Work::Stop };
    const RESTART: Self = Self { word: "restart", during: "Restarting", after: "Running", compute: "running", work: Work::Start };
}

fn power(world: &Arc<World>, id: &Id, machine: &Resource, power: &'static Power) -> Result<Arc<Operation>, ApiError> {
    if power.after == "Running" {
        check_not_generalized(machine, power.word)?;
    }
    if power.word == "restart" && machine.text("lastKnownPowerState") != "Running" {
        let message = format!("The virtual machine '{}' cannot be restarted: it is not running.", machine.name());
        return Err(ApiError::conflict("LabVirtualMachineNotRunning", message));
    }
    let there_already = power.word != "restart" && machine.text("lastKnownPowerState") == power.after;
    let operation = world.begin();
    if there_already {
        operation.finish(Ok(()));
        return Ok(operation);
    }
    world.store.update(&machine.key, |machine| {
        machine.set_state(power.during);
        machine.set("lastKnownPowerState", power.during);
    });
    let (world, id, ending) = (world.clone(), id.clone(), operation.clone());
    world.clone().spawn(async move {
        let duration = world.settings().duration(power.work);
        let outcome = world.provisioning(&format!("{}/{}", id.key(), power.word), duration).await;
        let _gate = world.gate();
        let Some(machine) = world.store.get(&id.key()).filter(|machine| machine.state() == power.during) else {
            ending.end(crate::emulator::operation::State::Canceled);
            return;
        };
        if let Some(outcome) = outcome {
            let before = if power.word == "start" { "Stopped" } else { "Running" };
            world.settle(&id.key(), |machine| {
                machine.set_state("Succeeded");
                machine.set("lastKnownPowerState", before);
            });
            ending.finish(Err(outcome.error));
            return;
        }
        compute::set_power(&world, machine.text("computeId"), power.compute);
        world.settle(&id.key(), |machine| {
            machine.set_state("Succeeded");
            machine.set("lastKnownPowerState", power.after);
        });
        ending.finish(Ok(()));
    });
    Ok(operation)
}

/// A machine that sysprep or deprovision went over never runs again.
pub fn check_not_generalized(machine: &Resource, word: &str) -> Result<(), ApiError> {
    if machine.private.get("generalized") != Some(&Value::Bool(true)) {
        return Ok(());
    }
    let message = format!("Operation '{word}' is not allowed on VM '{}' since the VM is generalized.", machine.name());
    Err(ApiError::conflict("OperationNotAllowed", message))
}

fn resize(world: &Arc<World>, id: &Id, machine: &Resource, body: &Value) -> Result<Arc<Operation>, ApiError> {
    let size = body["size"].as_str().filter(|size| !size.is_empty());
    let size = size.ok_or_else(|| ApiError::bad_request("MissingRequiredProperty", "The property 'size' is required."))?.to_owned();
    let operation = world.begin();
    world.store.update(&machine.key, |machine| machine.set_state("Updating"));
    let (world, id, ending) = (world.clone(), id.clone(), operation.clone());
    world.clone().spawn(async move {
        world.work(Work::Start).await;
        let _gate = world.gate();
        let resized = world.settle(&id.key(), |machine| {
            machine.set("size", size.clone());
            machine.set_state("Succeeded");
        });
        if let Some(machine) = resized {
            world.store.update(machine.text("computeId"), |compute| compute.body["properties"]["hardwareProfile"]["vmSize"] = json!(size));
        }
        ending.finish(Ok(()));
    });
    Ok(operation)
}

fn apply_artifacts(world: &Arc<World>, id: &Id, machine: &Resource, body: &Value) -> Result<Arc<Operation>, ApiError> {
    check_not_generalized(machine, "applyArtifacts")?;
    if machine.text("lastKnownPowerState") != "Running" {
        let message = format!("Artifacts cannot be applied to the virtual machine '{}': it is not running.", machine.name());
        return Err(ApiError::conflict("LabVirtualMachineNotRunning", message));
    }
    let lab = super::require_lab(world, id)?;
    let artifacts = artifact::resolve(world, &lab, &body["artifacts"], machine.text("osType"))?;
    if artifacts.is_empty() {
        return Err(ApiError::bad_request("MissingRequiredProperty", "The property 'artifacts' must name at least one artifact."));
    }
    world.store.update(&machine.key, |machine| {
        let mut all = machine.property("artifacts").as_array().cloned().unwrap_or_default();
        all.extend(artifacts);
        let applied = all.iter().filter(|artifact| artifact["status"] == "Succeeded").count();
        machine.set("artifactDeploymentStatus", json!({"artifactsApplied": applied, "totalArtifacts": all.len()}));
        machine.set("artifacts", all);
        machine.set_state("ApplyingArtifacts");
    });
    let operation = world.begin();
    let (world, id, ending) = (world.clone(), id.clone(), operation.clone());
    world.clone().spawn(async move { ending.finish(artifact::apply_pending(&world, &id).await) });
    Ok(operation)
}

fn own(world: &World, machine: &Resource, owner: &str, claimable: bool) -> Arc<Operation> {
    world.settle(&machine.key, |machine| {
        machine.set("ownerObjectId", owner);
        machine.set("allowClaim", claimable);
    });
    let operation = world.begin();
    operation.finish(Ok(()));
    operation
}

fn add_disk(world: &World, machine: &Resource, body: &Value) -> Result<Arc<Operation>, ApiError> {
    let options = &body["attachNewDataDiskOptions"];
    let existing = body["existingLabDiskId"].as_str().unwrap_or_default();
    if options["diskName"].as_str().unwrap_or_default().is_empty() && existing.is_empty() {
        return Err(ApiError::bad_request(
            "MissingRequiredProperty",
            "One of the properties 'attachNewDataDiskOptions' and 'existingLabDiskId' must be specified.",
        ));
    }
    world.settle(&machine.key, |machine| {
        let mut disks = machine.property("dataDiskParameters").as_array().cloned().unwrap_or_default();
        disks.push(body.clone());
        machine.set("dataDiskParameters", disks);
    });
    let operation = world.begin();
    operation.finish(Ok(()));
    Ok(operation)
}

fn detach_disk(world: &World, machine: &Resource, body: &Value) -> Result<Arc<Operation>, ApiError> {
    let id = body["existingLabDiskId"].as_str().filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| ApiError::bad_request("MissingRequiredProperty", "The property 'existingLabDiskId' is required."))?;
    world.settle(&machine.key, |machine| {
        let mut disks = machine.property("dataDiskParameters").as_array().cloned().unwrap_or_default();
        disks.retain(|disk| disk["existingLabDiskId"].as_str().is_none_or(|known| !known.eq_ignore_ascii_case(id)));
        machine.set("dataDiskParameters", disks);
    });
    let operation = world.begin();
    operation.finish(Ok(()));
    Ok(operation)
}

fn rdp_file(machine: &Resource) -> Result<Value, ApiError> {
    if machine.text("osType") != "Windows" {
        return Err(ApiError::conflict("OperationNotAllowed", "Only a Windows virtual machine has an RDP file."));
    }
    Ok(json!({"contents": format!("full address:s:{}:3389\r\nprompt for credentials:i:1\r\n", machine.text("fqdn"))}))
}
