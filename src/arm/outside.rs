//! Requests to services beside the resource manager, by addresses that carry their own signature. No token goes along.

use std::fmt;

use azure_core::http::{Method, Url};

use super::{Error, scrub};

/// A request to another service. Its address signs, and its headers and body may hold secrets: `Debug` shows none of them.
#[derive(Clone)]
pub struct Outside {
    /// The method.
    pub method: Method,
    /// The whole address, with its signature.
    pub url: String,
    /// Headers besides the usual.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Outside {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The request in a few words, for messages; without the query, which signs.
    pub fn describe(&self) -> String {
        format!("{} {}", self.method.as_ref(), self.url.split('?').next().unwrap_or_default())
    }

    /// The address, which must be https.
    pub(super) fn address(&self) -> Result<Url, Error> {
        let url = Url::parse(&self.url).ok().filter(|url| url.scheme() == "https");
        url.ok_or_else(|| Error::Address { request: self.describe(), url: scrub::url(&self.url) })
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Outside").field(&self.describe()).finish()
    }
}
