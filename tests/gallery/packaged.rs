//! The packaged gallery tasks under Node, as the agent starts them: everything that they read and write passes the WebAssembly host.

use std::time::Duration;

use dtl::cli::logging_command::LoggingCommand;

use super::*;
use crate::packaged::{self, NODES, command, exported, task_folder};

/// Runs a step's packaged task under a Node.
async fn under(major: u32, task: &str, step: Step<'_>, harness: &Harness) -> packaged::Finished {
    packaged::run(&mut command(major, &task_folder(task), &exported(&step, harness))).await
}

/// The value of an output variable.
fn output(finished: &packaged::Finished, name: &str) -> String {
    let mut commands = finished.lines.iter().rev().filter_map(|line| LoggingCommand::parse(line));
    let set = commands.find(|command| command.is("task", "setvariable") && command.property("variable") == Some(name));
    set.unwrap_or_else(|| panic!("no output {name}: {finished:#?}")).data
}

#[tokio::test(flavor = "multi_thread")]
async fn definition_version_promotion_and_retirement_run_under_node() {
    for major in NODES {
        let old = ["0.1.0", "0.2.0"].map(|number| seeded_version("generalized", number, "Succeeded", json!({})));
        let harness = start_with(&old).await;
        let hash = "0f".repeat(32);

        let definition = define(&harness, "windows")
            .input("CreateGallery", "true")
            .input("SecurityType", "TrustedLaunchSupported")
            .input("DisallowedDiskTypes", "Standard_LRS")
            .input("EndOfLifeDate", "2030-06-30");
        let made = under(major, GALLERY, definition, &harness).await;
        made.assert_proven("Succeeded");
        assert_eq!(output(&made, "imageDefinitionId"), compute("galleries/golden/images/windows"));

        let version = publish(&harness, "windows", &compute("virtualMachines/vm-running"))
            .input("StopVM", "deallocate")
            .input("MarkGeneralized", "true")
            .input("TargetRegions", "northeurope=2, eastus")
            .input("AdditionalReplicaSets", "eastus")
            .input("UefiSignatureTemplates", "MicrosoftUefiCertificateAuthorityTemplate")
            .input("UefiKeys", format!("db={}\ndbx=sha256:{hash}", harness.file("keys/ours.der", &certificate())))
            .input("ExcludeFromLatest", "true");
        let made = under(major, VERSION, version, &harness).await;
        made.assert_proven("Succeeded");
        assert_eq!(
            (output(&made, "imageVersion"), output(&made, "imageVersionRegions")),
            ("1.0.0".into(), "westeurope,northeurope,eastus".into())
        );
        assert!(made.says("##vso[task.setprogress") && made.says("North Europe: Completed"), "{made:#?}");
        assert!(made.says("'TargetRegions': westeurope was added"), "{made:#?}");
        let id = output(&made, "imageVersionId");
        let there = harness.resource(&id).await.expect("the version");
        let keys = &there["properties"]["securityProfile"]["uefiSettings"]["additionalSignatures"];
        assert_eq!((&keys["db"][0]["type"], &keys["dbx"][0]["type"]), (&json!("x509"), &json!("sha256")));

        let promotion = on_versions(&harness, "windows").input("Mode", "promote").input("Version", "1.0.0");
        under(major, VERSION, promotion, &harness).await.assert_proven("Succeeded");
        let there = harness.resource(&id).await.expect("the version");
        assert_eq!(there["properties"]["publishingProfile"]["excludeFromLatest"], false);

        let retirement = || on_versions(&harness, "generalized").input("Mode", "retire").input("KeepVersions", "1");
        let dry = under(major, VERSION, retirement().input("DryRun", "true"), &harness).await;
        assert_eq!(output(&dry, "deletedVersions"), "0.1.0");
        assert_eq!(harness.names("Microsoft.Compute/galleries/images/versions").await, ["0.1.0", "0.2.0", "1.0.0"]);
        under(major, VERSION, retirement(), &harness).await.assert_proven("Succeeded");
        assert_eq!(harness.names("Microsoft.Compute/galleries/images/versions").await, ["0.2.0", "1.0.0"]);
        harness.finish().await;
    }
}

/// What passes for a certificate: its bytes are all of ASCII, as the harness writes text.
fn certificate() -> String {
    let der: Vec<u8> = [[0x30, 0x82, 1, 0].as_slice(), &[7; 256]].concat();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(der))
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_inputs_are_told_together_under_node() {
    let harness = start().await;
    for major in NODES {
        let step = publish(&harness, "generalized", &compute("images/image"));
        let step = step.input("TargetRegions", "eastus=0").input("UefiKeys", "db=keys/none.cer");
        let failed = under(major, VERSION, step, &harness).await;
        failed.assert_proven("Failed");
        assert!(failed.says("input 'TargetRegions' is 'eastus=0'") && failed.says("input 'UefiKeys' is 'db=keys/none.cer'"), "{failed:#?}");
        assert!(harness.journal().await.is_empty());
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_azure_refuses_or_fails_at_is_told_under_node() {
    for major in NODES {
        let harness = start().await;
        let other = define(&harness, "generalized").input("HyperVGeneration", "V1");
        let failed = under(major, GALLERY, other, &harness).await;
        failed.assert_proven("Failed");
        assert!(failed.says("hyperVGeneration: it is 'V2', and 'V1' was asked for"), "{failed:#?}");

        let fault = json!([{"path": "versions/.*/regions/northeurope", "provisioning": "Failed",
            "body": {"code": "ReplicationFailed", "message": "no capacity left"}}]);
        harness.faults(&fault).await;
        let version = publish(&harness, "generalized", &compute("images/image")).input("TargetRegions", "westeurope northeurope");
        let failed = under(major, VERSION, version, &harness).await;
        failed.assert_proven("Failed");
        assert!(failed.says("replication to North Europe failed: no capacity left"), "{failed:#?}");
        harness.finish().await;
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_replication_that_goes_on_is_named_when_node_is_cancelled() {
    for major in NODES {
        let harness = start().await;
        harness.settings(&json!({"speed": 1, "durations": {"galleryRegion": 3600}})).await;
        let step = publish(&harness, "generalized", &compute("images/image"));
        let child = command(major, &task_folder(VERSION), &exported(&step, &harness)).spawn().expect("Node starts");
        let begun = std::time::Instant::now();
        while harness.names("Microsoft.Compute/galleries/images/versions").await.is_empty() {
            assert!(begun.elapsed() < Duration::from_mins(1), "no version is made");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let process = child.id().expect("a process that runs").to_string();
        let sent = tokio::process::Command::new("kill").args(["-TERM", &process]).status().await.expect("kill starts");
        assert!(sent.success(), "kill: {sent}");
        let output =
            tokio::time::timeout(Duration::from_mins(1), child.wait_with_output()).await.expect("the task ends").expect("Node ends");
        let log = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{log}");
        assert!(log.contains("##vso[task.complete result=Canceled;]"), "{log}");
        assert!(log.contains(&version_id("generalized", "1.0.0")), "what goes on is named: {log}");
        harness.finish().await;
    }
}
