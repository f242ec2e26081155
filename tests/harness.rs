//! What every test stands on: an emulator in process, and the environment in which the agent starts a task.
//!
//! ```ignore
//! let lab = Harness::start().await;
//! let step = lab.step("AzureDevTestLabsDeleteVM").input("LabVmId", "vm1").run().await;
//! assert_eq!(step.outcome, Outcome::SucceededWithIssues, "{step}");
//! lab.finish().await;
//! ```

#![allow(dead_code, reason = "a tool for all test modules, of which each uses a part")]

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use dtl::{
    agent::Outcome,
    cli::{
        environment::{
            Environment, Folders, Scheme, connection_environment, connection_id, input_name, job_connection_environment, system_variables,
            task_environment,
        },
        host::{Canceller, NativeHost, Setup, Transport},
        logging_command::LoggingCommand,
        target::Target,
        variables::Variables,
    },
    emulator::{self, Emulator, Options},
    host::Host,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::judges::schema::Judge;

/// The subscription, group and lab of the built-in seed.
pub const SUBSCRIPTION: &str = "11111111-1111-4111-8111-111111111111";
/// The resource group of the built-in seed's lab.
pub const RESOURCE_GROUP: &str = "devtestlabs";
/// The built-in seed's lab.
pub const LAB: &str =
    "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/devtestlabs/providers/Microsoft.DevTestLab/labs/contoso";

/// Simulated durations are divided by this: 180 s become 0.06 s.
const SPEED: f64 = 3000.0;

/// An emulator and a folder, both gone when the test is over.
pub struct Harness {
    emulator: Emulator,
    target: Target,
    transport: Transport,
    folder: TempDir,
    judge: Judge,
    tolerates_unknown_routes: bool,
}

impl Harness {
    /// An emulator with the built-in seed, so fast that no test waits.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// An emulator with a seed of the test's own (`contract.md`, `--seed`).
    pub async fn seeded(seed: &Value) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("seed.json");
        fs::write(&file, seed.to_string()).expect("the seed is written");
        Self::with(|options| options.seed = Some(file)).await
    }

    /// An emulator whose storage accounts hold blobs, by Azurite; none where that is not installed, which is said.
    #[allow(clippy::print_stderr, reason = "a test that skips says why")]
    pub async fn with_blobs(change: impl FnOnce(&mut Options)) -> Option<Self> {
        let azurite = project("node_modules/azurite");
        if !azurite.is_dir() {
            eprintln!("skipped: Azurite is not there; `npm ci` installs it");
            return None;
        }
        let harness = Self::with(|options| {
            change(options);
            options.azurite = Some(azurite);
        });
        Some(harness.await)
    }

    /// An emulator with other options.
    pub async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options { speed: SPEED, ..Options::default() };
        change(&mut options);
        let emulator = emulator::start(options).await.expect("the emulator starts");
        let judge = Judge::of(&emulator);
        let target = Target::emulator(emulator.ready()).expect("the seed has a subscription");
        let transport = target.trust(|_| None).and_then(|trust| Transport::new(&trust)).expect("the emulator's certificate is good");
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["s", "t", "a"] {
            fs::create_dir(folder.path().join(name)).expect("a folder of the job");
        }
        Self { emulator, target, transport, folder, judge, tolerates_unknown_routes: false }
    }

    /// What the emulator said when it was ready.
    pub fn ready(&self) -> &emulator::Ready {
        self.emulator.ready()
    }

    /// The emulator as `dtl run --on` sees it.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The way to the emulator.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The first lab's id.
    pub fn lab(&self) -> &str {
        &self.target.labs[0]
    }

    /// The job's folders; `sources` is where relative `filePath` inputs are rooted.
    pub fn folders(&self) -> Folders {
        let at = |name: &str| self.folder.path().join(name);
        Folders { sources: at("s"), temp: at("t"), staging: at("a") }
    }

    /// Writes a file among the job's sources and returns its full path, as the agent would hand it to a `filePath` input.
    pub fn file(&self, name: &str, contents: &str) -> String {
        let path = self.folders().sources.join(name);
        fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder among the sources");
        fs::write(&path, contents).expect("a file among the sources");
        path.to_string_lossy().into_owned()
    }

    /// A step that runs a task with the harness's connection and lab already filled in.
    pub fn step(&self, task: &str) -> Step<'_> {
        Step {
            harness: self,
            task: task.to_owned(),
            inputs: BTreeMap::from([
                ("ConnectedServiceName".to_owned(), connection_id("local")),
                ("LabId".to_owned(), self.lab().to_owned()),
            ]),
            scheme: Scheme::Secret,
            set: Vec::new(),
            variables: system_variables(&self.target, &self.folders()),
            environment: Environment::new(),
            canceller: Canceller::new(),
            cancelled: None,
        }
    }

    /// What was sent to the emulator so far, in order: `[{"at","method","path","query","status","client"}]`.
    pub async fn requests(&self) -> Vec<Value> {
        self.control(reqwest::Method::GET, "requests", None).await.as_array().cloned().expect("a list of requests")
    }

    /// `METHOD path` of what was sent to the resource manager, in order; sign-in and the control interface left out.
    pub async fn journal(&self) -> Vec<String> {
        let requests = self.requests().await.into_iter().filter_map(|request| {
            let path = request["path"].as_str().unwrap_or_default().to_owned();
            let method = request["method"].as_str().unwrap_or_default().to_owned();
            path.to_lowercase().starts_with("/subscriptions/").then(|| format!("{method} {path}"))
        });
        requests.collect()
    }

    /// Every resource as ARM shows it, with `emulator.createdAt` and `emulator.updatedAt`.
    pub async fn resources(&self) -> Vec<Value> {
        self.control(reqwest::Method::GET, "resources", None).await.as_array().cloned().expect("a list of resources")
    }

    /// The resource of this id, if there is one.
    pub async fn resource(&self, id: &str) -> Option<Value> {
        self.resources().await.into_iter().find(|resource| resource["id"].as_str().is_some_and(|text| text.eq_ignore_ascii_case(id)))
    }

    /// The names of all resources of a type, ordered.
    pub async fn names(&self, resource_type: &str) -> Vec<String> {
        let is_type = |resource: &Value| resource["type"].as_str().is_some_and(|text| text.eq_ignore_ascii_case(resource_type));
        let mut names: Vec<_> = self
            .resources()
            .await
            .iter()
            .filter(|resource| is_type(resource))
            .filter_map(|resource| Some(resource["name"].as_str()?.to_owned()))
            .collect();
        names.sort();
        names
    }

    /// Makes the emulator fail (`contract.md`, `/emulator/faults`).
    pub async fn faults(&self, faults: &Value) {
        self.control(reqwest::Method::POST, "faults", Some(faults)).await;
    }

    /// Makes the emulator fail no longer.
    pub async fn no_faults(&self) {
        self.control(reqwest::Method::DELETE, "faults", None).await;
    }

    /// The faults that happened by chance (`GET /emulator/chaos`).
    pub async fn chaos(&self) -> Value {
        self.control(reqwest::Method::GET, "chaos", None).await
    }

    /// Changes the emulator's settings (`contract.md`, `/emulator/settings`).
    pub async fn settings(&self, settings: &Value) {
        self.control(reqwest::Method::POST, "settings", Some(settings)).await;
    }

    /// Puts a resource as its owner would, with a token of the emulator's, and waits until it is there.
    pub async fn put(&self, path: &str, api_version: &str, body: &Value) -> Value {
        let (status, answer) = self.send(reqwest::Method::PUT, path, api_version, Some(body)).await;
        assert!((200..300).contains(&status), "PUT {path}: {status} {answer}");
        for _ in 0..200 {
            let (_, resource) = self.send(reqwest::Method::GET, path, api_version, None).await;
            match resource["properties"]["provisioningState"].as_str() {
                None | Some("Succeeded") => return resource,
                Some("Failed" | "Canceled") => panic!("PUT {path}: {resource}"),
                Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        panic!("PUT {path} does not end");
    }

    /// Sends a request with a token of the emulator's; returns the status and the body.
    pub async fn send(&self, method: reqwest::Method, path: &str, api_version: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}{}?api-version={api_version}", self.target.resource_manager, path.trim_start_matches('/'));
        let mut request = self.transport.client().request(method, url).bearer_auth(token(&self.target, &self.transport).await);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.expect("the emulator answers");
        let status = response.status().as_u16();
        let bytes = response.bytes().await.expect("the whole answer");
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// POSTs an action and waits until the operation at its `Location` has ended; returns its result.
    pub async fn operate(&self, path: &str, api_version: &str, body: &Value) -> Value {
        let token = token(&self.target, &self.transport).await;
        let url = format!("{}{}?api-version={api_version}", self.target.resource_manager, path.trim_start_matches('/'));
        let client = self.transport.client();
        let mut response = client.post(url).bearer_auth(&token).json(body).send().await.expect("the emulator answers");
        for _ in 0..6000 {
            let location = response.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
            let status = response.status().as_u16();
            let (202, Some(location)) = (status, location) else {
                let bytes = response.bytes().await.expect("the whole answer");
                assert_eq!(status, 200, "POST {path}: {}", String::from_utf8_lossy(&bytes));
                return serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            };
            tokio::time::sleep(Duration::from_millis(10)).await;
            response = client.get(location).bearer_auth(&token).send().await.expect("the emulator answers");
        }
        panic!("POST {path} does not end");
    }

    async fn control(&self, method: reqwest::Method, what: &str, body: Option<&Value>) -> Value {
        let ask = || {
            let request = self.transport.client().request(method.clone(), format!("{}emulator/{what}", self.target.resource_manager));
            body.into_iter().fold(request, reqwest::RequestBuilder::json).send()
        };
        let response = match ask().await {
            // The connection was a task's before, and a fault has just cut it.
            Err(error) if error.is_request() => ask().await,
            answer => answer,
        };
        let response = response.expect("the emulator answers");
        let status = response.status();
        let text = response.text().await.expect("the whole answer");
        assert!(status.is_success(), "/emulator/{what}: {status} {text}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") }
    }

    /// Lets the test end although it asked the emulator for what that does not know.
    #[must_use]
    pub fn tolerating_unknown_routes(mut self) -> Self {
        self.tolerates_unknown_routes = true;
        self
    }

    /// Ends the test: stops the emulator and fails if it was asked for a route that it does not know.
    pub async fn finish(self) {
        let unknown = self.emulator.unknown_routes();
        self.emulator.stop().await;
        drop(self.judge);
        assert!(self.tolerates_unknown_routes || unknown.is_empty(), "the emulator does not know {unknown:#?}");
    }
}

