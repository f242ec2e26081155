//! The template functions: their names, how many arguments they take, and what runs them.
#![allow(clippy::unnecessary_wraps, reason = "every function of the table has one shape")]

mod array;
mod cidr;
mod date;
mod format;
mod hash;
mod lambda;
mod logic;
mod number;
mod object;
mod resource;
mod string;

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    evaluate::{Evaluated, Frame},
    expression::Call,
};

pub use hash::template_hash;
pub(crate) use resource::{implied, member, resource_id};
pub(crate) use string::resolve as resolve_uri;

/// A function of the template language.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) least: usize,
    pub(crate) most: usize,
    pub(crate) run: Run,
}

/// What runs a function.
pub(crate) enum Run {
    /// Its value depends on its arguments alone.
    Pure(fn(&Arguments<'_>) -> Result<Value, String>),
    /// It looks at what surrounds it, or leaves arguments unevaluated.
    Special(for<'f> fn(&Frame<'f>, &Call) -> Evaluated<'f>),
}

impl std::fmt::Debug for Run {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Pure(_) => "Pure",
            Self::Special(_) => "Special",
        })
    }
}

impl Function {
    pub(crate) fn takes(&self, count: usize) -> bool {
        (self.least..=self.most).contains(&count)
    }
}

const ANY: usize = usize::MAX;

const fn pure(name: &'static str, least: usize, most: usize, run: fn(&Arguments<'_>) -> Result<Value, String>) -> Function {
    Function { name, least, most, run: Run::Pure(run) }
}

