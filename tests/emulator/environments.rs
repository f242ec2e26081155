//! Environments.

use serde_json::json;

use super::client::{ARM, Azure, DTL, LAB};

#[tokio::test]
async fn an_environment_is_deployed_into_a_group_of_its_own() {
    let azure = Azure::start().await;
    let path = format!("{LAB}/users/%40me/environments/Shop?api-version={DTL}");
    let body = json!({"properties": {"deploymentProperties": {"armTemplateId": format!("{LAB}/artifactSources/public repo/armTemplates/WebApp"),
        "parameters": [{"name": "siteName", "value": "shop"}, {"name": "workers", "value": "2"}]}}});
    let answer = azure.put(&path, body).await.expect(201);
    let id = answer.body["id"].as_str().expect("an id").to_owned();
    assert!(id.starts_with(&format!("{}/users/", LAB.to_lowercase())) && !id.contains('@'), "{id}");
    assert!(answer.body["properties"]["deploymentProperties"].get("parameters").is_none());
    assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}));

    let environment = azure.get(&path).await.expect(200).body;
    assert_eq!(environment["properties"]["armTemplateDisplayName"], "Web app with storage");
    let group = environment["properties"]["resourceGroupId"].as_str().expect("a group").to_owned();
    let name = group.rsplit('/').next().expect("a name");
    assert!(name.starts_with("contoso-shop-") && name.len() == "contoso-shop-".len() + 6, "{name}");
    let deployments = azure.get(&format!("{group}/providers/Microsoft.Resources/deployments?api-version={ARM}")).await.expect(200).body;
    let outputs = &deployments["value"][0]["properties"]["outputs"];
    assert_eq!(outputs["workers"], json!({"type": "Int", "value": 2}));
    assert_eq!(outputs["storageConnectionString"], json!({"type": "SecureString"}));
    let resources = azure.get(&format!("{group}/resources?api-version={ARM}")).await.expect(200).body;
    assert_eq!(resources["value"].as_array().map(Vec::len), Some(3));

    for list in ["@me", "%40all"] {
        let listed = azure.get(&format!("{LAB}/users/{list}/environments?api-version={DTL}")).await.expect(200).body;
        assert_eq!(listed["value"][0]["id"], id, "{list}");
    }
    let answer = azure.delete(&format!("{id}?api-version={DTL}")).await.expect(202);
    assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}));
    azure.get(&path).await.refused(404, "ResourceNotFound");
    azure.get(&format!("{group}?api-version={ARM}")).await.refused(404, "ResourceGroupNotFound");
}

#[tokio::test]
async fn an_environment_whose_template_fails_has_failed() {
    let azure = Azure::start().await;
    let template = format!("{LAB}/artifactsources/public repo/armtemplates/WebApp");
    let cases = [
        (json!([{"name": "skuName", "value": "Z9"}]), "InvalidTemplate"),
        (json!([{"name": "nonsense", "value": "1"}]), "InvalidTemplate"),
    ];
    for (index, (parameters, code)) in cases.into_iter().enumerate() {
        let path = format!("{LAB}/users/@me/environments/bad{index}?api-version={DTL}");
        let answer = azure
            .put(&path, json!({"properties": {"deploymentProperties": {"armTemplateId": template, "parameters": parameters}}}))
            .await
            .expect(201);
        let status = azure.finished(&answer).await;
        assert_eq!((&status["status"], &status["error"]["code"]), (&json!("Failed"), &json!(code)));
        assert_eq!(azure.get(&path).await.body["properties"]["provisioningState"], "Failed");
    }
    let path = format!("{LAB}/users/@me/environments/none?api-version={DTL}");
    azure
        .put(&path, json!({"properties": {"deploymentProperties": {"armTemplateId": format!("{template}x")}}}))
        .await
        .refused(400, "ArmTemplateNotFound");
    azure.put(&path, json!({"properties": {}})).await.refused(400, "MissingRequiredProperty");
}

#[tokio::test]
async fn templates_of_a_source_are_listed_with_their_contents() {
    let azure = Azure::start().await;
    let listed = azure.get(&format!("{LAB}/artifactsources/public repo/armtemplates?api-version={DTL}")).await.expect(200).body;
    let names: Vec<_> = listed["value"].as_array().expect("a list").iter().map(|one| one["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["Storage", "WebApp"]);
    assert!(listed["value"][1]["properties"]["contents"]["parameters"]["siteName"].is_object());
    let artifacts = azure.get(&format!("{LAB}/artifactSources/public%20repo/artifacts?api-version={DTL}&$top=2")).await.expect(200).body;
    assert_eq!(artifacts["value"].as_array().map(Vec::len), Some(2));
    azure.get(&format!("{LAB}/artifactsources/none/artifacts?api-version={DTL}")).await.refused(404, "ResourceNotFound");
}