/// A token for the resource manager, got as any client gets one.
pub async fn token(target: &Target, transport: &Transport) -> String {
    let url = format!("{}{}/oauth2/v2.0/token", target.authority, target.tenant_id);
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}&scope={}.default",
        percent(&target.client_id),
        percent(target.client_secret.secret()),
        percent(&target.resource_manager)
    );
    let request = transport.client().post(url).header("content-type", "application/x-www-form-urlencoded").body(form);
    let answer: Value = request.send().await.expect("sign-in answers").json().await.expect("sign-in answers JSON");
    answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
}

fn percent(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// A task about to be run.
pub struct Step<'a> {
    harness: &'a Harness,
    task: String,
    inputs: BTreeMap<String, String>,
    scheme: Scheme,
    /// The variables that the test has set itself.
    set: Vec<(String, String)>,
    variables: Variables,
    environment: Environment,
    canceller: Canceller,
    cancelled: Option<Cancelled>,
}

impl Step<'_> {
    /// Sets an input; empty is what the agent exports for one that is not set.
    #[must_use]
    pub fn input(mut self, name: &str, value: impl Into<String>) -> Self {
        self.inputs.insert(name.to_owned(), value.into());
        self
    }

    /// Does not export an input at all.
    #[must_use]
    pub fn without_input(mut self, name: &str) -> Self {
        self.inputs.remove(name);
        self
    }

    /// Signs in by workload identity federation rather than by a secret.
    #[must_use]
    pub fn federated(mut self) -> Self {
        self.scheme = Scheme::Federation;
        self
    }

    /// Sets a pipeline variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.set.push((name.to_owned(), value.clone()));
        self.variables.set(name, value);
        self
    }

    /// Sets an environment variable, after all others.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Asks the task to stop whenever the test wants it.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Asks the task to stop after this time.
    #[must_use]
    pub fn cancelled_after(mut self, time: Duration) -> Self {
        self.cancelled = Some(Cancelled::After(time));
        self
    }

    /// Asks the task to stop once such a request has arrived at the emulator: its method, and a part of its path.
    #[must_use]
    pub fn cancelled_at(mut self, method: &'static str, path: &'static str) -> Self {
        self.cancelled = Some(Cancelled::At(method, path));
        self
    }

    /// The environment variables that the agent would start the task with.
    pub fn exported(&self) -> Environment {
        let target = &self.harness.target;
        let mut environment = task_environment(&self.variables);
        environment.extend(job_connection_environment(target));
        environment.extend(connection_environment(target, &connection_id("local"), self.scheme));
        environment.extend(self.inputs.iter().map(|(name, value)| (input_name(name), value.trim().to_owned())));
        environment.extend(self.environment.clone());
        environment
    }

    /// The task's name.
    pub fn task(&self) -> &str {
        &self.task
    }

    /// The arguments by which `dtl` runs the same on the harness's emulator. Of the environment it takes secret variables alone.
    pub fn command_line(&self) -> Vec<String> {
        let ready = serde_json::to_string(self.harness.ready()).expect("the ready line");
        let mut arguments = vec!["task".to_owned(), self.task.clone(), "--on".to_owned(), self.harness.file("ready.json", &ready)];
        if matches!(self.scheme, Scheme::Federation) {
            arguments.extend(["--sign-in".to_owned(), "federation".to_owned()]);
        }
        let inputs =
            self.inputs.iter().filter(|(name, _)| *name != "ConnectedServiceName").map(|(name, value)| ("--input", name.as_str(), value));
        let variables = self.set.iter().map(|(name, value)| ("--var", name.as_str(), value));
        let secrets = self.environment.iter().filter_map(|(name, value)| Some(("--secret", name.strip_prefix("SECRET_")?, value)));
        for (option, name, value) in inputs.chain(variables).chain(secrets) {
            arguments.extend([option.to_owned(), format!("{name}={value}")]);
        }
        arguments
    }

    /// Runs the task natively, in this process.
    pub async fn run(self) -> Finished {
        let transport = self.harness.transport.clone();
        self.run_with(transport, |host| Arc::new(host)).await
    }

    /// Runs the task natively over a transport of the test's own.
    pub async fn run_over(self, transport: Transport) -> Finished {
        self.run_with(transport, |host| Arc::new(host)).await
    }

    /// Runs the task on a host that is made of the native one.
    pub async fn run_on(self, wrap: impl FnOnce(NativeHost) -> Arc<dyn Host>) -> Finished {
        let transport = self.harness.transport.clone();
        self.run_with(transport, wrap).await
    }

    async fn run_with(self, transport: Transport, wrap: impl FnOnce(NativeHost) -> Arc<dyn Host>) -> Finished {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let host = NativeHost::new(Setup {
            transport,
            variables: self.exported(),
            working_directory: self.harness.folders().sources,
            sink: Arc::new(move |line: &str| sink.lock().expect("no printer panicked").push(line.to_owned())),
            cancellation: self.canceller.cancellation(),
        });
        let cancel = async {
            match self.cancelled {
                None => {}
                Some(Cancelled::After(time)) => {
                    tokio::time::sleep(time).await;
                    self.canceller.cancel();
                }
                Some(Cancelled::At(method, path)) => {
                    while !self.harness.journal().await.iter().any(|request| request.starts_with(method) && request.contains(path)) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    self.canceller.cancel();
                }
            }
            std::future::pending().await
        };
        let outcome = tokio::select! {
            outcome = dtl::run(wrap(host), &self.task) => outcome,
            never = cancel => never,
        };
        let lines = lines.lock().expect("no printer panicked").clone();
        Finished { outcome, commands: lines.iter().filter_map(|line| LoggingCommand::parse(line)).collect(), lines }
    }
}

