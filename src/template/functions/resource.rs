//! Functions on resources, scopes and the deployment itself. What only a running deployment can tell is asked of the runtime.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::{describe, get};
use crate::template::{
    Context, Level,
    deployment::Index,
    evaluate::{Argument, Evaluated, Frame, Place, weight},
    expression::{Call, Expression},
    fault::Fault,
};

pub(super) fn parameters<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let name = frame.evaluate(&call.arguments[0])?;
    match name.as_str() {
        Some(name) => frame.parameter(name),
        None => Err(Fault::new(format!("argument 1 of 'parameters' must be a string, found {}", describe(&name)))),
    }
}

pub(super) fn variables<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let name = frame.evaluate(&call.arguments[0])?;
    match name.as_str() {
        Some(name) => frame.variable(name),
        None => Err(Fault::new(format!("argument 1 of 'variables' must be a string, found {}", describe(&name)))),
    }
}

pub(super) fn environment<'f>(frame: &Frame<'f>, _call: &Call) -> Evaluated<'f> {
    Ok(Cow::Borrowed(&frame.scope.context.environment))
}

pub(super) fn deployment<'f>(frame: &Frame<'f>, _call: &Call) -> Evaluated<'f> {
    let scope = frame.scope;
    let context = &scope.context;
    frame.charge(weight(&scope.template.value))?;
    let mut properties = Map::new();
    if let Some(uri) = &context.template_link {
        // A template spec has an id in its place.
        let key = if uri.starts_with('/') { "id" } else { "uri" };
        properties.insert("templateLink".to_owned(), json!({key: uri.split('#').next()}));
    }
    properties.insert("template".to_owned(), scope.template.value.clone());
    properties.insert("templateHash".to_owned(), super::template_hash(&scope.template.value).into());
    properties.insert("parameters".to_owned(), Value::Object(given_parameters(frame)?));
    properties.insert("mode".to_owned(), context.mode.name().into());
    properties.insert("provisioningState".to_owned(), "Accepted".into());
    let mut deployment = Map::new();
    deployment.insert("name".to_owned(), context.deployment_name.clone().into());
    if let Some(location) = context.location.as_ref().filter(|_| !matches!(context.level, Level::ResourceGroup(_))) {
        deployment.insert("location".to_owned(), location.clone().into());
    }
    deployment.insert("properties".to_owned(), Value::Object(properties));
    Ok(Cow::Owned(Value::Object(deployment)))
}

/// The parameters as they were given, in the template's order; secrets without their values.
fn given_parameters(frame: &Frame<'_>) -> Result<Map<String, Value>, Fault> {
    let mut given = Map::new();
    for parameter in &frame.scope.template.parameters {
        let shown = match frame.scope.arguments.get(&parameter.name.to_ascii_lowercase()) {
            None => continue,
            Some(Argument::Value(value)) if !parameter.secure() => {
                frame.charge(weight(value))?;
                json!({"value": value})
            }
            Some(_) => json!({}),
        };
        given.insert(parameter.name.clone(), shown);
    }
    Ok(given)
}

pub(super) fn deployer<'f>(frame: &Frame<'f>, _call: &Call) -> Evaluated<'f> {
    match frame.evaluator.runtime.deployer() {
        Some(value) => Ok(Cow::Owned(value)),
        None => Err(Fault::unresolved("who deploys is not known here")),
    }
}

/// Refuses what a deployment at this level has not.
fn not_expected<'f>(call: &Call, context: &Context) -> Evaluated<'f> {
    let level = match context.level {
        Level::ResourceGroup(_) => "resource group",
        Level::Subscription => "subscription",
        Level::ManagementGroup(_) => "management group",
        Level::Tenant => "tenant",
    };
    Err(Fault::new(format!("the template function '{}' is not expected in a deployment at {level} scope", call.name)))
}

pub(super) fn subscription<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let context = &frame.scope.context;
    if matches!(context.level, Level::ManagementGroup(_) | Level::Tenant) {
        return not_expected(call, context);
    }
    Ok(Cow::Owned(json!({
        "id": format!("/subscriptions/{}", context.subscription_id),
        "subscriptionId": context.subscription_id,
        "tenantId": context.tenant_id,
        "displayName": context.subscription_name,
    })))
}

