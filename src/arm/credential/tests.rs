//! Sign-in over a scripted host.

use serde_json::json;

use super::*;
use crate::{
    arm::{ApiVersion, Client, Request as ArmRequest, report},
    host::scripted::{Exchange, Handle, ScriptedHost, on},
};

const TENANT: &str = "00000000-1111-2222-3333-444444444444";
const TOKEN_PATH: &str = "https://login.example/00000000-1111-2222-3333-444444444444/oauth2/v2.0/token";
const OIDC: &str = "https://dev.example/_apis/oidctoken?api-version=7.1&serviceConnectionId=c";

fn token(lifetime: u32, value: &str) -> Exchange {
    on("POST", TOKEN_PATH).reply(200, &json!({"token_type": "Bearer", "expires_in": lifetime, "access_token": value}))
}

fn denied(code: u32, text: &str) -> Exchange {
    let description = format!("AADSTS{code}: {text} Trace ID: 1 Correlation ID: 2 Timestamp: 3");
    on("POST", TOKEN_PATH).reply(401, &json!({"error": "invalid_client", "error_description": description, "error_codes": [code]}))
}

fn set_up(federated: bool, script: Vec<Exchange>) -> (Arc<Handle>, Client, Arc<Mutex<Vec<String>>>) {
    let handle = ScriptedHost::new();
    handle.expect(script);
    let host = Arc::clone(&handle) as Arc<dyn Host>;
    let cloud = Cloud {
        resource_manager: "https://arm.example/".into(),
        token_scope: "https://arm.example/.default".into(),
        authority: "https://login.example/".into(),
    };
    let proof = if federated {
        Proof::Federation { request_uri: OIDC.into(), system_access_token: Secret::new("the-job-token") }
    } else {
        Proof::Secret(Secret::new("the-client-secret"))
    };
    let registered = Arc::new(Mutex::new(Vec::new()));
    let register: SecretRegistrar = {
        let registered = Arc::clone(&registered);
        Arc::new(move |secret| registered.lock().unwrap().push(secret.to_owned()))
    };
    let identity = Identity { tenant_id: TENANT.into(), client_id: "app".into(), proof };
    let credential = credential(&host, &cloud, identity, register).unwrap();
    (handle, Client::new(host, &cloud, credential), registered)
}

fn anything() -> ArmRequest {
    ArmRequest::get("/x", ApiVersion("1"))
}

fn answer() -> Exchange {
    on("GET", "https://arm.example/x").reply(200, &json!({}))
}

