//! What is wrong with a template, told before a deployment: all of it, each with its place.

mod expressions;
pub mod lab;

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    Context, Document, Finding, Mode, Template,
    declare::MAX_SIZE,
    deployment::{Deployment, Resource, arguments, expand_partly, extension_of},
    evaluate::{Argument, Evaluator, Frame, Place},
    expression::{Text, classify},
    fault::{Fault, MAX_FINDINGS},
    functions::{describe, member, nearest},
    link::needed_files,
    offline::Offline,
    path::{self, Trail},
};
use crate::order;

/// How the image of the template's VM is to be captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// As a managed or custom image.
    ManagedImage,
    /// As a version in a gallery.
    GalleryVersion,
}

/// Answers an artifact's definition by its name.
pub type FindArtifact<'f> = dyn Fn(&str) -> Option<Value> + 'f;

/// What to check against.
#[derive(Clone, Copy, Default)]
pub struct Options<'o> {
    /// The parameters that will be given, in a request's shape; without them missing ones are not told.
    pub parameters: Option<&'o Map<String, Value>>,
    /// The file that the parameters stand in, with its name, for the places of findings.
    pub parameters_file: Option<(&'o str, &'o Document)>,
    /// Parameters that are supplied later and hence not missing.
    pub supplied: &'o [&'o str],
    /// How the image is to be captured.
    pub capture: Option<Capture>,
    /// The definition (`Artifactfile.json`) of an artifact's name, where it is known.
    pub artifact: Option<&'o FindArtifact<'o>>,
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Options").field("parameters", &self.parameters).field("capture", &self.capture).finish_non_exhaustive()
    }
}

/// What a check finds.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// What Azure would refuse.
    pub errors: Vec<Finding>,
    /// What it would take, though it is hardly meant so.
    pub warnings: Vec<Finding>,
}

impl Checked {
    fn error(&mut self, finding: Finding) {
        if self.full() {
            return;
        }
        // A fault of a value is met again wherever the value is used.
        let known =
            |other: &Finding| other.path == finding.path && other.file == finding.file && (!finding.path.is_empty() || *other == finding);
        if !self.errors.iter().any(known) {
            self.errors.push(finding);
        }
    }

    /// Whether so much is wrong already that more would help nobody.
    fn full(&self) -> bool {
        self.errors.len() >= MAX_FINDINGS
    }

    fn refuse(&mut self, findings: Vec<Finding>) {
        for finding in findings {
            self.error(finding);
        }
    }

    fn warning(&mut self, finding: Finding) {
        if !self.warnings.contains(&finding) {
            self.warnings.push(finding);
        }
    }
}

/// Checks a template (with its links put in place by [`inline`](super::inline), if it has any).
pub fn check(document: &Document, context: &Context, options: &Options<'_>) -> Checked {
    let mut checked = Checked::default();
    if document.size() > MAX_SIZE {
        let message = format!("the template has {} bytes, at most {MAX_SIZE} are allowed", document.size());
        checked.error(Finding::at(document, "", "RequestContentTooLarge", message));
        return checked;
    }
    let document = Arc::new(document.clone());
    let (template, findings) = Template::read(document.clone(), String::new(), document.value().clone());
    checked.refuse(findings);
    if !template.value.is_object() {
        return checked;
    }
    let template = Arc::new(template);
    duplicates(&template, &mut checked);
    shape(&template, &mut checked);
    extensions(&template, &mut checked);
    expressions::check(&template, &mut checked);
    let given = given(&template, options, &mut checked);
    values(&template, &given, context, options, &mut checked);
    in_order(&mut checked.errors);
    in_order(&mut checked.warnings);
    checked
}

/// As they stand in the files.
fn in_order(findings: &mut Vec<Finding>) {
    order::sort(findings, &mut |a, b| (&a.file, a.position).cmp(&(&b.file, b.position)));
}

fn duplicates(template: &Template, checked: &mut Checked) {
    for (path, position) in template.document.duplicates() {
        let message = "the property is written twice, the last one counts".to_owned();
        checked.warning(Finding { code: "InvalidTemplate", path: path.clone(), file: None, position: Some(*position), message });
    }
}

