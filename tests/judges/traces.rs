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

/// Recordings that have no request to replay, or need what the emulator's seed has not.
const NOT_REPLAYED: [&str; 3] = ["deployments PUT", "deployments failure", "resource group DELETE"];

#[tokio::test]
async fn recorded_traffic_is_answered_in_the_same_shape() {
    let Some(folder) = data("traces") else { return };
    let mut text = std::fs::read_to_string(folder.join("observed-lro-traces.json")).expect("the recordings");
    for (pattern, replacement) in NAMES {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, replacement).into_owned();
    }
    let recorded: Value = serde_json::from_str(&text).expect("JSON");
    let azure = Azure::start().await;
    let mut replayed = 0;
    for trace in recorded["traces"].as_array().expect("recordings") {
        let name = trace["name"].as_str().expect("a name");
        if NOT_REPLAYED.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        replay(&azure, name, trace["exchanges"].as_array().expect("exchanges")).await;
        replayed += 1;
    }
    assert!(replayed >= 8, "{replayed} recordings");
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
    let names = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default().to_owned());
    (path.to_ascii_lowercase(), names.filter(|name| name.len() > 1).collect())
}
