//! Deploys a template into the resource group of an environment that is there.

use std::time::Duration;

use super::{
    deployment::{self, TemplateFile},
    environment::{self, Address, Export},
    error::{Error, Problems},
    parameters::Parameters,
    session::{CommonInputs, Desk, Done, Session, common_inputs, refuse_removal},
};
use crate::{
    agent::Agent,
    resources::{self, NewDeployment},
};

struct Inputs {
    address: Address,
    template: TemplateFile,
    parameters: Parameters,
    output_variables: bool,
    export: Option<Export>,
}

/// How long such a deployment usually takes.
const USUALLY: Duration = Duration::from_mins(5);

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    let (common, inputs) = read(desk.agent)?;
    let session = Session::open(desk, common).await?;
    let agent = session.agent;
    let Some(found) = environment::find(&session, &inputs.address).await? else {
        let wanted = match &inputs.address {
            Address::Id(id) => id.to_string(),
            Address::Name(name) => name.clone(),
        };
        return Err(Error::refused(
            format!("input 'EnvironmentId': the lab has no environment '{wanted}'"),
            "create it first, or check the name and its user",
        ));
    };
    let Some(group) = &found.resource_group_id else {
        return Err(Error::refused(
            format!("the environment '{}' has no resource group yet", found.name),
            "wait until its creation has ended; an environment that failed is to be deleted and created anew",
        ));
    };
    agent.info(&format!("Environment: {}", found.id));
    agent.info(&format!("Template: {}", inputs.template.path));
    deployment::log_parameters(agent, &inputs.parameters);
    let name = deployment::name(&session, &found.name, 0);
    let id = resources::deployment_id(group, &name)
        .map_err(|error| Error::refused(format!("the environment's resource group cannot be used: {error}"), "report this"))?;
    agent.info(&format!("Deploying as '{name}' to the resource group '{}'.", id.resource_group()));
    let new = NewDeployment { template: inputs.template.template.value().clone(), parameters: inputs.parameters.for_deployment() };
    let deployed = deployment::run(&session, &id, &new, USUALLY).await?;

    environment::set_outputs(agent, &found.id, group);
    if inputs.output_variables {
        deployment::set_outputs(agent, &deployed.outputs);
    }
    if let Some(export) = &inputs.export {
        environment::export(&session, export, &id, &deployed.outputs).await?;
    }
    let message = format!("The environment '{}' is populated.", found.name);
    agent.info(&message);
    session.summarize(
        format!("Populated environment '{}'", found.name),
        vec![("Environment".to_owned(), found.id.clone()), ("Resource group".to_owned(), group.clone()), ("Deployment".to_owned(), name)],
        &[("Resource group in the portal", group), ("Deployment in the portal", id.as_str())],
    );
    Ok(Done::succeeded(message))
}

fn read(agent: &Agent) -> Result<(CommonInputs, Inputs), Error> {
    let mut problems = Problems::default();
    let (lab, common) = common_inputs(agent, &mut problems);
    refuse_removal(&mut problems, common.as_ref());
    let address = environment::address_input(agent, &mut problems, lab.as_ref());
    let template = deployment::template_input(agent, &mut problems);
    let given = deployment::parameter_inputs(agent, &mut problems);
    let parameters = lab.as_ref().zip(template.as_ref()).zip(given).and_then(|((lab, template), given)| {
        // The environment's own group is not known yet; templates look at the group's name and place only once they are deployed.
        let context = deployment::context(agent, lab.id().subscription_id(), lab.id().resource_group());
        let mut parameters = deployment::merge(&mut problems, template, &given, &[])?;
        deployment::check(&mut problems, template, &mut parameters, &context, None);
        Some(parameters)
    });
    let inputs = address.zip(template).zip(parameters).map(|((address, template), parameters)| Inputs {
        address,
        template,
        parameters,
        output_variables: agent.boolean_input("OutputTemplateVariables"),
        export: environment::export_inputs(agent),
    });
    problems.finish(common.zip(inputs))
}
