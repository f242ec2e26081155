//! Nothing secret in anything that a task leaves: planted values are looked for in every line, summary, page and exported file of every
//! task's run, raw, in Base64 and encoded for URLs, with `system.debug` on. The lines by which the agent learns a secret are left out.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use dtl::cli::logging_command::LoggingCommand;
use serde_json::{Value, json};

use super::fast_host::FastHost;
use crate::{
    factory,
    gallery::{compute, define, on_versions, publish, seeded_version, start_with},
    harness::{Finished, Harness, Step, project},
    tasks::vm_template,
};

const PASSWORD: &str = "Pl4nted password+/=&%;]!";
const VARIABLE: &str = "Pl4nted-secret-variable";
const SIGNATURE: &str = "Pl4ntedSignature0123456789abcdef";
const ACCOUNT_KEY: &str = "Pl4ntedAccountKey0123456789ABCDEFGH==";
const TOKEN: &str = "eyJ0eXAiOiJKV1Qi.eyJwbGFudGVkIjp0cnVlfQ.Pl4ntedTokenSignature";

/// A service's words that hold everything that it should never have said.
fn indiscreet() -> String {
    format!(
        "the value '{PASSWORD}' ({}, {}) and {VARIABLE} are bad; Authorization: Bearer {TOKEN}; \
         https://account.blob.core.windows.net/vhds/a.vhd?sv=2020&sig={SIGNATURE}; AccountName=a;AccountKey={ACCOUNT_KEY};",
        STANDARD_NO_PAD.encode(PASSWORD),
        encoded(PASSWORD)
    )
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// The values by which a secret would be recognised.
fn forms(secret: &str) -> [String; 3] {
    [secret.to_owned(), STANDARD_NO_PAD.encode(secret), encoded(secret)]
}

/// The secrets that were planted, and those that the task itself came by.
fn secrets(lines: &[String], harness: &Harness) -> Vec<String> {
    let planted = [PASSWORD, VARIABLE, SIGNATURE, ACCOUNT_KEY, TOKEN].map(str::to_owned);
    let target = harness.target();
    let own =
        [Some(&target.client_secret), target.system_access_token.as_ref()].into_iter().flatten().map(|secret| secret.secret().to_owned());
    let registered = lines.iter().filter_map(|line| LoggingCommand::parse(line)).filter(|command| command.is("task", "setsecret"));
    planted.into_iter().chain(own).chain(registered.map(|command| command.data)).filter(|secret| secret.len() >= 8).collect()
}

/// Whether the agent learns a secret by this line.
fn teaches(line: &str) -> bool {
    LoggingCommand::parse(line)
        .is_some_and(|command| command.is("task", "setsecret") || (command.is("task", "setvariable") && command.flag("issecret")))
}

fn files_below(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files_below(&entry.path(), found);
        } else {
            let text = String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned();
            found.push((entry.path().display().to_string(), text));
        }
    }
}

fn assert_hidden(what: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        for form in forms(secret) {
            assert!(!text.contains(&form), "{what} shows '{form}'\n{text}");
        }
    }
}

fn check(finished: &Finished, harness: &Harness) {
    let secrets = secrets(&finished.lines, harness);
    let shown: Vec<&str> = finished.lines.iter().filter(|line| !teaches(line)).map(String::as_str).collect();
    assert_hidden("the output", &shown.join("\n"), &secrets);
    let mut files = Vec::new();
    files_below(&harness.folders().temp, &mut files);
    files_below(&harness.folders().staging, &mut files);
    for (path, text) in files {
        assert_hidden(&path, &text, &secrets);
    }
}

