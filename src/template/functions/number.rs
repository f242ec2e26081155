//! Functions on integers, and `copyIndex`.

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::{Arguments, describe};
use crate::template::{
    evaluate::{Evaluated, Frame},
    expression::Call,
    fault::Fault,
};

type Answer = Result<Value, String>;

fn compute(given: &Arguments<'_>, run: fn(i64, i64) -> Option<i64>) -> Answer {
    let (a, b) = (given.integer(0)?, given.integer(1)?);
    run(a, b).map(Value::from).ok_or_else(|| format!("the result for {a} and {b} is no 64-bit integer"))
}

pub(super) fn add(given: &Arguments<'_>) -> Answer {
    compute(given, i64::checked_add)
}

pub(super) fn sub(given: &Arguments<'_>) -> Answer {
    compute(given, i64::checked_sub)
}

pub(super) fn mul(given: &Arguments<'_>) -> Answer {
    compute(given, i64::checked_mul)
}

pub(super) fn div(given: &Arguments<'_>) -> Answer {
    if given.integer(1)? == 0 {
        return Err("division by zero".to_owned());
    }
    compute(given, i64::checked_div)
}

pub(super) fn modulo(given: &Arguments<'_>) -> Answer {
    if given.integer(1)? == 0 {
        return Err("division by zero".to_owned());
    }
    compute(given, i64::checked_rem)
}

pub(super) fn int(given: &Arguments<'_>) -> Answer {
    match given.at(0) {
        Value::String(text) => {
            text.trim().parse::<i64>().map(Value::from).map_err(|_| format!("the string '{text}' can't be converted to a 64-bit integer"))
        }
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Ok(Value::from(integer)),
            #[allow(clippy::cast_possible_truncation, reason = "the bounds are checked")]
            (None, Some(float)) if float.abs() < 9.2e18 => Ok(Value::from(float.round_ties_even() as i64)),
            _ => Err(given.wrong(0, "a 64-bit integer")),
        },
        _ => Err(given.wrong(0, "a string or an integer")),
    }
}

pub(super) fn float(given: &Arguments<'_>) -> Answer {
    let text = match given.at(0) {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return Err(given.wrong(0, "a string or a number")),
    };
    let parsed = text.parse::<f64>().ok().filter(|number| number.is_finite());
    match (text.parse::<Number>(), parsed) {
        (Ok(number), Some(_)) => Ok(Value::Number(number)),
        (Err(_), Some(number)) => Number::from_f64(number).map(Value::Number).ok_or_else(|| given.wrong(0, "a number")),
        _ => Err(format!("the string '{text}' can't be converted to a number")),
    }
}

fn choose(given: &Arguments<'_>, better: fn(i64, i64) -> i64) -> Answer {
    let mut numbers = Vec::new();
    for (index, value) in given.all().enumerate() {
        match value {
            Value::Array(items) => {
                for item in items {
                    numbers.push(item.as_i64().ok_or_else(|| format!("the array must hold integers only, found {}", describe(item)))?);
                }
            }
            _ => numbers.push(given.integer(index)?),
        }
    }
    numbers.into_iter().reduce(better).map(Value::from).ok_or_else(|| "the array is empty".to_owned())
}

pub(super) fn max(given: &Arguments<'_>) -> Answer {
    choose(given, i64::max)
}

pub(super) fn min(given: &Arguments<'_>) -> Answer {
    choose(given, i64::min)
}

/// `copyIndex([loop], [offset])`.
pub(super) fn copy_index<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let values = frame.arguments(call)?;
    let (name, offset) = match values.as_slice() {
        [] => (None, 0),
        [value] if value.is_string() => (value.as_str(), 0),
        [value] => (None, integer(value)?),
        [name, offset, ..] => match name.as_str() {
            Some(name) => (Some(name), integer(offset)?),
            None => return Err(Fault::new(format!("argument 1 of 'copyIndex' must be a loop's name, found {}", describe(name)))),
        },
    };
    let turn = match name {
        Some(name) => frame.turns.iter().rev().find(|turn| turn.name.eq_ignore_ascii_case(name)),
        None => frame.turns.iter().rev().find(|turn| !turn.property).or(frame.turns.last()),
    };
    match (turn, name) {
        (Some(turn), _) => match turn.index.checked_add(offset) {
            Some(index) => Ok(Cow::Owned(Value::from(index))),
            None => Err(Fault::new("the offset of 'copyIndex' is too large")),
        },
        (None, Some(name)) => {
            let hint = super::nearest(name, frame.turns.iter().map(|turn| turn.name.as_str()));
            Err(Fault::new(format!("the copy loop '{name}' of 'copyIndex' is not found{hint}")))
        }
        (None, None) => Err(Fault::new("the template function 'copyIndex' is not expected outside a copy loop")),
    }
}

fn integer(value: &Value) -> Result<i64, Fault> {
    value.as_i64().ok_or_else(|| Fault::new(format!("the offset of 'copyIndex' must be an integer, found {}", describe(value))))
}
