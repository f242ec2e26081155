//! Azure's manners: envelopes, headers, pages, filters, faults, throttling; and the control interface.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{ARM, Azure, DTL, GROUP, LAB, linux, windows};

#[tokio::test]
async fn errors_come_in_resource_managers_envelope() {
    let azure = Azure::start().await;
    let subscription = "/subscriptions/11111111-1111-4111-8111-111111111111";
    let cases = [
        (LAB.to_owned(), 400, "MissingApiVersionParameter"),
        (format!("{LAB}?api-version=1"), 400, "InvalidApiVersionParameter"),
        (format!("{LAB}?api-version=2020-01-01"), 400, "NoRegisteredProviderFound"),
        (format!("{GROUP}/providers/Microsoft.DevTestLab/nothing/x?api-version={DTL}"), 404, "InvalidResourceType"),
        (format!("{GROUP}/providers/Contoso.Nothing/x/y?api-version={DTL}"), 404, "InvalidResourceNamespace"),
        (
            format!("{subscription}/resourceGroups/none/providers/Microsoft.DevTestLab/labs/x?api-version={DTL}"),
            404,
            "ResourceGroupNotFound",
        ),
        (format!("{LAB}x?api-version={DTL}"), 404, "ResourceNotFound"),
        (format!("/subscriptions/zzz?api-version={ARM}"), 400, "InvalidSubscriptionId"),
        (format!("/subscriptions/99999999-9999-4999-8999-999999999999?api-version={ARM}"), 404, "SubscriptionNotFound"),
        (format!("/nowhere?api-version={ARM}"), 404, "InvalidResourceType"),
    ];
    for (path, status, code) in cases {
        let answer = azure.get(&path).await.refused(status, code);
        assert!(!answer.header("x-ms-request-id").is_empty() && !answer.header("x-ms-correlation-request-id").is_empty());
    }
    assert_eq!(azure.emulator.unknown_routes(), [format!("GET /nowhere?api-version={ARM}")]);
    azure.send(Method::PUT, &format!("{LAB}/virtualmachines?api-version={DTL}"), Some(&json!({}))).await.refused(405, "MethodNotAllowed");
}

#[tokio::test]
async fn broken_bodies_are_refused() {
    let azure = Azure::start().await;
    for body in ["{", "[]", "\"x\"", "{\"properties\": []}"] {
        let request =
            azure.http.put(azure.url(&format!("{LAB}/virtualmachines/vm?api-version={DTL}"))).bearer_auth(&azure.token).body(body);
        super::client::read(request.send().await.expect("an answer")).await.refused(400, "InvalidRequestContent");
    }
    let request = azure
        .http
        .put(azure.url(&format!("{LAB}/virtualmachines/vm?api-version={DTL}")))
        .bearer_auth(&azure.token)
        .body(vec![b' '; 5 << 20]);
    super::client::read(request.send().await.expect("an answer")).await.refused(413, "RequestContentTooLarge");
}