/// `$schema` and `contentVersion`.
fn shape(template: &Template, checked: &mut Checked) {
    match template.section("$schema").map(Value::as_str) {
        None => checked.error(template.finding("", "the template has no '$schema'")),
        Some(Some(schema)) if known_schema(schema) => {}
        Some(found) => {
            let message = format!(
                "'$schema' is '{}', known are https://schema.management.azure.com/schemas/<date>/deploymentTemplate.json# and its kind for \
                 subscriptions, management groups and tenants",
                found.unwrap_or_default()
            );
            checked.error(template.finding("$schema", message));
        }
    }
    match template.section("contentVersion").map(Value::as_str) {
        Some(Some(version)) if version.split('.').count() == 4 && version.split('.').all(|part| part.parse::<u32>().is_ok()) => {}
        None => checked.error(template.finding("", "the template has no 'contentVersion', such as 1.0.0.0")),
        Some(found) => {
            let message = format!("'contentVersion' is '{}', it has the form 1.0.0.0", found.unwrap_or_default());
            checked.error(template.finding("contentVersion", message));
        }
    }
    let sections = [
        "$schema",
        "contentVersion",
        "languageVersion",
        "apiProfile",
        "parameters",
        "variables",
        "functions",
        "resources",
        "outputs",
        "metadata",
        "definitions",
        "imports",
        "extensions",
        "asserts",
        "rules",
        "resourcesGroup",
    ];
    for key in template.value.as_object().into_iter().flat_map(|map| map.keys()) {
        if !sections.iter().any(|section| section.eq_ignore_ascii_case(key)) {
            let message = format!("'{key}' is no section of a template{}", nearest(key, sections.into_iter()));
            checked.error(template.finding(path::join("", key), message));
        }
    }
}

/// Resources that are not the resource manager's own: they are let pass, but not looked at.
fn extensions(template: &Template, checked: &mut Checked) {
    let path = template.path("resources");
    let resources: Vec<(String, &Value)> = match template.section("resources") {
        Some(Value::Array(items)) => items.iter().enumerate().map(|(index, item)| (path::at(&path, index), item)).collect(),
        Some(Value::Object(map)) => map.iter().map(|(key, item)| (path::join(&path, key), item)).collect(),
        _ => Vec::new(),
    };
    for (path, resource) in resources {
        if let Some(name) = extension_of(resource).filter(|name| template.extensions().any(|known| known == *name)) {
            checked.warning(template.finding(path, format!("the resource is one of the extension '{name}', it is not checked")));
        }
    }
}

fn known_schema(schema: &str) -> bool {
    let schema = schema.trim_end_matches('#').to_ascii_lowercase();
    let rest = schema.strip_prefix("https://").or_else(|| schema.strip_prefix("http://"));
    let Some(rest) = rest.and_then(|rest| rest.strip_prefix("schema.management.azure.com/schemas/")) else { return false };
    let Some((date, file)) = rest.split_once('/') else { return false };
    let names = ["deploymenttemplate", "subscriptiondeploymenttemplate", "managementgroupdeploymenttemplate", "tenantdeploymenttemplate"];
    api_version(date) && file.strip_suffix(".json").is_some_and(|name| names.contains(&name))
}

