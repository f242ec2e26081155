//! Client assertions: federated tokens of the pipeline's issuer, and tokens signed by a registered certificate.

use aws_lc_rs::digest;
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;
use time::OffsetDateTime;

use super::{Application, EXCHANGE_AUDIENCE, Identity, endpoints::SignInError};
use crate::emulator::clock::arm_date;

/// Checks an assertion that an application presents.
pub fn check(identity: &Identity, application: &Application, assertion: &str, now: OffsetDateTime) -> Result<(), SignInError> {
    let malformed = || SignInError::new(401, "invalid_client", 50027, "JWT token is invalid or malformed.".into());
    let claims = unverified_claims(assertion).ok_or_else(malformed)?;
    if claims["iss"].as_str().is_some_and(|issuer| issuer.eq_ignore_ascii_case(&application.client_id)) {
        return check_certificate(identity, application, assertion, now);
    }
    check_federated(identity, application, assertion, &claims, now)
}

fn check_federated(
    identity: &Identity,
    application: &Application,
    assertion: &str,
    claims: &Value,
    now: OffsetDateTime,
) -> Result<(), SignInError> {
    let claim = |name: &str| claims[name].as_str().unwrap_or_default();
    let no_match = |code: u32, what: &str| {
        let message = format!(
            "No matching federated identity record found for presented assertion {what} '{}'. Check your federated identity credential \
             Subject, Audience and Issuer against the presented assertion. \
             https://docs.microsoft.com/azure/active-directory/develop/workload-identity-federation",
            if what == "audience" { audience(claims) } else { claim(if what == "issuer" { "iss" } else { "sub" }) }
        );
        SignInError::new(401, "invalid_client", code, message)
    };
    let Some(trusted) = &application.federated else {
        let name = application.display_name.as_deref().unwrap_or("application");
        let message = format!("The client '{}'({name}) has no configured federated identity credentials.", application.client_id);
        return Err(SignInError::new(401, "invalid_client", 70025, message));
    };
    let own = identity.issuer();
    let issuer = if trusted.issuer.is_empty() || trusted.issuer == "emulator" { &own } else { &trusted.issuer };
    if claim("iss") != issuer {
        return Err(no_match(700_211, "issuer"));
    }
    if !subject_matches(&trusted.subject, claim("sub")) {
        return Err(no_match(700_213, "subject"));
    }
    if audience(claims) != EXCHANGE_AUDIENCE {
        return Err(no_match(700_212, "audience"));
    }
    if identity.pipeline.claims(assertion).is_none() {
        let message = "Assertion failed signature validation. [Reason - The key was not found.]".to_owned();
        return Err(SignInError::new(401, "invalid_client", 50013, message));
    }
    check_time(claims, now)
}

/// A certificate that an application has registered, or presents.
struct Certificate {
    der: Vec<u8>,
    public_key: Vec<u8>,
}

impl Certificate {
    fn new(der: &CertificateDer<'_>) -> Option<Self> {
        let parsed = rustls::server::ParsedCertificate::try_from(der).ok()?;
        Some(Self { der: der.to_vec(), public_key: parsed.subject_public_key_info().to_vec() })
    }

    fn has_thumbprint(&self, algorithm: &'static digest::Algorithm, thumbprint: &str) -> bool {
        BASE64_URL_SAFE_NO_PAD.encode(digest::digest(algorithm, &self.der)) == thumbprint.trim_end_matches('=')
    }
}

