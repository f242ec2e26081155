//! What a running deployment can tell: resources as they stand, and the secrets that `listKeys` asks for.

use serde_json::Value;

use crate::{
    emulator::{resources::generic, world::World},
    template::Runtime,
};

/// The emulated cloud, as a template sees it.
#[derive(Debug)]
pub struct Live<'a>(pub &'a World);

impl Runtime for Live<'_> {
    fn resource(&self, id: &str, _api_version: Option<&str>) -> Result<Option<Value>, String> {
        match self.0.store.get(id) {
            Some(resource) => Ok(Some(resource.body.clone())),
            None => Err(format!("The Resource '{id}' was not found.")),
        }
    }

    fn list(&self, function: &str, id: &str, _api_version: &str, _arguments: &[Value]) -> Result<Option<Value>, String> {
        let resource = self.0.store.get(id).ok_or_else(|| format!("The Resource '{id}' was not found."))?;
        match generic::list_secrets(&resource, function) {
            Some(answer) => Ok(Some(answer)),
            None => Err(format!("The resource '{id}' has no action '{function}'.")),
        }
    }

    fn secret(&self, vault_id: &str, name: &str, _version: Option<&str>) -> Result<Option<Value>, String> {
        let secret = self.0.store.get(&format!("{vault_id}/secrets/{name}")).and_then(|secret| secret.private.get("secret").cloned());
        secret.map(Some).ok_or_else(|| format!("The secret '{name}' of the key vault '{vault_id}' could not be retrieved."))
    }

    fn linked(&self, _uri: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}
