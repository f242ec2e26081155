//! The native host's way to the network: whom to trust, which proxy to take, and the transport over them.
//!
//! What the agent is configured with (`AGENT_…`) comes before what the machine's variables say, as under Node (`node/network.js`).

mod client_certificate;

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{
    credentials::Secret,
    error::{Error, ErrorKind},
    http::{AsyncRawResponse, Body, HttpClient, Request, Url, headers::Headers},
};
use percent_encoding::percent_decode_str;
use regex::{Regex, RegexBuilder};

use client_certificate::ClientCertificate;

/// The longest time to reach a service of the machine itself, which most machines do not have.
const NEAR_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a transport waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The longest time to reach a server, with the TLS handshake.
    pub connect: Duration,
    /// The longest time for an answer to begin or to go on.
    pub read: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), read: Duration::from_secs(100) }
    }
}

/// Whom the transport trusts.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The machine's own certificate authorities, and what its network asks for.
    Machine(Box<Network>),
    /// One authority alone and no proxy: a local emulator. Needs no certificates on the machine.
    Only {
        /// The authority's certificate, PEM.
        authority: PathBuf,
    },
}

/// What stands between the machine and the services.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Further certificate authorities, PEM.
    pub authorities: Vec<PathBuf>,
    /// The certificate that is shown to a server or proxy that asks for one.
    pub client_certificate: Option<ClientCertificate>,
    /// The proxy.
    pub proxy: Option<Proxy>,
}

/// A proxy that tunnels (CONNECT).
#[derive(Clone, Debug)]
pub struct Proxy {
    url: Url,
    credentials: Option<(String, Secret)>,
    /// Addresses that match are reached without it.
    bypass: Vec<Regex>,
    /// The same by names, addresses and networks (`NO_PROXY`).
    exceptions: Option<String>,
}

/// Why there is no way to the network.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A certificate file cannot be read.
    #[error("failed to read the certificate '{}'", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A variable's value cannot be used.
    #[error("{variable} {problem}")]
    Variable {
        /// Which one.
        variable: &'static str,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// A certificate file is not PEM, or TLS cannot be set up.
    #[error("failed to set up TLS")]
    Tls(#[from] reqwest::Error),
}

impl Trust {
    /// The machine's authorities, and the network that the variables describe.
    pub fn machine(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TransportError> {
        Network::from_variables(variable).map(|network| Self::Machine(Box::new(network)))
    }
}

impl Network {
    /// Reads the agent's variables and those that programs share: `AGENT_PROXYURL`, `AGENT_CAINFO`, `AGENT_CLIENTCERT` and what belongs to
    /// them; `HTTPS_PROXY`, `NO_PROXY`, `NODE_EXTRA_CA_CERTS`, `SSL_CERT_FILE`, `SSL_CERT_DIR`.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TransportError> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let files = ["AGENT_CAINFO", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"].iter().filter_map(|name| variable(name)).map(PathBuf::from);
        let folders =
            variable("SSL_CERT_DIR").map(|folders| std::env::split_paths(&folders).flat_map(|path| certificates_in(&path)).collect());
        Ok(Self {
            authorities: files.chain(folders.unwrap_or_else(Vec::new)).collect(),
            client_certificate: ClientCertificate::from_variables(&variable),
            proxy: Proxy::from_variables(&variable)?,
        })
    }
}

/// The certificate files in a folder. What else lies there is no concern of ours.
fn certificates_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| fs::read(file).is_ok_and(|bytes| bytes.windows(11).any(|window| window == b"-----BEGIN ")));
    files.sort();
    files
}

