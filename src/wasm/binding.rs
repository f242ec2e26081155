//! The JavaScript host object, as `src/node/host.js` makes it, and what it throws and answers. Nothing here is safe to send between
//! threads or knows the engine's types.

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue, prelude::wasm_bindgen};

#[wasm_bindgen]
extern "C" {
    /// The host, a plain object of functions.
    pub type HostObject;

    /// An environment variable.
    #[wasm_bindgen(method)]
    pub fn variable(this: &HostObject, name: &str) -> Option<String>;

    /// The names of all environment variables.
    #[wasm_bindgen(method, js_name = variableNames)]
    pub fn variable_names(this: &HostObject) -> Vec<String>;

    /// Removes an environment variable.
    #[wasm_bindgen(method, js_name = removeVariable)]
    pub fn remove_variable(this: &HostObject, name: &str);

    /// Milliseconds since the process started.
    #[wasm_bindgen(method, js_name = elapsedMilliseconds)]
    pub fn elapsed_milliseconds(this: &HostObject) -> f64;

    /// Reads a whole file; throws what Node's `fs` throws.
    #[wasm_bindgen(method, catch, js_name = readFile)]
    pub fn read_file(this: &HostObject, path: &str) -> Result<Uint8Array, JsValue>;

    /// The files below a folder, relative to it and written with `/`; throws what Node's `fs` throws.
    #[wasm_bindgen(method, catch, js_name = listFiles)]
    pub fn list_files(this: &HostObject, folder: &str) -> Result<Vec<String>, JsValue>;

    /// Writes a whole file; throws what Node's `fs` throws. The bytes are a view of the engine's memory, valid during the call only.
    #[wasm_bindgen(method, catch, js_name = writeFile)]
    pub fn write_file(this: &HostObject, path: &str, contents: &[u8]) -> Result<(), JsValue>;

    /// Joins a path to a folder.
    #[wasm_bindgen(method, js_name = joinPath)]
    pub fn join_path(this: &HostObject, folder: &str, path: &str) -> String;

    /// Whether a path names a folder.
    #[wasm_bindgen(method, js_name = isDirectory)]
    pub fn is_directory(this: &HostObject, path: &str) -> bool;

    /// Writes one line to standard output.
    #[wasm_bindgen(method)]
    pub fn print(this: &HostObject, line: &str);

    /// Resolves when the agent asks the task to stop.
    #[wasm_bindgen(method)]
    pub fn cancelled(this: &HostObject) -> Promise;

    /// Whether the agent has asked the task to stop.
    #[wasm_bindgen(method, js_name = isCancelled)]
    pub fn is_cancelled(this: &HostObject) -> bool;

    /// Takes the words of a panic; the trap follows.
    #[wasm_bindgen(method)]
    pub fn panicked(this: &HostObject, message: &str);

    /// Starts a timer.
    #[wasm_bindgen(method, js_name = startTimer)]
    pub fn start_timer(this: &HostObject, milliseconds: f64) -> Timer;

    /// Sends a request; headers are names and values in turn. The body is copied before the call returns.
    #[wasm_bindgen(method, catch)]
    pub async fn send(
        this: &HostObject,
        method: &str,
        url: &str,
        headers: Vec<String>,
        body: Option<Uint8Array>,
    ) -> Result<Answer, JsValue>;

    /// The same to a service of the machine itself, over http.
    #[wasm_bindgen(method, catch, js_name = sendNear)]
    pub async fn send_near(
        this: &HostObject,
        method: &str,
        url: &str,
        headers: Vec<String>,
        body: Option<Uint8Array>,
    ) -> Result<Answer, JsValue>;

    /// A hash by Node's name of the function.
    #[wasm_bindgen(method)]
    pub fn digest(this: &HostObject, algorithm: &str, data: &[u8]) -> Uint8Array;

    /// An RSA signature over a SHA-256 hash; the key is DER of Node's type `encoding`.
    #[wasm_bindgen(method, catch)]
    pub fn sign(this: &HostObject, key: &[u8], encoding: &str, pss: bool, message: &[u8]) -> Result<Uint8Array, JsValue>;

    /// A running timer.
    pub type Timer;

    /// Resolves when the time is over.
    #[wasm_bindgen(method, getter)]
    pub fn done(this: &Timer) -> Promise;

    /// Stops the timer, so that it does not keep the process alive.
    #[wasm_bindgen(method)]
    pub fn stop(this: &Timer);

    /// A service's answer, read to its end.
    pub type Answer;

    /// The HTTP status.
    #[wasm_bindgen(method, getter)]
    pub fn status(this: &Answer) -> u16;

    /// Header names and values in turn.
    #[wasm_bindgen(method, getter)]
    pub fn headers(this: &Answer) -> Vec<String>;

    /// The body.
    #[wasm_bindgen(method, getter)]
    pub fn body(this: &Answer) -> Uint8Array;

    type ThrownObject;

    #[wasm_bindgen(method, getter)]
    fn code(this: &ThrownObject) -> JsValue;

    #[wasm_bindgen(method, getter)]
    fn message(this: &ThrownObject) -> JsValue;

    #[wasm_bindgen(method, getter)]
    fn permanent(this: &ThrownObject) -> JsValue;
}

/// Whatever JavaScript threw.
pub struct HostError(JsValue);

impl From<JsValue> for HostError {
    fn from(value: JsValue) -> Self {
        Self(value)
    }
}

impl HostError {
    /// Node's code, such as `ENOENT`.
    pub fn code(&self) -> Option<String> {
        self.object()?.code().as_string()
    }

    /// What the error says.
    pub fn message(&self) -> String {
        let message = self.object().and_then(|object| object.message().as_string());
        message.or_else(|| self.0.as_string()).unwrap_or_else(|| "unknown error".to_owned())
    }

    /// Whether trying again cannot help.
    pub fn is_permanent(&self) -> bool {
        self.object().is_some_and(|object| object.permanent().is_truthy())
    }

    /// Properties may be read of anything but these two.
    fn object(&self) -> Option<&ThrownObject> {
        let readable = !self.0.is_undefined() && !self.0.is_null();
        readable.then(|| self.0.unchecked_ref())
    }
}
