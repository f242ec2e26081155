//! Policies: what a lab allows. They are kept, evaluated on request, and enforced when a machine or environment is made.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::plain::{Making, invalid};
use crate::emulator::{clock::dtl_date, error::ApiError, store::Resource, world::World};

/// What a policy can be about, and whether it counts.
const FACTS: &[(&str, bool)] = &[
    ("UserOwnedLabVmCount", true),
    ("UserOwnedLabPremiumVmCount", true),
    ("LabVmCount", true),
    ("LabPremiumVmCount", true),
    ("LabVmSize", false),
    ("GalleryImage", false),
    ("UserOwnedLabVmCountInSubnet", true),
    ("LabTargetCost", true),
    ("EnvironmentTemplate", false),
    ("ScheduleEditPermission", false),
];

/// A policy names a fact, and a threshold that fits it.
pub fn prepare(making: &mut Making<'_>) -> Result<(), ApiError> {
    making.given.remove("createdDate");
    let now = dtl_date(making.world.clock.now());
    making.default("createdDate", now);
    making.default("status", "Enabled");
    for name in ["factName", "evaluatorType", "threshold"] {
        making.require(name)?;
        making.default(name, Value::Null);
    }
    let fact = making.text("factName").to_owned();
    let Some((_, counts)) = FACTS.iter().find(|(known, _)| *known == fact) else {
        let known: Vec<&str> = FACTS.iter().map(|(name, _)| *name).collect();
        return Err(invalid("factName", &fact, &format!("one of {}", known.join(", "))));
    };
    let wanted = if *counts { "MaxValuePolicy" } else { "AllowedValuesPolicy" };
    if making.text("evaluatorType") != wanted {
        return Err(invalid("evaluatorType", making.text("evaluatorType"), &format!("'{wanted}' for the fact '{fact}'")));
    }
    let threshold = making.text("threshold");
    let good = if *counts { threshold.parse::<f64>().is_ok() } else { serde_json::from_str::<Vec<Value>>(threshold).is_ok() };
    if good {
        return Ok(());
    }
    let allowed = if *counts { "a number" } else { "a JSON list" };
    Err(invalid("threshold", threshold, allowed))
}

/// The enabled policies of a lab about a fact.
fn about(world: &World, lab: &Resource, fact: &str) -> Vec<Arc<Resource>> {
    let policies = world.store.below(&format!("{}/policysets/", lab.key));
    let applies = |policy: &Arc<Resource>| policy.text("factName") == fact && policy.text("status").eq_ignore_ascii_case("Enabled");
    policies.into_iter().filter(applies).collect()
}

/// Answers `evaluatePolicies`.
pub fn evaluate(world: &World, lab: &Resource, caller: &str, body: &Value) -> Value {
    let asked = body["policies"].as_array().cloned().unwrap_or_default();
    let results: Vec<Value> = asked
        .iter()
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap_or_default();
            let offset = text("valueOffset").parse::<usize>().unwrap_or(0);
            let user = Some(text("userObjectId")).filter(|user| !user.is_empty()).unwrap_or(caller);
            let violations = violations(world, lab, &Fact { name: text("factName"), data: text("factData"), offset, user });
            let violations: Vec<Value> =
                violations.into_iter().map(|message| json!({"code": "PolicyViolation", "message": message})).collect();
            json!({"hasError": false, "policyViolations": violations})
        })
        .collect();
    json!({"results": results})
}

struct Fact<'a> {
    name: &'a str,
    data: &'a str,
    /// How many more there would be.
    offset: usize,
    user: &'a str,
}

fn violations(world: &World, lab: &Resource, fact: &Fact<'_>) -> Vec<String> {
    about(world, lab, fact.name).iter().filter_map(|policy| violation(world, lab, policy, fact)).collect()
}

