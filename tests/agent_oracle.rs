//! The agent protocol against azure-pipelines-task-lib, under Node: for one environment and the same calls, the engine reads and prints
//! what the task library reads and prints.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use dtl::{
    agent::{Agent, Authentication, Outcome, Sensitivity},
    cli::host::{Canceller, NativeHost, Setup, Transport, Trust},
    host::Host,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{harness::project, packaged::npm_packages};

type Environment = BTreeMap<String, String>;

/// Values that go wrong where text is cut, joined, escaped or trimmed.
const NASTY: [&str; 24] = [
    "plain",
    "two words",
    "100%",
    "%25 %0A %0D %3B %5D %AZP25",
    "%",
    "a;b]c[d",
    "]",
    ";",
    "key=value;other=value;]message",
    "first\nsecond",
    "first\r\nsecond\rthird",
    "tab\tand \"double\" and 'single' quotes",
    "back\\slash C:\\agent\\_work\\1\\s",
    "$(variable) ${{ expression }} $env:X",
    "{\"json\": [1, 2.50, null], \"text\": \"a\\\"b\"}",
    "Grüße, 世界, 🚀",
    "İstanbul ß ﬁ",
    "-password 'p@ss -word;\"x\"'",
    "https://host/path?sv=2020&sig=a%2Bb%3D&x=1;y=2",
    "##[section]not a command",
    "# ## vso[x]",
    "null",
    "undefined",
    "false",
];

/// What the library did in one case.
#[derive(Deserialize)]
struct Answer {
    results: Vec<Value>,
    lines: Vec<String>,
    environment: BTreeSet<String>,
}

/// One environment and the calls to make in it.
struct Case {
    environment: Environment,
    calls: Vec<Value>,
}

