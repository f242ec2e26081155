//! Locks, roles, preconditions: what stands before every provider.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ARM, Azure, DTL, GROUP, LAB, read, windows};

const SUBSCRIPTION: &str = "/subscriptions/11111111-1111-4111-8111-111111111111";

fn lock(scope: &str) -> String {
    format!("{scope}/providers/Microsoft.Authorization/locks/stop?api-version=2020-05-01")
}

fn level(level: &str) -> Value {
    json!({"properties": {"level": level, "notes": "because"}})
}

#[tokio::test]
async fn what_is_locked_cannot_be_deleted_nor_what_holds_it() {
    let azure = Azure::start().await;
    azure.machine("vm", windows(&[])).await;
    let vm = format!("{LAB}/virtualmachines/vm");
    azure.put(&lock(&vm), level("Sometimes")).await.refused(400, "InvalidLockLevel");
    let made = azure.put(&lock(&vm), level("CanNotDelete")).await.expect(201).body;
    assert_eq!((&made["type"], &made["properties"]["notes"]), (&json!("Microsoft.Authorization/locks"), &json!("because")));
    for (path, version) in [(vm.as_str(), DTL), (LAB, DTL), (GROUP, ARM)] {
        let answer = azure.delete(&format!("{path}?api-version={version}")).await.refused(409, "ScopeLocked");
        assert_eq!(answer.header("x-ms-failure-cause"), "gateway");
        assert!(
            answer.body["error"]["message"]
                .as_str()
                .is_some_and(|message| message.contains("perform delete operation because following scope(s) are locked"))
        );
    }
    azure.send(Method::PATCH, &format!("{vm}?api-version={DTL}"), Some(&json!({"tags": {"a": "b"}}))).await.expect(200);
    let listed = azure.get(&format!("{GROUP}/providers/Microsoft.Authorization/locks?api-version=2020-05-01")).await.expect(200).body;
    assert_eq!(listed["value"].as_array().map(Vec::len), Some(1));
    let listed = azure
        .get(&format!("{GROUP}/providers/Microsoft.Authorization/locks?api-version=2020-05-01&$filter=atScope()"))
        .await
        .expect(200)
        .body;
    assert_eq!(listed["value"].as_array().map(Vec::len), Some(0));
    azure.delete(&lock(&vm)).await.expect(200);
    azure.delete(&lock(&vm)).await.expect(204);
    azure.delete(&format!("{vm}?api-version={DTL}")).await.expect(202);
    azure.put(&lock(&format!("{LAB}/virtualmachines/none")), level("ReadOnly")).await.refused(404, "ResourceNotFound");
}

#[tokio::test]
async fn what_may_only_be_read_is_not_written_not_even_by_deployments() {
    let azure = Azure::start().await;
    azure.put(&lock(GROUP), level("ReadOnly")).await.expect(201);
    let schedule = format!("{LAB}/schedules/s?api-version={DTL}");
    azure.put(&schedule, json!({"properties": {"taskType": "LabVmsShutdownTask"}})).await.refused(409, "ScopeLocked");
    azure.post(&format!("{LAB}/claimAnyVm?api-version={DTL}"), json!({})).await.refused(409, "ScopeLocked");
    azure.get(&format!("{LAB}?api-version={DTL}")).await.expect(200);
    // A deployment elsewhere that reaches in fails at the resource.
    azure.put(&format!("{SUBSCRIPTION}/resourcegroups/free?api-version={ARM}"), json!({"location": "westeurope"})).await.expect(201);
    let inner = json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "resources": [{"type": "Microsoft.ManagedIdentity/userAssignedIdentities", "apiVersion": "2023-01-31", "name": "me", "location": "westeurope"}]});
    let template = json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "resources": [{"type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "inner", "resourceGroup": "devtestlabs",
            "properties": {"mode": "Incremental", "template": inner}}]});
    let path = format!("{SUBSCRIPTION}/resourcegroups/free/providers/Microsoft.Resources/deployments/d?api-version={ARM}");
    let answer = azure.put(&path, json!({"properties": {"mode": "Incremental", "template": template}})).await.expect(201);
    let status = azure.finished(&answer).await;
    assert_eq!(status["status"], "Failed");
    assert!(status.to_string().contains("ScopeLocked"), "{status:#}");
}

async fn restricted(roles: Value) -> (Azure, String) {
    let client = "44444444-4444-4444-8444-444444444444";
    let seed = json!({"subscriptions": [{"subscriptionId": "11111111-1111-4111-8111-111111111111",
        "resourceGroups": [{"name": "devtestlabs", "location": "westeurope", "labs": [{"name": "contoso"}]}, {"name": "other", "location": "westeurope"}]}],
        "identities": [{"clientId": client, "clientSecret": "s3cret-s3cret", "roles": roles}]});
    let azure = Azure::seeded(Some(&seed)).await;
    let tenant = azure.emulator.ready().tenant_id.clone();
    let answer = azure.token_request(&tenant, client, &[("client_secret", "s3cret-s3cret")]).await.expect(200);
    let token = answer.body["access_token"].as_str().expect("a token").to_owned();
    (azure, token)
}

