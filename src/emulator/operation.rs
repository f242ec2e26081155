//! Long-running operations: begun by a request, ended by a workflow, asked about at their status address.
//!
//! Those that have ended are kept for an hour, and the latest ten thousand of them at most: whoever asks later is told that there is none.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    error::ApiError,
    ledger::{self, Ledger},
};

/// How many operations that have ended are kept.
const KEPT: usize = 10_000;
/// For how long they are.
const KEPT_FOR: Duration = Duration::from_hours(1);

/// How an operation stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum State {
    /// It goes on.
    Running,
    /// It ended well, perhaps with a result.
    Succeeded(Option<Value>),
    /// It failed.
    Failed(ApiError),
    /// It was cancelled.
    Canceled,
}

impl State {
    /// Whether it has ended.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Running)
    }
}

/// A long-running operation.
#[derive(Debug)]
pub struct Operation {
    /// Its name in the status address.
    pub name: String,
    state: watch::Sender<State>,
    /// What was left of its work's credit when it ended.
    left: Mutex<Duration>,
    shared: Arc<Shared>,
}

/// An operation as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    name: String,
    /// How it stood.
    pub state: State,
}

/// What operations know of one another.
#[derive(Debug, Default)]
struct Shared {
    ended: Mutex<VecDeque<(Instant, String)>>,
    ledger: Arc<Ledger>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Operation {
    /// How it stands.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits for its end.
    pub async fn ended(&self) -> State {
        let mut receiver = self.state.subscribe();
        let end = async {
            match receiver.wait_for(State::is_final).await {
                Ok(state) => state.clone(),
                Err(_) => State::Canceled,
            }
        };
        ledger::waiting_for(end, || *lock(&self.left)).await
    }

    /// What is written of it.
    pub fn record(&self) -> Record {
        Record { name: self.name.clone(), state: self.state() }
    }

    /// Ends it. The first end counts.
    pub fn end(&self, end: State) {
        let ended = self.state.send_if_modified(|state| {
            let open = !state.is_final();
            if open {
                *lock(&self.left) = ledger::credit();
                *state = end;
            }
            open
        });
        if ended {
            lock(&self.shared.ended).push_back((Instant::now(), self.name.to_ascii_lowercase()));
            self.shared.ledger.operation(&self.name);
        }
    }

    /// Ends it by a result.
    pub fn finish(&self, result: Result<(), ApiError>) {
        self.end(match result {
            Ok(()) => State::Succeeded(None),
            Err(error) => State::Failed(error),
        });
    }

    /// The body of the status address.
    pub fn status_body(&self) -> Value {
        match self.state() {
            State::Running => json!({"status": "Running"}),
            State::Succeeded(None) => json!({"status": "Succeeded"}),
            State::Succeeded(Some(result)) => json!({"status": "Succeeded", "properties": {"output": result}}),
            State::Failed(error) => json!({"status": "Failed", "error": error.to_value()}),
            State::Canceled => {
                json!({"status": "Canceled", "error": {"code": "OperationCanceled", "message": "The operation was canceled."}})
            }
        }
    }
}

/// All operations.
#[derive(Debug, Default)]
pub struct Operations {
    by_name: Mutex<HashMap<String, Arc<Operation>>>,
    shared: Arc<Shared>,
}

impl Operations {
    /// No operations yet; what changes is noted.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self { by_name: Mutex::default(), shared: Arc::new(Shared { ended: Mutex::default(), ledger }) }
    }

    /// An operation that ended before the process began.
    pub fn restore(&self, record: Record) {
        self.add(record.name).end(record.state);
    }
    /// Begins an operation named as DevTest Labs names them: the day and a GUID.
    pub fn begin(&self, now: OffsetDateTime) -> Arc<Operation> {
        let day = now.date();
        let name = format!("{:04}{:02}{:02}-{}", day.year(), u8::from(day.month()), day.day(), Uuid::new_v4());
        self.begin_named(&name)
    }

    /// Begins an operation with a name of its own.
    pub fn begin_named(&self, name: &str) -> Arc<Operation> {
        self.forget_old(Instant::now());
        self.add(self.shared.ledger.operation_name(name.to_owned()))
    }

    fn add(&self, name: String) -> Arc<Operation> {
        let state = watch::Sender::new(State::Running);
        let operation = Arc::new(Operation { name, state, left: Mutex::default(), shared: self.shared.clone() });
        self.lock().insert(operation.name.to_ascii_lowercase(), operation.clone());
        self.shared.ledger.operation(&operation.name);
        operation
    }

    fn forget_old(&self, now: Instant) {
        let mut ended = lock(&self.shared.ended);
        while ended.len() > KEPT || ended.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > KEPT_FOR) {
            let Some((_, name)) = ended.pop_front() else { break };
            // One that was begun again under the same name is not the one that ended.
            let mut all = self.lock();
            if all.get(&name).is_some_and(|operation| operation.state().is_final()) {
                all.remove(&name);
                self.shared.ledger.operation(&name);
            }
        }
    }

    /// The operation of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Operation>> {
        self.lock().get(&name.to_ascii_lowercase()).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Operation>>> {
        lock(&self.by_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_that_ended_are_kept_for_a_while_and_running_ones_for_ever() {
        let operations = Operations::default();
        let running = operations.begin_named("running");
        for number in 0..KEPT + 50 {
            operations.begin_named(&format!("n{number}")).finish(Ok(()));
        }
        let last = operations.begin_named("last");
        assert!(operations.get("n10").is_none() && operations.get("n100").is_some());
        assert_eq!(operations.lock().len(), KEPT + 2);
        operations.forget_old(Instant::now() + KEPT_FOR + Duration::from_secs(1));
        assert_eq!(operations.lock().len(), 2);
        assert!(!running.state().is_final() && !last.state().is_final());
    }
}
