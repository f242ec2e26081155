//! The native host and the command-line program `dtl`.
#![allow(clippy::disallowed_methods, reason = "the native host is where clock, files and variables are real")]
