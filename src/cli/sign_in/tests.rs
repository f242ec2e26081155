//! The order of the ways to sign in, and what is said where none leads there. `tests/connections` signs in at an emulator.

use super::*;

async fn tried(variables: &[(&str, &str)]) -> String {
    // A port on which nobody listens, so that the machine's own identity does not get in the way of the test.
    let silent = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9");
    let get = |name: &str| variables.iter().chain([&silent]).find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
    azure(get).await.unwrap_err().to_string()
}

#[tokio::test]
async fn every_way_is_listed_with_its_reason() {
    let text = tried(&[]).await;
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("  ")).collect();
    assert_eq!(lines[0], "failed to sign in for `--on azure`; tried in this order:");
    assert_eq!(
        lines[1],
        "- environment variables: neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set, and AZURE_TENANT_ID, AZURE_CLIENT_ID are not set"
    );
    assert_eq!(lines[2], "- workload identity: AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_FEDERATED_TOKEN_FILE are not set");
    assert!(lines[3].starts_with("- managed identity: the instance metadata service at http://127.0.0.1:9 does not answer"), "{text}");
    assert!(lines[4].starts_with("- Azure CLI: "), "{text}");
}

#[tokio::test]
async fn what_is_set_up_and_broken_is_not_passed_over() {
    let application = [("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_ID", "app")];
    let certificate = [&application[..], &[("AZURE_CLIENT_CERTIFICATE_PATH", "/no/such.pem")]].concat();
    let text = tried(&certificate).await;
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("AZURE_CLIENT_CERTIFICATE_PATH names '/no/such.pem', which cannot be read"), "{text}");
    let secret = [&application[..], &[("AZURE_CLIENT_SECRET", "the-secret"), ("AZURE_AUTHORITY_HOST", "http://plain.example")]].concat();
    let text = tried(&secret).await;
    assert!(text.contains("'http://plain.example/' is not an https address") && !text.contains("the-secret"), "{text}");
}

#[tokio::test]
async fn the_token_service_answers_only_who_knows_its_header() {
    #[derive(Debug)]
    struct Fixed;
    #[async_trait::async_trait]
    impl TokenCredential for Fixed {
        async fn get_token(
            &self,
            scopes: &[&str],
            _options: Option<azure_core::credentials::TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            Ok(AccessToken::new(format!("token for {}", scopes[0]), azure_core::time::OffsetDateTime::UNIX_EPOCH))
        }
    }
    let service = TokenService::start(Arc::new(Fixed)).await.unwrap();
    let variables = service.variables();
    let url = format!("{}?api-version=2019-08-01&resource=https%3A%2F%2Farm.example", variables["IDENTITY_ENDPOINT"]);
    let transport = Transport::new(&Trust::Machine(Box::default())).unwrap().near();
    let ask = async |header: &str| {
        let answer = transport.client().get(&url).header("x-identity-header", header).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!(ask("guessed").await.0, 401);
    let (status, body) = ask(&variables["IDENTITY_HEADER"]).await;
    assert_eq!((status, body["access_token"].as_str()), (200, Some("token for https://arm.example/.default")));
}
