//! How replicas are encrypted: disk encryption sets by region and data disk, and the encryption of confidential virtual machines.

use serde_json::{Map, Value, json};

use super::{Invalid, choice, region::Region, source::HIGHEST_LUN};
use crate::arm::ResourceId;

/// How the disk and the guest state of a confidential virtual machine are encrypted.
pub const CONFIDENTIAL_TYPES: [&str; 4] = ["EncryptedVMGuestStateOnlyWithPmk", "EncryptedWithPmk", "EncryptedWithCmk", "NonPersistedTPM"];

/// The disk encryption sets of one region, or of every region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionSets {
    /// The region, or the edge zone; every region where it is absent.
    pub region: Option<Region>,
    /// That of the operating system's disk.
    pub os: Option<ResourceId>,
    /// Those of data disks, by logical unit number; where there is none, the operating system's holds for all of them.
    pub data: Vec<(u64, ResourceId)>,
}

/// How confidential virtual machines are encrypted in one region, or in every region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confidential {
    /// The region; every one where it is absent.
    pub region: Option<Region>,
    /// One of [`CONFIDENTIAL_TYPES`].
    pub kind: &'static str,
    /// The disk encryption set, where the key is one's own.
    pub set: Option<ResourceId>,
}

/// Reads disk encryption sets: lines of `region=id` or `region=id,lun,id,…` as in `az sig image-version create
/// --target-region-encryption`, or one of them without a region. `null` stands for no set.
pub fn parse_sets(text: &str) -> Result<Vec<EncryptionSets>, Invalid> {
    let mut sets: Vec<EncryptionSets> = Vec::new();
    for (region, rest, line) in lines(text) {
        let mut parts = rest.split(',').map(str::trim);
        let os = parse_set(parts.next().unwrap_or_default(), line)?;
        let mut data: Vec<(u64, ResourceId)> = Vec::new();
        while let Some(lun) = parts.next() {
            let number = lun.parse().ok().filter(|lun| *lun <= HIGHEST_LUN);
            let number = number.ok_or_else(|| Invalid::new(line, format!("'{lun}' is no LUN, a whole number from 0 to {HIGHEST_LUN}")))?;
            if data.iter().any(|(known, _)| *known == number) {
                return Err(Invalid::new(line, format!("LUN {number} is given twice")));
            }
            let set = parts.next().ok_or_else(|| Invalid::new(line, format!("LUN {number} has no disk encryption set behind it")))?;
            data.extend(parse_set(set, line)?.map(|set| (number, set)));
        }
        if os.is_none() && data.is_empty() {
            return Err(Invalid::new(line, "this names no disk encryption set"));
        }
        sets.push(EncryptionSets { region, os, data });
    }
    let regions: Vec<_> = sets.iter().map(|set| &set.region).collect();
    check_regions(&regions, text)?;
    Ok(sets)
}

/// Reads the encryption of confidential virtual machines: lines of `region=type` or `region=type,id`, or one without a region.
pub fn parse_confidential(text: &str) -> Result<Vec<Confidential>, Invalid> {
    let mut all: Vec<Confidential> = Vec::new();
    for (region, rest, line) in lines(text) {
        let (word, set) = rest.split_once(',').map_or((rest, None), |(word, set)| (word, Some(set.trim())));
        let kind = choice(word, &CONFIDENTIAL_TYPES).map_err(|wrong| Invalid::new(line, wrong.problem))?;
        let set = set.filter(|set| !set.is_empty()).map(|set| parse_set(set, line)).transpose()?.flatten();
        match (kind == "EncryptedWithCmk", &set) {
            (true, None) => {
                return Err(Invalid::new(line, "EncryptedWithCmk needs a disk encryption set: write region=EncryptedWithCmk,id"));
            }
            (false, Some(_)) => return Err(Invalid::new(line, "only EncryptedWithCmk takes a disk encryption set")),
            _ => {}
        }
        all.push(Confidential { region, kind, set });
    }
    let regions: Vec<_> = all.iter().map(|item| &item.region).collect();
    check_regions(&regions, text)?;
    Ok(all)
}

/// The lines of an input, each with its region, what follows, and itself.
fn lines(text: &str) -> impl Iterator<Item = (Option<Region>, &str, &str)> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| match line.split_once('=') {
        Some((region, rest)) => (Some(Region::new(region.trim().to_ascii_lowercase())), rest.trim(), line),
        None => (None, line, line),
    })
}

fn parse_set(text: &str, line: &str) -> Result<Option<ResourceId>, Invalid> {
    if text.eq_ignore_ascii_case("null") {
        return Ok(None);
    }
    let id: ResourceId = text.parse().map_err(|error: crate::arm::IdError| Invalid::new(line, error.problem))?;
    if id.is_type("Microsoft.Compute/diskEncryptionSets") {
        return Ok(Some(id));
    }
    Err(Invalid::new(line, format!("this is the id of a '{}', not of a disk encryption set", id.resource_type())))
}

fn check_regions(regions: &[&Option<Region>], text: &str) -> Result<(), Invalid> {
    if let Some((index, region)) = regions.iter().enumerate().find(|(index, region)| regions[..*index].contains(region)) {
        let shown = region.as_ref().map_or_else(|| text.trim().to_owned(), ToString::to_string);
        let problem = if region.is_some() { "this region is given twice" } else { "give one line alone, or lines of region=…" };
        return Err(Invalid::new(if index == 0 { text.trim().to_owned() } else { shown }, problem));
    }
    if regions.len() > 1 && regions.iter().any(|region| region.is_none()) {
        return Err(Invalid::new(text.trim(), "give one line alone, or lines of region=…"));
    }
    Ok(())
}

