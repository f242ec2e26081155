//! A host for tests: a script of requests and answers, a clock that jumps when somebody sleeps, variables and files in memory.
//!
//! The script is exact. A request out of order or too many fails at once; dropping the host with answers left over fails too.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use azure_core::{
    error::ErrorKind,
    http::{AsyncRawResponse, Body, HttpClient, Request, headers::Headers},
};
use futures::{FutureExt, channel::oneshot, future::BoxFuture};
use serde_json::Value;
use time::OffsetDateTime;

use super::{Digest, FileError, Host, Padding, PrivateKey, SignError};

/// When every scripted host starts: 2026-11-20 00:00 UTC, so many days after 1970.
#[must_use]
pub fn start() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::from_hours(20_777 * 24)
}

/// One expected request and its answer.
#[derive(Debug)]
pub struct Exchange {
    method: String,
    target: String,
    reply: Reply,
    takes: Duration,
    cancels: bool,
}

#[derive(Debug)]
enum Reply {
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    Lost(ErrorKind, String),
}

/// Expects a request whose path and query hold `target`, and answers 200 without a body until told otherwise.
pub fn on(method: &str, target: &str) -> Exchange {
    let reply = Reply::Answer { status: 200, headers: Vec::new(), body: Vec::new() };
    Exchange { method: method.to_owned(), target: target.to_owned(), reply, takes: Duration::ZERO, cancels: false }
}

impl Exchange {
    /// Answers with a status and a JSON body; `Null` is no body.
    #[must_use]
    pub fn reply(mut self, status: u16, body: &Value) -> Self {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.reply = Reply::Answer { status, headers: Vec::new(), body };
        self
    }

    /// Answers with a status and any text.
    #[must_use]
    pub fn reply_text(mut self, status: u16, text: &str) -> Self {
        self.reply = Reply::Answer { status, headers: Vec::new(), body: text.as_bytes().to_vec() };
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        if let Reply::Answer { headers, .. } = &mut self.reply {
            headers.push((name, value.into()));
        }
        self
    }

    /// Breaks the connection before the answer comes.
    #[must_use]
    pub fn lost(mut self) -> Self {
        self.reply = Reply::Lost(ErrorKind::Io, "connection reset by peer".to_owned());
        self
    }

    /// Refuses the connection with an error of the host's.
    #[must_use]
    pub fn refused(mut self, message: &str) -> Self {
        self.reply = Reply::Lost(ErrorKind::Connection, message.to_owned());
        self
    }

    /// Fails in a way that trying again cannot mend.
    #[must_use]
    pub fn impossible(mut self, message: &str) -> Self {
        self.reply = Reply::Lost(ErrorKind::Other, message.to_owned());
        self
    }

    /// Lets the answer take some time.
    #[must_use]
    pub fn takes(mut self, duration: Duration) -> Self {
        self.takes = duration;
        self
    }

    /// Has the agent ask the task to stop while the request is on its way.
    #[must_use]
    pub fn cancels(mut self) -> Self {
        self.cancels = true;
        self
    }
}

/// What was sent, as the script saw it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When, since the start.
    pub at: Duration,
    /// The method.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Header names in lower case, and values.
    pub headers: BTreeMap<String, String>,
    /// The body as text.
    pub body: String,
}

type Responder = Box<dyn FnMut(&Sent) -> Option<Exchange> + Send>;

#[derive(Default)]
struct State {
    script: VecDeque<Exchange>,
    responder: Option<Responder>,
    sent: Vec<Sent>,
    clock: Duration,
    variables: BTreeMap<String, String>,
    files: BTreeMap<String, Vec<u8>>,
    folders: Vec<String>,
    printed: Vec<String>,
    cancelled: bool,
    cancel_at: Option<Duration>,
    waiting: Vec<oneshot::Sender<()>>,
    unwritable: bool,
}

/// The host. See the module.
#[derive(Clone)]
pub struct ScriptedHost {
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for ScriptedHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ScriptedHost")
    }
}

