//! What can be done to a lab virtual machine: start, stop, artifacts, claims, disks.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Acted, artifact, disk, not_in_valid_state, plain, policy, schedule, virtual_machine::check_not_busy};
use crate::emulator::{
    compute,
    error::ApiError,
    id::Id,
    identity::Caller,
    operation::Operation,
    settings::Work,
    store::Resource,
    world::{Call, World},
};

/// POST to a machine.
pub fn act(world: &Arc<World>, call: &Call<'_>, id: &Id, machine: &Resource, action: &str, body: &Value) -> Result<Acted, ApiError> {
    match action {
        "listapplicableschedules" => return Ok(Acted::Answer(schedule::applicable(world, id, machine.location()))),
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
        "claim" => claim(world, id, machine, &call.caller)?,
        "unclaim" => unclaim(world, machine)?,
        "adddatadisk" => disk::add(world, id, machine, &call.caller.object_id, body)?,
        "detachdatadisk" => disk::take_off(world, id, machine, body)?,
        _ => disk::transfer(world, id, machine, &call.caller.object_id)?,
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

/// Starts or stops a machine, as its schedules do.
pub fn switch(world: &Arc<World>, id: &Id, machine: &Resource, action: &str) -> Result<Arc<Operation>, ApiError> {
    check_not_busy(id, machine)?;
    power(world, id, machine, if action == "start" { &Power::START } else { &Power::STOP })
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

/// Only what is claimable can be claimed, and only as far as the lab's policies allow.
pub fn claim(world: &World, id: &Id, machine: &Resource, caller: &Caller) -> Result<Arc<Operation>, ApiError> {
    if machine.property("allowClaim") != &Value::Bool(true) {
        let message = format!("The virtual machine '{}' is not claimable.", machine.name());
        return Err(ApiError::conflict("VirtualMachineNotClaimable", message));
    }
    let lab = super::require_lab(world, id)?;
    policy::check_claim(world, &lab, &caller.object_id)?;
    world.settle(&machine.key, |machine| {
        machine.set("ownerObjectId", caller.object_id.clone());
        machine.set("allowClaim", false);
    });
    Ok(plain::ended(world))
}

fn unclaim(world: &World, machine: &Resource) -> Result<Arc<Operation>, ApiError> {
    if machine.property("allowClaim") == &Value::Bool(true) {
        let message = format!("The virtual machine '{}' is not claimed by anybody.", machine.name());
        return Err(ApiError::conflict("VirtualMachineNotClaimed", message));
    }
    world.settle(&machine.key, |machine| {
        machine.set("ownerObjectId", "");
        machine.set("allowClaim", true);
    });
    Ok(plain::ended(world))
}

fn rdp_file(machine: &Resource) -> Result<Value, ApiError> {
    if machine.text("osType") != "Windows" {
        return Err(ApiError::conflict("OperationNotAllowed", "Only a Windows virtual machine has an RDP file."));
    }
    Ok(json!({"contents": format!("full address:s:{}:3389\r\nprompt for credentials:i:1\r\n", machine.text("fqdn"))}))
}
