//! An Azure Resource Manager emulator: sign-in, labs, virtual machines, images, environments and deployments behind TLS of its own.
//!
//! It works on JSON values and on Azure's published descriptions and never imports the client's models, or one hand's mistake would pass
//! on both sides. One `world::World` holds everything; `server` reads requests, `router` finds who serves them, and what takes time
//! goes on in workflows that the world keeps until it stops.
#![allow(clippy::disallowed_methods, reason = "the emulator is native only: clock and files are real here")]

mod authorization;
mod blobs;
mod clock;
mod compute;
mod control;
mod deployment;
mod devtestlab;
mod error;
mod exchange;
mod faults;
mod filter;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzzing;
mod http;
mod id;
mod identity;
mod journal;
mod ledger;
mod network;
mod operation;
mod page;
mod precondition;
mod provider;
mod provision;
mod resources;
mod router;
mod seed;
mod server;
mod settings;
mod state;
mod storage;
mod store;
mod throttle;
mod tls;
mod world;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinHandle};

use blobs::{Blobs, Place};
use deployment::content::Contents;
pub use exchange::{Exchange, Observe};
use identity::Identity;
use seed::Seed;
use settings::Settings;
use state::{Meta, State};
use world::World;

#[cfg(any(test, feature = "fuzzing"))]
pub use fuzzing::fuzz;

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
    /// The file that keeps everything across restarts; in memory without it.
    pub state: Option<PathBuf>,
    /// Where Azurite is installed ([`find_azurite`]): storage accounts then hold blobs.
    pub azurite: Option<PathBuf>,
    /// Further host names in the certificate, for clients that reach it by them, such as through a proxy.
    pub names: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: None,
            speed: 60.0,
            ca_file: None,
            state: None,
            azurite: None,
            names: Vec::new(),
        }
    }
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
    /// The URL below which storage accounts have their blobs, with a trailing slash; absent without blobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob_endpoint: Option<String>,
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
    /// The speed is not above zero.
    #[error("failed to start at speed {0}: it must be above zero")]
    Speed(f64),
    /// A key or certificate could not be made.
    #[error("failed to make a certificate: {0}")]
    Certificate(String),
    /// A file or folder could not be read or written.
    #[error("failed to read or write '{}'", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The state file cannot be read or written.
    #[error("failed to use the state file: {0}")]
    State(String),
    /// Azurite, which keeps the blobs, could not be started.
    #[error("failed to start Azurite for the blobs: {0}")]
    Azurite(String),
    /// The seed, or a file that it names, is wrong.
    #[error("failed to read the seed '{}': {problem}", path.display())]
    Seed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// A running emulator. Dropping it stops it.
#[derive(Debug)]
pub struct Emulator {
    ready: Ready,
    world: Arc<World>,
    servers: Vec<JoinHandle<()>>,
    writer: Option<std::thread::JoinHandle<()>>,
    // Keeps the authority's certificate when no file was asked for.
    _authority: Option<tempfile::TempPath>,
}

