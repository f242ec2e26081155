//! Functions on arrays, and those that work on strings and objects as well.

use serde_json::{Map, Value};

use super::{Arguments, describe, get, same, string::lower, text_of};
use crate::order;

type Answer = Result<Value, String>;

/// The most elements that `range` makes.
const MAX_RANGE: i64 = 10_000;

pub(super) fn array(given: &Arguments<'_>) -> Answer {
    let value = given.at(0);
    Ok(if value.is_array() { value.clone() } else { Value::Array(vec![value.clone()]) })
}

pub(super) fn concat(given: &Arguments<'_>) -> Answer {
    if given.at(0).is_array() {
        let mut items = Vec::new();
        for index in 0..given.values.len() {
            items.extend_from_slice(given.list(index)?);
        }
        return Ok(Value::Array(items));
    }
    let mut text = String::new();
    for (index, value) in given.all().enumerate() {
        if value.is_array() || value.is_object() {
            return Err(given.wrong(index, "a string, a number or a boolean (or all arguments arrays)"));
        }
        text.push_str(&text_of(value));
    }
    Ok(Value::String(text))
}

pub(super) fn contains(given: &Arguments<'_>) -> Answer {
    let item = given.at(1);
    Ok(Value::Bool(match given.at(0) {
        Value::Array(items) => items.iter().any(|each| same(each, item)),
        Value::Object(map) => get(map, given.text(1)?).is_some(),
        Value::String(text) => {
            if item.is_array() || item.is_object() {
                return Err(given.wrong(1, "a string"));
            }
            text.contains(text_of(item).as_str())
        }
        _ => return Err(given.wrong(0, "an array, an object or a string")),
    }))
}

pub(super) fn create_array(given: &Arguments<'_>) -> Answer {
    Ok(Value::Array(given.all().cloned().collect()))
}

pub(super) fn empty(given: &Arguments<'_>) -> Answer {
    Ok(Value::Bool(match given.at(0) {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => return Err(given.wrong(0, "an array, an object or a string")),
    }))
}

/// `flatten(arrays)`: one array of all that the arrays hold, one level down.
pub(super) fn flatten(given: &Arguments<'_>) -> Answer {
    let mut flat = Vec::new();
    for (index, item) in given.list(0)?.iter().enumerate() {
        let Value::Array(items) = item else {
            return Err(format!("argument 1 must be an array of arrays, element {index} is {}", describe(item)));
        };
        flat.extend_from_slice(items);
    }
    Ok(Value::Array(flat))
}

pub(super) fn first(given: &Arguments<'_>) -> Answer {
    match given.at(0) {
        Value::Array(items) => Ok(items.first().cloned().unwrap_or_default()),
        Value::String(text) => Ok(Value::String(text.chars().next().map(String::from).unwrap_or_default())),
        _ => Err(given.wrong(0, "an array or a string")),
    }
}

pub(super) fn last(given: &Arguments<'_>) -> Answer {
    match given.at(0) {
        Value::Array(items) => Ok(items.last().cloned().unwrap_or_default()),
        Value::String(text) => Ok(Value::String(text.chars().last().map(String::from).unwrap_or_default())),
        _ => Err(given.wrong(0, "an array or a string")),
    }
}

fn from_end<'a>(given: &'a Arguments<'_>) -> Result<Option<&'a Value>, String> {
    let items = given.list(0)?;
    let back = given.integer(1)?;
    if back < 1 {
        return Err(format!("argument 2 must be at least 1, found {back}"));
    }
    Ok(usize::try_from(back).ok().and_then(|back| items.len().checked_sub(back)).and_then(|index| items.get(index)))
}

pub(super) fn index_from_end(given: &Arguments<'_>) -> Answer {
    let length = given.list(0)?.len();
    from_end(given)?.cloned().ok_or_else(|| format!("the reverse index is out of bounds, the array has {length} element(s)"))
}

pub(super) fn try_index_from_end(given: &Arguments<'_>) -> Answer {
    if given.at(0).is_null() {
        return Ok(Value::Null);
    }
    Ok(from_end(given)?.cloned().unwrap_or_default())
}

/// A position as a value; -1 for none.
fn position(found: Option<usize>) -> Value {
    Value::from(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))
}

pub(super) fn index_of(given: &Arguments<'_>) -> Answer {
    match given.at(0) {
        Value::Array(items) => Ok(position(items.iter().position(|each| same(each, given.at(1))))),
        Value::String(_) => {
            let (text, part) = (lower(given.text(0)?), lower(given.text(1)?));
            Ok(position(text.find(&part).map(|at| text[..at].chars().count())))
        }
        _ => Err(given.wrong(0, "an array or a string")),
    }
}

pub(super) fn last_index_of(given: &Arguments<'_>) -> Answer {
    match given.at(0) {
        Value::Array(items) => Ok(position(items.iter().rposition(|each| same(each, given.at(1))))),
        Value::String(_) => {
            let (text, part) = (lower(given.text(0)?), lower(given.text(1)?));
            Ok(position(text.rfind(&part).map(|at| text[..at].chars().count())))
        }
        _ => Err(given.wrong(0, "an array or a string")),
    }
}

/// A set of values seen so far, by their text: numbers and objects in one spelling.
#[derive(Default)]
struct Seen(std::collections::HashSet<String>);

