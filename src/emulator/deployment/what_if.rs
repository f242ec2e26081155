//! What a deployment would change: it is carried out on a copy of the cloud, where work takes no time, and the two are compared.

mod delta;

use std::{collections::HashSet, sync::Arc};

use serde_json::{Map, Value, json};

use super::{check_name, live::Live, plan::Plan, start};
use crate::{
    emulator::{
        error::ApiError,
        http::{Reply, parse_object},
        id::Id,
        identity::Caller,
        operation::State,
        resources,
        store::Resource,
        world::{Call, World},
    },
    template::{Foresight, Runtime},
};

/// Serves `whatIf`: 202, and the changes at the address in `Location`.
pub fn serve(world: &Arc<World>, call: &Call<'_>, id: &Id) -> Result<Reply, ApiError> {
    let body = parse_object(&call.request.body)?;
    check_name(id.name())?;
    let format = Format::of(&body)?;
    let plan = Arc::new(Plan::make(world, id, &body)?);
    let operation = world.begin();
    let location = resources::operation_address(call, id.subscription(), &operation.name);
    let (origin, id, caller) = (world.clone(), id.clone(), call.caller.clone());
    world.spawn(async move {
        let copy = Arc::new(origin.copy());
        let result = carry_out(&copy, &id, &body, &plan, &caller).await;
        let answer = result.and_then(|()| Comparison::new(&origin, &copy, format).changes(&id, &plan));
        copy.stop();
        operation.end(State::Succeeded(Some(match answer {
            Ok(changes) => json!({"status": "Succeeded", "properties": {"changes": changes}}),
            Err(error) => json!({"status": "Failed", "error": error.to_value()}),
        })));
    });
    Ok(Reply::empty(202).with_header("Location", location).with_header("Retry-After", "1"))
}

/// How much is told of a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Ids,
    Payloads,
}

impl Format {
    fn of(body: &Value) -> Result<Self, ApiError> {
        match &body["properties"]["whatIfSettings"]["resultFormat"] {
            Value::Null => Ok(Self::Payloads),
            Value::String(name) if name.eq_ignore_ascii_case("FullResourcePayloads") => Ok(Self::Payloads),
            Value::String(name) if name.eq_ignore_ascii_case("ResourceIdOnly") => Ok(Self::Ids),
            other => Err(ApiError::invalid_content(&format!(
                "Error converting value {other} to type 'WhatIfResultFormat': it must be 'ResourceIdOnly' or 'FullResourcePayloads'. Path \
                 'properties.whatIfSettings.resultFormat'"
            ))),
        }
    }
}

/// Deploys to the copy, whatever deployments of this name or how many there are.
async fn carry_out(copy: &Arc<World>, id: &Id, body: &Value, plan: &Arc<Plan>, caller: &Caller) -> Result<(), ApiError> {
    copy.store.remove(&id.key());
    let Some(operation) = start(copy, id, body, plan.clone(), caller).operation else { return Ok(()) };
    match operation.ended().await {
        State::Failed(error) => Err(error),
        _ => Ok(()),
    }
}

/// The cloud before and after.
struct Comparison<'c> {
    before: &'c World,
    after: &'c World,
    format: Format,
    changes: Vec<Value>,
    /// The ids that templates name, in lower case.
    named: HashSet<String>,
    /// The resource groups that are deployed to.
    groups: Vec<String>,
}

impl<'c> Comparison<'c> {
    fn new(before: &'c World, after: &'c World, format: Format) -> Self {
        Self { before, after, format, changes: Vec::new(), named: HashSet::new(), groups: Vec::new() }
    }

    fn changes(mut self, id: &Id, plan: &Plan) -> Result<Vec<Value>, ApiError> {
        self.name(plan)?;
        self.deployment(&id.scope, plan, &plan.deployment().foresight())?;
        self.others();
        Ok(self.changes)
    }

    /// Notes what is named, nested deployments followed.
    fn name(&mut self, plan: &Plan) -> Result<(), ApiError> {
        for (index, resource) in plan.deployment().resources().iter().enumerate().filter(|(index, _)| plan.is_made(*index)) {
            match plan.nested_at(self.after, index)? {
                Some((nested, _)) => self.name(&nested)?,
                None => {
                    self.named.insert(resource.id.to_ascii_lowercase());
                }
            }
        }
        Ok(())
    }

    fn deployment(&mut self, scope: &str, plan: &Plan, foresight: &Foresight) -> Result<(), ApiError> {
        if scope.to_ascii_lowercase().contains("/resourcegroups/") && !self.groups.iter().any(|known| known.eq_ignore_ascii_case(scope)) {
            self.groups.push(scope.to_owned());
        }
        for index in (0..plan.len()).filter(|index| plan.is_made(*index)) {
            let known = Foreseen { before: self.before, after: self.after, named: &self.named };
            if let Some((nested, _)) = plan.nested_at(self.after, index)? {
                let foresight = foresight.nested(index, &known, nested.deployment());
                self.deployment(&plan.id(index).scope, &nested, &foresight)?;
            } else {
                let change = self.resource(plan, index, foresight);
                self.changes.push(change);
            }
        }
        Ok(())
    }

