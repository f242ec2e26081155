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
    assert_eq!(aadsts(&answer), 50013);
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
    let key = jsonwebtoken::EncodingKey::from_secret(b"of another tenant");
    let claims = json!({"iss": "https://sts.windows.net/77777777-7777-4777-8777-777777777777/", "exp": 4_000_000_000_u64});
    let foreign = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("a token");
    with(Some(foreign)).await.refused(401, "InvalidAuthenticationTokenTenant");
    let ready = azure.emulator.ready().clone();
    let secret = [("client_secret", ready.client_secret.as_str()), ("resource", "https://vault.azure.net")];
    let vault = azure.token_request(&ready.tenant_id, &ready.client_id, &secret).await.expect(200);
    let vault = vault.body["access_token"].as_str().expect("a token").to_owned();
    with(Some(vault)).await.refused(401, "InvalidAuthenticationTokenAudience");
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

const CLIENT: &str = "66666666-6666-4666-8666-666666666666";

/// How an assertion names its key.
#[derive(Clone, Copy, Debug)]
enum Named {
    Sha1,
    Sha256,
    Chain,
    Nothing,
}

struct Signed<'a> {
    key: &'a rcgen::KeyPair,
    certificate: &'a rcgen::Certificate,
    named: Named,
    audience: &'a str,
    expires_in: i64,
}

impl Signed<'_> {
    fn assertion(&self) -> String {
        use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
        use base64::{Engine, prelude::*};
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let claims = json!({"iss": CLIENT, "sub": CLIENT, "aud": self.audience, "nbf": now - 60, "exp": now + self.expires_in, "jti": "1"});
        let signer = jsonwebtoken::EncodingKey::from_rsa_pem(self.key.serialize_pem().as_bytes()).expect("a key");
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
        match self.named {
            Named::Sha1 => header.x5t = Some(BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, self.certificate.der()))),
            Named::Sha256 => header.x5t_s256 = Some(BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, self.certificate.der()))),
            Named::Chain => header.x5c = Some(vec![BASE64_STANDARD.encode(self.certificate.der())]),
            Named::Nothing => {}
        }
        jsonwebtoken::encode(&header, &claims, &signer).expect("a token")
    }
}

#[tokio::test]
async fn a_certificate_signs_in_with_its_own_key_only() {
    let key = || rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).expect("a key");
    let certify = |key: &rcgen::KeyPair| {
        rcgen::CertificateParams::new(vec!["client".into()]).expect("parameters").self_signed(key).expect("a certificate")
    };
    let (own, other) = (key(), key());
    let (certificate, foreign) = (certify(&own), certify(&other));
    let seed = json!({"subscriptions": [], "identities": [{"clientId": CLIENT, "certificatePem": certificate.pem()}]});
    let azure = Azure::seeded(Some(&seed)).await;
    let ready = azure.emulator.ready().clone();
    let audience = format!("{}{}/oauth2/v2.0/token", ready.authority, ready.tenant_id);
    let good = Signed { key: &own, certificate: &certificate, named: Named::Sha256, audience: &audience, expires_in: 600 };
    let cases = [
        (Signed { named: Named::Sha1, ..good }, None),
        (Signed { named: Named::Sha256, ..good }, None),
        (Signed { named: Named::Chain, ..good }, None),
        (Signed { named: Named::Nothing, ..good }, Some(50027)),
        (Signed { certificate: &foreign, ..good }, Some(700_027)),
        (Signed { certificate: &foreign, named: Named::Chain, ..good }, Some(700_027)),
        (Signed { key: &other, ..good }, Some(700_027)),
        (Signed { expires_in: -1, ..good }, Some(700_024)),
        (Signed { audience: "https://login.example/token", ..good }, Some(700_023)),
    ];
    for (signed, number) in cases {
        let answer = azure.token_request(&ready.tenant_id, CLIENT, &[("client_assertion", &signed.assertion()), ASSERTION_TYPE]).await;
        assert_eq!(answer.body["error_codes"][0].as_u64(), number, "{:?} {:#}", signed.named, answer.body);
    }
}

