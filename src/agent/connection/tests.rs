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
    let table: [(Changes, &str, &str, Option<&str>); 6] = [
        (
            &[
                ("ENDPOINT_URL_@", "https://management.usgovcloudapi.net"),
                ("ENDPOINT_DATA_@_ENVIRONMENT", "AzureUSGovernment"),
                ("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", ""),
            ],
            "https://login.microsoftonline.us/",
            "https://management.usgovcloudapi.net/.default",
            Some("https://portal.azure.us/"),
        ),
        (
            &[
                ("ENDPOINT_URL_@", "https://management.chinacloudapi.cn/"),
                ("ENDPOINT_DATA_@_ENVIRONMENT", ""),
                ("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", ""),
            ],
            "https://login.chinacloudapi.cn/",
            "https://management.chinacloudapi.cn/.default",
            Some("https://portal.azure.cn/"),
        ),
        (
            &[("ENDPOINT_URL_@", "https://127.0.0.1:4433/"), ("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", "https://127.0.0.1:4433/")],
            "https://127.0.0.1:4433/",
            "https://127.0.0.1:4433/.default",
            None,
        ),
        (
            &[("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", "")],
            "https://login.microsoftonline.com/",
            "https://management.azure.com/.default",
            Some("https://portal.azure.com/"),
        ),
        (
            &[
                ("ENDPOINT_URL_@", "https://management.private.example"),
                ("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", "https://login.private.example/base"),
            ],
            "https://login.private.example/base/",
            "https://management.private.example/.default",
            None,
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
        ),
    ];
    for (changes, authority, scope, portal) in table {
        let connection = connect(&changed(secret(), changes)).1.unwrap();
        assert_eq!(connection.authority, authority, "{changes:?}");
        assert_eq!(connection.token_scope, scope, "{changes:?}");
        assert_eq!(connection.portal.as_deref(), portal, "{changes:?}");
        assert!(!connection.needs_discovery);
    }
}

#[test]
fn what_cannot_be_used_is_told_with_its_remedy() {
    let table: [(Variables, &str); 12] = [
        (changed(secret(), &[("INPUT_CONNECTEDSERVICENAME", "")]), "input 'ConnectedServiceName' is required"),
        (changed(secret(), &[("INPUT_CONNECTEDSERVICENAME", "my connection")]), "'my connection', which this job did not receive"),
        (
            changed(secret(), &[("ENDPOINT_AUTH_PARAMETER_@_AUTHENTICATIONTYPE", "spnCertificate")]),
            "by a service principal with a certificate, which is not supported: use workload identity federation, or a service principal with a secret",
        ),
        (
            changed(secret(), &[("ENDPOINT_AUTH_SCHEME_@", "ManagedServiceIdentity")]),
            "the agent machine's managed identity, which is not supported",
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
fn a_connection_to_a_management_group_has_no_subscription() {
    let connection = connect(&changed(secret(), &[("ENDPOINT_DATA_@_SUBSCRIPTIONID", "")])).1.unwrap();
    let error = connection.subscription().unwrap_err().to_string();
    assert!(error.contains("management group") && error.contains("choose one whose scope is the subscription"), "{error}");
}

#[tokio::test]
async fn an_azure_stack_is_asked_where_to_sign_in() {
    let variables = changed(
        secret(),
        &[
            ("ENDPOINT_URL_@", "https://management.stack.example/"),
            ("ENDPOINT_DATA_@_ENVIRONMENT", "AzureStack"),
            ("ENDPOINT_DATA_@_ACTIVEDIRECTORYAUTHORITY", ""),
        ],
    );
    let answer = |login: &str| {
        let body = json!({"authentication": {"loginEndpoint": login, "audiences": ["https://management.stack.example/guid"]}});
        on("GET", "https://management.stack.example/metadata/endpoints?api-version=2015-01-01").reply(200, &body)
    };
    let (host, connection) = connect(&variables);
    host.expect([answer("https://login.stack.example/")]);
    let connection = connection.unwrap().discover(host.as_ref()).await.unwrap();
    assert_eq!(connection.authority, "https://login.stack.example/");
    assert_eq!(connection.token_scope, "https://management.stack.example/guid/.default");

    let (host, connection) = connect(&variables);
    host.expect([answer("https://adfs.stack.example/adfs/")]);
    let error = connection.unwrap().discover(host.as_ref()).await.unwrap_err().to_string();
    assert!(error.contains("AD FS, which is not supported"), "{error}");

    let (host, connection) = connect(&secret());
    connection.unwrap().discover(host.as_ref()).await.unwrap();
    assert!(host.sent().is_empty(), "any other connection says it itself");
}
