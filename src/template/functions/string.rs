//! Functions on strings, URIs and encodings.

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use super::{Arguments, get, object::parse, text_of};

type Answer = Result<Value, String>;

/// What a URI's component keeps as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The longest string that `padLeft` makes.
const MAX_PADDED: i64 = 131_072;

pub(super) fn base64(given: &Arguments<'_>) -> Answer {
    Ok(Value::String(STANDARD.encode(given.text(0)?)))
}

fn decoded(text: &str) -> Result<String, String> {
    let bytes = STANDARD.decode(text.trim()).map_err(|_| "argument 1 is no base64".to_owned())?;
    String::from_utf8(bytes).map_err(|_| "argument 1 is base64 of something else than UTF-8 text".to_owned())
}

pub(super) fn base64_to_string(given: &Arguments<'_>) -> Answer {
    decoded(given.text(0)?).map(Value::String)
}

pub(super) fn base64_to_json(given: &Arguments<'_>) -> Answer {
    parse(&decoded(given.text(0)?)?).map_err(|problem| format!("argument 1 holds no JSON: {problem}"))
}

pub(super) fn data_uri(given: &Arguments<'_>) -> Answer {
    Ok(Value::String(format!("data:text/plain;charset=utf8;base64,{}", STANDARD.encode(given.text(0)?))))
}

pub(super) fn data_uri_to_string(given: &Arguments<'_>) -> Answer {
    let uri = given.text(0)?;
    let rest = uri.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")).map(|_| &uri[5..]);
    let Some((kind, data)) = rest.and_then(|rest| rest.split_once(',')) else {
        return Err("argument 1 is no data URI".to_owned());
    };
    if kind.to_ascii_lowercase().ends_with(";base64") {
        return decoded(data).map(Value::String);
    }
    unescape(data).map(Value::String)
}

fn unescape(text: &str) -> Result<String, String> {
    percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| "argument 1 holds escapes that are no UTF-8 text".to_owned())
}

pub(super) fn uri_component(given: &Arguments<'_>) -> Answer {
    Ok(Value::String(utf8_percent_encode(given.text(0)?, COMPONENT).to_string()))
}

pub(super) fn uri_component_to_string(given: &Arguments<'_>) -> Answer {
    unescape(given.text(0)?).map(Value::String)
}

/// `uri(base, relative)`: RFC 3986's reference resolution.
pub(super) fn uri(given: &Arguments<'_>) -> Answer {
    let (base, relative) = (given.text(0)?, given.text(1)?);
    resolve(base, relative).map(Value::String).ok_or_else(|| format!("argument 1, '{base}', is no absolute URI"))
}

/// What a relative reference means against an absolute URI.
pub(crate) fn resolve(base: &str, relative: &str) -> Option<String> {
    if scheme_of(relative).is_some() {
        return Some(relative.to_owned());
    }
    let (scheme, rest) = scheme_of(base)?;
    let rest = rest.strip_prefix("//")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if authority.is_empty() {
        return None;
    }
    if let Some(other) = relative.strip_prefix("//") {
        return Some(format!("{scheme}://{other}"));
    }
    let base_path = tail.split(['?', '#']).next().unwrap_or_default();
    let (path, query) = relative.split_at(relative.find(['?', '#']).unwrap_or(relative.len()));
    let full = if path.starts_with('/') {
        path.to_owned()
    } else if path.is_empty() {
        base_path.to_owned()
    } else {
        format!("{}/{path}", base_path.rsplit_once('/').map_or("", |(folder, _)| folder))
    };
    Some(format!("{scheme}://{authority}{}{query}", without_dots(&full)))
}

/// The scheme of an absolute URI, and what follows the colon.
fn scheme_of(uri: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = uri.split_once(':')?;
    let valid =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    valid.then_some((scheme, rest))
}

/// A path without `.` and `..`.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// `parseUri(uri)`: its parts as an object.
pub(super) fn parse_uri(given: &Arguments<'_>) -> Answer {
    let uri = given.text(0)?;
    let invalid = || format!("argument 1, '{uri}', is no absolute URI");
    let (scheme, rest) = scheme_of(uri).ok_or_else(invalid)?;
    let rest = rest.strip_prefix("//").ok_or_else(invalid)?;
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())) {
        Some((host, port)) => (host, port.parse::<i64>().ok()),
        None => (authority, None),
    };
    if host.is_empty() {
        return Err(invalid());
    }
    let tail = tail.split('#').next().unwrap_or_default();
    let (path, query) = tail.split_at(tail.find('?').unwrap_or(tail.len()));
    let mut parts = Map::new();
    parts.insert("scheme".to_owned(), scheme.into());
    parts.insert("host".to_owned(), host.into());
    if let Some(port) = port {
        parts.insert("port".to_owned(), port.into());
    }
    parts.insert("path".to_owned(), if path.is_empty() { "/" } else { path }.into());
    parts.insert("query".to_owned(), query.into());
    Ok(Value::Object(parts))
}

