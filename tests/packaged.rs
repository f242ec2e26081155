//! The packaged tasks under Node, started as the agent starts them: `dist/tasks/<Name>/index.js` with the agent's environment.
//!
//! Both Node versions that the agent ships run them. Where npm has no such Node for this machine, the one on the PATH stands in, and the
//! test says so.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

use dtl::cli::{environment::Environment, logging_command::LoggingCommand};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::harness::{Harness, Step, project, seed_with_lab};

/// The agent's Node versions.
pub const NODES: [u32; 2] = [20, 24];
/// No run here takes longer; one that does hangs.
const LIMIT: Duration = Duration::from_mins(2);
/// From the first signal to the kill.
const PATIENCE: Duration = Duration::from_secs(10);

/// Has `cargo xtask package` install the npm packages where that has not been done yet.
pub fn npm_packages() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        if !project("node_modules/azure-pipelines-task-lib").exists() {
            package();
        }
    });
}

/// The folder of a packaged task. What is packaged is made new where it is missing or older than its sources.
pub fn task_folder(name: &str) -> PathBuf {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let packaged = fs::metadata(project("dist/package.json")).and_then(|file| file.modified());
        let sources = ["src", "task.json", "Cargo.toml", "Cargo.lock"].iter().map(|path| newest(&project(path))).max();
        if packaged.ok() < sources {
            package();
        }
    });
    project("dist/tasks").join(name)
}

fn package() {
    let status = Command::new(env!("CARGO")).args(["xtask", "package"]).current_dir(project(".")).status().expect("cargo starts");
    assert!(status.success(), "cargo xtask package: {status}");
}

/// When a file, or the last file in a folder that ends up in the package, was changed.
fn newest(path: &Path) -> SystemTime {
    let native = ["cli", "cli.rs", "emulator", "emulator.rs", "main.rs"].iter().any(|name| path == project("src").join(name));
    if native {
        return SystemTime::UNIX_EPOCH;
    }
    if path.is_dir() {
        let entries = fs::read_dir(path).expect("a folder of sources");
        return entries.map(|entry| newest(&entry.expect("a source").path())).max().unwrap_or(SystemTime::UNIX_EPOCH);
    }
    fs::metadata(path).and_then(|file| file.modified()).expect("a source's time")
}

