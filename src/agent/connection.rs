//! Service connections (endpoints) as the agent exports them.

use azure_core::credentials::Secret;

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
    /// The portal's URL for this cloud, when it is known.
    pub portal: Option<String>,
    /// The subscription that the connection is for; absent for a management group.
    pub subscription_id: Option<String>,
    /// The Microsoft Entra tenant.
    pub tenant_id: String,
    /// How to sign in.
    pub authentication: Authentication,
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
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The input that names the connection is empty.
    #[error("input '{input}' is required: choose an Azure Resource Manager service connection")]
    Missing {
        /// The input's name.
        input: &'static str,
    },
}
