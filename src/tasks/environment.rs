//! What the environment tasks share: finding an environment by id or name, its resource group, and template export.

use azure_core::http::{Method, Request, Url};
use serde_json::Value;

use super::{
    error::{Error, Problems, about},
    session::Session,
};
use crate::{
    agent::{Agent, Sensitivity},
    arm::ResourceId,
    devtestlab::{
        Kind, Lab,
        artifact_source::Named,
        environment::{self, Environment},
        is_id,
    },
    resources::{self, Output},
    template,
};

/// How an environment is addressed.
#[derive(Clone, Debug)]
pub enum Address {
    /// By its id; any user's.
    Id(ResourceId),
    /// By a name that only one user of the lab has used.
    Name(String),
}

/// Reads the `EnvironmentId` input.
pub fn address_input(agent: &Agent, problems: &mut Problems, lab: Option<&Lab>) -> Option<Address> {
    let text = problems.take(agent.required_input("EnvironmentId"))?;
    if is_id(&text) {
        let id = lab?.member(Kind::Environment, &text).map_err(|error| about("EnvironmentId", error));
        return problems.take(id).map(Address::Id);
    }
    let name = environment::own(lab?, &text).map_err(|error| about("EnvironmentId", error.problem));
    problems.take(name).map(|_| Address::Name(text.trim().to_owned()))
}

/// Finds the environment; `None` when there is none.
pub async fn find(session: &Session<'_>, address: &Address) -> Result<Option<Environment>, Error> {
    match address {
        Address::Id(id) => {
            let found = session.find(format!("look for the environment '{}'", id.name()), environment::get(id)).await?;
            Ok(found.as_ref().map(Environment::read))
        }
        Address::Name(name) => {
            let all = session.list("list the lab's environments", environment::list(&session.lab)).await?;
            one_called(all.iter().map(Environment::read), name)
        }
    }
}

/// The only environment of this name; several are an error that lists them.
fn one_called(environments: impl Iterator<Item = Environment>, name: &str) -> Result<Option<Environment>, Error> {
    let mut found: Vec<Environment> = environments.filter(|environment| environment.name.eq_ignore_ascii_case(name)).collect();
    if found.len() <= 1 {
        return Ok(found.pop());
    }
    let candidates = found.iter().map(|environment| {
        let owner = environment.created_by.as_ref().map_or(String::new(), |owner| format!(" (made by {owner})"));
        format!("candidate: {}{owner}", environment.id)
    });
    Err(Error::refused(
        format!("input 'EnvironmentId': {} environments of the lab are called '{name}'", found.len()),
        "set EnvironmentId to the id of the one that is meant",
    )
    .with_notes(candidates))
}

/// Sets the variables that both tasks set.
pub fn set_outputs(agent: &Agent, id: &str, resource_group_id: &str) {
    for (name, value) in [("environmentResourceId", id), ("environmentResourceGroupId", resource_group_id)] {
        agent.set_output(name, value, Sensitivity::Public);
        agent.info(&format!("{name} = {value}"));
    }
}

/// Where to write the environment's template, and where it may lie.
#[derive(Clone, Debug)]
pub struct Export {
    folder: String,
    location: String,
    sas_token: String,
}

/// Reads the inputs of the template export. `None` when none is wanted.
pub fn export_inputs(agent: &Agent) -> Option<Export> {
    if !agent.boolean_input("ExportEnvironmentTemplate") {
        return None;
    }
    let folder = agent.input("ExportEnvironmentTemplateLocation").unwrap_or_else(|| {
        let staging = agent.pipeline_variable("Build.ArtifactStagingDirectory").unwrap_or_else(|| ".".to_owned());
        agent.host().join_path(&staging, "DeployedEnvironment")
    });
    Some(Export {
        folder,
        location: agent.input("EnvironmentTemplateLocationVariable").unwrap_or_else(|| "EnvironmentLocation".to_owned()),
        sas_token: agent.input("EnvironmentTemplateSasTokenVariable").unwrap_or_else(|| "EnvironmentSAS".to_owned()),
    })
}

