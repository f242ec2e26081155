//! Deletes a lab virtual machine.

use super::{
    error::Error,
    removal,
    session::{Desk, Done},
};
use crate::devtestlab::{Kind, virtual_machine};

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    removal::run(desk, "LabVmId", Kind::VirtualMachine, "virtual machine", virtual_machine::delete).await
}
