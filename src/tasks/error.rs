//! How a task fails, and how that is told: what failed, why, what Azure said inside, and what to do about it.

use std::fmt;

use crate::{
    agent::{Agent, ConnectionError, InputError},
    arm,
};

/// Why a task did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Inputs are wrong. All that is wrong is listed, and nothing was begun.
    #[error("{}", .0.join("; "))]
    Inputs(Vec<String>),
    /// A request or an operation failed.
    #[error("failed to {action}")]
    Azure {
        /// What was tried, such as `delete the virtual machine 'vm1'`.
        action: String,
        /// What happened.
        source: Box<arm::Error>,
        /// More to know about it, a line each.
        notes: Vec<String>,
    },
    /// The task cannot go on, though no request failed.
    #[error("{summary}")]
    Refused {
        /// What is the matter.
        summary: String,
        /// More to know about it, a line each.
        notes: Vec<String>,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl Error {
    /// A failure of `action`.
    pub fn azure(action: impl Into<String>, source: arm::Error) -> Self {
        Self::Azure { action: action.into(), source: Box::new(source), notes: Vec::new() }
    }

    /// A refusal with a hint.
    pub fn refused(summary: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { summary: summary.into(), notes: Vec::new(), hint: Some(hint.into()) }
    }

    /// Adds what else there is to know.
    #[must_use]
    pub fn with_notes(mut self, more: impl IntoIterator<Item = String>) -> Self {
        if let Self::Azure { notes, .. } | Self::Refused { notes, .. } = &mut self {
            notes.extend(more);
        }
        self
    }

    /// Whether the agent asked the task to stop.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Azure { source, .. } if source.is_cancelled())
    }

    /// Whether waiting took longer than was allowed, so that the operation may go on in Azure.
    pub fn is_time_out(&self) -> bool {
        matches!(self, Self::Azure { source, .. } if matches!(**source, arm::Error::DeadlineExceeded { .. }))
    }

    /// More to know about it, a line each.
    pub fn notes(&self) -> &[String] {
        match self {
            Self::Inputs(_) => &[],
            Self::Azure { notes, .. } | Self::Refused { notes, .. } => notes,
        }
    }

    /// Whether trying the same again cannot help: a template or an identity that is refused will be refused again.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Inputs(_) => true,
            Self::Azure { source, .. } => {
                matches!(source.status(), Some(400 | 401 | 403))
                    || matches!(**source, arm::Error::SignIn { .. })
                    || source.code().is_some_and(|code| code.starts_with("InvalidTemplate") || code.starts_with("Authorization"))
            }
            Self::Refused { .. } => false,
        }
    }

    /// Tells the agent all of it and returns one line for the result.
    pub fn report(&self, agent: &Agent) -> String {
        match self {
            Self::Inputs(problems) => {
                for problem in problems {
                    agent.error(problem);
                }
                match problems.as_slice() {
                    [problem] => problem.clone(),
                    problems => format!("{} problems with the inputs", problems.len()),
                }
            }
            Self::Azure { source, notes, .. } => {
                let line = chain(self);
                agent.error(&line);
                for note in notes {
                    agent.info(note);
                }
                for more in arm::report(source.as_ref()).lines().skip(1) {
                    agent.info(more);
                }
                if self.is_time_out() {
                    agent.info("The input OperationTimeoutInMinutes sets how long the task waits.");
                }
                line
            }
            Self::Refused { summary, notes, hint } => {
                agent.error(summary);
                for note in notes {
                    agent.error(note);
                }
                if let Some(hint) = hint {
                    agent.info(&format!("hint: {hint}"));
                }
                summary.clone()
            }
        }
    }
}

/// An error and its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// Collects what is wrong with the inputs, so that all of it is told at once.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Takes a good value, or remembers what is wrong with it.
    pub fn take<T, E: InputProblem>(&mut self, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.0.push(error.describe())).ok()
    }

    /// Remembers a problem.
    pub fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// Remembers several problems.
    pub fn extend(&mut self, problems: impl IntoIterator<Item = String>) {
        self.0.extend(problems);
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The error that lists everything.
    pub fn into_error(self) -> Error {
        Error::Inputs(self.0)
    }

    /// The value that all inputs together make, or the error that lists everything. `value` is `None` only when something is wrong.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Error> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.into_error()),
        }
    }
}

/// What can be wrong with an input, in words that name it.
pub trait InputProblem {
    /// The whole message.
    fn describe(&self) -> String;
}

impl InputProblem for InputError {
    fn describe(&self) -> String {
        chain(self)
    }
}

impl InputProblem for ConnectionError {
    fn describe(&self) -> String {
        chain(self)
    }
}

impl InputProblem for String {
    fn describe(&self) -> String {
        self.clone()
    }
}

/// A problem with a named input, from an error that does not know its name.
pub fn about(input: &str, problem: impl fmt::Display) -> String {
    format!("input '{input}': {problem}")
}
