//! Tokens of the machine's managed identity, from the service that the machine has for them.
//!
//! These services speak http on the machine itself or its link, and hand out tokens to whoever is there: no secret goes to them but the
//! ones that they have put on the machine themselves. The host keeps such requests near (`Host::identity_client`).

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{
    Error,
    credentials::{AccessToken, TokenCredential, TokenRequestOptions},
    error::ErrorKind,
    http::{AsyncRawResponse, HttpClient, Method, RawResponse, Request, Url, headers::HeaderName},
    time::OffsetDateTime,
};
use serde_json::Value;

use super::MachineIdentity;
use crate::{
    arm::{error::Cause, scrub},
    host::Host,
};

/// Pauses before another try, in seconds: an instance metadata service that is being updated is away for up to 70 s.
const PAUSES: [u64; 6] = [1, 2, 4, 8, 16, 32];
/// The folders in which Azure Arc puts the keys to its tokens, on Linux and on Windows. No other file is read on its word.
const ARC_FOLDERS: [&str; 2] = ["/var/opt/azcmagent/tokens/", "\\azureconnectedmachineagent\\tokens\\"];
/// The longest key that Azure Arc writes.
const LONGEST_ARC_KEY: usize = 4096;

/// The machine's identity, or one of several.
pub(super) struct ManagedIdentity {
    host: Arc<dyn Host>,
    machine: MachineIdentity,
    client_id: String,
}

impl ManagedIdentity {
    /// Nothing is asked for yet. Without a client id it is the machine's own identity.
    pub(super) fn new(host: &Arc<dyn Host>, machine: MachineIdentity, client_id: String) -> Self {
        Self { host: Arc::clone(host), machine, client_id }
    }

    /// The request for a token, and whom it goes to in words.
    fn request(&self, resource: &str) -> (Request, &'static str) {
        let (url, version, service) = match &self.machine {
            MachineIdentity::InstanceMetadata(url) => (url, "2018-02-01", "the instance metadata service"),
            MachineIdentity::AppService(url, _) => (url, "2019-08-01", "the app's identity service"),
            MachineIdentity::Arc(url) => (url, "2020-06-01", "Azure Arc"),
        };
        let mut url = url.clone();
        url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", resource);
        if !self.client_id.is_empty() {
            url.query_pairs_mut().append_pair("client_id", &self.client_id);
        }
        let mut request = Request::new(url, Method::Get);
        request.insert_header("accept", "application/json");
        match &self.machine {
            MachineIdentity::AppService(_, header) => request.insert_header("x-identity-header", header.secret().to_owned()),
            _ => request.insert_header("metadata", "true"),
        }
        (request, service)
    }

    async fn send(&self, request: &Request) -> azure_core::Result<RawResponse> {
        let client: Arc<dyn HttpClient> =
            if request.url().scheme() == "https" { self.host.http_client() } else { self.host.identity_client() };
        AsyncRawResponse::try_into_raw_response(client.execute_request(request).await?).await
    }

    /// Azure Arc answers first with the name of a file that only its users may read, and wants to be shown what is in it.
    async fn ask(&self, request: &mut Request) -> azure_core::Result<RawResponse> {
        let response = self.send(request).await?;
        if !matches!(self.machine, MachineIdentity::Arc(_)) || u16::from(response.status()) != 401 {
            return Ok(response);
        }
        let challenge = response.headers().get_optional_string(&HeaderName::from_static("www-authenticate")).unwrap_or_default();
        let path = challenge.split_once("realm=").map(|(_, path)| path.trim().trim_matches('"')).unwrap_or_default();
        let key = self.read_key(path).map_err(|problem| Error::with_message(ErrorKind::Credential, problem))?;
        request.insert_header("authorization", format!("Basic {key}"));
        self.send(request).await
    }

