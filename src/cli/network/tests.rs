//! Which proxy is taken, and what of the variables cannot be used.

use azure_core::http::Method;

use super::*;

fn network(variables: &[(&str, &str)]) -> Result<Network, TransportError> {
    Network::from_variables(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
}

fn proxy(variables: &[(&str, &str)]) -> Proxy {
    network(variables).unwrap().proxy.unwrap()
}

#[test]
fn the_agents_proxy_comes_before_the_machines() {
    let machine =
        [("https_proxy", "http://lower:1"), ("HTTPS_PROXY", "http://upper:2"), ("ALL_PROXY", "all:3"), ("HTTP_PROXY", "http://plain:4")];
    let agent = [("AGENT_PROXYURL", "http://agent:5")];
    assert_eq!(proxy(&[&machine[..], &agent[..]].concat()).url.as_str(), "http://agent:5/");
    assert_eq!(proxy(&machine).url.as_str(), "http://lower:1/");
    assert_eq!(proxy(&machine[1..]).url.as_str(), "http://upper:2/");
    assert_eq!(proxy(&machine[2..]).url.as_str(), "http://all:3/");
    assert_eq!(proxy(&machine[3..]).url.as_str(), "http://plain:4/");
    assert!(network(&[("AGENT_PROXYURL", " ")]).unwrap().proxy.is_none());
}

#[test]
fn credentials_come_from_the_agent_or_the_address_and_are_not_shown() {
    let agent =
        proxy(&[("AGENT_PROXYURL", "http://agent:5"), ("AGENT_PROXYUSERNAME", "name"), ("SECRET_AGENT_PROXYPASSWORD", "pass word")]);
    let address = proxy(&[("HTTPS_PROXY", "http://na%40me:pa%3Ass@machine:1")]);
    for (proxy, name, password) in [(&agent, "name", "pass word"), (&address, "na@me", "pa:ss")] {
        let (found_name, found_password) = proxy.credentials.as_ref().unwrap();
        assert_eq!((found_name.as_str(), found_password.secret()), (name, password));
        assert!(!format!("{proxy:?}").contains(password), "{proxy:?}");
    }
}

#[test]
fn the_agents_list_is_of_expressions_over_whole_addresses() {
    let proxy = proxy(&[("AGENT_PROXYURL", "http://agent:5"), ("AGENT_PROXYBYPASSLIST", r#"["^https://management\\.", "LOCAL$|local/"]"#)]);
    for (url, bypassed) in [
        ("https://management.azure.com/x", true),
        ("https://login.example/management.", false),
        ("https://stack.local/", true),
        ("https://local.example/", false),
    ] {
        assert_eq!(proxy.is_bypassed(&url.parse().unwrap()), bypassed, "{url}");
    }
}

#[test]
fn what_cannot_be_used_is_named_by_its_variable_and_without_its_password() {
    for (variables, expected) in [
        (vec![("HTTPS_PROXY", "socks5://name:hidden@host:1")], "HTTPS_PROXY is no proxy's address"),
        (vec![("AGENT_PROXYURL", "http://")], "AGENT_PROXYURL is no proxy's address"),
        (vec![("AGENT_PROXYURL", "http://a:1"), ("AGENT_PROXYBYPASSLIST", "a,b")], "AGENT_PROXYBYPASSLIST is no JSON list"),
        (vec![("AGENT_PROXYURL", "http://a:1"), ("AGENT_PROXYBYPASSLIST", r#"["("]"#)], "AGENT_PROXYBYPASSLIST holds an expression"),
    ] {
        let error = network(&variables).unwrap_err().to_string();
        assert!(error.starts_with(expected) && !error.contains("hidden"), "{error}");
    }
}

#[test]
fn authorities_are_gathered_from_files_and_folders() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b.pem"), "-----BEGIN CERTIFICATE-----").unwrap();
    fs::write(folder.path().join("a.0"), "text\n-----BEGIN CERTIFICATE-----").unwrap();
    fs::write(folder.path().join("readme"), "none").unwrap();
    let path = folder.path().to_string_lossy();
    let found = network(&[("AGENT_CAINFO", "agent.pem"), ("SSL_CERT_FILE", "file.pem"), ("SSL_CERT_DIR", &path)]).unwrap().authorities;
    let at = |name: &str| folder.path().join(name);
    assert_eq!(found, [PathBuf::from("agent.pem"), "file.pem".into(), at("a.0"), at("b.pem")]);
}

#[test]
fn what_is_wrong_with_a_client_certificate_is_told_with_the_remedy_and_without_the_password() {
    let file = |contents: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), contents).unwrap();
        file
    };
    let broken = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nbm9uZQ==\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = file("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n");
    let (cut, broken, certificate) = (file(&broken[..60]), file(broken), file("-----BEGIN CERTIFICATE-----"));
    let path = |file: &tempfile::NamedTempFile| file.path().to_string_lossy().into_owned();
    for (name, key, password, expected) in [
        ("AGENT_CLIENTCERTKEY", &old, Some("hidden"), "AGENT_CLIENTCERTKEY names a key in OpenSSL's older encryption"),
        ("AGENT_CLIENTCERTKEY", &cut, Some("hidden"), "AGENT_CLIENTCERTKEY names an encrypted key that breaks off"),
        ("AGENT_CLIENTCERTKEY", &broken, None, "AGENT_CLIENTCERTKEY names an encrypted key: AGENT_CLIENTCERTPASSWORD is needed"),
        ("AGENT_CLIENTCERTKEY", &broken, Some("hidden"), "AGENT_CLIENTCERTKEY names an encrypted key that is no PKCS #8"),
        (
            "AGENT_CLIENTCERTARCHIVE",
            &certificate,
            Some("hidden"),
            "AGENT_CLIENTCERTARCHIVE names an archive that AGENT_CLIENTCERTPASSWORD does not open",
        ),
    ] {
        let (key, certificate) = (path(key), path(&certificate));
        let mut variables = vec![("AGENT_CLIENTCERT", certificate.as_str()), (name, key.as_str())];
        variables.extend(password.map(|password| ("AGENT_CLIENTCERTPASSWORD", password)));
        let error = network(&variables).unwrap().client_certificate.unwrap().identity().unwrap_err().to_string();
        assert!(error.starts_with(expected) && !error.contains("hidden"), "{expected}: {error}");
    }
}

#[tokio::test]
async fn an_unreachable_server_is_a_failure_that_is_retried_and_names_the_server_alone() {
    let client = Transport::new(&Trust::Machine(Box::default())).unwrap();
    let request = Request::new("https://127.0.0.1:9/path?sig=hidden".parse().unwrap(), Method::Get);
    let error = client.execute_request(&request).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Io);
    assert_eq!(error.to_string(), "failed to reach https://127.0.0.1:9");
    assert!(!format!("{error:?}").contains("hidden"));
}

#[tokio::test]
async fn only_the_near_transport_speaks_http_and_only_near() {
    let transport = Transport::new(&Trust::Machine(Box::default())).unwrap();
    let ask = async |transport: Transport, url: &str| {
        let request = Request::new(url.parse().unwrap(), Method::Get);
        let error = transport.execute_request(&request).await.unwrap_err();
        format!("{error}: {:?}", std::error::Error::source(&error).map(ToString::to_string))
    };
    assert!(ask(transport.clone(), "http://127.0.0.1:9/").await.contains("only https is allowed"));
    assert!(ask(transport.near(), "http://127.0.0.1:9/").await.starts_with("failed to reach"));
    assert!(ask(transport.near(), "http://10.0.0.1/").await.contains("not on this machine"));
}
