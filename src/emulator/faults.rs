//! Faults on demand and by chance: wrong answers, delays, closed connections, provisioning that fails.

pub mod chaos;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::ApiError;
use chaos::Chaos;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Description {
    method: Option<String>,
    path: String,
    #[serde(default)]
    skip: u64,
    #[serde(default = "once")]
    times: u64,
    status: Option<u16>,
    headers: Option<Map<String, Value>>,
    body: Option<Value>,
    #[serde(default)]
    close: bool,
    #[serde(default)]
    close_after: bool,
    #[serde(default)]
    truncate: bool,
    #[serde(default)]
    delay_seconds: f64,
    provisioning: Option<String>,
}

impl Description {
    fn cut(&self) -> Cut {
        match self {
            Self { close: true, .. } => Cut::Before,
            Self { close_after: true, .. } => Cut::After,
            Self { truncate: true, .. } => Cut::Within,
            _ => Cut::Nowhere,
        }
    }
}

fn once() -> u64 {
    1
}

#[derive(Debug)]
struct Fault {
    description: Description,
    path: Regex,
}

/// Where a fault cuts a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// Nowhere.
    #[default]
    Nowhere,
    /// Before the request is served.
    Before,
    /// When the request took effect, without an answer.
    After,
    /// In the middle of the answer's body.
    Within,
}

/// What a fault does to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effect {
    /// Wait so long first.
    pub delay: Duration,
    /// Where the connection is cut.
    pub cut: Cut,
    /// Refuse the request's token from now on.
    pub expire_token: bool,
    /// Answer with this status instead of serving the request.
    pub status: Option<u16>,
    /// Headers of that answer; of the real one when there is no status.
    pub headers: Vec<(String, String)>,
    /// The body of that answer.
    pub body: Option<Vec<u8>>,
}

/// What a fault does to something that is being made.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The provisioning state that it ends in.
    pub state: String,
    /// Why.
    pub error: ApiError,
    /// What it takes longer, in real time.
    pub delay: Duration,
}

/// The faults that wait for their occasion, and those by chance.
#[derive(Debug, Default)]
pub struct Faults {
    faults: Mutex<Vec<Fault>>,
    chaos: Mutex<Option<Chaos>>,
}

impl Faults {
    /// Adds faults, or says what is wrong with them.
    pub fn add(&self, body: &Value) -> Result<(), String> {
        let descriptions = match body {
            Value::Array(items) => items.clone(),
            one => vec![one.clone()],
        };
        let faults: Result<Vec<Fault>, String> = descriptions.into_iter().map(read_fault).collect();
        self.lock().extend(faults?);
        Ok(())
    }

    /// Removes all, those by chance too.
    pub fn clear(&self) {
        self.lock().clear();
        self.set_chaos(None);
    }

    /// Lets faults happen by chance, or no longer.
    pub fn set_chaos(&self, chaos: Option<Chaos>) {
        *self.chaos() = chaos;
    }

    /// The faults that happened by chance; null when none can.
    pub fn chaos_json(&self) -> Value {
        self.chaos().as_ref().map_or(Value::Null, Chaos::to_json)
    }

    /// What happens to a request: the first fault on demand that fits, of which it uses up one occasion, or one by chance.
    pub fn effect(&self, method: &str, path: &str) -> Option<Effect> {
        self.demanded_effect(method, path).or_else(|| self.chaos().as_mut()?.effect(method, path))
    }

    fn demanded_effect(&self, method: &str, path: &str) -> Option<Effect> {
        let mut faults = self.lock();
        let fault = take(&mut faults, |fault| {
            fault.description.provisioning.is_none()
                && fault.description.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
                && fault.path.is_match(path)
        })?;
        let description = &fault.description;
        Some(Effect {
            delay: Duration::try_from_secs_f64(description.delay_seconds).unwrap_or_default(),
            cut: description.cut(),
            expire_token: false,
            status: description.status,
            headers: description.headers.iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect(),
            body: description.body.as_ref().map(|body| text(body).into_bytes()),
        })
    }

