//! From a request's path to whoever serves it.

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    authorization::{
        self,
        lock::{self, Change},
    },
    compute,
    deployment::{self, content},
    devtestlab,
    error::ApiError,
    http::{Reply, Request},
    id::{group_id, scope_part},
    ledger::Begun,
    network,
    operation::{Operation, State},
    precondition, provider, resources, storage,
    store::Resource,
    throttle::{Kind, Throttle},
    world::{Call, World},
};

/// What a path names below a provider.
#[derive(Clone, Debug)]
pub struct Target {
    /// The subscription's GUID.
    pub subscription: String,
    /// The resource group's name.
    pub group: Option<String>,
    /// The provider's namespace.
    pub namespace: String,
    /// What follows: types and names in turn, or one type more, or an action.
    pub rest: Vec<String>,
}

impl Target {
    /// The scope above the provider.
    pub fn scope(&self) -> String {
        self.group.as_ref().map_or_else(|| format!("/subscriptions/{}", self.subscription), |group| group_id(&self.subscription, group))
    }

    /// The types without the names, in lower case and separated by `/`.
    pub fn kinds(&self) -> String {
        self.rest.iter().step_by(2).map(|kind| kind.to_ascii_lowercase()).collect::<Vec<_>>().join("/")
    }

    /// Whether this is one resource, not a collection or an action.
    pub fn is_resource(&self) -> bool {
        self.rest.len().is_multiple_of(2)
    }
}

/// Serves a request to the resource manager.
pub fn serve(world: &Arc<World>, request: &Request) -> Reply {
    let kind = Kind::of(&request.method);
    let mut left = Throttle::untouched(kind);
    let serve = std::panic::AssertUnwindSafe(|| admit(world, request, &mut left).and_then(|call| change(world, &call)));
    // A fault of the emulator's own is one client's bad answer, not everybody's lost connection.
    let mut reply = std::panic::catch_unwind(serve).unwrap_or_else(|_| Err(internal_error())).unwrap_or_else(Reply::from);
    if request.path.to_ascii_lowercase().starts_with("/subscriptions") && !reply.headers.iter().any(|(name, _)| name == kind.header()) {
        reply.headers.push((kind.header().into(), left.to_string()));
    }
    reply
}

/// Routes a request; what one that may change something changes is known to be its work.
fn change(world: &Arc<World>, call: &Call<'_>) -> Result<Reply, ApiError> {
    if matches!(call.method(), "GET" | "HEAD") {
        return route(world, call);
    }
    let request = call.request;
    let begun = || Begun {
        method: request.method.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        headers: request.headers.iter().filter(|(name, _)| name != "authorization").cloned().collect(),
        body: String::from_utf8_lossy(&request.body).into_owned(),
        caller: call.caller.clone(),
        root: call.root.clone(),
        at: OffsetDateTime::now_utc(),
        operations: Vec::new(),
    };
    world.ledger.serve(begun, Duration::ZERO, || route(world, call))
}

/// Serves a request of an earlier process once more, of whose work's time `credit` has passed.
pub async fn serve_again(world: &Arc<World>, begun: Begun, credit: Duration) -> Result<(), ApiError> {
    let request = Request {
        method: begun.method.clone(),
        path: begun.path.clone(),
        query: begun.query.clone(),
        headers: begun.headers.clone(),
        body: begun.body.clone().into_bytes(),
    };
    content::fetch_for(world, &request).await;
    let api_version = request.parameter("api-version").unwrap_or_default();
    let call = Call { request: &request, caller: begun.caller.clone(), api_version, root: begun.root.clone() };
    let serve = std::panic::AssertUnwindSafe(|| world.ledger.serve(|| begun, credit, || route(world, &call)));
    std::panic::catch_unwind(serve).unwrap_or_else(|_| Err(internal_error())).map(drop)
}

fn internal_error() -> ApiError {
    ApiError::new(500, "InternalServerError", "The server encountered an internal error. Please retry the request.")
}

