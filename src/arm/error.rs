//! Errors of Azure Resource Manager, with nested details unwrapped, the correlation id, and a hint that names the fix.
//!
//! Everything that came from the wire is scrubbed as it enters an error: no token, secret or signature can leave by one.

use std::{error::Error as StdError, fmt, time::Duration};

use serde_json::Value;

use super::{Response, hint, retry::Failure, scrub};

/// Why a request or an operation failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The service answered with an error, or an operation ended with one.
    #[error("{code}: {message}")]
    Service {
        /// The HTTP status, or 200 for an operation that ended as Failed.
        status: u16,
        /// Azure's error code of the innermost error.
        code: String,
        /// Its message.
        message: String,
        /// All errors from the outermost to the innermost, unwrapped.
        details: Vec<Detail>,
        /// `x-ms-correlation-request-id`.
        correlation_id: Option<String>,
        /// What was asked: method and path.
        request: Box<str>,
    },
    /// Microsoft Entra gave no token.
    #[error("failed to sign in{}{message}", code.as_ref().map_or(String::from(": "), |code| format!(": {code}: ")))]
    SignIn {
        /// The error's code, such as `AADSTS7000215`.
        code: Option<String>,
        /// What Microsoft Entra, or the pipeline's token service, said.
        message: String,
        /// What lay below.
        source: Option<Box<Cause>>,
    },
    /// No answer came.
    #[error("failed to reach the service for {request}")]
    Connection {
        /// What was asked: method and path.
        request: String,
        /// What the network said.
        source: Box<Cause>,
    },
    /// The answer is none that Azure Resource Manager gives.
    #[error("the answer to {request} cannot be used: {problem}")]
    Answer {
        /// What was asked.
        request: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A request cannot be made.
    #[error("'{url}' is not an https address ({request})")]
    Address {
        /// What was to be asked.
        request: String,
        /// The address.
        url: String,
    },
    /// Waiting took longer than was allowed. The operation may go on in Azure.
    #[error("{resource} was still '{status}' after {}", seconds(*waited))]
    DeadlineExceeded {
        /// The path of the resource.
        resource: String,
        /// Where its progress can be asked.
        operation_url: Option<String>,
        /// The last status.
        status: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The agent asked the task to stop.
    #[error("the task was cancelled during {during}")]
    Cancelled {
        /// What was going on, and goes on in Azure.
        during: String,
    },
}

/// One error of a nest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// Azure's error code.
    pub code: String,
    /// Azure's message.
    pub message: String,
    /// What it is about.
    pub target: Option<String>,
}

/// An error below, kept as scrubbed text: the originals carry requests, and with them tokens.
#[derive(Clone, Debug)]
pub struct Cause {
    message: String,
    source: Option<Box<Cause>>,
}

impl Error {
    /// Azure's code of the innermost error, when the service or Microsoft Entra answered with one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Service { code, .. } => Some(code),
            Self::SignIn { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// Whether any error of the nest has this code, without case.
    pub fn has_code(&self, code: &str) -> bool {
        self.code().is_some_and(|own| own.eq_ignore_ascii_case(code))
            || self.details().iter().any(|detail| detail.code.eq_ignore_ascii_case(code))
    }

    /// The HTTP status, when the service answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Service { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// All errors of the nest, outermost first.
    pub fn details(&self) -> &[Detail] {
        match self {
            Self::Service { details, .. } => details,
            _ => &[],
        }
    }

    /// Azure's id for support requests.
    pub fn correlation_id(&self) -> Option<&str> {
        match self {
            Self::Service { correlation_id, .. } => correlation_id.as_deref(),
            _ => None,
        }
    }

    /// Whether the agent asked the task to stop.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled { .. })
    }

    /// Whether what was asked for may have been begun, or may go on, although the request or the wait failed.
    pub fn may_go_on(&self) -> bool {
        match self {
            Self::Cancelled { .. } | Self::DeadlineExceeded { .. } | Self::Connection { .. } | Self::Answer { .. } => true,
            Self::Service { status, .. } => matches!(status, 408 | 500..),
            Self::SignIn { .. } | Self::Address { .. } => false,
        }
    }