pub(super) fn resource_group<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let context = &frame.scope.context;
    let Level::ResourceGroup(group) = &context.level else { return not_expected(call, context) };
    Ok(Cow::Owned(json!({
        "id": context.scope_id(),
        "name": group.name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": group.location,
        "tags": group.tags,
        "properties": {"provisioningState": "Succeeded"},
    })))
}

pub(super) fn tenant<'f>(frame: &Frame<'f>, _call: &Call) -> Evaluated<'f> {
    let id = &frame.scope.context.tenant_id;
    Ok(Cow::Owned(json!({"id": format!("/tenants/{id}"), "tenantId": id})))
}

pub(super) fn management_group<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let context = &frame.scope.context;
    let Level::ManagementGroup(name) = &context.level else { return not_expected(call, context) };
    Ok(Cow::Owned(json!({
        "id": context.scope_id(),
        "name": name,
        "properties": {"displayName": name, "tenantId": context.tenant_id},
        "type": "/providers/Microsoft.Management/managementGroups",
    })))
}

/// The arguments as strings.
fn texts(frame: &Frame<'_>, call: &Call) -> Result<Vec<String>, Fault> {
    let values = frame.arguments(call)?;
    let text = |(index, value): (usize, &Cow<'_, Value>)| match value.as_ref() {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(Fault::new(format!(
            "argument {} of the template function '{}' must be a string, found {}",
            index + 1,
            call.name,
            describe(other)
        ))),
    };
    values.iter().enumerate().map(text).collect()
}

/// `scope/providers/namespace/type/name/type/name`.
pub(crate) fn resource_id(scope: &str, resource_type: &str, names: &[&str]) -> Option<String> {
    let mut types = resource_type.split('/');
    let namespace = types.next()?;
    let types: Vec<&str> = types.collect();
    if types.len() != names.len() || types.is_empty() || names.iter().any(|name| name.is_empty()) {
        return None;
    }
    let pairs: Vec<String> = types.iter().zip(names).map(|(kind, name)| format!("{kind}/{name}")).collect();
    // A resource group has an id of its own shape.
    if resource_type.eq_ignore_ascii_case("Microsoft.Resources/resourceGroups") && scope.matches('/').count() == 2 {
        return Some(format!("{scope}/resourceGroups/{}", names[0]));
    }
    Some(format!("{}/providers/{namespace}/{}", scope.trim_end_matches('/'), pairs.join("/")))
}

/// Splits arguments into those before the type, the type, and the names; `most` may stand before the type.
fn parts(call: &Call, texts: &[String], most: usize) -> Result<usize, Fault> {
    let found = texts.iter().take(most + 1).position(|text| text.contains('/'));
    found.ok_or_else(|| {
        Fault::new(format!("the template function '{}' needs a resource type such as 'Microsoft.DevTestLab/labs'", call.name))
    })
}

fn identified<'f>(call: &Call, scope: &str, resource_type: &str, names: &[String]) -> Evaluated<'f> {
    let names: Vec<&str> =
        names.iter().flat_map(|name| if name.contains('/') { name.split('/').collect() } else { vec![name.as_str()] }).collect();
    let id = resource_id(scope, resource_type, &names).ok_or_else(|| {
        Fault::new(format!(
            "the template function '{}' needs one name for every segment of the type '{resource_type}' after the first, {} given",
            call.name,
            names.len()
        ))
    })?;
    Ok(Cow::Owned(Value::String(id)))
}

pub(super) fn resource_id_function<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let texts = texts(frame, call)?;
    let at = parts(call, &texts, 2)?;
    let context = &frame.scope.context;
    let scope = match (&texts[..at], &context.level) {
        ([], _) => context.scope_id(),
        ([group], Level::ResourceGroup(_)) => format!("/subscriptions/{}/resourceGroups/{group}", context.subscription_id),
        // Above resource groups the only optional argument is the subscription.
        ([subscription], _) => format!("/subscriptions/{subscription}"),
        ([subscription, group, ..], _) => format!("/subscriptions/{subscription}/resourceGroups/{group}"),
    };
    identified(call, &scope, &texts[at], &texts[at + 1..])
}

pub(super) fn subscription_resource_id<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let texts = texts(frame, call)?;
    let at = parts(call, &texts, 1)?;
    let context = &frame.scope.context;
    let subscription = match texts[..at].first() {
        Some(given) => given,
        None if context.subscription_id.is_empty() && matches!(context.level, Level::ManagementGroup(_) | Level::Tenant) => {
            return not_expected(call, context);
        }
        None => &context.subscription_id,
    };
    identified(call, &format!("/subscriptions/{subscription}"), &texts[at], &texts[at + 1..])
}

