//! Linked templates put in place of their links, so that nothing need be uploaded before a deployment.
//!
//! Links are followed by `relativePath`, and by `uri` where that is built from the `_artifactsLocation` parameter or from the template's own
//! address. Where a path leads is the caller's business: a function loads it.
//!
//! A template that is sent in a request has no address of its own. Where it asks for one, [`embed`] writes a placeholder that leads nowhere,
//! and [`needed_files`] tells what still depends on it: files that Azure itself must download.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::{
    Context, Document, Finding, Level, Mode, ResourceGroup, Template,
    declare::{MAX_SIZE, parameter_values},
    evaluate::{Argument, Evaluator, Frame, Place, Scope},
    expression::{self, Text, classify},
    fault::Budget,
    functions::{member, resolve_uri},
    offline::Offline,
    path::{self, Trail},
};

/// Stands for the place that the templates are at.
const BASE: &str = "https://templates.invalid/";
/// How many templates may be linked, altogether.
const MAX_LINKS: usize = 800;

/// Loads a file by its path below the folder of the main template, with `/` between the parts; `None` when there is no such file.
pub type Load<'l> = dyn FnMut(&str) -> Result<Option<Vec<u8>>, String> + 'l;

/// Puts the templates and parameter files that a template links to in place of the links, recursively, as nested deployments with a scope
/// of their own. `name` is the template's own path below its folder. Links to what cannot be loaded, and to other places, stay as they are.
///
/// Refused are circles, paths that lead out of the folder, files that are no JSON, and more than 4 MB altogether.
pub fn inline(document: Document, name: &str, load: &mut Load<'_>) -> Result<Document, Vec<Finding>> {
    put_in_place(document, name, false, load)
}

/// Makes a template that can be sent in a request: links put in place as [`inline`] does, and a placeholder wherever the template asks for
/// the address that it was downloaded from, `_artifactsLocation` without a default value among it.
pub fn embed(document: Document, name: &str, load: &mut Load<'_>) -> Result<Document, Vec<Finding>> {
    put_in_place(document, name, true, load)
}

fn put_in_place(document: Document, name: &str, embedded: bool, load: &mut Load<'_>) -> Result<Document, Vec<Finding>> {
    let text = document.value().to_string();
    if !text.contains("Link\"") && !(embedded && (text.contains("templateLink") || text.contains("_artifactsLocation"))) {
        return Ok(document);
    }
    let mut inliner = Inliner { load, embedded, stack: vec![name.to_owned()], size: document.size(), links: 0, findings: Vec::new() };
    let document = inliner.document(document);
    if inliner.size > MAX_SIZE {
        let message = format!("the template and what it links to have {} bytes, at most {MAX_SIZE} are allowed", inliner.size);
        inliner.findings.push(Finding::at(&document, "", "RequestContentTooLarge", message));
    }
    if inliner.findings.is_empty() { Ok(document) } else { Err(inliner.findings) }
}

struct Inliner<'l, 'c> {
    load: &'l mut Load<'c>,
    /// Whether the template is to be sent in a request.
    embedded: bool,
    /// The files that are being read, each linked from the one before.
    stack: Vec<String>,
    size: usize,
    links: usize,
    findings: Vec<Finding>,
}

/// What was put in place in one document.
#[derive(Default)]
struct Put {
    /// Files: their path in the document, their name, themselves.
    included: Vec<(String, String, Document)>,
    /// The links that stood there, with their path.
    links: Vec<(String, Value)>,
}

impl Inliner<'_, '_> {
    fn document(&mut self, document: Document) -> Document {
        let mut value = document.value().clone();
        let mut put = Put::default();
        let shared = Arc::new(document);
        self.template(&mut value, &shared, "", &mut put);
        // Only the main template's parameters are given by whoever deploys.
        let is_main = self.stack.len() == 1;
        if self.embedded {
            let address = format!("{BASE}{}", self.stack.last().map_or("", String::as_str));
            if is_main {
                give_place(&mut value, &address);
            }
            give_address(&mut value, &address);
        } else if is_main && !put.included.is_empty() {
            give_place(&mut value, "[deployment().properties.templateLink.uri]");
        }
        let mut document = Arc::unwrap_or_clone(shared);
        document.include(value, put.included, put.links);
        document
    }

    /// A template, in a document: the links of its resources and of the templates nested in it.
    fn template(&mut self, template: &mut Value, document: &Arc<Document>, base: &str, put: &mut Put) {
        // The declarations are read only where a link may need them.
        if !template.to_string().contains("Link\"") {
            return;
        }
        let (read, _) = Template::read(document.clone(), base.to_owned(), template.clone());
        let scope = scope(Arc::new(read), self.stack.last().map_or("", String::as_str));
        if let Some(resources) = template.get_mut("resources") {
            self.resources(resources, &path::join(base, "resources"), document, &scope, put);
        }
    }

