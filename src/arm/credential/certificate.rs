//! The assertion of an application that signs in with a certificate: a JSON Web Token that the host signs.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use async_trait::async_trait;
use azure_core::{Error, error::ErrorKind, http::ClientMethodOptions};
use azure_identity::ClientAssertion;
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::json;

use crate::host::{Digest, Host, Padding, PrivateKey};

/// How long an assertion is valid; it is used at once.
const LIFETIME: i64 = 10 * 60;

/// Signs assertions.
#[derive(Clone)]
pub(super) struct CertificateAssertion {
    host: Arc<dyn Host>,
    key: PrivateKey,
    padding: Padding,
    header: String,
    thumbprint: String,
    client_id: String,
    audience: String,
}

impl CertificateAssertion {
    /// An assertion for the service whose address for tokens is `audience`. The key is tried, so that one that cannot sign is known before
    /// anything is sent.
    ///
    /// Microsoft Entra takes `PS256` with the SHA-256 thumbprint; federation services know `RS256` and the SHA-1 thumbprint alone. The chain
    /// lets an application trust a certificate by its subject and issuer.
    pub(super) fn new(
        host: &Arc<dyn Host>,
        chain: &[Vec<u8>],
        key: PrivateKey,
        client_id: &str,
        audience: String,
        for_adfs: bool,
    ) -> azure_core::Result<Self> {
        let (padding, algorithm) = if for_adfs { (Padding::Pkcs1, "RS256") } else { (Padding::Pss, "PS256") };
        let own = chain.first().ok_or_else(|| Error::with_message(ErrorKind::Credential, "there is no certificate"))?;
        let sha1 = host.digest(Digest::Sha1, own);
        let header = json!({
            "alg": algorithm,
            "typ": "JWT",
            "x5t": BASE64_URL_SAFE_NO_PAD.encode(&sha1),
            "x5t#S256": BASE64_URL_SAFE_NO_PAD.encode(host.digest(Digest::Sha256, own)),
            "x5c": chain.iter().map(|certificate| BASE64_STANDARD.encode(certificate)).collect::<Vec<_>>(),
        });
        let assertion = Self {
            host: Arc::clone(host),
            key,
            padding,
            header: BASE64_URL_SAFE_NO_PAD.encode(header.to_string()),
            thumbprint: hexadecimal(&sha1),
            client_id: client_id.to_owned(),
            audience,
        };
        assertion.sign()?;
        Ok(assertion)
    }

    /// The SHA-1 thumbprint in hexadecimal digits, as the portal shows it.
    pub(super) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    fn sign(&self) -> azure_core::Result<String> {
        let now = self.host.now().unix_timestamp();
        let claims = json!({
            "aud": self.audience,
            "iss": self.client_id,
            "sub": self.client_id,
            "jti": uuid::Uuid::new_v4().to_string(),
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME,
        });
        let signed = format!("{}.{}", self.header, BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.host.sign(&self.key, self.padding, signed.as_bytes()).map_err(|error| {
            Error::with_message(
                ErrorKind::Credential,
                format!("the private key of the service connection's certificate cannot sign: {error}"),
            )
        })?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

#[async_trait]
impl ClientAssertion for CertificateAssertion {
    async fn secret(&self, _options: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        self.sign()
    }
}

impl fmt::Debug for CertificateAssertion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CertificateAssertion").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}
