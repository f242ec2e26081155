//! The client of Azure Resource Manager against the emulator: real connections, TLS, sign-in, throttling, faults.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use azure_core::credentials::Secret;
use dtl::{
    arm::{
        ApiVersion, Client, Cloud, Error, Progress, Request, Wait,
        credential::{Identity, Proof, credential},
        report,
    },
    cli::host::{Canceller, NativeHost, Setup},
    host::Host,
};
use serde_json::{Value, json};

use crate::harness::{Harness, LAB, RESOURCE_GROUP, SUBSCRIPTION};

const V: ApiVersion = ApiVersion("2018-09-15");

/// A client of a harness's emulator, and what it needs.
struct Bench {
    harness: Harness,
    canceller: Canceller,
    registered: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    async fn start() -> Self {
        Self { harness: Harness::start().await, canceller: Canceller::new(), registered: Arc::default() }
    }

    fn client(&self) -> Client {
        let target = self.harness.target();
        self.client_with(&target.client_id, Proof::Secret(target.client_secret.clone()))
    }

    fn client_with(&self, client_id: &str, proof: Proof) -> Client {
        let target = self.harness.target();
        let host: Arc<dyn Host> = Arc::new(NativeHost::new(Setup {
            transport: self.harness.transport().clone(),
            variables: std::collections::BTreeMap::new(),
            working_directory: self.harness.folders().sources,
            sink: Arc::new(|_| ()),
            cancellation: self.canceller.cancellation(),
        }));
        let cloud = Cloud {
            resource_manager: target.resource_manager.clone(),
            token_scope: format!("{}/.default", target.resource_manager.trim_end_matches('/')),
            authority: target.authority.clone(),
        };
        let identity = Identity { tenant_id: target.tenant_id.clone(), client_id: client_id.to_owned(), proof };
        let registered = Arc::clone(&self.registered);
        let register = Arc::new(move |secret: &str| registered.lock().expect("no test panicked here").push(secret.to_owned()));
        let credential = credential(&host, &cloud, identity, register).expect("the identity is complete");
        Client::new(host, &cloud, credential)
    }

    async fn faults(&self, faults: Value) {
        self.harness.faults(&faults).await;
    }

    /// How often the emulator saw a request, by method and the end of its path.
    async fn seen(&self, method: &str, path: &str) -> usize {
        let journal = self.harness.journal().await;
        journal.iter().filter(|line| line.starts_with(&format!("{method} ")) && line.to_lowercase().ends_with(&path.to_lowercase())).count()
    }

    async fn finish(self) {
        self.harness.finish().await;
    }
}

fn lab(name: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers/Microsoft.DevTestLab/labs/{name}")
}

fn make(name: &str) -> Request {
    Request::put(lab(name), V, json!({"location": "westeurope", "properties": {}}))
}

fn minute() -> Wait<'static> {
    Wait::silent(Duration::from_mins(1))
}

