//! Image definitions: what must be said, what is unique, what never changes.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{DEFINITIONS, begin, change_not_allowed, check_name, invalid_parameter, missing, normalized, record_duration, word};
use crate::emulator::{
    error::ApiError,
    id::Id,
    provision::{self, Applied, Put, properties},
    store::Resource,
    world::World,
};

/// What never changes once a definition is made, and what Azure takes it for when nothing was said.
const FIXED: [(&str, &str); 6] =
    [("osType", ""), ("osState", ""), ("hyperVGeneration", "V1"), ("architecture", "x64"), ("eula", ""), ("privacyStatementUri", "")];

/// Makes or changes a definition.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    check_name(put.id, &['.', '-', '_'], "galleryImageName")?;
    let location = put.body["location"].as_str().filter(|location| !location.is_empty()).ok_or_else(|| missing("location"))?;
    let mut given = properties(put.body)?;
    check(&mut given)?;
    let existing = world.store.get(&put.id.key()).filter(|definition| definition.state() != "Failed");
    match &existing {
        Some(existing) => check_unchanged(existing, location, &given)?,
        None => check_unique(world, put.id, &given["identifier"])?,
    }
    given.remove("provisioningState");
    let mut resource = Resource::new(provision::body(&put.id.to_string(), put.id, put.body, &given), world.clock.now());
    resource.body["location"] = json!(normalized(location));
    Ok(begin(world, resource, existing.as_deref(), record_duration(world)))
}

fn check(given: &mut Map<String, Value>) -> Result<(), ApiError> {
    let required = [("osType", ["Windows", "Linux"]), ("osState", ["Generalized", "Specialized"])];
    for (name, words) in required {
        let property = format!("galleryImage.properties.{name}");
        let value = word(given.get(name).unwrap_or(&Value::Null), &property, &words)?.ok_or_else(|| missing(&property))?;
        given.insert(name.into(), json!(value));
    }
    for part in ["publisher", "offer", "sku"] {
        let property = format!("galleryImage.properties.identifier.{part}");
        let value = given.get("identifier").and_then(|identifier| identifier[part].as_str()).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| missing(&property))?;
        let longest = if part == "publisher" { 128 } else { 64 };
        if value.len() > longest || value.ends_with('.') {
            return Err(invalid_parameter(&property, format!("The value '{value}' of parameter '{property}' is invalid.")));
        }
    }
    for (name, words) in [("hyperVGeneration", ["V1", "V2"]), ("architecture", ["x64", "Arm64"])] {
        let property = format!("galleryImage.properties.{name}");
        let value = word(given.get(name).unwrap_or(&Value::Null), &property, &words)?.unwrap_or(words[0]);
        given.insert(name.into(), json!(value));
    }
    check_plan(given)?;
    check_features(given)
}

fn check_plan(given: &Map<String, Value>) -> Result<(), ApiError> {
    let Some(plan) = given.get("purchasePlan").filter(|plan| plan.is_object()) else { return Ok(()) };
    let lacking = ["name", "publisher", "product"].into_iter().find(|part| plan[*part].as_str().unwrap_or_default().is_empty());
    lacking.map_or(Ok(()), |part| Err(missing(&format!("galleryImage.properties.purchasePlan.{part}"))))
}

fn check_features(given: &Map<String, Value>) -> Result<(), ApiError> {
    let property = "galleryImage.properties.features";
    let security = security_type(given.get("features").unwrap_or(&Value::Null));
    let words = [
        "Standard",
        "TrustedLaunchSupported",
        "TrustedLaunch",
        "ConfidentialVmSupported",
        "ConfidentialVM",
        "TrustedLaunchAndConfidentialVmSupported",
    ];
    if !words.iter().any(|word| word.eq_ignore_ascii_case(&security)) {
        return Err(invalid_parameter(property, format!("The value '{security}' of the feature 'SecurityType' is invalid.")));
    }
    if given["hyperVGeneration"] == json!("V1") && !security.eq_ignore_ascii_case("Standard") {
        return Err(invalid_parameter(
            property,
            format!("The feature 'SecurityType' with value '{security}' needs hyperVGeneration 'V2'."),
        ));
    }
    if given["hyperVGeneration"] == json!("V1") && given["architecture"] == json!("Arm64") {
        return Err(invalid_parameter("galleryImage.properties.architecture", "The architecture 'Arm64' needs hyperVGeneration 'V2'."));
    }
    Ok(())
}

/// The security type among features; `Standard` when none is named.
pub fn security_type(features: &Value) -> String {
    let mut items = features.as_array().into_iter().flatten();
    let found = items.find(|item| item["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case("SecurityType")));
    found.and_then(|item| item["value"].as_str()).unwrap_or("Standard").to_owned()
}

fn check_unchanged(existing: &Resource, location: &str, given: &Map<String, Value>) -> Result<(), ApiError> {
    if normalized(existing.location()) != normalized(location) {
        return Err(change_not_allowed("galleryImage.location"));
    }
    for (name, default) in FIXED {
        let text = |value: &Value| value.as_str().unwrap_or(default).to_lowercase();
        if text(existing.property(name)) != text(given.get(name).unwrap_or(&Value::Null)) {
            return Err(change_not_allowed(&format!("galleryImage.properties.{name}")));
        }
    }
    for (name, parts) in [("identifier", ["publisher", "offer", "sku"]), ("purchasePlan", ["name", "publisher", "product"])] {
        let there = existing.property(name);
        let wanted = given.get(name).unwrap_or(&Value::Null);
        let same = parts
            .iter()
            .all(|part| there[*part].as_str().unwrap_or_default().eq_ignore_ascii_case(wanted[*part].as_str().unwrap_or_default()));
        if !same {
            return Err(change_not_allowed(&format!("galleryImage.properties.{name}")));
        }
    }
    let features = |value: &Value| {
        let items = value.as_array().into_iter().flatten();
        let mut items: Vec<String> = items.map(|item| format!("{}={}", item["name"], item["value"]).to_lowercase()).collect();
        items.sort();
        items
    };
    let wanted = given.get("features").unwrap_or(&Value::Null);
    if features(existing.property("features")) != features(wanted) && given.get("allowUpdateImage") != Some(&json!(true)) {
        return Err(change_not_allowed("galleryImage.properties.features"));
    }
    Ok(())
}

/// Publisher, offer and SKU belong to one definition of a gallery.
fn check_unique(world: &World, id: &Id, identifier: &Value) -> Result<(), ApiError> {
    let collection = id.parent().map(|gallery| format!("{}/images", gallery.key())).unwrap_or_default();
    let same = |other: &Resource| {
        ["publisher", "offer", "sku"].iter().all(|part| {
            let text = |value: &Value| value[*part].as_str().unwrap_or_default().to_lowercase();
            text(other.property("identifier")) == text(identifier)
        })
    };
    let others = world.store.members(&collection);
    let taken = others.iter().find(|other| other.type_name.eq_ignore_ascii_case(DEFINITIONS) && other.name() != id.name() && same(other));
    taken.map_or(Ok(()), |other| {
        let text = |part: &str| identifier[part].as_str().unwrap_or_default().to_owned();
        let message = format!(
            "The combination of publisher '{}', offer '{}' and sku '{}' is already in use by gallery image '{}'.",
            text("publisher"),
            text("offer"),
            text("sku"),
            other.name()
        );
        Err(ApiError::conflict("Conflict", message).with_target("galleryImage.properties.identifier"))
    })
}