#[tokio::test]
async fn an_expired_secret_and_a_missing_federation_are_told_apart_from_wrong_ones() {
    let seed = json!({"subscriptions": [], "identities": [
        {"clientId": CLIENT, "displayName": "nightly", "clientSecret": "s", "clientSecretExpires": "2026-01-01T00:00:00Z"}]});
    let azure = Azure::seeded(Some(&seed)).await;
    let ready = azure.emulator.ready().clone();
    azure.control("settings", json!({"now": "2026-06-01T00:00:00Z"})).await;
    let expired = azure.token_request(&ready.tenant_id, CLIENT, &[("client_secret", "s")]).await.expect(401);
    assert_eq!(aadsts(&expired), 7_000_222);
    azure.control("settings", json!({"now": "2025-06-01T00:00:00Z"})).await;
    azure.token_request(&ready.tenant_id, CLIENT, &[("client_secret", "s")]).await.expect(200);
    let assertion = oidc(&azure).await;
    let answer = azure.token_request(&ready.tenant_id, CLIENT, &[("client_assertion", &assertion), ASSERTION_TYPE]).await.expect(401);
    assert_eq!(aadsts(&answer), 70025);
    assert!(answer.body["error_description"].as_str().is_some_and(|text| text.contains("'66666666-6666-4666-8666-666666666666'(nightly)")));
    let answer = azure.token_request("nowhere", &ready.client_id, &[("client_secret", "s")]).await.expect(400);
    assert_eq!(aadsts(&answer), 900_023);
}

