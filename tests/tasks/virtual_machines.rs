//! Delete, Start and Stop VM.

use serde_json::json;

use super::{assert_failed, with_vm};
use crate::harness::{Harness, LAB};

#[tokio::test]
async fn delete_vm_waits_until_it_is_gone_by_name_or_by_id() {
    for by_id in [false, true] {
        let lab = Harness::start().await;
        let id = with_vm(&lab, "vm1").await;
        let deleted = lab
            .step("AzureDevTestLabsDeleteVM")
            .input("LabVmId", if by_id { id.to_uppercase().replace("/SUBSCRIPTIONS", "/subscriptions") } else { "vm1".to_owned() })
            .run()
            .await;
        assert_eq!(deleted.completed(), "Succeeded", "{deleted}");
        assert!(lab.resource(&id).await.is_none());
        assert!(deleted.summary().contains("Deleted virtual machine"));
        lab.finish().await;
    }
}

#[tokio::test]
async fn deleting_what_is_not_there_succeeds_with_issues() {
    let lab = Harness::start().await;
    for (task, input) in [
        ("AzureDevTestLabsDeleteVM", "LabVmId"),
        ("AzureDevTestLabsDeleteCustomImage", "CustomImageId"),
        ("AzureDevTestLabsDeleteEnvironment", "EnvironmentId"),
    ] {
        let deleted = lab.step(task).input(input, "nobody").run().await;
        assert_eq!(deleted.completed(), "SucceededWithIssues", "{deleted}");
        assert!(deleted.warnings().join("\n").contains("nothing to delete"), "{deleted}");
    }
    let id = format!("{LAB}/users/@me/environments/nobody");
    let deleted = lab.step("AzureDevTestLabsDeleteEnvironment").input("EnvironmentId", id).run().await;
    assert_eq!(deleted.completed(), "SucceededWithIssues", "{deleted}");
    // Azure's answer to the DELETE tells; nothing is asked before.
    assert!(!lab.journal().await.iter().any(|line| line.starts_with("GET") && line.contains("nobody")));
    lab.finish().await;
}

#[tokio::test]
async fn a_machine_stops_and_starts_and_stays_as_it_is_the_second_time() {
    let lab = Harness::start().await;
    let id = with_vm(&lab, "vm1").await;
    for (task, state, posts) in [
        ("AzureDevTestLabsStartVM", "running already", 0),
        ("AzureDevTestLabsStopVM", "is stopped", 1),
        ("AzureDevTestLabsStopVM", "stopped already", 1),
        ("AzureDevTestLabsStartVM", "is running", 2),
    ] {
        let step = lab.step(task).input("LabVmId", &id).run().await;
        assert_eq!(step.completed(), "Succeeded", "{step}");
        assert!(step.log().contains(state), "{step}");
        let sent = lab.journal().await.iter().filter(|line| line.starts_with("POST ") && line.contains("/virtualmachines/vm1/")).count();
        assert_eq!(sent, posts, "{step}");
    }
    lab.finish().await;
}

#[tokio::test]
async fn starting_stopping_or_capturing_what_is_not_there_fails() {
    let lab = Harness::start().await;
    for task in ["AzureDevTestLabsStartVM", "AzureDevTestLabsStopVM", "AzureDevTestLabsCreateCustomImage"] {
        let step = lab.step(task).input("LabVmId", "nobody").input("NewCustomImageName", "i").input("OsType", "Linux").run().await;
        assert_failed(&step, &["input 'LabVmId': the lab 'contoso' has no virtual machine 'nobody'"]);
    }
    lab.finish().await;
}

#[tokio::test]
async fn a_connection_by_federation_signs_in_too() {
    let lab = Harness::start().await;
    let id = with_vm(&lab, "vm1").await;
    let deleted = lab.step("AzureDevTestLabsDeleteVM").input("LabVmId", id).federated().run().await;
    assert_eq!(deleted.completed(), "Succeeded", "{deleted}");
    lab.finish().await;
}

#[tokio::test]
async fn a_wrong_secret_fails_with_the_remedy() {
    let lab = Harness::start().await;
    let id = dtl::cli::environment::connection_id("local");
    let step = lab
        .step("AzureDevTestLabsDeleteVM")
        .input("LabVmId", "vm1")
        .environment(&format!("ENDPOINT_AUTH_PARAMETER_{id}_SERVICEPRINCIPALKEY"), "not-the-secret-at-all")
        .environment(
            &format!("ENDPOINT_AUTH_{id}"),
            format!(
                r#"{{"scheme":"ServicePrincipal","parameters":{{"tenantid":"{}","serviceprincipalid":"{}","serviceprincipalkey":"not-the-secret-at-all"}}}}"#,
                lab.ready().tenant_id,
                lab.ready().client_id
            ),
        )
        .run()
        .await;
    assert_failed(&step, &["AADSTS7000215"]);
    assert!(step.log().contains("hint: "), "{step}");
    assert!(!step.lines.iter().any(|line| line.contains("not-the-secret") && !line.contains("task.setsecret")), "{step}");
    lab.finish().await;
}

#[tokio::test]
async fn a_machine_that_is_still_being_made_is_waited_for() {
    let lab = Harness::start().await;
    let id = with_vm(&lab, "vm1").await;
    let busy = json!({ "error": { "code": "ResourceIsNotInValidState", "message": "The resource is not in a valid state." } });
    lab.faults(&json!([{ "method": "POST", "path": "/virtualmachines/vm1/stop", "status": 409, "body": busy, "times": 1 }])).await;
    let stopped = lab.step("AzureDevTestLabsStopVM").input("LabVmId", &id).run().await;
    assert_eq!(stopped.completed(), "Succeeded", "{stopped}");
    assert!(stopped.log().contains("Waiting until it is free."), "{stopped}");
    lab.finish().await;
}

#[tokio::test]
async fn a_machine_that_is_settled_is_not_waited_for_in_vain() {
    let lab = Harness::start().await;
    let id = with_vm(&lab, "vm1").await;
    let busy = json!({ "error": { "code": "ResourceIsNotInValidState", "message": "The resource is not in a valid state." } });
    lab.faults(&json!([{ "method": "POST", "path": "/virtualmachines/vm1/stop", "status": 409, "body": busy, "times": 99 }])).await;
    let stopped = lab.step("AzureDevTestLabsStopVM").input("LabVmId", &id).run().await;
    assert_failed(&stopped, &["failed to stop the virtual machine 'vm1': ResourceIsNotInValidState"]);
    lab.finish().await;
}
