//! What a test may look at: each request with the answer that the emulator itself gave to it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use super::http::{Reply, Request};

/// A request and its answer. Answers of faults are not among them: those are the test's own.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The method in upper case.
    pub method: String,
    /// The path, decoded, with its casing as sent.
    pub path: String,
    /// The query as sent, without `?`.
    pub query: String,
    /// The request's headers, names in lower case.
    pub request_headers: Vec<(String, String)>,
    /// The request's body.
    pub request_body: Vec<u8>,
    /// The status.
    pub status: u16,
    /// The answer's headers.
    pub headers: Vec<(String, String)>,
    /// The answer's body.
    pub body: Option<Vec<u8>>,
}

/// Is told of each exchange, before the client is.
pub type Observe = dyn Fn(&Exchange) + Send + Sync;

/// The place for one observer; without one it costs nothing.
#[derive(Default)]
pub struct Observer {
    observe: OnceLock<Arc<Observe>>,
}

impl Observer {
    /// Sets the observer; the first one stays.
    pub fn set(&self, observe: Arc<Observe>) {
        // A second one is the caller's mistake and is not heard.
        let _ = self.observe.set(observe);
    }

    /// Tells the observer.
    pub fn tell(&self, request: &Request, reply: &Reply) {
        let Some(observe) = self.observe.get() else { return };
        observe(&Exchange {
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            request_headers: request.headers.clone(),
            request_body: request.body.clone(),
            status: reply.status,
            headers: reply.headers.clone(),
            body: reply.body.clone(),
        });
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Observer").field("set", &self.observe.get().is_some()).finish()
    }
}
