//! Each row of the table of retries, by a task against the emulator; and the table in the document.

use std::{fs, time::Duration};

use dtl::{
    agent::Outcome,
    arm::retry::{Connection, Patience, Rule, TABLE},
};
use serde_json::{Value, json};

use super::fast_host::FastHost;
use crate::{
    factory,
    harness::{Finished, Harness, Step, project},
    tasks::vm_template,
};

fn error(code: &str) -> Value {
    json!({"error": {"code": code, "message": "as the test wants it"}})
}

fn create_vm(lab: &Harness) -> Step<'_> {
    let template = lab.file("vm.json", &vm_template(&[]).to_string());
    lab.step("AzureDevTestLabsCreateVM")
        .input("VirtualMachineName", "vm1")
        .input("TemplateFile", template)
        .input("ParameterOverrides", "-password 'Passw0rd!-x'")
}

fn delete_vm(lab: &Harness) -> Step<'_> {
    lab.step("AzureDevTestLabsDeleteVM").input("LabVmId", "vm1")
}

fn stop_vm(lab: &Harness) -> Step<'_> {
    lab.step("AzureDevTestLabsStopVM").input("LabVmId", "vm1")
}

async fn with_vm() -> Harness {
    let lab = Harness::start().await;
    let made = create_vm(&lab).run_on(FastHost::new).await;
    assert_eq!(made.outcome, Outcome::Succeeded, "{made}");
    lab
}

async fn succeeds(step: Step<'_>) -> Finished {
    let finished = step.run_on(FastHost::new).await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    finished
}

/// How often a request was sent, by method and the end of its path.
async fn sent(lab: &Harness, method: &str, part: &str) -> usize {
    let part = part.to_lowercase();
    lab.journal().await.iter().filter(|line| line.starts_with(method) && line.to_lowercase().contains(&part)).count()
}

