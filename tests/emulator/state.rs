//! State that outlives the process: killed in the middle of work, started again.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use dtl::emulator::{self, Options, Ready};
use reqwest::{
    Certificate, Client, Method,
    header::{HeaderMap, HeaderValue},
};
use serde_json::{Value, json};

use super::client::{ARM, Answer, Azure, DTL, GROUP, LAB, encode, linux, read};

/// `dtl emulator` as a process of its own.
struct Process {
    child: Child,
    ready: Ready,
    http: Client,
    token: String,
}

impl Process {
    async fn start(state: &Path, speed: &str) -> Self {
        Self::start_with(state, speed, &[]).await
    }

    async fn start_with(state: &Path, speed: &str, further: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dtl"));
        command.args(["emulator", "--speed", speed]).args(further).arg("--state").arg(state);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the emulator starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("an output")).read_line(&mut line).expect("the ready line");
        let ready: Ready = serde_json::from_str(&line).expect("the ready line");
        let pem = std::fs::read(&ready.ca_file).expect("the authority's certificate");
        let http = Client::builder().tls_certs_only([Certificate::from_pem(&pem).expect("a certificate")]).build().expect("a client");
        let mut process = Self { child, ready, http, token: String::new() };
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}.default",
            process.ready.client_id,
            encode(&process.ready.client_secret),
            encode(&process.ready.resource_manager)
        );
        let url = format!("{}{}/oauth2/v2.0/token", process.ready.authority, process.ready.tenant_id);
        let answer = read(process.http.post(url).body(form).send().await.expect("an answer")).await.expect(200);
        answer.body["access_token"].as_str().expect("a token").clone_into(&mut process.token);
        process
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let url = format!("{}{}", self.ready.resource_manager, path.trim_start_matches('/'));
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        read(request.send().await.expect("an answer")).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// Asks until the answer is as wanted.
    async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        for _ in 0..600 {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} does not come to what is wanted");
    }

    async fn succeeded(&self, path: &str) -> Value {
        self.until(path, |answer| answer.body["properties"]["provisioningState"] == "Succeeded").await.body
    }

    /// Everything but what was being made.
    async fn resources(&self) -> Vec<Value> {
        self.get("/emulator/resources").await.expect(200).body.as_array().cloned().expect("a list")
    }

    /// SIGKILL: it has no say in this.
    fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn relative(url: &str) -> &str {
    url.splitn(4, '/').nth(3).expect("a path")
}

fn machine(name: &str) -> String {
    format!("{LAB}/virtualmachines/{name}?api-version={DTL}")
}

