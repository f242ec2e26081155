//! Every operation that Azure publishes and the emulator serves stands in `docs/emulator-routes.md`: some client has used it.

use std::fs;

use reqwest::Method;
use serde_json::Value;

use super::routes;
use crate::harness::{Harness, RESOURCE_GROUP, SUBSCRIPTION, data};

/// The published descriptions, with an api-version at which each is asked.
const DESCRIPTIONS: [(&str, &str); 5] = [
    ("devtestlabs-DTL", "2018-09-15"),
    ("compute", "2024-03-01"),
    ("compute-disk", "2023-10-02"),
    ("compute-gallery", "2024-03-03"),
    ("resources", "2021-04-01"),
];

/// What the emulator only keeps, as it keeps the types of every provider that it knows nothing of, and Service Fabric.
const KEPT: [&str; 6] = [
    "/microsoft.compute/availabilitysets",
    "/microsoft.compute/hostgroups",
    "/microsoft.compute/proximityplacementgroups",
    "/microsoft.compute/virtualmachinescalesets",
    "/microsoft.compute/galleries/{}/applications",
    "/servicefabrics",
];

/// The answers to what is not served.
const UNSERVED: [&str; 4] = ["InvalidResourceType", "InvalidResourceNamespace", "NoRegisteredProviderFound", "MethodNotAllowed"];

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "a test that skips says so")]
async fn every_published_operation_that_is_served_has_a_judge() {
    let Some(folder) = data("openapi") else {
        eprintln!("skipped: the published descriptions are not there");
        return;
    };
    let harness = Harness::start().await.tolerating_unknown_routes();
    let mut without = Vec::new();
    let mut served = 0;
    for (name, version) in DESCRIPTIONS {
        let text = fs::read_to_string(folder.join(format!("{name}.json"))).expect("a description");
        let description: Value = serde_json::from_str(&text).expect("JSON");
        for (path, operations) in description["paths"].as_object().expect("paths") {
            let path = filled(path);
            let route = routes::route(&path.to_ascii_lowercase());
            if KEPT.iter().any(|kept| route.contains(kept)) {
                continue;
            }
            for method in operations.as_object().into_iter().flatten().filter_map(|(method, _)| method_named(method)) {
                if path.starts_with("/{") || !is_served(&harness, &method, &path, version).await {
                    continue;
                }
                served += 1;
                if !routes::is_judged(method.as_str(), &route) {
                    without.push(format!("{method} {route}"));
                }
            }
        }
    }
    assert!(served > 150, "only {served} are served");
    assert!(without.is_empty(), "no client has used: {without:#?}");
    harness.finish().await;
}

/// A path with names: those of the lab that is there, and of things that are not.
fn filled(path: &str) -> String {
    path.split('/')
        .map(|part| match part.to_ascii_lowercase().as_str() {
            "{subscriptionid}" => SUBSCRIPTION,
            "{resourcegroupname}" => RESOURCE_GROUP,
            "{labname}" => "contoso",
            name if name.starts_with('{') && name != "{scope}" && name != "{resourceid}" => "none",
            _ => part,
        })
        .collect::<Vec<_>>()
        .join("/")
}

fn method_named(name: &str) -> Option<Method> {
    ["get", "head", "put", "patch", "post", "delete"].contains(&name).then(|| name.to_ascii_uppercase().parse().expect("a method"))
}

/// Whether a request is served. An action on what is not there tells nothing, and what is there is not deleted.
async fn is_served(harness: &Harness, method: &Method, path: &str, version: &str) -> bool {
    if *method == Method::DELETE && !path.ends_with("/none") {
        return false;
    }
    let body = matches!(*method, Method::PUT | Method::PATCH | Method::POST).then(|| serde_json::json!({}));
    let (status, answer) = harness.send(method.clone(), path, version, body.as_ref()).await;
    let code = answer["error"]["code"].as_str().unwrap_or_default();
    !(UNSERVED.contains(&code) || status == 405 || status == 404 && (*method == Method::POST || *method == Method::HEAD))
}
