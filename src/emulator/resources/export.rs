//! A resource group as a template.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

use super::{
    super::{
        error::ApiError,
        http::{Reply, parse_object},
        id::{Id, group_id},
        operation::State,
        provider::Provider,
        store::Resource,
        world::{Call, World},
    },
    operation_address,
};

const SCHEMA: &str = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#";
/// Parts of a resource that a template has too, besides its properties.
const PARTS: [&str; 8] = ["location", "tags", "sku", "kind", "identity", "zones", "plan", "extendedLocation"];
/// What services write themselves: a template cannot have it.
const READ_ONLY: &[&str] = &[
    "applicableSchedule",
    "artifactDeploymentStatus",
    "artifactsStorageAccount",
    "computeId",
    "computeVm",
    "createdByUser",
    "createdByUserId",
    "createdDate",
    "creationDate",
    "creationTime",
    "defaultHostName",
    "defaultPremiumStorageAccount",
    "defaultStorageAccount",
    "diskSizeBytes",
    "diskState",
    "documentEndpoint",
    "etag",
    "externalProviderResourceId",
    "fullyQualifiedDomainName",
    "hostNames",
    "InstrumentationKey",
    "instanceView",
    "lastKnownPowerState",
    "outboundIpAddresses",
    "ownerObjectId",
    "ownerUserPrincipalName",
    "premiumDataDiskStorageAccount",
    "primaryEndpoints",
    "primaryLocation",
    "provisioningState",
    "replicationStatus",
    "resourceGuid",
    "state",
    "statusOfPrimary",
    "timeCreated",
    "uniqueId",
    "uniqueIdentifier",
    "vaultName",
    "virtualMachineCreationSource",
    "vmCreationResourceGroupId",
    "vmId",
];

/// The same, in whatever depth.
const READ_ONLY_ANYWHERE: [&str; 3] = ["etag", "provisioningState", "resourceGuid"];

/// Where a resource notes who uses it.
const USERS: [(&str, &[&str]); 5] = [
    ("Microsoft.Network/networkInterfaces", &["virtualMachine", "macAddress"]),
    ("Microsoft.Network/networkSecurityGroups", &["networkInterfaces", "subnets"]),
    ("Microsoft.Network/publicIPAddresses", &["ipConfiguration", "ipAddress"]),
    ("Microsoft.Network/routeTables", &["subnets"]),
    ("Microsoft.Network/virtualNetworks/subnets", &["ipConfigurations"]),
];

/// Serves `exportTemplate` of a resource group: 202, and the template at the address in `Location`.
pub fn serve(world: &Arc<World>, call: &Call<'_>, subscription: &str, group: &str) -> Result<Reply, ApiError> {
    let body = parse_object(&call.request.body)?;
    let options = Options::of(&body)?;
    let resources = wanted(world, &body["resources"], &group_id(subscription, group))?;
    let operation = world.begin();
    let location = operation_address(call, Some(subscription), &operation.name);
    operation.end(State::Succeeded(Some(json!({"template": Export::new(options, &resources).template(&resources)}))));
    Ok(Reply::empty(202).with_header("Location", location).with_header("Retry-After", "1"))
}

/// How the template shall look.
#[derive(Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools, reason = "the operation's own options")]
struct Options {
    default_values: bool,
    comments: bool,
    literal_names: bool,
}

impl Options {
    fn of(body: &Value) -> Result<Self, ApiError> {
        let mut options = Self::default();
        let given = match &body["options"] {
            Value::Null => "",
            Value::String(text) => text.as_str(),
            _ => return Err(ApiError::invalid_content("'options' must be a list of names, separated by commas")),
        };
        for name in given.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name.to_ascii_lowercase().as_str() {
                "includeparameterdefaultvalue" => options.default_values = true,
                "includecomments" => options.comments = true,
                "skipresourcenameparameterization" | "skipallparameterization" => options.literal_names = true,
                _ => {
                    return Err(ApiError::invalid_content(&format!(
                        "there is no option '{name}': there are IncludeParameterDefaultValue, IncludeComments, SkipResourceNameParameterization \
                         and SkipAllParameterization"
                    )));
                }
            }
        }
        Ok(options)
    }
}

