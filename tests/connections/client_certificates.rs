//! The agent's client certificate in each form in which it may be configured, on both hosts.

use std::{fs, path::PathBuf};

use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use pkcs8::{LineEnding, PrivateKeyInfoRef, SecretDocument};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::json;

use super::{
    Ending, everywhere, lab,
    networks::{Server, certificates, pair, signing_in_at},
};

const PASSWORD: &str = "Pl4nted client pass-phrase";

fn at(name: &str) -> PathBuf {
    certificates().join(name)
}

/// The test's client certificate, its key encrypted, both in one file, and as an archive.
fn forms() -> (tempfile::TempDir, [Vec<(String, String)>; 3]) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, contents: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, contents).expect("a file");
        path.to_string_lossy().into_owned()
    };
    let certificate = fs::read(at("client.pem")).expect("a certificate");
    let (_, key) = SecretDocument::from_pem(&fs::read_to_string(at("client.key")).expect("a key")).expect("PEM");
    let encrypted = PrivateKeyInfoRef::try_from(key.as_bytes()).expect("PKCS #8").encrypt(PASSWORD).expect("an encrypted key");
    let encrypted = encrypted.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).expect("PEM");
    let mut store = KeyStore::new();
    let chain = [Certificate::from_der(&CertificateDer::from_pem_slice(&certificate).expect("PEM")).expect("a certificate")];
    let chain = PrivateKeyChain::new([1, 2, 3].as_slice(), PrivateKey::from_der(key.as_bytes()).expect("a key"), chain);
    store.add_entry("client", KeyStoreEntry::PrivateKeyChain(chain));
    let archive = store.writer(PASSWORD).write().expect("an archive");
    let (certificate_file, key_file) = (file("client.pem", &certificate), file("client.key", encrypted.as_bytes()));
    let variables = [
        vec![pair("AGENT_CLIENTCERT", certificate_file), pair("AGENT_CLIENTCERTKEY", key_file)],
        vec![pair("AGENT_CLIENTCERT", file("both.pem", &[encrypted.as_bytes(), &certificate].concat()))],
        vec![pair("AGENT_CLIENTCERTARCHIVE", file("client.pfx", &archive))],
    ];
    (folder, variables)
}

fn assert_hidden(ending: &Ending) {
    let shown = ending.lines.iter().filter(|line| !line.starts_with("##vso[task.setsecret]")).any(|line| line.contains(PASSWORD));
    assert!(!shown, "{ending:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_key_and_an_archive_are_opened_on_every_host() {
    let harness = lab(json!([])).await;
    let server = Server::start("client-certificate").await;
    let (_folder, forms) = forms();
    for form in forms {
        for name in ["SECRET_AGENT_CLIENTCERTPASSWORD", "AGENT_CLIENTCERTPASSWORD"] {
            let variables = [signing_in_at(&server.address), form.clone(), vec![pair(name, PASSWORD)]].concat();
            for ending in everywhere(&harness, &variables).await {
                ending.assert_failed("AADSTS50012: seen DNS:client.example");
                assert_hidden(&ending);
            }
        }
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_password_does_not_open_is_named() {
    let harness = lab(json!([])).await;
    let server = Server::start("client-certificate").await;
    let (_folder, [separate, _, archive]) = forms();
    for (form, variable) in [(separate, "AGENT_CLIENTCERTKEY"), (archive, "AGENT_CLIENTCERTARCHIVE")] {
        let variables = [signing_in_at(&server.address), form, vec![pair("AGENT_CLIENTCERTPASSWORD", "wr0ng-pass-phrase")]].concat();
        for ending in everywhere(&harness, &variables).await {
            ending.assert_failed(&format!("{variable} names "));
            ending.assert_failed("AGENT_CLIENTCERTPASSWORD does not open");
            assert!(!ending.lines.iter().any(|line| line.contains("wr0ng")), "{ending:#?}");
        }
    }
    harness.finish().await;
}