#[tokio::test]
async fn a_role_bounds_what_its_holder_may_do() {
    let (mut azure, token) = restricted(json!([{"role": "Reader", "scope": GROUP}])).await;
    let owner = std::mem::replace(&mut azure.token, token);
    let lab = format!("{LAB}?api-version={DTL}");
    azure.get(&lab).await.expect(200);
    let answer = azure.put(&format!("{LAB}/virtualmachines/vm?api-version={DTL}"), windows(&[])).await.refused(403, "AuthorizationFailed");
    let message = answer.body["error"]["message"].as_str().expect("a message").to_owned();
    assert!(
        message.contains("does not have authorization to perform action 'Microsoft.DevTestLab/labs/virtualMachines/write' over scope"),
        "{message}"
    );
    azure.get(&format!("{SUBSCRIPTION}/resourcegroups/other?api-version={ARM}")).await.refused(403, "AuthorizationFailed");
    let listed = azure.get(&format!("/subscriptions?api-version={ARM}")).await.expect(200).body;
    assert_eq!(listed["value"].as_array().map(Vec::len), Some(1));
    let permissions =
        azure.get(&format!("{GROUP}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01")).await.expect(200).body;
    assert_eq!(permissions["value"][0]["actions"], json!(["*/read"]));

    // The owner gives it a second role, which counts from then on.
    let principal = message.split('\'').nth(1).expect("an object id").to_owned();
    let reader = std::mem::replace(&mut azure.token, owner);
    let definitions = format!(
        "{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions?api-version=2022-04-01&$filter=roleName eq 'Contributor'"
    );
    let role = azure.get(&definitions).await.expect(200).body["value"][0]["id"].clone();
    let assignment =
        format!("{LAB}/providers/Microsoft.Authorization/roleAssignments/55555555-5555-4555-8555-555555555555?api-version=2022-04-01");
    let body = json!({"properties": {"roleDefinitionId": role, "principalId": principal}});
    azure.put(&assignment, body.clone()).await.expect(201);
    azure.put(&assignment.replace("55555555-", "55555556-"), body).await.refused(409, "RoleAssignmentExists");
    let listed = azure
        .get(&format!(
            "{LAB}/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01&$filter=principalId eq '{principal}'"
        ))
        .await
        .expect(200)
        .body;
    assert_eq!(listed["value"].as_array().map(Vec::len), Some(2), "{listed:#}");
    let owner = std::mem::replace(&mut azure.token, reader);
    azure.put(&format!("{LAB}/virtualmachines/vm?api-version={DTL}"), windows(&[])).await.expect(201);
    azure.delete(&format!("{GROUP}?api-version={ARM}")).await.refused(403, "AuthorizationFailed");
    azure.token = owner;
    azure.delete(&assignment).await.expect(200);
    azure.delete(&assignment).await.expect(204);
}

#[tokio::test]
async fn whoever_has_no_role_sees_no_subscription() {
    let (mut azure, token) = restricted(json!([])).await;
    azure.token = token;
    let listed = azure.get(&format!("/subscriptions?api-version={ARM}")).await.expect(200).body;
    assert_eq!(listed["value"], json!([]));
    azure.get(&format!("{SUBSCRIPTION}?api-version={ARM}")).await.refused(403, "AuthorizationFailed");
}

#[tokio::test]
async fn preconditions_are_held() {
    let azure = Azure::start().await;
    let path = format!("{GROUP}/providers/Microsoft.Network/virtualNetworks/net?api-version=2024-05-01");
    let body = json!({"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes": ["10.1.0.0/16"]}}});
    let send = async |name: &str, tag: &str| {
        let request =
            azure.http.put(azure.url(&path)).bearer_auth(&azure.token).header(name, tag).header("content-type", "application/json");
        read(request.body(body.to_string()).send().await.expect("an answer")).await
    };
    send("if-match", "*").await.refused(412, "PreconditionFailed");
    let made = send("if-none-match", "*").await.expect(201).body;
    send("if-none-match", "*").await.refused(412, "PreconditionFailed");
    let etag = made["etag"].as_str().expect("an etag").to_owned();
    send("if-match", "\"0\"").await.refused(412, "PreconditionFailed");
    let changed = send("if-match", &etag).await.expect(200).body;
    assert_ne!(changed["etag"], made["etag"]);
    send("if-match", &etag).await.refused(412, "PreconditionFailed");
}

#[tokio::test]
async fn nothing_is_made_in_a_group_that_goes() {
    let azure = Azure::at_speed(60.0, None).await;
    azure.delete(&format!("{GROUP}?api-version={ARM}")).await.expect(202);
    let body = json!({"location": "westeurope"});
    azure
        .put(&format!("{GROUP}/providers/Microsoft.DevTestLab/labs/new?api-version={DTL}"), body)
        .await
        .refused(409, "ResourceGroupBeingDeleted");
}
