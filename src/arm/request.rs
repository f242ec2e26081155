//! Requests, built apart from sending.

use std::fmt::{self, Write};

use azure_core::http::{Method, Url};
use serde_json::Value;

use super::Error;

/// An api-version of a resource provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersion(pub &'static str);

/// One request to the resource manager. Its body may hold passwords: `Debug` leaves it out.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path with a leading slash. What a URL cannot hold is percent-encoded on the way; a `%` stays, so that an encoded path passes too.
    pub path: String,
    /// The provider's version.
    pub api_version: ApiVersion,
    /// Further query parameters, not encoded.
    pub query: Vec<(&'static str, String)>,
    /// The JSON body.
    pub body: Option<Value>,
    /// Whether the caller knows that a PUT makes something that was not there: then what is found after a lost answer is its own.
    pub makes_new: bool,
    /// Whether it is about what the run itself has just made: then caches and roles may be behind for a while.
    pub about_new: bool,
    /// Whether it links to what the run itself has just made: then roles on that may be behind for a while.
    pub links_new: bool,
}

impl Request {
    /// A GET.
    pub fn get(path: impl Into<String>, api_version: ApiVersion) -> Self {
        Self::new(Method::Get, path, api_version, None)
    }

    /// A HEAD, which asks only whether there is something.
    pub fn head(path: impl Into<String>, api_version: ApiVersion) -> Self {
        Self::new(Method::Head, path, api_version, None)
    }

    /// A PUT with a body.
    pub fn put(path: impl Into<String>, api_version: ApiVersion, body: Value) -> Self {
        Self::new(Method::Put, path, api_version, Some(body))
    }

    /// A PATCH with a body.
    pub fn patch(path: impl Into<String>, api_version: ApiVersion, body: Value) -> Self {
        Self::new(Method::Patch, path, api_version, Some(body))
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

    /// Says that a PUT makes something that was not there before.
    #[must_use]
    pub fn of_new(mut self) -> Self {
        self.makes_new = true;
        self
    }

    /// Says that it is about what the run itself has just made.
    #[must_use]
    pub fn about_new(mut self) -> Self {
        self.about_new = true;
        self
    }

    /// Says that it links to what the run itself has just made.
    #[must_use]
    pub fn linking_new(mut self) -> Self {
        self.links_new = true;
        self
    }

    /// The request in a few words, for messages: `PUT /subscriptions/…`.
    pub fn describe(&self) -> String {
        format!("{} {}", self.method.as_ref(), self.path)
    }

    /// The whole URL below a resource manager's address.
    pub(super) fn url(&self, resource_manager: &str) -> Result<Url, Error> {
        let mut text = format!("{}{}?api-version={}", resource_manager.trim_end_matches('/'), encode_path(&self.path), self.api_version.0);
        for (name, value) in &self.query {
            text.extend(["&", *name, "=", &encode(value, |byte| is_unreserved(byte) || b"$()',:/@*".contains(&byte))]);
        }
        let url = Url::parse(&text).ok().filter(|url| url.scheme() == "https");
        url.ok_or_else(|| Error::Address { request: self.describe(), url: super::scrub::url(&text) })
    }

    fn new(method: Method, path: impl Into<String>, api_version: ApiVersion, body: Option<Value>) -> Self {
        Self { method, path: path.into(), api_version, query: Vec::new(), body, makes_new: false, about_new: false, links_new: false }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Request");
        debug.field("method", &self.method).field("path", &self.path).field("api_version", &self.api_version).field("query", &self.query);
        debug.finish_non_exhaustive()
    }
}

/// Percent-encodes what the path of a URL cannot hold. Slashes and percent signs stay.
pub(super) fn encode_path(path: &str) -> String {
    encode(path, |byte| is_unreserved(byte) || b"/%!$&'()*+,;=:@".contains(&byte))
}

fn encode(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").unwrap_or_default();
        }
    }
    encoded
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: ApiVersion = ApiVersion("2018-09-15");

    #[test]
    fn a_url_is_the_address_the_path_the_version_and_the_query() {
        let request = Request::get("/subscriptions/s/x y/ü/@me", V)
            .query("$filter", "name eq 'a&b'")
            .query("$expand", "properties($expand=artifacts)");
        assert_eq!(
            request.url("https://management.example/base/").unwrap().as_str(),
            "https://management.example/base/subscriptions/s/x%20y/%C3%BC/@me?api-version=2018-09-15&$filter=name%20eq%20'a%26b'&$expand=properties($expand%3Dartifacts)"
                .replace('\'', "%27")
        );
    }

    #[test]
    fn an_encoded_path_stays_as_it_is() {
        assert_eq!(Request::get("/a%20b", V).url("https://m").unwrap().path(), "/a%20b");
        assert_eq!(Request::get("/a?b#c", V).url("https://m").unwrap().path(), "/a%3Fb%23c");
    }

    #[test]
    fn a_body_is_not_shown() {
        let request = Request::put("/vm", V, serde_json::json!({"password": "hunter22"}));
        assert!(!format!("{request:?}").contains("hunter22"));
    }

    #[test]
    fn only_https_is_spoken() {
        for address in ["http://management.example/", "management.example", ""] {
            assert!(matches!(Request::get("/a", V).url(address), Err(Error::Address { .. })), "{address}");
        }
    }
}
