//! What a running deployment can tell: resources as they stand, and the secrets that `listKeys` asks for.

use std::{cell::RefCell, collections::HashSet};

use serde_json::Value;

use super::plan;
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

    fn linked(&self, uri: &str) -> Result<Option<Vec<u8>>, String> {
        if uri.starts_with('/') {
            let found = plan::template_spec(self.0, uri).map_err(|missing| format!("The template spec '{missing}' was not found."))?;
            return Ok(Some(found.to_string().into_bytes()));
        }
        self.0.contents.get(uri).map(Some).map_err(|error| error.message)
    }
}

/// The same, where what is linked to is yet to be downloaded.
#[derive(Debug)]
pub struct Wanting<'a> {
    live: Live<'a>,
    fetched: &'a HashSet<String>,
    wanted: RefCell<Option<String>>,
}

impl<'a> Wanting<'a> {
    /// Knows what is in `fetched` already.
    pub fn new(world: &'a World, fetched: &'a HashSet<String>) -> Self {
        Self { live: Live(world), fetched, wanted: RefCell::default() }
    }

    /// The address that was asked for and not known.
    pub fn wanted(self) -> Option<String> {
        self.wanted.into_inner()
    }
}

impl Runtime for Wanting<'_> {
    fn resource(&self, id: &str, api_version: Option<&str>) -> Result<Option<Value>, String> {
        self.live.resource(id, api_version)
    }

    fn list(&self, function: &str, id: &str, api_version: &str, arguments: &[Value]) -> Result<Option<Value>, String> {
        self.live.list(function, id, api_version, arguments)
    }

    fn secret(&self, vault_id: &str, name: &str, version: Option<&str>) -> Result<Option<Value>, String> {
        self.live.secret(vault_id, name, version)
    }

    fn linked(&self, uri: &str) -> Result<Option<Vec<u8>>, String> {
        // What a template spec holds is not downloaded.
        if uri.starts_with('/') || self.fetched.contains(uri) {
            return self.live.linked(uri);
        }
        *self.wanted.borrow_mut() = Some(uri.to_owned());
        Ok(None)
    }
}
