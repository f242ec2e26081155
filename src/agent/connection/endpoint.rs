//! A service connection as it lies in the environment and the vault, read into a [`Connection`].

use std::collections::HashMap;

use azure_core::{credentials::Secret, http::Url};
use serde_json::Value;

use super::{Authentication, ClientCertificate, Connection, ConnectionError, IdentityService, Unknown, https};
use crate::agent::Agent;

/// The portals of the clouds whose resource managers are known; links to them are all that they are for.
const PORTALS: [(&str, &str); 3] = [
    ("management.azure.com", "https://portal.azure.com/"),
    ("management.usgovcloudapi.net", "https://portal.azure.us/"),
    ("management.chinacloudapi.cn", "https://portal.azure.cn/"),
];

/// Reads the connection that an input names.
pub(super) fn read(agent: &Agent, input: &'static str) -> Result<Connection, ConnectionError> {
    let id = agent.input(input).ok_or(ConnectionError::Missing { input })?;
    let endpoint = Endpoint::read(agent, input, id.trim())?;
    let authentication = endpoint.authentication()?;
    let resource_manager = endpoint.resource_manager()?;
    let is_stack = endpoint.data("environment").is_some_and(|name| name.eq_ignore_ascii_case("AzureStack"));
    let audience = endpoint.data("activeDirectoryServiceEndpointResourceId").filter(|_| is_stack);
    let authority = endpoint.data("activeDirectoryAuthority").or_else(|| endpoint.data("environmentAuthorityUrl"));
    // A managed identity asks no authority.
    let asks_authority = !matches!(authentication, Authentication::ManagedIdentity { .. });
    let connection = Connection {
        unknown: Unknown { authority: authority.is_none() && asks_authority, audience: audience.is_none() && is_stack },
        authority: match authority {
            Some(url) => https(&url).ok_or(ConnectionError::BadAddress { input, what: "sign-in authority", url })?,
            None => String::new(),
        },
        token_scope: match audience {
            Some(audience) => format!("{audience}/.default"),
            None => format!("{}/.default", resource_manager.trim_end_matches('/')),
        },
        portal: portal(&resource_manager),
        subscription_id: endpoint.data("subscriptionId"),
        management_group: endpoint.data("managementGroupName").or_else(|| endpoint.data("managementGroupId")),
        tenant_id: endpoint.parameter("tenantid").or_else(|| endpoint.data("tenantId")).unwrap_or_default(),
        id: endpoint.id.clone(),
        resource_manager,
        authentication,
    };
    // Where the authority is still to be asked for, it may turn out to be one that has no tenants.
    let may_do_without = connection.unknown.authority && is_stack;
    if connection.tenant_id.is_empty() && connection.needs_tenant() && !may_do_without {
        return Err(endpoint.incomplete("tenant"));
    }
    Ok(connection)
}

fn portal(resource_manager: &str) -> Option<String> {
    let url = Url::parse(resource_manager).ok()?;
    let (_, portal) = PORTALS.iter().find(|(host, _)| url.host_str().is_some_and(|own| own.eq_ignore_ascii_case(host)))?;
    Some((*portal).to_owned())
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
        let variable = format!("ENDPOINT_AUTH_PARAMETER_{}_{}", self.id, key.to_ascii_uppercase());
        let value = self.agent.vault.get(&variable).map(str::to_owned);
        value.or_else(|| self.parameters.get(&key.to_ascii_uppercase()).cloned())
    }

    /// A data value, by its own variable or from the JSON form.
    fn data(&self, key: &str) -> Option<String> {
        let variable = format!("ENDPOINT_DATA_{}_{}", self.id, key.to_ascii_uppercase());
        let value = self.agent.host.variable(&variable).filter(|value| !value.trim().is_empty());
        value.or_else(|| self.data.get(&key.to_ascii_uppercase()).cloned())
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
                Some("spncertificate") => {
                    let pem = self.parameter("servicePrincipalCertificate").ok_or(self.incomplete("certificate"))?;
                    let certificate = ClientCertificate::from_pem(&pem);
                    let problem = |problem| ConnectionError::Certificate { input: self.input, problem };
                    Ok(Authentication::ClientCertificate { client_id: client_id()?, certificate: certificate.map_err(problem)? })
                }
                Some(other) => unsupported(&format!("a service principal with '{other}'")),
            },
            "workloadidentityfederation" => Ok(Authentication::WorkloadIdentityFederation {
                client_id: client_id()?,
                request_uri: self.request_uri()?,
                system_access_token: Secret::new(self.system_access_token()?),
            }),
            "managedserviceidentity" => Ok(Authentication::ManagedIdentity {
                client_id: self.data("msiClientId"),
                service: IdentityService::read(self.agent, self.input, self.data("msiUri").as_deref())?,
            }),
            _ => unsupported(&format!("the scheme '{}'", self.scheme())),
        }
    }

    fn resource_manager(&self) -> Result<String, ConnectionError> {
        let url = self.agent.host.variable(&format!("ENDPOINT_URL_{}", self.id)).filter(|url| !url.trim().is_empty());
        let url = url.or_else(|| self.data("resourceManagerUrl")).or_else(|| self.data("environmentUrl"));
        let url = url.ok_or(self.incomplete("URL"))?;
        https(&url).ok_or(ConnectionError::BadAddress { input: self.input, what: "URL", url })
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
    let texts = members.filter_map(|(name, value)| Some((name.to_ascii_uppercase(), value.as_str()?.to_owned())));
    texts.filter(|(_, value)| !value.trim().is_empty()).collect()
}