/// The resources that are asked for: all of the group's for `*`, or those that are named, with what belongs to them.
fn wanted(world: &World, given: &Value, group: &str) -> Result<Vec<Arc<Resource>>, ApiError> {
    let given: Vec<&str> = given.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    // Deployments and roles are not exported; what an artifact source offers is read from its repository, and no template makes it.
    let exported = |resource: &Resource| {
        let kind = resource.type_name.to_ascii_lowercase();
        kind != "microsoft.resources/deployments"
            && !kind.starts_with("microsoft.devtestlab/labs/artifactsources/")
            && !resource.key.contains("/providers/microsoft.authorization/")
    };
    let all = world.store.below(&format!("{group}/providers/")).into_iter().filter(|resource| exported(resource));
    match given.as_slice() {
        [] => Err(ApiError::invalid_content("'resources' must be a list of the ids of resources, or of '*' alone")),
        ["*"] => Ok(all.collect()),
        ids => {
            let keys: Vec<String> = ids.iter().map(|id| id.to_ascii_lowercase()).collect();
            let prefix = format!("{}/", group.to_ascii_lowercase());
            for (id, key) in ids.iter().zip(&keys) {
                if !key.starts_with(&prefix) || !world.store.contains(key) {
                    let message = format!("The resource '{id}' could not be found in the resource group '{group}'.");
                    return Err(ApiError::new(404, "ResourceNotFound", message));
                }
            }
            Ok(all
                .filter(|resource| keys.iter().any(|key| *resource.key == **key || resource.key.starts_with(&format!("{key}/"))))
                .collect())
        }
    }
}

/// What goes into one template.
struct Export {
    options: Options,
    /// The parameter that stands for the name of a top-level resource, by its id in lower case.
    parameters: BTreeMap<String, (String, Id)>,
}

