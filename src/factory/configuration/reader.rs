//! Reads JSON objects property by property, without regard to case, and notes what does not fit with its place.

use serde_json::Value;

use super::{Finding, Findings};
use crate::template::Document;

/// A file under reading.
pub(in crate::factory) struct Reader<'a> {
    file: &'a str,
    document: &'a Document,
    findings: &'a mut Findings,
}

/// A value and its JSON path.
pub(in crate::factory) type Field<'v> = (&'v Value, String);

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str, document: &'a Document, findings: &'a mut Findings) -> Self {
        Self { file, document, findings }
    }

    /// The file's value, which lives as long as the document.
    pub(in crate::factory) fn root(&self) -> &'a Value {
        self.document.value()
    }

    pub(in crate::factory) fn error(&mut self, path: &str, message: impl Into<String>) {
        self.findings.errors.push(Finding::new(self.file, self.document.position(path), message));
    }

    pub(in crate::factory) fn warning(&mut self, path: &str, message: impl Into<String>) {
        self.findings.warnings.push(Finding::new(self.file, self.document.position(path), message));
    }

    /// The named properties of an object; others than these are warned of. `None` when it is no object.
    pub(super) fn fields<'v, const N: usize>(&mut self, value: &'v Value, path: &str, names: [&str; N]) -> Option<[Option<Field<'v>>; N]> {
        let Value::Object(object) = value else {
            self.error(path, format!("{} is given, an object with {} is expected", kind(value), names.join(", ")));
            return None;
        };
        let mut fields = [const { None }; N];
        for (key, value) in object {
            let place = child(path, key);
            match names.iter().position(|name| name.eq_ignore_ascii_case(key)) {
                Some(index) => fields[index] = Some((value, place)),
                None if key == "$schema" => {}
                None => self.warning(&place, format!("property '{key}' is not known: {} are", names.join(", "))),
            }
        }
        Some(fields)
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, field: Option<&Field>) -> Option<String> {
        let (value, path) = field?;
        match value {
            Value::String(text) if !text.trim().is_empty() => return Some(text.trim().to_owned()),
            Value::String(_) => self.error(path, "the text is empty"),
            Value::Null => {}
            other => self.error(path, format!("{} is given, a text is expected", kind(other))),
        }
        None
    }

    /// A text that must be given.
    pub(super) fn required_text(&mut self, field: Option<&Field>, parent: &str, name: &str) -> Option<String> {
        if field.is_none_or(|(value, _)| value.is_null()) {
            self.error(parent, format!("'{name}' is missing"));
        }
        self.text(field)
    }

    /// A whole number within limits. Pipelines substitute variables into files as texts, so digits in quotes count.
    pub(super) fn number(&mut self, field: Option<&Field>, limits: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let (value, path) = field?;
        let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number| limits.contains(number));
        if number.is_none() && !value.is_null() {
            self.error(path, format!("{value} is given, a whole number from {} to {} is expected", limits.start(), limits.end()));
        }
        number
    }

    /// True or false.
    pub(super) fn boolean(&mut self, field: Option<&Field>) -> Option<bool> {
        let (value, path) = field?;
        if !value.is_boolean() && !value.is_null() {
            self.error(path, format!("{value} is given, true or false is expected"));
        }
        value.as_bool()
    }

    /// One of a list of words, without regard to case.
    pub(super) fn choice<T: Copy>(&mut self, field: Option<&Field>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(field)?;
        let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text));
        if let (None, Some((_, path))) = (found, field) {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.error(path, format!("'{text}' is given, {} is expected", names.join(" or ")));
        }
        found.map(|(_, choice)| *choice)
    }
}

/// The JSON path of a property.
pub(in crate::factory) fn child(path: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'));
    match (is_plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}['{}']", key.replace('\'', "\\'")),
    }
}

/// What a value is, in words.
pub(in crate::factory) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
