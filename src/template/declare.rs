//! What a template declares: parameters, variables, functions, types; and whether given values fit.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Map, Value};

use super::{
    Document, Finding,
    evaluate::{loops, weight},
    expression::{self, Expression, SyntaxError},
    fault::MAX_FINDINGS,
    functions::{describe, get, member, same},
    path,
};

/// The largest template, in bytes of its file.
pub(crate) const MAX_SIZE: usize = 4 << 20;
const MAX_PARAMETERS: usize = 256;
const MAX_VARIABLES: usize = 256;
const MAX_OUTPUTS: usize = 64;
/// How many values are compared with their types for one parameter.
const MAX_COMPARISONS: usize = 1_000_000;
/// How many `$ref`s may follow each other.
const MAX_REFERENCES: usize = 16;

/// A template whose declarations have been read.
#[derive(Debug)]
pub struct Template {
    pub(crate) document: Arc<Document>,
    /// Where the template stands in its document: empty, or the path of a nested one.
    pub(crate) base: String,
    pub(crate) value: Value,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) parameter_index: HashMap<String, usize>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) variable_index: HashMap<String, usize>,
    pub(crate) functions: Vec<UserFunction>,
    expressions: Mutex<HashMap<String, Result<Arc<Expression>, SyntaxError>>>,
}

/// A parameter, as a template declares it.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name, as the template spells it.
    pub name: String,
    /// Its type.
    pub kind: ParameterType,
    /// Its default value, unevaluated: it may be an expression.
    pub default_value: Option<Value>,
    /// The only values that it takes.
    pub allowed_values: Option<Vec<Value>>,
    /// The least integer.
    pub min_value: Option<i64>,
    /// The greatest integer.
    pub max_value: Option<i64>,
    /// The least number of characters or elements.
    pub min_length: Option<i64>,
    /// The greatest number of characters or elements.
    pub max_length: Option<i64>,
    /// Whether null is a value of it (language version 2.0).
    pub nullable: bool,
    /// What its metadata says of it.
    pub description: Option<String>,
    /// Its JSON path in the template's document.
    pub path: String,
    pub(crate) schema: Value,
}

impl Parameter {
    /// Whether its value is a secret.
    pub fn secure(&self) -> bool {
        matches!(self.kind, ParameterType::SecureString | ParameterType::SecureObject)
    }

    /// Whether a deployment must be given a value.
    pub fn required(&self) -> bool {
        self.default_value.is_none() && !self.nullable
    }
}

/// A parameter's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterType {
    /// `string`
    String,
    /// `securestring`
    SecureString,
    /// `int`
    Int,
    /// `bool`
    Bool,
    /// `object`
    Object,
    /// `secureObject`
    SecureObject,
    /// `array`
    Array,
}

