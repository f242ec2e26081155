//! What Compute offers: sizes, their SKUs and quotas, and marketplace images.

use serde_json::{Value, json};

use crate::emulator::{
    devtestlab::plain::GALLERY,
    error::ApiError,
    http::Reply,
    page,
    resources::{is_region, region_names},
    router::Target,
    world::{Call, World},
};

/// Name, family, cores, memory in MB, temporary disk in MB, data disks.
const SIZES: &[(&str, &str, u64, u64, u64, u64)] = &[
    ("Standard_B1s", "standardBSFamily", 1, 1024, 4096, 2),
    ("Standard_B2s", "standardBSFamily", 2, 4096, 8192, 4),
    ("Standard_B2ms", "standardBSFamily", 2, 8192, 16384, 4),
    ("Standard_B2s_v2", "standardBsv2Family", 2, 8192, 0, 4),
    ("Standard_B4ms", "standardBSFamily", 4, 16384, 32768, 8),
    ("Standard_D2s_v3", "standardDSv3Family", 2, 8192, 16384, 4),
    ("Standard_D4s_v3", "standardDSv3Family", 4, 16384, 32768, 8),
    ("Standard_D2s_v5", "standardDSv5Family", 2, 8192, 0, 4),
    ("Standard_D4s_v5", "standardDSv5Family", 4, 16384, 0, 8),
    ("Standard_D8s_v5", "standardDSv5Family", 8, 32768, 0, 16),
    ("Standard_D2as_v5", "standardDASv5Family", 2, 8192, 0, 4),
    ("Standard_D2ads_v5", "standardDADSv5Family", 2, 8192, 76800, 4),
    ("Standard_D2s_v6", "standardDSv6Family", 2, 8192, 0, 4),
    ("Standard_E2s_v5", "standardESv5Family", 2, 16384, 0, 4),
    ("Standard_E4s_v5", "standardESv5Family", 4, 32768, 0, 8),
    ("Standard_F2s_v2", "standardFSv2Family", 2, 4096, 16384, 4),
    ("Standard_F4s_v2", "standardFSv2Family", 4, 8192, 32768, 8),
];

/// The names of all sizes.
pub fn size_names() -> Vec<&'static str> {
    SIZES.iter().map(|(name, ..)| *name).collect()
}

