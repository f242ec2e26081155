//! Makes a lab virtual machine by deploying an ARM template, and waits for its artifacts.

mod artifacts;
mod inputs;

use std::{collections::HashSet, time::Duration};

use serde_json::Value;

use self::inputs::{Inputs, Retry};
use super::{
    deployment,
    error::{Error, chain},
    ledger::Origin,
    parameters::listed,
    removal::{self, Removal},
    session::{Desk, Done, Session},
};
use crate::{
    agent::Sensitivity,
    arm::{Client, ResourceId},
    devtestlab::{
        Kind,
        virtual_machine::{self, VirtualMachine},
    },
    resources::{self, Deployment, NewDeployment},
};

/// How long a lab virtual machine usually takes.
const USUALLY: Duration = Duration::from_mins(10);
/// How deep nested deployments are followed.
const DEPTH: usize = 5;

/// What an attempt has left behind when it failed.
struct Failure {
    error: Error,
    deployment: ResourceId,
    /// The virtual machines that the deployment has written.
    machines: Vec<String>,
}

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    let (common, mut inputs) = inputs::read(desk.agent)?;
    let session = Session::open(desk, common).await?;
    inputs.check_by_image(&session).await?;
    session.agent.info(&format!("Lab: {}", session.lab));
    session.agent.info(&format!("Template: {}", inputs.template.path));
    let before = Before::look(&session, &inputs).await?;
    let retries = inputs.retry.map_or(0, |retry| retry.count);
    let mut attempt = 0;
    loop {
        let failure = match attempt_once(&session, &inputs, &before, attempt).await {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        let (Some(retry), false) = (inputs.retry.filter(|_| attempt < retries), failure.error.is_cancelled() || failure.error.is_final())
        else {
            return Err(failure.error);
        };
        session.agent.warning(&format!("attempt {} of {} failed: {}", attempt + 1, retries + 1, chain(&failure.error)));
        for note in failure.error.notes() {
            session.agent.info(note);
        }
        clean_up(&session, retry, &failure, &before).await;
        attempt += 1;
    }
}

/// The lab's virtual machines before anything was deployed: neither a retry nor a cancellation may delete one of those.
struct Before {
    /// Lower-case ids; `None` where nobody looked, because nothing is to be deleted.
    machines: Option<HashSet<String>>,
}

impl Before {
    async fn look(session: &Session<'_>, inputs: &Inputs) -> Result<Self, Error> {
        if !inputs.retry.is_some_and(|retry| retry.delete_vm) && !session.removes_created() {
            return Ok(Self { machines: None });
        }
        let found = session.list("list the lab's virtual machines", virtual_machine::list(&session.lab)).await?;
        let machines: HashSet<String> = found.iter().filter_map(|vm| Some(vm["id"].as_str()?.to_ascii_lowercase())).collect();
        let before = Self { machines: Some(machines) };
        if let Ok(id) = session.lab.member_or_name(Kind::VirtualMachine, inputs.name())
            && before.origin(id.as_str()) == Origin::Before
        {
            session.agent.warning(&format!(
                "the lab has a virtual machine '{}' already: the deployment writes to it, and neither a retry nor a cancellation deletes it",
                id.name()
            ));
        }
        Ok(before)
    }

    fn origin(&self, id: &str) -> Origin {
        self.machines.as_ref().map_or(Origin::Unknown, |machines| Origin::of(machines.contains(&id.to_ascii_lowercase())))
    }
}

