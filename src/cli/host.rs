//! The native host: the engine on the machine that `dtl` runs on.
//!
//! A step sees the variables that it was given and never those of the process, so that steps cannot disturb one another and a local run
//! equals a run in a pipeline. What it prints goes to a sink, line by line; what a line means is for `listener` to say.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use azure_core::{
    error::{Error, ErrorKind},
    http::{AsyncRawResponse, Body, HttpClient, Request, headers::Headers},
};
use futures::future::BoxFuture;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::host::{FileError, Host};

/// The longest time to reach a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest time for an answer to begin or to go on.
const READ_TIMEOUT: Duration = Duration::from_secs(100);

/// Takes every line that a step prints.
pub type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// What a native host is made of.
pub struct Setup {
    /// The way to the network; steps share it, and with it its connections.
    pub transport: Transport,
    /// Every environment variable that the step sees.
    pub variables: BTreeMap<String, String>,
    /// The folder against which relative paths are read.
    pub working_directory: PathBuf,
    /// Where printed lines go.
    pub sink: Sink,
    /// Says when to stop.
    pub cancellation: Cancellation,
}

/// The machine that `dtl` runs on.
pub struct NativeHost {
    setup: Setup,
    variables: Mutex<BTreeMap<String, String>>,
    started: Instant,
}

impl NativeHost {
    /// A host for one step.
    pub fn new(mut setup: Setup) -> Self {
        let variables = std::mem::take(&mut setup.variables).into_iter().map(|(name, value)| (variable_key(&name), value)).collect();
        Self { setup, variables: Mutex::new(variables), started: Instant::now() }
    }

    fn resolve(&self, path: &str) -> PathBuf {
        self.setup.working_directory.join(path)
    }

    fn with_variables<T>(&self, act: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> T {
        act(&mut self.variables.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for NativeHost {
    /// Names no variable: values may be secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NativeHost").field("working_directory", &self.setup.working_directory).finish_non_exhaustive()
    }
}

impl Host for NativeHost {
    fn http_client(&self) -> Arc<dyn HttpClient> {
        Arc::new(self.setup.transport.clone())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.with_variables(|variables| variables.get(&variable_key(name)).cloned())
    }

    fn variable_names(&self) -> Vec<String> {
        self.with_variables(|variables| variables.keys().cloned().collect())
    }

    fn remove_variable(&self, name: &str) {
        self.with_variables(|variables| variables.remove(&variable_key(name)));
    }

    fn read_file(&self, path: &str) -> Result<Vec<u8>, FileError> {
        let path = self.resolve(path);
        if path.is_dir() {
            return Err(FileError::IsDirectory);
        }
        fs::read(path).map_err(|error| file_error(&error))
    }

    fn list_files(&self, folder: &str) -> Result<Vec<String>, FileError> {
        let mut files = Vec::new();
        collect_files(&self.resolve(folder), "", &mut files).map_err(|error| file_error(&error))?;
        files.sort();
        Ok(files)
    }

    fn write_file(&self, path: &str, contents: &[u8]) -> Result<(), FileError> {
        let path = self.resolve(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| file_error(&error))?;
        }
        fs::write(path, contents).map_err(|error| file_error(&error))
    }

    fn join_path(&self, folder: &str, path: &str) -> String {
        normalise(&Path::new(folder).join(path)).to_string_lossy().into_owned()
    }

    fn is_directory(&self, path: &str) -> bool {
        self.resolve(path).is_dir()
    }

    fn print(&self, line: &str) {
        (self.setup.sink)(line);
    }

    fn cancelled(&self) -> BoxFuture<'static, ()> {
        let cancellation = self.setup.cancellation.clone();
        Box::pin(async move { cancellation.requested().await })
    }

    fn is_cancelled(&self) -> bool {
        self.setup.cancellation.is_requested()
    }
}

/// Windows takes a variable's name without regard to case.
fn variable_key(name: &str) -> String {
    if cfg!(windows) { name.to_ascii_uppercase() } else { name.to_owned() }
}

/// Links to folders are not followed: they may lead in a circle.
fn collect_files(folder: &Path, prefix: &str, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect_files(&entry.path(), &format!("{path}/"), files)?;
        } else if entry.path().is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn file_error(error: &io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::NotFound => FileError::NotFound,
        io::ErrorKind::IsADirectory => FileError::IsDirectory,
        io::ErrorKind::PermissionDenied => FileError::PermissionDenied,
        _ => FileError::Other(error.to_string()),
    }
}

