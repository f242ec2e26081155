//! Deployments: templates made into resources, at a resource group, a subscription, a management group or the tenant.

pub mod content;
pub mod live;
pub mod plan;
pub mod walk;
pub mod what_if;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    clock::{arm_date, iso_duration},
    error::ApiError,
    http::{Reply, parse_object},
    id::Id,
    identity::Caller,
    ledger,
    operation::{Operation, State},
    page,
    provision::{Applied, Put},
    resources, router,
    settings::Work,
    store::Resource,
    world::{Call, World, random_digits},
};
use crate::template;
use plan::Plan;

/// A resource group holds so many deployments.
const LIMIT: usize = 800;

/// Serves a request to the deployments of a scope; `rest` begins with `deployments`.
pub fn serve(world: &Arc<World>, call: &Call<'_>, scope: &str, rest: &[&str]) -> Result<Reply, ApiError> {
    let third = rest.get(2).map(|part| part.to_ascii_lowercase()).unwrap_or_default();
    if rest.len() == 1 {
        return list(world, call, scope);
    }
    let id =
        Id { scope: scope.to_owned(), namespace: "Microsoft.Resources".into(), pairs: vec![("deployments".into(), rest[1].to_owned())] };
    if rest.len() == 2 {
        return serve_one(world, call, &id);
    }
    match (call.method(), third.as_str(), rest.len()) {
        ("POST", "validate", 3) => validate(world, call, &id),
        ("POST", "whatif", 3) => what_if::serve(world, call, &id),
        ("POST", "cancel", 3) => cancel(world, &id),
        ("POST", "exporttemplate", 3) => {
            let deployment = require(world, &id)?;
            Ok(Reply::ok(&json!({"template": deployment.private.get("template").cloned().unwrap_or_default()})))
        }
        ("GET", "operations", 3) => page::values(world, call, operations(&*require(world, &id)?)),
        ("GET", "operations", 4) => {
            let wanted =
                operations(&*require(world, &id)?).into_iter().find(|operation| operation["operationId"].as_str() == Some(rest[3]));
            let missing =
                || ApiError::new(404, "DeploymentOperationNotFound", format!("The deployment operation '{}' could not be found.", rest[3]));
            wanted.map(|operation| Reply::ok(&operation)).ok_or_else(missing)
        }
        ("GET", "operationstatuses", 4) => {
            let missing = || ApiError::new(404, "OperationNotFound", format!("The operation '{}' could not be found.", rest[3]));
            world.operations.get(rest[3]).map(|operation| Reply::ok(&operation.status_body())).ok_or_else(missing)
        }
        _ => Err(router::unknown(world, call)),
    }
}

fn list(world: &World, call: &Call<'_>, scope: &str) -> Result<Reply, ApiError> {
    if call.method() != "GET" {
        return Err(ApiError::method_not_allowed(call.method(), &call.request.path));
    }
    page::members(world, call, &format!("{scope}/providers/Microsoft.Resources/deployments"), |deployment| deployment.body.value())
}

fn not_found(id: &Id) -> ApiError {
    ApiError::new(404, "DeploymentNotFound", format!("Deployment '{}' could not be found.", id.name()))
}

fn require(world: &World, id: &Id) -> Result<Arc<Resource>, ApiError> {
    world.store.get(&id.key()).ok_or_else(|| not_found(id))
}

fn serve_one(world: &Arc<World>, call: &Call<'_>, id: &Id) -> Result<Reply, ApiError> {
    match call.method() {
        "GET" => Ok(Reply::ok(&require(world, id)?.body)),
        "HEAD" => Ok(Reply::empty(if world.store.contains(&id.key()) { 204 } else { 404 })),
        "PUT" => {
            let body = parse_object(&call.request.body)?;
            let applied = put(world, &Put { caller: &call.caller, id, body: &body, duration: None })?;
            let name = applied.operation.as_ref().map(|operation| operation.name.clone()).unwrap_or_default();
            let url = format!("{}{id}/operationStatuses/{name}?api-version={}", call.root, call.api_version);
            Ok(applied.reply().with_header("Azure-AsyncOperation", url))
        }
        "DELETE" => delete(world, call, id),
        method => Err(ApiError::method_not_allowed(method, &call.request.path)),
    }
}

fn is_active(deployment: &Resource) -> bool {
    matches!(deployment.state(), "Accepted" | "Running")
}

/// Starts a deployment.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    let plan = Plan::make(world, put.id, put.body)?;
    check_name(put.id.name())?;
    check_room(world, put.id)?;
    Ok(start(world, put.id, put.body, Arc::new(plan), put.caller))
}

/// Starts a deployment that has been read and for which there is room.
pub fn start(world: &Arc<World>, id: &Id, body: &Value, plan: Arc<Plan>, caller: &Caller) -> Applied {
    let existing = world.store.get(&id.key());
    let mut deployment = shown(world, id, body, &plan);
    let template = plan.template().clone();
    deployment.set_state("Accepted");
    deployment.hide("template", template);
    if let Some(existing) = &existing {
        deployment.created_at = existing.created_at;
    }
    let operation = world.operations.begin_named(&format!("0858{}", random_digits(16)));
    deployment.hide("operation", operation.name.clone());
    deployment.hide("operations", json!([]));
    let resource = world.store.put(deployment);
    world.spawn(walk::run(world.clone(), id.clone(), plan, caller.clone(), operation.clone()));
    Applied { created: existing.is_none(), resource, operation: Some(operation) }
}

/// A deployment's name has letters, digits and a few signs.
pub fn check_name(name: &str) -> Result<(), ApiError> {
    let good = name.chars().all(|c| c.is_alphanumeric() || "-_().".contains(c)) && name.chars().count() <= 64;
    if good {
        return Ok(());
    }
    let message = format!(
        "The deployment name '{name}' is invalid. It can only have letters, digits, '-', '.', '(', ')' and '_', and up to 64 of them."
    );
    Err(ApiError::bad_request("InvalidDeploymentName", message))
}

