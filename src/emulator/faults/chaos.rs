//! Faults by chance: which request or provisioning meets one follows from a seed and from how often the same thing was asked before.
//!
//! Nothing depends on the time or on the order in which different requests arrive, so that a run with the same seed and the same requests
//! meets the same faults, however its requests interleave.

use std::{collections::HashMap, time::Duration};

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Cut, Effect, Outcome, pattern};
use crate::emulator::error::ApiError;

/// How many of the faults that happened are remembered.
const REMEMBERED: usize = 10_000;
/// How many different requests are counted before counting begins anew.
const COUNTED: usize = 100_000;

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    /// The answer comes late.
    Delay,
    /// The connection is closed before anything was done.
    ResetBefore,
    /// The connection is closed after the request took effect, without an answer.
    ResetAfter,
    /// The answer breaks off.
    Truncate,
    /// 429 with `Retry-After`.
    Throttle,
    /// 500, 502, 503 or 504; nothing was done.
    Error,
    /// The token is refused from now on.
    TokenExpires,
    /// What is being made fails.
    OperationFails,
    /// What is being made does not end.
    OperationStuck,
    /// An artifact fails.
    ArtifactFails,
}

const ALL: [Kind; 10] = [
    Kind::Delay,
    Kind::ResetBefore,
    Kind::ResetAfter,
    Kind::Truncate,
    Kind::Throttle,
    Kind::Error,
    Kind::TokenExpires,
    Kind::OperationFails,
    Kind::OperationStuck,
    Kind::ArtifactFails,
];

impl Kind {
    fn fits_provisioning(self, id: &str) -> bool {
        match self {
            Self::OperationFails | Self::OperationStuck => true,
            Self::ArtifactFails => id.to_ascii_lowercase().contains("/artifacts/"),
            _ => false,
        }
    }

    fn fits_request(self, path: &str) -> bool {
        match self {
            Self::OperationFails | Self::OperationStuck | Self::ArtifactFails => false,
            Self::TokenExpires => path.to_ascii_lowercase().starts_with("/subscriptions"),
            _ => true,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Description {
    #[serde(default)]
    seed: u64,
    rate: f64,
    #[serde(default)]
    kinds: Option<Vec<Kind>>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default = "one_second")]
    max_delay_seconds: f64,
    #[serde(default = "one_day")]
    stuck_seconds: f64,
    #[serde(default = "one")]
    retry_after_seconds: u32,
    #[serde(default)]
    limit: Option<u64>,
}

fn one() -> u32 {
    1
}

fn one_second() -> f64 {
    1.0
}

fn one_day() -> f64 {
    86_400.0
}

/// A fault that happened.
#[derive(Clone, Debug, Serialize)]
struct Injected {
    kind: Kind,
    method: String,
    path: String,
}

/// Faults by chance.
#[derive(Debug)]
pub struct Chaos {
    description: Description,
    kinds: Vec<Kind>,
    path: Option<Regex>,
    seen: HashMap<String, u64>,
    injected: Vec<Injected>,
    count: u64,
}

/// Numbers that follow from the seed and the occasion.
struct Lot {
    /// Whether anything happens, 0 to 1.
    chance: f64,
    /// What.
    choice: usize,
    /// How much, 0 to 1.
    amount: f64,
}

impl Chaos {
    /// Reads the setting `chaos`, or says what is wrong with it.
    pub fn read(value: &Value) -> Result<Self, String> {
        let description = Description::deserialize(value).map_err(|error| format!("'chaos' is wrong: {error}"))?;
        if !(0.0..=1.0).contains(&description.rate) {
            return Err("'chaos.rate' must be 0 to 1".into());
        }
        for (name, seconds) in [("maxDelaySeconds", description.max_delay_seconds), ("stuckSeconds", description.stuck_seconds)] {
            if !(0.0..=86_400.0).contains(&seconds) {
                return Err(format!("'chaos.{name}' must be 0 to 86400"));
            }
        }
        let path = description.path.as_deref().map(pattern).transpose()?;
        let kinds = description.kinds.clone().unwrap_or_else(|| ALL.to_vec());
        Ok(Self { description, kinds, path, seen: HashMap::new(), injected: Vec::new(), count: 0 })
    }

