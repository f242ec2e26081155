//! The tasks: one file each, and one exhaustive dispatch.

pub mod overrides;
pub mod parameters;

use std::sync::Arc;

use crate::{agent::Outcome, host::Host};

/// Runs a task by its manifest's name.
pub async fn run(_host: Arc<dyn Host>, _task: &str) -> Outcome {
    todo!()
}
