//! Which versions of a definition may be deleted: a pure rule over everything that is known of them.

use serde_json::Value;
use time::OffsetDateTime;

use super::{gallery::parse_date, version::VersionNumber};
use crate::order;

/// What is known of a version when it is asked whether it may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub number: VersionNumber,
    /// Azure's word: `Succeeded`, `Failed`, `Creating`, …
    pub provisioning_state: String,
    /// Whether it is left out when somebody asks for the latest.
    pub exclude_from_latest: bool,
    /// Until when its deletion is blocked.
    pub blocked_until: Option<OffsetDateTime>,
    /// Who uses it: ids of virtual machines and scale sets.
    pub used_by: Vec<String>,
}

/// What becomes of a version, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The version.
    pub number: VersionNumber,
    /// Why it stays; `None` when it goes.
    pub kept: Option<String>,
}

/// Reads the versions of a definition. Names that are no version numbers are left alone: nothing is known of what they mean.
pub fn read(versions: &[Value], used_by: impl Fn(&str) -> Vec<String>) -> Vec<Version> {
    let read = versions.iter().filter_map(|version| {
        let properties = &version["properties"];
        let publishing = &properties["publishingProfile"];
        let number: VersionNumber = version["name"].as_str()?.parse().ok()?;
        let blocks = properties["safetyProfile"]["blockDeletionBeforeEndOfLife"].as_bool().unwrap_or(false);
        Some(Version {
            number,
            provisioning_state: properties["provisioningState"].as_str().unwrap_or_default().to_owned(),
            exclude_from_latest: publishing["excludeFromLatest"].as_bool().unwrap_or(false),
            blocked_until: publishing["endOfLifeDate"].as_str().filter(|_| blocks).and_then(|date| parse_date(date).ok()),
            used_by: used_by(version["id"].as_str().unwrap_or_default()),
        })
    });
    read.collect()
}

/// Decides over all versions of a definition, newest first: `keep` good ones stay, and besides them whatever is newest, the latest, in use,
/// blocked or being worked on. Only what is good counts among the `keep`.
pub fn decide(versions: &[Version], keep: usize, now: OffsetDateTime) -> Vec<Decision> {
    let mut ordered: Vec<&Version> = versions.iter().collect();
    order::sort(&mut ordered, &mut |one, other| other.number.cmp(&one.number));
    let is = |version: &Version, state: &str| version.provisioning_state.eq_ignore_ascii_case(state);
    let good: Vec<VersionNumber> = ordered.iter().filter(|version| is(version, "Succeeded")).map(|version| version.number).collect();
    let latest = ordered.iter().find(|version| is(version, "Succeeded") && !version.exclude_from_latest).map(|version| version.number);
    let newest = ordered.first().map(|version| version.number);
    // Whatever is asked for, one good version stays.
    let kept_good = &good[..keep.max(1).min(good.len())];
    let decide = |version: &&Version| {
        let kept = if Some(version.number) == newest {
            Some("it is the newest".to_owned())
        } else if kept_good.contains(&version.number) {
            Some(format!("it is among the newest {}", keep.max(1)))
        } else if Some(version.number) == latest {
            Some("it is what the latest version means".to_owned())
        } else if let Some(user) = version.used_by.first() {
            let more = version.used_by.len() - 1;
            Some(if more == 0 { format!("{user} uses it") } else { format!("{user} and {more} more use it") })
        } else if !is(version, "Succeeded") && !is(version, "Failed") {
            Some(format!("Azure is at work on it ({})", version.provisioning_state))
        } else {
            version.blocked_until.filter(|until| *until > now).map(|until| format!("its deletion is blocked until {}", until.date()))
        };
        Decision { number: version.number, kept }
    };
    ordered.iter().map(decide).collect()
}

/// A virtual machine or scale set, as far as it may use a version.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its id.
    pub id: String,
    /// Whether it tells the version that it runs when it names a definition. A scale set takes whatever is latest when it grows.
    pub is_pinned: bool,
    /// Ids of versions, and of definitions with the version that it runs.
    images: Vec<(String, String)>,
}

