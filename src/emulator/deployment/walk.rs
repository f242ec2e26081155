//! The course of a deployment: resources in the order of their dependencies, independent ones side by side.

use std::{collections::HashSet, sync::Arc};

use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::plan::Plan;
use crate::emulator::{
    clock::{arm_date, iso_duration},
    error::ApiError,
    id::Id,
    identity::Caller,
    operation::{Operation, State},
    provider::Provider,
    provision::{self, Put},
    resources::{group, registration},
    router,
    settings::Work,
    store::Resource,
    world::{World, random_digits},
};

/// Runs a deployment to its end, or until it is cancelled.
pub async fn run(world: Arc<World>, id: Id, plan: Arc<Plan>, caller: Caller, operation: Arc<Operation>) {
    let started = world.clock.now();
    world.store.update(&id.key(), |deployment| {
        if deployment.state() == "Accepted" {
            deployment.set_state("Running");
        }
    });
    let course = Course { world: world.clone(), id: id.clone(), plan, caller };
    let failures = tokio::select! {
        failures = course.walk() => failures,
        _ = operation.ended() => return,
    };
    let _gate = world.gate();
    // Whoever cancelled it in the meantime has said how it stands.
    if operation.state().is_final() {
        return;
    }
    let result = if failures.is_empty() { course.conclude() } else { Err(deployment_failed(&id, failures)) };
    course.settle(&result, started);
    operation.finish(result.map(|_| ()));
}

/// One deployment underway.
struct Course {
    world: Arc<World>,
    id: Id,
    plan: Arc<Plan>,
    caller: Caller,
}

impl Course {
    /// Makes everything whose dependencies are there, until nothing is left or nothing can go on. Returns the errors.
    async fn walk(&self) -> Vec<Value> {
        let count = self.plan.len();
        let (mut begun, mut done) = (HashSet::new(), HashSet::new());
        let mut running = FuturesUnordered::new();
        let mut failures = Vec::new();
        loop {
            for index in 0..count {
                let ready = self.plan.depends_on(index).iter().all(|needed| done.contains(needed));
                if ready && begun.insert(index) {
                    running.push(async move { (index, self.make(index).await) });
                }
            }
            match running.next().await {
                None => return failures,
                Some((index, Ok(()))) => {
                    done.insert(index);
                }
                Some((_, Err(failure))) => failures.push(failure),
            }
        }
    }

    /// Makes one resource and waits until it is there.
    async fn make(&self, index: usize) -> Result<(), Value> {
        if !self.plan.is_made(index) {
            return Ok(());
        }
        let began = self.world.clock.now();
        let number = random_digits(16).to_uppercase();
        self.download(index).await;
        let applied = {
            let _gate = self.world.gate();
            self.apply(index)
        };
        let target = self.plan.target(index);
        let operation = match applied {
            Ok(operation) => operation,
            Err(error) => {
                self.record(&number, &target, began, Err((&error, &error.envelope())));
                return Err(json!({"code": status_name(error.status), "message": pretty(&error.envelope())}));
            }
        };
        self.note(&number, self.entry(&number, &target, began, "Running", &json!(null)));
        let end = match operation {
            Some(operation) => operation.ended().await,
            None => State::Succeeded(None),
        };
        let error = match end {
            State::Failed(error) => error,
            State::Canceled => {
                ApiError::conflict("OperationCanceled", "The operation was canceled because the resource was deleted or changed.")
            }
            _ => {
                self.record(&number, &target, began, Ok(()));
                return Ok(());
            }
        };
        let envelope = json!({"status": "Failed", "error": {"code": "ResourceDeploymentFailure",
            "message": "The resource operation completed with terminal provisioning state 'Failed'.", "details": [error.to_value()]}});
        self.record(&number, &target, began, Err((&error, &envelope)));
        Err(json!({"code": "Conflict", "message": pretty(&envelope)}))
    }

    /// Downloads what a nested deployment links to.
    async fn download(&self, index: usize) {
        let mut fetched = HashSet::new();
        while let Some(uri) = self.plan.wants(&self.world, index, &fetched) {
            self.world.contents.fetch(&uri).await;
            fetched.insert(uri);
        }
    }

    fn apply(&self, index: usize) -> Result<Option<Arc<Operation>>, ApiError> {
        let id = self.plan.id(index);
        if let Some(name) = id.group() {
            router::check_exists(&self.world, id.subscription().unwrap_or_default(), name)?;
        }
        let body = self.plan.body(&self.world, index)?;
        if let Some((nested, mode)) = self.plan.nested_at(&self.world, index)? {
            let mut shown = json!({"properties": {"mode": mode.name()}, "location": body["location"]});
            for link in ["templateLink", "parametersLink"] {
                shown["properties"][link] = body["properties"][link].clone();
            }
            let body = shown;
            super::check_name(id.name())?;
            super::check_room(&self.world, id)?;
            return Ok(super::start(&self.world, id, &body, Arc::new(nested), &self.caller).operation);
        }
        if id.is("Microsoft.Resources/resourceGroups") {
            let location = body["location"].as_str().unwrap_or_default();
            let group = group::ensure(&self.world, id.subscription().unwrap_or_default(), id.name(), location);
            provision::patch_tags(&self.world, &group, &body);
            return Ok(None);
        }
        if let (Some(subscription), Some(provider)) = (id.subscription(), Provider::named(&id.namespace)) {
            registration::register(&self.world, subscription, provider);
        }
        let duration = self.world.settings().duration(Work::Environment) / u32::try_from(self.plan.depth().max(1)).unwrap_or(1);
        let put = Put { caller: &self.caller, id, body: &body, duration: Some(duration) };
        Ok(provision::put(&self.world, &put)?.operation)
    }