#[tokio::test]
async fn a_secret_buys_one_token_for_the_whole_task() {
    let (host, client, registered) = set_up(false, vec![token(3600, "token-1"), answer(), answer()]);
    client.send(anything()).await.unwrap();
    client.send(anything()).await.unwrap();
    let sent = host.sent();
    assert!(
        sent[0].body.contains("client_secret=the-client-secret") && sent[0].body.contains("scope=https%3A%2F%2Farm.example%2F.default")
    );
    assert_eq!(sent[0].headers["user-agent"], format!("dtl/{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(sent[2].headers["authorization"], "Bearer token-1");
    assert_eq!(*registered.lock().unwrap(), ["token-1"]);
}

#[tokio::test]
async fn requests_at_the_same_time_share_one_sign_in() {
    let script = std::iter::once(token(3600, "token-1")).chain((0..8).map(|_| answer())).collect();
    let (_host, client, registered) = set_up(false, script);
    let answers = futures::future::join_all((0..8).map(|_| client.send(anything()))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(registered.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_expiring_token_is_replaced() {
    let (host, client, registered) = set_up(false, vec![token(1, "token-1"), answer(), token(3600, "token-2"), answer()]);
    client.send(anything()).await.unwrap();
    client.send(anything()).await.unwrap();
    assert_eq!(host.sent()[3].headers["authorization"], "Bearer token-2");
    assert_eq!(*registered.lock().unwrap(), ["token-1", "token-2"]);
}

#[tokio::test]
async fn a_token_that_is_refused_before_its_time_is_replaced_once() {
    let refused = || {
        let error = json!({"error": {"code": "ExpiredAuthenticationToken", "message": "The access token expiry has passed."}});
        on("GET", "https://arm.example/x").reply(401, &error)
    };
    let (host, client, _) = set_up(false, vec![token(3600, "token-1"), refused(), token(3600, "token-2"), answer(), answer()]);
    client.send(anything()).await.unwrap();
    client.send(anything()).await.unwrap();
    assert_eq!(host.sent()[3].headers["authorization"], "Bearer token-2");

    let (_host, client, _) = set_up(false, vec![token(3600, "token-1"), refused(), token(3600, "token-2"), refused()]);
    let error = client.send(anything()).await.unwrap_err();
    assert_eq!(error.code(), Some("ExpiredAuthenticationToken"));
}

#[tokio::test]
async fn a_sign_in_service_that_cannot_be_reached_is_told_with_its_remedy() {
    let table = [
        ("getaddrinfo ENOTFOUND login.example", 6, "DNS"),
        ("connect ECONNREFUSED 10.0.0.1:443", 6, "firewall"),
        ("unable to get local issuer certificate", 1, "NODE_EXTRA_CA_CERTS"),
    ];
    for (problem, tries, remedy) in table {
        let (_host, client, _) = set_up(false, (0..tries).map(|_| on("POST", TOKEN_PATH).refused(problem)).collect());
        let text = report(&client.send(anything()).await.unwrap_err());
        assert_eq!(text.matches(problem).count(), 1, "{text}");
        assert!(text.contains("hint: ") && text.contains(remedy), "{text}");
    }
}

#[tokio::test]
async fn what_the_host_calls_impossible_is_told_at_once() {
    let problem = "the certificate of 'x' is not trusted (SELF_SIGNED_CERT_IN_CHAIN); name its file by NODE_EXTRA_CA_CERTS";
    let (_host, client, _) = set_up(false, vec![on("POST", TOKEN_PATH).impossible(problem)]);
    let signing_in = report(&client.send(anything()).await.unwrap_err());
    assert_eq!(signing_in, format!("failed to sign in: {problem}"));
    let (_host, client, _) = set_up(false, vec![token(3600, "token-1"), on("GET", "https://arm.example/x").impossible(problem)]);
    let asking = report(&client.send(anything()).await.unwrap_err());
    assert_eq!(asking, format!("failed to reach the service for GET /x\ncaused by: {problem}"));
}

#[tokio::test]
async fn federation_trades_the_pipelines_token() {
    let script = vec![on("POST", OIDC).reply(200, &json!({"oidcToken": "the-oidc-token"})), token(3600, "token-1"), answer()];
    let (host, client, registered) = set_up(true, script);
    client.send(anything()).await.unwrap();
    let sent = host.sent();
    assert_eq!(sent[0].headers["authorization"], "Bearer the-job-token");
    assert_eq!(sent[0].headers["content-length"], "0");
    assert_eq!(sent[0].headers["x-tfs-fedauthredirect"], "Suppress");
    assert!(sent[1].body.contains("client_assertion=the-oidc-token"), "{}", sent[1].body);
    assert_eq!(*registered.lock().unwrap(), ["the-oidc-token", "token-1"]);
}

#[tokio::test]
async fn the_pipelines_token_is_asked_for_three_times() {
    let busy = || on("POST", OIDC).reply(503, &json!({}));
    let script =
        vec![busy(), on("POST", OIDC).lost(), on("POST", OIDC).reply(200, &json!({"oidcToken": "t"})), token(3600, "token-1"), answer()];
    let (_host, client, _) = set_up(true, script);
    client.send(anything()).await.unwrap();

    let (_host, client, _) = set_up(true, vec![busy(), busy(), busy()]);
    let text = report(&client.send(anything()).await.unwrap_err());
    assert!(text.contains("the pipeline gave no token for the service connection: its service answered 503"), "{text}");

    let refused = on("POST", OIDC).reply(401, &json!({"message": "TF400813: not authorized"}));
    let (_host, client, _) = set_up(true, vec![refused]);
    let text = report(&client.send(anything()).await.unwrap_err());
    assert!(text.contains("answered 401: TF400813: not authorized"), "{text}");
}

#[tokio::test]
async fn a_sign_in_service_out_of_order_is_waited_for() {
    let script = vec![
        on("POST", TOKEN_PATH).reply_text(503, "<html>busy</html>").header("retry-after", "4"),
        on("POST", TOKEN_PATH).lost(),
        token(3600, "token-1"),
        answer(),
    ];
    let (host, client, _) = set_up(false, script);
    client.send(anything()).await.unwrap();
    assert_eq!(host.sent()[1].at, Duration::from_secs(4));
}

#[tokio::test]
async fn a_refused_sign_in_names_the_code_once_and_the_fix() {
    let (_host, client, _) = set_up(false, vec![denied(7_000_222, "The provided client secret keys for app 'app' are expired.")]);
    let error = client.send(anything()).await.unwrap_err();
    assert_eq!(error.code(), Some("AADSTS7000222"));
    insta::assert_snapshot!(report(&error), @r"
    failed to sign in: AADSTS7000222: The provided client secret keys for app 'app' are expired.
    hint: the secret has expired: make a new one in the application's registration and store it in the service connection, or convert the connection to workload identity federation
    ");
    let (_host, client, _) = set_up(false, vec![denied(7_000_215, "Invalid client secret provided.")]);
    let error = client.send(anything()).await.unwrap_err();
    insta::assert_snapshot!(report(&error), @r"
    failed to sign in: AADSTS7000215: Invalid client secret provided.
    hint: the secret is wrong: the service connection must hold the secret's value, not its id; renew it there
    ");
    assert!(!format!("{error:?}").contains("the-client-secret"));
}

#[test]
fn a_connection_without_a_tenant_or_https_is_refused_before_anything_is_sent() {
    let host = ScriptedHost::new() as Arc<dyn Host>;
    let cloud =
        |authority: &str| Cloud { resource_manager: "https://arm.example/".into(), token_scope: "s".into(), authority: authority.into() };
    let identity =
        |tenant: &str| Identity { tenant_id: tenant.into(), client_id: "app".into(), proof: Proof::Secret(Secret::new("the-secret")) };
    let refused =
        |authority: &str, tenant: &str| credential(&host, &cloud(authority), identity(tenant), Arc::new(|_| ())).unwrap_err().to_string();
    for (authority, tenant) in
        [("https://login.example/", ""), ("https://login.example/", "a/b"), ("http://login.example/", TENANT), ("nowhere", TENANT)]
    {
        let text = refused(authority, tenant);
        assert!(text.starts_with("failed to sign in: ") && !text.contains("the-secret"), "{text}");
    }
}
