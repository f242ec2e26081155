//! Nothing secret in anything that a task leaves: planted values are looked for in every line, summary, page and exported file of every
//! task's run, raw, in Base64 and encoded for URLs, with `system.debug` on: in this process, by `dtl task`, and packaged under Node. The
//! lines by which the agent learns a secret are left out.

use std::{fs, path::Path, sync::OnceLock};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use dtl::cli::logging_command::LoggingCommand;
use serde_json::{Value, json};

use super::{fast_host::FastHost, hosts::Place};
use crate::{
    connections::{APPLICATION, by_certificate, certificate},
    factory,
    gallery::{compute, define, on_versions, publish, seeded_version, start_with},
    harness::{Harness, RESOURCE_GROUP, SUBSCRIPTION, Step, project, seed_with_lab},
    packaged::NODES,
    tasks::vm_template,
};

const PASSWORD: &str = "Pl4nted password+/=&%;]!";
const VARIABLE: &str = "Pl4nted-secret-variable";
const SIGNATURE: &str = "Pl4ntedSignature0123456789abcdef";
const ACCOUNT_KEY: &str = "Pl4ntedAccountKey0123456789ABCDEFGH==";
const TOKEN: &str = "eyJ0eXAiOiJKV1Qi.eyJwbGFudGVkIjp0cnVlfQ.Pl4ntedTokenSignature";

/// What a Key Vault holds. The task never sees it, so that only the service's own words could show it.
const VAULTED: &str = "Pl4nted-in-the-vault";

/// A certificate with its key, PEM, by which the tasks of a lab sign in too.
fn identity() -> &'static (String, String) {
    static MADE: OnceLock<(String, String)> = OnceLock::new();
    MADE.get_or_init(certificate)
}

/// A service's words that hold everything that it should never have said.
fn indiscreet() -> String {
    format!(
        "the value '{PASSWORD}' ({}, {}) and {VARIABLE} are bad; Authorization: Bearer {TOKEN}; \
         https://account.blob.core.windows.net/vhds/a.vhd?sv=2020&sig={SIGNATURE}; AccountName=a;AccountKey={ACCOUNT_KEY};\n{}",
        STANDARD_NO_PAD.encode(PASSWORD),
        encoded(PASSWORD),
        identity().1
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
    let planted = [PASSWORD, VARIABLE, SIGNATURE, ACCOUNT_KEY, TOKEN, VAULTED].map(str::to_owned);
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

fn check(lines: &[String], harness: &Harness) {
    let secrets = secrets(lines, harness);
    let shown: Vec<&str> = lines.iter().filter(|line| !teaches(line)).map(String::as_str).collect();
    assert_hidden("the output", &shown.join("\n"), &secrets);
    let mut files = Vec::new();
    files_below(&harness.folders().temp, &mut files);
    files_below(&harness.folders().staging, &mut files);
    for (path, text) in files {
        assert_hidden(&path, &text, &secrets);
    }
}

/// A step with what is secret about a job, signed in by one of three ways. `dtl task` knows no certificates at an emulator.
fn dressed(step: Step<'_>, number: usize, certificates: bool) -> Step<'_> {
    let step = step.variable("System.Debug", "true").environment("SECRET_MYPASSWORD", VARIABLE).input("OperationTimeoutInMinutes", "1");
    let step = step.environment("SECRET_PLANTED", PASSWORD);
    match number % 3 {
        0 => step,
        2 if certificates => {
            let (certificate, key) = identity();
            let variables = by_certificate(&format!("{key}{certificate}"));
            variables.into_iter().fold(step, |step, (name, value)| step.environment(&name, value))
        }
        _ => step.federated(),
    }
}

fn with_output() -> Value {
    let mut template = vm_template(&["windows-noop"]);
    template["parameters"]["vaulted"] = json!({"type": "securestring"});
    template["outputs"]["vaulted"] = json!({"type": "securestring", "value": "[parameters('vaulted')]"});
    template["outputs"]["vaultedConnection"] = json!({"type": "string", "value": "[concat('server=y;password=', parameters('vaulted'))]"});
    template["outputs"]["connection"] = json!({"type": "string", "value": "[concat('server=x;password=', parameters('password'))]"});
    template["outputs"]["sas"] = json!({"type": "string", "value": format!("https://a.blob.core.windows.net/c?sv=1&sig={SIGNATURE}")});
    template["outputs"]["key"] = json!({"type": "string", "value": format!("AccountName=a;AccountKey={ACCOUNT_KEY}")});
    template
}

fn create_vm(lab: &Harness) -> Step<'_> {
    let template = lab.file("vm.json", &with_output().to_string());
    let vaulted = json!({"vaulted": {"reference": {"keyVault": {"id": vault()}, "secretName": "planted"}}});
    let parameters = lab.file("vm.parameters.json", &json!({"parameters": vaulted}).to_string());
    lab.step("AzureDevTestLabsCreateVM")
        .input("VirtualMachineName", "vm1")
        .input("TemplateFile", template)
        .input("ParametersFile", parameters)
        .input("FailOnArtifactError", "true")
        .input("ParameterOverrides", format!("-password '{PASSWORD}'"))
}

fn vault() -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers/Microsoft.KeyVault/vaults/safe")
}

/// A lab with a Key Vault beside it, at which an application signs in by a certificate.
async fn lab() -> Harness {
    let secret = json!({"id": format!("{}/secrets/planted", vault()), "type": "Microsoft.KeyVault/vaults/secrets", "properties": {"value": VAULTED}});
    let mut seed = seed_with_lab("contoso", &[json!({"id": vault(), "type": "Microsoft.KeyVault/vaults", "properties": {}}), secret]);
    seed["identities"] = json!([{"clientId": APPLICATION, "certificatePem": identity().0}]);
    Harness::seeded(&seed).await
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

/// Where tasks have something to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scene {
    Lab,
    Gallery,
    Factory,
}

impl Scene {
    const ALL: [Self; 3] = [Self::Lab, Self::Gallery, Self::Factory];

    async fn harness(self) -> Harness {
        match self {
            Self::Lab => lab().await,
            Self::Gallery => start_with(&[seeded_version("generalized", "0.1.0", "Succeeded", json!({}))]).await,
            Self::Factory => factory::example().await,
        }
    }

    fn steps(self, harness: &Harness) -> Vec<Step<'_>> {
        match self {
            Self::Lab => lab_steps(harness),
            Self::Gallery => gallery_steps(harness),
            Self::Factory => factory_steps(harness),
        }
    }
}