/// Checks token, budget and api-version, in this order.
fn admit<'a>(world: &World, request: &'a Request, left: &mut u32) -> Result<Call<'a>, ApiError> {
    let caller = world.identity.caller(request.header("authorization"), world.clock.now())?;
    let segments = request.segments();
    if let [first, subscription, ..] = segments.as_slice()
        && first.eq_ignore_ascii_case("subscriptions")
    {
        check_subscription(world, subscription)?;
        if world.settings().throttling {
            *left = world.throttle.take(subscription, Kind::of(&request.method), Instant::now())?;
        }
    }
    let version = request.parameter("api-version").filter(|version| !version.is_empty());
    let api_version = version.ok_or_else(ApiError::missing_api_version)?;
    let host = request.header("host").filter(|host| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'));
    let root = host.map_or_else(|| world.base.trim_end_matches('/').to_owned(), |host| format!("https://{host}"));
    Ok(Call { request, caller, api_version, root })
}

fn check_subscription(world: &World, subscription: &str) -> Result<(), ApiError> {
    if world.store.contains(&format!("/subscriptions/{subscription}")) {
        return Ok(());
    }
    if Uuid::try_parse(subscription).is_err() {
        let message = format!("The provided subscription identifier '{subscription}' is malformed or invalid.");
        return Err(ApiError::bad_request("InvalidSubscriptionId", message));
    }
    Err(ApiError::new(404, "SubscriptionNotFound", format!("The subscription '{subscription}' could not be found.")))
}

fn route(world: &Arc<World>, call: &Call<'_>) -> Result<Reply, ApiError> {
    let segments = call.request.segments();
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    authorization::check(world, call, &segments)?;
    // Whoever changes something holds the gate.
    let _gate = (!matches!(call.method(), "GET" | "HEAD")).then(|| world.gate());
    check_change(world, call, &lower)?;
    match lower.as_slice() {
        [scope @ .., "providers", "microsoft.authorization", kind] | [scope @ .., "providers", "microsoft.authorization", kind, _]
            if authorization::serves(kind) =>
        {
            authorization::serve(world, call, &segments[..scope.len()], &segments[scope.len() + 2..])
        }
        [scope @ .., "providers", "microsoft.resources", "tags", "default"] if !scope.is_empty() => {
            resources::tags::serve(world, call, &segments[..scope.len()])
        }
        ["subscriptions", _, "providers", _, "register" | "unregister" | "resourcetypes"] => {
            resources::serve(world, call, &segments, &lower)
        }
        ["subscriptions", _, "providers", _, _, ..] => target(world, call, segments[1], None, &segments[3..]),
        ["subscriptions", _, "resourcegroups", _, "providers", _, _, ..] => {
            target(world, call, segments[1], Some(segments[3]), &segments[5..])
        }
        // The older spelling leaves the provider out.
        ["subscriptions", _, "resourcegroups", _, "deployments", ..] => {
            let rest: Vec<&str> = std::iter::once("Microsoft.Resources").chain(segments[4..].iter().copied()).collect();
            target(world, call, segments[1], Some(segments[3]), &rest)
        }
        // Above subscriptions there are deployments, and what they have made.
        ["providers", "microsoft.resources", "deployments", ..] => deployment::serve(world, call, "", &segments[2..]),
        ["providers", "microsoft.management", "managementgroups", _, "providers", "microsoft.resources", "deployments", ..] => {
            deployment::serve(world, call, &format!("/{}", segments[..4].join("/")), &segments[6..])
        }
        ["providers", ..] if call.method() == "GET" && world.store.contains(&call.request.path) => {
            world.store.get(&call.request.path).map(|found| Reply::ok(&found.body)).ok_or_else(|| unknown(world, call))
        }
        _ => resources::serve(world, call, &segments, &lower),
    }
}

/// Locks and preconditions stand before every provider.
fn check_change(world: &World, call: &Call<'_>, lower: &[&str]) -> Result<(), ApiError> {
    let change = match call.method() {
        "GET" | "HEAD" => return Ok(()),
        "DELETE" => Change::Delete,
        _ => Change::Write,
    };
    // Locks are no obstacle to themselves, and what only looks changes nothing.
    let looks = call.method() == "POST"
        && lower.last().is_some_and(|action| {
            matches!(*action, "validate" | "whatif" | "exporttemplate" | "validatemoveresources" | "calculatetemplatehash")
        });
    if !looks && !lower.contains(&"microsoft.authorization") {
        lock::check(world, &lower.iter().flat_map(|part| ["/", part]).collect::<String>(), change)?;
    }
    precondition::check(world, call)
}

