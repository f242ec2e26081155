//! Clients that are slow, say nothing, or say what nobody understands.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::client::{ARM, Azure, GROUP};

#[cfg(unix)]
fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the soft limit may be the hard one");
}

#[cfg(not(unix))]
fn allow_many_files() {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_that_say_nothing_keep_nobody_waiting() {
    allow_many_files();
    let azure = Azure::start().await;
    let address = azure.emulator.ready().resource_manager.trim_start_matches("https://").trim_end_matches('/').to_owned();
    let mut silent = Vec::new();
    for number in 0..2000 {
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        if number % 2 == 0 {
            // The beginning of a handshake that never goes on.
            stream.write_all(&[0x16, 0x03, 0x01]).await.expect("written");
        }
        silent.push(stream);
    }
    let begun = Instant::now();
    let client = reqwest::Client::builder()
        .tls_certs_only([
            reqwest::Certificate::from_pem(&std::fs::read(&azure.emulator.ready().ca_file).expect("a file")).expect("a certificate")
        ])
        .build()
        .expect("a client");
    let answer = client.get(azure.url(&format!("{GROUP}?api-version={ARM}"))).bearer_auth(&azure.token).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    // The oldest were shown the door: their connections end.
    let closed = tokio::time::timeout(Duration::from_secs(30), silent[1].read(&mut [0; 16])).await.expect("closed in time");
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
}

#[tokio::test]
async fn what_is_no_http_or_too_much_of_it_harms_nobody() {
    let azure = Azure::start().await;
    let path = format!("{GROUP}?api-version={ARM}");
    let huge = azure.http.get(azure.url(&path)).bearer_auth(&azure.token).header("x-huge", "h".repeat(1 << 20)).send().await;
    assert!(huge.is_err() || huge.is_ok_and(|answer| answer.status().as_u16() == 431));
    let mut many = azure.http.get(azure.url(&path)).bearer_auth(&azure.token);
    for number in 0..200 {
        many = many.header(format!("x-{number}"), "v");
    }
    assert_eq!(many.send().await.expect("an answer").status(), 431);
    for odd in ["%", "%zz", "%ff%fe", "%00", "a%2fb", "%E2%80%AE"] {
        let answer = azure.get(&format!("{GROUP}/providers/Microsoft.Network/virtualNetworks/{odd}?api-version={ARM}&x={odd}")).await;
        let is_refused = (400..500).contains(&answer.status) && !answer.code().is_empty();
        assert!(answer.status == 200 || is_refused, "{odd}: {} {}", answer.status, answer.body);
    }
    let address = azure.emulator.ready().resource_manager.trim_start_matches("https://").trim_end_matches('/').to_owned();
    let mut plain = TcpStream::connect(&address).await.expect("a connection");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("written");
    let mut said = Vec::new();
    tokio::time::timeout(Duration::from_secs(30), plain.read_to_end(&mut said)).await.expect("closed in time").ok();
    azure.get(&path).await.expect(200);
}
