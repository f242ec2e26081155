//! What-if: what a deployment would change, told without changing it.

use serde_json::{Value, json};

use super::client::{ARM, Azure, DTL, GROUP, LAB, windows};

const SUBSCRIPTION: &str = "/subscriptions/11111111-1111-4111-8111-111111111111";
const STORAGE: &str = "Microsoft.Storage/storageAccounts";

fn template(resources: Value) -> Value {
    json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0", "resources": resources})
}

fn of(template: Value) -> Value {
    json!({"properties": {"mode": "Incremental", "template": template, "parameters": {}}})
}

fn storage(name: &str) -> Value {
    json!({"type": STORAGE, "apiVersion": "2021-04-01", "name": name, "location": "West Europe", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}})
}

fn id(name: &str) -> String {
    format!("{GROUP}/providers/{STORAGE}/{name}")
}

/// Asks at a scope, and waits for what is told.
async fn asked(azure: &Azure, scope: &str, body: &Value) -> Value {
    let url = format!("{scope}/providers/Microsoft.Resources/deployments/perhaps/whatIf?api-version=2019-08-01");
    let answer = azure.post(&url, body.clone()).await.expect(202);
    assert_eq!((answer.header("retry-after"), &answer.body), ("1", &Value::Null));
    let told = super::client::ended(azure, answer.header("location")).await.expect(200).body;
    // Nothing has come of it.
    azure
        .get(&format!("{scope}/providers/Microsoft.Resources/deployments/perhaps?api-version={ARM}"))
        .await
        .refused(404, "DeploymentNotFound");
    told
}

async fn changes(azure: &Azure, body: &Value) -> Vec<Value> {
    let told = asked(azure, GROUP, body).await;
    assert_eq!(told["status"], "Succeeded", "{told:#}");
    told["properties"]["changes"].as_array().expect("changes").clone()
}

/// Ids and kinds of changes.
fn kinds(changes: &[Value]) -> Vec<(&str, &str)> {
    changes.iter().map(|change| (change["resourceId"].as_str().expect("an id"), change["changeType"].as_str().expect("a kind"))).collect()
}

#[tokio::test]
async fn changes_are_told_by_resource_and_property_and_nothing_is_changed() {
    let azure = Azure::start().await;
    for name in ["same", "other"] {
        let mut body = storage(name);
        body["tags"] = json!({"kept": "1", "dropped": "2"});
        let answer = azure.put(&format!("{}?api-version=2021-04-01", id(name)), body).await;
        assert!(matches!(answer.status, 200..=202), "{:#}", answer.body);
        azure.settled(&format!("{}?api-version=2021-04-01", id(name))).await;
    }
    let before = azure.get(&format!("{}?api-version=2021-04-01", id("other"))).await.expect(200).body;
    let (mut same, mut other) = (storage("same"), storage("other"));
    same["tags"] = json!({"kept": "1", "dropped": "2"});
    same["location"] = json!("westeurope");
    other["tags"] = json!({"kept": "3", "new": "4"});
    other["sku"]["name"] = json!("Standard_GRS");
    let mut absent = storage("absent");
    absent["condition"] = json!(false);
    let body = of(template(json!([same, other, storage("fresh"), absent])));
    let told = changes(&azure, &body).await;
    let (same, other, fresh) = (id("same"), id("other"), id("fresh"));
    assert_eq!(kinds(&told)[..3], [(same.as_str(), "NoChange"), (&other, "Modify"), (&fresh, "Create")]);
    assert_eq!(
        told[1]["delta"],
        json!([
            {"path": "tags.kept", "propertyChangeType": "Modify", "before": "1", "after": "3"},
            {"path": "tags.dropped", "propertyChangeType": "Delete", "before": "2"},
            {"path": "tags.new", "propertyChangeType": "Create", "after": "4"},
            {"path": "sku.name", "propertyChangeType": "Modify", "before": "Standard_LRS", "after": "Standard_GRS"},
        ])
    );
    assert_eq!((&told[1]["before"]["tags"]["kept"], &told[1]["after"]["tags"]["kept"]), (&json!("1"), &json!("3")));
    assert_eq!(told[1]["after"]["apiVersion"], "2021-04-01");
    assert_eq!((&told[2]["before"], &told[2]["after"]["name"], &told[2]["after"]["id"]), (&Value::Null, &json!("fresh"), &json!(fresh)));
    // What else is in the group is left alone.
    assert!(kinds(&told)[3..].iter().all(|(_, kind)| *kind == "Ignore") && kinds(&told).iter().any(|(id, _)| id.eq_ignore_ascii_case(LAB)));
    assert_eq!(azure.get(&format!("{}?api-version=2021-04-01", id("other"))).await.expect(200).body, before);
    azure.get(&format!("{fresh}?api-version=2021-04-01")).await.refused(404, "ResourceNotFound");
}

