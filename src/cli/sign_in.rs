//! How `--on azure` signs in: the first way that is there, in the order of Azure's SDKs.
//!
//! A secret, a certificate and a managed identity become a service connection of that scheme, so that a local run signs in by the same code
//! as a pipeline. What no service connection has (a token file, the Azure CLI) is handed to the steps by a token service on this machine,
//! which speaks as App Service does: tasks under Node can use it as well.

mod token_service;

use std::{
    fmt::{self, Write as _},
    fs,
    sync::Arc,
    time::Duration,
};

use azure_core::{
    credentials::{AccessToken, Secret, TokenCredential},
    http::{ClientOptions, RetryOptions, Transport as AzureTransport},
};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertionCredentialOptions, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{
    environment::{Environment, Scheme, connection_environment, connection_id, input_name},
    host::{Canceller, NativeHost, Setup, Transport, TransportError, Trust},
    target::Target,
};
use crate::{agent::Agent, tasks};
use token_service::TokenService;

/// The public cloud, unless the variables name another.
const RESOURCE_MANAGER: (&str, &str) = ("AZURE_RESOURCE_MANAGER", "https://management.azure.com/");
const AUTHORITY: (&str, &str) = ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/");
/// How long a machine is given to show that it has a managed identity. Most have none, and nobody answers.
const PATIENCE: Duration = Duration::from_secs(5);
/// Variables of the machine by which a managed identity is found.
const MACHINE: [&str; 4] = ["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST"];

/// A way to sign in, as it goes into a service connection.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Its name for people.
    pub name: String,
    /// The service connection's scheme.
    pub scheme: &'static str,
    /// The scheme's parameters besides tenant and application.
    pub parameters: Vec<(&'static str, String)>,
    /// Variables that the step needs.
    pub variables: Environment,
    /// Lives as long as tokens are wanted.
    service: Option<Arc<TokenService>>,
}

/// Why nothing signs in.
#[derive(Debug)]
pub struct SignInError {
    tried: Vec<(&'static str, String)>,
}

impl fmt::Display for SignInError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("failed to sign in for `--on azure`; tried in this order:")?;
        self.tried.iter().try_for_each(|(way, reason)| write!(formatter, "\n- {way}: {}", reason.replace('\n', "\n  ")))
    }
}

impl std::error::Error for SignInError {}

/// Why one way does not lead there.
enum Miss {
    /// It is not set up: the next one is tried.
    Absent(String),
    /// It is set up and does not work: whoever set it up wants to know.
    Broken(String),
}

/// Azure, signed in by the first way that is there. A token is got, so that what does not work is known before anything is done.
pub async fn azure(variable: impl Fn(&str) -> Option<String>) -> Result<Target, SignInError> {
    let finder = Finder { variable: &|name: &str| variable(name).filter(|value| !value.trim().is_empty()) };
    let mut tried = Vec::new();
    let ways: [(&'static str, Way<'_>); 4] = [
        ("environment variables", Box::pin(finder.by_variables())),
        ("workload identity", Box::pin(finder.by_workload_identity())),
        ("managed identity", Box::pin(finder.by_managed_identity())),
        ("Azure CLI", Box::pin(finder.by_azure_cli())),
    ];
    for (way, attempt) in ways {
        match attempt.await {
            Ok(target) => return Ok(target),
            Err(Miss::Absent(reason)) => tried.push((way, reason)),
            Err(Miss::Broken(reason)) => {
                tried.push((way, reason));
                break;
            }
        }
    }
    Err(SignInError { tried })
}

type Way<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Target, Miss>> + 'a>>;