#[allow(clippy::too_many_lines, reason = "one short arm a row, in the table's order")]
async fn check(row: &str) {
    match row {
        "throttled" => {
            let lab = with_vm().await;
            lab.faults(&json!([{"method": "POST", "path": "vm1/stop$", "times": 9, "status": 429, "headers": {"Retry-After": "2"}, "body": error("TooManyRequests")}])).await;
            succeeds(stop_vm(&lab)).await;
            assert_eq!(sent(&lab, "POST", "vm1/stop").await, 10, "the service's own delay counts no attempt");
            lab.finish().await;
        }
        "out of order" => {
            let lab = with_vm().await;
            for status in [408, 500, 502, 503, 504] {
                lab.faults(&json!([{"method": "POST", "path": "vm1/stop$", "status": status, "body": error("Passing")}])).await;
            }
            succeeds(stop_vm(&lab)).await;
            assert_eq!(sent(&lab, "POST", "vm1/stop").await, 6);
            lab.finish().await;
        }
        "lost" => {
            let lab = Harness::start().await;
            lab.settings(&json!({"durations": {"virtualMachine": 1800}})).await;
            lab.faults(&json!([{"method": "PUT", "path": "/deployments/dtl-vm1", "closeAfter": true}])).await;
            succeeds(create_vm(&lab)).await;
            assert_eq!(sent(&lab, "PUT", "/deployments/dtl-vm1").await, 1, "it is looked for, not sent again");
            lab.settings(&json!({"durations": {"stop": 1800}})).await;
            lab.faults(&json!([{"method": "POST", "path": "vm1/stop$", "closeAfter": true}])).await;
            succeeds(stop_vm(&lab)).await;
            assert_eq!(sent(&lab, "POST", "vm1/stop").await, 1, "it is looked for, not sent again");
            lab.faults(&json!([{"method": "DELETE", "path": "vm1$", "closeAfter": true}])).await;
            succeeds(delete_vm(&lab)).await;
            lab.finish().await;
        }
        "unreached" => {
            let lab = with_vm().await;
            let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
            let mut step = delete_vm(&lab);
            for (name, value) in step.exported().into_iter().filter(|(name, _)| name.starts_with("ENDPOINT_")) {
                let dead = value.replace(&lab.ready().resource_manager, &format!("https://127.0.0.1:{port}/"));
                step = step.environment(&name, dead);
            }
            let finished = step.run_on(FastHost::new).await;
            assert_eq!(finished.outcome, Outcome::Failed, "{finished}");
            lab.finish().await;
        }
        "interfering" => {
            let lab = with_vm().await;
            lab.faults(
                &json!([{"method": "DELETE", "path": "vm1$", "times": 3, "status": 409, "body": error("AnotherOperationInProgress")}]),
            )
            .await;
            succeeds(delete_vm(&lab)).await;
            lab.finish().await;
        }
        "busy" => {
            let lab = with_vm().await;
            lab.faults(
                &json!([{"method": "POST", "path": "vm1/stop$", "times": 2, "status": 409, "body": error("ResourceIsNotInValidState")}]),
            )
            .await;
            succeeds(stop_vm(&lab)).await;
            let lab = {
                lab.finish().await;
                Harness::start().await
            };
            lab.faults(
                &json!([{"method": "PUT", "path": "/deployments/dtl-vm1", "times": 3, "status": 409, "body": error("DeploymentActive")}]),
            )
            .await;
            succeeds(create_vm(&lab)).await;
            lab.finish().await;
        }
        "conflict" => {
            let lab = with_vm().await;
            lab.faults(&json!([{"method": "DELETE", "path": "vm1$", "times": 9, "status": 409, "body": error("ScopeLocked")}])).await;
            let finished = delete_vm(&lab).run_on(FastHost::new).await;
            assert_eq!((finished.outcome, sent(&lab, "DELETE", "vm1").await), (Outcome::Failed, 1), "{finished}");
            lab.finish().await;
        }
        "not yet there" => {
            let lab = Harness::start().await;
            lab.faults(
                &json!([{"method": "GET", "path": "/virtualmachines/vm1$", "times": 4, "status": 404, "body": error("ResourceNotFound")}]),
            )
            .await;
            succeeds(create_vm(&lab)).await;
            // What the run did not make is not there.
            let finished = lab.step("AzureDevTestLabsStartVM").input("LabVmId", "other").run_on(FastHost::new).await;
            assert_eq!((finished.outcome, sent(&lab, "GET", "/virtualmachines/other").await), (Outcome::Failed, 1), "{finished}");
            lab.finish().await;
        }
        "not yet allowed" => {
            let lab = Harness::start().await;
            let forbidden = json!({"method": "GET", "path": "/Microsoft.Resources/deployments$", "times": 4, "status": 403, "body": error("AuthorizationFailed")});
            lab.faults(&json!([forbidden])).await;
            let environment = lab
                .step("AzureDevTestLabsCreateEnvironment")
                .input("EnvironmentName", "env1")
                .input("RepositoryId", "Public Artifact Repo")
                .input("TemplateId", "WebApp")
                .input("OutputTemplateVariables", "true");
            succeeds(environment).await;
            assert_eq!(sent(&lab, "GET", "/Microsoft.Resources/deployments").await, 5);
            lab.finish().await;
            // A copy stands on the disk that the run has just made, and on which its roles do not count yet.
            let lab = factory::example().await;
            let copy = "/labs/web-team/customimages/win2022_browser";
            lab.faults(&json!([{"method": "PUT", "path": copy, "times": 4, "status": 403, "body": error("LinkedAuthorizationFailed")}]))
                .await;
            succeeds(factory::step(&lab, "run", &factory::example_configuration()).input("RunId", "7")).await;
            assert_eq!(sent(&lab, "PUT", copy).await, 5);
            lab.finish().await;
        }
        "token refused" => {
            let lab = with_vm().await;
            lab.faults(
                &json!([{"method": "POST", "path": "vm1/stop$", "times": 2, "status": 401, "body": error("ExpiredAuthenticationToken")}]),
            )
            .await;
            succeeds(stop_vm(&lab)).await;
            assert_eq!(sent(&lab, "POST", "vm1/stop").await, 3, "each time with another token");
            lab.faults(
                &json!([{"method": "DELETE", "path": "vm1$", "times": 9, "status": 401, "body": error("InvalidAuthenticationToken")}]),
            )
            .await;
            let finished = delete_vm(&lab).run_on(FastHost::new).await;
            assert_eq!((finished.outcome, sent(&lab, "DELETE", "vm1").await), (Outcome::Failed, 3), "{finished}");
            lab.finish().await;
        }
        "failed by itself" => {
            for (code, outcome) in [("InternalExecutionError", Outcome::Succeeded), ("SkuNotAvailable", Outcome::Failed)] {
                let lab = factory::example().await;
                let paths = [
                    "/labs/factory/virtualmachines/docker$",
                    "/labs/factory/customimages/linux_ubuntu",
                    "/labs/web-team/customimages/win2022_browser",
                ];
                lab.faults(&paths.map(|path| json!({"path": path, "provisioning": "Failed", "body": error(code)})).into_iter().collect())
                    .await;
                let step = factory::step(&lab, "run", &factory::example_configuration()).input("RunId", "7");
                let finished = step.run_on(FastHost::new).await;
                let anew = finished.warnings().iter().filter(|warning| warning.ends_with("done anew, attempt 2 of 2")).count();
                assert_eq!((finished.outcome, anew), (outcome, if outcome == Outcome::Succeeded { 3 } else { 0 }), "{code}: {finished}");
                lab.finish().await;
            }
        }
        "refused" => {
            let lab = with_vm().await;
            for (status, code) in
                [(400, "InvalidRequestContent"), (403, "AuthorizationFailed"), (404, "ResourceNotFound"), (501, "NotImplemented")]
            {
                let before = sent(&lab, "POST", "vm1/stop").await;
                lab.faults(&json!([{"method": "POST", "path": "vm1/stop$", "status": status, "body": error(code)}])).await;
                let finished = stop_vm(&lab).run_on(FastHost::new).await;
                assert_eq!((finished.outcome, sent(&lab, "POST", "vm1/stop").await - before), (Outcome::Failed, 1), "{status}: {finished}");
            }
            lab.finish().await;
        }
        other => panic!("no test shows the row '{other}'"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_holds_against_the_emulator() {
    futures::future::join_all(TABLE.iter().map(|rule| check(rule.name))).await;
}

/// The row as the document shows it.
fn shown(rule: &Rule) -> String {
    let cause = match rule.connection {
        Some(Connection::Lost) => "the connection broke before the whole answer came".to_owned(),
        Some(Connection::Unreached) => "no connection was made".to_owned(),
        None if rule.statuses.is_empty() => "any other answer".to_owned(),
        None => {
            let ended = |status: &u16| if *status == 200 { "an operation ended as failed".to_owned() } else { status.to_string() };
            let statuses: Vec<String> = rule.statuses.iter().map(ended).collect();
            let codes: Vec<String> = rule.codes.iter().map(|code| format!("`{code}`")).collect();
            let rest = if codes.is_empty() { String::new() } else { format!(": {}", codes.join(", ")) };
            format!("{}{rest}", statuses.join(", "))
        }
    };
    let span = |time: Duration| format!("{} s", time.as_secs());
    let patience = match rule.patience {
        Patience::Limits => "yes".to_owned(),
        Patience::UntilFree => "yes; after that until the operation's time-out".to_owned(),
        Patience::WhileBusy => "until the operation's time-out, while something is being done to the resource".to_owned(),
        Patience::AfterCreation(time) => format!("{} after the run itself has made it", span(time)),
        Patience::OtherTokens(tries) => format!("{tries} tries, each with another token"),
        Patience::Anew => "by the image factory, which makes the thing anew (`attempts`)".to_owned(),
        Patience::Never => "no".to_owned(),
    };
    let look = if rule.uncertain { "yes" } else { "" };
    format!("| {} | {cause} | {patience} | {look} | {} |\n", rule.name, rule.why)
}

#[test]
fn the_document_shows_the_table() {
    const BEGIN: &str = "<!-- retry table: begin -->\n";
    const END: &str = "<!-- retry table: end -->";
    let rows: String = TABLE.iter().map(shown).collect();
    let table = format!("| | cause | tried again | looked at first | why |\n|---|---|---|---|---|\n{rows}");
    let file = project("docs/reliability.md");
    let document = fs::read_to_string(&file).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}{table}{END}{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &expected).unwrap();
    } else {
        assert!(document == expected, "docs/reliability.md is behind the table: run with UPDATE_DOCS=1");
    }
}
