//! Image versions: what is published about them, the body that says it, and whether Azure kept it.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::{
    Invalid,
    definition::Difference,
    edge_zone::{self, EdgeZone},
    encryption::{self, Confidential, EncryptionSets},
    gallery::{format_date, merge_tags, same_date},
    region::{self, Region, Replication, TargetRegion, check_among},
    replica_set::{self, ReplicaSet},
    uefi::UefiSettings,
    whole_number,
};
use crate::order;

/// The tag that tells what a version was made from, so that the same content is not published twice.
pub const CONTENT_TAG: &str = "dtl-content";

/// What can be set on a version besides its source. Absent means Azure's default, or left as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Publishing {
    /// Where it is replicated to.
    pub targets: Vec<TargetRegion>,
    /// What holds for regions that say nothing else.
    pub default: Replication,
    /// Whether it is left out when somebody asks for the latest.
    pub exclude_from_latest: bool,
    /// When it is to be used no longer.
    pub end_of_life_date: Option<OffsetDateTime>,
    /// `Full` or `Shallow`; only when it is made.
    pub replication_mode: Option<&'static str>,
    /// Disk encryption sets by region.
    pub encryption: Vec<EncryptionSets>,
    /// The encryption of confidential virtual machines by region.
    pub confidential: Vec<Confidential>,
    /// The edge zones that it goes to besides. Absent leaves them as they are.
    pub edge_zones: Option<Vec<EdgeZone>>,
    /// Further replicas in its regions, on storage of other kinds. None leaves them as they are.
    pub replica_sets: Vec<ReplicaSet>,
    /// Keys for Secure Boot; only when it is made.
    pub uefi: Option<UefiSettings>,
    /// The regions in which alone it is left out when somebody asks for the latest. Absent leaves them as they are.
    pub excluded_regions: Option<Vec<Region>>,
    /// Whether regions that it is replicated to can be taken away.
    pub allow_deletion_of_replicated_locations: Option<bool>,
    /// Whether it can be deleted before its end of life.
    pub block_deletion_before_end_of_life: Option<bool>,
    /// Tags.
    pub tags: Map<String, Value>,
}

impl Publishing {
    /// The body that makes a version.
    pub fn body(&self, location: &Region, storage_profile: &Value) -> Value {
        let mut properties = json!({
            "publishingProfile": {
                "targetRegions": self.target_regions(&Value::Null, storage_profile),
                "replicaCount": self.default.replica_count,
                "excludeFromLatest": self.exclude_from_latest,
                "storageAccountType": self.default.storage_account_type,
            },
            "storageProfile": storage_profile,
        });
        if let Some(mode) = self.replication_mode {
            properties["publishingProfile"]["replicationMode"] = json!(mode);
        }
        if let Some(uefi) = &self.uefi {
            properties["securityProfile"]["uefiSettings"] = uefi.body();
        }
        self.finish(&mut properties);
        let mut body = json!({"location": location.normalized(), "properties": properties});
        if !self.tags.is_empty() {
            body["tags"] = json!(self.tags);
        }
        body
    }

    /// The body that brings an existing version up to date; `None` when all is as wanted.
    pub fn update(&self, existing: &Value) -> Option<Value> {
        let mut properties = existing["properties"].clone();
        let before = properties.clone();
        if let Some(targets) = self.wanted_regions(&before["publishingProfile"]["targetRegions"], &before["storageProfile"]) {
            properties["publishingProfile"]["targetRegions"] = targets;
        }
        properties["publishingProfile"]["excludeFromLatest"] = json!(self.exclude_from_latest);
        self.finish(&mut properties);
        let tags = merge_tags(&existing["tags"], &self.tags);
        let same_tags = tags == existing["tags"].as_object().cloned().unwrap_or_default();
        let same_safety = properties["safetyProfile"] == before["safetyProfile"];
        if same_tags && same_safety && self.differences(existing).is_empty() {
            return None;
        }
        if let Some(properties) = properties.as_object_mut() {
            properties.shift_remove("provisioningState");
            properties.shift_remove("replicationStatus");
        }
        Some(json!({"location": existing["location"], "tags": tags, "properties": properties}))
    }