    /// Whether what was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether the service knows the place, and what was asked for is not there.
    ///
    /// A 404 that says that the subscription or the type is unknown does not count: what was asked for may well exist.
    pub fn is_missing(&self) -> bool {
        self.is_not_found() && !["SubscriptionNotFound", "InvalidResourceType"].iter().any(|code| self.has_code(code))
    }

    /// What a user can do about it.
    pub fn hint(&self) -> Option<String> {
        hint::of(self)
    }

    /// The error in a service's answer.
    pub(super) fn from_response(request: &str, response: &Response) -> Self {
        let details = match &response.body {
            Value::String(text) => {
                vec![Detail { code: header_code(response), message: scrub::text(&plain_text(text)), target: None }]
            }
            body => unwrap(body),
        };
        Self::service(request, response, details)
    }

    /// The error of an operation that ended as Failed or Canceled; `error` is the error object, if there is one.
    pub(super) fn from_operation(request: &str, response: &Response, status: &str, error: &Value) -> Self {
        let mut details = unwrap(error);
        if details.is_empty() {
            details.push(Detail { code: status.to_owned(), message: "the operation gave no reason".to_owned(), target: None });
        }
        Self::service(request, response, details)
    }

    fn service(request: &str, response: &Response, mut details: Vec<Detail>) -> Self {
        if details.is_empty() {
            details.push(Detail { code: header_code(response), message: "the service gave no reason".to_owned(), target: None });
        }
        let innermost = innermost(&details);
        Self::Service {
            status: response.status,
            code: innermost.code.clone(),
            message: innermost.message.clone(),
            correlation_id: response.header("x-ms-correlation-request-id").map(str::to_owned),
            request: request.into(),
            details,
        }
    }

    /// Sorts an error of the pipeline: sign-in or connection.
    pub(super) fn from_pipeline(request: &str, error: &azure_core::Error) -> Self {
        use azure_core::error::ErrorKind;
        let cause = Cause::from_error(error);
        match error.kind() {
            // A host calls by `Other` what can never succeed, such as a certificate that is not trusted.
            ErrorKind::Io | ErrorKind::Connection | ErrorKind::Other => {
                Self::Connection { request: request.to_owned(), source: Box::new(cause) }
            }
            ErrorKind::Credential | ErrorKind::HttpResponse { .. } => sign_in(error, cause),
            ErrorKind::DataConversion => Self::Answer { request: request.to_owned(), problem: cause.message },
        }
    }
}

/// The code that storage services give in a header, since their bodies are XML or none; else the status's name.
fn header_code(response: &Response) -> String {
    response.header("x-ms-error-code").map_or_else(|| status_name(response.status), str::to_owned)
}

/// Whether an error of the pipeline may pass by itself: a broken connection, or a sign-in service out of order.
pub(super) fn pipeline_failure<'a>(error: &azure_core::Error, headers: &'a mut Vec<(String, String)>) -> Option<Failure<'a>> {
    use azure_core::error::ErrorKind;
    if is_certificate_problem(&Cause::from_error(error).chain()) {
        return None;
    }
    let mut current: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = current {
        match error.downcast_ref::<azure_core::Error>().map(azure_core::Error::kind) {
            Some(ErrorKind::Io) => return Some(Failure::Lost),
            Some(ErrorKind::Connection) => return Some(Failure::Unreached),
            Some(ErrorKind::HttpResponse { status, raw_response, .. }) => {
                if let Some(response) = raw_response {
                    headers.extend(response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned())));
                }
                return Some(Failure::Answer { status: (*status).into(), headers, code: None });
            }
            _ => current = error.source(),
        }
    }
    None
}

/// A certificate that is not trusted now is not trusted in a second either.
pub(super) fn is_certificate_problem(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["certificate", "self signed", "self-signed", "unknownissuer", "unable_to_", "cert_", "err_tls"].iter().any(|sign| text.contains(sign))
}

fn sign_in(error: &azure_core::Error, cause: Cause) -> Error {
    let chain = cause.chain();
    let code = chain.find("AADSTS").map(|at| {
        let digits: String = chain[at + 6..].chars().take_while(char::is_ascii_digit).collect();
        format!("AADSTS{digits}")
    });
    // azure_identity repeats its source within its own text, and adds trace ids and links after the first line.
    let message = cause.message.split_once("authentication failed.").map_or(cause.message.as_str(), |(_, rest)| rest);
    let message = message.lines().next().unwrap_or_default().trim();
    let message = code.as_ref().and_then(|code| message.strip_prefix(&format!("{code}:"))).unwrap_or(message);
    let message = message.split(" Trace ID:").next().unwrap_or_default().trim().to_owned();
    let source = cause.source.filter(|_| error.http_status().is_none());
    Error::SignIn { code, message, source }
}