async fn attempt_once(session: &Session<'_>, inputs: &Inputs, before: &Before, attempt: u64) -> Result<Done, Failure> {
    let (name, parameters) = inputs.for_attempt(attempt);
    let deployment_name = deployment::name(session, &name, attempt);
    let group = session.lab.id().resource_group_id();
    let deployment = resources::deployment_id(&group, &deployment_name).unwrap_or_else(|_| session.lab.id().clone());
    let failed = |error: Error| Failure { error, deployment: deployment.clone(), machines: Vec::new() };

    deployment::log_parameters(session.agent, &parameters);
    session.agent.info(&format!(
        "Deploying the virtual machine '{name}' as '{deployment_name}' to the resource group '{}'.",
        session.lab.id().resource_group()
    ));
    if let Ok(expected) = session.lab.member_or_name(Kind::VirtualMachine, &name) {
        note_made(session, before, &expected);
    }
    let new = NewDeployment { template: inputs.template.template.value().clone(), parameters: parameters.for_deployment() };
    let deployed = deployment::run(session, &deployment, &new, USUALLY).await;
    let machines = match &deployed {
        Err(error) if error.is_cancelled() => Vec::new(),
        // What the failed deployment has written only matters for cleaning up; the failure itself is what counts.
        Err(_) => machines(&session.client, &deployment).await.unwrap_or_default(),
        // Azure's caches may not know a deployment yet that has just been made.
        Ok(_) => machines(&session.client.for_what_is_new(), &deployment).await.map_err(failed)?,
    };
    for id in machines.iter().filter_map(|id| session.lab.member(Kind::VirtualMachine, id).ok()) {
        note_made(session, before, &id);
    }
    let with_machines = |error: Error| Failure { error, deployment: deployment.clone(), machines: machines.clone() };
    let deployed = deployed.map_err(with_machines)?;
    let id = choose(session, &machines, &name).map_err(with_machines)?;
    finish(session, inputs, &deployed, &id).await.map_err(with_machines)
}

fn note_made(session: &Session<'_>, before: &Before, id: &ResourceId) {
    session.makes(format!("virtual machine '{}'", id.name()), id.as_str(), before.origin(id.as_str()), virtual_machine::delete(id));
}

/// What follows a deployment that succeeded: artifacts, outputs, summary.
async fn finish(session: &Session<'_>, inputs: &Inputs, deployed: &Deployment, id: &ResourceId) -> Result<Done, Error> {
    let agent = session.agent;
    // Whatever becomes of the artifacts, a step that cleans up needs the id.
    agent.set_output("labVmId", id.as_str(), Sensitivity::Public);
    let vm = artifacts::wait(session, id, artifacts::limit(session, inputs)).await?;
    set_outputs(session, deployed, id, &vm);
    let issues = artifacts::check(session, &vm, inputs)?;
    summarize(session, deployed, id, &vm);
    let message = format!("The virtual machine '{}' is created.", id.name());
    agent.info(&message);
    Ok(if issues { Done::with_issues(format!("{message} Not all artifacts succeeded.")) } else { Done::succeeded(message) })
}

/// The virtual machines that a deployment and those nested in it have written, by their operations.
async fn machines(client: &Client, deployment: &ResourceId) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    let mut level = vec![deployment.clone()];
    for _ in 0..DEPTH {
        let mut below = Vec::new();
        for id in level {
            let operations: Vec<Value> = client
                .list(resources::operations(&id))
                .await
                .map_err(|error| Error::azure(format!("list the operations of the deployment '{}'", id.name()), error))?;
            found.extend(resources::written(&operations, Kind::VirtualMachine.resource_type()));
            below.extend(
                resources::written(&operations, "Microsoft.Resources/deployments").iter().filter_map(|id| id.parse::<ResourceId>().ok()),
            );
        }
        level = below;
    }
    Ok(resources::distinct(found))
}

