//! The end of a task that does not end well: stops what goes on, removes what is to be removed, and names what remains, with the command
//! that finishes it.
//!
//! The agent leaves ten seconds from its first signal to the kill. Each step here has its own limit, so that all of them, and the task's
//! own grace before, stay below that.

use std::time::Duration;

use futures::future::{Either, join_all, select};
use serde_json::Value;

use super::{
    error::chain,
    ledger::{Going, Ledger, Made, OnCancel, Origin},
};
use crate::{
    agent::Agent,
    arm::{self, Client, Request, ResourceId},
    devtestlab, resources,
};

/// How long stopping what goes on may take.
const STOPPING: Duration = Duration::from_secs(2);
/// How long looking at what a deployment has written may take, and how long where nobody waits to end the task.
const LISTING: Duration = Duration::from_secs(1);
const LISTING_AT_LEISURE: Duration = Duration::from_secs(30);
/// How long removing, or looking at, what was made may take.
const REMOVING: Duration = Duration::from_millis(2500);
/// The pause before something that is still busy is to be deleted again.
const BUSY_PAUSE: Duration = Duration::from_millis(300);

/// Why a task did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The agent asked to stop, or is gone.
    Cancelled,
    /// An operation took longer than the task was to wait.
    TimedOut,
    /// Anything else.
    Failed,
}

/// Settles everything that the ledger holds. Returns the ids of what goes on or remains.
pub async fn settle(agent: &Agent, ledger: &Ledger, cause: Cause) -> Vec<String> {
    let state = ledger.close();
    let Some(client) = state.client else { return Vec::new() };
    let on_cancel = if cause == Cause::Failed { OnCancel::Leave } else { state.on_cancel };
    let desk = Desk { agent, client: &client, cause, on_cancel, made: &state.made };
    let going = join_all(state.going.iter().map(|going| desk.settle_going(going))).await;
    let made = join_all(state.made.iter().map(|made| desk.settle_made(made))).await;
    resources::distinct(going.into_iter().flatten().chain(made.into_iter().flatten()).collect())
}

struct Desk<'a> {
    agent: &'a Agent,
    client: &'a Client,
    cause: Cause,
    on_cancel: OnCancel,
    made: &'a [Made],
}