impl Machine {
    /// Reads a machine or scale set; `None` when it is made of no image.
    pub fn read(machine: &Value) -> Option<Self> {
        let profiles = ["/properties/storageProfile/imageReference", "/properties/virtualMachineProfile/storageProfile/imageReference"];
        let text = |reference: &Value, name: &str| reference[name].as_str().unwrap_or_default().to_owned();
        let references = profiles.iter().filter_map(|pointer| machine.pointer(pointer));
        let images: Vec<_> = references.map(|reference| (text(reference, "id"), text(reference, "exactVersion"))).collect();
        let is_pinned = machine["properties"]["storageProfile"]["imageReference"]["exactVersion"].is_string();
        (!images.is_empty()).then_some(Self { id: machine["id"].as_str()?.to_owned(), is_pinned, images })
    }
}

/// Ids of the machines and scale sets that use a version: by its id, or by its definition's id while they run exactly this version.
pub fn users(version_id: &str, machines: &[Machine]) -> Vec<String> {
    let (definition, number) = version_id.rsplit_once("/versions/").unwrap_or((version_id, ""));
    let uses = |(id, exact): &(String, String)| {
        id.eq_ignore_ascii_case(version_id) || (id.eq_ignore_ascii_case(definition) && exact == number && !number.is_empty())
    };
    machines.iter().filter(|machine| machine.images.iter().any(uses)).map(|machine| machine.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn version(number: &str, state: &str) -> Version {
        Version {
            number: number.parse().unwrap(),
            provisioning_state: state.into(),
            exclude_from_latest: false,
            blocked_until: None,
            used_by: Vec::new(),
        }
    }

    fn now() -> OffsetDateTime {
        parse_date("2026-11-20").unwrap()
    }

    fn deleted(versions: &[Version], keep: usize) -> Vec<String> {
        let gone = decide(versions, keep, now()).into_iter().filter(|decision| decision.kept.is_none());
        gone.map(|decision| decision.number.to_string()).collect()
    }

    #[test]
    fn the_newest_stay_and_older_ones_go() {
        let versions = ["1.9.0", "1.10.0", "1.0.0", "2.0.0"].map(|number| version(number, "Succeeded"));
        assert_eq!(deleted(&versions, 2), ["1.9.0", "1.0.0"]);
        assert_eq!(deleted(&versions, 9), [""; 0]);
        assert_eq!(deleted(&versions, 0), ["1.10.0", "1.9.0", "1.0.0"]);
        assert_eq!(deleted(&[], 1), [""; 0]);
    }

    #[test]
    fn failed_ones_do_not_count_among_those_kept() {
        let versions =
            [version("3.0.0", "Failed"), version("2.0.0", "Failed"), version("1.1.0", "Succeeded"), version("1.0.0", "Succeeded")];
        assert_eq!(deleted(&versions, 1), ["2.0.0", "1.0.0"]);
    }

    #[test]
    fn what_is_used_blocked_worked_on_or_the_latest_stays() {
        let mut versions = ["6.0.0", "5.0.0", "4.0.0", "3.0.0", "2.0.0", "1.0.0"].map(|number| version(number, "Succeeded"));
        versions[0].exclude_from_latest = true;
        versions[2].used_by = vec!["/vm".into(), "/vmss".into()];
        versions[3].blocked_until = Some(parse_date("2027-01-01").unwrap());
        versions[4].blocked_until = Some(parse_date("2026-01-01").unwrap());
        versions[5].provisioning_state = "Updating".into();
        let kept: Vec<_> = decide(&versions, 1, now()).into_iter().map(|decision| decision.kept.unwrap_or_default()).collect();
        assert_eq!(
            kept,
            [
                "it is the newest",
                "it is what the latest version means",
                "/vm and 1 more use it",
                "its deletion is blocked until 2027-01-01",
                "",
                "Azure is at work on it (Updating)",
            ]
        );
    }

    #[test]
    fn versions_and_their_users_are_read_from_azures_answers() {
        let id = "/subscriptions/s/galleries/g/images/d/versions/1.0.0";
        let versions = [
            json!({"id": id, "name": "1.0.0", "properties": {
                "provisioningState": "Succeeded",
                "publishingProfile": {"endOfLifeDate": "2027-01-01T00:00:00Z", "excludeFromLatest": true},
                "safetyProfile": {"blockDeletionBeforeEndOfLife": true},
            }}),
            json!({"id": "x", "name": "draft"}),
        ];
        let machines = [
            json!({"id": "/vm", "properties": {"storageProfile": {"imageReference": {"id": id.to_ascii_uppercase()}}}}),
            json!({"id": "/latest", "properties": {"storageProfile": {"imageReference": {"id": "/subscriptions/s/galleries/g/images/d", "exactVersion": "1.0.0"}}}}),
            json!({"id": "/other", "properties": {"storageProfile": {"imageReference": {"id": "/subscriptions/s/galleries/g/images/d", "exactVersion": "1.0.1"}}}}),
            json!({"id": "/vmss", "properties": {"virtualMachineProfile": {"storageProfile": {"imageReference": {"id": id}}}}}),
        ];
        let machines: Vec<_> = machines.iter().filter_map(Machine::read).collect();
        let read = read(&versions, |id| users(id, &machines));
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].used_by, ["/vm", "/latest", "/vmss"]);
        assert_eq!((read[0].exclude_from_latest, read[0].blocked_until), (true, Some(parse_date("2027-01-01").unwrap())));
    }

    fn any_version() -> impl Strategy<Value = Version> {
        let state = prop::sample::select(vec!["Succeeded", "Failed", "Creating", "Updating", "Deleting"]);
        let used = prop::collection::vec("[a-z]{1,3}", 0..2);
        (0_u32..4, 0_u32..4, state, any::<bool>(), prop::option::of(-400_i64..400), used).prop_map(
            |(major, minor, state, exclude, days, used_by)| Version {
                number: VersionNumber { major, minor, patch: 0 },
                provisioning_state: state.to_owned(),
                exclude_from_latest: exclude,
                blocked_until: days.map(|days| now() + time::Duration::days(days)),
                used_by,
            },
        )
    }

    proptest! {
        #[test]
        fn nothing_needed_is_ever_deleted(mut versions in prop::collection::vec(any_version(), 0..12), keep in 0_usize..5) {
            versions.sort_by_key(|version| version.number);
            versions.dedup_by_key(|version| version.number);
            let gone = deleted(&versions, keep);
            let stays = |version: &Version| !gone.contains(&version.number.to_string());
            let is_good = |version: &Version| version.provisioning_state == "Succeeded";
            let good: Vec<&Version> = versions.iter().rev().filter(|version| is_good(version)).collect();

            prop_assert!(versions.last().is_none_or(stays), "the newest stays");
            prop_assert!(good.iter().take(keep.max(1)).all(|version| stays(version)), "the newest good ones stay");
            prop_assert!(good.iter().find(|version| !version.exclude_from_latest).is_none_or(|version| stays(version)), "the latest stays");
            for version in &versions {
                let needed = !version.used_by.is_empty()
                    || version.blocked_until.is_some_and(|until| until > now())
                    || !["Succeeded", "Failed"].contains(&version.provisioning_state.as_str());
                prop_assert!(!needed || stays(version), "{version:?} was deleted");
            }
        }

        #[test]
        fn keeping_more_deletes_no_more(mut versions in prop::collection::vec(any_version(), 0..12), keep in 0_usize..5) {
            versions.sort_by_key(|version| version.number);
            versions.dedup_by_key(|version| version.number);
            let (fewer, more) = (deleted(&versions, keep + 1), deleted(&versions, keep));
            prop_assert!(fewer.iter().all(|number| more.contains(number)));
        }
    }
}
