//! Sign-in over a scripted host.

use std::time::Duration;

use azure_core::credentials::SecretBytes;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::{
    arm::{ApiVersion, Client, Request as ArmRequest, report},
    host::{
        KeyEncoding,
        scripted::{Exchange, Handle, ScriptedHost, on},
    },
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
    let proof = if federated {
        Proof::Federation { request_uri: OIDC.into(), system_access_token: Secret::new("the-job-token") }
    } else {
        Proof::Secret(Secret::new("the-client-secret"))
    };
    set_up_at("https://login.example/", proof, script)
}

fn set_up_at(authority: &str, proof: Proof, script: Vec<Exchange>) -> (Arc<Handle>, Client, Arc<Mutex<Vec<String>>>) {
    let handle = ScriptedHost::new();
    handle.expect(script);
    let host = Arc::clone(&handle) as Arc<dyn Host>;
    let cloud = Cloud {
        resource_manager: "https://arm.example/".into(),
        token_scope: "https://arm.example/.default".into(),
        authority: authority.into(),
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

fn certificate() -> Proof {
    let key = PrivateKey { encoding: KeyEncoding::Pkcs8, der: SecretBytes::new(*b"the-private-key") };
    Proof::Certificate { chain: vec![b"leaf".to_vec(), b"issuer".to_vec()], key }
}

/// The parts of the assertion that a request holds: header, claims, signature.
fn assertion(body: &str) -> (Value, Value, String) {
    let text = body.split('&').find_map(|field| field.strip_prefix("client_assertion=")).expect("an assertion");
    let parts: Vec<_> = text.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    let json = |index: usize| serde_json::from_slice(&parts[index]).unwrap();
    (json(0), json(1), String::from_utf8(parts[2].clone()).unwrap())
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
async fn a_token_that_is_refused_before_its_time_is_replaced_twice_and_no_more() {
    let refused = || {
        let error = json!({"error": {"code": "ExpiredAuthenticationToken", "message": "The access token expiry has passed."}});
        on("GET", "https://arm.example/x").reply(401, &error)
    };
    let (host, client, _) = set_up(false, vec![token(3600, "token-1"), refused(), token(3600, "token-2"), answer(), answer()]);
    client.send(anything()).await.unwrap();
    client.send(anything()).await.unwrap();
    assert_eq!(host.sent()[3].headers["authorization"], "Bearer token-2");

    let (_host, client, _) =
        set_up(false, vec![token(3600, "token-1"), refused(), token(3600, "token-2"), refused(), token(3600, "token-3"), refused()]);
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

#[tokio::test]
async fn a_certificate_signs_its_assertion_anew_for_each_token() {
    let (host, client, _) =
        set_up_at("https://login.example/", certificate(), vec![token(1, "token-1"), answer(), token(3600, "token-2"), answer()]);
    client.send(anything()).await.unwrap();
    client.send(anything()).await.unwrap();
    let sent = host.sent();
    let (header, claims, signature) = assertion(&sent[0].body);
    assert_eq!((&header["alg"], &header["typ"], signature.as_str()), (&json!("PS256"), &json!("JWT"), "Pss"));
    assert_eq!(header["x5c"], json!(["bGVhZg==", "aXNzdWVy"]));
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(header["x5t"].as_str().unwrap()).unwrap().len(), 20);
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(header["x5t#S256"].as_str().unwrap()).unwrap().len(), 32);
    assert_eq!((&claims["aud"], &claims["iss"], &claims["sub"]), (&json!(TOKEN_PATH), &json!("app"), &json!("app")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 600);
    let (_, later, _) = assertion(&sent[2].body);
    assert_ne!(claims["jti"], later["jti"]);
}

#[tokio::test]
async fn a_certificate_that_is_not_registered_is_named_by_its_thumbprint() {
    let refused = denied(700_027, "Client assertion contains an invalid signature. The key was not found.");
    let (_host, client, _) = set_up_at("https://login.example/", certificate(), vec![refused]);
    let text = report(&client.send(anything()).await.unwrap_err());
    // The scripted host's hash of "leaf".
    let thumbprint = "98".repeat(20);
    assert!(text.contains(&format!("(presented: the certificate with the thumbprint {thumbprint})")), "{text}");
    assert!(text.contains("hint: the application does not know this certificate"), "{text}");
}

#[test]
fn a_key_that_cannot_sign_is_known_before_anything_is_sent() {
    let host = ScriptedHost::new() as Arc<dyn Host>;
    let cloud = Cloud { resource_manager: "https://a/".into(), token_scope: "s".into(), authority: "https://login.example/".into() };
    let key = PrivateKey { encoding: KeyEncoding::Pkcs1, der: SecretBytes::new([]) };
    let identity = Identity { tenant_id: TENANT.into(), client_id: "app".into(), proof: Proof::Certificate { chain: vec![vec![1]], key } };
    let text = credential(&host, &cloud, identity, Arc::new(|_| ())).unwrap_err().to_string();
    assert!(text.contains("the private key of the service connection's certificate cannot sign: an empty key"), "{text}");
}

#[tokio::test]
async fn federation_services_are_asked_by_resource_and_without_a_tenant() {
    const ADFS: &str = "https://adfs.example/adfs/oauth2/token";
    let granted = || on("POST", ADFS).reply(200, &json!({"access_token": "token-1", "expires_in": 3600, "token_type": "bearer"}));
    let proofs = [Proof::Secret(Secret::new("the client secret")), certificate()];
    for (proof, is_secret) in proofs.into_iter().zip([true, false]) {
        let (host, client, registered) = set_up_at("https://adfs.example/adfs/", proof, vec![granted(), answer()]);
        client.send(anything()).await.unwrap();
        let sent = host.sent();
        assert!(sent[0].body.contains("resource=https%3A%2F%2Farm%2Eexample&"), "{}", sent[0].body);
        assert!(!sent[0].body.contains("scope="), "{}", sent[0].body);
        if is_secret {
            assert!(sent[0].body.contains("client_secret=the%20client%20secret"), "{}", sent[0].body);
        } else {
            let body = percent_encoding::percent_decode_str(&sent[0].body).decode_utf8_lossy().into_owned();
            let (header, claims, signature) = assertion(&body);
            assert_eq!((&header["alg"], &claims["aud"], signature.as_str()), (&json!("RS256"), &json!(ADFS), "Pkcs1"));
        }
        assert_eq!(sent[1].headers["authorization"], "Bearer token-1");
        assert_eq!(*registered.lock().unwrap(), ["token-1"]);
    }
    let refused = on("POST", ADFS).reply(400, &json!({"error": "invalid_client", "error_description": "MSIS9625: the client is unknown."}));
    let (_host, client, _) = set_up_at("https://adfs.example/adfs/", certificate(), vec![refused]);
    let text = report(&client.send(anything()).await.unwrap_err());
    assert!(text.contains("MSIS9625: the client is unknown. (presented: the certificate with the thumbprint"), "{text}");
}

#[tokio::test]
async fn a_missing_federated_credential_is_told_with_what_was_presented() {
    let claims =
        BASE64_URL_SAFE_NO_PAD.encode(r#"{"iss":"https://issuer.example/o","sub":"sc://o/p/c","aud":["api://AzureADTokenExchange"]}"#);
    let oidc = on("POST", OIDC).reply(200, &json!({"oidcToken": format!("e30.{claims}.sig")}));
    let refused = denied(700_213, "No matching federated identity record found for presented assertion subject 'sc://o/p/c'.");
    let (_host, client, _) = set_up(true, vec![oidc, refused]);
    insta::assert_snapshot!(report(&client.send(anything()).await.unwrap_err()), @r"
    failed to sign in: AADSTS700213: No matching federated identity record found for presented assertion subject 'sc://o/p/c'. (presented: issuer 'https://issuer.example/o', subject 'sc://o/p/c', audience 'api://AzureADTokenExchange')
    hint: no federated credential of the application matches this connection: add one in the application's registration (or the managed identity) with exactly the issuer and subject that were presented
    ");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told() {
    let table = [("Thu, 19 Nov 2026 23:46:00 GMT", "14 min ahead of"), ("Fri, 20 Nov 2026 01:30:00 GMT", "1 h 30 min behind")];
    for (date, expected) in table {
        let refused = denied(700_024, "Client assertion is not within its valid time range.").header("date", date);
        let (_host, client, _) = set_up_at("https://login.example/", certificate(), vec![refused]);
        let text = report(&client.send(anything()).await.unwrap_err());
        assert!(text.contains(&format!("this machine's clock is {expected} the sign-in service's")), "{text}");
        assert!(text.contains("(NTP)"), "{text}");
    }
    let refused = denied(700_024, "Client assertion is not within its valid time range.").header("date", "Fri, 20 Nov 2026 00:01:00 GMT");
    let (_host, client, _) = set_up(false, vec![refused]);
    assert!(!report(&client.send(anything()).await.unwrap_err()).contains("this machine's clock"));
}

fn machine(machine: MachineIdentity, script: Vec<Exchange>) -> (Arc<Handle>, Client, Arc<Mutex<Vec<String>>>) {
    set_up_at("", Proof::Machine(machine), script)
}

#[tokio::test]
async fn a_managed_identity_is_asked_for_as_each_service_wants_it() {
    const METADATA: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
    let granted =
        |url: &str| on("GET", url).reply(200, &json!({"access_token": "token-1", "expires_on": "4102444800", "token_type": "Bearer"}));
    let url = |text: &str| Url::parse(text).unwrap();
    let query = |version: &str| format!("?api-version={version}&resource=https%3A%2F%2Farm.example&client_id=app");

    let asked = format!("{METADATA}{}", query("2018-02-01"));
    let (host, client, registered) = machine(MachineIdentity::InstanceMetadata(url(METADATA)), vec![granted(&asked), answer()]);
    client.send(anything()).await.unwrap();
    assert_eq!(host.sent()[0].headers["metadata"], "true");
    assert_eq!(host.sent()[1].headers["authorization"], "Bearer token-1");
    assert_eq!(*registered.lock().unwrap(), ["token-1"]);

    let app = "http://localhost:42356/msi/token";
    let asked = format!("{app}{}", query("2019-08-01"));
    let (host, client, _) = machine(MachineIdentity::AppService(url(app), Secret::new("the-header")), vec![granted(&asked), answer()]);
    client.send(anything()).await.unwrap();
    assert_eq!(host.sent()[0].headers["x-identity-header"], "the-header");

    let arc = "http://localhost:40342/metadata/identity/oauth2/token";
    let challenge = on("GET", arc).reply(401, &json!({})).header("www-authenticate", "Basic realm=/var/opt/azcmagent/tokens/1.key");
    let (host, client, _) = machine(MachineIdentity::Arc(url(arc)), vec![challenge, granted(arc), answer()]);
    host.add_file("/var/opt/azcmagent/tokens/1.key", "the-arc-key\n");
    client.send(anything()).await.unwrap();
    assert_eq!(host.sent()[1].headers["authorization"], "Basic the-arc-key");
}

#[tokio::test]
async fn azure_arc_may_not_point_at_any_file() {
    let arc = "http://localhost:40342/metadata/identity/oauth2/token";
    for path in ["/etc/shadow", "/var/opt/azcmagent/tokens/../../../../etc/shadow.key", "/var/opt/azcmagent/tokens/x"] {
        let challenge = on("GET", arc).reply(401, &json!({})).header("www-authenticate", format!("Basic realm={path}"));
        let (host, client, _) = machine(MachineIdentity::Arc(Url::parse(arc).unwrap()), vec![challenge]);
        host.add_file(path, "secret of somebody else");
        let text = report(&client.send(anything()).await.unwrap_err());
        assert!(text.contains("none of its own files"), "{text}");
    }
}

#[tokio::test]
async fn a_machine_without_the_identity_is_told_what_to_do() {
    let metadata = || MachineIdentity::InstanceMetadata(Url::parse("http://169.254.169.254/metadata/identity/oauth2/token").unwrap());
    let refused =
        on("GET", "/metadata/identity").reply(400, &json!({"error": "invalid_request", "error_description": "Identity not found"}));
    let (_host, client, _) = machine(metadata(), vec![refused]);
    let text = report(&client.send(anything()).await.unwrap_err());
    assert!(text.contains("(400: Identity not found); assign the identity with the client id 'app' to the machine"), "{text}");

    let (_host, client, _) = machine(metadata(), vec![on("GET", "/metadata/identity").refused("connect ECONNREFUSED 169.254.169.254:80")]);
    let text = report(&client.send(anything()).await.unwrap_err());
    assert!(text.contains("does not answer") && text.contains("an agent that runs in Azure"), "{text}");

    let updating = || on("GET", "/metadata/identity").reply(410, &json!({}));
    let granted = on("GET", "/metadata/identity").reply(200, &json!({"access_token": "t", "expires_in": 3600}));
    let (host, client, _) = machine(metadata(), vec![updating(), updating(), granted, answer()]);
    client.send(anything()).await.unwrap();
    assert_eq!(host.sent()[2].at, Duration::from_secs(3));
}