/// Removes `.` and `..` by the text alone, as the agent does for paths that need not exist.
pub(super) fn normalise(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(normal.components().next_back(), Some(Component::Normal(_))) => {
                normal.pop();
            }
            Component::ParentDir if normal.has_root() => {}
            other => normal.push(other),
        }
    }
    normal
}

/// Asks one or more steps to stop.
#[derive(Clone, Debug)]
pub struct Canceller(Arc<watch::Sender<bool>>);

/// The wish to stop, as a step sees it.
#[derive(Clone, Debug)]
pub struct Cancellation(watch::Receiver<bool>);

impl Canceller {
    /// A switch that is off.
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// What is to be handed to a step.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation(self.0.subscribe())
    }

    /// Whether stopping was asked for.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Asks to stop; asking twice is the same as once.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }
}

impl Default for Canceller {
    fn default() -> Self {
        Self::new()
    }
}

impl Cancellation {
    /// Resolves once stopping was asked for; never if it no longer can be.
    pub async fn requested(mut self) {
        if self.0.wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether stopping was asked for.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

/// Whom the transport trusts.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The machine's own certificate authorities, and those of these PEM files.
    Machine {
        /// Further authorities, PEM.
        extra: Vec<PathBuf>,
    },
    /// One authority alone and no proxy: a local emulator. Needs no certificates on the machine.
    Only {
        /// The authority's certificate, PEM.
        authority: PathBuf,
    },
}

impl Trust {
    /// The machine's authorities and those that the variables `NODE_EXTRA_CA_CERTS` and `SSL_CERT_FILE` name.
    pub fn machine(variable: impl Fn(&str) -> Option<String>) -> Self {
        let extra = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"].iter().filter_map(|name| variable(name)).filter(|path| !path.is_empty());
        Self::Machine { extra: extra.map(PathBuf::from).collect() }
    }
}

/// Why there is no way to the network.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A certificate file cannot be read.
    #[error("failed to read the certificate authority '{}'", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate file is not PEM, or TLS cannot be set up.
    #[error("failed to set up TLS")]
    Tls(#[from] reqwest::Error),
}

/// The way to the network: TLS, no redirects, every wait ended by a time-out.
#[derive(Clone, Debug)]
pub struct Transport {
    client: reqwest::Client,
}

impl Transport {
    /// A transport that trusts whom it is told to.
    pub fn new(trust: &Trust) -> Result<Self, TransportError> {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .https_only(true);
        let builder = match trust {
            Trust::Machine { extra } if extra.is_empty() => builder,
            Trust::Machine { extra } => {
                builder.tls_certs_merge(extra.iter().map(|path| authorities(path)).collect::<Result<Vec<_>, _>>()?.concat())
            }
            Trust::Only { authority } => builder.no_proxy().tls_certs_only(authorities(authority)?),
        };
        Ok(Self { client: builder.build()? })
    }

    /// The client below, for requests that are none of the engine's.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, TransportError> {
    let pem = fs::read(path).map_err(|source| TransportError::Read { path: path.to_owned(), source })?;
    Ok(reqwest::Certificate::from_pem_bundle(&pem)?)
}

#[async_trait]
impl HttpClient for Transport {
    /// Reads the whole answer before it returns, so that a connection lost midway is a failure of the attempt and is tried again.
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let method =
            reqwest::Method::from_bytes(request.method().as_ref().as_bytes()).map_err(|error| Error::new(ErrorKind::Other, error))?;
        let mut builder = self.client.request(method, request.url().clone());
        for (name, value) in request.headers().iter() {
            builder = builder.header(name.as_str(), value.as_str());
        }
        let body = match request.body().clone() {
            Body::Bytes(bytes) => reqwest::Body::from(bytes),
            Body::SeekableStream(stream) => reqwest::Body::wrap_stream(stream),
        };
        let failed = |error: reqwest::Error| {
            let server = request.url().origin().ascii_serialization();
            let problem = if error.is_timeout() { "no answer in time from" } else { "failed to reach" };
            // The address is left out of the cause: its query may hold a signature.
            Error::with_error(ErrorKind::Io, error.without_url(), format!("{problem} {server}"))
        };
        let response = builder.body(body).send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let headers = response_headers(response.headers());
        let bytes = response.bytes().await.map_err(failed)?;
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, bytes))
    }
}

