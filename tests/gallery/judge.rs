//! Microsoft's compute SDK for Python and `az` read what the tasks made, and the tasks accept what these made.

use std::path::Path;

use tokio::process::Command;

use super::*;
use crate::judges::sdk;

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk_reads_what_the_tasks_made_and_the_other_way_round() {
    let Some(python) = sdk::python_environment("gallery").await else { return };
    let harness = start().await;
    succeeded(define(&harness, "judged").input("SecurityType", "TrustedLaunchSupported").run().await);
    let machine = compute("virtualMachines/vm-generalized");
    let published = publish(&harness, "judged", &machine)
        .input("TargetRegions", "westeurope eastus=2=standard_zrs")
        .input("ExcludedRegions", "eastus")
        .input("Tags", "team=build");
    let published = succeeded(published.run().await);
    let number = published.output("imageVersion");

    let definition_body = json!({"location": "westeurope", "properties": {"osType": "Windows", "osState": "Generalized", "hyperVGeneration": "V2",
        "architecture": "x64", "features": [], "identifier": {"publisher": "contoso", "offer": "server", "sku": "theirs"}}});
    let version_body = json!({"location": "westeurope", "properties": {
        "storageProfile": {"source": {"id": compute("images/image")}},
        "publishingProfile": {"targetRegions": [{"name": "westeurope", "regionalReplicaCount": 1}], "excludeFromLatest": true}}});
    let task = json!({"ready": harness.ready(), "group": RESOURCE_GROUP, "gallery": "golden",
        "read": {"definition": "judged", "version": number},
        "make": {"definition": "theirs", "definitionBody": definition_body, "version": "3.1.4", "versionBody": version_body}});
    let output = sdk::run(Command::new(python).arg(project("tests/judges/gallery/judge.py")), &harness, &task).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["tags"]["team"], "build");
    shown["tags"] = Value::Null;
    let expected = json!({
        "osType": "Windows", "osState": "Generalized", "generation": "V2", "sku": "judged",
        "features": {"SecurityType": "TrustedLaunchSupported"}, "versions": [number], "state": "Succeeded", "replication": "Completed",
        "regions": {"West Europe": [1, "Standard_LRS", false], "East US": [2, "Standard_ZRS", true]},
        "excluded": false, "source": machine, "tags": null,
    });
    assert_eq!(shown, expected);

    // The tasks take over what the SDK made: the definition as it is, the version for promotion, and the next number.
    succeeded(define(&harness, "theirs").run().await);
    let promoted =
        on_versions(&harness, "theirs").input("Mode", "promote").input("Version", "3.1.4").input("TargetRegions", "westeurope eastus");
    succeeded(promoted.run().await);
    let next = succeeded(publish(&harness, "theirs", &machine).input("Version", "auto:minor").run().await);
    assert_eq!(next.output("imageVersion"), "3.2.0");
    harness.finish().await;
}

/// A command of `az` and, by JSON pointer, what it is to print.
fn az(arguments: &str, expected: &[(&str, Value)]) -> Value {
    let place = ["--resource-group", RESOURCE_GROUP, "--gallery-name", "golden"];
    let words: Vec<&str> = arguments.split(' ').chain(place).collect();
    let expected: serde_json::Map<String, Value> = expected.iter().map(|(pointer, value)| ((*pointer).to_owned(), value.clone())).collect();
    json!({"arguments": words, "expect": expected})
}

