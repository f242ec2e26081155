//! A token service for the steps of a local run, in the manner of App Service: `GET {address}?resource=…` with a header that only they know.

use std::{convert::Infallible, io, sync::Arc};

use azure_core::credentials::{Secret, TokenCredential};
use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;

use crate::{cli::environment::Environment, tasks::sign_in::scrubbed};

/// The service, gone when it is dropped.
#[derive(Debug)]
pub(super) struct TokenService {
    port: u16,
    header: Secret,
    serving: JoinHandle<()>,
}

impl TokenService {
    /// Serves a credential's tokens on this machine alone.
    pub(super) async fn start(credential: Arc<dyn TokenCredential>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let header = Uuid::new_v4().simple().to_string();
        let serving = tokio::spawn(serve(listener, credential, header.clone()));
        Ok(Self { port, header: Secret::new(header), serving })
    }

    /// The variables by which a managed identity's client finds the service.
    pub(super) fn variables(&self) -> Environment {
        Environment::from([
            ("IDENTITY_ENDPOINT".to_owned(), format!("http://127.0.0.1:{}/token", self.port)),
            ("IDENTITY_HEADER".to_owned(), self.header.secret().to_owned()),
        ])
    }
}

impl Drop for TokenService {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, credential: Arc<dyn TokenCredential>, header: String) {
    let header: Arc<str> = header.into();
    while let Ok((stream, _)) = listener.accept().await {
        let (credential, header) = (Arc::clone(&credential), Arc::clone(&header));
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let (credential, header) = (Arc::clone(&credential), Arc::clone(&header));
            async move {
                let (status, body) = answer(&request, &credential, &header).await;
                let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
                *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
                Ok::<_, Infallible>(response)
            }
        });
        // A step that goes away in the middle is no concern of the others.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(request: &Request<hyper::body::Incoming>, credential: &Arc<dyn TokenCredential>, header: &str) -> (u16, Value) {
    let refused = |status: u16, text: &str| (status, json!({"error": "unauthorized", "error_description": text}));
    if request.headers().get("x-identity-header").is_none_or(|shown| shown.as_bytes() != header.as_bytes()) {
        return refused(401, "the header is not the one of this run");
    }
    let address = format!("http://localhost{}", request.uri());
    let resource = azure_core::http::Url::parse(&address)
        .ok()
        .and_then(|url| url.query_pairs().find(|(name, _)| name == "resource").map(|(_, value)| value.into_owned()));
    let Some(resource) = resource else { return refused(403, "the query names no resource") };
    let scope = format!("{}/.default", resource.trim_end_matches('/'));
    match credential.get_token(&[&scope], None).await {
        Ok(token) => {
            let expires_on = token.expires_on.unix_timestamp().to_string();
            (200, json!({"access_token": token.token.secret(), "expires_on": expires_on, "resource": resource, "token_type": "Bearer"}))
        }
        Err(error) => refused(403, &scrubbed(&error)),
    }
}
