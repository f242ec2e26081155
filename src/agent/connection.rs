//! Service connections (endpoints) as the agent exports them.
//!
//! Where to sign in and whom to talk to is read from the connection itself (`endpoint`); what it leaves out is asked of its resource
//! manager. No cloud's authority stands here.

pub mod certificate;
mod endpoint;
mod managed_identity;

use azure_core::{
    credentials::Secret,
    http::{Method, Request, Url},
};
use serde_json::Value;

use super::Agent;
use crate::host::Host;

pub use certificate::ClientCertificate;
pub use managed_identity::IdentityService;

/// An Azure Resource Manager service connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The connection's id, a GUID.
    pub id: String,
    /// The resource manager's URL, with a trailing slash.
    pub resource_manager: String,
    /// The sign-in authority's URL, with a trailing slash; empty until it is asked for.
    pub authority: String,
    /// The scope that a token is asked for.
    pub token_scope: String,
    /// The portal's URL for this cloud, with a trailing slash, when it is known.
    pub portal: Option<String>,
    /// The subscription that the connection is for; absent for a management group.
    pub subscription_id: Option<String>,
    /// The management group that the connection is for, by its name or id.
    pub management_group: Option<String>,
    /// The Microsoft Entra tenant; empty where signing in does not need it.
    pub tenant_id: String,
    /// How to sign in.
    pub authentication: Authentication,
    /// What is still to be asked of the resource manager: see `discover`.
    pub unknown: Unknown,
}

/// What a connection leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Where to sign in.
    pub authority: bool,
    /// Whom the token is for (Azure Stack).
    pub audience: bool,
}

/// How a connection signs in.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// A service principal with a secret.
    ClientSecret {
        /// The application's id.
        client_id: String,
        /// Its secret.
        secret: Secret,
    },
    /// A service principal with a certificate.
    ClientCertificate {
        /// The application's id.
        client_id: String,
        /// The certificate and its key.
        certificate: ClientCertificate,
    },
    /// The managed identity of the machine that the agent runs on.
    ManagedIdentity {
        /// The client id of one identity among several; absent is the machine's own.
        client_id: Option<String>,
        /// Who hands out its tokens.
        service: IdentityService,
    },
    /// A service principal or managed identity that trusts the pipeline's own token.
    WorkloadIdentityFederation {
        /// The application's id.
        client_id: String,
        /// The address that hands out the pipeline's token for this connection.
        request_uri: String,
        /// The job's own access token.
        system_access_token: Secret,
    },
}

/// Why a connection cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The input that names the connection is empty.
    #[error("input '{input}' is required: choose an Azure Resource Manager service connection")]
    Missing {
        /// The input's name.
        input: &'static str,
    },
    /// The agent did not hand the connection over.
    #[error(
        "input '{input}' names the service connection '{id}', which this job did not receive: check that it exists and that the pipeline is authorized to use it"
    )]
    NotExported {
        /// The input's name.
        input: &'static str,
        /// The connection's id as given.
        id: String,
    },
    /// The connection signs in in a way that is not supported.
    #[error(
        "input '{input}': the service connection signs in by {scheme}, which is not supported: use workload identity federation, a service principal with a secret or a certificate, or the agent's managed identity"
    )]
    UnsupportedScheme {
        /// The input's name.
        input: &'static str,
        /// The scheme in words.
        scheme: String,
    },
    /// The connection's certificate cannot be used.
    #[error("input '{input}': the service connection's certificate cannot be used: {problem}")]
    Certificate {
        /// The input's name.
        input: &'static str,
        /// Why.
        problem: certificate::CertificateError,
    },
    /// The connection lacks something that its scheme needs.
    #[error("input '{input}': the service connection has no {what}: open it in the project's settings, verify it and save it again")]
    Incomplete {
        /// The input's name.
        input: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// An address in the connection cannot be used.
    #[error("input '{input}': the service connection's {what} '{url}' is not an https address")]
    BadAddress {
        /// The input's name.
        input: &'static str,
        /// Which address.
        what: &'static str,
        /// The address.
        url: String,
    },
    /// Nothing names a subscription.
    #[error(
        "the service connection is for {}, and no input names a subscription: give the resource's whole id (/subscriptions/…), or choose a connection whose scope is the subscription to work in",
        management_group.as_ref().map_or_else(|| "no subscription".to_owned(), |group| format!("the management group '{group}'"))
    )]
    NoSubscription {
        /// The management group that the connection is for.
        management_group: Option<String>,
    },
    /// The resource manager did not say where to sign in.
    #[error("the resource manager at {url} did not say where to sign in: {problem}")]
    Discovery {
        /// The address that was asked.
        url: String,
        /// What was wrong with the answer.
        problem: String,
    },
}

