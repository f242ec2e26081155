//! The environment that the agent gives to a step: inputs, service connections, variables.
//!
//! Names and shapes are the agent's; `agent` reads them on the other side.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::json;
use uuid::Uuid;

use super::{target::Target, variables::Variables};

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

/// How the service connection of a local run signs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scheme {
    /// A service principal with a secret.
    #[default]
    Secret,
    /// Workload identity federation: a service principal that trusts the pipeline's own token.
    Federation,
}

/// The folders of a job.
#[derive(Clone, Debug)]
pub struct Folders {
    /// `System.DefaultWorkingDirectory` and `Build.SourcesDirectory`: where the pipeline's files are.
    pub sources: PathBuf,
    /// `Agent.TempDirectory`, gone when the job ends.
    pub temp: PathBuf,
    /// `Build.ArtifactStagingDirectory`.
    pub staging: PathBuf,
}

/// The id of the service connection that a pipeline calls `name`: the same for the same name.
pub fn connection_id(name: &str) -> String {
    Uuid::parse_str(name)
        .unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("service-connection:{name}").as_bytes()))
        .to_string()
}

/// The variables that the agent itself sets for a job on this target.
pub fn system_variables(target: &Target, folders: &Folders) -> Variables {
    let mut variables = Variables::default();
    let id = |name: &str| Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{name}:{}", folders.temp.display()).as_bytes()).to_string();
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    for (name, value) in [
        ("System.DefaultWorkingDirectory", path(&folders.sources)),
        ("Build.SourcesDirectory", path(&folders.sources)),
        ("Build.Repository.LocalPath", path(&folders.sources)),
        ("Build.ArtifactStagingDirectory", path(&folders.staging)),
        ("Build.StagingDirectory", path(&folders.staging)),
        ("Agent.TempDirectory", path(&folders.temp)),
        ("Agent.Name", "dtl".into()),
        ("Agent.OS", agent_os().into()),
        ("Agent.Version", "4.255.0".into()),
        ("Agent.JobName", "Job".into()),
        ("Agent.JobStatus", "Succeeded".into()),
        ("System.HostType", "build".into()),
        ("System.Culture", "en-US".into()),
        ("System.TeamProject", "local".into()),
        ("System.TeamProjectId", id("project")),
        ("System.PlanId", id("plan")),
        ("System.JobId", id("job")),
        ("System.TimelineId", id("timeline")),
        ("System.TeamFoundationCollectionUri", target.resource_manager.clone()),
        ("System.CollectionUri", target.resource_manager.clone()),
        ("System.Debug", "false".into()),
        ("Build.BuildId", "1".into()),
        ("Build.BuildNumber", "local.1".into()),
        ("Build.DefinitionName", "local".into()),
        ("Build.Reason", "Manual".into()),
        ("TF_BUILD", "True".into()),
    ] {
        variables.set(name, value);
    }
    if let Some(uri) = &target.oidc_request_uri {
        variables.set("System.OidcRequestUri", uri.clone());
    }
    if let Some(token) = &target.system_access_token {
        variables.set_secret("System.AccessToken", token.secret());
    }
    variables
}

fn agent_os() -> &'static str {
    match std::env::consts::OS {
        "windows" => "Windows_NT",
        "macos" => "Darwin",
        _ => "Linux",
    }
}

/// The variables as every process of a step sees them: public ones alone.
pub fn public_environment(variables: &Variables) -> Environment {
    variables.iter().filter(|variable| !variable.secret).map(|variable| (mangled(&variable.name), variable.value.clone())).collect()
}

/// The variables as a task sees them: secret ones under a prefix, and the names of both kinds.
pub fn task_environment(variables: &Variables) -> Environment {
    let mut environment = public_environment(variables);
    let names = |secret: bool| {
        json!(variables.iter().filter(|variable| variable.secret == secret).map(|variable| &variable.name).collect::<Vec<_>>()).to_string()
    };
    environment.insert("VSTS_PUBLIC_VARIABLES".into(), names(false));
    environment.insert("VSTS_SECRET_VARIABLES".into(), names(true));
    for variable in variables.iter().filter(|variable| variable.secret) {
        environment.insert(format!("SECRET_{}", mangled(&variable.name)), variable.value.clone());
    }
    environment.insert("COMMAND_CORRELATION_ID".into(), Uuid::new_v4().to_string());
    environment
}

/// An input under the name that the agent gives it.
pub fn input_name(name: &str) -> String {
    format!("INPUT_{}", mangled(name))
}

fn mangled(name: &str) -> String {
    name.replace(['.', ' '], "_").to_uppercase()
}

