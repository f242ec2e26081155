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

use azure_core::http::HttpClient;
use futures::future::BoxFuture;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::signature;
use crate::host::{Digest, FileError, Host, Padding, PrivateKey, SignError};

pub use super::network::{Network, Transport, TransportError, Trust};

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

    fn identity_client(&self) -> Arc<dyn HttpClient> {
        Arc::new(self.setup.transport.near())
    }

    fn digest(&self, digest: Digest, data: &[u8]) -> Vec<u8> {
        signature::digest(digest, data)
    }

    fn sign(&self, key: &PrivateKey, padding: Padding, message: &[u8]) -> Result<Vec<u8>, SignError> {
        signature::sign(key, padding, message)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn host(variables: &[(&str, &str)], canceller: &Canceller) -> NativeHost {
        NativeHost::new(Setup {
            transport: Transport::new(&Trust::Machine(Box::default())).unwrap(),
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
}