impl Cause {
    /// A cause in words of ours.
    pub fn new(message: impl AsRef<str>) -> Self {
        Self { message: scrub::text(message.as_ref()), source: None }
    }

    /// Copies an error's chain as scrubbed text, without the links that only repeat.
    pub fn from_error(error: &(dyn StdError + 'static)) -> Self {
        let message = scrub::text(&error.to_string());
        let mut source = error.source().map(Self::from_error);
        while let Some(below) = source.take_if(|below| message.contains(&below.message)) {
            source = below.source.map(|below| *below);
        }
        Self { message, source: source.map(Box::new) }
    }

    /// The whole chain on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut below = self.source.as_deref();
        while let Some(cause) = below {
            text.push_str(": ");
            text.push_str(&cause.message);
            below = cause.source.as_deref();
        }
        text
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// How deep errors may nest before the rest is taken as text.
const DEEPEST: usize = 16;

/// All errors in a body, outermost first: in `error`, in `details`, in `innererror`, and as JSON inside messages.
pub fn unwrap(body: &Value) -> Vec<Detail> {
    let mut details = Vec::new();
    collect(body, 0, &mut details);
    details
}

fn collect(value: &Value, depth: usize, details: &mut Vec<Detail>) {
    if depth > DEEPEST {
        return;
    }
    if let Value::Array(errors) = value {
        for error in errors {
            collect(error, depth + 1, details);
        }
        return;
    }
    let Some(object) = value.as_object() else { return };
    for wrapper in ["error", "odata.error", "statusMessage"] {
        match object.get(wrapper) {
            Some(inner @ Value::Object(_)) => return collect(inner, depth + 1, details),
            Some(Value::String(text)) if object.get("code").is_none() => return collect_named(text, object, details),
            _ => {}
        }
    }
    if let Some(detail) = own_detail(object) {
        let nested = embedded(&detail.message);
        let shown = if nested.is_some() { without_embedded(&detail.message) } else { detail.message };
        details.push(Detail { message: scrub::text(&shown), ..detail });
        if let Some(nested) = nested {
            collect(&nested, depth + 1, details);
        }
    }
    for below in ["details", "innererror", "innerError"] {
        if let Some(below) = object.get(below) {
            collect(below, depth + 1, details);
        }
    }
}

/// The OAuth form: `error` is the code's text, `error_description` says more.
fn collect_named(code: &str, object: &serde_json::Map<String, Value>, details: &mut Vec<Detail>) {
    let description = object.get("error_description").or_else(|| object.get("message")).and_then(Value::as_str).unwrap_or_default();
    details.push(Detail { code: code.to_owned(), message: scrub::text(description), target: None });
}

fn own_detail(object: &serde_json::Map<String, Value>) -> Option<Detail> {
    let member = |name: &str| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let message = match member("message") {
        Some(Value::Object(localized)) => localized.get("value").and_then(Value::as_str).unwrap_or_default(),
        Some(message) => message.as_str().unwrap_or_default(),
        None => "",
    };
    let code = member("code").map(|code| code.as_str().map_or_else(|| code.to_string(), str::to_owned)).filter(|code| code != "null");
    if message.is_empty() && code.is_none() {
        return None;
    }
    let target = member("target").and_then(Value::as_str).filter(|target| !target.is_empty()).map(scrub::text);
    Some(Detail { code: code.unwrap_or_else(|| "Error".to_owned()), message: message.trim().to_owned(), target })
}

/// JSON inside a message: the whole of it, a quoted part, or a part whose quotes are escaped once more.
fn embedded(message: &str) -> Option<Value> {
    let (start, end) = (message.find('{')?, message.rfind('}')?);
    let part = message.get(start..=end)?;
    let parsed = serde_json::from_str::<Value>(part).ok().or_else(|| {
        let unescaped = serde_json::from_str::<String>(&format!("\"{part}\"")).ok()?;
        serde_json::from_str(&unescaped).ok()
    })?;
    // Braces in plain words ("{name}") are no error.
    let mut inner = Vec::new();
    collect(&parsed, DEEPEST, &mut inner);
    let holds_error = !inner.is_empty() || parsed.get("error").is_some_and(Value::is_object);
    holds_error.then_some(parsed)
}

/// What a message says besides the JSON in it.
fn without_embedded(message: &str) -> String {
    let before = message.split('{').next().unwrap_or_default();
    before.trim().trim_end_matches(['\'', '"', ':', ' ']).to_owned()
}

/// The innermost error: the last one that says something specific.
fn innermost(details: &[Detail]) -> &Detail {
    // Codes that only say that something below failed.
    const GENERIC: [&str; 8] = [
        "DeploymentFailed",
        "InvalidTemplateDeployment",
        "ResourceDeploymentFailure",
        "MultipleErrorsOccurred",
        "Failed",
        "BadRequest",
        "Conflict",
        "Error",
    ];
    let says = |detail: &&Detail| !detail.message.is_empty() && !GENERIC.iter().any(|generic| detail.code.eq_ignore_ascii_case(generic));
    let specific = details.iter().rev().find(says);
    specific.or_else(|| details.iter().rev().find(|detail| !detail.message.is_empty())).unwrap_or(&details[details.len() - 1])
}

/// The first words of a body that is no JSON, such as a gateway's HTML page.
fn plain_text(body: &str) -> String {
    let mut words = String::new();
    let mut in_tag = false;
    for character in body.chars() {
        match character {
            '<' => in_tag = true,
            '>' => {
                in_tag = false;
                words.push(' ');
            }
            _ if in_tag => {}
            plain => words.push(plain),
        }
    }
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() > 300 { words.chars().take(300).chain("…".chars()).collect() } else { words }
}

fn status_name(status: u16) -> String {
    match status {
        400 => "BadRequest".to_owned(),
        401 => "Unauthorized".to_owned(),
        403 => "Forbidden".to_owned(),
        404 => "NotFound".to_owned(),
        409 => "Conflict".to_owned(),
        429 => "TooManyRequests".to_owned(),
        500 => "InternalServerError".to_owned(),
        502 => "BadGateway".to_owned(),
        503 => "ServiceUnavailable".to_owned(),
        504 => "GatewayTimeout".to_owned(),
        status => format!("HTTP {status}"),
    }
}

/// A time in words: `45 s`, `12 min`, `1 h 30 min`.
pub(super) fn seconds(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// The printer at the edge: the summary, what caused it (nothing twice), ARM's details, the correlation id, and a hint.
pub fn report(error: &(dyn StdError + 'static)) -> String {
    let mut lines = vec![scrub::text(&error.to_string())];
    let mut said = lines[0].clone();
    let mut azure = of_azure(error);
    let mut below = error.source();
    while let Some(cause) = below {
        let text = scrub::text(&cause.to_string());
        if !said.contains(&text) {
            lines.push(format!("caused by: {text}"));
            said.push_str(&text);
        }
        azure = azure.or_else(|| of_azure(cause));
        below = cause.source();
    }
    if let Some(azure) = azure {
        lines.extend(azure.details().iter().filter(|detail| !said.contains(&detail.message)).map(detail_line));
        if let Error::DeadlineExceeded { operation_url: Some(url), .. } = azure {
            lines.push(format!("operation: {url}"));
        }
        if let Some(id) = azure.correlation_id() {
            lines.push(format!("correlation id: {id}"));
        }
        if let Some(hint) = azure.hint() {
            lines.push(format!("hint: {hint}"));
        }
    }
    lines.join("\n")
}

/// The error of ours in a link of the chain; a boxed one counts too.
fn of_azure<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    error.downcast_ref::<Error>().or_else(|| error.downcast_ref::<Box<Error>>().map(Box::as_ref))
}

fn detail_line(detail: &Detail) -> String {
    match &detail.target {
        Some(target) if !detail.message.contains(target) => format!("- {} ({target}): {}", detail.code, detail.message),
        _ => format!("- {}: {}", detail.code, detail.message),
    }
}

#[cfg(test)]
mod tests;
