//! Recorded traffic of Azure (`../shared/data/traces`), replayed on an emulator and compared in shape: status codes, headers, addresses to
//! poll, the keys of bodies, and the order of an operation's states.

use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    emulator::client::{Answer, Azure},
    harness::{SUBSCRIPTION, data},
};

/// What in the recordings is another lab's: pattern and replacement.
const NAMES: [(&str, &str); 6] = [
    ("00000000-0000-0000-0000-000000000000", SUBSCRIPTION),
    ("(?i)/resourcegroups/(rg1|labtest|cliautomation01)/", "/resourceGroups/devtestlabs/"),
    ("(?i)cliautomationlab", "contoso"),
    ("privaterepo431", "public repo"),
    ("documentdb-webapp", "Storage"),
    ("https://management.azure.com", ""),
];

/// Recordings that hold the answers alone: what was asked for is made up below.
const ANSWERS_ONLY: [&str; 3] = ["deployments PUT", "deployments failure", "resource group DELETE"];

#[tokio::test]
async fn recorded_traffic_is_answered_in_the_same_shape() {
    let Some(recorded) = recordings() else { return };
    let azure = Azure::start().await;
    let mut replayed = 0;
    for trace in recorded["traces"].as_array().expect("recordings") {
        let name = trace["name"].as_str().expect("a name");
        if ANSWERS_ONLY.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        replay(&azure, name, trace["exchanges"].as_array().expect("exchanges")).await;
        replayed += 1;
    }
    assert!(replayed >= 8, "{replayed} recordings");
}

/// The recordings, with the names of the emulator's own lab; `None` where they are not at hand.
fn recordings() -> Option<Value> {
    let folder = data("traces")?;
    let mut text = std::fs::read_to_string(folder.join("observed-lro-traces.json")).expect("the recordings");
    for (pattern, replacement) in NAMES {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, replacement).into_owned();
    }
    Some(serde_json::from_str(&text).expect("JSON"))
}

/// The exchanges of the recording whose name begins so.
fn recording<'r>(recorded: &'r Value, start: &str) -> &'r [Value] {
    let mut traces = recorded["traces"].as_array().expect("recordings").iter();
    let found = traces.find(|trace| trace["name"].as_str().is_some_and(|name| name.starts_with(start)));
    found.and_then(|trace| trace["exchanges"].as_array()).unwrap_or_else(|| panic!("no recording of {start}"))
}

fn deployment(template: &Value, parameters: &Value) -> Value {
    let mut template = template.clone();
    template["$schema"] = json!("https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#");
    template["contentVersion"] = json!("1.0.0.0");
    json!({"properties": {"mode": "Incremental", "template": template, "parameters": parameters}})
}

