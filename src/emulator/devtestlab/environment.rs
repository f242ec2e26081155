//! Environments: a template of an artifact source, deployed into a resource group of its own.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{new_resource, not_in_valid_state, plain, policy, require_lab, with_location};
use crate::emulator::{
    deployment,
    error::ApiError,
    id::{Id, group_id, in_group},
    identity::Caller,
    operation::{Operation, State},
    provision::{Applied, Put},
    resources::group,
    settings::Work,
    store::Resource,
    world::{World, random_digits},
};

/// Makes an environment, or deploys it anew.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    let lab = require_lab(world, put.id)?;
    let mut given = super::lab_properties(put.body)?;
    let wanted = given.get("deploymentProperties").cloned().unwrap_or_default();
    let template = template(world, &lab, &wanted)?;
    policy::check_environment(world, &lab, &put.caller.object_id, &template.key)?;
    let parameters = parameters(&template, &wanted["parameters"])?;
    let existing = world.store.get(&put.id.key());
    if let Some(existing) = existing.as_ref().filter(|found| !matches!(found.state(), "Succeeded" | "Failed" | "Canceled")) {
        return Err(not_in_valid_state(put.id, existing.state()));
    }
    plain::ensure_user(world, &put.id.ancestor(2), &lab, &put.caller.client_id);
    if let Some(deployment) = given.get_mut("deploymentProperties").and_then(Value::as_object_mut) {
        deployment.remove("parameters");
    }
    let resource = if let Some(existing) = &existing {
        world.store.update(&existing.key, |found| found.set_state("Updating")).unwrap_or_else(|| existing.clone())
    } else {
        given.insert("createdByUser".into(), json!(put.caller.client_id));
        let mut resource = new_resource(world, put.id, &with_location(put.body, &lab), given);
        resource.set_state("Creating");
        world.store.put(resource)
    };
    let operation = world.begin();
    world.store.update(&resource.key, |resource| resource.hide("operation", operation.name.clone()));
    let work = Deploy { id: put.id.clone(), caller: put.caller.clone(), template, parameters, location: lab.location().to_owned() };
    world.spawn(create(world.clone(), work, operation.clone()));
    Ok(Applied { created: existing.is_none(), resource, operation: Some(operation) })
}

/// The template that an environment is made from.
fn template(world: &World, lab: &Resource, deployment: &Value) -> Result<Arc<Resource>, ApiError> {
    let id = deployment["armTemplateId"].as_str().unwrap_or_default();
    if id.is_empty() {
        let message = "The property 'deploymentProperties.armTemplateId' is required.";
        return Err(ApiError::bad_request("MissingRequiredProperty", message).with_target("deploymentProperties.armTemplateId"));
    }
    let inside = id.to_ascii_lowercase().starts_with(&format!("{}/artifactsources/", lab.key));
    world.store.get(id).filter(|found| inside && found.type_name.ends_with("/armTemplates")).ok_or_else(|| {
        let message = format!("The ARM template '{id}' was not found in the lab '{}'.", lab.name());
        ApiError::bad_request("ArmTemplateNotFound", message).with_target("deploymentProperties.armTemplateId")
    })
}

/// The parameters as a deployment takes them. DevTest Labs carries them as texts; the template's declarations tell their types.
fn parameters(template: &Resource, given: &Value) -> Result<Value, ApiError> {
    let mut parameters = Map::new();
    for parameter in given.as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| ApiError::invalid_content("a parameter has no 'name'"))?;
        let declared = &template.property("contents")["parameters"];
        let kind = declared.as_object().into_iter().flatten().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let kind = kind.and_then(|(_, declaration)| declaration["type"].as_str()).unwrap_or("string").to_ascii_lowercase();
        parameters.insert(name.to_owned(), json!({"value": typed(&parameter["value"], &kind)}));
    }
    Ok(Value::Object(parameters))
}

fn typed(value: &Value, kind: &str) -> Value {
    match value.as_str() {
        Some(text) if matches!(kind, "int" | "bool" | "array" | "object" | "secureobject") => {
            let lower = if kind == "bool" { text.to_ascii_lowercase() } else { text.to_owned() };
            serde_json::from_str(&lower).unwrap_or_else(|_| value.clone())
        }
        _ => value.clone(),
    }
}