/// The agent's Node of this major version.
#[allow(clippy::print_stderr, reason = "a test that stands in another Node says so")]
pub fn node(major: u32) -> PathBuf {
    npm_packages();
    let system = match std::env::consts::OS {
        "windows" => "win",
        "macos" => "darwin",
        other => other,
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let program = format!("node_modules/node-{major}-{system}-{processor}/bin/node{}", std::env::consts::EXE_SUFFIX);
    let program = project(&program);
    if program.exists() {
        return program;
    }
    eprintln!("npm has no Node {major} for this machine: the one on the PATH stands in");
    "node".into()
}

/// A task that has run.
#[derive(Debug)]
pub struct Finished {
    pub lines: Vec<String>,
    pub errors: String,
    pub code: Option<i32>,
    pub took: Duration,
}

impl Finished {
    /// The one result that was said, as the last line.
    pub fn result(&self) -> String {
        let commands: Vec<_> = self.lines.iter().filter_map(|line| LoggingCommand::parse(line)).collect();
        let results: Vec<_> = commands.iter().filter(|command| command.is("task", "complete")).collect();
        assert_eq!(results.len(), 1, "one result\n{self:#?}");
        assert!(self.lines.last().is_some_and(|line| line.starts_with("##vso[task.complete ")), "the result comes last\n{self:#?}");
        results[0].property("result").unwrap_or_default().to_owned()
    }

    pub fn says(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }

    /// A result that the engine proved: exit code 0.
    #[track_caller]
    pub fn assert_proven(&self, result: &str) {
        assert_eq!((self.result().as_str(), self.code), (result, Some(0)), "{self:#?}");
        self.assert_secrets_are_masked();
    }

    /// Once registered as a secret, a text is in no other line; and nothing is written past the agent's eyes.
    fn assert_secrets_are_masked(&self) {
        const REGISTRATION: &str = "##vso[task.setsecret]";
        let (registrations, others): (Vec<_>, Vec<_>) = self.lines.iter().partition(|line| line.starts_with(REGISTRATION));
        for secret in
            registrations.iter().map(|line| line[REGISTRATION.len()..].replace("%3B", ";").replace("%5D", "]").replace("%AZP25", "%"))
        {
            assert!(others.iter().all(|line| !line.contains(&secret)), "'{secret}' is shown\n{self:#?}");
        }
        assert_eq!(self.errors, "", "{self:#?}");
    }
}

/// Starts a script with no environment but the one given and what the operating system itself needs.
pub fn command(major: u32, folder: &Path, environment: &Environment) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(node(major));
    command.arg(folder.join("index.js")).env_clear().envs(environment).kill_on_drop(true);
    if let Some(root) = std::env::var_os("SystemRoot") {
        command.env("SystemRoot", root);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end.
pub async fn run(command: &mut tokio::process::Command) -> Finished {
    let started = Instant::now();
    let child = command.spawn().expect("Node starts");
    let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("the task ends").expect("Node ends");
    Finished {
        lines: String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code(),
        took: started.elapsed(),
    }
}

/// What the agent would export for a step, and the emulator's certificate.
pub fn exported(step: &Step<'_>, harness: &Harness) -> Environment {
    let mut environment = step.exported();
    environment.insert("NODE_EXTRA_CA_CERTS".to_owned(), harness.ready().ca_file.clone());
    environment
}

const DELETE: &str = "AzureDevTestLabsDeleteVM";

/// A lab with the machine `vm1`.
async fn lab_with_machine() -> Harness {
    let lab = format!(
        "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.DevTestLab/labs/lab",
        crate::harness::SUBSCRIPTION,
        crate::harness::RESOURCE_GROUP
    );
    let machine = json!({
        "id": format!("{lab}/virtualmachines/vm1"),
        "name": "vm1",
        "type": "Microsoft.DevTestLab/labs/virtualmachines",
        "location": "westeurope",
        "properties": { "provisioningState": "Succeeded", "osType": "Linux" },
    });
    Harness::seeded(&seed_with_lab("lab", &[machine])).await
}

/// The environment in which `vm1` is deleted.
fn deletion(harness: &Harness) -> Environment {
    exported(&harness.step(DELETE).input("LabVmId", "vm1"), harness)
}

#[test]
fn a_task_s_folder_holds_four_files() {
    let report: Value = serde_json::from_slice(&fs::read(task_folder("").join("../package.json")).expect("a report")).expect("JSON");
    let names: Vec<_> = report["tasks"].as_array().expect("tasks").iter().map(|task| task["name"].as_str().expect("a name")).collect();
    assert!(names.contains(&DELETE), "{names:?}");
    for name in names {
        let mut files: Vec<_> = fs::read_dir(task_folder(name)).expect(name).map(|file| file.expect(name).file_name()).collect();
        files.sort();
        assert_eq!(files, ["engine.wasm.br", "icon.png", "index.js", "task.json"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_task_starts_and_names_what_is_missing() {
    let folders = fs::read_dir(task_folder("")).expect("the packaged tasks").map(|folder| folder.expect("a folder").path());
    for folder in folders {
        let finished = run(&mut command(NODES[0], &folder, &Environment::new())).await;
        finished.assert_proven("Failed");
        assert!(finished.says("input 'ConnectedServiceName' is required"), "{finished:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_deleted_with_either_sign_in() {
    for major in NODES {
        for federated in [false, true] {
            let harness = lab_with_machine().await;
            let step = harness.step(DELETE).input("LabVmId", "vm1");
            let step = if federated { step.federated() } else { step };
            let finished = run(&mut command(major, &task_folder(DELETE), &exported(&step, &harness))).await;
            finished.assert_proven("Succeeded");
            assert!(finished.says("##vso[task.setsecret]"), "the token is registered\n{finished:#?}");
            assert_eq!(harness.names("Microsoft.DevTestLab/labs/virtualmachines").await, Vec::<String>::new());
            harness.finish().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_not_there_is_a_warning() {
    let harness = Harness::start().await;
    for major in NODES {
        let environment = exported(&harness.step(DELETE).input("LabVmId", "not-there"), &harness);
        run(&mut command(major, &task_folder(DELETE), &environment)).await.assert_proven("SucceededWithIssues");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_type_fails_before_anything_is_sent() {
    let harness = Harness::start().await;
    let id = format!("{}/customimages/image1", harness.lab());
    let environment = exported(&harness.step(DELETE).input("LabVmId", id), &harness);
    let finished = run(&mut command(NODES[0], &task_folder(DELETE), &environment)).await;
    finished.assert_proven("Failed");
    assert!(finished.says("LabVmId"), "{finished:#?}");
    assert_eq!(harness.journal().await, Vec::<String>::new());
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_fails_and_is_not_shown() {
    const WRONG: &str = "wr0ng;]%secret";
    let harness = lab_with_machine().await;
    let right = harness.target().client_secret.secret().to_owned();
    for major in NODES {
        let mut environment = deletion(&harness);
        for value in environment.values_mut() {
            *value = value.replace(&right, WRONG);
        }
        let finished = run(&mut command(major, &task_folder(DELETE), &environment)).await;
        finished.assert_proven("Failed");
        assert!(finished.says("AADSTS7000215"), "{finished:#?}");
        assert!(finished.lines.iter().all(|line| line.starts_with("##vso[task.setsecret]") || !line.contains("wr0ng")), "{finished:#?}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn federation_without_the_job_s_token_fails() {
    let harness = lab_with_machine().await;
    let mut environment = exported(&harness.step(DELETE).input("LabVmId", "vm1").federated(), &harness);
    environment.retain(|name, _| !name.contains("SYSTEMVSSCONNECTION") && !name.contains("ACCESSTOKEN"));
    let finished = run(&mut command(NODES[0], &task_folder(DELETE), &environment)).await;
    finished.assert_proven("Failed");
    assert_eq!(harness.journal().await, Vec::<String>::new());
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_endpoint_fails_in_time() {
    let harness = lab_with_machine().await;
    let mut environment = deletion(&harness);
    // A port that was free a moment ago, and on which nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let (alive, dead) = (harness.ready().resource_manager.clone(), format!("https://127.0.0.1:{port}/"));
    for value in environment.values_mut() {
        *value = value.replace(&alive, &dead);
    }
    let finished = run(&mut command(NODES[0], &task_folder(DELETE), &environment)).await;
    finished.assert_proven("Failed");
    assert!(finished.says("ECONNREFUSED"), "{finished:#?}");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_https_is_spoken() {
    let harness = lab_with_machine().await;
    let mut environment = deletion(&harness);
    for value in environment.values_mut() {
        *value = value.replace("https://", "http://");
    }
    let finished = run(&mut command(NODES[0], &task_folder(DELETE), &environment)).await;
    finished.assert_proven("Failed");
    assert!(finished.says("https"), "{finished:#?}");
    assert!(finished.took < PATIENCE, "{finished:#?}");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_certificate_is_not_tried_again() {
    let harness = lab_with_machine().await;
    for major in NODES {
        let mut environment = deletion(&harness);
        environment.remove("NODE_EXTRA_CA_CERTS");
        let finished = run(&mut command(major, &task_folder(DELETE), &environment)).await;
        finished.assert_proven("Failed");
        assert!(finished.says("NODE_EXTRA_CA_CERTS"), "{finished:#?}");
        assert!(finished.took < PATIENCE, "{finished:#?}");
    }
    assert_eq!(harness.requests().await.iter().filter(|request| request["path"] != "/emulator/requests").count(), 0);
    harness.finish().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn signals_cancel_in_time() {
    for major in NODES {
        for signal in ["-INT", "-TERM"] {
            let harness = lab_with_machine().await;
            harness.settings(&json!({ "speed": 1, "durations": { "deletion": 600 } })).await;
            let child = command(major, &task_folder(DELETE), &deletion(&harness)).spawn().expect("Node starts");
            wait_for_request(&harness, "DELETE").await;
            let process = child.id().expect("a process that runs").to_string();
            let signalled = Instant::now();
            let sent = Command::new("kill").args([signal, &process]).status().expect("kill starts");
            assert!(sent.success(), "kill {signal}: {sent}");
            let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("the task ends in time").expect("Node ends");
            let lines = String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            let finished = Finished { lines, errors, code: output.status.code(), took: signalled.elapsed() };
            finished.assert_proven("Canceled");
            assert!(finished.says("vm1"), "what goes on is named\n{finished:#?}");
            harness.finish().await;
        }
    }
}

const CREATE: &str = "AzureDevTestLabsCreateVM";

/// The environment in which a machine is made that takes longer than any test.
async fn slow_creation(harness: &Harness, on_cancel: &str) -> Environment {
    harness.settings(&json!({ "speed": 1 })).await;
    let template = harness.file("vm.json", &crate::tasks::vm_template(&[]).to_string());
    let step = harness.step(CREATE).input("VirtualMachineName", "vm1").input("TemplateFile", template).input("OnCancel", on_cancel);
    exported(&step.input("ParameterOverrides", "-password 'Passw0rd!-x'"), harness)
}

async fn deployment_states(harness: &Harness) -> Vec<String> {
    let resources = harness.resources().await;
    let deployments = resources.iter().filter(|resource| resource["type"] == "Microsoft.Resources/deployments");
    deployments.map(|deployment| deployment["properties"]["provisioningState"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn wait_for_machine(harness: &Harness) {
    let started = Instant::now();
    while harness.names("Microsoft.DevTestLab/labs/virtualmachines").await.is_empty() {
        assert!(started.elapsed() < LIMIT, "no machine is begun");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_creation_cancels_its_deployment_as_the_agent_s_signals_come() {
    for (major, on_cancel, state) in
        [(NODES[0], "cancelDeployment", "Canceled"), (NODES[1], "leave", "Running"), (NODES[1], "removeCreated", "Canceled")]
    {
        let harness = Harness::start().await;
        let environment = slow_creation(&harness, on_cancel).await;
        let child = command(major, &task_folder(CREATE), &environment).spawn().expect("Node starts");
        wait_for_machine(&harness).await;
        let process = child.id().expect("a process that runs").to_string();
        let signalled = Instant::now();
        assert!(Command::new("kill").args(["-INT", &process]).status().expect("kill starts").success());
        // The agent's second signal, if the first was not enough.
        let second = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(7_500)).await;
            Command::new("kill").args(["-TERM", &process]).status()
        });
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("the task ends in time").expect("Node ends");
        second.abort();
        let lines = String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let finished = Finished { lines, errors, code: output.status.code(), took: signalled.elapsed() };
        finished.assert_proven("Canceled");
        assert_eq!(deployment_states(&harness).await, [state], "{on_cancel}: {finished:#?}");
        assert!(finished.says("/virtualmachines/vm1") || on_cancel == "removeCreated", "what remains is named\n{finished:#?}");
        harness.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_reader_goes_away_cancels_its_deployment_and_tells_whoever_reads_the_errors() {
    for major in NODES {
        let harness = Harness::start().await;
        let environment = slow_creation(&harness, "").await;
        let mut child = command(major, &task_folder(CREATE), &environment).spawn().expect("Node starts");
        wait_for_machine(&harness).await;
        drop(child.stdout.take());
        let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("the task ends").expect("Node ends");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert_eq!(deployment_states(&harness).await, ["Canceled"], "{errors}");
        assert!(errors.contains("az resource delete --ids") && errors.contains("/virtualmachines/vm1"), "{errors}");
        harness.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indiscreet_and_hostile_service_shows_no_secret_and_says_nothing_to_the_agent() {
    const PASSWORD: &str = "Pl4nted password+/=";
    let says = json!({"error": {"code": "Bad", "message": format!(
        "'{PASSWORD}' \r\n##vso[task.complete result=Succeeded;]x \u{1b}[2J\u{202e} Bearer eyJhbGciOiJub25lIn0.eyJhIjoxfQ.signature https://a/?sig=Pl4ntedSignature AccountKey=Pl4ntedAccountKey==")}});
    for (major, path) in [(NODES[0], "/virtualmachines/vm1$"), (NODES[1], "/deployments/")] {
        let harness = Harness::start().await;
        let fault = if path.contains("vm1") {
            json!([{"path": path, "provisioning": "Failed", "body": says}])
        } else {
            json!([{"method": "PUT", "path": path, "status": 400, "body": says}])
        };
        harness.faults(&fault).await;
        let template = harness.file("vm.json", &crate::tasks::vm_template(&[]).to_string());
        let step = harness.step(CREATE).input("VirtualMachineName", "vm1").input("TemplateFile", template).variable("System.Debug", "true");
        let environment = exported(&step.input("ParameterOverrides", format!("-password '{PASSWORD}'")), &harness);
        let finished = run(&mut command(major, &task_folder(CREATE), &environment)).await;
        finished.assert_proven("Failed");
        let shown = finished.lines.iter().filter(|line| !line.starts_with("##vso[task.setsecret]")).cloned().collect::<Vec<_>>().join("\n");
        for secret in [PASSWORD, "Pl4ntedSignature", "Pl4ntedAccountKey", "eyJhbGciOiJub25lIn0", harness.target().client_secret.secret()] {
            assert!(!shown.contains(secret), "{secret}: {finished:#?}");
        }
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{finished:#?}");
        harness.finish().await;
    }
}

/// Waits until a request of this method has arrived.
async fn wait_for_request(harness: &Harness, method: &str) {
    let started = Instant::now();
    while !harness.journal().await.iter().any(|request| request.starts_with(method)) {
        assert!(started.elapsed() < LIMIT, "no {method} arrives");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_never_settles_is_a_failure() {
    let harness = lab_with_machine().await;
    for major in NODES {
        let mut environment = deletion(&harness);
        environment.insert("NODE_OPTIONS".to_owned(), format!("--require \"{}\"", project("tests/never_answers.js").display()));
        let finished = run(&mut command(major, &task_folder(DELETE), &environment)).await;
        assert_eq!((finished.result().as_str(), finished.code), ("Failed", Some(1)), "{finished:#?}");
        assert!(finished.says("before it had a result"), "{finished:#?}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_package_is_a_failure() {
    for (file, contents) in
        [("engine.wasm.br", Some("not a module")), ("engine.wasm.br", None), ("task.json", Some("{")), ("task.json", None)]
    {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for entry in fs::read_dir(task_folder(DELETE)).expect("a packaged task") {
            let path = entry.expect("a file").path();
            fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("a copy");
        }
        let damaged = folder.path().join(file);
        match contents {
            Some(contents) => fs::write(damaged, contents).expect("damage"),
            None => fs::remove_file(damaged).expect("damage"),
        }
        let finished = run(&mut command(NODES[0], folder.path(), &Environment::new())).await;
        assert_eq!((finished.result().as_str(), finished.code), ("Failed", Some(1)), "{file}: {finished:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_reaches_a_slow_reader_whole() {
    let harness = Harness::start().await;
    // More than a pipe holds, less than a variable may.
    let long = "x".repeat(120_000);
    let environment = exported(&harness.step(DELETE).input("LabVmId", format!("a/{long}")), &harness);
    for major in NODES {
        let mut child = command(major, &task_folder(DELETE), &environment).spawn().expect("Node starts");
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut said = String::new();
        child.stdout.take().expect("an output").read_to_string(&mut said).await.expect("UTF-8");
        let status = child.wait().await.expect("Node ends");
        assert!(said.lines().last().is_some_and(|line| line.starts_with("##vso[task.complete result=Failed;]")), "{said}");
        assert!(said.contains(&long) && status.success(), "{status}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_gone_is_no_success() {
    let harness = lab_with_machine().await;
    for major in NODES {
        let mut child = command(major, &task_folder(DELETE), &deletion(&harness)).spawn().expect("Node starts");
        drop(child.stdout.take());
        let status = tokio::time::timeout(LIMIT, child.wait()).await.expect("the task ends").expect("Node ends");
        assert_eq!(status.code(), Some(1));
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_factory_brings_every_image_to_its_labs() {
    const FACTORY: &str = "AzureDevTestLabsImageFactory";
    let harness = Harness::with(|options| options.seed = Some(project("examples/image-factory/seed.json"))).await;
    let lab = harness.target().labs.iter().find(|lab| lab.ends_with("/labs/factory")).expect("the factory's lab").clone();
    let configuration = project("examples/image-factory/Configuration").to_string_lossy().into_owned();
    let step = harness.step(FACTORY).input("LabId", lab).input("Command", "run").input("ConfigurationLocation", configuration);
    let finished = run(&mut command(NODES[0], &task_folder(FACTORY), &exported(&step, &harness))).await;
    finished.assert_proven("Succeeded");
    // Four in the factory's lab, and seven copies.
    assert_eq!(harness.names("Microsoft.DevTestLab/labs/customimages").await.len(), 11, "{finished:#?}");
    assert_eq!(harness.names("Microsoft.DevTestLab/labs/virtualmachines").await, Vec::<String>::new());
    harness.finish().await;
}
