//! Resources moved to another resource group, with all that is below them and with every reference to them.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::{
        authorization::lock::{self, Change},
        error::ApiError,
        http::{Reply, parse_object},
        id::{Id, group_id, scope_part},
        operation::State,
        settings::Work,
        store::Resource,
        world::{Call, World},
    },
    operation_address,
};

/// What stays where it is.
const FIXED: [&str; 3] =
    ["Microsoft.Compute/galleries", "Microsoft.Resources/deployments", "Microsoft.ManagedIdentity/userAssignedIdentities"];
/// What goes to another resource group, but not to another subscription.
const WITHIN_SUBSCRIPTION: [&str; 2] = ["Microsoft.DevTestLab/labs", "Microsoft.DevTestLab/schedules"];

/// Serves `moveResources`, or `validateMoveResources`: 202, and 204 at the address in `Location` when all went well.
pub fn serve(world: &Arc<World>, call: &Call<'_>, subscription: &str, group: &str, only_validates: bool) -> Result<Reply, ApiError> {
    let plan = Plan::of(world, &parse_object(&call.request.body)?, &group_id(subscription, group))?;
    let operation = world.begin();
    let location = operation_address(call, Some(subscription), &operation.name);
    let origin = world.clone();
    world.spawn(async move {
        if !only_validates {
            origin.work(Work::Deletion).await;
        }
        let _gate = origin.gate();
        let result = plan.check(&origin).map(|()| {
            if !only_validates {
                plan.carry_out(&origin);
            }
        });
        operation.end(result.map_or_else(State::Failed, |()| State::Succeeded(Some(Value::Null))));
    });
    Ok(Reply::empty(202).with_header("Location", location).with_header("Retry-After", "1"))
}

/// What goes where.
struct Plan {
    source: String,
    target: String,
    resources: Vec<Id>,
}

impl Plan {
    fn of(world: &World, body: &Value, source: &str) -> Result<Self, ApiError> {
        let target = body["targetResourceGroup"].as_str().unwrap_or_default().trim_end_matches('/');
        let (subscription, name) = (scope_part(target, "subscriptions"), scope_part(target, "resourceGroups"));
        let (Some(subscription), Some(name)) = (subscription, name) else {
            return Err(ApiError::invalid_content("'targetResourceGroup' must be the id of a resource group"));
        };
        let target = world.store.get(&group_id(subscription, name)).ok_or_else(|| ApiError::group_not_found(name))?.id().to_owned();
        if target.eq_ignore_ascii_case(source) {
            return Err(ApiError::invalid_content("'targetResourceGroup' is the resource group that the resources are in"));
        }
        let given = body["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
        if given.is_empty() {
            return Err(ApiError::invalid_content("'resources' must be a list of the ids of resources"));
        }
        let resources = given.iter().map(|id| {
            let id = id.as_str().and_then(Id::parse).ok_or_else(|| ApiError::invalid_content(&format!("{id} is no id of a resource")))?;
            if !id.scope.eq_ignore_ascii_case(source) {
                return Err(ApiError::invalid_content(&format!("the resource '{id}' is not in the resource group '{source}'")));
            }
            Ok(id)
        });
        Ok(Self { source: source.to_owned(), target, resources: resources.collect::<Result<_, _>>()? })
    }

    /// Whether all of it can go.
    fn check(&self, world: &World) -> Result<(), ApiError> {
        for scope in [&self.source, &self.target] {
            lock::check(world, &scope.to_ascii_lowercase(), Change::Delete)?;
        }
        let refusals: Vec<Value> = self.resources.iter().filter_map(|id| self.refusal(world, id)).map(|error| error.to_value()).collect();
        if refusals.is_empty() {
            return Ok(());
        }
        let message = "Resource move validation failed. Please see details.";
        Err(ApiError::conflict("ResourceMoveProviderValidationFailed", message).with_details(refusals))
    }

    /// Why one of them cannot go.
    fn refusal(&self, world: &World, id: &Id) -> Option<ApiError> {
        let type_name = id.type_name();
        let Some(found) = world.store.get(&id.key()) else {
            return Some(ApiError::resource_not_found(&format!("{type_name}/{}", id.full_name()), id.group()));
        };
        let is_of = |kinds: &[&str]| kinds.iter().any(|kind| found.type_name.eq_ignore_ascii_case(kind));
        let leaves = scope_part(&self.source, "subscriptions") != scope_part(&self.target, "subscriptions");
        let refused = |reason: &str| {
            let message = format!("The resource '{id}' of type '{type_name}' cannot be moved: {reason}.");
            Some(ApiError::conflict("CannotMoveResource", message).with_target(id.to_string()))
        };
        if id.pairs.len() > 1 {
            return refused("it goes with the resource that it belongs to");
        }
        if is_of(&FIXED) {
            return refused("the type does not support it");
        }
        if leaves && is_of(&WITHIN_SUBSCRIPTION) {
            return refused("the type does not support moves to another subscription");
        }
        if world.store.contains(&self.moved(&id.to_string())) {
            return refused("the target resource group has a resource of this name");
        }
        if !matches!(found.state(), "Succeeded" | "") {
            let message = format!("The resource '{id}' cannot be moved in the provisioning state '{}'.", found.state());
            return Some(ApiError::conflict("MoveCannotProceedWithResourcesNotInSucceededState", message).with_target(id.to_string()));
        }
        None
    }

    fn moved(&self, id: &str) -> String {
        format!("{}{}", self.target, &id[self.source.len()..])
    }

    fn carry_out(&self, world: &World) {
        let old: Vec<String> = self.resources.iter().map(Id::key).collect();
        for key in &old {
            let own = world.store.get(key);
            for resource in own.into_iter().chain(world.store.below(&format!("{key}/"))) {
                world.store.remove(&resource.key);
                let mut moved = Resource::clone(&resource);
                moved.keep_origin();
                moved.body["id"] = json!(self.moved(resource.id()));
                moved.key = self.moved(&resource.key).to_ascii_lowercase().into();
                world.store.put(moved);
            }
        }
        // Whoever refers to them does so by their new ids.
        for resource in world.store.all().iter().filter(|resource| self.refers(&resource.body, &old)) {
            world.store.update(&resource.key, |resource| self.rewrite(&mut resource.body, &old));
        }
    }

    fn is_moved(&self, text: &str, old: &[String]) -> bool {
        text.len() > self.source.len()
            && text.starts_with('/')
            && old.iter().any(|key| {
                text.is_char_boundary(key.len().min(text.len()))
                    && text.get(..key.len()).is_some_and(|start| start.eq_ignore_ascii_case(key))
                    && matches!(text.as_bytes().get(key.len()), None | Some(b'/'))
            })
    }

    fn refers(&self, value: &Value, old: &[String]) -> bool {
        match value {
            Value::String(text) => self.is_moved(text, old),
            Value::Array(items) => items.iter().any(|item| self.refers(item, old)),
            Value::Object(map) => map.values().any(|item| self.refers(item, old)),
            _ => false,
        }
    }

    fn rewrite(&self, value: &mut Value, old: &[String]) {
        match value {
            Value::String(text) if self.is_moved(text, old) => *text = self.moved(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.rewrite(item, old)),
            Value::Object(map) => map.values_mut().for_each(|item| self.rewrite(item, old)),
            _ => {}
        }
    }
}
