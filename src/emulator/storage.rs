//! Microsoft.Storage: accounts, their keys, and containers as the resource manager shows them. Contents are Azurite's, when there is one.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use time::Duration;
use uuid::Uuid;

use super::{
    clock::arm_date,
    error::ApiError,
    http::{Reply, parse_object},
    id::Id,
    operation::State,
    provision::{Applied, Put},
    resources::{generic, plain_region},
    router::Target,
    store::Resource,
    world::{Call, World},
};

/// The type of accounts.
pub const ACCOUNTS: &str = "Microsoft.Storage/storageAccounts";
/// How long an account takes, before division by the speed.
const CREATION_SECONDS: f64 = 20.0;
const CONTAINERS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers";
const SERVICES: [&str; 6] = ["blob", "file", "queue", "table", "dfs", "web"];
const SKUS: [&str; 8] =
    ["Standard_LRS", "Standard_GRS", "Standard_RAGRS", "Standard_ZRS", "Premium_LRS", "Premium_ZRS", "Standard_GZRS", "Standard_RAGZRS"];
const KINDS: [&str; 5] = ["Storage", "StorageV2", "BlobStorage", "FileStorage", "BlockBlobStorage"];

/// Serves a request to the provider.
pub fn serve(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    match (call.method(), target.kinds().as_str(), target.rest.len()) {
        ("POST", "checknameavailability", 1) => check_name_availability(world, call),
        ("POST", "storageaccounts/listkeys", 3) => Ok(Reply::ok(&shown_keys(&*account(world, target)?))),
        ("POST", "storageaccounts/regeneratekey", 3) => regenerate_key(world, call, target),
        ("PUT", "storageaccounts", 2) => put_account(world, call, target),
        ("PATCH", "storageaccounts", 2) => patch(world, call, target),
        ("DELETE", "storageaccounts", 2) => Ok(delete(world, target)),
        ("GET", "storageaccounts/blobservices", 4) if target.rest[3].eq_ignore_ascii_case("default") => blob_service(world, target),
        (_, "storageaccounts/blobservices/containers", 6) => container(world, call, target),
        _ => generic::serve(world, call, target),
    }
}

fn account(world: &World, target: &Target) -> Result<Arc<Resource>, ApiError> {
    let id = target.scope() + "/providers/Microsoft.Storage/storageAccounts/" + &target.rest[1];
    let missing = || ApiError::resource_not_found(&format!("{ACCOUNTS}/{}", target.rest[1]), target.group.as_deref());
    world.store.get(&id).ok_or_else(missing)
}

/// 200 for an account that is there; a new one takes its time, and is found at the address in `Location` then.
fn put_account(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let id = generic::id_of(target);
    let body = parse_object(&call.request.body)?;
    let duration = (!world.store.contains(&id.key())).then(|| world.settings().scaled(CREATION_SECONDS));
    let applied = put(world, &Put { caller: &call.caller, id: &id, body: &body, duration })?;
    let Some(making) = applied.operation else { return Ok(Reply::ok(&applied.resource.body)) };
    let operation = world.begin();
    let location = format!(
        "{}/subscriptions/{}/providers/Microsoft.Storage/locations/{}/asyncoperations/{}?monitor=true&api-version={}",
        call.root,
        target.subscription,
        plain_region(applied.resource.location()),
        operation.name,
        call.api_version
    );
    let origin = world.clone();
    world.spawn(async move {
        let end = match making.ended().await {
            State::Succeeded(_) => State::Succeeded(origin.store.get(&id.key()).map(|account| account.body.clone())),
            end => end,
        };
        operation.end(end);
    });
    Ok(Reply::empty(202).with_header("Location", location).with_header("Retry-After", "1"))
}

/// Makes or changes a resource of the provider.
pub fn put(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    if put.id.is(ACCOUNTS) {
        check(world, put)?;
    }
    let applied = generic::put(world, put)?;
    if put.id.is(ACCOUNTS) {
        open(world, &applied.resource);
    }
    if let (Some(blobs), Some(account), true) = (&world.blobs, put.id.pairs.first(), put.id.is(CONTAINERS)) {
        blobs.make_container(&account.1.to_ascii_lowercase(), put.id.name());
    }
    Ok(applied)
}

