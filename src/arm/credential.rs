//! Token credentials for the kinds of sign-in that the engine knows, made by `azure_identity` over the host's transport.
//!
//! Tokens are cached by `azure_identity` for the task's life and fetched again before they expire. The authority is the connection's own;
//! it is never asked whether it is one that the world knows (instance discovery).

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{
    cloud::{CloudConfiguration, CustomConfiguration},
    credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
    http::{
        AsyncRawResponse, ClientMethodOptions, ClientOptions, Context, HttpClient, Method, RawResponse, Request, RetryOptions, Transport,
        Url,
        policies::{Policy, PolicyResult},
    },
};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
};
use serde_json::Value;

use super::{Cloud, Error, scrub};
use crate::host::Host;

/// An identity and how it signs in.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The Microsoft Entra tenant: its GUID or a domain of its.
    pub tenant_id: String,
    /// The application's (client) id.
    pub client_id: String,
    /// How it proves who it is.
    pub proof: Proof,
}

/// How an application proves who it is.
#[derive(Clone, Debug)]
pub enum Proof {
    /// By a secret.
    Secret(Secret),
    /// By a token of the pipeline that the application trusts (workload identity federation).
    Federation {
        /// The address that hands out the pipeline's token for the connection, with its query.
        request_uri: String,
        /// The job's own access token.
        system_access_token: Secret,
    },
}

/// Told of every secret as it comes into being, so that it can be masked.
pub type SecretRegistrar = Arc<dyn Fn(&str) + Send + Sync>;

/// A credential for an identity. Nothing is sent before the first token is asked for.
pub fn credential(
    host: &Arc<dyn Host>,
    cloud: &Cloud,
    identity: Identity,
    register: SecretRegistrar,
) -> Result<Arc<dyn TokenCredential>, Error> {
    let options = client_options(host, cloud);
    let make: Maker = match identity.proof {
        Proof::Secret(secret) => Box::new(move || {
            let options = ClientSecretCredentialOptions { client_options: options.clone() };
            Ok(ClientSecretCredential::new(&identity.tenant_id, identity.client_id.clone(), secret.clone(), Some(options))?)
        }),
        Proof::Federation { request_uri, system_access_token } => {
            let url = Url::parse(&request_uri).ok().filter(|url| url.scheme() == "https");
            let url = url.ok_or_else(|| Error::Address { request: "the pipeline's token".to_owned(), url: scrub::url(&request_uri) })?;
            let token = PipelineToken {
                host: Arc::clone(host),
                client: host.http_client(),
                url,
                system_access_token,
                register: Arc::clone(&register),
            };
            Box::new(move || {
                let options = ClientAssertionCredentialOptions { client_options: options.clone() };
                let (tenant_id, client_id) = (identity.tenant_id.clone(), identity.client_id.clone());
                Ok(ClientAssertionCredential::new(tenant_id, client_id, token.clone(), Some(options))?)
            })
        }
    };
    let inner = make().map_err(|error| unusable(&error))?;
    Ok(Arc::new(Renewing { make, register, state: Mutex::new(State { inner, last: None }) }))
}

fn unusable(error: &azure_core::Error) -> Error {
    Error::SignIn { code: None, message: scrub::text(&error.to_string()), source: None }
}

fn client_options(host: &Arc<dyn Host>, cloud: &Cloud) -> ClientOptions {
    let mut configuration = CustomConfiguration::default();
    configuration.authority_host.clone_from(&cloud.authority);
    ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(Transport::new(host.http_client())),
        cloud: Some(Arc::new(CloudConfiguration::Custom(configuration))),
        per_try_policies: vec![Arc::new(UserAgent), Arc::new(OutOfOrder)],
        ..Default::default()
    }
}

/// Names the engine, and nothing of the machine, in place of `azure_core`'s own text.
#[derive(Debug)]
pub(super) struct UserAgent;

#[async_trait]
impl Policy for UserAgent {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        request.insert_header("user-agent", concat!("dtl/", env!("CARGO_PKG_VERSION")));
        next[0].send(context, request, &next[1..]).await
    }
}

/// Makes an error of the answers that a sign-in service out of order gives. `azure_identity` would fail on their bodies and forget the status.
#[derive(Debug)]
struct OutOfOrder;

