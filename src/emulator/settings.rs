//! What can be changed while the emulator runs: speed, durations, throttling, the lifetime of tokens.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};

/// What takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// A virtual machine is made.
    VirtualMachine,
    /// An artifact is applied.
    Artifact,
    /// An image is captured.
    CustomImage,
    /// An environment, or a resource of a provider that the emulator does not know.
    Environment,
    /// Something is deleted.
    Deletion,
    /// A virtual machine starts.
    Start,
    /// A virtual machine stops.
    Stop,
    /// A gallery version is replicated to one region.
    GalleryRegion,
    /// A gibibyte is copied.
    BlobCopyGib,
    /// A lab is made.
    Lab,
}

/// Contract's names, and seconds at speed 1.
const WORK: [(&str, Work, f64); 10] = [
    ("virtualMachine", Work::VirtualMachine, 180.0),
    ("artifact", Work::Artifact, 30.0),
    ("customImage", Work::CustomImage, 240.0),
    ("environment", Work::Environment, 120.0),
    ("deletion", Work::Deletion, 60.0),
    ("start", Work::Start, 45.0),
    ("stop", Work::Stop, 45.0),
    ("galleryRegion", Work::GalleryRegion, 600.0),
    ("blobCopySecondsPerGiB", Work::BlobCopyGib, 6.0),
    ("lab", Work::Lab, 45.0),
];

/// The settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Divides every duration.
    pub speed: f64,
    /// Whether token buckets apply.
    pub throttling: bool,
    /// How long tokens live, in seconds.
    pub token_lifetime_seconds: i64,
    /// What was changed since the start, besides the speed, in the contract's words: this outlives the process.
    pub changed: Map<String, Value>,
    durations: BTreeMap<Work, f64>,
}

impl Settings {
    /// The defaults at a speed.
    pub fn new(speed: f64) -> Self {
        Self {
            speed,
            throttling: false,
            token_lifetime_seconds: 3600,
            changed: Map::new(),
            durations: WORK.iter().map(|(_, work, seconds)| (*work, *seconds)).collect(),
        }
    }

    /// The same, with no work taking any time.
    pub fn instant(&self) -> Self {
        Self { speed: f64::MAX, throttling: false, ..self.clone() }
    }

    /// How long a piece of work takes in real time.
    pub fn duration(&self, work: Work) -> Duration {
        self.scaled(self.durations[&work])
    }

    /// Simulated seconds in real time.
    pub fn scaled(&self, seconds: f64) -> Duration {
        Duration::try_from_secs_f64(seconds / self.speed).unwrap_or(Duration::MAX)
    }

    /// Sets a duration by the contract's name.
    pub fn set_duration(&mut self, name: &str, seconds: f64) -> Result<(), String> {
        let Some((_, work, _)) = WORK.iter().find(|(known, ..)| *known == name) else {
            let known: Vec<&str> = WORK.iter().map(|(name, ..)| *name).collect();
            return Err(format!("'{name}' is no duration; there are {}", known.join(", ")));
        };
        if !(seconds.is_finite() && seconds >= 0.0) {
            return Err(format!("the duration '{name}' must be zero or more seconds"));
        }
        self.durations.insert(*work, seconds);
        Ok(())
    }

    /// Takes any of `throttling`, `tokenLifetimeSeconds` and `durations`, or says what is wrong.
    pub fn change(&mut self, name: &str, value: &Value) -> Result<(), String> {
        match name {
            "throttling" => self.throttling = value.as_bool().ok_or("'throttling' must be true or false")?,
            "tokenLifetimeSeconds" => {
                let seconds = value.as_i64().filter(|seconds| (0..=31_536_000).contains(seconds));
                self.token_lifetime_seconds = seconds.ok_or("'tokenLifetimeSeconds' must be a number of seconds")?;
            }
            "durations" => {
                for (work, seconds) in value.as_object().ok_or("'durations' must be an object")? {
                    self.set_duration(work, seconds.as_f64().ok_or_else(|| format!("'{work}' must be a number"))?)?;
                }
                let all = self.changed.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if let (Value::Object(all), Value::Object(given)) = (all, value) {
                    all.extend(given.clone());
                }
                return Ok(());
            }
            other => return Err(format!("there is no setting '{other}'")),
        }
        self.changed.insert(name.to_owned(), value.clone());
        Ok(())
    }

    /// Takes what was changed in an earlier process.
    pub fn apply(&mut self, changed: &Map<String, Value>) {
        for (name, value) in changed {
            // It was taken once; what a later version no longer knows has no meaning any more.
            let _ = self.change(name, value);
        }
    }

    /// Sets the speed.
    pub fn set_speed(&mut self, speed: f64) -> Result<(), String> {
        if !(speed.is_finite() && speed > 0.0) {
            return Err("the speed must be above zero".into());
        }
        self.speed = speed;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_divided_by_the_speed() {
        let mut settings = Settings::new(60.0);
        assert_eq!(settings.duration(Work::VirtualMachine), Duration::from_secs(3));
        settings.set_duration("virtualMachine", 1.5).expect("known");
        settings.set_speed(1.0).expect("positive");
        assert_eq!(settings.duration(Work::VirtualMachine), Duration::from_millis(1500));
    }

    #[test]
    fn unknown_and_negative_durations_are_refused() {
        let mut settings = Settings::new(1.0);
        assert!(settings.set_duration("coffee", 1.0).is_err());
        assert!(settings.set_duration("artifact", -1.0).is_err());
        assert!(settings.set_speed(0.0).is_err());
        assert!(settings.set_speed(f64::NAN).is_err());
    }
}
