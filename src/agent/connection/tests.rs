//! Service connections, from the environment that the agent makes.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::host::scripted::{Handle, ScriptedHost, on};

const ID: &str = "11111111-2222-3333-4444-555555555555";

type Variables = Vec<(&'static str, &'static str)>;
type Changes = &'static [(&'static str, &'static str)];

/// A connection's variables; `@` stands for its id.
fn secret() -> Variables {
    vec![
        ("INPUT_CONNECTEDSERVICENAME", "@"),
        ("ENDPOINT_URL_@", "https://management.azure.com/"),
        ("ENDPOINT_AUTH_SCHEME_@", "ServicePrincipal"),
        (
            "ENDPOINT_AUTH_@",
            r#"{"parameters":{"tenantid":"json-tenant","serviceprincipalid":"json-app","serviceprincipalkey":"json-key"},"scheme":"ServicePrincipal"}"#,
        ),
        ("ENDPOINT_AUTH_PARAMETER_@_TENANTID", "tenant"),
        ("ENDPOINT_AUTH_PARAMETER_@_SERVICEPRINCIPALID", "app"),
        ("ENDPOINT_AUTH_PARAMETER_@_SERVICEPRINCIPALKEY", "the-key"),
        ("ENDPOINT_AUTH_PARAMETER_@_AUTHENTICATIONTYPE", "spnKey"),
        ("ENDPOINT_DATA_@_ENVIRONMENT", "AzureCloud"),
        ("ENDPOINT_DATA_@_SCOPELEVEL", "Subscription"),
        ("ENDPOINT_DATA_@_SUBSCRIPTIONID", "sub"),
        ("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", "https://login.microsoftonline.com/"),
    ]
}

