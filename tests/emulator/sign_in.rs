//! Sign-in: secrets, federated assertions, tokens.

use serde_json::{Value, json};

use super::client::{Answer, Azure, GROUP, encode, read};

const CONNECTION: &str = "44444444-4444-4444-8444-444444444444";
const ASSERTION_TYPE: (&str, &str) = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");

fn aadsts(answer: &Answer) -> u64 {
    let number = answer.body["error_codes"][0].as_u64().unwrap_or_default();
    assert!(
        answer.body["error_description"].as_str().is_some_and(|text| text.starts_with(&format!("AADSTS{number}: "))),
        "{:#}",
        answer.body
    );
    number
}

async fn pipeline_token(azure: &Azure, connection: &str, token: &str) -> Answer {
    let url = format!("{}?api-version=7.1&serviceConnectionId={}", azure.emulator.ready().oidc_request_uri, encode(connection));
    read(azure.http.post(url).bearer_auth(token).header("content-length", "0").send().await.expect("an answer")).await
}

async fn oidc(azure: &Azure) -> String {
    let answer = pipeline_token(azure, CONNECTION, &azure.emulator.ready().system_access_token).await.expect(200);
    answer.body["oidcToken"].as_str().expect("a token").to_owned()
}

#[tokio::test]
async fn wrong_credentials_get_entras_own_errors() {
    let azure = Azure::start().await;
    let ready = azure.emulator.ready().clone();
    let secret = [("client_secret", ready.client_secret.as_str())];
    let other = "99999999-9999-4999-8999-999999999999";
    let no_secret: &[(&str, &str)] = &[];
    let cases = [
        (ready.tenant_id.as_str(), ready.client_id.as_str(), &[("client_secret", "wrong")][..], 401, 7_000_215),
        (&ready.tenant_id, &ready.client_id, no_secret, 401, 7_000_218),
        (&ready.tenant_id, other, &secret, 400, 700_016),
        (other, &ready.client_id, &secret, 400, 90002),
        (&ready.tenant_id, &ready.client_id, &[("client_assertion", "nonsense")], 401, 50027),
    ];
    for (tenant, client, credential, status, number) in cases {
        let answer = azure.token_request(tenant, client, credential).await.expect(status);
        assert_eq!(aadsts(&answer), number);
    }
}

