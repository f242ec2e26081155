//! Create, Populate and Delete Environment.

use std::fs;

use serde_json::{Value, json};

use super::assert_failed;
use crate::harness::{Finished, Harness, LAB};

const OTHER_USER: &str = "99999999-9999-4999-8999-999999999999";

async fn created(lab: &Harness, name: &str) -> Finished {
    let made = lab
        .step("AzureDevTestLabsCreateEnvironment")
        .input("EnvironmentName", name)
        .input("RepositoryId", "Public Artifact Repo")
        .input("TemplateId", "WebApp")
        .input("ParameterOverrides", "-workers 3 -settings '{\"color\": \"dark red\"}' -SITENAME 'shop'")
        .input("OutputTemplateVariables", "true")
        .run()
        .await;
    assert_eq!(made.completed(), "Succeeded", "{made}");
    made
}

fn storage_template() -> Value {
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "parameters": { "accountName": { "type": "string" } },
        "resources": [{
            "type": "Microsoft.Storage/storageAccounts", "apiVersion": "2021-04-01", "name": "[parameters('accountName')]",
            "location": "[resourceGroup().location]", "kind": "StorageV2", "sku": { "name": "Standard_LRS" }, "properties": {},
        }],
        "outputs": { "account": { "type": "string", "value": "[parameters('accountName')]" } },
    })
}

#[tokio::test]
async fn an_environment_is_made_from_a_repositorys_template_with_typed_parameters() {
    let lab = Harness::start().await;
    let made = created(&lab, "test1").await;
    let environment = lab.resource(&made.output("environmentResourceId")).await.expect("the environment");
    assert_eq!(environment["properties"]["provisioningState"], "Succeeded");
    assert_eq!(environment["properties"]["resourceGroupId"], made.output("environmentResourceGroupId"), "{made}");
    assert_eq!(made.output("workers"), "3", "{made}");
    assert!(made.output("siteName").starts_with("shop-"), "{made}");
    let secret = made.commands.iter().find(|command| command.property("variable") == Some("storageConnectionString"));
    assert!(secret.is_none_or(|command| command.property("issecret") == Some("true")), "{made}");
    lab.finish().await;
}

#[tokio::test]
async fn outputs_and_the_exported_template_are_those_of_the_deployment_made() {
    let lab = Harness::start().await;
    let made = created(&lab, "test1").await;
    let template = lab.file("storage.json", &storage_template().to_string());
    let folder = lab.folders().staging.join("out");
    let populated = lab
        .step("AzureDevTestLabsPopulateEnvironment")
        .input("EnvironmentId", "test1")
        .input("TemplateFile", template)
        .input("ParameterOverrides", "-accountName 'extra123'")
        .input("OutputTemplateVariables", "true")
        .input("ExportEnvironmentTemplate", "true")
        .input("ExportEnvironmentTemplateLocation", folder.to_string_lossy())
        .run()
        .await;
    assert_eq!(populated.completed(), "Succeeded", "{populated}");
    assert_eq!(populated.output("account"), "extra123", "{populated}");
    assert!(!populated.outputs().contains_key("siteName"), "{populated}");
    assert_eq!(populated.output("environmentResourceGroupId"), made.output("environmentResourceGroupId"));
    let exported = fs::read_to_string(folder.join("azuredeploy.json")).expect("the exported template");
    let exported: Value = serde_json::from_str(&exported).expect("JSON");
    assert_eq!(exported["resources"][0]["type"], "Microsoft.Storage/storageAccounts");
    lab.finish().await;
}

#[tokio::test]
async fn an_environment_is_deleted_by_id_and_by_a_name_that_is_unique() {
    for by_id in [true, false] {
        let lab = Harness::start().await;
        let made = created(&lab, "test1").await;
        let id = made.output("environmentResourceId");
        let deleted = lab.step("AzureDevTestLabsDeleteEnvironment").input("EnvironmentId", if by_id { &id } else { "TEST1" }).run().await;
        assert_eq!(deleted.completed(), "Succeeded", "{deleted}");
        assert!(lab.resource(&id).await.is_none());
        lab.finish().await;
    }
}

#[tokio::test]
async fn a_name_that_two_users_have_used_is_refused_with_the_candidates() {
    let lab = Harness::start().await;
    let own = created(&lab, "test1").await.output("environmentResourceId");
    let template = format!("{LAB}/artifactSources/public repo/armTemplates/Storage");
    let other = format!("{LAB}/users/{OTHER_USER}/environments/test1");
    let body = json!({ "properties": { "deploymentProperties": { "armTemplateId": template, "parameters": [] } } });
    lab.put(&other, "2018-09-15", &body).await;
    let step = lab.step("AzureDevTestLabsDeleteEnvironment").input("EnvironmentId", "test1").run().await;
    assert_failed(&step, &["2 environments of the lab are called 'test1'", "candidate: "]);
    let step = lab.step("AzureDevTestLabsDeleteEnvironment").input("EnvironmentId", &other).run().await;
    assert_eq!(step.completed(), "Succeeded", "{step}");
    assert!(lab.resource(&other).await.is_none() && lab.resource(&own).await.is_some(), "the other user's alone is gone");
    lab.finish().await;
}

#[tokio::test]
async fn names_that_are_not_there_are_refused_with_what_there_is() {
    let lab = Harness::start().await;
    let step = |repository: &str, template: &str, overrides: &str| {
        lab.step("AzureDevTestLabsCreateEnvironment")
            .input("EnvironmentName", "test1")
            .input("RepositoryId", repository)
            .input("TemplateId", template)
            .input("ParameterOverrides", overrides)
    };
    let refused = step("Public Repository", "WebApp", "").run().await;
    assert_failed(&refused, &["input 'RepositoryId': the lab has no repository 'Public Repository'"]);
    let refused = step("Public Artifact Repo", "WebAp", "").run().await;
    assert_failed(
        &refused,
        &["input 'TemplateId': the lab has no template 'WebAp' (did you mean 'WebApp'?); there is 'Storage' (shown as 'Storage account')"],
    );
    let refused = step("Public Artifact Repo", "WebApp", "-workers many -sitenam x").run().await;
    assert_failed(&refused, &["'workers' is a string, but the template declares an int", "(did you mean 'siteName'?)"]);
    assert!(!lab.journal().await.iter().any(|line| line.starts_with("PUT ")));
    let template = lab.file("storage.json", &storage_template().to_string());
    let step = lab.step("AzureDevTestLabsPopulateEnvironment").input("EnvironmentId", "nobody").input("TemplateFile", template);
    assert_failed(&step.input("ParameterOverrides", "-accountName a").run().await, &["the lab has no environment 'nobody'"]);
    lab.finish().await;
}

#[tokio::test]
async fn a_cancelled_creation_names_the_environment_that_goes_on() {
    let lab = Harness::start().await;
    lab.settings(&json!({ "speed": 1, "durations": { "environment": 60 } })).await;
    let step = lab
        .step("AzureDevTestLabsCreateEnvironment")
        .input("EnvironmentName", "slow")
        .input("RepositoryId", "public repo")
        .input("TemplateId", "Storage")
        .cancelled_at("PUT", "/environments/slow")
        .run()
        .await;
    assert_eq!(step.completed(), "Canceled", "{step}");
    assert!(step.warnings().join("\n").contains("users/@me/environments/slow"), "{step}");
    lab.finish().await;
}
