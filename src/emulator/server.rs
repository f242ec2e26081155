//! The listener: TLS, HTTP/1.1, limits, the journal, faults; then on to whoever serves the request.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::stream;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Response, StatusCode,
    body::{Body, Bytes, Frame, Incoming},
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use super::{
    control,
    deployment::content,
    error::ApiError,
    faults::Cut,
    http::{Reply, Request, decode},
    identity, router,
    world::World,
};

/// Azure Resource Manager takes requests of up to 4 MB.
const BODY_LIMIT: usize = 4 * 1024 * 1024;
/// How long a client may take for its headers, and for its body.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may take for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many connections may wait for their first request. When there are more, the oldest of them goes: whoever is slow waits for nobody.
const STRANGERS: usize = 256;

/// Serves connections until the emulator stops.
pub async fn serve<F, R, B>(world: Arc<World>, listener: TcpListener, tls: Arc<rustls::ServerConfig>, respond: F)
where
    F: Fn(Arc<World>, hyper::Request<Incoming>) -> R + Copy + Send + 'static,
    R: Future<Output = Result<Response<B>, Closed>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = tokio::task::JoinSet::new();
    let mut strangers = VecDeque::new();
    loop {
        tokio::select! {
            () = world.stopped() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let known = Arc::new(AtomicBool::new(false));
                    let task = connections.spawn(connection(world.clone(), acceptor.clone(), (stream, peer, known.clone()), respond));
                    strangers.retain(|(task, known): &(AbortHandle, Arc<AtomicBool>)| !task.is_finished() && !known.load(Ordering::Relaxed));
                    strangers.push_back((task, known));
                    if strangers.len() > STRANGERS && let Some((oldest, _)) = strangers.pop_front() {
                        oldest.abort();
                    }
                }
                // Out of file descriptors, most likely: connections that end give some back.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // Connections have been told to end with the answer that they are at; one that does not is cut off.
    if tokio::time::timeout(Duration::from_secs(2), all).await.is_err() {
        connections.shutdown().await;
    }
}

/// A connection from somebody, and whether it has sent a request.
type Visitor = (TcpStream, SocketAddr, Arc<AtomicBool>);

