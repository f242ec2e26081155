//! All integration tests, in one binary.
#![allow(clippy::disallowed_methods, reason = "tests run natively, where clock, files and variables are real")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agent_oracle;
mod architecture;
mod arm_client;
mod connections;
mod emulator;
mod factory;
mod gallery;
mod harness;
mod judges;
mod packaged;
mod pipeline;
mod reliability;
mod tasks;
mod templates;