#[tokio::test]
async fn a_kill_loses_nothing_that_was_acknowledged_and_running_operations_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state.redb");
    let first = Process::start(&state, "60").await;
    let (secret, authority) = (first.ready.client_secret.clone(), std::fs::read(&first.ready.ca_file).expect("a certificate"));
    first
        .send(Method::POST, "/emulator/settings", Some(json!({"durations": {"stop": 240, "deletion": 60}, "tokenLifetimeSeconds": 7200})))
        .await
        .expect(200);
    first.put(&machine("settled"), linux()).await.expect(201);
    first.succeeded(&machine("settled")).await;
    let group = format!("/subscriptions/11111111-1111-4111-8111-111111111111/resourcegroups/mine?api-version={ARM}");
    first.put(&group, json!({"location": "westeurope", "tags": {"a": "1"}})).await.expect(201);
    let settled = first.resources().await;

    // Five pieces of work that are under way when the process dies.
    let made = first.put(&machine("made"), linux()).await.expect(201);
    let stopped = first.send(Method::POST, &format!("{LAB}/virtualmachines/settled/stop?api-version={DTL}"), None).await.expect(202);
    let template = json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "resources": [{"type": "Microsoft.DevTestLab/labs/virtualMachines", "apiVersion": DTL, "name": "contoso/deployed", "location": "westeurope",
            "properties": linux()["properties"]}], "outputs": {"x": {"type": "string", "value": "y"}}});
    let deployment = format!("{GROUP}/providers/Microsoft.Resources/deployments/d?api-version={ARM}");
    first.put(&deployment, json!({"properties": {"mode": "Incremental", "template": template}})).await.expect(201);
    // A change to what is being made must not be lost with it.
    first.send(Method::PATCH, &machine("made"), Some(json!({"tags": {"changed": "meanwhile"}}))).await.expect(200);
    let deleted = first.send(Method::DELETE, &group, None).await.expect(202);
    first.kill();

    let second = Process::start(&state, "60").await;
    assert_eq!(second.ready.client_secret, secret);
    assert_eq!(std::fs::read(&second.ready.ca_file).expect("a certificate"), authority);
    let now = second.resources().await;
    for resource in &settled {
        let id = resource["id"].as_str().expect("an id").to_lowercase();
        let found = now.iter().find(|other| other["id"].as_str().is_some_and(|other| other.to_lowercase() == id));
        // The machine being stopped, and the group being deleted, are under way again.
        let under_way = id.contains("settled") || id.ends_with("/mine");
        assert!(found.is_some_and(|found| under_way || found == resource), "{id}: {found:?}");
    }
    for operation in [made.header("azure-asyncoperation"), stopped.header("azure-asyncoperation")] {
        let ended =
            second.until(relative(operation), |answer| answer.body["status"] != "InProgress" && answer.body["status"] != "Running").await;
        assert_eq!(ended.body["status"], "Succeeded", "{operation}: {:#}", ended.body);
    }
    let made = second.succeeded(&machine("made")).await;
    assert_eq!(made["tags"]["changed"], "meanwhile", "{made:#}");
    assert!(made["properties"]["computeId"].is_string());
    assert!(second.succeeded(&deployment).await["properties"]["outputs"]["x"]["value"] == "y");
    second.succeeded(&machine("deployed")).await;
    second.until(&group, |answer| answer.status == 404).await;
    second.until(relative(deleted.header("location")), |answer| answer.status != 202).await.expect(200);
    let compute = made["properties"]["computeId"].as_str().expect("an id").to_owned();
    let machines = second.resources().await.into_iter().filter(|one| one["type"] == "Microsoft.Compute/virtualMachines").count();
    assert_eq!(machines, 3, "no machine was made twice");
    second.get(&format!("{compute}?api-version=2024-03-01")).await.expect(200);
    second.kill();

    // What ended is not begun again.
    let third = Process::start(&state, "1").await;
    assert_eq!(third.get(&machine("made")).await.expect(200).body["properties"]["provisioningState"], "Succeeded");
    assert_eq!(third.get(&deployment).await.expect(200).body["properties"]["provisioningState"], "Succeeded");
}

#[tokio::test]
async fn every_acknowledged_write_is_there_after_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state.redb");
    let first = Process::start(&state, "6000").await;
    let group = |number: usize| format!("/subscriptions/11111111-1111-4111-8111-111111111111/resourcegroups/g{number}?api-version={ARM}");
    let acknowledged = std::sync::atomic::AtomicUsize::new(0);
    // Sixteen clients write; the process is killed while they do.
    let writers = futures::future::join_all((0..16).map(|client| {
        let (first, acknowledged, group) = (&first, &acknowledged, &group);
        async move {
            let mut done = Vec::new();
            for number in (client..10_000).step_by(16) {
                let request = first.http.put(format!("{}{}", first.ready.resource_manager, &group(number)[1..])).bearer_auth(&first.token);
                match request.body(r#"{"location": "westeurope"}"#).send().await {
                    Ok(answer) if answer.status() == 201 => done.push(number),
                    _ => break,
                }
                if acknowledged.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 300 {
                    let killed = Command::new("kill").args(["-9", &first.ready.pid.to_string()]).status();
                    assert!(killed.is_ok_and(|status| status.success()));
                }
            }
            done
        }
    }));
    let done: Vec<usize> = writers.await.into_iter().flatten().collect();
    assert!((300..9000).contains(&done.len()), "{}", done.len());
    first.kill();
    let second = Process::start(&state, "6000").await;
    let names: std::collections::HashSet<String> =
        second.resources().await.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect();
    let lost: Vec<&usize> = done.iter().filter(|number| !names.contains(&format!("g{number}"))).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test]
async fn a_file_that_is_none_is_refused_and_one_in_use_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("no-state");
    std::fs::write(&file, "this is a text and no state of an emulator").expect("written");
    let options = |state: &Path| Options { state: Some(state.to_owned()), ..Options::default() };
    let error = emulator::start(options(&file)).await.expect_err("refused");
    assert!(error.to_string().starts_with("failed to use the state file"), "{error}");
    let file = folder.path().join("state.redb");
    let azure = Azure::over(emulator::start(options(&file)).await.expect("started")).await;
    assert!(emulator::start(options(&file)).await.is_err());
    azure.put(&machine("kept"), linux()).await.expect(201);
    azure.emulator.stop().await;
    let azure = Azure::over(emulator::start(options(&file)).await.expect("started again")).await;
    azure.get(&machine("kept")).await.expect(200);
}