/// The virtual machine that the outputs speak of: the only one, else the one of the wanted name, else the first by name.
fn choose(session: &Session<'_>, machines: &[String], name: &str) -> Result<ResourceId, Error> {
    let ids: Vec<ResourceId> = machines.iter().filter_map(|id| id.parse().ok()).collect();
    let Some(first) = ids.first() else {
        return Err(Error::refused(
            "the template was deployed, but made no lab virtual machine",
            "use a template with a resource of the type Microsoft.DevTestLab/labs/virtualmachines",
        ));
    };
    if ids.len() == 1 {
        return Ok(first.clone());
    }
    let named = ids.iter().find(|id| id.name().eq_ignore_ascii_case(name));
    let chosen = named.unwrap_or(first);
    let all: Vec<&str> = ids.iter().map(ResourceId::as_str).collect();
    session.agent.warning(&format!(
        "the template made {} virtual machines: {}; the outputs and artifacts are those of '{}'",
        ids.len(),
        listed(&all),
        chosen.name()
    ));
    Ok(chosen.clone())
}

fn set_outputs(session: &Session<'_>, deployed: &Deployment, id: &ResourceId, vm: &VirtualMachine) {
    let agent = session.agent;
    agent.group("Output variables");
    deployment::set_outputs(agent, &deployed.outputs);
    deployment::set_known(agent, "labVmId", Some(id.as_str()));
    deployment::set_known(agent, "vmName", Some(id.name()));
    deployment::set_known(agent, "computeVmId", vm.compute_id.as_deref());
    deployment::set_known(agent, "vmResourceGroup", vm.resource_group().as_deref());
    deployment::set_known(agent, "privateIpAddress", vm.private_ip_address.as_deref());
    deployment::set_known(agent, "publicIpAddress", vm.public_ip_address.as_deref());
    deployment::set_known(agent, "fqdn", vm.fqdn.as_deref());
    agent.end_group();
}

fn summarize(session: &Session<'_>, deployed: &Deployment, id: &ResourceId, vm: &VirtualMachine) {
    let mut facts = vec![("Id".to_owned(), id.to_string()), ("Deployment".to_owned(), deployed.name.clone())];
    let addresses = [
        ("Compute virtual machine", &vm.compute_id),
        ("Private IP address", &vm.private_ip_address),
        ("Public IP address", &vm.public_ip_address),
        ("Domain name", &vm.fqdn),
    ];
    facts.extend(addresses.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))));
    facts.extend(vm.artifacts.iter().map(|artifact| (format!("Artifact {}", artifact.title), artifact.status.clone())));
    session.summarize(
        format!("Created virtual machine '{}'", id.name()),
        facts,
        &[("Virtual machine in the portal", id.as_str()), ("Deployment in the portal", &deployed.id)],
    );
}

/// Removes what a failed attempt left behind, as far as that is wanted. What cannot be removed is a warning.
async fn clean_up(session: &Session<'_>, retry: Retry, failure: &Failure, before: &Before) {
    if failure.error.is_time_out() {
        // It would go on beside the next attempt and write to the same virtual machine.
        session.agent.info(&format!("Cancelling the deployment '{}'.", failure.deployment.name()));
        match session.client.send(resources::cancel(&failure.deployment)).await {
            Ok(_) => session.leaves_no_more(failure.deployment.as_str()),
            Err(error) => {
                session.agent.warning(&format!("failed to cancel the deployment '{}': {}", failure.deployment.name(), chain(&error)));
            }
        }
    }
    if retry.delete_vm {
        for id in failure.machines.iter().filter(|id| before.origin(id) == Origin::New) {
            let Ok(id) = session.lab.member(Kind::VirtualMachine, id) else { continue };
            session.agent.info(&format!("Deleting the failed virtual machine '{}'.", id.name()));
            remove(session, "virtual machine", &id, virtual_machine::delete(&id)).await;
        }
    }
    if retry.delete_deployment {
        let id = &failure.deployment;
        session.agent.info(&format!("Deleting the record of the failed deployment '{}'.", id.name()));
        remove(session, "deployment", id, resources::delete(id)).await;
    }
}

async fn remove(session: &Session<'_>, noun: &'static str, id: &ResourceId, delete: crate::arm::Request) {
    match removal::delete(session, &Removal { noun, id, delete }).await {
        Ok(_) => session.unmakes(id.as_str()),
        Err(error) => session.agent.warning(&chain(&error)),
    }
}
