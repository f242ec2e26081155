//! Starting and stopping, the same but for the words: a virtual machine that is in the wanted state already is left as it is.

use std::time::Duration;

use super::{
    error::{Error, Problems},
    session::{Desk, Done, Session, Undertaking, common_inputs},
};
use crate::{
    arm::{Request, ResourceId},
    devtestlab::{
        Kind,
        virtual_machine::{self, VirtualMachine},
    },
};

/// The wanted state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Running.
    On,
    /// Stopped and deallocated.
    Off,
}

impl Power {
    fn request(self, id: &ResourceId) -> Request {
        match self {
            Self::On => virtual_machine::start(id),
            Self::Off => virtual_machine::stop(id),
        }
    }

    /// As it fits "failed to …", "… of the virtual machine", "Virtual machine is …".
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::On => ("start", "start", "running"),
            Self::Off => ("stop", "stop", "stopped"),
        }
    }

    fn is_reached(self, vm: &VirtualMachine) -> bool {
        let wanted = match self {
            Self::On => "running",
            Self::Off => "deallocated",
        };
        vm.power_state.as_deref() == Some(wanted)
    }
}

/// Runs the task.
pub async fn run(desk: Desk<'_>, power: Power) -> Result<Done, Error> {
    let mut problems = Problems::default();
    let (lab, common) = common_inputs(desk.agent, &mut problems);
    let id = super::member_input(desk.agent, &mut problems, lab.as_ref(), "LabVmId", Kind::VirtualMachine);
    let (common, id) = problems.finish(common.zip(id))?;
    let session = Session::open(desk, common).await?;
    let (verb, noun, state) = power.words();
    let name = id.name();
    let vm = super::existing_vm(&session, &id).await?;
    if power.is_reached(&vm) {
        let message = format!("The virtual machine '{name}' is {state} already.");
        session.agent.info(&message);
        return Ok(Done::succeeded(message));
    }
    session.agent.info(&format!("{} the virtual machine '{name}': {id}", if power == Power::On { "Starting" } else { "Stopping" }));
    session
        .complete(Undertaking {
            action: format!("{verb} the virtual machine '{name}'"),
            noun: format!("{noun} of the virtual machine '{name}'"),
            id: &id,
            request: power.request(&id),
            stop: None,
            occupies: Some(&id),
            usually: Duration::from_mins(2),
        })
        .await?;
    let message = format!("The virtual machine '{name}' is {state}.");
    session.agent.info(&message);
    session.summarize(
        format!("{} virtual machine '{name}'", if power == Power::On { "Started" } else { "Stopped" }),
        vec![("Id".to_owned(), id.to_string()), ("Lab".to_owned(), session.lab.to_string())],
        &[("Virtual machine in the portal", id.as_str())],
    );
    Ok(Done::succeeded(message))
}