    /// What happens to something that is being made, on demand or by chance.
    pub fn provisioning(&self, id: &str) -> Option<Outcome> {
        self.demanded_outcome(id).or_else(|| self.chaos().as_mut()?.provisioning(id))
    }

    fn demanded_outcome(&self, id: &str) -> Option<Outcome> {
        let mut faults = self.lock();
        let fault = take(&mut faults, |fault| fault.description.provisioning.is_some() && fault.path.is_match(id))?;
        let description = &fault.description;
        Some(Outcome {
            state: description.provisioning.clone().unwrap_or_default(),
            error: outcome_error(description, id),
            delay: Duration::try_from_secs_f64(description.delay_seconds).unwrap_or_default(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chaos(&self) -> std::sync::MutexGuard<'_, Option<Chaos>> {
        self.chaos.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A case-insensitive regular expression that is searched in paths.
fn pattern(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).case_insensitive(true).build();
    built.map_err(|error| format!("the fault's path '{text}' is no regular expression: {error}"))
}

fn read_fault(value: Value) -> Result<Fault, String> {
    let description: Description = serde_json::from_value(value).map_err(|error| format!("a fault is wrong: {error}"))?;
    if !(0.0..=86_400.0).contains(&description.delay_seconds) {
        return Err("a fault's delaySeconds must be 0 to 86400".into());
    }
    if description.status.is_some_and(|status| !(100..=599).contains(&status)) {
        return Err("a fault's status must be 100 to 599".into());
    }
    let path = pattern(&description.path)?;
    Ok(Fault { description, path })
}

/// The first fault that fits and is not to be skipped this time.
fn take(faults: &mut [Fault], fits: impl Fn(&Fault) -> bool) -> Option<&Fault> {
    for fault in faults.iter_mut().filter(|fault| fault.description.times > 0) {
        if !fits(fault) {
            continue;
        }
        if fault.description.skip > 0 {
            fault.description.skip -= 1;
            continue;
        }
        fault.description.times -= 1;
        return Some(fault);
    }
    None
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn outcome_error(description: &Description, id: &str) -> ApiError {
    let given = description.body.as_ref().map(|body| body.get("error").unwrap_or(body));
    let field = |name: &str| given.and_then(|error| error.get(name)).and_then(Value::as_str);
    let message = field("message").or(given.and_then(Value::as_str));
    let mut error = ApiError::new(
        description.status.unwrap_or(500),
        field("code").unwrap_or("ProvisioningFailed"),
        message.map_or_else(|| format!("Provisioning of '{id}' failed."), str::to_owned),
    );
    if let Some(details) = given.and_then(|error| error["details"].as_array()) {
        error = error.with_details(details.clone());
    }
    error
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fault_is_skipped_and_used_up() {
        let faults = Faults::default();
        faults.add(&json!([{"method": "PUT", "path": "labs/X$", "skip": 1, "times": 2, "status": 503}])).expect("good");
        let hits: Vec<bool> = (0..5).map(|_| faults.effect("PUT", "/a/LABS/x").is_some()).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        assert_eq!(faults.effect("GET", "/a/labs/x"), None);
    }

    #[test]
    fn provisioning_faults_leave_requests_alone() {
        let faults = Faults::default();
        faults.add(&json!([{"path": "vm1", "provisioning": "Failed", "body": {"code": "C", "message": "M"}}])).expect("good");
        assert_eq!(faults.effect("PUT", "/vm1"), None);
        let outcome = faults.provisioning("/VM1").expect("a fault");
        assert_eq!((outcome.state.as_str(), outcome.error.code.as_str(), outcome.error.message.as_str()), ("Failed", "C", "M"));
        assert!(faults.provisioning("/vm1").is_none());
    }

    #[test]
    fn bad_faults_are_refused() {
        for fault in [json!([{"path": "("}]), json!([{}]), json!([{"path": "a", "sattus": 1}]), json!([{"path": "a", "delaySeconds": -1}])]
        {
            assert!(Faults::default().add(&fault).is_err(), "{fault}");
        }
    }
}
