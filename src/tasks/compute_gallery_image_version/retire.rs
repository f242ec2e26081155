//! Retires old versions: by a rule that deletes nothing that is newest, latest, in use, blocked or being worked on.

use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::Value;

use crate::{
    agent::{Agent, Sensitivity},
    arm::{Request, ResourceId},
    compute::{
        COMPUTE, GALLERY,
        gallery::soft_delete_days,
        retention::{self, Decision, Machine},
    },
    tasks::{
        error::{Error, Problems},
        gallery::{self, GallerySession},
        session::{Done, Undertaking},
    },
};

/// What is to be retired.
pub struct Retirement {
    keep: u64,
    dry_run: bool,
}

/// How many deletions go on at the same time.
const AT_ONCE: usize = 5;

/// Reads the inputs.
pub fn read(agent: &Agent, problems: &mut Problems) -> Option<Retirement> {
    let keep = problems.take(agent.number_input("KeepVersions", 1..=10_000))?;
    if keep.is_none() {
        problems.add("input 'KeepVersions' is required: give the number of versions that stay, from 1 to 10000");
    }
    Some(Retirement { keep: keep?, dry_run: agent.boolean_input("DryRun") })
}

/// Retires.
pub async fn run(session: &GallerySession<'_>, definition: &ResourceId, retirement: &Retirement) -> Result<Done, Error> {
    let agent = session.agent;
    gallery::definition(session, definition).await?;
    let soft_delete = match definition.parent() {
        Some(parent) => gallery::find(session, &parent).await?.as_ref().and_then(soft_delete_days),
        None => None,
    };
    let machines = machines(session, definition).await?;
    let versions = gallery::versions(session, definition).await?;
    let known = retention::read(&versions, |id| retention::users(id, &machines));
    let keep = usize::try_from(retirement.keep).unwrap_or(usize::MAX);
    let decisions = retention::decide(&known, keep, agent.host().now());
    let gone: Vec<&Decision> = decisions.iter().filter(|decision| decision.kept.is_none()).collect();

    agent.group(&format!("Versions of '{}': {} stay, {} go", definition.name(), decisions.len() - gone.len(), gone.len()));
    for Decision { number, kept } in &decisions {
        agent.info(&kept.as_ref().map_or_else(|| format!("{number} goes"), |reason| format!("{number} stays: {reason}")));
    }
    agent.end_group();
    if let Some(days) = soft_delete.filter(|_| !gone.is_empty()) {
        agent.info(&format!("The gallery has soft delete: what goes can be brought back for {days} days."));
    }

    let failures = if retirement.dry_run {
        Vec::new()
    } else {
        delete(session, definition, gone.iter().map(|decision| decision.number.to_string()).collect()).await
    };
    let failed = |decision: &Decision| failures.iter().any(|(number, _)| *number == decision.number.to_string());
    let deleted: Vec<String> = gone.iter().filter(|decision| !failed(decision)).map(|decision| decision.number.to_string()).collect();
    let kept: Vec<String> = decisions
        .iter()
        .filter(|decision| decision.kept.is_some() || failed(decision))
        .map(|decision| decision.number.to_string())
        .collect();
    agent.set_output("deletedVersions", &deleted.join(","), Sensitivity::Public);
    agent.set_output("keptVersions", &kept.join(","), Sensitivity::Public);
    let verb = if retirement.dry_run { "would go" } else { "went" };
    session.summarize(
        format!("Versions of '{}'", definition.name()),
        decisions
            .iter()
            .map(|Decision { number, kept }| {
                (number.to_string(), kept.as_ref().map_or_else(|| verb.to_owned(), |reason| format!("stays: {reason}")))
            })
            .collect(),
        &[("Image definition in the portal", definition.as_str())],
    );
    if let Some((number, error)) = failures.into_iter().next() {
        agent.error(&format!("the image version '{number}' could not be deleted; those named above as done are gone"));
        return Err(error);
    }
    let message = match (retirement.dry_run, deleted.len()) {
        (_, 0) => format!("No version of '{}' is to be retired.", definition.name()),
        (true, _) => format!("Of '{}' these versions would be retired: {}. This was a dry run.", definition.name(), deleted.join(", ")),
        (false, _) => format!("Of '{}' these versions are retired: {}.", definition.name(), deleted.join(", ")),
    };
    agent.info(&message);
    Ok(Done::succeeded(message))
}

/// All machines and scale sets of the gallery's subscription: what uses a version is not deleted.
async fn machines(session: &GallerySession<'_>, definition: &ResourceId) -> Result<Vec<Machine>, Error> {
    let mut all = Vec::new();
    for kind in ["virtualMachines", "virtualMachineScaleSets"] {
        let path = format!("/subscriptions/{}/providers/Microsoft.Compute/{kind}", definition.subscription_id());
        let action = format!("list the subscription's {kind}, which may use versions");
        let mut each = |machine: Value| all.extend(Machine::read(&machine));
        session.list_each(action, Request::get(path, COMPUTE), &mut each).await?;
    }
    Ok(all)
}

/// Deletes; returns what could not be deleted.
async fn delete(session: &GallerySession<'_>, definition: &ResourceId, gone: Vec<String>) -> Vec<(String, Error)> {
    let delete_one = |number: String| async move {
        let id = definition.child("versions", &number).map_err(|error| (number.clone(), Error::Inputs(vec![error.to_string()])))?;
        let undertaking = Undertaking {
            action: format!("delete the image version '{number}'"),
            noun: format!("deletion of the image version '{number}'"),
            id: &id,
            request: Request::delete(id.path(), GALLERY),
            stop: None,
            occupies: None,
            usually: Duration::from_mins(3),
        };
        session.complete(undertaking).await.map(|_| ()).map_err(|error| (number, error))
    };
    let results = stream::iter(gone.into_iter().map(delete_one)).buffer_unordered(AT_ONCE);
    results.filter_map(|result| async move { result.err() }).collect().await
}
