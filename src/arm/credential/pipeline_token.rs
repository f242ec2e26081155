//! The pipeline's own token for a service connection (workload identity federation).

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{
    credentials::Secret,
    error::ErrorKind,
    http::{AsyncRawResponse, ClientMethodOptions, HttpClient, Method, RawResponse, Request, Url},
};
use azure_identity::ClientAssertion;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{SecretRegistrar, refusal::Refusal};
use crate::{
    arm::{error::Cause, scrub},
    host::Host,
};

/// The pipeline's own token for a connection, asked for anew each time: it lives for minutes only.
#[derive(Clone)]
pub(super) struct PipelineToken {
    host: Arc<dyn Host>,
    client: Arc<dyn HttpClient>,
    url: Url,
    system_access_token: Secret,
    register: SecretRegistrar,
    refusal: Arc<Refusal>,
}

/// How often the pipeline is asked for its token.
const TRIES: u32 = 3;

impl PipelineToken {
    /// Nothing is asked for yet.
    pub(super) fn new(
        host: &Arc<dyn Host>,
        url: Url,
        system_access_token: Secret,
        register: SecretRegistrar,
        refusal: Arc<Refusal>,
    ) -> Self {
        Self { host: Arc::clone(host), client: host.http_client(), url, system_access_token, register, refusal }
    }

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
                        self.refusal.present(claims(&token));
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
                Err(error) => problem = Cause::from_error(&error).chain(),
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

/// What a federated credential is matched by. The claims are no secret; the signature is what makes a token one.
fn claims(token: &str) -> String {
    let payload = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
    let claims: Value = payload.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let claim = |name: &str| claims[name].as_str().or_else(|| claims[name][0].as_str()).unwrap_or("none").to_owned();
    format!("issuer '{}', subject '{}', audience '{}'", claim("iss"), claim("sub"), claim("aud"))
}
