//! Turns a template's JSON into resources: loops, children, scopes, and who waits for whom.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use serde_json::Value;

use super::{DEPLOYMENTS, Deployment, Index, OWN, Resource, inner_scope, target};
use crate::template::{
    Context, Finding,
    declare::Template,
    evaluate::{Evaluator, Frame, MAX_COPIES, Place, Scope, Turn, weight},
    expression::{Expression, Text, classify},
    fault::{Fault, MAX_FINDINGS},
    functions::{describe, implied, member, nearest, resource_id},
    offline::Offline,
    path::{self, Trail},
};

/// What a segment of a name that is not known begins with; no name of Azure's holds it.
pub(in crate::template) const STAND_IN: char = '…';

/// What a deployment is built from.
pub(super) struct Layout {
    pub(super) template: Arc<Template>,
    pub(super) scope: Arc<Scope>,
    pub(super) context: Context,
    pub(super) turns: Vec<Turn>,
    pub(super) depth: usize,
}

pub(super) fn build(layout: Layout, partly: bool) -> (Deployment, Vec<Finding>) {
    let evaluator = Evaluator::new(&Offline);
    let mut builder = Builder {
        layout: &layout,
        evaluator: &evaluator,
        partly,
        index: Index::default(),
        waits: Vec::new(),
        incomplete: false,
        nameless: HashSet::new(),
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
    /// The types of resources whose names are not known, in lower case: a dependency may be one of them.
    nameless: HashSet<String>,
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

impl Builder<'_> {
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

    /// Whether so much is wrong already that more would help nobody.
    fn full(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }

    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        if self.full() {
            return;
        }
        let finding = self.layout.scope.template.finding(path, message);
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Notes a fault; an unknown value is one only where everything must be known.
    fn fault(&mut self, fault: Fault) {
        if self.partly && fault.is_unresolved() {
            return;
        }
        let finding = fault.into_finding();
        if !self.full() && !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Notes the fault that keeps a resource out of sight; its type is known at least where it is written out.
    fn leave_out(&mut self, declared: &Declared<'_>, parent: Option<&Parent<'_>>, fault: Fault) {
        match member(declared.json, "type").and_then(Value::as_str).filter(|kind| matches!(classify(kind), Text::Literal(_))) {
            Some(kind) => {
                let kind = parent.map_or_else(|| kind.to_owned(), |parent| under(parent.resource_type, kind));
                self.nameless.insert(kind.to_ascii_lowercase());
            }
            None => self.incomplete = true,
        }
        self.fault(fault);
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
        // A child is looked at once for every turn of its parent's loop.
        if let Err(fault) = self.layout.scope.budget.charge(weight(declared.json)) {
            return self.leave_out(declared, parent, fault);
        }
        let json = Arc::new(declared.json.clone());
        let Some(copy) = member(declared.json, "copy") else { return self.one(declared, &json, parent, turns, None) };
        let path = path::join(&declared.path, "copy");
        let name = match member(copy, "name") {
            Some(name) => self.text(name, &path::join(&path, "name"), turns),
            None => declared.symbol.map(str::to_owned),
        };
        let Some(name) = name else {
            self.incomplete = true;
            return self.wrong(&path, "a resource's copy loop needs a 'name' and a 'count'");
        };
        let count = self.frame(turns).count(member(copy, "count").unwrap_or(&Value::Null), &Trail::Start(&path));
        let count = match count {
            Ok(count) => count,
            Err(fault) => return self.leave_out(declared, parent, fault),
        };
        let serial = member(copy, "mode").and_then(Value::as_str).is_some_and(|mode| mode.eq_ignore_ascii_case("serial"));
        let batch = member(copy, "batchSize").and_then(Value::as_i64).unwrap_or(1).max(1);
        let mut turns = turns.to_vec();
        let mut earlier: Vec<Vec<usize>> = Vec::new();
        self.index.groups.entry(name.to_ascii_lowercase()).or_default();
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
        if let Some(extension) = extension_of(declared.json) {
            return self.extension(declared, extension);
        }
        let condition = self.condition(declared, turns);
        let kind = self.required(declared, "type", turns);
        let name = self.required(declared, "name", turns);
        let version = match member(declared.json, "apiVersion") {
            None if member(&self.layout.template.value, "apiProfile").is_some() => Some(String::new()),
            _ => self.required(declared, "apiVersion", turns),
        };
        // Where only faults are looked for, a resource without a name or a version is looked at all the same.
        let name = name.or_else(|| self.stand_in(kind.as_deref()?, parent));
        let version = version.or_else(|| self.partly.then(String::new));
        let (Some(kind), Some(name), Some(api_version)) = (kind, name, version) else {
            self.incomplete = true;
            return;
        };
        let (kind, name) = match parent {
            Some(parent) => (under(parent.resource_type, &kind), under(parent.name, &name)),
            None => (kind, name),
        };
        let location = member(declared.json, "location").map(|value| self.text(value, &path::join(&declared.path, "location"), turns));
        let Some(scope) = self.scope(declared, parent, &kind, turns) else {
            self.incomplete = true;
            return;
        };
        let names: Vec<&str> = name.split('/').collect();
        let Some(id) = resource_id(&scope, &kind, &names) else {
            self.incomplete = true;
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

    /// A resource that is an extension's, not the resource manager's: what it comes to is not known here.
    fn extension(&mut self, declared: &Declared<'_>, extension: &str) {
        self.incomplete = true;
        if !self.layout.template.extensions().any(|name| name == extension) {
            let hint = nearest(extension, self.layout.template.extensions());
            self.wrong(&declared.path, format!("the template declares no extension '{extension}'{hint}"));
        } else if !self.partly {
            let message =
                format!("the resource is one of the extension '{extension}', only Azure Resource Manager's own are evaluated here");
            self.wrong(&declared.path, message);
        }
    }

    /// A name for a resource whose own is not known, unlike any other and of as many segments as its type asks for.
    fn stand_in(&mut self, kind: &str, parent: Option<&Parent<'_>>) -> Option<String> {
        if !self.partly {
            return None;
        }
        let kind = parent.map_or_else(|| kind.to_owned(), |parent| under(parent.resource_type, kind));
        let mut names: Vec<String> = parent.iter().flat_map(|parent| parent.name.split('/')).map(str::to_owned).collect();
        let segments = kind.split('/').count() - 1;
        names.resize(segments.max(names.len()), format!("{STAND_IN}{}", self.index.resources.len()));
        self.nameless.insert(kind.to_ascii_lowercase());
        Some(names.join("/"))
    }

    /// Whether a dependency may be on a resource that is not seen, or not by its name.
    fn may_be_unseen(&self, text: &str) -> bool {
        let of_type = || type_of(text).is_none_or(|kind| self.nameless.contains(&kind));
        self.incomplete || (!self.nameless.is_empty() && of_type())
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
            // A management group is the tenant's, whatever the deployment goes to.
            None if scope.to_ascii_lowercase().starts_with("microsoft.management/managementgroups/") => format!("/providers/{scope}"),
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
                        waits.extend(items.iter().filter_map(Value::as_str).map(|text| (text.to_owned(), path.clone())));
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
            let mut seen = HashSet::new();
            for (text, path) in waits {
                if !seen.insert(text.to_ascii_lowercase()) {
                    continue;
                }
                match self.index.all(&text) {
                    Some(others) => found.extend(others),
                    None if self.full() || self.may_be_unseen(&text) => {}
                    None => {
                        let known = self.index.names();
                        let hint = nearest(&text, known.iter().copied());
                        self.wrong(&path, format!("the resource '{text}' of 'dependsOn' is not defined in the template{hint}"));
                    }
                }
            }
            self.index.resources[at].depends_on = found;
        }
        // An explicit dependency counts before one that is implied: the latter must not make a circle.
        // The turns of a loop share their JSON, which is looked through once.
        let mut asking: HashMap<*const Value, Rc<[Arc<Expression>]>> = HashMap::new();
        for at in 0..self.index.resources.len() {
            let resource = &self.index.resources[at];
            let found = asking.entry(Arc::as_ptr(&resource.json)).or_insert_with(|| self.asking(resource)).clone();
            let implied = self.implied(at, &found);
            let mut waits = vec![false; self.index.resources.len()];
            for before in self.index.resources[at].depends_on.iter().chain(&implied) {
                waits[*before] = true;
            }
            self.index.resources[at].depends_on = (0..waits.len()).filter(|before| waits[*before]).collect();
        }
    }

    /// The expressions of a resource that may ask about another one.
    fn asking(&self, resource: &Resource) -> Rc<[Arc<Expression>]> {
        let mut found = Vec::new();
        let inner = inner_scope(&resource.json);
        for (key, value) in resource.json.as_object().into_iter().flatten().filter(|(key, _)| !OWN.contains(&key.as_str())) {
            if !(resource.is_deployment() && key.eq_ignore_ascii_case("properties")) {
                asking(&self.layout.scope.template, value, &mut found);
                continue;
            }
            for (key, value) in value.as_object().into_iter().flatten() {
                if !(key.eq_ignore_ascii_case("template") && inner) {
                    asking(&self.layout.scope.template, value, &mut found);
                }
            }
        }
        found.into()
    }

    /// The resources that a resource waits for because it asks about them.
    fn implied(&self, at: usize, asking: &[Arc<Expression>]) -> Vec<usize> {
        let resource = &self.index.resources[at];
        let frame = Frame { index: Some(&self.index), ..self.frame(&resource.turns) };
        let mut texts = BTreeSet::new();
        for expression in asking {
            for text in implied(&frame, expression) {
                texts.insert(text);
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
        let (mut seen, mut next) = (vec![false; self.index.resources.len()], vec![from]);
        while let Some(at) = next.pop() {
            // Out of work it counts as leading there: then nothing is added.
            if at == to || self.layout.scope.budget.charge(8).is_err() {
                return true;
            }
            if !std::mem::replace(&mut seen[at], true) {
                next.extend(&self.index.resources[at].depends_on);
            }
        }
        false
    }
}

/// The extension that a resource belongs to, by its name in the template.
pub(in crate::template) fn extension_of(resource: &Value) -> Option<&str> {
    member(resource, "extension").or_else(|| member(resource, "import")).and_then(Value::as_str)
}

/// Notes the expressions of a value that ask about resources.
fn asking(template: &Template, value: &Value, found: &mut Vec<Arc<Expression>>) {
    match value {
        Value::String(text) => {
            let lower = text.to_ascii_lowercase();
            if (lower.contains("reference") || lower.contains("list"))
                && let Text::Expression(text) = classify(text)
                && let Ok(expression) = template.expression(text)
            {
                found.push(expression);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| asking(template, item, found)),
        Value::Object(map) => map.values().for_each(|item| asking(template, item, found)),
        _ => {}
    }
}

/// The type of the resource that an id names, in lower case; `None` where the text is no id.
fn type_of(text: &str) -> Option<String> {
    let (_, tail) = text.rsplit_once("/providers/")?;
    let mut segments = tail.split('/');
    let namespace = segments.next()?;
    let types = segments.step_by(2);
    Some(types.fold(namespace.to_ascii_lowercase(), |kind, segment| format!("{kind}/{}", segment.to_ascii_lowercase())))
}

/// A child's type or name under its parent's, unless it is whole already.
fn under(parent: &str, child: &str) -> String {
    let whole = child.len() > parent.len() && child.is_char_boundary(parent.len()) && child[..parent.len()].eq_ignore_ascii_case(parent);
    if whole && child[parent.len()..].starts_with('/') { child.to_owned() } else { format!("{parent}/{child}") }
}

/// An order in which everything comes after what it depends on, as the template has it otherwise; or a circle.
pub(super) fn order(resources: &[Resource]) -> Result<Vec<usize>, Vec<usize>> {
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
