//! Regions, and the list of a version's target regions in the syntax of `az sig image-version create --target-regions`.

use serde_json::{Value, json};

use super::{Invalid, choice, whole_number};
use crate::order;

/// The storage that replicas can lie on.
pub const STORAGE_ACCOUNT_TYPES: [&str; 3] = ["Standard_LRS", "Standard_ZRS", "Premium_LRS"];
/// The most replicas that a version can have, over all regions.
pub const MOST_REPLICAS: u64 = 100;

/// A region's name, which compares as Azure compares it: `West Europe` is `westeurope`.
#[derive(Clone, Debug)]
pub struct Region(String);

impl Region {
    /// A region as somebody wrote it.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name in the form that every interface takes.
    pub fn normalized(&self) -> String {
        self.0.chars().filter(|character| !character.is_whitespace()).flat_map(char::to_lowercase).collect()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let region = Self(text.trim().to_owned());
        let normalized = region.normalized();
        if normalized.is_empty() || !normalized.chars().all(|character| character.is_ascii_alphanumeric()) {
            return Err(Invalid::new(text, "this is no region's name; write it as in westus2"));
        }
        Ok(Self(normalized))
    }
}

impl PartialEq for Region {
    fn eq(&self, other: &Self) -> bool {
        self.normalized() == other.normalized()
    }
}

impl Eq for Region {}

impl std::fmt::Display for Region {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A region that a version is to be replicated to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRegion {
    /// The region.
    pub name: Region,
    /// How many replicas; the version's default where it is absent.
    pub replica_count: Option<u64>,
    /// On what storage; the version's default where it is absent.
    pub storage_account_type: Option<&'static str>,
}

impl TargetRegion {
    /// A region with the version's defaults.
    pub fn new(name: Region) -> Self {
        Self { name, replica_count: None, storage_account_type: None }
    }
}

/// What holds for every region that says nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replication {
    /// Replicas in a region.
    pub replica_count: u64,
    /// The storage that they lie on.
    pub storage_account_type: &'static str,
}

/// Reads a storage account type, such as `standard_zrs`.
pub fn parse_storage_account_type(text: &str) -> Result<&'static str, Invalid> {
    choice(text, &STORAGE_ACCOUNT_TYPES)
}

/// Reads target regions: `region`, `region=replicas`, `region=storage` or `region=replicas=storage`, separated by commas, blanks or lines.
/// Lines may begin with `-`, as in YAML.
pub fn parse_target_regions(text: &str) -> Result<Vec<TargetRegion>, Invalid> {
    let mut regions: Vec<TargetRegion> = Vec::new();
    for item in items(text) {
        let region = parse_target_region(item, &STORAGE_ACCOUNT_TYPES)?;
        if regions.iter().any(|known| known.name == region.name) {
            return Err(Invalid::new(item, "this region is listed twice"));
        }
        regions.push(region);
    }
    Ok(regions)
}

/// The items of a list, separated by commas, blanks or lines, which may begin with `-`.
pub(super) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| character == ',' || character.is_whitespace()).filter(|item| !item.is_empty() && *item != "-")
}

