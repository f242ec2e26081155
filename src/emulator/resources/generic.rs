//! Resources of providers that the emulator does not know: kept as they are given, with the few values that templates ask for.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::{
    error::ApiError,
    http::{Reply, parse_object},
    id::Id,
    operation::State,
    page, provider,
    provision::{self, Applied, Put, patch_tags, properties},
    router::{self, Target},
    storage,
    store::Resource,
    world::{Call, World},
};

/// Serves a request to a provider without rules of its own.
pub fn serve(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    if target.is_resource() {
        return serve_resource(world, call, target);
    }
    match call.method() {
        "GET" => list(world, call, target),
        "POST" => act(world, call, target),
        _ => Err(router::unknown(world, call)),
    }
}

/// The id of a target, with the type's own casing.
pub fn id_of(target: &Target) -> Id {
    let pairs = target.rest.chunks(2).filter(|pair| pair.len() == 2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let id = Id { scope: target.scope(), namespace: target.namespace.clone(), pairs };
    proper(&id)
}

/// The id with the type's own casing.
pub fn proper(id: &Id) -> Id {
    let type_name = provider::proper_type(&id.type_name());
    let mut parts = type_name.split('/');
    let namespace = parts.next().unwrap_or_default().to_owned();
    let pairs = id.pairs.iter().zip(parts).map(|((_, name), kind)| (kind.to_owned(), name.clone())).collect();
    Id { scope: id.scope.clone(), namespace, pairs }
}

/// The 404 for a resource.
pub fn not_found(id: &Id) -> ApiError {
    ApiError::resource_not_found(&format!("{}/{}", id.type_name(), id.full_name()), id.group())
}

fn serve_resource(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let id = id_of(target);
    let found = world.store.get(&id.key());
    match call.method() {
        "GET" => found.map(|resource| Reply::ok(&resource.body)).ok_or_else(|| not_found(&id)),
        "HEAD" => Ok(Reply::empty(if found.is_some() { 204 } else { 404 })),
        "PUT" => {
            let body = parse_object(&call.request.body)?;
            Ok(provision::put(world, &Put { caller: &call.caller, id: &id, body: &body, duration: None })?.reply())
        }
        "PATCH" => {
            let body = parse_object(&call.request.body)?;
            patch_tags(world, &id.key(), &body).map(|resource| Reply::ok(&resource.body)).ok_or_else(|| not_found(&id))
        }
        "DELETE" => Ok(delete(world, call, target, &id)),
        method => Err(ApiError::method_not_allowed(method, &call.request.path)),
    }
}

fn delete(world: &Arc<World>, call: &Call<'_>, target: &Target, id: &Id) -> Reply {
    let Some(removed) = world.store.remove(&id.key()) else { return Reply::empty(204) };
    for below in world.store.below(&format!("{}/", id.key())) {
        world.store.remove(&below.key);
    }
    let takes_time = match target.namespace.to_ascii_lowercase().as_str() {
        "microsoft.compute" => !matches!(target.kinds().as_str(), "availabilitysets" | "proximityplacementgroups" | "sshpublickeys"),
        namespace => namespace == "microsoft.network",
    };
    if !takes_time {
        return Reply::empty(200);
    }
    let operation = world.begin();
    operation.finish(Ok(()));
    router::operation_accepted(world, call, &removed, &operation)
}

fn list(world: &World, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let show = |resource: &Resource| resource.body.value();
    if target.group.is_none() && target.rest.len() == 1 {
        let items = world.store.of_type(&target.subscription, &format!("{}/{}", target.namespace, target.rest[0]));
        return page::list(world, call, &items, show);
    }
    page::members(world, call, &format!("{}/providers/{}/{}", target.scope(), target.namespace, target.rest.join("/")), show)
}

fn act(world: &World, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let action = target.rest.last().map(|action| action.to_ascii_lowercase()).unwrap_or_default();
    let id = id_of(target);
    if target.rest.len() < 3 || !action.starts_with("list") {
        return Err(router::unknown(world, call));
    }
    let resource = world.store.get(&id.key()).ok_or_else(|| not_found(&id))?;
    let answer = list_secrets(&resource, &action);
    answer.map(|answer| Reply::ok(&answer)).ok_or_else(|| router::unknown(world, call))
}

/// What `listKeys` and its kin answer.
pub fn list_secrets(resource: &Resource, action: &str) -> Option<Value> {
    let key = |name: &str| {
        let part = |number: u8| *Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{}{name}{number}", resource.origin()).as_bytes()).as_bytes();
        BASE64_STANDARD.encode((0..4).flat_map(part).collect::<Vec<u8>>())
    };
    match (resource.type_name.as_str(), action.to_ascii_lowercase().as_str()) {
        (storage::ACCOUNTS, "listkeys") => Some(storage::shown_keys(resource)),
        (_, "listkeys") => {
            Some(json!({"primaryKey": key("1"), "secondaryKey": key("2"), "primaryMasterKey": key("1"), "secondaryMasterKey": key("2"),
            "key1": key("1"), "key2": key("2"), "primaryConnectionString": format!("Endpoint={};Key={}", resource.name(), key("1")),
            "secondaryConnectionString": format!("Endpoint={};Key={}", resource.name(), key("2"))}))
        }
        (_, "list" | "listaccountsas" | "listservicesas") => Some(json!({"properties": {}})),
        _ => None,
    }
}

/// Makes or changes a resource.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    let id = proper(put.id);
    provision::check(world, put)?;
    if let Some(parent) = id.parent()
        && !world.store.contains(&parent.key())
        && world.store.of_type(id.subscription().unwrap_or_default(), &parent.type_name()).is_empty()
    {
        tracing::debug!(target: "dtl::emulator", "{id} has no parent; it may be one that is there by itself");
    }
    let mut given = properties(put.body)?;
    let secret = take_secret(&id, &mut given);
    let existing = world.store.get(&id.key());
    complete(world, &id, &mut given);
    given.insert("provisioningState".into(), json!(if put.duration.is_some() { "Creating" } else { "Succeeded" }));
    let mut resource = Resource::new(provision::body(&id.to_string(), &id, put.body, &given), world.clock.now());
    if let Some(existing) = &existing {
        resource.created_at = existing.created_at;
        resource.private.clone_from(&existing.private);
    }
    if let Some(secret) = secret {
        resource.hide("secret", secret);
    }
    let resource = world.store.put(resource);
    let operation = put.duration.map(|duration| {
        let operation = world.begin();
        let (world, ending) = (world.clone(), operation.clone());
        world.clone().spawn(async move {
            let outcome = world.provisioning(&id.to_string(), duration).await;
            let _gate = world.gate();
            let state = outcome.as_ref().map_or("Succeeded", |outcome| outcome.state.as_str());
            match world.settle(&id.key(), |resource| resource.set_state(state)) {
                Some(_) => ending.finish(outcome.map_or(Ok(()), |outcome| Err(outcome.error))),
                None => ending.end(State::Canceled),
            }
        });
        operation
    });
    Ok(Applied { created: existing.is_none(), resource, operation })
}

