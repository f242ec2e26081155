//! A deployment: the template's resources flattened, ordered, and evaluated one by one when their turn has come.

mod builder;
mod foresight;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use self::builder::{Layout, build, order};
pub(in crate::template) use self::builder::{STAND_IN, extension_of};
pub use self::foresight::Foresight;
use super::{
    Context, Document, Finding, Level, Mode, ResourceGroup, Runtime,
    declare::{ParameterType, Template, parameter_values},
    evaluate::{Argument, Evaluator, Frame, Place, Scope, Turn, weight},
    fault::{Budget, Fault},
    functions::{describe, member},
    path::{self, Trail},
};

/// How deep deployments may nest in each other.
const MAX_NESTED: usize = 16;
const DEPLOYMENTS: &str = "Microsoft.Resources/deployments";
/// What of a resource's JSON is the language's own and not sent.
const OWN: [&str; 6] = ["comments", "condition", "copy", "dependsOn", "existing", "resources"];

/// A resource of a deployment.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its full id.
    pub id: String,
    /// Its full type, such as `Microsoft.DevTestLab/labs/virtualmachines`.
    pub resource_type: String,
    /// Its full name, such as `lab/vm`.
    pub name: String,
    /// Its api-version.
    pub api_version: String,
    /// Its location, where it has one.
    pub location: Option<String>,
    /// The id of what it is deployed to: a resource group, a subscription or, for an extension, a resource.
    pub scope: String,
    /// Whether its condition holds.
    pub condition: bool,
    /// Whether it is only referred to (language version 2.0).
    pub existing: bool,
    /// Its symbolic name (language version 2.0).
    pub symbolic_name: Option<String>,
    /// The resources that must be done before, by index.
    pub depends_on: Vec<usize>,
    /// Its JSON path in the template's document.
    pub path: String,
    pub(crate) json: Arc<Value>,
    pub(crate) turns: Vec<Turn>,
}

impl Resource {
    /// Its name as the template has it.
    pub fn written_name(&self) -> &str {
        member(&self.json, "name").and_then(Value::as_str).unwrap_or(&self.name)
    }

    /// Whether it is a nested deployment.
    pub fn is_deployment(&self) -> bool {
        self.resource_type.eq_ignore_ascii_case(DEPLOYMENTS)
    }
}

/// The resources of a deployment, and how they can be named. All keys are in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    pub(crate) resources: Vec<Resource>,
    /// Symbolic names and names of copy loops.
    groups: HashMap<String, Vec<usize>>,
    looped: HashSet<String>,
    /// Ids, whole and from the provider on; types with names.
    ids: HashMap<String, usize>,
    names: HashMap<String, Vec<usize>>,
}

impl Index {
    /// The resource of a symbolic name, an id or a name.
    pub(crate) fn find(&self, text: &str) -> Option<usize> {
        self.all(text).and_then(|found| found.first().copied())
    }