#[tokio::test]
async fn every_token_endpoint_answers_in_its_own_shape() {
    let azure = Azure::start().await;
    let ready = azure.emulator.ready().clone();
    for (path, expires_in) in [
        (format!("{}/oauth2/token", ready.tenant_id), json!("3600")),
        ("adfs/oauth2/token".to_owned(), json!(3600)),
        (format!("{}/oauth2/v2.0/token", ready.tenant_id), json!(3600)),
    ] {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&resource={}",
            ready.client_id,
            encode(&ready.client_secret),
            encode(&ready.resource_manager)
        );
        let request =
            azure.http.post(azure.url(&format!("/{path}"))).header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer = read(request.send().await.expect("an answer")).await.expect(200);
        assert_eq!(answer.body["expires_in"], expires_in, "{path}");
        let token = answer.body["access_token"].as_str().expect("a token");
        let groups =
            azure.http.get(azure.url(&format!("{GROUP}?api-version=2021-04-01"))).bearer_auth(token).send().await.expect("an answer");
        assert_eq!(groups.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn metadata_has_the_shape_of_its_api_version() {
    let azure = Azure::seeded(Some(&json!({"subscriptions": [], "identityProvider": "ADFS"}))).await;
    let base = azure.emulator.ready().authority.clone();
    let at = async |version: &str| azure.get(&format!("/metadata/endpoints?api-version={version}")).await;
    for version in ["1.0", "2015-01-01"] {
        let stack = at(version).await.expect(200).body;
        assert_eq!(stack["authentication"], json!({"loginEndpoint": format!("{base}adfs/"), "audiences": [base]}));
    }
    for version in ["2018-05-01", "2019-05-01", "2020-06-01", "latest"] {
        assert_eq!(at(version).await.expect(200).body[0]["authentication"]["identityProvider"], "ADFS", "{version}");
    }
    for version in ["2022-09-01", "2023-11-01"] {
        assert_eq!(at(version).await.expect(200).body["resourceManager"], base, "{version}");
    }
    at("tomorrow").await.refused(400, "InvalidApiVersionParameter");
    azure.get("/metadata/endpoints").await.refused(400, "MissingApiVersionParameter");
    let adfs = azure.get("/adfs/.well-known/openid-configuration").await.expect(200).body;
    assert_eq!(adfs["token_endpoint"], format!("{base}adfs/oauth2/token"));
    let instance = |authority: &str| format!("/common/discovery/instance?api-version=1.1&authorization_endpoint={}", encode(authority));
    azure.get(&instance(&format!("{base}common/oauth2/v2.0/authorize"))).await.expect(200);
    assert_eq!(azure.get(&instance("https://login.example/x")).await.expect(400).body["error"], "invalid_instance");
}

#[tokio::test]
async fn a_managed_identity_gets_its_token_from_either_endpoint() {
    let azure = Azure::seeded(Some(&json!({"subscriptions": [], "identities": [{"clientId": CLIENT}]}))).await;
    let ready = azure.emulator.ready().clone();
    let resource = encode(&ready.resource_manager);
    let get = async |path: String, header: (&'static str, &str)| {
        read(azure.http.get(azure.url(&path)).header(header.0, header.1).send().await.expect("an answer")).await
    };
    let path = format!("/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}");
    let answer = get(path.clone(), ("Metadata", "true")).await.expect(200);
    assert_eq!(answer.body["client_id"], ready.client_id);
    assert_eq!(get(format!("{path}&client_id={CLIENT}"), ("Metadata", "true")).await.expect(200).body["client_id"], CLIENT);
    for (path, header) in [
        (path.clone(), ("x-other", "true")),
        (format!("{path}&client_id=nobody"), ("Metadata", "true")),
        ("/metadata/identity/oauth2/token?api-version=2018-02-01".to_owned(), ("Metadata", "true")),
        (format!("/metadata/identity/oauth2/token?resource={resource}"), ("Metadata", "true")),
    ] {
        assert_eq!(get(path, header).await.expect(400).body["error"], "invalid_request");
    }
    let path = format!("/msi/token?api-version=2019-08-01&resource={resource}");
    let answer = get(path.clone(), ("X-IDENTITY-HEADER", &ready.client_secret)).await.expect(200);
    assert!(answer.body["expires_on"].as_str().is_some_and(|text| text.parse::<i64>().is_ok()));
    get(path, ("X-IDENTITY-HEADER", "wrong")).await.expect(401);
}

#[tokio::test]
async fn a_user_signs_in_is_refreshed_and_known_to_graph() {
    let user = json!({"clientId": CLIENT, "userName": "ada@emulator.onmicrosoft.com", "displayName": "Ada", "password": "p"});
    let azure = Azure::seeded(Some(&json!({"subscriptions": [], "identities": [user]}))).await;
    let ready = azure.emulator.ready().clone();
    let post = async |fields: &[(&str, &str)]| {
        let scope = format!("{}.default offline_access openid profile", ready.resource_manager);
        let mut body = vec![format!("client_id=az&scope={}", encode(&scope))];
        body.extend(fields.iter().map(|(name, value)| format!("{name}={}", encode(value))));
        let url = azure.url(&format!("/{}/oauth2/v2.0/token", ready.tenant_id));
        read(azure.http.post(url).body(body.join("&")).send().await.expect("an answer")).await
    };
    let sign_in = |password| [("grant_type", "password"), ("username", "Ada@emulator.onmicrosoft.com"), ("password", password)];
    assert_eq!(aadsts(&post(&sign_in("wrong")).await.expect(400)), 50126);
    let first = post(&sign_in("p")).await.expect(200).body;
    assert!(first["id_token"].is_string() && first["client_info"].is_string());
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", first["refresh_token"].as_str().expect("a refresh token"))];
    let second = post(&refresh).await.expect(200).body;
    let graph =
        async |token: &str, path: &str| read(azure.http.get(azure.url(path)).bearer_auth(token).send().await.expect("an answer")).await;
    let token = second["access_token"].as_str().expect("a token");
    assert_eq!(graph(token, "/v1.0/me").await.expect(200).body["userPrincipalName"], "ada@emulator.onmicrosoft.com");
    for refused in ["nonsense", token] {
        assert_eq!(aadsts(&post(&[("grant_type", "refresh_token"), ("refresh_token", refused)]).await.expect(400)), 9_002_313);
    }
    azure.control("settings", json!({"now": "2036-01-01T00:00:00Z"})).await;
    assert_eq!(aadsts(&post(&refresh).await.expect(400)), 700_082);
}

#[tokio::test]
async fn graph_finds_service_principals_by_application() {
    let azure = Azure::start().await;
    let client = azure.emulator.ready().client_id.clone();
    let object = azure.get(&format!("/v1.0/servicePrincipals(appId='{client}')")).await.expect(200).body["id"].clone();
    for filter in [format!("appId eq '{client}'"), format!("servicePrincipalNames/any(c:c eq '{client}')")] {
        let found = azure.get(&format!("/v1.0/servicePrincipals?$filter={}", encode(&filter))).await.expect(200).body;
        assert_eq!((found["value"].as_array().map(Vec::len), &found["value"][0]["id"]), (Some(1), &object), "{filter}");
    }
    azure.get("/v1.0/servicePrincipals(appId='00000000-0000-4000-8000-000000000000')").await.refused(404, "Request_ResourceNotFound");
    azure.get("/v1.0/me").await.refused(400, "BadRequest");
    read(azure.http.get(azure.url("/v1.0/me")).send().await.expect("an answer")).await.refused(401, "AuthenticationFailed");
}
