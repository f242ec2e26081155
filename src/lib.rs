//! Azure DevTest Labs in Azure Pipelines: the task engine, its two hosts and an Azure Resource Manager emulator.
//!
//! The modules stand in reading order. `ARCHITECTURE.md` draws the whole; `tests/architecture.rs` checks what may import what.

use std::sync::Arc;

pub mod agent;
pub mod arm;
pub mod compute;
pub mod devtestlab;
pub mod factory;
pub mod host;
pub mod order;
pub mod resources;
pub mod storage;
pub mod tasks;
pub mod template;

#[cfg(not(target_arch = "wasm32"))]
pub mod cli;
#[cfg(not(target_arch = "wasm32"))]
pub mod emulator;
#[cfg(all(any(test, feature = "fuzzing"), not(target_arch = "wasm32")))]
pub mod fuzzing;
#[cfg(target_arch = "wasm32")]
mod wasm;

use agent::Outcome;
use host::Host;

/// Runs the task called `task` (its manifest's `name`, such as `AzureDevTestLabsCreateVM`) as the pipeline agent would have it run:
/// inputs come from the host's variables, everything said goes to the host's output, and the last line said is `task.complete`.
pub async fn run(host: Arc<dyn Host>, task: &str) -> Outcome {
    tasks::run(host, task).await
}