#[tokio::test]
async fn a_deployment_of_a_lab_goes_as_recorded() {
    let Some(recorded) = recordings() else { return };
    // The emulator's lab is somewhere else already.
    let recorded: Value = serde_json::from_str(&recorded.to_string().replace("contoso", "recorded")).expect("JSON");
    let exchanges = recording(&recorded, "deployments PUT");
    let azure = Azure::start().await;
    let (url, first) = (exchanges[0]["url"].as_str().expect("a URL"), &exchanges[0]["body"]);
    let group = first["id"].as_str().and_then(|id| id.split("/providers/").next()).expect("a group");
    azure.send(Method::PUT, &format!("{group}?api-version=2021-04-01"), Some(&json!({"location": "westeurope"}))).await;
    // A lab with a schedule and a source, as its answer says that there were.
    let mut template = json!({"parameters": {"name": {"type": "string"}}, "resources": []});
    for (kind, name) in [
        ("labs", "[parameters('name')]"),
        ("labs/schedules", "[concat(parameters('name'), '/LabVmsShutdown')]"),
        ("labs/artifactsources", "[concat(parameters('name'), '/own')]"),
    ] {
        let mut resource =
            json!({"type": format!("Microsoft.DevTestLab/{kind}"), "apiVersion": "2018-09-15", "name": name, "properties": {}});
        match kind {
            "labs" => resource["location"] = json!("westus"),
            kind => {
                resource["dependsOn"] = json!(["[resourceId('Microsoft.DevTestLab/labs', parameters('name'))]"]);
                if kind == "labs/schedules" {
                    resource["location"] = json!("westus");
                    resource["properties"] = json!({"status": "Enabled", "taskType": "LabVmsShutdownTask", "timeZoneId": "UTC", "dailyRecurrence": {"time": "1900"}});
                } else {
                    resource["properties"] = json!({"uri": "https://github.com/Azure/azure-devtestlab.git", "sourceType": "GitHub", "folderPath": "/Artifacts", "branchRef": "master", "securityToken": "x"});
                }
            }
        }
        template["resources"].as_array_mut().expect("a list").push(resource);
    }
    let given: serde_json::Map<String, Value> = first["properties"]["parameters"]
        .as_object()
        .expect("parameters")
        .iter()
        .map(|(name, shown)| (name.clone(), json!({"value": shown["value"]})))
        .collect();
    let answer = azure.send(Method::PUT, url, Some(&deployment(&template, &json!(given)))).await;
    compare(url, &exchanges[0], &answer);
    let (shown, wanted) = (&answer.body["properties"], &first["properties"]);
    assert_eq!(
        (&shown["parameters"], &shown["mode"], &shown["provisioningState"]),
        (&wanted["parameters"], &wanted["mode"], &wanted["provisioningState"])
    );
    let lower = |value: &Value| value.to_string().to_lowercase();
    for dependency in wanted["dependencies"].as_array().expect("dependencies") {
        let has = shown["dependencies"].as_array().is_some_and(|all| {
            all.iter()
                .any(|one| lower(&one["id"]) == lower(&dependency["id"]) && lower(&one["dependsOn"]) == lower(&dependency["dependsOn"]))
        });
        assert!(has, "no {dependency:#} in {:#}", shown["dependencies"]);
    }
    assert_eq!(lower(&shown["providers"][0]["namespace"]), lower(&wanted["providers"][0]["namespace"]));
    let states: Vec<&str> = exchanges.iter().filter_map(|exchange| exchange["body"]["status"].as_str()).collect();
    assert_eq!(polled(&azure, answer.header("azure-asyncoperation"), &states).await, states);
    let last = exchanges.last().expect("an exchange");
    let ended = azure.get(last["url"].as_str().expect("a URL")).await.expect(200);
    for name in last["bodyGains"]["properties"].as_object().expect("what came to it").keys() {
        assert!(!ended.body["properties"][name].is_null(), "no {name} in {:#}", ended.body);
    }
    assert_eq!(ended.body["properties"]["provisioningState"], last["bodyGains"]["properties"]["provisioningState"]);
}

#[tokio::test]
async fn a_deployment_fails_as_recorded() {
    let Some(recorded) = recordings() else { return };
    let wanted = &recording(&recorded, "deployments failure")[0]["body"];
    let azure = Azure::start().await;
    // The error of the provider, as it stands in the recording.
    let inner: Value = serde_json::from_str(wanted["error"]["details"][0]["message"].as_str().expect("a text")).expect("JSON in a text");
    azure.control("faults", json!([{"path": "storageAccounts/refused$", "provisioning": "Failed", "body": inner["error"]}])).await;
    let resource = json!({"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2021-04-01", "name": "refused", "location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}});
    let url = format!("{}/providers/Microsoft.Resources/deployments/refused?api-version=2016-09-01", super::super::emulator::client::GROUP);
    let answer = azure.send(Method::PUT, &url, Some(&deployment(&json!({"resources": [resource]}), &json!({})))).await.expect(201);
    let ended = azure.finished(&answer).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&wanted["status"], &wanted["error"]["code"]));
    let text = ended["error"]["details"][0]["message"].as_str().expect("a text");
    assert!(text.contains("\r\n"), "{text}");
    for name in ["code", "message"] {
        assert!(text.contains(inner["error"][name].as_str().expect("a text")), "no {name} in {text}");
    }
    // The same sentences, but for an address that has changed since.
    let sentences = |value: &Value| value.as_str().expect("a text").split("Please see").next().map(str::to_owned);
    assert_eq!(sentences(&ended["error"]["message"]), sentences(&wanted["error"]["message"]));
}

#[tokio::test]
async fn a_group_with_a_lock_below_it_stays_as_recorded() {
    let Some(recorded) = recordings() else { return };
    let exchange = &recording(&recorded, "resource group DELETE")[0];
    let azure = Azure::start().await;
    let url = exchange["url"].as_str().expect("a URL");
    let message = exchange["body"]["error"]["message"].as_str().expect("a text");
    let account = message.split('\'').find(|part| part.contains("/storageAccounts/")).expect("what is locked");
    let group = url.split('?').next().expect("a path");
    azure.send(Method::PUT, &format!("{group}?api-version=2021-04-01"), Some(&json!({"location": "westeurope"}))).await.expect(201);
    let made = json!({"location": "westeurope", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}});
    azure.send(Method::PUT, &format!("{account}?api-version=2021-04-01"), Some(&made)).await.expect(202);
    let lock = format!("{account}/providers/Microsoft.Authorization/locks/own?api-version=2016-09-01");
    azure.send(Method::PUT, &lock, Some(&json!({"properties": {"level": "CanNotDelete"}}))).await.expect(201);
    let answer = azure.send(Method::DELETE, url, None).await;
    compare(url, exchange, &answer);
    let plain = |text: &str| text.to_lowercase();
    assert_eq!(plain(answer.body["error"]["message"].as_str().expect("a text")), plain(message));
    assert_eq!(answer.body["error"]["code"], exchange["body"]["error"]["code"]);
}

