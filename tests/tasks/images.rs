//! Create and Delete Custom Image.

use super::{assert_failed, with_vm};
use crate::harness::{Harness, LAB};

#[tokio::test]
async fn an_image_is_made_from_a_virtual_machine_and_deleted() {
    let lab = Harness::start().await;
    let vm = with_vm(&lab, "vm1").await;
    let made = lab
        .step("AzureDevTestLabsCreateCustomImage")
        .input("NewCustomImageName", "golden")
        .input("LabVmId", &vm)
        .input("OsType", "Windows")
        .input("WindowsOsState", "SysprepRequested")
        .variable("Build.BuildNumber", "20261120.3")
        .variable("Build.RequestedFor", "Ada")
        .run()
        .await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    let id = made.output("customImageId");
    assert!(id.eq_ignore_ascii_case(&format!("{LAB}/customimages/golden")), "{made}");
    let image = lab.resource(&id).await.expect("the image");
    assert_eq!(image["properties"]["description"], "Custom image created from build 20261120.3 requested for Ada.");
    assert_eq!(image["properties"]["vm"]["windowsOsInfo"]["windowsOsState"], "SysprepRequested");
    assert!(made.log().contains("generalized (SysprepRequested)") && made.log().contains("will not be usable"), "{made}");

    let deleted = lab.step("AzureDevTestLabsDeleteCustomImage").input("CustomImageId", id.as_str()).run().await;
    assert_eq!(deleted.completed(), "Succeeded", "{deleted}");
    assert!(lab.resource(&id).await.is_none());
    lab.finish().await;
}

#[tokio::test]
async fn a_specialized_image_leaves_its_source_alone() {
    let lab = Harness::start().await;
    with_vm(&lab, "vm1").await;
    let made = lab
        .step("AzureDevTestLabsCreateCustomImage")
        .input("NewCustomImageName", "copy")
        .input("LabVmId", "vm1")
        .input("OsType", "windows")
        .input("WindowsOsState", "nonsysprepped")
        .input("Description", "As it is")
        .run()
        .await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    assert!(made.log().contains("specialized (NonSysprepped)") && !made.log().contains("will not be usable"), "{made}");
    let image = lab.resource(&made.output("customImageId")).await.expect("the image");
    assert_eq!(image["properties"]["description"], "As it is");
    lab.finish().await;
}

#[tokio::test]
async fn the_wrong_operating_system_is_refused_before_anything_is_made() {
    let lab = Harness::start().await;
    with_vm(&lab, "vm1").await;
    let made = lab
        .step("AzureDevTestLabsCreateCustomImage")
        .input("NewCustomImageName", "copy")
        .input("LabVmId", "vm1")
        .input("OsType", "Linux")
        .run()
        .await;
    assert_failed(&made, &["input 'OsType' is 'Linux', but the virtual machine 'vm1' runs Windows"]);
    assert!(!lab.journal().await.iter().any(|line| line.starts_with("PUT ") && line.contains("customimages")));
    lab.finish().await;
}
