//! One step: its environment, and what runs it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    environment::{
        Environment, connection_environment, connection_id, input_name, job_connection_environment, public_environment, task_environment,
    },
    host::{Canceller, NativeHost, Setup, normalise},
    job::{Engine, Settings},
    listener::{Listener, StepResult},
    manifest::{self, Manifest},
    pipeline::{Action, Shell, Step, yaml::Scalar},
    process::{self, Line, Program},
    variables::Variables,
};
use crate::agent::Outcome;

/// How long a task in this process has to end once it was asked to: as long as the agent would let it live.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener that a running step speaks to.
pub type Ear = Arc<Mutex<Listener>>;

/// The outputs that the step's manifest declares.
pub fn declared_outputs(step: &Step) -> Vec<String> {
    match &step.action {
        Action::Task { name, .. } => manifest::find(&name.text).map_or_else(Vec::new, |manifest| manifest.outputs.clone()),
        Action::Script { .. } | Action::Checkout => Vec::new(),
    }
}

/// Runs a step; the result is what the ear heard, or the problem returned here.
pub async fn run(step: &Step, variables: &Variables, settings: &Settings, ear: &Ear, canceller: &Canceller) -> Result<(), String> {
    match &step.action {
        Action::Checkout => {
            hear(ear, "the files of the current folder are used as they are");
            Ok(())
        }
        Action::Task { name, inputs, .. } => {
            let manifest = manifest::find(&name.text).ok_or_else(|| format!("there is no task '{}'", name.text))?;
            let mut environment = task_environment(variables);
            environment.extend(step_environment(step, variables));
            environment.extend(inputs_environment(manifest, inputs, variables, settings));
            match settings.engine {
                Engine::Native => run_native(manifest, environment, settings, ear, canceller).await,
                Engine::Node => run_node(manifest, environment, settings, ear, canceller).await,
            }
        }
        Action::Script { shell, text, working_directory, fail_on_stderr } => {
            let program =
                script(*shell, &variables.expand(text), working_directory.as_deref().map(|folder| variables.expand(folder)), settings)?;
            let mut environment = inherited(settings);
            environment.extend(public_environment(variables));
            environment.extend(step_environment(step, variables));
            run_program(&Program { environment, merges_output: !fail_on_stderr, ..program }, *fail_on_stderr, ear, canceller).await
        }
    }
}

fn hear(ear: &Ear, line: &str) {
    ear.lock().unwrap_or_else(PoisonError::into_inner).line(line);
}

/// The step's own `env`, whose names stay as they are written.
fn step_environment(step: &Step, variables: &Variables) -> Environment {
    step.env.iter().map(|(name, value)| (name.clone(), variables.expand(value))).collect()
}

/// Every declared input, as the agent exports it: expanded, trimmed, rooted; and the service connections among them.
fn inputs_environment(manifest: &Manifest, inputs: &[(Scalar, String)], variables: &Variables, settings: &Settings) -> Environment {
    let mut environment = job_connection_environment(&settings.target);
    for input in &manifest.inputs {
        let written = inputs.iter().find(|(key, _)| input.is_called(&key.text)).map_or(&input.default, |(_, value)| value);
        let mut value = variables.expand(written).trim().to_owned();
        if input.is_path() {
            value = normalise(&settings.folders.sources.join(&value)).to_string_lossy().into_owned();
        } else if input.is_connection() && !value.is_empty() {
            value = connection_id(&value);
            environment.extend(connection_environment(&settings.target, &value, settings.scheme));
        }
        environment.insert(input_name(&input.name), value);
    }
    environment
}

async fn run_native(
    manifest: &'static Manifest,
    environment: Environment,
    settings: &Settings,
    ear: &Ear,
    canceller: &Canceller,
) -> Result<(), String> {
    let sink = Arc::clone(ear);
    let host = NativeHost::new(Setup {
        transport: settings.transport.clone(),
        variables: environment,
        working_directory: settings.folders.sources.clone(),
        sink: Arc::new(move |line: &str| hear(&sink, line)),
        cancellation: canceller.cancellation(),
    });
    // A task of its own, so that a panic in the engine fails this step and not the run.
    let mut task = tokio::spawn(async move { crate::run(Arc::new(host), &manifest.name).await });
    let ended = tokio::select! {
        ended = &mut task => ended,
        () = async { canceller.cancellation().requested().await; tokio::time::sleep(PATIENCE).await } => {
            task.abort();
            return Err("the task did not stop when it was asked to, and was ended".into());
        }
    };
    let outcome = ended.map_err(|error| format!("the engine broke off: {error}"))?;
    let result = match outcome {
        Outcome::Succeeded => StepResult::Succeeded,
        Outcome::SucceededWithIssues => StepResult::SucceededWithIssues,
        Outcome::Failed => StepResult::Failed,
        Outcome::Canceled => StepResult::Canceled,
    };
    ear.lock().unwrap_or_else(PoisonError::into_inner).result(result);
    Ok(())
}

