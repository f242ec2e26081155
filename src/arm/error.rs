//! Errors of Azure Resource Manager, with nested details unwrapped, the correlation id, and a hint that names the fix.

/// Why a request or an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service answered with an error.
    #[error("{code}: {message}")]
    Service {
        /// The HTTP status, or 200 for an operation that ended as Failed.
        status: u16,
        /// Azure's error code of the innermost error.
        code: String,
        /// Its message.
        message: String,
        /// All errors from the outermost to the innermost, unwrapped.
        details: Vec<Detail>,
        /// `x-ms-correlation-request-id`.
        correlation_id: Option<String>,
    },
    /// The agent asked the task to stop.
    #[error("the task was cancelled")]
    Cancelled,
}

/// One error of a nest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// Azure's error code.
    pub code: String,
    /// Azure's message.
    pub message: String,
    /// What it is about.
    pub target: Option<String>,
}

impl Error {
    /// Azure's code of the innermost error, when the service answered with one.
    pub fn code(&self) -> Option<&str> {
        todo!()
    }

    /// The HTTP status, when the service answered.
    pub fn status(&self) -> Option<u16> {
        todo!()
    }

    /// What a user can do about it.
    pub fn hint(&self) -> Option<String> {
        todo!()
    }
}
