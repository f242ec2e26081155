//! Compute galleries: definitions, versions from every kind of source, promotion and retirement, on the emulator in process.

mod bad_input;
mod definition;
mod emulator;
mod judge;
mod packaged;
mod retire;
mod version;

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use dtl::agent::Outcome;
use serde_json::{Value, json};

use crate::harness::{Finished, Harness, RESOURCE_GROUP, SUBSCRIPTION, Step, project, seed_with_lab};

const API: &str = "2024-03-03";
const GALLERY: &str = "AzureComputeGalleryImageDefinition";
const VERSION: &str = "AzureComputeGalleryImageVersion";

/// The id of something in the resource group.
pub fn id(rest: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers/{rest}")
}

pub fn compute(rest: &str) -> String {
    id(&format!("Microsoft.Compute/{rest}"))
}

fn version_id(definition: &str, number: &str) -> String {
    compute(&format!("galleries/golden/images/{definition}/versions/{number}"))
}

fn resource(id: &str, properties: impl Into<Value>) -> Value {
    let pairs: Vec<&str> = id.split('/').skip(7).collect();
    let kinds: Vec<&str> = pairs.iter().step_by(2).copied().collect();
    let namespace = id.split('/').nth(6).unwrap_or_default();
    json!({"id": id, "name": pairs.last(), "type": format!("{namespace}/{}", kinds.join("/")), "location": "westeurope", "properties": properties.into()})
}

fn machine(name: &str, power: &str, generalized: bool) -> Value {
    let mut statuses = vec![json!({"code": format!("PowerState/{power}")})];
    if generalized {
        statuses.push(json!({"code": "OSState/generalized"}));
    }
    resource(
        &compute(&format!("virtualMachines/{name}")),
        json!({
            "vmId": format!("id-of-{name}"),
            "provisioningState": "Succeeded",
            "storageProfile": {
                "osDisk": {"osType": "Windows", "createOption": "FromImage", "diskSizeGB": 127, "managedDisk": {"id": compute(&format!("disks/{name}-os"))}},
                "dataDisks": [],
            },
            "instanceView": {"hyperVGeneration": "V2", "statuses": statuses},
        }),
    )
}

fn disk(id: &str, os: Option<&str>, size: u64) -> Value {
    let mut properties = json!({"diskSizeGB": size, "diskState": "Unattached", "hyperVGeneration": "V2", "uniqueId": id,
        "creationData": {"createOption": "Empty"}, "provisioningState": "Succeeded"});
    if let Some(os) = os {
        properties["osType"] = json!(os);
    }
    resource(id, properties)
}

/// One of everything that a version can be made from.
fn sources() -> Vec<Value> {
    vec![
        machine("vm-generalized", "deallocated", true),
        machine("vm-specialized", "stopped", false),
        machine("vm-running", "running", false),
        machine("vm-of-lab", "deallocated", true),
        resource(
            &compute("images/image"),
            json!({"hyperVGeneration": "V2", "provisioningState": "Succeeded", "storageProfile": {
                "osDisk": {"osType": "Windows", "osState": "Generalized", "diskSizeGB": 127},
                "dataDisks": [{"lun": 7, "diskSizeGB": 16}]}}),
        ),
        disk(&compute("snapshots/os"), Some("Windows"), 127),
        disk(&compute("disks/os"), Some("Windows"), 127),
        disk(&compute("snapshots/data"), None, 64),
        disk(&compute("disks/data"), None, 64),
        disk(&compute("disks/huge"), None, 2048),
        resource(&id("Microsoft.Storage/storageAccounts/vhdstore"), json!({"provisioningState": "Succeeded"})),
        resource(
            &id("Microsoft.DevTestLab/labs/contoso/virtualmachines/labvm"),
            json!({"osType": "Windows", "provisioningState": "Succeeded", "computeId": compute("virtualMachines/vm-of-lab")}),
        ),
        resource(
            &id("Microsoft.DevTestLab/labs/contoso/customimages/of-image"),
            json!({"provisioningState": "Succeeded", "managedImageId": compute("images/image"),
                "vm": {"windowsOsInfo": {"windowsOsState": "SysprepApplied"}}}),
        ),
        resource(
            &id("Microsoft.DevTestLab/labs/contoso/customimages/of-snapshot"),
            json!({"provisioningState": "Succeeded", "managedSnapshotId": compute("snapshots/os"),
                "vm": {"windowsOsInfo": {"windowsOsState": "NonSysprepped"}}}),
        ),
    ]
}