    fn read_key(&self, path: &str) -> Result<String, String> {
        let normal = path.to_ascii_lowercase();
        let is_own =
            ARC_FOLDERS.iter().any(|folder| if folder.starts_with('/') { normal.starts_with(folder) } else { normal.contains(folder) });
        if !is_own || normal.contains("..") || normal.rsplit_once('.').is_none_or(|(_, extension)| extension != "key") {
            return Err(format!("Azure Arc wants a key from '{path}', which is none of its own files"));
        }
        let key = self.host.read_file(path).map_err(|error| {
            format!("Azure Arc's key '{path}' cannot be read: {error}; the agent's account must be in the group himds (Linux) or Hybrid agent extension applications (Windows)")
        })?;
        if key.len() > LONGEST_ARC_KEY {
            return Err(format!("Azure Arc's key '{path}' is longer than {LONGEST_ARC_KEY} bytes"));
        }
        String::from_utf8(key).map(|key| key.trim().to_owned()).map_err(|_| format!("Azure Arc's key '{path}' is no text"))
    }

    fn refusal(&self, service: &str, response: &RawResponse) -> Error {
        let status = u16::from(response.status());
        let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let said = ["/error_description", "/error/message", "/message", "/error"].iter().find_map(|at| body.pointer(at)?.as_str());
        let said = said.map(|said| format!(": {}", scrub::text(said))).unwrap_or_default();
        let remedy = match (status, self.client_id.is_empty()) {
            (400 | 404, true) => {
                "give the machine a system-assigned identity, or name a user-assigned one by its client id in the service connection"
                    .to_owned()
            }
            (400 | 404, false) => format!(
                "assign the identity with the client id '{}' to the machine, or correct the client id in the service connection",
                self.client_id
            ),
            (401 | 403, _) => "the agent's account may not ask this service".to_owned(),
            _ => "try again later".to_owned(),
        };
        Error::with_message(ErrorKind::Credential, format!("{service} gave no token for the managed identity ({status}{said}); {remedy}"))
    }
}

#[async_trait]
impl TokenCredential for ManagedIdentity {
    async fn get_token(&self, scopes: &[&str], _options: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let resource = scopes.first().map(|scope| scope.strip_suffix("/.default").unwrap_or(scope)).unwrap_or_default();
        let (mut request, service) = self.request(resource);
        let mut pauses = PAUSES.iter();
        loop {
            let response = self.ask(&mut request).await.map_err(|error| unreachable(service, request.url(), error))?;
            let status = u16::from(response.status());
            if status == 200 {
                return read(response.body()).ok_or_else(|| {
                    Error::with_message(ErrorKind::Credential, format!("{service} answered without a token for the managed identity"))
                });
            }
            // https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#retry-guidance
            let may_pass = matches!(status, 404 | 410 | 429 | 500..=599);
            match pauses.next().filter(|_| may_pass) {
                Some(pause) => self.host.sleep(Duration::from_secs(*pause)).await,
                None => return Err(self.refusal(service, &response)),
            }
        }
    }
}

fn unreachable(service: &str, url: &Url, error: Error) -> Error {
    if matches!(error.kind(), ErrorKind::Credential) {
        return error;
    }
    let host = url.origin().ascii_serialization();
    let problem = Cause::from_error(&error).chain();
    Error::with_message(
        ErrorKind::Credential,
        format!(
            "{service} at {host} does not answer ({problem}); a managed identity works on an agent that runs in Azure or is connected by Azure Arc: choose such an agent pool, or another kind of service connection"
        ),
    )
}

/// The token in an answer. Times are seconds since 1970, as text in most services.
fn read(body: &[u8]) -> Option<AccessToken> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let number = |name: &str| body[name].as_i64().or_else(|| body[name].as_str()?.parse().ok());
    let expires_on = match number("expires_on") {
        Some(at) => OffsetDateTime::from_unix_timestamp(at).ok()?,
        None => OffsetDateTime::now_utc() + azure_core::time::Duration::seconds(number("expires_in")?),
    };
    let token = body["access_token"].as_str().filter(|token| !token.is_empty())?;
    Some(AccessToken::new(token.to_owned(), expires_on))
}

impl fmt::Debug for ManagedIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ManagedIdentity").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}
