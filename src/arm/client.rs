//! The client: sending with retry, paging, waiting. Every wait ends by its deadline and by the agent's wish to stop.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use azure_core::{
    credentials::TokenCredential,
    http::{
        ClientOptions, Context, Method, Pipeline, PipelineSendOptions, RawResponse, Request as HttpRequest, RetryOptions, Transport, Url,
        policies::{Policy, auth::BearerTokenAuthorizationPolicy},
    },
};
use futures::{
    FutureExt,
    future::{Either, select},
    pin_mut,
};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{
    Cloud, Error, Operation, Outside, Progress, Request, Response, Wait,
    budget::Budgets,
    credential::{SecretRegistrar, UserAgent},
    error,
    operation::{Stage, Step, interval},
    retry::{self, Failure, Limits},
    scrub,
};
use crate::host::Host;

/// A client of one resource manager, signed in by one credential.
#[derive(Clone)]
pub struct Client {
    host: Arc<dyn Host>,
    resource_manager: String,
    pipeline: Pipeline,
    /// For addresses that sign for themselves: no token goes along.
    open: Pipeline,
    correlation_id: String,
    limits: Limits,
    heeds_cancel: bool,
    budgets: Arc<Budgets>,
    register: SecretRegistrar,
}

/// How long the answer to a request that changes something is still awaited once the agent has asked to stop: without it, nobody would
/// know what goes on in Azure. The agent kills the task after ten seconds.
const GRACE: Duration = Duration::from_secs(2);

impl Client {
    /// A client; nothing is sent yet.
    pub fn new(host: Arc<dyn Host>, cloud: &Cloud, credential: Arc<dyn TokenCredential>) -> Self {
        let authorization: Arc<dyn Policy> = Arc::new(BearerTokenAuthorizationPolicy::new(credential, [cloud.token_scope.clone()]));
        let options = ClientOptions {
            // Retry is ours alone: it knows deadlines, cancellation and what a lost answer may mean.
            retry: RetryOptions::none(),
            transport: Some(Transport::new(host.http_client())),
            ..Default::default()
        };
        let open = Pipeline::new(None, None, options.clone(), Vec::new(), vec![Arc::new(UserAgent)], None);
        let pipeline = Pipeline::new(None, None, options, Vec::new(), vec![Arc::new(UserAgent), authorization], None);
        Self {
            host,
            resource_manager: cloud.resource_manager.clone(),
            pipeline,
            open,
            correlation_id: uuid::Uuid::new_v4().to_string(),
            limits: Limits::default(),
            heeds_cancel: true,
            budgets: Arc::default(),
            register: Arc::new(|_| {}),
        }
    }

    /// The same client, which tells of the secrets that the service hands out: keys, and addresses that sign for themselves.
    #[must_use]
    pub fn registering(self, register: SecretRegistrar) -> Self {
        Self { register, ..self }
    }

    /// Tells of a secret that the service has handed out, before anything else is done with it.
    pub fn register_secret(&self, value: &str) {
        (self.register)(value);
    }

    /// Tells of an address that signs for itself: of its whole query, and of the signature alone as it stands there and decoded.
    pub fn register_signed(&self, address: &str) {
        let Some((_, query)) = address.split_once('?') else { return };
        self.register_secret(query);
        for signature in query.split('&').filter_map(|parameter| parameter.strip_prefix("sig=")) {
            self.register_secret(signature);
            self.register_secret(&percent_decode_str(signature).decode_utf8_lossy());
        }
    }

    /// The same client for cleaning up after a cancellation: it goes on although the agent has asked to stop, and gives up after `total`.
    #[must_use]
    pub fn for_clean_up(&self, total: Duration) -> Self {
        Self { limits: Limits { total, ..self.limits }, heeds_cancel: false, ..self.clone() }
    }

    /// The same client for what this run has just made: Azure's caches may not know it yet, nor the roles on it.
    #[must_use]
    pub fn for_what_is_new(&self) -> Self {
        Self { limits: Limits { of_new: true, ..self.limits }, ..self.clone() }
    }