impl Proxy {
    fn from_variables(variable: &impl Fn(&str) -> Option<String>) -> Result<Option<Self>, TransportError> {
        if let Some(text) = variable("AGENT_PROXYURL") {
            let mut proxy = Self::parse("AGENT_PROXYURL", &text)?;
            if let Some(name) = variable("AGENT_PROXYUSERNAME") {
                let password = variable("AGENT_PROXYPASSWORD").or_else(|| variable("SECRET_AGENT_PROXYPASSWORD"));
                proxy.credentials = Some((name, Secret::new(password.unwrap_or_default())));
            }
            proxy.bypass = bypass_list(variable)?;
            return Ok(Some(proxy));
        }
        let either = |name: &str| variable(&name.to_lowercase()).or_else(|| variable(name));
        let exceptions = either("NO_PROXY");
        // The library takes `*` for all names, but for no address.
        if exceptions.iter().flat_map(|list| list.split(',')).any(|item| item.trim() == "*") {
            return Ok(None);
        }
        for name in ["HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY"] {
            if let Some(text) = either(name) {
                let mut proxy = Self::parse(name, &text)?;
                proxy.exceptions = exceptions;
                return Ok(Some(proxy));
            }
        }
        Ok(None)
    }

    fn parse(variable: &'static str, text: &str) -> Result<Self, TransportError> {
        let address = if text.contains("://") { text.trim().to_owned() } else { format!("http://{}", text.trim()) };
        let usable = Url::parse(&address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        // The value may hold a password, so that it is not quoted.
        let problem = "is no proxy's address: http://host:port and https://host:port are allowed, with name:password@ before the host";
        let mut url = usable.ok_or_else(|| TransportError::Variable { variable, problem: problem.to_owned() })?;
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let credentials =
            (!url.username().is_empty()).then(|| (decode(url.username()), Secret::new(decode(url.password().unwrap_or_default()))));
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        debug_assert!(cleared.is_ok(), "a URL with a host takes both");
        Ok(Self { url, credentials, bypass: Vec::new(), exceptions: None })
    }

    /// Whether the agent's list lets an address be reached without the proxy.
    pub fn is_bypassed(&self, url: &Url) -> bool {
        self.bypass.iter().any(|expression| expression.is_match(url.as_str()))
    }

    fn into_reqwest(self) -> Result<reqwest::Proxy, reqwest::Error> {
        let credentials = self.credentials.clone();
        let proxy = match &self.exceptions {
            Some(list) => reqwest::Proxy::all(self.url.clone())?.no_proxy(reqwest::NoProxy::from_string(list)),
            None => reqwest::Proxy::custom(move |target| (!self.is_bypassed(target)).then(|| self.url.clone())),
        };
        Ok(match credentials {
            Some((name, password)) => proxy.basic_auth(&name, password.secret()),
            None => proxy,
        })
    }
}

/// The agent's regular expressions, a JSON list.
fn bypass_list(variable: &impl Fn(&str) -> Option<String>) -> Result<Vec<Regex>, TransportError> {
    let Some(list) = variable("AGENT_PROXYBYPASSLIST") else { return Ok(Vec::new()) };
    let wrong = |problem: String| TransportError::Variable { variable: "AGENT_PROXYBYPASSLIST", problem };
    let expressions: Vec<String> = serde_json::from_str(&list)
        .map_err(|_| wrong("is no JSON list of regular expressions, such as [\"^https://build\\\\.\"]".to_owned()))?;
    let compiled = expressions.iter().map(|text| RegexBuilder::new(text).case_insensitive(true).build());
    compiled.collect::<Result<_, _>>().map_err(|error| wrong(format!("holds an expression that cannot be used: {error}")))
}

/// The way to the network: TLS 1.2 or newer, no redirects, every wait ended by a time-out.
#[derive(Clone, Debug)]
pub struct Transport {
    client: reqwest::Client,
    near: bool,
}

impl Transport {
    /// A transport that trusts whom it is told to.
    pub fn new(trust: &Trust) -> Result<Self, TransportError> {
        Self::with_patience(trust, Patience::default())
    }

    /// The same with other time-outs.
    pub fn with_patience(trust: &Trust, patience: Patience) -> Result<Self, TransportError> {
        Self::built(trust, patience, |builder| builder)
    }

