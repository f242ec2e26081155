//! Requests, built apart from sending.

use azure_core::http::Method;
use serde_json::Value;

/// An api-version of a resource provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersion(pub &'static str);

/// One request to the resource manager.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, percent-encoded, with a leading slash.
    pub path: String,
    /// The provider's version.
    pub api_version: ApiVersion,
    /// Further query parameters, not encoded.
    pub query: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Option<Value>,
}

impl Request {
    /// A GET.
    pub fn get(path: impl Into<String>, api_version: ApiVersion) -> Self {
        Self::new(Method::Get, path, api_version, None)
    }
    /// A PUT with a body.
    pub fn put(path: impl Into<String>, api_version: ApiVersion, body: Value) -> Self {
        Self::new(Method::Put, path, api_version, Some(body))
    }
    /// A POST.
    pub fn post(path: impl Into<String>, api_version: ApiVersion, body: Option<Value>) -> Self {
        Self::new(Method::Post, path, api_version, body)
    }
    /// A DELETE.
    pub fn delete(path: impl Into<String>, api_version: ApiVersion) -> Self {
        Self::new(Method::Delete, path, api_version, None)
    }
    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    fn new(method: Method, path: impl Into<String>, api_version: ApiVersion, body: Option<Value>) -> Self {
        Self { method, path: path.into(), api_version, query: Vec::new(), body }
    }
}
