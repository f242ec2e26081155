//! Comparison and logic. Branches that are not taken are not evaluated.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::Value;

use super::{Arguments, describe, same};
use crate::template::{
    evaluate::{Evaluated, Frame},
    expression::Call,
    fault::Fault,
};

type Answer = Result<Value, String>;

fn truth(frame: &Frame<'_>, call: &Call, index: usize) -> Result<bool, Fault> {
    let value = frame.evaluate(&call.arguments[index])?;
    value.as_bool().ok_or_else(|| {
        Fault::new(format!("argument {} of the template function '{}' must be a boolean, found {}", index + 1, call.name, describe(&value)))
    })
}

pub(super) fn if_else<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let branch = if truth(frame, call, 0)? { 1 } else { 2 };
    frame.evaluate(&call.arguments[branch])
}

pub(super) fn and<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    for index in 0..call.arguments.len() {
        if !truth(frame, call, index)? {
            return Ok(Cow::Owned(Value::Bool(false)));
        }
    }
    Ok(Cow::Owned(Value::Bool(true)))
}

pub(super) fn or<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    for index in 0..call.arguments.len() {
        if truth(frame, call, index)? {
            return Ok(Cow::Owned(Value::Bool(true)));
        }
    }
    Ok(Cow::Owned(Value::Bool(false)))
}

pub(super) fn coalesce<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    for argument in &call.arguments {
        let value = frame.evaluate(argument)?;
        if !value.is_null() {
            return Ok(value);
        }
    }
    Ok(Cow::Owned(Value::Null))
}

pub(super) fn not(given: &Arguments<'_>) -> Answer {
    given.at(0).as_bool().map(|value| Value::Bool(!value)).ok_or_else(|| given.wrong(0, "a boolean"))
}

pub(super) fn bool(given: &Arguments<'_>) -> Answer {
    match given.at(0) {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        Value::Number(number) => number.as_f64().map(|number| Value::Bool(number != 0.0)).ok_or_else(|| given.wrong(0, "a number")),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(number) => Ok(Value::Bool(number != 0)),
            Err(_) => Err(given.wrong(0, "'true', 'false' or an integer")),
        },
        _ => Err(given.wrong(0, "a string or an integer")),
    }
}

pub(super) fn true_value(_given: &Arguments<'_>) -> Answer {
    Ok(Value::Bool(true))
}

pub(super) fn false_value(_given: &Arguments<'_>) -> Answer {
    Ok(Value::Bool(false))
}

pub(super) fn fail(given: &Arguments<'_>) -> Answer {
    Err(given.text(0)?.to_owned())
}

pub(super) fn equals(given: &Arguments<'_>) -> Answer {
    Ok(Value::Bool(same(given.at(0), given.at(1))))
}

/// The order of two integers or two strings.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Number(x), Value::Number(y)) => match (x.as_i64(), y.as_i64()) {
            (Some(x), Some(y)) => Some(x.cmp(&y)),
            _ => x.as_f64()?.partial_cmp(&y.as_f64()?),
        },
        _ => None,
    }
}

fn compare(given: &Arguments<'_>, test: fn(Ordering) -> bool) -> Answer {
    let (a, b) = (given.at(0), given.at(1));
    order(a, b)
        .map(|order| Value::Bool(test(order)))
        .ok_or_else(|| format!("two integers or two strings can be compared, found {} and {}", describe(a), describe(b)))
}

pub(super) fn less(given: &Arguments<'_>) -> Answer {
    compare(given, Ordering::is_lt)
}

pub(super) fn less_or_equals(given: &Arguments<'_>) -> Answer {
    compare(given, Ordering::is_le)
}

pub(super) fn greater(given: &Arguments<'_>) -> Answer {
    compare(given, Ordering::is_gt)
}

pub(super) fn greater_or_equals(given: &Arguments<'_>) -> Answer {
    compare(given, Ordering::is_ge)
}