    /// What happens to a request.
    pub fn effect(&mut self, method: &str, path: &str) -> Option<Effect> {
        let (kind, lot) = self.draw(method, path, |kind| kind.fits_request(path))?;
        let mut effect = Effect::default();
        match kind {
            Kind::Delay => effect.delay = seconds(self.description.max_delay_seconds * lot.amount),
            Kind::ResetBefore => effect.cut = Cut::Before,
            Kind::ResetAfter => effect.cut = Cut::After,
            Kind::Truncate => effect.cut = Cut::Within,
            Kind::TokenExpires => effect.expire_token = true,
            Kind::Throttle => self.answer(&mut effect, path, 429, "TooManyRequests", "The request is being throttled. Please retry later."),
            _ => {
                let (status, code, message) = match lot.choice % 4 {
                    0 => (500, "InternalServerError", "The server encountered an internal error. Please retry the request."),
                    1 => (502, "BadGateway", "The gateway received an invalid response from the upstream server."),
                    2 => (503, "ServerTimeout", "The request timed out. Please retry later."),
                    _ => (504, "GatewayTimeout", "The gateway did not receive a response within the specified time period."),
                };
                self.answer(&mut effect, path, status, code, message);
            }
        }
        Some(effect)
    }

    /// What happens to something that is being made.
    pub fn provisioning(&mut self, id: &str) -> Option<Outcome> {
        let (kind, _) = self.draw("PROVISION", id, |kind| kind.fits_provisioning(id))?;
        let failed = |code: &str, message: String| Outcome {
            state: "Failed".into(),
            error: ApiError::new(500, code, message),
            delay: Duration::ZERO,
        };
        Some(match kind {
            Kind::OperationStuck => {
                Outcome { delay: seconds(self.description.stuck_seconds), state: "Succeeded".into(), ..failed("", String::new()) }
            }
            Kind::ArtifactFails => failed("ProvisioningFailed", format!("Provisioning of '{id}' failed.")),
            _ => failed("InternalExecutionError", "An internal execution error occurred. Please retry later.".into()),
        })
    }

    /// The settings and what has happened.
    pub fn to_json(&self) -> Value {
        json!({"seed": self.description.seed, "rate": self.description.rate, "count": self.count, "injected": self.injected})
    }

    fn answer(&self, effect: &mut Effect, path: &str, status: u16, code: &str, message: &str) {
        effect.status = Some(status);
        let wait = self.description.retry_after_seconds;
        if matches!(status, 429 | 503) && wait > 0 {
            effect.headers.push(("Retry-After".into(), wait.to_string()));
        }
        let body = if path.to_ascii_lowercase().contains("/oauth2/") {
            json!({"error": "temporarily_unavailable", "error_codes": [90033],
                "error_description": "AADSTS90033: A transient error has occurred. Please try again."})
        } else {
            ApiError::new(status, code, message).envelope()
        };
        effect.body = Some(body.to_string().into_bytes());
    }

