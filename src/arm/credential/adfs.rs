//! Sign-in at Active Directory Federation Services, as on a disconnected Azure Stack. There are no tenants, and a token is asked for by
//! the resource that it is for, not by a scope.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    Error,
    credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
    http::{ClientOptions, Method, Pipeline, PipelineSendOptions, Request, Url},
};
use azure_identity::ClientAssertion;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Maker, refusal::Refusal};
use crate::{
    arm::{Cloud, Error as ArmError, scrub},
    host::Host,
};

/// Where and as whom to sign in.
#[derive(Clone)]
pub(super) struct Adfs {
    pipeline: Pipeline,
    url: Url,
    client_id: String,
}

/// Federation services with what proves the application.
struct Credential {
    adfs: Adfs,
    proof: Proof,
}

enum Proof {
    Secret(Secret),
    Assertion(Arc<dyn ClientAssertion>),
}

impl Adfs {
    /// Nothing is sent yet.
    pub(super) fn new(host: &Arc<dyn Host>, cloud: &Cloud, client_id: &str, refusal: &Arc<Refusal>) -> Result<Self, ArmError> {
        let address = format!("{}oauth2/token", cloud.authority);
        let url = Url::parse(&address).ok().filter(|url| url.scheme() == "https");
        let url = url.ok_or_else(|| ArmError::Address { request: "the access token".to_owned(), url: scrub::url(&address) })?;
        let options: ClientOptions = super::client_options(host, cloud, refusal);
        Ok(Self { pipeline: Pipeline::new(None, None, options, Vec::new(), Vec::new(), None), url, client_id: client_id.to_owned() })
    }

    /// The address for tokens.
    pub(super) fn token_url(&self) -> String {
        self.url.to_string()
    }

    /// Makes credentials that send a secret.
    pub(super) fn with_secret(self, secret: Secret) -> Maker {
        Box::new(move || Ok(Arc::new(Credential { adfs: self.clone(), proof: Proof::Secret(secret.clone()) })))
    }

    /// Makes credentials that send an assertion.
    pub(super) fn with_assertion(self, assertion: Arc<dyn ClientAssertion>) -> Maker {
        Box::new(move || Ok(Arc::new(Credential { adfs: self.clone(), proof: Proof::Assertion(Arc::clone(&assertion)) })))
    }
}

#[async_trait]
impl TokenCredential for Credential {
    async fn get_token(&self, scopes: &[&str], options: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let resource = scopes.first().map(|scope| scope.strip_suffix("/.default").unwrap_or(scope)).unwrap_or_default();
        let assertion;
        let mut form = vec![("grant_type", "client_credentials"), ("client_id", &self.adfs.client_id), ("resource", resource)];
        match &self.proof {
            Proof::Secret(secret) => form.push(("client_secret", secret.secret())),
            Proof::Assertion(source) => {
                assertion = source.secret(None).await?;
                form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
                form.push(("client_assertion", &assertion));
            }
        }
        let body: Vec<_> = form.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))).collect();
        let mut request = Request::new(self.adfs.url.clone(), Method::Post);
        request.insert_header("content-type", "application/x-www-form-urlencoded");
        request.insert_header("accept", "application/json");
        request.set_body(body.join("&"));
        let options = options.unwrap_or_default();
        let context = options.method_options.context.to_borrowed();
        let sending = PipelineSendOptions { skip_checks: true, ..Default::default() };
        let response = self.adfs.pipeline.send(&context, &mut request, Some(sending)).await?;
        read(u16::from(response.status()), response.body())
    }
}

/// The token in an answer.
fn read(status: u16, body: &[u8]) -> azure_core::Result<AccessToken> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    // Federation services write the number as one; others, as text.
    let lifetime = body["expires_in"].as_i64().or_else(|| body["expires_in"].as_str()?.parse().ok());
    match (body["access_token"].as_str(), lifetime) {
        (Some(token), Some(lifetime)) if status == 200 => {
            let expires_on = azure_core::time::OffsetDateTime::now_utc() + azure_core::time::Duration::seconds(lifetime);
            Ok(AccessToken::new(token.to_owned(), expires_on))
        }
        _ => {
            let said = body["error_description"].as_str().or_else(|| body["error"].as_str()).map(scrub::text);
            let said = said.unwrap_or_else(|| format!("the federation service answered {status} without a token"));
            Err(Error::with_message(ErrorKind::Credential, said))
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Adfs").field("url", &self.adfs.url.as_str()).finish_non_exhaustive()
    }
}