impl Seen {
    fn key(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let mut parts: Vec<Value> =
                    map.iter().map(|(key, value)| format!("{:?}:{}", key.to_ascii_lowercase(), Self::key(value)).into()).collect();
                order::sort(&mut parts, &mut |a, b| a.as_str().cmp(&b.as_str()));
                let parts: Vec<&str> = parts.iter().filter_map(Value::as_str).collect();
                format!("{{{}}}", parts.join(","))
            }
            Value::Array(items) => format!("[{}]", items.iter().map(Self::key).collect::<Vec<_>>().join(",")),
            other => other.to_string(),
        }
    }

    fn add(&mut self, value: &Value) -> bool {
        self.0.insert(Self::key(value))
    }

    fn has(&self, value: &Value) -> bool {
        self.0.contains(&Self::key(value))
    }
}

pub(super) fn union(given: &Arguments<'_>) -> Answer {
    match given.at(0) {
        Value::Array(_) => {
            let mut seen = Seen::default();
            let mut items = Vec::new();
            for index in 0..given.values.len() {
                items.extend(given.list(index)?.iter().filter(|item| seen.add(item)).cloned());
            }
            Ok(Value::Array(items))
        }
        Value::Object(_) => {
            let mut merged = Map::new();
            for index in 0..given.values.len() {
                merge(&mut merged, given.object(index)?);
            }
            Ok(Value::Object(merged))
        }
        _ => Err(given.wrong(0, "an array or an object")),
    }
}

/// Adds properties; objects of one name merge in their turn, anything else is replaced.
fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        let key = into.keys().find(|known| known.eq_ignore_ascii_case(key)).unwrap_or(key).clone();
        match (into.get_mut(&key), value) {
            (Some(Value::Object(known)), Value::Object(value)) => merge(known, value),
            _ => {
                into.insert(key, value.clone());
            }
        }
    }
}

pub(super) fn intersection(given: &Arguments<'_>) -> Answer {
    match given.at(0) {
        Value::Array(first) => {
            let mut others = Vec::new();
            for index in 1..given.values.len() {
                let mut seen = Seen::default();
                for item in given.list(index)? {
                    seen.add(item);
                }
                others.push(seen);
            }
            let mut seen = Seen::default();
            let common = first.iter().filter(|item| others.iter().all(|other| other.has(item)) && seen.add(item));
            Ok(Value::Array(common.cloned().collect()))
        }
        Value::Object(first) => {
            let mut common = first.clone();
            for index in 1..given.values.len() {
                common = shared(&common, given.object(index)?);
            }
            Ok(Value::Object(common))
        }
        _ => Err(given.wrong(0, "an array or an object")),
    }
}

/// The properties that two objects have with the same value.
fn shared(a: &Map<String, Value>, b: &Map<String, Value>) -> Map<String, Value> {
    a.iter().filter(|(key, value)| get(b, key).is_some_and(|other| same(value, other))).map(|(k, v)| (k.clone(), v.clone())).collect()
}

pub(super) fn join(given: &Arguments<'_>) -> Answer {
    let texts: Vec<String> = given.list(0)?.iter().map(text_of).collect();
    Ok(Value::String(texts.join(given.text(1)?)))
}

pub(super) fn length(given: &Arguments<'_>) -> Answer {
    Ok(Value::from(match given.at(0) {
        Value::Array(items) => items.len(),
        Value::Object(map) => map.len(),
        Value::String(text) => text.encode_utf16().count(),
        _ => return Err(given.wrong(0, "an array, an object or a string")),
    }))
}

pub(super) fn range(given: &Arguments<'_>) -> Answer {
    let (start, count) = (given.integer(0)?, given.integer(1)?);
    if !(0..=MAX_RANGE).contains(&count) {
        return Err(format!("argument 2, the count, must be between 0 and {MAX_RANGE}, found {count}"));
    }
    match start.checked_add(count) {
        Some(end) if end <= i64::from(i32::MAX) && start >= i64::from(i32::MIN) => {
            Ok(Value::Array((start..end).map(Value::from).collect()))
        }
        _ => Err(format!("the sum of start {start} and count {count} must be at most {}", i32::MAX)),
    }
}

/// A count that may be negative, meaning none.
fn count(given: &Arguments<'_>) -> Result<usize, String> {
    Ok(usize::try_from(given.integer(1)?).unwrap_or(0))
}

pub(super) fn skip(given: &Arguments<'_>) -> Answer {
    let count = count(given)?;
    match given.at(0) {
        Value::Array(items) => Ok(Value::Array(items.iter().skip(count).cloned().collect())),
        Value::String(text) => Ok(Value::String(text.chars().skip(count).collect())),
        _ => Err(given.wrong(0, "an array or a string")),
    }
}

pub(super) fn take(given: &Arguments<'_>) -> Answer {
    let count = count(given)?;
    match given.at(0) {
        Value::Array(items) => Ok(Value::Array(items.iter().take(count).cloned().collect())),
        Value::String(text) => Ok(Value::String(text.chars().take(count).collect())),
        _ => Err(given.wrong(0, "an array or a string")),
    }
}

pub(super) fn try_get(given: &Arguments<'_>) -> Answer {
    let mut value = given.at(0);
    for (index, step) in given.all().enumerate().skip(1) {
        let next = match (value, step) {
            (Value::Null, _) => None,
            (Value::Object(map), Value::String(name)) => get(map, name),
            (Value::Array(items), Value::Number(number)) => {
                number.as_u64().and_then(|at| usize::try_from(at).ok()).and_then(|at| items.get(at))
            }
            (Value::Object(_) | Value::Array(_), _) => {
                return Err(given.wrong(index, "a property's name or an array's index that fits what it selects from"));
            }
            _ => return Err("a property or an element can be selected from an object or an array only".to_owned()),
        };
        match next {
            Some(next) => value = next,
            None => return Ok(Value::Null),
        }
    }
    Ok(value.clone())
}