const fn special(name: &'static str, least: usize, most: usize, run: for<'f> fn(&Frame<'f>, &Call) -> Evaluated<'f>) -> Function {
    Function { name, least, most, run: Run::Special(run) }
}

/// Every function, as the documentation groups them.
static FUNCTIONS: &[Function] = &[
    // Arrays.
    pure("array", 1, 1, array::array),
    pure("concat", 1, ANY, array::concat),
    pure("contains", 2, 2, array::contains),
    pure("createArray", 0, ANY, array::create_array),
    pure("empty", 1, 1, array::empty),
    pure("first", 1, 1, array::first),
    pure("flatten", 1, 1, array::flatten),
    pure("indexFromEnd", 2, 2, array::index_from_end),
    pure("indexOf", 2, 2, array::index_of),
    pure("intersection", 2, ANY, array::intersection),
    pure("join", 2, 2, array::join),
    pure("last", 1, 1, array::last),
    pure("lastIndexOf", 2, 2, array::last_index_of),
    pure("length", 1, 1, array::length),
    pure("max", 1, ANY, number::max),
    pure("min", 1, ANY, number::min),
    pure("range", 2, 2, array::range),
    pure("skip", 2, 2, array::skip),
    pure("take", 2, 2, array::take),
    pure("tryGet", 2, ANY, array::try_get),
    pure("tryIndexFromEnd", 2, 2, array::try_index_from_end),
    pure("union", 2, ANY, array::union),
    // CIDR.
    pure("parseCidr", 1, 1, cidr::parse_cidr),
    pure("cidrSubnet", 3, 3, cidr::cidr_subnet),
    pure("cidrHost", 2, 2, cidr::cidr_host),
    // Comparison and logic.
    special("coalesce", 1, ANY, logic::coalesce),
    pure("equals", 2, 2, logic::equals),
    pure("greater", 2, 2, logic::greater),
    pure("greaterOrEquals", 2, 2, logic::greater_or_equals),
    pure("less", 2, 2, logic::less),
    pure("lessOrEquals", 2, 2, logic::less_or_equals),
    special("and", 2, ANY, logic::and),
    pure("bool", 1, 1, logic::bool),
    pure("false", 0, 0, logic::false_value),
    special("if", 3, 3, logic::if_else),
    pure("not", 1, 1, logic::not),
    special("or", 2, ANY, logic::or),
    pure("true", 0, 0, logic::true_value),
    pure("fail", 1, 1, logic::fail),
    // Dates.
    pure("dateTimeAdd", 2, 3, date::date_time_add),
    pure("dateTimeFromEpoch", 1, 1, date::date_time_from_epoch),
    pure("dateTimeToEpoch", 1, 1, date::date_time_to_epoch),
    special("utcNow", 0, 1, date::utc_now),
    // Deployment.
    special("deployer", 0, 0, resource::deployer),
    special("deployment", 0, 0, resource::deployment),
    special("environment", 0, 0, resource::environment),
    special("parameters", 1, 1, resource::parameters),
    special("variables", 1, 1, resource::variables),
    // Lambdas.
    special("filter", 2, 2, lambda::filter),
    special("groupBy", 2, 2, lambda::group_by),
    special("lambda", 1, ANY, lambda::lambda),
    special("lambdaVariables", 1, 1, lambda::lambda_variables),
    special("map", 2, 2, lambda::map),
    special("mapValues", 2, 2, lambda::map_values),
    special("reduce", 3, 3, lambda::reduce),
    special("sort", 2, 2, lambda::sort),
    special("toObject", 2, 3, lambda::to_object),
    // Numbers.
    pure("add", 2, 2, number::add),
    special("copyIndex", 0, 2, number::copy_index),
    pure("div", 2, 2, number::div),
    pure("float", 1, 1, number::float),
    pure("int", 1, 1, number::int),
    pure("mod", 2, 2, number::modulo),
    pure("mul", 2, 2, number::mul),
    pure("sub", 2, 2, number::sub),
    // Objects.
    pure("createObject", 0, ANY, object::create_object),
    pure("items", 1, 1, object::items),
    pure("json", 1, 1, object::json),
    pure("null", 0, 0, object::null),
    pure("objectKeys", 1, 1, object::object_keys),
    pure("shallowMerge", 1, 1, object::shallow_merge),
    // Resources and scopes.
    special("extensionResourceId", 3, ANY, resource::extension_resource_id),
    special("managementGroup", 0, 0, resource::management_group),
    special("managementGroupResourceId", 2, ANY, resource::management_group_resource_id),
    special("pickZones", 3, 5, resource::pick_zones),
    special("providers", 1, 2, resource::providers),
    special("reference", 1, 3, resource::reference),
    special("references", 1, 2, resource::references),
    special("resourceGroup", 0, 0, resource::resource_group),
    special("resourceId", 2, ANY, resource::resource_id_function),
    special("resourceInfo", 1, 1, resource::resource_info),
    special("subscription", 0, 0, resource::subscription),
    special("subscriptionResourceId", 2, ANY, resource::subscription_resource_id),
    special("tenant", 0, 0, resource::tenant),
    special("tenantResourceId", 2, ANY, resource::tenant_resource_id),
    special("toLogicalZone", 3, 3, resource::zones),
    special("toLogicalZones", 3, 3, resource::zones),
    special("toPhysicalZone", 3, 3, resource::zones),
    special("toPhysicalZones", 3, 3, resource::zones),
    // Strings.
    pure("base64", 1, 1, string::base64),
    pure("base64ToJson", 1, 1, string::base64_to_json),
    pure("base64ToString", 1, 1, string::base64_to_string),
    pure("buildUri", 1, 1, string::build_uri),
    pure("dataUri", 1, 1, string::data_uri),
    pure("dataUriToString", 1, 1, string::data_uri_to_string),
    pure("endsWith", 2, 2, string::ends_with),
    pure("format", 1, ANY, format::format),
    pure("guid", 1, ANY, hash::guid),
    special("newGuid", 0, 0, hash::new_guid),
    pure("padLeft", 2, 3, string::pad_left),
    pure("parseUri", 1, 1, string::parse_uri),
    pure("replace", 3, 3, string::replace),
    pure("split", 2, 2, string::split),
    pure("startsWith", 2, 2, string::starts_with),
    pure("string", 1, 1, string::string),
    pure("substring", 2, 3, string::substring),
    pure("toLower", 1, 1, string::to_lower),
    pure("toUpper", 1, 1, string::to_upper),
    pure("trim", 1, 1, string::trim),
    pure("uniqueString", 1, ANY, hash::unique_string),
    pure("uri", 2, 2, string::uri),
    pure("uriComponent", 1, 1, string::uri_component),
    pure("uriComponentToString", 1, 1, string::uri_component_to_string),
];

/// `listKeys`, `listSecrets` and whatever else a resource provider lists.
static LIST: Function = special("list*", 1, 3, resource::list);

/// The function of a name, whatever its casing.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    let known = FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(name));
    known.or_else(|| name.get(..4).filter(|start| start.eq_ignore_ascii_case("list")).map(|_| &LIST))
}