/// Reads one region with its replicas and their storage, which is one of `storage_account_types`.
pub(super) fn parse_target_region(item: &str, storage_account_types: &[&'static str]) -> Result<TargetRegion, Invalid> {
    let wrap = |wrong: Invalid| Invalid::new(item, wrong.problem);
    let mut parts = item.split('=');
    let mut region = TargetRegion::new(Region::parse(parts.next().unwrap_or_default()).map_err(wrap)?);
    let parts: Vec<&str> = parts.collect();
    match parts.as_slice() {
        [] => {}
        [one] if one.starts_with(|character: char| character.is_ascii_alphabetic()) => {
            region.storage_account_type = Some(choice(one, storage_account_types).map_err(wrap)?);
        }
        [count] => region.replica_count = Some(parse_replica_count(count).map_err(wrap)?),
        [count, storage] => {
            region.replica_count = Some(parse_replica_count(count).map_err(wrap)?);
            region.storage_account_type = Some(choice(storage, storage_account_types).map_err(wrap)?);
        }
        _ => return Err(Invalid::new(item, "write region, region=replicas or region=replicas=storage, as in eastus=1=standard_zrs")),
    }
    Ok(region)
}

fn parse_replica_count(text: &str) -> Result<u64, Invalid> {
    let count = text.parse().ok().filter(|count| (1..=MOST_REPLICAS).contains(count));
    count.ok_or_else(|| Invalid::new(text, format!("the number of replicas is a whole number from 1 to {MOST_REPLICAS}, not '{text}'")))
}

/// Checks that all regions together have no more replicas than a version can have; `further` are those on storage of other kinds.
pub fn check_replicas(regions: &[TargetRegion], default: Replication, further: u64) -> Result<(), Invalid> {
    let total: u64 = regions.iter().map(|region| region.replica_count.unwrap_or(default.replica_count)).sum::<u64>() + further;
    if total > MOST_REPLICAS {
        let problem = format!("a version has at most {MOST_REPLICAS} replicas over all its regions; list fewer regions or replicas");
        return Err(Invalid::new(format!("{total} replicas"), problem));
    }
    Ok(())
}

/// Checks that every region that a setting names is one that the version goes to.
pub fn check_among<'a>(named: impl IntoIterator<Item = &'a Region>, targets: &[Region]) -> Result<(), Invalid> {
    let stray = named.into_iter().find(|region| !targets.contains(region));
    stray.map_or(Ok(()), |region| {
        let targets: Vec<String> = targets.iter().map(Region::normalized).collect();
        let problem = format!("the version does not go to this region; its regions are {}", targets.join(", "));
        Err(Invalid::new(region.to_string(), problem))
    })
}

/// Checks that every region is one of those in which Azure has galleries. `available` holds Azure's own names; empty means not known.
pub fn check_available(regions: &[TargetRegion], available: &[Region]) -> Result<(), Invalid> {
    let missing = regions.iter().find(|region| !available.is_empty() && !available.contains(&region.name));
    missing.map_or(Ok(()), |region| {
        let name = &region.name;
        Err(Invalid::new(
            name.to_string(),
            format!("galleries have no region of this name in the subscription's cloud{}", likely(name, available)),
        ))
    })
}

/// A hint at what was meant: regions whose name holds the text, or that the text begins.
fn likely(name: &Region, available: &[Region]) -> String {
    let name = name.normalized();
    let mut near: Vec<String> =
        available.iter().map(Region::normalized).filter(|known| known.contains(&name) || name.contains(known)).collect();
    order::sort(&mut near, &mut Ord::cmp);
    near.truncate(6);
    if near.is_empty() {
        "; write names without blanks, such as westus2".to_owned()
    } else {
        format!("; did you mean {}?", near.join(", "))
    }
}

/// The regions with `source` among them, and whether it had to be added: Azure builds a version where its source lies.
pub fn with_source_region(mut regions: Vec<TargetRegion>, source: &Region) -> (Vec<TargetRegion>, bool) {
    let missing = !regions.iter().any(|region| region.name == *source);
    if missing {
        regions.insert(0, TargetRegion::new(Region::new(source.normalized())));
    }
    (regions, missing)
}

