//! A golden image: an ARM template that makes one lab virtual machine, checked, and dressed with the factory's tags and artifact.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::factory::{
    configuration::{
        reader::{Reader, child, kind},
        settings::{ImageSettings, OsType, generalizing_artifact},
    },
    names::ImagePath,
};

/// The type that a golden image makes.
const VIRTUAL_MACHINES: &str = "Microsoft.DevTestLab/labs/virtualmachines";
/// The parameters that the factory supplies.
const PARAMETERS: [&str; 5] = ["newVMName", "labName", "size", "userName", "password"];

/// A file below `GoldenImages`.
#[derive(Clone, Debug)]
pub struct GoldenImage {
    /// Its path below `GoldenImages`.
    pub path: ImagePath,
    /// Its path below the configuration folder.
    pub file: String,
    /// The operating system, as the template or `factory.json` says.
    pub os_type: Option<OsType>,
    /// Changes when the file changes.
    pub fingerprint: String,
    /// The template.
    pub template: Arc<Value>,
    /// What holds for it.
    pub settings: ImageSettings,
    /// Why it cannot be built.
    pub problem: Option<String>,
}

/// A short text that differs between any two contents that people write.
pub fn fingerprint(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// Notes what is wrong with a template; returns the operating system that it makes.
pub(super) fn check(image: &GoldenImage, reader: &mut Reader) -> Option<OsType> {
    let root = reader.root();
    let Value::Object(template) = root else {
        reader.error("", format!("{} is given, an ARM template is expected", kind(root)));
        return None;
    };
    check_parameters(template, reader);
    let found = virtual_machines(root);
    let place = match found.as_slice() {
        [place] => place,
        [] => {
            reader.error("resources", format!("the template makes no {VIRTUAL_MACHINES}: a golden image makes exactly one"));
            return None;
        }
        [_, second, ..] => {
            reader
                .error(&second.path, format!("the template makes {} of {VIRTUAL_MACHINES}: a golden image makes exactly one", found.len()));
            return None;
        }
    };
    let resource = root.pointer(&place.pointer)?;
    if property(resource, "copy").is_some() {
        reader.error(&child(&place.path, "copy"), "the virtual machine is made several times: a golden image makes exactly one");
    }
    let os_type = image.settings.os_type.or_else(|| os_type(root, resource));
    if os_type.is_none() {
        let message =
            format!("the operating system cannot be told: set images['{}'].osType in factory.json to Windows or Linux", image.path);
        reader.error(&place.path, message);
    }
    os_type
}

fn check_parameters(template: &Map<String, Value>, reader: &mut Reader) {
    let empty = Map::new();
    let declared = template.iter().find(|(key, _)| key.eq_ignore_ascii_case("parameters"));
    let (place, parameters) = declared.map_or(("", &empty), |(key, value)| (key.as_str(), value.as_object().unwrap_or(&empty)));
    for name in PARAMETERS {
        if !parameters.keys().any(|key| key.eq_ignore_ascii_case(name)) {
            reader.error(place, format!("parameter '{name}' is missing: a golden image takes {}", PARAMETERS.join(", ")));
        }
    }
    for (name, declaration) in parameters {
        let is_supplied = PARAMETERS.iter().any(|known| known.eq_ignore_ascii_case(name));
        if !is_supplied && property(declaration, "defaultValue").is_none() {
            reader.error(
                &child(place, name),
                format!("parameter '{name}' has no default value, and the factory supplies {} only", PARAMETERS.join(", ")),
            );
        }
    }
}

/// A resource's place in a template.
struct Place {
    /// For messages.
    path: String,
    /// For access.
    pointer: String,
}

/// The lab virtual machines among a template's resources and the resources nested in those.
fn virtual_machines(template: &Value) -> Vec<Place> {
    let mut found = Vec::new();
    walk(template, "", &Place { path: String::new(), pointer: String::new() }, &mut found);
    found
}

fn walk(parent: &Value, parent_type: &str, place: &Place, found: &mut Vec<Place>) {
    let Some((key, Value::Array(resources))) = entry(parent, "resources") else { return };
    for (index, resource) in resources.iter().enumerate() {
        let here = Place { path: format!("{}[{index}]", child(&place.path, key)), pointer: format!("{}/{key}/{index}", place.pointer) };
        let own_type = property(resource, "type").and_then(Value::as_str).unwrap_or_default();
        let full_type =
            if parent_type.is_empty() || own_type.contains('/') { own_type.to_owned() } else { format!("{parent_type}/{own_type}") };
        walk(resource, &full_type, &here, found);
        if full_type.eq_ignore_ascii_case(VIRTUAL_MACHINES) {
            found.push(here);
        }
    }
}

/// The operating system that the virtual machine's source names; a parameter's default value or a variable may hold the word.
fn os_type(template: &Value, resource: &Value) -> Option<OsType> {
    let properties = property(resource, "properties")?;
    let reference = property(properties, "galleryImageReference");
    let named = reference.and_then(|reference| property(reference, "osType")).or_else(|| property(properties, "osType"))?.as_str()?;
    OsType::parse(named).or_else(|| OsType::parse(looked_up(template, named)?))
}

fn looked_up<'a>(template: &'a Value, expression: &str) -> Option<&'a str> {
    let call = expression.strip_prefix('[')?.strip_suffix(']')?.trim();
    let (function, rest) = call.split_once('(')?;
    let name = rest.strip_suffix(')')?.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    match function.trim() {
        "variables" => property(property(template, "variables")?, name)?.as_str(),
        "parameters" => property(property(property(template, "parameters")?, name)?, "defaultValue")?.as_str(),
        _ => None,
    }
}