    /// The resources of a loop or symbolic name.
    pub(crate) fn group(&self, name: &str) -> &[usize] {
        self.groups.get(&name.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_loop(&self, name: &str) -> bool {
        self.looped.contains(&name.to_ascii_lowercase())
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        let symbols = self.resources.iter().filter_map(|resource| resource.symbolic_name.as_deref());
        self.resources.iter().map(|resource| resource.name.as_str()).chain(symbols).collect()
    }

    fn all(&self, text: &str) -> Option<&[usize]> {
        let key = text.trim_end_matches('/').to_ascii_lowercase();
        if let Some(found) = self.groups.get(&key) {
            return Some(found);
        }
        // `name[1]` is one turn of a loop.
        if let Some((name, turn)) = key.strip_suffix(']').and_then(|key| key.split_once('['))
            && self.looped.contains(name)
        {
            let found = turn.parse::<usize>().ok().and_then(|turn| self.groups.get(name)?.get(turn));
            return found.map(std::slice::from_ref);
        }
        if let Some(at) = self.ids.get(&key) {
            return Some(std::slice::from_ref(at));
        }
        self.names.get(&key).map(Vec::as_slice)
    }

    fn add(&mut self, resource: Resource, loop_name: Option<&str>) -> bool {
        let at = self.resources.len();
        let id = resource.id.to_ascii_lowercase();
        let first = self.ids.insert(id.clone(), at).is_none();
        if let Some((_, relative)) = id.split_once("/providers/") {
            self.ids.entry(relative.to_owned()).or_insert(at);
        }
        self.ids.entry(format!("{}/{}", resource.resource_type, resource.name).to_ascii_lowercase()).or_insert(at);
        self.names.entry(resource.name.to_ascii_lowercase()).or_default().push(at);
        if let Some(name) = loop_name {
            self.groups.entry(name.to_ascii_lowercase()).or_default().push(at);
            self.looped.insert(name.to_ascii_lowercase());
        }
        if let Some(name) = resource.symbolic_name.as_deref().filter(|name| !loop_name.is_some_and(|l| l.eq_ignore_ascii_case(name))) {
            self.groups.entry(name.to_ascii_lowercase()).or_default().push(at);
            if loop_name.is_some() {
                self.looped.insert(name.to_ascii_lowercase());
            }
        }
        self.resources.push(resource);
        first
    }
}

/// A template's resources for given parameters, ready to be deployed in order.
#[derive(Debug)]
pub struct Deployment {
    /// The template whose resources and outputs these are.
    pub(crate) template: Arc<Template>,
    /// What its expressions see: another template's names for a nested one that is evaluated in the outer scope.
    pub(crate) scope: Arc<Scope>,
    pub(crate) context: Context,
    pub(crate) index: Index,
    turns: Vec<Turn>,
    depth: usize,
}

/// A nested deployment whose turn has come.
#[derive(Debug)]
pub struct Nested {
    /// Its resources and outputs.
    pub deployment: Deployment,
    /// Where it goes.
    pub context: Context,
    /// Its parameters' values, in a request's shape.
    pub parameters: Map<String, Value>,
    /// Its template.
    pub template: Value,
}

/// Expands a template: parameters checked, loops and children flattened, dependencies resolved. Every error is told, not the first alone.
pub fn expand(
    template: &Arc<Template>,
    parameters: &Map<String, Value>,
    context: &Context,
    runtime: &dyn Runtime,
) -> Result<Deployment, Vec<Finding>> {
    let mut findings = template.check_parameters(parameters);
    for parameter in template.missing_parameters(parameters) {
        let message = format!("the value for the template parameter '{}' is not provided", parameter.name);
        findings.push(template.finding(&parameter.path, message));
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let given = arguments(parameters, runtime).map_err(|fault| vec![fault.into_finding()])?;
    let scope = Arc::new(Scope::new(template.clone(), context.clone(), given, Arc::new(Budget::new())));
    let (deployment, findings) =
        build(Layout { template: template.clone(), scope, context: context.clone(), turns: Vec::new(), depth: 0 }, false);
    if findings.is_empty() { Ok(deployment) } else { Err(findings) }
}

/// Expands as far as that goes: what depends on values that are not known is left out, and what is wrong is told.
pub(crate) fn expand_partly(template: &Arc<Template>, given: HashMap<String, Argument>, context: &Context) -> (Deployment, Vec<Finding>) {
    let scope = Arc::new(Scope::new(template.clone(), context.clone(), given, Arc::new(Budget::new())));
    build(Layout { template: template.clone(), scope, context: context.clone(), turns: Vec::new(), depth: 0 }, true)
}

/// The values of a request's parameters, Key Vault references resolved where that is possible.
pub(crate) fn arguments(parameters: &Map<String, Value>, runtime: &dyn Runtime) -> Result<HashMap<String, Argument>, Fault> {
    let mut given = HashMap::new();
    for (name, value) in parameters {
        let argument = match (member(value, "value"), member(value, "reference")) {
            // Null stands for "not given".
            (Some(Value::Null), _) | (None, None) => continue,
            (Some(value), _) => Argument::Value(value.clone()),
            (None, Some(reference)) => secret(name, reference, runtime)?,
        };
        given.insert(name.to_ascii_lowercase(), argument);
    }
    Ok(given)
}

fn secret(name: &str, reference: &Value, runtime: &dyn Runtime) -> Result<Argument, Fault> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let vault = text(member(reference, "keyVault").and_then(|vault| member(vault, "id")));
    let (Some(vault), Some(secret)) = (vault, text(member(reference, "secretName"))) else {
        let message = format!("the reference of the parameter '{name}' needs 'keyVault.id' and 'secretName'");
        return Err(Fault::with_code("InvalidTemplate", message));
    };
    let version = text(member(reference, "secretVersion"));
    match runtime.secret(&vault, &secret, version.as_deref()) {
        Ok(Some(value)) => Ok(Argument::Value(value)),
        Ok(None) => Ok(Argument::Unknown(format!("the secret '{secret}' of '{vault}' is not known here"))),
        Err(problem) => Err(Fault::with_code("KeyVaultParameterReferenceSecretRetrieveFailed", problem)),
    }
}

/// Whether a nested deployment's expressions are evaluated in its own scope.
fn inner_scope(resource: &Value) -> bool {
    let options = member(resource, "properties").and_then(|properties| member(properties, "expressionEvaluationOptions"));
    options.and_then(|options| member(options, "scope")).and_then(Value::as_str).is_some_and(|scope| scope.eq_ignore_ascii_case("inner"))
}

/// Where a nested deployment goes.
fn target(frame: &Frame<'_>, from: &Context, resource: &Value, path: &str, runtime: &dyn Runtime) -> Result<Context, Fault> {
    let text = |key: &str| match member(resource, key) {
        None => Ok(None),
        Some(value) => {
            let path = path::join(path, key);
            match frame.value(value, &Trail::Start(&path))? {
                Value::String(text) => Ok(Some(text)),
                Value::Null => Ok(None),
                other => {
                    let fault = Fault::new(format!("'{key}' must be a string, found {}", describe(&other)));
                    Err(fault.placed(&frame.scope.template.document, &|| path.clone()))
                }
            }
        }
    };
    let here = |message: String| {
        Fault::new(message).placed(&frame.scope.template.document, &|| {
            if member(resource, "scope").is_some() { path::join(path, "scope") } else { path.to_owned() }
        })
    };
    let mut context = from.clone();
    context.template_link = None;
    context.deployment_name = text("name")?.unwrap_or_default();
    if let Some(location) = text("location")? {
        context.location = Some(location);
    }
    let (mut subscription, mut group) = (text("subscriptionId")?, text("resourceGroup")?);
    if let Some(scope) = text("scope")? {
        match scope_of(&scope) {
            Some(ScopeOf::Above(level)) => {
                context.level = level;
                context.subscription_id.clear();
                context.subscription_name.clear();
                return Ok(context);
            }
            Some(ScopeOf::Below(id, name)) => (subscription, group) = (Some(id), name),
            None => {
                return Err(here(format!(
                    "a deployment's scope is '/', a management group, a subscription or a resource group, '{scope}' is none of them"
                )));
            }
        }
    }
    let moved = subscription.is_some();
    if let Some(subscription) = subscription {
        context.subscription_id = subscription;
    }
    match group {
        Some(_) if context.subscription_id.is_empty() && matches!(context.level, Level::ManagementGroup(_) | Level::Tenant) => {
            return Err(here("a deployment to a resource group from above subscriptions needs a 'subscriptionId' too".to_owned()));
        }
        Some(name) => {
            let same = match &from.level {
                Level::ResourceGroup(own) if own.name.eq_ignore_ascii_case(&name) && !moved => Some(own.clone()),
                _ => None,
            };
            context.level = Level::ResourceGroup(same.unwrap_or_else(|| group_of(&context, name, runtime)));
        }
        None if moved => context.level = Level::Subscription,
        None => {}
    }
    Ok(context)
}

/// What a nested deployment's `scope` names.
enum ScopeOf {
    /// The tenant or a management group.
    Above(Level),
    /// A subscription, or a resource group in one.
    Below(String, Option<String>),
}

fn scope_of(scope: &str) -> Option<ScopeOf> {
    let parts: Vec<&str> = scope.trim_matches('/').split('/').collect();
    let is = |part: &str, name: &str| part.eq_ignore_ascii_case(name);
    Some(match parts.as_slice() {
        [""] if !scope.is_empty() => ScopeOf::Above(Level::Tenant),
        [before @ .., provider, kind, name]
            if matches!(before, [] | ["providers"]) && is(provider, "Microsoft.Management") && is(kind, "managementGroups") =>
        {
            ScopeOf::Above(Level::ManagementGroup((*name).to_owned()))
        }
        [subscriptions, id] if is(subscriptions, "subscriptions") => ScopeOf::Below((*id).to_owned(), None),
        [subscriptions, id, groups, name] if is(subscriptions, "subscriptions") && is(groups, "resourceGroups") => {
            ScopeOf::Below((*id).to_owned(), Some((*name).to_owned()))
        }
        _ => return None,
    })
}

/// Another resource group, as far as it is known.
fn group_of(context: &Context, name: String, runtime: &dyn Runtime) -> ResourceGroup {
    let id = format!("/subscriptions/{}/resourceGroups/{name}", context.subscription_id);
    let known = runtime.resource(&id, None).ok().flatten();
    let location = known.as_ref().and_then(|group| member(group, "location")).and_then(Value::as_str);
    let here = match &context.level {
        Level::ResourceGroup(group) => Some(group.location.clone()),
        _ => context.location.clone(),
    };
    let tags = known.as_ref().and_then(|group| member(group, "tags")).and_then(Value::as_object).cloned().unwrap_or_default();
    ResourceGroup { name, location: location.map(str::to_owned).or(here).unwrap_or_default(), tags }
}

impl Deployment {
    /// The resources, children and copies among them, in the template's order.
    pub fn resources(&self) -> &[Resource] {
        &self.index.resources
    }

    /// The indexes of all resources, each after what it depends on.
    pub fn order(&self) -> Vec<usize> {
        order(&self.index.resources).unwrap_or_default()
    }

    /// Where it goes.
    pub fn context(&self) -> &Context {
        &self.context
    }

    fn frame<'f>(&'f self, evaluator: &'f Evaluator<'f>, turns: &'f [Turn]) -> Frame<'f> {
        Frame { index: Some(&self.index), turns, ..Frame::new(evaluator, &self.scope, Place::During) }
    }

    /// A resource's JSON as it is sent, once what it depends on is done; with `type`, `name`, `apiVersion`, `location` and all the rest,
    /// without what is the template language's own. A nested deployment keeps its template as it stands.
    pub fn body(&self, index: usize, runtime: &dyn Runtime) -> Result<Value, Finding> {
        self.body_with(index, &Evaluator::new(runtime)).map_err(Fault::into_finding)
    }

    pub(crate) fn body_with(&self, index: usize, evaluator: &Evaluator<'_>) -> Result<Value, Fault> {
        let Some(resource) = self.index.resources.get(index) else { return Err(Fault::new(format!("there is no resource {index}"))) };
        let frame = self.frame(evaluator, &resource.turns);
        let start = Trail::Start(&resource.path);
        let mut body = Map::new();
        for (key, value) in resource.json.as_object().into_iter().flatten() {
            let value = match key.to_ascii_lowercase().as_str() {
                "name" => Value::String(resource.name.clone()),
                "type" => Value::String(resource.resource_type.clone()),
                "apiversion" => Value::String(resource.api_version.clone()),
                "properties" if resource.is_deployment() => Self::nested_properties(&frame, value, &start.key(key))?,
                _ if OWN.iter().any(|own| own.eq_ignore_ascii_case(key)) => continue,
                _ => frame.value(value, &start.key(key))?,
            };
            body.insert(key.clone(), value);
        }
        Ok(Value::Object(body))
    }

    fn nested_properties(frame: &Frame<'_>, properties: &Value, trail: &Trail<'_>) -> Result<Value, Fault> {
        let mut result = Map::new();
        for (key, value) in properties.as_object().into_iter().flatten() {
            let raw = key.eq_ignore_ascii_case("template");
            result.insert(key.clone(), if raw { value.clone() } else { frame.value(value, &trail.key(key))? });
        }
        Ok(Value::Object(result))
    }

    /// A nested deployment, expanded, once what it depends on is done.
    pub fn nested(&self, index: usize, runtime: &dyn Runtime) -> Result<Nested, Vec<Finding>> {
        self.nested_with(index, &Evaluator::new(runtime)).map_err(|faults| faults.into_iter().map(Fault::into_finding).collect())
    }

    pub(crate) fn nested_with(&self, index: usize, evaluator: &Evaluator<'_>) -> Result<Nested, Vec<Fault>> {
        let one = |fault: Fault| vec![fault];
        let Some(resource) = self.index.resources.get(index).filter(|resource| resource.is_deployment()) else {
            return Err(one(Fault::new(format!("resource {index} is no deployment"))));
        };
        let path = path::join(&resource.path, "properties");
        let here = |message: String| Fault::new(message).placed(&self.scope.template.document, &|| path.clone());
        if self.depth >= MAX_NESTED {
            return Err(one(here(format!("deployments are nested more than {MAX_NESTED} deep"))));
        }
        let Some(properties) = member(&resource.json, "properties").filter(|properties| properties.is_object()) else {
            return Err(one(here("a deployment needs 'properties' with a 'template' or a 'templateLink'".to_owned())));
        };
        let strict = Evaluator::new(evaluator.runtime);
        let frame = self.frame(&strict, &resource.turns);
        let mut context = target(&frame, &self.context, &resource.json, &resource.path, evaluator.runtime).map_err(one)?;
        context.mode = match member(properties, "mode") {
            Some(mode) => {
                let mode = frame.value(mode, &Trail::Start(&path).key("mode")).map_err(one)?;
                mode.as_str().and_then(Mode::of).ok_or_else(|| {
                    let message = format!("a deployment's mode is 'Incremental' or 'Complete', found {mode}");
                    one(Fault::new(message).placed(&self.scope.template.document, &|| path::join(&path, "mode")))
                })?
            }
            None => Mode::default(),
        };
        // The template is read once for every turn of a loop over it.
        self.scope.budget.charge(weight(properties)).map_err(one)?;
        let template = match (member(properties, "template"), member(properties, "templateLink")) {
            (Some(template), _) => {
                let base = path::join(&path, "template");
                Template::within(self.scope.template.document.clone(), base, template.clone())
            }
            (None, Some(link)) => {
                let (uri, document) = self.linked(&frame, link, &path::join(&path, "templateLink")).map_err(one)?;
                context.template_link = Some(uri);
                Template::parse(document)
            }
            (None, None) => return Err(one(here("a deployment needs a 'template' or a 'templateLink'".to_owned()))),
        };
        let template = Arc::new(template.map_err(|findings| findings.into_iter().map(Fault::from_finding).collect::<Vec<_>>())?);
        let inner = inner_scope(&resource.json) || member(properties, "template").is_none();
        let (given, parameters) = self.nested_parameters(&frame, properties, &path, evaluator).map_err(one)?;
        let scope = if inner {
            let mut findings = template.check_parameters(&parameters);
            findings.retain(|finding| {
                !given
                    .iter()
                    .any(|(name, argument)| !matches!(argument, Argument::Value(_)) && finding.path.to_ascii_lowercase().contains(name))
            });
            let missing = template.missing_parameters(&parameters).into_iter();
            let missing = missing.filter(|parameter| !given.contains_key(&parameter.name.to_ascii_lowercase()));
            findings.extend(missing.map(|parameter| {
                let message = format!("the value for the template parameter '{}' is not provided", parameter.name);
                self.scope.template.finding(&path, message)
            }));
            if !findings.is_empty() {
                let place = |mut finding: Finding| {
                    finding.path =
                        finding.path.strip_prefix(&path).map_or_else(|| format!("{path}.{}", finding.path), |rest| format!("{path}{rest}"));
                    finding.position = self.scope.template.document.position(&finding.path);
                    Fault::from_finding(finding)
                };
                return Err(findings.into_iter().map(place).collect());
            }
            Arc::new(Scope::new(template.clone(), context.clone(), given, self.scope.budget.clone()))
        } else {
            self.scope.clone()
        };
        let value = template.value.clone();
        let turns = if inner { Vec::new() } else { resource.turns.clone() };
        let layout = Layout { template, scope, context: context.clone(), turns, depth: self.depth + 1 };
        let (deployment, findings) = build(layout, evaluator.unresolved.is_some());
        if !findings.is_empty() {
            return Err(findings.into_iter().map(Fault::from_finding).collect());
        }
        Ok(Nested { deployment, context, parameters, template: value })
    }

    /// The document behind a link, and its address.
    fn linked(&self, frame: &Frame<'_>, link: &Value, path: &str) -> Result<(String, Document), Fault> {
        let refused = |code, message: String| Fault::with_code(code, message).placed(&self.scope.template.document, &|| path.to_owned());
        let here = |message: String| refused("InvalidTemplateLink", message);
        let link = frame.value(link, &Trail::Start(path))?;
        let text = |key: &str| member(&link, key).and_then(Value::as_str);
        let uri = match (text("uri").or_else(|| text("id")), text("relativePath")) {
            // Beside the id of a template spec, a path is that of one of its linked templates.
            (Some(spec), Some(relative)) if spec.starts_with('/') => spec_path(spec, relative),
            (Some(uri), _) => uri.to_owned(),
            (None, Some(relative)) => match &self.context.template_link {
                Some(base) if base.starts_with('/') => spec_path(base, relative),
                Some(base) => super::functions::resolve_uri(base, relative).unwrap_or_else(|| relative.to_owned()),
                None => relative.to_owned(),
            },
            (None, None) => return Err(here("a link needs 'uri', 'relativePath' or a template spec's 'id'".to_owned())),
        };
        match frame.evaluator.runtime.linked(&uri) {
            Ok(Some(bytes)) => {
                let document = Document::parse(&bytes).map_err(|error| here(format!("'{uri}' is no JSON: {error}")))?;
                Ok((uri, document))
            }
            Ok(None) => Err(Fault::unresolved(format!("the content of '{uri}' is not known here"))),
            Err(problem) => Err(refused("InvalidContentLink", problem)),
        }
    }

    /// A nested deployment's parameters: those that are known, and all in a request's shape.
    fn nested_parameters(
        &self,
        frame: &Frame<'_>,
        properties: &Value,
        path: &str,
        evaluator: &Evaluator<'_>,
    ) -> Result<NestedParameters, Fault> {
        let mut evaluated = Map::new();
        let mut given = HashMap::new();
        if let Some(link) = member(properties, "parametersLink") {
            let (_, document) = self.linked(frame, link, &path::join(path, "parametersLink"))?;
            evaluated = parameter_values(&document).map_err(Fault::from_finding)?;
        }
        let path = path::join(path, "parameters");
        for (name, value) in member(properties, "parameters").and_then(Value::as_object).into_iter().flatten() {
            match frame.value(value, &Trail::Start(&path).key(name)) {
                Ok(value) => {
                    evaluated.insert(name.clone(), value);
                }
                Err(fault) if fault.is_unresolved() && evaluator.unresolved.is_some() => {
                    let argument = match member(value, "value").and_then(Value::as_str) {
                        Some(expression) => Argument::Later(expression.to_owned()),
                        None => Argument::Unknown(fault.into_finding().message),
                    };
                    given.insert(name.to_ascii_lowercase(), argument);
                }
                Err(fault) => return Err(fault),
            }
        }
        for (name, argument) in arguments(&evaluated, evaluator.runtime)? {
            given.insert(name, argument);
        }
        Ok((given, evaluated))
    }

    /// The outputs, `{"name": {"type", "value"}}`, once every resource is done. Outputs whose condition does not hold are left out.
    pub fn outputs(&self, runtime: &dyn Runtime) -> Result<Map<String, Value>, Vec<Finding>> {
        self.outputs_with(&Evaluator::new(runtime))
    }

    pub(crate) fn outputs_with(&self, evaluator: &Evaluator<'_>) -> Result<Map<String, Value>, Vec<Finding>> {
        let mut outputs = Map::new();
        let mut findings = Vec::new();
        let all = self.template.path("outputs");
        for (name, declared) in self.template.section("outputs").and_then(Value::as_object).into_iter().flatten() {
            match self.output(declared, &path::join(&all, name), evaluator) {
                Ok(Some(output)) => {
                    outputs.insert(name.clone(), output);
                }
                Ok(None) => {}
                Err(fault) => {
                    let mut finding = fault.into_finding();
                    finding.code = "DeploymentOutputEvaluationFailed";
                    findings.push(finding);
                }
            }
        }
        if findings.is_empty() { Ok(outputs) } else { Err(findings) }
    }

    fn output(&self, declared: &Value, path: &str, evaluator: &Evaluator<'_>) -> Result<Option<Value>, Fault> {
        let frame = self.frame(evaluator, &self.turns);
        let start = Trail::Start(path);
        let here = |message: String| Fault::new(message).placed(&self.scope.template.document, &|| path.to_owned());
        if let Some(condition) = member(declared, "condition")
            && frame.value(condition, &start.key("condition"))? == Value::Bool(false)
        {
            return Ok(None);
        }
        let value = match (member(declared, "value"), member(declared, "copy")) {
            (Some(value), _) => frame.value(value, &start.key("value"))?,
            (None, Some(copy)) => Frame { place: Place::Before, ..frame }
                .count(member(copy, "count").unwrap_or(&Value::Null), &start.key("copy"))
                .and_then(|count| {
                    let input = member(copy, "input").unwrap_or(&Value::Null);
                    let mut turns = self.turns.clone();
                    let mut items = Vec::new();
                    for index in 0..count {
                        turns.truncate(self.turns.len());
                        turns.push(Turn { name: String::new(), index, property: false });
                        items.push(Frame { turns: &turns, ..frame }.value(input, &start.key("copy").key("input"))?);
                    }
                    Ok(Value::Array(items))
                })?,
            (None, None) => return Err(here("an output needs a 'value' or a 'copy'".to_owned())),
        };
        let parameter = super::declare::output_type(&self.template, declared).map_err(here)?;
        let (kind, nullable) = parameter;
        let unresolved = evaluator.unresolved.is_some_and(|noted| value.as_str().is_some_and(|text| noted.borrow().contains(text)));
        let fits = unresolved || kind.accepts(&value) || (nullable && value.is_null());
        if !fits {
            return Err(here(format!("the output has the type '{}', its value is {}", kind.name(), describe(&value))));
        }
        let mut output = Map::new();
        let spelled = member(declared, "type").and_then(Value::as_str).unwrap_or(kind.name());
        output.insert("type".to_owned(), spelled.into());
        output.insert("value".to_owned(), value);
        Ok(Some(Value::Object(output)))
    }
}

/// The address of a template that a template spec's version links to: the version's id, `#`, and the path from the main template.
fn spec_path(base: &str, relative: &str) -> String {
    let (id, file) = base.split_once('#').unwrap_or((base, ""));
    let mut parts: Vec<&str> = file.split('/').filter(|part| !part.is_empty()).collect();
    parts.pop();
    for part in relative.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("{id}#{}", parts.join("/"))
}

/// The parameters of a nested deployment by name in lower case, and in a request's shape.
type NestedParameters = (HashMap<String, Argument>, Map<String, Value>);

impl ParameterType {
    /// Whether an output of this type may have a value. Numbers that are no integers pass as `int`, as they do in Azure.
    fn accepts(self, value: &Value) -> bool {
        match self {
            Self::String | Self::SecureString => value.is_string(),
            Self::Int => value.is_number(),
            Self::Bool => value.is_boolean(),
            Self::Object | Self::SecureObject => value.is_object(),
            Self::Array => value.is_array(),
        }
    }
}
