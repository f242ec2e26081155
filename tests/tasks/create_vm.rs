//! Create VM: outputs, artifacts, retries, several machines, cancellation.
use serde_json::{Value, json};

use super::vm_template;
use crate::harness::{Finished, Harness, LAB, Step};

const TASK: &str = "AzureDevTestLabsCreateVM";
const PASSWORD: &str = "P@ss -word;\"x\" 'y";

fn step<'a>(lab: &'a Harness, template: &Value) -> Step<'a> {
    let file = lab.file("vm.json", &template.to_string());
    lab.step(TASK)
        .input("VirtualMachineName", "vm1")
        .input("TemplateFile", file)
        .input("ParameterOverrides", format!("-password '{}'", PASSWORD.replace('\'', "''")))
}

fn deployments(journal: &[String]) -> Vec<&String> {
    journal.iter().filter(|line| line.starts_with("PUT ") && line.contains("/deployments/")).collect()
}

/// What differs from run to run replaced, so that the rest can be compared.
fn stable(text: &str) -> String {
    [
        (r"dtl-(\w+)-\d{14}-[0-9a-f]{6}-(\d)", "dtl-$1-TIME-$2"),
        (r"less than 1 s|\d+ s\b", "TIME"),
        (r"contoso-vm1-\d{6}", "contoso-vm1-NUMBER"),
        (r"Template: .*vm\.json", "Template: vm.json"),
        (r"\d+\.\d+\.\d+\.\d+", "ADDRESS"),
        (r"vm1\d+\.", "vm1NUMBER."),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (pattern, name)| regex::Regex::new(pattern).expect("a pattern").replace_all(&text, name).into_owned())
}

