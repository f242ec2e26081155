//! Errors as users see them.

use serde_json::json;

use super::*;

fn response(status: u16, body: Value) -> Response {
    Response { status, headers: vec![("x-ms-correlation-request-id".into(), "11111111-0000-0000-0000-000000000000".into())], body }
}

fn shown(status: u16, body: Value) -> String {
    report(&Error::from_response("PUT /x", &response(status, body)))
}

#[test]
fn a_plain_error_is_its_code_and_message() {
    insta::assert_snapshot!(shown(404, json!({"error": {"code": "ResourceGroupNotFound", "message": "Resource group 'rg' could not be found."}})), @r"
    ResourceGroupNotFound: Resource group 'rg' could not be found.
    correlation id: 11111111-0000-0000-0000-000000000000
    hint: check the resource group's name in the id, and that the id's subscription is the right one
    ");
}

#[test]
fn errors_nested_as_escaped_json_are_unwrapped_to_the_last() {
    let innermost = json!({"error": {"code": "QuotaExceeded", "message": "Operation could not be completed as it results in exceeding approved Total Regional Cores quota."}});
    let inner = json!({"status": "Failed", "error": {"code": "ResourceDeploymentFailure", "message": "The resource operation completed with terminal provisioning state 'Failed'.", "details": [{"code": "Conflict", "message": innermost.to_string(), "target": "/subscriptions/s/vm1"}]}});
    let body = json!({"error": {"code": "DeploymentFailed", "message": "At least one resource deployment operation failed.", "details": [{"code": "Conflict", "message": inner.to_string()}]}});
    insta::assert_snapshot!(shown(200, body), @r"
    QuotaExceeded: Operation could not be completed as it results in exceeding approved Total Regional Cores quota.
    - DeploymentFailed: At least one resource deployment operation failed.
    - ResourceDeploymentFailure: The resource operation completed with terminal provisioning state 'Failed'.
    correlation id: 11111111-0000-0000-0000-000000000000
    hint: the quota is used up: delete what is no longer needed, choose another size or region, or ask for more in the portal under Quotas
    ");
}

#[test]
fn every_form_of_an_error_is_understood() {
    let cases = [
        (json!({"error": {"code": "A", "message": "m"}}), "A: m"),
        (json!({"code": "A", "message": "m"}), "A: m"),
        (json!({"Code": "A", "Message": "m"}), "A: m"),
        (json!({"odata.error": {"code": "A", "message": {"lang": "en", "value": "m"}}}), "A: m"),
        (json!({"error": "invalid_client", "error_description": "m"}), "invalid_client: m"),
        (json!({"error": {"code": 17, "message": "m"}}), "17: m"),
        (json!({"error": {"code": "A", "message": "m", "innererror": {"code": "B", "message": "n"}}}), "B: n"),
        (
            json!({"error": {"code": "A", "message": "m", "details": [{"code": "B", "message": "n"}, {"code": "BadRequest", "message": "o"}]}}),
            "B: n",
        ),
        (json!({"error": {"code": "A", "message": "failed: '{\"error\":{\"code\":\"B\",\"message\":\"n\"}}'."}}), "B: n"),
        (json!({"error": {"code": "A", "message": r#"{\"error\":{\"code\":\"B\",\"message\":\"n\"}}"#}}), "B: n"),
        (json!({"error": {"code": "A", "message": "the name {vm} is taken {} by {\"x\":1}"}}), "A: the name {vm} is taken {} by {\"x\":1}"),
        (json!({"error": {"message": "m"}}), "Error: m"),
        (json!({"error": {"code": "A"}}), "A: "),
        (json!({"error": {}}), "Conflict: the service gave no reason"),
        (json!(null), "Conflict: the service gave no reason"),
        (json!([]), "Conflict: the service gave no reason"),
        (json!("<html><body><h1>502</h1>\n Bad   Gateway</body></html>"), "Conflict: 502 Bad Gateway"),
    ];
    for (body, expected) in cases {
        assert_eq!(Error::from_response("GET /x", &response(409, body.clone())).to_string(), expected, "{body}");
    }
}

#[test]
fn a_nest_without_an_end_is_cut() {
    let mut body = json!({"code": "Z", "message": "end"});
    for _ in 0..60 {
        body = json!({"error": {"code": "A", "message": "m", "details": [body]}});
    }
    assert_eq!(Error::from_response("GET /x", &response(400, body)).code(), Some("A"));
}

#[test]
fn causes_are_told_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("failed to create VM 'build-01'")]
    struct Outer(#[source] Box<Error>);
    let cause = Cause { message: "connect ETIMEDOUT".into(), source: Some(Box::new(Cause::new("connect ETIMEDOUT"))) };
    let error = Outer(Box::new(Error::Connection { request: "PUT /x".into(), source: Box::new(cause) }));
    insta::assert_snapshot!(report(&error), @r"
    failed to create VM 'build-01'
    caused by: failed to reach the service for PUT /x
    caused by: connect ETIMEDOUT
    hint: check that the agent's machine reaches the server: firewall, proxy (AGENT_PROXYURL), network
    ");
}

#[test]
fn no_error_shows_a_secret() {
    let secret = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.eyJhdWQiOiJhIn0.c2ln";
    let message = format!("cannot read https://s.blob.core.windows.net/v/d.vhd?sv=1&sig=SIGNATURE with Bearer {secret}, password=hunter22");
    let body = json!({"error": {"code": "A", "message": message, "target": "https://x/?sig=SIGNATURE", "details": [{"code": "B", "message": message}]}});
    let service = Error::from_response("GET /x", &response(400, body));
    let below = azure_core::Error::with_error(azure_core::error::ErrorKind::Io, std::io::Error::other(message.clone()), message.clone());
    let connection = Error::from_pipeline("GET /x", &below);
    for error in [service, connection] {
        for text in [report(&error), format!("{error:?}"), error.to_string()] {
            assert!(!text.contains("eyJ0") && !text.contains("SIGNATURE") && !text.contains("hunter22"), "{text}");
        }
    }
}

#[test]
fn times_are_told_in_words() {
    for (given, expected) in [(0, "0 s"), (59, "59 s"), (60, "1 min"), (90, "1 min 30 s"), (3600, "1 h"), (5400, "1 h 30 min")] {
        assert_eq!(seconds(Duration::from_secs(given)), expected);
    }
}

proptest::proptest! {
    #[test]
    fn no_body_breaks_the_unwrapping(text in "[{}\\[\\]\":,a-z\\\\ ]{0,60}") {
        let body = json!({"error": {"code": "A", "message": text}});
        let _ = report(&Error::from_response("GET /x", &response(400, body)));
        let _ = report(&Error::from_response("GET /x", &response(400, Value::String(text))));
    }
}
