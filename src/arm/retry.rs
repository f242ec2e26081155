//! Which failures are tried again, and when. A pure function of the failure and the clock.

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
    /// The connection broke or was never made.
    Connection,
}

/// How long to keep trying.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How often in all, where the service does not say when to come back.
    pub attempts: u32,
    /// How long in all, waits included.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attempts: 6, total: Duration::from_mins(5) }
    }
}

/// The longest wait of ours between two attempts.
const LONGEST: Duration = Duration::from_secs(15);

/// How long to wait before the next attempt; `None` to give up. `attempt` counts from 1, `elapsed` is the time since the first began.
pub fn next_delay(failure: Failure<'_>, attempt: u32, elapsed: Duration, now: OffsetDateTime, limits: Limits) -> Option<Duration> {
    if !is_transient(failure) {
        return None;
    }
    let asked = match failure {
        Failure::Answer { headers, .. } => retry_after(headers, now),
        Failure::Connection => None,
    };
    // A service that says when to come back is obeyed as long as there is time; otherwise the attempts count.
    let delay = match asked {
        Some(asked) => asked.max(backoff(1)),
        None if attempt >= limits.attempts => return None,
        None => backoff(attempt),
    };
    (elapsed + delay < limits.total).then_some(delay)
}

/// Whether a failure may pass by itself.
pub fn is_transient(failure: Failure<'_>) -> bool {
    match failure {
        Failure::Connection | Failure::Answer { status: 408 | 429 | 500 | 502 | 503 | 504, .. } => true,
        // Azure refuses what would interfere with an operation under way, and asks to come back.
        Failure::Answer { status: 409, code: Some(code), .. } => {
            ["AnotherOperationInProgress", "RetryableError", "RetryableErrorDueToAnotherOperation"]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(code))
        }
        Failure::Answer { .. } => false,
    }
}

/// Whether the service may have done what was asked, although it did not say so.
pub fn is_uncertain(failure: Failure<'_>) -> bool {
    matches!(failure, Failure::Connection | Failure::Answer { status: 408 | 500 | 502 | 503 | 504, .. })
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
            assert_eq!(is_transient(failure), expected, "{status} {code:?}");
            assert_eq!(next_delay(failure, 1, Duration::ZERO, start(), Limits::default()).is_some(), expected);
        }
    }

    #[test]
    fn our_own_waits_double_and_end() {
        let waits: Vec<_> = (1..=7)
            .map(|attempt| {
                next_delay(Failure::Connection, attempt, Duration::ZERO, start(), Limits::default()).map(|wait| wait.as_millis())
            })
            .collect();
        assert_eq!(waits, [Some(250), Some(500), Some(1000), Some(2000), Some(4000), None, None]);
    }

    #[test]
    fn throttling_is_waited_out_beyond_the_attempts_but_not_beyond_the_time() {
        let given = headers(&[("retry-after", "20")]);
        let throttled = Failure::Answer { status: 429, headers: &given, code: None };
        let limits = Limits { attempts: 3, total: Duration::from_secs(100) };
        assert_eq!(next_delay(throttled, 50, Duration::from_secs(70), start(), limits), Some(Duration::from_secs(20)));
        assert_eq!(next_delay(throttled, 1, Duration::from_secs(80), start(), limits), None);
        let at_once = headers(&[("retry-after", "0")]);
        let throttled = Failure::Answer { status: 429, headers: &at_once, code: None };
        assert_eq!(next_delay(throttled, 1, Duration::ZERO, start(), limits), Some(Duration::from_millis(250)));
    }
}
