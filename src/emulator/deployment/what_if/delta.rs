//! The difference that a template makes to a resource, property by property.
//!
//! A property has changed where the resource before and after differ and the template speaks of it; or where it is gone. What the service
//! itself writes, such as dates, is not the template's doing.

use serde_json::{Map, Value, json};

/// The parts of a resource that a template can change.
const PARTS: [&str; 10] = ["location", "tags", "sku", "kind", "identity", "zones", "plan", "managedBy", "extendedLocation", "properties"];

/// The changes from one state of a resource to the next. `wanted` is the template's resource: its words are shown as the new values.
pub fn between(wanted: &Value, before: &Value, after: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    for part in PARTS {
        compare(part, member(wanted, part), &before[part], &after[part], &mut found);
    }
    found
}

fn compare(path: &str, wanted: Option<&Value>, before: &Value, after: &Value, found: &mut Vec<Value>) {
    if is_same(path, before, after) {
        return;
    }
    // An expression that stays as it is written stands for the whole value.
    let is_expression = wanted.is_some_and(Value::is_string) && !after.is_string();
    match (before, after) {
        (_, Value::Null) => found.push(json!({"path": path, "propertyChangeType": "Delete", "before": before})),
        (Value::Null, _) => {
            if let Some(wanted) = wanted {
                created(path, wanted, found);
            }
        }
        (Value::Object(old), Value::Object(new)) if !is_expression => objects(path, wanted, old, new, found),
        (Value::Array(old), Value::Array(new)) if !is_expression => {
            let Some(Value::Array(wanted)) = wanted else { return };
            let children = arrays(wanted, old, new);
            if !children.is_empty() {
                found.push(json!({"path": path, "propertyChangeType": "Array", "children": children}));
            }
        }
        _ => {
            if let Some(wanted) = wanted {
                found.push(json!({"path": path, "propertyChangeType": "Modify", "before": before, "after": wanted}));
            }
        }
    }
}

/// What is new: each of its tags by itself, anything else as a whole.
fn created(path: &str, wanted: &Value, found: &mut Vec<Value>) {
    match wanted {
        Value::Object(map) if path == "tags" => {
            found.extend(
                map.iter().map(|(key, value)| json!({"path": format!("tags.{key}"), "propertyChangeType": "Create", "after": value})),
            );
        }
        _ => found.push(json!({"path": path, "propertyChangeType": "Create", "after": wanted})),
    }
}

fn objects(path: &str, wanted: Option<&Value>, old: &Map<String, Value>, new: &Map<String, Value>, found: &mut Vec<Value>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (key, before) in old {
        let after = get(new, key).unwrap_or(&Value::Null);
        compare(&below(key), wanted.and_then(|wanted| member(wanted, key)), before, after, found);
    }
    for (key, after) in new.iter().filter(|(key, _)| get(old, key).is_none()) {
        compare(&below(key), wanted.and_then(|wanted| member(wanted, key)), &Value::Null, after, found);
    }
}

/// Changes of an array's elements, which are told by their index.
fn arrays(wanted: &[Value], old: &[Value], new: &[Value]) -> Vec<Value> {
    let mut children = Vec::new();
    for index in 0..old.len().max(new.len()) {
        let path = index.to_string();
        let (before, after) = (old.get(index).unwrap_or(&Value::Null), new.get(index).unwrap_or(&Value::Null));
        if before.is_object() && after.is_object() {
            let mut nested = Vec::new();
            compare("", wanted.get(index), before, after, &mut nested);
            if !nested.is_empty() {
                children.push(json!({"path": path, "propertyChangeType": "Modify", "children": nested}));
            }
        } else {
            compare(&path, wanted.get(index), before, after, &mut children);
        }
    }
    children
}

/// Locations are the same in either spelling, and ids in whatever case.
fn is_same(path: &str, before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::String(before), Value::String(after)) if path == "location" => plain(before) == plain(after),
        (Value::String(before), Value::String(after)) if before.starts_with("/subscriptions/") => before.eq_ignore_ascii_case(after),
        _ => before == after,
    }
}

fn plain(location: &str) -> String {
    location.chars().filter(|character| !character.is_whitespace()).flat_map(char::to_lowercase).collect()
}

fn member<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    value.as_object().and_then(|map| get(map, key))
}

fn get<'v>(map: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    map.get(key).or_else(|| map.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_by_path_where_the_template_speaks_of_it() {
        let before = json!({"location": "West Europe", "tags": {"a": "1", "b": "2"}, "properties": {"size": 1, "made": "yesterday", "gone": true,
            "subnets": [{"name": "x", "prefix": "10.0.0.0/24"}, {"name": "y"}], "id": "/subscriptions/S/x"}});
        let after = json!({"location": "westeurope", "tags": {"a": "1", "c": "3"}, "properties": {"size": 2, "made": "today", "shown": {"z": 1},
            "subnets": [{"name": "x", "prefix": "10.0.1.0/24"}], "id": "/subscriptions/s/X"}});
        let wanted = json!({"location": "westeurope", "tags": {"a": "1", "c": "3"}, "properties": {"Size": "[add(1, 1)]",
            "subnets": [{"name": "x", "prefix": "10.0.1.0/24"}], "id": "/subscriptions/s/X", "password": "[parameters('password')]"}});
        let delta = between(&wanted, &before, &after);
        assert_eq!(
            delta,
            [
                json!({"path": "tags.b", "propertyChangeType": "Delete", "before": "2"}),
                json!({"path": "tags.c", "propertyChangeType": "Create", "after": "3"}),
                json!({"path": "properties.size", "propertyChangeType": "Modify", "before": 1, "after": "[add(1, 1)]"}),
                json!({"path": "properties.gone", "propertyChangeType": "Delete", "before": true}),
                json!({"path": "properties.subnets", "propertyChangeType": "Array", "children": [
                    {"path": "0", "propertyChangeType": "Modify", "children": [
                        {"path": "prefix", "propertyChangeType": "Modify", "before": "10.0.0.0/24", "after": "10.0.1.0/24"}]},
                    {"path": "1", "propertyChangeType": "Delete", "before": {"name": "y"}}]}),
            ]
        );
        assert_eq!(between(&wanted, &after, &after), Vec::<Value>::new());
    }
}
