//! Published descriptions as they stand on disk (`OpenAPI` 3.0), and the JSON Schemas that they become.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

/// Who sends a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A client; it leaves out what is read-only.
    Request,
    /// The service.
    Response,
}

/// One file: a provider at an api-version.
pub struct Description {
    /// The api-version.
    pub version: String,
    document: Value,
    validators: Mutex<HashMap<(String, Direction, bool), Arc<Validator>>>,
}

/// An operation of a description.
pub struct Operation {
    /// `operationId`.
    pub id: String,
    /// Where it comes from.
    pub description: Arc<Description>,
    method: String,
    path: Vec<Segment>,
    value: Value,
    query: Vec<String>,
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    Any,
}

/// What a description has for a status.
pub enum Listed {
    /// A body of this schema.
    Body(Value),
    /// No body.
    WithoutBody,
}

/// All descriptions.
pub struct Descriptions {
    operations: Vec<Operation>,
}

const METHODS: [&str; 6] = ["get", "put", "post", "patch", "delete", "head"];

impl Descriptions {
    /// Reads all files of a folder.
    pub fn read(folder: &Path) -> Self {
        let files = fs::read_dir(folder).expect("a folder of descriptions").map(|entry| entry.expect("an entry").path());
        let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "json"));
        let operations = files.flat_map(|file| {
            let text = fs::read(&file).expect("a description");
            operations(serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
        });
        let descriptions = Self { operations: operations.collect() };
        assert!(descriptions.operations.len() > 300, "{} operations in {}", descriptions.operations.len(), folder.display());
        descriptions
    }

    /// The operation that a request means.
    pub fn operation(&self, method: &str, path: &str) -> Option<&Operation> {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let candidates = self.operations.iter().filter(|operation| operation.method.eq_ignore_ascii_case(method));
        // `virtualmachines/{name}` and `virtualmachines/default` both fit; the more literal one is meant.
        candidates.filter(|operation| operation.fits(&segments)).max_by_key(|operation| operation.literals())
    }

    /// Whether a path lies where every operation is published at this api-version: then one that is not must not be served.
    pub fn ought_to_be_described(path: &str, version: &str) -> bool {
        let path = path.to_ascii_lowercase();
        path.split_once("/providers/microsoft.devtestlab/").is_some_and(|(_, rest)| !rest.is_empty()) && version == "2018-09-15"
    }
}

fn operations(document: Value) -> Vec<Operation> {
    let version = document["info"]["version"].as_str().expect("a version").to_owned();
    let description = Arc::new(Description { version, document, validators: Mutex::default() });
    let paths = description.document["paths"].as_object().expect("paths").clone();
    let each = paths.iter().filter(|(path, _)| !open_ended(path)).flat_map(|(path, methods)| {
        let shared = methods["parameters"].clone();
        METHODS.iter().filter(|method| methods.get(**method).is_some()).map({
            let description = &description;
            move |method| {
                let value = methods[*method].clone();
                let parameters = [&value["parameters"], &shared].into_iter().filter_map(Value::as_array).flatten();
                let parameters = parameters.map(|parameter| description.followed(parameter));
                let query = parameters.filter(|parameter| parameter["in"] == "query");
                let query = query.filter_map(|parameter| Some(parameter["name"].as_str()?.to_owned())).collect();
                Operation {
                    id: value["operationId"].as_str().unwrap_or_default().to_owned(),
                    description: Arc::clone(description),
                    method: (*method).to_owned(),
                    path: path.split('/').filter(|segment| !segment.is_empty()).map(segment).collect(),
                    value,
                    query,
                }
            }
        })
    });
    each.collect()
}

/// Paths whose parameter stands for many segments say nothing that the resources' own descriptions do not say better.
fn open_ended(path: &str) -> bool {
    ["{resourceId}", "{scope}", "{parentResourcePath}"].iter().any(|name| path.contains(name))
}

fn segment(text: &str) -> Segment {
    if text.starts_with('{') { Segment::Any } else { Segment::Literal(text.to_owned()) }
}

impl Operation {
    fn fits(&self, segments: &[&str]) -> bool {
        self.path.len() == segments.len()
            && self.path.iter().zip(segments).all(|(wanted, got)| match wanted {
                Segment::Literal(literal) => literal.eq_ignore_ascii_case(got),
                Segment::Any => true,
            })
    }

    fn literals(&self) -> usize {
        self.path.iter().filter(|segment| matches!(segment, Segment::Literal(_))).count()
    }

    /// What the description has for a status; `None` where it does not list it.
    pub fn response(&self, status: u16) -> Option<Listed> {
        let responses = &self.value["responses"];
        let exact = responses.get(status.to_string());
        let found = exact.or_else(|| (status >= 400).then(|| responses.get("default")).flatten())?;
        let schema = self.description.followed(found)["content"]["application/json"].get("schema").cloned();
        Some(schema.map_or(Listed::WithoutBody, Listed::Body))
    }

    /// Whether the description says what errors look like.
    pub fn lists_errors(&self) -> bool {
        self.value["responses"].get("default").is_some()
    }

