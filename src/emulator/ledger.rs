//! What has changed and is not yet written, and what is being done and is not yet finished.
//!
//! Every change of a resource or an operation is noted here. Without a state file nobody asks, and nothing is noted. With one, `state`
//! writes what was noted, all of it in one transaction, and no answer leaves before what it tells of is written.
//!
//! Work that goes on when the process dies cannot be written down: it is a future. What is kept instead is the request that began it and
//! how everything looked that it has changed since. After a restart the changes are taken back and the request is served again, with the
//! time that has passed counted as passed, so that the work goes on where it would be by now. A request that changed what
//! unfinished work had touched is kept and served again as well, in its order.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    future::Future,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::{identity::Caller, store::Resource};

tokio::task_local! {
    /// On whose behalf this task changes anything.
    static CURRENT: Current;
}

/// A request that changes something, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Begun {
    /// The method.
    pub method: String,
    /// The path, decoded.
    pub path: String,
    /// The query as sent.
    pub query: String,
    /// Headers without the token.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// Who sent it.
    pub caller: Caller,
    /// The URL that the client used.
    pub root: String,
    /// When it arrived, in real time.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The names of the operations that it began, in order.
    #[serde(default)]
    pub operations: Vec<String>,
}

/// A request with the work that it began.
#[derive(Debug)]
struct Work {
    number: u64,
    begun: Begun,
    /// Names that the operations of a request that is served again had before.
    given: VecDeque<String>,
    /// How resources looked before.
    before: HashMap<Arc<str>, Option<Arc<Resource>>>,
    /// The request's own thread and the futures that it spawned.
    running: usize,
    /// Unfinished work whose resources this changed.
    follows: BTreeSet<u64>,
    is_kept: bool,
}

/// The task's work, and how much of its time has passed already.
#[derive(Clone, Debug)]
struct Current {
    number: u64,
    /// Whether this is the request itself, not what it spawned.
    is_request: bool,
    credit: Cell<Duration>,
    hurries: Cell<bool>,
    ledger: Arc<Ledger>,
}

/// What is to be written.
#[derive(Debug, Default)]
pub struct Pending {
    /// Ids of resources that changed.
    pub resources: HashSet<Arc<str>>,
    /// Names of operations that changed.
    pub operations: HashSet<String>,
    /// Work that is kept from now on.
    pub kept: BTreeMap<u64, Begun>,
    /// Work that need not be kept any longer.
    pub finished: BTreeSet<u64>,
    /// How resources looked before unfinished work changed them.
    pub before: HashMap<(u64, Arc<str>), Option<Arc<Resource>>>,
    /// Whether the settings changed.
    pub settings: bool,
    /// The number of the last change among these.
    pub last: u64,
}

#[derive(Debug, Default)]
struct Inner {
    pending: Pending,
    changes: u64,
    next: u64,
    work: BTreeMap<u64, Work>,
    owners: HashMap<Arc<str>, BTreeSet<u64>>,
    is_closed: bool,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    is_open: AtomicBool,
    hurrying: AtomicUsize,
    inner: Mutex<Inner>,
    noted: Condvar,
    written: watch::Sender<Result<u64, ()>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            is_open: AtomicBool::new(false),
            hurrying: AtomicUsize::new(0),
            inner: Mutex::default(),
            noted: Condvar::new(),
            written: watch::Sender::new(Ok(0)),
        }
    }
}

/// The state file cannot be written: nothing may be acknowledged.
#[derive(Debug, thiserror::Error)]
#[error("the state file cannot be written")]
pub struct Unwritten;

impl Ledger {
    /// Begins to note changes; work gets numbers from `next` on.
    pub fn open(&self, next: u64) {
        self.lock().next = next;
        self.is_open.store(true, Ordering::Release);
    }

    fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, inner: &mut Inner) {
        inner.changes += 1;
        inner.pending.last = inner.changes;
        self.noted.notify_one();
    }

    /// Notes that a resource changes; `before` tells how it looked. Called while the store is locked.
    pub fn resource(&self, key: &Arc<str>, before: impl FnOnce() -> Option<Arc<Resource>>) {
        if !self.is_open() {
            return;
        }
        let mut inner = self.lock();
        inner.pending.resources.insert(key.clone());
        if let Some(number) = current_number() {
            inner.changed_by(number, key, before);
        }
        self.note(&mut inner);
    }

    /// Notes that an operation changed.
    pub fn operation(&self, name: &str) {
        if self.is_open() {
            let mut inner = self.lock();
            inner.pending.operations.insert(name.to_ascii_lowercase());
            self.note(&mut inner);
        }
    }

    /// The name for an operation that begins: its own, or the one that it had before a restart.
    pub fn operation_name(&self, fresh: String) -> String {
        if !self.is_open() {
            return fresh;
        }
        let mut inner = self.lock();
        let request = CURRENT.try_with(|current| current.is_request.then_some(current.number)).ok().flatten();
        let Some(work) = request.and_then(|number| inner.work.get_mut(&number)) else { return fresh };
        let name = work.given.pop_front().unwrap_or(fresh);
        work.begun.operations.push(name.clone());
        name
    }

    /// Notes that blobs changed, which know themselves what.
    pub fn blobs(&self) {
        if self.is_open() {
            self.note(&mut self.lock());
        }
    }

    /// Notes that the settings changed.
    pub fn settings(&self) {
        if self.is_open() {
            let mut inner = self.lock();
            inner.pending.settings = true;
            self.note(&mut inner);
        }
    }

    /// Serves a request that may change something, so that what it changes is known to be its work. `credit` is what has passed of the
    /// work's time.
    pub fn serve<T>(self: &Arc<Self>, begun: impl FnOnce() -> Begun, credit: Duration, serve: impl FnOnce() -> T) -> T {
        if !self.is_open() {
            return serve();
        }
        let number = {
            let mut begun = begun();
            let given = std::mem::take(&mut begun.operations).into();
            let mut inner = self.lock();
            let number = inner.next;
            inner.next += 1;
            let work = Work { number, begun, given, before: HashMap::new(), running: 1, follows: BTreeSet::new(), is_kept: false };
            inner.work.insert(number, work);
            number
        };
        let current = Current { number, is_request: true, credit: Cell::new(credit), hurries: Cell::new(false), ledger: self.clone() };
        let _done = Served { ledger: self, number };
        CURRENT.sync_scope(current, serve)
    }

    /// A future on behalf of the work that spawns it.
    pub fn carry(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let Some(number) = current_number().filter(|_| self.is_open()) else { return Box::pin(work) };
        let credit = credit();
        let mut inner = self.lock();
        if let Some(work) = inner.work.get_mut(&number) {
            work.running += 1;
            if !work.is_kept {
                inner.keep(number);
            }
        }
        drop(inner);
        let current = Current { number, is_request: false, credit: Cell::new(credit), hurries: Cell::new(false), ledger: self.clone() };
        current.hurry(true);
        let ledger = self.clone();
        Box::pin(CURRENT.scope(current, async move {
            work.await;
            spend(Duration::MAX);
            ledger.ended(number);
        }))
    }

    fn ended(&self, number: u64) {
        let mut inner = self.lock();
        let Some(work) = inner.work.get_mut(&number) else { return };
        work.running -= 1;
        let has_changed = if work.running == 0 { inner.finish(number) } else { work.is_kept };
        if inner.work.get(&number).is_some_and(|work| work.is_kept) {
            inner.keep(number);
        }
        if has_changed {
            self.note(&mut inner);
        }
    }

    /// How many futures still make up for time that passed while there was no process.
    pub fn hurrying(&self) -> usize {
        self.hurrying.load(Ordering::Acquire)
    }

    /// Waits until everything that was noted so far is written.
    pub async fn written(&self) -> Result<(), Unwritten> {
        if !self.is_open() {
            return Ok(());
        }
        let last = self.lock().changes;
        let mut written = self.written.subscribe();
        match written.wait_for(|written| written.is_err_and(|()| true) || written.is_ok_and(|number| number >= last)).await {
            Ok(written) if written.is_ok() => Ok(()),
            _ => Err(Unwritten),
        }
    }

    /// Waits in the writer's thread until there is something to write, and tells whether there ever will be again.
    pub fn wait(&self) -> bool {
        let mut inner = self.lock();
        while inner.pending.last == 0 && !inner.is_closed {
            inner = self.noted.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.pending.last != 0
    }

    /// Takes what is to be written. Called while the store is locked, so that resources and their past belong together.
    pub fn take(&self) -> Pending {
        std::mem::take(&mut self.lock().pending)
    }

    /// Tells that everything up to a number is written, or that writing failed.
    pub fn tell(&self, written: Result<u64, ()>) {
        let _ = self.written.send_replace(written);
    }

    /// Forgets work of a process that is no more: it was taken up under other numbers.
    pub fn forget(&self, numbers: Vec<u64>) {
        let mut inner = self.lock();
        inner.pending.finished.extend(numbers);
        self.note(&mut inner);
    }

    /// Lets the writer end when everything is written.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.noted.notify_all();
    }
}

