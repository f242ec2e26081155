//! Every way to sign in and every network, on both hosts: the same step runs natively and as the packaged task under each Node of the agent.

mod addresses;
mod client_certificates;
mod clouds;
mod command_line;
mod networks;
mod proxy;
pub mod schemes;

pub use schemes::{APPLICATION, by_certificate, certificate};

use dtl::cli::{
    environment::{Environment, connection_id},
    host::{Transport, Trust},
};
use serde_json::{Value, json};

use crate::{
    harness::{Harness, RESOURCE_GROUP, SUBSCRIPTION, Step},
    packaged::{NODES, command, run, task_folder},
};

const DELETE: &str = "AzureDevTestLabsDeleteVM";

/// How one run ended.
#[derive(Debug)]
struct Ending {
    /// `native`, or `Node` with its version.
    host: String,
    lines: Vec<String>,
    result: String,
}

impl Ending {
    #[track_caller]
    fn assert_succeeded(&self) {
        assert_eq!(self.result, "Succeeded", "{}: {self:#?}", self.host);
    }

    #[track_caller]
    fn assert_failed(&self, expected: &str) {
        assert_eq!(self.result, "Failed", "{}: {self:#?}", self.host);
        assert!(self.lines.iter().any(|line| line.contains(expected)), "{expected}: {self:#?}");
    }
}

/// Runs a step on every host, each with a machine of its own to delete. `variables` replace those of the step, and an empty one takes it away.
async fn everywhere(harness: &Harness, variables: &[(String, String)]) -> Vec<Ending> {
    let mut endings = Vec::new();
    for node in [None].into_iter().chain(NODES.map(Some)) {
        endings.push(match node {
            None => natively(harness, variables).await,
            Some(major) => under_node(harness, variables, major).await,
        });
    }
    endings
}

async fn step<'a>(harness: &'a Harness, variables: &[(String, String)]) -> Step<'a> {
    let step = harness.step(DELETE).input("LabVmId", machine(harness).await).environment("NODE_EXTRA_CA_CERTS", &harness.ready().ca_file);
    variables.iter().fold(step, |step, (name, value)| step.environment(name, value))
}

async fn natively(harness: &Harness, variables: &[(String, String)]) -> Ending {
    let step = step(harness, variables).await;
    let environment = without_empty(step.exported());
    let trust = Trust::machine(|name| environment.get(name).cloned());
    let ended = match trust.and_then(|trust| Transport::new(&trust)) {
        Ok(transport) => step.run_over(transport).await,
        Err(error) => return Ending { host: "native".into(), lines: vec![error.to_string()], result: "Failed".into() },
    };
    Ending { host: "native".into(), result: ended.completed().to_owned(), lines: ended.lines }
}

async fn under_node(harness: &Harness, variables: &[(String, String)], major: u32) -> Ending {
    let environment = without_empty(step(harness, variables).await.exported());
    let ended = run(&mut command(major, &task_folder(DELETE), &environment)).await;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    Ending { host: format!("Node {major}"), result: ended.result(), lines: ended.lines }
}

fn without_empty(mut environment: Environment) -> Environment {
    environment.retain(|_, value| !value.is_empty());
    environment
}

/// A variable of the step's service connection; `{id}` stands for its id.
fn variable(name: &str, value: impl Into<String>) -> (String, String) {
    (name.replace("{id}", &connection_id("local")), value.into())
}

/// A lab with as many machines as a test can delete, and further identities.
fn seed(identities: &Value) -> Value {
    let machine = |number: u32| {
        let lab = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers/Microsoft.DevTestLab/labs/lab");
        json!({
            "id": format!("{lab}/virtualmachines/vm{number}"),
            "name": format!("vm{number}"),
            "type": "Microsoft.DevTestLab/labs/virtualmachines",
            "location": "westeurope",
            "properties": { "provisioningState": "Succeeded", "osType": "Linux" },
        })
    };
    let mut seed = crate::harness::seed_with_lab("lab", &(10..40).map(machine).collect::<Vec<_>>());
    seed["identities"] = identities.clone();
    seed
}

async fn lab(identities: Value) -> Harness {
    Harness::seeded(&seed(&identities)).await
}

/// A machine that is still there.
async fn machine(harness: &Harness) -> String {
    harness.names("Microsoft.DevTestLab/labs/virtualmachines").await.swap_remove(0)
}

/// How often each path was asked for, by the end of the path.
async fn asked(harness: &Harness, end: &str) -> usize {
    harness.requests().await.iter().filter(|request| request["path"].as_str().is_some_and(|path| path.ends_with(end))).count()
}
