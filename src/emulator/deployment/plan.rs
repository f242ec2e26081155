//! A template made ready for its deployment: parsed, its parameters settled, its resources known and checked.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Map, Value, json};

use super::{
    live::{Live, Wanting},
    parameter_bag,
};
use crate::{
    emulator::{
        error::ApiError,
        id::{Id, scope_part},
        identity::TENANT,
        provider,
        world::World,
    },
    template::{self, Context, Document, Finding, Level, Mode, Nested, Resource, ResourceGroup, Template},
};

/// A deployment that may begin.
#[derive(Debug)]
pub struct Plan {
    deployment: template::Deployment,
    template: Value,
    parameters: Value,
    ids: Vec<Id>,
    depth: usize,
}

impl Plan {
    /// Reads a deployment's body, or says what is wrong with it as Azure does.
    pub fn make(world: &World, id: &Id, body: &Value) -> Result<Self, ApiError> {
        let properties = &body["properties"];
        check_mode(properties)?;
        let template = template_of(world, properties)?;
        let context = context(world, id, body)?;
        let parameters = parameters_of(world, properties)?;
        let document = Document::parse(template.to_string().as_bytes()).map_err(|error| invalid_template(&error.to_string()))?;
        let parsed = Arc::new(Template::parse(document).map_err(|findings| invalid(&findings))?);
        let deployment = template::expand(&parsed, &parameters, &context, &Live(world)).map_err(|findings| invalid(&findings))?;
        let shown = shown_parameters(&parsed, &parameters);
        Self::finish(deployment, template, shown)
    }

    /// A nested deployment whose turn has come.
    pub fn nested(nested: Nested) -> Result<Self, ApiError> {
        let shown = parameter_bag(nested.parameters.iter().map(|(name, given)| {
            let kind = nested.template["parameters"][name]["type"].as_str().unwrap_or("string").to_ascii_lowercase();
            let value = (!kind.starts_with("secure")).then(|| given.get("value").unwrap_or(given).clone());
            (name.clone(), title(&kind), value)
        }));
        Self::finish(nested.deployment, nested.template, shown)
    }

    fn finish(deployment: template::Deployment, template: Value, parameters: Value) -> Result<Self, ApiError> {
        let ids = deployment.resources().iter().map(id_of).collect::<Result<Vec<_>, _>>()?;
        for resource in deployment.resources().iter().filter(|resource| resource.condition && !resource.existing) {
            provider::check_template_type(
                &resource.resource_type,
                &resource.api_version,
                resource.location.as_deref().unwrap_or_default(),
            )?;
        }
        let depth = depth(&deployment);
        Ok(Self { deployment, template, parameters, ids, depth })
    }

    /// The resources, those that are left out among them.
    pub fn deployment(&self) -> &template::Deployment {
        &self.deployment
    }

    /// The template as it was given.
    pub fn template(&self) -> &Value {
        &self.template
    }

    /// The parameters as a deployment shows them: types in title case, no secrets.
    pub fn parameters(&self) -> &Value {
        &self.parameters
    }

    /// How many resources there are, also those that are left out.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// What must be done before a resource.
    pub fn depends_on(&self, index: usize) -> &[usize] {
        &self.deployment.resources()[index].depends_on
    }

    /// Whether a resource is to be made: its condition holds, and it is not only referred to.
    pub fn is_made(&self, index: usize) -> bool {
        let resource = &self.deployment.resources()[index];
        resource.condition && !resource.existing
    }

    /// A resource's id.
    pub fn id(&self, index: usize) -> &Id {
        &self.ids[index]
    }

    /// The ids of all that is made.
    pub fn ids(&self) -> Vec<String> {
        let made = self.deployment.resources().iter().enumerate().filter(|(index, _)| self.is_made(*index));
        made.map(|(_, resource)| resource.id.clone()).collect()
    }

    /// How many resources of unknown providers follow each other at most.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// A resource's body, once all that it depends on is there.
    pub fn body(&self, world: &World, index: usize) -> Result<Value, ApiError> {
        self.deployment.body(index, &Live(world)).map_err(|finding| evaluation_failed(&finding))
    }

