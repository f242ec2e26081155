//! The tasks: one file each, and one exhaustive dispatch.
//!
//! A task reads all its inputs first and reports everything that is wrong with them at once, before anything is sent. Then it opens a
//! session and works; what it has set going in Azure stands in a ledger, so that a cancelled task can stop it and say what remains.

pub mod compute_gallery_image_definition;
pub mod compute_gallery_image_version;
pub mod create_custom_image;
pub mod create_environment;
pub mod create_vm;
pub mod delete_custom_image;
pub mod delete_environment;
pub mod delete_vm;
pub mod deployment;
pub mod ending;
pub mod environment;
pub mod error;
pub mod gallery;
pub mod image_factory;
pub mod ledger;
pub mod overrides;
pub mod parameters;
pub mod populate_environment;
pub mod power;
pub mod removal;
pub mod session;
pub mod sign_in;
pub mod start_vm;
pub mod stop_vm;

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, Either, select},
};

use self::{
    ending::Cause,
    error::{Error, Problems, about},
    ledger::Ledger,
    parameters::listed,
    session::{Desk, Done, Session},
};
use crate::{
    agent::{Agent, Outcome},
    arm::ResourceId,
    devtestlab::{
        Kind, Lab,
        virtual_machine::{self, VirtualMachine},
    },
    host::Host,
};

/// All tasks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Makes a lab virtual machine.
    CreateVm,
    /// Deletes a lab virtual machine.
    DeleteVm,
    /// Starts a lab virtual machine.
    StartVm,
    /// Stops a lab virtual machine.
    StopVm,
    /// Makes a custom image.
    CreateCustomImage,
    /// Deletes a custom image.
    DeleteCustomImage,
    /// Makes an environment.
    CreateEnvironment,
    /// Deploys to an environment.
    PopulateEnvironment,
    /// Deletes an environment.
    DeleteEnvironment,
    /// Makes or updates an image definition of a compute gallery.
    ComputeGalleryImageDefinition,
    /// Publishes, promotes or retires image versions of a compute gallery.
    ComputeGalleryImageVersion,
    /// Runs the image factory.
    ImageFactory,
}

/// How long a task may go on once the agent has asked to stop, so that it learns what it has set going. The agent kills it after ten seconds.
const GRACE: Duration = Duration::from_millis(2500);

impl Task {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 12] = [
        Self::CreateVm,
        Self::DeleteVm,
        Self::StartVm,
        Self::StopVm,
        Self::CreateCustomImage,
        Self::DeleteCustomImage,
        Self::CreateEnvironment,
        Self::PopulateEnvironment,
        Self::DeleteEnvironment,
        Self::ComputeGalleryImageDefinition,
        Self::ComputeGalleryImageVersion,
        Self::ImageFactory,
    ];

    /// The manifest's `name`.
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateVm => "AzureDevTestLabsCreateVM",
            Self::DeleteVm => "AzureDevTestLabsDeleteVM",
            Self::StartVm => "AzureDevTestLabsStartVM",
            Self::StopVm => "AzureDevTestLabsStopVM",
            Self::CreateCustomImage => "AzureDevTestLabsCreateCustomImage",
            Self::DeleteCustomImage => "AzureDevTestLabsDeleteCustomImage",
            Self::CreateEnvironment => "AzureDevTestLabsCreateEnvironment",
            Self::PopulateEnvironment => "AzureDevTestLabsPopulateEnvironment",
            Self::DeleteEnvironment => "AzureDevTestLabsDeleteEnvironment",
            Self::ComputeGalleryImageDefinition => "AzureComputeGalleryImageDefinition",
            Self::ComputeGalleryImageVersion => "AzureComputeGalleryImageVersion",
            Self::ImageFactory => "AzureDevTestLabsImageFactory",
        }
    }

    /// The task of this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name().eq_ignore_ascii_case(name))
    }

    fn run(self, desk: Desk<'_>) -> BoxFuture<'_, Result<Done, Error>> {
        match self {
            #[cfg(feature = "machines")]
            Self::CreateVm => create_vm::run(desk).boxed(),
            #[cfg(feature = "small")]
            Self::DeleteVm => delete_vm::run(desk).boxed(),
            #[cfg(feature = "small")]
            Self::StartVm => start_vm::run(desk).boxed(),
            #[cfg(feature = "small")]
            Self::StopVm => stop_vm::run(desk).boxed(),
            #[cfg(feature = "images")]
            Self::CreateCustomImage => create_custom_image::run(desk).boxed(),
            #[cfg(feature = "small")]
            Self::DeleteCustomImage => delete_custom_image::run(desk).boxed(),
            #[cfg(feature = "environments")]
            Self::CreateEnvironment => create_environment::run(desk).boxed(),
            #[cfg(feature = "environments")]
            Self::PopulateEnvironment => populate_environment::run(desk).boxed(),
            #[cfg(feature = "small")]
            Self::DeleteEnvironment => delete_environment::run(desk).boxed(),
            #[cfg(feature = "galleries")]
            Self::ComputeGalleryImageDefinition => compute_gallery_image_definition::run(desk).boxed(),
            #[cfg(feature = "galleries")]
            Self::ComputeGalleryImageVersion => compute_gallery_image_version::run(desk).boxed(),
            #[cfg(feature = "factory")]
            Self::ImageFactory => image_factory::run(desk).boxed(),
            #[cfg(not(all(
                feature = "small",
                feature = "images",
                feature = "machines",
                feature = "environments",
                feature = "galleries",
                feature = "factory"
            )))]
            _ => {
                let problem = "this engine was built without this task: package the task again";
                futures::future::ready(Err(Error::Inputs(vec![problem.to_owned()]))).boxed()
            }
        }
    }
}