    fn resources(&mut self, resources: &mut Value, base: &str, document: &Arc<Document>, scope: &Scope, put: &mut Put) {
        let each: Vec<(String, &mut Value)> = match resources {
            Value::Array(items) => items.iter_mut().enumerate().map(|(index, item)| (path::at(base, index), item)).collect(),
            Value::Object(map) => map.iter_mut().map(|(key, item)| (path::join(base, key), item)).collect(),
            _ => return,
        };
        for (base, resource) in each {
            let deployment = member(resource, "type")
                .and_then(Value::as_str)
                .is_some_and(|kind| kind.eq_ignore_ascii_case("Microsoft.Resources/deployments"));
            if deployment {
                if let Some(Value::Object(properties)) = resource.get_mut("properties") {
                    self.deployment(properties, &path::join(&base, "properties"), document, scope, put);
                }
            } else if let Some(children) = resource.get_mut("resources") {
                self.resources(children, &path::join(&base, "resources"), document, scope, put);
            }
        }
    }

    fn deployment(&mut self, properties: &mut Map<String, Value>, base: &str, document: &Arc<Document>, scope: &Scope, put: &mut Put) {
        if let Some(template) = properties.get_mut("template") {
            return self.template(template, document, &path::join(base, "template"), put);
        }
        if let Some(link) = properties.get("parametersLink")
            && let Some((_, linked)) = self.linked(link, &path::join(base, "parametersLink"), document, scope)
        {
            match parameter_values(&linked) {
                Ok(values) => {
                    put.links.extend(properties.shift_remove("parametersLink").map(|link| (base.to_owned(), link)));
                    let own = properties.entry("parameters").or_insert_with(|| json!({}));
                    if let Value::Object(own) = own {
                        for (name, value) in values {
                            own.entry(name).or_insert(value);
                        }
                    }
                }
                Err(finding) => self.findings.push(finding),
            }
        }
        let Some(link) = properties.get("templateLink") else { return };
        let at = path::join(base, "templateLink");
        let Some((file, linked)) = self.linked(link, &at, document, scope) else { return };
        self.stack.push(file.clone());
        let linked = self.document(linked);
        self.stack.pop();
        let place = properties.keys().position(|key| key == "templateLink").unwrap_or_default();
        put.links.extend(properties.shift_remove("templateLink").map(|link| (base.to_owned(), link)));
        properties.shift_insert(place.min(properties.len()), "template".to_owned(), linked.value().clone());
        properties.insert("expressionEvaluationOptions".to_owned(), json!({"scope": "inner"}));
        put.included.push((path::join(base, "template"), file, linked));
    }

    /// The file behind a link, when it stands below our folder.
    fn linked(&mut self, link: &Value, at: &str, document: &Arc<Document>, scope: &Scope) -> Option<(String, Document)> {
        let mut refuse = |code: &'static str, message: String| self.findings.push(Finding::at(document, at, code, message));
        let file = match below(link, at, scope)? {
            Ok(file) => file,
            Err(problem) => {
                refuse("InvalidTemplateLink", problem);
                return None;
            }
        };
        if self.stack.contains(&file) {
            let chain = self.stack.join("' -> '");
            refuse("InvalidTemplateLink", format!("the templates link to each other in a circle: '{chain}' -> '{file}'"));
            return None;
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            refuse("InvalidTemplateLink", format!("more than {MAX_LINKS} templates are linked"));
            return None;
        }
        let bytes = match (self.load)(&file) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                // A relative path can mean nothing else than a file beside this one; an address may be found by Azure.
                if member(link, "relativePath").is_some() {
                    refuse("InvalidTemplateLink", format!("the linked file '{file}' does not exist"));
                }
                return None;
            }
            Err(problem) => {
                refuse("InvalidTemplateLink", format!("the linked file '{file}' cannot be read: {problem}"));
                return None;
            }
        };
        self.size += bytes.len();
        if self.size > MAX_SIZE {
            return None;
        }
        match Document::parse(&bytes) {
            Ok(linked) => Some((file, linked)),
            Err(error) => {
                self.findings.push(Finding {
                    code: "InvalidTemplate",
                    path: String::new(),
                    file: Some(file),
                    position: Some(error.position),
                    message: error.problem,
                });
                None
            }
        }
    }
}