#[async_trait]
impl Policy for OutOfOrder {
    async fn send(&self, context: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let response = next[0].send(context, request, &next[1..]).await?;
        let status = response.status();
        if !matches!(u16::from(status), 408 | 429 | 500..=599) {
            return Ok(response);
        }
        let raw = response.try_into_raw_response().await?;
        let message = format!("the sign-in service answered {}", u16::from(status));
        Err(azure_core::Error::with_message(
            ErrorKind::HttpResponse { status, error_code: None, raw_response: Some(Box::new(raw)) },
            message,
        ))
    }
}

/// Makes a credential without a cache behind it.
type Maker = Box<dyn Fn() -> azure_core::Result<Arc<dyn TokenCredential>> + Send + Sync>;

/// Registers each new access token as a secret, and gets another when the resource manager refuses one before its time.
///
/// The pipeline's bearer policy keeps a token until it is due or refused. So whoever asks again for the scopes of a token that is not yet
/// due has had it refused; `azure_identity` would hand it out again from its cache.
struct Renewing {
    make: Maker,
    register: SecretRegistrar,
    state: Mutex<State>,
}

struct State {
    inner: Arc<dyn TokenCredential>,
    last: Option<(Vec<String>, AccessToken)>,
}

/// The bearer policy asks for another token when so little time is left.
const DUE: time::Duration = time::Duration::minutes(5);

impl Renewing {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The credential to ask: a fresh one when the last token was refused.
    fn inner(&self, scopes: &[&str]) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let mut state = self.state();
        let now = azure_core::time::OffsetDateTime::now_utc();
        let refused = state.last.as_ref().is_some_and(|(asked, token)| asked == scopes && token.expires_on > now + DUE);
        if refused {
            state.inner = (self.make)()?;
            state.last = None;
        }
        Ok(Arc::clone(&state.inner))
    }
}

#[async_trait]
impl TokenCredential for Renewing {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let inner = self.inner(scopes)?;
        let token = inner.get_token(scopes, options).await?;
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let last = self.state().last.replace((scopes, token.clone()));
        if !last.is_some_and(|(_, last)| last.token == token.token) {
            (self.register)(token.token.secret());
        }
        Ok(token)
    }
}

impl fmt::Debug for Renewing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Renewing")
    }
}

/// The pipeline's own token for a connection, asked for anew each time: it lives for minutes only.
#[derive(Clone)]
struct PipelineToken {
    host: Arc<dyn Host>,
    client: Arc<dyn HttpClient>,
    url: Url,
    system_access_token: Secret,
    register: SecretRegistrar,
}

/// How often the pipeline is asked for its token.
const TRIES: u32 = 3;

impl PipelineToken {
    async fn ask(&self) -> azure_core::Result<RawResponse> {
        let mut request = Request::new(self.url.clone(), Method::Post);
        request.insert_header("authorization", format!("Bearer {}", self.system_access_token.secret()));
        request.insert_header("content-length", "0");
        request.insert_header("accept", "application/json");
        request.insert_header("x-tfs-fedauthredirect", "Suppress");
        request.insert_header("user-agent", concat!("dtl/", env!("CARGO_PKG_VERSION")));
        AsyncRawResponse::try_into_raw_response(self.client.execute_request(&request).await?).await
    }
}

#[async_trait]
impl ClientAssertion for PipelineToken {
    async fn secret(&self, _options: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let mut problem = String::new();
        for attempt in 1..=TRIES {
            match self.ask().await {
                Ok(response) => match read_token(&response) {
                    Ok(token) => {
                        (self.register)(&token);
                        return Ok(token);
                    }
                    Err(told) => {
                        problem = told;
                        let status = u16::from(response.status());
                        if matches!(status, 400..=407 | 409..=428) {
                            break;
                        }
                    }
                },
                Err(error) => problem = super::error::Cause::from_error(&error).chain(),
            }
            if attempt < TRIES {
                self.host.sleep(Duration::from_millis(500) * attempt).await;
            }
        }
        // The kind is none that is tried again from outside: three tries are enough.
        Err(azure_core::Error::with_message(ErrorKind::Other, format!("the pipeline gave no token for the service connection: {problem}")))
    }
}

impl fmt::Debug for PipelineToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PipelineToken")
    }
}

fn read_token(response: &RawResponse) -> Result<String, String> {
    let status = u16::from(response.status());
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    match body["oidcToken"].as_str().filter(|token| !token.is_empty()) {
        Some(token) if (200..300).contains(&status) => Ok(token.to_owned()),
        _ => {
            let message = body["message"].as_str().map(|message| format!(": {}", scrub::text(message))).unwrap_or_default();
            Err(format!("its service answered {status}{message}"))
        }
    }
}

#[cfg(test)]
mod tests;