/// Sends a request to an address that is signed.
async fn blob(process: &Process, method: Method, url: &str, headers: &[(&str, &str)], body: &'static str) -> (u16, HeaderMap, String) {
    let mut request =
        process.http.request(method, url).header("x-ms-version", "2021-08-06").header("content-length", body.len()).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("the blob service answers");
    (answer.status().as_u16(), answer.headers().clone(), answer.text().await.expect("a body"))
}

async fn upload_uri(process: &Process, name: &str) -> String {
    let path = format!("{LAB}/generateUploadUri?api-version={DTL}");
    let answer = process.send(Method::POST, &path, Some(json!({"blobName": name}))).await.expect(200);
    answer.body["uploadUri"].as_str().expect("an address").to_owned()
}

#[tokio::test]
async fn blobs_and_copies_on_their_way_outlive_a_kill() {
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join("node_modules/azurite").is_dir() {
        eprintln!("skipped: without `npm ci` there is no Azurite");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state.redb");
    let first = Process::start_with(&state, "60", &["--blobs"]).await;
    let account = format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/contosokept?api-version=2023-01-01");
    let body = json!({"location": "westeurope", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"});
    let made = first.put(&account, body).await;
    assert!(matches!(made.status, 200..=202), "{}", made.body);

    let text = upload_uri(&first, "text.txt").await;
    let (status, _, said) = blob(&first, Method::PUT, &text, &[("x-ms-blob-type", "BlockBlob")], "as it was").await;
    assert_eq!(status, 201, "{said}");
    let disk = upload_uri(&first, "disk.vhd").await;
    let page = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", "1073741824")];
    assert_eq!(blob(&first, Method::PUT, &disk, &page, "").await.0, 201);
    // A copy that takes days.
    let settings = json!({"durations": {"blobCopySecondsPerGiB": 30_000_000}});
    first.send(Method::POST, "/emulator/settings", Some(settings)).await.expect(200);
    let copy = upload_uri(&first, "copy.vhd").await;
    let (status, begun, said) = blob(&first, Method::PUT, &copy, &[("x-ms-copy-source", disk.as_str())], "").await;
    assert_eq!((status, &begun["x-ms-copy-status"]), (202, &HeaderValue::from_static("pending")), "{said}");
    let gone = upload_uri(&first, "gone.vhd").await;
    assert_eq!(blob(&first, Method::PUT, &gone, &page, "").await.0, 201);
    assert_eq!(blob(&first, Method::DELETE, &gone, &[], "").await.0, 403, "the address is for writing");
    // Made in the last moment: nothing of it may be lost either.
    let last = upload_uri(&first, "last.txt").await;
    assert_eq!(blob(&first, Method::PUT, &last, &[("x-ms-blob-type", "BlockBlob")], "at last").await.0, 201);
    let endpoint = first.ready.blob_endpoint.clone();
    first.kill();

    let second = Process::start_with(&state, "60", &["--blobs"]).await;
    assert_eq!(second.ready.blob_endpoint, endpoint, "addresses that were given out stay");
    for (url, contents) in [(&text, "as it was"), (&last, "at last")] {
        let (status, _, got) = blob(&second, Method::GET, url, &[], "").await;
        assert_eq!((status, got.as_str()), (200, contents));
    }
    let (status, copied, _) = blob(&second, Method::HEAD, &copy, &[], "").await;
    assert_eq!((status, &copied["x-ms-copy-status"]), (200, &HeaderValue::from_static("pending")));
    assert_eq!(copied["x-ms-copy-id"], begun["x-ms-copy-id"]);
    let listed = second.send(Method::POST, &format!("{LAB}/listVhds?api-version={DTL}"), Some(json!({}))).await.expect(200);
    let listed: Vec<&str> = listed.body["value"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
    let plain = |url: &str| url.split('?').next().expect("an address").to_owned();
    assert_eq!(listed, [plain(&copy), plain(&disk), plain(&gone)]);
    let kept = second.get(&account).await.expect(200);
    let blobs = kept.body["properties"]["primaryEndpoints"]["blob"].as_str().expect("an address").to_owned();
    assert_eq!(Some(blobs), endpoint.map(|endpoint| format!("{endpoint}contosokept/")));
    second.kill();

    let error = emulator::start(Options { state: Some(state), ..Options::default() }).await.expect_err("its blobs would be missing");
    assert!(error.to_string().ends_with("start with --blobs"), "{error}");
}