/// Writes the template of a deployment to `azuredeploy.json` in the folder: from the address that an output or variable names, else as
/// Azure exports it.
pub async fn export(session: &Session<'_>, export: &Export, deployment: &ResourceId, outputs: &[Output]) -> Result<(), Error> {
    let agent = session.agent;
    let known = |name: &str| {
        let output = outputs.iter().find(|output| output.name.eq_ignore_ascii_case(name)).and_then(|output| output.value.clone());
        output.or_else(|| agent.pipeline_variable(name)).filter(|value| !value.trim().is_empty())
    };
    let contents = if let Some(location) = known(&export.location) {
        let sas = known(&export.sas_token).unwrap_or_default();
        agent.register_secret(sas.trim_start_matches('?'));
        download(session, &location, &sas).await?
    } else {
        let action = format!("export the template of the deployment '{}'", deployment.name());
        let exported = session.get(action, resources::export_template(deployment).about_new()).await?;
        let template = exported.get("template").cloned().unwrap_or(Value::Null);
        serde_json::to_vec_pretty(&template).unwrap_or_default()
    };
    let path = agent.host().join_path(&export.folder, "azuredeploy.json");
    agent.host().write_file(&path, &contents).map_err(|error| {
        Error::refused(
            format!("failed to write the environment's template to '{path}': {error}"),
            "check ExportEnvironmentTemplateLocation",
        )
    })?;
    agent.info(&format!("The environment's template is written to {path}"));
    Ok(())
}

/// Fetches `azuredeploy.json` below an address, without the service connection's token: the signature alone must do.
async fn download(session: &Session<'_>, location: &str, sas: &str) -> Result<Vec<u8>, Error> {
    let base = location.trim().trim_end_matches('/');
    let failed = |problem: String| {
        Error::refused(
            format!("failed to fetch the environment's template from '{base}/azuredeploy.json': {problem}"),
            "check the template outputs that EnvironmentTemplateLocationVariable and EnvironmentTemplateSasTokenVariable name",
        )
    };
    let query = sas.trim().trim_start_matches('?');
    let separator = if query.is_empty() { "" } else { "?" };
    let url = Url::parse(&format!("{base}/azuredeploy.json{separator}{query}")).ok().filter(|url| url.scheme() == "https");
    let url = url.ok_or_else(|| failed("this is not an https address".to_owned()))?;
    let request = Request::new(url, Method::Get);
    // The transport's own words may hold the signature, so that they are not repeated.
    let response = session.agent.host().http_client().execute_request(&request).await;
    let response = response.map_err(|_| failed("the server did not answer".to_owned()))?;
    let response = response.try_into_raw_response().await.map_err(|_| failed("the answer broke off".to_owned()))?;
    let status = u16::from(response.status());
    if status == 200 { Ok(response.body().as_ref().to_vec()) } else { Err(failed(format!("the server answered {status}"))) }
}

/// What a user may call something in a list, and the id it stands for; otherwise an error that lists what there is.
pub fn pick(input: &str, noun: &str, wanted: &str, items: &[Named]) -> Result<ResourceId, Error> {
    let found: Vec<_> = items.iter().filter(|item| item.is_called(wanted)).collect();
    match found.as_slice() {
        [only] => only
            .id
            .parse()
            .map_err(|error| Error::refused(format!("the lab's {noun} has an id that cannot be used: {error}"), "report this")),
        [] => {
            let known: Vec<&str> =
                items.iter().flat_map(|item| [Some(item.name.as_str()), item.display_name.as_deref()]).flatten().collect();
            let near = template::nearest_name(wanted, known.into_iter()).map_or(String::new(), |near| format!(" (did you mean '{near}'?)"));
            let names: Vec<String> = items.iter().map(names_of).collect();
            let there = if names.is_empty() { "there is none".to_owned() } else { format!("there is {}", names.join(", ")) };
            Err(Error::refused(
                format!("input '{input}': the lab has no {noun} '{wanted}'{near}; {there}"),
                format!("set {input} to the name or the id of a {noun}"),
            ))
        }
        several => {
            let ids: Vec<String> = several.iter().map(|item| format!("candidate: {}", item.id)).collect();
            Err(Error::refused(
                format!("input '{input}': {} {noun}s go by the name '{wanted}'", several.len()),
                format!("set {input} to the id of the one that is meant"),
            )
            .with_notes(ids))
        }
    }
}

/// The name, and the one it is shown under where that is another.
fn names_of(item: &Named) -> String {
    match &item.display_name {
        Some(shown) if !shown.eq_ignore_ascii_case(&item.name) => format!("'{}' (shown as '{shown}')", item.name),
        _ => format!("'{}'", item.name),
    }
}
