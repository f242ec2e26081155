//! Inputs: their names, their types, and errors that name them.

/// A file named by an input, read.
#[derive(Clone, Debug)]
pub struct InputFile {
    /// The path as the agent gave it.
    pub path: String,
    /// Its bytes.
    pub contents: Vec<u8>,
}

/// Why an input cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A required input is empty.
    #[error("input '{name}' is required")]
    Missing {
        /// The input's name.
        name: &'static str,
    },
    /// The value does not fit.
    #[error("input '{name}' is '{value}': {problem}")]
    Invalid {
        /// The input's name.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// What is wrong with it and what is allowed.
        problem: String,
    },
}
