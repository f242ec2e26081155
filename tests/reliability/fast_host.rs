//! A native host on which time passes faster: what waits for minutes waits for seconds, and nothing else is different.

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
pub struct FastHost(NativeHost);

impl FastHost {
    /// The host, for `Step::run_on`.
    #[expect(clippy::new_ret_no_self, reason = "the engine takes it as a host")]
    pub fn new(host: NativeHost) -> Arc<dyn Host> {
        Arc::new(Self(host))
    }
}

impl Host for FastHost {
    fn http_client(&self) -> Arc<dyn HttpClient> {
        self.0.http_client()
    }

    fn identity_client(&self) -> Arc<dyn HttpClient> {
        self.0.identity_client()
    }

    fn digest(&self, digest: Digest, bytes: &[u8]) -> Vec<u8> {
        self.0.digest(digest, bytes)
    }

    fn sign(&self, key: &PrivateKey, padding: Padding, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
        self.0.sign(key, padding, bytes)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration / PACE)
    }

    fn now(&self) -> OffsetDateTime {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed() * PACE
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.0.variable(name)
    }

    fn variable_names(&self) -> Vec<String> {
        self.0.variable_names()
    }

    fn remove_variable(&self, name: &str) {
        self.0.remove_variable(name);
    }

    fn read_file(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.0.read_file(path)
    }

    fn list_files(&self, folder: &str) -> Result<Vec<String>, FileError> {
        self.0.list_files(folder)
    }

    fn write_file(&self, path: &str, contents: &[u8]) -> Result<(), FileError> {
        self.0.write_file(path, contents)
    }

    fn join_path(&self, folder: &str, path: &str) -> String {
        self.0.join_path(folder, path)
    }

    fn is_directory(&self, path: &str) -> bool {
        self.0.is_directory(path)
    }

    fn print(&self, line: &str) {
        self.0.print(line);
    }

    fn cancelled(&self) -> BoxFuture<'static, ()> {
        self.0.cancelled()
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}
