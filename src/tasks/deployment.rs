//! Deployments of templates: their inputs read and checked, run to their end, their outputs handed on.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{
    error::{Error, Problems, about},
    overrides::{self, Override},
    parameters::{self, Given, Origin, Parameters, Sources, Supplied},
    session::{Session, Undertaking},
};
use crate::{
    agent::{Agent, InputError, InputFile, Sensitivity},
    arm::{ResourceId, scrub},
    host::FileError,
    resources::{self, Deployment, NewDeployment, Output},
    template::{self, CheckOptions, Context, Document, Finding, Level, Mode, ResourceGroup, Template},
};

/// A template file, read.
#[derive(Clone)]
pub struct TemplateFile {
    /// The path, for the log.
    pub path: String,
    /// The template.
    pub template: Arc<Template>,
}

/// What the user gives a template's parameters, not yet matched with what it declares.
#[derive(Clone, Debug)]
pub struct ParameterInputs {
    /// The parameters file's entries.
    pub file: Map<String, Value>,
    /// The overrides.
    pub overrides: Vec<Override>,
}

/// Reads the `TemplateFile` input.
pub fn template_input(agent: &Agent, problems: &mut Problems) -> Option<TemplateFile> {
    let file = problems.take(agent.file_input("TemplateFile").and_then(|file| file.ok_or(InputError::Missing { name: "TemplateFile" })))?;
    let document = problems.take(parse(agent, "TemplateFile", &file))?;
    let problem = match document.value() {
        Value::Object(template) if template.contains_key("resources") => None,
        Value::Object(template) if template.contains_key("parameters") => Some("it looks like a parameters file, not like a template"),
        Value::Object(_) => Some("it is no ARM template: it has no 'resources'"),
        _ => Some("it is no ARM template: it holds no JSON object"),
    };
    if let Some(problem) = problem {
        problems.add(format!("input 'TemplateFile' is '{}': {problem}", file.path));
        return None;
    }
    let read = embed(agent, &file.path, document).and_then(Template::parse);
    match read {
        Ok(template) => Some(TemplateFile { path: file.path, template: Arc::new(template) }),
        Err(findings) => {
            problems.extend(findings.iter().map(|finding| format!("input 'TemplateFile' is '{}': {finding}", file.path)));
            None
        }
    }
}

/// Puts the templates that this one links to, below its own folder, in place of the links, so that Azure need not download them.
fn embed(agent: &Agent, path: &str, document: Document) -> Result<Document, Vec<Finding>> {
    let (folder, name) = path.rsplit_once(['/', '\\']).unwrap_or((".", path));
    let host = agent.host();
    template::embed(document, name, &mut |linked| match host.read_file(&host.join_path(folder, linked)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(FileError::NotFound) => Ok(None),
        Err(error) => Err(error.to_string()),
    })
}