#[tokio::test]
async fn lists_come_in_pages_and_are_filtered() {
    let mut seed = json!({"pageSize": 2, "subscriptions": [{"subscriptionId": "11111111-1111-4111-8111-111111111111",
        "resourceGroups": [{"name": "devtestlabs", "location": "westeurope", "labs": [{"name": "contoso"}], "resources": []}]}]});
    let machines: Vec<Value> = (0..5)
        .map(|number| json!({"id": format!("{LAB}/virtualmachines/vm{number}"), "properties": {"size": "Standard_D2s_v5", "allowClaim": number == 3, "createdDate": "2026-01-02T03:04:05Z"}}))
        .collect();
    seed["subscriptions"][0]["resourceGroups"][0]["resources"] = json!(machines);
    let azure = Azure::seeded(Some(&seed)).await;
    let mut next = Some(format!("{LAB}/virtualmachines?api-version={DTL}"));
    let (mut names, mut pages) = (Vec::new(), 0);
    while let Some(url) = next {
        let page = azure.get(&url).await.expect(200).body;
        names.extend(page["value"].as_array().expect("a list").iter().map(|one| one["name"].as_str().expect("a name").to_owned()));
        next = page["nextLink"].as_str().map(str::to_owned);
        pages += 1;
    }
    assert_eq!((names, pages), ((0..5).map(|number| format!("vm{number}")).collect(), 3));
    for (query, expected) in [
        ("$filter=name eq 'VM1'", vec!["vm1"]),
        ("$filter=contains(name,'m4')", vec!["vm4"]),
        ("$filter=properties/allowClaim eq true", vec!["vm3"]),
        ("$top=1", vec!["vm0"]),
        ("$orderby=name desc&$top=2", vec!["vm4", "vm3"]),
    ] {
        let page = azure.get(&format!("{LAB}/virtualmachines?api-version={DTL}&{query}")).await.expect(200).body;
        let got: Vec<_> = page["value"].as_array().expect("a list").iter().map(|one| one["name"].as_str().expect("a name")).collect();
        assert_eq!(got, expected, "{query}");
        assert!(page.get("nextLink").is_none(), "{query}");
    }
    azure.get(&format!("{LAB}/virtualmachines?api-version={DTL}&$filter=name is 'x'")).await.refused(400, "InvalidFilterInQueryString");
    let seeded = azure.get(&format!("{LAB}/virtualmachines/vm0?api-version={DTL}")).await.body;
    assert!(seeded["properties"]["computeId"].is_string(), "{seeded:#}");
    assert_eq!(seeded["properties"]["createdDate"], "2026-01-02T03:04:05Z");
}

#[tokio::test]
async fn faults_answer_delay_and_cut() {
    let azure = Azure::start().await;
    let path = format!("{LAB}?api-version={DTL}");
    azure.control("faults", json!([{"method": "GET", "path": "labs/CONTOSO$", "skip": 1, "times": 1, "status": 503, "headers": {"Retry-After": "2"}, "body": {"error": {"code": "Busy"}}}])).await;
    azure.get(&path).await.expect(200);
    let answer = azure.get(&path).await.refused(503, "Busy");
    assert_eq!(answer.header("retry-after"), "2");
    azure.get(&path).await.expect(200);

    azure.control("faults", json!([{"path": "labs/contoso$", "close": true}])).await;
    let error = azure.http.get(azure.url(&path)).bearer_auth(&azure.token).send().await.expect_err("cut off");
    assert!(error.is_request(), "{error:?}");

    azure.control("faults", json!([{"path": "oauth2/v2.0/token", "status": 500, "body": "no"}])).await;
    let ready = azure.emulator.ready().clone();
    azure.token_request(&ready.tenant_id, &ready.client_id, &[]).await.expect(500);

    azure.control("faults", json!([{"path": "labs/contoso$", "times": 9, "delaySeconds": 0.3}])).await;
    let begun = std::time::Instant::now();
    azure.get(&path).await.expect(200);
    assert!(begun.elapsed().as_millis() >= 300);
    azure.control("faults", json!([{"path": "labs/contoso$", "times": 9, "status": 500}])).await;
    azure.delete("/emulator/faults").await.expect(200);
    azure.get(&path).await.expect(200);
    azure.post("/emulator/faults", json!([{"path": "("}])).await.refused(400, "InvalidControlRequest");
}

#[tokio::test]
async fn throttling_is_off_until_it_is_wanted() {
    let azure = Azure::start().await;
    let path = format!("{GROUP}?api-version={ARM}");
    let answer = azure.get(&path).await.expect(200);
    assert_eq!(answer.header("x-ms-ratelimit-remaining-subscription-reads"), "249");
    azure.control("settings", json!({"throttling": true})).await;
    let mut answers = Vec::new();
    for _ in 0..400 {
        answers.push(azure.get(&path).await);
        if answers.last().is_some_and(|answer| answer.status == 429) {
            break;
        }
    }
    let last = answers.pop().expect("an answer").refused(429, "SubscriptionRequestsThrottled");
    assert_eq!(last.header("retry-after"), "1");
    assert!(answers.len() >= 250, "{}", answers.len());
}

