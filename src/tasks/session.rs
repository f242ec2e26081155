//! What all tasks share once their inputs are read: the signed-in client, the deadline, the log of what goes on, links to the portal.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;

use super::{
    error::{Error, Problems, about},
    ledger::{Going, Ledger, Made, OnCancel, Origin},
    sign_in,
};
use crate::{
    agent::{Agent, Connection, Outcome, Summary},
    arm::{self, Client, Progress, Request, ResourceId, Wait, retry},
    devtestlab::{self, Lab},
};

/// What every task may use: the agent to talk to, and the ledger of what goes on in Azure.
#[derive(Clone, Copy, Debug)]
pub struct Desk<'a> {
    /// The agent.
    pub agent: &'a Agent,
    /// What goes on in Azure.
    pub ledger: &'a Ledger,
}

/// The answer of an operation's status, also when that ended as failed.
const OK: u16 = 200;
/// The answer to a DELETE of what is not there.
pub const NO_CONTENT: u16 = 204;

/// The inputs that all tasks have; `L` is `()` for a task without a lab.
#[derive(Clone, Debug)]
pub struct CommonInputs<L = Lab> {
    /// How to sign in.
    pub connection: Connection,
    /// The lab.
    pub lab: L,
    /// How long one operation may take.
    pub time_out: Duration,
    /// What is to become of what was begun when the task is broken off.
    pub on_cancel: OnCancel,
}

/// A task at work; `L` is `()` for a task without a lab.
#[derive(Debug)]
pub struct Session<'a, L = Lab> {
    /// The agent.
    pub agent: &'a Agent,
    /// The resource manager's client.
    pub client: Client,
    /// The lab.
    pub lab: L,
    /// How long one operation may take.
    pub time_out: Duration,
    ledger: &'a Ledger,
    connection: Connection,
}

/// A long-running operation and how to speak of it.
pub struct Undertaking<'a> {
    /// As it fits "failed to …", such as `delete the virtual machine 'vm1'`.
    pub action: String,
    /// As it fits "… goes on", such as `the deletion of 'vm1'`.
    pub noun: String,
    /// The id of what it is about.
    pub id: &'a ResourceId,
    /// The request that starts it.
    pub request: Request,
    /// The request that stops it, where there is one.
    pub stop: Option<Request>,
    /// The lab's resource that must be free for it: while something else is being done to that one, the task waits.
    pub occupies: Option<&'a ResourceId>,
    /// How long it usually takes.
    pub usually: Duration,
}

/// How a task ended well.
#[derive(Clone, Debug)]
pub struct Done {
    /// `Succeeded` or `SucceededWithIssues`.
    pub outcome: Outcome,
    /// One line for the result.
    pub message: String,
}

/// Minutes that one operation may take when the input is empty.
const DEFAULT_TIME_OUT: u64 = 120;
/// How often a resource may be called busy although it is settled: its state may change between the refusal and the look.
const SETTLED: u32 = 2;

impl Done {
    /// All was done.
    pub fn succeeded(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Succeeded, message: message.into() }
    }

    /// All was done, but something deserves a look. The warning was logged already.
    pub fn with_issues(message: impl Into<String>) -> Self {
        Self { outcome: Outcome::SucceededWithIssues, message: message.into() }
    }
}

/// Reads the inputs that all lab tasks have. The lab is there even where the rest is not, so that ids can be checked against it.
pub fn common_inputs(agent: &Agent, problems: &mut Problems) -> (Option<Lab>, Option<CommonInputs>) {
    let connection = problems.take(agent.connection("ConnectedServiceName"));
    let lab = problems
        .take(agent.required_input("LabId"))
        .and_then(|text| problems.take(text.parse::<Lab>().map_err(|error| about("LabId", error))));
    let time_out = time_out(agent, problems);
    let on_cancel = on_cancel(agent, problems);
    let common = match (connection, &lab, time_out, on_cancel) {
        (Some(connection), Some(lab), Some(time_out), Some(on_cancel)) => {
            Some(CommonInputs { connection, lab: lab.clone(), time_out, on_cancel })
        }
        _ => None,
    };
    (lab, common)
}

/// Reads the inputs that tasks without a lab have.
pub fn common_inputs_without_lab(agent: &Agent, problems: &mut Problems) -> Option<CommonInputs<()>> {
    let connection = problems.take(agent.connection("ConnectedServiceName"));
    let time_out = time_out(agent, problems);
    let on_cancel = on_cancel(agent, problems);
    Some(CommonInputs { connection: connection?, lab: (), time_out: time_out?, on_cancel: on_cancel? })
}

/// That a task cannot tell what it alone has made, and so removes nothing.
pub fn refuse_removal(problems: &mut Problems, common: Option<&CommonInputs>) {
    if common.is_some_and(|common| common.on_cancel == OnCancel::RemoveCreated) {
        problems.add("input 'OnCancel' is 'removeCreated': this task removes nothing that it has made; give leave or cancelDeployment");
    }
}

/// Only tasks that make something declare this input.
fn on_cancel(agent: &Agent, problems: &mut Problems) -> Option<OnCancel> {
    problems.take(agent.choice_input("OnCancel", &OnCancel::CHOICES)).map(Option::unwrap_or_default)
}

