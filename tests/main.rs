//! All integration tests, in one binary.
#![allow(clippy::disallowed_methods, reason = "tests run natively, where clock, files and variables are real")]

mod agent_oracle;
mod architecture;
mod arm_client;
mod emulator;
mod harness;
mod packaged;
mod pipeline;
mod tasks;
mod templates;
