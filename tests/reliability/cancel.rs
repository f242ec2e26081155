//! Cancellation and time-outs on the native host: what goes on is stopped, what this run made is removed where that is wanted, and what
//! remains is named. `tests/packaged.rs` shows the same under Node, with the agent's signals.

use std::time::{Duration, Instant};

use dtl::agent::Outcome;
use serde_json::json;

use super::fast_host::FastHost;
use crate::{
    harness::{Finished, Harness, LAB, Step},
    tasks::vm_template,
};

const LIMIT: Duration = Duration::from_mins(1);
const VM: &str = "Microsoft.DevTestLab/labs/virtualmachines";
const DEPLOYMENT: &str = "Microsoft.Resources/deployments";

fn create_vm<'a>(lab: &'a Harness, name: &str) -> Step<'a> {
    let template = lab.file("vm.json", &vm_template(&[]).to_string());
    lab.step("AzureDevTestLabsCreateVM")
        .input("VirtualMachineName", name)
        .input("TemplateFile", template)
        .input("ParameterOverrides", "-password 'Passw0rd!-x'")
}

/// Nothing ends by itself while a test looks.
async fn slow(lab: &Harness) {
    lab.settings(&json!({"speed": 1})).await;
}

/// Waits until the emulator shows something.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a step and has the agent cancel it once a resource of this type is there. Tells how long it took to end from then.
async fn cancelled_at(lab: &Harness, step: Step<'_>, kind: &str) -> (Finished, Duration) {
    let canceller = step.canceller();
    let cancel = async {
        until(kind, async || (!lab.names(kind).await.is_empty()).then_some(())).await;
        canceller.cancel();
        Instant::now()
    };
    let (finished, since) = tokio::join!(step.run(), cancel);
    assert_eq!(finished.completed(), "Canceled", "{finished}");
    (finished, since.elapsed())
}

async fn deployment_states(lab: &Harness) -> Vec<String> {
    let resources = lab.resources().await;
    let deployments = resources.iter().filter(|resource| resource["type"] == DEPLOYMENT);
    deployments.map(|deployment| deployment["properties"]["provisioningState"].as_str().unwrap_or_default().to_owned()).collect()
}

