//! What helps to understand a refused sign-in: what was presented, and how far the machine's clock is off.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use azure_core::{
    Error,
    error::ErrorKind,
    http::{
        Context, Request,
        headers::HeaderName,
        policies::{Policy, PolicyResult},
    },
    time::parse_rfc7231,
};
use time::OffsetDateTime;

use crate::{
    arm::error::{Cause, seconds},
    host::Host,
};

/// Clocks that differ by less are none of the sign-in service's business.
const TOLERANCE: time::Duration = time::Duration::minutes(4);

/// What is known about the last attempt to sign in.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    presented: Mutex<Option<String>>,
    /// The date that the service's answer bore, and this machine's when it came.
    answered: Mutex<Option<(String, OffsetDateTime)>>,
}

impl Refusal {
    /// Notes what is presented; nothing secret.
    pub(super) fn present(&self, what: String) {
        *self.presented.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }

    /// Adds what is known to the answer of a sign-in service that has refused. Any other error stays as it is.
    pub(super) fn explain(&self, error: Error) -> Error {
        let chain = Cause::from_error(&error).chain();
        let Some(at) = ["AADSTS", "MSIS"].iter().filter_map(|code| chain.find(code)).min() else { return error };
        // What may pass by itself is tried again by whoever knows the status.
        if error.http_status().is_some_and(|status| u16::from(status) >= 500) {
            return error;
        }
        let said = chain[at..].lines().next().unwrap_or_default().split(" Trace ID:").next().unwrap_or_default().trim();
        let facts = self.facts();
        let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join("; ")) };
        Error::with_message(ErrorKind::Credential, format!("{said}{facts}"))
    }

    fn facts(&self) -> Vec<String> {
        let presented = self.presented.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut facts: Vec<String> = presented.map(|what| format!("presented: {what}")).into_iter().collect();
        let ahead = self.ahead().unwrap_or_default();
        if ahead.abs() > TOLERANCE {
            let side = if ahead.is_positive() { "ahead of" } else { "behind" };
            facts.push(format!("this machine's clock is {} {side} the sign-in service's", seconds(ahead.unsigned_abs())));
        }
        facts
    }

    /// By how much this machine's clock is ahead of the service's.
    fn ahead(&self) -> Option<time::Duration> {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let (date, now) = answered.as_ref()?;
        Some(*now - parse_rfc7231(date).ok()?)
    }
}

/// A policy that compares this machine's clock with that of whoever answers.
pub(super) fn clock(host: &Arc<dyn Host>, refusal: &Arc<Refusal>) -> Arc<dyn Policy> {
    Arc::new(Clock { host: Arc::clone(host), refusal: Arc::clone(refusal) })
}

#[derive(Debug)]
struct Clock {
    host: Arc<dyn Host>,
    refusal: Arc<Refusal>,
}

#[async_trait]
impl Policy for Clock {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let response = next[0].send(context, request, &next[1..]).await?;
        let date = response.headers().get_optional_string(&HeaderName::from_static("date"));
        *self.refusal.answered.lock().unwrap_or_else(PoisonError::into_inner) = date.map(|date| (date, self.host.now()));
        Ok(response)
    }
}
