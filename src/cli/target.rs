//! What a run works on (`--on`): an emulator or Azure, as a service connection would describe it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use azure_core::credentials::Secret;

use super::{
    host::{TransportError, Trust},
    sign_in::SignIn,
};
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
    /// The subscription that the service connection is for; empty where nothing names one.
    pub subscription_id: String,
    /// A way to sign in that is not the application's secret.
    pub own_sign_in: Option<SignIn>,
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
    /// Nothing signs in.
    #[error("{0}")]
    SignIn(#[from] super::sign_in::SignInError),
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
            own_sign_in: None,
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

    /// Whom to trust on the way there.
    pub fn trust(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Trust, TransportError> {
        match &self.ca_file {
            Some(authority) => Ok(Trust::Only { authority: authority.clone() }),
            None => Trust::machine(variable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_ready_line_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "not json").unwrap();
        let error = Target::running_emulator(file.path()).unwrap_err();
        assert!(matches!(error, TargetError::Parse { .. }));
        assert!(error.to_string().contains(&*file.path().to_string_lossy()));
    }
}