    fn draw(&mut self, method: &str, path: &str, fits: impl Fn(Kind) -> bool) -> Option<(Kind, Lot)> {
        let description = &self.description;
        if description.limit.is_some_and(|limit| self.count >= limit) || self.path.as_ref().is_some_and(|wanted| !wanted.is_match(path)) {
            return None;
        }
        let kinds: Vec<Kind> = self.kinds.iter().copied().filter(|kind| fits(*kind)).collect();
        if kinds.is_empty() {
            return None;
        }
        let occasion = format!("{} {}", method.to_ascii_uppercase(), without_random_names(path));
        if self.seen.len() >= COUNTED {
            self.seen.clear();
        }
        let nth = self.seen.entry(occasion.clone()).or_default();
        let lot = lot(description.seed, &occasion, *nth);
        *nth += 1;
        if lot.chance >= description.rate {
            return None;
        }
        let kind = kinds[lot.choice % kinds.len()];
        self.count += 1;
        if self.injected.len() < REMEMBERED {
            self.injected.push(Injected { kind, method: method.into(), path: path.into() });
        }
        Some((kind, Lot { choice: lot.choice / kinds.len(), ..lot }))
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn lot(seed: u64, occasion: &str, nth: u64) -> Lot {
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{seed}|{occasion}|{nth}").as_bytes());
    // Octets 6 and 8 of a version 5 UUID are not all hash.
    let bytes = hash.as_bytes();
    let share = |range: std::ops::Range<usize>| bytes[range].iter().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte)) / 2_f64.powi(32);
    Lot { chance: share(0..4), choice: usize::from(u16::from_be_bytes([bytes[4], bytes[5]])), amount: share(9..13) }
}

/// The path in lower case without what is made up anew each time: names of operations, and the dates and random digits in the names that
/// clients give to deployments.
fn without_random_names(path: &str) -> String {
    let path = path.to_ascii_lowercase();
    let mut before = "";
    let parts = path.split('/').map(|part| {
        let made_up = before != "subscriptions";
        before = part;
        if made_up { without_random_parts(part) } else { part.to_owned() }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// A name with a star for each of its parts that look random: six or more hexadecimal digits, one of them a digit.
fn without_random_parts(name: &str) -> String {
    let is_random =
        |part: &str| part.len() >= 6 && part.bytes().all(|byte| byte.is_ascii_hexdigit()) && part.bytes().any(|byte| byte.is_ascii_digit());
    let guid = name.len().checked_sub(36).and_then(|start| name.get(start..)).is_some_and(|end| Uuid::try_parse(end).is_ok());
    if guid {
        return "*".to_owned();
    }
    name.split('-').map(|part| if is_random(part) { "*" } else { part }).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chaos(value: &Value) -> Chaos {
        Chaos::read(value).expect("good")
    }

    fn story(chaos: &mut Chaos) -> Vec<Option<Effect>> {
        (0..200).map(|number| chaos.effect("GET", &format!("/subscriptions/s/vm{}", number % 7))).collect()
    }

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let with_seed = |seed: u64| story(&mut chaos(&json!({"seed": seed, "rate": 0.3})));
        assert_eq!(with_seed(7), with_seed(7));
        assert_ne!(with_seed(7), with_seed(8));
    }

    #[test]
    fn the_order_of_different_requests_changes_nothing() {
        let (mut one, mut other) = (chaos(&json!({"seed": 1, "rate": 0.5})), chaos(&json!({"seed": 1, "rate": 0.5})));
        let first: Vec<_> = ["/a", "/b", "/a", "/b"].map(|path| one.effect("GET", path)).into();
        let second: Vec<_> = ["/b", "/b", "/a", "/a"].map(|path| other.effect("GET", path)).into();
        assert_eq!((&first[0], &first[2], &first[1], &first[3]), (&second[2], &second[3], &second[0], &second[1]));
    }

    #[test]
    fn the_rate_is_kept_and_every_kind_has_its_turn() {
        let mut chaos = chaos(&json!({"seed": 3, "rate": 0.2}));
        let hit = (0..5000).filter(|number| chaos.effect("PUT", &format!("/subscriptions/{number}")).is_some()).count();
        assert!((850..1150).contains(&hit), "{hit}");
        for number in 0..500 {
            chaos.provisioning(&format!("/vm/{number}/artifacts/a"));
        }
        for kind in ALL {
            assert!(chaos.injected.iter().any(|injected| injected.kind == kind), "{kind:?}");
        }
    }

    #[test]
    fn kinds_path_and_limit_narrow_it() {
        let mut chaos = chaos(&json!({"rate": 1, "kinds": ["throttle"], "path": "^/only", "limit": 2}));
        assert_eq!(chaos.effect("GET", "/other"), None);
        assert!(chaos.provisioning("/only").is_none());
        for _ in 0..2 {
            let effect = chaos.effect("GET", "/only").expect("a fault");
            assert_eq!((effect.status, effect.headers[0].1.as_str()), (Some(429), "1"));
        }
        assert_eq!(chaos.effect("GET", "/only"), None);
        assert_eq!(chaos.to_json()["count"], 2);
    }

    #[test]
    fn names_that_the_emulator_makes_up_do_not_count() {
        let guid = "20261121-7f1f1e0e-95b5-4d1a-9c6e-0a3f4a0a7c11";
        assert_eq!(without_random_names(&format!("/A/operations/{guid}")), "/a/operations/*");
        assert_eq!(without_random_names("/x/operationStatuses/08580123456789012345"), "/x/operationstatuses/*");
        let kept = "/subscriptions/11111111-1111-4111-8111-111111111111/x";
        assert_eq!(without_random_names(kept), kept);
    }

    #[test]
    fn bad_settings_are_refused() {
        for wrong in [
            json!({}),
            json!({"rate": 2}),
            json!({"rate": -0.1}),
            json!({"rate": 0.1, "kinds": ["tea"]}),
            json!({"rate": 0.1, "path": "("}),
            json!({"rate": 0.1, "stuckSeconds": -1}),
            json!({"rate": 0.1, "sead": 1}),
            json!("often"),
        ] {
            assert!(Chaos::read(&wrong).is_err(), "{wrong}");
        }
    }
}
