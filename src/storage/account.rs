//! Storage accounts.

use azure_core::credentials::Secret;
use serde_json::Value;

use super::API_VERSION;
use crate::arm::{Request, ResourceId};

/// A storage account, opened by one of its keys.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// The address of its blob service, with a trailing slash. It may be a path on a host, as emulators have it.
    pub endpoint: String,
    /// A key.
    pub key: Secret,
}

/// GET of an account.
pub fn get(id: &ResourceId) -> Request {
    Request::get(id.as_str(), API_VERSION)
}

/// POST listKeys.
pub fn list_keys(id: &ResourceId) -> Request {
    Request::post(format!("{id}/listKeys"), API_VERSION, None)
}

impl Account {
    /// An account from the answers to [`get`] and [`list_keys`]; what is missing is named.
    pub fn read(account: &Value, keys: &Value) -> Result<Self, &'static str> {
        let name = account["name"].as_str().ok_or("its name")?.to_ascii_lowercase();
        let endpoint = account["properties"]["primaryEndpoints"]["blob"].as_str().filter(|url| url.starts_with("https://"));
        let endpoint = endpoint.ok_or("the address of its blob service")?;
        let endpoint = if endpoint.ends_with('/') { endpoint.to_owned() } else { format!("{endpoint}/") };
        let all = keys["keys"].as_array().into_iter().flatten();
        let full = all.filter(|key| key["permissions"].as_str().is_none_or(|what| what.eq_ignore_ascii_case("full")));
        let key = full.filter_map(|key| key["value"].as_str()).find(|key| !key.is_empty()).ok_or("a key")?;
        Ok(Self { name, endpoint, key: Secret::new(key.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_is_its_name_its_address_and_a_full_key() {
        let account = json!({"name": "Data", "properties": {"primaryEndpoints": {"blob": "https://data.blob.example"}}});
        let keys = json!({"keys": [{"value": "cmVhZA==", "permissions": "Read"}, {"value": "ZnVsbA==", "permissions": "FULL"}]});
        let read = Account::read(&account, &keys).unwrap();
        assert_eq!((read.name.as_str(), read.endpoint.as_str(), read.key.secret()), ("data", "https://data.blob.example/", "ZnVsbA=="));
        assert_eq!(Account::read(&account, &json!({})).unwrap_err(), "a key");
        assert!(Account::read(&json!({"name": "x", "properties": {"primaryEndpoints": {"blob": "http://x"}}}), &keys).is_err());
        assert!(!format!("{read:?}").contains("ZnVsbA"));
    }
}