    fn resource(&self, plan: &Plan, index: usize, foresight: &Foresight) -> Value {
        let resource = &plan.deployment().resources()[index];
        if !foresight.identifies(resource) {
            return unidentified(resource);
        }
        let before = self.before.store.get(&resource.id);
        if self.format == Format::Ids {
            return json!({"resourceId": resource.id, "changeType": if before.is_some() { "Deploy" } else { "Create" }});
        }
        let known = Foreseen { before: self.before, after: self.after, named: &self.named };
        let wanted = foresight.body(index, &known).unwrap_or_default();
        let after = shown_after(resource, &wanted);
        let Some(before) = before else {
            return json!({"resourceId": resource.id, "changeType": "Create", "after": after});
        };
        let reached = self.after.store.get(&resource.id);
        let delta = delta::between(&wanted, &before.body, reached.as_ref().map_or(&Value::Null, |reached| &reached.body));
        let kind = if delta.is_empty() { "NoChange" } else { "Modify" };
        let before = shown_before(&before, Some(&resource.api_version));
        json!({"resourceId": resource.id, "changeType": kind, "before": before, "after": after, "delta": delta})
    }

    /// What else is in the resource groups: it goes with a deployment in the mode Complete, or stays as it is.
    fn others(&mut self) {
        let mut gone: Vec<String> = Vec::new();
        for group in std::mem::take(&mut self.groups) {
            for other in self.before.store.below(&format!("{group}/providers/")) {
                if self.named.contains(&*other.key) {
                    continue;
                }
                let kind = if self.after.store.contains(&other.key) { "Ignore" } else { "Delete" };
                let goes_with_another = gone.iter().any(|above| other.key.starts_with(above));
                if kind == "Delete" && !goes_with_another {
                    gone.push(format!("{}/", other.key));
                }
                if (kind == "Ignore" && !resources::is_tracked(&other)) || goes_with_another {
                    continue;
                }
                let mut change = json!({"resourceId": other.id(), "changeType": kind});
                if self.format == Format::Payloads {
                    change["before"] = shown_before(&other, None);
                    if kind == "Ignore" {
                        change["after"] = change["before"].clone();
                    }
                }
                self.changes.push(change);
            }
        }
    }
}

/// A resource whose id depends on what the deployment itself will tell.
fn unidentified(resource: &crate::template::Resource) -> Value {
    let written = resource.written_name();
    let id = format!("{}/providers/{}/{written}", resource.scope, resource.resource_type);
    let reason = format!(
        "Changes to the resource declared at '{}' cannot be analyzed because its resource ID or API version cannot be calculated until the \
         deployment is under way. Please see https://aka.ms/WhatIfUnidentifiableResource for more information.",
        resource.path
    );
    json!({"resourceId": id, "changeType": "Unsupported", "unsupportedReason": reason})
}

/// A resource as its template has it.
fn shown_after(resource: &crate::template::Resource, wanted: &Value) -> Value {
    let mut shown = Map::new();
    let name = resource.name.rsplit('/').next().unwrap_or_default();
    let own = [("id", resource.id.as_str()), ("name", name), ("type", &resource.resource_type), ("apiVersion", &resource.api_version)];
    for (key, value) in own {
        shown.insert(key.to_owned(), json!(value));
    }
    for (key, value) in wanted.as_object().into_iter().flatten() {
        if !shown.keys().any(|known| known.eq_ignore_ascii_case(key)) {
            shown.insert(key.clone(), value.clone());
        }
    }
    Value::Object(shown)
}

/// A resource as it stands, without what the service alone writes.
fn shown_before(resource: &Resource, api_version: Option<&str>) -> Value {
    let mut shown = resource.body.clone();
    if let Some(map) = shown.as_object_mut() {
        map.remove("etag");
        map.remove("systemData");
    }
    if let Some(properties) = shown["properties"].as_object_mut() {
        properties.remove("provisioningState");
    }
    if let Some(api_version) = api_version {
        shown["apiVersion"] = json!(api_version);
    }
    shown
}

/// What can be told beforehand: resources that the deployment leaves alone, and the outputs of nested deployments.
#[derive(Debug)]
struct Foreseen<'f> {
    before: &'f World,
    after: &'f World,
    named: &'f HashSet<String>,
}

impl Runtime for Foreseen<'_> {
    fn resource(&self, id: &str, api_version: Option<&str>) -> Result<Option<Value>, String> {
        let key = id.to_ascii_lowercase();
        if key.contains("/providers/microsoft.resources/deployments/") {
            return Live(self.after).resource(id, api_version);
        }
        Ok(if self.named.contains(&key) { None } else { self.before.store.get(&key).map(|found| found.body.clone()) })
    }

    fn list(&self, _function: &str, _id: &str, _api_version: &str, _arguments: &[Value]) -> Result<Option<Value>, String> {
        Ok(None)
    }

    fn linked(&self, uri: &str) -> Result<Option<Vec<u8>>, String> {
        Live(self.after).linked(uri)
    }
}
