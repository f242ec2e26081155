//! The ARM template language: read, declare, expand, evaluate, check.
//!
//! Nothing here sends a request or knows a resource provider: what only a running deployment can tell is asked of a [`Runtime`].
//!
//! A deployment goes so (the emulator does it, and `dtl template evaluate` with [`evaluate()`] in one call):
//!
//! ```ignore
//! let template = Arc::new(Template::parse(Document::parse(bytes)?)?);     // or Document::from_value(json)
//! // Parameters are in the request's shape: {"name": {"value": …}} or {"name": {"reference": …}}.
//! let deployment = template::expand(&template, &parameters, &context, &runtime)?;
//! for index in deployment.order() {                                      // or in parallel, by Resource::depends_on
//!     let resource = &deployment.resources()[index];
//!     if !resource.condition || resource.existing {
//!         continue;                                                      // nothing to do; what depends on it may go on
//!     }
//!     if resource.is_deployment() {
//!         let nested = deployment.nested(index, &runtime)?;               // once its dependencies are done
//!         run(&nested.deployment);                                       // the same again; then keep its outputs:
//!         let outputs = nested.deployment.outputs(&runtime)?;            // Runtime::resource must answer them
//!     } else {
//!         put(&resource.id, &resource.api_version, deployment.body(index, &runtime)?);
//!     }
//! }
//! let outputs = deployment.outputs(&runtime)?;                           // {"name": {"type", "value"}}
//! ```

mod check;
mod declare;
mod deployment;
pub mod document;
mod evaluate;
mod expression;
mod fault;
mod functions;
mod link;
mod offline;
mod path;

use serde_json::{Map, Value};
use time::OffsetDateTime;

pub use check::{
    Capture, Checked, Options as CheckOptions, check,
    lab::{Image, LabVirtualMachine, OsType, lab_virtual_machines, vm_name_problem},
};
pub use declare::{Parameter, ParameterType, Template, parameter_values};
pub use deployment::{Deployment, Foresight, Nested, Resource, expand};
pub use document::{Document, ParseError, Position};
pub use functions::{names as function_names, nearest_name, template_hash};
pub use link::{embed, inline};
pub use offline::{Evaluation, Offline, Unresolved, evaluate};

/// A template or parameter file's error or warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Azure's error code, such as `InvalidTemplate`.
    pub code: &'static str,
    /// The JSON path, such as `resources[0].properties.size`; empty for the whole file.
    pub path: String,
    /// The file, when that is one that the template links to.
    pub file: Option<String>,
    /// Where it stands in the file.
    pub position: Option<Position>,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(out, "{file}: ")?;
        }
        if let Some(position) = self.position {
            write!(out, "line {}, column {}: ", position.line, position.column)?;
        }
        if !self.path.is_empty() {
            write!(out, "{}: ", self.path)?;
        }
        out.write_str(&self.message)
    }
}

/// Where a deployment takes place: what `subscription()`, `resourceGroup()`, `deployment()`, `environment()`, `utcNow()` answer.
#[derive(Clone, Debug)]
pub struct Context {
    /// The tenant's GUID.
    pub tenant_id: String,
    /// The subscription's GUID; empty for a deployment above subscriptions.
    pub subscription_id: String,
    /// The subscription's display name.
    pub subscription_name: String,
    /// What it goes to.
    pub level: Level,
    /// The deployment's name.
    pub deployment_name: String,
    /// The deployment's location, at any level but a resource group's.
    pub location: Option<String>,
    /// Whether it removes what the template does not hold.
    pub mode: Mode,
    /// Where the template was downloaded from, for a linked one.
    pub template_link: Option<String>,
    /// What `environment()` answers.
    pub environment: Value,
    /// What `utcNow()` answers.
    pub now: OffsetDateTime,
}

/// What a deployment goes to.
#[derive(Clone, Debug)]
pub enum Level {
    /// A resource group of the context's subscription.
    ResourceGroup(ResourceGroup),
    /// The context's subscription.
    Subscription,
    /// The management group of this name.
    ManagementGroup(String),
    /// The tenant.
    Tenant,
}