impl ParameterType {
    /// The type of a name, whatever its casing.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "string" => Self::String,
            "securestring" => Self::SecureString,
            "int" => Self::Int,
            "bool" => Self::Bool,
            "object" => Self::Object,
            "secureobject" => Self::SecureObject,
            "array" => Self::Array,
            _ => return None,
        })
    }

    /// Its name as the documentation spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::SecureString => "securestring",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::Object => "object",
            Self::SecureObject => "secureObject",
            Self::Array => "array",
        }
    }

    fn fits(self, value: &Value) -> bool {
        match self {
            Self::String | Self::SecureString => value.is_string(),
            Self::Int => value.as_i64().is_some(),
            Self::Bool => value.is_boolean(),
            Self::Object | Self::SecureObject => value.is_object(),
            Self::Array => value.is_array(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    /// Its value or, looped, `{"name", "count", "input"}`.
    pub(crate) value: Value,
    pub(crate) looped: bool,
    pub(crate) path: String,
}

#[derive(Debug)]
pub(crate) struct UserFunction {
    pub(crate) name: String,
    pub(crate) parameters: Vec<String>,
    pub(crate) output: Value,
    pub(crate) path: String,
}

impl Template {
    /// Reads a template's declarations. All that is wrong with them is told, not the first alone.
    pub fn parse(document: Document) -> Result<Self, Vec<Finding>> {
        let size = document.size();
        if size > MAX_SIZE {
            let message = format!("the template has {size} bytes, at most {MAX_SIZE} are allowed");
            return Err(vec![Finding::at(&document, "", "RequestContentTooLarge", message)]);
        }
        let value = document.value().clone();
        Self::within(Arc::new(document), String::new(), value)
    }

    /// Reads a template that stands somewhere in a document.
    pub(crate) fn within(document: Arc<Document>, base: String, value: Value) -> Result<Self, Vec<Finding>> {
        let (template, findings) = Self::read(document, base, value);
        if findings.is_empty() { Ok(template) } else { Err(findings) }
    }

    /// Reads a template as far as that goes, and tells what is wrong.
    pub(crate) fn read(document: Arc<Document>, base: String, value: Value) -> (Self, Vec<Finding>) {
        let mut template = Self {
            document,
            base,
            value: Value::Null,
            parameters: Vec::new(),
            parameter_index: HashMap::new(),
            variables: Vec::new(),
            variable_index: HashMap::new(),
            functions: Vec::new(),
            expressions: Mutex::default(),
        };
        let mut findings = Vec::new();
        template.read_shape(&value, &mut findings);
        template.read_parameters(&value, &mut findings);
        template.read_variables(&value, &mut findings);
        template.read_functions(&value, &mut findings);
        template.value = value;
        (template, findings)
    }

    /// The parameters that the template declares, in its order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameter of a name, whatever its casing.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameter_index.get(&name.to_ascii_lowercase()).map(|index| &self.parameters[*index])
    }

    /// The template's JSON.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The document in which it stands.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// A section of the template.
    pub(crate) fn section(&self, name: &str) -> Option<&Value> {
        member(&self.value, name)
    }

    /// The names of the extensions that the template declares; `imports` is their older name.
    pub(crate) fn extensions(&self) -> impl Iterator<Item = &str> {
        let sections = ["extensions", "imports"].into_iter().filter_map(|name| self.section(name).and_then(Value::as_object));
        sections.flat_map(|section| section.keys().map(String::as_str))
    }

    /// The template's own function of a name, `namespace.name` whatever its casing.
    pub(crate) fn function(&self, name: &str) -> Option<&UserFunction> {
        self.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))
    }

    /// The JSON path of something in the template.
    pub(crate) fn path(&self, key: &str) -> String {
        path::join(&self.base, key)
    }

    pub(crate) fn finding(&self, path: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding::at(&self.document, path, "InvalidTemplate", message)
    }

    /// The parsed form of an expression.
    pub(crate) fn expression(&self, text: &str) -> Result<Arc<Expression>, SyntaxError> {
        let mut parsed = self.expressions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = parsed.get(text) {
            return known.clone();
        }
        let expression = expression::parse(text).map(Arc::new);
        parsed.insert(text.to_owned(), expression.clone());
        expression
    }

    fn read_shape(&self, value: &Value, findings: &mut Vec<Finding>) {
        if !value.is_object() {
            findings.push(self.finding(&self.base, format!("a template must be an object, found {}", describe(value))));
            return;
        }
        for section in ["parameters", "variables", "outputs", "definitions"] {
            if let Some(found) = member(value, section).filter(|found| !found.is_object() && !found.is_null()) {
                findings.push(self.finding(self.path(section), format!("'{section}' must be an object, found {}", describe(found))));
            }
        }
        match member(value, "resources") {
            Some(Value::Array(_) | Value::Object(_)) => {}
            Some(found) => {
                findings.push(self.finding(self.path("resources"), format!("'resources' must be an array, found {}", describe(found))));
            }
            None => findings.push(self.finding(&self.base, "the template has no 'resources'")),
        }
        for (section, most) in [("parameters", MAX_PARAMETERS), ("variables", MAX_VARIABLES), ("outputs", MAX_OUTPUTS)] {
            let count = member(value, section).and_then(Value::as_object).map_or(0, Map::len);
            if count > most {
                findings.push(self.finding(self.path(section), format!("the template has {count} {section}, at most {most} are allowed")));
            }
        }
    }

    fn declare_parameter(&mut self, parameter: Parameter, findings: &mut Vec<Finding>) {
        let (name, path) = (&parameter.name, &parameter.path);
        if self.parameter_index.insert(name.to_ascii_lowercase(), self.parameters.len()).is_some() {
            findings.push(self.finding(path, format!("the parameter '{name}' is declared twice, names differ by more than casing")));
        }
        self.parameters.push(parameter);
    }

    fn read_parameters(&mut self, value: &Value, findings: &mut Vec<Finding>) {
        let definitions = member(value, "definitions").unwrap_or(&Value::Null);
        for (name, declared) in member(value, "parameters").and_then(Value::as_object).into_iter().flatten() {
            let path = path::join(&self.path("parameters"), name);
            let parameter = Parameter::read(name, declared, definitions, &path).unwrap_or_else(|problem| {
                findings.push(self.finding(path.clone(), problem));
                Parameter::unknown(name, declared, path)
            });
            self.declare_parameter(parameter, findings);
        }
    }

    fn read_variables(&mut self, value: &Value, findings: &mut Vec<Finding>) {
        let all = self.path("variables");
        for (name, value) in member(value, "variables").and_then(Value::as_object).into_iter().flatten() {
            let path = path::join(&all, name);
            let Some(loops) = loops(name, value) else {
                self.declare_variable(name, value.clone(), false, path, findings);
                continue;
            };
            for (index, each) in loops.iter().enumerate() {
                let path = path::at(&path, index);
                match each.get("name").and_then(Value::as_str) {
                    Some(name) => self.declare_variable(name, each.clone(), true, path, findings),
                    None => findings.push(self.finding(path, "the name of a variable's copy loop must be a string")),
                }
            }
        }
    }

    fn declare_variable(&mut self, name: &str, value: Value, looped: bool, path: String, findings: &mut Vec<Finding>) {
        if self.variable_index.insert(name.to_ascii_lowercase(), self.variables.len()).is_some() {
            findings.push(self.finding(&path, format!("the variable '{name}' is declared twice, names differ by more than casing")));
        }
        self.variables.push(Variable { name: name.to_owned(), value, looped, path });
    }

    fn read_functions(&mut self, value: &Value, findings: &mut Vec<Finding>) {
        let Some(namespaces) = member(value, "functions") else { return };
        let all = self.path("functions");
        let Some(namespaces) = namespaces.as_array() else {
            findings.push(self.finding(all, "'functions' must be an array of namespaces with members"));
            return;
        };
        for (index, entry) in namespaces.iter().enumerate() {
            let base = path::at(&all, index);
            let namespace = member(entry, "namespace").and_then(Value::as_str);
            let members = member(entry, "members").and_then(Value::as_object);
            let (Some(namespace), Some(members)) = (namespace, members) else {
                findings.push(self.finding(base, "an entry of 'functions' needs 'namespace' and 'members'"));
                continue;
            };
            for (name, declared) in members {
                let path = path::join(&path::join(&base, "members"), name);
                let Some(output) = member(declared, "output").and_then(|output| member(output, "value")) else {
                    findings.push(self.finding(path, format!("the function '{namespace}.{name}' has no 'output' with a 'value'")));
                    continue;
                };
                let parameters = member(declared, "parameters").and_then(Value::as_array).into_iter().flatten();
                let parameters = parameters.filter_map(|p| member(p, "name").and_then(Value::as_str).map(str::to_owned)).collect();
                let function = UserFunction { name: format!("{namespace}.{name}"), parameters, output: output.clone(), path };
                self.functions.retain(|known| !known.name.eq_ignore_ascii_case(&function.name));
                self.functions.push(function);
            }
        }
    }

    /// Everything that is wrong with the values given for the parameters, in the parameter file's shape. Paths are those of that file.
    pub fn check_parameters(&self, given: &Map<String, Value>) -> Vec<Finding> {
        let finding = |path: String, message: String| Finding { code: "InvalidTemplate", path, file: None, position: None, message };
        let mut findings = Vec::new();
        for (name, value) in given {
            let path = path::join("parameters", name);
            let Some(parameter) = self.parameter(name) else {
                let hint = super::functions::nearest(name, self.parameters.iter().map(|p| p.name.as_str()));
                let known: Vec<&str> = self.parameters.iter().map(|p| p.name.as_str()).collect();
                let mark = if hint.is_empty() { ";" } else { "" };
                let message = format!("the template has no parameter '{name}'{hint}{mark} its parameters are '{}'", known.join(", "));
                findings.push(finding(path, message));
                continue;
            };
            match (member(value, "value"), member(value, "reference")) {
                (None, Some(_)) => {}
                (None, None) => {
                    findings.push(finding(path, format!("the parameter '{name}' is given neither a 'value' nor a 'reference'")));
                }
                (Some(Value::Null), _) => {
                    if parameter.required() {
                        findings.push(finding(path, format!("the value for the template parameter '{name}' is null")));
                    }
                }
                (Some(value), _) => {
                    for (inside, problem) in self.mismatches(parameter, value) {
                        let message = format!("the value for the template parameter '{}' is not valid: {problem}", parameter.name);
                        findings.push(finding(format!("{}{inside}", path::join(&path, "value")), message));
                    }
                }
            }
        }
        findings
    }

    /// The declared parameters that need a value and have none.
    pub fn missing_parameters<'t>(&'t self, given: &Map<String, Value>) -> Vec<&'t Parameter> {
        let has = |parameter: &Parameter| given.keys().any(|name| name.eq_ignore_ascii_case(&parameter.name));
        self.parameters.iter().filter(|parameter| parameter.required() && !has(parameter)).collect()
    }

    /// What about a value does not fit a parameter, each with the path inside the value.
    pub(crate) fn mismatches(&self, parameter: &Parameter, value: &Value) -> Vec<(String, String)> {
        let definitions = self.section("definitions").unwrap_or(&Value::Null);
        let mut found = Mismatches { found: Vec::new(), work: MAX_COMPARISONS };
        conform(value, &parameter.schema, definitions, String::new(), 0, &mut found);
        found.found
    }
}