/// Runs a step, in this process unless a place is named, and looks for secrets in all that it leaves. Tells its result.
async fn watched(place: Option<Place>, step: Step<'_>, harness: &Harness) -> String {
    let (result, lines) = match place {
        None => {
            let finished = step.run_on(FastHost::new).await;
            (finished.completed().to_owned(), finished.lines)
        }
        Some(place) => {
            let ended = place.run(&step, harness).await;
            (ended.result, [ended.lines, ended.errors.lines().map(str::to_owned).collect()].concat())
        }
    };
    check(&lines, harness);
    if result.is_empty() { lines.join("\n") } else { result }
}

/// Runs every task where `place` says, with faults that meet every request or with none.
async fn every_task(place: impl Fn(usize) -> Option<Place>, faults: Option<&Value>) {
    for scene in Scene::ALL {
        let harness = scene.harness().await;
        if let Some(faults) = faults {
            harness.faults(faults).await;
        }
        for (number, step) in scene.steps(&harness).into_iter().enumerate() {
            let place = place(number);
            let certificates = scene == Scene::Lab && place != Some(Place::Program);
            let task = step.task().to_owned();
            let result = watched(place, dressed(step, number, certificates), &harness).await;
            assert!(faults.is_some() || result == "Succeeded", "{task} at {place:?}: {result}");
        }
        harness.finish().await;
    }
}

/// The agent's Nodes in turn.
fn a_node(number: usize) -> Place {
    Place::Node(NODES[number % NODES.len()])
}

/// Answers to every request of these methods that hold everything that they should not.
fn indiscreet_answers(methods: &[&str]) -> Value {
    let says = json!({"error": {"code": "Indiscreet", "message": indiscreet(), "target": indiscreet(), "details": [{"code": "Inner", "message": indiscreet()}]}});
    let fault = |method: &&str| json!({"method": method, "path": "^/subscriptions/", "times": 100_000, "status": 400, "body": says});
    methods.iter().map(fault).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_that_succeeds_shows_a_secret() {
    every_task(|_| None, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_of_the_program_that_succeeds_shows_a_secret() {
    every_task(|_| Some(Place::Program), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_under_node_that_succeeds_shows_a_secret() {
    every_task(|number| Some(a_node(number)), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_of_the_program_or_under_node_shows_what_an_indiscreet_service_says() {
    let answers = indiscreet_answers(&["PUT", "POST", "DELETE", "PATCH"]);
    every_task(|_| Some(Place::Program), Some(&answers)).await;
    every_task(|number| Some(a_node(number + 1)), Some(&answers)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_that_fails_shows_what_an_indiscreet_service_says() {
    for method in ["GET", "PUT", "POST", "DELETE"] {
        every_task(|_| None, Some(&indiscreet_answers(&[method]))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_while_it_is_made_and_a_sign_in_that_repeats_what_it_was_given_show_no_secret() {
    let says = json!({"error": {"code": "Indiscreet", "message": indiscreet()}});
    for place in [None].into_iter().chain(Place::ALL.map(Some)) {
        let lab = lab().await;
        // Artifacts too.
        for path in ["/artifacts/", "/virtualmachines/vm1$"] {
            lab.faults(&json!([{"path": path, "provisioning": "Failed", "body": says}])).await;
            assert_eq!(watched(place, dressed(create_vm(&lab), 0, false), &lab).await, "Failed", "{place:?}");
        }
        let secret = lab.target().client_secret.secret().to_owned();
        let body = json!({"error": "invalid_client", "error_description": format!("AADSTS7000215: bad {secret}. {}", indiscreet())});
        lab.faults(&json!([{"path": "oauth2/v2.0/token", "times": 9, "status": 401, "body": body}])).await;
        assert_eq!(watched(place, dressed(create_vm(&lab), 0, false), &lab).await, "Failed", "{place:?}");
        lab.finish().await;
    }
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