impl Level {
    /// The level that a template's `$schema` is for. Templates for resource groups, and those that do not say, go to `group`.
    pub fn of_schema(template: &Value, group: ResourceGroup) -> Self {
        let schema = template.get("$schema").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
        let name = schema.rsplit('/').next().unwrap_or_default();
        match name.strip_suffix("deploymenttemplate.json#").or_else(|| name.strip_suffix("deploymenttemplate.json")) {
            Some("subscription") => Self::Subscription,
            Some("managementgroup") => Self::ManagementGroup("management-group".to_owned()),
            Some("tenant") => Self::Tenant,
            _ => Self::ResourceGroup(group),
        }
    }
}

/// What a deployment does with what the template does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    #[default]
    Incremental,
    /// It removes it.
    Complete,
}

impl Mode {
    /// The mode of a name, whatever its casing.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Incremental, Self::Complete].into_iter().find(|mode| mode.name().eq_ignore_ascii_case(name))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incremental => "Incremental",
            Self::Complete => "Complete",
        }
    }
}

/// A resource group, as `resourceGroup()` answers.
#[derive(Clone, Debug)]
pub struct ResourceGroup {
    /// Its name.
    pub name: String,
    /// Its region.
    pub location: String,
    /// Its tags.
    pub tags: Map<String, Value>,
}

/// What only a running deployment can tell; by default nothing.
pub trait Runtime {
    /// `reference(id, apiVersion, 'Full')`: the whole resource as a GET shows it, or `None` while it cannot be told.
    /// A resource group is asked for by its id too, for the location of a nested deployment's.
    fn resource(&self, id: &str, api_version: Option<&str>) -> Result<Option<Value>, String> {
        let _ = (id, api_version);
        Ok(None)
    }
    /// `list*(id, apiVersion, …)`, or `None` while it cannot be told. Also `providers`, `pickZones`, `toLogicalZone` and its kind come here.
    fn list(&self, function: &str, id: &str, api_version: &str, arguments: &[Value]) -> Result<Option<Value>, String> {
        let _ = (function, id, api_version, arguments);
        Ok(None)
    }
    /// The document behind a `templateLink` or `parametersLink`, or `None` when it cannot be fetched.
    fn linked(&self, uri: &str) -> Result<Option<Vec<u8>>, String> {
        let _ = uri;
        Ok(None)
    }
    /// The secret of a Key Vault that a parameter refers to, or `None` when it cannot be told.
    fn secret(&self, vault_id: &str, name: &str, version: Option<&str>) -> Result<Option<Value>, String> {
        let _ = (vault_id, name, version);
        Ok(None)
    }
    /// What `deployer()` answers, or `None` when it cannot be told.
    fn deployer(&self) -> Option<Value> {
        None
    }
}

/// What `environment()` answers in Azure's public cloud.
pub fn public_cloud() -> Value {
    serde_json::from_str(PUBLIC_CLOUD).unwrap_or_default()
}

const PUBLIC_CLOUD: &str = r#"{
    "name": "AzureCloud",
    "gallery": "https://gallery.azure.com/",
    "graph": "https://graph.windows.net/",
    "portal": "https://portal.azure.com",
    "graphAudience": "https://graph.windows.net/",
    "activeDirectoryDataLake": "https://datalake.azure.net/",
    "batch": "https://batch.core.windows.net/",
    "media": "https://rest.media.azure.net",
    "sqlManagement": "https://management.core.windows.net:8443/",
    "vmImageAliasDoc": "https://raw.githubusercontent.com/Azure/azure-rest-api-specs/master/arm-compute/quickstart-templates/aliases.json",
    "resourceManager": "https://management.azure.com/",
    "authentication": {
        "loginEndpoint": "https://login.microsoftonline.com/",
        "audiences": [
            "https://management.core.windows.net/",
            "https://management.azure.com/"
        ],
        "tenant": "common",
        "identityProvider": "AAD"
    },
    "suffixes": {
        "acrLoginServer": ".azurecr.io",
        "azureDatalakeAnalyticsCatalogAndJob": "azuredatalakeanalytics.net",
        "azureDatalakeStoreFileSystem": "azuredatalakestore.net",
        "azureFrontDoorEndpointSuffix": "azurefd.net",
        "keyvaultDns": ".vault.azure.net",
        "sqlServerHostname": ".database.windows.net",
        "storage": "core.windows.net"
    }
}"#;
