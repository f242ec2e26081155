//! Deployments of templates: their inputs read and checked, run to their end, their outputs handed on.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    error::{Error, Problems, about},
    overrides::{self, Override},
    parameters::{self, Declaration, Given, Origin, Parameters},
    session::{Session, Undertaking},
};
use crate::{
    agent::{Agent, InputError, InputFile, Sensitivity},
    arm::ResourceId,
    resources::{self, Deployment, NewDeployment, Output},
    template::Document,
};

/// A template file, read.
pub struct TemplateFile {
    /// The path, for the log.
    pub path: String,
    /// The file.
    pub document: Document,
}

/// What the user gives a template's parameters, not yet matched with what it declares.
#[derive(Clone, Debug)]
pub struct ParameterInputs {
    /// The parameters file's entries.
    pub file: Map<String, Value>,
    /// The overrides.
    pub overrides: Vec<Override>,
}

impl TemplateFile {
    /// The template.
    pub fn value(&self) -> &Value {
        self.document.value()
    }

    /// What it declares.
    pub fn declarations(&self) -> Vec<Declaration> {
        parameters::declarations(self.value())
    }
}

/// Reads the `TemplateFile` input.
pub fn template_input(agent: &Agent, problems: &mut Problems) -> Option<TemplateFile> {
    let file = problems.take(agent.file_input("TemplateFile").and_then(|file| file.ok_or(InputError::Missing { name: "TemplateFile" })))?;
    let document = problems.take(parse("TemplateFile", &file))?;
    let problem = match document.value() {
        Value::Object(template) if template.contains_key("resources") => return Some(TemplateFile { path: file.path, document }),
        Value::Object(template) if template.contains_key("parameters") => "it looks like a parameters file, not like a template",
        Value::Object(_) => "it is no ARM template: it has no 'resources'",
        _ => "it is no ARM template: it holds no JSON object",
    };
    problems.add(format!("input 'TemplateFile' is '{}': {problem}", file.path));
    None
}

/// Reads the `ParametersFile` and `ParameterOverrides` inputs. `None` when one of them is wrong.
pub fn parameter_inputs(agent: &Agent, problems: &mut Problems) -> Option<ParameterInputs> {
    let file = problems.take(agent.file_input("ParametersFile")).and_then(|file| match file {
        None => Some(Map::new()),
        Some(file) => {
            let document = problems.take(parse("ParametersFile", &file))?;
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

fn parse(input: &str, file: &InputFile) -> Result<Document, String> {
    Document::parse(&file.contents).map_err(|error| format!("input '{input}' is '{}': {error}", file.path))
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
            request: resources::create(id, new),
            stop: Some(resources::cancel(id)),
            usually,
        })
        .await
        .map_err(|error| error.with_notes([format!("deployment: {id}")]))?;
    Ok(Deployment::read(&value))
}

/// Sets a variable for each output, by exactly its name.
pub fn set_outputs(agent: &Agent, outputs: &[Output]) {
    for output in outputs {
        match &output.value {
            None => agent.info(&format!("{}: not set, Azure does not show this output's value", output.name)),
            Some(value) if output.secure => {
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
