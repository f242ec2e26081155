//! Roles: built-in definitions, assignments, and what they allow.

use serde_json::{Value, json};
use uuid::Uuid;

use super::ASSIGNMENTS;
use crate::emulator::{
    clock::arm_date,
    error::ApiError,
    http::{Reply, parse_object},
    id::Id,
    page, provision,
    store::Resource,
    world::{Call, World},
};

/// A built-in role.
#[derive(Debug)]
struct Role {
    id: &'static str,
    name: &'static str,
    description: &'static str,
    actions: &'static [&'static str],
    not_actions: &'static [&'static str],
}

/// Azure's own roles that labs are worked with.
const ROLES: &[Role] = &[
    Role {
        id: "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
        name: "Owner",
        description: "Full access to all resources, including the right to assign roles.",
        actions: &["*"],
        not_actions: &[],
    },
    Role {
        id: "b24988ac-6180-42a0-ab88-20f7382dd24c",
        name: "Contributor",
        description: "Full access to all resources, without the right to assign roles.",
        actions: &["*"],
        not_actions: &["Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write"],
    },
    Role {
        id: "acdd72a7-3385-48ef-bd42-f606fba81ae7",
        name: "Reader",
        description: "Sees all resources and changes none.",
        actions: &["*/read"],
        not_actions: &[],
    },
    Role {
        id: "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
        name: "User Access Administrator",
        description: "Manages access to resources.",
        actions: &["*/read", "Microsoft.Authorization/*"],
        not_actions: &[],
    },
    Role {
        id: "9980e02c-c2be-4d73-94e8-173b1dc7cf3c",
        name: "Virtual Machine Contributor",
        description: "Manages virtual machines.",
        actions: &[
            "Microsoft.Compute/*",
            "Microsoft.Network/*/read",
            "Microsoft.Network/networkInterfaces/*",
            "Microsoft.Resources/*/read",
            "Microsoft.Resources/deployments/*",
        ],
        not_actions: &[],
    },
    Role {
        id: "76283e04-6283-4c54-8f91-bcf1374a3c64",
        name: "DevTest Labs User",
        description: "Connects to, starts, restarts and shuts down machines of a lab, and makes machines and environments.",
        actions: &[
            "Microsoft.Authorization/*/read",
            "Microsoft.Compute/availabilitySets/read",
            "Microsoft.Compute/virtualMachines/*/read",
            "Microsoft.Compute/virtualMachines/deallocate/action",
            "Microsoft.Compute/virtualMachines/read",
            "Microsoft.Compute/virtualMachines/restart/action",
            "Microsoft.Compute/virtualMachines/start/action",
            "Microsoft.DevTestLab/*/read",
            "Microsoft.DevTestLab/labs/claimAnyVm/action",
            "Microsoft.DevTestLab/labs/createEnvironment/action",
            "Microsoft.DevTestLab/labs/ensureCurrentUserProfile/action",
            "Microsoft.DevTestLab/labs/formulas/delete",
            "Microsoft.DevTestLab/labs/formulas/read",
            "Microsoft.DevTestLab/labs/formulas/write",
            "Microsoft.DevTestLab/labs/policySets/evaluatePolicies/action",
            "Microsoft.DevTestLab/labs/virtualMachines/claim/action",
            "Microsoft.DevTestLab/labs/virtualmachines/listApplicableSchedules/action",
            "Microsoft.DevTestLab/labs/virtualMachines/getRdpFileContents/action",
            "Microsoft.Network/networkInterfaces/*/read",
            "Microsoft.Network/networkInterfaces/read",
            "Microsoft.Network/publicIPAddresses/*/read",
            "Microsoft.Network/publicIPAddresses/read",
            "Microsoft.Network/virtualNetworks/subnets/join/action",
            "Microsoft.Resources/deployments/operations/read",
            "Microsoft.Resources/deployments/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.Storage/storageAccounts/listKeys/action",
        ],
        not_actions: &["Microsoft.Compute/virtualMachines/vmSizes/read"],
    },
];

impl Role {
    fn find(id: &str) -> Option<&'static Self> {
        let guid = id.rsplit('/').next().unwrap_or_default();
        ROLES.iter().find(|role| role.id.eq_ignore_ascii_case(guid))
    }

    fn allows(&self, action: &str) -> bool {
        let any = |patterns: &[&str]| patterns.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), action));
        any(self.actions) && !any(self.not_actions)
    }

    fn shown(&self, scope: &str) -> Value {
        json!({
            "id": format!("{scope}/providers/Microsoft.Authorization/roleDefinitions/{}", self.id), "name": self.id,
            "type": "Microsoft.Authorization/roleDefinitions",
            "properties": {"roleName": self.name, "type": "BuiltInRole", "description": self.description, "assignableScopes": ["/"],
                "permissions": [{"actions": self.actions, "notActions": self.not_actions, "dataActions": [], "notDataActions": []}]},
        })
    }
}