pub(super) fn tenant_resource_id<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let texts = texts(frame, call)?;
    parts(call, &texts, 0)?;
    identified(call, "", &texts[0], &texts[1..])
}

pub(super) fn management_group_resource_id<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let texts = texts(frame, call)?;
    let at = parts(call, &texts, 1)?;
    let context = &frame.scope.context;
    let scope = match (texts[..at].first(), &context.level) {
        (Some(name), _) => management_group_id(name),
        (None, Level::ManagementGroup(_)) => context.scope_id(),
        (None, _) => return not_expected(call, context),
    };
    identified(call, &scope, &texts[at], &texts[at + 1..])
}

pub(super) fn extension_resource_id<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let texts = texts(frame, call)?;
    identified(call, &texts[0], &texts[1], &texts[2..])
}

/// Refuses a function of the running deployment where there is none yet.
fn during(frame: &Frame<'_>, call: &Call) -> Result<(), Fault> {
    if frame.place == Place::During {
        return Ok(());
    }
    Err(Fault::new(format!(
        "the template function '{}' is not expected at this location: it is allowed in a resource's properties and in outputs",
        call.name
    )))
}

/// The id, and the api-version where the template knows it, of what `reference` and `list*` are asked about.
fn target(frame: &Frame<'_>, call: &Call, text: &str) -> Result<(String, Option<String>), Fault> {
    let found = frame.index.and_then(|index| index.find(text).map(|at| &index.resources[at]));
    if let Some(resource) = found {
        return Ok((resource.id.clone(), Some(resource.api_version.clone()).filter(|version| !version.is_empty())));
    }
    if text.starts_with('/') {
        return Ok((text.to_owned(), None));
    }
    // `Microsoft.Storage/storageAccounts/name`, relative to the deployment's scope.
    if text.contains('/') {
        return Ok((format!("{}/providers/{text}", frame.scope.context.scope_id()), None));
    }
    let names = frame.index.map(Index::names).unwrap_or_default();
    let hint = super::nearest(text, names.iter().copied());
    Err(Fault::new(format!("the resource '{text}' that '{}' is asked about is not defined in the template{hint}", call.name)))
}

pub(super) fn reference<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    during(frame, call)?;
    let texts = texts(frame, call)?;
    let (id, known) = target(frame, call, &texts[0])?;
    let version = texts.get(1).filter(|version| !version.is_empty()).cloned().or(known);
    let full = match texts.get(2) {
        None => false,
        Some(text) if text.eq_ignore_ascii_case("full") => true,
        Some(other) => return Err(Fault::new(format!("argument 3 of 'reference' must be 'Full', found '{other}'"))),
    };
    whole(frame, &id, version.as_deref(), full).map(Cow::Owned)
}

fn whole(frame: &Frame<'_>, id: &str, version: Option<&str>, full: bool) -> Result<Value, Fault> {
    let found = frame.evaluator.runtime.resource(id, version).map_err(|problem| Fault::with_code("ResourceNotFound", problem))?;
    let Some(mut resource) = found else { return Err(Fault::unresolved(format!("the state of '{id}' is not known here"))) };
    frame.charge(weight(&resource))?;
    if full {
        return Ok(resource);
    }
    let properties = resource.as_object_mut().and_then(|map| map.get_mut("properties")).map(Value::take);
    Ok(properties.unwrap_or_else(|| Value::Object(Map::new())))
}

/// `references('loop', ['Full'])`: every resource of a loop.
pub(super) fn references<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    during(frame, call)?;
    let texts = texts(frame, call)?;
    let full = texts.get(1).is_some_and(|text| text.eq_ignore_ascii_case("full"));
    let Some(index) = frame.index.filter(|index| index.is_loop(&texts[0])) else {
        return Err(Fault::new(format!("'{}' is no symbolic name of a resource loop", texts[0])));
    };
    let each = index.group(&texts[0]).iter().map(|at| {
        let resource = &index.resources[*at];
        whole(frame, &resource.id, Some(resource.api_version.as_str()), full)
    });
    each.collect::<Result<_, _>>().map(|all| Cow::Owned(Value::Array(all)))
}