#[tokio::test]
async fn a_federated_assertion_signs_in() {
    let azure = Azure::start().await;
    let ready = azure.emulator.ready().clone();
    let assertion = oidc(&azure).await;
    let answer =
        azure.token_request(&ready.tenant_id, &ready.client_id, &[("client_assertion", &assertion), ASSERTION_TYPE]).await.expect(200);
    assert_eq!((&answer.body["token_type"], &answer.body["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let forged = assertion.rsplit_once('.').map(|(start, _)| format!("{start}.{}", "A".repeat(86))).expect("three parts");
    let answer =
        azure.token_request(&ready.tenant_id, &ready.client_id, &[("client_assertion", &forged), ASSERTION_TYPE]).await.expect(401);
    assert_eq!(aadsts(&answer), 700_027);
}

#[tokio::test]
async fn the_oidc_endpoint_wants_the_jobs_token_and_a_connection() {
    let azure = Azure::start().await;
    pipeline_token(&azure, CONNECTION, "wrong").await.expect(401);
    pipeline_token(&azure, "no-guid", &azure.emulator.ready().system_access_token).await.expect(400);
}

#[tokio::test]
async fn an_expired_assertion_is_refused() {
    let azure = Azure::start().await;
    let ready = azure.emulator.ready().clone();
    azure.control("settings", json!({"tokenLifetimeSeconds": 0})).await;
    let assertion = oidc(&azure).await;
    let answer =
        azure.token_request(&ready.tenant_id, &ready.client_id, &[("client_assertion", &assertion), ASSERTION_TYPE]).await.expect(401);
    assert_eq!(aadsts(&answer), 700_024);
}

#[tokio::test]
async fn a_seeded_identity_trusts_its_own_subject_only() {
    let client = "55555555-5555-4555-8555-555555555555";
    let seed = |subject: &str| {
        json!({"subscriptions": [{"subscriptionId": "11111111-1111-4111-8111-111111111111", "resourceGroups": []}],
            "identities": [{"clientId": client, "federated": {"issuer": "emulator", "subject": subject}}]})
    };
    for (subject, number) in [(format!("sc://emulator/pipeline/{CONNECTION}"), None), ("sc://other".into(), Some(700_213))] {
        let azure = Azure::seeded(Some(&seed(&subject))).await;
        let tenant = azure.emulator.ready().tenant_id.clone();
        let assertion = oidc(&azure).await;
        let answer = azure.token_request(&tenant, client, &[("client_assertion", &assertion), ASSERTION_TYPE]).await;
        assert_eq!(answer.body["error_codes"][0].as_u64(), number, "{:#}", answer.body);
    }
}

#[tokio::test]
async fn tokens_are_checked_on_every_request() {
    let azure = Azure::start().await;
    let path = format!("{GROUP}?api-version=2021-04-01");
    let with = async |token: Option<String>| {
        let request = azure.http.get(azure.url(&path));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        read(request.send().await.expect("an answer")).await
    };
    let answer = with(None).await.refused(401, "AuthenticationFailed");
    assert!(answer.header("www-authenticate").starts_with("Bearer authorization_uri="));
    with(Some("x.y.z".into())).await.refused(401, "InvalidAuthenticationToken");
    with(Some(format!("{}A", azure.token))).await.refused(401, "InvalidAuthenticationToken");
    with(Some(oidc(&azure).await)).await.refused(401, "InvalidAuthenticationToken");
    with(Some(azure.token.clone())).await.expect(200);
    azure.control("settings", json!({"now": "2036-01-01T00:00:00Z"})).await;
    with(Some(azure.token.clone())).await.refused(401, "ExpiredAuthenticationToken");
}

#[tokio::test]
async fn discovery_names_the_emulator() {
    let azure = Azure::start().await;
    let ready = azure.emulator.ready().clone();
    let configuration = azure.get(&format!("/{}/v2.0/.well-known/openid-configuration", ready.tenant_id)).await.expect(200).body;
    assert_eq!(configuration["token_endpoint"], format!("{}{}/oauth2/v2.0/token", ready.authority, ready.tenant_id));
    let metadata = azure.get("/metadata/endpoints?api-version=2022-09-01").await.expect(200).body;
    assert!(metadata.is_object() && metadata["authentication"]["loginEndpoint"].is_string());
    let keys: Value = azure.get(configuration["jwks_uri"].as_str().expect("a URL")).await.expect(200).body;
    assert_eq!(keys["keys"][0]["kty"], "EC");
}

#[tokio::test]
async fn a_certificate_signs_in_with_its_own_key_only() {
    let client = "66666666-6666-4666-8666-666666666666";
    let key = || rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).expect("a key");
    let (own, other) = (key(), key());
    let certificate = rcgen::CertificateParams::new(vec!["client".into()]).expect("parameters").self_signed(&own).expect("a certificate");
    let seed = json!({"subscriptions": [], "identities": [{"clientId": client, "certificatePem": certificate.pem()}]});
    let azure = Azure::seeded(Some(&seed)).await;
    let tenant = azure.emulator.ready().tenant_id.clone();
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let cases = [(&own, now + 600, None), (&other, now + 600, Some(700_027)), (&own, now - 1, Some(700_024))];
    for (key, expires, number) in cases {
        let claims = json!({"iss": client, "sub": client, "aud": "https://login", "nbf": now - 60, "exp": expires, "jti": "1"});
        let signer = jsonwebtoken::EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).expect("a key");
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
        let assertion = jsonwebtoken::encode(&header, &claims, &signer).expect("a token");
        let answer = azure.token_request(&tenant, client, &[("client_assertion", &assertion), ASSERTION_TYPE]).await;
        assert_eq!(answer.body["error_codes"][0].as_u64(), number, "{:#}", answer.body);
    }
}
