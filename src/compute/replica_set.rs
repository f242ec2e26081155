//! Further replicas of a region, on storage of another kind: Azure's additional replica sets.

use serde_json::{Value, json};

use super::{
    Invalid,
    region::{Region, items, parse_target_region},
    whole_number,
};
use crate::order;

/// The storage that further replicas can lie on; the first one where nothing is said.
const STORAGE: [&str; 4] = ["PremiumV2_LRS", "Premium_LRS", "Standard_LRS", "Standard_ZRS"];

/// Further replicas of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSet {
    /// The region.
    pub region: Region,
    /// How many.
    pub replica_count: u64,
    /// On what storage.
    pub storage_account_type: &'static str,
}

/// Reads further replicas: `region`, `region=replicas` or `region=replicas=storage`, separated by commas, blanks or lines. A region may be
/// named again with other storage.
pub fn parse(text: &str) -> Result<Vec<ReplicaSet>, Invalid> {
    let mut sets: Vec<ReplicaSet> = Vec::new();
    for item in items(text) {
        let read = parse_target_region(item, &STORAGE)?;
        let set = ReplicaSet {
            region: read.name,
            replica_count: read.replica_count.unwrap_or(1),
            storage_account_type: read.storage_account_type.unwrap_or(STORAGE[0]),
        };
        if sets.iter().any(|known| known.region == set.region && known.storage_account_type == set.storage_account_type) {
            return Err(Invalid::new(item, format!("this region is listed twice with {}", set.storage_account_type)));
        }
        sets.push(set);
    }
    Ok(sets)
}

/// `additionalReplicaSets` of a region; `None` where nothing is said of it.
pub fn body(sets: &[ReplicaSet], region: &Region) -> Option<Value> {
    let own = sets.iter().filter(|set| set.region == *region);
    let made: Vec<Value> =
        own.map(|set| json!({"regionalReplicaCount": set.replica_count, "storageAccountType": set.storage_account_type})).collect();
    (!made.is_empty()).then_some(Value::Array(made))
}

/// How many replicas these are.
pub fn count(sets: &[ReplicaSet]) -> u64 {
    sets.iter().map(|set| set.replica_count).sum()
}

/// A region's further replicas as text, in order, so that they can be compared and shown: `+2=PremiumV2_LRS`.
pub fn shown(sets: &Value) -> String {
    let one = |set: &Value| {
        let count = whole_number(&set["regionalReplicaCount"]).unwrap_or(1);
        format!("+{count}={}", set["storageAccountType"].as_str().unwrap_or(STORAGE[0]))
    };
    let mut shown: Vec<String> = sets.as_array().into_iter().flatten().map(one).collect();
    order::sort(&mut shown, &mut Ord::cmp);
    shown.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_replicas_are_given_by_region_and_storage() {
        assert_eq!(parse("eastus\n- westus=3").unwrap().len(), 2);
        let sets = parse("eastus=2, eastus=1=standard_zrs westus2=premium_lrs").unwrap();
        let east = body(&sets, &Region::new("East US")).unwrap();
        assert_eq!(
            east,
            json!([{"regionalReplicaCount": 2, "storageAccountType": "PremiumV2_LRS"}, {"regionalReplicaCount": 1, "storageAccountType": "Standard_ZRS"}])
        );
        assert_eq!((shown(&east).as_str(), count(&sets)), ("+1=Standard_ZRS+2=PremiumV2_LRS", 4));
        assert_eq!(body(&sets, &Region::new("northeurope")), None);
        for (bad, problem) in [
            ("eastus eastus=2", "this region is listed twice with PremiumV2_LRS"),
            ("eastus=1=tape", "give one of PremiumV2_LRS, Premium_LRS, Standard_LRS, Standard_ZRS"),
            ("eastus=0", "the number of replicas is a whole number from 1 to 100, not '0'"),
            ("east/us", "this is no region's name; write it as in westus2"),
        ] {
            assert_eq!(parse(bad).unwrap_err().problem, problem, "{bad}");
        }
    }
}