/// The names of all functions; `list*` stands for every function that starts so.
pub fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().chain([&LIST]).map(|function| function.name)
}

/// Why a name is no function, with the nearest that is.
pub(crate) fn unknown(name: &str) -> String {
    format!("the template function '{name}' is not valid{}", nearest(name, names()))
}

/// Why a number of arguments is not right.
pub(crate) fn signature(function: &Function, given: usize) -> String {
    let takes = match (function.least, function.most) {
        (least, most) if least == most => format!("{least} argument(s)"),
        (least, ANY) => format!("at least {least} argument(s)"),
        (least, most) => format!("{least} to {most} arguments"),
    };
    format!("the template function '{}' takes {takes}, {given} were given", function.name)
}

/// `, did you mean 'x'?` when there is a name that differs by a slip.
pub(crate) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    nearest_name(name, known).map_or_else(String::new, |candidate| format!(", did you mean '{candidate}'?"))
}

/// The name that was probably meant: the nearest one, when it is near.
pub fn nearest_name<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let wanted = name.to_ascii_lowercase();
    let length = wanted.chars().count();
    let limit = (length / 3).clamp(1, 3.max(length / 4));
    known
        .map(|candidate| (distance(&wanted, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, left out, replaced or swapped.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(100).collect(), b.chars().take(100).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// The values of a call's arguments. The readers' errors name the argument by its number.
pub(crate) struct Arguments<'a> {
    pub(crate) values: &'a [Cow<'a, Value>],
}

impl<'a> Arguments<'a> {
    fn get(&self, index: usize) -> Option<&Value> {
        self.values.get(index).map(AsRef::as_ref)
    }

    fn at(&self, index: usize) -> &Value {
        self.get(index).unwrap_or(&Value::Null)
    }

    fn all(&'a self) -> impl Iterator<Item = &'a Value> {
        self.values.iter().map(AsRef::as_ref)
    }

    fn wrong(&self, index: usize, expected: &str) -> String {
        format!("argument {} must be {expected}, found {}", index + 1, describe(self.at(index)))
    }

    fn text(&self, index: usize) -> Result<&str, String> {
        self.at(index).as_str().ok_or_else(|| self.wrong(index, "a string"))
    }

    fn integer(&self, index: usize) -> Result<i64, String> {
        self.at(index).as_i64().ok_or_else(|| self.wrong(index, "an integer"))
    }

    fn list(&self, index: usize) -> Result<&Vec<Value>, String> {
        self.at(index).as_array().ok_or_else(|| self.wrong(index, "an array"))
    }

    fn object(&self, index: usize) -> Result<&Map<String, Value>, String> {
        self.at(index).as_object().ok_or_else(|| self.wrong(index, "an object"))
    }
}

/// A value in a message: its kind and, where short, itself.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() <= 60 => format!("the string '{text}'"),
        Value::String(_) => "a long string".to_owned(),
        Value::Array(items) => format!("an array of {} element(s)", items.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// An object's property, by its exact name or else whatever its casing.
pub(crate) fn get<'m>(map: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    map.get(name).or_else(|| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// A value as `string()` and `concat()` write it.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether two values are the same. Numbers compare by value, property names without regard to order.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || matches!((x.as_f64(), y.as_f64()), (Some(x), Some(y)) if x.to_bits() == y.to_bits())
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(key, value)| get(y, key).is_some_and(|other| same(value, other)))
        }
        (a, b) => a == b,
    }
}