#[tokio::test]
async fn a_virtual_machine_is_made_and_its_outputs_are_handed_on() {
    let lab = Harness::start().await;
    let made = step(&lab, &vm_template(&["windows-noop"])).input("WaitMinutesForApplyArtifacts", "5").run().await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    assert_eq!(made.output("labVmId"), format!("{LAB}/virtualmachines/vm1"), "{made}");
    assert_eq!(
        (made.output("vmName"), made.output("vmSize"), made.output("tags")),
        ("vm1".into(), "Standard_D2s_v5".into(), r#"{"made":"by dtl"}"#.into())
    );
    assert!(made.output("computeVmId").contains(&format!("/resourceGroups/{}/", made.output("vmResourceGroup"))), "{made}");
    for name in ["privateIpAddress", "publicIpAddress", "fqdn"] {
        assert!(!made.output(name).is_empty(), "{name}\n{made}");
    }
    assert!(made.summary().contains("Created virtual machine"), "{made}");
    let vm = lab.resource(&made.output("labVmId")).await.expect("the virtual machine");
    assert_eq!(vm["properties"]["provisioningState"], "Succeeded");
    insta::assert_snapshot!(stable(&made.log()));
    lab.finish().await;
}

#[tokio::test]
async fn secrets_are_registered_and_never_shown() {
    let lab = Harness::start().await;
    let made = step(&lab, &vm_template(&[])).run().await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    let shown: Vec<&String> = made.lines.iter().filter(|line| line.contains("P@ss") && !line.contains("task.setsecret")).collect();
    assert!(shown.is_empty(), "{shown:#?}");
    let first = made.lines.iter().position(|line| line.contains("P@ss")).expect("the password is registered");
    let parameters = made.lines.iter().position(|line| line.contains("Template parameters")).expect("the parameters are shown");
    assert!(first < parameters, "{made}");
    let login = made.commands.iter().find(|command| command.is("task", "setvariable") && command.property("variable") == Some("login"));
    assert!(login.is_none_or(|command| command.property("issecret") == Some("true")), "{made}");
    lab.finish().await;
}

#[tokio::test]
async fn artifacts_that_fail_fail_the_task_with_each_message_when_asked() {
    for fails in [true, false] {
        let lab = Harness::start().await;
        lab.faults(&json!([{ "path": "/virtualmachines/vm1/artifacts/windows-noop", "provisioning": "Failed" }])).await;
        let made = step(&lab, &vm_template(&["windows-noop"]))
            .input("FailOnArtifactError", fails.to_string())
            .input("WaitMinutesForApplyArtifacts", if fails { "0" } else { "5" })
            .run()
            .await;
        let (result, said) = if fails { ("Failed", made.errors()) } else { ("SucceededWithIssues", made.warnings()) };
        assert_eq!(made.completed(), result, "{made}");
        let said = said.join("\n");
        assert!(said.contains("1 of 1 artifacts failed") && said.contains("Failed: "), "{made}");
        assert_eq!(
            made.output("labVmId"),
            format!("{LAB}/virtualmachines/vm1"),
            "set also when it fails, for a step that cleans up\n{made}"
        );
        lab.finish().await;
    }
}

#[tokio::test]
async fn artifacts_are_waited_for_until_they_have_ended() {
    let lab = Harness::start().await;
    lab.settings(&json!({ "speed": 1, "durations": { "virtualMachine": 0.1, "artifact": 1.5 } })).await;
    let made = step(&lab, &vm_template(&["windows-noop", "windows-noop"]))
        .input("FailOnArtifactError", "true")
        .input("WaitMinutesForApplyArtifacts", "75")
        .run()
        .await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    lab.finish().await;
}

#[tokio::test]
async fn artifacts_are_left_to_themselves_when_nobody_wants_to_know() {
    let lab = Harness::start().await;
    lab.settings(&json!({ "speed": 1, "durations": { "virtualMachine": 0.1, "artifact": 30 } })).await;
    let made = step(&lab, &vm_template(&["windows-noop"])).run().await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    assert!(made.log().contains("1 of 1 artifacts have not ended"), "{made}");
    lab.finish().await;
}

#[tokio::test]
async fn a_retry_cleans_up_and_numbers_the_name_within_the_limit() {
    let lab = Harness::start().await;
    lab.faults(&json!([{ "method": "PUT", "path": "/virtualmachines/", "provisioning": "Failed", "times": 1 }])).await;
    let made = step(&lab, &vm_template(&[]))
        .input("VirtualMachineName", "abcdefghijklmno")
        .input("RetryOnFailure", "true")
        .input("RetryCount", "")
        .input("DeleteFailedLabVMBeforeRetry", "true")
        .input("DeleteFailedDeploymentBeforeRetry", "true")
        .input("AppendRetryNumberToVMName", "true")
        .run()
        .await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    assert_eq!(made.output("vmName"), "abcdefghijklm-1", "{made}");
    assert_eq!(lab.names("Microsoft.DevTestLab/labs/virtualMachines").await, ["abcdefghijklm-1"]);
    let journal = lab.journal().await;
    let tried = deployments(&journal);
    assert_eq!(tried.len(), 2, "{journal:#?}");
    let first = tried[0].trim_start_matches("PUT ");
    assert!(lab.resource(first).await.is_none(), "the failed deployment's record is gone");
    assert!(made.warnings().join("\n").contains("attempt 1 of 4 failed"), "{made}");
    lab.finish().await;
}

#[tokio::test]
async fn a_retry_never_deletes_a_virtual_machine_that_was_there_before() {
    let lab = Harness::start().await;
    super::with_vm(&lab, "vm1").await;
    let mut template = vm_template(&[]);
    template["resources"][0]["properties"]["size"] = json!("Standard_D4s_v5");
    let made = step(&lab, &template)
        .input("RetryOnFailure", "true")
        .input("RetryCount", "1")
        .input("DeleteFailedLabVMBeforeRetry", "true")
        .run()
        .await;
    assert_eq!(made.completed(), "Failed", "{made}");
    assert_eq!(lab.names("Microsoft.DevTestLab/labs/virtualMachines").await, ["vm1"]);
    assert!(!lab.journal().await.iter().any(|line| line.starts_with("DELETE ")), "{made}");
    lab.finish().await;
}

#[tokio::test]
async fn what_azure_refuses_for_good_is_not_tried_again() {
    let lab = Harness::start().await;
    let body = json!({ "error": { "code": "AuthorizationFailed", "message": "The client does not have authorization." } });
    lab.faults(&json!([{ "method": "PUT", "path": "/deployments/", "status": 403, "body": body, "times": 9 }])).await;
    let made = step(&lab, &vm_template(&[])).input("RetryOnFailure", "true").run().await;
    assert_eq!(made.completed(), "Failed", "{made}");
    assert_eq!(deployments(&lab.journal().await).len(), 1, "{made}");
    assert!(made.log().contains("hint: "), "{made}");
    lab.finish().await;
}

#[tokio::test]
async fn the_virtual_machine_is_found_by_its_type_among_others() {
    let lab = Harness::start().await;
    let mut template = vm_template(&[]);
    let mut second = template["resources"][0].clone();
    second["name"] = json!("[concat(parameters('labName'), '/a-second')]");
    let storage = json!({
        "type": "Microsoft.Storage/storageAccounts", "apiVersion": "2021-04-01", "name": "aaafirst", "location": "[resourceGroup().location]",
        "kind": "StorageV2", "sku": { "name": "Standard_LRS" }, "properties": {},
    });
    template["resources"] = json!([storage, second, template["resources"][0]]);
    let made = step(&lab, &template).run().await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    assert_eq!(made.output("vmName"), "vm1", "{made}");
    let warnings = made.warnings().join("\n");
    assert!(warnings.contains("made 2 virtual machines") && warnings.contains("a-second"), "{made}");
    lab.finish().await;
}

#[tokio::test]
async fn a_template_without_a_virtual_machine_is_an_error() {
    let lab = Harness::start().await;
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "parameters": {}, "resources": [],
    });
    let file = lab.file("empty.json", &template.to_string());
    let made = lab.step(TASK).input("VirtualMachineName", "vm1").input("TemplateFile", file).run().await;
    super::assert_failed(&made, &["made no lab virtual machine"]);
    lab.finish().await;
}