#[track_caller]
fn assert_warned(finished: &Finished, parts: &[&str]) {
    let warnings = finished.warnings();
    let told = warnings.iter().any(|warning| parts.iter().all(|part| warning.to_lowercase().contains(&part.to_lowercase())));
    assert!(told, "no warning holds all of {parts:?}\n{finished}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_the_deployment_is_cancelled_and_the_machine_is_named_with_the_command_that_removes_it() {
    let lab = Harness::start().await;
    slow(&lab).await;
    let (finished, took) = cancelled_at(&lab, create_vm(&lab, "vm1"), VM).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(deployment_states(&lab).await, ["Canceled"], "{finished}");
    assert_warned(&finished, &["deployment 'dtl-vm1-", "is cancelled"]);
    assert_warned(&finished, &["virtual machine 'vm1'", &format!("az resource delete --ids \"{LAB}/virtualmachines/vm1\"")]);
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_goes_on_and_is_named_with_the_command_that_cancels_it() {
    let lab = Harness::start().await;
    slow(&lab).await;
    let (finished, _) = cancelled_at(&lab, create_vm(&lab, "vm1").input("OnCancel", "leave"), VM).await;
    assert_eq!(deployment_states(&lab).await, ["Running"], "{finished}");
    assert_warned(&finished, &["goes on in Azure", "az deployment group cancel --subscription", "--name \"dtl-vm1-"]);
    assert_warned(&finished, &["virtual machine 'vm1'", "remains"]);
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_run_has_made_is_removed_on_request() {
    let lab = Harness::start().await;
    lab.settings(&json!({"speed": 1, "durations": {"deletion": 0.1}})).await;
    let (finished, took) = cancelled_at(&lab, create_vm(&lab, "vm1").input("OnCancel", "removeCreated"), VM).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(deployment_states(&lab).await, ["Canceled"], "{finished}");
    let asked = lab.journal().await.iter().any(|line| line.starts_with("DELETE") && line.ends_with("/virtualmachines/vm1"));
    assert!(asked, "{finished}");
    // Azure may refuse to delete what is still being made: then it is named, with the command.
    let refused = finished.warnings().iter().any(|warning| warning.contains("az resource delete --ids"));
    if !refused {
        until("the end of vm1", async || lab.names(VM).await.is_empty().then_some(())).await;
    }
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_is_never_removed() {
    let lab = Harness::start().await;
    let made = create_vm(&lab, "vm1").run().await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    slow(&lab).await;
    let again = create_vm(&lab, "vm1").input("OnCancel", "removeCreated");
    let canceller = again.canceller();
    let cancel = async {
        until("a second deployment", async || (deployment_states(&lab).await.len() == 2).then_some(())).await;
        canceller.cancel();
    };
    let (finished, ()) = tokio::join!(again.run(), cancel);
    assert_eq!(finished.completed(), "Canceled", "{finished}");
    assert_warned(&finished, &["was there before the run", "virtual machine 'vm1'"]);
    assert!(lab.journal().await.iter().all(|line| !line.starts_with("DELETE")), "{finished}");
    assert_eq!(lab.names(VM).await, ["vm1"]);
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_and_environments_are_removed_or_named_too() {
    let lab = Harness::start().await;
    let made = create_vm(&lab, "vm1").run().await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    for (removes, verb) in [("removeCreated", "DELETE"), ("leave", "PUT")] {
        slow(&lab).await;
        let image =
            lab.step("AzureDevTestLabsCreateCustomImage").input("NewCustomImageName", format!("image-{removes}")).input("LabVmId", "vm1");
        let image = image.input("OsType", "Windows").input("WindowsOsState", "NonSysprepped").input("OnCancel", removes);
        let canceller = image.canceller();
        let environment = lab
            .step("AzureDevTestLabsCreateEnvironment")
            .input("EnvironmentName", format!("env-{removes}"))
            .input("RepositoryId", "Public Artifact Repo")
            .input("TemplateId", "WebApp")
            .input("OnCancel", removes);
        let other = environment.canceller();
        let cancel = async {
            for name in [format!("/customimages/image-{removes}"), format!("/environments/env-{removes}")] {
                until(&name, async || {
                    lab.journal().await.iter().any(|line| line.starts_with("PUT") && line.ends_with(&name)).then_some(())
                })
                .await;
            }
            canceller.cancel();
            other.cancel();
        };
        let (image, environment, ()) = tokio::join!(image.run(), environment.run(), cancel);
        for (finished, name) in [(image, format!("/customimages/image-{removes}")), (environment, format!("/environments/env-{removes}"))] {
            assert_eq!(finished.completed(), "Canceled", "{finished}");
            assert_warned(&finished, &[&name]);
            let asked =
                lab.journal().await.iter().any(|line| line.starts_with(verb) && line.to_lowercase().ends_with(&name.to_lowercase()));
            assert!(asked, "{verb} {name}\n{finished}");
        }
    }
    lab.settings(&json!({"speed": 100_000})).await;
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_out_ends_as_a_cancellation_does() {
    let lab = Harness::start().await;
    slow(&lab).await;
    let finished = create_vm(&lab, "vm1").input("OperationTimeoutInMinutes", "1").run_on(FastHost::new).await;
    assert_eq!(finished.completed(), "Failed", "{finished}");
    assert_eq!(deployment_states(&lab).await, ["Canceled"], "{finished}");
    assert_warned(&finished, &["deployment 'dtl-vm1-", "is cancelled"]);
    assert_warned(&finished, &["/virtualmachines/vm1"]);
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_what_it_leaves_behind() {
    let lab = Harness::start().await;
    lab.faults(&json!([{"path": "/virtualmachines/vm1$", "provisioning": "Failed", "body": {"code": "SkuNotAvailable", "message": "no"}}]))
        .await;
    let finished = create_vm(&lab, "vm1").run().await;
    assert_eq!(finished.outcome, Outcome::Failed, "{finished}");
    assert_warned(&finished, &["this remains in Azure: virtual machine 'vm1', Failed", "to remove it: az resource delete --ids"]);
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_off_factory_cancels_its_deployments_and_says_who_goes_on() {
    let harness = crate::factory::example().await;
    // Long enough to be broken off, short enough to be waited for by the run that goes on: Azure finishes a machine that it has begun.
    harness.settings(&json!({"speed": 1, "durations": {"virtualMachine": 6}})).await;
    let step = crate::factory::step(&harness, "run", &crate::factory::example_configuration()).input("RunId", "7");
    let canceller = step.canceller();
    let cancel = async {
        until("four deployments", async || (deployment_states(&harness).await.len() == 4).then_some(())).await;
        canceller.cancel();
    };
    let (finished, ()) = tokio::join!(step.run(), cancel);
    assert_eq!(finished.completed(), "Canceled", "{finished}");
    assert_eq!(deployment_states(&harness).await, ["Canceled"; 4], "{finished}");
    assert_warned(&finished, &["is cancelled; its record remains", "/virtualmachines/", "a run with the id '7' goes on with it"]);
    // And it does.
    harness.settings(&json!({"speed": 30_000})).await;
    let again =
        crate::factory::step(&harness, "run", &crate::factory::example_configuration()).input("RunId", "7").run_on(FastHost::new).await;
    assert_eq!(again.outcome, Outcome::Succeeded, "{again}");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_removes_nothing_refuses_to_be_asked() {
    let lab = Harness::start().await;
    let finished =
        lab.step("AzureDevTestLabsPopulateEnvironment").input("EnvironmentId", "env1").input("OnCancel", "removeCreated").run().await;
    assert!(
        finished.errors().iter().any(|error| error.contains("'OnCancel'") && error.contains("leave or cancelDeployment")),
        "{finished}"
    );
    let finished = create_vm(&lab, "vm1").input("OnCancel", "sometimes").run().await;
    assert!(finished.errors().iter().any(|error| error.contains("'OnCancel'") && error.contains("removeCreated")), "{finished}");
    assert_eq!(lab.journal().await, Vec::<String>::new());
    lab.finish().await;
}
