//! What is done anew within a run when it has failed, and what is left to the next run.
//!
//! Requests are tried again by `arm`. Here it is about operations that were begun and failed by themselves. Artifacts that fail would mostly
//! fail again, and what took too long is left to the next run with the same id, which waits for what goes on.

use std::ops::ControlFlow;

use super::{Factory, Failure, Line};
use crate::arm::{self, retry};

impl Failure {
    /// Whether the same may succeed when it is done once more.
    fn may_pass(&self) -> bool {
        match self {
            Self::Azure { source, .. } => retry::failed_by_itself(source),
            Self::Refused(_) => false,
        }
    }

    /// Whether it took longer than was allowed, and may go on.
    pub(super) fn is_overdue(&self) -> bool {
        matches!(self, Self::Azure { source, .. } if matches!(**source, arm::Error::DeadlineExceeded { .. }))
    }
}

/// The attempts to make one thing.
pub(super) struct Attempts<'f> {
    factory: &'f Factory<'f>,
    what: String,
    /// Which one this is, from 1.
    pub number: u32,
}

impl Factory<'_> {
    /// The attempts to make this.
    pub(super) fn attempts(&self, what: String) -> Attempts<'_> {
        Attempts { factory: self, what, number: 1 }
    }
}

impl Attempts<'_> {
    /// How it ended for good; goes on when there is to be another attempt, which is told.
    pub(super) fn settle<T>(&mut self, result: Result<T, Failure>) -> ControlFlow<Result<T, Failure>> {
        let allowed = self.factory.configuration.settings.attempts;
        match result {
            Err(failure) if failure.may_pass() && self.number < allowed && !self.factory.client.host().is_cancelled() => {
                self.number += 1;
                let Self { what, number, .. } = self;
                (self.factory.say)(Line::Warning(&format!("{what}: {failure}; done anew, attempt {number} of {allowed}")));
                ControlFlow::Continue(())
            }
            ended => ControlFlow::Break(ended),
        }
    }
}
