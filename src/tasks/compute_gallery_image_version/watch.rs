//! Waiting for a version: per-region progress in the log, the whole in the progress bar, and what Azure made of it in the end.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use crate::{
    agent::Sensitivity,
    arm::{self, Operation, Request, ResourceId, Wait, operation::interval, retry::VISIBLE_AFTER},
    compute::{
        GALLERY,
        image_version::{Publishing, targets},
        region::Region,
        replication::{Status, Verdict, WaitFor},
    },
    tasks::{
        error::Error,
        gallery::{self, GallerySession},
        session::{Done, duration},
    },
};

/// A version that is being made or changed.
pub struct Watched<'a> {
    /// The version.
    pub id: &'a ResourceId,
    /// Where it is replicated to.
    pub targets: &'a [Region],
    /// Where it is built.
    pub built_in: &'a Region,
    /// When waiting is over.
    pub wait_for: &'a WaitFor,
    /// The operation, which knows why it failed.
    pub operation: &'a Operation,
    /// How long to wait at most.
    pub deadline: Duration,
}

/// Waits until what is waited for has come, and returns the version as it is then.
pub async fn until_replicated(session: &GallerySession<'_>, watched: &Watched<'_>) -> Result<Value, Error> {
    let host = session.agent.host();
    let began = host.elapsed();
    let name = watched.id.name();
    let mut said = Said::default();
    loop {
        let request = Request::get(watched.id.path(), GALLERY).query("$expand", "ReplicationStatus");
        let found = session.find(format!("read the image version '{name}'"), request).await?;
        let elapsed = host.elapsed().saturating_sub(began);
        let status = found.as_ref().map(Status::read).unwrap_or_default();
        said.tell(session, &status, watched, elapsed);
        match (status.verdict(watched.wait_for, watched.targets, watched.built_in), found) {
            (Verdict::Reached, Some(version)) => return Ok(version),
            (Verdict::Failed(reasons), Some(_)) => return Err(failure(session, watched, reasons).await),
            (_, None) if elapsed > VISIBLE_AFTER => {
                return Err(Error::refused(
                    format!("the image version '{name}' is gone"),
                    "see the resource group's activity log: somebody deleted it",
                ));
            }
            _ => {}
        }
        if elapsed >= watched.deadline {
            let source = arm::Error::DeadlineExceeded {
                resource: watched.id.to_string(),
                operation_url: watched.operation.url(),
                status: status.provisioning_state.clone(),
                waited: elapsed,
            };
            let notes = status.regions.iter().map(ToString::to_string);
            return Err(Error::azure(format!("wait for the image version '{name}'"), source).with_notes(notes));
        }
        let pause = interval(elapsed, None).min(watched.deadline.saturating_sub(elapsed).max(Duration::from_millis(1)));
        session
            .sleep(pause, watched.id.as_str())
            .await
            .map_err(|error| Error::azure(format!("wait for the image version '{name}'"), error))?;
    }
}

/// Why it failed: what the operation says, and what each region says.
async fn failure(session: &GallerySession<'_>, watched: &Watched<'_>, reasons: Vec<String>) -> Error {
    let action = format!("make the image version '{}'", watched.id.name());
    match session.client.wait(watched.operation, Wait::silent(Duration::from_secs(10))).await {
        Err(error @ (arm::Error::Service { .. } | arm::Error::Cancelled { .. })) => Error::azure(action, error).with_notes(reasons),
        _ => {
            Error::refused(format!("failed to {action}"), "see the version in the portal; delete it and publish again").with_notes(reasons)
        }
    }
}

/// What the log has been told already.
#[derive(Default)]
struct Said {
    provisioning: String,
    regions: BTreeMap<String, (String, u64)>,
    percent: Option<u8>,
    minute: u64,
}