#[tokio::test]
async fn parameters_arrive_with_their_types_and_the_last_override_counts() {
    let lab = Harness::start().await;
    let mut template = vm_template(&[]);
    for (name, kind) in [("count", "int"), ("flag", "bool"), ("list", "array"), ("settings", "object"), ("text", "string")] {
        template["parameters"][name] = json!({ "type": kind });
        template["outputs"][name] = json!({ "type": kind, "value": format!("[parameters('{name}')]") });
    }
    let parameters = lab.file(
        "vm.parameters.json",
        "\u{feff}// a comment\n{\"parameters\": {\"COUNT\": {\"value\": 12345678901234567}, \"text\": {\"value\": \"file\"},}}",
    );
    let overrides = "-password 'P@ss1-word'\n-flag true\n-list '[\"a\",\"b\"]' -settings {\"a\": \"b c\"}\n-Text 'C:\\x' -text 'it''s'";
    let made = step(&lab, &template).input("ParametersFile", parameters).input("ParameterOverrides", overrides).run().await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    let found: Vec<String> = ["count", "flag", "list", "settings", "text"].iter().map(|name| made.output(name)).collect();
    assert_eq!(found, ["12345678901234567", "true", r#"["a","b"]"#, r#"{"a":"b c"}"#, "it's"], "{made}");
    assert!(made.warnings().join("\n").contains("'text' is given more than once"), "{made}");
    lab.finish().await;
}

#[tokio::test]
async fn a_key_vault_reference_is_resolved_by_azure() {
    let vault =
        format!("/subscriptions/{}/resourceGroups/devtestlabs/providers/Microsoft.KeyVault/vaults/safe", crate::harness::SUBSCRIPTION);
    let secret = json!({ "id": format!("{vault}/secrets/vm"), "type": "Microsoft.KeyVault/vaults/secrets", "properties": { "value": "S3cret-from-vault" } });
    let lab = Harness::seeded(&crate::harness::seed_with_lab(
        "contoso",
        &[json!({ "id": vault, "type": "Microsoft.KeyVault/vaults", "properties": {} }), secret],
    ))
    .await;
    let parameters = json!({ "parameters": { "password": { "reference": { "keyVault": { "id": vault }, "secretName": "vm" } } } });
    let parameters = lab.file("vm.parameters.json", &parameters.to_string());
    let made = step(&lab, &vm_template(&[])).input("ParametersFile", parameters).input("ParameterOverrides", "").run().await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    assert!(made.log().contains("password = ***"), "{made}");
    lab.finish().await;
}

async fn cancelled(lab: &Harness, template: &Value) -> Finished {
    lab.settings(&json!({ "speed": 1, "durations": { "virtualMachine": 60 } })).await;
    step(lab, template).cancelled_at("PUT", "/deployments/").run().await
}

#[tokio::test]
async fn a_cancelled_task_cancels_the_deployment_and_names_what_remains() {
    let lab = Harness::start().await;
    let step = cancelled(&lab, &vm_template(&[])).await;
    assert_eq!(step.completed(), "Canceled", "{step}");
    let journal = lab.journal().await;
    assert!(journal.iter().any(|line| line.starts_with("POST ") && line.ends_with("/cancel")), "{journal:#?}");
    let warnings = step.warnings().join("\n");
    assert!(warnings.contains("/deployments/dtl-vm1-") && warnings.contains(&format!("{LAB}/virtualmachines/vm1")), "{step}");
    let deployment = deployments(&journal)[0].trim_start_matches("PUT ").to_owned();
    let deployment = lab.resource(&deployment).await.expect("the deployment's record");
    assert_eq!(deployment["properties"]["provisioningState"], "Canceled");
    lab.finish().await;
}

#[tokio::test]
async fn a_failed_deployment_tells_azures_innermost_error() {
    let lab = Harness::start().await;
    lab.faults(&json!([{ "method": "PUT", "path": "/virtualmachines/vm1", "provisioning": "Failed" }])).await;
    let made = step(&lab, &vm_template(&[])).run().await;
    super::assert_failed(&made, &["failed to deploy the template as 'dtl-vm1-"]);
    for text in ["deployment: /subscriptions/", "correlation id: "] {
        assert!(made.log().contains(text), "{made}");
    }
    lab.finish().await;
}

#[tokio::test]
async fn a_name_is_checked_by_the_custom_images_operating_system() {
    let image = json!({
        "id": format!("{LAB}/customimages/windows"), "type": "Microsoft.DevTestLab/labs/customimages", "name": "windows",
        "properties": { "provisioningState": "Succeeded", "vm": { "windowsOsInfo": { "windowsOsState": "SysprepApplied" } } },
    });
    let lab = Harness::seeded(&crate::harness::seed_with_lab("contoso", &[image])).await;
    let mut template = vm_template(&[]);
    let properties = template["resources"][0]["properties"].as_object_mut().expect("properties");
    properties.remove("galleryImageReference");
    properties
        .insert("customImageId".into(), json!("[resourceId('Microsoft.DevTestLab/labs/customimages', parameters('labName'), 'windows')]"));
    let made = step(&lab, &template).input("VirtualMachineName", "abcdefghijklmnop").run().await;
    super::assert_failed(&made, &["custom image 'windows': it has 16 characters, Windows allows 15"]);
    assert!(deployments(&lab.journal().await).is_empty(), "{made}");
    lab.finish().await;
}

#[tokio::test]
async fn a_template_that_is_linked_below_the_own_folder_travels_with_it() {
    let lab = Harness::start().await;
    lab.file("linked/vm.json", &vm_template(&[]).to_string());
    let value = |name: &str| json!({ "value": format!("[parameters('{name}')]") });
    let main = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "parameters": { "newVMName": { "type": "string" }, "labName": { "type": "string" }, "password": { "type": "secureString" } },
        "resources": [{
            "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "inner",
            "properties": {
                "mode": "Incremental", "templateLink": { "relativePath": "linked/vm.json" },
                "parameters": { "newVMName": value("newVMName"), "labName": value("labName"), "password": value("password") },
            },
        }],
    });
    let made = step(&lab, &main).run().await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    assert_eq!(made.output("vmName"), "vm1", "found through the nested deployment's operations\n{made}");
    lab.finish().await;
}

