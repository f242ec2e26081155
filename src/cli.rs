//! The native host and the command-line program `dtl`.
#![allow(clippy::disallowed_methods, reason = "the native host is where clock, files and variables are real")]

pub mod environment;
pub mod host;
pub mod logging_command;
pub mod target;
pub mod variables;
