//! Functions that take a lambda: `map(items, lambda('item', lambdaVariables('item')))`.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::{Map, Value};

use super::{describe, get};
use crate::{
    order,
    template::{
        document::MAX_DEPTH,
        evaluate::{Bound, Evaluated, Frame, weight},
        expression::{Call, Expression},
        fault::Fault,
    },
};

/// A lambda: its variables and its body.
struct Lambda<'e> {
    names: Vec<&'e str>,
    body: &'e Expression,
}

impl<'e> Lambda<'e> {
    /// The lambda that is an argument of a call, with as many variables as the function hands over.
    fn of(call: &'e Call, index: usize, least: usize, most: usize) -> Result<Self, Fault> {
        let wrong = |found: &str| {
            let expected = if least == most { least.to_string() } else { format!("{least} to {most}") };
            Fault::new(format!(
                "argument {} of the template function '{}' must be a lambda with {expected} variable(s), found {found}",
                index + 1,
                call.name
            ))
        };
        let Some(Expression::Call(lambda)) = call.arguments.get(index) else { return Err(wrong("something else")) };
        if lambda.namespace.is_some() || !lambda.name.eq_ignore_ascii_case("lambda") {
            return Err(wrong("something else"));
        }
        let Some((body, variables)) = lambda.arguments.split_last() else { return Err(wrong("no body")) };
        let mut names = Vec::new();
        for variable in variables {
            let Expression::Text(name) = variable else { return Err(wrong("a variable whose name is no string literal")) };
            names.push(name.as_str());
        }
        if !(least..=most).contains(&names.len()) {
            return Err(wrong(&format!("one with {}", names.len())));
        }
        Ok(Self { names, body })
    }

    fn call(&self, frame: &Frame<'_>, values: &[&Value]) -> Result<Value, Fault> {
        fn bind(frame: &Frame<'_>, names: &[&str], values: &[&Value], body: &Expression) -> Result<Value, Fault> {
            match (names.split_first(), values.split_first()) {
                (Some((name, names)), Some((value, values))) => {
                    let bound = Bound { name, value, outer: frame.bound };
                    bind(&Frame { bound: Some(&bound), ..*frame }, names, values, body)
                }
                _ => frame.evaluate(body).map(Cow::into_owned),
            }
        }
        let result = bind(frame, &self.names, values, self.body)?;
        frame.charge(weight(&result))?;
        Ok(result)
    }

    fn truth(&self, frame: &Frame<'_>, values: &[&Value]) -> Result<bool, Fault> {
        let answer = self.call(frame, values)?;
        answer.as_bool().ok_or_else(|| Fault::new(format!("the lambda must answer with a boolean, it answered with {}", describe(&answer))))
    }

    fn text(&self, frame: &Frame<'_>, values: &[&Value]) -> Result<String, Fault> {
        match self.call(frame, values)? {
            Value::String(text) => Ok(text),
            other => Err(Fault::new(format!("the lambda must answer with a string, it answered with {}", describe(&other)))),
        }
    }
}

fn list<'f>(frame: &Frame<'f>, call: &Call) -> Result<Cow<'f, Value>, Fault> {
    let value = frame.evaluate(&call.arguments[0])?;
    if value.is_array() {
        return Ok(value);
    }
    Err(Fault::new(format!("argument 1 of the template function '{}' must be an array, found {}", call.name, describe(&value))))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn lambda<'f>(_frame: &Frame<'f>, _call: &Call) -> Evaluated<'f> {
    let takers = "filter, groupBy, map, mapValues, reduce, sort or toObject";
    Err(Fault::new(format!("the template function 'lambda' is allowed as an argument of {takers} only")))
}

pub(super) fn lambda_variables<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let name = frame.evaluate(&call.arguments[0])?;
    let name = name.as_str().unwrap_or_default();
    let mut next = frame.bound;
    while let Some(bound) = next {
        if bound.name.eq_ignore_ascii_case(name) {
            return Ok(Cow::Borrowed(bound.value));
        }
        next = bound.outer;
    }
    Err(Fault::new(format!("the lambda variable '{name}' is not found")))
}