#[tokio::test]
async fn a_template_that_asks_for_its_own_address_is_sent_without_one() {
    let lab = Harness::start().await;
    lab.file("nested/vm.json", &vm_template(&[]).to_string());
    let value = |name: &str| json!({ "value": format!("[parameters('{name}')]") });
    let link = |file: &str| json!({ "uri": format!("[uri(parameters('_artifactsLocation'), concat('{file}', parameters('_artifactsLocationSasToken')))]") });
    let mut main = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "parameters": {
            "newVMName": { "type": "string" }, "labName": { "type": "string" }, "password": { "type": "secureString" },
            "_artifactsLocation": { "type": "string", "defaultValue": "[deployment().properties.templateLink.uri]" },
            "_artifactsLocationSasToken": { "type": "secureString" },
        },
        "resources": [{
            "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "inner",
            "properties": {
                "mode": "Incremental", "templateLink": link("nested/vm.json"),
                "parameters": { "newVMName": value("newVMName"), "labName": value("labName"), "password": value("password") },
            },
        }],
    });
    let made = step(&lab, &main).run().await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    main["resources"][0]["properties"]["templateLink"] = link("nested/other.json");
    let failed = step(&lab, &main).run().await;
    super::assert_failed(&failed, &["Azure itself must download the file 'nested/other.json'", "'_artifactsLocation'"]);
    lab.finish().await;
}
