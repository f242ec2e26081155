//! A whole template evaluated without a deployment: what only a deployment can tell stays as it is written, and is listed.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::{Map, Value, json};

use super::{
    Context, Finding, Runtime,
    declare::Template,
    deployment::{Deployment, expand},
    evaluate::Evaluator,
    path::{self, Trail},
};

/// A runtime that knows nothing.
#[derive(Clone, Copy, Debug)]
pub struct Offline;

impl Runtime for Offline {}

/// What a template comes to.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Every resource to be deployed, nested ones among them, each with its `id`.
    pub resources: Vec<Value>,
    /// `{"name": {"type", "value"}}`; a secure output has no value.
    pub outputs: Map<String, Value>,
    /// What only a deployment can tell.
    pub unresolved: Vec<Unresolved>,
}

/// An expression that stays as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// Where it stands in the evaluation, such as `resources[0].properties.key`.
    pub path: String,
    /// The expression, with its brackets.
    pub expression: String,
}

/// Evaluates a template as far as that goes without a deployment.
pub fn evaluate(
    template: &Arc<Template>,
    parameters: &Map<String, Value>,
    context: &Context,
    runtime: &dyn Runtime,
) -> Result<Evaluation, Vec<Finding>> {
    let deployment = expand(template, parameters, context, runtime)?;
    let known = Known { runtime, deployments: RefCell::default() };
    let noted = RefCell::new(HashSet::new());
    let evaluator = Evaluator::noting(&known, &noted);
    let mut walk = Walk { evaluator: &evaluator, known: &known, links: Vec::new() };
    let (resources, outputs) = walk.deployment(&deployment)?;
    let links = walk.links;
    let mut unresolved = Vec::new();
    for (index, resource) in resources.iter().enumerate() {
        list(resource, &Trail::Start(&path::at("resources", index)), &noted.borrow(), &mut unresolved);
    }
    for (name, output) in &outputs {
        list(output, &Trail::Start("outputs").key(name), &noted.borrow(), &mut unresolved);
    }
    unresolved.extend(links);
    Ok(Evaluation { resources, outputs, unresolved })
}

/// A runtime that also knows the outputs of nested deployments evaluated so far.
struct Known<'k> {
    runtime: &'k dyn Runtime,
    deployments: RefCell<HashMap<String, Value>>,
}

impl Runtime for Known<'_> {
    fn resource(&self, id: &str, api_version: Option<&str>) -> Result<Option<Value>, String> {
        match self.deployments.borrow().get(&id.to_ascii_lowercase()) {
            Some(deployment) => Ok(Some(deployment.clone())),
            None => self.runtime.resource(id, api_version),
        }
    }

    fn list(&self, function: &str, id: &str, api_version: &str, arguments: &[Value]) -> Result<Option<Value>, String> {
        self.runtime.list(function, id, api_version, arguments)
    }

    fn linked(&self, uri: &str) -> Result<Option<Vec<u8>>, String> {
        self.runtime.linked(uri)
    }

    fn secret(&self, vault_id: &str, name: &str, version: Option<&str>) -> Result<Option<Value>, String> {
        self.runtime.secret(vault_id, name, version)
    }

    fn deployer(&self) -> Option<Value> {
        self.runtime.deployer()
    }
}

/// Resources and outputs.
type Parts = (Vec<Value>, Map<String, Value>);

struct Walk<'w> {
    evaluator: &'w Evaluator<'w>,
    known: &'w Known<'w>,
    /// Nested deployments that could not be followed.
    links: Vec<Unresolved>,
}

impl Walk<'_> {
    fn deployment(&mut self, deployment: &Deployment) -> Result<Parts, Vec<Finding>> {
        let mut done: Vec<Vec<Value>> = vec![Vec::new(); deployment.resources().len()];
        for index in deployment.order() {
            let resource = &deployment.resources()[index];
            if !resource.condition || resource.existing {
                continue;
            }
            if resource.is_deployment() {
                done[index] = self.nested(deployment, index)?;
                continue;
            }
            let body = deployment.body_with(index, self.evaluator).map_err(|fault| vec![fault.into_finding()])?;
            let mut shown = Map::new();
            for (key, value) in
                [("id", &resource.id), ("type", &resource.resource_type), ("name", &resource.name), ("apiVersion", &resource.api_version)]
            {
                shown.insert(key.to_owned(), Value::String(value.clone()));
            }
            if let Value::Object(body) = body {
                for (key, value) in body {
                    shown.entry(key).or_insert(value);
                }
            }
            done[index].push(Value::Object(shown));
        }
        let mut outputs = deployment.outputs_with(self.evaluator)?;
        for output in outputs.values_mut().filter_map(Value::as_object_mut) {
            let kind = output.get("type").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
            if kind.starts_with("secure") {
                output.remove("value");
            }
        }
        Ok((done.into_iter().flatten().collect(), outputs))
    }

    fn nested(&mut self, deployment: &Deployment, index: usize) -> Result<Vec<Value>, Vec<Finding>> {
        let resource = &deployment.resources()[index];
        let nested = match deployment.nested_with(index, self.evaluator) {
            Ok(nested) => nested,
            Err(faults) if faults.iter().all(super::fault::Fault::is_unresolved) => {
                let properties = super::functions::member(&resource.json, "properties");
                let link = properties.and_then(|properties| super::functions::member(properties, "templateLink"));
                let text = link.and_then(|link| {
                    ["uri", "relativePath", "id"]
                        .iter()
                        .find_map(|key| super::functions::member(link, key))
                        .and_then(Value::as_str)
                        .map(str::to_owned)
                });
                let path = if text.is_some() { "properties.templateLink" } else { "properties" };
                let expression = text.unwrap_or_else(|| resource.name.clone());
                self.links.push(Unresolved { path: format!("{}.{path}", resource.path), expression });
                return Ok(Vec::new());
            }
            Err(faults) => return Err(faults.into_iter().map(super::fault::Fault::into_finding).collect()),
        };
        let (resources, outputs) = self.deployment(&nested.deployment)?;
        let partly = outputs.values().any(|output| output.get("value").is_none());
        let state = json!({
            "id": resource.id, "name": resource.name, "type": resource.resource_type,
            "properties": {"provisioningState": "Succeeded", "mode": nested.context.mode.name(), "parameters": nested.parameters, "outputs": outputs},
        });
        if !partly {
            self.known.deployments.borrow_mut().insert(resource.id.to_ascii_lowercase(), state);
        }
        Ok(resources)
    }
}

/// Lists the strings of a value that stand for what could not be resolved.
fn list(value: &Value, trail: &Trail<'_>, noted: &HashSet<String>, unresolved: &mut Vec<Unresolved>) {
    match value {
        Value::String(text) if noted.contains(text) => unresolved.push(Unresolved { path: trail.to_string(), expression: text.clone() }),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| list(item, &trail.index(i), noted, unresolved)),
        Value::Object(map) => map.iter().for_each(|(key, item)| list(item, &trail.key(key), noted, unresolved)),
        _ => {}
    }
}