/// Makes an account that something else needs, if it is not there.
pub fn ensure(world: &World, id: &Id, location: &str) {
    if world.store.contains(&id.key()) {
        return;
    }
    let mut properties = Map::new();
    properties.insert("provisioningState".into(), json!("Succeeded"));
    complete(world, id, &mut properties);
    let body = json!({"id": id.to_string(), "name": id.name(), "type": ACCOUNTS, "location": location, "kind": "StorageV2",
        "sku": {"name": "Standard_LRS", "tier": "Standard"}, "properties": properties});
    let resource = world.store.put(Resource::new(body, world.clock.now()));
    open(world, &resource);
}

/// Tells Azurite of an account.
pub fn open(world: &World, account: &Resource) {
    if let Some(blobs) = &world.blobs {
        blobs.add_account(&account.name().to_ascii_lowercase(), keys(account));
    }
}

/// Tells a new Azurite of the accounts and containers that were kept.
pub fn reopen(world: &World) {
    let Some(blobs) = &world.blobs else { return };
    for kept in world.store.all() {
        match kept.type_name.as_str() {
            ACCOUNTS => {
                let url = blobs.account_url(&kept.name().to_ascii_lowercase());
                // An account that was made without blobs has some now.
                if kept.property("primaryEndpoints")["blob"] != *url {
                    world.store.update(&kept.key, |account| account.body["properties"]["primaryEndpoints"]["blob"] = json!(url));
                }
                open(world, &kept);
            }
            CONTAINERS => {
                if let Some(account) = Id::parse(&kept.key).and_then(|id| Some(id.pairs.first()?.1.clone())) {
                    blobs.make_container(&account, kept.name());
                }
            }
            _ => {}
        }
    }
}

/// The values that Azure adds to an account.
pub fn complete(world: &World, id: &Id, given: &mut Map<String, Value>) {
    let name = id.name().to_ascii_lowercase();
    let mut endpoints = Map::new();
    for service in SERVICES {
        endpoints.insert(service.into(), json!(format!("https://{name}.{service}.core.windows.net/")));
    }
    if let Some(blobs) = &world.blobs {
        endpoints.insert("blob".into(), json!(blobs.account_url(&name)));
    }
    given.entry("primaryEndpoints").or_insert(Value::Object(endpoints));
    given.entry("statusOfPrimary").or_insert(json!("available"));
    given.entry("creationTime").or_insert_with(|| json!(arm_date(world.clock.now())));
}

