//! The client over a scripted host: exact requests, a clock that jumps, lost answers, cancellation.

use std::sync::Mutex;

use azure_core::credentials::{AccessToken, TokenRequestOptions};
use serde_json::json;

use super::*;
use crate::{
    arm::{ApiVersion, report},
    host::scripted::{Exchange, Handle, ScriptedHost, on, start},
};

const V: ApiVersion = ApiVersion("2018-09-15");
const VM: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.DevTestLab/labs/l/virtualmachines/v";
const STATUS: &str = "https://arm.example/operations/1?api-version=2018-09-15&t=63&sig=signature";

#[derive(Debug)]
struct FixedToken;

#[async_trait::async_trait]
impl TokenCredential for FixedToken {
    async fn get_token(&self, _scopes: &[&str], _options: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        Ok(AccessToken::new("the-token", azure_core::time::OffsetDateTime::now_utc() + Duration::from_hours(1)))
    }
}

fn client(host: &Arc<Handle>) -> Client {
    let cloud = Cloud {
        resource_manager: "https://arm.example/".into(),
        token_scope: "https://arm.example/.default".into(),
        authority: "https://login.example/".into(),
    };
    Client::new(Arc::clone(host) as Arc<dyn Host>, &cloud, Arc::new(FixedToken))
}

fn set_up(script: impl IntoIterator<Item = Exchange>) -> (Arc<Handle>, Client) {
    let host = ScriptedHost::new();
    host.expect(script);
    let client = client(&host);
    (host, client)
}

fn hour() -> Wait<'static> {
    Wait::silent(Duration::from_hours(1))
}

fn state(word: &str) -> Value {
    json!({"id": VM, "properties": {"provisioningState": word}})
}

fn throttled(retry_after: &str) -> Exchange {
    on("GET", VM)
        .reply(429, &json!({"error": {"code": "SubscriptionRequestsThrottled", "message": "slow down"}}))
        .header("retry-after", retry_after)
}

