//! The pipeline agent's protocol: how inputs and service connections arrive, and how logs, variables, progress and results leave.
//!
//! Knows nothing of Azure Resource Manager. Text that came from elsewhere cannot form a logging command here, and secrets taken from the
//! environment are held in a vault and registered with the agent before anything else is said.

pub mod command;
pub mod connection;
pub mod inputs;
pub mod secret;
pub mod summary;

use std::sync::Arc;

use crate::host::Host;

pub use connection::{Authentication, Connection, ConnectionError};
pub use inputs::{InputError, InputFile};
pub use summary::Summary;

/// How a task ended, in the agent's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All was done.
    Succeeded,
    /// All was done, with warnings that the pipeline shows in amber.
    SucceededWithIssues,
    /// Something was not done; an error was logged.
    Failed,
    /// The agent asked the task to stop.
    Canceled,
}

/// Whether a variable's value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// Shown in logs.
    Public,
    /// Masked by the agent, and registered as a secret here.
    Secret,
}

/// One task's conversation with the agent.
#[derive(Debug)]
pub struct Agent {
    host: Arc<dyn Host>,
}

impl Agent {
    /// Takes the secrets out of the environment and registers them with the agent.
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host }
    }

    /// The machine below.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// An input's value; empty counts as absent.
    pub fn input(&self, _name: &str) -> Option<String> {
        todo!()
    }

    /// An input that must be given.
    pub fn required_input(&self, _name: &'static str) -> Result<String, InputError> {
        todo!()
    }

    /// True only for `true` in any case, as the agent has it.
    pub fn boolean_input(&self, _name: &'static str) -> bool {
        todo!()
    }

    /// A whole number within limits; absent is `None`, anything else an error that names the input and the limits.
    pub fn number_input(&self, _name: &'static str, _limits: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, InputError> {
        todo!()
    }

    /// One of a list of values, compared without case; absent is `None`.
    pub fn choice_input<T: Copy>(&self, _name: &'static str, _choices: &[(&'static str, T)]) -> Result<Option<T>, InputError> {
        todo!()
    }

    /// The path of a `filePath` input. An unset one arrives as the build's root folder and counts as absent.
    pub fn path_input(&self, _name: &'static str) -> Option<String> {
        todo!()
    }

    /// The file that a `filePath` input names, read. A folder or an unreadable file is an error.
    pub fn file_input(&self, _name: &'static str) -> Result<Option<InputFile>, InputError> {
        todo!()
    }

    /// A variable of the pipeline, such as `Build.BuildId`.
    pub fn pipeline_variable(&self, _name: &str) -> Option<String> {
        todo!()
    }

    /// The Azure Resource Manager connection that a `connectedService` input names.
    pub fn connection(&self, _input: &'static str) -> Result<Connection, ConnectionError> {
        todo!()
    }

    /// Logs text, line by line, so that none of it can form a command.
    pub fn info(&self, _text: &str) {
        todo!()
    }

    /// Logs a line that only a debugging run shows.
    pub fn debug(&self, _text: &str) {
        todo!()
    }

    /// Logs a warning (`task.logissue`).
    pub fn warning(&self, _text: &str) {
        todo!()
    }

    /// Logs an error (`task.logissue`).
    pub fn error(&self, _text: &str) {
        todo!()
    }

    /// Opens a group of lines that the log can fold; closed by `end_group`.
    pub fn group(&self, _title: &str) {
        todo!()
    }

    /// Closes the group.
    pub fn end_group(&self) {
        todo!()
    }

    /// Sets the step's progress bar (0 to 100) and the text beside it.
    pub fn progress(&self, _percent: u8, _text: &str) {
        todo!()
    }

    /// Sets a variable, also as this step's output variable.
    pub fn set_output(&self, _name: &str, _value: &str, _sensitivity: Sensitivity) {
        todo!()
    }

    /// Has the agent mask a value, line by line.
    pub fn register_secret(&self, _value: &str) {
        todo!()
    }

    /// Shows a Markdown summary on the run's page.
    pub fn upload_summary(&self, _summary: &Summary) {
        todo!()
    }

    /// Says the result. The last thing that a task says.
    pub fn complete(&self, _outcome: Outcome, _message: &str) {
        todo!()
    }
}