impl Parameter {
    /// A parameter whose declaration is wrong: any value fits, so that nothing else is said of it.
    fn unknown(name: &str, declared: &Value, path: String) -> Self {
        Self {
            name: name.to_owned(),
            kind: ParameterType::SecureObject,
            default_value: member(declared, "defaultValue").cloned(),
            allowed_values: None,
            min_value: None,
            max_value: None,
            min_length: None,
            max_length: None,
            nullable: false,
            description: None,
            path,
            schema: Value::Null,
        }
    }

    fn read(name: &str, declared: &Value, definitions: &Value, path: &str) -> Result<Self, String> {
        let schema = resolved(declared, definitions)?;
        let kind = match member(&schema, "type").and_then(Value::as_str) {
            Some(kind) => ParameterType::of(kind).ok_or_else(|| {
                let hint = super::functions::nearest(kind, ["string", "securestring", "int", "bool", "object", "secureObject", "array"].into_iter());
                format!("the type '{kind}' of the parameter '{name}' is none of string, securestring, int, bool, object, secureObject, array{hint}")
            })?,
            None => return Err(format!("the parameter '{name}' has no 'type'")),
        };
        let integer = |key: &str| member(&schema, key).and_then(Value::as_i64);
        Ok(Self {
            name: name.to_owned(),
            kind,
            default_value: member(declared, "defaultValue").cloned(),
            allowed_values: member(&schema, "allowedValues").and_then(Value::as_array).cloned(),
            min_value: integer("minValue"),
            max_value: integer("maxValue"),
            min_length: integer("minLength"),
            max_length: integer("maxLength"),
            nullable: member(&schema, "nullable").and_then(Value::as_bool).unwrap_or(false),
            description: member(declared, "metadata").and_then(|m| member(m, "description")).and_then(Value::as_str).map(str::to_owned),
            path: path.to_owned(),
            schema: schema.into_owned(),
        })
    }
}

