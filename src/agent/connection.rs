//! Service connections (endpoints) as the agent exports them.
//!
//! Where to sign in and whom to talk to is read from the connection itself. A cloud's well-known addresses fill only what the connection
//! leaves out, and only for the cloud that it names.

use std::collections::HashMap;

use azure_core::{
    credentials::Secret,
    http::{Method, Request, Url},
};
use serde_json::Value;

use super::Agent;
use crate::host::Host;

/// An Azure Resource Manager service connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The connection's id, a GUID.
    pub id: String,
    /// The resource manager's URL, with a trailing slash.
    pub resource_manager: String,
    /// The sign-in authority's URL, with a trailing slash.
    pub authority: String,
    /// The scope that a token is asked for.
    pub token_scope: String,
    /// The portal's URL for this cloud, with a trailing slash, when it is known.
    pub portal: Option<String>,
    /// The subscription that the connection is for; absent for a management group.
    pub subscription_id: Option<String>,
    /// The Microsoft Entra tenant.
    pub tenant_id: String,
    /// How to sign in.
    pub authentication: Authentication,
    /// Whether authority and scope are still to be asked of the resource manager (Azure Stack): see `discover`.
    pub needs_discovery: bool,
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
        "input '{input}': the service connection signs in by {scheme}, which is not supported: use workload identity federation, or a service principal with a secret"
    )]
    UnsupportedScheme {
        /// The input's name.
        input: &'static str,
        /// The scheme in words.
        scheme: String,
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
    /// The connection is for a management group, and the task needs a subscription.
    #[error(
        "the service connection is not for a subscription (it may be for a management group): choose one whose scope is the subscription to work in"
    )]
    NoSubscription,
    /// The resource manager of an Azure Stack did not say where to sign in.
    #[error("the resource manager at {url} did not say where to sign in: {problem}")]
    Discovery {
        /// The address that was asked.
        url: String,
        /// What was wrong with the answer.
        problem: String,
    },
}

/// A cloud's well-known addresses.
struct KnownCloud {
    names: &'static [&'static str],
    resource_manager_host: &'static str,
    authority: &'static str,
    portal: &'static str,
}

const KNOWN_CLOUDS: [KnownCloud; 3] = [
    KnownCloud {
        names: &["AzureCloud"],
        resource_manager_host: "management.azure.com",
        authority: "https://login.microsoftonline.com/",
        portal: "https://portal.azure.com/",
    },
    KnownCloud {
        names: &["AzureUSGovernment"],
        resource_manager_host: "management.usgovcloudapi.net",
        authority: "https://login.microsoftonline.us/",
        portal: "https://portal.azure.us/",
    },
    KnownCloud {
        names: &["AzureChinaCloud"],
        resource_manager_host: "management.chinacloudapi.cn",
        authority: "https://login.chinacloudapi.cn/",
        portal: "https://portal.azure.cn/",
    },
];

/// Where to sign in when neither the connection nor its cloud says: the agent's own tasks have this default.
const DEFAULT_AUTHORITY: &str = "https://login.microsoftonline.com/";

impl Connection {
    /// The connection's subscription, for tasks that cannot do without.
    pub fn subscription(&self) -> Result<&str, ConnectionError> {
        self.subscription_id.as_deref().ok_or(ConnectionError::NoSubscription)
    }

    /// Asks an Azure Stack where to sign in, when the connection does not say. Nothing is sent for any other connection.
    pub async fn discover(mut self, host: &dyn Host) -> Result<Self, ConnectionError> {
        if !self.needs_discovery {
            return Ok(self);
        }
        let url = format!("{}metadata/endpoints?api-version=2015-01-01", self.resource_manager);
        let failed = |problem: String| ConnectionError::Discovery { url: url.clone(), problem };
        let request = Request::new(Url::parse(&url).map_err(|error| failed(error.to_string()))?, Method::Get);
        let response = host.http_client().execute_request(&request).await.map_err(|error| failed(error.to_string()))?;
        let response = response.try_into_raw_response().await.map_err(|error| failed(error.to_string()))?;
        let body: Value = serde_json::from_slice(response.body()).map_err(|error| failed(error.to_string()))?;
        let login = body["authentication"]["loginEndpoint"].as_str().ok_or_else(|| failed("no loginEndpoint".to_owned()))?;
        let audience = body["authentication"]["audiences"][0].as_str().ok_or_else(|| failed("no audience".to_owned()))?;
        if login.trim_end_matches('/').to_ascii_lowercase().ends_with("/adfs") {
            return Err(failed("it signs in by AD FS, which is not supported; Microsoft Entra is".to_owned()));
        }
        self.authority = https(login).ok_or_else(|| failed(format!("'{login}' is not an https address")))?;
        self.token_scope = format!("{audience}/.default");
        self.needs_discovery = false;
        Ok(self)
    }
}

