//! Lists: filtered, ordered, cut into pages with a `nextLink`.

use std::{ops::Range, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    error::ApiError,
    filter::{self, Filter},
    http::{Reply, pairs},
    store::Resource,
    world::{Call, World},
};

/// Answers with the page of a list that the request asks for. `show` makes of a resource what this list shows of it.
pub fn list(world: &World, call: &Call<'_>, items: &[Arc<Resource>], show: impl Fn(&Resource) -> Value) -> Result<Reply, ApiError> {
    let wanted = |name: &str| call.request.parameter(name).is_some_and(|text| !text.trim().is_empty());
    if wanted("$filter") || wanted("$orderby") {
        return values(world, call, items.iter().map(|resource| show(resource)).collect());
    }
    // Only what is on the page is made.
    let (range, more) = cut(world, call, items.len())?;
    let end = range.end;
    let shown: Vec<Value> = items[range].iter().map(|resource| show(resource)).collect();
    Ok(page(call, &shown, more.then(|| format!("after:{end}"))))
}

/// A list of everything below `prefix` that `accepts` takes.
pub fn below(
    world: &World,
    call: &Call<'_>,
    prefix: &str,
    accepts: impl Fn(&Resource) -> bool,
    show: impl Fn(&Resource) -> Value,
) -> Result<Reply, ApiError> {
    by_key(world, call, |after, count| world.store.below_after(prefix, after, count, &accepts), show)
}

/// A list of the members of a collection.
pub fn members(world: &World, call: &Call<'_>, collection: &str, show: impl Fn(&Resource) -> Value) -> Result<Reply, ApiError> {
    by_key(world, call, |after, count| world.store.members_after(collection, after, count), show)
}

/// A list that is in the order of ids. `find` gives so many from behind an id on. Pages are found by the id where the one before ended, so
/// that each costs what is on it, however long the list is.
fn by_key(
    world: &World,
    call: &Call<'_>,
    find: impl Fn(Option<&str>, usize) -> Vec<Arc<Resource>>,
    show: impl Fn(&Resource) -> Value,
) -> Result<Reply, ApiError> {
    let wanted = |name: &str| call.request.parameter(name).is_some_and(|text| !text.trim().is_empty());
    if wanted("$filter") || wanted("$orderby") || wanted("$top") {
        return list(world, call, &find(None, usize::MAX), show);
    }
    let after = token(call)?.map(|text| text.strip_prefix("behind:").map(str::to_owned).ok_or_else(|| invalid_token(&text))).transpose()?;
    let mut items = find(after.as_deref(), world.page_size + 1);
    let more = items.len() > world.page_size;
    items.truncate(world.page_size);
    let next = items.last().filter(|_| more).map(|last| format!("behind:{}", last.key));
    let shown: Vec<Value> = items.iter().map(|resource| show(resource)).collect();
    Ok(page(call, &shown, next))
}

fn page(call: &Call<'_>, items: &[Value], next: Option<String>) -> Reply {
    let mut body = json!({"value": items});
    if let Some(next) = next {
        body["nextLink"] = json!(next_link(call, &next));
    }
    Reply::ok(&body)
}

/// The same for what is no resource.
pub fn values(world: &World, call: &Call<'_>, mut items: Vec<Value>) -> Result<Reply, ApiError> {
    if let Some(filter) = call.request.parameter("$filter").filter(|text| !text.trim().is_empty()) {
        let filter = Filter::parse(&filter)?;
        items.retain(|item| filter.accepts(item));
    }
    unfiltered(world, call, items)
}

/// The same for what has been filtered already.
pub fn unfiltered(world: &World, call: &Call<'_>, mut items: Vec<Value>) -> Result<Reply, ApiError> {
    if let Some(order) = call.request.parameter("$orderby") {
        filter::order(&mut items, &order);
    }
    let (range, more) = cut(world, call, items.len())?;
    let end = range.end;
    Ok(page(call, &items[range], more.then(|| format!("after:{end}"))))
}

/// Which of so many items are on the page, and whether more follow.
fn cut(world: &World, call: &Call<'_>, length: usize) -> Result<(Range<usize>, bool), ApiError> {
    let top = match call.request.parameter("$top") {
        Some(text) => text.parse::<usize>().ok().filter(|top| *top > 0).ok_or_else(|| invalid_top(&text))?,
        None => usize::MAX,
    };
    let start = start(call)?;
    let end = top.min(length).min(start.saturating_add(world.page_size));
    Ok((start.min(end)..end, end < top.min(length)))
}

fn invalid_top(text: &str) -> ApiError {
    ApiError::bad_request("InvalidTopInQueryString", format!("Invalid $top '{text}' specified in the query string."))
}

fn token(call: &Call<'_>) -> Result<Option<String>, ApiError> {
    let Some(token) = call.request.parameter("$skiptoken") else { return Ok(None) };
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(&token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.map(Some).ok_or_else(|| invalid_token(&token))
}

fn invalid_token(token: &str) -> ApiError {
    ApiError::bad_request("InvalidSkipToken", format!("The skip token '{token}' is invalid."))
}

fn start(call: &Call<'_>) -> Result<usize, ApiError> {
    let Some(token) = token(call)? else { return Ok(0) };
    token.strip_prefix("after:").and_then(|start| start.parse().ok()).ok_or_else(|| invalid_token(&token))
}

fn next_link(call: &Call<'_>, next: &str) -> String {
    let kept: Vec<String> = pairs(&call.request.query)
        .filter(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken"))
        .map(|(name, value)| format!("{}={}", encode(&name), encode(&value)))
        .collect();
    let token = BASE64_URL_SAFE_NO_PAD.encode(next);
    let path = percent_encoding::utf8_percent_encode(&call.request.path, PATH);
    format!("{}{path}?{}&$skiptoken={token}", call.root, kept.join("&"))
}

const PATH: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'?').add(b'#').add(b'%').add(b'"').add(b'<').add(b'>');

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string().replace("%24", "$").replace("%2D", "-")
}
