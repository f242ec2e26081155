//! Seeds: what there is at the start.

use std::fs;

use dtl::emulator::{self, Error, Options};
use serde_json::{Value, json};

use super::client::{ARM, Azure, DTL, GROUP, LAB};

fn seed(resources: Value) -> Value {
    json!({"subscriptions": [{"subscriptionId": "11111111-1111-4111-8111-111111111111",
        "resourceGroups": [{"name": "devtestlabs", "location": "westeurope", "labs": [{"name": "contoso", "virtualNetworks": ["Own"]}], "resources": resources}]}]})
}

#[tokio::test]
async fn the_ready_line_names_what_there_is() {
    let azure = Azure::start().await;
    let ready = serde_json::to_value(azure.emulator.ready()).expect("JSON");
    assert_eq!(ready["subscriptions"], json!([{"subscriptionId": "11111111-1111-4111-8111-111111111111", "labs": [LAB]}]));
    assert_eq!(ready["tenantId"], "22222222-2222-4222-8222-222222222222");
    assert_eq!(ready["pid"], std::process::id());
}

#[tokio::test]
async fn seeded_resources_stand_as_they_are() {
    let resources = json!([
        {"id": format!("{LAB}/customImages/Old"), "properties": {"creationDate": "2020-01-01T00:00:00Z", "provisioningState": "Failed", "vhd": {"osType": "Linux"}}, "tags": {"ImagePath": "a/b.json"}},
        {"id": format!("{LAB}/virtualMachines/Own"), "properties": {"size": "s", "osType": "Linux", "computeId": "/subscriptions/1/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/m"}},
        {"id": format!("{LAB}/virtualMachines/Plain"), "properties": {"size": "s", "osType": "Linux"}},
        {"id": format!("{GROUP}/providers/Microsoft.KeyVault/vaults/v")},
        {"id": format!("{GROUP}/providers/Microsoft.KeyVault/vaults/v/secrets/s"), "properties": {"value": "hush"}},
    ]);
    let azure = Azure::seeded(Some(&seed(resources))).await;
    let image = azure.get(&format!("{LAB}/customimages/old?api-version={DTL}")).await.expect(200).body;
    assert_eq!((&image["properties"]["provisioningState"], &image["tags"]["ImagePath"]), (&json!("Failed"), &json!("a/b.json")));
    let all = azure.get("/emulator/resources").await.expect(200).body;
    let shown = all.as_array().expect("a list").iter().find(|one| one["name"] == "Old").expect("the image");
    assert_eq!(shown["emulator"]["createdAt"], "2020-01-01T00:00:00.000Z");
    assert!(!all.to_string().contains("hush"));
    let own = azure.get(&format!("{LAB}/virtualmachines/own?api-version={DTL}")).await.body;
    assert!(own["properties"]["computeId"].as_str().is_some_and(|id| id.ends_with("/m")));
    let plain = azure.get(&format!("{LAB}/virtualmachines/plain?api-version={DTL}")).await.body;
    let compute = plain["properties"]["computeId"].as_str().expect("a compute machine");
    azure.get(&format!("{compute}?api-version=2024-03-01")).await.expect(200);
    let networks = azure.get(&format!("{LAB}/virtualnetworks?api-version={DTL}")).await.body;
    assert_eq!(networks["value"][0]["name"], "Own");

    let template = json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "parameters": {"secret": {"type": "securestring"}}, "resources": [], "outputs": {"length": {"type": "int", "value": "[length(parameters('secret'))]"}}});
    let reference =
        json!({"secret": {"reference": {"keyVault": {"id": format!("{GROUP}/providers/Microsoft.KeyVault/vaults/v")}, "secretName": "s"}}});
    let path = format!("{GROUP}/providers/Microsoft.Resources/deployments/d?api-version={ARM}");
    let answer =
        azure.put(&path, json!({"properties": {"mode": "Incremental", "template": template, "parameters": reference}})).await.expect(201);
    assert_eq!(azure.finished(&answer).await["status"], "Succeeded");
    assert_eq!(azure.get(&path).await.body["properties"]["outputs"]["length"]["value"], 4);
}

#[tokio::test]
async fn artifacts_and_environments_are_read_from_folders_beside_the_seed() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    };
    write(
        "repo/a/windows-thing/artifactFile.json",
        "\u{feff}{\"title\": \"Thing\", // why\n \"targetOsType\": \"Windows\", \"parameters\": {},}",
    );
    write("repo/e/Shop/azuredeploy.json", "{\"resources\": []}");
    write("repo/e/Shop/metadata.json", "{\"itemDisplayName\": \"The shop\"}");
    let mut seed = seed(json!([]));
    seed["subscriptions"][0]["resourceGroups"][0]["labs"][0]["artifactSources"] =
        json!([{"name": "own repo", "artifacts": "repo/a", "environments": "repo/e"}]);
    let path = folder.path().join("seed.json");
    fs::write(&path, seed.to_string()).expect("written");
    let emulator = emulator::start(Options { seed: Some(path), ..Options::default() }).await.expect("it starts");
    let azure = Azure::over(emulator).await;
    let sources = azure.get(&format!("{LAB}/artifactsources?api-version={DTL}")).await.body;
    assert_eq!((&sources["value"][0]["name"], sources["value"].as_array().map(Vec::len)), (&json!("own repo"), Some(1)));
    let artifact = azure.get(&format!("{LAB}/artifactsources/own repo/artifacts/windows-thing?api-version={DTL}")).await.expect(200).body;
    assert_eq!(artifact["properties"]["title"], "Thing");
    let template = azure.get(&format!("{LAB}/artifactsources/own repo/armtemplates/shop?api-version={DTL}")).await.expect(200).body;
    assert_eq!(template["properties"]["displayName"], "The shop");
}

#[tokio::test]
async fn wrong_options_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("seed.json");
    let with = |text: &str| {
        fs::write(&path, text).expect("written");
        emulator::start(Options { seed: Some(path.clone()), ..Options::default() })
    };
    for text in ["{", "{}", "{\"subscriptions\": 1}", "{\"subscriptions\": [], \"pageSize\": 0}"] {
        assert!(matches!(with(text).await, Err(Error::Seed { .. })), "{text}");
    }
    let bad_id = seed(json!([{"id": "nonsense"}])).to_string();
    assert!(matches!(with(&bad_id).await, Err(Error::Seed { .. })));
    let missing = Options { seed: Some(folder.path().join("none.json")), ..Options::default() };
    assert!(matches!(emulator::start(missing).await, Err(Error::File { .. })));
    assert!(matches!(emulator::start(Options { speed: 0.0, ..Options::default() }).await, Err(Error::Speed(_))));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = taken.local_addr().expect("an address");
    assert!(matches!(emulator::start(Options { listen, ..Options::default() }).await, Err(Error::Listen { .. })));
}
