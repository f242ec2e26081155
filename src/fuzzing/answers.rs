//! A service that answers anything: what the client makes of it is the target.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use time::OffsetDateTime;

use crate::{
    arm::{ApiVersion, Client, Cloud, Request, Wait},
    host::scripted::{Exchange, ScriptedHost, on},
};

/// Starts an operation and waits for it, or reads a list. The input holds the answers, one after the other: a byte for the status, a byte
/// for the headers, a byte for the length of the body, the body. When they are used up, the connection breaks.
pub fn long_running(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let host = ScriptedHost::new();
    let mut answers = answers(data);
    host.respond(move |_| Some(answers.pop_front().unwrap_or_else(|| on("", "").lost())));
    let cloud = Cloud {
        resource_manager: "https://management.example/".into(),
        token_scope: "https://management.example/.default".into(),
        authority: "https://login.example/".into(),
    };
    let client = Client::new(host, &cloud, Arc::new(Anybody));
    let path = "/subscriptions/s/resourceGroups/g/providers/Microsoft.DevTestLab/labs/l";
    let version = ApiVersion("2018-09-15");
    let request = match kind % 4 {
        0 => Request::put(path, version, serde_json::json!({})),
        1 => Request::delete(path, version),
        2 => Request::post(path, version, None),
        _ => Request::get(path, version),
    };
    futures::executor::block_on(async {
        if kind % 4 == 3 {
            let _ = client.list(request).await;
        } else if let Ok(operation) = client.start(request).await {
            let _ = client.wait(&operation, Wait::silent(Duration::from_mins(30))).await;
        }
    });
}

fn answers(mut data: &[u8]) -> VecDeque<Exchange> {
    const STATUSES: [u16; 16] = [200, 201, 202, 204, 400, 401, 403, 404, 408, 409, 410, 412, 429, 500, 503, 504];
    const OWN: &str = "https://management.example/subscriptions/s/operations/1?api-version=2018-09-15";
    let mut answers = VecDeque::new();
    while let [status, flags, length, rest @ ..] = data {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        let text = String::from_utf8_lossy(body).into_owned();
        let headers = [
            (1, "azure-asyncoperation", OWN.to_owned()),
            (2, "location", OWN.to_owned()),
            (4, "retry-after", status.to_string()),
            (8, "azure-asyncoperation", text.clone()),
            (16, "location", text.clone()),
            (32, "retry-after", text.clone()),
            (64, "x-ms-ratelimit-remaining-subscription-reads", length.to_string()),
        ];
        let answer = on("", "").reply_text(STATUSES[usize::from(status % 16)], &text);
        let headers = headers.into_iter().filter(|(bit, ..)| flags & bit != 0);
        answers.push_back(headers.fold(answer, |answer, (_, name, value)| answer.header(name, value)));
        data = rest;
    }
    answers
}

/// Anybody's token is good here.
#[derive(Debug)]
struct Anybody;

#[async_trait::async_trait]
impl TokenCredential for Anybody {
    async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        Ok(AccessToken::new(Secret::new("token"), OffsetDateTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 200)))
    }
}
