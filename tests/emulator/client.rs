//! An emulator in process and a plain HTTPS client that trusts it.

use std::{
    fs,
    time::{Duration, Instant},
};

use dtl::emulator::{self, Emulator, Options};
use reqwest::{Certificate, Client, Method, Response};
use serde_json::{Value, json};

use crate::judges::schema::Judge;

/// The group of the built-in lab.
pub const GROUP: &str = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/devtestlabs";
/// The built-in lab.
pub const LAB: &str =
    "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/devtestlabs/providers/Microsoft.DevTestLab/labs/contoso";
/// DevTest Labs' api-version.
pub const DTL: &str = "2018-09-15";
/// Resource Manager's api-version.
pub const ARM: &str = "2021-04-01";

/// An answer, read.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }

    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// The answer, when it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:#}", self.body);
        self
    }

    /// The answer, when it is this error.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code()), (status, code), "{:#}", self.body);
        self
    }
}

/// An emulator with a client that is signed in.
pub struct Azure {
    pub emulator: Emulator,
    pub http: Client,
    pub token: String,
    _judge: Judge,
}

impl Azure {
    pub async fn start() -> Self {
        Self::seeded(None).await
    }

    pub async fn seeded(seed: Option<&Value>) -> Self {
        Self::at_speed(6000.0, seed).await
    }

    pub async fn at_speed(speed: f64, seeded: Option<&Value>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = seeded.map(|seed| {
            let path = folder.path().join("seed.json");
            fs::write(&path, seed.to_string()).expect("written");
            path
        });
        let emulator = emulator::start(Options { seed: path, speed, ..Options::default() }).await.expect("the emulator starts");
        Self::over(emulator).await
    }

    /// A client that is signed in to a running emulator.
    pub async fn over(emulator: Emulator) -> Self {
        let pem = fs::read(&emulator.ready().ca_file).expect("the authority's certificate");
        let certificate = Certificate::from_pem(&pem).expect("a certificate");
        let http = Client::builder().tls_certs_only([certificate]).build().expect("a client");
        let judge = Judge::of(&emulator);
        let mut azure = Self { emulator, http, token: String::new(), _judge: judge };
        azure.token = azure.sign_in().await;
        azure
    }

    async fn sign_in(&self) -> String {
        let ready = self.emulator.ready();
        let form = [("client_secret", ready.client_secret.as_str())];
        let answer = self.token_request(&ready.tenant_id, &ready.client_id, &form).await.expect(200);
        answer.body["access_token"].as_str().expect("a token").to_owned()
    }

    /// POST to the token endpoint.
    pub async fn token_request(&self, tenant: &str, client: &str, credential: &[(&str, &str)]) -> Answer {
        let scope = format!("{}.default", self.emulator.ready().resource_manager);
        let mut form = vec![("grant_type", "client_credentials"), ("client_id", client), ("scope", &scope)];
        form.extend_from_slice(credential);
        let body: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let url = format!("{}{tenant}/oauth2/v2.0/token", self.emulator.ready().authority);
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(body.join("&"));
        read(request.send().await.expect("an answer")).await
    }

    /// A request with a token.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = self.http.request(method, self.url(path)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        read(request.send().await.expect("an answer")).await
    }

    pub fn url(&self, path: &str) -> String {
        if path.starts_with("https://") {
            return path.to_owned();
        }
        format!("{}{path}", self.emulator.ready().resource_manager.trim_end_matches('/'))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(&body)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(&body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// POST to the control interface.
    pub async fn control(&self, path: &str, body: Value) {
        self.post(&format!("/emulator/{path}"), body).await.expect(200);
    }

    /// Waits for the operation that an answer began and returns its last status.
    #[track_caller]
    pub fn finished<'a>(&'a self, answer: &'a Answer) -> impl Future<Output = Value> + 'a {
        let url = answer.header("azure-asyncoperation").to_owned();
        assert!(!url.is_empty(), "no operation: {answer:#?}");
        async move {
            let begun = Instant::now();
            loop {
                let status = self.get(&url).await.expect(200).body;
                if status["status"] != "Running" {
                    return status;
                }
                assert!(begun.elapsed() < Duration::from_mins(1), "{url} does not end");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Waits until a resource has left every state in which something goes on.
    pub async fn settled(&self, path: &str) -> Value {
        let begun = Instant::now();
        loop {
            let body = self.get(path).await.expect(200).body;
            if matches!(body["properties"]["provisioningState"].as_str(), Some("Succeeded" | "Failed" | "Canceled")) {
                return body;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "{path} does not settle: {body:#}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Makes a machine and waits until it has settled, artifacts included.
    pub async fn machine(&self, name: &str, body: Value) -> Value {
        let path = format!("{LAB}/virtualmachines/{name}?api-version={DTL}");
        let answer = self.put(&path, body).await.expect(201);
        assert_eq!(self.finished(&answer).await, json!({"status": "Succeeded"}));
        self.settled(&format!("{path}&$expand=properties($expand=artifacts,computeVm,networkInterface)")).await
    }
}

/// Asks at the address in `Location` until it has something else to say than 202.
pub async fn ended(azure: &Azure, url: &str) -> Answer {
    let begun = Instant::now();
    loop {
        let answer = azure.get(url).await;
        if answer.status != 202 {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "{url} does not end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A Windows machine's body.
pub fn windows(artifacts: &[&str]) -> Value {
    let artifacts: Vec<Value> =
        artifacts.iter().map(|name| json!({"artifactId": format!("{LAB}/artifactsources/public repo/artifacts/{name}")})).collect();
    json!({"location": "westeurope", "properties": {
        "size": "Standard_D2s_v5", "userName": "tester", "password": "P@ssw0rd-tester", "labVirtualNetworkId": format!("{LAB}/virtualnetworks/Dtlcontoso"),
        "labSubnetName": "DtlcontosoSubnet", "artifacts": artifacts,
        "galleryImageReference": {"publisher": "MicrosoftWindowsServer", "offer": "WindowsServer", "sku": "2019-Datacenter", "osType": "Windows", "version": "latest"}}})
}

/// A Linux machine's body.
pub fn linux() -> Value {
    json!({"location": "westeurope", "properties": {
        "size": "Standard_D2s_v5", "userName": "tester", "isAuthenticationWithSshKey": true, "sshKey": "ssh-rsa AAAA",
        "galleryImageReference": {"publisher": "canonical", "offer": "0001-com-ubuntu-server-jammy", "sku": "22_04-lts", "osType": "Linux", "version": "latest"}}})
}

pub fn encode(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
            },
        )
        .collect()
}

pub async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("a body");
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
    Answer { status, headers, body }
}
