//! Microsoft.Authorization: locks, role definitions and assignments; and whether a caller may do what it asks for.
//!
//! Applications own everything unless the seed gives them roles; then those count, and the assignments made since.

pub mod lock;
mod role;

use std::sync::Arc;

use super::{
    error::ApiError,
    http::Reply,
    id::Id,
    provider, router,
    store::Resource,
    world::{Call, World},
};

const ASSIGNMENTS: &str = "Microsoft.Authorization/roleAssignments";

/// Whether a type, in lower case, is one of those that have rules; the provider's others are kept as they are given.
pub fn serves(kind: &str) -> bool {
    matches!(kind, "locks" | "roleassignments" | "roledefinitions" | "permissions")
}

/// Serves what lies at a scope, given as the parts of its path; `rest` are the type and perhaps a name.
pub fn serve(world: &World, call: &Call<'_>, scope: &[&str], rest: &[&str]) -> Result<Reply, ApiError> {
    provider::check_date(&call.api_version)?;
    let scope: String = scope.iter().flat_map(|part| ["/", part]).collect();
    check_scope(world, &scope)?;
    match (rest.first().map(|kind| kind.to_ascii_lowercase()).as_deref(), rest.get(1)) {
        (Some("locks"), name) => lock::serve(world, call, &scope, name.copied()),
        (Some("roleassignments"), name) => role::serve_assignments(world, call, &scope, name.copied()),
        (Some("roledefinitions"), name) => role::serve_definitions(world, call, &scope, name.copied()),
        (Some("permissions"), None) if call.method() == "GET" => role::permissions(world, call, &scope),
        _ => Err(router::unknown(world, call)),
    }
}

fn check_scope(world: &World, scope: &str) -> Result<(), ApiError> {
    if scope.is_empty() || world.store.contains(scope) {
        return Ok(());
    }
    match Id::parse(scope) {
        Some(id) => Err(ApiError::resource_not_found(&format!("{}/{}", id.type_name(), id.full_name()), id.group())),
        None => Err(ApiError::group_not_found(scope.rsplit('/').next().unwrap_or_default())),
    }
}

/// Whether the caller may do what it asks for.
pub fn check(world: &World, call: &Call<'_>, segments: &[&str]) -> Result<(), ApiError> {
    if !world.identity.is_restricted(&call.caller.client_id) {
        return Ok(());
    }
    let Some(wanted) = Wanted::of(call.method(), segments) else { return Ok(()) };
    if role::allowed(world, &call.caller.object_id, &wanted.scope, &wanted.action) {
        return Ok(());
    }
    let message = format!(
        "The client '{0}' with object id '{0}' does not have authorization to perform action '{1}' over scope '{2}' or the scope is invalid. \
         If access was recently granted, please refresh your credentials.",
        call.caller.object_id, wanted.action, wanted.scope
    );
    Err(ApiError::new(403, "AuthorizationFailed", message))
}

/// The subscriptions that a caller sees.
pub fn visible(world: &World, call: &Call<'_>, subscriptions: Vec<Arc<Resource>>) -> Vec<Arc<Resource>> {
    if !world.identity.is_restricted(&call.caller.client_id) {
        return subscriptions;
    }
    subscriptions.into_iter().filter(|subscription| role::has_any(world, &call.caller.object_id, &subscription.key)).collect()
}

/// Gives an application of the seed its roles.
pub fn grant(world: &World, principal: &str, role: &str, scope: &str) -> Result<(), String> {
    role::grant(world, principal, role, scope)
}

/// An action over a scope.
struct Wanted {
    action: String,
    scope: String,
}

impl Wanted {
    /// What a request wants; `None` for what everybody may do.
    fn of(method: &str, segments: &[&str]) -> Option<Self> {
        let first = segments.first().filter(|first| first.eq_ignore_ascii_case("subscriptions"));
        first.filter(|_| segments.len() > 1)?;
        let provider = segments.iter().rposition(|segment| segment.eq_ignore_ascii_case("providers")).filter(|at| segments.len() > at + 2);
        let (namespace, start) = match provider {
            Some(at) => (segments[at + 1], &segments[at + 2..]),
            None => ("Microsoft.Resources", segments),
        };
        let kinds: Vec<&str> = start.iter().step_by(2).copied().collect();
        let names_nothing = start.len() % 2 == 1;
        let verb = match method {
            "GET" | "HEAD" => "read",
            "DELETE" => "delete",
            "POST" => "action",
            _ => "write",
        };
        let kind = provider::proper_type(&format!("{namespace}/{}", kinds.join("/")));
        // A collection's scope is what it lies in.
        let end = if names_nothing { segments.len() - 1 } else { segments.len() };
        let scope: String = segments[..end].iter().flat_map(|part| ["/", part]).collect();
        Some(Self { action: format!("{kind}/{verb}"), scope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_actions_over_scopes() {
        let lab = "/subscriptions/s/resourceGroups/g/providers/Microsoft.DevTestLab/labs/l";
        let cases = [
            ("GET", "/subscriptions/s", "Microsoft.Resources/subscriptions/read", "/subscriptions/s"),
            (
                "PUT",
                "/subscriptions/s/resourcegroups/g",
                "Microsoft.Resources/subscriptions/resourcegroups/write",
                "/subscriptions/s/resourcegroups/g",
            ),
            ("DELETE", lab, "Microsoft.DevTestLab/labs/delete", lab),
            (
                "POST",
                &format!("{lab}/virtualmachines/v/start"),
                "Microsoft.DevTestLab/labs/virtualmachines/start/action",
                &format!("{lab}/virtualmachines/v"),
            ),
            ("GET", &format!("{lab}/virtualmachines"), "Microsoft.DevTestLab/labs/virtualMachines/read", lab),
        ];
        for (method, path, action, scope) in cases {
            let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
            let wanted = Wanted::of(method, &segments).expect("an action");
            assert_eq!((wanted.action.as_str(), wanted.scope.as_str()), (action, scope));
        }
        assert!(Wanted::of("GET", &["subscriptions"]).is_none());
    }
}