    /// A nested deployment, once all that it depends on is there; `None` when the resource is something else.
    pub fn nested_at(&self, world: &World, index: usize) -> Result<Option<(Self, Mode)>, ApiError> {
        if !self.deployment.resources()[index].is_deployment() {
            return Ok(None);
        }
        let nested = self.deployment.nested(index, &Live(world)).map_err(|findings| invalid(&findings))?;
        let mode = nested.context.mode;
        if !matches!(nested.context.level, Level::ResourceGroup(_)) && self.deployment.resources()[index].location.is_none() {
            return Err(location_required());
        }
        Ok(Some((Self::nested(nested)?, mode)))
    }

    /// The address of a file that a nested deployment links to and that is not among those `fetched`.
    pub fn wants(&self, world: &World, index: usize, fetched: &HashSet<String>) -> Option<String> {
        if !self.deployment.resources()[index].is_deployment() {
            return None;
        }
        let runtime = Wanting::new(world, fetched);
        // What else is wrong with it is told when it is made.
        let _ = self.deployment.nested(index, &runtime);
        runtime.wanted()
    }

    /// The outputs: types in title case, secrets without a value.
    pub fn outputs(&self, world: &World) -> Result<Value, ApiError> {
        let outputs = self.deployment.outputs(&Live(world)).map_err(|findings| {
            let message = format!("Unable to evaluate template outputs: '{}'.", messages(&findings));
            ApiError::bad_request("DeploymentOutputEvaluationFailed", message)
        })?;
        Ok(parameter_bag(outputs.into_iter().map(|(name, output)| {
            let kind = output["type"].as_str().unwrap_or("string").to_ascii_lowercase();
            let value = (!kind.starts_with("secure")).then(|| output["value"].clone());
            (name, title(&kind), value)
        })))
    }

    /// What an operation says of its target.
    pub fn target(&self, index: usize) -> Value {
        described(&self.deployment.resources()[index])
    }

    /// The providers that a deployment shows.
    pub fn providers(&self) -> Value {
        let mut providers: Vec<(String, Vec<Value>)> = Vec::new();
        for resource in self.deployment.resources() {
            let Some((namespace, kind)) = resource.resource_type.split_once('/') else { continue };
            let at = providers.iter().position(|(known, _)| known.eq_ignore_ascii_case(namespace)).unwrap_or_else(|| {
                providers.push((namespace.to_owned(), Vec::new()));
                providers.len() - 1
            });
            let types = &mut providers[at].1;
            if !types.iter().any(|known| known["resourceType"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(kind))) {
                types.push(json!({"resourceType": kind, "locations": [resource.location]}));
            }
        }
        providers.into_iter().map(|(namespace, types)| json!({"namespace": namespace, "resourceTypes": types})).collect()
    }

    /// The dependencies that a deployment shows.
    pub fn dependencies(&self) -> Value {
        let resources = self.deployment.resources();
        let shown = |resource: &Resource| {
            let mut shown = described(resource);
            shown["dependsOn"] = resource.depends_on.iter().map(|needed| described(&resources[*needed])).collect();
            shown
        };
        resources.iter().filter(|resource| !resource.depends_on.is_empty()).map(shown).collect()
    }
}

fn described(resource: &Resource) -> Value {
    json!({"id": resource.id, "resourceType": resource.resource_type, "resourceName": resource.name})
}

fn id_of(resource: &Resource) -> Result<Id, ApiError> {
    if let Some(id) = Id::parse(&resource.id) {
        return Ok(id);
    }
    // A resource group's id has no provider in it.
    let parts: Vec<&str> = resource.id.trim_start_matches('/').split('/').collect();
    if let ["subscriptions", subscription, groups, name] = parts.as_slice()
        && groups.eq_ignore_ascii_case("resourceGroups")
    {
        let pairs = vec![("resourceGroups".to_owned(), (*name).to_owned())];
        return Ok(Id { scope: format!("/subscriptions/{subscription}"), namespace: "Microsoft.Resources".into(), pairs });
    }
    Err(invalid_template(&format!("the resource '{}' has no valid id", resource.id)))
}

/// The longest chain of resources whose making takes the time of an unknown provider's.
fn depth(deployment: &template::Deployment) -> usize {
    let resources = deployment.resources();
    let mut depths = vec![0; resources.len()];
    for index in deployment.order() {
        let resource = &resources[index];
        let before = resource.depends_on.iter().map(|needed| depths[*needed]).max().unwrap_or(0);
        let counts = resource.condition && !resource.resource_type.to_ascii_lowercase().starts_with("microsoft.devtestlab/");
        depths[index] = before + usize::from(counts);
    }
    depths.into_iter().max().unwrap_or(0)
}

