//! A deployment: the template's resources flattened, ordered, and evaluated one by one when their turn has come.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    Context, Document, Finding, ResourceGroup, Runtime,
    declare::{ParameterType, Template, parameter_values},
    evaluate::{Argument, Evaluator, Frame, MAX_COPIES, Place, Scope, Turn},
    expression::{Text, classify},
    fault::{Budget, Fault},
    functions::{describe, implied, member, resource_id},
    offline::Offline,
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
    /// Whether it is a nested deployment.
    pub fn is_deployment(&self) -> bool {
        self.resource_type.eq_ignore_ascii_case(DEPLOYMENTS)
    }
}

/// The resources of a deployment, and how they can be named. All keys are in lower case.
#[derive(Debug, Default)]
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
        self.groups.get(&name.to_lowercase()).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn is_loop(&self, name: &str) -> bool {
        self.looped.contains(&name.to_lowercase())
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        let symbols = self.resources.iter().filter_map(|resource| resource.symbolic_name.as_deref());
        self.resources.iter().map(|resource| resource.name.as_str()).chain(symbols).collect()
    }

    fn all(&self, text: &str) -> Option<&[usize]> {
        let key = text.trim_end_matches('/').to_lowercase();
        if let Some(found) = self.groups.get(&key) {
            return Some(found);
        }
        if let Some(at) = self.ids.get(&key) {
            return Some(std::slice::from_ref(at));
        }
        self.names.get(&key).map(Vec::as_slice)
    }

    fn add(&mut self, resource: Resource, loop_name: Option<&str>) -> bool {
        let at = self.resources.len();
        let id = resource.id.to_lowercase();
        let first = self.ids.insert(id.clone(), at).is_none();
        if let Some((_, relative)) = id.split_once("/providers/") {
            self.ids.entry(relative.to_owned()).or_insert(at);
        }
        self.ids.entry(format!("{}/{}", resource.resource_type, resource.name).to_lowercase()).or_insert(at);
        self.names.entry(resource.name.to_lowercase()).or_default().push(at);
        if let Some(name) = loop_name {
            self.groups.entry(name.to_lowercase()).or_default().push(at);
            self.looped.insert(name.to_lowercase());
        }
        if let Some(name) = resource.symbolic_name.as_deref().filter(|name| !loop_name.is_some_and(|l| l.eq_ignore_ascii_case(name))) {
            self.groups.entry(name.to_lowercase()).or_default().push(at);
            if loop_name.is_some() {
                self.looped.insert(name.to_lowercase());
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
    /// `Incremental` or `Complete`.
    pub mode: String,
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
        given.insert(name.to_lowercase(), argument);
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

/// What a deployment is built from.
struct Layout {
    template: Arc<Template>,
    scope: Arc<Scope>,
    context: Context,
    turns: Vec<Turn>,
    depth: usize,
}

fn build(layout: Layout, partly: bool) -> (Deployment, Vec<Finding>) {
    let evaluator = Evaluator::new(&Offline);
    let mut builder = Builder {
        layout: &layout,
        evaluator: &evaluator,
        partly,
        index: Index::default(),
        waits: Vec::new(),
        incomplete: false,
        findings: Vec::new(),
    };
    builder.run();
    let Builder { index, findings, .. } = builder;
    let Layout { template, scope, context, turns, depth } = layout;
    (Deployment { template, scope, context, index, turns, depth }, findings)
}

struct Builder<'b> {
    layout: &'b Layout,
    evaluator: &'b Evaluator<'b>,
    /// Go on where a value is not known.
    partly: bool,
    index: Index,
    /// What each resource says that it depends on: text and path.
    waits: Vec<Vec<(String, String)>>,
    /// Whether a resource was left out, so that a dependency may be one that is not seen.
    incomplete: bool,
    findings: Vec<Finding>,
}

/// The resource that a child stands in.
struct Parent<'p> {
    resource_type: &'p str,
    name: &'p str,
    scope: &'p str,
}

/// Where a resource stands: its JSON, its path, its symbolic name.
struct Declared<'d> {
    json: &'d Value,
    path: String,
    symbol: Option<&'d str>,
}

