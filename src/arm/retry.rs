//! Which failures are tried again, when, and why: one table, and a pure function of the failure and the clock on top of it.
//!
//! `docs/reliability.md` shows the same table; a test compares both.

use std::time::Duration;

use azure_core::time::parse_rfc7231;
use time::OffsetDateTime;

/// What befell one attempt.
#[derive(Clone, Copy, Debug)]
pub enum Failure<'a> {
    /// The service answered with this status and these headers (lower-case names); the error's code where the body told it.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The headers.
        headers: &'a [(String, String)],
        /// Azure's error code.
        code: Option<&'a str>,
    },
    /// The connection broke: whether the service has got the request is not known.
    Lost,
    /// The connection was never made: nothing was sent.
    Unreached,
}

/// How long something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until the limits of the client end it; the service's delay is obeyed, and counts no attempt.
    Limits,
    /// The same for the client; a task goes on waiting until its time-out, as long as something else is being done to the resource.
    UntilFree,
    /// Not by the client; a task waits until its time-out, as long as something else is being done to the resource.
    WhileBusy,
    /// So long after the run itself has made what is asked for; at other times not at all.
    AfterCreation(Duration),
    /// So many tries, each with another token.
    OtherTokens(u32),
    /// Not by the client: the operation has ended. The image factory makes the thing anew.
    Anew,
    /// Not at all.
    Never,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What it is called.
    pub name: &'static str,
    /// Whether it is about connections rather than answers.
    pub connection: Option<Connection>,
    /// The HTTP statuses; empty for connections, and for every status where the row is the last. 200 is an operation that ended as failed.
    pub statuses: &'static [u16],
    /// Azure's error codes; empty means any.
    pub codes: &'static [&'static str],
    /// How long.
    pub patience: Patience,
    /// Whether the service may have done what was asked, so that the resource is looked at before a PUT or POST is repeated.
    pub uncertain: bool,
    /// Why.
    pub why: &'static str,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It broke.
    Lost,
    /// It was never made.
    Unreached,
}

/// How long what was made may still be unknown to Azure's caches.
pub const VISIBLE_AFTER: Duration = Duration::from_mins(1);
/// How long a role that came with something new may take until it counts.
pub const ALLOWED_AFTER: Duration = Duration::from_mins(2);

/// The code of a missing role on what a request links to.
const LINK: &str = "LinkedAuthorizationFailed";

/// The table. The first row that fits counts.
pub const TABLE: &[Rule] = &[
    Rule {
        name: "throttled",
        connection: None,
        statuses: &[429],
        codes: &[],
        patience: Patience::Limits,
        uncertain: false,
        why: "a bucket of requests is empty; the service says when it is filled again",
    },
    Rule {
        name: "out of order",
        connection: None,
        statuses: &[408, 500, 502, 503, 504],
        codes: &[],
        patience: Patience::Limits,
        uncertain: true,
        why: "a service or a gateway is out of order for a moment; it may have passed the request on before",
    },
    Rule {
        name: "lost",
        connection: Some(Connection::Lost),
        statuses: &[],
        codes: &[],
        patience: Patience::Limits,
        uncertain: true,
        why: "the answer did not come; the request may have been carried out",
    },
    Rule {
        name: "unreached",
        connection: Some(Connection::Unreached),
        statuses: &[],
        codes: &[],
        patience: Patience::Limits,
        uncertain: false,
        why: "nothing was sent",
    },
    Rule {
        name: "interfering",
        connection: None,
        statuses: &[409],
        codes: &[
            "AnotherOperationInProgress",
            "RetryableError",
            "RetryableErrorDueToAnotherOperation",
            "ConflictingConcurrentWriteNotAllowed",
        ],
        patience: Patience::UntilFree,
        uncertain: false,
        why: "Azure refuses what would interfere with an operation under way, and asks to come back",
    },
    Rule {
        name: "busy",
        connection: None,
        statuses: &[409],
        codes: &["ResourceIsNotInValidState", "DeploymentActive"],
        patience: Patience::WhileBusy,
        uncertain: false,
        why: "the resource is being made or changed; when it is settled and still refuses, waiting frees nothing",
    },
    Rule {
        name: "conflict",
        connection: None,
        statuses: &[409, 412],
        codes: &[],
        patience: Patience::Never,
        uncertain: false,
        why: "something else is there, or a lock forbids it: that does not pass by itself",
    },
    Rule {
        name: "not yet there",
        connection: None,
        statuses: &[404],
        codes: &[],
        patience: Patience::AfterCreation(VISIBLE_AFTER),
        uncertain: false,
        why: "Azure's caches are behind by seconds; what the run did not make itself is not there",
    },
    Rule {
        name: "not yet allowed",
        connection: None,
        statuses: &[403],
        codes: &["AuthorizationFailed", LINK],
        patience: Patience::AfterCreation(ALLOWED_AFTER),
        uncertain: false,
        why: "roles on something new take time until they count; elsewhere the role is missing, and the hint says which",
    },
    Rule {
        name: "token refused",
        connection: None,
        statuses: &[401],
        codes: &[],
        patience: Patience::OtherTokens(3),
        uncertain: false,
        why: "a token may be withdrawn before its time; several refused ones in a row mean that the identity itself is",
    },
    Rule {
        name: "failed by itself",
        connection: None,
        statuses: &[200],
        codes: &[
            "InternalExecutionError",
            "InternalOperationError",
            "InternalServerError",
            "InternalError",
            "NetworkingInternalOperationError",
            "OSProvisioningTimedOut",
            "OperationPreempted",
            "RetryableError",
            "RetryableErrorDueToAnotherOperation",
            "ServerTimeout",
            "StorageTimeout",
        ],
        patience: Patience::Anew,
        uncertain: false,
        why: "Azure's own machinery failed, not what was asked for",
    },
    Rule {
        name: "refused",
        connection: None,
        statuses: &[],
        codes: &[],
        patience: Patience::Never,
        uncertain: false,
        why: "the same request will be refused again",
    },
];

