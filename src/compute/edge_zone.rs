//! Edge zones that a version goes to, in the syntax of `az sig image-version create --target-edge-zones`.

use serde_json::{Value, json};

use super::{
    Invalid,
    encryption::{self, EncryptionSets},
    region::{MOST_REPLICAS, Region, Replication, items},
};
use crate::order;

/// The storage that replicas can lie on in an edge zone.
const STORAGE: [&str; 4] = ["Standard_LRS", "Standard_ZRS", "StandardSSD_LRS", "Premium_LRS"];

/// An edge zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeZone {
    /// The region that it belongs to.
    pub region: Region,
    /// Its name, such as `microsoftlosangeles1`.
    pub name: String,
    /// How many replicas; the version's default where it is absent.
    pub replica_count: Option<u64>,
    /// On what storage; the version's default where it is absent.
    pub storage_account_type: Option<&'static str>,
}

/// Reads edge zones: `region=zone`, `region=zone=replicas`, `region=zone=storage` or `region=zone=replicas=storage`, separated by commas,
/// blanks or lines. `none` stands for no edge zone at all.
pub fn parse(text: &str) -> Result<Vec<EdgeZone>, Invalid> {
    let mut zones: Vec<EdgeZone> = Vec::new();
    if text.trim().eq_ignore_ascii_case("none") {
        return Ok(zones);
    }
    for item in items(text) {
        let zone = parse_one(item)?;
        if zones.iter().any(|known| known.name == zone.name) {
            return Err(Invalid::new(item, "this edge zone is listed twice"));
        }
        zones.push(zone);
    }
    Ok(zones)
}

fn parse_one(item: &str) -> Result<EdgeZone, Invalid> {
    let parts: Vec<&str> = item.split('=').collect();
    let wrong = || {
        Invalid::new(item, "write region=zone, region=zone=replicas or region=zone=replicas=storage, as in westus=microsoftlosangeles1=1")
    };
    let plain = |text: &&str| !text.is_empty() && text.chars().all(|character| character.is_ascii_alphanumeric());
    let (region, name, rest) = match parts.as_slice() {
        [region, name, rest @ ..] if rest.len() <= 2 && plain(region) && plain(name) => (region, name, rest),
        _ => return Err(wrong()),
    };
    let count = |text: &str| {
        let count = text.parse().ok().filter(|count| (1..=MOST_REPLICAS).contains(count));
        count.ok_or_else(|| Invalid::new(item, format!("the number of replicas is a whole number from 1 to {MOST_REPLICAS}, not '{text}'")))
    };
    let storage = |text: &str| super::choice(text, &STORAGE).map_err(|wrong| Invalid::new(item, wrong.problem));
    let (replica_count, storage_account_type) = match rest {
        [] => (None, None),
        [one] if one.starts_with(|character: char| character.is_ascii_alphabetic()) => (None, Some(storage(one)?)),
        [one] => (Some(count(one)?), None),
        [one, two, ..] => (Some(count(one)?), Some(storage(two)?)),
    };
    Ok(EdgeZone { region: Region::new(region.to_ascii_lowercase()), name: name.to_ascii_lowercase(), replica_count, storage_account_type })
}

/// `targetExtendedLocations` of a request.
pub fn body(zones: &[EdgeZone], default: Replication, sets: &[EncryptionSets], storage_profile: &Value) -> Value {
    let made = zones.iter().map(|zone| {
        let mut body = json!({
            "name": zone.region.normalized(),
            "extendedLocation": {"name": zone.name, "type": "EdgeZone"},
            "extendedLocationReplicaCount": zone.replica_count.unwrap_or(default.replica_count),
            "storageAccountType": zone.storage_account_type.unwrap_or(default.storage_account_type),
        });
        if let Some(encryption) = encryption::of_edge_zone(sets, &zone.name, storage_profile) {
            body["encryption"] = encryption;
        }
        body
    });
    made.collect()
}

/// Edge zones as text, in order, so that they can be compared and shown.
pub fn shown(zones: &Value) -> String {
    let one = |zone: &Value| {
        let count = super::whole_number(&zone["extendedLocationReplicaCount"]).unwrap_or(1);
        let name = zone["extendedLocation"]["name"].as_str().unwrap_or_default().to_ascii_lowercase();
        format!("{name}={count}={}", zone["storageAccountType"].as_str().unwrap_or("Standard_LRS"))
    };
    let mut shown: Vec<String> = zones.as_array().into_iter().flatten().map(one).collect();
    order::sort(&mut shown, &mut Ord::cmp);
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_written_as_for_the_cli() {
        let default = Replication { replica_count: 2, storage_account_type: "Standard_LRS" };
        let zones = parse("westus=microsoftlosangeles1\n- eastus=MicrosoftBoston1=1=standardssd_lrs westus=other=premium_lrs").unwrap();
        let made = body(&zones, default, &[], &Value::Null);
        assert_eq!(parse(" None "), Ok(Vec::new()));
        assert_eq!(
            made[1],
            json!({"name": "eastus", "extendedLocation": {"name": "microsoftboston1", "type": "EdgeZone"},
                "extendedLocationReplicaCount": 1, "storageAccountType": "StandardSSD_LRS"})
        );
        assert_eq!(shown(&made), "microsoftboston1=1=StandardSSD_LRS, microsoftlosangeles1=2=Standard_LRS, other=2=Premium_LRS");
        for bad in ["westus", "westus=", "=x", "a=b=0", "a=b=1=ultra", "a=b=1=standard_lrs=x", "a=b a=b", "a b=c"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
