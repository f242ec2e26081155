//! A native host on which time passes faster: what waits for minutes waits for seconds. A file may be shown where there is none; nothing else
//! is different.

use std::{sync::Arc, time::Duration};

use azure_core::http::HttpClient;
use dtl::{
    cli::host::NativeHost,
    host::{Digest, FileError, Host, Padding, PrivateKey, SignError},
};
use futures::future::BoxFuture;
use time::OffsetDateTime;

/// How much faster.
const PACE: u32 = 20;

/// See the module.
#[derive(Debug)]
pub struct FastHost {
    host: NativeHost,
    file: Option<(String, Vec<u8>)>,
}

impl FastHost {
    /// The host, for `Step::run_on`.
    #[expect(clippy::new_ret_no_self, reason = "the engine takes it as a host")]
    pub fn new(host: NativeHost) -> Arc<dyn Host> {
        Arc::new(Self { host, file: None })
    }

    /// The same with a file of this path.
    pub fn with_file(host: NativeHost, path: &str, contents: &[u8]) -> Arc<dyn Host> {
        Arc::new(Self { host, file: Some((path.to_owned(), contents.to_owned())) })
    }
}

impl Host for FastHost {
    fn http_client(&self) -> Arc<dyn HttpClient> {
        self.host.http_client()
    }

    fn identity_client(&self) -> Arc<dyn HttpClient> {
        self.host.identity_client()
    }

    fn digest(&self, digest: Digest, bytes: &[u8]) -> Vec<u8> {
        self.host.digest(digest, bytes)
    }

    fn sign(&self, key: &PrivateKey, padding: Padding, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        self.host.sign(key, padding, bytes)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.host.sleep(duration / PACE)
    }

    fn now(&self) -> OffsetDateTime {
        self.host.now()
    }

    fn elapsed(&self) -> Duration {
        self.host.elapsed() * PACE
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.host.variable(name)
    }

    fn variable_names(&self) -> Vec<String> {
        self.host.variable_names()
    }

    fn remove_variable(&self, name: &str) {
        self.host.remove_variable(name);
    }

    fn read_file(&self, path: &str) -> Result<Vec<u8>, FileError> {
        match &self.file {
            Some((shown, contents)) if shown == path => Ok(contents.clone()),
            _ => self.host.read_file(path),
        }
    }

    fn list_files(&self, folder: &str) -> Result<Vec<String>, FileError> {
        self.host.list_files(folder)
    }

    fn write_file(&self, path: &str, contents: &[u8]) -> Result<(), FileError> {
        self.host.write_file(path, contents)
    }

    fn join_path(&self, folder: &str, path: &str) -> String {
        self.host.join_path(folder, path)
    }

    fn is_directory(&self, path: &str) -> bool {
        self.host.is_directory(path)
    }

    fn print(&self, line: &str) {
        self.host.print(line);
    }

    fn cancelled(&self) -> BoxFuture<'static, ()> {
        self.host.cancelled()
    }

    fn is_cancelled(&self) -> bool {
        self.host.is_cancelled()
    }
}
