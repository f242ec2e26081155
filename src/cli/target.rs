//! What a run works on (`--on`): an emulator or Azure, as a service connection would describe it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use azure_core::credentials::Secret;

use super::host::{TransportError, Trust};
use crate::emulator::Ready;

/// Where requests go and who sends them.
#[derive(Clone, Debug)]
pub struct Target {
    /// The resource manager's URL, with a trailing slash.
    pub resource_manager: String,
    /// The sign-in authority's URL, with a trailing slash.
    pub authority: String,
    /// The Microsoft Entra tenant.
    pub tenant_id: String,
    /// The application's id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// The subscription that the service connection is for.
    pub subscription_id: String,
    /// The address that hands out the pipeline's own tokens; absent outside a pipeline.
    pub oidc_request_uri: Option<String>,
    /// The job's access token, for that address.
    pub system_access_token: Option<Secret>,
    /// The certificate authority that programs below must be told of.
    pub ca_file: Option<PathBuf>,
    /// The ids of the labs that are known to be there.
    pub labs: Vec<String>,
}

/// Why there is nothing to work on.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The file of a running emulator cannot be read.
    #[error("failed to read '{}', which should hold the line that `dtl emulator` prints when it is ready", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("'{}' does not hold the line that `dtl emulator` prints when it is ready", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The emulator has nothing to work with.
    #[error("the emulator has no subscription: its seed must list one")]
    NoSubscription,
    /// Azure needs a service principal.
    #[error("`--on azure` signs in with a service principal: set {}", missing.join(", "))]
    NoPrincipal {
        /// The variables that are not set.
        missing: Vec<&'static str>,
    },
}

impl Target {
    /// An emulator, by the line that it prints when it is ready.
    pub fn emulator(ready: &Ready) -> Result<Self, TargetError> {
        let subscription = ready.subscriptions.first().ok_or(TargetError::NoSubscription)?;
        Ok(Self {
            resource_manager: ready.resource_manager.clone(),
            authority: ready.authority.clone(),
            tenant_id: ready.tenant_id.clone(),
            client_id: ready.client_id.clone(),
            client_secret: Secret::new(ready.client_secret.clone()),
            subscription_id: subscription.subscription_id.clone(),
            oidc_request_uri: Some(ready.oidc_request_uri.clone()),
            system_access_token: Some(Secret::new(ready.system_access_token.clone())),
            ca_file: Some(PathBuf::from(&ready.ca_file)),
            labs: ready.subscriptions.iter().flat_map(|subscription| subscription.labs.clone()).collect(),
        })
    }

    /// A running emulator, by the file that its ready line was written to.
    pub fn running_emulator(path: &Path) -> Result<Self, TargetError> {
        let text = fs::read_to_string(path).map_err(|source| TargetError::Read { path: path.to_owned(), source })?;
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let ready = serde_json::from_str(line).map_err(|source| TargetError::Parse { path: path.to_owned(), source })?;
        Self::emulator(&ready)
    }

    /// Azure's public cloud, or the one that `AZURE_AUTHORITY_HOST` and `AZURE_RESOURCE_MANAGER` name, by a service principal in the variables.
    pub fn azure(variable: impl Fn(&str) -> Option<String>) -> Result<Self, TargetError> {
        let names = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_SUBSCRIPTION_ID"];
        let values = names.map(|name| variable(name).filter(|value| !value.trim().is_empty()));
        let [Some(tenant_id), Some(client_id), Some(client_secret), Some(subscription_id)] = values.clone() else {
            let missing = names.into_iter().zip(&values).filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
            return Err(TargetError::NoPrincipal { missing });
        };
        let url = |name: &str, public: &str| {
            variable(name).filter(|value| !value.is_empty()).map_or_else(|| public.to_owned(), |value| with_slash(&value))
        };
        Ok(Self {
            resource_manager: url("AZURE_RESOURCE_MANAGER", "https://management.azure.com/"),
            authority: url("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
            tenant_id,
            client_id,
            client_secret: Secret::new(client_secret),
            subscription_id,
            oidc_request_uri: None,
            system_access_token: None,
            ca_file: None,
            labs: Vec::new(),
        })
    }

    /// Whom to trust on the way there.
    pub fn trust(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Trust, TransportError> {
        match &self.ca_file {
            Some(authority) => Ok(Trust::Only { authority: authority.clone() }),
            None => Trust::machine(variable),
        }
    }
}

fn with_slash(url: &str) -> String {
    if url.ends_with('/') { url.to_owned() } else { format!("{url}/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azure_lists_every_variable_that_is_missing() {
        let variable = |name: &str| (name == "AZURE_TENANT_ID").then(|| "tenant".to_owned());
        assert_eq!(
            Target::azure(variable).unwrap_err().to_string(),
            "`--on azure` signs in with a service principal: set AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, AZURE_SUBSCRIPTION_ID"
        );
    }

    #[test]
    fn azure_takes_another_clouds_addresses_from_the_variables() {
        let variable = |name: &str| match name {
            "AZURE_AUTHORITY_HOST" => Some("https://login.microsoftonline.us".to_owned()),
            "AZURE_RESOURCE_MANAGER" => None,
            _ => Some(name.to_lowercase()),
        };
        let target = Target::azure(variable).unwrap();
        assert_eq!(target.authority, "https://login.microsoftonline.us/");
        assert_eq!(target.resource_manager, "https://management.azure.com/");
        assert_eq!(target.subscription_id, "azure_subscription_id");
    }

    #[test]
    fn a_file_that_is_no_ready_line_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "not json").unwrap();
        let error = Target::running_emulator(file.path()).unwrap_err();
        assert!(matches!(error, TargetError::Parse { .. }));
        assert!(error.to_string().contains(&*file.path().to_string_lossy()));
    }
}