fn time_out(agent: &Agent, problems: &mut Problems) -> Option<Duration> {
    let minutes = problems.take(agent.number_input("OperationTimeoutInMinutes", 1..=2880))?;
    Some(Duration::from_mins(minutes.unwrap_or(DEFAULT_TIME_OUT)))
}

impl<'a, L> Session<'a, L> {
    /// Makes the client; the first request signs in.
    pub async fn open(desk: Desk<'a>, inputs: CommonInputs<L>) -> Result<Self, Error> {
        let CommonInputs { connection, lab, time_out, on_cancel } = inputs;
        let (client, connection) = sign_in::client(desk.agent, connection).await?;
        desk.ledger.connect(&client, on_cancel);
        Ok(Self { agent: desk.agent, client, lab, time_out, ledger: desk.ledger, connection })
    }

    /// Starts an operation and waits until it has ended, telling the agent how it goes. Returns the final resource.
    pub async fn complete(&self, undertaking: Undertaking<'_>) -> Result<Value, Error> {
        self.carry_out(undertaking).await.map(|(_, resource)| resource)
    }

    /// The same, and tells besides with which HTTP status the operation was accepted.
    pub async fn carry_out(&self, undertaking: Undertaking<'_>) -> Result<(u16, Value), Error> {
        let Undertaking { action, noun, id, request, stop, occupies, usually } = undertaking;
        let began = self.agent.host().elapsed();
        let look = Some(Request::get(id.as_str(), request.api_version));
        let is_deployment = stop.is_some();
        self.ledger.begin(Going { what: noun.clone(), id: id.to_string(), look, stop, has_failed: false });
        let result = self.run(request, occupies, &Watch::new(self.agent, &noun, usually)).await;
        if is_deployment && result.as_ref().is_err_and(|error| error.status() == Some(OK)) {
            // Azure takes nothing back of what a failed deployment has made.
            self.ledger.fails(id.as_str());
        } else if !result.as_ref().is_err_and(arm::Error::may_go_on) {
            self.ledger.end(id.as_str());
        }
        let took = duration(self.agent.host().elapsed().saturating_sub(began));
        match result {
            Ok((status, resource)) => {
                if status != NO_CONTENT {
                    self.agent.info(&format!("{}: done in {took}.", capital(&noun)));
                }
                Ok((status, resource))
            }
            Err(error) => Err(Error::azure(action, error)),
        }
    }

    async fn run(&self, request: Request, occupies: Option<&ResourceId>, watch: &Watch<'_>) -> Result<(u16, Value), arm::Error> {
        let began = self.agent.host().elapsed();
        let spent = || self.agent.host().elapsed().saturating_sub(began);
        let mut attempt = 0_u32;
        let mut settled = 0_u32;
        let operation = loop {
            let error = match self.client.start(request.clone()).await {
                Err(error) if retry::is_busy(&error) && spent() < self.time_out => error,
                other => break other?,
            };
            settled += u32::from(self.is_settled(occupies).await?);
            if settled > SETTLED {
                return Err(error);
            }
            if attempt == 0 {
                self.agent.info(&error.to_string());
                self.agent.info("Waiting until it is free.");
            }
            attempt += 1;
            self.sleep(pause(spent()), &request.path).await?;
        };
        let observe = |progress: &Progress| watch.observe(progress);
        let wait = Wait { deadline: self.time_out.saturating_sub(spent()), observe: &observe };
        self.client.wait(&operation, wait).await.map(|resource| (operation.status, resource))
    }

    /// Whether nothing is being done to a resource, so that waiting will not free it.
    async fn is_settled(&self, id: Option<&ResourceId>) -> Result<bool, arm::Error> {
        let Some(id) = id else { return Ok(false) };
        let found = self.client.find(Request::get(id.as_str(), devtestlab::API_VERSION)).await?;
        let state = found.as_ref().and_then(|resource| resource.pointer("/properties/provisioningState")?.as_str());
        Ok(state.is_none_or(|state| ["Succeeded", "Failed", "Canceled"].iter().any(|end| end.eq_ignore_ascii_case(state))))
    }

    /// Waits, but no longer than until the agent asks to stop.
    pub async fn sleep(&self, time: Duration, during: &str) -> Result<(), arm::Error> {
        let host = self.agent.host();
        futures::future::select(host.sleep(time), host.cancelled()).await;
        if host.is_cancelled() { Err(arm::Error::Cancelled { during: during.to_owned() }) } else { Ok(()) }
    }

    /// A GET that may find nothing.
    pub async fn find(&self, action: impl Into<String>, request: Request) -> Result<Option<Value>, Error> {
        self.client.find(request).await.map_err(|error| Error::azure(action, error))
    }

    /// A GET that must find something.
    pub async fn get(&self, action: impl Into<String>, request: Request) -> Result<Value, Error> {
        self.client.send(request).await.map(|response| response.body).map_err(|error| Error::azure(action, error))
    }

