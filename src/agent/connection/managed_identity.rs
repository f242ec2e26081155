//! Who hands out the tokens of the agent machine's managed identity: told by the machine's own variables.

use azure_core::{credentials::Secret, http::Url};

use super::ConnectionError;
use crate::agent::Agent;

/// A service of the machine that hands out tokens.
#[derive(Clone, Debug)]
pub enum IdentityService {
    /// Azure's instance metadata service, on a virtual machine or a scale set.
    InstanceMetadata {
        /// Its address, up to `/metadata`.
        url: Url,
    },
    /// App Service and Container Apps, where agents run as jobs.
    AppService {
        /// The address for tokens.
        url: Url,
        /// What tells the service that the caller belongs there.
        header: Secret,
    },
    /// Azure Arc: a machine outside of Azure.
    Arc {
        /// The address for tokens.
        url: Url,
    },
}

/// Azure's address of the instance metadata service, the same in every cloud.
const INSTANCE_METADATA: &str = "http://169.254.169.254/";
/// Moves the instance metadata service elsewhere; Azure's SDKs read the same variable.
const INSTANCE_METADATA_HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
/// The last part of the address for tokens, which some give with the address and some do not.
const TOKEN_PATH: &str = "metadata/identity/oauth2/token";

impl IdentityService {
    /// The service by the connection's own address, else by the machine's variables, else Azure's.
    pub(super) fn read(agent: &Agent, input: &'static str, own: Option<&str>) -> Result<Self, ConnectionError> {
        let variable = |name: &str| agent.host.variable(name).filter(|value| !value.trim().is_empty());
        let address = |url: String| {
            let usable = Url::parse(url.trim()).ok().filter(|url| url.has_host() && (url.scheme() == "https" || is_near(url)));
            usable.ok_or(ConnectionError::BadAddress { input, what: "managed identity service", url })
        };
        let endpoint = variable("IDENTITY_ENDPOINT");
        let metadata = own.map(str::to_owned).or_else(|| variable(INSTANCE_METADATA_HOST));
        match (endpoint, agent.vault.get("IDENTITY_HEADER"), variable("IMDS_ENDPOINT")) {
            (Some(url), Some(header), _) if own.is_none() => {
                Ok(Self::AppService { url: address(url)?, header: Secret::new(header.to_owned()) })
            }
            (Some(url), None, Some(_)) if own.is_none() => Ok(Self::Arc { url: address(url)? }),
            _ => {
                let mut url = address(metadata.unwrap_or_else(|| INSTANCE_METADATA.to_owned()))?;
                url.set_query(None);
                let path = url.path().trim_matches('/').to_owned();
                if !path.ends_with(TOKEN_PATH) {
                    url.set_path(&format!("{path}/{TOKEN_PATH}"));
                }
                Ok(Self::InstanceMetadata { url })
            }
        }
    }
}

/// Whether http does: nothing leaves the machine, or its own link.
fn is_near(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    url.scheme() == "http"
        && match address {
            Ok(std::net::IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
            Ok(std::net::IpAddr::V6(address)) => address.is_loopback(),
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        }
}