/// Merges the parameters; `None`, and the problems remembered, when something is wrong with them.
pub fn merge(problems: &mut Problems, file: &TemplateFile, given: &ParameterInputs, supplied: &[Supplied<'_>]) -> Option<Parameters> {
    let ParameterInputs { file: entries, overrides } = given.clone();
    let sources = Sources { template: &file.template, file: entries, supplied, overrides };
    parameters::merge(sources).map_err(|found| problems.extend(found)).ok()
}

/// Checks the template with its parameters. Errors are remembered as problems, but for one about a name that has been found bad already;
/// warnings are kept with the parameters.
pub fn check(problems: &mut Problems, file: &TemplateFile, parameters: &mut Parameters, context: &Context, bad_name: Option<&str>) {
    let values = parameters.for_deployment();
    let options = CheckOptions { parameters: Some(&values), ..CheckOptions::default() };
    let checked = template::check(file.template.document(), context, &options);
    parameters.warnings.extend(checked.warnings.iter().map(|finding| format!("{}: {finding}", file.path)));
    let known = |finding: &Finding| {
        bad_name.is_some_and(|name| finding.path.rsplit('.').next() == Some("name") && finding.message.contains(&format!("'{name}'")))
    };
    let errors = checked.errors.iter().filter(|finding| !known(finding));
    problems.extend(errors.map(|finding| format!("input 'TemplateFile' is '{}': {finding}", file.path)));
}

/// Where a deployment will take place, as far as that is known before anything is sent.
pub fn context(agent: &Agent, subscription_id: &str, resource_group: &str) -> Context {
    Context {
        tenant_id: String::new(),
        subscription_id: subscription_id.to_owned(),
        subscription_name: String::new(),
        level: Level::ResourceGroup(ResourceGroup { name: resource_group.to_owned(), location: String::new(), tags: Map::new() }),
        deployment_name: "deployment".to_owned(),
        location: None,
        mode: Mode::Incremental,
        template_link: None,
        environment: template::public_cloud(),
        now: agent.host().now(),
    }
}

/// Reads the `ParametersFile` and `ParameterOverrides` inputs. `None` when one of them is wrong.
pub fn parameter_inputs(agent: &Agent, problems: &mut Problems) -> Option<ParameterInputs> {
    let file = problems.take(agent.file_input("ParametersFile")).and_then(|file| match file {
        None => Some(Map::new()),
        Some(file) => {
            let document = problems.take(parse(agent, "ParametersFile", &file))?;
            let read = parameters::parameters_file(document.value());
            read.map_err(|found| {
                problems.extend(found.into_iter().map(|problem| format!("input 'ParametersFile' is '{}': {problem}", file.path)));
            })
            .ok()
        }
    });
    let overrides = overrides::parse(&agent.input("ParameterOverrides").unwrap_or_default());
    let overrides = problems.take(overrides.map_err(|error| about("ParameterOverrides", error)));
    // Whatever follows, what was marked as secret stays out of the log.
    for item in overrides.iter().flatten().filter(|item| item.secure) {
        agent.register_secret(&item.value);
    }
    file.zip(overrides).map(|(file, overrides)| ParameterInputs { file, overrides })
}

fn parse(agent: &Agent, input: &str, file: &InputFile) -> Result<Document, String> {
    let document = Document::parse(&file.contents).map_err(|error| format!("input '{input}' is '{}': {error}", file.path))?;
    for (path, position) in document.duplicates() {
        agent.warning(&format!(
            "input '{input}' is '{}': line {}, column {}: '{path}' is there twice; the last one counts",
            file.path, position.line, position.column
        ));
    }
    Ok(document)
}

/// Registers the secret values, then shows all parameters in a group of their own.
pub fn log_parameters(agent: &Agent, parameters: &Parameters) {
    for secret in parameters.secrets() {
        agent.register_secret(secret);
    }
    for warning in &parameters.warnings {
        agent.warning(warning);
    }
    if parameters.values.is_empty() {
        return;
    }
    agent.group("Template parameters");
    for parameter in &parameters.values {
        let value = match &parameter.given {
            _ if parameter.secret => "***".to_owned(),
            Given::Reference(_) => "from a Key Vault".to_owned(),
            Given::Value(value) => value.to_string(),
        };
        let origin = match parameter.origin {
            Origin::File => "parameters file",
            Origin::Task => "supplied by the task",
            Origin::Override => "override",
        };
        agent.info(&format!("{} = {value} ({origin})", parameter.name));
    }
    agent.end_group();
}

/// A name for a deployment that no other has: what it is for, the time in UTC, and a few random digits.
pub fn name(session: &Session<'_>, subject: &str, attempt: u64) -> String {
    let subject: String = subject.chars().filter(|character| character.is_ascii_alphanumeric() || *character == '-').take(20).collect();
    let now = session.agent.host().now();
    let time =
        format!("{:04}{:02}{:02}{:02}{:02}{:02}", now.year(), u8::from(now.month()), now.day(), now.hour(), now.minute(), now.second());
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("dtl-{subject}-{time}-{}-{}", &random[..6], attempt + 1)
}

/// Deploys, and waits for the end.
pub async fn run(session: &Session<'_>, id: &ResourceId, new: &NewDeployment, usually: Duration) -> Result<Deployment, Error> {
    let value = session
        .complete(Undertaking {
            action: format!("deploy the template as '{}'", id.name()),
            noun: format!("deployment '{}'", id.name()),
            id,
            // The name is this attempt's alone.
            request: resources::create(id, new).of_new(),
            stop: Some(resources::cancel(id)),
            occupies: None,
            usually,
        })
        .await
        .map_err(|error| {
            let portal = session.portal_link(id.as_str()).map(|link| format!("in the portal: {link}"));
            error.with_notes(std::iter::once(format!("deployment: {id}")).chain(portal))
        })?;
    Ok(Deployment::read(&value))
}

/// Sets a variable for each output, by exactly its name.
pub fn set_outputs(agent: &Agent, outputs: &[Output]) {
    for output in outputs {
        match &output.value {
            None => agent.info(&format!("{}: not set, Azure does not show this output's value", output.name)),
            // What holds a signature or a key is secret, whatever its type.
            Some(value) if output.secure || scrub::text(value) != *value => {
                agent.set_output(&output.name, value, Sensitivity::Secret);
                agent.info(&format!("{} = ***", output.name));
            }
            Some(value) => {
                agent.set_output(&output.name, value, Sensitivity::Public);
                agent.info(&format!("{} = {value}", output.name));
            }
        }
    }
}

/// Sets a variable that the task itself knows, if there is a value.
pub fn set_known(agent: &Agent, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        agent.set_output(name, value, Sensitivity::Public);
        agent.info(&format!("{name} = {value}"));
    }
}
