//! Microsoft.Resources: providers, places, tags, moves, export.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ARM, Answer, Azure, DTL, GROUP, LAB, ended};

const SUBSCRIPTION: &str = "/subscriptions/11111111-1111-4111-8111-111111111111";
const NETWORK: &str = "2023-09-01";
/// The api-version of the published description: answers are held against it by the letter.
const PUBLISHED: &str = "2019-08-01";

fn address(group: &str, name: &str) -> String {
    format!("{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Network/publicIPAddresses/{name}")
}

async fn group(azure: &Azure, name: &str) -> String {
    let id = format!("{SUBSCRIPTION}/resourceGroups/{name}");
    azure.put(&format!("{id}?api-version={ARM}"), json!({"location": "westeurope"})).await.expect(201);
    id
}

/// Makes a public address.
async fn make(azure: &Azure, id: &str, tags: Value) {
    let body = json!({"location": "westeurope", "tags": tags, "properties": {"publicIPAllocationMethod": "Static"}});
    azure.put(&format!("{id}?api-version={NETWORK}"), body).await.expect(201);
}

#[tokio::test]
async fn providers_tell_their_types_and_nothing_is_made_where_one_is_not_registered() {
    let azure = Azure::start().await;
    let all = azure.get(&format!("/providers?api-version={PUBLISHED}")).await.expect(200).body;
    assert!(all["value"].as_array().is_some_and(|all| all.iter().all(|one| !one["resourceTypes"][0]["apiVersions"][0].is_null())));
    let labs = azure.get(&format!("{SUBSCRIPTION}/providers/microsoft.devtestlab?api-version={PUBLISHED}")).await.expect(200).body;
    let kinds = labs["resourceTypes"].as_array().expect("types");
    let kind = |name: &str| kinds.iter().find(|kind| kind["resourceType"] == name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(
        (&labs["id"], &labs["registrationState"]),
        (&json!(format!("{SUBSCRIPTION}/providers/Microsoft.DevTestLab")), &json!("Registered"))
    );
    assert!(kind("labs")["locations"].as_array().is_some_and(|regions| regions.contains(&json!("West Europe"))));
    assert_eq!(
        (&kind("labs/sharedGalleries")["apiVersions"], &kind("labs/users")["locations"]),
        (&json!(["2018-10-15-preview"]), &json!([]))
    );
    let operations = azure.get(&format!("/providers/Microsoft.Resources/operations?api-version={PUBLISHED}")).await.expect(200).body;
    assert!(operations["value"].to_string().contains("Microsoft.Resources/deployments/write"));
    azure.get(&format!("/providers/Contoso.Nothing?api-version={PUBLISHED}")).await.refused(404, "InvalidResourceNamespace");

    let post = async |name: &str, action: &str| {
        azure.post(&format!("{SUBSCRIPTION}/providers/{name}/{action}?api-version={PUBLISHED}"), json!({})).await
    };
    post("Microsoft.Resources", "unregister").await.refused(409, "CannotUnregisterResourceProvider");
    post("Microsoft.DevTestLab", "unregister").await.refused(409, "CannotUnregisterResourceProvider");
    assert_eq!(post("Microsoft.Search", "unregister").await.expect(200).body["registrationState"], "Unregistered");
    let search = format!("{GROUP}/providers/Microsoft.Search/searchServices/s?api-version=2023-11-01");
    azure.put(&search, json!({"location": "westeurope"})).await.refused(409, "MissingSubscriptionRegistration");
    assert_eq!(post("Microsoft.Search", "register").await.expect(200).body["registrationState"], "Registered");
    azure.put(&search, json!({"location": "westeurope"})).await.expect(201);
}

#[tokio::test]
async fn resources_stay_where_they_are_and_go_only_where_their_type_is() {
    let azure = Azure::start().await;
    let storage = format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/placed?api-version=2021-04-01");
    let placed = |location: &str| json!({"location": location, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}});
    let refused = azure.put(&storage, placed("atlantis")).await.refused(400, "LocationNotAvailableForResourceType");
    assert!(
        refused.body["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("Microsoft.Storage/storageAccounts") && text.contains("westeurope"))
    );
    let made = azure.put(&storage, placed("West Europe")).await.expect(202);
    assert!(made.header("location").contains("/locations/westeurope/asyncoperations/"));
    assert_eq!(ended(&azure, made.header("location")).await.expect(200).body["properties"]["provisioningState"], "Succeeded");
    azure.put(&storage, placed("westeurope")).await.expect(200);
    azure.put(&storage, placed("northeurope")).await.refused(409, "InvalidResourceLocation");
    azure.put(&format!("{LAB}?api-version={DTL}"), json!({"location": "northeurope"})).await.refused(409, "InvalidResourceLocation");
    azure
        .put(&format!("{SUBSCRIPTION}/resourceGroups/x?api-version={ARM}"), json!({"location": "atlantis"}))
        .await
        .refused(400, "LocationNotAvailableForResourceGroup");
    let wrong = azure.get(&format!("{LAB}?api-version=2020-01-01")).await.refused(400, "NoRegisteredProviderFound");
    assert!(wrong.body["error"]["message"].as_str().is_some_and(|text| text.contains("'westeurope, northeurope, ")), "{:#}", wrong.body);
}

#[tokio::test]
async fn addresses_of_operations_are_in_the_resources_region_and_sets_go_at_once() {
    let azure = Azure::start().await;
    let compute = |kind: &str| format!("{GROUP}/providers/Microsoft.Compute/{kind}/one?api-version=2023-09-01");
    for kind in ["availabilitySets", "proximityPlacementGroups"] {
        let made = azure.put(&compute(kind), json!({"location": "northeurope"})).await;
        assert_eq!(made.status, if kind == "availabilitySets" { 200 } else { 201 }, "{:#}", made.body);
        azure.delete(&compute(kind)).await.expect(200);
    }
    let disk = json!({"location": "North Europe", "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 4}});
    let made = azure.put(&compute("disks"), disk).await.expect(202);
    assert!(made.header("azure-asyncoperation").contains("/providers/Microsoft.Compute/locations/northeurope/operations/"));
}

#[tokio::test]
async fn tags_are_merged_replaced_and_deleted_by_name_or_by_name_and_value() {
    let azure = Azure::start().await;
    let id = address("devtestlabs", "tagged");
    make(&azure, &id, json!({"Env": "dev", "cost": "1"})).await;
    let url = format!("{id}/providers/Microsoft.Resources/tags/default?api-version={ARM}");
    let patch = async |operation: &str, tags: Value| {
        azure.send(Method::PATCH, &url, Some(&json!({"operation": operation, "properties": {"tags": tags}}))).await
    };
    let tags = |answer: Answer| answer.expect(200).body["properties"]["tags"].clone();
    assert_eq!(tags(patch("Merge", json!({"env": "test", "team": "a"})).await), json!({"Env": "test", "cost": "1", "team": "a"}));
    assert_eq!(tags(patch("Delete", json!({"ENV": "other", "team": "", "cost": "1"})).await), json!({"Env": "test"}));
    assert_eq!(tags(patch("Replace", json!({"x": "y"})).await), json!({"x": "y"}));
    patch("Scramble", json!({})).await.refused(400, "InvalidRequestContent");
    patch("Merge", json!({"a<b": "c"})).await.refused(400, "InvalidTagNameCharacters");
    patch("Merge", json!({"a": "v".repeat(257)})).await.refused(400, "InvalidTagValueLength");
    let many: serde_json::Map<String, Value> = (0..51).map(|number| (format!("t{number}"), json!("v"))).collect();
    patch("Replace", json!(many)).await.refused(400, "InvalidTags");
    assert_eq!(azure.get(&format!("{id}?api-version={NETWORK}")).await.expect(200).body["tags"], json!({"x": "y"}));
}

#[tokio::test]
async fn a_subscription_knows_the_tags_in_use_and_those_made_beforehand() {
    let azure = Azure::start().await;
    make(&azure, &address("devtestlabs", "one"), json!({"env": "dev"})).await;
    make(&azure, &address("devtestlabs", "two"), json!({"Env": "test"})).await;
    let url = |rest: &str| format!("{SUBSCRIPTION}/tagNames{rest}?api-version={PUBLISHED}");
    let put = async |rest: &str| azure.send(Method::PUT, &url(rest), None).await;
    put("/cost").await.expect(201);
    put("/COST").await.expect(200);
    put("/cost/tagValues/high").await.expect(201);
    put("/cost/tagValues/high").await.expect(200);
    put("/none/tagValues/x").await.refused(404, "TagNameNotFound");
    put("/microsoftish").await.refused(400, "ReservedTagName");
    let all = azure.get(&url("")).await.expect(200).body;
    let all = all["value"].as_array().expect("names");
    let named = |name: &str| all.iter().find(|one| one["tagName"] == name).unwrap_or_else(|| panic!("no {name} in {all:#?}"));
    assert_eq!((&named("env")["count"]["value"], &named("cost")["count"]["value"]), (&json!(2), &json!(0)));
    let values: Vec<_> = named("env")["values"].as_array().expect("values").iter().map(|value| value["tagValue"].clone()).collect();
    assert_eq!((values, &named("cost")["values"][0]["tagValue"]), (vec![json!("dev"), json!("test")], &json!("high")));
    azure.delete(&url("/cost")).await.refused(409, "TagNameHasValues");
    azure.delete(&url("/env/tagValues/dev")).await.refused(409, "TagValueInUse");
    azure.delete(&url("/cost/tagValues/high")).await.expect(200);
    azure.delete(&url("/cost")).await.expect(200);
    azure.delete(&url("/cost")).await.expect(204);
}

#[tokio::test]
async fn resources_move_with_what_is_below_them_and_with_every_reference() {
    let azure = Azure::start().await;
    let source = group(&azure, "from").await;
    let target = group(&azure, "to").await;
    let id = address("from", "walking");
    make(&azure, &id, json!({})).await;
    let network = |group: &str| format!("{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Network/virtualNetworks/net");
    let subnets = json!({"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
        "subnets": [{"name": "inner", "properties": {"addressPrefix": "10.0.0.0/24"}}]}});
    azure.put(&format!("{}?api-version={NETWORK}", network("from")), subnets).await.expect(201);
    let interface = format!("{GROUP}/providers/Microsoft.Network/networkInterfaces/nic?api-version={NETWORK}");
    let configuration =
        json!({"name": "c", "properties": {"publicIPAddress": {"id": id}, "subnet": {"id": format!("{}/subnets/inner", network("from"))}}});
    azure.put(&interface, json!({"location": "westeurope", "properties": {"ipConfigurations": [configuration]}})).await.expect(201);
    let post = async |action: &str, resources: Value, target: &str| {
        let body = json!({"resources": resources, "targetResourceGroup": target});
        azure.post(&format!("{source}/{action}?api-version={PUBLISHED}"), body).await
    };
    let all = json!([id, network("from")]);
    let answer = post("validateMoveResources", all.clone(), &target).await.expect(202);
    ended(&azure, answer.header("location")).await.expect(204);
    azure.get(&format!("{id}?api-version={NETWORK}")).await.expect(200);
    let answer = post("moveResources", all, &target).await.expect(202);
    ended(&azure, answer.header("location")).await.expect(204);
    azure.get(&format!("{id}?api-version={NETWORK}")).await.refused(404, "ResourceNotFound");
    let moved = azure.get(&format!("{}?api-version={NETWORK}", address("to", "walking"))).await.expect(200).body;
    assert_eq!(moved["id"], address("to", "walking"));
    let inner = format!("{}/subnets/inner", network("to"));
    assert_eq!(azure.get(&format!("{inner}?api-version={NETWORK}")).await.expect(200).body["id"], inner);
    let shown = azure.get(&interface).await.expect(200).body["properties"]["ipConfigurations"][0]["properties"].clone();
    assert_eq!((&shown["publicIPAddress"]["id"], &shown["subnet"]["id"]), (&json!(address("to", "walking")), &json!(inner)));

    // What cannot go is said at the address of the operation; what is no such request, at once.
    let answer = post("moveResources", json!([id]), &target).await.expect(202);
    let refused = ended(&azure, answer.header("location")).await.refused(409, "ResourceMoveProviderValidationFailed");
    assert_eq!(refused.body["error"]["details"][0]["code"], "ResourceNotFound");
    post("moveResources", json!([]), &target).await.refused(400, "InvalidRequestContent");
    post("moveResources", json!([id]), &source).await.refused(400, "InvalidRequestContent");
    post("moveResources", json!([LAB]), &target).await.refused(400, "InvalidRequestContent");
    post("moveResources", json!([id]), &format!("{SUBSCRIPTION}/resourceGroups/none")).await.refused(404, "ResourceGroupNotFound");
}

#[tokio::test]
async fn an_exported_group_deploys_to_another_one() {
    let azure = Azure::start().await;
    let source = group(&azure, "whole").await;
    let target = group(&azure, "again").await;
    make(&azure, &address("whole", "ip-1"), json!({"a": "b"})).await;
    let account = format!("{source}/providers/Microsoft.Storage/storageAccounts/exported1?api-version=2021-04-01");
    let made =
        azure.put(&account, json!({"location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}})).await.expect(202);
    ended(&azure, made.header("location")).await.expect(200);
    let net = json!({"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": [{"name": "s", "properties": {"addressPrefix": "10.0.1.0/24"}}]}});
    let network = format!("{source}/providers/Microsoft.Network/virtualNetworks/net");
    azure.put(&format!("{network}?api-version={NETWORK}"), net).await.expect(201);
    let nic = json!({"location": "westeurope", "properties": {"ipConfigurations": [{"name": "c", "properties": {
        "publicIPAddress": {"id": address("whole", "ip-1")}, "subnet": {"id": format!("{network}/subnets/s")}}}]}});
    azure.put(&format!("{source}/providers/Microsoft.Network/networkInterfaces/nic?api-version={NETWORK}"), nic).await.expect(201);

    let export = async |body: Value| azure.post(&format!("{source}/exportTemplate?api-version={PUBLISHED}"), body).await;
    let answer = export(json!({"resources": ["*"], "options": "IncludeParameterDefaultValue,IncludeComments"})).await.expect(202);
    let template = ended(&azure, answer.header("location")).await.expect(200).body["template"].clone();
    assert_eq!(template["parameters"]["publicIPAddresses_ip_1_name"], json!({"type": "String", "defaultValue": "ip-1"}));
    let interface = template["resources"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["type"] == "Microsoft.Network/networkInterfaces"))
        .expect("the interface");
    assert!(interface["comments"].as_str().is_some_and(|text| text.contains("/networkInterfaces/nic")));
    assert!(interface["dependsOn"].to_string().contains("parameters('virtualNetworks_net_name')"), "{interface:#}");
    assert!(!template.to_string().contains("provisioningState"));

    // An account's name is one of its own in all of Azure.
    let parameters = json!({"storageAccounts_exported1_name": {"value": "exported2"}});
    let deployment = json!({"properties": {"mode": "Incremental", "template": template, "parameters": parameters}});
    let answer =
        azure.put(&format!("{target}/providers/Microsoft.Resources/deployments/again?api-version={ARM}"), deployment).await.expect(201);
    let status = azure.finished(&answer).await;
    assert_eq!(status["status"], "Succeeded", "{status:#}");
    let nic =
        azure.get(&format!("{target}/providers/Microsoft.Network/networkInterfaces/nic?api-version={NETWORK}")).await.expect(200).body;
    assert_eq!(nic["properties"]["ipConfigurations"][0]["properties"]["publicIPAddress"]["id"], address("again", "ip-1"));
    let copy = azure.get(&format!("{}?api-version={NETWORK}", address("again", "ip-1"))).await.expect(200).body;
    assert_eq!(copy["tags"], json!({"a": "b"}));

    let answer = export(json!({"resources": [address("whole", "ip-1")], "options": "SkipResourceNameParameterization"})).await.expect(202);
    let template = ended(&azure, answer.header("location")).await.expect(200).body["template"].clone();
    assert_eq!((&template["parameters"], &template["resources"][0]["name"]), (&json!({}), &json!("ip-1")));
    assert_eq!(template["resources"].as_array().map(Vec::len), Some(1));
    export(json!({"resources": []})).await.refused(400, "InvalidRequestContent");
    export(json!({"resources": ["*"], "options": "Everything"})).await.refused(400, "InvalidRequestContent");
    export(json!({"resources": [address("whole", "none")]})).await.refused(404, "ResourceNotFound");
}

#[tokio::test]
async fn the_hash_of_a_template_is_its_deployments() {
    let azure = Azure::start().await;
    let template = json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0", "resources": []});
    let url = format!("/providers/Microsoft.Resources/calculateTemplateHash?api-version={PUBLISHED}");
    let told = azure.post(&url, template.clone()).await.expect(200).body;
    assert_eq!(told["minifiedTemplate"], template.to_string());
    let hash: u64 = told["templateHash"].as_str().and_then(|text| text.parse().ok()).expect("a number of 64 bits");
    let answer = azure
        .put(
            &format!("{GROUP}/providers/Microsoft.Resources/deployments/hashed?api-version={ARM}"),
            json!({"properties": {"mode": "Incremental", "template": template}}),
        )
        .await
        .expect(201);
    assert_eq!(answer.body["properties"]["templateHash"], hash.to_string());
    let other = azure.post(&url, json!({"contentVersion": "1.0.0.1", "resources": []})).await.expect(200).body;
    assert_ne!(other["templateHash"], hash.to_string());
    azure.send(Method::POST, &url, Some(&json!([]))).await.refused(400, "InvalidRequestContent");
}