#[tokio::test]
async fn the_journal_and_the_resources_tell_what_happened() {
    let azure = Azure::start().await;
    azure
        .http
        .get(azure.url(&format!("{LAB}/users/%40me/environments?api-version={DTL}&x=%20")))
        .bearer_auth(&azure.token)
        .header("user-agent", "tester/1")
        .send()
        .await
        .expect("an answer");
    let journal = azure.get("/emulator/requests").await.expect(200).body;
    let last = journal.as_array().and_then(|all| all.last()).expect("an entry").clone();
    assert_eq!(last["path"], format!("{LAB}/users/@me/environments"));
    assert_eq!(last["query"], format!("api-version={DTL}&x=%20"));
    assert_eq!((&last["method"], &last["status"], &last["client"]), (&json!("GET"), &json!(200), &json!("tester/1")));
    assert!(last["at"].as_str().is_some_and(|at| at.len() == 24 && at.ends_with('Z')), "{last}");

    azure.machine("vm", windows(&["windows-noop"])).await;
    let resources = azure.get("/emulator/resources").await.expect(200).body;
    let machine = resources
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["name"] == "vm" && one["type"] == "Microsoft.DevTestLab/labs/virtualMachines")
        .expect("the machine");
    let (created, updated) =
        (machine["emulator"]["createdAt"].as_str().expect("a date"), machine["emulator"]["updatedAt"].as_str().expect("a date"));
    assert!(created < updated, "{created} {updated}");
}

#[tokio::test]
async fn settings_are_taken_whole_or_not_at_all() {
    let azure = Azure::start().await;
    for wrong in [
        json!({"speed": 0}),
        json!({"speed": 5, "durations": {"tea": 1}}),
        json!({"now": "tomorrow"}),
        json!({"sped": 1}),
        json!({"throttling": 1}),
    ] {
        azure.post("/emulator/settings", wrong).await.refused(400, "InvalidControlRequest");
    }
    azure.control("settings", json!({"now": "2030-01-01T00:00:00Z", "tokenLifetimeSeconds": 31_000_000})).await;
    let journal = azure.get("/emulator/requests").await.body;
    assert!(journal.as_array().is_some());
}

#[tokio::test]
async fn groups_come_and_go_with_all_that_is_in_them() {
    let azure = Azure::start().await;
    let group = "/subscriptions/11111111-1111-4111-8111-111111111111/resourcegroups/Other";
    let path = format!("{group}?api-version={ARM}");
    azure.put(&path, json!({})).await.refused(400, "LocationRequired");
    azure.put(&path, json!({"location": "West Europe", "tags": {"a": "b"}})).await.expect(201);
    azure.put(&path, json!({"location": "westeurope"})).await.expect(200);
    azure.put(&path, json!({"location": "eastus"})).await.refused(409, "InvalidResourceGroupLocation");
    let lab = format!("{group}/providers/Microsoft.DevTestLab/labs/second?api-version={DTL}");
    let answer = azure.put(&lab, json!({"location": "westeurope"})).await.expect(201);
    assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}));
    assert!(azure.get(&lab).await.body["properties"]["vaultName"].is_string());
    let vm = format!("{group}/providers/Microsoft.DevTestLab/labs/second/virtualmachines/v?api-version={DTL}");
    let answer = azure.put(&vm, linux()).await.expect(201);
    azure.finished(&answer).await;
    let compute = azure.get(&vm).await.body["properties"]["computeId"].as_str().expect("compute").to_owned();
    let answer = azure.delete(&path).await.expect(202);
    while azure.get(answer.header("location")).await.status == 202 {}
    azure.get(&path).await.refused(404, "ResourceGroupNotFound");
    azure.get(&format!("{compute}?api-version=2024-03-01")).await.refused(404, "ResourceGroupNotFound");
    azure.send(Method::HEAD, &path, None).await.expect(404);
}

#[tokio::test]
async fn many_emulators_live_side_by_side_and_free_their_ports() {
    let emulators = futures::future::join_all((0..8).map(|_| Azure::start())).await;
    let ports: std::collections::BTreeSet<String> = emulators.iter().map(|azure| azure.emulator.ready().resource_manager.clone()).collect();
    assert_eq!(ports.len(), 8);
    for azure in emulators {
        let address = azure.emulator.ready().resource_manager.trim_start_matches("https://").trim_end_matches('/').to_owned();
        azure.emulator.stop().await;
        std::net::TcpListener::bind(&address).expect("the port is free");
    }
}