/// What about a value does not fit its type, each with the path inside the value.
struct Mismatches {
    found: Vec<(String, String)>,
    /// How many comparisons are left.
    work: usize,
}

impl Mismatches {
    fn push(&mut self, mismatch: (String, String)) {
        if self.found.len() < MAX_FINDINGS {
            self.found.push(mismatch);
        }
    }

    /// Whether there is work left; that there is none is told once.
    fn takes(&mut self, work: usize) -> bool {
        if self.work > 0 && self.work <= work {
            self.found.push((String::new(), "the value and its type are too large to be compared".to_owned()));
        }
        self.work = self.work.saturating_sub(work);
        self.work > 0
    }
}

/// A type with its `$ref`s followed: what stands beside a reference goes before what it refers to.
fn resolved<'s>(schema: &'s Value, definitions: &'s Value) -> Result<Cow<'s, Value>, String> {
    let mut schema = Cow::Borrowed(schema);
    for _ in 0..MAX_REFERENCES {
        let Some(reference) = member(&schema, "$ref").and_then(Value::as_str).map(str::to_owned) else { return Ok(schema) };
        let name = reference
            .strip_prefix("#/definitions/")
            .ok_or_else(|| format!("'$ref' must be '#/definitions/<name>', found '{reference}'"))?;
        let found = definitions.as_object().and_then(|map| get(map, name));
        let Some((target, Value::Object(members))) = found.map(|found| (found, found)) else {
            let known = definitions.as_object().into_iter().flat_map(|map| map.keys().map(String::as_str));
            return Err(format!("the type definition '{name}' is not found{}", super::functions::nearest(name, known)));
        };
        let beside: Vec<(String, Value)> = schema
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| *key != "$ref" && *key != "metadata")
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if beside.is_empty() {
            schema = Cow::Borrowed(target);
            continue;
        }
        let mut merged = members.clone();
        merged.extend(beside);
        schema = Cow::Owned(Value::Object(merged));
    }
    Err(format!("type definitions refer to each other more than {MAX_REFERENCES} deep"))
}