/// Looks for ways to sign in.
struct Finder<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Finder<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name)
    }

    /// The values of variables that must all be set.
    fn all<const N: usize>(&self, names: [&'static str; N]) -> Result<[String; N], Miss> {
        let values = names.map(|name| self.get(name));
        let missing: Vec<_> = names.iter().zip(&values).filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
        if missing.is_empty() {
            return Ok(values.map(Option::unwrap_or_default));
        }
        let verb = if missing.len() == 1 { "is" } else { "are" };
        Err(Miss::Absent(format!("{} {verb} not set", missing.join(", "))))
    }

    fn transport(&self) -> Result<Transport, Miss> {
        let made: Result<_, TransportError> = Trust::machine(self.variable).and_then(|trust| Transport::new(&trust));
        made.map_err(|error| Miss::Broken(super::explained(&error)))
    }

    fn target(&self, sign_in: SignIn) -> Target {
        let url = |(name, public): (&str, &str)| {
            let url = self.get(name).unwrap_or_else(|| public.to_owned());
            if url.ends_with('/') { url } else { format!("{url}/") }
        };
        Target {
            resource_manager: url(RESOURCE_MANAGER),
            authority: url(AUTHORITY),
            tenant_id: self.get("AZURE_TENANT_ID").unwrap_or_default(),
            client_id: self.get("AZURE_CLIENT_ID").unwrap_or_default(),
            client_secret: Secret::new(String::new()),
            subscription_id: self.get("AZURE_SUBSCRIPTION_ID").unwrap_or_default(),
            own_sign_in: Some(sign_in),
            oidc_request_uri: None,
            system_access_token: None,
            ca_file: None,
            labs: Vec::new(),
        }
    }

    async fn by_variables(&self) -> Result<Target, Miss> {
        let secret = self.get("AZURE_CLIENT_SECRET");
        let certificate = self.get("AZURE_CLIENT_CERTIFICATE_PATH");
        let parameters = match (secret, certificate) {
            (Some(secret), _) => vec![("authenticationType", "spnKey".to_owned()), ("serviceprincipalkey", secret)],
            (None, Some(path)) => {
                self.all(["AZURE_TENANT_ID", "AZURE_CLIENT_ID"])?;
                let problem = |problem: String| Miss::Broken(format!("AZURE_CLIENT_CERTIFICATE_PATH names '{path}', which {problem}"));
                let bytes = fs::read(&path).map_err(|error| problem(format!("cannot be read: {error}")))?;
                let pem = String::from_utf8(bytes)
                    .map_err(|_| problem("is no PEM file; openssl pkcs12 -nodes makes one of a .pfx".to_owned()))?;
                vec![("authenticationType", "spnCertificate".to_owned()), ("servicePrincipalCertificate", pem)]
            }
            (None, None) => {
                let rest = self.all(["AZURE_TENANT_ID", "AZURE_CLIENT_ID"]).err();
                let rest = rest.map(|(Miss::Absent(reason) | Miss::Broken(reason))| format!(", and {reason}")).unwrap_or_default();
                return Err(Miss::Absent(format!("neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set{rest}")));
            }
        };
        self.all(["AZURE_TENANT_ID", "AZURE_CLIENT_ID"])?;
        let kind = if parameters[0].1 == "spnKey" { "secret" } else { "certificate" };
        let name = format!("the {kind} of the application in AZURE_CLIENT_ID");
        let sign_in = SignIn { name, scheme: "ServicePrincipal", parameters, variables: Environment::new(), service: None };
        self.connected(self.target(sign_in)).await.map_err(Miss::Broken)
    }

    async fn by_managed_identity(&self) -> Result<Target, Miss> {
        let mut variables: Environment = MACHINE.iter().filter_map(|name| Some(((*name).to_owned(), self.get(name)?))).collect();
        let client_id = self.get("AZURE_CLIENT_ID");
        if let Some(client_id) = &client_id {
            variables.insert(format!("ENDPOINT_DATA_{}_MSICLIENTID", connection_id("local")), client_id.clone());
        }
        let name = client_id.map_or_else(|| "the machine's managed identity".to_owned(), |id| format!("the managed identity {id}"));
        let sign_in = SignIn { name, scheme: "ManagedServiceIdentity", parameters: Vec::new(), variables, service: None };
        match tokio::time::timeout(PATIENCE, self.connected(self.target(sign_in))).await {
            Ok(found) => found.map_err(Miss::Absent),
            Err(_) => Err(Miss::Absent(format!("no identity service has answered within {} s", PATIENCE.as_secs()))),
        }
    }

    async fn by_workload_identity(&self) -> Result<Target, Miss> {
        let [_, client_id, file] = self.all(["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"])?;
        let mut cloud = azure_core::cloud::CustomConfiguration::default();
        cloud.authority_host = self.get(AUTHORITY.0).unwrap_or_else(|| AUTHORITY.1.to_owned());
        let client_options = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(AzureTransport::new(Arc::new(self.transport()?))),
            cloud: Some(Arc::new(azure_core::cloud::CloudConfiguration::Custom(cloud))),
            ..Default::default()
        };
        let options = WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions { client_options },
            client_id: Some(client_id.clone()),
            tenant_id: self.get("AZURE_TENANT_ID"),
            token_file_path: Some(file.into()),
        };
        let credential = WorkloadIdentityCredential::new(Some(options)).map_err(|error| Miss::Broken(said(&error)))?;
        self.served(format!("the workload identity of {client_id}"), credential).await.map_err(Miss::Broken)
    }

    async fn by_azure_cli(&self) -> Result<Target, Miss> {
        let options = AzureCliCredentialOptions {
            subscription: self.get("AZURE_SUBSCRIPTION_ID"),
            // The CLI takes one of the two.
            tenant_id: self.get("AZURE_TENANT_ID").filter(|_| self.get("AZURE_SUBSCRIPTION_ID").is_none()),
            ..Default::default()
        };
        let credential = AzureCliCredential::new(Some(options)).map_err(|error| Miss::Absent(said(&error)))?;
        self.served("the Azure CLI".to_owned(), credential).await.map_err(Miss::Absent)
    }

    /// A target whose service connection has been tried.
    async fn connected(&self, mut target: Target) -> Result<Target, String> {
        let id = connection_id("local");
        let mut variables = connection_environment(&target, &id, Scheme::Secret);
        variables.insert(input_name("ConnectedServiceName"), id);
        let transport = self.transport().map_err(|(Miss::Absent(reason) | Miss::Broken(reason))| reason)?;
        let host = NativeHost::new(Setup {
            transport,
            variables,
            working_directory: std::env::temp_dir(),
            sink: Arc::new(|_| {}),
            cancellation: Canceller::new().cancellation(),
        });
        let agent = Agent::new(Arc::new(host));
        let connection = agent.connection("ConnectedServiceName").map_err(|error| error.to_string())?;
        let (credential, cloud, _) = tasks::sign_in::prepare(&agent, connection).await.map_err(|error| super::explained(&error))?;
        let token = credential.get_token(&[&cloud.token_scope], None).await.map_err(|error| said(&error))?;
        take_tenant(&mut target, &token);
        Ok(target)
    }

    /// A target whose steps get their tokens from a service here.
    async fn served(&self, name: String, credential: Arc<dyn TokenCredential>) -> Result<Target, String> {
        let sign_in =
            SignIn { name, scheme: "ManagedServiceIdentity", parameters: Vec::new(), variables: Environment::new(), service: None };
        let mut target = self.target(sign_in);
        let scope = format!("{}.default", target.resource_manager);
        let token = credential.get_token(&[&scope], None).await.map_err(|error| said(&error))?;
        take_tenant(&mut target, &token);
        let service = TokenService::start(credential).await.map_err(|error| format!("no token service can be started: {error}"))?;
        if let Some(own) = &mut target.own_sign_in {
            own.variables = service.variables();
            own.service = Some(Arc::new(service));
        }
        Ok(target)
    }
}

/// The tenant that signed in, for links to the portal: the token names it.
fn take_tenant(target: &mut Target, token: &AccessToken) {
    let payload = token.token.secret().split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let claims: Value = payload.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    if let (true, Some(tenant)) = (target.tenant_id.is_empty(), claims["tid"].as_str()) {
        tenant.clone_into(&mut target.tenant_id);
    }
}

/// The first lines of an error of `azure_identity`, which ends with links.
fn said(error: &azure_core::Error) -> String {
    let text = tasks::sign_in::scrubbed(error);
    let mut said = String::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.contains("aka.ms")).take(3) {
        let _ = write!(said, "{}{}", if said.is_empty() { "" } else { "\n" }, line.trim());
    }
    said
}

#[cfg(test)]
mod tests;
