//! A certificate authority made at start, and the server's certificate that it signs.

use std::{net::IpAddr, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::Error;

/// What a listener needs, and what its clients must trust.
#[derive(Debug)]
pub struct Tls {
    /// The configuration of the listener.
    pub server: Arc<ServerConfig>,
    /// The authority.
    pub authority: Authority,
}

/// A certificate authority, as it is kept for the next process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Authority {
    /// Its certificate (PEM).
    pub certificate: String,
    /// Its private key (PEM).
    key: String,
    #[serde(with = "time::serde::rfc3339")]
    made_at: OffsetDateTime,
}

/// For how long a kept authority is taken: its certificate is good for 365 days.
const TAKEN: Duration = Duration::days(300);

/// Makes an authority, or takes the one of an earlier process, and a certificate for 127.0.0.1, `::1`, localhost, the address listened on
/// and further names.
pub fn make(address: IpAddr, names: &[String], kept: Option<&Authority>) -> Result<Tls, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Certificate(error.to_string());
    let now = OffsetDateTime::now_utc();
    let kept = kept.filter(|kept| now - kept.made_at < TAKEN);
    let authority_key = kept.map_or_else(KeyPair::generate, |kept| KeyPair::from_pem(&kept.key)).map_err(|error| failed(&error))?;
    let mut authority = base_parameters("dtl emulator certificate authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let signed = authority.self_signed(&authority_key).map_err(|error| failed(&error))?;
    // Name and key are the same, so that whoever trusts the kept certificate trusts what is signed here.
    let kept = kept.cloned();
    let kept = kept.unwrap_or_else(|| Authority { certificate: signed.pem(), key: authority_key.serialize_pem(), made_at: now });

    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let issuer = Issuer::new(authority, authority_key);
    let leaf = leaf_parameters(address, names)?.signed_by(&key, &issuer).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // The provider is named, not the process's default, so that several emulators and clients live in one process.
    let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .map_err(|error| failed(&error))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls { server: Arc::new(server), authority: kept })
}

fn base_parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    // Python refuses certificates that live too long; clocks differ a little.
    parameters.not_before = OffsetDateTime::now_utc() - Duration::days(1);
    parameters.not_after = OffsetDateTime::now_utc() + Duration::days(365);
    parameters
}

fn leaf_parameters(address: IpAddr, names: &[String]) -> Result<CertificateParams, Error> {
    let mut parameters = base_parameters("dtl emulator");
    let mut addresses = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    if !address.is_unspecified() && !addresses.contains(&address) {
        addresses.push(address);
    }
    parameters.subject_alt_names = addresses.into_iter().map(SanType::IpAddress).collect();
    for name in std::iter::once("localhost").chain(names.iter().map(String::as_str)) {
        let name = name.try_into().map_err(|error: rcgen::Error| Error::Certificate(error.to_string()))?;
        parameters.subject_alt_names.push(SanType::DnsName(name));
    }
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    Ok(parameters)
}
