//! Hashes and RSA signatures of the native host, by the library that its TLS stands on.

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest as hash},
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256},
};

use crate::host::{Digest, KeyEncoding, Padding, PrivateKey, SignError};

/// A hash of some bytes.
pub fn digest(digest: Digest, data: &[u8]) -> Vec<u8> {
    let algorithm = match digest {
        Digest::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
        Digest::Sha256 => &SHA256,
    };
    hash(algorithm, data).as_ref().to_vec()
}

/// An RSA signature over the SHA-256 hash of a message.
pub fn sign(key: &PrivateKey, padding: Padding, message: &[u8]) -> Result<Vec<u8>, SignError> {
    let pair = match key.encoding {
        KeyEncoding::Pkcs1 => KeyPair::from_der(key.der.bytes()),
        KeyEncoding::Pkcs8 => KeyPair::from_pkcs8(key.der.bytes()),
    };
    let pair = pair.map_err(|error| SignError(format!("it is no RSA key of 2048 to 8192 bits ({error})")))?;
    let encoding: &dyn aws_lc_rs::signature::RsaEncoding = match padding {
        Padding::Pkcs1 => &RSA_PKCS1_SHA256,
        Padding::Pss => &RSA_PSS_SHA256,
    };
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), message, &mut signature).map_err(|_| SignError("signing failed".to_owned()))?;
    Ok(signature)
}
