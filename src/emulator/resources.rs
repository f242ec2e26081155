//! Subscriptions, resource groups, lists of resources, providers; and how what no provider claims is kept.

mod export;
pub mod generic;
pub mod group;
mod moves;
pub mod registration;
mod tag_names;
pub mod tags;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    authorization,
    clock::arm_date,
    error::ApiError,
    filter::Filter,
    http::{Reply, parse_object},
    id::scope_part,
    identity::TENANT,
    operation::State,
    page, provider,
    router::{self, check_exists},
    store::Resource,
    world::{Call, World},
};
use crate::template::template_hash;

/// Regions that the emulator's cloud has: name, display name, the pair's name.
const REGIONS: &[(&str, &str, &str)] = &[
    ("westeurope", "West Europe", "northeurope"),
    ("northeurope", "North Europe", "westeurope"),
    ("eastus", "East US", "westus"),
    ("eastus2", "East US 2", "centralus"),
    ("westus", "West US", "eastus"),
    ("westus2", "West US 2", "westcentralus"),
    ("centralus", "Central US", "eastus2"),
    ("southcentralus", "South Central US", "northcentralus"),
    ("uksouth", "UK South", "ukwest"),
    ("germanywestcentral", "Germany West Central", "germanynorth"),
    ("northcentralus", "North Central US", "southcentralus"),
    ("westcentralus", "West Central US", "westus2"),
    ("westus3", "West US 3", "eastus"),
    ("canadacentral", "Canada Central", "canadaeast"),
    ("canadaeast", "Canada East", "canadacentral"),
    ("brazilsouth", "Brazil South", "southcentralus"),
    ("ukwest", "UK West", "uksouth"),
    ("francecentral", "France Central", "francesouth"),
    ("swedencentral", "Sweden Central", "swedensouth"),
    ("norwayeast", "Norway East", "norwaywest"),
    ("switzerlandnorth", "Switzerland North", "switzerlandwest"),
    ("italynorth", "Italy North", ""),
    ("polandcentral", "Poland Central", ""),
    ("spaincentral", "Spain Central", ""),
    ("australiaeast", "Australia East", "australiasoutheast"),
    ("australiasoutheast", "Australia Southeast", "australiaeast"),
    ("southeastasia", "Southeast Asia", "eastasia"),
    ("eastasia", "East Asia", "southeastasia"),
    ("japaneast", "Japan East", "japanwest"),
    ("japanwest", "Japan West", "japaneast"),
    ("koreacentral", "Korea Central", "koreasouth"),
    ("centralindia", "Central India", "southindia"),
    ("southindia", "South India", "centralindia"),
    ("uaenorth", "UAE North", "uaecentral"),
    ("southafricanorth", "South Africa North", "southafricawest"),
    ("qatarcentral", "Qatar Central", ""),
    ("israelcentral", "Israel Central", ""),
    ("germanynorth", "Germany North", "germanywestcentral"),
    ("australiacentral", "Australia Central", "australiacentral2"),
    ("australiacentral2", "Australia Central 2", "australiacentral"),
    ("brazilsoutheast", "Brazil Southeast", "brazilsouth"),
    ("francesouth", "France South", "francecentral"),
    ("norwaywest", "Norway West", "norwayeast"),
    ("swedensouth", "Sweden South", "swedencentral"),
    ("switzerlandwest", "Switzerland West", "switzerlandnorth"),
    ("koreasouth", "Korea South", "koreacentral"),
    ("westindia", "West India", "southindia"),
    ("jioindiawest", "Jio India West", "jioindiacentral"),
    ("jioindiacentral", "Jio India Central", "jioindiawest"),
    ("uaecentral", "UAE Central", "uaenorth"),
    ("southafricawest", "South Africa West", "southafricanorth"),
    ("mexicocentral", "Mexico Central", ""),
    ("newzealandnorth", "New Zealand North", ""),
    ("austriaeast", "Austria East", ""),
    ("chilecentral", "Chile Central", ""),
    ("indonesiacentral", "Indonesia Central", ""),
    ("malaysiawest", "Malaysia West", ""),
];

