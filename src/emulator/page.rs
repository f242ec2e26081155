//! Lists: filtered, ordered, cut into pages with a `nextLink`.

use std::sync::Arc;

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
    values(world, call, items.iter().map(|resource| show(resource)).collect())
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
    let top = match call.request.parameter("$top") {
        Some(text) => Some(text.parse::<usize>().ok().filter(|top| *top > 0).ok_or_else(|| invalid_top(&text))?),
        None => None,
    };
    let start = start(call)?;
    let end = top.map_or(items.len(), |top| top.min(items.len())).min(start.saturating_add(world.page_size));
    let more = end < top.unwrap_or(usize::MAX).min(items.len());
    let page: Vec<Value> = items.drain(start.min(end)..end).collect();
    let mut body = json!({"value": page});
    if more {
        body["nextLink"] = json!(next_link(call, end));
    }
    Ok(Reply::ok(&body))
}

fn invalid_top(text: &str) -> ApiError {
    ApiError::bad_request("InvalidTopInQueryString", format!("Invalid $top '{text}' specified in the query string."))
}

fn start(call: &Call<'_>) -> Result<usize, ApiError> {
    let Some(token) = call.request.parameter("$skiptoken") else { return Ok(0) };
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(&token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let start = decoded.and_then(|text| text.strip_prefix("after:")?.parse().ok());
    start.ok_or_else(|| ApiError::bad_request("InvalidSkipToken", format!("The skip token '{token}' is invalid.")))
}

fn next_link(call: &Call<'_>, start: usize) -> String {
    let kept: Vec<String> = pairs(&call.request.query)
        .filter(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken"))
        .map(|(name, value)| format!("{}={}", encode(&name), encode(&value)))
        .collect();
    let token = BASE64_URL_SAFE_NO_PAD.encode(format!("after:{start}"));
    let path = percent_encoding::utf8_percent_encode(&call.request.path, PATH);
    format!("{}{path}?{}&$skiptoken={token}", call.root, kept.join("&"))
}

const PATH: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'?').add(b'#').add(b'%').add(b'"').add(b'<').add(b'>');

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string().replace("%24", "$").replace("%2D", "-")
}
