//! The wait for artifacts, and the verdict on them.

use std::{collections::BTreeMap, time::Duration};

use super::inputs::Inputs;
use crate::{
    arm::ResourceId,
    devtestlab::virtual_machine::{self, Artifact, ArtifactState, VirtualMachine},
    tasks::{
        error::Error,
        session::{Session, duration, pause},
    },
};

/// Looks at the artifacts until all have ended or the time is up, and returns the virtual machine as it is then.
pub(super) async fn wait(session: &Session<'_>, id: &ResourceId, limit: Duration) -> Result<VirtualMachine, Error> {
    let host = session.agent.host();
    let began = host.elapsed();
    let mut shown = BTreeMap::new();
    loop {
        let read = session.client.for_what_is_new().send(virtual_machine::get(id)).await;
        let value = read.map_err(|error| Error::azure(format!("read the virtual machine '{}'", id.name()), error))?.body;
        let vm = VirtualMachine::read(&value);
        for (index, artifact) in vm.artifacts.iter().enumerate() {
            if shown.insert(index, artifact.status.clone()).as_ref() != Some(&artifact.status) {
                session.agent.info(&format!("Artifact '{}': {}", artifact.title, artifact.status));
            }
        }
        let spent = host.elapsed().saturating_sub(began);
        let pending = vm.artifacts.iter().filter(|artifact| artifact.state() == ArtifactState::Pending).count();
        if pending == 0 || spent >= limit {
            return Ok(vm);
        }
        #[allow(clippy::cast_possible_truncation, reason = "a share of 100")]
        let percent = (100 * (vm.artifacts.len() - pending) / vm.artifacts.len()) as u8;
        session.agent.progress(percent, &format!("Artifacts: {pending} of {} to go, {}", vm.artifacts.len(), duration(spent)));
        let pause = pause(spent).min(limit.saturating_sub(spent));
        session
            .sleep(pause, id.as_str())
            .await
            .map_err(|error| Error::azure(format!("wait for the artifacts of the virtual machine '{}'", id.name()), error))?;
    }
}

/// How long to wait: who wants to know about failures has to wait for the end, which is bounded by the time-out then.
pub(super) fn limit(session: &Session<'_>, inputs: &Inputs) -> Duration {
    if inputs.fail_on_artifact_error && inputs.artifact_wait.is_zero() { session.time_out } else { inputs.artifact_wait }
}

/// An error when artifacts failed and the task is to fail then, or have not ended although they were waited for; otherwise warnings, and
/// whether there were any.
pub(super) fn check(session: &Session<'_>, vm: &VirtualMachine, inputs: &Inputs) -> Result<bool, Error> {
    let (failed, pending) = (in_state(vm, ArtifactState::Failed), in_state(vm, ArtifactState::Pending));
    let all = vm.artifacts.len();
    let waited = limit(session, inputs);
    if !pending.is_empty() && waited.is_zero() {
        session
            .agent
            .info(&format!("{} of {all} artifacts have not ended; WaitMinutesForApplyArtifacts makes the task wait.", pending.len()));
    }
    let late = !pending.is_empty() && !waited.is_zero();
    let summary = match (failed.len(), late) {
        (0, false) => return Ok(false),
        (0, true) => format!("{} of {all} artifacts had not ended after {}", pending.len(), duration(waited)),
        (count, false) => format!("{count} of {all} artifacts failed"),
        (count, true) => format!("{count} of {all} artifacts failed, and {} had not ended after {}", pending.len(), duration(waited)),
    };
    let notes: Vec<String> = failed.iter().chain(pending.iter().filter(|_| late)).map(|artifact| describe(artifact)).collect();
    if late || inputs.fail_on_artifact_error {
        let hint = if late {
            "allow the artifacts more time by WaitMinutesForApplyArtifacts"
        } else {
            "look at the artifacts' own logs on the virtual machine; RetryOnFailure makes a new attempt"
        };
        return Err(Error::refused(format!("{summary} on the virtual machine '{}'", vm.name), hint).with_notes(notes));
    }
    session.agent.warning(&summary);
    for note in notes {
        session.agent.warning(&note);
    }
    Ok(true)
}

fn in_state(vm: &VirtualMachine, state: ArtifactState) -> Vec<&Artifact> {
    vm.artifacts.iter().filter(|artifact| artifact.state() == state).collect()
}

fn describe(artifact: &Artifact) -> String {
    let message = artifact.message.as_ref().map_or(String::new(), |message| format!(": {message}"));
    format!("artifact '{}': {}{message}", artifact.title, artifact.status)
}
