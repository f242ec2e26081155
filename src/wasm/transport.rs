//! `azure_core`'s transport over the host's `send`. Sockets, time-outs, proxies and certificates are the JavaScript half's.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use azure_core::{
    Bytes, Error, Result,
    error::{ErrorKind, ResultExt as _},
    http::{
        AsyncRawResponse, Body, HttpClient, Request,
        headers::{HeaderName, HeaderValue, Headers},
    },
};
use futures::AsyncReadExt as _;
use js_sys::Uint8Array;
use send_wrapper::SendWrapper;

use super::binding::{Answer, HostError, HostObject};

/// The transport for https, or for http to services of the machine itself.
pub struct Transport {
    object: Arc<SendWrapper<HostObject>>,
    near: bool,
}

impl Transport {
    /// A transport for https.
    pub fn new(object: Arc<SendWrapper<HostObject>>) -> Self {
        Self { object, near: false }
    }

    /// A transport for http to services of the machine itself.
    pub fn near(object: Arc<SendWrapper<HostObject>>) -> Self {
        Self { object, near: true }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Transport")
    }
}

#[async_trait]
impl HttpClient for Transport {
    async fn execute_request(&self, request: &Request) -> Result<AsyncRawResponse> {
        let body = read_body(request.body()).await?;
        let headers = request.headers().iter().flat_map(|(name, value)| [name.as_str().to_owned(), value.as_str().to_owned()]).collect();
        let sending = async {
            let body = (!body.is_empty()).then(|| Uint8Array::from(body.as_ref()));
            let (method, url) = (request.method().as_str(), request.url().as_str());
            let answer = if self.near {
                self.object.send_near(method, url, headers, body).await
            } else {
                self.object.send(method, url, headers, body).await
            };
            match answer {
                Ok(answer) => Ok(response(&answer)),
                Err(error) => Err(failure(&error.into())),
            }
        };
        SendWrapper::new(sending).await
    }
}

async fn read_body(body: &Body) -> Result<Bytes> {
    match body {
        Body::Bytes(bytes) => Ok(bytes.clone()),
        Body::SeekableStream(stream) => {
            let mut bytes = Vec::new();
            let read = stream.clone().read_to_end(&mut bytes).await;
            read.with_context(ErrorKind::Io, "failed to read the request's body")?;
            Ok(bytes.into())
        }
    }
}

fn response(answer: &Answer) -> AsyncRawResponse {
    let mut headers = Headers::new();
    let mut fields = answer.headers().into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        headers.insert(header_name(name), HeaderValue::from(value));
    }
    AsyncRawResponse::from_bytes(answer.status().into(), headers, answer.body().to_vec())
}

/// Names that have been seen are kept for ever: there are few. A name made of a `String` would bring Unicode's tables of letters into the
/// engine, which are 5 KB even when they are packed.
fn header_name(mut name: String) -> HeaderName {
    static SEEN: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    name.make_ascii_lowercase();
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = seen.get(name.as_str()).copied();
    HeaderName::from_static(known.unwrap_or_else(|| {
        let name: &str = name.leak();
        seen.insert(name);
        name
    }))
}

/// Only `Io` is tried again, by `azure_core` as well as by `arm`; what can never succeed must not be.
fn failure(error: &HostError) -> Error {
    let kind = if error.is_permanent() { ErrorKind::Other } else { ErrorKind::Io };
    Error::with_message(kind, error.message())
}
