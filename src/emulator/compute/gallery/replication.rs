//! Replication of a version: its own region first, then the others one after another, each over the time that a region takes.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::normalized;
use crate::emulator::{
    error::ApiError,
    ledger,
    operation::{Operation, State},
    resources::region_name,
    settings::Work,
    store::Resource,
    world::World,
};

/// The steps in which progress is shown while a region is filled.
const STEPS: u32 = 20;
/// How much quicker a shallow version is, which copies nothing.
const SHALLOW: u32 = 20;

/// `replicationStatus` of a version.
pub fn status(version: &Resource) -> Value {
    let regions = version.private.get("replication").and_then(Value::as_array).cloned().unwrap_or_default();
    let all = |state: &str| regions.iter().all(|region| region["state"] == json!(state));
    let any = |state: &str| regions.iter().any(|region| region["state"] == json!(state));
    let aggregated = if any("Failed") {
        "Failed"
    } else if regions.is_empty() {
        "Unknown"
    } else if all("Completed") {
        "Completed"
    } else {
        "InProgress"
    };
    json!({"aggregatedState": aggregated, "summary": regions})
}

/// The entries for target regions: those that are filled already stay so, the version's own region comes first.
pub fn entries(targets: &Value, location: &str, before: &Value) -> Vec<Value> {
    let known = |name: &str| {
        before.as_array().into_iter().flatten().find(|entry| same(entry["region"].as_str().unwrap_or_default(), name)).cloned()
    };
    let names = targets.as_array().into_iter().flatten().filter_map(|target| target["name"].as_str());
    let mut entries: Vec<Value> = names
        .map(|name| {
            let completed = known(name).filter(|entry| entry["state"] == json!("Completed"));
            completed.unwrap_or_else(|| json!({"region": region_name(name), "state": "Replicating", "progress": 0, "details": ""}))
        })
        .collect();
    entries.sort_by_key(|entry| !same(entry["region"].as_str().unwrap_or_default(), location));
    entries
}

fn same(one: &str, other: &str) -> bool {
    normalized(one) == normalized(other)
}

/// Fills the regions, then ends the operation.
pub async fn run(world: Arc<World>, key: Arc<str>, operation: Arc<Operation>) {
    let Some(version) = world.store.get(&key) else { return operation.end(State::Canceled) };
    let shallow =
        version.property("publishingProfile")["replicationMode"].as_str().is_some_and(|mode| mode.eq_ignore_ascii_case("Shallow"));
    let regions = version.private.get("replication").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut failure: Option<(String, ApiError)> = None;
    for (index, region) in regions.iter().enumerate().filter(|(_, region)| region["state"] != json!("Completed")) {
        let duration = world.settings().duration(Work::GalleryRegion) / if shallow { SHALLOW } else { 1 };
        if !fill(&world, &key, index, duration).await {
            return operation.end(State::Canceled);
        }
        let name = normalized(region["region"].as_str().unwrap_or_default());
        // A fault may be meant for one region (`…/versions/1.0.0/regions/eastus`) or for the version.
        let outcome = world.provisioning(&format!("{key}/regions/{name}"), Duration::ZERO).await;
        let details = outcome.as_ref().map_or(String::new(), |outcome| outcome.error.message.clone());
        let state = if outcome.is_some() { "Failed" } else { "Completed" };
        set(&world, &key, index, |entry| {
            *entry = json!({"region": region["region"], "state": state, "progress": if state == "Completed" { 100 } else { 0 }, "details": details});
        });
        if let Some(outcome) = outcome {
            failure.get_or_insert((outcome.state, outcome.error));
            if index == 0 {
                break;
            }
        }
    }
    let outcome = world.provisioning(&key, Duration::ZERO).await;
    let failure = failure.or_else(|| outcome.map(|outcome| (outcome.state, outcome.error)));
    let _gate = world.gate();
    let state = failure.as_ref().map_or("Succeeded", |(state, _)| state.as_str());
    match world.settle(&key, |version| version.set_state(state)) {
        Some(_) => operation.finish(failure.map_or(Ok(()), |(_, error)| Err(error))),
        None => operation.end(State::Canceled),
    }
}

/// Lets a region's progress grow; false when the version is gone meanwhile.
async fn fill(world: &World, key: &str, index: usize, duration: Duration) -> bool {
    for step in 1..=STEPS {
        ledger::pause(duration / STEPS).await;
        let percent = 100 * step / STEPS;
        if !set(world, key, index, |entry| entry["progress"] = json!(percent.min(99))) {
            return false;
        }
    }
    true
}

fn set(world: &World, key: &str, index: usize, change: impl FnOnce(&mut Value)) -> bool {
    let updated = world.store.update(key, |version| {
        if let Some(entry) = version.private.get_mut("replication").and_then(|entries| entries.get_mut(index)) {
            change(entry);
        }
    });
    updated.is_some_and(|version| version.state() != "Deleting")
}