/// A secret's value is never shown; templates may refer to it.
fn take_secret(id: &Id, given: &mut Map<String, Value>) -> Option<Value> {
    id.is("Microsoft.KeyVault/vaults/secrets").then(|| given.remove("value")).flatten()
}

/// The values that Azure adds and templates ask for.
pub fn complete(world: &World, id: &Id, given: &mut Map<String, Value>) {
    if id.is(storage::ACCOUNTS) {
        return storage::complete(world, id, given);
    }
    let name = id.name().to_ascii_lowercase();
    let mut set = |key: &str, value: Value| {
        given.entry(key).or_insert(value);
    };
    match id.type_name().as_str() {
        "Microsoft.Web/sites" => {
            set("defaultHostName", json!(format!("{name}.azurewebsites.net")));
            set("hostNames", json!([format!("{name}.azurewebsites.net")]));
            set("outboundIpAddresses", json!("203.0.113.10,203.0.113.11"));
            set("state", json!("Running"));
        }
        "Microsoft.Sql/servers" => set("fullyQualifiedDomainName", json!(format!("{name}.database.windows.net"))),
        "Microsoft.DBforMySQL/servers" => set("fullyQualifiedDomainName", json!(format!("{name}.mysql.database.azure.com"))),
        "Microsoft.DBforPostgreSQL/servers" => set("fullyQualifiedDomainName", json!(format!("{name}.postgres.database.azure.com"))),
        "Microsoft.KeyVault/vaults" => set("vaultUri", json!(format!("https://{name}.vault.azure.net/"))),
        "Microsoft.DocumentDB/databaseAccounts" => set("documentEndpoint", json!(format!("https://{name}.documents.azure.com:443/"))),
        "Microsoft.Insights/components" => {
            let key = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string();
            set("InstrumentationKey", json!(key));
        }
        _ => {}
    }
}
