//! Every answer of an emulator, and every request of the engine, held against Azure's published descriptions.
//!
//! The descriptions (`../shared/data/openapi`) are of one api-version each. An exchange of just that version is judged by the letter: what
//! the description does not have is a complaint. One of another version is judged by types, required properties and closed enumerations,
//! because later versions add properties and earlier ones lack some.

#[path = "schema/description.rs"]
mod description;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use dtl::emulator::{Emulator, Exchange};
use serde_json::Value;

use self::description::{Descriptions, Direction, Listed, Operation};
use crate::harness::data;

/// What the published descriptions have otherwise than Azure does: part of a complaint, and why it is none.
const WAIVED: &[(&str, &str)] = &[
    ("/locations/0: null is not of type", "`traces`, `deployments PUT success`: \"locations\": [null] for what has no region"),
    ("/templateLink: \"uri\" is a required property", "later api-versions than 2019-08-01 know `id` and `relativePath` as well"),
    ("ource: \"id\" is a required property", "later api-versions than 2019-07-01 take `uri` or `virtualMachineId` in its place"),
    (
        "the request: Environments_CreateOrUpdate /properties/deploymentProperties/parameters/",
        "numbers, arrays and objects keep their JSON type on the way to the template; published is a string, recorded are strings only",
    ),
];

/// Looks on while a test runs, and fails it at the end when something was not as published.
#[derive(Default)]
pub struct Judge {
    complaints: Arc<Mutex<BTreeSet<String>>>,
}

impl Judge {
    /// A judge of all that an emulator answers, and of what the engine asks it.
    pub fn of(emulator: &Emulator) -> Self {
        let judge = Self::default();
        let Some(descriptions) = descriptions() else { return judge };
        let complaints = Arc::clone(&judge.complaints);
        emulator.observe(Arc::new(move |exchange: &Exchange| {
            let found = complaints_about(descriptions, exchange);
            if !found.is_empty() {
                complaints.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
            }
        }));
        judge
    }

    /// What was not as published.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let complaints = self.complaints();
        assert!(complaints.is_empty() || std::thread::panicking(), "not as published:\n{}", complaints.join("\n"));
    }
}

/// The descriptions, read once.
fn descriptions() -> Option<&'static Descriptions> {
    static READ: OnceLock<Option<Descriptions>> = OnceLock::new();
    READ.get_or_init(|| data("openapi").map(|folder| Descriptions::read(&folder))).as_ref()
}

/// What about an exchange is not as published.
fn complaints_about(descriptions: &Descriptions, exchange: &Exchange) -> Vec<String> {
    let path = exchange.path.to_ascii_lowercase();
    // Where an operation is followed is told by the service, `monitor` and all; no description has it (`traces`, `labs DELETE`).
    if !path.starts_with("/subscriptions") || path.contains("/locations/") && path.contains("/operations/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let version = api_version(&exchange.query);
    match descriptions.operation(&exchange.method, &exchange.path) {
        Some(operation) => {
            let exact = operation.description.version == version;
            found.extend(answer(operation, exchange, exact));
            if exchange.status < 400 && from_engine(exchange) {
                found.extend(request(operation, exchange, exact));
            }
        }
        None if exchange.status < 400 && exchange.method != "HEAD" && Descriptions::ought_to_be_described(&exchange.path, &version) => {
            found.push("no such operation is published".to_owned());
        }
        None => {}
    }
    if exchange.status >= 400 && exchange.method != "HEAD" {
        found.extend(error_envelope(exchange));
    }
    let whole = |complaint: String| format!("{} {}?{} → {}: {complaint}", exchange.method, exchange.path, exchange.query, exchange.status);
    found.into_iter().map(whole).filter(|complaint| !WAIVED.iter().any(|(part, _)| complaint.contains(part))).collect()
}

fn answer(operation: &Operation, exchange: &Exchange, exact: bool) -> Vec<String> {
    if exchange.method == "HEAD" {
        return Vec::new();
    }
    let Some(listed) = operation.response(exchange.status) else {
        // Where a description lists no errors at all, those of Resource Manager are meant.
        let meant = exchange.status >= 400 && !operation.lists_errors();
        return if meant { Vec::new() } else { vec![format!("{} does not answer {}", operation.id, exchange.status)] };
    };
    match (listed, parsed(exchange.body.as_deref())) {
        (Listed::Body(_), Ok(None)) => vec![format!("{} answers with a body", operation.id)],
        (Listed::WithoutBody, Ok(Some(_))) => vec![format!("{} answers without a body", operation.id)],
        (Listed::WithoutBody, Ok(None)) => Vec::new(),
        (Listed::Body(schema), Ok(Some(body))) => operation.complaints(&schema, Direction::Response, exact, &body),
        (_, Err(error)) => vec![error],
    }
}

/// The shape of an error that all of Azure has.
fn error_envelope(exchange: &Exchange) -> Option<String> {
    let body = match parsed(exchange.body.as_deref()) {
        Ok(Some(body)) => body,
        Ok(None) => return Some("an error without a body".to_owned()),
        Err(error) => return Some(error),
    };
    let text = |name: &str| body["error"][name].as_str().is_some_and(|text| !text.is_empty());
    (!text("code") || !text("message")).then(|| format!("not an error of Azure: {body}"))
}

fn request(operation: &Operation, exchange: &Exchange, exact: bool) -> Vec<String> {
    let mut found = Vec::new();
    let names = exchange.query.split('&').filter_map(|pair| pair.split('=').next());
    let names = names.map(|name| percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned());
    // Pages are asked for by the address that the service gave.
    let foreign = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("$skiptoken"));
    let foreign: Vec<String> = foreign.filter(|name| !operation.takes_parameter(name)).collect();
    if !foreign.is_empty() {
        found.push(format!("{} takes no query parameters {foreign:?}", operation.id));
    }
    match (operation.request(), parsed(Some(&exchange.request_body))) {
        (Some(schema), Ok(Some(body))) => {
            let complaints = operation.complaints(&schema, Direction::Request, exact, &body);
            found.extend(complaints.into_iter().map(|complaint| format!("the request: {complaint}")));
        }
        (None, Ok(Some(_))) => found.push(format!("{} takes no body", operation.id)),
        (_, Ok(None)) => {}
        (_, Err(error)) => found.push(error),
    }
    found
}

/// Requests of tests try what no client would send; those of the engine must be right.
fn from_engine(exchange: &Exchange) -> bool {
    exchange.request_headers.iter().any(|(name, value)| name == "user-agent" && value.contains("dtl"))
}

fn parsed(body: Option<&[u8]>) -> Result<Option<Value>, String> {
    match body {
        None | Some([]) => Ok(None),
        Some(bytes) => serde_json::from_slice(bytes).map(Some).map_err(|error| format!("no JSON: {error}")),
    }
}

fn api_version(query: &str) -> String {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.eq_ignore_ascii_case("api-version")).map(|(_, value)| value.to_owned()).unwrap_or_default()
}
