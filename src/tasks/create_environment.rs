//! Makes an environment from a template that one of the lab's repositories holds.

use std::{collections::HashMap, time::Duration};

use serde_json::Value;
use time::OffsetDateTime;

use super::{
    deployment::{self, ParameterInputs},
    environment::{self, Export},
    error::{Error, Problems, about},
    ledger::Origin,
    parameters::{self, Given, Parameters, Sources},
    session::{CommonInputs, Desk, Done, Session, Undertaking, common_inputs},
};
use crate::{
    agent::Agent,
    arm::ResourceId,
    devtestlab::{
        self, Kind, Lab,
        artifact_source::{self, Named},
        environment::Environment,
        is_id,
    },
    resources::{self, Deployment},
    template::{Document, Template},
};

struct Inputs {
    id: ResourceId,
    repository: Choice,
    template: Choice,
    given: ParameterInputs,
    output_variables: bool,
    export: Option<Export>,
}

/// Something of the lab's, by id or by one of its names.
enum Choice {
    Id(ResourceId),
    Name(String),
}

/// How long an environment usually takes.
const USUALLY: Duration = Duration::from_mins(10);

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    let (common, inputs) = read(desk.agent)?;
    let session = Session::open(desk, common).await?;
    let agent = session.agent;
    let name = inputs.id.name();
    let template_id = template_id(&session, &inputs).await?;
    let template = session.get(format!("read the template '{}'", template_id.name()), artifact_source::get_template(&template_id)).await?;
    let contents = template.pointer("/properties/contents").cloned().unwrap_or(Value::Null);
    let parameters = merge(&contents, inputs.given)?;
    let before = deployments_before(&session, &inputs.id).await?;

    agent.info(&format!("Lab: {}", session.lab));
    agent.info(&format!("Template: {template_id}"));
    deployment::log_parameters(agent, &parameters);
    agent.info(&format!("Creating the environment '{name}'."));
    let values = plain_values(&parameters);
    let origin = Origin::of(before.is_some());
    session.makes(format!("environment '{name}'"), inputs.id.as_str(), origin, devtestlab::environment::delete(&inputs.id));
    let made = session
        .complete(Undertaking {
            action: format!("create the environment '{name}'"),
            noun: format!("creation of the environment '{name}'"),
            id: &inputs.id,
            request: devtestlab::environment::create(&inputs.id, &template_id, &values),
            stop: None,
            occupies: Some(&inputs.id),
            usually: USUALLY,
        })
        .await?;
    let made = Environment::read(&made);
    let Some(group) = made.resource_group_id.clone() else {
        return Err(Error::refused(
            format!("the environment '{name}' was created, but Azure tells no resource group for it ({})", made.id),
            "look at the environment in the lab; run the step again to deploy to it",
        ));
    };
    environment::set_outputs(agent, &made.id, &group);
    if inputs.output_variables || inputs.export.is_some() {
        let declared = contents.get("outputs").and_then(Value::as_object).is_some_and(|outputs| !outputs.is_empty());
        let deployed = deployment_made(&session, &group, &before.unwrap_or_default()).await?;
        match deployed {
            Some(deployed) => hand_on(&session, &deployed, inputs.output_variables, inputs.export.as_ref()).await?,
            None if declared || inputs.export.is_some() => {
                return Err(Error::refused(
                    format!("the environment '{name}' was created, but its resource group shows no deployment"),
                    format!("give the service connection's identity the role Reader on '{group}'"),
                ));
            }
            None => {}
        }
    }
    let message = format!("The environment '{name}' is created.");
    agent.info(&message);
    session.summarize(
        format!("Created environment '{name}'"),
        vec![
            ("Id".to_owned(), made.id.clone()),
            ("Resource group".to_owned(), group.clone()),
            ("Template".to_owned(), template_id.to_string()),
        ],
        &[("Environment in the portal", &made.id), ("Resource group in the portal", &group)],
    );
    Ok(Done::succeeded(message))
}

async fn hand_on(session: &Session<'_>, deployed: &Deployment, variables: bool, export: Option<&Export>) -> Result<(), Error> {
    if variables {
        deployment::set_outputs(session.agent, &deployed.outputs);
    }
    if let Some(export) = export {
        let id: ResourceId =
            deployed.id.parse().map_err(|error| Error::refused(format!("the deployment's id cannot be used: {error}"), "report this"))?;
        environment::export(session, export, &id, &deployed.outputs).await?;
    }
    Ok(())
}

/// When each deployment in the environment's resource group was last written, by lower-case id.
type Timestamps = HashMap<String, Option<OffsetDateTime>>;

/// The deployments that the environment has already, when it is there: those are not this one's.
/// `None` when it is not there.
async fn deployments_before(session: &Session<'_>, id: &ResourceId) -> Result<Option<Timestamps>, Error> {
    let found = session.find(format!("look for the environment '{}'", id.name()), devtestlab::environment::get(id)).await?;
    let Some(found) = found.as_ref().map(Environment::read) else { return Ok(None) };
    let Some(group) = found.resource_group_id else { return Ok(Some(HashMap::new())) };
    session.agent.info(&format!("The environment '{}' is there already: the template is deployed to it again.", id.name()));
    let deployments = session.list("list the environment's deployments", resources::list(&group)).await?;
    let known = deployments.iter().map(Deployment::read).map(|deployment| (deployment.id.to_ascii_lowercase(), deployment.timestamp));
    Ok(Some(known.collect()))
}

