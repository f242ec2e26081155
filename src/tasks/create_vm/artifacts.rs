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
        let value = session.get(format!("read the virtual machine '{}'", id.name()), virtual_machine::get(id)).await?;
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

/// An error when artifacts failed or have not ended and the task is to fail then; otherwise warnings, and whether there were any.
pub(super) fn check(session: &Session<'_>, vm: &VirtualMachine, inputs: &Inputs) -> Result<bool, Error> {
    let bad: Vec<&Artifact> = vm.artifacts.iter().filter(|artifact| artifact.state() != ArtifactState::Succeeded).collect();
    if bad.is_empty() {
        return Ok(false);
    }
    let notes: Vec<String> = bad.iter().map(|artifact| describe(artifact)).collect();
    let failed = bad.iter().filter(|artifact| artifact.state() == ArtifactState::Failed).count();
    let waited = duration(inputs.artifact_wait);
    let summary = match (failed, bad.len() - failed) {
        (0, pending) => format!("{pending} of {} artifacts had not ended after a wait of {waited}", vm.artifacts.len()),
        (failed, 0) => format!("{failed} of {} artifacts failed", vm.artifacts.len()),
        (failed, pending) => {
            format!("{failed} of {} artifacts failed, and {pending} had not ended after a wait of {waited}", vm.artifacts.len())
        }
    };
    if inputs.fail_on_artifact_error {
        let hint = if failed == 0 {
            "allow them more time by WaitMinutesForApplyArtifacts"
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

fn describe(artifact: &Artifact) -> String {
    let message = artifact.message.as_ref().map_or(String::new(), |message| format!(": {message}"));
    format!("artifact '{}': {}{message}", artifact.title, artifact.status)
}