async fn run_node(manifest: &Manifest, task: Environment, settings: &Settings, ear: &Ear, canceller: &Canceller) -> Result<(), String> {
    let index = settings.packages.as_ref().map(|folder| folder.join(&manifest.name).join("index.js")).filter(|index| index.is_file());
    let Some(index) = index else {
        return Err(format!("the packaged task {} is not there; `cargo xtask package` builds dist/tasks", manifest.name));
    };
    let mut environment = inherited(settings);
    environment.extend(task);
    if let Some(ca_file) = &settings.target.ca_file {
        environment.insert("NODE_EXTRA_CA_CERTS".into(), ca_file.to_string_lossy().into_owned());
    }
    let program = Program {
        executable: "node".into(),
        arguments: vec![index.to_string_lossy().into_owned()],
        working_directory: settings.folders.sources.clone(),
        environment,
        merges_output: true,
    };
    run_program(&program, false, ear, canceller).await
}

/// The process's own variables, less those that would look like the agent's.
fn inherited(settings: &Settings) -> Environment {
    const AGENTS: &[&str] = &["INPUT_", "ENDPOINT_", "SECRET_", "SECUREFILE_", "VSTS_", "SYSTEM_", "BUILD_", "AGENT_"];
    settings
        .inherited
        .iter()
        .filter(|(name, _)| !AGENTS.iter().any(|prefix| name.to_ascii_uppercase().starts_with(prefix)))
        .cloned()
        .collect()
}

/// The program that runs a script, which goes into a file as with the agent.
fn script(shell: Shell, text: &str, working_directory: Option<String>, settings: &Settings) -> Result<Program, String> {
    let (extension, executable, mut arguments): (&str, &str, Vec<String>) = match shell {
        Shell::System if cfg!(windows) => ("cmd", "cmd.exe", ["/D", "/E:ON", "/V:OFF", "/S", "/C", "CALL"].map(Into::into).to_vec()),
        Shell::System | Shell::Bash => ("sh", "bash", ["--noprofile", "--norc"].map(Into::into).to_vec()),
        Shell::PowerShell => (
            "ps1",
            "pwsh",
            ["-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Unrestricted", "-File"].map(Into::into).to_vec(),
        ),
    };
    let text = match shell {
        Shell::PowerShell => {
            format!("$ErrorActionPreference = 'stop'\n{text}\nif (Test-Path variable:LASTEXITCODE) {{ exit $LASTEXITCODE }}\n")
        }
        Shell::System if cfg!(windows) => format!("@echo off\r\n{text}\r\n"),
        Shell::System | Shell::Bash => text.to_owned(),
    };
    let file = settings.folders.temp.join(format!("{}.{extension}", uuid::Uuid::new_v4()));
    std::fs::write(&file, text).map_err(|error| format!("the script cannot be written to {}: {error}", file.display()))?;
    arguments.push(file.to_string_lossy().into_owned());
    let working_directory = normalise(&settings.folders.sources.join(working_directory.unwrap_or_default()));
    if !working_directory.is_dir() {
        return Err(format!("the working directory '{}' is no folder", working_directory.display()));
    }
    Ok(Program {
        executable: PathBuf::from(executable),
        arguments,
        working_directory,
        environment: Environment::new(),
        merges_output: true,
    })
}

async fn run_program(program: &Program, fail_on_stderr: bool, ear: &Ear, canceller: &Canceller) -> Result<(), String> {
    let mut complained = false;
    let take = |line| match line {
        Line::Out(text) => hear(ear, &text),
        Line::Error(text) => {
            complained |= !text.is_empty();
            hear(ear, &text);
        }
    };
    let name = Path::new(&program.executable).display().to_string();
    let code = process::run(program, take, canceller.cancellation().requested()).await.map_err(|error| unstartable(&name, &error))?;
    match code {
        Some(0) if complained && fail_on_stderr => Err("something was written to standard error, and failOnStderr is set".into()),
        Some(0) => Ok(()),
        Some(code) => Err(format!("{name} exited with code {code}")),
        None => Err(format!("{name} was ended by a signal")),
    }
}

fn unstartable(name: &str, error: &std::io::Error) -> String {
    let hint = match (error.kind(), name) {
        (std::io::ErrorKind::NotFound, "node") => "; install Node.js 20 or newer, or run with --engine native",
        (std::io::ErrorKind::NotFound, "pwsh") => "; install PowerShell 7",
        (std::io::ErrorKind::NotFound, "bash") => "; install bash",
        _ => "",
    };
    format!("{name} cannot be started: {error}{hint}")
}