fn check_mode(properties: &Value) -> Result<(), ApiError> {
    if !properties.is_object() {
        return Err(ApiError::invalid_content("Required property 'properties' not found in JSON"));
    }
    match properties["mode"].as_str() {
        None => Err(ApiError::invalid_content("Required property 'mode' not found in JSON. Path 'properties'")),
        Some(mode) if mode.eq_ignore_ascii_case("Incremental") || mode.eq_ignore_ascii_case("Complete") => Ok(()),
        Some(mode) => {
            Err(ApiError::invalid_content(&format!("Error converting value \"{mode}\" to type 'DeploymentMode'. Path 'properties.mode'")))
        }
    }
}

fn template_of(world: &World, properties: &Value) -> Result<Value, ApiError> {
    let missing = "The template is missing: one of 'template' and 'templateLink' must be an object.";
    match (&properties["template"], &properties["templateLink"]["uri"]) {
        (Value::Null, Value::String(uri)) => Ok(linked(world, uri)?.value().clone()),
        (Value::Null, Value::Null) if properties["templateLink"]["id"].is_string() => {
            let id = properties["templateLink"]["id"].as_str().unwrap_or_default();
            template_spec(world, id).map_err(|missing| {
                let parsed = Id::parse(missing);
                let (named, group) =
                    parsed.as_ref().map_or((missing.to_owned(), None), |id| (format!("{}/{}", id.type_name(), id.full_name()), id.group()));
                ApiError::resource_not_found(&named, group)
            })
        }
        (template @ Value::Object(_), Value::Null) => Ok(template.clone()),
        (Value::Object(_), _) => Err(invalid_template("'template' and 'templateLink' must not be given both")),
        _ => Err(ApiError::bad_request("InvalidTemplate", format!("Deployment template validation failed: '{missing}'."))),
    }
}

/// The template of a template spec's version; of one that it links to, when its path follows `#`.
pub fn template_spec<'a>(world: &World, link: &'a str) -> Result<Value, &'a str> {
    let (id, path) = link.split_once('#').unwrap_or((link, ""));
    let version = world.store.get(id).ok_or(id)?;
    let plain = |path: &str| path.replace('\\', "/").trim_start_matches("./").to_ascii_lowercase();
    let found = if path.is_empty() {
        version.property("mainTemplate")
    } else {
        let mut linked = version.property("linkedTemplates").as_array().into_iter().flatten();
        let found = linked.find(|linked| linked["path"].as_str().is_some_and(|known| plain(known) == plain(path)));
        found.map_or(&Value::Null, |found| &found["template"])
    };
    if found.is_object() { Ok(found.clone()) } else { Err(link) }
}

/// A file that has been downloaded.
fn linked(world: &World, uri: &str) -> Result<Document, ApiError> {
    Document::parse(&world.contents.get(uri)?).map_err(|error| invalid_template(&format!("'{uri}' is no JSON: {error}")))
}

/// The parameters with what they refer to in a vault put in place.
fn parameters_of(world: &World, properties: &Value) -> Result<Map<String, Value>, ApiError> {
    let file;
    let given = match (&properties["parametersLink"]["uri"], &properties["parameters"]) {
        (Value::String(uri), Value::Null) => {
            file = template::parameter_values(&linked(world, uri)?).map_err(|finding| invalid(&[finding]))?;
            &file
        }
        (Value::String(_), _) => {
            return Err(ApiError::invalid_content("'properties.parameters' and 'properties.parametersLink' must not be given both"));
        }
        (_, Value::Null) => return Ok(Map::new()),
        (_, Value::Object(given)) => given,
        _ => return Err(ApiError::invalid_content("'properties.parameters' must be an object")),
    };
    given
        .iter()
        .map(|(name, parameter)| match &parameter["reference"] {
            Value::Object(reference) => Ok((name.clone(), json!({"value": secret(world, name, &Value::Object(reference.clone()))?}))),
            _ => Ok((name.clone(), parameter.clone())),
        })
        .collect()
}