/// The service connection of this id, and the job's own.
pub fn connection_environment(target: &Target, id: &str, scheme: Scheme) -> Environment {
    let mut parameters = vec![("tenantid", target.tenant_id.clone()), ("serviceprincipalid", target.client_id.clone())];
    let scheme = match (&target.own_sign_in, scheme) {
        (Some(own), _) => {
            parameters.extend(own.parameters.clone());
            own.scheme
        }
        (None, Scheme::Secret) => {
            parameters.push(("authenticationType", "spnKey".into()));
            parameters.push(("serviceprincipalkey", target.client_secret.secret().to_owned()));
            "ServicePrincipal"
        }
        (None, Scheme::Federation) => "WorkloadIdentityFederation",
    };
    parameters.retain(|(_, value)| !value.is_empty());
    let data = [
        ("environment", "AzureCloud"),
        ("scopeLevel", "Subscription"),
        ("subscriptionId", &target.subscription_id),
        ("subscriptionName", "local"),
        ("activeDirectoryAuthority", &target.authority),
        ("creationMode", "Manual"),
    ];
    let data: Vec<_> = data.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let mut environment = Environment::from([(format!("ENDPOINT_URL_{id}"), target.resource_manager.clone())]);
    environment.extend(target.own_sign_in.iter().flat_map(|own| own.variables.clone()));
    authentication(&mut environment, id, scheme, &parameters);
    environment.insert(format!("ENDPOINT_DATA_{id}"), json!(data.iter().copied().collect::<BTreeMap<_, _>>()).to_string());
    for (key, value) in data {
        environment.insert(format!("ENDPOINT_DATA_{id}_{}", key.to_uppercase()), value.to_owned());
    }
    environment
}

/// The job's own connection, which every task gets.
pub fn job_connection_environment(target: &Target) -> Environment {
    let mut environment = Environment::from([("ENDPOINT_URL_SYSTEMVSSCONNECTION".to_owned(), target.resource_manager.clone())]);
    if let Some(token) = &target.system_access_token {
        authentication(&mut environment, "SYSTEMVSSCONNECTION", "OAuth", &[("AccessToken", token.secret().to_owned())]);
    }
    environment
}

fn authentication(environment: &mut Environment, id: &str, scheme: &str, parameters: &[(&str, String)]) {
    let object: BTreeMap<_, _> = parameters.iter().map(|(key, value)| (*key, value)).collect();
    environment.insert(format!("ENDPOINT_AUTH_{id}"), json!({"parameters": object, "scheme": scheme}).to_string());
    environment.insert(format!("ENDPOINT_AUTH_SCHEME_{id}"), scheme.to_owned());
    for (key, value) in parameters {
        environment.insert(format!("ENDPOINT_AUTH_PARAMETER_{id}_{}", key.to_uppercase()), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use azure_core::credentials::Secret;

    use super::*;

    fn target() -> Target {
        Target {
            resource_manager: "https://arm/".into(),
            authority: "https://login/".into(),
            tenant_id: "tenant".into(),
            client_id: "client".into(),
            client_secret: Secret::new("secret"),
            subscription_id: "subscription".into(),
            own_sign_in: None,
            oidc_request_uri: Some("https://oidc".into()),
            system_access_token: Some(Secret::new("token")),
            ca_file: None,
            labs: Vec::new(),
        }
    }

    #[test]
    fn a_connection_is_exported_whole_and_in_single_parameters() {
        let environment = connection_environment(&target(), "id", Scheme::Secret);
        assert_eq!(environment["ENDPOINT_URL_id"], "https://arm/");
        assert_eq!(environment["ENDPOINT_AUTH_SCHEME_id"], "ServicePrincipal");
        assert_eq!(environment["ENDPOINT_AUTH_PARAMETER_id_SERVICEPRINCIPALKEY"], "secret");
        assert_eq!(environment["ENDPOINT_DATA_id_SUBSCRIPTIONID"], "subscription");
        let whole: serde_json::Value = serde_json::from_str(&environment["ENDPOINT_AUTH_id"]).unwrap();
        assert_eq!(whole["parameters"]["tenantid"], "tenant");
    }

    #[test]
    fn federation_hands_out_no_secret() {
        let environment = connection_environment(&target(), "id", Scheme::Federation);
        assert_eq!(environment["ENDPOINT_AUTH_SCHEME_id"], "WorkloadIdentityFederation");
        assert!(environment.values().all(|value| !value.contains("secret")));
    }

    #[test]
    fn scripts_see_public_variables_alone_and_tasks_see_secrets_under_a_prefix() {
        let mut variables = Variables::default();
        variables.set("my.name with space", "value");
        variables.set_secret("pass.word", "hidden");
        let public = public_environment(&variables);
        assert_eq!(public, Environment::from([("MY_NAME_WITH_SPACE".into(), "value".into())]));
        let task = task_environment(&variables);
        assert_eq!(task["SECRET_PASS_WORD"], "hidden");
        assert_eq!(task["VSTS_SECRET_VARIABLES"], r#"["pass.word"]"#);
        assert_eq!(task["VSTS_PUBLIC_VARIABLES"], r#"["my.name with space"]"#);
    }

    #[test]
    fn a_connections_id_is_a_guid_that_depends_on_its_name_alone() {
        assert_eq!(connection_id("my azure"), connection_id("my azure"));
        assert_ne!(connection_id("my azure"), connection_id("other"));
        assert_eq!(connection_id("0F8FAD5B-D9CB-469F-A165-70867728950E"), "0f8fad5b-d9cb-469f-a165-70867728950e");
    }
}