#[tokio::test]
async fn a_complete_deployment_tells_what_it_would_delete_by_ids_alone_if_so_asked() {
    let azure = Azure::start().await;
    for name in ["stays", "goes"] {
        azure.put(&format!("{}?api-version=2021-04-01", id(name)), storage(name)).await;
    }
    let mut body = of(template(json!([storage("stays"), storage("comes")])));
    body["properties"]["mode"] = json!("Complete");
    body["properties"]["whatIfSettings"] = json!({"resultFormat": "ResourceIdOnly"});
    let told = changes(&azure, &body).await;
    let wanted = [(id("stays"), "Deploy"), (id("comes"), "Create"), (id("goes"), "Delete"), (LAB.to_owned(), "Delete")];
    for (id, kind) in &wanted {
        assert!(kinds(&told).iter().any(|(told, is)| told.eq_ignore_ascii_case(id) && is == kind), "{id} {kind}: {told:#?}");
    }
    assert!(told.iter().all(|change| change.as_object().is_some_and(|change| change.len() == 2)), "{told:#?}");
    azure.get(&format!("{}?api-version=2021-04-01", id("goes"))).await.expect(200);
    body["properties"]["whatIfSettings"]["resultFormat"] = json!("Everything");
    let url = format!("{GROUP}/providers/Microsoft.Resources/deployments/perhaps/whatIf?api-version={ARM}");
    azure.post(&url, body).await.refused(400, "InvalidRequestContent");
    azure.post(&url, of(json!({"resources": [{}]}))).await.refused(400, "InvalidTemplate");
}

