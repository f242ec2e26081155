//! Long-running operations: what to ask next, and when. A pure function of the response and the clock.
//!
//! Azure has three styles: a status address (`Azure-AsyncOperation`), a result address (`Location`), and the resource's own
//! `provisioningState`. <https://github.com/cloud-and-ai-microsoft/resource-provider-contract/blob/master/v1.0/async-api-reference.md>

use std::{fmt, time::Duration};

use azure_core::http::Method;
use serde_json::{Number, Value};

use super::{ApiVersion, Error, Response, error, retry::VISIBLE_AFTER, scrub};

/// An operation that Azure has accepted.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What it is about, for messages: the path of the resource.
    pub resource: String,
    /// The HTTP status of the answer that accepted it. A DELETE of what is not there is answered 204.
    pub status: u16,
    pub(super) method: Method,
    pub(super) api_version: ApiVersion,
    pub(super) request: String,
    /// When it was accepted, by the host's clock.
    pub(super) accepted: Duration,
    pub(super) stage: Stage,
    /// The wait that the service asked for with its acceptance.
    pub(super) retry_after: Option<Duration>,
}

/// How long to wait for an operation, and whom to tell meanwhile.
pub struct Wait<'a> {
    /// The longest time to wait, from now.
    pub deadline: Duration,
    /// Called after every poll.
    pub observe: &'a (dyn Fn(&Progress) + Send + Sync),
}

impl Wait<'static> {
    /// Waits without telling anybody.
    pub fn silent(deadline: Duration) -> Self {
        Self { deadline, observe: &|_| () }
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Wait").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// Where an operation stands.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The service's word: `Running`, `Creating`, …
    pub status: String,
    /// The time since the operation was started.
    pub elapsed: Duration,
    /// `percentComplete`, where the service gives it.
    pub percent: Option<u8>,
}

/// What is to be asked next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// The status address; the result address besides it, if the service gave one.
    Status { url: String, result: Option<String> },
    /// The result address: 202 until it is done.
    Result { url: String },
    /// The resource itself, by its `provisioningState`.
    Resource,
    /// It has succeeded, and the resource itself is the result.
    Final,
    /// It has ended; this is the result.
    Done(Value),
}

/// What a poll tells.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Go on with this stage.
    Next { stage: Stage, status: String, percent: Option<u8> },
    /// It failed.
    Failed(Error),
}

impl Operation {
    /// Where its progress can be asked, without what signs the address; `None` when there is nothing to ask.
    pub fn url(&self) -> Option<String> {
        match &self.stage {
            Stage::Status { url, .. } | Stage::Result { url } => Some(scrub::url(url)),
            Stage::Resource | Stage::Final | Stage::Done(_) => None,
        }
    }

