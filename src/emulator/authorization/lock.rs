//! Management locks: what may not be deleted, or not be changed at all, at a scope and everywhere below it.

use serde_json::{Value, json};

use crate::emulator::{
    error::ApiError,
    http::{Reply, parse_object},
    id::{Id, scope_part},
    page, provision,
    store::Resource,
    world::{Call, World},
};

const LOCKS: &str = "Microsoft.Authorization/locks";
const PART: &str = "/providers/microsoft.authorization/locks/";
const LEVELS: [&str; 3] = ["NotSpecified", "CanNotDelete", "ReadOnly"];

/// What a lock stands in the way of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// PUT, PATCH, POST.
    Write,
    /// DELETE.
    Delete,
}

/// Serves locks at a scope.
pub fn serve(world: &World, call: &Call<'_>, scope: &str, name: Option<&str>) -> Result<Reply, ApiError> {
    let Some(name) = name else {
        if call.method() != "GET" {
            return Err(ApiError::method_not_allowed(call.method(), &call.request.path));
        }
        let at_scope = call.request.parameter("$filter").is_some_and(|filter| filter.to_ascii_lowercase().contains("atscope()"));
        let prefix = if at_scope { format!("{scope}{PART}") } else { format!("{scope}/") };
        let locks: Vec<_> = world.store.below(&prefix).into_iter().filter(|found| found.type_name == LOCKS).collect();
        return page::list(world, call, &locks, |lock| lock.body.clone());
    };
    let id = Id { scope: scope.into(), namespace: "Microsoft.Authorization".into(), pairs: vec![("locks".into(), name.into())] };
    let found = world.store.get(&id.key());
    match call.method() {
        "GET" => found
            .map(|lock| Reply::ok(&lock.body))
            .ok_or_else(|| ApiError::new(404, "LockNotFound", format!("The lock '{name}' could not be found at the scope '{scope}'."))),
        "PUT" => {
            let body = parse_object(&call.request.body)?;
            let given = provision::properties(&body)?;
            let level = given.get("level").and_then(Value::as_str).unwrap_or_default();
            let Some(level) = LEVELS.iter().find(|known| known.eq_ignore_ascii_case(level)) else {
                let message = format!("The lock level '{level}' is not valid: it must be one of {}.", LEVELS.join(", "));
                return Err(ApiError::bad_request("InvalidLockLevel", message));
            };
            let mut properties = json!({"level": level});
            for part in ["notes", "owners"] {
                if let Some(value) = given.get(part) {
                    properties[part] = value.clone();
                }
            }
            let shown = json!({"properties": properties, "id": id.to_string(), "type": LOCKS, "name": name});
            let lock = world.store.put(Resource::new(shown, world.clock.now()));
            Ok(Reply::json(if found.is_some() { 200 } else { 201 }, &lock.body))
        }
        "DELETE" => Ok(Reply::empty(if world.store.remove(&id.key()).is_some() { 200 } else { 204 })),
        method => Err(ApiError::method_not_allowed(method, &call.request.path)),
    }
}

/// Refuses a change that a lock forbids. `id` is in lower case.
pub fn check(world: &World, id: &str, change: Change) -> Result<(), ApiError> {
    let Some(subscription) = scope_part(id, "subscriptions") else { return Ok(()) };
    let locks = world.store.of_type(subscription, LOCKS);
    let below = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut scopes: Vec<&str> = Vec::new();
    for lock in &locks {
        let Some((scope, _)) = lock.key.rsplit_once(PART) else { continue };
        let applies = match (lock.text("level"), change) {
            ("ReadOnly", Change::Write) => below(id, scope),
            // What holds something locked cannot go either.
            ("ReadOnly" | "CanNotDelete", Change::Delete) => below(id, scope) || below(scope, id),
            _ => false,
        };
        if applies {
            scopes.push(lock.id().get(..scope.len()).unwrap_or(scope));
        }
    }
    if scopes.is_empty() {
        return Ok(());
    }
    let verb = if change == Change::Delete { "delete" } else { "write" };
    let message = format!(
        "The scope '{id}' cannot perform {verb} operation because following scope(s) are locked: '{}'. Please remove the lock and try again.",
        scopes.join(",")
    );
    Err(ApiError::conflict("ScopeLocked", message).with_header("x-ms-failure-cause", "gateway"))
}
