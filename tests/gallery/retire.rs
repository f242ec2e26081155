//! Retirement of old versions.

use super::*;

fn version(number: &str, state: &str, publishing: Value) -> Value {
    seeded_version("generalized", number, state, publishing)
}

fn machine_on(name: &str, number: &str) -> Value {
    let mut machine = machine(name, "running", false);
    machine["properties"]["storageProfile"]["imageReference"] = json!({"id": version_id("generalized", number)});
    machine
}

fn retire(harness: &Harness) -> Step<'_> {
    on_versions(harness, "generalized").input("Mode", "retire")
}

#[tokio::test]
async fn old_versions_go_and_whatever_is_needed_stays() {
    let mut blocked = version("1.2.0", "Succeeded", json!({"endOfLifeDate": "2099-01-01T00:00:00Z"}));
    blocked["properties"]["safetyProfile"] = json!({"blockDeletionBeforeEndOfLife": true});
    let scale_set = resource(
        &compute("virtualMachineScaleSets/farm"),
        json!({"virtualMachineProfile": {"storageProfile": {"imageReference": {"id": version_id("generalized", "1.1.0")}}}}),
    );
    let harness = start_with(&[
        version("1.0.0", "Succeeded", json!({})),
        version("1.1.0", "Succeeded", json!({})),
        blocked,
        version("1.3.0", "Succeeded", json!({})),
        version("1.4.0", "Failed", json!({})),
        version("1.9.0", "Succeeded", json!({})),
        version("1.10.0", "Succeeded", json!({"excludeFromLatest": true})),
        machine_on("user", "1.3.0"),
        scale_set,
    ])
    .await;
    let dry = succeeded(retire(&harness).input("KeepVersions", "1").input("DryRun", "true").run().await);
    assert_eq!((dry.output("deletedVersions"), writes(&harness).await), ("1.4.0,1.0.0".into(), vec![]));
    let done = succeeded(retire(&harness).input("KeepVersions", "1").run().await);
    assert_eq!(done.output("deletedVersions"), "1.4.0,1.0.0");
    assert_eq!(done.output("keptVersions"), "1.10.0,1.9.0,1.3.0,1.2.0,1.1.0");
    let log = done.log();
    for line in [
        "1.10.0 stays: it is the newest",
        "1.9.0 stays: it is what the latest version means",
        "1.3.0 stays: /subscriptions/",
        "1.2.0 stays: its deletion is blocked until 2099-01-01",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    assert_eq!(harness.names("Microsoft.Compute/galleries/images/versions").await, ["1.1.0", "1.10.0", "1.2.0", "1.3.0", "1.9.0"]);
    assert!(
        succeeded(retire(&harness).input("KeepVersions", "5").run().await).log().contains("No version of 'generalized' is to be retired.")
    );
    harness.finish().await;
}

#[tokio::test]
async fn a_deletion_that_fails_fails_the_step_after_the_others_were_tried() {
    let versions = ["1.0.0", "1.1.0", "1.2.0"].map(|number| version(number, "Succeeded", json!({})));
    let harness = start_with(&versions).await;
    let error = json!({"error": {"code": "ScopeLocked", "message": "The scope is locked."}});
    harness.faults(&json!([{"method": "DELETE", "path": "versions/1.0.0", "status": 409, "body": error, "times": 9}])).await;
    let failed = retire(&harness).input("KeepVersions", "1").run().await;
    assert_eq!(failed.outcome, Outcome::Failed, "{failed}");
    assert!(failed.errors().join("\n").contains("failed to delete the image version '1.0.0': ScopeLocked"), "{failed}");
    assert_eq!(harness.names("Microsoft.Compute/galleries/images/versions").await, ["1.0.0", "1.2.0"]);
    harness.finish().await;
}