#[tokio::test]
async fn secrets_are_never_shown_whatever_is_made_of_them() {
    let azure = Azure::start().await;
    let mut machine = windows(&[]);
    machine["properties"]["password"] = json!("[parameters('password')]");
    machine["properties"]["notes"] = json!("[variables('derived')]");
    machine["type"] = json!("Microsoft.DevTestLab/labs/virtualmachines");
    machine["apiVersion"] = json!(DTL);
    machine["name"] = json!("contoso/foreseen");
    let mut inner = storage("inner");
    inner["tags"] = json!({"open": "[parameters('open')]", "given": "[parameters('given')]", "own": "[parameters('own')]"});
    let mut nested = template(json!([inner]));
    nested["parameters"] = json!({"open": {"type": "string"}, "given": {"type": "string"}, "own": {"type": "securestring"}});
    let nested = json!({"type": "Microsoft.Resources/deployments", "apiVersion": ARM, "name": "nested", "properties": {"mode": "Incremental",
        "expressionEvaluationOptions": {"scope": "inner"}, "template": nested,
        "parameters": {"open": {"value": "visible"}, "given": {"value": "[parameters('password')]"}, "own": {"value": "written-Secret-2"}}}});
    let mut outer = template(json!([machine, nested]));
    outer["parameters"] = json!({"password": {"type": "securestring", "minLength": 8}});
    outer["variables"] = json!({"derived": "[base64(parameters('password'))]"});
    let mut body = of(outer);
    body["properties"]["parameters"] = json!({"password": {"value": "P@ssw0rd-tester-1"}});
    let told = changes(&azure, &body).await;
    let text = json!(told).to_string();
    // The second is the first in base64.
    for secret in ["P@ssw0rd-tester-1", "UEBzc3cwcmQtdGVzdGVyLTE", "written-Secret-2"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let machine = format!("{LAB}/virtualmachines/foreseen");
    let (at_machine, at_inner) = (&told[0], &told[1]);
    assert!(at_machine["resourceId"].as_str().is_some_and(|id| id.eq_ignore_ascii_case(&machine)), "{at_machine:#}");
    assert_eq!((&at_machine["changeType"], &at_machine["after"]["properties"]["userName"]), (&json!("Create"), &json!("tester")));
    assert_eq!(at_machine["after"]["properties"]["password"], "[parameters('password')]");
    assert_eq!((&at_inner["resourceId"], &at_inner["after"]["tags"]["open"]), (&json!(id("inner")), &json!("visible")));
}

#[tokio::test]
async fn nested_deployments_are_followed_and_ids_that_only_the_course_tells_are_unsupported() {
    let azure = Azure::start().await;
    let named = |name: &str, value: &str| {
        let mut inner = template(json!([storage("[parameters('name')]")]));
        inner["parameters"] = json!({"name": {"type": "string"}});
        json!({"type": "Microsoft.Resources/deployments", "apiVersion": ARM, "name": name, "dependsOn": ["first"], "properties": {"mode": "Incremental",
            "expressionEvaluationOptions": {"scope": "inner"}, "template": inner, "parameters": {"name": {"value": value}}}})
    };
    let later = "[concat(reference('first').statusOfPrimary, 'x')]";
    let told = changes(&azure, &of(template(json!([storage("first"), named("plain", "second"), named("late", later)])))).await;
    let (first, second) = (id("first"), id("second"));
    assert_eq!(kinds(&told)[..2], [(first.as_str(), "Create"), (&second, "Create")]);
    assert_eq!(told[2]["changeType"], "Unsupported", "{:#}", told[2]);
    assert!(told[2]["unsupportedReason"].as_str().is_some_and(|reason| reason.contains("WhatIfUnidentifiableResource")));
}

#[tokio::test]
async fn a_subscription_is_foreseen_with_its_groups() {
    let azure = Azure::start().await;
    let group = |name: &str, tags: Value| json!({"type": "Microsoft.Resources/resourceGroups", "apiVersion": ARM, "name": name, "location": "westeurope", "tags": tags});
    let inner = json!({"type": "Microsoft.Resources/deployments", "apiVersion": ARM, "name": "inner", "resourceGroup": "fresh", "dependsOn": ["fresh"],
        "properties": {"mode": "Incremental", "template": template(json!([storage("inside")]))}});
    let mut body = of(template(json!([group("devtestlabs", json!({"a": "b"})), group("fresh", json!({})), inner])));
    body["location"] = json!("westeurope");
    let told = asked(&azure, SUBSCRIPTION, &body).await;
    let told = told["properties"]["changes"].as_array().unwrap_or_else(|| panic!("{told:#}")).clone();
    let (fresh, inside) =
        (format!("{SUBSCRIPTION}/resourceGroups/fresh"), format!("{SUBSCRIPTION}/resourceGroups/fresh/providers/{STORAGE}/inside"));
    assert_eq!(kinds(&told), [(GROUP, "Modify"), (&fresh, "Create"), (&inside, "Create")]);
    assert_eq!(told[0]["delta"], json!([{"path": "tags.a", "propertyChangeType": "Create", "after": "b"}]));
    azure.get(&format!("{fresh}?api-version={ARM}")).await.refused(404, "ResourceGroupNotFound");
}

#[tokio::test]
async fn what_would_fail_is_told_with_the_providers_words() {
    let azure = Azure::start().await;
    let told = asked(&azure, GROUP, &of(template(json!([storage("NoSuchName!")])))).await;
    assert_eq!((&told["status"], &told["error"]["code"]), (&json!("Failed"), &json!("DeploymentFailed")));
    assert!(told["error"]["details"].to_string().contains("AccountNameInvalid"), "{told:#}");
}
