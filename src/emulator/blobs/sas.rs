//! Signatures, as Azure Storage defines them: of addresses that give access to a blob, and of the emulator's own requests.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/create-service-sas>,
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use azure_core::{credentials::Secret, hmac::hmac_sha256};
use time::{Duration, OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::emulator::http::pairs;

const SECONDS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
/// The version of the service, and of the format of signatures.
pub const VERSION: &str = "2021-08-06";

/// What a signature allows.
#[derive(Clone, Copy, Debug)]
pub enum Grant<'a> {
    /// These permissions for so long.
    Permissions {
        /// Letters such as `rw`.
        permissions: &'a str,
        /// How long.
        lifetime: Duration,
    },
    /// What a policy of the container says, which can be taken back.
    Policy(&'a str),
}

/// The query that gives access to one blob; the path is `account/container/blob`.
pub fn blob(path: &str, grant: &Grant<'_>, key: &str) -> String {
    let (permissions, expires, policy) = match grant {
        Grant::Permissions { permissions, lifetime } => (*permissions, expiry(*lifetime), ""),
        Grant::Policy(name) => ("", String::new(), *name),
    };
    let signed = format!("{permissions}\n\n{expires}\n/blob/{path}\n{policy}\n\n\n{VERSION}\nb\n\n\n\n\n\n\n");
    let signature = sign(&signed, key);
    let parts = [("sv", VERSION), ("sr", "b"), ("sp", permissions), ("se", &expires), ("si", policy), ("sig", &signature)];
    let encoded = |value: &str| percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
    let given = parts.iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

/// The value of `Authorization` for a request with these headers. The path is the URL's, which begins with the account.
pub fn shared_key(account: &str, key: &str, method: &str, path: &str, query: &str, headers: &[(&str, String)], length: usize) -> String {
    let mut own: Vec<String> = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    own.sort();
    let mut parameters: Vec<String> = pairs(query).map(|(name, value)| format!("\n{name}:{value}")).collect();
    parameters.sort();
    let length = if length == 0 { String::new() } else { length.to_string() };
    let signed = format!("{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{}/{account}{path}{}", own.concat(), parameters.concat());
    format!("SharedKey {account}:{}", sign(&signed, key))
}

/// The moment after a time, as signatures write it. Azurite's clock is the real one, whatever the emulator's says.
pub fn expiry(lifetime: Duration) -> String {
    (OffsetDateTime::now_utc() + lifetime).format(SECONDS).unwrap_or_default()
}

/// The emulator makes the keys itself, in Base64: a key that is none signs nothing.
fn sign(text: &str, key: &str) -> String {
    hmac_sha256(text, &Secret::new(key.to_owned())).unwrap_or_default()
}