impl Said {
    fn tell(&mut self, session: &GallerySession<'_>, status: &Status, watched: &Watched<'_>, elapsed: Duration) {
        let minute = elapsed.as_secs() / 60;
        if self.provisioning != status.provisioning_state {
            self.provisioning.clone_from(&status.provisioning_state);
            session.agent.info(&format!("{}: {} ({})", watched.id.name(), status.provisioning_state, duration(elapsed)));
        }
        for region in &status.regions {
            // A line for each new state and for every fifth of the way; more would bury the rest of the log.
            let now = (region.state.clone(), region.percent / 20);
            if self.regions.get(&region.region.normalized()) != Some(&now) {
                self.regions.insert(region.region.normalized(), now);
                session.agent.info(&format!("  {region} ({})", duration(elapsed)));
            }
        }
        // A region that fails loses what it had; the bar does not go back.
        let percent = status.percent(watched.targets).min(99).max(self.percent.unwrap_or(0));
        if self.percent != Some(percent) || self.minute != minute {
            (self.percent, self.minute) = (Some(percent), minute);
            let done = status.regions.iter().filter(|region| region.state.eq_ignore_ascii_case("Completed")).count();
            session.agent.progress(percent, &format!("{}: {done} of {} regions", watched.id.name(), watched.targets.len()));
        }
    }
}

/// Fails when Azure kept something else than was asked for.
pub fn read_back(id: &ResourceId, publishing: &Publishing, version: &Value) -> Result<(), Error> {
    let differences = publishing.differences(version);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::refused(
        format!("the image version '{}' is there, but Azure shows other values than were asked for", id.name()),
        "somebody changed it meanwhile, or Azure did not take the values; look at it in the portal and run the task again",
    )
    .with_notes(differences.iter().map(ToString::to_string)))
}

/// Sets the outputs, writes the summary and says how it ended.
pub fn tell(session: &GallerySession<'_>, id: &ResourceId, version: &Value, made_from: Option<String>, what: &str) -> Done {
    let agent = session.agent;
    let regions = targets(version);
    let shown_id = version["id"].as_str().unwrap_or(id.as_str());
    let listed = regions.iter().map(Region::normalized).collect::<Vec<_>>().join(",");
    agent.set_output("imageVersionId", shown_id, Sensitivity::Public);
    agent.set_output("imageVersion", id.name(), Sensitivity::Public);
    agent.set_output("imageVersionRegions", &listed, Sensitivity::Public);
    let profile = &version["properties"]["publishingProfile"];
    let status = Status::read(version);
    let mut facts = vec![("Id".to_owned(), shown_id.to_owned()), ("Result".to_owned(), what.to_owned())];
    facts.extend(made_from.map(|source| ("Source".to_owned(), source)));
    let excluded = profile["excludeFromLatest"].as_bool().unwrap_or(false);
    facts.push(("Counts as latest".to_owned(), if excluded { "no" } else { "yes" }.to_owned()));
    if let Some(date) = profile["endOfLifeDate"].as_str() {
        facts.push(("End of life".to_owned(), date.to_owned()));
    }
    if status.regions.is_empty() {
        facts.push(("Regions".to_owned(), regions.iter().map(Region::normalized).collect::<Vec<_>>().join(", ")));
    } else {
        facts.extend(status.regions.iter().map(|region| ("Region".to_owned(), region.to_string())));
    }
    let message = format!("The image version '{}' is {what}.", id.name());
    agent.info(&message);
    agent.info(&format!("imageVersionId = {shown_id}"));
    let definition = id.parent().map_or(String::new(), |definition| definition.name().to_owned());
    session.summarize(format!("Image version {definition} {}", id.name()), facts, &[("Image version in the portal", shown_id)]);
    if !status.provisioning_state.eq_ignore_ascii_case("Succeeded") {
        let open: Vec<Region> = status
            .regions
            .iter()
            .filter(|region| !region.state.eq_ignore_ascii_case("Completed"))
            .map(|region| region.region.clone())
            .collect();
        let on =
            if open.is_empty() { "it is still being made".to_owned() } else { format!("replication goes on to {}", gallery::names(&open)) };
        agent.info(&format!("In Azure {on}."));
    }
    Done::succeeded(message)
}
