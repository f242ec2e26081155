//! The certificate that the agent is configured to show: PEM, with its key beside it or encrypted, or a PKCS #12 archive.

use std::path::PathBuf;

use azure_core::credentials::Secret;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};

use super::{TransportError, read};

/// How an encrypted key begins and ends.
const ENCRYPTED: (&str, &str) = ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----");
/// What the older encryption of OpenSSL says.
const OLD_ENCRYPTION: &str = "Proc-Type: 4,ENCRYPTED";

/// Where the certificate and its key are.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    files: Files,
    password: Option<Secret>,
}

#[derive(Clone, Debug)]
enum Files {
    /// A certificate with its issuers, and the key, which may be in the same file.
    Pem { certificate: PathBuf, key: Option<PathBuf> },
    /// Both, PKCS #12.
    Archive(PathBuf),
}

impl ClientCertificate {
    /// Reads `AGENT_CLIENTCERT` and `AGENT_CLIENTCERTKEY`, or `AGENT_CLIENTCERTARCHIVE`; and `AGENT_CLIENTCERTPASSWORD`.
    pub(super) fn from_variables(variable: &impl Fn(&str) -> Option<String>) -> Option<Self> {
        let [certificate, key, archive] =
            ["AGENT_CLIENTCERT", "AGENT_CLIENTCERTKEY", "AGENT_CLIENTCERTARCHIVE"].map(|name| variable(name).map(PathBuf::from));
        // The agent makes all three of what it is given; the archive counts where one of the others is missing.
        let files = match (certificate, key, archive) {
            (Some(certificate), Some(key), _) => Files::Pem { certificate, key: Some(key) },
            (_, _, Some(archive)) => Files::Archive(archive),
            (Some(certificate), None, None) => Files::Pem { certificate, key: None },
            (None, _, None) => return None,
        };
        let password = variable("SECRET_AGENT_CLIENTCERTPASSWORD").or_else(|| variable("AGENT_CLIENTCERTPASSWORD"));
        Some(Self { files, password: password.map(Secret::new) })
    }

    /// The certificate and the key, ready to be shown.
    pub(super) fn identity(&self) -> Result<reqwest::Identity, TransportError> {
        let pem = match &self.files {
            Files::Pem { certificate, key: None } => self.decrypted("AGENT_CLIENTCERT", read(certificate)?)?,
            Files::Pem { certificate, key: Some(key) } => {
                let key = self.decrypted("AGENT_CLIENTCERTKEY", read(key)?)?;
                [key, read(certificate)?].join(&b'\n')
            }
            Files::Archive(archive) => self.unpacked(&read(archive)?)?,
        };
        Ok(reqwest::Identity::from_pem(&pem)?)
    }

    /// PEM in which no key is encrypted.
    fn decrypted(&self, variable: &'static str, pem: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let wrong = |problem: &str| TransportError::Variable { variable, problem: problem.to_owned() };
        let Ok(text) = std::str::from_utf8(&pem) else { return Ok(pem) };
        if text.contains(OLD_ENCRYPTION) {
            let problem = "names a key in OpenSSL's older encryption: encrypt it anew by `openssl pkcs8 -topk8 -v2 aes-256-cbc`";
            return Err(wrong(problem));
        }
        let Some(start) = text.find(ENCRYPTED.0) else { return Ok(pem) };
        let end = text[start..].find(ENCRYPTED.1).map(|end| start + end + ENCRYPTED.1.len());
        let end = end.ok_or_else(|| wrong("names an encrypted key that breaks off"))?;
        let password = self.password.as_ref().ok_or_else(|| wrong("names an encrypted key: AGENT_CLIENTCERTPASSWORD is needed"))?;
        // What the libraries say tells nothing that helps, and might tell of the key.
        let (_, document) = SecretDocument::from_pem(&text[start..end]).map_err(|_| wrong("names an encrypted key that is no PKCS #8"))?;
        let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes());
        let encrypted = encrypted.map_err(|_| wrong("names an encrypted key that is no PKCS #8"))?;
        let key = encrypted.decrypt(password.secret());
        let key = key.map_err(|_| {
            wrong("names an encrypted key that AGENT_CLIENTCERTPASSWORD does not open, or that is encrypted in an unknown way (PBES2 is known)")
        })?;
        Ok([&pem[..start], &block("PRIVATE KEY", key.as_bytes()), &pem[end..]].concat())
    }

    /// The key and the certificates of an archive, as PEM.
    fn unpacked(&self, archive: &[u8]) -> Result<Vec<u8>, TransportError> {
        let wrong = |problem: &str| TransportError::Variable { variable: "AGENT_CLIENTCERTARCHIVE", problem: problem.to_owned() };
        let password = self.password.as_ref().map_or("", Secret::secret);
        let store = KeyStore::from_pkcs12(archive, password, Pkcs12ImportPolicy::Strict)
            .map_err(|_| wrong("names an archive that AGENT_CLIENTCERTPASSWORD does not open, or that is no PKCS #12"))?;
        let (_, chain) = store.private_key_chain().ok_or_else(|| wrong("names an archive without a certificate and its key"))?;
        let certificates = chain.certs().iter().flat_map(|certificate| block("CERTIFICATE", certificate.as_der()));
        Ok(block("PRIVATE KEY", chain.key().as_der()).into_iter().chain(certificates).collect())
    }
}

/// DER as PEM.
fn block(label: &str, der: &[u8]) -> Vec<u8> {
    let text = BASE64_STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).flat_map(|line| [line, b"\n"].concat());
    format!("-----BEGIN {label}-----\n")
        .into_bytes()
        .into_iter()
        .chain(lines)
        .chain(format!("-----END {label}-----\n").into_bytes())
        .collect()
}