impl Export {
    fn new(options: Options, resources: &[Arc<Resource>]) -> Self {
        let mut parameters: BTreeMap<String, (String, Id)> = BTreeMap::new();
        for resource in resources {
            let Some(top) = Id::parse(resource.id()).map(|id| id.ancestor(1)) else { continue };
            if parameters.contains_key(&top.key()) {
                continue;
            }
            let plain: String = top.name().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            let kind = top.pairs.first().map_or("", |(kind, _)| kind.as_str());
            let mut name = format!("{kind}_{plain}_name");
            while parameters.values().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                name.push('_');
            }
            parameters.insert(top.key(), (name, top));
        }
        Self { options, parameters }
    }

    fn template(&self, resources: &[Arc<Resource>]) -> Value {
        let mut parameters = Map::new();
        if !self.options.literal_names {
            for (name, id) in self.parameters.values() {
                let mut declared = json!({"type": "String"});
                if self.options.default_values {
                    declared["defaultValue"] = json!(id.name());
                }
                parameters.insert(name.clone(), declared);
            }
        }
        let resources: Vec<Value> = resources.iter().filter_map(|resource| self.resource(resource)).collect();
        json!({"$schema": SCHEMA, "contentVersion": "1.0.0.0", "parameters": parameters, "variables": {}, "resources": resources})
    }

    fn resource(&self, resource: &Resource) -> Option<Value> {
        let id = Id::parse(resource.id())?;
        let mut shown = Map::new();
        if self.options.comments {
            shown.insert("comments".to_owned(), json!(format!("Generalized from resource: '{id}'.")));
        }
        shown.insert("type".to_owned(), json!(resource.type_name));
        shown.insert("apiVersion".to_owned(), json!(latest_version(&resource.type_name)));
        shown.insert("name".to_owned(), json!(self.name(&id)));
        let mut needed = Vec::new();
        if let Some(parent) = id.parent() {
            needed.extend(self.reference(&parent.to_string()));
        }
        let mut properties = resource.body["properties"].clone();
        trim(&resource.type_name, &mut properties);
        if resource.type_name == "Microsoft.Network/virtualNetworks" {
            for subnet in properties["subnets"].as_array_mut().into_iter().flatten() {
                trim("Microsoft.Network/virtualNetworks/subnets", &mut subnet["properties"]);
            }
        }
        let mut parts: Vec<(&str, Value)> = PARTS.iter().map(|part| (*part, resource.body[*part].clone())).collect();
        parts.push(("properties", properties));
        for (part, mut value) in parts.into_iter().filter(|(_, value)| !value.is_null()) {
            self.refer(&id, &mut value, &mut needed);
            shown.insert(part.to_owned(), value);
        }
        if !needed.is_empty() {
            needed.sort();
            needed.dedup();
            shown.insert("dependsOn".to_owned(), json!(needed));
        }
        Some(Value::Object(shown))
    }

    /// The first name as an expression, and the others behind it.
    fn name(&self, id: &Id) -> String {
        let rest = id.pairs[1..].iter().fold(String::new(), |text, (_, name)| text + "/" + name);
        match self.parameters.get(&id.ancestor(1).key()) {
            Some((parameter, _)) if !self.options.literal_names && rest.is_empty() => format!("[parameters('{parameter}')]"),
            Some((parameter, _)) if !self.options.literal_names => format!("[concat(parameters('{parameter}'), '{}')]", quoted(&rest)),
            _ => id.full_name(),
        }
    }

    /// An id of something in the template, or below it, as an expression.
    fn reference(&self, text: &str) -> Option<String> {
        let id = Id::parse(text)?;
        let (parameter, top) = self.parameters.get(&id.ancestor(1).key())?;
        let first = if self.options.literal_names { format!("'{}'", quoted(top.name())) } else { format!("parameters('{parameter}')") };
        let names = id.pairs[1..].iter().fold(first, |names, (_, name)| format!("{names}, '{}'", quoted(name)));
        Some(format!("[resourceId('{}', {names})]", id.type_name()))
    }

    /// Puts expressions in place of ids, and notes what is needed first. What a resource says of itself and of what is below it is left.
    fn refer(&self, own: &Id, value: &mut Value, needed: &mut Vec<String>) {
        match value {
            Value::String(text) if text.starts_with("/subscriptions/") => {
                let Some(reference) = self.reference(text) else { return };
                let own = own.key();
                let key = text.to_ascii_lowercase();
                if key != own && !key.starts_with(&format!("{own}/")) {
                    let top = Id::parse(text).map(|id| id.ancestor(1).to_string());
                    let parent_of_own = top.as_ref().is_some_and(|top| own.starts_with(&format!("{}/", top.to_ascii_lowercase())));
                    needed.extend(top.filter(|_| !parent_of_own).and_then(|top| self.reference(&top)));
                }
                *text = reference;
            }
            // A text that begins with a bracket would be an expression.
            Value::String(text) if text.starts_with('[') && text.ends_with(']') => text.insert(0, '['),
            Value::Array(items) => items.iter_mut().for_each(|item| self.refer(own, item, needed)),
            Value::Object(map) => {
                map.retain(|name, _| !READ_ONLY_ANYWHERE.contains(&name.as_str()));
                map.values_mut().for_each(|item| self.refer(own, item, needed));
            }
            _ => {}
        }
    }
}

/// Leaves out what a template cannot have.
fn trim(type_name: &str, properties: &mut Value) {
    let users = USERS.iter().find(|(kind, _)| *kind == type_name).map_or(&[][..], |(_, users)| users);
    if let Some(properties) = properties.as_object_mut() {
        properties.retain(|name, value| !READ_ONLY.contains(&name.as_str()) && !users.contains(&name.as_str()) && !value.is_null());
    }
}

fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

/// The latest api-version that is no preview.
fn latest_version(type_name: &str) -> &'static str {
    let (namespace, kinds) = type_name.split_once('/').unwrap_or((type_name, ""));
    let versions = Provider::named(namespace).map(|provider| provider.versions_of(kinds)).unwrap_or_default();
    versions.iter().find(|version| version.len() == 10).or(versions.first()).copied().unwrap_or("2021-04-01")
}
