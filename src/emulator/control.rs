//! The control interface: what was asked, what there is, faults and settings. It needs no token.

use std::sync::Arc;

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    clock::millisecond_date,
    error::ApiError,
    faults::chaos::Chaos,
    http::{Reply, Request, parse_object},
    store::Resource,
    world::World,
};

/// Serves a request below `/emulator/`.
pub fn serve(world: &Arc<World>, request: &Request) -> Reply {
    let result = match (request.method.as_str(), request.path.trim_end_matches('/')) {
        ("GET", "/emulator/requests") => Ok(raw_json(world.journal.to_json())),
        ("GET", "/emulator/unknown-routes") => Ok(Reply::ok(&json!(world.unknown_routes()))),
        ("POST", "/emulator/faults") => add_faults(world, request),
        ("GET", "/emulator/chaos") => Ok(Reply::ok(&world.faults.chaos_json())),
        ("DELETE", "/emulator/faults") => {
            world.faults.clear();
            Ok(Reply::ok(&json!({})))
        }
        ("POST", "/emulator/settings") => change_settings(world, request),
        (
            method,
            path @ ("/emulator/requests"
            | "/emulator/resources"
            | "/emulator/unknown-routes"
            | "/emulator/faults"
            | "/emulator/chaos"
            | "/emulator/settings"),
        ) => Err(ApiError::method_not_allowed(method, path)),
        (_, path) => Err(ApiError::new(404, "NotFound", format!("The control interface has no '{path}'."))),
    };
    result.unwrap_or_else(Reply::from)
}

fn raw_json(body: Vec<u8>) -> Reply {
    let mut reply = Reply::empty(200);
    reply.body = Some(body);
    reply
}

/// How many resources are written at a time.
const CHUNK: usize = 200;

/// Every resource, piece by piece: the answer is never in memory as a whole.
pub fn resources(world: &World) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
    let all = world.store.all();
    let count = all.len();
    let text = move |(number, resource): (usize, &Arc<Resource>)| {
        let end = if number + 1 < count { "," } else { "" };
        format!("{}{end}", with_times(resource))
    };
    let chunks = (0..count).step_by(CHUNK).map(move |start| {
        let range = start..(start + CHUNK).min(count);
        range.map(|number| text((number, &all[number]))).collect::<String>().into_bytes()
    });
    std::iter::once(b"[".to_vec()).chain(chunks).chain(std::iter::once(b"]".to_vec()))
}

fn with_times(resource: &Resource) -> Value {
    let mut body = resource.body.value();
    body["emulator"] = json!({"createdAt": millisecond_date(resource.created_at), "updatedAt": millisecond_date(resource.updated_at)});
    body
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::bad_request("InvalidControlRequest", message)
}

fn add_faults(world: &World, request: &Request) -> Result<Reply, ApiError> {
    let body: Value = serde_json::from_slice(&request.body).map_err(|error| invalid(format!("the body is no JSON: {error}")))?;
    world.faults.add(&body).map_err(invalid)?;
    Ok(Reply::ok(&json!({})))
}

/// Changes any part of the settings, or none when one part is wrong.
fn change_settings(world: &World, request: &Request) -> Result<Reply, ApiError> {
    let body = parse_object(&request.body)?;
    let mut settings = world.settings().clone();
    let (mut now, mut chaos) = (None, None);
    for (name, value) in body.as_object().into_iter().flatten() {
        match name.as_str() {
            "speed" => settings.set_speed(number(name, value)?).map_err(invalid)?,
            "now" => {
                let date = value.as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
                now = Some(date.ok_or_else(|| invalid("'now' must be a date such as 2026-11-20T00:00:00Z"))?);
            }
            "chaos" => chaos = Some((!value.is_null()).then(|| Chaos::read(value)).transpose().map_err(invalid)?),
            name => settings.change(name, value).map_err(invalid)?,
        }
    }
    *world.settings_mut() = settings;
    if let Some(now) = now {
        world.clock.set(now);
    }
    world.ledger.settings();
    if let Some(chaos) = chaos {
        world.faults.set_chaos(chaos);
    }
    Ok(Reply::ok(&json!({})))
}

fn number(name: &str, value: &Value) -> Result<f64, ApiError> {
    value.as_f64().ok_or_else(|| invalid(format!("'{name}' must be a number")))
}
