//! Proxies, certificate authorities, client certificates, old TLS, IPv6.

use std::{fs, path::PathBuf, process::Stdio};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{everywhere, lab, natively, proxy::Proxy, seed, under_node};
use crate::{
    harness::{Harness, project},
    packaged::{NODES, node},
};

pub(super) fn pair(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

fn server(harness: &Harness) -> String {
    let url = &harness.target().resource_manager;
    url.trim_start_matches("https://").trim_end_matches('/').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_proxy_tunnels_with_credentials_and_the_task_shares_connections() {
    let proxy = Proxy::start(Some("build agent:pa:ss wörd")).await;
    let harness = lab(json!([])).await;
    let variables = [
        pair("AGENT_PROXYURL", format!("http://127.0.0.1:{}", proxy.port)),
        pair("AGENT_PROXYUSERNAME", "build agent"),
        pair("SECRET_AGENT_PROXYPASSWORD", "pa:ss wörd"),
        // The agent's own comes first.
        pair("HTTPS_PROXY", "http://127.0.0.1:9"),
    ];
    for ending in everywhere(&harness, &variables).await {
        ending.assert_succeeded();
        assert!(!ending.lines.iter().any(|line| line.contains("wörd") && !line.starts_with("##vso[task.setsecret]")), "{ending:#?}");
    }
    // Sign-in, the deletion and its polls share a connection; on a loaded machine a pool may open one more.
    let seen = proxy.seen();
    let requests = harness.requests().await.len();
    assert!(seen.iter().all(|seen| *seen == server(&harness)), "{seen:?}");
    assert!(seen.len() >= 3 && seen.len() < requests, "{} tunnels for {requests} requests", seen.len());
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_refuses_the_credentials_is_told_with_the_remedy_and_without_the_password() {
    let proxy = Proxy::start(Some("name:right")).await;
    let harness = lab(json!([])).await;
    let address = format!("http://name:wr0ng@127.0.0.1:{}", proxy.port);
    for ending in everywhere(&harness, &[pair("https_proxy", address)]).await {
        ending.assert_failed("proxy");
        assert!(!ending.lines.iter().any(|line| line.contains("wr0ng")), "{ending:#?}");
    }
    let seen = proxy.seen();
    assert!(seen.len() >= 3 && seen.iter().all(|seen| seen.ends_with(" refused")), "{seen:?}");
    harness.finish().await;
}

type Further = &'static [(&'static str, &'static str)];

#[tokio::test(flavor = "multi_thread")]
async fn addresses_on_the_bypass_list_are_reached_without_the_proxy() {
    let proxy = Proxy::start(None).await;
    let harness = lab(json!([])).await;
    let address = format!("http://127.0.0.1:{}", proxy.port);
    let table: [(&str, Further, bool); 8] = [
        ("AGENT_PROXYURL", &[("AGENT_PROXYBYPASSLIST", r#"["^HTTPS://127\\.0\\."]"#)], false),
        ("AGENT_PROXYURL", &[("AGENT_PROXYBYPASSLIST", r#"["^https://other\\."]"#)], true),
        // The agent has a list of its own.
        ("AGENT_PROXYURL", &[("NO_PROXY", "*")], true),
        ("HTTPS_PROXY", &[("no_proxy", "127.0.0.1")], false),
        ("https_proxy", &[("NO_PROXY", "10.0.0.0/8, 127.0.0.0/8")], false),
        ("HTTPS_PROXY", &[("NO_PROXY", "10.0.0.0/8,example.com")], true),
        ("ALL_PROXY", &[("NO_PROXY", "*")], false),
        ("HTTP_PROXY", &[], true),
    ];
    for (name, further, tunnels) in table {
        let mut variables = vec![pair(name, &address)];
        variables.extend(further.iter().map(|(name, value)| pair(name, *value)));
        for ending in everywhere(&harness, &variables).await {
            ending.assert_succeeded();
        }
        assert_eq!(!proxy.seen().is_empty(), tunnels, "{variables:?}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_proxys_address_is_told_without_quoting_it() {
    let harness = lab(json!([])).await;
    for ending in everywhere(&harness, &[pair("AGENT_PROXYURL", "socks5://name:hidden@host:1")]).await {
        ending.assert_failed("AGENT_PROXYURL is no proxy's address");
        assert!(!ending.lines.iter().any(|line| line.contains("hidden")), "{ending:#?}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_wherever_it_is_named() {
    let harness = lab(json!([])).await;
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(&harness.ready().ca_file, folder.path().join("private.pem")).expect("a copy");
    let folder = folder.path().to_string_lossy().into_owned();
    let file = &harness.ready().ca_file;
    for (name, value) in [("AGENT_CAINFO", file), ("SSL_CERT_FILE", file), ("SSL_CERT_DIR", &folder)] {
        for ending in everywhere(&harness, &[pair("NODE_EXTRA_CA_CERTS", ""), pair(name, value)]).await {
            ending.assert_succeeded();
        }
    }
    // Asking for no checks changes nothing.
    let unchecked = [pair("NODE_EXTRA_CA_CERTS", ""), pair("AGENT_SKIPCERTVALIDATION", "true")];
    for ending in everywhere(&harness, &unchecked).await {
        ending.assert_failed("not trusted");
    }
    for ending in everywhere(&harness, &[pair("AGENT_CAINFO", "/no/such/file.pem")]).await {
        ending.assert_failed("/no/such/file.pem");
    }
    harness.finish().await;
}

/// A server of the test's own, run by Node: what `script` does with `options` (its key and certificate) it says on its first line.
pub(super) struct Server {
    pub(super) address: String,
    _process: tokio::process::Child,
}

impl Server {
    pub(super) async fn start(kind: &str) -> Self {
        let mut command = tokio::process::Command::new(node(NODES[0]));
        command.arg(project("tests/connections/servers.js")).arg(kind).stdout(Stdio::piped()).kill_on_drop(true);
        command.env("FOLDER", certificates());
        let mut process = command.spawn().expect("Node starts");
        let mut lines = BufReader::new(process.stdout.take().expect("an output")).lines();
        let port = lines.next_line().await.expect("a line").expect("a port");
        Self { address: format!("https://127.0.0.1:{port}/"), _process: process }
    }
}

/// A folder with an authority, and a certificate and key of its for servers and clients. Made once.
pub(super) fn certificates() -> PathBuf {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    static MADE: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    let folder = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let authority_key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "private authority");
        let certificate = authority.self_signed(&authority_key).expect("a certificate");
        fs::write(folder.path().join("authority.pem"), certificate.pem()).expect("a file");
        let issuer = Issuer::new(authority, authority_key);
        for name in ["server", "client"] {
            let key = KeyPair::generate().expect("a key");
            let mut parameters = CertificateParams::new(vec!["127.0.0.1".to_owned(), format!("{name}.example")]).expect("names");
            parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
            let certificate = parameters.signed_by(&key, &issuer).expect("a certificate");
            fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).expect("a file");
            fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).expect("a file");
        }
        folder
    });
    folder.path().to_owned()
}

/// Has the step sign in at another server.
pub(super) fn signing_in_at(address: &str) -> Vec<(String, String)> {
    let authority = certificates().join("authority.pem").to_string_lossy().into_owned();
    vec![
        super::variable("ENDPOINT_DATA_{id}_ACTIVEDIRECTORYAUTHORITY", address),
        super::variable("ENDPOINT_DATA_{id}", "{}"),
        pair("AGENT_CAINFO", authority),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_no_newer_tls_than_1_1_is_refused_at_once() {
    let harness = lab(json!([])).await;
    let server = Server::start("old-tls").await;
    for ending in everywhere(&harness, &signing_in_at(&server.address)).await {
        ending.assert_failed("speaks no TLS 1.2 or newer");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_client_certificate_is_shown_to_who_asks_for_one() {
    let harness = lab(json!([])).await;
    let server = Server::start("client-certificate").await;
    let mut variables = signing_in_at(&server.address);
    for ending in everywhere(&harness, &variables).await {
        assert_eq!(ending.result, "Failed");
        assert!(!ending.lines.iter().any(|line| line.contains("AADSTS50012")), "the server let somebody in without: {ending:#?}");
    }
    let at = |name: &str| certificates().join(name).to_string_lossy().into_owned();
    variables.extend([pair("AGENT_CLIENTCERT", at("client.pem")), pair("AGENT_CLIENTCERTKEY", at("client.key"))]);
    for ending in everywhere(&harness, &variables).await {
        ending.assert_failed("AADSTS50012: seen DNS:client.example");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_ipv6_alone_is_reached() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        skip("this machine has no IPv6");
        return;
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), seed(&json!([])).to_string()).expect("the seed is written");
    let harness = Harness::with(|options| {
        options.listen = "[::1]:0".parse().expect("an address");
        options.seed = Some(file.path().to_owned());
    })
    .await;
    for ending in everywhere(&harness, &[]).await {
        ending.assert_succeeded();
    }
    harness.finish().await;
}

#[allow(clippy::print_stderr, reason = "a test that skips says why")]
fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_that_leads_nowhere_costs_a_moment_only() {
    let harness = lab(json!([])).await;
    let named: Vec<_> = super::step(&harness, &[])
        .await
        .exported()
        .into_iter()
        .filter(|(_, value)| value.contains("127.0.0.1"))
        .map(|(name, value)| (name, value.replace("127.0.0.1", "localhost")))
        .chain([pair("NODE_OPTIONS", format!("--require \"{}\"", project("tests/connections/broken_ipv6.js").display()))])
        .collect();
    for major in NODES {
        let began = std::time::Instant::now();
        under_node(&harness, &named, major).await.assert_succeeded();
        assert!(began.elapsed().as_secs() < 25, "{:?}", began.elapsed());
    }
    natively(&harness, &named).await.assert_succeeded();
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_native_transport_waits_no_longer_than_it_should() {
    use azure_core::http::{HttpClient as _, Method, Request};
    use dtl::cli::{
        host::{Transport, Trust},
        network::Patience,
    };
    use std::time::{Duration, Instant};
    let patience = Patience { connect: Duration::from_millis(300), read: Duration::from_millis(300) };
    let trust = Trust::Only { authority: certificates().join("authority.pem") };
    let transport = Transport::with_patience(&trust, patience).expect("a transport");
    for kind in ["no-handshake", "no-answer", "half-an-answer"] {
        let server = Server::start(kind).await;
        let began = Instant::now();
        let request = Request::new(server.address.parse().expect("an address"), Method::Get);
        let error = transport.execute_request(&request).await.expect_err(kind);
        assert!(error.to_string().contains("no answer in time"), "{kind}: {error:?}");
        assert!(began.elapsed() < Duration::from_secs(25), "{kind}: {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transport_under_node_waits_no_longer_than_it_should() {
    for major in NODES {
        for (kind, expected) in [
            ("no-handshake", "no connection within 30 s"),
            ("no-answer", "no answer within 100 s"),
            ("half-an-answer", "nothing came within 60 s"),
        ] {
            let server = Server::start(kind).await;
            let mut command = tokio::process::Command::new(node(major));
            command.arg(project("tests/connections/time_outs.js")).arg(&server.address).arg(expected);
            command.env("AGENT_CAINFO", certificates().join("authority.pem")).kill_on_drop(true);
            let ended =
                tokio::time::timeout(std::time::Duration::from_mins(1), command.output()).await.expect("it ends").expect("Node starts");
            assert!(ended.status.success(), "Node {major}, {kind}: {}", String::from_utf8_lossy(&ended.stderr));
        }
    }
}