/// Whether a size is of the first A series, which is gone since the end of August 2024.
pub fn is_retired(size: &str) -> bool {
    let lower = size.to_ascii_lowercase();
    let rest = lower.strip_prefix("standard_a").or_else(|| lower.strip_prefix("basic_a"));
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The sizes as a list of machines' sizes has them.
pub fn sizes() -> Vec<Value> {
    let shown = |(name, _, cores, memory, temporary, disks): &(&str, &str, u64, u64, u64, u64)| {
        json!({"name": name, "numberOfCores": cores, "osDiskSizeInMB": 1_047_552, "resourceDiskSizeInMB": temporary, "memoryInMB": memory,
            "maxDataDiskCount": disks})
    };
    SIZES.iter().map(shown).collect()
}

/// Serves what is offered in a subscription or region; `None` when the request is for something else.
pub fn serve(world: &World, call: &Call<'_>, target: &Target) -> Result<Option<Reply>, ApiError> {
    if call.method() != "GET" || target.group.is_some() {
        return Ok(None);
    }
    let rest: Vec<String> = target.rest.iter().map(|part| part.to_ascii_lowercase()).collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    if let ["locations", location, ..] = rest.as_slice()
        && !is_region(location)
    {
        let message = format!("The provided location '{location}' is not available for resource type 'locations'.");
        return Err(ApiError::bad_request("NoRegisteredProviderFound", message));
    }
    Ok(match rest.as_slice() {
        ["skus"] => Some(page::unfiltered(world, call, skus(call))?),
        ["locations", _, "vmsizes"] => Some(page::values(world, call, sizes())?),
        ["locations", location, "usages"] => Some(page::values(world, call, usages(world, target, location))?),
        ["locations", location, "publishers", rest @ ..] => images(target, location, rest)?.map(|answer| Reply::ok(&answer)),
        _ => None,
    })
}

/// `location eq '…'` is about where a SKU is, which is a list.
fn skus(call: &Call<'_>) -> Vec<Value> {
    let filter = call.request.parameter("$filter").unwrap_or_default();
    let wanted = filter.split('\'').nth(1).map(str::to_ascii_lowercase).filter(|_| filter.to_ascii_lowercase().contains("location"));
    let regions: Vec<&str> = region_names().filter(|name| wanted.as_deref().is_none_or(|wanted| wanted == *name)).collect();
    let sku = |region: &str, (name, family, cores, memory, _, disks): &(&str, &str, u64, u64, u64, u64)| {
        let capability = |name: &str, value: String| json!({"name": name, "value": value});
        json!({"resourceType": "virtualMachines", "name": name, "tier": "Standard", "size": name.trim_start_matches("Standard_"), "family": family,
            "locations": [region], "locationInfo": [{"location": region, "zones": ["1", "2", "3"], "zoneDetails": []}], "restrictions": [],
            "capabilities": [capability("vCPUs", cores.to_string()), capability("MemoryGB", (memory / 1024).to_string()),
                capability("MaxDataDiskCount", disks.to_string()), capability("HyperVGenerations", "V1,V2".into()),
                capability("CpuArchitectureType", "x64".into()), capability("PremiumIO", "True".into())]})
    };
    regions.iter().flat_map(|region| SIZES.iter().map(|size| sku(region, size)).collect::<Vec<_>>()).collect()
}

fn usages(world: &World, target: &Target, location: &str) -> Vec<Value> {
    let machines = world.store.of_type(&target.subscription, super::MACHINES);
    let here: Vec<_> = machines.iter().filter(|machine| machine.location().to_ascii_lowercase().replace(' ', "") == location).collect();
    let cores_of = |family: Option<&str>| -> u64 {
        let sizes = here.iter().filter_map(|machine| {
            let size = machine.property("hardwareProfile")["vmSize"].as_str()?;
            SIZES.iter().find(|(name, known, ..)| name.eq_ignore_ascii_case(size) && family.is_none_or(|family| family == *known))
        });
        sizes.map(|(_, _, cores, ..)| cores).sum()
    };
    let usage = |name: &str, title: &str, count: u64, limit: u64| json!({"unit": "Count", "currentValue": count, "limit": limit, "name": {"value": name, "localizedValue": title}});
    let sets = world.store.of_type(&target.subscription, "Microsoft.Compute/availabilitySets");
    let mut all = vec![
        usage("availabilitySets", "Availability Sets", sets.len() as u64, 2500),
        usage("cores", "Total Regional vCPUs", cores_of(None), 350),
        usage("virtualMachines", "Virtual Machines", here.len() as u64, 25000),
    ];
    let mut families: Vec<&str> = SIZES.iter().map(|(_, family, ..)| *family).collect();
    families.dedup();
    families.sort_unstable();
    families.dedup();
    all.extend(families.iter().map(|family| usage(family, family, cores_of(Some(family)), 100)));
    all
}

/// Publishers, offers, SKUs and versions of marketplace images. These answers are bare lists.
fn images(target: &Target, location: &str, rest: &[&str]) -> Result<Option<Value>, ApiError> {
    let base = format!("/Subscriptions/{}/Providers/Microsoft.Compute/Locations/{location}/Publishers", target.subscription);
    let list = |mut names: Vec<&str>, prefix: String| {
        names.sort_unstable();
        names.dedup();
        Value::Array(names.into_iter().map(|name| json!({"location": location, "name": name, "id": format!("{prefix}/{name}")})).collect())
    };
    let same = |left: &str, right: &str| left.eq_ignore_ascii_case(right);
    let of = |publisher: &str| GALLERY.iter().filter(move |(_, known, ..)| same(known, publisher)).collect::<Vec<_>>();
    let missing = |what: &str| Err(ApiError::new(404, "NotFound", format!("Artifact: {what} was not found.")));
    Ok(Some(match rest {
        [] => list(GALLERY.iter().map(|(_, publisher, ..)| *publisher).collect(), base),
        [publisher, "artifacttypes", "vmimage", rest @ ..] => {
            let known = of(publisher);
            let Some((_, publisher, ..)) = known.first() else { return missing("VMImage") };
            let base = format!("{base}/{publisher}/ArtifactTypes/VMImage/Offers");
            let in_offer = |offer: &str| known.iter().filter(|(_, _, known, ..)| same(known, offer)).collect::<Vec<_>>();
            match rest {
                ["offers"] => list(known.iter().map(|(_, _, offer, ..)| *offer).collect(), base),
                ["offers", offer, "skus"] => {
                    list(in_offer(offer).iter().map(|(_, _, _, sku, _)| *sku).collect(), format!("{base}/{offer}/Skus"))
                }
                ["offers", offer, "skus", sku, "versions", rest @ ..] => {
                    let Some((.., os)) = in_offer(offer).into_iter().find(|(_, _, _, known, _)| same(known, sku)) else {
                        return missing("VMImage");
                    };
                    let base = format!("{base}/{offer}/Skus/{sku}/Versions");
                    match rest {
                        [] => list(vec![VERSION], base),
                        [version] if *version == "latest" || *version == VERSION => json!({"location": location, "name": VERSION,
                            "id": format!("{base}/{VERSION}"), "properties": {"osDiskImage": {"operatingSystem": os}, "dataDiskImages": [],
                            "hyperVGeneration": if sku.contains("g2") { "V2" } else { "V1" }}}),
                        _ => return missing("VMImage"),
                    }
                }
                _ => return Ok(None),
            }
        }
        _ => return Ok(None),
    }))
}

/// Each image has one version.
const VERSION: &str = "1.0.0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_the_first_series_are_gone() {
        for (size, retired) in
            [("Standard_A2", true), ("Basic_A1", true), ("Standard_A2_v2", false), ("Standard_D2s_v5", false), ("Standard_A", false)]
        {
            assert_eq!(is_retired(size), retired, "{size}");
        }
    }
}
