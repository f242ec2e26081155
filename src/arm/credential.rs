//! Token credentials for the kinds of sign-in that the engine knows, made by `azure_identity` over the host's transport.
//!
//! Tokens are cached by `azure_identity` for the task's life and fetched again before they expire. The authority is the connection's own;
//! it is never asked whether it is one that the world knows (instance discovery).
//!
//! What `azure_identity` lacks where there is no operating system is here: certificates (`certificate`), managed identities
//! (`managed_identity`) and Active Directory Federation Services (`adfs`).

mod adfs;
mod certificate;
mod managed_identity;
mod pipeline_token;
mod refusal;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use azure_core::{
    cloud::{CloudConfiguration, CustomConfiguration},
    credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
    http::{
        ClientOptions, Context, Request, RetryOptions, Transport, Url,
        policies::{Policy, PolicyResult},
    },
};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
};

use super::{Cloud, Error, scrub};
use crate::host::{Host, PrivateKey};
use adfs::Adfs;
use certificate::CertificateAssertion;
use managed_identity::ManagedIdentity;
use pipeline_token::PipelineToken;
use refusal::Refusal;

/// An identity and how it signs in.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The Microsoft Entra tenant: its GUID or a domain of its. Federation services have none.
    pub tenant_id: String,
    /// The application's (client) id; empty for the machine's own managed identity.
    pub client_id: String,
    /// How it proves who it is.
    pub proof: Proof,
}

/// How an application proves who it is.
#[derive(Clone, Debug)]
pub enum Proof {
    /// By a secret.
    Secret(Secret),
    /// By a signature that its certificate verifies.
    Certificate {
        /// DER of the certificate, and of its issuers.
        chain: Vec<Vec<u8>>,
        /// The certificate's private key.
        key: PrivateKey,
    },
    /// By the machine that it runs on (managed identity).
    Machine(MachineIdentity),
    /// By a token of the pipeline that the application trusts (workload identity federation).
    Federation {
        /// The address that hands out the pipeline's token for the connection, with its query.
        request_uri: String,
        /// The job's own access token.
        system_access_token: Secret,
    },
}

/// Who hands out the tokens of a machine's managed identity.
#[derive(Clone, Debug)]
pub enum MachineIdentity {
    /// Azure's instance metadata service, by its address for tokens.
    InstanceMetadata(Url),
    /// App Service and Container Apps, by the address for tokens and the header that they ask for.
    AppService(Url, Secret),
    /// Azure Arc, by its address for tokens.
    Arc(Url),
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
    let refusal = Arc::new(Refusal::default());
    let options = client_options(host, cloud, &refusal);
    let adfs = cloud.is_adfs().then(|| Adfs::new(host, cloud, &identity.client_id, &refusal)).transpose()?;
    let Identity { tenant_id, client_id, proof } = identity;
    let make: Maker = match proof {
        Proof::Machine(machine) => {
            let credential = Arc::new(ManagedIdentity::new(host, machine, client_id));
            Box::new(move || Ok(Arc::clone(&credential) as Arc<dyn TokenCredential>))
        }
        Proof::Secret(secret) => match adfs {
            Some(adfs) => adfs.with_secret(secret),
            None => Box::new(move || {
                let options = ClientSecretCredentialOptions { client_options: options.clone() };
                Ok(ClientSecretCredential::new(&tenant_id, client_id.clone(), secret.clone(), Some(options))?)
            }),
        },
        Proof::Certificate { chain, key } => {
            let token_url = adfs.as_ref().map_or_else(|| format!("{}{tenant_id}/oauth2/v2.0/token", cloud.authority), Adfs::token_url);
            let assertion =
                CertificateAssertion::new(host, &chain, key, &client_id, token_url, adfs.is_some()).map_err(|error| unusable(&error))?;
            refusal.present(format!("the certificate with the thumbprint {}", assertion.thumbprint()));
            by_assertion(assertion, adfs, options, tenant_id, client_id)
        }
        Proof::Federation { request_uri, system_access_token } => {
            let url = Url::parse(&request_uri).ok().filter(|url| url.scheme() == "https");
            let url = url.ok_or_else(|| Error::Address { request: "the pipeline's token".to_owned(), url: scrub::url(&request_uri) })?;
            let token = PipelineToken::new(host, url, system_access_token, Arc::clone(&register), Arc::clone(&refusal));
            by_assertion(token, adfs, options, tenant_id, client_id)
        }
    };
    let inner = make().map_err(|error| unusable(&error))?;
    Ok(Arc::new(Renewing { make, register, refusal, state: Mutex::new(State { inner, last: None }) }))
}

/// Trades an assertion for access tokens.
fn by_assertion<A: ClientAssertion + Clone + 'static>(
    assertion: A,
    adfs: Option<Adfs>,
    options: ClientOptions,
    tenant_id: String,
    client_id: String,
) -> Maker {
    match adfs {
        Some(adfs) => adfs.with_assertion(Arc::new(assertion)),
        None => Box::new(move || {
            let options = ClientAssertionCredentialOptions { client_options: options.clone() };
            Ok(ClientAssertionCredential::new(tenant_id.clone(), client_id.clone(), assertion.clone(), Some(options))?)
        }),
    }
}

fn unusable(error: &azure_core::Error) -> Error {
    Error::SignIn { code: None, message: scrub::text(&error.to_string()), source: None }
}

fn client_options(host: &Arc<dyn Host>, cloud: &Cloud, refusal: &Arc<Refusal>) -> ClientOptions {
    let mut configuration = CustomConfiguration::default();
    configuration.authority_host.clone_from(&cloud.authority);
    ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(Transport::new(host.http_client())),
        cloud: Some(Arc::new(CloudConfiguration::Custom(configuration))),
        per_try_policies: vec![Arc::new(UserAgent), Arc::new(OutOfOrder), refusal::clock(host, refusal)],
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
    refusal: Arc<Refusal>,
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
        let token = inner.get_token(scopes, options).await.map_err(|error| self.refusal.explain(error))?;
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

#[cfg(test)]
mod tests;