/// A deployment does not replace one that goes on, and there are not more of them than a scope holds.
pub fn check_room(world: &World, id: &Id) -> Result<(), ApiError> {
    match world.store.get(&id.key()) {
        Some(existing) if is_active(&existing) => Err(ApiError::conflict(
            "DeploymentActive",
            format!(
                "Unable to edit or replace deployment '{}': previous deployment from '{}' is still active. Please see \
                 https://aka.ms/arm-deploy for usage details.",
                id.name(),
                existing.text("timestamp")
            ),
        )),
        Some(_) => Ok(()),
        None => {
            let count = world.store.members(&format!("{}/providers/Microsoft.Resources/deployments", id.scope)).len();
            if count < LIMIT {
                return Ok(());
            }
            let message = format!(
                "Creating the deployment '{}' would exceed the quota of '{LIMIT}'. The current deployment count is '{count}'. Please delete some \
                 deployments before creating a new one, see https://aka.ms/800LimitFix for information on managing deployment limits.",
                id.name()
            );
            Err(ApiError::conflict("DeploymentQuotaExceeded", message))
        }
    }
}

/// A deployment as it is shown.
fn shown(world: &World, id: &Id, body: &Value, plan: &Plan) -> Resource {
    let now = world.clock.now();
    let properties = json!({
        "templateHash": template::template_hash(plan.template()),
        "parameters": plan.parameters(),
        "mode": body["properties"]["mode"].as_str().unwrap_or("Incremental"),
        "provisioningState": "Accepted",
        "timestamp": arm_date(now),
        "duration": iso_duration(time::Duration::ZERO),
        "correlationId": Uuid::new_v4().to_string(),
        "providers": plan.providers(),
        "dependencies": plan.dependencies(),
    });
    let mut shown = json!({"id": id.to_string(), "name": id.name(), "type": "Microsoft.Resources/deployments", "properties": properties});
    for part in ["location", "tags"] {
        if !body[part].is_null() {
            shown[part] = body[part].clone();
        }
    }
    for link in ["templateLink", "parametersLink"] {
        if !body["properties"][link].is_null() {
            shown["properties"][link] = body["properties"][link].clone();
        }
    }
    Resource::new(shown, now)
}

fn validate(world: &Arc<World>, call: &Call<'_>, id: &Id) -> Result<Reply, ApiError> {
    let body = parse_object(&call.request.body)?;
    let plan = Plan::make(world, id, &body)?;
    let mut deployment = shown(world, id, &body, &plan);
    deployment.set_state("Succeeded");
    let resources: Vec<Value> = plan.ids().into_iter().map(|id| json!({"id": id})).collect();
    deployment.set("validatedResources", resources);
    Ok(Reply::ok(&deployment.body))
}

fn cancel(world: &World, id: &Id) -> Result<Reply, ApiError> {
    let deployment = require(world, id)?;
    if !is_active(&deployment) {
        let message =
            format!("The deployment '{}' cannot be cancelled because its provisioning state is '{}'.", id.name(), deployment.state());
        return Err(ApiError::conflict("DeploymentCannotBeCancelled", message));
    }
    world.settle(&deployment.key, |deployment| deployment.set_state("Canceled"));
    if let Some(operation) = world.operations.get(deployment.hidden("operation")) {
        operation.end(State::Canceled);
    }
    cancel_nested(world, &deployment);
    Ok(Reply::empty(204))
}

/// What has been started as part of a deployment is cancelled with it, if it is a deployment itself.
fn cancel_nested(world: &World, deployment: &Resource) {
    for operation in operations(deployment) {
        let target = operation["properties"]["targetResource"]["id"].as_str().and_then(Id::parse);
        if let Some(nested) = target.filter(|target| target.is("Microsoft.Resources/deployments")) {
            // One that has ended stays as it is.
            let _ = cancel(world, &nested);
        }
    }
}

fn delete(world: &Arc<World>, call: &Call<'_>, id: &Id) -> Result<Reply, ApiError> {
    let Some(deployment) = world.store.get(&id.key()) else { return Ok(Reply::empty(204)) };
    if is_active(&deployment) {
        let message = format!("Unable to delete deployment '{}': it is still active. Cancel it first.", id.name());
        return Err(ApiError::conflict("DeploymentActive", message));
    }
    let operation = world.begin();
    let location = resources::operation_address(call, id.subscription(), &operation.name);
    remove_soon(world, &deployment.key, operation);
    Ok(Reply::empty(202).with_header("Location", location))
}

/// A deployment's record goes faster than a resource does.
fn remove_soon(world: &Arc<World>, key: &str, operation: Arc<Operation>) {
    let (world, key) = (world.clone(), key.to_owned());
    world.clone().spawn(async move {
        let duration = world.settings().duration(Work::Deletion) / 20;
        ledger::pause(duration).await;
        let _gate = world.gate();
        world.store.remove(&key);
        operation.finish(Ok(()));
    });
}

/// What a deployment did, newest first as Azure lists it.
fn operations(deployment: &Resource) -> Vec<Value> {
    deployment.private.get("operations").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// A property bag of parameters as a deployment shows them.
pub fn parameter_bag(values: impl IntoIterator<Item = (String, String, Option<Value>)>) -> Value {
    let bag: Map<String, Value> = values
        .into_iter()
        .map(|(name, kind, value)| {
            let mut shown = json!({"type": kind});
            if let Some(value) = value {
                shown["value"] = value;
            }
            (name, shown)
        })
        .collect();
    Value::Object(bag)
}
