//! What deployments link to: templates and parameter files, downloaded as Resource Manager does it.
//!
//! A link is downloaded once for every deployment that follows it, before the deployment is read: reading itself never waits.

use std::{
    collections::VecDeque,
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use reqwest::Client;

use crate::emulator::{
    error::ApiError,
    http::{Request, parse_object},
    world::World,
};

/// Resource Manager takes templates and parameter files of up to 4 MB.
const LARGEST: usize = 4 * 1024 * 1024;
/// How long a download may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many downloads are kept for the deployments that are about to read them.
const KEPT: usize = 512;

/// A file's content, or why there is none.
pub type Content = Result<Vec<u8>, ApiError>;

/// The files downloaded last.
#[derive(Debug, Default)]
pub struct Contents {
    authority: String,
    client: OnceLock<Option<Client>>,
    files: Mutex<VecDeque<(String, Content)>>,
}

impl Contents {
    /// With the emulator's own authority (PEM), so that a template may lie on the emulator itself.
    pub fn trusting(authority: String) -> Self {
        Self { authority, ..Self::default() }
    }

    /// Downloads a file and keeps it, in place of what was there before.
    pub async fn fetch(&self, uri: &str) {
        let content = match self.download(uri).await {
            Ok(bytes) => Ok(bytes),
            Err(problem) => Err(refused(uri, &problem)),
        };
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|(known, _)| known != uri);
        files.push_back((uri.to_owned(), content));
        if files.len() > KEPT {
            files.pop_front();
        }
    }

    /// A file that has been downloaded.
    pub fn get(&self, uri: &str) -> Content {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let found = files.iter().find(|(known, _)| known == uri).map(|(_, content)| content.clone());
        found.unwrap_or_else(|| Err(refused(uri, "it has not been downloaded")))
    }

    async fn download(&self, uri: &str) -> Result<Vec<u8>, String> {
        let client = self.client.get_or_init(|| self.build()).as_ref().ok_or("there is no client")?;
        let mut response = client.get(uri).send().await.map_err(|error| describe(&error))?;
        if !response.status().is_success() {
            return Err(format!("it answers {}", response.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > LARGEST {
                return Err(format!("it has more than {LARGEST} bytes"));
            }
        }
        Ok(bytes)
    }

    fn build(&self) -> Option<Client> {
        let mut builder = Client::builder().timeout(PATIENCE);
        if let Ok(authority) = reqwest::Certificate::from_pem(self.authority.as_bytes()) {
            builder = builder.add_root_certificate(authority);
        }
        builder.build().ok()
    }
}

/// Downloads what a request to deploy or validate links to.
pub async fn fetch_for(world: &World, request: &Request) {
    let path = request.path.to_ascii_lowercase();
    let deploys = matches!(request.method.as_str(), "PUT" | "POST") && path.contains("/deployments/");
    if !deploys || world.identity.caller(request.header("authorization"), world.clock.now()).is_err() {
        return;
    }
    let Ok(body) = parse_object(&request.body) else { return };
    for link in ["templateLink", "parametersLink"] {
        if let Some(uri) = body["properties"][link]["uri"].as_str() {
            world.contents.fetch(uri).await;
        }
    }
}

/// Azure's words, with the reason, which Azure keeps to itself.
fn refused(uri: &str, problem: &str) -> ApiError {
    let message = format!(
        "Unable to download deployment content from '{uri}'. The tracking Id is '{}'. Please see https://aka.ms/arm-deploy for usage \
         details. ({problem})",
        uuid::Uuid::new_v4()
    );
    ApiError::bad_request("InvalidContentLink", message)
}

fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}