impl ScriptedHost {
    /// A host with nothing in it, at `start`.
    #[expect(clippy::new_ret_no_self, reason = "the handle is what tests hold; the engine gets it as a host")]
    pub fn new() -> Arc<Handle> {
        Arc::new(Handle { host: Self { state: Arc::default() } })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the clock on, at most to where the agent asks the task to stop; says whether it does so on the way.
    fn advance(&self, by: Duration) -> bool {
        let mut state = self.state();
        let clock = state.clock + by;
        if let Some(at) = state.cancel_at.filter(|at| *at <= clock) {
            state.cancel_at = None;
            state.clock = state.clock.max(at);
            cancel(&mut state);
            return true;
        }
        state.clock = clock;
        false
    }

    fn answer(&self, sent: &Sent) -> Exchange {
        let mut state = self.state();
        state.sent.push(sent.clone());
        if let Some(responder) = state.responder.as_mut() {
            return responder(sent).unwrap_or_else(|| panic!("nobody answers {} {}", sent.method, sent.url));
        }
        let Some(exchange) = state.script.pop_front() else { panic!("unexpected request: {} {}", sent.method, sent.url) };
        assert!(
            exchange.method == sent.method && sent.url.contains(&exchange.target),
            "expected {} …{}…, got {} {}",
            exchange.method,
            exchange.target,
            sent.method,
            sent.url
        );
        exchange
    }
}

fn cancel(state: &mut State) {
    state.cancelled = true;
    for waiting in state.waiting.drain(..) {
        // A waiter that is gone needs no word.
        let _ = waiting.send(());
    }
}

/// The test's end of a scripted host; when it is dropped, nothing of the script may be left.
#[derive(Debug)]
pub struct Handle {
    host: ScriptedHost,
}

impl Handle {
    /// Appends to the script.
    pub fn expect(&self, exchanges: impl IntoIterator<Item = Exchange>) {
        self.host.state().script.extend(exchanges);
    }

    /// Answers by a function in place of the script.
    pub fn respond(&self, responder: impl FnMut(&Sent) -> Option<Exchange> + Send + 'static) {
        self.host.state().responder = Some(Box::new(responder));
    }

    /// Sets an environment variable.
    pub fn set_variable(&self, name: &str, value: &str) {
        self.host.state().variables.insert(name.to_owned(), value.to_owned());
    }

    /// Adds a file.
    pub fn add_file(&self, path: &str, contents: impl Into<Vec<u8>>) {
        self.host.state().files.insert(path.to_owned(), contents.into());
    }

    /// Adds a folder.
    pub fn add_folder(&self, path: &str) {
        self.host.state().folders.push(path.to_owned());
    }

    /// Makes every attempt to write a file fail.
    pub fn forbid_writing(&self) {
        self.host.state().unwritable = true;
    }

    /// What was sent so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.host.state().sent.clone()
    }

    /// The lines that were printed so far.
    pub fn printed(&self) -> Vec<String> {
        self.host.state().printed.clone()
    }

    /// The files that are there now.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.host.state().files.clone()
    }

    /// Has the agent ask the task to stop, now.
    pub fn cancel(&self) {
        cancel(&mut self.host.state());
    }

    /// Has the agent ask the task to stop when the clock gets there.
    pub fn cancel_at(&self, at: Duration) {
        self.host.state().cancel_at = Some(at);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let left = &self.host.state().script;
            assert!(left.is_empty(), "requests that never came: {left:?}");
        }
    }
}

impl Host for Handle {
    fn http_client(&self) -> Arc<dyn HttpClient> {
        Arc::new(self.host.clone())
    }

    fn identity_client(&self) -> Arc<dyn HttpClient> {
        Arc::new(self.host.clone())
    }

    /// No hash, but as many bytes as one has.
    fn digest(&self, digest: Digest, data: &[u8]) -> Vec<u8> {
        let sum = data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        vec![sum; if digest == Digest::Sha1 { 20 } else { 32 }]
    }

