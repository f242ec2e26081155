//! The emulator that is measured against: the program `dtl` itself, with machines to delete.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::shell;

const SUBSCRIPTION: &str = "22222222-2222-4222-8222-222222222222";

/// A running emulator, stopped when it is dropped.
pub struct Emulator {
    process: Child,
    /// What it said when it was ready.
    pub ready: Value,
    /// How long it took until then.
    pub took: Duration,
}

impl Emulator {
    /// Starts an emulator in which a deletion takes so many seconds.
    pub fn start(deletion_seconds: f64) -> Result<Self> {
        Self::serve("seed", &seed_json(), super::DELETION_SECONDS / deletion_seconds)
    }

    /// Starts an emulator with a seed of its own, written under this name.
    pub fn serve(name: &str, resources: &Value, speed: f64) -> Result<Self> {
        let file = super::folder()?.join(format!("{name}.json"));
        fs::write(&file, resources.to_string()).context("failed to write the seed")?;
        let mut command = Command::new(shell::dtl());
        command.args(["emulator", "--listen", "127.0.0.1:0", "--speed", &speed.to_string(), "--seed"]).arg(&file);
        Self::spawn(command)
    }

    /// Starts an emulator, or what stands for one: a program that says one line of JSON when it is ready.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let started = Instant::now();
        let mut process = command.stdout(Stdio::piped()).spawn().context("failed to start the emulator")?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("the emulator has no output")?).read_line(&mut line)?;
        let took = started.elapsed();
        let ready = serde_json::from_str(&line).with_context(|| format!("the emulator said '{}'", line.trim()))?;
        Ok(Self { process, ready, took })
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// Asks the control interface.
    pub fn control(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut command = Command::new("node");
        command.arg(shell::root().join("xtask/bench/control.js")).arg(method);
        command.arg(format!("{}emulator/{path}", self.field("resourceManager"))).args(body.map(Value::to_string));
        let output = shell::capture(command.env("NODE_EXTRA_CA_CERTS", self.field("caFile")))?;
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    /// A field of the ready line.
    pub fn field(&self, name: &str) -> String {
        self.ready[name].as_str().unwrap_or_default().to_owned()
    }

    /// The lab of the seed.
    pub fn lab() -> String {
        format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/bench/providers/Microsoft.DevTestLab/labs/lab")
    }

    /// Its subscription.
    pub fn subscription() -> &'static str {
        SUBSCRIPTION
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn seed_json() -> Value {
    let machine = |name: &str| {
        json!({
            "id": format!("{}/virtualmachines/{name}", Emulator::lab()),
            "name": name,
            "type": "Microsoft.DevTestLab/labs/virtualmachines",
            "location": "westeurope",
            "properties": { "provisioningState": "Succeeded", "osType": "Linux" },
        })
    };
    let machines = (0..super::lateness::SAMPLES).flat_map(|sample| [format!("ours{sample}"), format!("theirs{sample}")]);
    let machines: Vec<_> = machines.map(|name| machine(&name)).collect();
    json!({ "subscriptions": [{ "subscriptionId": SUBSCRIPTION, "resourceGroups": [{
        "name": "bench", "location": "westeurope",
        "labs": [{ "name": "lab", "virtualNetworks": ["network"] }],
        "resources": machines,
    }] }] })
}