/// Whether a pattern with `*` covers an action; both in lower case.
fn matches(pattern: &str, action: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == action,
        Some((before, after)) => {
            let Some(rest) = action.strip_prefix(before) else { return false };
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches(after, &rest[at..]))
        }
    }
}

/// The subscription's part of a scope, where definitions are shown.
fn subscription_of(scope: &str) -> String {
    scope.split('/').take(3).collect::<Vec<_>>().join("/")
}

/// Serves role definitions.
pub fn serve_definitions(world: &World, call: &Call<'_>, scope: &str, name: Option<&str>) -> Result<Reply, ApiError> {
    let at = subscription_of(scope);
    match (call.method(), name) {
        ("GET", None) => page::values(world, call, ROLES.iter().map(|role| role.shown(&at)).collect()),
        ("GET", Some(name)) => Role::find(name).map(|role| Reply::ok(&role.shown(&at))).ok_or_else(|| unknown_role(name)),
        (method, _) => Err(ApiError::method_not_allowed(method, &call.request.path)),
    }
}

fn unknown_role(name: &str) -> ApiError {
    ApiError::new(404, "RoleDefinitionDoesNotExist", format!("The specified role definition with ID '{name}' does not exist."))
}

/// Whether `scope` lies at or below `outer`, without case.
fn covers(outer: &str, scope: &str) -> bool {
    let (outer, scope) = (outer.to_ascii_lowercase(), scope.to_ascii_lowercase());
    scope.strip_prefix(outer.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Serves role assignments: those of a scope are also those above it, and below it unless `atScope()` is asked for.
pub fn serve_assignments(world: &World, call: &Call<'_>, scope: &str, name: Option<&str>) -> Result<Reply, ApiError> {
    let Some(name) = name else {
        let at_scope = call.request.parameter("$filter").is_some_and(|filter| filter.to_ascii_lowercase().contains("atscope()"));
        let mut all = assignments(world);
        all.retain(|one| covers(one.text("scope"), scope) || (!at_scope && covers(scope, one.text("scope"))));
        return page::list(world, call, &all, |one| one.body.clone());
    };
    let id = Id { scope: scope.into(), namespace: "Microsoft.Authorization".into(), pairs: vec![("roleAssignments".into(), name.into())] };
    let found = world.store.get(&id.key());
    match call.method() {
        "GET" => found
            .map(|one| Reply::ok(&one.body))
            .ok_or_else(|| ApiError::new(404, "RoleAssignmentNotFound", format!("The role assignment '{name}' is not found."))),
        "PUT" => {
            let body = parse_object(&call.request.body)?;
            let given = provision::properties(&body)?;
            let text = |part: &str| given.get(part).and_then(Value::as_str).unwrap_or_default();
            if Uuid::try_parse(name).is_err() {
                let message = format!("The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID.");
                return Err(ApiError::bad_request("InvalidRoleAssignmentId", message));
            }
            let role = Role::find(text("roleDefinitionId")).ok_or_else(|| unknown_role(text("roleDefinitionId")))?;
            if Uuid::try_parse(text("principalId")).is_err() {
                let message = format!("The principal ID '{}' is not valid. Principal ID must be a GUID.", text("principalId"));
                return Err(ApiError::bad_request("InvalidPrincipalId", message));
            }
            let same = |one: &&std::sync::Arc<Resource>| {
                one.text("scope").eq_ignore_ascii_case(scope)
                    && one.text("principalId").eq_ignore_ascii_case(text("principalId"))
                    && Role::find(one.text("roleDefinitionId")).is_some_and(|known| known.id == role.id)
            };
            if assignments(world).iter().find(same).is_some() {
                return Err(ApiError::conflict("RoleAssignmentExists", "The role assignment already exists."));
            }
            let kind = Some(text("principalType")).filter(|kind| !kind.is_empty()).unwrap_or("ServicePrincipal");
            Ok(Reply::json(201, &add(world, &id, role, text("principalId"), kind).body))
        }
        "DELETE" => Ok(world.store.remove(&id.key()).map_or_else(|| Reply::empty(204), |gone| Reply::ok(&gone.body))),
        method => Err(ApiError::method_not_allowed(method, &call.request.path)),
    }
}

fn add(world: &World, id: &Id, role: &Role, principal: &str, kind: &str) -> std::sync::Arc<Resource> {
    let now = arm_date(world.clock.now());
    let definition = format!("{}/providers/Microsoft.Authorization/roleDefinitions/{}", subscription_of(&id.scope), role.id);
    let properties = json!({"roleDefinitionId": definition, "principalId": principal, "principalType": kind, "scope": id.scope,
        "createdOn": now, "updatedOn": now});
    let body = json!({"properties": properties, "id": id.to_string(), "type": ASSIGNMENTS, "name": id.name()});
    world.store.put(Resource::new(body, world.clock.now()))
}

/// Gives a principal a role by its name.
pub fn grant(world: &World, principal: &str, role: &str, scope: &str) -> Result<(), String> {
    let known = || ROLES.iter().map(|role| role.name).collect::<Vec<_>>().join(", ");
    let found = ROLES.iter().find(|known| known.name.eq_ignore_ascii_case(role));
    let role = found.ok_or_else(|| format!("'{role}' is no role; there are {}", known()))?;
    if !scope.to_ascii_lowercase().starts_with("/subscriptions/") {
        return Err(format!("'{scope}' is no scope: it must begin with '/subscriptions/'"));
    }
    let name = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{principal}{}{scope}", role.id).as_bytes()).to_string();
    let id = Id { scope: scope.into(), namespace: "Microsoft.Authorization".into(), pairs: vec![("roleAssignments".into(), name)] };
    add(world, &id, role, principal, "ServicePrincipal");
    Ok(())
}

/// All assignments, of all subscriptions.
fn assignments(world: &World) -> Vec<std::sync::Arc<Resource>> {
    let subscriptions = world.store.members("/subscriptions");
    subscriptions.iter().flat_map(|one| world.store.of_type(one.key.rsplit('/').next().unwrap_or_default(), ASSIGNMENTS)).collect()
}

/// Whether a principal may perform an action over a scope.
pub fn allowed(world: &World, principal: &str, scope: &str, action: &str) -> bool {
    let action = action.to_ascii_lowercase();
    assignments(world).iter().any(|one| {
        one.text("principalId").eq_ignore_ascii_case(principal)
            && covers(one.text("scope"), scope)
            && Role::find(one.text("roleDefinitionId")).is_some_and(|role| role.allows(&action))
    })
}

/// Whether a principal has any role at a scope or below.
pub fn has_any(world: &World, principal: &str, scope: &str) -> bool {
    assignments(world).iter().any(|one| one.text("principalId").eq_ignore_ascii_case(principal) && covers(scope, one.text("scope")))
}

/// What the caller may do at a scope.
pub fn permissions(world: &World, call: &Call<'_>, scope: &str) -> Result<Reply, ApiError> {
    let mut roles: Vec<&Role> = Vec::new();
    if world.identity.is_restricted(&call.caller.client_id) {
        let mine = assignments(world)
            .into_iter()
            .filter(|one| one.text("principalId").eq_ignore_ascii_case(&call.caller.object_id) && covers(one.text("scope"), scope));
        roles.extend(mine.filter_map(|one| Role::find(one.text("roleDefinitionId"))));
    } else {
        roles.extend(ROLES.iter().take(1));
    }
    let shown =
        roles.iter().map(|role| json!({"actions": role.actions, "notActions": role.not_actions, "dataActions": [], "notDataActions": []}));
    page::values(world, call, shown.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_allow_what_azures_allow() {
        let cases = [
            ("Contributor", "Microsoft.DevTestLab/labs/write", true),
            ("Contributor", "Microsoft.Authorization/locks/write", false),
            ("Contributor", "Microsoft.Authorization/locks/read", true),
            ("Reader", "Microsoft.Compute/disks/read", true),
            ("Reader", "Microsoft.DevTestLab/labs/virtualMachines/start/action", false),
            ("DevTest Labs User", "Microsoft.DevTestLab/labs/virtualMachines/read", true),
            ("DevTest Labs User", "Microsoft.DevTestLab/labs/virtualMachines/delete", false),
        ];
        for (name, action, expected) in cases {
            let role = ROLES.iter().find(|role| role.name == name).expect("a role");
            assert_eq!(role.allows(&action.to_ascii_lowercase()), expected, "{name} {action}");
        }
    }
}