/// When the agent asks a task to stop.
enum Cancelled {
    After(Duration),
    At(&'static str, &'static str),
}

/// A task that has run.
pub struct Finished {
    /// What the engine returned.
    pub outcome: Outcome,
    /// Everything printed, line by line.
    pub lines: Vec<String>,
    /// The logging commands among it.
    pub commands: Vec<LoggingCommand>,
}

impl Finished {
    /// The variables set, by name; the last value of each.
    pub fn outputs(&self) -> BTreeMap<String, String> {
        let set = self.commands.iter().filter(|command| command.is("task", "setvariable"));
        set.filter_map(|command| Some((command.property("variable")?.to_owned(), command.data.clone()))).collect()
    }

    /// The value of an output.
    pub fn output(&self, name: &str) -> String {
        self.outputs().remove(name).unwrap_or_else(|| panic!("no output '{name}'\n{self}"))
    }

    /// The messages of `task.logissue type=error`.
    pub fn errors(&self) -> Vec<String> {
        self.issues("error")
    }

    /// The messages of `task.logissue type=warning`.
    pub fn warnings(&self) -> Vec<String> {
        self.issues("warning")
    }

    fn issues(&self, kind: &str) -> Vec<String> {
        let issues = self.commands.iter().filter(|command| command.is("task", "logissue") && command.property("type") == Some(kind));
        issues.map(|command| command.data.clone()).collect()
    }