async fn replay(azure: &Azure, name: &str, exchanges: &[Value]) {
    let mut poll = String::new();
    let mut states = Vec::new();
    for exchange in exchanges {
        let url = exchange["url"].as_str().expect("a URL");
        let method: Method = exchange["method"].as_str().expect("a method").parse().expect("a method");
        if url.contains("/operations/") || url.starts_with('(') {
            if let Some(state) = exchange["body"]["status"].as_str().filter(|state| states.last() != Some(state)) {
                states.push(state);
            }
            continue;
        }
        if !states.is_empty() {
            assert_eq!(polled(azure, &poll, &states).await, states, "{name}");
            states.clear();
        }
        let mut body = exchange["requestBody"].clone();
        if let Some(deployment) = body.pointer_mut("/properties/deploymentProperties") {
            // The template at hand has other parameters.
            deployment["parameters"] = json!([]);
        }
        let answer = azure.send(method, url, (!body.is_null()).then_some(&body)).await;
        compare(&format!("{name}: {url}"), exchange, &answer);
        if !answer.header("azure-asyncoperation").is_empty() {
            poll = answer.header("azure-asyncoperation").to_owned();
        }
        // The machine that the other recordings are about.
        if url.contains("/createEnvironment") {
            assert_eq!(polled(azure, &poll, &["Running", "Succeeded"]).await.last().map(String::as_str), Some("Succeeded"), "{name}");
            body["name"] = json!("linuxvm1");
            let made = azure.send(Method::POST, url, Some(&body)).await.expect(202);
            assert!(polled(azure, made.header("azure-asyncoperation"), &[]).await.contains(&"Succeeded".to_owned()), "{name}");
        }
    }
    if !states.is_empty() {
        assert_eq!(polled(azure, &poll, &states).await, states, "{name}");
    }
}

/// The states that an operation goes through. One that is over before it is asked for may lack those before the last.
async fn polled(azure: &Azure, url: &str, recorded: &[&str]) -> Vec<String> {
    let mut states: Vec<String> = Vec::new();
    loop {
        let body = azure.get(url).await.expect(200).body;
        let state = body["status"].as_str().expect("a state").to_owned();
        if states.last() != Some(&state) {
            states.push(state.clone());
        }
        if !matches!(state.as_str(), "Running" | "Accepted") {
            break;
        }
    }
    if states.len() < recorded.len() && recorded.last().is_some_and(|last| states.last().is_some_and(|state| state == last)) {
        return recorded.iter().map(|state| (*state).to_owned()).collect();
    }
    states
}

fn compare(what: &str, recorded: &Value, answer: &Answer) {
    assert_eq!(recorded["status"], answer.status, "{what}: {:#}", answer.body);
    for (name, value) in recorded["headers"].as_object().into_iter().flatten() {
        // The budgets of a whole region, and what only Azure's own portal reads.
        if name.contains("-global-") || name == "x-ms-dtl-vm-formula-hash" {
            continue;
        }
        let got = answer.header(name);
        assert!(!got.is_empty(), "{what}: no header {name}");
        if matches!(name.as_str(), "azure-asyncoperation" | "location") {
            assert_eq!(shape(value.as_str().expect("an address")), shape(got), "{what}: {name}");
        }
    }
    for name in recorded["absentHeaders"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        assert_eq!(answer.header(name), "", "{what}: {name}");
    }
    for (recorded, got) in [(&recorded["body"], &answer.body), (&recorded["body"]["properties"], &answer.body["properties"])] {
        let keys = recorded.as_object().into_iter().flat_map(|map| map.keys());
        let missing: Vec<_> = keys.filter(|key| got.get(key.as_str()).is_none()).collect();
        assert!(missing.is_empty(), "{what}: no {missing:?} in {got:#}");
    }
}

/// An address to poll without what is one operation's own: host, region, name and signature.
fn shape(address: &str) -> (String, Vec<String>) {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let path = path.split_once("/subscriptions/").map_or(path, |(_, rest)| rest);
    let path = Regex::new("(?i)/locations/[^/]+/operations/[^/]+$").expect("a pattern").replace(path, "/locations/*/operations/*");
    let path = Regex::new("(?i)/operationStatuses/[0-9]+$").expect("a pattern").replace(&path, "/operationStatuses/*");
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default().to_owned());
    (path.to_ascii_lowercase(), names.filter(|name| name.len() > 1).collect())
}