impl Rule {
    fn fits(&self, failure: Failure<'_>) -> bool {
        match failure {
            Failure::Lost => self.connection == Some(Connection::Lost),
            Failure::Unreached => self.connection == Some(Connection::Unreached),
            Failure::Answer { status, code, .. } => {
                self.connection.is_none()
                    && (self.statuses.is_empty() || self.statuses.contains(&status))
                    && (self.codes.is_empty() || code.is_some_and(|code| has(self.codes, code)))
            }
        }
    }
}

fn has(codes: &[&str], code: &str) -> bool {
    codes.iter().any(|known| known.eq_ignore_ascii_case(code))
}

/// The row for a failure.
pub fn rule(failure: Failure<'_>) -> &'static Rule {
    TABLE.iter().find(|rule| rule.fits(failure)).unwrap_or(&TABLE[TABLE.len() - 1])
}

/// Whether an error says that something else is being done to the resource for the moment, so that waiting may free it.
pub fn is_busy(error: &super::Error) -> bool {
    let busy = TABLE.iter().filter(|rule| matches!(rule.patience, Patience::UntilFree | Patience::WhileBusy));
    error.status() == Some(409) && busy.flat_map(|rule| rule.codes).any(|code| error.has_code(code))
}

/// Whether an operation ended by a failure of Azure's own, so that the same may succeed when it is done anew.
pub fn failed_by_itself(error: &super::Error) -> bool {
    let rows = TABLE.iter().filter(|rule| rule.patience == Patience::Anew);
    error.status() == Some(200) && rows.flat_map(|rule| rule.codes).any(|code| error.has_code(code))
}

/// Whether a role is missing on what the request links to, and not on what it is about.
pub fn is_about_link(failure: Failure<'_>) -> bool {
    matches!(failure, Failure::Answer { status: 403, code: Some(code), .. } if code.eq_ignore_ascii_case(LINK))
}

/// Whether another token may be tried after this many have been refused.
pub fn tries_another_token(failure: Failure<'_>, refused: u32) -> bool {
    matches!(rule(failure).patience, Patience::OtherTokens(tries) if refused < tries)
}

/// How long to keep trying.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How often in all, where the service does not say when to come back.
    pub attempts: u32,
    /// How long in all, waits included.
    pub total: Duration,
    /// Whether the run itself has just made what is asked for.
    pub of_new: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attempts: 6, total: Duration::from_mins(5), of_new: false }
    }
}

/// The longest wait of ours between two attempts.
const LONGEST: Duration = Duration::from_secs(15);

/// How long to wait before the next attempt; `None` to give up. `attempt` counts from 1, `elapsed` is the time since the first began.
pub fn next_delay(failure: Failure<'_>, attempt: u32, elapsed: Duration, now: OffsetDateTime, limits: Limits) -> Option<Duration> {
    let (attempts, total) = match rule(failure).patience {
        Patience::Limits | Patience::UntilFree => (limits.attempts, limits.total),
        Patience::AfterCreation(time) if limits.of_new => (u32::MAX, time.min(limits.total)),
        Patience::AfterCreation(_) | Patience::WhileBusy | Patience::OtherTokens(_) | Patience::Anew | Patience::Never => return None,
    };
    let asked = match failure {
        Failure::Answer { headers, .. } => retry_after(headers, now),
        Failure::Lost | Failure::Unreached => None,
    };
    // A service that says when to come back is obeyed as long as there is time; otherwise the attempts count.
    let delay = match asked {
        Some(asked) => asked.max(backoff(1)),
        None if attempt >= attempts => return None,
        None => backoff(attempt),
    };
    (elapsed + delay < total).then_some(delay)
}

/// Whether the service may have done what was asked, although it did not say so.
pub fn is_uncertain(failure: Failure<'_>) -> bool {
    rule(failure).uncertain
}