/// An assertion that the application signed itself names its key by a thumbprint (`x5t#S256`, `x5t`) or brings the certificate (`x5c`).
fn check_certificate(identity: &Identity, application: &Application, assertion: &str, now: OffsetDateTime) -> Result<(), SignInError> {
    let header = jsonwebtoken::decode_header(assertion).ok();
    let header =
        header.filter(|header| header.x5t_s256.is_some() || header.x5t.is_some() || header.x5c.as_ref().is_some_and(|all| !all.is_empty()));
    let header = header.ok_or_else(|| {
        let message = "Invalid JWT token. No certificate thumbprint specified in token header.".to_owned();
        SignInError::new(401, "invalid_client", 50027, message)
    })?;
    let registered = application.certificate_pem.iter().flat_map(|pem| certificates(pem));
    let brought = header.x5c.as_ref().and_then(|chain| BASE64_STANDARD.decode(chain.first()?).ok());
    let named = registered.into_iter().find(|certificate| match (&header.x5t_s256, &header.x5t) {
        (Some(thumbprint), _) => certificate.has_thumbprint(&digest::SHA256, thumbprint),
        (None, Some(thumbprint)) => certificate.has_thumbprint(&digest::SHA1_FOR_LEGACY_USE_ONLY, thumbprint),
        (None, None) => brought.as_ref() == Some(&certificate.der),
    });
    let certificate = named.ok_or_else(|| not_registered(application, "The key was not found."))?;
    let claims = verified_claims(assertion, &certificate.public_key)
        .ok_or_else(|| not_registered(application, "The provided signature value did not match the expected signature value."))?;
    check_time(&claims, now)?;
    if identity.is_own_address(audience(&claims)) {
        return Ok(());
    }
    let message =
        format!("Client assertion audience claim does not match Realm issuer. The audience presented is '{}'.", audience(&claims));
    Err(SignInError::new(401, "invalid_client", 700_023, message))
}

fn certificates(pem: &str) -> Vec<Certificate> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).filter_map(|der| Certificate::new(&der)).collect()
}

/// The claims, when the key (a DER public key) signed them.
fn verified_claims(assertion: &str, public_key: &[u8]) -> Option<Value> {
    let algorithm = jsonwebtoken::decode_header(assertion).ok()?.alg;
    if !matches!(algorithm, Algorithm::RS256 | Algorithm::PS256) {
        return None;
    }
    let key = DecodingKey::from_rsa_pem(public_key_pem(public_key).as_bytes()).ok()?;
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    jsonwebtoken::decode::<Value>(assertion, &key, &validation).ok().map(|data| data.claims)
}

fn public_key_pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|start| &text[start..(start + 64).min(text.len())]).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn check_time(claims: &Value, now: OffsetDateTime) -> Result<(), SignInError> {
    let seconds = now.unix_timestamp();
    let expires = numeric_date(&claims["exp"]);
    let begins = numeric_date(&claims["nbf"]);
    // Entra allows for clocks that differ by five minutes at the beginning; the end is the end.
    if seconds >= expires || seconds.saturating_add(300) < begins {
        let date = |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).map(arm_date).unwrap_or_default();
        let message = format!(
            "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, expiry time of assertion {}.",
            arm_date(now),
            date(begins),
            date(expires)
        );
        return Err(SignInError::new(401, "invalid_client", 700_024, message));
    }
    Ok(())
}

/// Seconds since 1970. Clients may give parts of a second too, as MSAL for Python does.
#[allow(clippy::cast_possible_truncation, reason = "the parts of a second go; a date beyond all bounds stays beyond them")]
fn numeric_date(claim: &Value) -> i64 {
    claim.as_f64().unwrap_or_default() as i64
}

fn not_registered(application: &Application, reason: &str) -> SignInError {
    let message = format!(
        "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - {reason}, Please visit \
         the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '{}'.]",
        application.client_id
    );
    SignInError::new(401, "invalid_client", 700_027, message)
}

fn unverified_claims(assertion: &str) -> Option<Value> {
    jsonwebtoken::dangerous::insecure_decode::<Value>(assertion).ok().map(|data| data.claims)
}

/// The audience, which may be a text or a list of one.
fn audience(claims: &Value) -> &str {
    claims["aud"].as_str().or_else(|| claims["aud"][0].as_str()).unwrap_or_default()
}

fn subject_matches(trusted: &str, presented: &str) -> bool {
    trusted.strip_suffix('*').map_or(trusted == presented, |start| presented.starts_with(start))
}
