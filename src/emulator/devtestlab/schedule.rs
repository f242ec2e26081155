//! Schedules of labs, machines and compute machines: which apply to a machine, and what running one does. The clock runs none of them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Acted, lab,
    plain::{Making, ended, invalid, missing},
    virtual_machine_actions,
};
use crate::emulator::{
    clock::dtl_date, compute, error::ApiError, id::Id, operation::Operation, settings::Work, store::Resource, world::World,
};

const STOP_ALL: &str = "LabVmsShutdownTask";
const START_ALL: &str = "LabVmsStartupTask";
const STOP_COMPUTE: &str = "ComputeVmShutdownTask";

/// A schedule has a task, and times of the form `HHmm`.
pub fn prepare(making: &mut Making<'_>) -> Result<(), ApiError> {
    making.given.remove("createdDate");
    let now = dtl_date(making.world.clock.now());
    making.default("createdDate", now);
    making.default("status", "Enabled");
    making.default("timeZoneId", "UTC");
    making.require("taskType")?;
    for name in ["dailyRecurrence", "weeklyRecurrence"] {
        let Some(time) = making.given.get(name).and_then(|recurrence| recurrence["time"].as_str()) else { continue };
        let good = time.len() == 4
            && time.parse::<u16>().is_ok_and(|time| time / 100 < 24 && time % 100 < 60)
            && time.bytes().all(|byte| byte.is_ascii_digit());
        if !good {
            return Err(invalid(&format!("{name}.time"), time, "a time such as '1900'"));
        }
    }
    if let Some(minute) =
        making.given.get("hourlyRecurrence").and_then(|recurrence| recurrence["minute"].as_u64()).filter(|minute| *minute > 59)
    {
        return Err(invalid("hourlyRecurrence.minute", &minute.to_string(), "from 0 to 59"));
    }
    if !matches!(making.text("status"), "Enabled" | "Disabled") {
        return Err(invalid("status", making.text("status"), "'Enabled' or 'Disabled'"));
    }
    if let Some(parent) = making.put.id.parent().filter(|parent| parent.pairs.len() > 1) {
        let target = parent.key();
        making.default("targetResourceId", target);
    }
    Ok(())
}

/// POST to a schedule.
pub fn act(world: &Arc<World>, id: &Id, schedule: &Resource, action: &str, body: &Value) -> Result<Acted, ApiError> {
    match action {
        "execute" => execute(world, id, schedule).map(Acted::Started),
        "retarget" if id.pairs.len() == 1 => retarget(world, schedule, body).map(Acted::Started),
        "listapplicable" if id.is("Microsoft.DevTestLab/labs/schedules") => {
            let applicable: Vec<Value> =
                with_task(world, &id.ancestor(1), schedule.text("taskType")).iter().map(|one| one.body.clone()).collect();
            Ok(Acted::Answer(json!({"value": applicable})))
        }
        _ => Ok(Acted::Unknown),
    }
}

/// The lab's and its machines' schedules with a task.
fn with_task(world: &World, lab: &Id, task: &str) -> Vec<Arc<Resource>> {
    let is = |found: &Arc<Resource>| {
        matches!(found.type_name.as_str(), "Microsoft.DevTestLab/labs/schedules" | "Microsoft.DevTestLab/labs/virtualMachines/schedules")
            && found.text("taskType").eq_ignore_ascii_case(task)
    };
    world.store.below(&format!("{}/", lab.key())).into_iter().filter(is).collect()
}

/// The schedules that apply to a machine or cluster: its own before the lab's.
pub fn applicable(world: &World, id: &Id, location: &str) -> Value {
    let of = |collection: String, task: &str| {
        let found = world.store.members(&collection);
        found.into_iter().find(|one| one.text("taskType").eq_ignore_ascii_case(task)).map(|one| one.body.clone())
    };
    let mut properties = json!({});
    for (name, task) in [("labVmsShutdown", STOP_ALL), ("labVmsStartup", START_ALL)] {
        let own = of(format!("{}/schedules", id.key()), task);
        if let Some(schedule) = own.or_else(|| of(format!("{}/schedules", id.ancestor(1).key()), task)) {
            properties[name] = schedule;
        }
    }
    json!({"location": location, "properties": properties})
}

/// Does now what the schedule would do in its time.
fn execute(world: &Arc<World>, id: &Id, schedule: &Resource) -> Result<Arc<Operation>, ApiError> {
    let action = match schedule.text("taskType") {
        task if task.eq_ignore_ascii_case(STOP_ALL) => "stop",
        task if task.eq_ignore_ascii_case(START_ALL) => "start",
        task if task.eq_ignore_ascii_case(STOP_COMPUTE) => return stop_compute(world, schedule),
        task => return Err(invalid("taskType", task, &format!("'{STOP_ALL}', '{START_ALL}' or '{STOP_COMPUTE}'"))),
    };
    let lab_id = id.ancestor(1);
    let machines = match id.parent().filter(|parent| parent.is("Microsoft.DevTestLab/labs/virtualMachines")) {
        Some(machine) => world.store.get(&machine.key()).into_iter().collect(),
        None => world.store.members(&format!("{}/virtualmachines", lab_id.key())),
    };
    let power = if action == "stop" { "Running" } else { "Stopped" };
    let ready = machines.iter().filter(|machine| machine.state() == "Succeeded" && machine.text("lastKnownPowerState") == power);
    let operations = ready.filter_map(|machine| {
        let id = Id::parse(&machine.key)?;
        // A machine that cannot be switched now, such as a generalized one, is passed over.
        virtual_machine_actions::switch(world, &id, machine, action).ok()
    });
    Ok(lab::all_of(world, operations.collect()))
}

fn stop_compute(world: &Arc<World>, schedule: &Resource) -> Result<Arc<Operation>, ApiError> {
    let target = schedule.text("targetResourceId").to_owned();
    let machine = world
        .store
        .get(&target)
        .ok_or_else(|| ApiError::bad_request("TargetResourceNotFound", format!("The target '{target}' of the schedule was not found.")))?;
    let operation = world.begin();
    let (world, ending) = (world.clone(), operation.clone());
    world.clone().spawn(async move {
        world.work(Work::Stop).await;
        let _gate = world.gate();
        compute::set_power(&world, &machine.key, "deallocated");
        ending.finish(Ok(()));
    });
    Ok(operation)
}

fn retarget(world: &World, schedule: &Resource, body: &Value) -> Result<Arc<Operation>, ApiError> {
    let current = body["currentResourceId"].as_str().ok_or_else(|| missing("currentResourceId"))?;
    let target = body["targetResourceId"].as_str().ok_or_else(|| missing("targetResourceId"))?;
    if !schedule.text("targetResourceId").eq_ignore_ascii_case(current) {
        return Err(invalid("currentResourceId", current, "the schedule's target"));
    }
    world.settle(&schedule.key, |schedule| schedule.set("targetResourceId", target));
    Ok(ended(world))
}
