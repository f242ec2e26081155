//! Providers as a subscription and the tenant see them: their types, whether they are registered, what they can do.

use serde_json::{Value, json};

use super::super::{
    error::ApiError,
    http::Reply,
    page,
    provider::{self, PROVIDERS, Provider},
    router,
    store::Resource,
    world::{Call, World},
};
use super::region_titles;

const TYPE: &str = "Microsoft.Resources/providers";
/// Providers that every subscription has.
const ALWAYS: [&str; 2] = ["Microsoft.Resources", "Microsoft.Authorization"];

/// Serves a request to providers, in a subscription or in the tenant; `rest` follows `providers`, in lower case.
pub fn serve(world: &World, call: &Call<'_>, subscription: Option<&str>, rest: &[&str]) -> Result<Reply, ApiError> {
    let named = |name: &str| Provider::named(name).ok_or_else(|| provider::unknown_namespace(name));
    match (call.method(), rest, subscription) {
        ("GET", [], _) => page::values(world, call, PROVIDERS.iter().map(|known| shown(world, subscription, known)).collect()),
        ("GET", [name], _) => Ok(Reply::ok(&shown(world, subscription, named(name)?))),
        ("GET", [name, "operations"], None) => page::values(world, call, operations(named(name)?)),
        ("GET", [name, "resourcetypes"], Some(_)) => page::values(world, call, types(named(name)?)),
        ("POST", [name, "register"], Some(subscription)) => {
            let known = named(name)?;
            register(world, subscription, known);
            Ok(Reply::ok(&shown(world, Some(subscription), known)))
        }
        ("POST", [name, "unregister"], Some(subscription)) => {
            let known = named(name)?;
            unregister(world, subscription, known)?;
            Ok(Reply::ok(&shown(world, Some(subscription), known)))
        }
        _ => Err(router::unknown(world, call)),
    }
}

/// Nothing is made in a subscription that is not registered with the provider.
pub fn check(world: &World, subscription: &str, namespace: &str) -> Result<(), ApiError> {
    if !world.store.contains(&id(subscription, namespace)) {
        return Ok(());
    }
    let message = format!(
        "The subscription is not registered to use namespace '{namespace}'. See https://aka.ms/rps-not-found for how to register subscriptions."
    );
    let detail = json!({"code": "MissingSubscriptionRegistration", "target": namespace, "message": message});
    Err(ApiError::conflict("MissingSubscriptionRegistration", message).with_details(vec![detail]))
}

/// Registers a subscription, as a deployment does by itself.
pub fn register(world: &World, subscription: &str, provider: &Provider) {
    world.store.remove(&id(subscription, provider.namespace));
}

fn id(subscription: &str, namespace: &str) -> String {
    format!("/subscriptions/{subscription}/providers/{namespace}")
}

/// What is kept is that a provider is not registered: all are at first.
fn unregister(world: &World, subscription: &str, provider: &Provider) -> Result<(), ApiError> {
    let namespace = provider.namespace;
    let in_use = || {
        let prefix = format!("{namespace}/");
        world.store.below(&format!("/subscriptions/{subscription}/")).into_iter().find(|resource| resource.type_name.starts_with(&prefix))
    };
    let reason = if ALWAYS.contains(&namespace) {
        "every subscription needs it".to_owned()
    } else if let Some(resource) = in_use() {
        format!("the subscription has resources of it, such as '{}'", resource.id())
    } else {
        let body = json!({"id": id(subscription, namespace), "name": namespace, "type": TYPE, "properties": {"registrationState": "Unregistered"}});
        world.store.put(Resource::new(body, world.clock.now()));
        return Ok(());
    };
    let message = format!("The resource provider '{namespace}' cannot be unregistered: {reason}.");
    Err(ApiError::conflict("CannotUnregisterResourceProvider", message))
}

fn shown(world: &World, subscription: Option<&str>, provider: &Provider) -> Value {
    let namespace = provider.namespace;
    let Some(subscription) = subscription else {
        return json!({"id": format!("/providers/{namespace}"), "namespace": namespace, "resourceTypes": types(provider)});
    };
    let id = id(subscription, namespace);
    let state = if world.store.contains(&id) { "Unregistered" } else { "Registered" };
    let policy = if ALWAYS.contains(&namespace) { "RegistrationFree" } else { "RegistrationRequired" };
    json!({"id": id, "namespace": namespace, "registrationPolicy": policy, "registrationState": state, "resourceTypes": types(provider)})
}

fn types(provider: &Provider) -> Vec<Value> {
    let regions: Vec<&str> = region_titles().collect();
    let shown = |(kind, regional): (&str, bool)| {
        let locations: &[&str] = if regional { &regions } else { &[] };
        let capabilities =
            if regional { "CrossResourceGroupResourceMove, CrossSubscriptionResourceMove, SupportsTags, SupportsLocation" } else { "None" };
        json!({"resourceType": kind, "locations": locations, "apiVersions": provider.versions_of(kind), "capabilities": capabilities})
    };
    provider.types().map(shown).collect()
}

fn operations(provider: &Provider) -> Vec<Value> {
    let namespace = provider.namespace;
    let verbs = [("read", "Gets"), ("write", "Creates or updates"), ("delete", "Deletes")];
    let kinds = provider.types().filter(|(kind, _)| !matches!(*kind, "operations" | "locations"));
    let each = kinds.flat_map(|(kind, _)| {
        verbs.map(|(verb, title)| {
            json!({"name": format!("{namespace}/{kind}/{verb}"), "display": {"provider": namespace, "resource": kind, "operation": verb,
                "description": format!("{title} a resource of the type {kind}")}})
        })
    });
    each.collect()
}
