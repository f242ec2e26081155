//! Every scheme of a service connection, and every scope.

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::json;

use super::{asked, everywhere, lab, step, variable};
use crate::harness::Harness;

/// An application that a test's seed adds.
pub const APPLICATION: &str = "55555555-5555-4555-8555-555555555555";

/// A certificate with an RSA key: both as PEM.
pub fn certificate() -> (String, String) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let certificate = CertificateParams::new(vec!["agent.example".to_owned()]).and_then(|params| params.self_signed(&key));
    (certificate.expect("a certificate").pem(), key.serialize_pem())
}

/// The variables of a connection that signs in by a certificate.
pub fn by_certificate(pem: &str) -> Vec<(String, String)> {
    vec![
        variable("ENDPOINT_AUTH_PARAMETER_{id}_AUTHENTICATIONTYPE", "spnCertificate"),
        variable("ENDPOINT_AUTH_PARAMETER_{id}_SERVICEPRINCIPALID", APPLICATION),
        variable("ENDPOINT_AUTH_PARAMETER_{id}_SERVICEPRINCIPALCERTIFICATE", pem),
        variable("ENDPOINT_AUTH_PARAMETER_{id}_SERVICEPRINCIPALKEY", ""),
        variable("ENDPOINT_AUTH_{id}", ""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_signs_in_on_every_host() {
    let (certificate, key) = certificate();
    let harness = lab(json!([{"clientId": APPLICATION, "certificatePem": certificate}])).await;
    for ending in everywhere(&harness, &by_certificate(&format!("{key}{certificate}"))).await {
        ending.assert_succeeded();
        let is_registration = |line: &&String| line.starts_with("##vso[task.setsecret]");
        let secret = key.lines().nth(1).expect("base64");
        assert!(ending.lines.iter().filter(is_registration).any(|line| line.contains(secret)), "the key is masked: {ending:#?}");
        assert!(!ending.lines.iter().any(|line| !is_registration(&line) && line.contains(secret)), "the key is shown: {ending:#?}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_registered_is_named() {
    let ((registered, _), (other, key)) = (certificate(), certificate());
    let harness = lab(json!([{"clientId": APPLICATION, "certificatePem": registered}])).await;
    for ending in everywhere(&harness, &by_certificate(&format!("{key}{other}"))).await {
        ending.assert_failed("AADSTS700027");
        ending.assert_failed("presented: the certificate with the thumbprint ");
        ending.assert_failed("upload it");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_its_key_is_refused_before_anything_is_sent() {
    let (certificate, _) = certificate();
    let harness = lab(json!([])).await;
    for ending in everywhere(&harness, &by_certificate(&certificate)).await {
        ending.assert_failed("it holds no private key");
    }
    assert_eq!(asked(&harness, "/oauth2/v2.0/token").await, 0);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machine_s_identity_signs_in_on_every_host() {
    let harness = lab(json!([{"clientId": APPLICATION}])).await;
    let managed = |client_id: &str| {
        vec![
            variable("ENDPOINT_AUTH_SCHEME_{id}", "ManagedServiceIdentity"),
            variable("ENDPOINT_AUTH_{id}", ""),
            variable("ENDPOINT_DATA_{id}_MSICLIENTID", client_id),
            variable("AZURE_POD_IDENTITY_AUTHORITY_HOST", harness.target().resource_manager.clone()),
        ]
    };
    for client_id in ["", APPLICATION] {
        for ending in everywhere(&harness, &managed(client_id)).await {
            ending.assert_succeeded();
        }
    }
    assert_eq!(asked(&harness, "/metadata/identity/oauth2/token").await, 6);
    for ending in everywhere(&harness, &managed("99999999-9999-4999-8999-999999999999")).await {
        ending.assert_failed("assign the identity with the client id '99999999-9999-4999-8999-999999999999' to the machine");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_s_identity_signs_in_on_every_host() {
    let harness = lab(json!([])).await;
    let header = harness.ready().client_secret.clone();
    let variables = [
        variable("ENDPOINT_AUTH_SCHEME_{id}", "ManagedServiceIdentity"),
        variable("ENDPOINT_AUTH_{id}", ""),
        variable("IDENTITY_ENDPOINT", format!("{}msi/token", harness.target().resource_manager)),
        variable("IDENTITY_HEADER", &header),
    ];
    for ending in everywhere(&harness, &variables).await {
        ending.assert_succeeded();
        let shown = ending.lines.iter().filter(|line| line.contains(&header)).count();
        assert_eq!(shown, 1, "registered and not shown: {ending:#?}");
    }
    assert_eq!(asked(&harness, "/msi/token").await, 3);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn federation_services_sign_in_on_every_host() {
    let (certificate, key) = certificate();
    let harness = lab(json!([{"clientId": APPLICATION, "certificatePem": certificate}])).await;
    let mut variables = vec![
        variable("ENDPOINT_DATA_{id}", "{}"),
        variable("ENDPOINT_DATA_{id}_ENVIRONMENT", "AzureStack"),
        variable("ENDPOINT_DATA_{id}_ACTIVEDIRECTORYAUTHORITY", format!("{}adfs", harness.target().authority)),
        variable("ENDPOINT_AUTH_PARAMETER_{id}_TENANTID", ""),
    ];
    for further in [Vec::new(), by_certificate(&format!("{certificate}{key}"))] {
        variables.extend(further);
        for ending in everywhere(&harness, &variables).await {
            ending.assert_succeeded();
        }
    }
    assert_eq!(asked(&harness, "/adfs/oauth2/token").await, 6);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_an_identity_service_says_so() {
    let harness = lab(json!([])).await;
    // A port that was free a moment ago, and on which nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let variables = [
        variable("ENDPOINT_AUTH_SCHEME_{id}", "ManagedServiceIdentity"),
        variable("AZURE_POD_IDENTITY_AUTHORITY_HOST", format!("http://127.0.0.1:{port}")),
    ];
    for ending in everywhere(&harness, &variables).await {
        ending.assert_failed("a managed identity works on an agent that runs in Azure");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pipeline_s_token_is_asked_for_anew_when_the_access_token_runs_out() {
    let harness = lab(json!([])).await;
    // Shorter than what the client deems due, so that each request asks again.
    harness.settings(&json!({"tokenLifetimeSeconds": 2})).await;
    let before = asked(&harness, "/oidctoken").await;
    let ended = step(&harness, &[]).await.federated().run().await;
    assert_eq!(ended.completed(), "Succeeded", "{ended}");
    assert!(asked(&harness, "/oidctoken").await - before > 1, "one token for the whole task");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_federated_credential_is_told_with_issuer_and_subject() {
    let harness = lab(json!([{"clientId": APPLICATION, "federated": {"issuer": "emulator", "subject": "sc://other"}}])).await;
    let variables = [
        variable("ENDPOINT_AUTH_SCHEME_{id}", "WorkloadIdentityFederation"),
        variable("ENDPOINT_AUTH_{id}", ""),
        variable("ENDPOINT_AUTH_PARAMETER_{id}_SERVICEPRINCIPALID", APPLICATION),
        ("SYSTEM_OIDCREQUESTURI".to_owned(), harness.ready().oidc_request_uri.clone()),
    ];
    for ending in everywhere(&harness, &variables).await {
        ending.assert_failed("AADSTS700213");
        ending.assert_failed(&format!("presented: issuer '{}oidc', subject 'sc://", harness.target().authority));
        ending.assert_failed("with exactly the issuer and subject that were presented");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_a_management_group_works_where_the_lab_names_the_subscription() {
    let harness = lab(json!([])).await;
    for scope in ["ManagementGroup", "ResourceGroup", "Subscription"] {
        let subscription = if scope == "ManagementGroup" { "" } else { crate::harness::SUBSCRIPTION };
        let variables = [
            variable("ENDPOINT_DATA_{id}_SCOPELEVEL", scope),
            variable("ENDPOINT_DATA_{id}_SUBSCRIPTIONID", subscription),
            variable("ENDPOINT_DATA_{id}_MANAGEMENTGROUPNAME", "platform"),
            variable("ENDPOINT_DATA_{id}", json!({"scopeLevel": scope}).to_string()),
        ];
        for ending in everywhere(&harness, &variables).await {
            ending.assert_succeeded();
        }
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gallery_by_name_needs_a_subscription_and_the_error_says_which_input_may_name_it() {
    let harness = Harness::start().await;
    let without = |step: crate::harness::Step<'_>| {
        let [data, id] = [variable("ENDPOINT_DATA_{id}", "{}"), variable("ENDPOINT_DATA_{id}_SUBSCRIPTIONID", "")];
        let group = variable("ENDPOINT_DATA_{id}_MANAGEMENTGROUPNAME", "platform");
        [data, id, group].into_iter().fold(step, |step, (name, value)| step.environment(&name, value)).exported()
    };
    let step = harness.step("AzureComputeGalleryImageVersion").input("GalleryName", "gallery").input("ResourceGroupName", "rg");
    let environment = without(step);
    let folder = crate::packaged::task_folder("AzureComputeGalleryImageVersion");
    let ended = crate::packaged::run(&mut crate::packaged::command(20, &folder, &environment)).await;
    assert_eq!(ended.result(), "Failed");
    assert!(ended.says("input 'GalleryName': the service connection is for the management group 'platform'"), "{ended:#?}");
    assert!(ended.says("give the resource's whole id"), "{ended:#?}");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_the_connection_does_not_describe_is_asked() {
    let harness = lab(json!([])).await;
    for environment in ["AzureCloud", "AzureStack"] {
        let variables = [
            variable("ENDPOINT_DATA_{id}", "{}"),
            variable("ENDPOINT_DATA_{id}_ENVIRONMENT", environment),
            variable("ENDPOINT_DATA_{id}_ACTIVEDIRECTORYAUTHORITY", ""),
        ];
        for ending in everywhere(&harness, &variables).await {
            ending.assert_succeeded();
        }
    }
    assert_eq!(asked(&harness, "/metadata/endpoints").await, 6);
    harness.finish().await;
}
