//! Long-running operations: begun by a request, ended by a workflow, asked about at their status address.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::watch;
use uuid::Uuid;

use super::error::ApiError;

/// How an operation stands.
#[derive(Clone, Debug)]
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
}

impl Operation {
    /// How it stands.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits for its end.
    pub async fn ended(&self) -> State {
        let mut receiver = self.state.subscribe();
        match receiver.wait_for(State::is_final).await {
            Ok(state) => state.clone(),
            Err(_) => State::Canceled,
        }
    }

    /// Ends it. The first end counts.
    pub fn end(&self, end: State) {
        self.state.send_if_modified(|state| {
            let open = !state.is_final();
            if open {
                *state = end;
            }
            open
        });
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
}

impl Operations {
    /// Begins an operation named as DevTest Labs names them: the day and a GUID.
    pub fn begin(&self, now: OffsetDateTime) -> Arc<Operation> {
        let day = now.date();
        let name = format!("{:04}{:02}{:02}-{}", day.year(), u8::from(day.month()), day.day(), Uuid::new_v4());
        self.begin_named(&name)
    }

    /// Begins an operation with a name of its own.
    pub fn begin_named(&self, name: &str) -> Arc<Operation> {
        let operation = Arc::new(Operation { name: name.to_owned(), state: watch::Sender::new(State::Running) });
        self.lock().insert(name.to_ascii_lowercase(), operation.clone());
        operation
    }

    /// The operation of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Operation>> {
        self.lock().get(&name.to_ascii_lowercase()).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Operation>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
