//! Templates that people really use, through Create VM.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Harness, LAB, RESOURCE_GROUP, SUBSCRIPTION, data};

/// A lab with what the samples refer to: a custom image and a shared image for each operating system.
fn seed() -> Value {
    let image = |name: &str, info: Value| {
        json!({
            "id": format!("{LAB}/customimages/{name}"), "type": "Microsoft.DevTestLab/labs/customimages", "name": name,
            "properties": { "provisioningState": "Succeeded", "vm": info },
        })
    };
    let gallery = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers/Microsoft.Compute/galleries/shared");
    crate::harness::seed_with_lab(
        "contoso",
        &[
            image("windows", json!({ "windowsOsInfo": { "windowsOsState": "SysprepApplied" } })),
            json!({ "id": gallery, "type": "Microsoft.Compute/galleries", "location": "westeurope", "properties": { "provisioningState": "Succeeded" } }),
            json!({
                "id": format!("{gallery}/images/LinuxDef"), "type": "Microsoft.Compute/galleries/images", "location": "westeurope",
                "properties": { "osType": "Linux", "osState": "Generalized", "provisioningState": "Succeeded" },
            }),
            json!({
                "id": format!("{LAB}/sharedgalleries/shared"), "type": "Microsoft.DevTestLab/labs/sharedgalleries",
                "properties": { "galleryId": gallery, "allowAllImages": "Enabled" },
            }),
        ],
    )
}

#[tokio::test]
async fn every_virtual_machine_template_of_the_samples_deploys() {
    let Some(samples) = data("arm-corpus/samples/DevTestLabs/QuickStartTemplates") else { return };
    let mut deployed = 0;
    for entry in fs::read_dir(samples).expect("the samples") {
        let folder = entry.expect("a sample").path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with("101-dtl-create-vm-") {
            continue;
        }
        let lab = Harness::seeded(&seed()).await;
        let mut overrides = vec!["-existingLabName 'contoso'".to_owned()];
        if name.contains("customimage") || name.contains("builtin") {
            overrides.push(format!("-existingCustomImageId '{LAB}/customimages/windows'"));
        }
        if name.contains("sharedimage") {
            overrides.push(format!("-existingSharedImageId '{LAB}/sharedgalleries/shared/sharedimages/LinuxDef'"));
        }
        if name.contains("expiration") {
            overrides.push("-expirationDate '2099-10-01T12:00:00+00:00'".to_owned());
        }
        let made = lab
            .step("AzureDevTestLabsCreateVM")
            .input("VirtualMachineName", "sample1")
            .input("TemplateFile", folder.join("azuredeploy.json").to_string_lossy())
            .input("ParametersFile", folder.join("azuredeploy.parameters.json").to_string_lossy())
            .input("ParameterOverrides", overrides.join("\n"))
            .run()
            .await;
        assert_eq!(made.completed(), "Succeeded", "{name}\n{made}");
        assert_eq!(made.output("vmName"), "sample1", "{name}\n{made}");
        lab.finish().await;
        deployed += 1;
    }
    assert!(deployed >= 7, "only {deployed} samples were found");
}

#[tokio::test]
async fn every_golden_image_of_the_factory_deploys() {
    let Some(images) = data("arm-corpus/samples/DevTestLabs/Scripts/ImageFactory/Configuration/GoldenImages") else { return };
    for folder in fs::read_dir(images).expect("the golden images") {
        for entry in fs::read_dir(folder.expect("a folder").path()).expect("a folder of golden images") {
            let file = entry.expect("a golden image").path();
            let lab = Harness::start().await;
            let made = lab
                .step("AzureDevTestLabsCreateVM")
                .input("VirtualMachineName", "golden1")
                .input("TemplateFile", file.to_string_lossy())
                .input("ParameterOverrides", "-size 'Standard_D2s_v5' -userName 'labuser' -password 'Passw0rd!-x'")
                .run()
                .await;
            assert_eq!(made.completed(), "Succeeded", "{}\n{made}", file.display());
            lab.finish().await;
        }
    }
}
