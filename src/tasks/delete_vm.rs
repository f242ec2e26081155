//! Deletes a lab virtual machine.

use super::{
    error::{Error, Problems},
    removal,
    session::{Desk, Done, Session, common_inputs},
};
use crate::devtestlab::{Kind, virtual_machine};

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    let mut problems = Problems::default();
    let (lab, common) = common_inputs(desk.agent, &mut problems);
    let id = super::member_input(desk.agent, &mut problems, lab.as_ref(), "LabVmId", Kind::VirtualMachine);
    let (common, id) = problems.finish(common.zip(id))?;
    let session = Session::open(desk, common).await?;
    removal::remove(&session, &removal::Removal { noun: "virtual machine", id: &id, delete: virtual_machine::delete(&id) }).await
}
