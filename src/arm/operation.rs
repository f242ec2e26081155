//! Long-running operations: what to ask next, and when. A pure function of the response and the clock.

use std::time::Duration;

/// An operation that Azure has accepted.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What it is about, for messages: the path of the resource.
    pub resource: String,
}

/// How long to wait for an operation, and whom to tell meanwhile.
pub struct Wait<'a> {
    /// The longest time to wait, from now.
    pub deadline: Duration,
    /// Called after every poll.
    pub observe: &'a (dyn Fn(&Progress) + Send + Sync),
}

/// Where an operation stands.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The service's word: `Running`, `Creating`, …
    pub status: String,
    /// The time since the operation was started.
    pub elapsed: Duration,
    /// `percentComplete`, where the service gives it.
    pub percent: Option<f64>,
}