impl<'b> Builder<'b> {
    fn run(&mut self) {
        let path = self.layout.template.path("resources");
        if let Some(resources) = self.layout.template.section("resources") {
            let turns = self.layout.turns.clone();
            self.list(resources, &path, None, &turns);
        }
        let count = i64::try_from(self.index.resources.len()).unwrap_or(i64::MAX);
        if count > MAX_COPIES {
            self.wrong(&path, format!("the template has {count} resources, at most {MAX_COPIES} are allowed"));
            return;
        }
        self.connect();
        if let Err(cycle) = order(&self.index.resources) {
            let names: Vec<&str> = cycle.iter().map(|at| self.index.resources[*at].name.as_str()).collect();
            let path = self.index.resources[cycle[0]].path.clone();
            let path =
                if member(&self.index.resources[cycle[0]].json, "dependsOn").is_some() { path::join(&path, "dependsOn") } else { path };
            self.wrong(&path, format!("circular dependency: {} -> {}", names.join(" -> "), names[0]));
        }
    }

    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        let finding = self.layout.scope.template.finding(path, message);
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Notes a fault; an unknown value is one only where everything must be known.
    fn fault(&mut self, fault: Fault) {
        if self.partly && fault.is_unresolved() {
            self.incomplete = true;
            return;
        }
        let finding = fault.into_finding();
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn frame<'f>(&'f self, turns: &'f [Turn]) -> Frame<'f> {
        Frame { turns, index: None, ..Frame::new(self.evaluator, &self.layout.scope, Place::Before) }
    }

    fn list(&mut self, resources: &Value, path: &str, parent: Option<&Parent<'_>>, turns: &[Turn]) {
        match resources {
            Value::Array(items) => {
                for (index, json) in items.iter().enumerate() {
                    self.declared(&Declared { json, path: path::at(path, index), symbol: None }, parent, turns);
                }
            }
            Value::Object(map) => {
                for (symbol, json) in map {
                    self.declared(&Declared { json, path: path::join(path, symbol), symbol: Some(symbol) }, parent, turns);
                }
            }
            other => self.wrong(path, format!("'resources' must be an array, found {}", describe(other))),
        }
    }

    fn declared(&mut self, declared: &Declared<'_>, parent: Option<&Parent<'_>>, turns: &[Turn]) {
        if !declared.json.is_object() {
            return self.wrong(&declared.path, format!("a resource must be an object, found {}", describe(declared.json)));
        }
        // More than the limit are not looked at one by one.
        if self.index.resources.len() > usize::try_from(MAX_COPIES).unwrap_or(usize::MAX) {
            return;
        }
        let json = Arc::new(declared.json.clone());
        let Some(copy) = member(declared.json, "copy") else { return self.one(declared, &json, parent, turns, None) };
        let path = path::join(&declared.path, "copy");
        let name = match member(copy, "name") {
            Some(name) => self.text(name, &path::join(&path, "name"), turns),
            None => declared.symbol.map(str::to_owned),
        };
        let Some(name) = name else {
            return self.wrong(&path, "a resource's copy loop needs a 'name' and a 'count'");
        };
        let count = self.frame(turns).count(member(copy, "count").unwrap_or(&Value::Null), &Trail::Start(&path));
        let count = match count {
            Ok(count) => count,
            Err(fault) => return self.fault(fault),
        };
        let serial = member(copy, "mode").and_then(Value::as_str).is_some_and(|mode| mode.eq_ignore_ascii_case("serial"));
        let batch = member(copy, "batchSize").and_then(Value::as_i64).unwrap_or(1).max(1);
        let mut turns = turns.to_vec();
        let mut earlier: Vec<Vec<usize>> = Vec::new();
        self.index.groups.entry(name.to_lowercase()).or_default();
        for index in 0..count {
            turns.push(Turn { name: name.clone(), index, property: false });
            let first = self.index.resources.len();
            self.one(declared, &json, parent, &turns, Some(&name));
            turns.pop();
            if serial && first < self.index.resources.len() {
                let group = usize::try_from(index / batch).unwrap_or_default();
                if group > 0
                    && let Some(before) = earlier.get(group - 1)
                {
                    self.index.resources[first].depends_on.clone_from(before);
                }
                earlier.resize_with(group + 1, Vec::new);
                earlier[group].push(first);
            }
        }
    }

    /// A resource's text, evaluated; `None` once the fault is noted.
    fn text(&mut self, value: &Value, path: &str, turns: &[Turn]) -> Option<String> {
        match self.frame(turns).value(value, &Trail::Start(path)) {
            Ok(Value::String(text)) => Some(text),
            Ok(other) => {
                self.wrong(path, format!("expected a string, found {}", describe(&other)));
                None
            }
            Err(fault) => {
                self.fault(fault);
                None
            }
        }
    }

    fn required(&mut self, declared: &Declared<'_>, key: &str, turns: &[Turn]) -> Option<String> {
        if let Some(value) = member(declared.json, key) {
            return self.text(value, &path::join(&declared.path, key), turns);
        }
        self.wrong(&declared.path, format!("the resource has no '{key}'"));
        None
    }

    fn one(&mut self, declared: &Declared<'_>, json: &Arc<Value>, parent: Option<&Parent<'_>>, turns: &[Turn], loop_name: Option<&str>) {
        let condition = self.condition(declared, turns);
        let kind = self.required(declared, "type", turns);
        let name = self.required(declared, "name", turns);
        let version = match member(declared.json, "apiVersion") {
            None if member(&self.layout.template.value, "apiProfile").is_some() => Some(String::new()),
            _ => self.required(declared, "apiVersion", turns),
        };
        let (Some(kind), Some(name), Some(api_version)) = (kind, name, version) else {
            self.incomplete = true;
            return;
        };
        let (kind, name) = match parent {
            Some(parent) => (under(parent.resource_type, &kind), under(parent.name, &name)),
            None => (kind, name),
        };
        let location = member(declared.json, "location").map(|value| self.text(value, &path::join(&declared.path, "location"), turns));
        let Some(scope) = self.scope(declared, parent, &kind, turns) else { return };
        let names: Vec<&str> = name.split('/').collect();
        let Some(id) = resource_id(&scope, &kind, &names) else {
            let path = path::join(&declared.path, "name");
            let segments = kind.split('/').count();
            return self.wrong(
                &path,
                format!(
                    "the name '{name}' has {} segment(s), the type '{kind}' has {segments}: a type has one segment more than its name, and no segment of a name is empty",
                    names.len()
                ),
            );
        };
        let waits = self.waits(declared, turns);
        let resource = Resource {
            id,
            resource_type: kind.clone(),
            name: name.clone(),
            api_version,
            location: location.flatten(),
            scope: scope.clone(),
            condition,
            existing: member(declared.json, "existing").and_then(Value::as_bool).unwrap_or(false),
            symbolic_name: declared.symbol.map(str::to_owned),
            depends_on: Vec::new(),
            path: declared.path.clone(),
            json: json.clone(),
            turns: turns.to_vec(),
        };
        let duplicate = format!("the resource '{}' is defined more than once in the template", resource.id);
        let deployed = condition && !resource.existing;
        if !self.index.add(resource, loop_name) && deployed {
            self.wrong(&declared.path, duplicate);
        }
        self.waits.push(waits);
        if let Some(children) = member(declared.json, "resources") {
            let parent = Parent { resource_type: &kind, name: &name, scope: &scope };
            self.list(children, &path::join(&declared.path, "resources"), Some(&parent), turns);
        }
    }

    fn condition(&mut self, declared: &Declared<'_>, turns: &[Turn]) -> bool {
        let Some(condition) = member(declared.json, "condition") else { return true };
        let path = path::join(&declared.path, "condition");
        match self.frame(turns).value(condition, &Trail::Start(&path)) {
            Ok(Value::Bool(holds)) => holds,
            Ok(Value::String(text)) if text.eq_ignore_ascii_case("true") => true,
            Ok(Value::String(text)) if text.eq_ignore_ascii_case("false") => false,
            Ok(other) => {
                self.wrong(&path, format!("a condition must be a boolean, found {}", describe(&other)));
                true
            }
            Err(fault) => {
                self.fault(fault);
                true
            }
        }
    }

    /// The id of what a resource is deployed to.
    fn scope(&mut self, declared: &Declared<'_>, parent: Option<&Parent<'_>>, kind: &str, turns: &[Turn]) -> Option<String> {
        let own = self.layout.context.scope_id();
        if let Some(parent) = parent {
            return Some(parent.scope.to_owned());
        }
        if kind.eq_ignore_ascii_case(DEPLOYMENTS) {
            let context = self.target(declared, turns)?;
            return Some(context.scope_id());
        }
        let mut part = |key: &str| match member(declared.json, key) {
            Some(value) => self.text(value, &path::join(&declared.path, key), turns).map(Some),
            None => Some(None),
        };
        if let Some(scope) = part("scope")? {
            return Some(match scope.as_str() {
                "/" => String::new(),
                scope if scope.starts_with('/') => scope.trim_end_matches('/').to_owned(),
                scope => self.extended(scope, &own),
            });
        }
        // Only `existing` resources and deployments may name another scope.
        let subscription = part("subscriptionId")?;
        let group = part("resourceGroup")?;
        let context = &self.layout.context;
        Some(match (subscription, group) {
            (None, None) => own,
            (subscription, group) => {
                let subscription = subscription.unwrap_or_else(|| context.subscription_id.clone());
                match group {
                    Some(group) => format!("/subscriptions/{subscription}/resourceGroups/{group}"),
                    None => format!("/subscriptions/{subscription}"),
                }
            }
        })
    }

    /// `Microsoft.Storage/storageAccounts/name` or a symbolic name as a resource's id.
    fn extended(&self, scope: &str, own: &str) -> String {
        match self.index.find(scope) {
            Some(at) => self.index.resources[at].id.clone(),
            None => format!("{own}/providers/{scope}"),
        }
    }

    /// Where a nested deployment goes.
    fn target(&mut self, declared: &Declared<'_>, turns: &[Turn]) -> Option<Context> {
        let frame = self.frame(turns);
        match target(&frame, &self.layout.context, declared.json, &declared.path, &Offline) {
            Ok(context) => Some(context),
            Err(fault) => {
                self.fault(fault);
                None
            }
        }
    }

    /// What a resource depends on by its own words, and by what it asks about other resources.
    fn waits(&mut self, declared: &Declared<'_>, turns: &[Turn]) -> Vec<(String, String)> {
        let mut waits = Vec::new();
        let path = path::join(&declared.path, "dependsOn");
        if let Some(list) = member(declared.json, "dependsOn") {
            let evaluated = match list {
                Value::Array(items) => {
                    let each = |(index, item): (usize, &Value)| (path::at(&path, index), item.clone());
                    items.iter().enumerate().map(each).collect()
                }
                other => vec![(path.clone(), other.clone())],
            };
            for (path, item) in evaluated {
                match self.frame(turns).value(&item, &Trail::Start(&path)) {
                    Ok(Value::String(text)) => waits.push((text, path)),
                    Ok(Value::Array(items)) => {
                        waits.extend(items.iter().filter_map(Value::as_str).map(|text| (text.to_owned(), path.clone())))
                    }
                    Ok(Value::Null) => {}
                    Ok(other) => self.wrong(&path, format!("'dependsOn' must hold names or ids of resources, found {}", describe(&other))),
                    Err(fault) => self.fault(fault),
                }
            }
        }
        waits.retain(|(text, _)| !text.is_empty());
        waits
    }

    /// Turns words into indexes.
    fn connect(&mut self) {
        for (at, waits) in std::mem::take(&mut self.waits).into_iter().enumerate() {
            let mut found: Vec<usize> = std::mem::take(&mut self.index.resources[at].depends_on);
            for (text, path) in waits {
                match self.index.all(&text) {
                    Some(others) => found.extend(others),
                    None if self.incomplete => {}
                    None => {
                        let known = self.index.names();
                        let hint = super::functions::nearest(&text, known.iter().copied());
                        self.wrong(&path, format!("the resource '{text}' of 'dependsOn' is not defined in the template{hint}"));
                    }
                }
            }
            self.index.resources[at].depends_on = found;
        }
        // An explicit dependency counts before one that is implied: the latter must not make a circle.
        for at in 0..self.index.resources.len() {
            let implied = self.implied(at);
            let resource = &mut self.index.resources[at];
            resource.depends_on.extend(implied);
            resource.depends_on.sort_unstable();
            resource.depends_on.dedup();
        }
    }

    fn implied(&self, at: usize) -> Vec<usize> {
        let resource = &self.index.resources[at];
        let mut texts = Vec::new();
        let frame = Frame { index: Some(&self.index), ..self.frame(&resource.turns) };
        let inner = inner_scope(&resource.json);
        for (key, value) in resource.json.as_object().into_iter().flatten().filter(|(key, _)| !OWN.contains(&key.as_str())) {
            if !(resource.is_deployment() && key.eq_ignore_ascii_case("properties")) {
                asked(&frame, value, &mut texts);
                continue;
            }
            for (key, value) in value.as_object().into_iter().flatten() {
                if !(key.eq_ignore_ascii_case("template") && inner) {
                    asked(&frame, value, &mut texts);
                }
            }
        }
        let mut found = Vec::new();
        for text in texts {
            let by_id = text.starts_with('/');
            for other in self.index.all(&text).into_iter().flatten().copied().filter(|other| *other != at) {
                // By its id a resource can be asked about without waiting for it, where the template has it wait for us.
                if !(by_id && self.leads(other, at)) {
                    found.push(other);
                }
            }
        }
        found
    }

    /// Whether `from` waits for `to`.
    fn leads(&self, from: usize, to: usize) -> bool {
        let (mut seen, mut next) = (HashSet::new(), vec![from]);
        while let Some(at) = next.pop() {
            if at == to {
                return true;
            }
            if seen.insert(at) {
                next.extend(&self.index.resources[at].depends_on);
            }
        }
        false
    }
}

/// Notes what the expressions of a value ask about.
fn asked(frame: &Frame<'_>, value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text)
            if text.contains("reference") || text.contains("list") || text.contains("References") || text.contains("Reference") =>
        {
            if let Text::Expression(text) = classify(text)
                && let Ok(expression) = frame.scope.template.expression(text)
            {
                texts.extend(implied(frame, &expression));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| asked(frame, item, texts)),
        Value::Object(map) => map.values().for_each(|item| asked(frame, item, texts)),
        _ => {}
    }
}

/// A child's type or name under its parent's, unless it is whole already.
fn under(parent: &str, child: &str) -> String {
    let whole = child.len() > parent.len() && child.is_char_boundary(parent.len()) && child[..parent.len()].eq_ignore_ascii_case(parent);
    if whole && child[parent.len()..].starts_with('/') { child.to_owned() } else { format!("{parent}/{child}") }
}

/// An order in which everything comes after what it depends on, as the template has it otherwise; or a circle.
fn order(resources: &[Resource]) -> Result<Vec<usize>, Vec<usize>> {
    let mut open: Vec<usize> = resources.iter().map(|resource| resource.depends_on.len()).collect();
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); resources.len()];
    for (at, resource) in resources.iter().enumerate() {
        for before in &resource.depends_on {
            dependents[*before].push(at);
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..resources.len()).filter(|at| open[*at] == 0).map(Reverse).collect();
    let mut ordered = Vec::new();
    while let Some(Reverse(at)) = ready.pop() {
        ordered.push(at);
        for next in &dependents[at] {
            open[*next] -= 1;
            if open[*next] == 0 {
                ready.push(Reverse(*next));
            }
        }
    }
    let Some(start) = open.iter().position(|left| *left > 0) else { return Ok(ordered) };
    // Going back from one that never got ready ends in a circle.
    let (mut at, mut seen) = (start, Vec::new());
    while !seen.contains(&at) {
        seen.push(at);
        at = resources[at].depends_on.iter().copied().find(|before| open[*before] > 0).unwrap_or(at);
    }
    let from = seen.iter().position(|each| *each == at).unwrap_or_default();
    let mut circle = seen.split_off(from);
    let first = circle.iter().enumerate().min_by_key(|(_, at)| **at).map_or(0, |(index, _)| index);
    circle.rotate_left(first);
    Err(circle)
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
    let mut context = from.clone();
    context.template_link = None;
    context.deployment_name = text("name")?.unwrap_or_default();
    let (mut subscription, mut group) = (text("subscriptionId")?, text("resourceGroup")?);
    if let Some(scope) = text("scope")? {
        let parts: Vec<&str> = scope.trim_matches('/').split('/').collect();
        if let ["subscriptions", id, rest @ ..] = parts.as_slice() {
            subscription = Some((*id).to_owned());
            if let [_, name, ..] = rest {
                group = Some((*name).to_owned());
            }
        }
    }
    if let Some(location) = text("location")? {
        context.location = Some(location);
    }
    let moved = subscription.is_some();
    if let Some(subscription) = subscription {
        context.subscription_id = subscription;
    }
    match group {
        Some(name) => {
            let same = from.resource_group.as_ref().filter(|own| own.name.eq_ignore_ascii_case(&name) && !moved);
            context.resource_group = Some(match same {
                Some(own) => own.clone(),
                None => group_of(&context, name, runtime),
            });
        }
        None if moved => context.resource_group = None,
        None => {}
    }
    Ok(context)
}