/// The wait that the service asks for: `x-ms-retry-after-ms`, `retry-after-ms`, or `Retry-After` in seconds or as a date.
pub fn retry_after(headers: &[(String, String)], now: OffsetDateTime) -> Option<Duration> {
    let value = |name: &str| headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
    for name in ["x-ms-retry-after-ms", "retry-after-ms"] {
        if let Some(milliseconds) = value(name).and_then(|value| value.parse().ok()) {
            return Some(Duration::from_millis(milliseconds));
        }
    }
    let value = value("retry-after")?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = parse_rfc7231(value).ok()?;
    Some(Duration::try_from(date - now).unwrap_or_default())
}

/// Our own wait: 0.25 s, doubled each time.
fn backoff(attempt: u32) -> Duration {
    (Duration::from_millis(250) * 2_u32.pow(attempt.clamp(1, 8) - 1)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::scripted::start;

    type Pairs = &'static [(&'static str, &'static str)];

    fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_service_says_when_to_come_back() {
        let cases: [(Pairs, Option<u64>); 8] = [
            (&[("retry-after", "7")], Some(7000)),
            (&[("Retry-After", " 7 ")], Some(7000)),
            (&[("retry-after", "7"), ("x-ms-retry-after-ms", "300")], Some(300)),
            (&[("retry-after-ms", "1500")], Some(1500)),
            (&[("retry-after", "Fri, 20 Nov 2026 00:00:30 GMT")], Some(30_000)),
            (&[("retry-after", "Thu, 19 Nov 2026 00:00:30 GMT")], Some(0)),
            (&[("retry-after", "soon")], None),
            (&[], None),
        ];
        for (given, expected) in cases {
            assert_eq!(retry_after(&headers(given), start()), expected.map(Duration::from_millis), "{given:?}");
        }
    }

    #[test]
    fn transient_failures_are_tried_again_and_no_others() {
        for (status, code, expected) in [
            (408, None, true),
            (429, Some("SubscriptionRequestsThrottled"), true),
            (500, None, true),
            (502, None, true),
            (503, None, true),
            (504, None, true),
            (409, Some("AnotherOperationInProgress"), true),
            (409, Some("DeploymentActive"), false),
            (409, Some("ScopeLocked"), false),
            (409, None, false),
            (400, None, false),
            (401, None, false),
            (403, Some("AuthorizationFailed"), false),
            (404, None, false),
            (412, None, false),
            (501, None, false),
        ] {
            let failure = Failure::Answer { status, headers: &[], code };
            let delay = next_delay(failure, 1, Duration::ZERO, start(), Limits::default());
            assert_eq!(delay.is_some(), expected, "{status} {code:?}");
        }
    }

    #[test]
    fn our_own_waits_double_and_end() {
        let waits: Vec<_> = (1..=7)
            .map(|attempt| next_delay(Failure::Lost, attempt, Duration::ZERO, start(), Limits::default()).map(|wait| wait.as_millis()))
            .collect();
        assert_eq!(waits, [Some(250), Some(500), Some(1000), Some(2000), Some(4000), None, None]);
    }

    #[test]
    fn throttling_is_waited_out_beyond_the_attempts_but_not_beyond_the_time() {
        let given = headers(&[("retry-after", "20")]);
        let throttled = Failure::Answer { status: 429, headers: &given, code: None };
        let limits = Limits { attempts: 3, total: Duration::from_secs(100), of_new: false };
        assert_eq!(next_delay(throttled, 50, Duration::from_secs(70), start(), limits), Some(Duration::from_secs(20)));
        assert_eq!(next_delay(throttled, 1, Duration::from_secs(80), start(), limits), None);
        let at_once = headers(&[("retry-after", "0")]);
        let throttled = Failure::Answer { status: 429, headers: &at_once, code: None };
        assert_eq!(next_delay(throttled, 1, Duration::ZERO, start(), limits), Some(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_new_may_be_unknown_and_forbidden_for_a_while_and_nothing_else_may() {
        let new = Limits { of_new: true, ..Limits::default() };
        for (status, code, seconds) in
            [(404, None, 60), (403, Some("AuthorizationFailed"), 120), (403, Some("RequestDisallowedByPolicy"), 0)]
        {
            let failure = Failure::Answer { status, headers: &[], code };
            let at = |elapsed: u64, limits| next_delay(failure, 9, Duration::from_secs(elapsed), start(), limits).is_some();
            assert_eq!((at(0, new), at(seconds, new), at(0, Limits::default())), (seconds > 0, false, false), "{status} {code:?}");
        }
    }

    #[test]
    fn every_failure_has_a_row_and_only_what_may_have_been_done_is_uncertain() {
        let answer = |status, code| Failure::Answer { status, headers: &[], code };
        for (failure, name, uncertain) in [
            (Failure::Lost, "lost", true),
            (Failure::Unreached, "unreached", false),
            (answer(503, None), "out of order", true),
            (answer(429, None), "throttled", false),
            (answer(409, Some("deploymentactive")), "busy", false),
            (answer(409, Some("ScopeLocked")), "conflict", false),
            (answer(401, None), "token refused", false),
            (answer(200, Some("InternalExecutionError")), "failed by itself", false),
            (answer(418, None), "refused", false),
        ] {
            assert_eq!((rule(failure).name, is_uncertain(failure)), (name, uncertain));
        }
    }
}