/// Serves what lies above the providers. `lower` is `segments` in lower case.
pub fn serve(world: &Arc<World>, call: &Call<'_>, segments: &[&str], lower: &[&str]) -> Result<Reply, ApiError> {
    provider::check_date(&call.api_version)?;
    match (call.method(), lower) {
        ("GET", ["tenants"]) => page::values(
            world,
            call,
            vec![json!({"id": format!("/tenants/{TENANT}"), "tenantId": TENANT, "displayName": "Emulator",
                "tenantCategory": "Home", "defaultDomain": "emulator.onmicrosoft.com"})],
        ),
        ("POST", ["providers", "microsoft.resources", "calculatetemplatehash"]) => hash(call),
        ("GET", ["providers", rest @ ..]) => registration::serve(world, call, None, rest),
        ("GET", ["subscriptions"]) => {
            page::list(world, call, &authorization::visible(world, call, world.store.members("/subscriptions")), shown)
        }
        ("GET", ["subscriptions", _]) => {
            world.store.get(&call.request.path).map(|found| Reply::ok(&found.body)).ok_or_else(|| router::unknown(world, call))
        }
        ("GET", ["subscriptions", subscription, "locations"]) => page::values(world, call, locations(subscription)),
        (_, ["subscriptions", _, "providers", rest @ ..]) => registration::serve(world, call, Some(segments[1]), rest),
        (_, ["subscriptions", _, "tagnames", ..]) => tag_names::serve(world, call, segments[1], &segments[3..]),
        ("GET", ["subscriptions", subscription, "resources"]) => list(world, call, &format!("/subscriptions/{subscription}/")),
        ("GET", ["subscriptions", _, "operationresults", name] | ["operationresults", name]) => operation_result(world, call, name),
        ("GET", ["subscriptions", _, "resourcegroups"]) => {
            page::list(world, call, &world.store.of_type(lower[1], "Microsoft.Resources/resourceGroups"), shown)
        }
        (_, ["subscriptions", _, "resourcegroups", _]) => group::serve(world, call, segments[1], segments[3]),
        ("GET", ["subscriptions", subscription, "resourcegroups", name, "resources"]) => {
            check_exists(world, segments[1], segments[3])?;
            list(world, call, &format!("/subscriptions/{subscription}/resourcegroups/{name}/"))
        }
        ("POST", ["subscriptions", _, "resourcegroups", _, action @ ("moveresources" | "validatemoveresources")]) => {
            check_exists(world, segments[1], segments[3])?;
            moves::serve(world, call, segments[1], segments[3], *action == "validatemoveresources")
        }
        ("POST", ["subscriptions", _, "resourcegroups", _, "exporttemplate"]) => {
            check_exists(world, segments[1], segments[3])?;
            export::serve(world, call, segments[1], segments[3])
        }
        _ => Err(router::unknown(world, call)),
    }
}

fn hash(call: &Call<'_>) -> Result<Reply, ApiError> {
    let template = parse_object(&call.request.body)?;
    Ok(Reply::ok(&json!({"minifiedTemplate": template.to_string(), "templateHash": template_hash(&template)})))
}

fn shown(resource: &Resource) -> Value {
    resource.body.value()
}

/// Whether lists of resources have it: it has a region of its own.
pub fn is_tracked(resource: &Resource) -> bool {
    !resource.location().is_empty()
        && !matches!(resource.type_name.as_str(), "Microsoft.Resources/resourceGroups" | "Microsoft.Resources/deployments")
}

/// The address that tells what has come of an operation of the resource manager's own, in a subscription or above all of them.
pub fn operation_address(call: &Call<'_>, subscription: Option<&str>, operation: &str) -> String {
    let scope = subscription.map(|subscription| format!("/subscriptions/{subscription}")).unwrap_or_default();
    format!("{}{scope}/operationresults/{operation}?api-version={}", call.root, call.api_version)
}