/// What the library does in each case; one process answers all.
fn ask(cases: &[Case]) -> Vec<Answer> {
    npm_packages();
    let folder = tempfile::tempdir().expect("a folder for the library's key file");
    let mut node = Command::new("node");
    node.arg(project("tests/agent_oracle.js")).arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = node.spawn().expect("Node starts");
    let input: Vec<_> = cases.iter().map(|case| json!({ "environment": case.environment, "calls": case.calls })).collect();
    process.stdin.take().expect("an input").write_all(json!(input).to_string().as_bytes()).expect("Node reads");
    let output = process.wait_with_output().expect("Node ends");
    let said = String::from_utf8(output.stdout).expect("Node writes UTF-8");
    let answer = said.lines().last().unwrap_or_default();
    serde_json::from_str(answer).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Our side: an agent in the same environment, what it prints, and the machine below it.
fn engine(environment: &Environment) -> (Agent, Arc<Mutex<Vec<String>>>, Arc<dyn Host>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let host: Arc<dyn Host> = Arc::new(NativeHost::new(Setup {
        transport: Transport::new(&Trust::Machine(Box::default())).expect("a transport"),
        variables: environment.clone(),
        working_directory: project("."),
        sink: Arc::new(move |line: &str| sink.lock().expect("no printer panicked").push(line.to_owned())),
        cancellation: Canceller::new().cancellation(),
    }));
    (Agent::new(Arc::clone(&host)), lines, host)
}

fn environment<const N: usize>(variables: [(&str, &str); N]) -> Environment {
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The library logs what it reads and sets; the engine does not.
fn without_debug_lines(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|line| !line.starts_with("##vso[task.debug]")).collect()
}

#[test]
fn inputs_are_read_as_the_task_library_reads_them() {
    let names = [("LabId", "INPUT_LABID"), ("my input.name", "INPUT_MY_INPUT_NAME"), ("with-dash", "INPUT_WITH-DASH")];
    let (mut inputs, mut cases) = (Vec::new(), Vec::new());
    for (name, variable) in names {
        for value in NASTY.iter().chain(&["", "true", "TRUE", "True", "yes", "1"]) {
            let calls = vec![json!(["getInput", name, false]), json!(["getBoolInput", name, false])];
            inputs.push((name, value));
            cases.push(Case { environment: environment([(variable, value)]), calls });
        }
    }
    for (((name, value), case), answer) in inputs.iter().zip(&cases).zip(ask(&cases)) {
        let (agent, ..) = engine(&case.environment);
        assert_eq!(json!([agent.input(name), agent.boolean_input(name)]), json!(answer.results), "{name} is {value:?}");
    }
}

#[test]
fn variables_are_read_as_the_task_library_reads_them() {
    let environment = environment([
        ("BUILD_BUILDID", "17"),
        ("SECRET_MY_PASSWORD", "hush;]%"),
        ("VSTS_PUBLIC_VARIABLES", "[\"Build.BuildId\",\"empty\"]"),
        ("VSTS_SECRET_VARIABLES", "[\"my.password\"]"),
        ("EMPTY", ""),
    ]);
    let names = ["Build.BuildId", "build.buildid", "my.password", "My Password", "empty", "absent"];
    let calls = names.iter().map(|name| json!(["getVariable", name])).collect();
    let answer = ask(&[Case { environment: environment.clone(), calls }]).remove(0);
    let (agent, ..) = engine(&environment);
    for (name, expected) in names.iter().zip(&answer.results) {
        // Both an empty value and none count as absent with us.
        let expected = expected.as_str().filter(|value| !value.is_empty());
        assert_eq!(agent.pipeline_variable(name).as_deref(), expected, "{name}");
    }
}

#[test]
fn connections_are_read_as_the_task_library_reads_them() {
    const ID: &str = "a3b1c5d7-0000-4000-8000-000000000001";
    let parameter = |key: &str| json!(["getEndpointAuthorizationParameter", ID, key, true]);
    let calls = vec![
        json!(["getEndpointUrl", ID, true]),
        json!(["getEndpointAuthorizationScheme", ID, true]),
        parameter("tenantid"),
        parameter("serviceprincipalid"),
        parameter("serviceprincipalkey"),
        json!(["getEndpointDataParameter", ID, "activeDirectoryAuthority", true]),
        json!(["getEndpointDataParameter", ID, "subscriptionId", true]),
    ];
    let secrets = NASTY.iter().filter(|value| !value.contains(['\r', '\n']));
    let cases: Vec<_> = secrets.map(|secret| Case { environment: connection(ID, secret), calls: calls.clone() }).collect();
    for (case, answer) in cases.iter().zip(ask(&cases)) {
        let (agent, ..) = engine(&case.environment);
        let connection = agent.connection("ConnectedServiceName").expect("a usable connection");
        let Authentication::ClientSecret { client_id, secret } = &connection.authentication else { panic!("not a secret: {connection:?}") };
        let read = json!([
            connection.resource_manager,
            "ServicePrincipal",
            connection.tenant_id,
            client_id,
            secret.secret(),
            connection.authority,
            connection.subscription_id,
        ]);
        assert_eq!(read, json!(answer.results));
    }
}

/// A connection as the agent exports it.
fn connection(id: &str, secret: &str) -> Environment {
    let parameters =
        json!({ "tenantid": "72f988bf-86f1-41af-91ab-2d7cd011db47", "serviceprincipalid": "client", "serviceprincipalkey": secret });
    let data = [("activeDirectoryAuthority", "https://login.example/"), ("subscriptionId", "5ab1e0f6-0000-4000-8000-000000000002")];
    let mut environment = environment([("INPUT_CONNECTEDSERVICENAME", id)]);
    environment.insert(format!("ENDPOINT_URL_{id}"), "https://management.example/".to_owned());
    environment.insert(format!("ENDPOINT_AUTH_SCHEME_{id}"), "ServicePrincipal".to_owned());
    environment.insert(format!("ENDPOINT_AUTH_{id}"), json!({ "scheme": "ServicePrincipal", "parameters": parameters }).to_string());
    for (key, value) in parameters.as_object().expect("an object") {
        let value = value.as_str().expect("text").to_owned();
        environment.insert(format!("ENDPOINT_AUTH_PARAMETER_{id}_{}", key.to_uppercase()), value);
    }
    environment.insert(format!("ENDPOINT_DATA_{id}"), json!(BTreeMap::from(data)).to_string());
    for (key, value) in data {
        environment.insert(format!("ENDPOINT_DATA_{id}_{}", key.to_uppercase()), value.to_owned());
    }
    environment
}

#[test]
fn commands_are_printed_as_the_task_library_prints_them() {
    let cases: Vec<_> = NASTY.iter().map(|text| Case { environment: Environment::new(), calls: command_calls(text) }).collect();
    for (text, answer) in NASTY.iter().zip(ask(&cases)) {
        let (agent, lines, _) = engine(&Environment::new());
        agent.set_output(text, text, Sensitivity::Public);
        agent.progress(50, "half");
        agent.complete(Outcome::SucceededWithIssues, "all but one; 100%\nsee above]");
        agent.complete(Outcome::Failed, "");
        let printed = lines.lock().expect("no printer panicked").clone();
        // The library logs the message of a result as an issue, too; the engine says issues where they arise.
        let expected: Vec<_> =
            without_debug_lines(&answer.lines).into_iter().filter(|line| !line.starts_with("##vso[task.issue ")).collect();
        assert_eq!(printed, expected, "{text:?}");
    }
}

/// The library's calls for what the test above does: an output is set under its own name and under the step's. `Canceled` is not among the
/// results: the library spells it `Cancelled`, which the agent does not know.
fn command_calls(text: &str) -> Vec<Value> {
    const SUCCEEDED_WITH_ISSUES: u8 = 1;
    const FAILED: u8 = 2;
    vec![
        json!(["setVariable", text, text, false, false]),
        json!(["setVariable", text, text, false, true]),
        json!(["setProgress", 50, "half"]),
        json!(["setResult", SUCCEEDED_WITH_ISSUES, "all but one; 100%\nsee above]"]),
        json!(["setResult", FAILED, ""]),
    ]
}

#[test]
fn secrets_are_registered_as_the_task_library_registers_them() {
    let secrets: Vec<_> = NASTY.iter().filter(|text| text.len() > 8 && !text.contains(['\r', '\n'])).collect();
    let calls = secrets.iter().map(|text| json!(["setSecret", text])).collect();
    let answer = ask(&[Case { environment: Environment::new(), calls }]).remove(0);
    let (agent, lines, _) = engine(&Environment::new());
    for text in secrets {
        agent.register_secret(text);
    }
    assert_eq!(*lines.lock().expect("no printer panicked"), without_debug_lines(&answer.lines));
}

/// The library's own command is the older `task.issue`; type, correlation and message are compared.
#[test]
fn issues_say_what_the_task_library_says() {
    let environment = environment([("COMMAND_CORRELATION_ID", "9f;]%")]);
    let calls = |text: &str| vec![json!(["warning", text]), json!(["error", text])];
    let cases: Vec<_> = NASTY.iter().map(|text| Case { environment: environment.clone(), calls: calls(text) }).collect();
    for (text, answer) in NASTY.iter().zip(ask(&cases)) {
        if text.contains("##[") || text.contains('\r') {
            continue;
        }
        let (agent, lines, _) = engine(&environment);
        agent.warning(text);
        agent.error(text);
        let printed = lines.lock().expect("no printer panicked").clone();
        let expected: Vec<_> = without_debug_lines(&answer.lines)
            .iter()
            .map(|line| line.replace("##vso[task.issue ", "##vso[task.logissue ").replace("source=TaskInternal;", ""))
            .collect();
        assert_eq!(printed, expected, "{text:?}");
    }
}

#[test]
fn what_the_task_library_takes_out_of_the_environment_is_taken_out() {
    let environment = environment([
        ("INPUT_LABID", "lab"),
        ("ENDPOINT_URL_X", "https://management.example/"),
        ("ENDPOINT_DATA_X_SUBSCRIPTIONID", "id"),
        ("ENDPOINT_AUTH_X", "{\"parameters\":{},\"scheme\":\"None\"}"),
        ("ENDPOINT_AUTH_PARAMETER_X_KEY", "hush hush"),
        ("ENDPOINT_AUTH_SCHEME_X", "None"),
        ("SECUREFILE_TICKET_1", "hush hush"),
        ("SECRET_PASSWORD", "hush hush"),
        ("VSTS_TASKVARIABLE_A", "value"),
        ("VSTS_PUBLIC_VARIABLES", "[\"a\"]"),
        ("VSTS_SECRET_VARIABLES", "[\"password\"]"),
        ("COMMAND_CORRELATION_ID", "id"),
        ("BUILD_BUILDID", "1"),
        ("PATH", "/usr/bin"),
        ("MY_INPUT_X", "stays"),
    ]);
    let answer = ask(&[Case { environment: environment.clone(), calls: vec![] }]).remove(0);
    let (_, _, host) = engine(&environment);
    assert_eq!(BTreeSet::from_iter(host.variable_names()), answer.environment);
}