fn violation(world: &World, lab: &Resource, policy: &Resource, fact: &Fact<'_>) -> Option<String> {
    let threshold = policy.text("threshold");
    if policy.text("evaluatorType") == "MaxValuePolicy" {
        let subnet = policy.text("factData");
        if fact.name.ends_with("InSubnet") && !subnet.eq_ignore_ascii_case(fact.data) {
            return None;
        }
        let count = count(world, lab, fact, subnet) + fact.offset;
        #[allow(clippy::cast_precision_loss, reason = "a lab has no 2^52 machines")]
        let exceeded = threshold.parse::<f64>().is_ok_and(|most| count as f64 > most);
        return exceeded.then(|| {
            format!("The policy '{}' allows no more than {threshold} for '{}'; there would be {count}.", policy.name(), fact.name)
        });
    }
    let allowed: Vec<Value> = serde_json::from_str(threshold).unwrap_or_default();
    if allowed.iter().any(|value| allows(value, fact.data)) {
        return None;
    }
    Some(format!("The policy '{}' does not allow the value '{}' for '{}'.", policy.name(), fact.data, fact.name))
}

/// Images are written as JSON within JSON and compare by publisher, offer and SKU.
fn allows(allowed: &Value, data: &str) -> bool {
    let text = allowed.as_str().map_or_else(|| allowed.to_string(), str::to_owned);
    if text.eq_ignore_ascii_case(data) {
        return true;
    }
    let (Ok(allowed @ Value::Object(_)), Ok(asked)) = (serde_json::from_str::<Value>(&text), serde_json::from_str::<Value>(data)) else {
        return false;
    };
    ["publisher", "offer", "sku"].iter().all(|part| {
        let text = |value: &Value| value[*part].as_str().unwrap_or_default().to_ascii_lowercase();
        text(&allowed) == text(&asked)
    })
}

fn count(world: &World, lab: &Resource, fact: &Fact<'_>, subnet: &str) -> usize {
    let machines = world.store.members(&format!("{}/virtualmachines", lab.key));
    let counts = |machine: &&Arc<Resource>| {
        let owned = !fact.name.starts_with("UserOwned") || machine.text("ownerObjectId").eq_ignore_ascii_case(fact.user);
        let premium = !fact.name.contains("Premium") || machine.text("storageType").eq_ignore_ascii_case("Premium");
        let inside = !fact.name.ends_with("InSubnet") || machine.text("labSubnetName").eq_ignore_ascii_case(subnet);
        owned && premium && inside && machine.state() != "Deleting"
    };
    machines.iter().filter(counts).count()
}

/// Whether the lab allows one more machine such as this.
pub fn check_machine(world: &World, lab: &Resource, user: &str, given: &Map<String, Value>) -> Result<(), ApiError> {
    let text = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default();
    let image = given.get("galleryImageReference").filter(|image| image.is_object()).map(Value::to_string);
    let premium = text("storageType").eq_ignore_ascii_case("Premium");
    let claimable = given.get("allowClaim") == Some(&Value::Bool(true));
    let mut facts = vec![("LabVmCount", String::new()), ("LabVmSize", text("size").to_owned())];
    facts.extend(image.map(|image| ("GalleryImage", image)));
    if premium {
        facts.push(("LabPremiumVmCount", String::new()));
    }
    // What nobody owns yet counts for nobody.
    if !claimable {
        facts.push(("UserOwnedLabVmCount", String::new()));
        facts.push(("UserOwnedLabVmCountInSubnet", text("labSubnetName").to_owned()));
        if premium {
            facts.push(("UserOwnedLabPremiumVmCount", String::new()));
        }
    }
    facts.iter().try_for_each(|(name, data)| enforce(world, lab, &Fact { name, data, offset: 1, user }))
}

/// Whether a user may own one machine more.
pub fn check_claim(world: &World, lab: &Resource, user: &str) -> Result<(), ApiError> {
    enforce(world, lab, &Fact { name: "UserOwnedLabVmCount", data: "", offset: 1, user })
}

/// Whether the lab allows environments of a template.
pub fn check_environment(world: &World, lab: &Resource, user: &str, template: &str) -> Result<(), ApiError> {
    enforce(world, lab, &Fact { name: "EnvironmentTemplate", data: template, offset: 1, user })
}

fn enforce(world: &World, lab: &Resource, fact: &Fact<'_>) -> Result<(), ApiError> {
    match violations(world, lab, fact).into_iter().next() {
        Some(message) => Err(ApiError::new(403, "PolicyViolation", message).with_target(fact.name)),
        None => Ok(()),
    }
}