/// A list of resources shows what they have in common; what has no region of its own is not in it.
fn list(world: &World, call: &Call<'_>, prefix: &str) -> Result<Reply, ApiError> {
    let expand = call.request.parameter("$expand").unwrap_or_default().to_ascii_lowercase();
    let show = |resource: &Resource| {
        let mut item = json!({"id": resource.id(), "name": resource.name(), "type": resource.type_name, "location": resource.location()});
        for part in ["kind", "sku", "tags", "identity", "plan"] {
            if !resource.body[part].is_null() {
                item[part] = resource.body[part].clone();
            }
        }
        if expand.contains("createdtime") {
            item["createdTime"] = json!(arm_date(resource.created_at));
        }
        if expand.contains("changedtime") {
            item["changedTime"] = json!(arm_date(resource.updated_at));
        }
        if expand.contains("provisioningstate") {
            item["provisioningState"] = json!(resource.state());
        }
        item
    };
    let filter = call.request.parameter("$filter").filter(|text| !text.trim().is_empty());
    let wanted_type = filter.map(|text| Filter::parse(&text)).transpose()?.and_then(|filter| filter.required_text("resourceType"));
    let Some(wanted_type) = wanted_type else { return page::below(world, call, prefix, is_tracked, show) };
    let subscription = scope_part(prefix, "subscriptions").unwrap_or_default();
    let of_type = world.store.of_type(subscription, &wanted_type).into_iter();
    let items: Vec<Arc<Resource>> =
        of_type.filter(|resource| resource.key.starts_with(&prefix.to_ascii_lowercase()) && is_tracked(resource)).collect();
    page::list(world, call, &items, show)
}

fn locations(subscription: &str) -> Vec<Value> {
    REGIONS
        .iter()
        .map(|(name, title, pair)| {
            json!({"id": format!("/subscriptions/{subscription}/locations/{name}"), "name": name, "type": "Region", "displayName": title,
                "regionalDisplayName": title, "metadata": {"regionType": "Physical", "regionCategory": "Recommended",
                    "pairedRegion": [{"name": pair, "id": format!("/subscriptions/{subscription}/locations/{pair}")}]}})
        })
        .collect()
}

/// Whether the emulator's cloud has a region, by its name or its display name.
pub fn is_region(name: &str) -> bool {
    region(name).is_some()
}

/// A region's name, of its name or display name.
pub fn plain_region(name: &str) -> String {
    name.chars().filter(|character| !character.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// The display names of all regions.
pub fn region_titles() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().map(|(_, title, _)| *title)
}

/// The names of all regions.
pub fn region_names() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().map(|(name, ..)| *name)
}

/// A region's display name, which is how Compute answers.
pub fn region_name(name: &str) -> String {
    region(name).map_or_else(|| name.to_owned(), |(_, title, _)| (*title).to_owned())
}

fn region(name: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    let plain = plain_region(name);
    REGIONS.iter().find(|(known, ..)| *known == plain)
}

fn operation_result(world: &World, call: &Call<'_>, name: &str) -> Result<Reply, ApiError> {
    let missing = || ApiError::new(404, "OperationNotFound", format!("The operation '{name}' could not be found."));
    match world.operations.get(name).ok_or_else(missing)?.state() {
        State::Running => {
            Ok(Reply::empty(202).with_header("Location", format!("{}{}?{}", call.root, call.request.path, call.request.query)))
        }
        State::Failed(error) => Err(error),
        State::Succeeded(Some(Value::Null)) => Ok(Reply::empty(204)),
        State::Succeeded(Some(value)) => Ok(Reply::ok(&value)),
        State::Succeeded(None) | State::Canceled => Ok(Reply::empty(200)),
    }
}

/// Puts a subscription in place.
pub fn add_subscription(world: &World, subscription: &str, title: &str) {
    let body = json!({
        "id": format!("/subscriptions/{subscription}"), "authorizationSource": "RoleBased", "managedByTenants": [],
        "subscriptionId": subscription, "tenantId": TENANT, "displayName": title, "state": "Enabled",
        "subscriptionPolicies": {"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"},
    });
    let mut resource = Resource::new(body, world.clock.now());
    resource.type_name = "Microsoft.Resources/subscriptions".into();
    world.store.put(resource);
}
