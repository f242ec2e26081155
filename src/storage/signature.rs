//! Shared access signatures.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/create-account-sas>,
//! <https://learn.microsoft.com/rest/api/storageservices/create-service-sas>

use azure_core::hmac::hmac_sha256;
use time::{OffsetDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description};

use super::{SERVICE_VERSION, account::Account};

const SECONDS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// The query that lets the factory work in an account until then: read, write, delete, list, add and create, over https only.
pub fn of_account(account: &Account, until: OffsetDateTime) -> String {
    const PERMISSIONS: &str = "rwdlac";
    let until = moment(until);
    let signed = format!("{}\n{PERMISSIONS}\nb\nsco\n\n{until}\n\nhttps\n{SERVICE_VERSION}\n\n", account.name);
    let parts = [("sv", SERVICE_VERSION), ("ss", "b"), ("srt", "sco"), ("sp", PERMISSIONS), ("se", &until), ("spr", "https")];
    query(account, &parts, &signed)
}

/// The query that lets whoever has it read one blob until then, over https only. The path is `container/blob`.
pub fn to_read(account: &Account, path: &str, until: OffsetDateTime) -> String {
    let until = moment(until);
    let signed = format!("r\n\n{until}\n/blob/{}/{path}\n\n\nhttps\n{SERVICE_VERSION}\nb\n\n\n\n\n\n\n", account.name);
    query(account, &[("sv", SERVICE_VERSION), ("sr", "b"), ("sp", "r"), ("se", &until), ("spr", "https")], &signed)
}

fn moment(moment: OffsetDateTime) -> String {
    moment.to_offset(UtcOffset::UTC).format(SECONDS).unwrap_or_default()
}

/// A key that is not Base64 signs nothing: the service then says that the signature is wrong.
fn query(account: &Account, parts: &[(&str, &str)], signed: &str) -> String {
    let signature = hmac_sha256(signed, &account.key).unwrap_or_default();
    let encoded = |value: &str| percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
    let parts = parts.iter().copied().chain([("sig", signature.as_str())]);
    parts.map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use azure_core::credentials::Secret;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_signature_says_what_is_allowed_and_depends_on_the_key() {
        let account =
            |key: &str| Account { name: "data".into(), endpoint: "https://data.blob.example/".into(), key: Secret::new(key.to_owned()) };
        let until = datetime!(2026-11-21 14:00 +02:00);
        let query = to_read(&account("a2V5"), "vhds/a.vhd", until);
        assert!(query.starts_with("sv=2021%2D08%2D06&sr=b&sp=r&se=2026%2D11%2D21T12%3A00%3A00Z&spr=https&sig="), "{query}");
        assert_ne!(query, to_read(&account("b3RoZXI="), "vhds/a.vhd", until));
        assert_ne!(query, to_read(&account("a2V5"), "vhds/b.vhd", until));
    }
}