    fn finish(&self, properties: &mut Value) {
        if let Some(zones) = &self.edge_zones {
            let made = edge_zone::body(zones, self.default, &self.encryption, &properties["storageProfile"]);
            properties["publishingProfile"]["targetExtendedLocations"] = made;
        }
        if let Some(date) = self.end_of_life_date {
            properties["publishingProfile"]["endOfLifeDate"] = json!(format_date(date));
        }
        for (name, value) in [
            ("allowDeletionOfReplicatedLocations", self.allow_deletion_of_replicated_locations),
            ("blockDeletionBeforeEndOfLife", self.block_deletion_before_end_of_life),
        ] {
            if let Some(value) = value {
                properties["safetyProfile"][name] = json!(value);
            }
        }
    }

    /// The target regions of a version that exists; `None` when nothing is said of them.
    fn wanted_regions(&self, existing: &Value, storage_profile: &Value) -> Option<Value> {
        if !self.targets.is_empty() {
            return Some(self.target_regions(existing, storage_profile));
        }
        if self.excluded_regions.is_none() && self.replica_sets.is_empty() {
            return None;
        }
        let mut regions = existing.clone();
        for region in regions.as_array_mut().into_iter().flatten() {
            self.apply_to_region(region);
        }
        Some(regions)
    }

    /// What is said of regions by name, beside the list of them.
    fn apply_to_region(&self, body: &mut Value) {
        let region = Region::new(body["name"].as_str().unwrap_or_default());
        if let Some(excluded) = &self.excluded_regions {
            body["excludeFromLatest"] = json!(excluded.contains(&region));
        }
        if let Some(sets) = replica_set::body(&self.replica_sets, &region) {
            body["additionalReplicaSets"] = sets;
        }
    }

    /// Checks that every region that a setting names is one of the version's. Gives the input and what is wrong.
    pub fn check_regions(&self, regions: &[Region]) -> Result<(), (&'static str, Invalid)> {
        let zones: Vec<Region> = self.edge_zones.iter().flatten().map(|zone| Region::new(&zone.name)).collect();
        let regions_and_zones: Vec<Region> = regions.iter().cloned().chain(zones).collect();
        let sets = self.encryption.iter().filter_map(|set| set.region.as_ref());
        let confidential = self.confidential.iter().filter_map(|item| item.region.as_ref());
        let excluded = self.excluded_regions.iter().flatten();
        let further = self.replica_sets.iter().map(|set| &set.region);
        check_among(sets, &regions_and_zones).map_err(|wrong| ("DiskEncryptionSets", wrong))?;
        check_among(confidential, regions).map_err(|wrong| ("ConfidentialVMEncryption", wrong))?;
        check_among(excluded, regions).map_err(|wrong| ("ExcludedRegions", wrong))?;
        check_among(further, regions).map_err(|wrong| ("AdditionalReplicaSets", wrong))
    }

    fn target_regions(&self, existing: &Value, storage_profile: &Value) -> Value {
        let mut regions = region::body(&self.targets, self.default, existing);
        for body in regions.as_array_mut().into_iter().flatten() {
            let region = Region::new(body["name"].as_str().unwrap_or_default());
            let encryption = encryption::body(&self.encryption, &self.confidential, &region, storage_profile);
            if let Some(encryption) = encryption.filter(|_| body["encryption"].is_null()) {
                body["encryption"] = encryption;
            }
            self.apply_to_region(body);
        }
        regions
    }

