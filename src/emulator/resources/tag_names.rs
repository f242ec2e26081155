//! The names and values of tags that a subscription knows: those that are in use, and those that were made beforehand.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{
    error::ApiError,
    http::Reply,
    page, router,
    store::Resource,
    world::{Call, World},
};
use super::tags::check_name;

const TYPE: &str = "Microsoft.Resources/tagNames";
const RESERVED: [&str; 3] = ["microsoft", "azure", "windows"];

/// Serves a request to the tag names of a subscription; `rest` follows `tagNames`.
pub fn serve(world: &World, call: &Call<'_>, subscription: &str, rest: &[&str]) -> Result<Reply, ApiError> {
    match (call.method(), rest) {
        ("GET", []) => {
            let names = in_use(world, subscription);
            let all = known(world, subscription, &names);
            page::values(world, call, all.into_values().map(|name| shown(subscription, &name, &names)).collect())
        }
        ("PUT", [name]) => {
            check_new(name)?;
            let names = in_use(world, subscription);
            let (created, name) = make(world, subscription, name);
            Ok(Reply::json(if created { 201 } else { 200 }, &shown(subscription, &name, &names)))
        }
        ("DELETE", [name]) => remove(world, subscription, name),
        ("PUT", [name, values, value]) if values.eq_ignore_ascii_case("tagValues") => {
            let names = in_use(world, subscription);
            let Some(found) = known(world, subscription, &names).remove(&name.to_lowercase()) else { return Err(not_found(name)) };
            let created = !found.values.iter().any(|known| known == value);
            make(world, subscription, &found.name);
            if created {
                world.store.update(&id(subscription, name), |kept| {
                    let mut values = kept.property("values").as_array().cloned().unwrap_or_default();
                    values.push(json!(value));
                    kept.set("values", values);
                });
            }
            Ok(Reply::json(if created { 201 } else { 200 }, &shown_value(subscription, &found.name, value, &names)))
        }
        ("DELETE", [name, values, value]) if values.eq_ignore_ascii_case("tagValues") => remove_value(world, subscription, name, value),
        _ => Err(router::unknown(world, call)),
    }
}

/// A name that can be made: those that begin as Azure's own are reserved.
fn check_new(name: &str) -> Result<(), ApiError> {
    check_name(name)?;
    let lower = name.to_ascii_lowercase();
    match RESERVED.iter().find(|reserved| lower.starts_with(**reserved)) {
        None => Ok(()),
        Some(reserved) => {
            let message = format!("The tag name '{name}' is invalid: names that begin with '{reserved}' are reserved.");
            Err(ApiError::bad_request("ReservedTagName", message))
        }
    }
}

/// How often each name is used, by the name in lower case, and each of its values.
type InUse = BTreeMap<String, (String, BTreeMap<String, usize>)>;

/// A name with all its values.
#[derive(Debug)]
struct Name {
    name: String,
    values: Vec<String>,
}

fn in_use(world: &World, subscription: &str) -> InUse {
    let mut names = InUse::new();
    let own = world.store.get(&format!("/subscriptions/{subscription}"));
    for resource in world.store.below(&format!("/subscriptions/{subscription}/")).iter().chain(&own) {
        for (name, value) in resource.body["tags"].as_object().into_iter().flatten() {
            let (_, values) = names.entry(name.to_lowercase()).or_insert_with(|| (name.clone(), BTreeMap::new()));
            *values.entry(value.as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    names
}

/// What is in use and what was made beforehand, by the name in lower case.
fn known(world: &World, subscription: &str, in_use: &InUse) -> BTreeMap<String, Name> {
    let used =
        in_use.iter().map(|(key, (name, values))| (key.clone(), Name { name: name.clone(), values: values.keys().cloned().collect() }));
    let mut all: BTreeMap<String, Name> = used.collect();
    for kept in world.store.of_type(subscription, TYPE) {
        let entry = all.entry(kept.name().to_lowercase()).or_insert_with(|| Name { name: kept.name().to_owned(), values: Vec::new() });
        for value in kept.property("values").as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !entry.values.iter().any(|known| known == value) {
                entry.values.push(value.to_owned());
            }
        }
    }
    all
}

fn id(subscription: &str, name: &str) -> String {
    format!("/subscriptions/{subscription}/tagNames/{name}")
}

/// Keeps a name, and tells whether it is new and how it is written.
fn make(world: &World, subscription: &str, name: &str) -> (bool, Name) {
    let names = in_use(world, subscription);
    let found = known(world, subscription, &names).remove(&name.to_lowercase());
    let created = found.is_none();
    let name = found.unwrap_or_else(|| Name { name: name.to_owned(), values: Vec::new() });
    let id = id(subscription, &name.name);
    if !world.store.contains(&id) {
        let body = json!({"id": id, "name": name.name, "type": TYPE, "properties": {"values": []}});
        world.store.put(Resource::new(body, world.clock.now()));
    }
    (created, name)
}

fn remove(world: &World, subscription: &str, name: &str) -> Result<Reply, ApiError> {
    let names = in_use(world, subscription);
    let Some(found) = known(world, subscription, &names).remove(&name.to_lowercase()) else { return Ok(Reply::empty(204)) };
    if !found.values.is_empty() {
        let message = format!("The tag name '{}' cannot be deleted: remove its values first ({}).", found.name, found.values.join(", "));
        return Err(ApiError::conflict("TagNameHasValues", message));
    }
    world.store.remove(&id(subscription, name));
    Ok(Reply::empty(200))
}

fn remove_value(world: &World, subscription: &str, name: &str, value: &str) -> Result<Reply, ApiError> {
    if count(&in_use(world, subscription), name, Some(value)) > 0 {
        let message = format!("The value '{value}' of the tag name '{name}' cannot be deleted: resources use it.");
        return Err(ApiError::conflict("TagValueInUse", message));
    }
    let mut removed = false;
    world.store.update(&id(subscription, name), |kept| {
        let mut values = kept.property("values").as_array().cloned().unwrap_or_default();
        let before = values.len();
        values.retain(|known| known != value);
        removed = values.len() < before;
        kept.set("values", values);
    });
    Ok(Reply::empty(if removed { 200 } else { 204 }))
}

fn not_found(name: &str) -> ApiError {
    ApiError::new(404, "TagNameNotFound", format!("The tag name '{name}' could not be found."))
}

fn count(in_use: &InUse, name: &str, value: Option<&str>) -> usize {
    let Some((_, values)) = in_use.get(&name.to_lowercase()) else { return 0 };
    value.map_or_else(|| values.values().sum(), |value| values.get(value).copied().unwrap_or_default())
}

fn shown(subscription: &str, name: &Name, in_use: &InUse) -> Value {
    let values: Vec<Value> = name.values.iter().map(|value| shown_value(subscription, &name.name, value, in_use)).collect();
    json!({"id": id(subscription, &name.name), "tagName": name.name, "count": {"type": "Total", "value": count(in_use, &name.name, None)},
        "values": values})
}

fn shown_value(subscription: &str, name: &str, value: &str, in_use: &InUse) -> Value {
    json!({"id": format!("{}/tagValues/{value}", id(subscription, name)), "tagValue": value,
        "count": {"type": "Total", "value": count(in_use, name, Some(value))}})
}
