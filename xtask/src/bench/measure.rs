//! Processes as the agent starts them, and what they take.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::emulator::Emulator;
use crate::shell;

const CONNECTION: &str = "33333333-3333-4333-8333-333333333333";

/// A script and the Node that runs it.
pub struct Program {
    node: PathBuf,
    script: PathBuf,
    says_result: bool,
}

impl Program {
    /// A task.
    pub fn new(node: &Path, script: &Path) -> Self {
        Self { node: node.to_owned(), script: script.to_owned(), says_result: true }
    }

    /// A script without content, under the Node of another.
    pub fn empty(other: &Self) -> Result<Self> {
        let script = super::folder()?.join("empty.js");
        fs::write(&script, "")?;
        Ok(Self { node: other.node.clone(), script, says_result: false })
    }

    /// Runs to the end, and returns the time that it took.
    pub fn run(&self, environment: &BTreeMap<String, String>) -> Result<Duration> {
        let started = Instant::now();
        let output = self.output(&[], environment)?;
        let time = started.elapsed();
        self.check(&output)?;
        Ok(time)
    }

    /// Runs to the end, and returns its peak memory in MiB.
    pub fn peak_memory(&self, environment: &BTreeMap<String, String>) -> Result<f64> {
        let preload = shell::root().join("xtask/bench/peak_memory.js");
        let output = self.output(&["--require".as_ref(), preload.as_ref()], environment)?;
        self.check(&output)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let kibibytes: f64 = said.lines().last().unwrap_or_default().parse().with_context(|| format!("no peak memory in '{said}'"))?;
        Ok(kibibytes / 1024.0)
    }

    fn output(&self, options: &[&std::ffi::OsStr], environment: &BTreeMap<String, String>) -> Result<Output> {
        let mut command = Command::new(&self.node);
        command.args(options).arg(&self.script).env_clear().envs(environment);
        command.output().with_context(|| format!("failed to start {}", self.node.display()))
    }

    /// A run that failed would be fast, and would measure nothing.
    fn check(&self, output: &Output) -> Result<()> {
        let said = shell::text(output);
        let succeeded = output.status.success() && (!self.says_result || said.contains("task.complete result=Succeeded"));
        ensure!(succeeded, "{} failed:\n{said}", self.script.display());
        Ok(())
    }
}

/// The environment that the agent gives to the Delete VM task. Variables that Node or the operating system itself needs are kept.
pub fn environment(emulator: &Emulator, machine: &str) -> BTreeMap<String, String> {
    let mut environment: BTreeMap<_, _> =
        ["SystemRoot", "TEMP", "TMP"].iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))).collect();
    let parameters = [
        ("tenantid", emulator.field("tenantId")),
        ("serviceprincipalid", emulator.field("clientId")),
        ("serviceprincipalkey", emulator.field("clientSecret")),
    ];
    let data = [("subscriptionId", Emulator::subscription().to_owned()), ("activeDirectoryAuthority", emulator.field("authority"))];
    let mut set = |name: String, value: String| environment.insert(name, value);
    for (key, value) in &parameters {
        set(format!("ENDPOINT_AUTH_PARAMETER_{CONNECTION}_{}", key.to_uppercase()), value.clone());
    }
    for (key, value) in &data {
        set(format!("ENDPOINT_DATA_{CONNECTION}_{}", key.to_uppercase()), value.clone());
    }
    let authorization = json!({ "scheme": "ServicePrincipal", "parameters": BTreeMap::from(parameters) });
    set(format!("ENDPOINT_AUTH_{CONNECTION}"), authorization.to_string());
    set(format!("ENDPOINT_AUTH_SCHEME_{CONNECTION}"), "ServicePrincipal".into());
    set(format!("ENDPOINT_DATA_{CONNECTION}"), json!(BTreeMap::from(data)).to_string());
    set(format!("ENDPOINT_URL_{CONNECTION}"), emulator.field("resourceManager"));
    set("INPUT_CONNECTEDSERVICENAME".into(), CONNECTION.into());
    set("INPUT_LABID".into(), Emulator::lab());
    set("INPUT_LABVMID".into(), machine.into());
    set("AGENT_TEMPDIRECTORY".into(), shell::target().join("bench").display().to_string());
    set("NODE_EXTRA_CA_CERTS".into(), emulator.field("caFile"));
    environment
}
