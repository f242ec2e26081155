//! Custom images.

use serde_json::json;

use super::client::{Azure, DTL, GROUP, LAB, linux, windows};

fn path(name: &str) -> String {
    format!("{LAB}/customimages/{name}?api-version={DTL}")
}

#[tokio::test]
async fn a_specialized_image_gains_a_snapshot_and_leaves_the_machine_running() {
    let azure = Azure::start().await;
    azure.machine("vm", linux()).await;
    let body = json!({"properties": {"vm": {"linuxOsInfo": {"linuxOsState": "NonDeprovisioned"}, "sourceVmId": format!("{LAB}/virtualmachines/vm")}}});
    let answer = azure.put(&path("Image_1"), body.clone()).await.expect(201);
    assert_eq!(answer.body["properties"]["provisioningState"], "Creating");
    assert_eq!(answer.body["properties"]["vm"]["sourceVmId"], format!("{}/virtualmachines/vm", LAB.to_lowercase()));
    assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}));
    let image = azure.get(&path("image_1")).await.expect(200).body;
    let snapshot = format!("{}/providers/microsoft.compute/snapshots/image_1", GROUP.to_lowercase());
    assert_eq!(image["properties"]["managedSnapshotId"], snapshot);
    azure.get(&format!("{snapshot}?api-version=2024-03-02")).await.expect(200);
    let machine = azure.get(&format!("{LAB}/virtualmachines/vm?api-version={DTL}")).await.body;
    assert_eq!(machine["properties"]["lastKnownPowerState"], "Running");

    azure.put(&path("image_1"), body).await.expect(200);
    let other = json!({"properties": {"vhd": {"imageName": "https://x/y.vhd", "osType": "Linux", "sysPrep": false}}});
    azure.put(&path("image_1"), other).await.refused(409, "CannotSetProperty");

    let answer = azure.delete(&path("image_1")).await.expect(202);
    assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}));
    azure.get(&path("image_1")).await.refused(404, "ResourceNotFound");
    azure.get(&format!("{snapshot}?api-version=2024-03-02")).await.refused(404, "ResourceNotFound");
    azure.delete(&path("image_1")).await.expect(204);
}

#[tokio::test]
async fn a_generalized_image_makes_machines_and_ends_its_source() {
    let azure = Azure::start().await;
    azure.machine("gold", windows(&["windows-sysprep"])).await;
    let body = json!({"properties": {"vm": {"windowsOsInfo": {"windowsOsState": "SysprepApplied"}, "sourceVmId": format!("{LAB}/virtualmachines/gold")}}});
    let answer = azure.put(&path("gold"), body).await.expect(201);
    assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}));
    let image = azure.get(&path("gold")).await.body;
    assert!(image["properties"]["managedImageId"].as_str().is_some_and(|id| id.ends_with("/images/gold")), "{image:#}");
    let body = json!({"properties": {"customImageId": format!("{LAB}/customImages/gold"), "size": "Standard_D2s_v5"}});
    let machine = azure.machine("copy", body).await;
    assert_eq!(machine["properties"]["osType"], "Windows");
    assert_eq!(machine["properties"]["virtualMachineCreationSource"], "FromCustomImage");
}

#[tokio::test]
async fn while_an_image_is_taken_the_machine_is_left_alone() {
    let azure = Azure::at_speed(60.0, None).await;
    azure.control("settings", json!({"durations": {"virtualMachine": 0, "customImage": 60}})).await;
    azure.machine("vm", linux()).await;
    let body = json!({"properties": {"vm": {"linuxOsInfo": {"linuxOsState": "NonDeprovisioned"}, "sourceVmId": format!("{LAB}/virtualmachines/vm")}}});
    let answer = azure.put(&path("one"), body.clone()).await.expect(201);
    azure.put(&path("two"), body).await.refused(409, "ResourceIsNotInValidState");
    azure.delete(&format!("{LAB}/virtualmachines/vm?api-version={DTL}")).await.refused(409, "ResourceIsNotInValidState");
    azure.post(&format!("{LAB}/virtualmachines/vm/stop?api-version={DTL}"), json!({})).await.refused(409, "ResourceIsNotInValidState");
    azure.finished(&answer).await;
    azure.delete(&format!("{LAB}/virtualmachines/vm?api-version={DTL}")).await.expect(202);
}

#[tokio::test]
async fn wrong_images_are_refused() {
    let azure = Azure::start().await;
    azure.machine("vm", linux()).await;
    let vm = |info: serde_json::Value, id: &str| {
        let mut vm = info;
        vm["sourceVmId"] = json!(format!("{LAB}/virtualmachines/{id}"));
        json!({"properties": {"vm": vm}})
    };
    let cases = [
        (vm(json!({"linuxOsInfo": {"linuxOsState": "NonDeprovisioned"}}), "none"), "LabVirtualMachineNotFound"),
        (vm(json!({"windowsOsInfo": {"windowsOsState": "NonSysprepped"}}), "vm"), "InvalidOsType"),
        (vm(json!({"linuxOsInfo": {"linuxOsState": "Perhaps"}}), "vm"), "InvalidOsState"),
        (json!({"properties": {}}), "MissingRequiredProperty"),
        (json!({"properties": {"vhd": {"osType": "Linux"}}}), "MissingRequiredProperty"),
        (json!({"properties": {"managedImageId": "/none"}}), "SourceNotFound"),
        (json!({"properties": 7}), "InvalidRequestContent"),
    ];
    for (body, code) in cases {
        azure.put(&path("image"), body).await.refused(400, code);
    }
}