/// The virtual machine that a template makes.
pub fn virtual_machine_of(template: &Value) -> Option<&Value> {
    template.pointer(&virtual_machines(template).first()?.pointer)
}

/// The template as it is deployed: its virtual machine bears the tags from the first moment, so that none is ever without an owner, and the
/// generalizing artifact is its last.
pub fn dressed(image: &GoldenImage, tags: &[(&str, &str)]) -> Value {
    let mut template = Value::clone(&image.template);
    let places = virtual_machines(&template);
    let Some(resource) = places.first().and_then(|place| template.pointer_mut(&place.pointer)) else { return template };
    add_tags(resource, tags);
    if let (Some(source), Some(os_type)) = (&image.settings.generalize_from, image.os_type) {
        append_artifact(resource, source, generalizing_artifact(os_type));
    }
    template
}

fn add_tags(resource: &mut Value, tags: &[(&str, &str)]) {
    let added: Map<_, _> = tags.iter().map(|(name, value)| ((*name).to_owned(), literal(value))).collect();
    match entry_mut(resource, "tags") {
        Some(Value::Object(object)) => object.extend(added),
        Some(Value::String(expression)) if expression.starts_with('[') && expression.ends_with(']') => {
            let inner = &expression[1..expression.len() - 1];
            let pairs = tags.iter().map(|(name, value)| format!("{}, {}", quoted(name), quoted(value))).collect::<Vec<_>>().join(", ");
            *expression = format!("[union({inner}, createObject({pairs}))]");
        }
        Some(other) => *other = Value::Object(added),
        None => {
            if let Value::Object(object) = resource {
                object.insert("tags".to_owned(), Value::Object(added));
            }
        }
    }
}

fn append_artifact(resource: &mut Value, source: &str, artifact: &str) {
    let id = format!(
        "resourceId('Microsoft.DevTestLab/labs/artifactsources/artifacts', parameters('labName'), {}, {})",
        quoted(source),
        quoted(artifact)
    );
    let Some(Value::Object(properties)) = entry_mut(resource, "properties") else { return };
    let key = properties.keys().find(|key| key.eq_ignore_ascii_case("artifacts")).cloned().unwrap_or_else(|| "artifacts".to_owned());
    match properties.entry(key).or_insert_with(|| json!([])) {
        Value::Array(artifacts) => {
            let last = artifacts.last().and_then(|last| property(last, "artifactId")).and_then(Value::as_str).unwrap_or_default();
            if !last.to_ascii_lowercase().contains(artifact) {
                artifacts.push(json!({"artifactId": format!("[{id}]")}));
            }
        }
        Value::String(expression) if expression.starts_with('[') && expression.ends_with(']') => {
            let inner = &expression[1..expression.len() - 1];
            *expression = format!("[concat({inner}, createArray(createObject('artifactId', {id})))]");
        }
        other => *other = json!([{"artifactId": format!("[{id}]")}]),
    }
}

/// A text in a template that is not to be read as an expression.
fn literal(text: &str) -> Value {
    if text.starts_with('[') { Value::String(format!("[{text}")) } else { Value::String(text.to_owned()) }
}

/// A text inside an expression.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn entry<'a>(value: &'a Value, name: &str) -> Option<(&'a String, &'a Value)> {
    value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))
}

/// A property's value; template properties are read without case.
pub(super) fn property<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    entry(value, name).map(|(_, value)| value)
}

fn entry_mut<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    value.as_object_mut()?.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
