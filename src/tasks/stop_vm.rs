//! Stops and deallocates a lab virtual machine.

use super::{
    error::Error,
    power::{self, Power},
    session::{Desk, Done},
};

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    power::run(desk, Power::Off).await
}
