//! Tables: the answers of a service, and what is asked next; and the polling schedule.

use serde_json::json;

use super::*;

const STATUS: &str = "https://m.example/subscriptions/s/operations/1?api-version=1&sig=secret";
const RESULT: &str = "https://m.example/subscriptions/s/operations/1?api-version=1&monitor=true";

/// Method, status, headers, body, and the step expected.
type Accepting = (Method, u16, Vec<(&'static str, &'static str)>, Value, &'static str);
/// Method, stage, status, body, and the step expected.
type Polling = (Method, Stage, u16, Value, &'static str);

fn operation(method: Method) -> Operation {
    Operation {
        resource: "/r".into(),
        status: 200,
        method,
        api_version: ApiVersion("1"),
        request: format!("{} /r", method.as_ref()),
        accepted: Duration::ZERO,
        stage: Stage::Resource,
        retry_after: None,
    }
}

fn response(status: u16, headers: &[(&str, &str)], body: Value) -> Response {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Response { status, headers, body }
}

/// A step in short: `status`, `result`, `resource`, `final`, `done <value>` or `failed <code>`.
fn short(step: &Step) -> String {
    match step {
        Step::Next { stage: Stage::Status { result, .. }, .. } => format!("status{}", if result.is_some() { "+result" } else { "" }),
        Step::Next { stage: Stage::Result { .. }, .. } => "result".into(),
        Step::Next { stage: Stage::Resource, .. } => "resource".into(),
        Step::Next { stage: Stage::Final, .. } => "final".into(),
        Step::Next { stage: Stage::Done(value), .. } => format!("done {value}"),
        Step::Failed(error) => format!("failed {}", error.code().unwrap_or("?")),
    }
}

#[test]
fn the_accepting_answer_chooses_the_style() {
    let state = |word: &str| json!({"properties": {"provisioningState": word}});
    let status = ("azure-asyncoperation", STATUS);
    let result = ("location", RESULT);
    let table: Vec<Accepting> = vec![
        (Method::Put, 201, vec![status], state("Creating"), "status"),
        (Method::Put, 200, vec![status], state("Succeeded"), "status"),
        (Method::Put, 202, vec![status, result], Value::Null, "status+result"),
        (Method::Put, 202, vec![result], Value::Null, "result"),
        (Method::Put, 201, vec![result], state("Creating"), "resource"),
        (Method::Put, 201, vec![], state("Creating"), "resource"),
        (Method::Put, 200, vec![], state("sUcceeded"), r#"done {"properties":{"provisioningState":"sUcceeded"}}"#),
        (Method::Put, 200, vec![], json!({"id": 1}), r#"done {"id":1}"#),
        (Method::Put, 200, vec![], state("Failed"), "failed Failed"),
        (Method::Put, 202, vec![], Value::Null, "resource"),
        (Method::Patch, 200, vec![], json!({"a": 1}), r#"done {"a":1}"#),
        (Method::Delete, 202, vec![status, result], Value::Null, "status+result"),
        (Method::Delete, 202, vec![result], Value::Null, "result"),
        (Method::Delete, 202, vec![], Value::Null, "resource"),
        (Method::Delete, 200, vec![], Value::Null, "done null"),
        (Method::Delete, 204, vec![], Value::Null, "done null"),
        (Method::Post, 202, vec![status, result], Value::Null, "status+result"),
        (Method::Post, 202, vec![result], Value::Null, "result"),
        (Method::Post, 200, vec![], json!({"value": []}), r#"done {"value":[]}"#),
        (Method::Post, 204, vec![], Value::Null, "done null"),
    ];
    for (method, code, headers, body, expected) in table {
        let step = operation(method).accepted(&response(code, &headers, body.clone()));
        assert_eq!(short(&step), expected, "{method:?} {code} {headers:?} {body}");
    }
}

#[test]
fn each_poll_chooses_the_next() {
    let status = || Stage::Status { url: STATUS.into(), result: None };
    let both = || Stage::Status { url: STATUS.into(), result: Some(RESULT.into()) };
    let result = || Stage::Result { url: RESULT.into() };
    let word = |word: &str| json!({ "status": word });
    let state = |word: &str| json!({"properties": {"provisioningState": word}});
    let failed = json!({"status": "failed", "error": {"code": "DeploymentFailed", "message": "m", "details": [{"code": "SkuNotAvailable", "message": "no"}]}});
    let table: Vec<Polling> = vec![
        // The status address.
        (Method::Put, status(), 200, word("Running"), "status"),
        (Method::Put, status(), 200, word("Whatever"), "status"),
        (Method::Put, status(), 202, Value::Null, "status"),
        (Method::Put, status(), 200, word("SUCCEEDED"), "final"),
        (Method::Put, both(), 200, word("Succeeded"), "final"),
        (Method::Patch, status(), 200, word("Succeeded"), "final"),
        (Method::Put, status(), 200, failed.clone(), "failed SkuNotAvailable"),
        (Method::Put, status(), 200, word("Canceled"), "failed Canceled"),
        (Method::Put, status(), 404, Value::Null, "resource"),
        (Method::Put, status(), 403, json!({"error": {"code": "AuthorizationFailed", "message": "x"}}), "failed AuthorizationFailed"),
        (Method::Delete, both(), 200, word("Succeeded"), "done null"),
        (Method::Delete, both(), 204, Value::Null, "done null"),
        (Method::Delete, both(), 404, Value::Null, "done null"),
        (Method::Delete, both(), 200, failed.clone(), "failed SkuNotAvailable"),
        (Method::Post, both(), 200, word("Succeeded"), "result"),
        (Method::Post, status(), 200, json!({"status": "Succeeded", "properties": {"output": 1}}), r#"done {"output":1}"#),
        (Method::Post, status(), 404, Value::Null, "failed NotFound"),
        (Method::Post, status(), 200, state("Running"), "status"),
        // The result address.
        (Method::Post, result(), 202, Value::Null, "result"),
        (Method::Post, result(), 200, json!({"accessSAS": "x"}), r#"done {"accessSAS":"x"}"#),
        (Method::Post, result(), 204, Value::Null, "done null"),
        (Method::Post, result(), 404, Value::Null, "done null"),
        (Method::Post, result(), 200, failed, "failed SkuNotAvailable"),
        (Method::Put, result(), 200, Value::Null, "final"),
        (Method::Delete, result(), 204, Value::Null, "done null"),
        (Method::Delete, result(), 404, Value::Null, "done null"),
        (Method::Post, result(), 400, Value::Null, "failed BadRequest"),
        // The resource itself.
        (Method::Put, Stage::Resource, 200, state("Updating"), "resource"),
        (Method::Put, Stage::Resource, 200, state("Succeeded"), r#"done {"properties":{"provisioningState":"Succeeded"}}"#),
        (Method::Put, Stage::Resource, 200, state("Failed"), "failed Failed"),
        (Method::Put, Stage::Resource, 404, Value::Null, "resource"),
        (Method::Delete, Stage::Resource, 200, state("Deleting"), "resource"),
        (Method::Delete, Stage::Resource, 200, state("Succeeded"), "resource"),
        (Method::Delete, Stage::Resource, 404, Value::Null, "done null"),
        // The final GET.
        (Method::Put, Stage::Final, 200, json!({"id": 1}), r#"done {"id":1}"#),
        (Method::Put, Stage::Final, 404, json!({"error": {"code": "ResourceNotFound", "message": "x"}}), "failed ResourceNotFound"),
    ];
    for (method, stage, code, body, expected) in table {
        let operation = Operation { stage: stage.clone(), ..operation(method) };
        let step = operation.polled(&response(code, &[], body.clone()), Duration::from_secs(1));
        assert_eq!(short(&step), expected, "{method:?} {stage:?} {code} {body}");
    }
}

#[test]
fn a_resource_that_does_not_appear_is_not_waited_for_endlessly() {
    let step = operation(Method::Put).polled(&response(404, &[], Value::Null), Duration::from_secs(61));
    assert_eq!(short(&step), "failed NotFound");
}

#[test]
fn addresses_follow_the_service_when_it_moves_them() {
    let moved = response(202, &[("azure-asyncoperation", "https://m.example/2"), ("location", "https://m.example/3")], Value::Null);
    let operation = Operation { stage: Stage::Status { url: STATUS.into(), result: None }, ..operation(Method::Post) };
    let Step::Next { stage, .. } = operation.polled(&moved, Duration::ZERO) else { panic!("it goes on") };
    assert_eq!(stage, Stage::Status { url: "https://m.example/2".into(), result: Some("https://m.example/3".into()) });
}

#[test]
fn an_operations_address_is_shown_without_what_signs_it() {
    let operation = Operation { stage: Stage::Status { url: STATUS.into(), result: None }, ..operation(Method::Put) };
    assert_eq!(operation.url().unwrap(), "https://m.example/subscriptions/s/operations/1?api-version=1&sig=***");
    assert!(!operation.in_words("Running", Duration::from_secs(3)).contains("secret"));
}

/// Polls an operation that takes `duration` by the schedule, each poll taking `latency`; returns when it is seen done, and the polls.
fn simulate(duration: f64, latency: f64) -> (f64, usize) {
    let mut clock = 0.0;
    for poll in 1.. {
        clock += interval(Duration::from_secs_f64(clock), None).as_secs_f64();
        let asked = clock;
        clock += latency;
        if asked >= duration {
            return (clock, poll);
        }
    }
    unreachable!()
}

#[test]
fn the_schedule_keeps_its_promises() {
    for latency in [0.001, 0.02, 0.04] {
        let (seen, _) = simulate(1.0, latency);
        assert!(seen <= 1.3, "an operation of 1 s is seen at {seen}");
        let (seen, _) = simulate(31.0, latency);
        assert!(seen <= 33.0, "an operation of 31 s is seen at {seen}");
        let (seen, polls) = simulate(1800.0, latency);
        assert!(seen <= 1805.0 && polls <= 450, "an operation of 30 min is seen at {seen} after {polls} polls");
        let (_, polls) = simulate(90.0, latency);
        assert!(polls <= 80, "an operation of 90 s takes {polls} polls");
    }
}

#[test]
fn the_overshoot_is_small_in_the_median_and_never_large() {
    for (from, to) in [(0.5, 2.0), (2.0, 10.0), (10.0, 60.0), (60.0, 300.0), (300.0, 3600.0)] {
        let durations: Vec<f64> = (0..400).map(|step| from + (to - from) * f64::from(step) / 400.0).collect();
        let mut overshoots: Vec<(f64, f64)> =
            durations.iter().map(|duration| (simulate(*duration, 0.02).0 - duration, *duration)).collect();
        assert!(overshoots.iter().all(|(overshoot, _)| *overshoot <= 5.0));
        overshoots.sort_by(|one, other| one.0.total_cmp(&other.0));
        let within = overshoots.iter().filter(|(overshoot, duration)| *overshoot <= (0.02 * duration).max(0.3) + 0.02).count();
        assert!(within * 2 >= overshoots.len(), "between {from} s and {to} s only {within} of {} are in time", overshoots.len());
    }
}

#[test]
fn the_services_own_pace_is_kept() {
    let minute = Duration::from_mins(1);
    for (asked, expected) in [(Some(15_000), 15_000), (Some(1_000), 1_000), (Some(1), 200), (Some(0), 2_300), (None, 2_300)] {
        assert_eq!(interval(minute, asked.map(Duration::from_millis)), Duration::from_millis(expected));
    }
    assert_eq!(interval(Duration::from_hours(1), None), Duration::from_millis(4800));
    assert_eq!(interval(Duration::ZERO, None), Duration::from_millis(280));
}