/// `resourceInfo('symbolicName')`: what is known of a resource before it exists.
pub(super) fn resource_info<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let texts = texts(frame, call)?;
    let found = frame.index.and_then(|index| index.find(&texts[0]).map(|at| &index.resources[at]));
    let Some(resource) = found else { return Err(Fault::new(format!("'{}' is no symbolic name of a resource", texts[0]))) };
    Ok(Cow::Owned(json!({
        "id": resource.id, "name": resource.name, "type": resource.resource_type, "apiVersion": resource.api_version,
    })))
}

/// `listKeys(id, apiVersion, [value])` and its kind.
pub(super) fn list<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    during(frame, call)?;
    let values = frame.arguments(call)?;
    let Some(text) = values[0].as_str() else {
        return Err(Fault::new(format!("argument 1 of '{}' must be a resource's id, found {}", call.name, describe(&values[0]))));
    };
    let (id, known) = target(frame, call, text)?;
    let version = values.get(1).and_then(|value| value.as_str()).map(str::to_owned).or(known);
    let Some(version) = version else { return Err(Fault::new(format!("'{}' needs an api-version as argument 2", call.name))) };
    let rest: Vec<Value> = values.into_iter().skip(2).map(Cow::into_owned).collect();
    ask(frame, &call.name, &id, &version, &rest)
}

fn ask<'f>(frame: &Frame<'f>, function: &str, id: &str, version: &str, arguments: &[Value]) -> Evaluated<'f> {
    let answer = frame.evaluator.runtime.list(function, id, version, arguments);
    match answer.map_err(|problem| Fault::with_code("ResourceNotFound", problem))? {
        Some(value) => {
            frame.charge(weight(&value))?;
            Ok(Cow::Owned(value))
        }
        None => Err(Fault::unresolved(format!("what '{function}' answers for '{id}' is not known here"))),
    }
}

/// `providers(namespace, [type])`, of old templates: which versions and regions a provider has.
pub(super) fn providers<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let texts = texts(frame, call)?;
    let id = format!("/subscriptions/{}/providers/{}", frame.scope.context.subscription_id, texts[0]);
    let rest: Vec<Value> = texts[1..].iter().map(|text| Value::String(text.clone())).collect();
    ask(frame, "providers", &id, "", &rest)
}

/// `pickZones(namespace, type, location, [count], [offset])`.
pub(super) fn pick_zones<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let values: Vec<Value> = frame.arguments(call)?.into_iter().map(Cow::into_owned).collect();
    let namespace = values[0].as_str().unwrap_or_default();
    let id = format!("/subscriptions/{}/providers/{namespace}", frame.scope.context.subscription_id);
    ask(frame, "pickZones", &id, "", &values[1..])
}

/// `toLogicalZone(subscription, location, zone)` and its kind.
pub(super) fn zones<'f>(frame: &Frame<'f>, call: &Call) -> Evaluated<'f> {
    let values: Vec<Value> = frame.arguments(call)?.into_iter().map(Cow::into_owned).collect();
    let id = format!("/subscriptions/{}", values[0].as_str().unwrap_or_default());
    ask(frame, &call.name, &id, "", &values[1..])
}

/// The text that `reference` or `list*` is asked about, where that is known before the deployment: such a call makes a dependency.
pub(crate) fn implied(frame: &Frame<'_>, expression: &Expression) -> Vec<String> {
    let mut found = Vec::new();
    expression.calls(&mut |call| {
        let asks = call
            .function
            .is_some_and(|function| ["reference", "references", "list*"].iter().any(|name| function.name.eq_ignore_ascii_case(name)));
        if let Some(first) = call.arguments.first().filter(|_| asks)
            && let Ok(value) = (Frame { place: Place::Before, ..*frame }).evaluate(first)
            && let Some(text) = value.as_str()
        {
            found.push(text.to_owned());
        }
    });
    found
}

fn management_group_id(name: &str) -> String {
    format!("/providers/Microsoft.Management/managementGroups/{name}")
}

impl Context {
    /// The id of what a deployment goes to; the tenant's is empty.
    pub fn scope_id(&self) -> String {
        match &self.level {
            Level::ResourceGroup(group) => format!("/subscriptions/{}/resourceGroups/{}", self.subscription_id, group.name),
            Level::Subscription => format!("/subscriptions/{}", self.subscription_id),
            Level::ManagementGroup(name) => management_group_id(name),
            Level::Tenant => String::new(),
        }
    }
}

/// A property of a JSON object, whatever its casing.
pub(crate) fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.as_object().and_then(|map| get(map, name))
}