    /// The result that the task told the agent: exactly one `task.complete`, as the last line.
    pub fn completed(&self) -> &str {
        let completes: Vec<_> = self.commands.iter().filter(|command| command.is("task", "complete")).collect();
        assert_eq!(completes.len(), 1, "one task.complete\n{self}");
        completes[0].property("result").unwrap_or_default()
    }

    /// The Markdown of the uploaded summaries.
    pub fn summary(&self) -> String {
        let uploads = self.commands.iter().filter(|command| command.is("task", "uploadsummary"));
        uploads
            .map(|command| fs::read_to_string(&command.data).unwrap_or_else(|error| panic!("summary '{}': {error}", command.data)))
            .collect()
    }

    /// The log as a reader sees it: without commands.
    pub fn log(&self) -> String {
        let shown = self.lines.iter().filter(|line| LoggingCommand::parse(line).is_none());
        shown.fold(String::new(), |log, line| log + line + "\n")
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "outcome: {:?}", self.outcome)?;
        self.lines.iter().try_for_each(|line| writeln!(formatter, "  {line}"))
    }
}

/// A folder of the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A folder of the data that may stand beside the project; says so where it is absent.
#[allow(clippy::print_stderr, reason = "a test that skips says why")]
pub fn data(path: &str) -> Option<PathBuf> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data")).join(path);
    if !folder.exists() {
        eprintln!("skipped: {} is not there", folder.display());
        return None;
    }
    Some(folder)
}

/// A minimal seed: one subscription, one group, one lab, with further fields of the lab.
pub fn seed_with_lab(lab: &str, resources: &[Value]) -> Value {
    json!({"subscriptions": [{
        "subscriptionId": SUBSCRIPTION,
        "resourceGroups": [{"name": RESOURCE_GROUP, "location": "westeurope", "labs": [{"name": lab}], "resources": resources}],
    }]})
}