fn response_headers(map: &reqwest::header::HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in map {
        headers.insert(name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    headers
}

#[cfg(test)]
mod tests {
    use azure_core::http::Method;

    use super::*;

    fn host(variables: &[(&str, &str)], canceller: &Canceller) -> NativeHost {
        NativeHost::new(Setup {
            transport: Transport::new(&Trust::Machine { extra: Vec::new() }).unwrap(),
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            working_directory: std::env::temp_dir(),
            sink: Arc::new(|_| {}),
            cancellation: canceller.cancellation(),
        })
    }

    #[test]
    fn a_step_sees_its_own_variables_and_never_those_of_the_process() {
        let host = host(&[("INPUT_LABID", "lab")], &Canceller::new());
        assert_eq!(host.variable_names(), ["INPUT_LABID"]);
        assert_eq!(host.variable("PATH"), None);
        host.remove_variable("INPUT_LABID");
        assert_eq!(host.variable("INPUT_LABID"), None);
    }

    #[cfg(unix)]
    #[test]
    fn paths_are_joined_and_normalised_without_asking_the_disk() {
        let host = host(&[], &Canceller::new());
        for (folder, path, joined) in [
            ("/agent/s", "templates/vm.json", "/agent/s/templates/vm.json"),
            ("/agent/s", "./a/../b.json", "/agent/s/b.json"),
            ("/agent/s", "../../../b.json", "/b.json"),
            ("/agent/s", "/other/./vm.json", "/other/vm.json"),
            ("/agent/s", "", "/agent/s"),
        ] {
            assert_eq!(host.join_path(folder, path), joined);
        }
    }

    #[tokio::test]
    async fn cancelling_is_seen_by_those_who_wait_and_stays() {
        let canceller = Canceller::new();
        let host = host(&[], &canceller);
        assert!(!host.is_cancelled());
        let waiting = host.cancelled();
        canceller.cancel();
        waiting.await;
        host.cancelled().await;
        assert!(host.is_cancelled());
    }

    #[test]
    fn files_are_listed_at_any_depth_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path).to_string_lossy().into_owned();
        let host = host(&[], &Canceller::new());
        for file in ["b.json", "a/deep/c d.json", "a/B.json"] {
            host.write_file(&at(file), b"{}").unwrap();
        }
        assert_eq!(host.list_files(&at("")).unwrap(), ["a/B.json", "a/deep/c d.json", "b.json"]);
        assert_eq!(host.list_files(&at("none")), Err(FileError::NotFound));
    }

    #[test]
    fn files_are_written_below_new_folders_and_missing_ones_are_named_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.txt").to_string_lossy().into_owned();
        let host = host(&[], &Canceller::new());
        host.write_file(&path, b"text").unwrap();
        assert_eq!(host.read_file(&path), Ok(b"text".to_vec()));
        assert_eq!(host.read_file(&folder.path().to_string_lossy()), Err(FileError::IsDirectory));
        assert_eq!(host.read_file("/no/such/file"), Err(FileError::NotFound));
    }

    #[tokio::test]
    async fn an_unreachable_server_is_a_failure_that_is_retried_and_names_the_server_alone() {
        let client = host(&[], &Canceller::new()).http_client();
        let request = Request::new("https://127.0.0.1:9/path?sig=hidden".parse().unwrap(), Method::Get);
        let error = client.execute_request(&request).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Io);
        assert_eq!(error.to_string(), "failed to reach https://127.0.0.1:9");
        assert!(!format!("{error:?}").contains("hidden"));
    }
}