    /// No signature, but one that tells how it was asked for.
    fn sign(&self, key: &PrivateKey, padding: Padding, _message: &[u8]) -> Result<Vec<u8>, SignError> {
        if key.der.bytes().is_empty() {
            return Err(SignError("an empty key".to_owned()));
        }
        Ok(format!("{padding:?}").into_bytes())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let host = self.host.clone();
        // The clock jumps when the sleep is first polled, and the sleeper's rivals get their turn first.
        async move {
            if host.advance(duration) {
                futures::future::pending::<()>().await;
            }
        }
        .boxed()
    }

    fn now(&self) -> OffsetDateTime {
        start() + self.host.state().clock
    }

    fn elapsed(&self) -> Duration {
        self.host.state().clock
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.host.state().variables.get(name).cloned()
    }

    fn variable_names(&self) -> Vec<String> {
        self.host.state().variables.keys().cloned().collect()
    }

    fn remove_variable(&self, name: &str) {
        self.host.state().variables.remove(name);
    }

    fn read_file(&self, path: &str) -> Result<Vec<u8>, FileError> {
        if self.is_directory(path) {
            return Err(FileError::IsDirectory);
        }
        self.host.state().files.get(path).cloned().ok_or(FileError::NotFound)
    }

    fn list_files(&self, folder: &str) -> Result<Vec<String>, FileError> {
        let below = format!("{folder}/");
        let state = self.host.state();
        let files: Vec<_> = state.files.keys().filter_map(|path| Some(path.strip_prefix(&below)?.to_owned())).collect();
        if files.is_empty() { Err(FileError::NotFound) } else { Ok(files) }
    }

    fn write_file(&self, path: &str, contents: &[u8]) -> Result<(), FileError> {
        if self.host.state().unwritable {
            return Err(FileError::PermissionDenied);
        }
        self.host.state().files.insert(path.to_owned(), contents.to_owned());
        Ok(())
    }

    fn join_path(&self, folder: &str, path: &str) -> String {
        if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", folder.trim_end_matches('/')) }
    }

    fn is_directory(&self, path: &str) -> bool {
        self.host.state().folders.iter().any(|folder| folder == path)
    }

    fn print(&self, line: &str) {
        self.host.state().printed.push(line.to_owned());
    }

    fn cancelled(&self) -> BoxFuture<'static, ()> {
        let host = self.host.clone();
        async move {
            let waiting = {
                let mut state = host.state();
                if state.cancelled {
                    return;
                }
                let (sender, receiver) = oneshot::channel();
                state.waiting.push(sender);
                receiver
            };
            // A sender that is dropped unsent means that the host is gone: nobody will ever ask.
            if waiting.await.is_err() {
                futures::future::pending::<()>().await;
            }
        }
        .boxed()
    }

    fn is_cancelled(&self) -> bool {
        self.host.state().cancelled
    }
}

#[async_trait::async_trait]
impl HttpClient for ScriptedHost {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let body = match request.body() {
            Body::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Body::SeekableStream(_) => panic!("the engine sends no streams"),
        };
        let headers = request.headers().iter().map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()));
        let sent = Sent {
            at: self.state().clock,
            method: request.method().as_ref().to_owned(),
            url: request.url().to_string(),
            headers: headers.collect(),
            body,
        };
        let exchange = self.answer(&sent);
        self.advance(exchange.takes);
        if exchange.cancels {
            cancel(&mut self.state());
        }
        match exchange.reply {
            Reply::Answer { status, headers, body } => {
                let mut answer = Headers::new();
                for (name, value) in headers {
                    answer.insert(name, value);
                }
                Ok(AsyncRawResponse::from_bytes(status.into(), answer, body))
            }
            Reply::Lost(kind, message) => Err(azure_core::Error::with_message(kind, message)),
        }
    }
}
