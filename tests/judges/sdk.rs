//! Microsoft's own clients: the SDKs for Python and JavaScript, and `az`. Each is a script that calls one operation after another and prints
//! a line of JSON for each; here they are installed, run against an emulator, and believed.
//!
//! Environments are made under `target/judges` and stay there; a change of a script's requirements makes them anew. Where Python or npm is
//! missing, or the packages cannot be had, the test says that it skips.

#![allow(clippy::print_stderr, reason = "a test that skips says so")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command, sync::Mutex};

use super::routes;
use crate::{
    connections::schemes::{APPLICATION, certificate},
    harness::{Harness, project, seed_with_lab},
};

/// No judge takes longer; one that does hangs. `az` starts a Python for each of its commands.
const LIMIT: Duration = Duration::from_mins(15);
/// Simulated durations are divided by this.
const SPEED: f64 = 600.0;

#[derive(Debug, Deserialize)]
pub struct Line {
    /// What was asked for.
    pub operation: String,
    /// Why it went wrong.
    pub error: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdks_take_the_emulator_for_azure() {
    let Some(python) = python_environment("python").await else { return };
    let lines = judged(Command::new(python).arg(project("tests/judges/python/judge.py")), 'P').await;
    assert!(lines.len() > 300, "{} operations", lines.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_credential_of_azure_identity_signs_in() {
    let Some(python) = python_environment("python").await else { return };
    let (certificate, key) = certificate();
    let mut seed = seed_with_lab("contoso", &[]);
    seed["identities"] = json!([{"clientId": APPLICATION, "certificatePem": certificate}]);
    let harness = Harness::seeded(&seed).await;
    let given = json!({"ready": harness.ready(), "application": APPLICATION, "certificate": format!("{key}{certificate}")});
    let output = run(Command::new(python).arg(project("tests/judges/python/sign_in.py")), &harness, &given).await;
    let lines = lines(&output);
    check(&lines);
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert_eq!(lines.len(), 10);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_sdks_take_the_emulator_for_azure() {
    let Some(folder) = npm_environment().await else { return };
    let lines = judged(Command::new("node").arg(folder.join("judge.mjs")), 'N').await;
    assert!(lines.len() > 290, "{} operations", lines.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_takes_the_emulator_for_azure() {
    let Some(python) = az().await else { return };
    let lines = judged(Command::new(python).arg(project("tests/judges/az/judge.py")), 'A').await;
    assert!(lines.len() > 100, "{} commands", lines.len());
}

/// The Python that has `az`, where that is asked for.
pub async fn az() -> Option<PathBuf> {
    if std::env::var_os("DTL_TEST_ALL").is_none() {
        eprintln!("skipped: az takes minutes to install; `cargo xtask test --all` runs it");
        return None;
    }
    python_environment("az").await
}

/// Has the emulator advise to ask soon. Without advice `az` asks every 30 s, as it does in Azure, where DevTest Labs gives none.
pub async fn hurry(harness: &Harness) {
    harness.faults(&json!([{"path": "(?i)^/subscriptions/", "headers": {"Retry-After": "1"}, "times": 1_000_000}])).await;
}

/// Runs a script of a judge, whose input is one JSON value, to its end.
pub async fn run(command: &mut Command, harness: &Harness, input: &Value) -> Output {
    let authority = &harness.ready().ca_file;
    command.env("REQUESTS_CA_BUNDLE", authority).env("NODE_EXTRA_CA_CERTS", authority);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().expect("the judge starts");
    let mut pipe = process.stdin.take().expect("a pipe");
    pipe.write_all(format!("{input}\n").as_bytes()).await.expect("the judge reads");
    drop(pipe);
    tokio::time::timeout(LIMIT, process.wait_with_output()).await.expect("the judge hangs").expect("the judge ends")
}

/// What a judge said of each operation.
pub fn lines(output: &Output) -> Vec<Line> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Runs a judge against an emulator of its own, which the published descriptions judge at the same time.
async fn judged(command: &mut Command, letter: char) -> Vec<Line> {
    let harness = Harness::with(|options| options.speed = SPEED).await.tolerating_unknown_routes();
    if letter == 'A' {
        hurry(&harness).await;
    }
    let output = run(command, &harness, &json!(harness.ready())).await;
    let lines = lines(&output);
    check(&lines);
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    routes::check(letter, &harness.requests().await);
    harness.finish().await;
    lines
}

/// Everything passes.
fn check(lines: &[Line]) {
    let failed = lines.iter().filter_map(|line| line.error.as_ref().map(|error| format!("{}: {error}", line.operation)));
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "{} of {} operations failed:\n{}", failed.len(), lines.len(), failed.join("\n"));
}

/// The Python of a virtual environment that holds what a judge requires.
pub async fn python_environment(judge: &str) -> Option<PathBuf> {
    // Two tests may want the same one, and one of them makes it.
    static MAKING: Mutex<()> = Mutex::const_new(());
    let _making = MAKING.lock().await;
    let requirements = project("tests/judges").join(judge).join("requirements.txt");
    let folder = project("target/judges").join(judge);
    let program = if cfg!(windows) { folder.join("Scripts/python.exe") } else { folder.join("bin/python") };
    if is_installed(&folder, &[&requirements]) {
        return Some(program);
    }
    let names: &[&str] = if cfg!(windows) { &["python", "py"] } else { &["python3", "python"] };
    for name in names {
        let check = "import sys, venv; sys.exit(sys.version_info < (3, 10))";
        if !succeeds(Command::new(name).args(["-c", check])).await {
            continue;
        }
        let _ = fs::remove_dir_all(&folder);
        let made = succeeds(Command::new(name).args(["-m", "venv"]).arg(&folder)).await;
        let flags = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        if made && succeeds(Command::new(&program).args(flags).arg(&requirements)).await {
            mark_installed(&folder, &[&requirements]);
            return Some(program);
        }
        eprintln!("skipped: the packages of {} could not be installed", requirements.display());
        return None;
    }
    eprintln!("skipped: no Python 3.10 or newer, with venv, on the PATH");
    None
}

/// A folder that holds the script and its packages.
async fn npm_environment() -> Option<PathBuf> {
    let source = project("tests/judges/npm");
    let folder = project("target/judges/npm");
    let files = ["package.json", "package-lock.json"].map(|name| source.join(name));
    let wanted: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    fs::create_dir_all(&folder).expect("a folder below target");
    for file in fs::read_dir(&source).expect("the judge is there").flatten() {
        fs::copy(file.path(), folder.join(file.file_name())).expect("a copy of the judge");
    }
    if is_installed(&folder, &wanted) {
        return Some(folder);
    }
    let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let flags = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    if succeeds(Command::new(program).args(flags).current_dir(&folder)).await {
        mark_installed(&folder, &wanted);
        return Some(folder);
    }
    eprintln!("skipped: the packages of {} could not be installed", source.display());
    None
}

/// Whether what these files require is installed.
fn is_installed(folder: &Path, files: &[&Path]) -> bool {
    fs::read(folder.join("installed")).is_ok_and(|stamp| stamp == required(files))
}

fn mark_installed(folder: &Path, files: &[&Path]) {
    fs::write(folder.join("installed"), required(files)).expect("a stamp in the folder");
}

fn required(files: &[&Path]) -> Vec<u8> {
    files.iter().flat_map(|file| fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))).collect()
}

async fn succeeds(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().await;
    status.is_ok_and(|status| status.success())
}
