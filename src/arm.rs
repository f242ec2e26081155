//! Azure Resource Manager: requests, retry, paging, long-running operations, ids and errors, on `azure_core`'s pipeline.
//!
//! Knows no resource provider; those are `devtestlab` and its neighbours.

pub mod credential;
pub mod error;
pub mod id;
pub mod operation;
pub mod request;
pub mod retry;

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use serde_json::Value;

use crate::host::Host;

pub use error::Error;
pub use id::{IdError, ResourceId};
pub use operation::{Operation, Progress, Wait};
pub use request::{ApiVersion, Request};

/// A cloud's addresses. Nothing here has a default: they come from the connection.
#[derive(Clone, Debug)]
pub struct Cloud {
    /// The resource manager's URL, with a trailing slash.
    pub resource_manager: String,
    /// The scope of the tokens that it takes.
    pub token_scope: String,
    /// The sign-in authority's URL.
    pub authority: String,
}

/// A client of one resource manager, signed in by one credential.
#[derive(Clone, Debug)]
pub struct Client {
    host: Arc<dyn Host>,
}

/// A service's answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body; `Null` when there is none.
    pub body: Value,
}

impl Client {
    /// A client; nothing is sent yet.
    pub fn new(host: Arc<dyn Host>, _cloud: &Cloud, _credential: Arc<dyn TokenCredential>) -> Self {
        Self { host }
    }

    /// The machine below.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// Sends a request and takes any 2xx answer.
    pub async fn send(&self, _request: Request) -> Result<Response, Error> {
        todo!()
    }

    /// Sends a request; a 404 answer is `None`.
    pub async fn find(&self, _request: Request) -> Result<Option<Value>, Error> {
        todo!()
    }

    /// All items of a list, over all its pages.
    pub async fn list(&self, _request: Request) -> Result<Vec<Value>, Error> {
        todo!()
    }

    /// Starts what may be a long-running operation. An answer that is already final makes a finished operation.
    pub async fn start(&self, _request: Request) -> Result<Operation, Error> {
        todo!()
    }

    /// Waits for an operation and returns the final resource (`Null` when there is none).
    pub async fn wait(&self, _operation: &Operation, _wait: Wait<'_>) -> Result<Value, Error> {
        todo!()
    }
}