fn check(world: &World, put: &Put<'_>) -> Result<(), ApiError> {
    let name = put.id.name();
    if !is_name(name) {
        let message = format!(
            "{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters in length and use \
             numbers and lower-case letters only."
        );
        return Err(ApiError::bad_request("AccountNameInvalid", message));
    }
    if let Some(other) = holder(world, name).filter(|other| *other.key != *put.id.key()) {
        let message = format!("The storage account named {} is already taken.", other.name());
        return Err(ApiError::conflict("StorageAccountAlreadyTaken", message));
    }
    for (given, known, property) in [(&put.body["sku"]["name"], &SKUS[..], "sku.name"), (&put.body["kind"], &KINDS[..], "kind")] {
        let text = given.as_str().unwrap_or_default();
        if !text.is_empty() && !known.iter().any(|known| known.eq_ignore_ascii_case(text)) {
            let message = format!("The value '{text}' of '{property}' is not valid. Valid values are {}.", known.join(", "));
            return Err(ApiError::bad_request("InvalidRequestPropertyValue", message).with_target(property));
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    (3..=24).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The account of this name, which is unique in all of Azure.
fn holder(world: &World, name: &str) -> Option<Arc<Resource>> {
    let subscriptions = world.store.members("/subscriptions");
    let accounts = subscriptions
        .iter()
        .flat_map(|subscription| world.store.of_type(subscription.key.rsplit('/').next().unwrap_or_default(), ACCOUNTS));
    accounts.into_iter().find(|account| account.name().eq_ignore_ascii_case(name))
}

fn check_name_availability(world: &World, call: &Call<'_>) -> Result<Reply, ApiError> {
    let body = parse_object(&call.request.body)?;
    let name = body["name"].as_str().unwrap_or_default();
    let refused = |reason: &str, message: String| Ok(Reply::ok(&json!({"nameAvailable": false, "reason": reason, "message": message})));
    if !is_name(name) {
        return refused("AccountNameInvalid", format!("{name} is not a valid storage account name."));
    }
    match holder(world, name) {
        Some(_) => refused("AlreadyExists", format!("The storage account named {name} is already taken.")),
        None => Ok(Reply::ok(&json!({"nameAvailable": true}))),
    }
}

/// The two keys of an account: the same for the same id, until one is made anew.
pub fn keys(account: &Resource) -> [String; 2] {
    ["key1", "key2"].map(|name| {
        let generation = account.private.get(name).and_then(Value::as_u64).unwrap_or_default();
        let generation = if generation == 0 { String::new() } else { format!("/{generation}") };
        let part = |number: u8| {
            *Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{}{name}{number}{generation}", account.origin()).as_bytes()).as_bytes()
        };
        BASE64_STANDARD.encode((0..4).flat_map(part).collect::<Vec<u8>>())
    })
}

/// What `listKeys` answers.
pub fn shown_keys(account: &Resource) -> Value {
    let [one, two] = keys(account);
    let shown = |name: &str, value: String| json!({"keyName": name, "value": value, "permissions": "FULL"});
    json!({"keys": [shown("key1", one), shown("key2", two)]})
}

fn regenerate_key(world: &World, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let account = account(world, target)?;
    let body = parse_object(&call.request.body)?;
    let name = body["keyName"].as_str().unwrap_or_default();
    let Some(name) = ["key1", "key2"].into_iter().find(|known| known.eq_ignore_ascii_case(name)) else {
        let message = format!("The value '{name}' of 'keyName' is not valid. Valid values are key1, key2.");
        return Err(ApiError::bad_request("InvalidRequestPropertyValue", message).with_target("keyName"));
    };
    let changed = world.store.update(&account.key, |account| {
        let generation = account.private.get(name).and_then(Value::as_u64).unwrap_or_default();
        account.hide(name, generation + 1);
    });
    let changed = changed.unwrap_or(account);
    open(world, &changed);
    Ok(Reply::ok(&shown_keys(&changed)))
}

fn patch(world: &World, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let found = account(world, target)?;
    let body = parse_object(&call.request.body)?;
    let changed = world.store.update(&found.key, |account| {
        for part in ["tags", "sku", "identity"] {
            if body[part].is_object() {
                account.body[part] = body[part].clone();
            }
        }
        for (name, value) in body["properties"].as_object().into_iter().flatten() {
            account.set(name, value.clone());
        }
    });
    Ok(Reply::ok(&changed.unwrap_or(found).body))
}

/// An account is gone at once, with its containers.
fn delete(world: &World, target: &Target) -> Reply {
    let Ok(account) = account(world, target) else { return Reply::empty(204) };
    world.store.remove(&account.key);
    for below in world.store.below(&format!("{}/", account.key)) {
        world.store.remove(&below.key);
    }
    if let Some(blobs) = &world.blobs {
        blobs.delete_account(&account.name().to_ascii_lowercase());
    }
    Reply::empty(200)
}

fn blob_service(world: &World, target: &Target) -> Result<Reply, ApiError> {
    let account = account(world, target)?;
    Ok(Reply::ok(&json!({"id": format!("{}/blobServices/default", account.id()), "name": "default",
        "type": "Microsoft.Storage/storageAccounts/blobServices", "sku": account.body["sku"],
        "properties": {"cors": {"corsRules": []}, "deleteRetentionPolicy": {"enabled": false}}})))
}

fn container(world: &Arc<World>, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let account = account(world, target)?;
    let reply = generic::serve(world, call, target)?;
    if let (Some(blobs), "DELETE") = (&world.blobs, call.method()) {
        blobs.delete_container(&account.name().to_ascii_lowercase(), &target.rest[5]);
    }
    Ok(reply)
}

/// How long a grant of so many seconds lasts.
pub fn lifetime(seconds: i64) -> Duration {
    Duration::seconds(seconds.clamp(1, 60 * 60 * 24 * 60))
}