    /// All items of a list.
    pub async fn list(&self, action: impl Into<String>, request: Request) -> Result<Vec<Value>, Error> {
        self.client.list(request).await.map_err(|error| Error::azure(action, error))
    }

    /// Hands over a list item by item, so that a long one is never in memory as a whole.
    pub async fn list_each(&self, action: impl Into<String>, request: Request, each: &mut (dyn FnMut(Value) + Send)) -> Result<(), Error> {
        self.client.list_each(request, each).await.map_err(|error| Error::azure(action, error))
    }

    /// Notes in the ledger that something goes on from now which the task does not start by `complete`.
    pub fn leaves(&self, what: impl Into<String>, id: &str) {
        self.ledger.begin(Going { what: what.into(), id: id.to_owned(), look: None, stop: None, has_failed: false });
    }

    /// Takes that back.
    pub fn leaves_no_more(&self, id: &str) {
        self.ledger.end(id);
    }

    /// Notes in the ledger that the task makes something: a task that does not end well names it, or removes it where that is wanted.
    pub fn makes(&self, what: impl Into<String>, id: &str, origin: Origin, remove: Request) {
        self.ledger.makes(Made { what: what.into(), id: id.to_owned(), origin, remove });
    }

    /// Notes that it is gone again.
    pub fn unmakes(&self, id: &str) {
        self.ledger.unmakes(id);
    }

    /// Whether what this run has made is to be removed when it is broken off.
    pub fn removes_created(&self) -> bool {
        self.ledger.removes_created()
    }

    /// Whether something that the task is about to make is there already. Looks only where that decides what may be removed.
    pub async fn origin(&self, what: &str, look: Request) -> Result<Origin, Error> {
        if !self.ledger.removes_created() {
            return Ok(Origin::Unknown);
        }
        Ok(Origin::of(self.find(format!("look for the {what}"), look).await?.is_some()))
    }

    /// The portal's address of a resource, where the cloud has a portal that is known.
    pub fn portal_link(&self, id: &str) -> Option<String> {
        let portal = self.connection.portal.as_deref()?.trim_end_matches('/');
        Some(format!("{portal}/#@{}/resource{id}", self.connection.tenant_id))
    }

    /// Puts a summary on the run's page, with the time that the task took and a link to what it is about.
    pub fn summarize(&self, title: impl Into<String>, mut facts: Vec<(String, String)>, about: &[(&str, &str)]) {
        facts.push(("Time".to_owned(), duration(self.agent.host().elapsed())));
        let links = about.iter().filter_map(|(text, id)| Some(((*text).to_owned(), self.portal_link(id)?))).collect();
        self.agent.upload_summary(&Summary { title: title.into(), facts, links });
    }
}

/// Tells the agent how an operation goes: a line when its state changes and every minute, and the progress bar.
struct Watch<'a> {
    agent: &'a Agent,
    noun: &'a str,
    usually: Duration,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    status: String,
    minute: u64,
    percent: Option<u8>,
}

impl<'a> Watch<'a> {
    fn new(agent: &'a Agent, noun: &'a str, usually: Duration) -> Self {
        Self { agent, noun, usually, said: Mutex::default() }
    }

    fn observe(&self, progress: &Progress) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = progress.elapsed.as_secs() / 60;
        // The end is told by the caller, with the whole time.
        let ended = progress.status.eq_ignore_ascii_case("Succeeded");
        if !ended && (said.status != progress.status || said.minute != minute) {
            said.status.clone_from(&progress.status);
            said.minute = minute;
            let usually =
                if progress.elapsed < self.usually { format!(", usually about {}", duration(self.usually)) } else { String::new() };
            self.agent.info(&format!("{}: {} ({}{usually})", capital(self.noun), progress.status, duration(progress.elapsed)));
        }
        let guessed = || u8::try_from(100 * progress.elapsed.as_secs() / self.usually.as_secs().max(1)).unwrap_or(u8::MAX);
        let percent = progress.percent.unwrap_or_else(guessed).min(95);
        if said.percent != Some(percent) {
            said.percent = Some(percent);
            let text = format!("{}: {} of usually about {}", capital(self.noun), duration(progress.elapsed), duration(self.usually));
            self.agent.progress(percent, &text);
        }
    }
}

/// How long to wait before asking again, by the time spent so far: at first often, then seldom.
pub fn pause(spent: Duration) -> Duration {
    (spent / 10).clamp(Duration::from_millis(500), Duration::from_secs(20))
}

/// A time span as people say it.
pub fn duration(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => "less than 1 s".to_owned(),
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// The text with a capital in front, to begin a line with.
pub fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| std::iter::once(first.to_ascii_uppercase()).chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_say_them() {
        for (seconds, expected) in
            [(0, "less than 1 s"), (1, "1 s"), (60, "1 min"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (3725, "1 h 2 min")]
        {
            assert_eq!(duration(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn pauses_grow_with_the_time_spent() {
        for (spent, expected) in [(0, 500), (5_000, 500), (60_000, 6_000), (600_000, 20_000)] {
            assert_eq!(pause(Duration::from_millis(spent)), Duration::from_millis(expected));
        }
    }
}
