//! The listener in front of Azurite: journal, faults, and copies that take as long as their size says.

use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{HeaderName, HeaderValue},
};

use super::{
    Blobs, Body,
    index::{Blob, Copy},
};
use crate::emulator::{
    faults::Cut,
    http::{decode, pairs},
    server::Closed,
    settings::Work,
    world::World,
};

/// Serves a request to a blob service.
pub async fn respond(world: Arc<World>, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
    let Some(blobs) = world.blobs.clone() else { return Err(Closed) };
    let (method, path) = (request.method().as_str().to_owned(), decode(request.uri().path()));
    let query = request.uri().query().unwrap_or_default().to_owned();
    let client = header(request.headers(), "user-agent").unwrap_or_default().to_owned();
    let ticket = world.journal.arrived(world.clock.now(), &method, &path, &query, &client);
    let effect = world.faults.effect(&method, &path).unwrap_or_default();
    tokio::time::sleep(effect.delay).await;
    if effect.cut == Cut::Before {
        return Err(Closed);
    }
    let mut response = match effect.status {
        Some(status) => answer(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), effect.body.unwrap_or_default()),
        None => serve(&world, &blobs, request).await,
    };
    // An answer that is streamed breaks at its beginning.
    if effect.cut != Cut::Nowhere {
        return Err(Closed);
    }
    for (name, value) in effect.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    world.journal.answered(ticket, response.status().as_u16());
    Ok(response)
}

/// What a request is about.
struct Seen {
    method: String,
    /// `account/container/blob`, as far as it goes.
    key: String,
    is_blob: bool,
    comp: String,
    restype: String,
    copy_id: Option<String>,
    is_signed_by_address: bool,
    /// The key of what is copied.
    source: Option<String>,
    size: Option<u64>,
}

impl Seen {
    fn of(request: &Request<Incoming>, blobs: &Blobs) -> Self {
        let key = decode(request.uri().path()).trim_matches('/').to_owned();
        let parameter = |name: &str| {
            let mut all = pairs(request.uri().query().unwrap_or_default());
            all.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let text = |name: &str| header(request.headers(), name);
        let waits = text("x-ms-requires-sync").is_some_and(|sync| sync.eq_ignore_ascii_case("true"));
        let source = text("x-ms-copy-source").filter(|_| !waits);
        let source = source.and_then(|url| url.strip_prefix(&blobs.endpoint)).and_then(|rest| rest.split('?').next()).map(decode);
        let size = text("x-ms-blob-content-length").or(text("content-length")).and_then(|size| size.parse().ok());
        Self {
            method: request.method().as_str().to_owned(),
            is_blob: key.split('/').count() >= 3,
            key,
            comp: parameter("comp").unwrap_or_default(),
            restype: parameter("restype").unwrap_or_default(),
            copy_id: parameter("copyid"),
            is_signed_by_address: parameter("sig").is_some(),
            source,
            size,
        }
    }

    /// Whether it writes or deletes the blob as a whole.
    fn replaces_blob(&self) -> bool {
        self.is_blob && self.comp.is_empty() && matches!(self.method.as_str(), "PUT" | "DELETE")
    }
}

/// Serves a request; what it changes is kept before it is acknowledged.
async fn serve(world: &World, blobs: &Blobs, request: Request<Incoming>) -> Response<Body> {
    blobs.settled().await;
    let seen = Seen::of(&request, blobs);
    let looks = matches!(seen.method.as_str(), "GET" | "HEAD" | "OPTIONS");
    let response = serve_seen(world, blobs, request, seen).await;
    if looks || !response.status().is_success() {
        return response;
    }
    world.ledger.blobs();
    if let Err(problem) = blobs.save().await {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &format!("The blobs cannot be saved: {problem}."));
    }
    if world.ledger.written().await.is_err() {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "The emulator's state file cannot be written.");
    }
    response
}

