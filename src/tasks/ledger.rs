//! What a task has set going and made in Azure, so that a task that does not end well can stop it, remove it, and say what remains.

use std::sync::{Mutex, PoisonError};

use crate::arm::{Client, Request};

/// What is to become of what a task has begun when the agent asks to stop, when time is up, or when nobody listens any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCancel {
    /// It goes on, and is named.
    Leave,
    /// A running deployment is cancelled; the rest is named.
    #[default]
    CancelDeployment,
    /// Besides, what this very run has made is deleted.
    RemoveCreated,
}

impl OnCancel {
    /// The words of the input `OnCancel`.
    pub const CHOICES: [(&'static str, Self); 3] =
        [("leave", Self::Leave), ("cancelDeployment", Self::CancelDeployment), ("removeCreated", Self::RemoveCreated)];
}

/// Something that goes on in Azure without the task.
#[derive(Clone, Debug)]
pub struct Going {
    /// What goes on, such as `deletion of '…'`.
    pub what: String,
    /// The id of what it is about.
    pub id: String,
    /// The request that shows whether it goes on; without one that is taken for granted.
    pub look: Option<Request>,
    /// The request that stops it; without one it runs to its end.
    pub stop: Option<Request>,
    /// Whether it has ended as failed, and what it has made until then may remain.
    pub has_failed: bool,
}

/// Whether something is this run's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was not there before this run.
    New,
    /// It was there before.
    Before,
    /// Nobody looked.
    Unknown,
}

impl Origin {
    /// From what was found by a look before: whether something was there.
    pub fn of(was_there: bool) -> Self {
        if was_there { Self::Before } else { Self::New }
    }
}

/// Something that the task makes, or has made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it is, such as `virtual machine 'vm1'`.
    pub what: String,
    /// Its id.
    pub id: String,
    /// Whether it is this run's own.
    pub origin: Origin,
    /// The request that deletes it.
    pub remove: Request,
}

/// All of it at the moment. Outlives the task's own work.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
}

/// What a ledger holds.
#[derive(Debug, Default)]
pub struct State {
    /// Who can stop things; none before a task has signed in.
    pub client: Option<Client>,
    /// What is to become of it.
    pub on_cancel: OnCancel,
    /// What goes on.
    pub going: Vec<Going>,
    /// What was made.
    pub made: Vec<Made>,
}

impl Ledger {
    /// Remembers the client that can stop things, and what is to become of them.
    pub fn connect(&self, client: &Client, on_cancel: OnCancel) {
        self.with(|state| {
            state.client = Some(client.clone());
            state.on_cancel = on_cancel;
        });
    }

    /// Notes that something goes on from now.
    pub fn begin(&self, going: Going) {
        self.with(|state| state.going.push(going));
    }

    /// Notes that whatever was going on with this id is over.
    pub fn end(&self, id: &str) {
        self.with(|state| state.going.retain(|going| !going.id.eq_ignore_ascii_case(id)));
    }

    /// Notes that whatever was going on with this id has ended as failed.
    pub fn fails(&self, id: &str) {
        self.with(|state| {
            for going in state.going.iter_mut().filter(|going| going.id.eq_ignore_ascii_case(id)) {
                going.has_failed = true;
            }
        });
    }

    /// Notes that something is there from now, or may be.
    pub fn makes(&self, made: Made) {
        self.with(|state| {
            state.made.retain(|other| !other.id.eq_ignore_ascii_case(&made.id));
            state.made.push(made);
        });
    }

    /// Notes that it is gone.
    pub fn unmakes(&self, id: &str) {
        self.with(|state| state.made.retain(|made| !made.id.eq_ignore_ascii_case(id)));
    }

    /// Whether what this run has made is to be removed when it is broken off.
    pub fn removes_created(&self) -> bool {
        self.with(|state| state.on_cancel == OnCancel::RemoveCreated)
    }

    /// Takes everything out.
    pub fn close(&self) -> State {
        self.with(std::mem::take)
    }

    fn with<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        action(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