impl Desk<'_> {
    fn warn(&self, text: &str) {
        self.agent.warning(text);
    }

    /// The result, or `None` when it did not come in time.
    async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        match select(Box::pin(work), self.agent.host().sleep(limit)).await {
            Either::Left((result, _)) => Some(result),
            Either::Right(_) => None,
        }
    }

    async fn settle_going(&self, going: &Going) -> Vec<String> {
        if going.has_failed {
            return self.tell_written(going).await;
        }
        let client = self.client.for_clean_up(STOPPING);
        let mut remains = vec![going.id.clone()];
        match (&going.stop, self.on_cancel) {
            (Some(stop), OnCancel::CancelDeployment | OnCancel::RemoveCreated) => {
                remains = self.stop(&client, going, stop).await;
            }
            _ if self.cause == Cause::Failed && !self.goes_on(&client, going).await => return Vec::new(),
            _ => self.warn(&format!("this goes on in Azure: {} ({}); {}", going.what, going.id, hint_for_going(going))),
        }
        remains.extend(self.tell_written(going).await);
        remains
    }

    /// Whether an operation whose start or end was not seen is under way.
    async fn goes_on(&self, client: &Client, going: &Going) -> bool {
        let Some(look) = going.look.clone() else { return true };
        match self.within(STOPPING, client.find(look)).await {
            Some(Ok(Some(found))) => !is_settled(&found),
            Some(Ok(None)) => false,
            Some(Err(_)) | None => true,
        }
    }

    async fn stop(&self, client: &Client, going: &Going, stop: &Request) -> Vec<String> {
        let Going { what, id, .. } = going;
        match self.within(STOPPING, client.send(stop.clone())).await {
            Some(Ok(_)) => {
                self.warn(&format!("the {what} is cancelled; its record remains in Azure, and what it had made until then ({id})"));
                vec![id.clone()]
            }
            // It never began.
            Some(Err(error)) if error.is_missing() => Vec::new(),
            // It has ended by itself.
            Some(Err(error)) if error.status() == Some(409) => {
                self.warn(&format!(
                    "the {what} had ended before it could be cancelled; its record remains in Azure, and what it has made ({id})"
                ));
                vec![id.clone()]
            }
            Some(Err(error)) => {
                self.warn(&format!("failed to cancel the {what}: {} ({id}); {}", chain(&error), hint_for_going(going)));
                vec![id.clone()]
            }
            None => {
                self.warn(&format!("the {what} did not answer in time and may go on in Azure ({id}); {}", hint_for_going(going)));
                vec![id.clone()]
            }
        }
    }

    /// Names what a deployment has written besides what is named anyway.
    async fn tell_written(&self, going: &Going) -> Vec<String> {
        let Ok(id) = going.id.parse::<ResourceId>() else { return Vec::new() };
        if !id.is_type("Microsoft.Resources/deployments") {
            return Vec::new();
        }
        let limit = if self.cause == Cause::Failed { LISTING_AT_LEISURE } else { LISTING };
        let client = self.client.for_clean_up(limit);
        let operations = match self.within(limit, client.list(resources::operations(&id))).await {
            Some(Ok(operations)) => operations,
            // Without a record it has never begun.
            Some(Err(error)) if error.is_missing() => return Vec::new(),
            Some(Err(_)) | None => {
                self.warn(&format!(
                    "what the {} has written could not be listed ({id}); to list it: az deployment operation group list --subscription {} --resource-group \"{}\" --name \"{}\"",
                    going.what,
                    id.subscription_id(),
                    id.resource_group(),
                    id.name()
                ));
                return vec![going.id.clone()];
            }
        };
        let mut written = resources::all_written(&operations);
        written.retain(|id| !self.made.iter().any(|made| made.id.eq_ignore_ascii_case(id)));
        for id in &written {
            self.warn(&format!("the {} has written this: {id}; to remove it: az resource delete --ids \"{id}\"", going.what));
        }
        written
    }

    async fn settle_made(&self, made: &Made) -> Option<String> {
        let client = self.client.for_clean_up(REMOVING);
        let Made { what, id, origin, .. } = made;
        let to_remove = format!("to remove it: az resource delete --ids \"{id}\"");
        if self.on_cancel == OnCancel::RemoveCreated && *origin == Origin::New {
            return match self.within(REMOVING, self.remove(&client, made)).await {
                Some(Removal::Gone) => None,
                Some(Removal::Going) => {
                    self.warn(&format!("the deletion of the {what} was asked for and goes on in Azure ({id})"));
                    Some(id.clone())
                }
                Some(Removal::Failed(error)) => {
                    self.warn(&format!("failed to remove the {what}, which remains: {} ({id}); {to_remove}", chain(&error)));
                    Some(id.clone())
                }
                None => {
                    self.warn(&format!("the {what} could not be removed in time and may remain ({id}); {to_remove}"));
                    Some(id.clone())
                }
            };
        }
        let look = Request::get(made.remove.path.as_str(), made.remove.api_version);
        let found = match self.within(REMOVING, client.find(look)).await {
            Some(Ok(None)) => return None,
            Some(Ok(Some(found))) => Some(found),
            Some(Err(_)) | None => None,
        };
        let state = found.as_ref().and_then(devtestlab::provisioning_state).map_or(String::new(), |state| format!(", {state}"));
        let remains = if found.is_some() { "remains" } else { "may remain" };
        match origin {
            Origin::Before => self.warn(&format!("this was there before the run and {remains}, perhaps changed: {what}{state} ({id})")),
            Origin::Unknown if self.on_cancel == OnCancel::RemoveCreated => {
                self.warn(&format!(
                    "this {remains} in Azure, because it may have been there before the run: {what}{state} ({id}); {to_remove}"
                ));
            }
            Origin::New | Origin::Unknown => self.warn(&format!("this {remains} in Azure: {what}{state} ({id}); {to_remove}")),
        }
        Some(id.clone())
    }

    /// Asks for the deletion until it is accepted. What is busy refuses for a while.
    async fn remove(&self, client: &Client, made: &Made) -> Removal {
        loop {
            match client.send(made.remove.clone()).await {
                Ok(response) if response.status == 202 => return Removal::Going,
                Ok(_) => return Removal::Gone,
                Err(error) if error.is_missing() => return Removal::Gone,
                Err(error) if error.status() == Some(409) && !error.has_code("ScopeLocked") => {
                    self.agent.host().sleep(BUSY_PAUSE).await;
                }
                Err(error) => return Removal::Failed(error),
            }
        }
    }
}

enum Removal {
    Gone,
    Going,
    Failed(arm::Error),
}

fn is_settled(found: &Value) -> bool {
    let state = devtestlab::provisioning_state(found);
    state.is_none_or(|state| ["Succeeded", "Failed", "Canceled"].iter().any(|end| end.eq_ignore_ascii_case(state)))
}

/// The command that ends it, or shows how it goes.
fn hint_for_going(going: &Going) -> String {
    match going.id.parse::<ResourceId>() {
        Ok(id) if id.is_type("Microsoft.Resources/deployments") => format!(
            "to cancel it: az deployment group cancel --subscription {} --resource-group \"{}\" --name \"{}\"",
            id.subscription_id(),
            id.resource_group(),
            id.name()
        ),
        _ => format!("to look at it: az resource show --ids \"{}\"", going.id),
    }
}