    /// The machine below.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// The `x-ms-correlation-request-id` of all requests of this client.
    pub fn correlation_id(&self) -> &str {
        &self.correlation_id
    }

    /// Sends a request and takes any 2xx answer.
    ///
    /// Failures that may pass are tried again. A repeated DELETE that finds nothing has succeeded the first time.
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let Delivered::Answer(response) = self.deliver(&request, false).await? else {
            return Err(Error::Answer { request: request.describe(), problem: "it was not asked for".to_owned() });
        };
        if response.is_success() { Ok(response) } else { Err(Error::from_response(&request.describe(), &response)) }
    }

    /// Sends a request to another service and takes any 2xx answer. Failures that may pass are tried again.
    pub async fn send_outside(&self, request: &Outside) -> Result<Response, Error> {
        let (url, describe) = (request.address()?, request.describe());
        let sent = Sent { url: &url, method: request.method, payload: Content::Outside(request), describe: &describe, looked_at: None };
        let Delivered::Answer(response) = self.attempt(&sent, self.limits).await?.0 else {
            return Err(Error::Answer { request: describe, problem: "it was not asked for".to_owned() });
        };
        if response.is_success() { Ok(response) } else { Err(Error::from_response(&describe, &response)) }
    }

    /// Sleeps, and ends early when the agent asks to stop.
    pub async fn sleep_during(&self, duration: Duration, during: &str) -> Result<(), Error> {
        self.sleep(duration).await.map_err(|()| Error::Cancelled { during: during.to_owned() })
    }

    /// Sends a request; a 404 answer is `None`.
    ///
    /// A 404 that says that the subscription or the type is unknown is an error: what was asked for may well exist.
    pub async fn find(&self, request: Request) -> Result<Option<Value>, Error> {
        match self.send(request).await {
            Ok(response) => Ok(Some(response.body)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All items of a list, over all its pages.
    pub async fn list(&self, request: Request) -> Result<Vec<Value>, Error> {
        let mut items = Vec::new();
        self.list_each(request, &mut |item| items.push(item)).await?;
        Ok(items)
    }

    /// Hands over a list item by item. No more than one page is in memory, however long the list is.
    pub async fn list_each(&self, request: Request, each: &mut (dyn FnMut(Value) + Send)) -> Result<(), Error> {
        let describe = request.describe();
        let unusable = |problem: String| Error::Answer { request: describe.clone(), problem };
        let mut seen = HashSet::new();
        let mut page = self.send(request).await?.body;
        loop {
            match page.get_mut("value").map(Value::take) {
                Some(Value::Array(values)) => values.into_iter().for_each(&mut *each),
                _ => return Err(unusable("it holds no list".to_owned())),
            }
            let Some(link) = page.get("nextLink").and_then(Value::as_str).filter(|link| !link.is_empty()) else { return Ok(()) };
            let url = self.own_url(link).map_err(|problem| unusable(format!("the next page's address {problem}")))?;
            if !seen.insert(url.to_string()) {
                return Err(unusable("its pages go round in a circle".to_owned()));
            }
            let response = self.get(url, &describe, self.limits).await?;
            if !response.is_success() {
                return Err(Error::from_response(&describe, &response));
            }
            page = response.body;
        }
    }

    /// Starts what may be a long-running operation. An answer that is already final makes a finished operation.
    ///
    /// Where the answer to a PUT or POST was lost, the resource is looked at before the request is repeated: what is being done to it is
    /// taken for what was asked.
    pub async fn start(&self, request: Request) -> Result<Operation, Error> {
        let response = match self.deliver(&request, true).await? {
            Delivered::Answer(response) => response,
            Delivered::Found(operation) => return Ok(*operation),
        };
        let mut operation = self.operation(&request, response.status);
        if !response.is_success() {
            return Err(Error::from_response(&request.describe(), &response));
        }
        operation.retry_after = retry::retry_after(&response.headers, self.host.now());
        match operation.accepted(&response) {
            Step::Next { stage, .. } => Ok(Operation { stage, ..operation }),
            Step::Failed(error) => Err(error),
        }
    }

    /// An operation that somebody else has started: the resource at the request's path is waited for by its `provisioningState`.
    ///
    /// Nothing is sent. Only the path and the version of the request count.
    pub fn follow(&self, request: &Request) -> Operation {
        let request = Request { method: Method::Put, body: None, ..request.clone() };
        let operation = self.operation(&request, 200);
        Operation { request: format!("GET {}", request.path), ..operation }
    }

    /// Waits for an operation and returns the final resource (`Null` when there is none).
    pub async fn wait(&self, operation: &Operation, wait: Wait<'_>) -> Result<Value, Error> {
        let mut operation = operation.clone();
        let begun = self.host.elapsed();
        let mut status = "Running".to_owned();
        let mut retry_after = operation.retry_after;
        let mut at_once = false;
        loop {
            if let Stage::Done(result) = operation.stage {
                return Ok(result);
            }
            let elapsed = self.host.elapsed().saturating_sub(operation.accepted);
            if !at_once {
                self.pause(interval(elapsed, retry_after), begun, &operation, &status, wait.deadline).await?;
            }
            let response = self.poll(&operation, begun, wait.deadline).await.map_err(|error| match error {
                Error::Cancelled { .. } => Error::Cancelled { during: operation.in_words(&status, elapsed) },
                other => other,
            })?;
            retry_after = response.is_success().then(|| retry::retry_after(&response.headers, self.host.now())).flatten();
            let elapsed = self.host.elapsed().saturating_sub(operation.accepted);
            match operation.polled(&response, elapsed) {
                Step::Failed(error) => return Err(error),
                Step::Next { stage, status: now, percent } => {
                    if operation.stage != Stage::Final {
                        (wait.observe)(&Progress { status: now.clone(), elapsed, percent });
                    }
                    // What has succeeded is only to be fetched: that waits for nothing.
                    at_once = operation.is_followed_by_result(&stage);
                    status = now;
                    operation.stage = stage;
                }
            }
        }
    }

    /// Asks again and again, at an operation's pace, until the condition yields something. The first request is made at once.
    ///
    /// A 404 is shown to the condition as `Null`. The words for the progress are the resource's `provisioningState`.
    pub async fn wait_until<T>(
        &self,
        request: Request,
        wait: Wait<'_>,
        condition: impl Fn(&Value) -> Option<T> + Send,
    ) -> Result<T, Error> {
        let operation = self.follow(&request);
        let begun = self.host.elapsed();
        loop {
            let value = self.find(request.clone()).await?.unwrap_or_default();
            if let Some(result) = condition(&value) {
                return Ok(result);
            }
            let elapsed = self.host.elapsed().saturating_sub(begun);
            let status = value["properties"]["provisioningState"].as_str().unwrap_or("Running").to_owned();
            self.pause(interval(elapsed, None), begun, &operation, &status, wait.deadline).await?;
            (wait.observe)(&Progress { status, elapsed, percent: None });
        }
    }

    /// Sleeps before a poll, no longer than the deadline allows, and ends early when the agent asks to stop.
    async fn pause(&self, pause: Duration, begun: Duration, operation: &Operation, status: &str, deadline: Duration) -> Result<(), Error> {
        let waited = self.host.elapsed().saturating_sub(begun);
        let left = deadline.saturating_sub(waited);
        if left.is_zero() {
            return Err(operation.overdue(status, waited));
        }
        self.sleep(pause.min(left)).await.map_err(|()| {
            let elapsed = self.host.elapsed().saturating_sub(operation.accepted);
            Error::Cancelled { during: operation.in_words(status, elapsed) }
        })
    }

    async fn poll(&self, operation: &Operation, begun: Duration, deadline: Duration) -> Result<Response, Error> {
        let url = match &operation.stage {
            Stage::Status { url, .. } | Stage::Result { url } => self.own_url(url).map_err(|problem| Error::Answer {
                request: operation.request.clone(),
                problem: format!("the operation's address {problem}"),
            })?,
            _ => Request::get(operation.resource.as_str(), operation.api_version).url(&self.resource_manager)?,
        };
        let waited = self.host.elapsed().saturating_sub(begun);
        // A wait outlives a service's bad minutes, but not its own deadline.
        let limits = Limits {
            attempts: 12,
            total: deadline.saturating_sub(waited).max(Duration::from_secs(10)),
            // What was made may be missing in the first answers that are asked for it.
            of_new: operation.stage == Stage::Final,
        };
        self.get(url, &operation.request, limits).await
    }

    /// Looks whether a PUT or POST whose answer was lost is being carried out, or was.
    ///
    /// A resource that is being made or changed is taken for the request's own, and so is one that was not there before. Anything else
    /// tells that the request did not arrive, or has ended: repeating it asks for the same state once more.
    async fn look(&self, request: &Request) -> Result<Option<Operation>, Error> {
        let path = match request.method {
            Method::Post => request.path.rsplit_once('/').map_or(request.path.as_str(), |(resource, _)| resource),
            _ => request.path.as_str(),
        };
        let found = match self.find(Request::get(path, request.api_version)).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            // A resource that may be written and not be read is repeated blindly; a dead service stays an error.
            Err(error) if matches!(error.status(), Some(400..500)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let operation = Operation { resource: path.to_owned(), status: 201, ..self.operation(request, 201) };
        // The resource's own state tells about a POST as it does about a PUT.
        let observed = Operation { method: Method::Put, ..operation };
        let answer = Response { status: 200, headers: Vec::new(), body: found };
        match observed.accepted(&answer) {
            Step::Next { stage: Stage::Resource, .. } => Ok(Some(Operation { stage: Stage::Resource, ..observed })),
            Step::Next { stage, .. } if request.makes_new && bears_tags(&answer.body, request) => Ok(Some(Operation { stage, ..observed })),
            Step::Failed(error) if request.makes_new && bears_tags(&answer.body, request) => Err(error),
            _ => Ok(None),
        }
    }

    fn operation(&self, request: &Request, status: u16) -> Operation {
        Operation {
            resource: request.path.clone(),
            status,
            method: request.method,
            api_version: request.api_version,
            request: request.describe(),
            accepted: self.host.elapsed(),
            stage: Stage::Resource,
            retry_after: None,
        }
    }

    /// Sends a request until there is an answer to keep.
    async fn deliver(&self, request: &Request, looks: bool) -> Result<Delivered, Error> {
        let url = request.url(&self.resource_manager)?;
        let looked_at = Some(request).filter(|_| looks && matches!(request.method, Method::Put | Method::Post | Method::Patch));
        let sent = Sent { url: &url, method: request.method, payload: Content::of(request), describe: &request.describe(), looked_at };
        let limits = Limits { of_new: self.limits.of_new || request.about_new, ..self.limits };
        let (delivered, uncertain) = self.attempt(&sent, limits).await?;
        // The try before has deleted it.
        let was_deleted = |response: &Response| uncertain && matches!(response.status, 204 | 404) && request.method == Method::Delete;
        Ok(match delivered {
            Delivered::Answer(response) if was_deleted(&response) => {
                Delivered::Answer(Response { status: 200, headers: response.headers, body: Value::Null })
            }
            other => other,
        })
    }

    async fn get(&self, url: Url, describe: &str, limits: Limits) -> Result<Response, Error> {
        let sent = Sent { url: &url, method: Method::Get, payload: Content::None, describe, looked_at: None };
        match self.attempt(&sent, limits).await? {
            (Delivered::Answer(response), _) => Ok(response),
            (Delivered::Found(_), _) => Err(Error::Answer { request: describe.to_owned(), problem: "it was not asked for".to_owned() }),
        }
    }

    /// Tells besides whether an earlier try may have been carried out.
    async fn attempt(&self, sent: &Sent<'_>, limits: Limits) -> Result<(Delivered, bool), Error> {
        let begun = self.host.elapsed();
        let mut uncertain = false;
        let mut refused = 0;
        for attempt in 1.. {
            let mut turn = self.budgets.turn(sent.method, sent.url);
            while let Some(Err(wait)) = turn.as_mut().map(|turn| turn.take(self.host.elapsed())) {
                self.sleep(wait).await.map_err(|()| Error::Cancelled { during: format!("{}, which was not sent", sent.describe) })?;
            }
            let outcome = self.exchange(sent).await?;
            if let (Some(turn), Ok(response)) = (turn, &outcome) {
                let quiet = retry::retry_after(&response.headers, self.host.now());
                turn.answered(response.status, &response.headers, quiet, self.host.elapsed());
            }
            let mut headers = Vec::new();
            let failure = match &outcome {
                Ok(response) if response.is_success() => None,
                Ok(response) => Some(Failure::Answer { status: response.status, headers: &response.headers, code: response.error_code() }),
                Err(error) => error::pipeline_failure(error, &mut headers),
            };
            refused += u32::from(matches!(&outcome, Ok(response) if response.status == 401));
            if failure.is_some_and(|failure| retry::tries_another_token(failure, refused)) {
                continue;
            }
            // Linked to what is new, only the roles on that are.
            let links_new = sent.looked_at.is_some_and(|request| request.links_new) && failure.is_some_and(retry::is_about_link);
            let limits = Limits { of_new: limits.of_new || links_new, ..limits };
            let elapsed = self.host.elapsed().saturating_sub(begun);
            let delay = failure.and_then(|failure| retry::next_delay(failure, attempt, elapsed, self.host.now(), limits));
            let may_be_done = failure.is_some_and(retry::is_uncertain);
            // Our own operation may be in the way of its repetition.
            let conflicts = uncertain && matches!(&outcome, Ok(response) if response.status == 409);
            uncertain |= may_be_done;
            if let Some(delay) = delay {
                self.sleep(delay).await.map_err(|()| Error::Cancelled { during: sent.doubtful(uncertain) })?;
            }
            if let Some(request) = sent.looked_at.filter(|_| may_be_done || conflicts)
                && let Some(operation) = Box::pin(self.look(request)).await?
            {
                return Ok((Delivered::Found(Box::new(operation)), uncertain));
            }
            if delay.is_none() {
                let response = outcome.map_err(|error| Error::from_pipeline(sent.describe, &error))?;
                return Ok((Delivered::Answer(response), uncertain));
            }
        }
        unreachable!("attempts end by their number or by the time")
    }

    /// One try. The outer error is the agent's wish to stop.
    async fn exchange(&self, sent: &Sent<'_>) -> Result<azure_core::Result<Response>, Error> {
        let Sent { url, method, payload, describe, .. } = *sent;
        let changes = !matches!(method, Method::Get | Method::Head);
        if self.heeds_cancel && self.host.is_cancelled() {
            return Err(Error::Cancelled { during: format!("{describe}, which was not sent") });
        }
        let mut request = HttpRequest::new(url.clone(), method);
        payload.put_into(&mut request);
        let pipeline = match payload {
            Content::Outside(_) => &self.open,
            Content::None | Content::Json(_) => {
                request.insert_header("accept", "application/json");
                request.insert_header("x-ms-correlation-request-id", self.correlation_id.clone());
                &self.pipeline
            }
        };
        let context = Context::new();
        let options = PipelineSendOptions { skip_checks: true, ..Default::default() };
        let sending = pipeline.send(&context, &mut request, Some(options));
        let stopping = self.stopping(if changes { GRACE } else { Duration::ZERO });
        pin_mut!(sending, stopping);
        match select(sending, stopping).await {
            Either::Left((result, _)) => Ok(result.map(Response::from)),
            Either::Right(_) if changes => {
                Err(Error::Cancelled { during: format!("{describe}, whose answer did not come; Azure may carry it out") })
            }
            Either::Right(_) => Err(Error::Cancelled { during: describe.to_owned() }),
        }
    }

    /// Resolves some time after the agent has asked to stop; never for a client that cleans up.
    async fn stopping(&self, grace: Duration) {
        if !self.heeds_cancel {
            return std::future::pending().await;
        }
        self.host.cancelled().await;
        if !grace.is_zero() {
            self.host.sleep(grace).await;
        }
    }

    /// Sleeps; an error means that the agent has asked to stop.
    async fn sleep(&self, duration: Duration) -> Result<(), ()> {
        if duration.is_zero() {
            return Ok(());
        }
        let stopping = self.stopping(Duration::ZERO).boxed();
        match select(stopping, self.host.sleep(duration)).await {
            Either::Left(_) => Err(()),
            Either::Right(_) => Ok(()),
        }
    }

    /// An address that the service gave, if it is the resource manager's own: the token goes nowhere else.
    fn own_url(&self, link: &str) -> Result<Url, String> {
        let shown = scrub::url(link);
        let base = Url::parse(&self.resource_manager).map_err(|error| format!("'{shown}' cannot be used: {error}"))?;
        let url = base.join(link).map_err(|error| format!("'{shown}' cannot be used: {error}"))?;
        let (own, given) = (base.host_str().unwrap_or_default(), url.host_str().unwrap_or_default());
        let same_host = given == own || given.ends_with(&format!(".{own}"));
        let same_port = url.port_or_known_default() == base.port_or_known_default();
        if url.scheme() == "https" && same_host && same_port {
            Ok(url)
        } else {
            Err(format!("'{shown}' leads away from the resource manager at {own}"))
        }
    }
}

/// One request on the wire.
struct Sent<'a> {
    url: &'a Url,
    method: Method,
    payload: Content<'a>,
    describe: &'a str,
    /// The request whose resource is to be looked at before it is repeated.
    looked_at: Option<&'a Request>,
}

impl Sent<'_> {
    /// What is to be said of a request that is not sent again.
    fn doubtful(&self, uncertain: bool) -> String {
        let changes = !matches!(self.method, Method::Get | Method::Head);
        if uncertain && changes {
            format!("{}, whose answer did not come; Azure may carry it out", self.describe)
        } else {
            self.describe.to_owned()
        }
    }
}

/// What is sent besides method and address.
#[derive(Clone, Copy)]
enum Content<'a> {
    None,
    Json(&'a Value),
    Outside(&'a Outside),
}

impl<'a> Content<'a> {
    fn of(request: &'a Request) -> Self {
        request.body.as_ref().map_or(Self::None, Self::Json)
    }

    fn put_into(self, request: &mut HttpRequest) {
        match self {
            Self::None => {}
            Self::Json(body) => {
                request.insert_header("content-type", "application/json");
                request.set_body(body.to_string());
            }
            Self::Outside(outside) => {
                for (name, value) in &outside.headers {
                    request.insert_header(*name, value.clone());
                }
                if !outside.body.is_empty() {
                    request.set_body(outside.body.clone());
                } else if !matches!(outside.method, Method::Get | Method::Head) {
                    // Storage wants to be told also of an empty body.
                    request.insert_header("content-length", "0");
                }
            }
        }
    }
}

/// What came of a request.
enum Delivered {
    /// An answer.
    Answer(Response),
    /// No answer, but the operation that was to be started.
    Found(Box<Operation>),
}

/// Whether a resource bears all tags that a PUT gives it: then it may well be what that PUT has made.
fn bears_tags(found: &Value, request: &Request) -> bool {
    let wanted = request.body.as_ref().and_then(|body| body["tags"].as_object());
    wanted.into_iter().flatten().all(|(name, value)| found["tags"][name.as_str()] == *value)
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").field("resource_manager", &self.resource_manager).finish_non_exhaustive()
    }
}

impl From<RawResponse> for Response {
    fn from(raw: RawResponse) -> Self {
        let headers = raw.headers().iter().map(|(name, value)| (name.as_str().to_ascii_lowercase(), value.as_str().to_owned())).collect();
        let bytes: &[u8] = raw.body();
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let body = match serde_json::from_slice(bytes) {
            _ if bytes.iter().all(u8::is_ascii_whitespace) => Value::Null,
            Ok(body) => body,
            Err(_) => Value::String(String::from_utf8_lossy(bytes).into_owned()),
        };
        Self { status: raw.status().into(), headers, body }
    }
}

#[cfg(test)]
mod tests;