#[tokio::test]
async fn a_request_carries_what_azure_wants_and_nothing_more() {
    let (host, client) = set_up([on("PUT", "/subscriptions/s/x?api-version=2018-09-15").reply(200, &json!({}))]);
    let body: Value = serde_json::from_str(r#"{"n":12345678901234567890.10}"#).unwrap();
    client.send(Request::put("/subscriptions/s/x", V, body)).await.unwrap();
    let sent = host.sent().remove(0);
    assert_eq!(sent.body, r#"{"n":12345678901234567890.10}"#, "numbers keep their digits");
    assert_eq!(sent.headers["authorization"], "Bearer the-token");
    assert_eq!(sent.headers["user-agent"], format!("dtl/{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(sent.headers["x-ms-correlation-request-id"], client.correlation_id());
    assert_eq!(sent.headers["content-type"], "application/json");
}

#[tokio::test]
async fn deleting_costs_one_delete_and_the_polls() {
    let (host, client) = set_up([
        on("DELETE", VM)
            .reply(202, &Value::Null)
            .header("azure-asyncoperation", STATUS)
            .header("location", "https://arm.example/operations/1?monitor=true"),
        on("GET", "/operations/1").reply(200, &json!({"status": "Running"})),
        on("GET", "/operations/1").reply(200, &json!({"status": "Succeeded"})),
    ]);
    let operation = client.start(Request::delete(VM, V)).await.unwrap();
    assert_eq!(client.wait(&operation, hour()).await.unwrap(), Value::Null);
    assert_eq!(host.elapsed(), Duration::from_millis(560), "the first polls come fast");
}

#[tokio::test]
async fn a_put_ends_with_the_resource_itself() {
    let seen = Mutex::new(Vec::new());
    let (_host, client) = set_up([
        on("PUT", VM).reply(201, &state("Creating")).header("azure-asyncoperation", STATUS),
        on("GET", "/operations/1").reply(200, &json!({"status": "Running", "percentComplete": 40})),
        on("GET", "/operations/1").reply(200, &json!({"status": "Succeeded"})),
        on("GET", VM).reply(200, &state("Succeeded")),
    ]);
    let operation = client.start(Request::put(VM, V, json!({}))).await.unwrap();
    assert_eq!(operation.status, 201);
    let observe = |progress: &Progress| seen.lock().unwrap().push((progress.status.clone(), progress.percent));
    let made = client.wait(&operation, Wait { deadline: Duration::from_mins(1), observe: &observe }).await.unwrap();
    assert_eq!(made, state("Succeeded"));
    assert_eq!(seen.into_inner().unwrap(), [("Running".into(), Some(40)), ("Succeeded".into(), None)]);
}

#[tokio::test]
async fn a_posts_result_is_fetched_from_its_location_at_once() {
    let (host, client) = set_up([
        on("POST", "/beginGetAccess")
            .reply(202, &Value::Null)
            .header("azure-asyncoperation", STATUS)
            .header("location", "/operations/1?monitor=true"),
        on("GET", "/operations/1?api").reply(200, &json!({"status": "Succeeded"})),
        on("GET", "https://arm.example/operations/1?monitor=true").reply(200, &json!({"accessSAS": "x"})),
    ]);
    let operation = client.start(Request::post("/disks/d/beginGetAccess", V, Some(json!({})))).await.unwrap();
    assert_eq!(client.wait(&operation, hour()).await.unwrap(), json!({"accessSAS": "x"}));
    assert_eq!(host.elapsed(), Duration::from_millis(280));
}

#[tokio::test]
async fn the_services_pace_is_kept_in_the_answers_that_give_one() {
    let (host, client) = set_up([
        on("POST", "/start").reply(202, &Value::Null).header("location", STATUS).header("retry-after", "10"),
        on("GET", "/operations/1").reply(202, &Value::Null).header("retry-after", "3"),
        on("GET", "/operations/1").reply(204, &Value::Null),
    ]);
    let operation = client.start(Request::post("/vm/start", V, None)).await.unwrap();
    client.wait(&operation, hour()).await.unwrap();
    assert_eq!(host.sent().iter().map(|sent| sent.at.as_secs()).collect::<Vec<_>>(), [0, 10, 13]);
}

#[tokio::test]
async fn a_failed_operation_is_an_error_with_its_reasons() {
    let inner = r#"{"error":{"code":"SkuNotAvailable","message":"Standard_A2 is not available in westus."}}"#;
    let (_host, client) = set_up([
        on("PUT", VM).reply(201, &state("Creating")).header("azure-asyncoperation", STATUS),
        on("GET", "/operations/1").reply(200, &json!({"status": "Failed", "error": {"code": "DeploymentFailed", "message": "At least one resource deployment operation failed.", "details": [{"code": "Conflict", "message": inner}]}})).header("x-ms-correlation-request-id", "corr-1"),
    ]);
    let operation = client.start(Request::put(VM, V, json!({}))).await.unwrap();
    let error = client.wait(&operation, hour()).await.unwrap_err();
    assert_eq!(error.code(), Some("SkuNotAvailable"));
    assert_eq!(error.to_string(), "SkuNotAvailable: Standard_A2 is not available in westus.");
    assert_eq!(error.correlation_id(), Some("corr-1"));
    assert!(error.has_code("deploymentfailed"));
}

#[tokio::test]
async fn throttling_and_bad_gateways_are_waited_out() {
    let (host, client) = set_up([
        throttled("7"),
        throttled("Fri, 20 Nov 2026 00:00:09 GMT"),
        on("GET", VM).reply_text(503, "<html><h1>busy</h1></html>"),
        on("GET", VM).lost(),
        on("GET", VM).reply(200, &state("Succeeded")),
    ]);
    assert_eq!(start().to_string(), "2026-11-20 0:00:00.0 +00:00:00");
    assert_eq!(client.find(Request::get(VM, V)).await.unwrap(), Some(state("Succeeded")));
    // 7 s and until the second 9 as asked, then 1 s and 2 s of our own.
    assert_eq!(host.sent().iter().map(|sent| sent.at.as_secs()).collect::<Vec<_>>(), [0, 7, 9, 10, 12]);
}

#[tokio::test]
async fn a_dead_service_is_given_up_in_seconds() {
    let (host, client) = set_up((0..6).map(|_| on("GET", VM).refused("connect ECONNREFUSED 10.0.0.1:443")));
    let error = client.send(Request::get(VM, V)).await.unwrap_err();
    assert!(host.elapsed() < Duration::from_secs(10), "{:?}", host.elapsed());
    let text = report(&error);
    assert!(
        text.contains("failed to reach the service for GET /subscriptions/s") && text.contains("caused by: connect ECONNREFUSED"),
        "{text}"
    );
    assert!(text.contains("hint: check that the agent's machine reaches the server"), "{text}");
}

#[tokio::test]
async fn an_untrusted_certificate_is_not_tried_again() {
    let (_host, client) = set_up([on("GET", VM).refused("self-signed certificate in certificate chain")]);
    let error = client.send(Request::get(VM, V)).await.unwrap_err();
    assert!(error.hint().unwrap().contains("NODE_EXTRA_CA_CERTS"));
}

#[tokio::test]
async fn throttling_without_an_end_is_given_up_by_the_time() {
    let (host, client) = set_up([]);
    host.respond(|_| Some(throttled("60")));
    let error = client.send(Request::get(VM, V)).await.unwrap_err();
    assert_eq!(error.code(), Some("SubscriptionRequestsThrottled"));
    assert!(host.elapsed() <= Duration::from_mins(5));
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_has_succeeded_when_nothing_is_left() {
    let gone = json!({"error": {"code": "ResourceNotFound", "message": "gone"}});
    let (_host, client) = set_up([on("DELETE", VM).lost(), on("DELETE", VM).reply(404, &gone)]);
    let operation = client.start(Request::delete(VM, V)).await.unwrap();
    assert!(operation.is_done());
    // Without a lost answer it was not there.
    let (_host, client) = set_up([on("DELETE", VM).reply(404, &gone)]);
    assert!(client.start(Request::delete(VM, V)).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_looked_for_before_it_is_repeated() {
    let missing = json!({"error": {"code": "ResourceNotFound", "message": "no"}});
    // It was carried out.
    let (_host, client) =
        set_up([on("PUT", VM).lost(), on("GET", VM).reply(200, &state("Creating")), on("GET", VM).reply(200, &state("Succeeded"))]);
    let operation = client.start(Request::put(VM, V, json!({}))).await.unwrap();
    assert_eq!(client.wait(&operation, hour()).await.unwrap(), state("Succeeded"));
    // It was not.
    let (_host, client) = set_up([on("PUT", VM).lost(), on("GET", VM).reply(404, &missing), on("PUT", VM).reply(201, &state("Succeeded"))]);
    assert!(client.start(Request::put(VM, V, json!({}))).await.unwrap().is_done());
    // Something was there before: whether this is the request's work is not known, and repeating it does no harm.
    let there = || on("GET", VM).reply(200, &state("Succeeded"));
    let (_host, client) = set_up([on("PUT", VM).lost(), there(), on("PUT", VM).reply(200, &state("Succeeded"))]);
    client.start(Request::put(VM, V, json!({}))).await.unwrap();
    // Nothing was there before.
    let (_host, client) = set_up([on("PUT", VM).lost(), there()]);
    assert!(client.start(Request::put(VM, V, json!({})).of_new()).await.unwrap().is_done());
    // Somebody else's bears other tags.
    let (_host, client) = set_up([on("PUT", VM).lost(), there(), on("PUT", VM).reply(409, &missing), there()]);
    client.start(Request::put(VM, V, json!({"tags": {"run": "1"}})).of_new()).await.unwrap_err();
}

#[tokio::test]
async fn a_post_whose_answer_was_lost_is_looked_for_by_its_resource() {
    let (_host, client) =
        set_up([on("POST", "/start").lost(), on("GET", VM).reply(200, &state("Starting")), on("GET", VM).reply(200, &state("Succeeded"))]);
    let operation = client.start(Request::post(format!("{VM}/start"), V, None)).await.unwrap();
    client.wait(&operation, hour()).await.unwrap();
    let (_host, client) =
        set_up([on("POST", "/start").lost(), on("GET", VM).reply(200, &state("Succeeded")), on("POST", "/start").reply(200, &Value::Null)]);
    assert!(client.start(Request::post(format!("{VM}/start"), V, None)).await.unwrap().is_done());
}

#[tokio::test]
async fn a_conflict_with_a_try_of_ours_is_our_own_operation() {
    let active = json!({"error": {"code": "DeploymentActive", "message": "it runs"}});
    let (_host, client) = set_up([
        on("PUT", VM).lost(),
        on("GET", VM).reply(404, &active),
        on("PUT", VM).reply(409, &active),
        on("GET", VM).reply(200, &state("Creating")),
        on("GET", VM).reply(200, &state("Succeeded")),
    ]);
    let operation = client.start(Request::put(VM, V, json!({}))).await.unwrap();
    assert_eq!(client.wait(&operation, hour()).await.unwrap(), state("Succeeded"));
    // A conflict with somebody else's is one.
    let (_host, client) = set_up([on("PUT", VM).reply(409, &active)]);
    assert_eq!(client.start(Request::put(VM, V, json!({}))).await.unwrap_err().code(), Some("DeploymentActive"));
}

#[tokio::test]
async fn what_the_run_has_made_may_be_unknown_for_a_while() {
    let missing = || on("GET", VM).reply(404, &json!({"error": {"code": "ResourceNotFound", "message": "not yet"}}));
    let (_host, client) = set_up([missing(), missing(), on("GET", VM).reply(200, &state("Succeeded"))]);
    assert!(client.for_what_is_new().find(Request::get(VM, V)).await.unwrap().is_some());
    // Also at the end of an operation.
    let (_host, client) = set_up([
        on("PUT", VM).reply(201, &state("Creating")).header("azure-asyncoperation", STATUS),
        on("GET", "/operations/1").reply(200, &json!({"status": "Succeeded"})),
        missing(),
        on("GET", VM).reply(200, &state("Succeeded")),
    ]);
    let operation = client.start(Request::put(VM, V, json!({}))).await.unwrap();
    assert_eq!(client.wait(&operation, hour()).await.unwrap(), state("Succeeded"));
}

#[tokio::test]
async fn a_wait_ends_at_its_deadline_and_says_where_to_look() {
    let host = ScriptedHost::new();
    host.respond(|sent| {
        Some(match sent.method.as_str() {
            "PUT" => on("PUT", "").reply(201, &state("Creating")).header("azure-asyncoperation", STATUS),
            _ => on("GET", "").reply(200, &json!({"status": "Running"})),
        })
    });
    let client = client(&host);
    let operation = client.start(Request::put(VM, V, json!({}))).await.unwrap();
    let error = client.wait(&operation, Wait::silent(Duration::from_secs(90))).await.unwrap_err();
    assert_eq!(host.elapsed(), Duration::from_secs(90));
    assert!(host.sent().len() <= 82, "{} requests", host.sent().len());
    insta::assert_snapshot!(report(&error), @r"
    /subscriptions/s/resourceGroups/g/providers/Microsoft.DevTestLab/labs/l/virtualmachines/v was still 'Running' after 1 min 30 s
    operation: https://arm.example/operations/1?api-version=2018-09-15&t=***&sig=***
    hint: the operation may still succeed in Azure: look at the resource there, then run the step again or allow it more time
    ");
}

#[tokio::test]
async fn a_wait_survives_minutes_of_a_broken_service() {
    let host = ScriptedHost::new();
    host.respond(|sent| {
        Some(match (sent.method.as_str(), sent.at.as_secs()) {
            ("DELETE", _) => on("DELETE", "").reply(202, &Value::Null).header("azure-asyncoperation", STATUS),
            (_, 5..40) => on("GET", "").lost(),
            (_, 60..) => on("GET", "").reply(200, &json!({"status": "Succeeded"})),
            _ => on("GET", "").reply(200, &json!({"status": "Running"})),
        })
    });
    let client = client(&host);
    let operation = client.start(Request::delete(VM, V)).await.unwrap();
    client.wait(&operation, hour()).await.unwrap();
    assert!(host.elapsed() < Duration::from_secs(65), "{:?}", host.elapsed());
}

#[tokio::test]
async fn a_wait_ends_at_once_when_the_agent_asks_to_stop() {
    let host = ScriptedHost::new();
    host.respond(|sent| {
        Some(match sent.method.as_str() {
            "PUT" => on("PUT", "").reply(201, &state("Creating")).header("azure-asyncoperation", STATUS),
            "POST" => on("POST", "").reply(204, &Value::Null),
            _ => on("GET", "").reply(200, &json!({"status": "Running"})),
        })
    });
    host.cancel_at(Duration::from_secs(30));
    let client = client(&host);
    let operation = client.start(Request::put(VM, V, json!({}))).await.unwrap();
    let error = client.wait(&operation, hour()).await.unwrap_err();
    assert_eq!(host.elapsed(), Duration::from_secs(30));
    let text = report(&error);
    assert!(error.is_cancelled() && text.contains("PUT /subscriptions/s") && text.contains("(Running for 30 s)"), "{text}");
    assert!(text.contains("operations/1") && !text.contains("signature"), "{text}");
    // From now on nothing is sent but for cleaning up.
    let sent = host.sent().len();
    assert!(client.send(Request::post("/cancel", V, None)).await.unwrap_err().is_cancelled());
    assert_eq!(host.sent().len(), sent);
    client.for_clean_up(Duration::from_secs(5)).send(Request::post("/cancel", V, None)).await.unwrap();
    assert_eq!(host.sent().len(), sent + 1);
}

#[tokio::test]
async fn an_answer_that_comes_while_the_agent_asks_to_stop_is_kept() {
    let (_host, client) = set_up([on("PUT", VM).reply(201, &state("Creating")).header("azure-asyncoperation", STATUS).cancels()]);
    let operation = client.start(Request::put(VM, V, json!({}))).await.unwrap();
    let error = client.wait(&operation, hour()).await.unwrap_err();
    assert!(error.to_string().contains("operations/1"), "{error}");
}

#[tokio::test]
async fn lists_are_read_to_the_last_page() {
    let link = |path: &str| json!({"value": [{"name": "a"}], "nextLink": path});
    let (_host, client) = set_up([
        on("GET", "/labs?api-version").reply(200, &link("https://arm.example/labs?$skiptoken=2")),
        on("GET", "/labs?$skiptoken=2").reply(200, &json!({"value": [], "nextLink": "https://ARM.example:443/labs?$skiptoken=3"})),
        on("GET", "/labs?$skiptoken=3").reply(200, &json!({"value": [{"name": "b"}]})),
    ]);
    let names: Vec<_> = client.list(Request::get("/labs", V)).await.unwrap().iter().map(|item| item["name"].clone()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[tokio::test]
async fn items_are_handed_over_before_the_next_page_is_asked_for() {
    let (host, client) = set_up([
        on("GET", "/labs?api-version").reply(200, &json!({"value": [1, 2], "nextLink": "https://arm.example/labs?$skiptoken=2"})),
        on("GET", "/labs?$skiptoken=2").reply(200, &json!({"value": [3]})),
    ]);
    let mut seen = Vec::new();
    client.list_each(Request::get("/labs", V), &mut |item| seen.push((item, host.sent().len()))).await.unwrap();
    assert_eq!(seen, [(json!(1), 1), (json!(2), 1), (json!(3), 2)]);
}

#[tokio::test]
async fn pages_lead_neither_away_nor_in_a_circle() {
    for (link, expected) in [
        ("https://evil.example/labs", "leads away from the resource manager at arm.example"),
        ("http://arm.example/labs", "leads away"),
        ("https://arm.example.evil.example/labs", "leads away"),
        ("https://arm.example:8443/labs", "leads away"),
    ] {
        let (_host, client) = set_up([on("GET", "/labs").reply(200, &json!({"value": [], "nextLink": link}))]);
        let error = client.list(Request::get("/labs", V)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let page = || on("GET", "/labs").reply(200, &json!({"value": [], "nextLink": "https://arm.example/labs?$skiptoken=1"}));
    let (_host, client) = set_up([page(), page()]);
    let error = client.list(Request::get("/labs", V)).await.unwrap_err().to_string();
    assert!(error.ends_with("its pages go round in a circle"), "{error}");
}

#[tokio::test]
async fn an_operations_address_does_not_lead_away_either() {
    let (_host, client) =
        set_up([on("DELETE", VM).reply(202, &Value::Null).header("azure-asyncoperation", "https://evil.example/?sig=abc")]);
    let operation = client.start(Request::delete(VM, V)).await.unwrap();
    let error = client.wait(&operation, hour()).await.unwrap_err().to_string();
    assert!(error.contains("leads away") && !error.contains("abc"), "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_none_but_an_unknown_subscription_is_an_error() {
    let missing = |code: &str| on("GET", VM).reply(404, &json!({"error": {"code": code, "message": "no"}}));
    let (_host, client) = set_up([missing("ResourceNotFound"), missing("SubscriptionNotFound")]);
    assert_eq!(client.find(Request::get(VM, V)).await.unwrap(), None);
    assert_eq!(client.find(Request::get(VM, V)).await.unwrap_err().code(), Some("SubscriptionNotFound"));
}

#[tokio::test]
async fn a_condition_is_awaited_at_an_operations_pace() {
    let (host, client) = set_up([
        on("GET", VM).reply(404, &json!({"error": {"code": "ResourceNotFound", "message": "not yet"}})),
        on("GET", VM).reply(200, &state("Creating")),
        on("GET", VM).reply(200, &state("Succeeded")),
    ]);
    let ready = |value: &Value| (value["properties"]["provisioningState"] == "Succeeded").then(|| value["id"].clone());
    assert_eq!(client.wait_until(Request::get(VM, V), hour(), ready).await.unwrap(), VM);
    assert_eq!(host.elapsed(), Duration::from_millis(560));
    host.respond(|_| Some(on("GET", "").reply(200, &state("Creating"))));
    let error = client.wait_until(Request::get(VM, V), Wait::silent(Duration::from_secs(5)), ready).await.unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded { ref status, .. } if status == "Creating"), "{error}");
}

#[tokio::test]
async fn an_operation_of_somebody_elses_can_be_followed() {
    let (_host, client) = set_up([on("GET", VM).reply(200, &state("Creating")), on("GET", VM).reply(200, &state("Failed"))]);
    let operation = client.follow(&Request::get(VM, V));
    let error = client.wait(&operation, hour()).await.unwrap_err();
    assert_eq!(error.code(), Some("Failed"));
}