/// An output's type, and whether null is a value of it.
pub(crate) fn output_type(template: &Template, declared: &Value) -> Result<(ParameterType, bool), String> {
    let schema = resolved(declared, template.section("definitions").unwrap_or(&Value::Null))?;
    let nullable = member(&schema, "nullable").and_then(Value::as_bool).unwrap_or(false);
    match member(&schema, "type").and_then(Value::as_str) {
        Some(kind) => ParameterType::of(kind).map(|kind| (kind, nullable)).ok_or_else(|| format!("'{kind}' is no type of an output")),
        None => Err("the output has no 'type'".to_owned()),
    }
}

/// Notes where a value does not fit a type.
fn conform(value: &Value, schema: &Value, definitions: &Value, at: String, depth: usize, found: &mut Mismatches) {
    let schema = match resolved(schema, definitions) {
        Ok(schema) => schema,
        Err(problem) => return found.push((at, problem)),
    };
    let copied = if matches!(schema, Cow::Owned(_)) { weight(&schema) / 64 } else { 0 };
    if depth > super::document::MAX_DEPTH || !found.takes(1 + copied) {
        return;
    }
    let nullable = member(&schema, "nullable").and_then(Value::as_bool).unwrap_or(false);
    if value.is_null() && nullable {
        return;
    }
    let kind = member(&schema, "type").and_then(Value::as_str).and_then(ParameterType::of);
    if let Some(kind) = kind.filter(|kind| !kind.fits(value)) {
        let hint = if kind == ParameterType::Int && value.as_str().is_some_and(|text| text.parse::<i64>().is_ok()) {
            ", write it without quotes"
        } else {
            ""
        };
        return found.push((at, format!("expected the type '{}', found {}{hint}", kind.name(), describe(value))));
    }
    if let Some(problem) = limited(value, &schema) {
        return found.push((at, problem));
    }
    match value {
        Value::Object(map) => conform_object(map, &schema, definitions, &at, depth, found),
        Value::Array(items) => {
            let prefix = member(&schema, "prefixItems").and_then(Value::as_array);
            for (index, item) in items.iter().enumerate() {
                let each = prefix.and_then(|prefix| prefix.get(index)).or_else(|| member(&schema, "items"));
                match each {
                    Some(Value::Bool(false)) => {
                        found.push((path::at(&at, index), "the array has more elements than its type allows".to_owned()));
                    }
                    Some(each) => conform(item, each, definitions, path::at(&at, index), depth + 1, found),
                    None => {}
                }
            }
        }
        _ => {}
    }
}

fn is_nullable(schema: &Value, definitions: &Value) -> bool {
    resolved(schema, definitions).is_ok_and(|schema| member(&schema, "nullable").and_then(Value::as_bool).unwrap_or(false))
}

