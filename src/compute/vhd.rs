//! VHDs in storage accounts: their addresses, and which account each lies in.

use super::Invalid;
use crate::arm::ResourceId;

/// Checks the address of a VHD: https, a blob in a container, no access signature, which Azure would not take.
pub fn check_uri(text: &str) -> Result<(), Invalid> {
    let rest = text.strip_prefix("https://").ok_or_else(|| {
        Invalid::new(text, "give the https address of a VHD's blob, such as https://account.blob.core.windows.net/vhds/os.vhd")
    })?;
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    if query.is_some() {
        return Err(Invalid::new(
            format!("https://{path}?…"),
            "give the blob's address without an access signature; the storage account's id stands for access",
        ));
    }
    let path: Vec<&str> = path.split('/').collect();
    if path.len() < 3 || path.iter().any(|part| part.is_empty()) {
        return Err(Invalid::new(text, "the address names no blob in a container"));
    }
    Ok(())
}

/// Reads the ids of storage accounts, separated by commas, blanks or lines.
pub fn parse_accounts(text: &str) -> Result<Vec<ResourceId>, Invalid> {
    let mut accounts: Vec<ResourceId> = Vec::new();
    for item in text.split(|character: char| character == ',' || character.is_whitespace()).filter(|item| !item.is_empty()) {
        let id: ResourceId = item.parse().map_err(|error: crate::arm::IdError| Invalid::new(item, error.problem))?;
        if !id.is_type("Microsoft.Storage/storageAccounts") {
            return Err(Invalid::new(item, format!("this is the id of a '{}', not of a storage account", id.resource_type())));
        }
        if accounts.contains(&id) {
            return Err(Invalid::new(item, "this storage account is listed twice"));
        }
        accounts.push(id);
    }
    Ok(accounts)
}

/// The account that a VHD lies in: its name is the first label of the address's host.
pub fn account_of<'a>(uri: &str, accounts: &'a [ResourceId]) -> Option<&'a ResourceId> {
    let host = uri.trim_start_matches("https://").split('/').next().unwrap_or_default();
    let name = host.split('.').next().unwrap_or_default();
    accounts.iter().find(|account| account.name().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vhd_is_found_in_its_own_account() {
        let id = |name: &str| {
            format!(
                "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/{name}"
            )
        };
        let accounts = parse_accounts(&format!("{}\n{}", id("one"), id("two"))).unwrap();
        let name = |uri: &str| account_of(uri, &accounts).map(|account| account.name().to_owned());
        assert_eq!(name("https://TWO.blob.core.windows.net/v/d.vhd").as_deref(), Some("two"));
        assert_eq!(name("https://three.blob.core.windows.net/v/d.vhd"), None);
        assert!(parse_accounts(&format!("{0}, {0}", id("one"))).unwrap_err().problem.contains("twice"));
        assert!(parse_accounts(&id("one").replace("Microsoft.Storage/storageAccounts", "Microsoft.Compute/disks")).is_err());
    }

    #[test]
    fn signed_addresses_are_refused_without_their_signature() {
        let signed = check_uri("https://a/v/d.vhd?sig=secret").unwrap_err();
        assert!(!signed.to_string().contains("secret"), "{signed}");
    }
}
