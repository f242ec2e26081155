//! Everything an emulator is: clock, settings, resources, operations, faults, sign-in; and how work goes on in the background.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    blobs::Blobs,
    clock::Clock,
    deployment::content::Contents,
    exchange::Observer,
    faults::{Faults, Outcome},
    http::Request,
    identity::{Caller, Identity},
    journal::Journal,
    ledger::{self, Ledger},
    operation::{Operation, Operations},
    settings::{Settings, Work},
    store::{Resource, Store},
    throttle::Throttle,
};

/// The emulated cloud.
#[derive(Debug)]
pub struct World {
    /// The emulator's URL, with a trailing slash.
    pub base: String,
    /// The simulated clock.
    pub clock: Clock,
    /// What is to be written, and what is being done.
    pub ledger: Arc<Ledger>,
    /// All resources.
    pub store: Store,
    /// All long-running operations.
    pub operations: Operations,
    /// Faults that wait for their occasion.
    pub faults: Faults,
    /// The requests served.
    pub journal: Journal,
    /// Whoever looks on.
    pub observer: Observer,
    /// Token buckets.
    pub throttle: Throttle,
    /// The tenant.
    pub identity: Arc<Identity>,
    /// What deployments link to.
    pub contents: Arc<Contents>,
    /// How many items a page of a list holds.
    pub page_size: usize,
    /// Azurite, when there are blobs.
    pub blobs: Option<Arc<Blobs>>,
    settings: RwLock<Settings>,
    gate: Mutex<()>,
    unknown_routes: Mutex<Vec<String>>,
    stop: watch::Sender<bool>,
}

impl World {
    /// An empty cloud.
    pub fn new(base: String, identity: Identity, settings: Settings, page_size: usize, blobs: Option<Arc<Blobs>>) -> Self {
        let ledger = Arc::new(Ledger::default());
        let store = Store::new(ledger.clone());
        Self::of(base, ledger, store, Arc::new(identity), Arc::default(), settings, page_size, blobs)
    }

    /// The same cloud once more, to see what would become of it: work takes no time there, no fault meets it, and nothing is written. Blobs
    /// stay behind.
    pub fn copy(&self) -> Self {
        let ledger = Arc::new(Ledger::default());
        let store = self.store.copy(ledger.clone());
        let settings = self.settings().instant();
        let copy = Self::of(self.base.clone(), ledger, store, self.identity.clone(), self.contents.clone(), settings, self.page_size, None);
        copy.clock.set_offset(self.clock.offset());
        copy
    }

    #[allow(clippy::too_many_arguments, reason = "the parts that two worlds may share")]
    fn of(
        base: String,
        ledger: Arc<Ledger>,
        store: Store,
        identity: Arc<Identity>,
        contents: Arc<Contents>,
        settings: Settings,
        page_size: usize,
        blobs: Option<Arc<Blobs>>,
    ) -> Self {
        Self {
            base,
            clock: Clock::default(),
            store,
            operations: Operations::new(ledger.clone()),
            ledger,
            faults: Faults::default(),
            journal: Journal::default(),
            observer: Observer::default(),
            throttle: Throttle::default(),
            identity,
            contents,
            page_size,
            blobs,
            settings: RwLock::new(settings),
            gate: Mutex::default(),
            unknown_routes: Mutex::default(),
            stop: watch::Sender::new(false),
        }
    }

    /// The settings.
    pub fn settings(&self) -> RwLockReadGuard<'_, Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings, to be changed.
    pub fn settings_mut(&self) -> RwLockWriteGuard<'_, Settings> {
        self.settings.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// One change at a time: whoever looks and then acts holds the gate, so that nothing comes between. Reads go without.
    pub fn gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes and reports a request that no route serves.
    pub fn unknown_route(&self, request: &Request) {
        let line = format!("{} {}?{}", request.method, request.path, request.query);
        let mut routes = self.unknown_routes.lock().unwrap_or_else(PoisonError::into_inner);
        if routes.len() < 1000 && !routes.contains(&line) {
            anstream::eprintln!("emulator: no such route: {}", line.escape_debug());
            routes.push(line);
        }
    }

    /// The requests that no route served.
    pub fn unknown_routes(&self) -> Vec<String> {
        self.unknown_routes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets work go on in the background until it ends or the emulator stops.
    pub fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop.subscribe();
        let work = self.ledger.carry(work);
        tokio::spawn(async move {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                () = work => {}
            }
        });
    }

    /// Resolves when the emulator stops.
    pub fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stop = self.stop.subscribe();
        async move {
            // The sender lives as long as the world: an error would mean the same.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }

    /// Ends all background work.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits as long as a piece of work takes.
    pub async fn work(&self, work: Work) {
        let duration = self.settings().duration(work);
        ledger::pause(duration).await;
    }

    /// Waits as long as the making of `id` takes, and tells what becomes of it: `None` when all goes well.
    pub async fn provisioning(&self, id: &str, duration: Duration) -> Option<Outcome> {
        ledger::pause(duration).await;
        let outcome = self.faults.provisioning(id)?;
        ledger::pause(outcome.delay).await;
        (!outcome.state.eq_ignore_ascii_case("Succeeded")).then_some(outcome)
    }

    /// Begins an operation.
    pub fn begin(&self) -> Arc<Operation> {
        self.operations.begin(self.clock.now())
    }

    /// Marks the end of a resource's provisioning.
    pub fn settle(&self, id: &str, change: impl FnOnce(&mut Resource)) -> Option<Arc<Resource>> {
        let now = self.clock.now();
        self.store.update(id, |resource| {
            change(resource);
            resource.updated_at = now;
        })
    }
}

/// A request to the resource manager whose sender is known.
#[derive(Debug)]
pub struct Call<'a> {
    /// The request.
    pub request: &'a Request,
    /// Who sent it.
    pub caller: Caller,
    /// The api-version.
    pub api_version: String,
    /// The URL that the client used to come here, without a trailing slash.
    pub root: String,
}

impl Call<'_> {
    /// The method.
    pub fn method(&self) -> &str {
        &self.request.method
    }
}

/// Decimal digits that nobody expects.
pub fn random_digits(count: u32) -> String {
    let number = Uuid::new_v4().as_u128() % 10_u128.pow(count);
    format!("{number:0width$}", width = count as usize)
}
