//! `dtl task … --on azure` signs in at an emulator by each of its ways, natively and under Node.

use std::process::Stdio;

use dtl::cli::environment::Environment;
use serde_json::json;

use super::{DELETE, asked, lab, machine, schemes::certificate};
use crate::harness::{Harness, project};

const APPLICATION: &str = "55555555-5555-4555-8555-555555555555";

/// Runs the program with nothing in its environment but these variables, and says everything that it said.
async fn dtl(harness: &Harness, engine: &str, variables: &[(&str, String)]) -> (bool, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dtl"));
    let id = machine(harness).await;
    let lab = format!("LabId={}", harness.lab());
    command.args(["task", DELETE, "--on", "azure", "--engine", engine, "--input", &lab, "--input", &format!("LabVmId={id}")]);
    command.arg("--packages").arg(crate::packaged::task_folder(""));
    let ready = harness.ready();
    let mut environment = Environment::from([
        ("AZURE_RESOURCE_MANAGER".to_owned(), ready.resource_manager.clone()),
        ("AZURE_AUTHORITY_HOST".to_owned(), ready.authority.clone()),
        ("NODE_EXTRA_CA_CERTS".to_owned(), ready.ca_file.clone()),
        // No machine that runs this test has an identity of its own.
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST".to_owned(), "http://127.0.0.1:9".to_owned()),
    ]);
    let programs = crate::packaged::node(20).parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    environment.insert("PATH".to_owned(), format!("{programs}:/usr/bin:/bin"));
    environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    command.env_clear().envs(environment).stdin(Stdio::null()).current_dir(project("."));
    let output = command.output().await.expect("dtl starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_signs_in_and_is_named() {
    let (certificate, key) = certificate();
    let harness =
        lab(json!([{"clientId": APPLICATION, "certificatePem": certificate, "federated": {"issuer": "emulator", "subject": "sc://*"}}]))
            .await;
    let ready = harness.ready().clone();
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, contents: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).expect("a file");
        path.to_string_lossy().into_owned()
    };
    let url = format!("{}?api-version=7.1&serviceConnectionId={APPLICATION}", ready.oidc_request_uri);
    let request = harness.transport().client().post(url).bearer_auth(&ready.system_access_token).header("content-length", "0");
    let answer: serde_json::Value = request.send().await.expect("an answer").json().await.expect("JSON");
    let token = answer["oidcToken"].as_str().expect("a token");
    let (tenant, client) = (("AZURE_TENANT_ID", ready.tenant_id.clone()), ("AZURE_CLIENT_ID", APPLICATION.to_owned()));
    let secret = [tenant.clone(), ("AZURE_CLIENT_ID", ready.client_id.clone()), ("AZURE_CLIENT_SECRET", ready.client_secret.clone())];
    let by_certificate =
        [tenant.clone(), client.clone(), ("AZURE_CLIENT_CERTIFICATE_PATH", file("certificate.pem", &format!("{certificate}{key}")))];
    let workload = [tenant, client.clone(), ("AZURE_FEDERATED_TOKEN_FILE", file("token", token))];
    let managed = [client, ("AZURE_POD_IDENTITY_AUTHORITY_HOST", ready.resource_manager.clone())];
    for (variables, name) in [
        (&secret[..], "signed in by the secret of the application in AZURE_CLIENT_ID"),
        (&by_certificate[..], "signed in by the certificate of the application in AZURE_CLIENT_ID"),
        (&workload[..], "signed in by the workload identity of 55555555-5555-4555-8555-555555555555"),
        (&managed[..], "signed in by the managed identity 55555555-5555-4555-8555-555555555555"),
    ] {
        for engine in ["native", "node"] {
            let (succeeded, said) = dtl(&harness, engine, variables).await;
            assert!(succeeded && said.contains(name), "{engine}: {name}\n{said}");
            assert!(!said.contains(&ready.client_secret) && !said.contains(token), "{said}");
        }
    }
    harness.finish().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_azure_cli_signs_in_where_nothing_else_does() {
    use std::os::unix::fs::PermissionsExt as _;
    let harness = lab(json!([])).await;
    let token = crate::harness::token(harness.target(), harness.transport()).await;
    let folder = tempfile::tempdir().expect("a folder");
    // What the CLI prints; it is asked for a token of the resource manager at hand.
    let answer = json!({"accessToken": token, "expires_on": 4_102_444_800_i64, "tokenType": "Bearer"});
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *get-access-token*{}*) echo '{answer}';; *) echo \"not asked so: $*\" >&2; exit 1;; esac\n",
        harness.target().resource_manager
    );
    let path = folder.path().join("az");
    std::fs::write(&path, script).expect("a script");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a script that runs");
    let programs = crate::packaged::node(20).parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    let variables = [("PATH", format!("{}:{programs}:/usr/bin:/bin", folder.path().display()))];
    for engine in ["native", "node"] {
        let (succeeded, said) = dtl(&harness, engine, &variables).await;
        assert!(succeeded && said.contains("signed in by the Azure CLI"), "{engine}\n{said}");
        assert!(!said.contains(&token), "{said}");
    }
    assert_eq!(asked(&harness, "/oauth2/v2.0/token").await, 1, "nobody but the test has signed in");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_tried_is_listed_with_its_reason() {
    let harness = lab(json!([])).await;
    let (succeeded, said) = dtl(&harness, "native", &[("AZURE_TENANT_ID", "tenant".to_owned())]).await;
    assert!(!succeeded);
    for line in [
        "- environment variables: neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set, and AZURE_CLIENT_ID is not set",
        "- workload identity: AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE are not set",
        "- managed identity: the instance metadata service at http://127.0.0.1:9 does not answer",
        "- Azure CLI: ",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    harness.finish().await;
}