/// Starts an emulator on the current tokio runtime.
pub async fn start(options: Options) -> Result<Emulator, Error> {
    if !(options.speed.is_finite() && options.speed > 0.0) {
        return Err(Error::Speed(options.speed));
    }
    let mut seed = Seed::read(options.seed.as_deref())?;
    let state = options.state.as_deref().map(State::open).transpose()?;
    let loaded = state.as_ref().map(State::load).transpose()?.flatten();
    let kept = loaded.as_ref().map(|loaded| loaded.meta.clone());
    let kept_place = kept.as_ref().and_then(|kept| kept.blobs.clone());
    if kept_place.is_some() && options.azurite.is_none() {
        return Err(Error::State("it was made with blobs, so it needs them again: start with --blobs".into()));
    }
    let failed = |source| Error::Listen { address: options.listen, source };
    let listener = TcpListener::bind(options.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let tls = tls::make(address.ip(), &options.names, kept.as_ref().map(|kept| &kept.authority))?;
    let (ca_file, authority) = write_authority(options.ca_file, &tls.authority.certificate)?;
    let base = format!("https://{}/", SocketAddr::new(reachable(address.ip()), address.port()));
    // What was kept counts; a seed is for the first start only.
    let (provider, identities, page_size) = match &kept {
        Some(kept) => (kept.provider, kept.identities.clone(), kept.page_size),
        None => (seed.identity_provider, seed.identities.clone(), seed.page_size),
    };
    let identity = Identity::new(&base, provider, identities.clone(), kept.as_ref().map(|kept| &kept.secrets))?;
    let identity = identity.named(options.names.clone());
    let front = match &options.azurite {
        Some(azurite) => {
            let place = kept_place.unwrap_or_else(Place::new);
            Some(start_blobs(azurite, address.ip(), &ca_file, place, options.state.as_deref()).await?)
        }
        None => None,
    };
    let (front, place) = front.unzip();
    let meta = Meta::new(tls.authority.clone(), identity.secrets(), identities, provider, page_size, place);
    let (blobs, front) = front.unzip();
    let mut world = World::new(base, identity, Settings::new(options.speed), page_size, blobs);
    world.contents = Arc::new(Contents::trusting(tls.authority.certificate));
    let world = Arc::new(world);
    if let Some(loaded) = loaded {
        loaded.take_up(&world).await;
    } else {
        if state.is_some() {
            world.ledger.open(1);
            if let Some(blobs) = &world.blobs {
                blobs.restore(BTreeMap::new());
            }
        }
        seed.plant(&world)?;
    }
    let writer = state.map(|state| state.keep(&world, &meta)).transpose()?;
    let ready = ready_line(&world, &ca_file, seed::subscriptions(&world, &seed));
    let mut servers = Vec::new();
    if let Some(front) = front {
        servers.push(tokio::spawn(server::serve(world.clone(), front, tls.server.clone(), blobs::front::respond)));
    }
    servers.push(tokio::spawn(server::serve(world.clone(), listener, tls.server, server::respond)));
    Ok(Emulator { ready, world, servers, writer, _authority: authority })
}

/// Where Azurite is installed: in the `node_modules` of this folder or of the program's, or of one above them.
pub fn find_azurite() -> Result<PathBuf, Error> {
    let program = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    let folders: Vec<PathBuf> = std::env::current_dir().ok().into_iter().chain(program).collect();
    blobs::find(&folders)
}

/// Azurite, the listener in front of it, and where that is.
async fn start_blobs(
    azurite: &Path,
    ip: IpAddr,
    ca_file: &Path,
    mut place: Place,
    state: Option<&Path>,
) -> Result<((Arc<Blobs>, TcpListener), Place), Error> {
    // Addresses that were given out, and that resources hold, lead to this port.
    let address = SocketAddr::new(ip, place.port);
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    place.port = listener.local_addr().map_err(failed)?.port();
    let folder = state.map(|state| {
        let mut name = state.as_os_str().to_owned();
        name.push(".blobs");
        PathBuf::from(name)
    });
    let endpoint = format!("https://{}/", SocketAddr::new(reachable(ip), place.port));
    let blobs = Blobs::start(azurite, endpoint, ca_file, &place, folder.as_deref()).await?;
    Ok(((Arc::new(blobs), listener), place))
}

/// Whoever listens on all addresses is reached on the loopback.
fn reachable(address: IpAddr) -> IpAddr {
    if address.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address }
}

fn write_authority(wanted: Option<PathBuf>, pem: &str) -> Result<(PathBuf, Option<tempfile::TempPath>), Error> {
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |source| Error::File { path, source }
    };
    if let Some(path) = wanted {
        std::fs::write(&path, pem).map_err(failed(&path))?;
        let absolute = std::path::absolute(&path).map_err(failed(&path))?;
        return Ok((absolute, None));
    }
    let folder = std::env::temp_dir();
    let file = tempfile::Builder::new().prefix("dtl-emulator-").suffix(".pem").tempfile_in(&folder).map_err(failed(&folder))?;
    let path = file.path().to_owned();
    std::fs::write(&path, pem).map_err(failed(&path))?;
    Ok((path, Some(file.into_temp_path())))
}

fn ready_line(world: &World, ca_file: &Path, subscriptions: Vec<ReadySubscription>) -> Ready {
    // As Azure DevOps builds it: project, hub, plan, job.
    let part = uuid::Uuid::new_v4();
    Ready {
        resource_manager: world.base.clone(),
        authority: world.base.clone(),
        oidc_request_uri: format!("{}{part}/_apis/distributedtask/hubs/build/plans/{part}/jobs/{part}/oidctoken", world.base),
        ca_file: ca_file.to_string_lossy().into_owned(),
        tenant_id: identity::TENANT.into(),
        client_id: identity::CLIENT.into(),
        client_secret: world.identity.client_secret.clone(),
        system_access_token: world.identity.system_access_token.clone(),
        subscriptions,
        pid: std::process::id(),
        blob_endpoint: world.blobs.as_ref().map(|blobs| blobs.endpoint.clone()),
    }
}

impl Emulator {
    /// What a client needs to know.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The requests that no route served, such as `GET /nowhere?api-version=2018-09-15`.
    pub fn unknown_routes(&self) -> Vec<String> {
        self.world.unknown_routes()
    }

    /// Has every exchange told to an observer, before the client gets its answer. The first observer stays.
    pub fn observe(&self, observe: Arc<Observe>) {
        self.world.observer.set(observe);
    }

    /// Stops it and waits until its port is free.
    pub async fn stop(mut self) {
        self.world.stop();
        for server in std::mem::take(&mut self.servers) {
            // A server that panicked is gone as well.
            let _ = server.await;
        }
        self.world.ledger.close();
        if let Some(writer) = self.writer.take() {
            // The file is free for the next emulator when its writer has ended.
            let _ = tokio::task::spawn_blocking(|| writer.join()).await;
        }
        if let Some(blobs) = &self.world.blobs {
            blobs.stop().await;
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.world.stop();
        self.world.ledger.close();
    }
}