fn dressed(step: Step<'_>, number: usize) -> Step<'_> {
    let step = step.variable("System.Debug", "true").environment("SECRET_MYPASSWORD", VARIABLE).input("OperationTimeoutInMinutes", "1");
    let step = step.environment("SECRET_PLANTED", PASSWORD);
    if number.is_multiple_of(2) { step } else { step.federated() }
}

fn with_output() -> Value {
    let mut template = vm_template(&["windows-noop"]);
    template["outputs"]["connection"] = json!({"type": "string", "value": "[concat('server=x;password=', parameters('password'))]"});
    template["outputs"]["sas"] = json!({"type": "string", "value": format!("https://a.blob.core.windows.net/c?sv=1&sig={SIGNATURE}")});
    template["outputs"]["key"] = json!({"type": "string", "value": format!("AccountName=a;AccountKey={ACCOUNT_KEY}")});
    template
}

fn create_vm(lab: &Harness) -> Step<'_> {
    let template = lab.file("vm.json", &with_output().to_string());
    lab.step("AzureDevTestLabsCreateVM")
        .input("VirtualMachineName", "vm1")
        .input("TemplateFile", template)
        .input("FailOnArtifactError", "true")
        .input("ParameterOverrides", format!("-password '{PASSWORD}'"))
}

fn lab_steps(lab: &Harness) -> Vec<Step<'_>> {
    let storage = json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "parameters": {"login": {"type": "securestring"}}, "resources": [],
        "outputs": {"login": {"type": "securestring", "value": "[parameters('login')]"}, "plain": {"type": "string", "value": "[parameters('login')]"}}});
    let storage = lab.file("storage.json", &storage.to_string());
    let named = |task: &str, input: &str, value: &str| lab.step(task).input(input, value);
    vec![
        create_vm(lab),
        named("AzureDevTestLabsStopVM", "LabVmId", "vm1"),
        named("AzureDevTestLabsStartVM", "LabVmId", "vm1"),
        named("AzureDevTestLabsCreateCustomImage", "NewCustomImageName", "image1")
            .input("LabVmId", "vm1")
            .input("OsType", "Windows")
            .input("WindowsOsState", "NonSysprepped"),
        named("AzureDevTestLabsDeleteCustomImage", "CustomImageId", "image1"),
        named("AzureDevTestLabsCreateEnvironment", "EnvironmentName", "env1")
            .input("RepositoryId", "Public Artifact Repo")
            .input("TemplateId", "WebApp")
            .input("OutputTemplateVariables", "true"),
        named("AzureDevTestLabsPopulateEnvironment", "EnvironmentId", "env1")
            .input("TemplateFile", storage)
            .input("ParameterOverrides", format!("-login '{PASSWORD}'"))
            .input("ExportEnvironmentTemplate", "true")
            .input("OutputTemplateVariables", "true"),
        named("AzureDevTestLabsDeleteEnvironment", "EnvironmentId", "env1"),
        named("AzureDevTestLabsDeleteVM", "LabVmId", "vm1"),
    ]
}

fn gallery_steps(harness: &Harness) -> Vec<Step<'_>> {
    vec![
        define(harness, "fresh"),
        publish(harness, "generalized", &compute("images/image")).input("TargetRegions", "westeurope"),
        on_versions(harness, "generalized").input("Mode", "retire").input("KeepVersions", "1"),
    ]
}

fn factory_steps(harness: &Harness) -> Vec<Step<'_>> {
    let run = |command: &str| {
        factory::step(harness, command, &factory::example_configuration()).input("RunId", "7").input("MachinePassword", PASSWORD)
    };
    vec![run("run"), run("report")]
}

