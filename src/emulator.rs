//! An Azure Resource Manager emulator: sign-in, labs, virtual machines, images, environments and deployments behind TLS of its own.
//!
//! It works on JSON values and on Azure's published descriptions and never imports the client's models, or one hand's mistake would pass
//! on both sides.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// How to start an emulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The seed file; without it one subscription with one lab.
    pub seed: Option<PathBuf>,
    /// Divides every simulated duration.
    pub speed: f64,
    /// Where to write the certificate authority's certificate (PEM); a temporary file without it.
    pub ca_file: Option<PathBuf>,
}

/// The line that an emulator prints when it is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// The resource manager's URL, with a trailing slash.
    pub resource_manager: String,
    /// The authority's URL, with a trailing slash.
    pub authority: String,
    /// `System.OidcRequestUri`.
    pub oidc_request_uri: String,
    /// The certificate authority's file (PEM).
    pub ca_file: String,
    /// The tenant's GUID.
    pub tenant_id: String,
    /// The application's id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The job's access token, for the OIDC endpoint.
    pub system_access_token: String,
    /// What there is to work with.
    pub subscriptions: Vec<ReadySubscription>,
    /// The process's id.
    pub pid: u32,
}

/// A subscription of the ready line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadySubscription {
    /// The subscription's GUID.
    pub subscription_id: String,
    /// The ids of its labs.
    pub labs: Vec<String>,
}

/// Why an emulator could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken, or may not be listened on.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A running emulator. Dropping it stops it.
#[derive(Debug)]
pub struct Emulator {
    ready: Ready,
}

/// Starts an emulator on the current tokio runtime.
pub async fn start(_options: Options) -> Result<Emulator, Error> {
    todo!()
}

impl Emulator {
    /// What a client needs to know.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The routes that it was asked for and does not know, in order: `METHOD path?api-version`.
    pub fn unknown_routes(&self) -> Vec<String> {
        todo!()
    }

    /// Stops it and waits until its port is free.
    pub async fn stop(self) {
        todo!()
    }
}