/// `targetRegions` of a request. Settings of a region that is there already and of which the list says nothing are kept as they are.
pub fn body(regions: &[TargetRegion], default: Replication, existing: &Value) -> Value {
    let existing = existing.as_array().map_or(&[][..], Vec::as_slice);
    let made = regions.iter().map(|region| {
        let known = existing.iter().find(|known| known["name"].as_str().is_some_and(|name| Region::new(name) == region.name));
        let mut body = known.cloned().unwrap_or_else(|| json!({"name": region.name.to_string()}));
        let replicas = region.replica_count.or_else(|| whole_number(&body["regionalReplicaCount"])).unwrap_or(default.replica_count);
        body["regionalReplicaCount"] = json!(replicas);
        let storage = region.storage_account_type.or_else(|| if known.is_some() { None } else { Some(default.storage_account_type) });
        if let Some(storage) = storage {
            body["storageAccountType"] = json!(storage);
        }
        body
    });
    made.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse_target_regions(text) {
            Ok(regions) => regions
                .iter()
                .map(|region| {
                    let count = region.replica_count.map_or(String::new(), |count| count.to_string());
                    format!("{}:{count}:{}", region.name, region.storage_account_type.unwrap_or_default())
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn target_regions_are_read_as_the_command_line_interface_writes_them() {
        for (text, expected) in [
            ("", ""),
            ("westus2", "westus2::"),
            ("westus2 southcentralus=1 eastus=1=standard_zrs", "westus2:: southcentralus:1: eastus:1:Standard_ZRS"),
            ("westus2, southcentralus=1,eastus=2=PREMIUM_LRS", "westus2:: southcentralus:1: eastus:2:Premium_LRS"),
            ("westus2\r\n eastus=3\n", "westus2:: eastus:3:"),
            ("- westus2\n- eastus=3", "westus2:: eastus:3:"),
            ("WestUS2", "westus2::"),
            ("eastus=standard_zrs", "eastus::Standard_ZRS"),
            (
                "eastus=1=standard_zrs=x",
                "'eastus=1=standard_zrs=x': write region, region=replicas or region=replicas=storage, as in eastus=1=standard_zrs",
            ),
            ("eastus,EastUS=2", "'EastUS=2': this region is listed twice"),
            ("eastus=0", "'eastus=0': the number of replicas is a whole number from 1 to 100, not '0'"),
            ("eastus=", "'eastus=': the number of replicas is a whole number from 1 to 100, not ''"),
            ("eastus=1=", "'eastus=1=': give one of Standard_LRS, Standard_ZRS, Premium_LRS"),
            ("eastus=gold", "'eastus=gold': give one of Standard_LRS, Standard_ZRS, Premium_LRS"),
            ("=1", "'=1': this is no region's name; write it as in westus2"),
            ("east/us", "'east/us': this is no region's name; write it as in westus2"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_sources_region_is_added_when_it_is_missing() {
        let regions = parse_target_regions("westus2 eastus").unwrap();
        let (same, added) = with_source_region(regions.clone(), &Region::new("East US"));
        assert!(!added && same == regions);
        let (more, added) = with_source_region(regions, &Region::new("West Europe"));
        assert!(added);
        assert_eq!(more.iter().map(|region| region.name.to_string()).collect::<Vec<_>>(), ["westeurope", "westus2", "eastus"]);
    }

    #[test]
    fn a_version_has_at_most_a_hundred_replicas() {
        let default = Replication { replica_count: 40, storage_account_type: "Standard_LRS" };
        assert!(check_replicas(&parse_target_regions("a b=20 c").unwrap(), default, 0).is_ok());
        assert_eq!(check_replicas(&parse_target_regions("a b=21 c").unwrap(), default, 0).unwrap_err().value, "101 replicas");
        assert_eq!(check_replicas(&parse_target_regions("a b=20 c").unwrap(), default, 1).unwrap_err().value, "101 replicas");
    }

    #[test]
    fn unknown_regions_are_refused_with_what_may_be_meant() {
        let available: Vec<Region> = ["East US", "East US 2", "West Europe"].map(Region::new).into();
        let check = |text: &str| check_available(&parse_target_regions(text).unwrap(), &available).map_err(|error| error.to_string());
        assert_eq!(check("eastus2 westeurope"), Ok(()));
        assert_eq!(
            check("west"),
            Err("'west': galleries have no region of this name in the subscription's cloud; did you mean westeurope?".into())
        );
        assert!(check("moon").unwrap_err().ends_with("write names without blanks, such as westus2"));
        assert_eq!(check_available(&parse_target_regions("moon").unwrap(), &[]), Ok(()));
    }

    #[test]
    fn settings_of_known_regions_stay() {
        let default = Replication { replica_count: 2, storage_account_type: "Standard_ZRS" };
        let existing =
            json!([{"name": "West Europe", "regionalReplicaCount": 5, "storageAccountType": "Premium_LRS", "excludeFromLatest": true}]);
        let made = body(&parse_target_regions("westeurope eastus").unwrap(), default, &existing);
        assert_eq!(
            made,
            json!([
                {"name": "West Europe", "regionalReplicaCount": 5, "storageAccountType": "Premium_LRS", "excludeFromLatest": true},
                {"name": "eastus", "regionalReplicaCount": 2, "storageAccountType": "Standard_ZRS"},
            ])
        );
    }
}
