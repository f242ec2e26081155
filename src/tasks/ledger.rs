//! What a task has set going in Azure, so that a cancelled task can stop it, and say what remains.

use std::sync::{Mutex, PoisonError};

use crate::arm::{Client, Request};

/// Something that goes on in Azure without the task.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What goes on, such as `the deletion of '…'`.
    pub what: String,
    /// The id of what it is about.
    pub id: String,
    /// The request that stops it; without one it runs to its end.
    pub stop: Option<Request>,
}

/// All that goes on at the moment. Outlives the task's own work.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    client: Option<Client>,
    entries: Vec<Entry>,
}

impl Ledger {
    /// Remembers the client that can stop things.
    pub fn connect(&self, client: &Client) {
        self.with(|state| state.client = Some(client.clone()));
    }

    /// Notes that something goes on from now.
    pub fn begin(&self, entry: Entry) {
        self.with(|state| state.entries.push(entry));
    }

    /// Notes that whatever was going on with this id is over.
    pub fn end(&self, id: &str) {
        self.with(|state| state.entries.retain(|entry| entry.id != id));
    }

    /// The client, and everything that goes on.
    pub fn close(&self) -> (Option<Client>, Vec<Entry>) {
        self.with(|state| (state.client.take(), std::mem::take(&mut state.entries)))
    }

    fn with<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        action(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