async fn connection<F, R, B>(world: Arc<World>, acceptor: TlsAcceptor, (stream, peer, known): Visitor, respond: F)
where
    F: Fn(Arc<World>, hyper::Request<Incoming>) -> R + Copy + Send + 'static,
    R: Future<Output = Result<Response<B>, Closed>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    // Small answers must not wait for one another.
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else {
        tracing::debug!(target: "dtl::emulator", %peer, "the TLS handshake failed");
        return;
    };
    let serving = world.clone();
    let service = service_fn(move |request| {
        known.store(true, Ordering::Relaxed);
        respond(serving.clone(), request)
    });
    let connection =
        http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(PATIENCE).serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let stopped = std::pin::pin!(world.stopped());
    tokio::select! {
        // A connection that breaks, or that a fault breaks, is nobody's error here.
        _ = connection.as_mut() => return,
        () = stopped => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// A fault wants the connection closed: hyper drops it when the service, or the body of an answer, fails.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on demand")]
pub struct Closed;

/// The body of an answer.
type Answer = UnsyncBoxBody<Bytes, Closed>;

/// Serves a request to the resource manager, to sign-in or to the control interface.
pub async fn respond(world: Arc<World>, request: hyper::Request<Incoming>) -> Result<Response<Answer>, Closed> {
    let arrived = world.clock.now();
    let (request, problem) = match read(request).await {
        Ok(request) => (request, None),
        Err((request, problem)) => (request, Some(problem)),
    };
    if request.method == "GET" && problem.is_none() && request.path == "/emulator/resources" {
        return Ok(streamed(control::resources(&world)));
    }
    if request.path == "/emulator" || request.path.starts_with("/emulator/") {
        return Ok(response(problem.map_or_else(|| control::serve(&world, &request), Reply::from)));
    }
    let client = request.header("user-agent").unwrap_or_default();
    let ticket = world.journal.arrived(arrived, &request.method, &request.path, &request.query, client);
    let effect = world.faults.effect(&request.method, &request.path).unwrap_or_default();
    tokio::time::sleep(effect.delay).await;
    if effect.cut == Cut::Before {
        return Err(Closed);
    }
    if effect.expire_token {
        world.identity.expire(request.header("authorization"));
    }
    let mut reply = match (effect.status, problem) {
        (Some(status), _) => {
            let mut reply = Reply::empty(status);
            reply.body = effect.body;
            reply
        }
        (None, Some(problem)) => problem.into(),
        (None, None) => {
            content::fetch_for(&world, &request).await;
            identity::endpoints::serve(&world, &request).unwrap_or_else(|| router::serve(&world, &request))
        }
    };
    // No answer tells of what might be lost.
    if let Some(blobs) = world.blobs.as_ref().filter(|_| !matches!(request.method.as_str(), "GET" | "HEAD")) {
        blobs.kept().await;
    }
    if world.ledger.written().await.is_err() {
        reply = ApiError::new(500, "InternalServerError", "The emulator's state file cannot be written.").into();
    }
    if effect.cut == Cut::After {
        return Err(Closed);
    }
    let own = effect.status.is_none();
    reply.headers.extend(effect.headers);
    add_common_headers(&request, &mut reply);
    if own {
        world.observer.tell(&request, &reply);
    }
    world.journal.answered(ticket, reply.status);
    Ok(if effect.cut == Cut::Within { truncated(response(reply)).await } else { response(reply) })
}

/// 200 with a JSON body that is made while it is sent.
fn streamed(pieces: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Response<Answer> {
    let frames = stream::iter(pieces.map(|piece| Ok(Frame::data(Bytes::from(piece)))));
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

/// The same answer, of which the second half of the body never comes.
async fn truncated(response: Response<Answer>) -> Response<Answer> {
    let (mut parts, body) = response.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let half = bytes.slice(..bytes.len() / 2);
    let frames = stream::unfold(Some(half), |half| async move {
        let Some(half) = half else {
            // What has been written is on its way before the connection breaks.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return Some((Err(Closed), None));
        };
        Some((Ok(Frame::data(half)), None))
    });
    Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
}

/// Reads a request whole, or says what is wrong with its body.
async fn read(request: hyper::Request<Incoming>) -> Result<Request, (Request, ApiError)> {
    let (parts, body) = request.into_parts();
    let mut request = Request {
        method: parts.method.as_str().to_owned(),
        path: decode(parts.uri.path()),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers(&parts.headers),
        body: Vec::new(),
    };
    match tokio::time::timeout(PATIENCE, Limited::new(body, BODY_LIMIT).collect()).await {
        Ok(Ok(collected)) => {
            request.body = collected.to_bytes().to_vec();
            Ok(request)
        }
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let message = format!("The request content size exceeds the maximum size of '{BODY_LIMIT}' bytes.");
            Err((request, ApiError::new(413, "RequestContentTooLarge", message)))
        }
        Ok(Err(error)) => Err((request, ApiError::invalid_content(&error.to_string()))),
        Err(_) => Err((request, ApiError::new(408, "RequestTimeout", "The request's body did not arrive in time."))),
    }
}

fn headers(map: &HeaderMap) -> Vec<(String, String)> {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}

fn add_common_headers(request: &Request, reply: &mut Reply) {
    let id = Uuid::new_v4().to_string();
    let correlation = request.header("x-ms-correlation-request-id").unwrap_or(&id).to_owned();
    let client = request.header("x-ms-client-request-id").map(str::to_owned);
    let mut add = |name: &str, value: String| {
        if !reply.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            reply.headers.push((name.into(), value));
        }
    };
    add("x-ms-routing-request-id", format!("EMULATOR:{id}"));
    add("x-ms-correlation-request-id", correlation);
    add("x-ms-request-id", id);
    add("Cache-Control", "no-cache".into());
    add("Pragma", "no-cache".into());
    add("Expires", "-1".into());
    add("Strict-Transport-Security", "max-age=31536000; includeSubDomains".into());
    add("X-Content-Type-Options", "nosniff".into());
    if let (Some(client), Some("true" | "True")) = (client, request.header("x-ms-return-client-request-id")) {
        add("x-ms-client-request-id", client);
    }
}

fn response(reply: Reply) -> Response<Answer> {
    let has_body = reply.body.is_some();
    let body = Full::new(Bytes::from(reply.body.unwrap_or_default())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if has_body {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    }
    for (name, value) in reply.headers {
        // A fault may ask for a header that HTTP has no room for; it goes without.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
