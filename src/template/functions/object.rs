//! Functions on objects.

use serde_json::{Map, Value};

use super::Arguments;
use crate::{order, template::document::Document};

type Answer = Result<Value, String>;

pub(super) fn create_object(given: &Arguments<'_>) -> Answer {
    if !given.values.len().is_multiple_of(2) {
        return Err(format!("a value is missing for the last property's name: {} arguments were given", given.values.len()));
    }
    let mut map = Map::new();
    for index in (0..given.values.len()).step_by(2) {
        map.insert(given.text(index)?.to_owned(), given.at(index + 1).clone());
    }
    Ok(Value::Object(map))
}

pub(super) fn items(given: &Arguments<'_>) -> Answer {
    let map = given.object(0)?;
    let pairs = sorted_keys(map).into_iter().map(|key| {
        let value = key.as_str().and_then(|key| map.get(key)).cloned().unwrap_or_default();
        Value::Object([("key".to_owned(), key), ("value".to_owned(), value)].into_iter().collect())
    });
    Ok(Value::Array(pairs.collect()))
}

/// The names of an object's properties, without regard to case.
fn sorted_keys(map: &Map<String, Value>) -> Vec<Value> {
    let mut keys: Vec<Value> = map.keys().map(|key| Value::String(key.clone())).collect();
    let folded = |key: &Value| key.as_str().unwrap_or_default().to_ascii_lowercase();
    order::sort(&mut keys, &mut |a, b| folded(a).cmp(&folded(b)));
    keys
}

pub(super) fn object_keys(given: &Arguments<'_>) -> Answer {
    Ok(Value::Array(sorted_keys(given.object(0)?)))
}

pub(super) fn json(given: &Arguments<'_>) -> Answer {
    let text = given.text(0)?;
    parse(text).map_err(|problem| format!("argument 1 is no JSON: {problem}"))
}

/// Parses JSON in a string, as leniently as a template.
pub(super) fn parse(text: &str) -> Answer {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    Document::parse_tolerantly(text.as_bytes()).map(|document| document.value().clone()).map_err(|error| error.to_string())
}

pub(super) fn null(_given: &Arguments<'_>) -> Answer {
    Ok(Value::Null)
}

pub(super) fn shallow_merge(given: &Arguments<'_>) -> Answer {
    let mut merged = Map::new();
    for (index, each) in given.list(0)?.iter().enumerate() {
        let each =
            each.as_object().ok_or_else(|| format!("element {index} of the array must be an object, found {}", super::describe(each)))?;
        for (key, value) in each {
            merged.insert(key.clone(), value.clone());
        }
    }
    Ok(Value::Object(merged))
}