fn conform_object(map: &Map<String, Value>, schema: &Value, definitions: &Value, at: &str, depth: usize, found: &mut Mismatches) {
    let variant = member(schema, "discriminator").and_then(|discriminator| {
        let tag = member(discriminator, "propertyName").and_then(Value::as_str).and_then(|name| get(map, name)).and_then(Value::as_str)?;
        member(discriminator, "mapping").and_then(|mapping| member(mapping, tag))
    });
    if let Some(variant) = variant {
        return conform(&Value::Object(map.clone()), variant, definitions, at.to_owned(), depth + 1, found);
    }
    let properties = member(schema, "properties").and_then(Value::as_object);
    for (name, each) in properties.into_iter().flatten() {
        match get(map, name) {
            Some(value) => conform(value, each, definitions, inside(at, name), depth + 1, found),
            None if !is_nullable(each, definitions) => found.push((at.to_owned(), format!("the property '{name}' is missing"))),
            None => {}
        }
    }
    let Some(additional) = member(schema, "additionalProperties") else { return };
    for (name, value) in map.iter().filter(|(name, _)| properties.is_none_or(|properties| get(properties, name).is_none())) {
        match additional {
            Value::Bool(false) => {
                let hint = super::functions::nearest(name, properties.into_iter().flat_map(|p| p.keys().map(String::as_str)));
                found.push((inside(at, name), format!("the property '{name}' is not allowed{hint}")));
            }
            Value::Object(_) => conform(value, additional, definitions, inside(at, name), depth + 1, found),
            _ => {}
        }
    }
}

/// A path inside a value: it starts with `.` or `[`.
fn inside(at: &str, name: &str) -> String {
    let joined = path::join("x", name);
    format!("{at}{}", &joined[1..])
}

/// What allowedValues and the limits say about a value.
fn limited(value: &Value, schema: &Value) -> Option<String> {
    if let Some(allowed) = member(schema, "allowedValues").and_then(Value::as_array) {
        let alike =
            |a: &Value, b: &Value| same(a, b) || matches!((a, b), (Value::String(a), Value::String(b)) if a.eq_ignore_ascii_case(b));
        let one = |value: &Value| allowed.iter().any(|each| alike(each, value));
        if !one(value) && !value.as_array().is_some_and(|items| items.iter().all(one)) {
            let texts: Vec<String> = allowed.iter().map(super::functions::text_of).collect();
            return Some(format!("{} is not among the allowed values '{}'", describe(value), texts.join(", ")));
        }
    }
    let limit = |key: &str| member(schema, key).and_then(Value::as_i64);
    if let Some(number) = value.as_i64() {
        if let Some(least) = limit("minValue").filter(|least| number < *least) {
            return Some(format!("{number} is below the least value {least}"));
        }
        return limit("maxValue").filter(|most| number > *most).map(|most| format!("{number} is above the greatest value {most}"));
    }
    let length = match value {
        Value::String(text) => text.encode_utf16().count(),
        Value::Array(items) => items.len(),
        _ => return None,
    };
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    if let Some(least) = limit("minLength").filter(|least| length < *least) {
        return Some(format!("its length {length} is below the least length {least}"));
    }
    limit("maxLength").filter(|most| length > *most).map(|most| format!("its length {length} is above the greatest length {most}"))
}

/// The values of a parameter file, or of a bare `{name: {"value": …}}`.
pub fn parameter_values(document: &Document) -> Result<Map<String, Value>, Finding> {
    let finding = |path: &str, message: String| Finding::at(document, path, "InvalidParameterFile", message);
    let Some(root) = document.value().as_object() else {
        return Err(finding("", format!("a parameter file must hold an object, found {}", describe(document.value()))));
    };
    match get(root, "parameters") {
        Some(Value::Object(values)) if root.contains_key("$schema") || root.contains_key("contentVersion") || root.len() == 1 => {
            Ok(values.clone())
        }
        Some(found) if root.contains_key("$schema") => {
            Err(finding("parameters", format!("'parameters' must be an object, found {}", describe(found))))
        }
        None if root.contains_key("$schema") => Err(finding("", "the parameter file has no 'parameters'".to_owned())),
        _ => Ok(root.clone()),
    }
}