/// `buildUri(parts)`: the opposite of `parseUri`.
pub(super) fn build_uri(given: &Arguments<'_>) -> Answer {
    let parts = given.object(0)?;
    let part = |name: &str| get(parts, name).filter(|value| !value.is_null()).map(text_of).unwrap_or_default();
    let (scheme, host) = (part("scheme"), part("host"));
    if scheme.is_empty() || host.is_empty() {
        return Err("the object needs the properties 'scheme' and 'host'".to_owned());
    }
    let suffix = match part("port") {
        none if none.is_empty() || none == "-1" => String::new(),
        number => format!(":{number}"),
    };
    let path = match part("path") {
        path if path.is_empty() || path.starts_with('/') => path,
        path => format!("/{path}"),
    };
    let query = match part("query") {
        query if query.is_empty() || query.starts_with('?') => query,
        query => format!("?{query}"),
    };
    let path = if path.is_empty() { "/".to_owned() } else { path };
    Ok(Value::String(format!("{scheme}://{host}{suffix}{path}{query}")))
}

pub(super) fn ends_with(given: &Arguments<'_>) -> Answer {
    Ok(Value::Bool(lower(given.text(0)?).ends_with(&lower(given.text(1)?))))
}

pub(super) fn starts_with(given: &Arguments<'_>) -> Answer {
    Ok(Value::Bool(lower(given.text(0)?).starts_with(&lower(given.text(1)?))))
}

pub(super) fn pad_left(given: &Arguments<'_>) -> Answer {
    let text = match given.at(0) {
        value @ (Value::String(_) | Value::Number(_)) => text_of(value),
        _ => return Err(given.wrong(0, "a string or an integer")),
    };
    let width = given.integer(1)?;
    if !(0..=MAX_PADDED).contains(&width) {
        return Err(format!("argument 2, the length, must be between 0 and {MAX_PADDED}, found {width}"));
    }
    let mut padding = given.get(2).map_or(Ok(" "), |_| given.text(2))?.chars();
    let (Some(pad), None) = (padding.next(), padding.next()) else { return Err(given.wrong(2, "a single character")) };
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count());
    let padding: String = std::iter::repeat_n(pad, missing).collect();
    Ok(Value::String(padding + &text))
}

pub(super) fn replace(given: &Arguments<'_>) -> Answer {
    let (text, old, new) = (given.text(0)?, given.text(1)?, given.text(2)?);
    if old.is_empty() {
        return Err("argument 2, what to replace, is empty".to_owned());
    }
    // What the replacement may grow to is bounded before it is made.
    if text.matches(old).count().saturating_mul(new.len()) > 16 << 20 {
        return Err("the result would be larger than 16 MB".to_owned());
    }
    Ok(Value::String(text.replace(old, new)))
}

pub(super) fn split(given: &Arguments<'_>) -> Answer {
    let text = given.text(0)?;
    let delimiters: Vec<String> = match given.at(1) {
        Value::String(delimiter) => vec![delimiter.clone()],
        Value::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            texts.ok_or_else(|| given.wrong(1, "a string or an array of strings"))?
        }
        _ => return Err(given.wrong(1, "a string or an array of strings")),
    };
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if let Some(found) = delimiters.iter().find(|delimiter| !delimiter.is_empty() && rest.starts_with(delimiter.as_str())) {
            parts.push(Value::from(&text[start..at]));
            at += found.len();
            start = at;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    parts.push(Value::from(&text[start..]));
    Ok(Value::Array(parts))
}

pub(super) fn string(given: &Arguments<'_>) -> Answer {
    Ok(Value::String(text_of(given.at(0))))
}

pub(super) fn substring(given: &Arguments<'_>) -> Answer {
    let characters: Vec<char> = given.text(0)?.chars().collect();
    let start = given.integer(1)?;
    let from = usize::try_from(start).ok().filter(|from| *from <= characters.len());
    let out = || format!("start and length must lie within the string, which has {} character(s)", characters.len());
    let from = from.ok_or_else(out)?;
    let to = match given.get(2).filter(|value| !value.is_null()) {
        None => characters.len(),
        Some(_) => usize::try_from(given.integer(2)?).ok().and_then(|length| from.checked_add(length)).ok_or_else(out)?,
    };
    characters.get(from..to).map(|part| Value::String(part.iter().collect())).ok_or_else(out)
}

pub(super) fn to_lower(given: &Arguments<'_>) -> Answer {
    Ok(Value::String(lower(given.text(0)?)))
}

pub(super) fn to_upper(given: &Arguments<'_>) -> Answer {
    Ok(Value::String(upper(given.text(0)?)))
}

/// The text in lower case. Node has Unicode's tables already: in WebAssembly they would be 30 KB more.
#[cfg(target_arch = "wasm32")]
pub(super) fn lower(text: &str) -> String {
    js_sys::JsString::from(text).to_lower_case().into()
}

#[cfg(target_arch = "wasm32")]
fn upper(text: &str) -> String {
    js_sys::JsString::from(text).to_upper_case().into()
}

/// The text in lower case.
#[cfg(not(target_arch = "wasm32"))]
#[allow(clippy::disallowed_methods, reason = "the language's own functions know more letters than A to Z")]
pub(super) fn lower(text: &str) -> String {
    text.to_lowercase()
}

#[cfg(not(target_arch = "wasm32"))]
#[allow(clippy::disallowed_methods, reason = "the language's own functions know more letters than A to Z")]
fn upper(text: &str) -> String {
    text.to_uppercase()
}

pub(super) fn trim(given: &Arguments<'_>) -> Answer {
    Ok(Value::String(given.text(0)?.trim().to_owned()))
}