/// Reads the connection that an input names.
pub(super) fn read(agent: &Agent, input: &'static str) -> Result<Connection, ConnectionError> {
    let id = agent.input(input).ok_or(ConnectionError::Missing { input })?;
    let endpoint = Endpoint::read(agent, input, id.trim())?;
    let authentication = endpoint.authentication()?;
    let resource_manager = endpoint.resource_manager()?;
    let cloud = endpoint.known_cloud(&resource_manager);
    let is_stack = endpoint.data("environment").is_some_and(|name| name.eq_ignore_ascii_case("AzureStack"));
    let audience = endpoint.data("activeDirectoryServiceEndpointResourceId").filter(|_| is_stack);
    let own_authority = endpoint.data("activeDirectoryAuthority");
    let needs_discovery = is_stack && (audience.is_none() || own_authority.is_none());
    let authority = own_authority.unwrap_or_else(|| cloud.map_or(DEFAULT_AUTHORITY, |cloud| cloud.authority).to_owned());
    Ok(Connection {
        authority: https(&authority).ok_or(ConnectionError::BadAddress { input, what: "sign-in authority", url: authority })?,
        token_scope: match audience {
            Some(audience) => format!("{audience}/.default"),
            None => format!("{}/.default", resource_manager.trim_end_matches('/')),
        },
        portal: cloud.map(|cloud| cloud.portal.to_owned()),
        subscription_id: endpoint.data("subscriptionId"),
        tenant_id: endpoint.parameter("tenantid").or_else(|| endpoint.data("tenantId")).ok_or(endpoint.incomplete("tenant"))?,
        id: endpoint.id,
        resource_manager,
        authentication,
        needs_discovery,
    })
}

/// A connection as it lies in the environment and the vault.
struct Endpoint<'a> {
    agent: &'a Agent,
    input: &'static str,
    id: String,
    parameters: HashMap<String, String>,
    scheme: Option<String>,
    data: HashMap<String, String>,
}

impl<'a> Endpoint<'a> {
    fn read(agent: &'a Agent, input: &'static str, id: &str) -> Result<Self, ConnectionError> {
        let authorization = agent.vault.get(&format!("ENDPOINT_AUTH_{id}"));
        let exported = authorization.is_some()
            || agent.host.variable(&format!("ENDPOINT_URL_{id}")).is_some()
            || agent.vault.get(&format!("ENDPOINT_AUTH_SCHEME_{id}")).is_some();
        if !exported {
            return Err(ConnectionError::NotExported { input, id: id.to_owned() });
        }
        let authorization = authorization.and_then(|json| serde_json::from_str::<Value>(json).ok()).unwrap_or_default();
        let data = agent.host.variable(&format!("ENDPOINT_DATA_{id}")).and_then(|json| serde_json::from_str::<Value>(&json).ok());
        Ok(Self {
            agent,
            input,
            id: id.to_owned(),
            parameters: texts(&authorization["parameters"]),
            scheme: authorization["scheme"].as_str().map(str::to_owned),
            data: texts(&data.unwrap_or_default()),
        })
    }

    fn incomplete(&self, what: &'static str) -> ConnectionError {
        ConnectionError::Incomplete { input: self.input, what }
    }

    /// A parameter of the authorization, by its own variable or from the JSON form.
    fn parameter(&self, key: &str) -> Option<String> {
        let variable = format!("ENDPOINT_AUTH_PARAMETER_{}_{}", self.id, key.to_uppercase());
        let value = self.agent.vault.get(&variable).map(str::to_owned);
        value.or_else(|| self.parameters.get(&key.to_uppercase()).cloned())
    }

    /// A data value, by its own variable or from the JSON form.
    fn data(&self, key: &str) -> Option<String> {
        let variable = format!("ENDPOINT_DATA_{}_{}", self.id, key.to_uppercase());
        let value = self.agent.host.variable(&variable).filter(|value| !value.trim().is_empty());
        value.or_else(|| self.data.get(&key.to_uppercase()).cloned())
    }

    /// The scheme; absent means a service principal.
    fn scheme(&self) -> String {
        let own = self.agent.vault.get(&format!("ENDPOINT_AUTH_SCHEME_{}", self.id)).map(str::to_owned);
        own.or_else(|| self.scheme.clone()).unwrap_or_else(|| "ServicePrincipal".to_owned())
    }