    fn record(&self, number: &str, target: &Value, began: OffsetDateTime, result: Result<(), (&ApiError, &Value)>) {
        let entry = match result {
            Ok(()) => self.entry(number, target, began, "Succeeded", &json!(null)),
            Err((error, envelope)) => {
                let mut entry = self.entry(number, target, began, "Failed", envelope);
                entry["properties"]["statusCode"] = json!(status_name(error.status));
                entry
            }
        };
        self.note(number, entry);
    }

    fn entry(&self, number: &str, target: &Value, began: OffsetDateTime, state: &str, message: &Value) -> Value {
        let now = self.world.clock.now();
        let mut properties = json!({
            "provisioningOperation": "Create", "provisioningState": state, "timestamp": arm_date(now), "duration": iso_duration(now - began),
            "trackingId": uuid::Uuid::new_v4().to_string(), "statusCode": if state == "Running" { "Accepted" } else { "OK" },
            "targetResource": target,
        });
        if !message.is_null() {
            properties["statusMessage"] = message.clone();
        }
        json!({"id": format!("{}/operations/{number}", self.id), "operationId": number, "properties": properties})
    }

    /// Adds an operation, or replaces the one of the same number.
    fn note(&self, number: &str, entry: Value) {
        self.world.store.update(&self.id.key(), |deployment| {
            let Some(Value::Array(all)) = deployment.private.get_mut("operations") else { return };
            match all.iter_mut().find(|known| known["operationId"].as_str() == Some(number)) {
                Some(known) => *known = entry,
                None => all.push(entry),
            }
        });
    }

    /// All is there: outputs are evaluated, and what a complete deployment does not mention goes.
    fn conclude(&self) -> Result<Value, ApiError> {
        let began = self.world.clock.now();
        let outputs = self.plan.outputs(&self.world).map_err(|error| deployment_failed(&self.id, vec![error.to_value()]))?;
        let number = random_digits(16);
        let mut entry = self.entry(&number, &json!(null), began, "Succeeded", &json!(null));
        entry["properties"]["provisioningOperation"] = json!("EvaluateDeploymentOutput");
        if let Some(properties) = entry["properties"].as_object_mut() {
            properties.remove("targetResource");
        }
        self.note(&number, entry);
        let deployment = self.world.store.get(&self.id.key());
        if deployment.is_some_and(|deployment| deployment.text("mode").eq_ignore_ascii_case("Complete")) {
            self.remove_others();
        }
        Ok(outputs)
    }

    fn remove_others(&self) {
        let kept: Vec<String> = self.plan.ids().iter().map(|id| id.to_ascii_lowercase()).collect();
        let is_kept = |resource: &Resource| kept.iter().any(|id| **id == *resource.key || resource.key.starts_with(&format!("{id}/")));
        let is_apart = |other: &Resource| {
            matches!(&*other.type_name, "Microsoft.Resources/deployments" | "Microsoft.Resources/providers")
                || other.type_name.starts_with("Microsoft.Authorization/")
        };
        let others = self.world.store.below(&format!("{}/providers/", self.id.scope));
        for other in others.iter().filter(|other| !is_apart(other) && !is_kept(other)) {
            self.world.store.remove(&other.key);
        }
    }

    fn settle(&self, result: &Result<Value, ApiError>, started: OffsetDateTime) {
        let now = self.world.clock.now();
        self.world.settle(&self.id.key(), |deployment| {
            deployment.set("timestamp", arm_date(now));
            deployment.set("duration", iso_duration(now - started));
            match result {
                Ok(outputs) => {
                    let resources: Vec<Value> = self.plan.ids().into_iter().map(|id| json!({"id": id})).collect();
                    deployment.set("outputs", outputs.clone());
                    deployment.set("outputResources", resources);
                    deployment.set_state("Succeeded");
                }
                Err(error) => {
                    deployment.set("error", error.to_value());
                    deployment.set_state("Failed");
                }
            }
        });
    }
}

fn deployment_failed(id: &Id, details: Vec<Value>) -> ApiError {
    let message = "At least one resource deployment operation failed. Please list deployment operations for details. Please see \
        https://aka.ms/arm-deployment-operations for usage details.";
    ApiError::conflict("DeploymentFailed", message).with_target(id.to_string()).with_details(details)
}

/// The provider's answer as a text with Windows line ends, as Resource Manager carries it.
fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default().replace('\n', "\r\n")
}

fn status_name(status: u16) -> &'static str {
    match status {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 => "Conflict",
        429 => "TooManyRequests",
        _ => "InternalServerError",
    }
}
