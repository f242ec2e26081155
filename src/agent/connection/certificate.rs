//! The certificate of a service principal: PEM with the certificate, perhaps its issuers, and the private key.

use azure_core::credentials::SecretBytes;
use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::host::{KeyEncoding, PrivateKey};

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// DER of the certificate itself, and then of its issuers as far as they are given.
    pub chain: Vec<Vec<u8>>,
    /// The private key.
    pub key: PrivateKey,
}

/// Why a certificate cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// There is no certificate.
    #[error("it holds no certificate: store PEM with both a '-----BEGIN CERTIFICATE-----' and a '-----BEGIN PRIVATE KEY-----' part")]
    NoCertificate,
    /// There is no key.
    #[error("it holds no private key: append the key's PEM ('-----BEGIN PRIVATE KEY-----') to the certificate's and save the connection")]
    NoKey,
    /// The key needs a password.
    #[error("its private key is encrypted, and the connection has no place for a password: store it without (openssl pkey -in key.pem)")]
    EncryptedKey,
    /// The key is of a kind that Microsoft Entra does not take.
    #[error("its private key is no RSA key, and Microsoft Entra takes RSA alone: make a certificate with an RSA key of 2048 bits or more")]
    NotRsa,
    /// The text between the markers is damaged.
    #[error("its part '{0}' is not base64: store the PEM file as it is, from the first '-----BEGIN' to the last 'END … -----'")]
    Damaged(&'static str),
}

/// The object identifier of RSA keys (1.2.840.113549.1.1.1) in DER; a PKCS #8 key of another kind lacks it.
const RSA: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

impl ClientCertificate {
    /// Reads PEM. Line breaks may be missing or written as `\n`: connections are often filled in by hand.
    pub fn from_pem(pem: &str) -> Result<Self, CertificateError> {
        let mut chain = Vec::new();
        let mut key = None;
        for (label, body) in parts(pem) {
            match label {
                "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
                    chain.push(decode(body).ok_or(CertificateError::Damaged("CERTIFICATE"))?);
                }
                "ENCRYPTED PRIVATE KEY" => return Err(CertificateError::EncryptedKey),
                _ if body.contains("ENCRYPTED") => return Err(CertificateError::EncryptedKey),
                "RSA PRIVATE KEY" => key = Some((KeyEncoding::Pkcs1, body)),
                "PRIVATE KEY" => key = Some((KeyEncoding::Pkcs8, body)),
                "EC PRIVATE KEY" | "DSA PRIVATE KEY" => return Err(CertificateError::NotRsa),
                // Parameters and public keys say nothing that is needed.
                _ => {}
            }
        }
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate);
        }
        let (encoding, body) = key.ok_or(CertificateError::NoKey)?;
        let der = decode(body).ok_or(CertificateError::Damaged("PRIVATE KEY"))?;
        if encoding == KeyEncoding::Pkcs8 && !der.windows(RSA.len()).take(32).any(|window| window == RSA) {
            return Err(CertificateError::NotRsa);
        }
        Ok(Self { chain, key: PrivateKey { encoding, der: SecretBytes::new(der) } })
    }
}

/// The labels and bodies between the markers.
fn parts(pem: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = pem;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once("-----BEGIN ")?;
        let (label, after) = after.split_once("-----")?;
        let (body, after) = after.split_once("-----END ")?;
        rest = after;
        Some((label.trim(), body))
    })
}

fn decode(body: &str) -> Option<Vec<u8>> {
    let text: String = body.replace("\\r", "").replace("\\n", "").chars().filter(|character| !character.is_whitespace()).collect();
    BASE64_STANDARD.decode(text).ok().filter(|der| !der.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMAAB\nAgME\n-----END CERTIFICATE-----\n";
    const ISSUER: &str = "-----BEGIN CERTIFICATE-----\nMAQF\n-----END CERTIFICATE-----\n";
    const PKCS1: &str = "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n";

    fn pkcs8(algorithm: &[u8]) -> String {
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64_STANDARD.encode([&[0x30, 0x0d], algorithm].concat()))
    }

    #[test]
    fn certificate_and_key_are_found_in_any_order_with_the_issuers_after_the_certificate() {
        let read = ClientCertificate::from_pem(&format!("Bag Attributes\n{}{CERTIFICATE}text\n{ISSUER}", pkcs8(&RSA))).unwrap();
        assert_eq!(read.chain, [vec![0x30, 0, 1, 2, 3, 4], vec![0x30, 4, 5]]);
        assert_eq!(read.key.encoding, KeyEncoding::Pkcs8);
        let one_line = format!("{CERTIFICATE}{PKCS1}").replace('\n', " ");
        assert_eq!(ClientCertificate::from_pem(&one_line).unwrap().key.encoding, KeyEncoding::Pkcs1);
        let escaped = format!("{CERTIFICATE}{PKCS1}").replace('\n', "\\n");
        assert_eq!(ClientCertificate::from_pem(&escaped).unwrap().chain, [vec![0x30, 0, 1, 2, 3, 4]]);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let encrypted = CERTIFICATE.replace("CERTIFICATE", "ENCRYPTED PRIVATE KEY");
        let old_encrypted =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: X,Y\n\nMAA=\n-----END RSA PRIVATE KEY-----\n";
        let damaged = "-----BEGIN CERTIFICATE-----\n§\n-----END CERTIFICATE-----\n";
        let elliptic = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        for (pem, problem) in [
            (String::new(), CertificateError::NoCertificate),
            (PKCS1.to_owned(), CertificateError::NoCertificate),
            (CERTIFICATE.to_owned(), CertificateError::NoKey),
            (format!("{CERTIFICATE}{encrypted}"), CertificateError::EncryptedKey),
            (format!("{CERTIFICATE}{old_encrypted}"), CertificateError::EncryptedKey),
            (format!("{CERTIFICATE}{}", pkcs8(&elliptic)), CertificateError::NotRsa),
            (format!("{CERTIFICATE}{}", CERTIFICATE.replace("CERTIFICATE", "EC PRIVATE KEY")), CertificateError::NotRsa),
            (damaged.to_owned(), CertificateError::Damaged("CERTIFICATE")),
        ] {
            assert_eq!(ClientCertificate::from_pem(&pem).unwrap_err(), problem, "{pem}");
        }
    }

    #[test]
    fn the_key_is_not_shown() {
        let read = ClientCertificate::from_pem(&format!("{CERTIFICATE}{PKCS1}")).unwrap();
        assert!(!format!("{:?}", read.key).contains("48"), "{:?}", read.key);
    }
}
