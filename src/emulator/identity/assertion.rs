//! Client assertions: federated tokens of the pipeline's issuer, and tokens signed by a registered certificate.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;

use super::{Application, EXCHANGE_AUDIENCE, Identity, endpoints::SignInError};

/// Checks an assertion that an application presents. `now` is in seconds since 1970.
pub fn check(identity: &Identity, application: &Application, assertion: &str, now: i64) -> Result<(), SignInError> {
    let claims = unverified_claims(assertion)
        .ok_or_else(|| SignInError::new(401, "invalid_client", 50027, "JWT token is invalid or malformed.".into()))?;
    if claims["iss"].as_str().is_some_and(|issuer| issuer.eq_ignore_ascii_case(&application.client_id)) {
        return check_certificate(application, assertion, now);
    }
    check_federated(identity, application, assertion, &claims, now)
}

fn check_federated(identity: &Identity, application: &Application, assertion: &str, claims: &Value, now: i64) -> Result<(), SignInError> {
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
        let message = "No configured federated identity credentials".to_owned();
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
        return Err(signature_error());
    }
    check_time(claims, now)
}

fn check_certificate(application: &Application, assertion: &str, now: i64) -> Result<(), SignInError> {
    let mut certificates = application.certificate_pem.iter().flat_map(|pem| certificates(pem));
    let claims = certificates.find_map(|key| verified_claims(assertion, &key)).ok_or_else(signature_error)?;
    check_time(&claims, now)
}

fn certificates(pem: &str) -> Vec<Vec<u8>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .filter_map(Result::ok)
        .filter_map(|der| Some(rustls::server::ParsedCertificate::try_from(&der).ok()?.subject_public_key_info().to_vec()))
        .collect()
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
    use base64::{Engine, prelude::BASE64_STANDARD};
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|start| &text[start..(start + 64).min(text.len())]).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn check_time(claims: &Value, now: i64) -> Result<(), SignInError> {
    let expires = claims["exp"].as_i64().unwrap_or(0);
    let begins = claims["nbf"].as_i64().unwrap_or(0);
    // Entra allows for clocks that differ by five minutes at the beginning; the end is the end.
    if now >= expires || now + 300 < begins {
        let message = format!(
            "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {begins}, expiry time of assertion {expires}."
        );
        return Err(SignInError::new(401, "invalid_client", 700_024, message));
    }
    Ok(())
}

fn signature_error() -> SignInError {
    let message = "Client assertion failed signature validation. The key used to sign the assertion is not registered.".to_owned();
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