/// Another resource group, as far as it is known.
fn group_of(context: &Context, name: String, runtime: &dyn Runtime) -> ResourceGroup {
    let id = format!("/subscriptions/{}/resourceGroups/{name}", context.subscription_id);
    let known = runtime.resource(&id, None).ok().flatten();
    let location = known.as_ref().and_then(|group| member(group, "location")).and_then(Value::as_str);
    let here = context.resource_group.as_ref().map(|group| group.location.clone()).or_else(|| context.location.clone());
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
                "properties" if resource.is_deployment() => self.nested_properties(&frame, value, &start.key(key))?,
                _ if OWN.iter().any(|own| own.eq_ignore_ascii_case(key)) => continue,
                _ => frame.value(value, &start.key(key))?,
            };
            body.insert(key.clone(), value);
        }
        Ok(Value::Object(body))
    }

    fn nested_properties(&self, frame: &Frame<'_>, properties: &Value, trail: &Trail<'_>) -> Result<Value, Fault> {
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
        let mode = match member(properties, "mode") {
            Some(mode) => frame.value(mode, &Trail::Start(&path).key("mode")).map_err(one)?.as_str().unwrap_or("Incremental").to_owned(),
            None => "Incremental".to_owned(),
        };
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
                !given.iter().any(|(name, argument)| matches!(argument, Argument::Unknown(_)) && finding.path.to_lowercase().contains(name))
            });
            let missing = template.missing_parameters(&parameters).into_iter();
            let missing = missing.filter(|parameter| !given.contains_key(&parameter.name.to_lowercase()));
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
        Ok(Nested { deployment, context, mode, parameters, template: value })
    }

    /// The document behind a link, and its address.
    fn linked(&self, frame: &Frame<'_>, link: &Value, path: &str) -> Result<(String, Document), Fault> {
        let here =
            |message: String| Fault::with_code("InvalidTemplateLink", message).placed(&self.scope.template.document, &|| path.to_owned());
        let link = frame.value(link, &Trail::Start(path))?;
        let text = |key: &str| member(&link, key).and_then(Value::as_str);
        let uri = match (text("uri"), text("relativePath")) {
            (Some(uri), _) => uri.to_owned(),
            (None, Some(relative)) => match &self.context.template_link {
                Some(base) => super::functions::resolve_uri(base, relative).unwrap_or_else(|| relative.to_owned()),
                None => relative.to_owned(),
            },
            (None, None) => return Err(here("a link needs 'uri' or 'relativePath'".to_owned())),
        };
        match frame.evaluator.runtime.linked(&uri) {
            Ok(Some(bytes)) => {
                let document = Document::parse(&bytes).map_err(|error| here(format!("'{uri}' is no JSON: {error}")))?;
                Ok((uri, document))
            }
            Ok(None) => Err(Fault::unresolved(format!("the content of '{uri}' is not known here"))),
            Err(problem) => Err(here(format!("'{uri}' cannot be downloaded: {problem}"))),
        }
    }

    /// A nested deployment's parameters: those that are known, and all in a request's shape.
    fn nested_parameters(
        &self,
        frame: &Frame<'_>,
        properties: &Value,
        path: &str,
        evaluator: &Evaluator<'_>,
    ) -> Result<(HashMap<String, Argument>, Map<String, Value>), Fault> {
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
                    given.insert(name.to_lowercase(), Argument::Unknown(fault.into_finding().message));
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
        if !unresolved && !(nullable && value.is_null()) && !kind.accepts(&value) {
            return Err(here(format!("the output has the type '{}', its value is {}", kind.name(), describe(&value))));
        }
        let mut output = Map::new();
        let spelled = member(declared, "type").and_then(Value::as_str).unwrap_or(kind.name());
        output.insert("type".to_owned(), spelled.into());
        output.insert("value".to_owned(), value);
        Ok(Some(Value::Object(output)))
    }
}

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