/// Whether a text has the form of an api-version: a date, and after it at most a word such as `-preview`.
fn api_version(text: &str) -> bool {
    let digits = |part: Option<&str>| part.is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let date = digits(text.get(..4))
        && text.get(4..5) == Some("-")
        && digits(text.get(5..7))
        && text.get(7..8) == Some("-")
        && digits(text.get(8..10));
    let rest = text.get(10..).unwrap_or_default();
    date && (rest.is_empty()
        || rest
            .strip_prefix('-')
            .is_some_and(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')))
}

/// Checks the given parameters, and keeps those that are right.
fn given(template: &Template, options: &Options<'_>, checked: &mut Checked) -> Map<String, Value> {
    let Some(parameters) = options.parameters else { return Map::new() };
    let mut kept = parameters.clone();
    for mut finding in template.check_parameters(parameters) {
        let name = path::parse_path(&finding.path).into_iter().nth(1);
        if let Some(path::Step::Key(name)) = name {
            kept.shift_remove(&name);
        }
        if let Some((file, document)) = options.parameters_file {
            let bare = member(document.value(), "parameters").is_none();
            let path =
                if bare { finding.path.trim_start_matches("parameters").trim_start_matches('.').to_owned() } else { finding.path.clone() };
            finding.position = document.position(&path);
            finding.file = Some(file.to_owned());
        }
        checked.error(finding);
    }
    for parameter in template.missing_parameters(parameters) {
        if options.supplied.iter().any(|name| name.eq_ignore_ascii_case(&parameter.name)) {
            continue;
        }
        let message = format!("the value for the template parameter '{}' is not provided", parameter.name);
        checked.error(template.finding(&parameter.path, message));
    }
    if let Some((file, document)) = options.parameters_file {
        for (path, position) in document.duplicates() {
            let message = "the property is written twice, the last one counts".to_owned();
            checked.warning(Finding {
                code: "InvalidParameterFile",
                path: path.clone(),
                file: Some(file.to_owned()),
                position: Some(*position),
                message,
            });
        }
    }
    kept
}

/// Evaluates all that can be evaluated, and looks at what comes out.
fn values(template: &Arc<Template>, given: &Map<String, Value>, context: &Context, options: &Options<'_>, checked: &mut Checked) {
    let mut known = match arguments(given, &Offline) {
        Ok(known) => known,
        Err(fault) => return checked.error(fault.into_finding()),
    };
    for parameter in template.parameters.iter().filter(|parameter| parameter.schema.is_null()) {
        known.insert(parameter.name.to_ascii_lowercase(), Argument::Unknown("its declaration is wrong".to_owned()));
    }
    // A value given and refused is not known, even where there is a default.
    for name in options.parameters.into_iter().flat_map(Map::keys).filter(|name| !given.contains_key(*name)) {
        known.insert(name.to_ascii_lowercase(), Argument::Unknown("the given value is not valid".to_owned()));
    }
    let (deployment, findings) = expand_partly(template, known, context);
    checked.refuse(findings);
    names(&deployment, checked);
    let noted = RefCell::new(HashSet::new());
    let faults = RefCell::new(Vec::new());
    let evaluator = Evaluator::collecting(&Offline, &noted, &faults);
    let mut machines = Vec::new();
    resources(&deployment, &evaluator, &noted, options, &mut machines, checked);
    for fault in faults.into_inner() {
        refuse(fault, checked);
    }
    lab::conventions(template, &machines, checked);
}

/// The declarations that nothing may use: default values and variables.
fn names(deployment: &Deployment, checked: &mut Checked) {
    let template = &deployment.template;
    let evaluator = Evaluator::new(&Offline);
    let frame = Frame::new(&evaluator, &deployment.scope, Place::Default);
    for parameter in &template.parameters {
        let Some(default) = &parameter.default_value else { continue };
        let path = path::join(&parameter.path, "defaultValue");
        match frame.value(default, &Trail::Start(&path)) {
            Ok(Value::Null) => {}
            Ok(value) => {
                for (inside, problem) in template.mismatches(parameter, &value) {
                    let message = format!("the default value of the parameter '{}' is not valid: {problem}", parameter.name);
                    checked.error(template.finding(format!("{path}{inside}"), message));
                }
            }
            Err(fault) => refuse(fault, checked),
        }
    }
    let frame = Frame { place: Place::Before, ..frame };
    for variable in &template.variables {
        if let Err(fault) = frame.variable(&variable.name) {
            refuse(fault, checked);
        }
    }
}

fn refuse(fault: Fault, checked: &mut Checked) {
    if !fault.is_unresolved() {
        checked.error(fault.into_finding());
    }
}

fn resources(
    deployment: &Deployment,
    evaluator: &Evaluator<'_>,
    noted: &RefCell<HashSet<String>>,
    options: &Options<'_>,
    machines: &mut Vec<lab::LabVirtualMachine>,
    checked: &mut Checked,
) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (index, resource) in deployment.resources().iter().enumerate() {
        let template = &deployment.scope.template;
        if !resource.api_version.is_empty() && !api_version(&resource.api_version) {
            let message = format!("the api-version '{}' is no date such as 2018-09-15, with or without -preview", resource.api_version);
            checked.error(template.finding(path::join(&resource.path, "apiVersion"), message));
        }
        if !resource.condition || resource.existing {
            continue;
        }
        // The turns of a loop hardly differ in their faults: the first, the second and those that name lab VMs are looked at.
        let turns = seen.entry(resource.path.clone()).or_default();
        *turns += 1;
        if *turns > 2 && !resource.resource_type.eq_ignore_ascii_case(lab::VIRTUAL_MACHINES) {
            continue;
        }
        if resource.is_deployment() {
            nested_mode(deployment, resource, checked);
            let properties = deployment.body_with(index, evaluator).ok().and_then(|mut body| body.get_mut("properties").map(Value::take));
            let links = properties.as_ref().and_then(Value::as_object).into_iter().flatten().filter(|(key, _)| key.ends_with("Link"));
            for (key, link) in links {
                must_be_downloaded(deployment, link, &path::join(&path::join(&resource.path, "properties"), key), checked);
            }
            match deployment.nested_with(index, evaluator) {
                Ok(nested) => resources(&nested.deployment, evaluator, noted, options, machines, checked),
                Err(faults) => faults.into_iter().for_each(|fault| refuse(fault, checked)),
            }
            continue;
        }
        let body = deployment.body_with(index, evaluator);
        if let Ok(body) = &body {
            must_be_downloaded(deployment, body, &resource.path, checked);
        }
        match body {
            Ok(body) if resource.resource_type.eq_ignore_ascii_case(lab::VIRTUAL_MACHINES) => {
                let machine = lab::read(resource, &body, &noted.borrow());
                lab::check(template, resource, &machine, &body, &noted.borrow(), &deployment.context, options, checked);
                machines.push(machine);
            }
            Ok(_) => {}
            Err(fault) => refuse(fault, checked),
        }
    }
    if let Err(findings) = deployment.outputs_with(evaluator) {
        checked.refuse(findings);
    }
}

/// A nested deployment says how it goes, and only the outermost one is complete.
fn nested_mode(deployment: &Deployment, resource: &Resource, checked: &mut Checked) {
    let Some(properties) = member(&resource.json, "properties") else { return };
    let path = path::join(&resource.path, "properties");
    let (path, message) = match member(properties, "mode").map(|mode| mode.as_str().and_then(Mode::of)) {
        None => (path, "a nested deployment needs a 'mode': Azure asks for one, 'Incremental' is meant"),
        Some(Some(Mode::Complete)) => {
            (path::join(&path, "mode"), "only the outermost deployment can be complete: a nested one is taken as 'Incremental'")
        }
        Some(_) => return,
    };
    checked.warning(deployment.scope.template.finding(path, message.to_owned()));
}

/// Tells the files that Azure would have to download from beside a template that has no address.
fn must_be_downloaded(deployment: &Deployment, value: &Value, path: &str, checked: &mut Checked) {
    let mut needed = Vec::new();
    needed_files(value, &Trail::Start(path), &mut needed);
    for (path, file) in needed {
        let what = if file.is_empty() { "what is beside the template".to_owned() } else { format!("the file '{file}'") };
        let message = format!(
            "Azure itself must download {what}, and the template is sent without an address: put it where Azure can reach it and pass that \
             place in the parameter '_artifactsLocation'"
        );
        checked.error(deployment.scope.template.finding(path, message));
    }
}

/// Whether a text of a template is an expression.
fn is_expression(text: &str) -> bool {
    matches!(classify(text), Text::Expression(_))
}

/// A property that must be a string, when it is known.
fn known_text<'v>(value: Option<&'v Value>, noted: &HashSet<String>) -> Option<&'v str> {
    value.and_then(Value::as_str).filter(|text| !noted.contains(*text))
}

/// What a value is, for messages.
fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), describe)
}
