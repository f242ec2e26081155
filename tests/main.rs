//! All integration tests, in one binary.

mod agent_oracle;
mod architecture;
mod arm_client;
mod emulator;
mod harness;
mod packaged;
mod pipeline;
mod tasks;
mod templates;
