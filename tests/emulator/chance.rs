//! Faults by chance, as clients meet them.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ARM, Azure, DTL, GROUP, LAB, windows};

async fn chaos(azure: &Azure, chaos: Value) {
    azure.control("settings", json!({"chaos": chaos})).await;
}

async fn only(azure: &Azure, kind: &str, path: &str) {
    chaos(azure, json!({"rate": 1, "kinds": [kind], "path": path, "limit": 1, "maxDelaySeconds": 0})).await;
}

#[tokio::test]
async fn a_reset_comes_before_or_after_the_request_took_effect() {
    let azure = Azure::start().await;
    for (kind, status) in [("resetBefore", 404), ("resetAfter", 204)] {
        let path = format!("/subscriptions/11111111-1111-4111-8111-111111111111/resourcegroups/{kind}?api-version={ARM}");
        only(&azure, kind, "resourcegroups/").await;
        let request = azure.http.put(azure.url(&path)).bearer_auth(&azure.token).body(json!({"location": "westeurope"}).to_string());
        request.send().await.expect_err("cut off");
        azure.send(Method::HEAD, &path, None).await.expect(status);
    }
}

#[tokio::test]
async fn an_answer_breaks_off_in_the_middle_of_its_body() {
    let azure = Azure::start().await;
    let path = format!("{LAB}?api-version={DTL}");
    let whole = azure.http.get(azure.url(&path)).bearer_auth(&azure.token).send().await.expect("an answer").bytes().await.expect("whole");
    only(&azure, "truncate", "labs/contoso$").await;
    let mut answer = azure.http.get(azure.url(&path)).bearer_auth(&azure.token).send().await.expect("a status");
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, Some(whole.len() as u64)));
    let mut got = 0;
    let broken = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => got += chunk.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken && got == whole.len() / 2, "{got} of {}", whole.len());
}

#[tokio::test]
async fn a_token_that_expired_by_chance_stays_expired() {
    let azure = Azure::start().await;
    let path = format!("{GROUP}?api-version={ARM}");
    only(&azure, "tokenExpires", "resourcegroups/").await;
    azure.get(&path).await.refused(401, "ExpiredAuthenticationToken");
    azure.get(&path).await.refused(401, "ExpiredAuthenticationToken");
    let (emulator, http) = (azure.emulator, azure.http);
    drop(http);
    let azure = Azure::over(emulator).await;
    azure.get(&path).await.expect(200);
}

#[tokio::test]
async fn operations_fail_or_do_not_end_and_artifacts_fail() {
    let azure = Azure::start().await;
    let machine = |name: &str| format!("{LAB}/virtualmachines/{name}?api-version={DTL}");
    chaos(&azure, json!({"rate": 1, "kinds": ["operationFails"], "path": "virtualmachines/fails$"})).await;
    let answer = azure.put(&machine("fails"), windows(&[])).await.expect(201);
    let end = azure.finished(&answer).await;
    assert_eq!((&end["status"], &end["error"]["code"]), (&json!("Failed"), &json!("InternalExecutionError")));

    chaos(&azure, json!({"rate": 1, "kinds": ["operationStuck"], "path": "virtualmachines/stuck$", "stuckSeconds": 1})).await;
    let begun = std::time::Instant::now();
    let answer = azure.put(&machine("stuck"), windows(&[])).await.expect(201);
    assert_eq!(azure.finished(&answer).await["status"], "Succeeded");
    assert!(begun.elapsed().as_millis() >= 1000);

    chaos(&azure, json!({"rate": 1, "kinds": ["artifactFails"]})).await;
    let machine = azure.machine("artifacts", windows(&["windows-noop"])).await;
    assert_eq!(machine["properties"]["artifactDeploymentStatus"]["deploymentStatus"], "Failed", "{machine:#}");
    let told = azure.get("/emulator/chaos").await.expect(200).body;
    assert_eq!((&told["count"], &told["injected"][0]["kind"]), (&json!(1), &json!("artifactFails")));
}

#[tokio::test]
async fn the_same_seed_meets_the_same_requests_with_the_same_faults() {
    let mut stories = Vec::new();
    for _ in 0..2 {
        let azure = Azure::start().await;
        chaos(&azure, json!({"seed": 11, "rate": 0.5, "kinds": ["throttle", "error"], "retryAfterSeconds": 0})).await;
        let mut story = Vec::new();
        for _ in 0..20 {
            let answer = azure.get(&format!("{GROUP}?api-version={ARM}")).await;
            assert!(answer.header("retry-after").is_empty());
            story.push(answer.status);
        }
        azure.delete("/emulator/faults").await.expect(200);
        azure.get(&format!("{GROUP}?api-version={ARM}")).await.expect(200);
        assert_eq!(azure.get("/emulator/chaos").await.expect(200).body, Value::Null);
        stories.push(story);
    }
    assert!(stories[0].contains(&200) && stories[0].contains(&429) && stories[0].iter().any(|status| *status >= 500), "{stories:?}");
    assert_eq!(stories[0], stories[1]);
    let azure = Azure::start().await;
    azure.post("/emulator/settings", json!({"chaos": {"rate": 7}})).await.refused(400, "InvalidControlRequest");
}
