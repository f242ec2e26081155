//! The WebAssembly host: the engine inside the pipeline agent's own Node.
//!
//! `src/node` is its JavaScript half. It hands over one plain object, whose raw bindings are in `binding`; everything above them is safe,
//! typed and `Send`, as the engine wants it. JavaScript has one thread here, so a [`SendWrapper`] never panics.

mod binding;
mod runtime;
mod transport;

use std::{fmt, panic, sync::Arc, time::Duration};

use azure_core::http::HttpClient;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use send_wrapper::SendWrapper;
use time::OffsetDateTime;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;

use crate::host::{Digest, FileError, Host, KeyEncoding, Padding, PrivateKey, SignError};
use binding::HostObject;

/// Runs one task to its end and returns its outcome in the agent's words. The JavaScript half takes only this value, together with the
/// `task.complete` that was printed, as proof that the task ran.
#[wasm_bindgen(js_name = run)]
pub async fn run(host: HostObject, task: String) -> String {
    let object = Arc::new(SendWrapper::new(host));
    report_panics(Arc::clone(&object));
    runtime::install(&object);
    let outcome = crate::run(Arc::new(JsHost::new(object)), &task).await;
    outcome.as_str().to_owned()
}

/// A panic ends in a bare trap; the hook gives the JavaScript half the words to fail the task with.
fn report_panics(object: Arc<SendWrapper<HostObject>>) {
    panic::set_hook(Box::new(move |info| object.panicked(&info.to_string())));
}

struct JsHost {
    object: Arc<SendWrapper<HostObject>>,
    cancelled: Shared<BoxFuture<'static, ()>>,
}

impl JsHost {
    fn new(object: Arc<SendWrapper<HostObject>>) -> Self {
        let promise = SendWrapper::new(JsFuture::from(object.cancelled()));
        let cancelled = promise.map(drop).boxed().shared();
        Self { object, cancelled }
    }
}

impl fmt::Debug for JsHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JsHost")
    }
}

impl Host for JsHost {
    fn http_client(&self) -> Arc<dyn HttpClient> {
        Arc::new(transport::Transport::new(Arc::clone(&self.object)))
    }

    fn identity_client(&self) -> Arc<dyn HttpClient> {
        Arc::new(transport::Transport::near(Arc::clone(&self.object)))
    }

    fn digest(&self, digest: Digest, data: &[u8]) -> Vec<u8> {
        let name = match digest {
            Digest::Sha1 => "sha1",
            Digest::Sha256 => "sha256",
        };
        self.object.digest(name, data).to_vec()
    }

    fn sign(&self, key: &PrivateKey, padding: Padding, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let encoding = match key.encoding {
            KeyEncoding::Pkcs1 => "pkcs1",
            KeyEncoding::Pkcs8 => "pkcs8",
        };
        let signature = self.object.sign(key.der.bytes(), encoding, padding == Padding::Pss, message);
        signature.map(|bytes| bytes.to_vec()).map_err(|error| SignError(binding::HostError::from(error).message()))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        runtime::sleep(Arc::clone(&self.object), duration)
    }

    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs_f64(self.object.elapsed_milliseconds().max(0.0) / 1000.0)
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.object.variable(name)
    }

    fn variable_names(&self) -> Vec<String> {
        self.object.variable_names()
    }

    fn remove_variable(&self, name: &str) {
        self.object.remove_variable(name);
    }

    fn read_file(&self, path: &str) -> Result<Vec<u8>, FileError> {
        match self.object.read_file(path) {
            Ok(bytes) => Ok(bytes.to_vec()),
            Err(error) => Err(file_error(&error.into())),
        }
    }

    fn list_files(&self, folder: &str) -> Result<Vec<String>, FileError> {
        self.object.list_files(folder).map_err(|error| file_error(&error.into()))
    }

    fn write_file(&self, path: &str, contents: &[u8]) -> Result<(), FileError> {
        self.object.write_file(path, contents).map_err(|error| file_error(&error.into()))
    }

    fn join_path(&self, folder: &str, path: &str) -> String {
        self.object.join_path(folder, path)
    }

    fn is_directory(&self, path: &str) -> bool {
        self.object.is_directory(path)
    }

    fn print(&self, line: &str) {
        self.object.print(line);
    }

    fn cancelled(&self) -> BoxFuture<'static, ()> {
        self.cancelled.clone().boxed()
    }

    fn is_cancelled(&self) -> bool {
        self.object.is_cancelled()
    }
}

/// Classifies what Node's `fs` threw by its code, whose names are the same on every operating system.
fn file_error(error: &binding::HostError) -> FileError {
    match error.code().as_deref() {
        Some("ENOENT" | "ENOTDIR") => FileError::NotFound,
        Some("EISDIR") => FileError::IsDirectory,
        Some("EACCES" | "EPERM") => FileError::PermissionDenied,
        _ => FileError::Other(error.message()),
    }
}
