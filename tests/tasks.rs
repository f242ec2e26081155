//! Every task against the emulator in process.

mod bad_input;
mod corpus;
mod create_vm;
mod environments;
mod images;
mod manifests;
mod virtual_machines;

use serde_json::{Value, json};

use crate::harness::{Finished, Harness};

/// A template for one Windows lab virtual machine, with artifacts of the lab's public repository.
pub fn vm_template(artifacts: &[&str]) -> Value {
    let artifacts: Vec<Value> = artifacts
        .iter()
        .map(|name| {
            let id = format!(
                "[resourceId('Microsoft.DevTestLab/labs/artifactSources/artifacts', parameters('labName'), 'public repo', '{name}')]"
            );
            json!({ "artifactId": id, "artifactTitle": name, "parameters": [] })
        })
        .collect();
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "newVMName": { "type": "string" },
            "labName": { "type": "string" },
            "size": { "type": "string", "defaultValue": "Standard_D2s_v5" },
            "userName": { "type": "string", "defaultValue": "labuser" },
            "password": { "type": "secureString" },
        },
        "resources": [{
            "apiVersion": "2018-09-15",
            "type": "Microsoft.DevTestLab/labs/virtualmachines",
            "name": "[concat(parameters('labName'), '/', parameters('newVMName'))]",
            "location": "[resourceGroup().location]",
            "properties": {
                "labVirtualNetworkId": "[resourceId('Microsoft.DevTestLab/labs/virtualnetworks', parameters('labName'), concat('Dtl', parameters('labName')))]",
                "labSubnetName": "[concat('Dtl', parameters('labName'), 'Subnet')]",
                "galleryImageReference": {
                    "offer": "WindowsServer", "publisher": "MicrosoftWindowsServer", "sku": "2022-datacenter-g2", "osType": "Windows", "version": "latest"
                },
                "size": "[parameters('size')]",
                "userName": "[parameters('userName')]",
                "password": "[parameters('password')]",
                "isAuthenticationWithSshKey": false,
                "disallowPublicIpAddress": false,
                "storageType": "Standard",
                "artifacts": artifacts,
            },
        }],
        "outputs": {
            "vmSize": { "type": "string", "value": "[parameters('size')]" },
            "tags": { "type": "object", "value": { "made": "by dtl" } },
            "login": { "type": "secureString", "value": "[parameters('password')]" },
        },
    })
}

/// Makes a virtual machine through the task, for tests of the others.
async fn with_vm(lab: &Harness, name: &str) -> String {
    let template = lab.file("vm.json", &vm_template(&[]).to_string());
    let made = lab
        .step("AzureDevTestLabsCreateVM")
        .input("VirtualMachineName", name)
        .input("TemplateFile", template)
        .input("ParameterOverrides", "-password 'Passw0rd!-x'")
        .run()
        .await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    made.output("labVmId")
}

/// That a task failed and said each of these things in its errors.
#[track_caller]
fn assert_failed(step: &Finished, expected: &[&str]) {
    assert_eq!(step.completed(), "Failed", "{step}");
    let errors = step.errors().join("\n");
    for text in expected {
        assert!(errors.contains(text), "'{text}' is not in the errors\n{step}");
    }
}
