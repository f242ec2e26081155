//! Blobs: a running Azurite, with a listener of the emulator's in front of it.
//!
//! Azurite keeps accounts, contents and signatures. The listener adds what Azurite lacks: TLS by the emulator's authority, the journal,
//! faults on demand, and copies that take their time. With a state file Azurite keeps its own beside it. What the emulator does to blobs
//! itself goes through [`Blobs::later`], in order.

mod contents;
pub mod front;
pub mod index;
mod sas;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use http_body_util::combinators::BoxBody;
use hyper::body::Bytes;
use hyper_util::{client::legacy::Client, client::legacy::connect::HttpConnector, rt::TokioExecutor};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, watch},
};

use serde::{Deserialize, Serialize};

use super::Error;
use index::{Blob, Index};

/// The account that disks and snapshots are read from while access to them is granted. Azure's own have such names.
const DISK_ACCOUNT: &str = "md0emulator";
/// How long Azurite may take to start.
const PATIENCE: Duration = Duration::from_mins(1);
const REMEDY: &str =
    "it is one of the tools in package.json: run `npm ci` in the project's folder, or `npm install azurite` in a folder above this one";

/// Where blobs are, and what they are signed with, as it is kept for the next process: addresses that were given out lead here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The listener's port; 0 until there is one.
    pub port: u16,
    disk_keys: [String; 2],
}

impl Place {
    /// A place of its own.
    pub fn new() -> Self {
        Self { port: 0, disk_keys: [contents::random_key(), contents::random_key()] }
    }
}

/// The body of a request to Azurite, or of its answer.
pub type Body = BoxBody<Bytes, hyper::Error>;

/// A running Azurite.
pub struct Blobs {
    /// The listener's URL, with a trailing slash; accounts are the first part of the path.
    pub endpoint: String,
    address: SocketAddr,
    client: Client<HttpConnector, Body>,
    index: Mutex<Index>,
    accounts: Mutex<BTreeMap<String, [String; 2]>>,
    chores: mpsc::UnboundedSender<BoxFuture<'static, ()>>,
    open: watch::Sender<usize>,
    process: Arc<tokio::sync::Mutex<Process>>,
    is_kept: bool,
}

struct Process {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl fmt::Debug for Blobs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Blobs").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// Where Azurite is installed: in the `node_modules` of these folders or of one above them.
pub fn find(folders: &[PathBuf]) -> Result<PathBuf, Error> {
    let mut places = folders.iter().flat_map(|folder| folder.ancestors()).map(|folder| folder.join("node_modules").join("azurite"));
    places.find(|folder| folder.join("package.json").is_file()).ok_or_else(|| failed("it is not installed"))
}

fn failed(problem: impl fmt::Display) -> Error {
    Error::Azurite(format!("{problem}; {REMEDY}"))
}

impl Blobs {
    /// Starts Azurite. `endpoint` is where the listener in front will be; its clients trust the authority in `ca_file`, and so does Azurite,
    /// which asks the listener whether it may read what it copies. Everything is kept in `folder`; in memory without one.
    pub async fn start(azurite: &Path, endpoint: String, ca_file: &Path, place: &Place, folder: Option<&Path>) -> Result<Self, Error> {
        if !azurite.join("package.json").is_file() {
            return Err(failed(format_args!("there is no Azurite in '{}'", azurite.display())));
        }
        let azurite = std::path::absolute(azurite).map_err(failed)?;
        let mut command = Command::new("node");
        command.arg("-e").arg(include_str!("blobs/azurite.js")).arg("--").arg(&azurite).args(folder);
        command.env("NODE_EXTRA_CA_CERTS", ca_file).env_remove("AZURITE_ACCOUNTS");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        // Ctrl-C is for the emulator, which then ends Azurite.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| failed(format_args!("`node` could not be started: {error}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("its input and output are closed"));
        };
        let mut process = Process { child, input, output: BufReader::new(output).lines() };
        let line = tokio::time::timeout(PATIENCE, process.said("listens on http://")).await;
        let line = line.map_err(|_| failed("it was not ready within a minute"))?.ok_or_else(|| failed("it ended at once"))?;
        let address = line.rsplit("http://").next().and_then(|address| address.trim().parse().ok());
        let address = address.ok_or_else(|| failed(format_args!("it listens nowhere: '{line}'")))?;
        let (chores, mut waiting) = mpsc::unbounded_channel::<BoxFuture<'static, ()>>();
        let open = watch::Sender::new(0);
        let done = open.clone();
        tokio::spawn(async move {
            while let Some(chore) = waiting.recv().await {
                chore.await;
                done.send_modify(|open| *open -= 1);
            }
        });
        let blobs = Self {
            endpoint,
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
            index: Mutex::default(),
            accounts: Mutex::default(),
            chores,
            open,
            process: Arc::new(tokio::sync::Mutex::new(process)),
            is_kept: folder.is_some(),
        };
        blobs.add_account(DISK_ACCOUNT, place.disk_keys.clone());
        Ok(blobs)
    }

    /// The URL of an account's blob service.
    pub fn account_url(&self, account: &str) -> String {
        format!("{}{account}/", self.endpoint)
    }

    /// Makes an account known, or changes its keys.
    pub fn add_account(&self, account: &str, keys: [String; 2]) {
        let line = {
            let mut accounts = lock(&self.accounts);
            accounts.insert(account.to_owned(), keys);
            let entries: Vec<String> = accounts.iter().map(|(name, [one, two])| format!("{name}:{one}:{two}")).collect();
            entries.join(";")
        };
        let process = self.process.clone();
        self.later(async move {
            let mut process = process.lock().await;
            if process.input.write_all(format!("accounts {line}\n").as_bytes()).await.is_ok() {
                process.said("accounts taken").await;
            }
        });
    }

    /// Puts a piece of work behind those that wait. No client's request is served before it is done.
    pub fn later(&self, chore: impl Future<Output = ()> + Send + 'static) {
        self.open.send_modify(|open| *open += 1);
        // The worker lives as long as this sender.
        let _ = self.chores.send(Box::pin(chore));
    }

    /// Has Azurite save what it holds, where it keeps it. What was changed may be acknowledged afterwards.
    async fn save(&self) -> Result<(), String> {
        if !self.is_kept {
            return Ok(());
        }
        let mut process = self.process.lock().await;
        process.input.write_all(b"save\n").await.map_err(|error| error.to_string())?;
        match process.said("save ").await {
            Some(line) if line == "save done" => Ok(()),
            other => Err(other.unwrap_or_else(|| "Azurite has ended".into())),
        }
    }

    /// Waits until what the emulator itself has put there is saved, where it is kept.
    pub async fn kept(&self) {
        if self.is_kept {
            self.settled().await;
        }
    }

    /// Puts back what was kept.
    pub fn restore(&self, blobs: BTreeMap<String, Blob>) {
        self.index().restore(blobs);
    }

    /// What is to be written since the last time.
    pub fn take_changed(&self) -> Vec<(String, Option<Blob>)> {
        self.index().take_changed()
    }

    /// Waits until nothing of the emulator's own is left to do.
    async fn settled(&self) {
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Ends Azurite.
    pub async fn stop(&self) {
        let mut process = self.process.lock().await;
        // An Azurite that is gone already has ended as well.
        let _ = process.child.kill().await;
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    /// The next line with these words; `None` when the process has ended.
    async fn said(&mut self, words: &str) -> Option<String> {
        while let Ok(Some(line)) = self.output.next_line().await {
            if line.contains(words) {
                return Some(line);
            }
        }
        None
    }
}