async fn serve_seen(world: &World, blobs: &Blobs, request: Request<Incoming>, seen: Seen) -> Response<Body> {
    let pending = blobs.index().get(&seen.key).and_then(|blob| blob.copy.clone()).filter(|copy| copy.status() == "pending");
    if seen.replaces_blob() && pending.is_some() {
        return error(StatusCode::CONFLICT, "PendingCopyOperation", "There is currently a pending copy operation.");
    }
    let mut response = match forward(blobs, request, &seen).await {
        Ok(response) => response,
        Err(problem) => return error(StatusCode::BAD_GATEWAY, "AzuriteUnreachable", &problem),
    };
    if seen.comp == "copy" {
        let id = seen.copy_id.as_deref().unwrap_or_default();
        // Azurite, to which every copy is done, has checked the signature before it refuses.
        if response.status() == StatusCode::CONFLICT && blobs.index().abort(&seen.key, id) {
            return answer(StatusCode::NO_CONTENT, Vec::new());
        }
        return response;
    }
    note(world, blobs, &seen, &response);
    if seen.is_blob && seen.restype.is_empty() {
        show_copy(blobs, &seen.key, response.headers_mut());
    }
    response
}

async fn forward(blobs: &Blobs, request: Request<Incoming>, seen: &Seen) -> Result<Response<Body>, String> {
    let (mut parts, body) = request.into_parts();
    // Azurite answers "Get Blob Metadata" with the whole blob; it asks so itself for what it is to copy, to see whether it may read it.
    let asks_metadata = seen.is_blob && seen.method == "GET" && seen.comp == "metadata" && seen.is_signed_by_address;
    if asks_metadata {
        parts.method = Method::HEAD;
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = format!("http://{}{path}", blobs.address).parse().map_err(|error| format!("{error}"))?;
    let answer = blobs.client.request(Request::from_parts(parts, body.boxed())).await;
    let mut answer = answer.map(|answer| answer.map(BodyExt::boxed)).map_err(|error| error.to_string())?;
    if asks_metadata {
        answer.headers_mut().remove("content-length");
    }
    Ok(answer)
}

/// Notes what Azurite has accepted.
fn note(world: &World, blobs: &Blobs, seen: &Seen, response: &Response<Body>) {
    if !response.status().is_success() {
        return;
    }
    let mut index = blobs.index();
    match (seen.method.as_str(), seen.comp.as_str()) {
        ("DELETE", "") if seen.is_blob => index.remove(&seen.key),
        ("DELETE", "") if seen.restype == "container" => index.remove_below(&format!("{}/", seen.key)),
        ("PUT", "") if seen.is_blob => {
            let blob = match &seen.source {
                Some(source) => {
                    let size = index.get(source).map_or(0, |blob| blob.size);
                    let id = header(response.headers(), "x-ms-copy-id").unwrap_or_default().to_owned();
                    let takes = world.settings().duration(Work::BlobCopyGib).mul_f64(gib(size));
                    Blob { size, copy: Some(Copy::new(id, source.clone(), takes)) }
                }
                None => Blob { size: seen.size.unwrap_or_default(), copy: None },
            };
            index.put(seen.key.clone(), blob);
        }
        // The blocks come before their list, whose size is not the blob's: what is copied of it takes no time.
        ("PUT", "blocklist") => index.put(seen.key.clone(), Blob::default()),
        _ => {}
    }
}

#[allow(clippy::cast_precision_loss, reason = "a share of a gibibyte")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// Tells how a copy stands, instead of what Azurite says of it.
fn show_copy(blobs: &Blobs, key: &str, headers: &mut HeaderMap) {
    let index = blobs.index();
    let Some((blob, copy)) = index.get(key).and_then(|blob| Some((blob, blob.copy.as_ref()?))) else { return };
    if !headers.contains_key("x-ms-copy-id") {
        return;
    }
    let status = copy.status();
    headers.insert("x-ms-copy-status", HeaderValue::from_static(status));
    if let Ok(progress) = HeaderValue::try_from(format!("{}/{}", copy.arrived(blob.size), blob.size)) {
        headers.insert("x-ms-copy-progress", progress);
    }
    if let Some(description) = copy.description() {
        headers.insert("x-ms-copy-status-description", HeaderValue::from_static(description));
    }
    if status == "pending" {
        headers.remove("x-ms-copy-completion-time");
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn error(status: StatusCode, code: &'static str, message: &str) -> Response<Body> {
    let body = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
    let mut response = answer(status, body.into_bytes());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/xml"));
    response.headers_mut().insert("x-ms-error-code", HeaderValue::from_static(code));
    response
}

fn answer(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sizes_are_counted_in_gibibytes() {
        assert!((gib(3 << 29) - 1.5).abs() < f64::EPSILON);
        assert_eq!(Duration::from_secs(6).mul_f64(gib(2 << 30)), Duration::from_secs(12));
    }
}