    /// What of this an existing version does not have: Azure must have kept regions, replicas, storage, exclusion and end of life.
    pub fn differences(&self, version: &Value) -> Vec<Difference> {
        let profile = &version["properties"]["publishingProfile"];
        let mut found = Vec::new();
        let mut differ = |property, found_value: String, wanted: String| {
            if found_value != wanted {
                found.push(Difference { property, found: found_value, wanted });
            }
        };
        let there = &profile["targetRegions"];
        if let Some(wanted) = self.wanted_regions(there, &Value::Null) {
            differ("targetRegions", shown_regions(there, profile), shown_regions(&wanted, profile));
        }
        if let Some(zones) = &self.edge_zones {
            let wanted = edge_zone::body(zones, self.default, &[], &Value::Null);
            differ("targetExtendedLocations", edge_zone::shown(&profile["targetExtendedLocations"]), edge_zone::shown(&wanted));
        }
        let excluded = profile["excludeFromLatest"].as_bool().unwrap_or(false);
        differ("excludeFromLatest", excluded.to_string(), self.exclude_from_latest.to_string());
        if let Some(date) = self.end_of_life_date {
            let (there, wanted) = (&profile["endOfLifeDate"], json!(format_date(date)));
            if !same_date(there, &wanted) {
                differ("endOfLifeDate", there.as_str().unwrap_or("none").to_owned(), format_date(date));
            }
        }
        if let Some(uefi) = &self.uefi {
            let there = &version["properties"]["securityProfile"]["uefiSettings"];
            differ("uefiSettings", UefiSettings::shown(there), UefiSettings::shown(&uefi.body()));
        }
        found
    }
}

/// Target regions as text, in order, so that they can be compared and shown: `eastus=1=Standard_LRS, westus2=2=Standard_LRS`.
fn shown_regions(regions: &Value, profile: &Value) -> String {
    let shown = regions.as_array().into_iter().flatten().map(|region| {
        let count = whole_number(&region["regionalReplicaCount"]).or_else(|| whole_number(&profile["replicaCount"])).unwrap_or(1);
        let storage = region["storageAccountType"].as_str().or_else(|| profile["storageAccountType"].as_str()).unwrap_or("Standard_LRS");
        let excluded = if region["excludeFromLatest"] == json!(true) { "=excluded" } else { "" };
        let name = Region::new(region["name"].as_str().unwrap_or_default()).normalized();
        format!("{name}={count}={storage}{}{excluded}", replica_set::shown(&region["additionalReplicaSets"]))
    });
    let mut shown: Vec<String> = shown.collect();
    order::sort(&mut shown, &mut Ord::cmp);
    shown.join(", ")
}

/// The target regions of a version, as Azure names them.
pub fn targets(version: &Value) -> Vec<Region> {
    let regions = version["properties"]["publishingProfile"]["targetRegions"].as_array();
    regions.into_iter().flatten().filter_map(|region| region["name"].as_str()).map(Region::new).collect()
}