    /// The same with what else a caller wants of the client below, such as names resolved in another way.
    pub fn built(
        trust: &Trust,
        patience: Patience,
        finish: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Self, TransportError> {
        let builder =
            plain(patience.read).connect_timeout(patience.connect).https_only(true).tls_version_min(reqwest::tls::Version::TLS_1_2);
        let builder = match trust {
            Trust::Only { authority } => builder.no_proxy().tls_certs_only(authorities(authority)?),
            Trust::Machine(network) => connected(builder, network)?,
        };
        Ok(Self { client: finish(builder).build()?, near: false })
    }

    /// A transport for the services of the machine itself: http, past any proxy, and to nowhere else.
    #[must_use]
    pub fn near(&self) -> Self {
        let client = plain(Patience::default().read).connect_timeout(NEAR_CONNECT_TIMEOUT).no_proxy().tls_certs_only([]).build();
        // Without certificates to read, there is nothing that could fail.
        client.map_or_else(|_| self.clone(), |client| Self { client, near: true })
    }

    /// The client below, for requests that are none of the engine's.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }
}

fn plain(read_timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).read_timeout(read_timeout)
}

fn connected(mut builder: reqwest::ClientBuilder, network: &Network) -> Result<reqwest::ClientBuilder, TransportError> {
    if !network.authorities.is_empty() {
        let certificates = network.authorities.iter().map(|path| authorities(path)).collect::<Result<Vec<_>, _>>()?;
        builder = builder.tls_certs_merge(certificates.concat());
    }
    if let Some(certificate) = &network.client_certificate {
        builder = builder.identity(certificate.identity()?);
    }
    // What reqwest would read of the environment itself is read here already.
    builder = builder.no_proxy();
    Ok(match network.proxy.clone() {
        Some(proxy) => builder.proxy(proxy.into_reqwest()?),
        None => builder,
    })
}

fn authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, TransportError> {
    Ok(reqwest::Certificate::from_pem_bundle(&read(path)?)?)
}

fn read(path: &Path) -> Result<Vec<u8>, TransportError> {
    fs::read(path).map_err(|source| TransportError::Read { path: path.to_owned(), source })
}

/// Whether an address is on this machine or its own link, where http does.
fn is_near(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Whether a server knows no TLS that is new enough: trying again cannot help.
fn is_outdated(error: &reqwest::Error) -> bool {
    let mut current: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = current {
        let text = error.to_string();
        if ["ProtocolVersion", "ServerDoesNotSupportTls12Or13", "ServerTlsVersionIsDisabled", "legacy protocol"]
            .iter()
            .any(|sign| text.contains(sign))
        {
            return true;
        }
        current = error.source();
    }
    false
}

#[async_trait]
impl HttpClient for Transport {
    /// Reads the whole answer before it returns, so that a connection lost midway is a failure of the attempt and is tried again.
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if self.near && !is_near(request.url()) {
            let server = request.url().origin().ascii_serialization();
            return Err(Error::with_message(ErrorKind::Other, format!("{server} is refused: it is not on this machine")));
        }
        if !self.near && request.url().scheme() != "https" {
            let server = request.url().origin().ascii_serialization();
            return Err(Error::with_message(ErrorKind::Other, format!("{server} is refused: only https is allowed")));
        }
        let method =
            reqwest::Method::from_bytes(request.method().as_ref().as_bytes()).map_err(|error| Error::new(ErrorKind::Other, error))?;
        let mut builder = self.client.request(method, request.url().clone());
        for (name, value) in request.headers().iter() {
            builder = builder.header(name.as_str(), value.as_str());
        }
        let body = match request.body().clone() {
            Body::Bytes(bytes) => reqwest::Body::from(bytes),
            Body::SeekableStream(stream) => reqwest::Body::wrap_stream(stream),
        };
        let failed = |error: reqwest::Error| {
            let server = request.url().origin().ascii_serialization();
            if is_outdated(&error) {
                return Error::with_message(ErrorKind::Other, format!("{server} speaks no TLS 1.2 or newer; nothing older is spoken here"));
            }
            let problem = if error.is_timeout() { "no answer in time from" } else { "failed to reach" };
            // The address is left out of the cause: its query may hold a signature.
            Error::with_error(ErrorKind::Io, error.without_url(), format!("{problem} {server}"))
        };
        let response = builder.body(body).send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let headers = response_headers(response.headers());
        let bytes = response.bytes().await.map_err(failed)?;
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, bytes))
    }
}

fn response_headers(map: &reqwest::header::HeaderMap) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in map {
        headers.insert(name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    headers
}

#[cfg(test)]
mod tests;