/// The path of a link's file below the folder; `None` when it leads elsewhere.
fn below(link: &Value, at: &str, scope: &Scope) -> Option<Result<String, String>> {
    let evaluator = Evaluator::new(&Offline);
    let frame = Frame::new(&evaluator, scope, Place::Before);
    let text = |key: &str| {
        let value = member(link, key)?;
        let path = path::join(at, key);
        frame.value(value, &Trail::Start(&path)).ok().and_then(|value| value.as_str().map(str::to_owned))
    };
    let uri = match text("relativePath") {
        Some(relative) => {
            if leads_out(scope.context.template_link.as_deref().unwrap_or(BASE), &relative) {
                return Some(Err(format!("the relative path '{relative}' leads out of the template's folder")));
            }
            resolve_uri(scope.context.template_link.as_deref().unwrap_or(BASE), &relative)?
        }
        None => text("uri")?,
    };
    let rest = uri.strip_prefix(BASE)?;
    let file = rest.split(['?', '#']).next().unwrap_or_default();
    let parts: Vec<&str> = file.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") || file.contains('\\') {
        return Some(Err(format!("the link '{file}' leads out of the template's folder")));
    }
    (!parts.is_empty()).then(|| Ok(parts.join("/")))
}

/// Whether a relative path has more `..` than there are folders to leave.
fn leads_out(base: &str, relative: &str) -> bool {
    let folders = base.strip_prefix(BASE).unwrap_or_default().matches('/').count();
    let mut depth = i64::try_from(folders).unwrap_or_default();
    for part in relative.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return true;
        }
    }
    relative.starts_with('/')
}

/// Gives the parameters for the templates' place a default value, where the template does not.
fn give_place(template: &mut Value, place: &str) {
    let Some(Value::Object(parameters)) = member_mut(template, "parameters") else { return };
    for (name, declared) in parameters {
        let default = match name.to_ascii_lowercase().as_str() {
            "_artifactslocation" => place,
            "_artifactslocationsastoken" => "",
            _ => continue,
        };
        if let Value::Object(declared) = declared
            && !declared.keys().any(|key| key.eq_ignore_ascii_case("defaultValue"))
        {
            declared.insert("defaultValue".to_owned(), default.into());
        }
    }
}

/// Replaces `deployment().properties.templateLink.uri` by an address, in every expression.
fn give_address(value: &mut Value, address: &str) {
    match value {
        Value::String(text) if text.contains("emplateLink") => {
            if let Text::Expression(expression) = classify(text)
                && let Ok(parsed) = expression::parse(expression)
            {
                let mut places = Vec::new();
                parsed.each(&mut |part| places.extend(part.template_address()));
                // From the end, so that the offsets before stay right.
                for (start, last) in places.into_iter().rev() {
                    let characters: Vec<char> = text.chars().collect();
                    let name = characters[last + 1..].iter().position(|c| !c.is_whitespace()).unwrap_or_default();
                    let (before, after) = (&characters[..start], &characters[last + 1 + name + "uri".len()..]);
                    *text =
                        before.iter().collect::<String>() + "'" + &address.replace('\'', "''") + "'" + &after.iter().collect::<String>();
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| give_address(item, address)),
        Value::Object(map) => map.values_mut().for_each(|item| give_address(item, address)),
        _ => {}
    }
}

/// The files that a value wants from the place which the placeholder stands for, each with its path in the value.
pub(crate) fn needed_files(value: &Value, trail: &Trail<'_>, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => {
            if let Some((_, rest)) = text.split_once(BASE) {
                let file = rest.split(['?', '#', ' ', '"', '\'', '`', ';', ',']).next().unwrap_or_default();
                found.push((trail.to_string(), file.to_owned()));
            }
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| needed_files(item, &trail.index(index), found)),
        Value::Object(map) => map.iter().for_each(|(key, item)| needed_files(item, &trail.key(key), found)),
        _ => {}
    }
}

fn member_mut<'v>(value: &'v mut Value, name: &str) -> Option<&'v mut Value> {
    value.as_object_mut()?.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// What a link's expression sees: the artifacts' location is where the templates are, other parameters have their defaults.
fn scope(template: Arc<Template>, file: &str) -> Scope {
    let mut given = HashMap::new();
    given.insert("_artifactslocation".to_owned(), Argument::Value(BASE.into()));
    given.insert("_artifactslocationsastoken".to_owned(), Argument::Value("".into()));
    let group = ResourceGroup { name: "group".to_owned(), location: "location".to_owned(), tags: Map::new() };
    let context = Context {
        tenant_id: String::new(),
        subscription_id: String::new(),
        subscription_name: String::new(),
        level: Level::ResourceGroup(group),
        deployment_name: String::new(),
        location: None,
        mode: Mode::default(),
        template_link: Some(format!("{BASE}{file}")),
        environment: super::public_cloud(),
        now: OffsetDateTime::UNIX_EPOCH,
    };
    Scope::new(template, context, given, Arc::new(Budget::new()))
}