fn secret(world: &World, parameter: &str, reference: &Value) -> Result<Value, ApiError> {
    let vault = reference["keyVault"]["id"].as_str().unwrap_or_default();
    let name = reference["secretName"].as_str().unwrap_or_default();
    let secret = world.store.get(&format!("{vault}/secrets/{name}")).and_then(|secret| secret.private.get("secret").cloned());
    secret.ok_or_else(|| {
        let (code, message) = if world.store.contains(vault) {
            (
                "KeyVaultParameterReferenceSecretRetrieveFailed",
                format!("The secret '{name}' of the key vault '{vault}' for the parameter '{parameter}' could not be retrieved."),
            )
        } else {
            (
                "KeyVaultParameterReferenceNotFound",
                format!("The specified KeyVault '{vault}' for the parameter '{parameter}' could not be found."),
            )
        };
        ApiError::bad_request(code, message)
    })
}

fn shown_parameters(template: &Template, given: &Map<String, Value>) -> Value {
    parameter_bag(template.parameters().iter().map(|parameter| {
        let value = given.iter().find(|(name, _)| name.eq_ignore_ascii_case(&parameter.name)).map(|(_, given)| given["value"].clone());
        // A default that is an expression is not evaluated for show.
        let default = parameter.default_value.clone().filter(|value| !value.as_str().is_some_and(|text| text.starts_with('[')));
        let kind = parameter.kind.name().to_ascii_lowercase();
        (parameter.name.clone(), title(&kind), value.or(default).filter(|_| !parameter.secure()))
    }))
}

fn context(world: &World, id: &Id, body: &Value) -> Result<Context, ApiError> {
    let subscription = id.subscription().unwrap_or_default();
    let found = world.store.get(&format!("/subscriptions/{subscription}"));
    let level = level(world, id)?;
    let location = body["location"].as_str().map(str::to_owned);
    if location.is_none() && !matches!(level, Level::ResourceGroup(_)) {
        return Err(location_required());
    }
    Ok(Context {
        tenant_id: TENANT.into(),
        subscription_id: subscription.to_owned(),
        subscription_name: found.map(|found| found.body["displayName"].as_str().unwrap_or_default().to_owned()).unwrap_or_default(),
        level,
        deployment_name: id.name().to_owned(),
        location,
        mode: body["properties"]["mode"].as_str().and_then(Mode::of).unwrap_or_default(),
        template_link: ["uri", "id"].iter().find_map(|key| body["properties"]["templateLink"][*key].as_str()).map(str::to_owned),
        environment: template::public_cloud(),
        now: world.clock.now(),
    })
}

/// What a deployment of this id goes to.
fn level(world: &World, id: &Id) -> Result<Level, ApiError> {
    if let Some(name) = id.group() {
        let group = world.store.get(&id.scope).ok_or_else(|| ApiError::group_not_found(name))?;
        return Ok(Level::ResourceGroup(ResourceGroup {
            name: group.name().to_owned(),
            location: group.location().to_owned(),
            tags: group.body["tags"].as_object().cloned().unwrap_or_default(),
        }));
    }
    Ok(match scope_part(&id.scope, "managementGroups") {
        _ if id.subscription().is_some() => Level::Subscription,
        Some(name) => Level::ManagementGroup(name.to_owned()),
        None => Level::Tenant,
    })
}

fn location_required() -> ApiError {
    ApiError::bad_request("LocationRequired", "The location property is required for this definition.")
}

fn title(kind: &str) -> String {
    match kind {
        "int" => "Int",
        "bool" => "Bool",
        "object" => "Object",
        "array" => "Array",
        "securestring" => "SecureString",
        "secureobject" => "SecureObject",
        _ => "String",
    }
    .into()
}

fn messages(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn invalid(findings: &[Finding]) -> ApiError {
    let code = findings.first().map_or("InvalidTemplate", |finding| finding.code);
    let mut error = invalid_template(&messages(findings));
    error.code = code.into();
    error
}

fn invalid_template(problem: &str) -> ApiError {
    ApiError::bad_request("InvalidTemplate", format!("Deployment template validation failed: '{problem}'."))
}

fn evaluation_failed(finding: &Finding) -> ApiError {
    let message = format!("Unable to process template language expressions for resource: '{finding}'.");
    ApiError::bad_request(finding.code, message)
}
