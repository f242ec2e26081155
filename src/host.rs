//! What the engine asks of the machine that it runs on: network, clock, variables, files, output and the wish to stop.
//!
//! Two implementations exist: `wasm` (the pipeline agent's Node) and `cli` (the native program). Everything else in the engine is free of
//! the operating system, so that it compiles to WebAssembly, where the standard library's clock, threads, files and variables fail or panic.

use std::{fmt, sync::Arc, time::Duration};

use azure_core::{credentials::SecretBytes, http::HttpClient};
use futures::future::BoxFuture;
use time::OffsetDateTime;

#[cfg(any(test, feature = "fuzzing"))]
pub mod scripted;

/// The machine that runs the engine.
pub trait Host: Send + Sync + fmt::Debug {
    /// The transport for https. It follows no redirects, ends every wait by a time-out, and reports failures as `ErrorKind::Io`, or as
    /// `ErrorKind::Connection` when nothing was sent.
    fn http_client(&self) -> Arc<dyn HttpClient>;

    /// The transport for the identity service of the machine itself (managed identity). It speaks http, to loopback and link-local addresses
    /// alone and past any proxy, and gives up soon when nobody listens: most machines have no such service.
    fn identity_client(&self) -> Arc<dyn HttpClient>;

    /// A hash of some bytes.
    fn digest(&self, digest: Digest, data: &[u8]) -> Vec<u8>;

    /// An RSA signature over the SHA-256 hash of a message.
    fn sign(&self, key: &PrivateKey, padding: Padding, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Waits; returns early never.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// The wall clock, in UTC.
    fn now(&self) -> OffsetDateTime;

    /// Time since the process started, from a clock that never jumps.
    fn elapsed(&self) -> Duration;

    /// The value of an environment variable. Names are compared as the operating system does.
    fn variable(&self, name: &str) -> Option<String>;

    /// The names of all environment variables.
    fn variable_names(&self) -> Vec<String>;

    /// Removes a variable, so that no child process and no later reader sees it.
    fn remove_variable(&self, name: &str);

    /// Reads a whole file.
    fn read_file(&self, path: &str) -> Result<Vec<u8>, FileError>;

    /// The files below a folder, at any depth: paths relative to it, written with `/`, ordered.
    fn list_files(&self, folder: &str) -> Result<Vec<String>, FileError>;

    /// Writes a whole file, making the folders above it.
    fn write_file(&self, path: &str, contents: &[u8]) -> Result<(), FileError>;

    /// Joins a relative path to a folder by the rules of the host's operating system; an absolute `path` is returned normalised.
    fn join_path(&self, folder: &str, path: &str) -> String;

    /// Whether the path names a folder.
    fn is_directory(&self, path: &str) -> bool;

    /// Writes one line to standard output in one write.
    fn print(&self, line: &str);

    /// Resolves once the agent has asked the task to stop; stays resolved.
    fn cancelled(&self) -> BoxFuture<'static, ()>;

    /// Whether the agent has asked the task to stop.
    fn is_cancelled(&self) -> bool;
}

/// A hash function, for a certificate's thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// How an RSA signature is padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// PKCS #1 v1.5, as in `RS256`.
    Pkcs1,
    /// PSS with a salt as long as the hash, as in `PS256`.
    Pss,
}

/// A private key that is not encrypted.
#[derive(Clone, Debug)]
pub struct PrivateKey {
    /// What the bytes hold.
    pub encoding: KeyEncoding,
    /// DER.
    pub der: SecretBytes,
}

/// The form of a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEncoding {
    /// PKCS #1: an RSA key (`RSA PRIVATE KEY` in PEM).
    Pkcs1,
    /// PKCS #8: a key of any kind (`PRIVATE KEY` in PEM).
    Pkcs8,
}

/// Why a key cannot sign, in the host's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SignError(pub String);

/// A text in upper case, letters beyond ASCII too. In WebAssembly JavaScript knows how: Unicode's tables need not be there twice.
pub fn upper_case(text: &str) -> String {
    #[cfg(target_arch = "wasm32")]
    return js_sys::JsString::from(text).to_upper_case().into();
    #[cfg(not(target_arch = "wasm32"))]
    #[allow(clippy::disallowed_methods, reason = "the program has Unicode's tables anyway")]
    return text.to_uppercase();
}

/// Why a file could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// The path names a folder.
    #[error("this is a folder, not a file")]
    IsDirectory,
    /// The account that runs the agent may not.
    #[error("access is denied")]
    PermissionDenied,
    /// Anything else, in the operating system's words.
    #[error("{0}")]
    Other(String),
}