#[tokio::test]
async fn a_resource_is_made_found_listed_and_deleted() {
    let bench = Bench::start().await;
    let client = bench.client();
    let seen = Mutex::new(Vec::new());
    let observe = |progress: &Progress| seen.lock().unwrap().push(progress.status.clone());
    let operation = client.start(make("second")).await.unwrap();
    let made = client.wait(&operation, Wait { deadline: Duration::from_mins(1), observe: &observe }).await.unwrap();
    assert_eq!(made["properties"]["provisioningState"], "Succeeded");
    assert_eq!(seen.lock().unwrap().last().map(String::as_str), Some("Succeeded"));
    assert_eq!(client.find(Request::get(lab("second"), V)).await.unwrap().unwrap()["name"], "second");
    let labs = client.list(Request::get(format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.DevTestLab/labs"), V)).await.unwrap();
    assert_eq!(labs.len(), 2, "{labs:?}");
    let operation = client.start(Request::delete(lab("second"), V)).await.unwrap();
    assert_eq!(client.wait(&operation, minute()).await.unwrap(), Value::Null);
    assert_eq!(client.find(Request::get(lab("second"), V)).await.unwrap(), None);
    assert_eq!(bench.registered.lock().unwrap().len(), 1, "one token does for all of it");
    bench.finish().await;
}

#[tokio::test]
async fn what_is_not_there_is_deleted_with_204() {
    let bench = Bench::start().await;
    let operation = bench.client().start(Request::delete(lab("nowhere"), V)).await.unwrap();
    assert_eq!((operation.status, operation.is_done()), (204, true));
    bench.finish().await;
}

#[tokio::test]
async fn the_pipelines_own_token_signs_in_too() {
    let bench = Bench::start().await;
    let target = bench.harness.target();
    let proof = Proof::Federation {
        request_uri: format!(
            "{}?api-version=7.1&serviceConnectionId={}",
            target.oidc_request_uri.as_ref().unwrap(),
            dtl::cli::environment::connection_id("local")
        ),
        system_access_token: target.system_access_token.clone().unwrap(),
    };
    let client = bench.client_with(&target.client_id, proof);
    assert!(client.find(Request::get(LAB, V)).await.unwrap().is_some());
    assert_eq!(bench.registered.lock().unwrap().len(), 2, "the pipeline's token and the access token");
    bench.finish().await;
}

#[tokio::test]
async fn a_wrong_secret_is_told_with_its_remedy_and_without_the_secret() {
    let bench = Bench::start().await;
    let client = bench.client_with(&bench.harness.target().client_id, Proof::Secret(Secret::new("not-the-secret")));
    let error = client.send(Request::get(LAB, V)).await.unwrap_err();
    assert_eq!(error.code(), Some("AADSTS7000215"));
    let text = report(&error);
    assert!(text.contains("hint: the secret is wrong") && !text.contains("not-the-secret"), "{text}");
    bench.finish().await;
}

#[tokio::test]
async fn passing_faults_cost_time_only() {
    let bench = Bench::start().await;
    let client = bench.client();
    bench
        .faults(json!([
            {"method": "GET", "path": "labs/contoso$", "status": 503},
            {"method": "GET", "path": "labs/contoso$", "status": 429, "headers": {"Retry-After": "1"}, "body": {"error": {"code": "SubscriptionRequestsThrottled", "message": "slow down"}}},
            {"method": "GET", "path": "labs/contoso$", "close": true},
            {"method": "POST", "path": "oauth2/v2.0/token", "status": 500, "body": "<html>out of order</html>"},
        ]))
        .await;
    let begun = Instant::now();
    assert!(client.find(Request::get(LAB, V)).await.unwrap().is_some());
    assert!(begun.elapsed() >= Duration::from_secs(1), "Retry-After is obeyed");
    assert_eq!(bench.seen("GET", "labs/contoso").await, 4);
    bench.finish().await;
}

#[tokio::test]
async fn a_fault_that_stays_is_an_error_after_seconds() {
    let bench = Bench::start().await;
    bench.faults(json!([{"path": "labs/contoso$", "times": 1000, "status": 500, "body": {"error": {"code": "InternalServerError", "message": "out of order"}}}])).await;
    let begun = Instant::now();
    let error = bench.client().send(Request::get(LAB, V)).await.unwrap_err();
    assert_eq!((error.status(), error.code()), (Some(500), Some("InternalServerError")));
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
    bench.finish().await;
}

#[tokio::test]
async fn lost_answers_neither_fail_nor_double_anything() {
    let bench = Bench::start().await;
    let client = bench.client();
    bench
        .faults(
            json!([{"method": "PUT", "path": "labs/second$", "close": true}, {"method": "DELETE", "path": "labs/second$", "close": true}]),
        )
        .await;
    let operation = client.start(make("second")).await.unwrap();
    client.wait(&operation, minute()).await.unwrap();
    let operation = client.start(Request::delete(lab("second"), V)).await.unwrap();
    client.wait(&operation, minute()).await.unwrap();
    assert_eq!(bench.harness.names("Microsoft.DevTestLab/labs").await, ["contoso"]);
    bench.finish().await;
}

#[tokio::test]
async fn a_burst_is_spread_so_that_nothing_is_throttled() {
    let bench = Bench::start().await;
    bench.harness.settings(&json!({"throttling": true})).await;
    let client = bench.client();
    let reads = (0..290).map(|_| client.find(Request::get(lab("nowhere"), V)));
    for answer in futures::future::join_all(reads).await {
        assert_eq!(answer.unwrap(), None);
    }
    assert_eq!(refused(&bench).await, 0);
    bench.finish().await;
}

#[tokio::test]
async fn throttling_that_others_cause_is_waited_out() {
    let bench = Bench::start().await;
    bench.harness.settings(&json!({"throttling": true})).await;
    // Each knows of the other only by what the service says is left.
    let clients = [bench.client(), bench.client(), bench.client()];
    let deletions = clients.iter().flat_map(|client| (0..80).map(|_| client.send(Request::delete(lab("nowhere"), V))));
    for answer in futures::future::join_all(deletions).await {
        assert_eq!(answer.unwrap().status, 204);
    }
    assert_ne!(refused(&bench).await, 0, "the bucket was not emptied: this shows nothing");
    bench.finish().await;
}

async fn refused(bench: &Bench) -> usize {
    bench.harness.requests().await.iter().filter(|request| request["status"] == 429).count()
}

#[tokio::test]
async fn an_operation_that_fails_is_an_error_with_azures_reason() {
    let bench = Bench::start().await;
    let client = bench.client();
    bench.faults(json!([{"path": "labs/second$", "provisioning": "Failed", "body": {"error": {"code": "QuotaExceeded", "message": "no more labs"}}}])).await;
    let operation = client.start(make("second")).await.unwrap();
    let error = client.wait(&operation, minute()).await.unwrap_err();
    assert_eq!(error.code(), Some("QuotaExceeded"), "{error:?}");
    assert!(report(&error).contains("no more labs"), "{}", report(&error));
    bench.finish().await;
}

#[tokio::test]
async fn broken_polls_do_not_end_a_wait() {
    let bench = Bench::start().await;
    let client = bench.client();
    bench.harness.settings(&json!({"durations": {"deletion": 3000}})).await;
    let operation = client.start(make("second")).await.unwrap();
    client.wait(&operation, minute()).await.unwrap();
    let operation = client.start(Request::delete(lab("second"), V)).await.unwrap();
    bench.faults(json!([{"path": "/operations/", "close": true}, {"path": "/operations/", "status": 502}, {"path": "/operations/", "status": 429, "headers": {"x-ms-retry-after-ms": "300"}}])).await;
    client.wait(&operation, minute()).await.unwrap();
    bench.finish().await;
}

#[tokio::test]
async fn a_wait_ends_by_its_deadline_or_when_the_agent_asks_to_stop() {
    let bench = Bench::start().await;
    let client = bench.client();
    bench.harness.settings(&json!({"durations": {"deletion": 300_000}})).await;
    let operation = client.start(Request::delete(LAB, V)).await.unwrap();
    let error = client.wait(&operation, Wait::silent(Duration::from_secs(1))).await.unwrap_err();
    let Error::DeadlineExceeded { resource, operation_url, .. } = &error else { panic!("{error:?}") };
    assert_eq!(resource, LAB);
    assert!(operation_url.as_ref().is_some_and(|url| url.contains("/operations/")), "{operation_url:?}");

    let canceller = bench.canceller.clone();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        canceller.cancel();
    };
    let begun = Instant::now();
    let (result, ()) = tokio::join!(client.wait(&operation, minute()), stop);
    assert!(result.unwrap_err().is_cancelled());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(client.send(Request::get(LAB, V)).await.unwrap_err().is_cancelled());
    assert!(client.for_clean_up(Duration::from_secs(5)).send(Request::get(LAB, V)).await.is_ok());
    bench.finish().await;
}

#[tokio::test]
async fn tokens_that_end_early_are_replaced() {
    let bench = Bench::start().await;
    let client = bench.client();
    client.send(Request::get(LAB, V)).await.unwrap();
    // The emulator's clock jumps: what the client holds for fresh is stale there.
    bench.harness.settings(&json!({"now": "2040-01-01T00:00:00Z"})).await;
    client.send(Request::get(LAB, V)).await.unwrap();
    assert_eq!(bench.registered.lock().unwrap().len(), 2);
    bench.finish().await;
}

#[tokio::test]
async fn short_operations_are_seen_done_soon() {
    let bench = Bench::start().await;
    let client = bench.client();
    let operation = client.start(make("second")).await.unwrap();
    client.wait(&operation, minute()).await.unwrap();
    // One second of real time.
    bench.harness.settings(&json!({"speed": 60, "durations": {"deletion": 60}})).await;
    let begun = Instant::now();
    let operation = client.start(Request::delete(lab("second"), V)).await.unwrap();
    client.wait(&operation, minute()).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(900) && begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    bench.finish().await;
}