    fn authentication(&self) -> Result<Authentication, ConnectionError> {
        let unsupported = |scheme: &str| Err(ConnectionError::UnsupportedScheme { input: self.input, scheme: scheme.to_owned() });
        let client_id = || self.parameter("serviceprincipalid").ok_or(self.incomplete("application (client) id"));
        match self.scheme().to_ascii_lowercase().as_str() {
            "serviceprincipal" => match self.parameter("authenticationtype").map(|kind| kind.to_ascii_lowercase()).as_deref() {
                None | Some("spnkey") => Ok(Authentication::ClientSecret {
                    client_id: client_id()?,
                    secret: Secret::new(self.parameter("serviceprincipalkey").ok_or(self.incomplete("secret"))?),
                }),
                Some("spncertificate") => unsupported("a service principal with a certificate"),
                Some(other) => unsupported(&format!("a service principal with '{other}'")),
            },
            "workloadidentityfederation" => Ok(Authentication::WorkloadIdentityFederation {
                client_id: client_id()?,
                request_uri: self.request_uri()?,
                system_access_token: Secret::new(self.system_access_token()?),
            }),
            "managedserviceidentity" => unsupported("the agent machine's managed identity"),
            _ => unsupported(&format!("the scheme '{}'", self.scheme())),
        }
    }

    fn resource_manager(&self) -> Result<String, ConnectionError> {
        let url = self.agent.host.variable(&format!("ENDPOINT_URL_{}", self.id)).filter(|url| !url.trim().is_empty());
        let url = url.or_else(|| self.data("resourceManagerUrl")).or_else(|| self.data("environmentUrl"));
        let url = url.ok_or(self.incomplete("URL"))?;
        https(&url).ok_or(ConnectionError::BadAddress { input: self.input, what: "URL", url })
    }

    /// The cloud by its resource manager's address, or else by the name that the connection gives it.
    fn known_cloud(&self, resource_manager: &str) -> Option<&'static KnownCloud> {
        let host = Url::parse(resource_manager).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let by_address = KNOWN_CLOUDS.iter().find(|cloud| host.eq_ignore_ascii_case(cloud.resource_manager_host));
        // A private address with the public cloud's name is a stand-in, such as the emulator: it has no portal.
        by_address.or_else(|| {
            let name = self.data("environment").filter(|name| !name.eq_ignore_ascii_case("AzureCloud"))?;
            KNOWN_CLOUDS.iter().find(|cloud| cloud.names.iter().any(|known| known.eq_ignore_ascii_case(&name)))
        })
    }

    /// Where the pipeline's own token for this connection is handed out.
    fn request_uri(&self) -> Result<String, ConnectionError> {
        let variable = |name: &str| self.agent.pipeline_variable(name);
        let base = variable("System.OidcRequestUri").or_else(|| {
            let collection = variable("System.CollectionUri").or_else(|| variable("System.TeamFoundationCollectionUri"))?;
            Some(format!(
                "{}/{}/_apis/distributedtask/hubs/{}/plans/{}/jobs/{}/oidctoken",
                collection.trim_end_matches('/'),
                variable("System.TeamProjectId")?,
                variable("System.HostType")?,
                variable("System.PlanId")?,
                variable("System.JobId")?
            ))
        });
        let base = base.ok_or(self.incomplete("address for the pipeline's token (System.OidcRequestUri is not set)"))?;
        let bad = || ConnectionError::BadAddress { input: self.input, what: "address for the pipeline's token", url: base.clone() };
        let mut url = Url::parse(&base).ok().filter(|url| url.scheme() == "https").ok_or_else(bad)?;
        url.query_pairs_mut().append_pair("api-version", "7.1").append_pair("serviceConnectionId", &self.id);
        Ok(url.into())
    }

    fn system_access_token(&self) -> Result<String, ConnectionError> {
        let vault = &self.agent.vault;
        let own = vault.get("ENDPOINT_AUTH_PARAMETER_SYSTEMVSSCONNECTION_ACCESSTOKEN").map(str::to_owned);
        let json = || vault.get("ENDPOINT_AUTH_SYSTEMVSSCONNECTION").and_then(|json| serde_json::from_str::<Value>(json).ok());
        let token = own.or_else(|| texts(&json()?["parameters"]).remove("ACCESSTOKEN"));
        token.ok_or(self.incomplete("access to the job's own token (SystemVssConnection)"))
    }
}

/// The texts of a JSON object by their upper-cased names, without the empty ones.
fn texts(object: &Value) -> HashMap<String, String> {
    let members = object.as_object().into_iter().flatten();
    let texts = members.filter_map(|(name, value)| Some((name.to_uppercase(), value.as_str()?.to_owned())));
    texts.filter(|(_, value)| !value.trim().is_empty()).collect()
}

/// An https address with a trailing slash, or `None`.
fn https(url: &str) -> Option<String> {
    let url = Url::parse(url.trim()).ok().filter(|url| url.scheme() == "https" && url.has_host())?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    plain.then(|| format!("{}/", url.as_str().trim_end_matches('/')))
}

#[cfg(test)]
mod tests;
