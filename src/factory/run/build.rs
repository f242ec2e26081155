//! Makes a virtual machine of a golden image: deployed, its artifacts checked, deallocated.

use std::time::Duration;

use azure_core::http::Method;
use futures::{
    FutureExt as _,
    future::{Either, select},
};
use serde_json::{Map, Value, json};

use super::{Factory, Failure, Line};
use crate::{
    arm::{self, Request, ResourceId, Wait, retry},
    devtestlab::virtual_machine::{self, ArtifactState, VirtualMachine},
    factory::{
        DEPLOYMENT_PREFIX, FINGERPRINT_TAG, IMAGE_PATH_TAG, RUN_TAG, golden_image, golden_image::GoldenImage, in_words, inventory::State,
        names::ImagePath, plan::Plan,
    },
    resources::{self, NewDeployment},
};

impl Factory<'_> {
    /// Makes the virtual machine of a golden image, and deletes it again when it does not become what it should.
    pub(super) async fn build(&self, plan: &Plan, path: &ImagePath, vm: &str, attempt: u32) -> Result<(), Failure> {
        let image = self.golden_image(path)?;
        if attempt == 1 {
            for (_, old) in plan.replaced.iter().filter(|(waiting, _)| waiting == path) {
                let deleted = self.delete_vm(old).await;
                deleted.map_err(Failure::azure(format!("make room by deleting virtual machine '{old}' of an earlier run")))?;
            }
        } else {
            // Mostly gone already. One that stays would only be updated, and its artifacts would not be applied again.
            self.delete_held_vm(vm).await?;
        }
        (self.say)(Line::Info(&format!("Building '{path}' as virtual machine '{vm}'.")));
        let deployed = {
            let _permit = self.gate.acquire().await;
            self.deploy(image, vm).await
        };
        if let Err(failure) = deployed {
            let told = self.artifact_failures(vm).await;
            self.remove_failed(vm, &failure).await;
            return Err(match failure {
                Failure::Azure { action, source } if !told.is_empty() => {
                    Failure::Azure { action: format!("{action} ({})", told.join("; ")), source }
                }
                other => other,
            });
        }
        self.finish_vm(path, vm).await
    }

    pub(super) fn golden_image(&self, path: &ImagePath) -> Result<&GoldenImage, Failure> {
        self.configuration.image(path).ok_or_else(|| Failure::Refused(format!("there is no golden image '{path}'")))
    }

    /// Deploys the template and takes the record of the deployment away: a resource group holds 800 of them.
    async fn deploy(&self, image: &GoldenImage, vm: &str) -> Result<(), Failure> {
        let action = || format!("deploy virtual machine '{vm}'");
        let tags =
            [(IMAGE_PATH_TAG, image.path.as_str()), (RUN_TAG, self.options.run_id.as_str()), (FINGERPRINT_TAG, image.fingerprint.as_str())];
        let deployment = NewDeployment { template: golden_image::dressed(image, &tags), parameters: self.parameters(image, vm) };
        let unique = golden_image::fingerprint(format!("{}/{}", self.options.run_id, image.path).as_bytes());
        let name = format!("{DEPLOYMENT_PREFIX}{vm}-{unique}");
        let id = resources::deployment_id(&self.lab.resource_group_id(), &name);
        let id = id.map_err(|error| Failure::Refused(error.to_string()))?;
        let request = resources::create(&id, &deployment);
        let outcome = match self.operate(request.clone(), self.timeout(image)).await {
            // The run was broken off while this very deployment was under way: it is gone on with.
            Err(error) if error.has_code("DeploymentActive") => self.follow(&request, self.timeout(image)).await,
            other => other,
        };
        if outcome.as_ref().is_err_and(|error| matches!(error, arm::Error::DeadlineExceeded { .. })) {
            // Otherwise it would go on making what is about to be deleted.
            let _ = self.client.send(resources::cancel(&id)).await;
        }
        if outcome.as_ref().is_err_and(arm::Error::is_cancelled) {
            self.break_off(&id, vm).await;
        } else if let Err(error) = self.operate(resources::delete(&id), Duration::from_mins(5)).await {
            let remains = format!("the record of deployment '{}' remains ({id}): {}", id.name(), in_words(&error));
            (self.say)(Line::Warning(&format!("{remains}; this run's clean-up or the next one's deletes it")));
        }
        outcome.map(|_| ()).map_err(Failure::azure(action()))
    }

    /// Cancels a deployment, unless it is to go on, and names what remains.
    async fn break_off(&self, id: &ResourceId, vm: &str) {
        let cancel = format!(
            "to cancel it: az deployment group cancel --subscription {} --resource-group \"{}\" --name \"{}\"",
            id.subscription_id(),
            id.resource_group(),
            id.name()
        );
        let vm = self.vm_id(vm).map_or_else(|_| vm.to_owned(), |id| id.to_string());
        let goes_on = format!("a run with the id '{}' goes on with it", self.options.run_id);
        let client = self.client.for_clean_up(BREAKING_OFF);
        let told = if self.options.leaves_deployments {
            format!("the deployment '{}' goes on in Azure ({id}); {cancel}", id.name())
        } else {
            match select(client.send(resources::cancel(id)).boxed(), self.client.host().sleep(BREAKING_OFF)).await {
                Either::Left((Ok(_), _)) => format!("the deployment '{}' is cancelled; its record remains ({id})", id.name()),
                Either::Left((Err(error), _)) if error.is_missing() => return,
                Either::Left((Err(error), _)) if error.status() == Some(409) => {
                    format!("the deployment '{}' had ended before it could be cancelled; its record remains ({id})", id.name())
                }
                _ => format!("the deployment '{}' may go on in Azure ({id}); {cancel}", id.name()),
            }
        };
        (self.say)(Line::Warning(&format!("{told}; the virtual machine may remain ({vm}); {goes_on}")));
    }

    /// The template's own parameters, spelled as it spells them.
    fn parameters(&self, image: &GoldenImage, vm: &str) -> Map<String, Value> {
        let values = [
            ("newVMName", vm),
            ("labName", self.lab.name()),
            ("size", image.settings.vm_size.as_deref().unwrap_or(&self.options.vm_size)),
            ("userName", &self.options.machine_user_name),
            ("password", self.options.machine_password.secret()),
        ];
        let declared = golden_image::property(&image.template, "parameters").and_then(Value::as_object);
        let names = declared.into_iter().flat_map(|declared| declared.keys());
        names
            .filter_map(|name| {
                let (_, value) = values.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
                Some((name.clone(), json!({"value": value})))
            })
            .collect()
    }

    pub(super) fn timeout(&self, image: &GoldenImage) -> Duration {
        image.settings.timeout.unwrap_or(self.options.timeout)
    }

    /// Waits until a virtual machine is whole, with its artifacts, and deallocates it.
    pub(super) async fn finish_vm(&self, path: &ImagePath, vm: &str) -> Result<(), Failure> {
        let finished = {
            let _permit = self.gate.acquire().await;
            self.settle_vm(self.golden_image(path)?, vm).await
        };
        if let Err(failure) = &finished {
            self.remove_failed(vm, failure).await;
        }
        finished
    }

    async fn settle_vm(&self, image: &GoldenImage, vm: &str) -> Result<(), Failure> {
        let id = self.vm_id(vm)?;
        let deadline = self.timeout(image);
        let settled = |value: &Value| {
            let found = VirtualMachine::read(value);
            let is_settled = State::parse(Some(&found.provisioning_state)) != State::Changing || value.is_null();
            (is_settled && pending(&found).is_empty()).then_some(found)
        };
        let waited = self.client.wait_until(virtual_machine::get(&id), Wait::silent(deadline), settled).await;
        let found = match waited {
            Ok(found) => found,
            Err(error) => {
                let pending = self.artifact_failures(vm).await;
                let action = format!(
                    "see virtual machine '{vm}' done{}",
                    if pending.is_empty() { String::new() } else { format!(" ({})", pending.join("; ")) }
                );
                return Err(Failure::azure(action)(error));
            }
        };
        let failed = told(&found, |state| state != ArtifactState::Succeeded);
        if !failed.is_empty() {
            return Err(Failure::Refused(format!("virtual machine '{vm}': {}", failed.join("; "))));
        }
        match State::parse(Some(&found.provisioning_state)) {
            State::Succeeded => {}
            _ if found.id.is_empty() => return Err(Failure::Refused(format!("virtual machine '{vm}' is gone"))),
            _ => return Err(Failure::Refused(format!("virtual machine '{vm}' failed to provision ({})", found.provisioning_state))),
        }
        if found.power_state.as_deref() != Some("deallocated") {
            let stopped = self.operate(virtual_machine::stop(&id), deadline).await;
            stopped.map_err(Failure::azure(format!("deallocate virtual machine '{vm}'")))?;
        }
        (self.say)(Line::Info(&format!("Virtual machine '{vm}' is ready to be captured.")));
        Ok(())
    }

    /// What is to be said of artifacts that did not succeed.
    async fn artifact_failures(&self, vm: &str) -> Vec<String> {
        let Ok(id) = self.vm_id(vm) else { return Vec::new() };
        let found = self.client.find(virtual_machine::get(&id)).await.ok().flatten();
        found.map(|found| told(&VirtualMachine::read(&found), |state| state != ArtifactState::Succeeded)).unwrap_or_default()
    }

    /// Deletes what did not become what it should. After a cancellation it stays: the next run goes on with it.
    async fn remove_failed(&self, vm: &str, failure: &Failure) {
        if failure.status() == super::Status::Canceled {
            return;
        }
        if let Err(failure) = self.delete_held_vm(vm).await {
            (self.say)(Line::Warning(&format!("virtual machine '{vm}' stays: {failure}")));
        }
    }

    pub(super) fn vm_id(&self, vm: &str) -> Result<ResourceId, Failure> {
        self.lab.child("virtualmachines", vm).map_err(|error| Failure::Refused(error.to_string()))
    }

    /// Starts an operation and waits for its end. Whoever calls holds a permit.
    pub(super) async fn operate(&self, request: Request, deadline: Duration) -> Result<Value, arm::Error> {
        let host = self.client.host();
        let begun = host.elapsed();
        let is_repeatable = request.method == Method::Delete || request.path.ends_with("/stop");
        let mut failures = 0;
        loop {
            let left = deadline.saturating_sub(host.elapsed().saturating_sub(begun));
            match self.client.start(request.clone()).await {
                // Somebody else is at work on it for the moment.
                Err(error) if retry::is_busy(&error) && !error.has_code("DeploymentActive") && !left.is_zero() && !host.is_cancelled() => {
                    host.sleep(BUSY_PAUSE.min(left)).await;
                }
                Err(error) => return Err(error),
                Ok(operation) => match self.client.wait(&operation, Wait::silent(left)).await {
                    // Deleting and stopping are asked for once more; what was made badly is for whoever made it.
                    Err(error) if is_repeatable && retry::failed_by_itself(&error) => {
                        failures += 1;
                        if failures >= self.configuration.settings.attempts {
                            return Err(error);
                        }
                    }
                    ended => return ended,
                },
            }
        }
    }

    /// Waits for what is being made already.
    pub(super) async fn follow(&self, request: &Request, deadline: Duration) -> Result<Value, arm::Error> {
        // `follow` asks for the resource first, at the pace of an operation.
        self.client
            .wait_until(Request { body: None, method: Method::Get, ..request.clone() }, Wait::silent(deadline), |value| {
                (State::parse(value["properties"]["provisioningState"].as_str()) != State::Changing).then(|| value.clone())
            })
            .await
            .and_then(|value| match State::parse(value["properties"]["provisioningState"].as_str()) {
                State::Failed => Err(arm::Error::Answer { request: request.describe(), problem: "it ended as Failed".to_owned() }),
                _ => Ok(value),
            })
    }
}

/// How long cancelling a deployment may take when the run is broken off.
const BREAKING_OFF: Duration = Duration::from_secs(2);

/// How long to wait for something that is busy.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

fn pending(vm: &VirtualMachine) -> Vec<String> {
    // Once one has failed, those behind it never come.
    if vm.artifacts.iter().any(|artifact| artifact.state() == ArtifactState::Failed) {
        return Vec::new();
    }
    told(vm, |state| state == ArtifactState::Pending)
}

/// A line for each artifact in such a state.
fn told(vm: &VirtualMachine, is_meant: impl Fn(ArtifactState) -> bool) -> Vec<String> {
    let meant = vm.artifacts.iter().filter(|artifact| is_meant(artifact.state()));
    meant
        .map(|artifact| {
            let message = artifact.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
            format!("artifact '{}' {}{message}", artifact.title, artifact.status.to_ascii_lowercase())
        })
        .collect()
}