    /// The schema of the request's body.
    pub fn request(&self) -> Option<Value> {
        let body = self.value.get("requestBody")?;
        self.description.followed(body)["content"]["application/json"].get("schema").cloned()
    }

    /// Whether a query parameter is one of the operation's.
    pub fn takes_parameter(&self, name: &str) -> bool {
        self.query.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// What in a body is not as the schema has it.
    pub fn complaints(&self, schema: &Value, direction: Direction, exact: bool, body: &Value) -> Vec<String> {
        let validator = self.description.validator(schema, direction, exact);
        let describe = |error: jsonschema::ValidationError<'_>| {
            let text: String = error.to_string().chars().take(400).collect();
            format!("{} {}: {text}", self.id, error.instance_path())
        };
        validator.iter_errors(body).map(describe).collect()
    }
}

impl Description {
    /// What a `$ref` points at, or the value itself.
    fn followed<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.document.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}")),
            None => value,
        }
    }

    fn validator(&self, schema: &Value, direction: Direction, exact: bool) -> Arc<Validator> {
        let key = (schema.to_string(), direction, exact);
        let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let translation = Translation { description: self, direction, exact };
            let mut root = translation.schema(schema, true);
            let mut definitions = Map::new();
            let mut open: Vec<String> = references(schema);
            while let Some(name) = open.pop() {
                if definitions.contains_key(&name) {
                    continue;
                }
                let found = &self.document["components"]["schemas"][&name];
                open.extend(references(found));
                definitions.insert(name, translation.schema(found, false));
            }
            root["components"] = json!({ "schemas": definitions });
            let options = jsonschema::options().with_draft(Draft::Draft202012);
            let options = options.should_validate_formats(true).should_ignore_unknown_formats(true);
            Arc::new(options.build(&root).unwrap_or_else(|error| panic!("{error}: {root}")))
        };
        Arc::clone(validators.entry(key).or_insert_with(make))
    }

    /// Whether an object of this schema has just the properties that it lists.
    fn is_closed(&self, schema: &Value) -> bool {
        let schema = self.followed(schema);
        if schema.get("additionalProperties").is_some() || schema.get("discriminator").is_some() {
            return false;
        }
        let parts = schema["allOf"].as_array();
        let parts_closed = parts.is_none_or(|parts| parts.iter().all(|part| self.is_closed(part)));
        let lists = schema["properties"].as_object().is_some_and(|properties| !properties.is_empty());
        parts_closed && (lists || parts.is_some())
    }
}

/// The names of the schemas that a schema mentions.
fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(map) => {
            let own = map.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix("#/components/schemas/"));
            let mut found: Vec<String> = own.map(str::to_owned).into_iter().collect();
            found.extend(map.iter().filter(|(name, _)| !name.contains("example")).flat_map(|(_, value)| references(value)));
            found
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// From the dialect of `OpenAPI` to JSON Schema's.
struct Translation<'a> {
    description: &'a Description,
    direction: Direction,
    exact: bool,
}

impl Translation<'_> {
    /// A schema; `used` where a value is held against it, not where it is defined or a part of another.
    fn schema(&self, schema: &Value, used: bool) -> Value {
        let Some(source) = schema.as_object() else { return schema.clone() };
        let mut target = Map::new();
        for name in ["$ref", "type", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"] {
            if let Some(value) = source.get(name) {
                target.insert(name.to_owned(), value.clone());
            }
        }
        if let Some(values) = source.get("enum").filter(|_| self.exact || schema["x-ms-enum"]["modelAsString"] != json!(true)) {
            target.insert("enum".to_owned(), values.clone());
        }
        if let Some(required) = self.required(schema) {
            target.insert("required".to_owned(), required);
        }
        if let Some(properties) = source.get("properties").and_then(Value::as_object) {
            let properties: Map<_, _> = properties.iter().map(|(name, value)| (name.clone(), self.schema(value, true))).collect();
            target.insert("properties".to_owned(), Value::Object(properties));
        }
        for name in ["items", "additionalProperties"] {
            if let Some(value) = source.get(name) {
                target.insert(name.to_owned(), self.schema(value, true));
            }
        }
        if let Some(parts) = source.get("allOf").and_then(Value::as_array) {
            target.insert("allOf".to_owned(), parts.iter().map(|part| self.schema(part, false)).collect());
        }
        if self.exact && used && self.description.is_closed(schema) {
            target.insert("unevaluatedProperties".to_owned(), json!(false));
        }
        if source.get("nullable").or_else(|| source.get("x-nullable")) == Some(&json!(true)) {
            return json!({"anyOf": [Value::Object(target), {"type": "null"}]});
        }
        Value::Object(target)
    }

    fn required(&self, schema: &Value) -> Option<Value> {
        let names = schema["required"].as_array()?;
        let read_only: BTreeSet<&str> = match schema["properties"].as_object() {
            Some(properties) if self.direction == Direction::Request => {
                properties.iter().filter(|(_, value)| value["readOnly"] == json!(true)).map(|(name, _)| name.as_str()).collect()
            }
            _ => BTreeSet::new(),
        };
        Some(names.iter().filter(|name| name.as_str().is_some_and(|name| !read_only.contains(name))).cloned().collect())
    }
}