/// The deployment that made the environment: written since, and the last one, because nested deployments end before the one around them.
async fn deployment_made(session: &Session<'_>, group: &str, before: &Timestamps) -> Result<Option<Deployment>, Error> {
    // The group and the roles on it are as new as the environment.
    let listed = session.client.for_what_is_new().list(resources::list(group)).await;
    let deployments = listed.map_err(|error| Error::azure("list the environment's deployments", error))?;
    let fresh = deployments
        .iter()
        .map(Deployment::read)
        .filter(|deployment| before.get(&deployment.id.to_ascii_lowercase()).is_none_or(|timestamp| *timestamp != deployment.timestamp));
    Ok(fresh.max_by_key(|deployment| deployment.timestamp))
}

async fn template_id(session: &Session<'_>, inputs: &Inputs) -> Result<ResourceId, Error> {
    let wanted = match &inputs.template {
        Choice::Id(id) => return Ok(id.clone()),
        Choice::Name(name) => name,
    };
    let repository = match &inputs.repository {
        Choice::Id(id) => id.clone(),
        Choice::Name(name) => {
            let all = session.list("list the lab's repositories", artifact_source::list(&session.lab)).await?;
            environment::pick("RepositoryId", "repository", name, &all.iter().map(Named::read).collect::<Vec<_>>())?
        }
    };
    let action = format!("list the templates of the repository '{}'", repository.name());
    let all = session.list(action, artifact_source::list_templates(&repository)).await?;
    environment::pick("TemplateId", "template", wanted, &all.iter().map(Named::read).collect::<Vec<_>>())
}

fn merge(contents: &Value, given: ParameterInputs) -> Result<Parameters, Error> {
    let template = Template::parse(Document::from_value(contents.clone())).map_err(|findings| {
        Error::refused("the lab's template cannot be used", "correct the template in its repository")
            .with_notes(findings.iter().map(ToString::to_string))
    })?;
    let sources = Sources { template: &template, file: given.file, supplied: &[], overrides: given.overrides };
    let parameters = parameters::merge(sources).map_err(Error::Inputs)?;
    let references: Vec<String> = parameters
        .values
        .iter()
        .filter(|parameter| matches!(parameter.given, Given::Reference(_)))
        .map(|parameter| {
            format!(
                "input 'ParametersFile': '{}' is a Key Vault reference, which DevTest Labs does not take for environments: read the secret with an \
                 Azure Key Vault step and set it in ParameterOverrides",
                parameter.name
            )
        })
        .collect();
    if references.is_empty() { Ok(parameters) } else { Err(Error::Inputs(references)) }
}

fn plain_values(parameters: &Parameters) -> Vec<(String, Value)> {
    let values = parameters.values.iter().filter_map(|parameter| match &parameter.given {
        Given::Value(value) => Some((parameter.name.clone(), value.clone())),
        Given::Reference(_) => None,
    });
    values.collect()
}

fn read(agent: &Agent) -> Result<(CommonInputs, Inputs), Error> {
    let mut problems = Problems::default();
    let (lab, common) = common_inputs(agent, &mut problems);
    let lab = lab.as_ref();
    let name = problems.take(agent.required_input("EnvironmentName"));
    let id = lab.zip(name).and_then(|(lab, name)| {
        problems.take(devtestlab::environment::own(lab, &name).map_err(|error| about("EnvironmentName", error.problem)))
    });
    let repository = choice(agent, &mut problems, lab, "RepositoryId", Kind::ArtifactSource);
    let template = choice(agent, &mut problems, lab, "TemplateId", Kind::ArmTemplate);
    if let (Some(Choice::Id(repository)), Some(Choice::Id(template))) = (&repository, &template)
        && template.parent().as_ref() != Some(repository)
    {
        problems.add(format!("input 'TemplateId': '{template}' lies in another repository than '{repository}'"));
    }
    let given = deployment::parameter_inputs(agent, &mut problems);
    let inputs = id.zip(repository).zip(template).zip(given).map(|(((id, repository), template), given)| Inputs {
        id,
        repository,
        template,
        given,
        output_variables: agent.boolean_input("OutputTemplateVariables"),
        export: environment::export_inputs(agent),
    });
    problems.finish(common.zip(inputs))
}

fn choice(agent: &Agent, problems: &mut Problems, lab: Option<&Lab>, input: &'static str, kind: Kind) -> Option<Choice> {
    let text = problems.take(agent.required_input(input))?;
    if is_id(&text) {
        problems.take(lab?.member(kind, &text).map_err(|error| about(input, error))).map(Choice::Id)
    } else {
        Some(Choice::Name(text.trim().to_owned()))
    }
}