fn federated() -> Variables {
    vec![
        ("INPUT_CONNECTEDSERVICENAME", "@"),
        ("ENDPOINT_URL_@", "https://management.azure.com/"),
        ("ENDPOINT_AUTH_SCHEME_@", "workloadidentityfederation"),
        ("ENDPOINT_AUTH_PARAMETER_@_TENANTID", "tenant"),
        ("ENDPOINT_AUTH_PARAMETER_@_SERVICEPRINCIPALID", "app"),
        ("ENDPOINT_DATA_@_SUBSCRIPTIONID", "sub"),
        ("ENDPOINT_AUTH_SYSTEMVSSCONNECTION", r#"{"parameters":{"AccessToken":"job-token"},"scheme":"OAuth"}"#),
        ("SYSTEM_OIDCREQUESTURI", "https://dev.azure.com/o/p/_apis/oidctoken"),
    ]
}

fn managed() -> Variables {
    vec![
        ("INPUT_CONNECTEDSERVICENAME", "@"),
        ("ENDPOINT_URL_@", "https://management.azure.com/"),
        ("ENDPOINT_AUTH_SCHEME_@", "ManagedServiceIdentity"),
        ("ENDPOINT_AUTH_PARAMETER_@_TENANTID", "tenant"),
        ("ENDPOINT_DATA_@_SUBSCRIPTIONID", "sub"),
    ]
}

fn changed(mut variables: Variables, changes: &[(&'static str, &'static str)]) -> Variables {
    for (name, value) in changes {
        variables.retain(|(other, _)| other != name);
        variables.push((name, value));
    }
    variables
}

fn connect(variables: &[(&'static str, &'static str)]) -> (Arc<Handle>, Result<Connection, ConnectionError>) {
    let host = ScriptedHost::new();
    for (name, value) in variables.iter().filter(|(_, value)| !value.is_empty()) {
        host.set_variable(&name.replace('@', ID), &value.replace('@', ID));
    }
    let agent = Agent::new(Arc::clone(&host) as Arc<dyn Host>);
    let connection = agent.connection("ConnectedServiceName");
    (host, connection)
}

#[test]
fn a_service_principal_with_a_secret() {
    let (_host, connection) = connect(&secret());
    let connection = connection.unwrap();
    assert_eq!(connection.id, ID);
    assert_eq!(connection.resource_manager, "https://management.azure.com/");
    assert_eq!(connection.authority, "https://login.microsoftonline.com/");
    assert_eq!(connection.token_scope, "https://management.azure.com/.default");
    assert_eq!(connection.portal.as_deref(), Some("https://portal.azure.com/"));
    assert_eq!(connection.subscription(), Ok("sub"));
    assert_eq!(connection.tenant_id, "tenant");
    let Authentication::ClientSecret { client_id, secret } = &connection.authentication else { panic!("{connection:?}") };
    assert_eq!((client_id.as_str(), secret.secret()), ("app", "the-key"));
    assert!(!format!("{connection:?}").contains("the-key"));
}

#[test]
fn the_json_forms_do_as_well_as_the_single_variables() {
    let mut variables = secret();
    variables
        .retain(|(name, _)| !name.starts_with("ENDPOINT_AUTH_PARAMETER") && !name.starts_with("ENDPOINT_DATA") && !name.contains("SCHEME"));
    variables.push(("ENDPOINT_DATA_@", r#"{"subscriptionId":"json-sub","activeDirectoryAuthority":"https://login.example"}"#));
    let connection = connect(&variables).1.unwrap();
    assert_eq!(connection.tenant_id, "json-tenant");
    assert_eq!(connection.subscription(), Ok("json-sub"));
    assert_eq!(connection.authority, "https://login.example/");
    assert!(matches!(connection.authentication, Authentication::ClientSecret { ref client_id, .. } if client_id == "json-app"));
}

#[test]
fn federation_asks_the_pipelines_own_service() {
    let connection = connect(&federated()).1.unwrap();
    let Authentication::WorkloadIdentityFederation { client_id, request_uri, system_access_token } = connection.authentication else {
        panic!()
    };
    assert_eq!((client_id.as_str(), system_access_token.secret()), ("app", "job-token"));
    assert_eq!(request_uri, format!("https://dev.azure.com/o/p/_apis/oidctoken?api-version=7.1&serviceConnectionId={ID}"));
}

#[test]
fn the_token_services_address_is_built_when_the_agent_does_not_tell_it() {
    let variables = changed(
        federated(),
        &[
            ("SYSTEM_OIDCREQUESTURI", ""),
            ("SYSTEM_COLLECTIONURI", "https://dev.azure.com/org/"),
            ("SYSTEM_TEAMPROJECTID", "project"),
            ("SYSTEM_HOSTTYPE", "build"),
            ("SYSTEM_PLANID", "plan"),
            ("SYSTEM_JOBID", "job"),
        ],
    );
    let connection = connect(&variables).1.unwrap();
    let Authentication::WorkloadIdentityFederation { request_uri, .. } = connection.authentication else { panic!() };
    assert_eq!(
        request_uri,
        format!(
            "https://dev.azure.com/org/project/_apis/distributedtask/hubs/build/plans/plan/jobs/job/oidctoken?api-version=7.1&serviceConnectionId={ID}"
        )
    );
    let error = connect(&changed(variables, &[("SYSTEM_JOBID", "")])).1.unwrap_err().to_string();
    assert!(error.contains("System.OidcRequestUri is not set"), "{error}");
}

#[test]
fn each_cloud_has_its_own_addresses() {
    // What was changed; authority, scope and portal; what is left to ask for.
    let all = Unknown::default();
    let authority = Unknown { authority: true, audience: false };
    let table: [(Changes, &str, &str, Option<&str>, Unknown); 8] = [
        (&[], "https://login.microsoftonline.com/", "https://management.azure.com/.default", Some("https://portal.azure.com/"), all),
        (
            &[
                ("ENDPOINT_URL_@", "https://management.usgovcloudapi.net"),
                ("ENDPOINT_DATA_@_ENVIRONMENT", "AzureUSGovernment"),
                ("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", "https://login.microsoftonline.us/"),
            ],
            "https://login.microsoftonline.us/",
            "https://management.usgovcloudapi.net/.default",
            Some("https://portal.azure.us/"),
            all,
        ),
        (
            &[
                ("ENDPOINT_URL_@", "https://management.chinacloudapi.cn/"),
                ("ENDPOINT_DATA_@_ENVIRONMENT", "AzureChinaCloud"),
                ("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", ""),
                ("ENDPOINT_DATA_@_ENVIRONMENTAUTHORITYURL", "https://login.chinacloudapi.cn"),
            ],
            "https://login.chinacloudapi.cn/",
            "https://management.chinacloudapi.cn/.default",
            Some("https://portal.azure.cn/"),
            all,
        ),
        (
            &[
                ("ENDPOINT_URL_@", "https://management.microsoftazure.de/"),
                ("ENDPOINT_DATA_@_ENVIRONMENT", "AzureGermanCloud"),
                ("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", "https://login.microsoftonline.de/"),
            ],
            "https://login.microsoftonline.de/",
            "https://management.microsoftazure.de/.default",
            None,
            all,
        ),
        (
            &[
                ("ENDPOINT_URL_@", "https://management.private.example"),
                ("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", "https://login.private.example/base"),
            ],
            "https://login.private.example/base/",
            "https://management.private.example/.default",
            None,
            all,
        ),
        // No cloud's authority is known beforehand.
        (
            &[("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", "")],
            "",
            "https://management.azure.com/.default",
            Some("https://portal.azure.com/"),
            authority,
        ),
        (
            &[
                ("ENDPOINT_URL_@", "https://management.local.azurestack.external/"),
                ("ENDPOINT_DATA_@_ENVIRONMENT", "AzureStack"),
                ("ENDPOINT_DATA_@_ACTIVEDIRECTORYSERVICEENDPOINTRESOURCEID", "https://management.stack.example/guid"),
            ],
            "https://login.microsoftonline.com/",
            "https://management.stack.example/guid/.default",
            None,
            all,
        ),
        (
            &[("ENDPOINT_URL_@", "https://management.local.azurestack.external/"), ("ENDPOINT_DATA_@_ENVIRONMENT", "AzureStack")],
            "https://login.microsoftonline.com/",
            "https://management.local.azurestack.external/.default",
            None,
            Unknown { authority: false, audience: true },
        ),
    ];
    for (changes, authority, scope, portal, unknown) in table {
        let connection = connect(&changed(secret(), changes)).1.unwrap();
        assert_eq!(connection.authority, authority, "{changes:?}");
        assert_eq!(connection.token_scope, scope, "{changes:?}");
        assert_eq!(connection.portal.as_deref(), portal, "{changes:?}");
        assert_eq!(connection.unknown, unknown, "{changes:?}");
    }
}

#[test]
fn what_cannot_be_used_is_told_with_its_remedy() {
    let table: [(Variables, &str); 13] = [
        (changed(secret(), &[("INPUT_CONNECTEDSERVICENAME", "")]), "input 'ConnectedServiceName' is required"),
        (changed(secret(), &[("INPUT_CONNECTEDSERVICENAME", "my connection")]), "'my connection', which this job did not receive"),
        (changed(secret(), &[("ENDPOINT_AUTH_PARAMETER_@_AUTHENTICATIONTYPE", "spnCertificate")]), "has no certificate"),
        (
            changed(
                secret(),
                &[
                    ("ENDPOINT_AUTH_PARAMETER_@_AUTHENTICATIONTYPE", "spnCertificate"),
                    (
                        "ENDPOINT_AUTH_PARAMETER_@_SERVICEPRINCIPALCERTIFICATE",
                        "-----BEGIN CERTIFICATE-----\nMAAB\n-----END CERTIFICATE-----\n",
                    ),
                ],
            ),
            "the service connection's certificate cannot be used: it holds no private key",
        ),
        (
            changed(managed(), &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://identity.example/")]),
            "managed identity service 'http://identity.example/' is not an https address",
        ),
        (changed(secret(), &[("ENDPOINT_AUTH_SCHEME_@", "PublishProfile")]), "the scheme 'PublishProfile', which is not supported"),
        (changed(secret(), &[("ENDPOINT_AUTH_PARAMETER_@_SERVICEPRINCIPALKEY", ""), ("ENDPOINT_AUTH_@", "")]), "has no secret"),
        (
            changed(secret(), &[("ENDPOINT_AUTH_PARAMETER_@_SERVICEPRINCIPALID", ""), ("ENDPOINT_AUTH_@", "")]),
            "has no application (client) id",
        ),
        (changed(secret(), &[("ENDPOINT_AUTH_PARAMETER_@_TENANTID", ""), ("ENDPOINT_AUTH_@", "")]), "has no tenant"),
        (
            changed(secret(), &[("ENDPOINT_URL_@", "http://management.azure.com/")]),
            "URL 'http://management.azure.com/' is not an https address",
        ),
        (
            changed(secret(), &[("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", "http://login.example/")]),
            "sign-in authority 'http://login.example/' is not",
        ),
        (changed(federated(), &[("ENDPOINT_AUTH_SYSTEMVSSCONNECTION", "")]), "has no access to the job's own token"),
        (
            changed(federated(), &[("SYSTEM_OIDCREQUESTURI", "http://dev.example/")]),
            "address for the pipeline's token 'http://dev.example/' is not an https",
        ),
    ];
    for (variables, expected) in table {
        let error = connect(&variables).1.unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(!error.contains("the-key") && !error.contains("json-key"), "{error}");
    }
}

#[test]
fn a_missing_scheme_means_a_service_principal() {
    let variables =
        changed(secret(), &[("ENDPOINT_AUTH_SCHEME_@", ""), ("ENDPOINT_AUTH_@", ""), ("ENDPOINT_AUTH_PARAMETER_@_AUTHENTICATIONTYPE", "")]);
    assert!(matches!(connect(&variables).1.unwrap().authentication, Authentication::ClientSecret { .. }));
}

#[test]
fn a_connection_to_a_management_group_names_it_where_a_subscription_is_missing() {
    let group = &[("ENDPOINT_DATA_@_SUBSCRIPTIONID", ""), ("ENDPOINT_DATA_@_MANAGEMENTGROUPNAME", "platform")];
    let connection = connect(&changed(secret(), group)).1.unwrap();
    let error = connection.subscription().unwrap_err().to_string();
    assert!(
        error.contains("management group 'platform'") && error.contains("choose a connection whose scope is the subscription"),
        "{error}"
    );
}

#[test]
fn a_managed_identity_is_asked_for_where_the_machine_says() {
    let table: [(Changes, &str, Option<&str>); 6] = [
        (&[], "InstanceMetadata http://169.254.169.254/metadata/identity/oauth2/token", None),
        (
            &[("ENDPOINT_DATA_@_MSICLIENTID", "one of several"), ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:40342")],
            "InstanceMetadata http://127.0.0.1:40342/metadata/identity/oauth2/token",
            Some("one of several"),
        ),
        (
            &[
                ("ENDPOINT_DATA_@_MSIURI", "http://169.254.169.254/metadata/identity/oauth2/token"),
                ("IDENTITY_ENDPOINT", "http://localhost:1/"),
            ],
            "InstanceMetadata http://169.254.169.254/metadata/identity/oauth2/token",
            None,
        ),
        (
            &[("IDENTITY_ENDPOINT", "http://localhost:42356/msi/token"), ("IDENTITY_HEADER", "the-header")],
            "AppService http://localhost:42356/msi/token",
            None,
        ),
        (
            &[("IDENTITY_ENDPOINT", "http://localhost:40342/metadata/identity/oauth2/token"), ("IMDS_ENDPOINT", "http://localhost:40342")],
            "Arc http://localhost:40342/metadata/identity/oauth2/token",
            None,
        ),
        (
            &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "https://identity.example/")],
            "InstanceMetadata https://identity.example/metadata/identity/oauth2/token",
            None,
        ),
    ];
    for (changes, expected, identity) in table {
        let (host, connection) = connect(&changed(managed(), changes));
        let connection = connection.unwrap();
        assert_eq!(connection.unknown, Unknown::default(), "a managed identity asks no authority");
        let Authentication::ManagedIdentity { client_id, service } = connection.authentication else { panic!() };
        let found = match &service {
            IdentityService::InstanceMetadata { url } => format!("InstanceMetadata {url}"),
            IdentityService::AppService { url, .. } => format!("AppService {url}"),
            IdentityService::Arc { url } => format!("Arc {url}"),
        };
        assert_eq!((found.as_str(), client_id.as_deref()), (expected, identity), "{changes:?}");
        assert!(!format!("{service:?}").contains("the-header"));
        assert_eq!(host.variable("IDENTITY_HEADER"), None, "it is taken out of the environment");
    }
}

#[tokio::test]
async fn what_the_connection_leaves_out_is_asked_of_its_resource_manager() {
    let stack = |authority: &'static str| {
        changed(
            secret(),
            &[
                ("ENDPOINT_URL_@", "https://management.stack.example/"),
                ("ENDPOINT_DATA_@_ENVIRONMENT", "AzureStack"),
                ("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", authority),
            ],
        )
    };
    let answer = |host: &str, login: &str| {
        let body = json!({"authentication": {"loginEndpoint": login, "audiences": ["https://management.stack.example/guid"]}});
        on("GET", &format!("https://{host}/metadata/endpoints?api-version=2015-01-01")).reply(200, &body)
    };
    // Variables; the answer's login; authority and scope in the end; whether they are federation services.
    let public = changed(secret(), &[("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", "")]);
    let (stack_host, guid) = ("management.stack.example", "https://management.stack.example/guid/.default");
    let table = [
        (stack(""), stack_host, "https://login.stack.example/", "https://login.stack.example/", guid, false),
        (stack(""), stack_host, "https://adfs.stack.example/adfs", "https://adfs.stack.example/adfs/", guid, true),
        (stack("https://own.example/"), stack_host, "https://login.stack.example/", "https://own.example/", guid, false),
        (
            public,
            "management.azure.com",
            "https://login.windows.net/",
            "https://login.windows.net/",
            "https://management.azure.com/.default",
            false,
        ),
    ];
    for (variables, server, login, authority, scope, adfs) in table {
        let (host, connection) = connect(&variables);
        host.expect([answer(server, login)]);
        let connection = connection.unwrap().discover(host.as_ref()).await.unwrap();
        assert_eq!((connection.authority.as_str(), connection.token_scope.as_str(), connection.is_adfs()), (authority, scope, adfs));
    }

    // Federation services know no tenants; Microsoft Entra does.
    let nameless = changed(stack(""), &[("ENDPOINT_AUTH_PARAMETER_@_TENANTID", ""), ("ENDPOINT_AUTH_@", "")]);
    let (host, connection) = connect(&nameless);
    host.expect([answer(stack_host, "https://adfs.stack.example/adfs/")]);
    assert!(connection.unwrap().discover(host.as_ref()).await.unwrap().is_adfs());
    let (host, connection) = connect(&nameless);
    host.expect([answer(stack_host, "https://login.stack.example/")]);
    let error = connection.unwrap().discover(host.as_ref()).await.unwrap_err().to_string();
    assert!(error.contains("has no tenant"), "{error}");

    let (host, connection) = connect(&secret());
    connection.unwrap().discover(host.as_ref()).await.unwrap();
    assert!(host.sent().is_empty(), "a connection that says it all asks nothing");
}