/// Runs a task by its manifest's name.
pub async fn run(host: Arc<dyn Host>, task: &str) -> Outcome {
    let agent = Agent::new(Arc::clone(&host));
    let Some(task) = Task::named(task) else {
        let names: Vec<&str> = Task::ALL.iter().map(|task| task.name()).collect();
        let message = format!("there is no task '{task}'; there are {}", listed(&names));
        agent.error(&message);
        agent.complete(Outcome::Failed, &message);
        return Outcome::Failed;
    };
    let ledger = Ledger::default();
    let work = task.run(Desk { agent: &agent, ledger: &ledger });
    let patience = async {
        host.cancelled().await;
        host.sleep(GRACE).await;
    };
    let result = match select(work, patience.boxed()).await {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    };
    let (outcome, message) = match result {
        Some(Ok(done)) => (done.outcome, done.message),
        Some(Err(error)) if !error.is_cancelled() => {
            let message = error.report(&agent);
            let cause = if error.is_time_out() { Cause::TimedOut } else { Cause::Failed };
            ending::settle(&agent, &ledger, cause).await;
            (Outcome::Failed, message)
        }
        _ => {
            agent.info("The task was cancelled.");
            let remains = ending::settle(&agent, &ledger, Cause::Cancelled).await;
            let message = match remains.as_slice() {
                [] => "cancelled; nothing was begun in Azure, or it had ended".to_owned(),
                remains => format!("cancelled; look after {}", listed(&remains.iter().map(String::as_str).collect::<Vec<_>>())),
            };
            (Outcome::Canceled, message)
        }
    };
    agent.complete(outcome, &message);
    outcome
}

/// Reads an input that holds the id or the name of something in the lab.
fn member_input(agent: &Agent, problems: &mut Problems, lab: Option<&Lab>, input: &'static str, kind: Kind) -> Option<ResourceId> {
    let text = problems.take(agent.required_input(input))?;
    problems.take(lab?.member_or_name(kind, &text).map_err(|error| about(input, error)))
}

/// The virtual machine of an id; that there is none is an error.
async fn existing_vm(session: &Session<'_>, id: &ResourceId) -> Result<VirtualMachine, Error> {
    let found = session.find(format!("look for the virtual machine '{}'", id.name()), virtual_machine::get(id)).await?;
    found.as_ref().map(VirtualMachine::read).ok_or_else(|| {
        Error::refused(
            format!("input 'LabVmId': the lab '{}' has no virtual machine '{}' ({id})", session.lab.name(), id.name()),
            "check the name, and that LabId is the lab that it is in",
        )
    })
}