async fn run_all(harness: &Harness, steps: Vec<Step<'_>>, succeed: bool) {
    for (number, step) in steps.into_iter().enumerate() {
        let finished = dressed(step, number).run_on(FastHost::new).await;
        assert_eq!(finished.completed() == "Succeeded", succeed, "{finished}");
        check(&finished, harness);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_that_succeeds_shows_a_secret() {
    let lab = Harness::start().await;
    run_all(&lab, lab_steps(&lab), true).await;
    lab.finish().await;
    let harness = start_with(&[seeded_version("generalized", "0.1.0", "Succeeded", json!({}))]).await;
    run_all(&harness, gallery_steps(&harness), true).await;
    harness.finish().await;
    let harness = factory::example().await;
    run_all(&harness, factory_steps(&harness), true).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_that_fails_shows_what_an_indiscreet_service_says() {
    let says = json!({"error": {"code": "Indiscreet", "message": indiscreet(), "target": indiscreet(), "details": [{"code": "Inner", "message": indiscreet()}]}});
    for method in ["GET", "PUT", "POST", "DELETE"] {
        let fault = json!([{"method": method, "path": "^/subscriptions/", "times": 100_000, "status": 400, "body": says}]);
        let lab = Harness::start().await;
        lab.faults(&fault).await;
        for (number, step) in lab_steps(&lab).into_iter().enumerate() {
            check(&dressed(step, number).run_on(FastHost::new).await, &lab);
        }
        lab.finish().await;
        let harness = start_with(&[seeded_version("generalized", "0.1.0", "Succeeded", json!({}))]).await;
        harness.faults(&fault).await;
        for (number, step) in gallery_steps(&harness).into_iter().enumerate() {
            check(&dressed(step, number).run_on(FastHost::new).await, &harness);
        }
        harness.finish().await;
        let harness = factory::example().await;
        harness.faults(&fault).await;
        for (number, step) in factory_steps(&harness).into_iter().enumerate() {
            check(&dressed(step, number).run_on(FastHost::new).await, &harness);
        }
        harness.finish().await;
    }
    // What fails while it is being made, artifacts too.
    let lab = Harness::start().await;
    for path in ["/artifacts/", "/virtualmachines/vm1$"] {
        lab.faults(&json!([{"path": path, "provisioning": "Failed", "body": says}])).await;
        let finished = dressed(create_vm(&lab), 0).run_on(FastHost::new).await;
        assert_eq!(finished.completed(), "Failed", "{finished}");
        check(&finished, &lab);
    }
    lab.finish().await;
    // Sign-in that repeats what it was given.
    let lab = Harness::start().await;
    let body = json!({"error": "invalid_client", "error_description": format!("AADSTS7000215: bad {}. {}", lab.target().client_secret.secret(), indiscreet())});
    lab.faults(&json!([{"path": "oauth2/v2.0/token", "times": 9, "status": 401, "body": body}])).await;
    check(&dressed(create_vm(&lab), 0).run_on(FastHost::new).await, &lab);
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_factory_program_shows_no_secret() {
    let says = json!({"error": {"code": "Indiscreet", "message": indiscreet()}});
    for fault in [json!([]), json!([{"path": "/virtualmachines/[^/]*$", "times": 100, "provisioning": "Failed", "body": says}])] {
        let harness = factory::example().await;
        harness.faults(&fault).await;
        let ready = harness.file("ready.json", &serde_json::to_string(harness.ready()).unwrap());
        let output = harness.folders().staging.join("result.json");
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dtl"));
        command.args(["factory", "run", "--on", &ready, "--lab", &factory::factory_lab(), "--configuration"]);
        command.arg(project("examples/image-factory/Configuration")).arg("--output").arg(&output).kill_on_drop(true);
        command.env("DTL_MACHINE_PASSWORD", PASSWORD).env("RUST_LOG", "debug").env("NO_COLOR", "1").current_dir(harness.folders().sources);
        let finished = command.output().await.unwrap();
        // Nobody has told the program of that variable.
        let secrets: Vec<String> = secrets(&[], &harness).into_iter().filter(|secret| secret != VARIABLE).collect();
        for (what, bytes) in
            [("standard output", finished.stdout), ("standard error", finished.stderr), ("the result", fs::read(output).unwrap())]
        {
            assert_hidden(what, &String::from_utf8_lossy(&bytes), &secrets);
        }
        harness.finish().await;
    }
}