/// The request's own thread is done, even if by a panic.
struct Served<'a> {
    ledger: &'a Ledger,
    number: u64,
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.ledger.ended(self.number);
    }
}

impl Inner {
    fn changed_by(&mut self, number: u64, key: &Arc<str>, before: impl FnOnce() -> Option<Arc<Resource>>) {
        let others: Vec<u64> = self.owners.get(key).into_iter().flatten().copied().filter(|other| *other != number).collect();
        let Some(work) = self.work.get_mut(&number) else { return };
        // Work that began later is not what this follows.
        work.follows.extend(others.into_iter().filter(|other| *other < number));
        if !work.before.contains_key(key) {
            let before = before();
            work.before.insert(key.clone(), before.clone());
            self.pending.before.insert((number, key.clone()), before);
            self.owners.entry(key.clone()).or_default().insert(number);
        }
    }

    fn keep(&mut self, number: u64) {
        if let Some(work) = self.work.get_mut(&number) {
            work.is_kept = true;
            self.pending.kept.insert(number, work.begun.clone());
        }
    }

    /// Nothing of the work runs any more. It is forgotten, unless unfinished work comes before it. Tells whether anything is to be
    /// written for that.
    fn finish(&mut self, number: u64) -> bool {
        let unfinished: BTreeSet<u64> = self.work.keys().copied().collect();
        let Some(work) = self.work.get_mut(&number) else { return false };
        work.follows.retain(|other| unfinished.contains(other));
        if !work.follows.is_empty() {
            work.is_kept = true;
            return true;
        }
        let Some(work) = self.work.remove(&number) else { return false };
        for key in work.before.keys() {
            self.pending.before.remove(&(number, key.clone()));
            if let Some(owners) = self.owners.get_mut(key) {
                owners.remove(&number);
                if owners.is_empty() {
                    self.owners.remove(key);
                }
            }
        }
        self.pending.kept.remove(&number);
        if work.before.is_empty() && !work.is_kept {
            return false;
        }
        self.pending.finished.insert(number);
        let waiting = self.work.values().filter(|other| other.running == 0 && other.follows.contains(&number));
        for follower in waiting.map(|other| other.number).collect::<Vec<_>>() {
            self.finish(follower);
        }
        true
    }
}

impl Current {
    /// Counts this task among those that make up for lost time, or no longer.
    fn hurry(&self, wanted: bool) {
        let wanted = wanted && !self.credit.get().is_zero();
        if wanted != self.hurries.replace(wanted) {
            if wanted {
                self.ledger.hurrying.fetch_add(1, Ordering::AcqRel);
            } else {
                self.ledger.hurrying.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }
}

fn current_number() -> Option<u64> {
    CURRENT.try_with(|current| current.number).ok()
}

/// How much of the time of the task's work has passed before it was taken up again.
pub fn credit() -> Duration {
    CURRENT.try_with(|current| current.credit.get()).unwrap_or_default()
}

/// Takes from the credit what a wait of `duration` needs; what is left of the wait is returned.
fn spend(duration: Duration) -> Duration {
    let spent = CURRENT.try_with(|current| {
        let credit = current.credit.get();
        current.credit.set(credit.saturating_sub(duration));
        current.hurry(credit > duration);
        duration.saturating_sub(credit)
    });
    spent.unwrap_or(duration)
}

/// Waits, less what has passed already.
pub async fn pause(duration: Duration) {
    let rest = spend(duration);
    if !rest.is_zero() {
        tokio::time::sleep(rest).await;
    }
}

/// Waits for another task of which `left` tells afterwards how much credit it had at its end.
pub async fn waiting_for<T>(other: impl Future<Output = T>, left: impl FnOnce() -> Duration) -> T {
    let _ = CURRENT.try_with(|current| current.hurry(false));
    let result = other.await;
    let _ = CURRENT.try_with(|current| {
        current.credit.set(current.credit.get().min(left()));
        current.hurry(true);
    });
    result
}