/// `encryption` of a region; `None` when nothing is said of it.
pub fn body(sets: &[EncryptionSets], confidential: &[Confidential], region: &Region, storage_profile: &Value) -> Option<Value> {
    let set = sets.iter().find(|set| set.region.as_ref().is_none_or(|wanted| wanted == region));
    let confidential = confidential.iter().find(|item| item.region.as_ref().is_none_or(|wanted| wanted == region));
    let mut encryption = Map::new();
    let mut os = Map::new();
    if let Some(id) = set.and_then(|set| set.os.as_ref()) {
        os.insert("diskEncryptionSetId".to_owned(), json!(id.to_string()));
    }
    if let Some(item) = confidential {
        let mut profile = json!({"confidentialVMEncryptionType": item.kind});
        if let Some(id) = &item.set {
            profile["secureVMDiskEncryptionSetId"] = json!(id.to_string());
        }
        os.insert("securityProfile".to_owned(), profile);
    }
    if !os.is_empty() {
        encryption.insert("osDiskImage".to_owned(), Value::Object(os));
    }
    let data = set.map(|set| data_disks(set, storage_profile)).unwrap_or_default();
    if !data.is_empty() {
        encryption.insert("dataDiskImages".to_owned(), Value::Array(data));
    }
    (!encryption.is_empty()).then_some(Value::Object(encryption))
}

/// `encryption` of an edge zone, which only a line with its name sets: a set for all regions lies in none of its own.
pub fn of_edge_zone(sets: &[EncryptionSets], zone: &str, storage_profile: &Value) -> Option<Value> {
    let zone = Region::new(zone);
    let own: Vec<EncryptionSets> = sets.iter().filter(|set| set.region.as_ref() == Some(&zone)).cloned().collect();
    body(&own, &[], &zone, storage_profile)
}

fn data_disks(set: &EncryptionSets, storage_profile: &Value) -> Vec<Value> {
    let one = |lun: Value, id: &ResourceId| json!({"lun": lun, "diskEncryptionSetId": id.to_string()});
    if !set.data.is_empty() {
        return set.data.iter().map(|(lun, id)| one(json!(lun), id)).collect();
    }
    let disks = storage_profile["dataDiskImages"].as_array().into_iter().flatten();
    set.os.iter().flat_map(|id| disks.clone().map(move |disk| one(disk["lun"].clone(), id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETS: &str =
        "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/g/providers/Microsoft.Compute/diskEncryptionSets";

    #[test]
    fn sets_are_given_by_region_and_data_disk() {
        let storage = json!({"dataDiskImages": [{"lun": 3}]});
        let shown = |text: &str, region: &str| body(&parse_sets(&text.replace('@', SETS)).unwrap(), &[], &Region::new(region), &storage);
        let id = |name: &str| format!("{SETS}/{name}");
        assert_eq!(
            shown("@/a", "East US"),
            Some(json!({"osDiskImage": {"diskEncryptionSetId": id("a")}, "dataDiskImages": [{"lun": 3, "diskEncryptionSetId": id("a")}]}))
        );
        let lines = "eastus=@/a,0,@/b,3,@/c\nwestus2=null,3,@/d";
        assert_eq!(
            shown(lines, "eastus").unwrap()["dataDiskImages"],
            json!([{"lun": 0, "diskEncryptionSetId": id("b")}, {"lun": 3, "diskEncryptionSetId": id("c")}])
        );
        assert_eq!(shown(lines, "westus2"), Some(json!({"dataDiskImages": [{"lun": 3, "diskEncryptionSetId": id("d")}]})));
        assert_eq!(shown(lines, "northeurope"), None);
        let zones = parse_sets(&format!("{SETS}/a")).unwrap();
        assert_eq!(of_edge_zone(&zones, "microsoftboston1", &storage), None);
        let zones = parse_sets(&format!("MicrosoftBoston1={SETS}/a")).unwrap();
        assert_eq!(of_edge_zone(&zones, "microsoftboston1", &json!({})), Some(json!({"osDiskImage": {"diskEncryptionSetId": id("a")}})));
        for bad in ["x", "eastus=null", "@/a\n@/b", "a=@/a\na=@/a", "@/a\nb=@/b", "a=@/a,0", "a=@/a,64,@/b", "a=@/a,0,@/b,0,@/c", "@/a/x/y"]
        {
            assert!(parse_sets(&bad.replace('@', SETS)).is_err(), "{bad}");
        }
        let disk = SETS.replace("diskEncryptionSets", "disks");
        assert!(parse_sets(&format!("{disk}/x")).is_err());
    }

    #[test]
    fn confidential_machines_name_a_set_only_with_a_key_of_ones_own() {
        let read = parse_confidential(&format!("eastus=encryptedwithcmk,{SETS}/a\nwestus2=EncryptedWithPmk")).unwrap();
        assert_eq!(
            body(&[], &read, &Region::new("eastus"), &Value::Null),
            Some(json!({"osDiskImage": {"securityProfile":
                {"confidentialVMEncryptionType": "EncryptedWithCmk", "secureVMDiskEncryptionSetId": format!("{SETS}/a")}}}))
        );
        assert_eq!(read[1].set, None);
        for bad in ["EncryptedWithCmk", "eastus=Encrypted", &format!("NonPersistedTPM,{SETS}/a"), "EncryptedWithPmk\nEncryptedWithPmk"] {
            assert!(parse_confidential(bad).is_err(), "{bad}");
        }
    }
}