impl Connection {
    /// The connection's subscription, for what no id places in one.
    pub fn subscription(&self) -> Result<&str, ConnectionError> {
        let missing = || ConnectionError::NoSubscription { management_group: self.management_group.clone() };
        self.subscription_id.as_deref().ok_or_else(missing)
    }

    /// Whether signing in goes to Active Directory Federation Services, as on a disconnected Azure Stack.
    pub fn is_adfs(&self) -> bool {
        is_adfs(&self.authority)
    }

    /// Asks the resource manager what the connection leaves out: where to sign in, and on an Azure Stack whom the token is for. Nothing is
    /// sent for a connection that says it all.
    ///
    /// `GET {resource manager}/metadata/endpoints`, which needs no token and which every Azure cloud answers.
    pub async fn discover(mut self, host: &dyn Host) -> Result<Self, ConnectionError> {
        if self.unknown == Unknown::default() {
            return Ok(self);
        }
        let url = format!("{}metadata/endpoints?api-version=2015-01-01", self.resource_manager);
        let failed = |problem: String| ConnectionError::Discovery { url: url.clone(), problem };
        let request = Request::new(Url::parse(&url).map_err(|error| failed(error.to_string()))?, Method::Get);
        let response = host.http_client().execute_request(&request).await.map_err(|error| failed(error.to_string()))?;
        let response = response.try_into_raw_response().await.map_err(|error| failed(error.to_string()))?;
        let status = u16::from(response.status());
        if status != 200 {
            return Err(failed(format!("it answered {status}")));
        }
        let body: Value = serde_json::from_slice(response.body()).map_err(|error| failed(error.to_string()))?;
        if self.unknown.authority {
            let login = body["authentication"]["loginEndpoint"].as_str().ok_or_else(|| failed("no loginEndpoint".to_owned()))?;
            self.authority = https(login).ok_or_else(|| failed(format!("'{login}' is not an https address")))?;
        }
        if self.unknown.audience {
            let audience = body["authentication"]["audiences"][0].as_str().ok_or_else(|| failed("no audience".to_owned()))?;
            self.token_scope = format!("{audience}/.default");
        }
        if self.tenant_id.is_empty() && self.needs_tenant() {
            return Err(failed("it signs in by Microsoft Entra, and the service connection has no tenant".to_owned()));
        }
        self.unknown = Unknown::default();
        Ok(self)
    }

    fn needs_tenant(&self) -> bool {
        !self.is_adfs() && !matches!(self.authentication, Authentication::ManagedIdentity { .. })
    }
}

fn is_adfs(authority: &str) -> bool {
    authority.trim_end_matches('/').to_ascii_lowercase().ends_with("/adfs")
}

/// Reads the connection that an input names.
pub(super) fn read(agent: &Agent, input: &'static str) -> Result<Connection, ConnectionError> {
    endpoint::read(agent, input)
}

/// An https address with a trailing slash, or `None`.
fn https(url: &str) -> Option<String> {
    let url = Url::parse(url.trim()).ok().filter(|url| url.scheme() == "https" && url.has_host())?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    plain.then(|| format!("{}/", url.as_str().trim_end_matches('/')))
}

#[cfg(test)]
mod tests;