struct Deploy {
    id: Id,
    caller: Caller,
    template: Arc<Resource>,
    parameters: Value,
    location: String,
}

async fn create(world: Arc<World>, work: Deploy, operation: Arc<Operation>) {
    let id = &work.id;
    let deployed = {
        let _gate = world.gate();
        begin_deployment(&world, &work)
    };
    let mut result = match deployed {
        Ok(deployment) => match deployment.ended().await {
            State::Failed(error) => Err(error),
            State::Canceled => Err(ApiError::conflict("DeploymentCanceled", "The deployment of the environment was canceled.")),
            _ => Ok(()),
        },
        Err(error) => Err(error),
    };
    if let Some(outcome) = world.provisioning(&id.key(), std::time::Duration::ZERO).await {
        result = Err(outcome.error);
    }
    let _gate = world.gate();
    if world.store.get(&id.key()).is_none_or(|found| !matches!(found.state(), "Creating" | "Updating")) {
        operation.end(State::Canceled);
        return;
    }
    world.settle(&id.key(), |environment| {
        environment.set("armTemplateDisplayName", work.template.text("displayName"));
        environment.set_state(if result.is_ok() { "Succeeded" } else { "Failed" });
    });
    operation.finish(result);
}

/// Makes the environment's resource group unless it is there, and starts the deployment in it.
fn begin_deployment(world: &Arc<World>, work: &Deploy) -> Result<Arc<Operation>, ApiError> {
    let id = &work.id;
    let environment = world.store.get(&id.key()).ok_or_else(|| super::not_found(id))?;
    let subscription = id.subscription().unwrap_or_default();
    let group = Some(environment.text("resourceGroupId")).and_then(|group| group.rsplit('/').next()).filter(|group| !group.is_empty());
    let group = group.map_or_else(|| group_name(id), str::to_owned);
    group::ensure(world, subscription, &group, &work.location);
    let group_id = group_id(subscription, &group);
    world.store.update(&id.key(), |environment| environment.set("resourceGroupId", group_id.to_ascii_lowercase()));
    let deployment = in_group(subscription, &group, "Microsoft.Resources", "deployments", id.name());
    let body =
        json!({"properties": {"mode": "Incremental", "template": work.template.property("contents"), "parameters": work.parameters}});
    let applied = deployment::put(world, &Put { caller: &work.caller, id: &deployment, body: &body, duration: None })?;
    applied.operation.ok_or_else(|| ApiError::new(500, "InternalServerError", "The deployment has no operation."))
}

/// `{lab}-{environment}-{6 digits}`, within the 90 characters of a group's name.
fn group_name(id: &Id) -> String {
    let lab = id.ancestor(1);
    let start: String = format!("{}-{}", lab.name(), id.name()).chars().take(83).collect();
    format!("{start}-{}", random_digits(6))
}

/// Deletes an environment with its resource group.
pub fn delete(world: &Arc<World>, id: &Id, environment: &Resource) -> Arc<Operation> {
    if environment.state() == "Deleting"
        && let Some(operation) = world.operations.get(environment.hidden("operation"))
    {
        return operation;
    }
    let operation = world.begin();
    world.store.update(&environment.key, |environment| {
        environment.set_state("Deleting");
        environment.hide("operation", operation.name.clone());
    });
    let (world, id, ending) = (world.clone(), id.clone(), operation.clone());
    world.clone().spawn(async move {
        world.work(Work::Deletion).await;
        let _gate = world.gate();
        if let Some(environment) = world.store.remove(&id.key()) {
            remove_group(&world, &environment);
        }
        ending.finish(Ok(()));
    });
    operation
}

/// Removes an environment's resource group with everything in it.
pub fn remove_group(world: &World, environment: &Resource) {
    let group_id = environment.text("resourceGroupId");
    if !group_id.is_empty() {
        group::remove(world, group_id);
    }
}
