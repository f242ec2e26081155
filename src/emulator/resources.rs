//! Subscriptions, resource groups, lists of resources, providers; and how what no provider claims is kept.

pub mod generic;
pub mod group;
pub mod tags;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    authorization,
    clock::arm_date,
    error::ApiError,
    filter::Filter,
    http::Reply,
    id::scope_part,
    identity::TENANT,
    operation::State,
    page, provider,
    router::{self, check_exists},
    store::Resource,
    world::{Call, World},
};

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
        ("GET", ["providers", _, "operations"]) => page::values(world, call, Vec::new()),
        ("GET", ["subscriptions"]) => {
            page::list(world, call, &authorization::visible(world, call, world.store.members("/subscriptions")), shown)
        }
        ("GET", ["subscriptions", _]) => {
            world.store.get(&call.request.path).map(|found| Reply::ok(&found.body)).ok_or_else(|| router::unknown(world, call))
        }
        ("GET", ["subscriptions", subscription, "locations"]) => page::values(world, call, locations(subscription)),
        ("GET", ["subscriptions", _, "providers"]) => {
            page::values(world, call, provider::NAMESPACES.iter().map(|name| registration(segments[1], name)).collect())
        }
        ("GET", ["subscriptions", _, "providers", name]) | ("POST", ["subscriptions", _, "providers", name, "register"]) => {
            let known = provider::NAMESPACES.iter().find(|known| known.eq_ignore_ascii_case(name));
            let missing = || ApiError::new(404, "InvalidResourceNamespace", format!("The resource namespace '{name}' is invalid."));
            known.map(|known| Reply::ok(&registration(segments[1], known))).ok_or_else(missing)
        }
        ("GET", ["subscriptions", subscription, "resources"]) => list(world, call, &format!("/subscriptions/{subscription}/")),
        ("GET", ["subscriptions", _, "operationresults", name]) => operation_result(world, call, name),
        ("GET", ["subscriptions", _, "resourcegroups"]) => {
            page::list(world, call, &world.store.of_type(lower[1], "Microsoft.Resources/resourceGroups"), shown)
        }
        (_, ["subscriptions", _, "resourcegroups", _]) => group::serve(world, call, segments[1], segments[3]),
        ("GET", ["subscriptions", subscription, "resourcegroups", name, "resources"]) => {
            check_exists(world, segments[1], segments[3])?;
            list(world, call, &format!("/subscriptions/{subscription}/resourcegroups/{name}/"))
        }
        _ => Err(router::unknown(world, call)),
    }
}

fn shown(resource: &Resource) -> Value {
    resource.body.clone()
}

/// A list of resources shows what they have in common; what has no region of its own is not in it.
fn list(world: &World, call: &Call<'_>, prefix: &str) -> Result<Reply, ApiError> {
    let expand = call.request.parameter("$expand").unwrap_or_default().to_ascii_lowercase();
    let tracked = |resource: &Resource| {
        !resource.location().is_empty()
            && !matches!(resource.type_name.as_str(), "Microsoft.Resources/resourceGroups" | "Microsoft.Resources/deployments")
    };
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
    let Some(wanted_type) = wanted_type else { return page::below(world, call, prefix, tracked, show) };
    let subscription = scope_part(prefix, "subscriptions").unwrap_or_default();
    let of_type = world.store.of_type(subscription, &wanted_type).into_iter();
    let items: Vec<Arc<Resource>> =
        of_type.filter(|resource| resource.key.starts_with(&prefix.to_ascii_lowercase()) && tracked(resource)).collect();
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

/// The names of all regions.
pub fn region_names() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().map(|(name, ..)| *name)
}

/// A region's display name, which is how Compute answers.
pub fn region_name(name: &str) -> String {
    region(name).map_or_else(|| name.to_owned(), |(_, title, _)| (*title).to_owned())
}

fn region(name: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    let plain: String = name.chars().filter(|character| !character.is_whitespace()).flat_map(char::to_lowercase).collect();
    REGIONS.iter().find(|(known, ..)| *known == plain)
}

/// What a provider tells of itself. Only where galleries are is of interest to somebody.
fn registration(subscription: &str, name: &str) -> Value {
    let locations: Vec<&str> = REGIONS.iter().map(|(_, title, _)| *title).collect();
    let kinds: &[&str] = if name == "Microsoft.Compute" { &["galleries", "galleries/images", "galleries/images/versions"] } else { &[] };
    let kinds: Vec<Value> = kinds
        .iter()
        .map(|kind| json!({"resourceType": kind, "locations": locations, "apiVersions": ["2025-03-03", "2024-03-03", "2023-07-03", "2022-03-03", "2019-07-01"]}))
        .collect();
    json!({"id": format!("/subscriptions/{subscription}/providers/{name}"), "namespace": name, "registrationPolicy": "RegistrationRequired",
        "registrationState": "Registered", "resourceTypes": kinds})
}

fn operation_result(world: &World, call: &Call<'_>, name: &str) -> Result<Reply, ApiError> {
    let missing = || ApiError::new(404, "OperationNotFound", format!("The operation '{name}' could not be found."));
    match world.operations.get(name).ok_or_else(missing)?.state() {
        State::Running => {
            Ok(Reply::empty(202).with_header("Location", format!("{}{}?{}", call.root, call.request.path, call.request.query)))
        }
        State::Failed(error) => Err(error),
        _ => Ok(Reply::empty(200)),
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