/// An emulator with the sources, a gallery, and a definition of each state: `generalized` and `specialized`.
async fn start() -> Harness {
    start_with(&[]).await
}

pub async fn start_with(more: &[Value]) -> Harness {
    let mut resources = sources();
    resources.push(resource(&compute("galleries/golden"), json!({"provisioningState": "Succeeded"})));
    for state in ["Generalized", "Specialized"] {
        let name = state.to_lowercase();
        let identifier = json!({"publisher": "contoso", "offer": "server", "sku": name});
        resources.push(resource(
            &compute(&format!("galleries/golden/images/{name}")),
            json!({"osType": "Windows", "osState": state, "hyperVGeneration": "V2", "architecture": "x64", "identifier": identifier,
                "features": [], "provisioningState": "Succeeded"}),
        ));
    }
    resources.extend_from_slice(more);
    Harness::seeded(&seed_with_lab("contoso", &resources)).await
}

/// A step of the definition task with everything that is required.
pub fn define<'a>(harness: &'a Harness, name: &str) -> Step<'a> {
    let step = harness.step(GALLERY).without_input("LabId");
    [
        ("ResourceGroupName", RESOURCE_GROUP),
        ("GalleryName", "golden"),
        ("DefinitionName", name),
        ("OsType", "Windows"),
        ("OsState", "Generalized"),
        ("Publisher", "contoso"),
        ("Offer", "server"),
        ("Sku", name),
    ]
    .into_iter()
    .fold(step, |step, (input, value)| step.input(input, value))
}

/// A step of the version task on a definition.
pub fn on_versions<'a>(harness: &'a Harness, definition: &str) -> Step<'a> {
    let step = harness.step(VERSION).without_input("LabId");
    step.input("ResourceGroupName", RESOURCE_GROUP).input("GalleryName", "golden").input("DefinitionName", definition)
}

pub fn publish<'a>(harness: &'a Harness, definition: &str, source: &str) -> Step<'a> {
    on_versions(harness, definition).input("SourceId", source)
}

fn succeeded(finished: Finished) -> Finished {
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    finished
}

/// A version that a test puts in place by itself.
pub fn seeded_version(definition: &str, number: &str, state: &str, publishing: impl Into<Value>) -> Value {
    resource(
        &version_id(definition, number),
        json!({"provisioningState": state, "storageProfile": {"source": {"id": compute("images/image")}, "osDiskImage": {"sizeInGB": 127}},
            "publishingProfile": publishing.into()}),
    )
}

/// What was written: methods but GET, and the path's end after the resource group.
async fn writes(harness: &Harness) -> Vec<String> {
    let journal = harness.journal().await;
    journal.into_iter().filter(|line| !line.starts_with("GET ")).map(|line| line.replace(&id(""), "")).collect()
}

#[tokio::test]
async fn the_example_runs_as_the_document_says() {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dtl"));
    command.args(["run", "examples/gallery.yml", "--speed", "3000"]).current_dir(project("")).env("NO_COLOR", "1").kill_on_drop(true);
    let output = command.output().await.expect("dtl runs");
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{log}\n{}", String::from_utf8_lossy(&output.stderr));
    for line in ["Publishing the image version 1.0.0", "The image version '1.0.0' is promoted.", "1.0.0 stays: it is the newest"] {
        assert!(log.contains(line), "{line}\n{log}");
    }
}
