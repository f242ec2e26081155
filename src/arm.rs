//! Azure Resource Manager: requests, retry, paging, long-running operations, ids and errors, on `azure_core`'s pipeline.
//!
//! Knows no resource provider; those are `devtestlab` and its neighbours.

mod budget;
pub mod client;
pub mod credential;
pub mod error;
mod hint;
pub mod id;
pub mod operation;
mod outside;
pub mod request;
pub mod retry;
pub mod scrub;

use serde_json::Value;

pub use client::Client;
pub use error::{Detail, Error, report};
pub use id::{IdError, ResourceId};
pub use operation::{Operation, Progress, Wait};
pub use outside::Outside;
pub use request::{ApiVersion, Request};

/// A cloud's addresses. Nothing here has a default: they come from the connection.
#[derive(Clone, Debug)]
pub struct Cloud {
    /// The resource manager's URL, with a trailing slash.
    pub resource_manager: String,
    /// The scope of the tokens that it takes.
    pub token_scope: String,
    /// The sign-in authority's URL, with a trailing slash.
    pub authority: String,
}

impl Cloud {
    /// Whether signing in goes to Active Directory Federation Services, which have no tenants.
    pub fn is_adfs(&self) -> bool {
        self.authority.trim_end_matches('/').to_ascii_lowercase().ends_with("/adfs")
    }
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

impl Response {
    /// A header's value; the name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The code of the outermost error in the body.
    pub fn error_code(&self) -> Option<&str> {
        self.body["error"]["code"].as_str().or_else(|| self.body["code"].as_str())
    }
}