fn target(world: &Arc<World>, call: &Call<'_>, subscription: &str, group: Option<&str>, rest: &[&str]) -> Result<Reply, ApiError> {
    let Some((namespace, rest)) = rest.split_first() else { return Err(unknown(world, call)) };
    let target = Target {
        subscription: subscription.to_owned(),
        group: group.map(str::to_owned),
        namespace: (*namespace).to_owned(),
        rest: rest.iter().map(|segment| (*segment).to_owned()).collect(),
    };
    if let Some(group) = group {
        check_exists(world, subscription, group)?;
        check_group_stays(world, call, subscription, group)?;
    }
    provider::check(&target, &call.api_version)?;
    if call.method() == "PUT" {
        resources::registration::check(world, subscription, &target.namespace)?;
    }
    if let ("GET", [_, _, _, name]) = (call.method(), target.rest.as_slice())
        && matches!(target.kinds().as_str(), "locations/operations" | "locations/asyncoperations")
        && !target.namespace.eq_ignore_ascii_case("Microsoft.DevTestLab")
        && let Some(operation) = world.operations.get(name)
    {
        if call.request.parameter("monitor").is_some() {
            return result(call, &operation);
        }
        let mut body = operation.status_body();
        body["name"] = name.as_str().into();
        return Ok(Reply::ok(&body));
    }
    match target.namespace.to_ascii_lowercase().as_str() {
        "microsoft.devtestlab" => devtestlab::serve(world, call, &target),
        "microsoft.resources" if target.kinds().starts_with("deployments") => deployment::serve(world, call, &target.scope(), rest),
        "microsoft.compute" => compute::serve(world, call, &target),
        "microsoft.storage" => storage::serve(world, call, &target),
        "microsoft.network" => network::serve(world, call, &target),
        _ => resources::generic::serve(world, call, &target),
    }
}

/// What the result address of an operation answers: 202 until it is done, then what came of it.
fn result(call: &Call<'_>, operation: &Operation) -> Result<Reply, ApiError> {
    match operation.state() {
        State::Running => {
            Ok(Reply::empty(202).with_header("Location", format!("{}{}?{}", call.root, call.request.path, call.request.query)))
        }
        State::Failed(error) => Err(error),
        State::Succeeded(Some(value)) => Ok(Reply::ok(&value)),
        State::Succeeded(None) | State::Canceled => Ok(Reply::empty(200)),
    }
}

/// The resource group must exist.
pub fn check_exists(world: &World, subscription: &str, group: &str) -> Result<(), ApiError> {
    if world.store.contains(&group_id(subscription, group)) { Ok(()) } else { Err(ApiError::group_not_found(group)) }
}

/// Nothing is made in a group that is being deleted.
fn check_group_stays(world: &World, call: &Call<'_>, subscription: &str, group: &str) -> Result<(), ApiError> {
    let makes = matches!(call.method(), "PUT" | "PATCH" | "POST");
    if makes && world.store.get(&group_id(subscription, group)).is_some_and(|group| group.state() == "Deleting") {
        let message = format!("The resource group '{group}' is in deprovisioning state and cannot perform this operation.");
        return Err(ApiError::conflict("ResourceGroupBeingDeleted", message));
    }
    Ok(())
}

/// 202 with both addresses, in the region of the resource, as Compute and Network answer.
pub fn operation_accepted(world: &World, call: &Call<'_>, resource: &Resource, operation: &Operation) -> Reply {
    let subscription = scope_part(&resource.key, "subscriptions").unwrap_or_default();
    let namespace = resource.type_name.split('/').next().unwrap_or_default();
    let group = scope_part(&resource.key, "resourceGroups").and_then(|group| world.store.get(&group_id(subscription, group)));
    let own = Some(resource.location()).filter(|location| !location.is_empty());
    let location = resources::plain_region(own.or(group.as_ref().map(|group| group.location())).unwrap_or("westeurope"));
    let url = |monitor: &str| {
        format!(
            "{}/subscriptions/{subscription}/providers/{namespace}/locations/{location}/operations/{}?{monitor}api-version={}",
            call.root, operation.name, call.api_version
        )
    };
    Reply::empty(202).with_header("Azure-AsyncOperation", url("")).with_header("Location", url("monitor=true&"))
}

/// No route serves this: it is noted, and answered as Azure answers.
pub fn unknown(world: &World, call: &Call<'_>) -> ApiError {
    world.unknown_route(call.request);
    ApiError::new(404, "InvalidResourceType", format!("The resource type could not be found at the path '{}'.", call.request.path))
}