/// Runs commands of `az`, all of which must print what is expected.
async fn run_az(python: &Path, harness: &Harness, commands: Vec<Value>) {
    // Asking soon is for `az`; the tasks go on as they always do.
    sdk::hurry(harness).await;
    let task = json!({"ready": harness.ready(), "commands": commands});
    let mut command = Command::new(python);
    let output = sdk::run(command.arg(project("tests/judges/az/galleries.py")), harness, &task).await;
    let lines = sdk::lines(&output);
    let failed: Vec<_> = lines.iter().filter_map(|line| Some(format!("{}: {}", line.operation, line.error.as_ref()?))).collect();
    assert!(failed.is_empty() && output.status.success(), "{failed:#?}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(lines.len() > commands.len(), "{lines:#?}");
    harness.no_faults().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn az_reads_what_the_tasks_made_and_the_tasks_take_what_az_made() {
    let Some(python) = sdk::az().await else { return };
    let harness = start().await;
    let image = compute("images/image");
    let definition = define(&harness, "ours")
        .input("SecurityType", "TrustedLaunchSupported")
        .input("Features", "IsHibernateSupported=true")
        .input("MinimumVCPUs", "2")
        .input("Description", "made by a task");
    succeeded(definition.run().await);
    let published = publish(&harness, "ours", &image)
        .input("Version", "1.2.3")
        .input("TargetRegions", "westeurope northeurope=2=standard_zrs")
        .input("AdditionalReplicaSets", "westeurope=1")
        .input("UefiSignatureTemplates", "MicrosoftWindowsTemplate")
        .input("EndOfLifeDate", "2029-12-31")
        .input("ExcludeFromLatest", "true")
        .input("Tags", "team=build");
    succeeded(published.run().await);

    let ours = "--gallery-image-definition ours";
    let theirs = "--gallery-image-definition theirs";
    let (os, data) = (compute("snapshots/os"), compute("snapshots/data"));
    let commands = vec![
        az(
            &format!("sig image-definition show {ours}"),
            &[
                ("/osState", json!("Generalized")),
                ("/features/0/value", json!("true")),
                ("/recommended/vCPUs/min", json!(2)),
                ("/description", json!("made by a task")),
            ],
        ),
        az(
            &format!("sig image-version show {ours} --gallery-image-version 1.2.3 --expand ReplicationStatus"),
            &[
                ("/provisioningState", json!("Succeeded")),
                ("/publishingProfile/excludeFromLatest", json!(true)),
                ("/publishingProfile/targetRegions/0/additionalReplicaSets/0/storageAccountType", json!("PremiumV2_LRS")),
                ("/publishingProfile/targetRegions/1/regionalReplicaCount", json!(2)),
                ("/publishingProfile/targetRegions/1/storageAccountType", json!("Standard_ZRS")),
                ("/replicationStatus/aggregatedState", json!("Completed")),
                ("/storageProfile/source/id", json!(image)),
                ("/tags/team", json!("build")),
            ],
        ),
        az(&format!("sig image-version list {ours}"), &[("/0/name", json!("1.2.3"))]),
        az("sig image-definition list", &[]),
        // Without features: `az` adds those that Azure gives a definition of its own accord.
        az(
            &format!(
                "sig image-definition create {theirs} --publisher contoso --offer server --sku theirs --os-type Windows --os-state Generalized --hyper-v-generation V2 --location westeurope"
            ),
            &[],
        ),
        az(
            &format!(
                "sig image-version create {theirs} --gallery-image-version 3.0.0 --managed-image {image} --location westeurope --target-regions westeurope=1 northeurope=2=premium_lrs --exclude-from-latest true --end-of-life-date 2029-12-31 --tags team=az"
            ),
            &[("/provisioningState", json!("Succeeded"))],
        ),
        az(
            &format!(
                "sig image-version create {theirs} --gallery-image-version 3.0.1 --os-snapshot {os} --data-snapshots {data} --data-snapshot-luns 4 --location westeurope --replica-count 2"
            ),
            &[("/storageProfile/dataDiskImages/0/lun", json!(4))],
        ),
    ];
    run_az(&python, &harness, commands).await;

    succeeded(define(&harness, "theirs").input("ReleaseNoteUri", "https://contoso.example/notes").run().await);
    let promoted = on_versions(&harness, "theirs").input("Mode", "promote").input("Version", "3.0.0");
    let promoted = succeeded(promoted.input("TargetRegions", "westeurope northeurope eastus").run().await);
    assert_eq!(promoted.output("imageVersionRegions"), "westeurope,northeurope,eastus");
    let made_by_az = version_id("theirs", "3.0.1");
    let next = succeeded(publish(&harness, "theirs", &made_by_az).input("Version", "auto:minor").run().await);
    assert_eq!(next.output("imageVersion"), "3.1.0");
    let retired = on_versions(&harness, "theirs").input("Mode", "retire").input("KeepVersions", "1").run().await;
    assert_eq!(succeeded(retired).output("deletedVersions"), "3.0.1,3.0.0");

    let commands = vec![
        az(&format!("sig image-definition show {theirs}"), &[("/releaseNoteUri", json!("https://contoso.example/notes"))]),
        az(
            &format!("sig image-version list {theirs}"),
            &[
                ("/0/name", json!("3.1.0")),
                ("/0/storageProfile/source/id", json!(made_by_az)),
                ("/0/storageProfile/dataDiskImages/0/lun", json!(4)),
            ],
        ),
        az(
            &format!("sig image-version update {ours} --gallery-image-version 1.2.3 --set publishingProfile.excludeFromLatest=false"),
            &[("/publishingProfile/excludeFromLatest", json!(false))],
        ),
        az(&format!("sig image-version delete {theirs} --gallery-image-version 3.1.0"), &[]),
        az(&format!("sig image-definition delete {theirs}"), &[]),
    ];
    run_az(&python, &harness, commands).await;
    harness.finish().await;
}
