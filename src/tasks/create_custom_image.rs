//! Makes a custom image from a lab virtual machine.

use std::time::Duration;

use super::{
    error::{Error, Problems, about},
    session::{CommonInputs, Desk, Done, Session, Undertaking, common_inputs},
};
use crate::{
    agent::{Agent, Sensitivity},
    arm::ResourceId,
    devtestlab::{
        Kind,
        custom_image::{self, NewCustomImage, OsState},
    },
};

struct Inputs {
    image: ResourceId,
    source: ResourceId,
    state: OsState,
    description: String,
    author: String,
}

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    let (common, inputs) = read(desk.agent)?;
    let session = Session::open(desk, common).await?;
    let agent = session.agent;
    let name = inputs.image.name();
    let source = inputs.source.name();

    let vm = super::existing_vm(&session, &inputs.source).await?;
    let windows = inputs.state.is_windows();
    if vm.os_type.as_deref().is_some_and(|os| os.eq_ignore_ascii_case("Windows") != windows) {
        return Err(Error::refused(
            format!(
                "input 'OsType' is '{}', but the virtual machine '{source}' runs {}",
                if windows { "Windows" } else { "Linux" },
                if windows { "Linux" } else { "Windows" }
            ),
            "set OsType to the virtual machine's operating system, and its state with it",
        ));
    }
    let form = if inputs.state.is_specialized() { "specialized" } else { "generalized" };
    agent.info(&format!("Creating the custom image '{name}' from '{source}': {form} ({})", inputs.state.as_str()));
    if inputs.state.consumes_source() {
        agent.info(&format!("The virtual machine '{source}' will not be usable afterwards."));
    }
    let what = format!("custom image '{name}'");
    let origin = session.origin(&what, custom_image::get(&inputs.image)).await?;
    session.makes(what, inputs.image.as_str(), origin, custom_image::delete(&inputs.image));
    let new = NewCustomImage { source: &inputs.source, state: inputs.state, description: &inputs.description, author: &inputs.author };
    let image = session
        .complete(Undertaking {
            action: format!("create the custom image '{name}'"),
            noun: format!("creation of the custom image '{name}'"),
            id: &inputs.image,
            request: custom_image::create(&inputs.image, &new),
            stop: None,
            occupies: Some(&inputs.source),
            usually: Duration::from_mins(10),
        })
        .await?;
    let id = image["id"].as_str().unwrap_or(inputs.image.as_str());
    agent.set_output("customImageId", id, Sensitivity::Public);
    let message = format!("The custom image '{name}' is created.");
    agent.info(&message);
    agent.info(&format!("customImageId = {id}"));
    session.summarize(
        format!("Created custom image '{name}'"),
        vec![
            ("Id".to_owned(), id.to_owned()),
            ("Source".to_owned(), inputs.source.to_string()),
            ("State".to_owned(), format!("{form} ({})", inputs.state.as_str())),
        ],
        &[("Custom image in the portal", id)],
    );
    Ok(Done::succeeded(message))
}

fn read(agent: &Agent) -> Result<(CommonInputs, Inputs), Error> {
    let mut problems = Problems::default();
    let (lab, common) = common_inputs(agent, &mut problems);
    let name = problems.take(agent.required_input("NewCustomImageName"));
    let image = lab.as_ref().zip(name).and_then(|(lab, name)| {
        problems.take(lab.id().child("customimages", &name).map_err(|error| about("NewCustomImageName", error.problem)))
    });
    let source = super::member_input(agent, &mut problems, lab.as_ref(), "LabVmId", Kind::VirtualMachine);
    let state = os_state(agent, &mut problems);
    let (author, kind) = author(agent);
    let description = agent.input("Description").unwrap_or_else(|| {
        let requester = ["Release.RequestedFor", "Build.RequestedFor"].iter().find_map(|name| agent.pipeline_variable(name));
        let requester = requester.map_or(String::new(), |name| format!(" requested for {name}"));
        format!("Custom image created from {kind} {author}{requester}.").replace("  ", " ")
    });
    let inputs = image.zip(source).zip(state).map(|((image, source), state)| Inputs { image, source, state, description, author });
    problems.finish(common.zip(inputs))
}

fn os_state(agent: &Agent, problems: &mut Problems) -> Option<OsState> {
    let windows = problems.take(agent.choice_input("OsType", &[("Windows", true), ("Linux", false)]))?;
    match windows {
        None => {
            problems.add("input 'OsType' is required: Windows or Linux");
            None
        }
        Some(true) => {
            problems.take(agent.choice_input("WindowsOsState", &OsState::WINDOWS)).map(|state| state.unwrap_or(OsState::SysprepRequested))
        }
        Some(false) => {
            problems.take(agent.choice_input("LinuxOsState", &OsState::LINUX)).map(|state| state.unwrap_or(OsState::NonDeprovisioned))
        }
    }
}

/// The name of the release or build, and which of both it is.
fn author(agent: &Agent) -> (String, &'static str) {
    if let Some(release) = agent.pipeline_variable("Release.ReleaseName") {
        (release, "release")
    } else if let Some(build) = agent.pipeline_variable("Build.BuildNumber") {
        (build, "build")
    } else {
        (String::new(), "unknown")
    }
}