/// The version, made or being made, that was published from the same content; failed ones do not count.
pub fn published_before<'a>(versions: &'a [Value], fingerprint: &str) -> Option<&'a Value> {
    versions.iter().find(|version| {
        let state = version["properties"]["provisioningState"].as_str().unwrap_or_default();
        let usable = ["Succeeded", "Creating", "Updating"].iter().any(|known| known.eq_ignore_ascii_case(state));
        usable && version["tags"][CONTENT_TAG].as_str() == Some(fingerprint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{gallery::parse_date, region::parse_target_regions};

    fn publishing(regions: &str) -> Publishing {
        Publishing {
            targets: parse_target_regions(regions).unwrap(),
            default: Replication { replica_count: 2, storage_account_type: "Standard_ZRS" },
            exclude_from_latest: true,
            end_of_life_date: Some(parse_date("2027-06-30").unwrap()),
            replication_mode: Some("Full"),
            encryption: Vec::new(),
            confidential: Vec::new(),
            edge_zones: None,
            replica_sets: Vec::new(),
            uefi: None,
            excluded_regions: None,
            allow_deletion_of_replicated_locations: None,
            block_deletion_before_end_of_life: None,
            tags: Map::new(),
        }
    }

    #[test]
    fn a_version_says_where_it_goes_and_what_it_is_made_from() {
        let storage = json!({"source": {"id": "/i"}});
        assert_eq!(
            publishing("westus2 eastus=1=standard_lrs").body(&Region::new("West US 2"), &storage),
            json!({"location": "westus2", "properties": {
                "publishingProfile": {
                    "targetRegions": [
                        {"name": "westus2", "regionalReplicaCount": 2, "storageAccountType": "Standard_ZRS"},
                        {"name": "eastus", "regionalReplicaCount": 1, "storageAccountType": "Standard_LRS"},
                    ],
                    "replicaCount": 2, "excludeFromLatest": true, "storageAccountType": "Standard_ZRS",
                    "replicationMode": "Full", "endOfLifeDate": "2027-06-30T00:00:00Z",
                },
                "storageProfile": storage,
            }})
        );
    }

    #[test]
    fn safety_and_encryption_are_sent_where_they_were_asked_for() {
        let id = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/g/providers/Microsoft.Compute/diskEncryptionSets/e";
        let mut safe = publishing("westus2 eastus");
        safe.encryption = encryption::parse_sets(&format!("EastUS={id}")).unwrap();
        safe.block_deletion_before_end_of_life = Some(true);
        safe.tags.insert("a".into(), json!("b"));
        let body = safe.body(&Region::new("westus2"), &json!({"source": {"id": "/i"}, "dataDiskImages": [{"lun": 3}]}));
        assert_eq!(body["properties"]["safetyProfile"], json!({"blockDeletionBeforeEndOfLife": true}));
        assert_eq!(body["tags"], json!({"a": "b"}));
        let targets = &body["properties"]["publishingProfile"]["targetRegions"];
        assert_eq!(targets[0]["encryption"], Value::Null);
        assert_eq!(
            targets[1]["encryption"],
            json!({"osDiskImage": {"diskEncryptionSetId": id}, "dataDiskImages": [{"lun": 3, "diskEncryptionSetId": id}]})
        );
    }

    #[test]
    fn what_azure_did_not_keep_is_found() {
        let wanted = publishing("westus2 eastus=1=standard_lrs");
        let mut kept = wanted.body(&Region::new("westus2"), &json!({}));
        kept["properties"]["publishingProfile"]["targetRegions"][0]["name"] = json!("West US 2");
        kept["properties"]["publishingProfile"]["endOfLifeDate"] = json!("2027-06-30T00:00:00.0000000+00:00");
        assert_eq!(wanted.differences(&kept), []);
        assert_eq!(wanted.update(&kept), None);
        let profile = &mut kept["properties"]["publishingProfile"];
        profile["excludeFromLatest"] = json!(false);
        profile["endOfLifeDate"] = Value::Null;
        profile["targetRegions"][1]["regionalReplicaCount"] = json!(3);
        let found: Vec<_> = wanted.differences(&kept).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "targetRegions: it is eastus=3=Standard_LRS, westus2=2=Standard_ZRS, and eastus=1=Standard_LRS, westus2=2=Standard_ZRS was asked for",
                "excludeFromLatest: it is false, and true was asked for",
                "endOfLifeDate: it is none, and 2027-06-30T00:00:00Z was asked for",
            ]
        );
    }

    #[test]
    fn regions_are_excluded_from_latest_one_by_one() {
        let mut wanted = publishing("westus2 eastus");
        wanted.excluded_regions = Some(vec![Region::new("eastus")]);
        let kept = wanted.body(&Region::new("westus2"), &json!({}));
        let regions = &kept["properties"]["publishingProfile"]["targetRegions"];
        assert_eq!((&regions[0]["excludeFromLatest"], &regions[1]["excludeFromLatest"]), (&json!(false), &json!(true)));
        assert_eq!(wanted.update(&kept), None);
        let mut promote = publishing("");
        promote.excluded_regions = Some(Vec::new());
        let body = promote.update(&kept).unwrap();
        assert_eq!(body["properties"]["publishingProfile"]["targetRegions"][1]["excludeFromLatest"], false);
        assert_eq!(promote.differences(&kept).len(), 1);
    }

    #[test]
    fn further_replicas_are_set_on_the_regions_that_they_are_for() {
        let mut wanted = publishing("westus2 eastus");
        wanted.replica_sets = replica_set::parse("eastus=3").unwrap();
        let kept = wanted.body(&Region::new("westus2"), &json!({}));
        let regions = &kept["properties"]["publishingProfile"]["targetRegions"];
        let sets = json!([{"regionalReplicaCount": 3, "storageAccountType": "PremiumV2_LRS"}]);
        assert_eq!((&regions[0]["additionalReplicaSets"], &regions[1]["additionalReplicaSets"]), (&Value::Null, &sets));
        assert_eq!(wanted.update(&kept), None);
        let mut promote = publishing("");
        promote.replica_sets = replica_set::parse("westus2=1=premium_lrs").unwrap();
        assert_eq!(promote.differences(&kept)[0].wanted, "eastus=2=Standard_ZRS+3=PremiumV2_LRS, westus2=2=Standard_ZRS+1=Premium_LRS");
        let body = promote.update(&kept).unwrap();
        assert_eq!(body["properties"]["publishingProfile"]["targetRegions"][1]["additionalReplicaSets"], sets, "the others stay");
        let (input, wrong) = promote.check_regions(&[Region::new("eastus")]).unwrap_err();
        assert_eq!((input, wrong.value.as_str()), ("AdditionalReplicaSets", "westus2"));
    }

    #[test]
    fn edge_zones_have_disk_encryption_sets_of_their_own_and_are_taken_away_by_none() {
        let id = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/g/providers/Microsoft.Compute/diskEncryptionSets/e";
        let mut wanted = publishing("westus2");
        wanted.edge_zones = Some(edge_zone::parse("westus2=Zone1").unwrap());
        wanted.encryption = encryption::parse_sets(&format!("zone1={id}")).unwrap();
        assert_eq!(wanted.check_regions(&[Region::new("westus2")]), Ok(()));
        let kept = wanted.body(&Region::new("westus2"), &json!({"source": {"id": "/i"}}));
        let profile = &kept["properties"]["publishingProfile"];
        assert_eq!(profile["targetExtendedLocations"][0]["encryption"], json!({"osDiskImage": {"diskEncryptionSetId": id}}));
        assert_eq!(profile["targetRegions"][0]["encryption"], Value::Null);
        assert_eq!(wanted.update(&kept), None);
        let mut without = publishing("westus2");
        without.edge_zones = Some(edge_zone::parse("none").unwrap());
        assert_eq!(without.update(&kept).unwrap()["properties"]["publishingProfile"]["targetExtendedLocations"], json!([]));
    }

    #[test]
    fn an_update_keeps_what_was_not_said() {
        let mut existing = publishing("westus2").body(&Region::new("westus2"), &json!({"source": {"id": "/i"}}));
        existing["properties"]["provisioningState"] = json!("Succeeded");
        existing["tags"] = json!({"keep": "1"});
        let mut promote = publishing("");
        promote.exclude_from_latest = false;
        promote.end_of_life_date = None;
        let body = promote.update(&existing).unwrap();
        let profile = &body["properties"]["publishingProfile"];
        assert_eq!((&profile["excludeFromLatest"], &profile["endOfLifeDate"]), (&json!(false), &json!("2027-06-30T00:00:00Z")));
        assert_eq!(profile["targetRegions"], existing["properties"]["publishingProfile"]["targetRegions"]);
        assert_eq!((&body["tags"], &body["properties"]["provisioningState"]), (&json!({"keep": "1"}), &Value::Null));
    }

    #[test]
    fn the_same_content_is_recognised_unless_it_failed() {
        let version =
            |state: &str, content: &str| json!({"name": state, "properties": {"provisioningState": state}, "tags": {CONTENT_TAG: content}});
        let versions = [version("Failed", "a"), version("Succeeded", "b"), version("Succeeded", "a")];
        assert_eq!(published_before(&versions, "a").unwrap()["name"], "Succeeded");
        assert_eq!(published_before(&versions[..2], "a"), None);
    }
}