pub(super) fn map<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let lambda = Lambda::of(call, 1, 1, 2)?;
    let list = list(frame, call)?;
    let mapped = items(&list).iter().enumerate().map(|(index, item)| lambda.call(frame, &[item, &Value::from(index)]));
    mapped.collect::<Result<_, _>>().map(|items| Cow::Owned(Value::Array(items)))
}

pub(super) fn filter<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let lambda = Lambda::of(call, 1, 1, 2)?;
    let list = list(frame, call)?;
    let mut kept = Vec::new();
    for (index, item) in items(&list).iter().enumerate() {
        if lambda.truth(frame, &[item, &Value::from(index)])? {
            frame.charge(weight(item))?;
            kept.push(item.clone());
        }
    }
    Ok(Cow::Owned(Value::Array(kept)))
}

pub(super) fn reduce<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let lambda = Lambda::of(call, 2, 2, 3)?;
    let list = list(frame, call)?;
    let mut result = frame.evaluate(&call.arguments[1])?.into_owned();
    for (index, item) in items(&list).iter().enumerate() {
        result = lambda.call(frame, &[&result, item, &Value::from(index)])?;
        // Every turn may wrap the last turn's result once more.
        if !shallow(&result, MAX_DEPTH) {
            return Err(Fault::new(format!("the result of 'reduce' is nested more than {MAX_DEPTH} deep")));
        }
    }
    Ok(Cow::Owned(result))
}

/// Whether a value is nested at most so deep.
fn shallow(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| shallow(item, depth - 1)),
        Value::Object(map) => depth > 0 && map.values().all(|item| shallow(item, depth - 1)),
        _ => true,
    }
}

pub(super) fn sort<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let lambda = Lambda::of(call, 1, 2, 2)?;
    let list = list(frame, call)?;
    let mut sorted = items(&list).to_vec();
    frame.charge(weight(&list))?;
    let mut fault = None;
    // The lambda may contradict itself.
    order::sort(&mut sorted, &mut |a, b| {
        if fault.is_some() {
            return Ordering::Less;
        }
        match lambda.truth(frame, &[b, a]) {
            Ok(true) => Ordering::Greater,
            Ok(false) => Ordering::Less,
            Err(error) => {
                fault = Some(error);
                Ordering::Less
            }
        }
    });
    fault.map_or(Ok(Cow::Owned(Value::Array(sorted))), Err)
}

pub(super) fn to_object<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let key = Lambda::of(call, 1, 1, 1)?;
    let value = if call.arguments.len() > 2 { Some(Lambda::of(call, 2, 1, 1)?) } else { None };
    let list = list(frame, call)?;
    let mut object = Map::new();
    for item in items(&list) {
        let name = key.text(frame, &[item])?;
        frame.charge(weight(item))?;
        let value = value.as_ref().map_or_else(|| Ok(item.clone()), |value| value.call(frame, &[item]))?;
        object.insert(name, value);
    }
    Ok(Cow::Owned(Value::Object(object)))
}

pub(super) fn group_by<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let lambda = Lambda::of(call, 1, 1, 1)?;
    let list = list(frame, call)?;
    let mut groups = Map::new();
    for item in items(&list) {
        let name = lambda.text(frame, &[item])?;
        frame.charge(weight(item))?;
        if let Value::Array(group) = groups.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            group.push(item.clone());
        }
    }
    Ok(Cow::Owned(Value::Object(groups)))
}

pub(super) fn map_values<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let lambda = Lambda::of(call, 1, 1, 1)?;
    let value = frame.evaluate(&call.arguments[0])?;
    let Some(object) = value.as_object() else {
        return Err(Fault::new(format!("argument 1 of the template function 'mapValues' must be an object, found {}", describe(&value))));
    };
    let mut mapped = Map::new();
    for key in object.keys() {
        if let Some(value) = get(object, key) {
            mapped.insert(key.clone(), lambda.call(frame, &[value])?);
        }
    }
    Ok(Cow::Owned(Value::Object(mapped)))
}