    /// Whether it had ended when it was accepted.
    pub fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done(_))
    }

    /// Whether this stage means that the operation has succeeded and only its result is to be fetched.
    pub(super) fn is_followed_by_result(&self, stage: &Stage) -> bool {
        matches!((&self.stage, stage), (_, Stage::Final) | (Stage::Status { .. }, Stage::Result { .. }))
    }

    /// Reads the answer that accepted (or at once ended) an operation.
    pub(super) fn accepted(&self, response: &Response) -> Step {
        let status = response.header("azure-asyncoperation").or_else(|| response.header("operation-location"));
        let result = response.header("location").map(str::to_owned);
        if let Some(url) = status {
            return go_on(Stage::Status { url: url.to_owned(), result }, response);
        }
        match (self.method, result) {
            (_, Some(url)) if response.status == 202 => go_on(Stage::Result { url }, response),
            (Method::Put | Method::Patch, _) => self.read_resource(response, Duration::ZERO),
            (Method::Delete, None) if response.status == 202 => go_on(Stage::Resource, response),
            (Method::Delete, _) => self.done(Value::Null),
            _ => self.done(response.body.clone()),
        }
    }

    /// Reads the answer to a poll. `elapsed` is the time since the operation was accepted.
    pub(super) fn polled(&self, response: &Response, elapsed: Duration) -> Step {
        match &self.stage {
            Stage::Status { url, result } => self.read_status(response, url, result.as_ref()),
            Stage::Result { url } => self.read_result(response, url),
            Stage::Resource => self.read_resource(response, elapsed),
            Stage::Final => match response.status {
                200..=299 => self.done(response.body.clone()),
                _ => self.refused(response),
            },
            Stage::Done(result) => self.done(result.clone()),
        }
    }

    fn read_status(&self, response: &Response, url: &str, result: Option<&String>) -> Step {
        match response.status {
            200..=299 => {}
            404 if self.method == Method::Delete => return self.done(Value::Null),
            // The record of the operation is gone: the resource itself tells.
            404 if self.makes_resource() => return go_on(Stage::Resource, response),
            _ => return self.refused(response),
        }
        let result = response.header("location").map(str::to_owned).or_else(|| result.cloned());
        let own = response.body["status"].as_str().or_else(|| provisioning_state(&response.body));
        match own.map(Verdict::of) {
            Some(Verdict::Succeeded) => self.succeeded(response, result),
            None if response.status != 202 => self.succeeded(response, result),
            Some(Verdict::Failed) => self.failed(response, own.unwrap_or_default()),
            Some(Verdict::Running) | None => {
                let url = response.header("azure-asyncoperation").unwrap_or(url).to_owned();
                go_on(Stage::Status { url, result }, response)
            }
        }
    }

    /// ARM's rules for the final GET: a PUT's result is the resource, a POST's lies at `Location`, a DELETE has none.
    fn succeeded(&self, response: &Response, result: Option<String>) -> Step {
        match (self.method, result) {
            (Method::Put | Method::Patch, _) => go_on(Stage::Final, response),
            (Method::Delete, _) => self.done(Value::Null),
            (_, Some(url)) => go_on(Stage::Result { url }, response),
            (_, None) => self.done(response.body.get("properties").cloned().unwrap_or_default()),
        }
    }

    fn read_result(&self, response: &Response, url: &str) -> Step {
        match response.status {
            202 => go_on(Stage::Result { url: response.header("location").unwrap_or(url).to_owned() }, response),
            200..=299 => {
                let status = response.body["status"].as_str().filter(|_| response.body.get("error").is_some());
                match status.map(Verdict::of) {
                    Some(Verdict::Failed) => self.failed(response, status.unwrap_or_default()),
                    _ if self.makes_resource() => go_on(Stage::Final, response),
                    _ if self.method == Method::Delete => self.done(Value::Null),
                    _ => self.done(response.body.clone()),
                }
            }
            // A result that is gone was one: the operation has ended, and there is nothing to fetch.
            404 | 410 if !self.makes_resource() => self.done(Value::Null),
            _ => self.refused(response),
        }
    }

    fn read_resource(&self, response: &Response, elapsed: Duration) -> Step {
        match response.status {
            200..=299 => {}
            404 if self.method == Method::Delete => return self.done(Value::Null),
            404 if elapsed < VISIBLE_AFTER => return go_on(Stage::Resource, response),
            _ => return self.refused(response),
        }
        let state = provisioning_state(&response.body);
        match state.map(Verdict::of) {
            Some(Verdict::Failed) if self.method != Method::Delete => self.failed(response, state.unwrap_or_default()),
            Some(Verdict::Running) => go_on(Stage::Resource, response),
            _ if self.method == Method::Delete => go_on(Stage::Resource, response),
            // A 202 without a state promises a state.
            None if response.status == 202 => go_on(Stage::Resource, response),
            _ => self.done(response.body.clone()),
        }
    }

    fn makes_resource(&self) -> bool {
        matches!(self.method, Method::Put | Method::Patch)
    }

    fn done(&self, result: Value) -> Step {
        let percent = (!self.is_done()).then_some(100);
        Step::Next { stage: Stage::Done(result), status: "Succeeded".to_owned(), percent }
    }

    fn failed(&self, response: &Response, status: &str) -> Step {
        let body = &response.body;
        let error =
            [&body["error"], &body["properties"]["error"], &body["properties"]["statusMessage"]].into_iter().find(|error| !error.is_null());
        Step::Failed(Error::from_operation(&self.request, response, status, error.unwrap_or(&Value::Null)))
    }

    fn refused(&self, response: &Response) -> Step {
        Step::Failed(Error::from_response(&self.request, response))
    }

    /// The error of a wait that took too long.
    pub(super) fn overdue(&self, status: &str, waited: Duration) -> Error {
        Error::DeadlineExceeded { resource: self.resource.clone(), operation_url: self.url(), status: status.to_owned(), waited }
    }

    /// What goes on in Azure, in words.
    pub(super) fn in_words(&self, status: &str, elapsed: Duration) -> String {
        let address = self.url().map(|url| format!("; its progress: {url}")).unwrap_or_default();
        format!("{} ({status} for {}), which goes on in Azure{address}", self.request, error::seconds(elapsed))
    }
}

/// What a status means. Words that nobody knows mean that it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Succeeded,
    Failed,
    Running,
}

impl Verdict {
    fn of(status: &str) -> Self {
        match status.to_ascii_lowercase().as_str() {
            "succeeded" | "completed" | "ready" => Self::Succeeded,
            "failed" | "canceled" | "cancelled" => Self::Failed,
            _ => Self::Running,
        }
    }
}

/// Another poll, with the words that this answer has for the progress.
fn go_on(stage: Stage, response: &Response) -> Step {
    let word = response.body["status"].as_str().or_else(|| provisioning_state(&response.body));
    let percent = response.body.get("percentComplete").and_then(Value::as_number).and_then(percent);
    Step::Next { stage, status: word.unwrap_or("Running").to_owned(), percent }
}

/// The whole part of a number that may have a fraction.
fn percent(number: &Number) -> Option<u8> {
    number.as_str().split('.').next()?.parse().ok()
}

fn provisioning_state(body: &Value) -> Option<&str> {
    body["properties"]["provisioningState"].as_str().or_else(|| body["provisioningState"].as_str())
}

/// How long to wait before the next poll: what the service asks for, otherwise by the time elapsed.
///
/// One poll costs a request, one second of overshoot costs the user a second. At first a poll comes every half a second, and more often still
/// in the first two; then the wait grows with the time elapsed, so that the overshoot is below 2 % in the median, the poll's own time included;
/// 4.8 s at most, so that nobody waits longer than 5 s. That makes 80 polls in 90 s and 438 in 30 minutes at most.
pub fn interval(elapsed: Duration, retry_after: Option<Duration>) -> Duration {
    match retry_after {
        Some(asked) if !asked.is_zero() => asked.max(Duration::from_millis(200)),
        _ => {
            let elapsed = elapsed.as_secs_f64();
            let early = (0.3 * elapsed).clamp(0.28, 0.52);
            // Not `clamp`: its message would bring the printing of numbers into the WebAssembly, 18 KB.
            Duration::from_secs_f64((0.039 * elapsed - 0.04).max(early).min(4.8))
        }
    }
}

#[cfg(test)]
mod tests;
