//! A deployment's parameters: a parameters file, what the task supplies by itself and the overrides, merged in this order and given the
//! types that the template declares.

use serde_json::{Map, Number, Value};

use super::overrides::Override;
use crate::template::{self, Document, Parameter as Declaration, ParameterType as Kind, Template};

/// One value of a parameters file.
#[derive(Clone, PartialEq)]
pub enum Given {
    /// A value of its own.
    Value(Value),
    /// A reference to a Key Vault's secret, which the service resolves.
    Reference(Value),
}

/// A value that the task supplies where the template declares the parameter.
#[derive(Clone, Copy, Debug)]
pub struct Supplied<'a> {
    /// The parameter's name; any case.
    pub name: &'a str,
    /// Its value.
    pub value: &'a str,
    /// Whether a value of the parameters file goes before it.
    pub yields_to_file: bool,
}

/// Where values come from.
pub struct Sources<'a> {
    /// The template, for what it declares.
    pub template: &'a Template,
    /// The parameters file.
    pub file: Map<String, Value>,
    /// What the task knows by itself.
    pub supplied: &'a [Supplied<'a>],
    /// The overrides, in order.
    pub overrides: Vec<Override>,
}

/// Parameters ready to be sent.
#[derive(Clone, Default)]
pub struct Parameters {
    /// Values by the template's own spelling, in the template's order.
    pub values: Vec<Parameter>,
    /// What the user should know, though nothing is wrong.
    pub warnings: Vec<String>,
}

/// One parameter of a deployment.
#[derive(Clone)]
pub struct Parameter {
    /// The name, as the template spells it.
    pub name: String,
    /// The type that the template declares.
    pub kind: Kind,
    /// The value.
    pub given: Given,
    /// Where it came from, for the log.
    pub origin: Origin,
    /// Whether the value is not to be shown.
    pub secret: bool,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The parameters file.
    File,
    /// The task itself.
    Task,
    /// The overrides.
    Override,
}

impl Parameters {
    /// The parameter of this name, in any case.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.values.iter().find(|parameter| same(&parameter.name, name))
    }

    /// The parameter's value, when it is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.given {
            Given::Value(value) => value.as_str(),
            Given::Reference(_) => None,
        }
    }

    /// Gives a parameter another text, where it is there.
    pub fn set_text(&mut self, name: &str, text: &str) {
        if let Some(parameter) = self.values.iter_mut().find(|parameter| same(&parameter.name, name)) {
            parameter.given = Given::Value(Value::String(text.to_owned()));
        }
    }

    /// As a deployment takes them: `{"name": {"value": …}}`.
    pub fn for_deployment(&self) -> Map<String, Value> {
        self.values.iter().map(Parameter::entry).collect()
    }

    /// Every text that must not be shown: secure parameters, and the texts inside secure objects.
    pub fn secrets(&self) -> Vec<&str> {
        let mut secrets = Vec::new();
        for parameter in self.values.iter().filter(|parameter| parameter.secret) {
            if let Given::Value(value) = &parameter.given {
                texts(value, &mut secrets);
            }
        }
        secrets
    }
}

impl Parameter {
    fn entry(&self) -> (String, Value) {
        let (key, value) = match &self.given {
            Given::Value(value) => ("value", value),
            Given::Reference(value) => ("reference", value),
        };
        (self.name.clone(), Value::Object(Map::from_iter([(key.to_owned(), value.clone())])))
    }
}

/// Reads a parameters file: `{"parameters": {"name": {"value": …}}}`, or plainly `{"name": …}`. The result maps names to
/// `{"value": …}` or `{"reference": …}`; the errors are all that is wrong with the file.
pub fn parameters_file(document: &Value) -> Result<Map<String, Value>, Vec<String>> {
    let Some(document) = document.as_object() else { return Err(vec![format!("it holds {}, not an object", shape(document))]) };
    if document.contains_key("resources") {
        return Err(vec!["it is a template, not a parameters file".to_owned()]);
    }
    let Some(parameters) = document.get("parameters") else {
        return Ok(document
            .iter()
            .filter(|(name, _)| !["$schema", "contentVersion", "metadata"].contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), serde_json::json!({ "value": value })))
            .collect());
    };
    let Some(parameters) = parameters.as_object() else {
        return Err(vec![format!("'parameters' is {}, not an object", shape(parameters))]);
    };
    let problems: Vec<String> = parameters
        .iter()
        .filter(|(_, entry)| entry.get("value").is_some() == entry.get("reference").is_some())
        .map(|(name, _)| format!("parameter '{name}' must hold either 'value' or 'reference'"))
        .collect();
    if problems.is_empty() { Ok(parameters.clone()) } else { Err(problems) }
}

/// Merges all sources. The errors are all that is wrong, not the first alone.
pub fn merge(sources: Sources<'_>) -> Result<Parameters, Vec<String>> {
    let mut merge = Merge::new(sources.template);
    for (name, entry) in sources.file {
        merge.set(&name, Origin::File, |declaration| from_file(declaration, entry));
    }
    for supplied in sources.supplied {
        merge.supply(*supplied);
    }
    for item in &sources.overrides {
        merge.set(&item.name, Origin::Override, |declaration| from_override(declaration, item));
    }
    merge.finish()
}

struct Merge<'a> {
    template: &'a Template,
    declarations: &'a [Declaration],
    /// One for each declaration.
    slots: Vec<Slot>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Clone)]
enum Slot {
    Empty,
    /// A value was given, but it is wrong: the parameter is not missing as well.
    Wrong,
    Filled(Parameter),
}

impl<'a> Merge<'a> {
    fn new(template: &'a Template) -> Self {
        let declarations = template.parameters();
        Self { template, declarations, slots: vec![Slot::Empty; declarations.len()], problems: Vec::new(), warnings: Vec::new() }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.declarations.iter().position(|declaration| same(&declaration.name, name))
    }

    fn set(&mut self, name: &str, origin: Origin, read: impl FnOnce(&Declaration) -> Result<Parameter, String>) {
        let Some(index) = self.find(name) else {
            self.problems.push(unknown(name, origin, self.declarations));
            return;
        };
        if matches!(&self.slots[index], Slot::Filled(earlier) if earlier.origin == origin) {
            self.warnings.push(format!("{}: '{name}' is given more than once; the last one counts", origin.input()));
        }
        self.slots[index] = match read(&self.declarations[index]) {
            Ok(parameter) => Slot::Filled(parameter),
            Err(problem) => {
                self.problems.push(problem);
                Slot::Wrong
            }
        };
    }

    fn supply(&mut self, supplied: Supplied<'_>) {
        let Some(index) = self.find(supplied.name) else { return };
        if supplied.yields_to_file && !matches!(self.slots[index], Slot::Empty) {
            return;
        }
        let Declaration { name, kind, .. } = &self.declarations[index];
        self.slots[index] = Slot::Filled(Parameter {
            name: name.clone(),
            kind: *kind,
            given: Given::Value(Value::String(supplied.value.to_owned())),
            origin: Origin::Task,
            secret: is_secure(*kind),
        });
    }

    /// What else the template demands of values that have the right type: allowed values and limits.
    fn check_limits(&mut self) {
        for slot in &self.slots {
            let Slot::Filled(parameter) = slot else { continue };
            for finding in self.template.check_parameters(&Map::from_iter([parameter.entry()])) {
                let problem = if parameter.secret {
                    format!("the value of '{}' is not one that the template allows", parameter.name)
                } else {
                    finding.message
                };
                self.problems.push(format!("{}: {problem}", parameter.origin.input()));
            }
        }
    }

    fn finish(mut self) -> Result<Parameters, Vec<String>> {
        self.check_limits();
        let missing: Vec<&str> = self
            .declarations
            .iter()
            .zip(&self.slots)
            .filter(|(declaration, slot)| declaration.required() && matches!(slot, Slot::Empty))
            .map(|(declaration, _)| declaration.name.as_str())
            .collect();
        match missing.as_slice() {
            [] => {}
            [name] => self
                .problems
                .push(format!("the template's required parameter '{name}' is not given: set it in ParametersFile or ParameterOverrides")),
            names => self.problems.push(format!(
                "the template's required parameters {} are not given: set them in ParametersFile or ParameterOverrides",
                listed(names)
            )),
        }
        if self.problems.is_empty() {
            let filled = self.slots.into_iter().filter_map(|slot| match slot {
                Slot::Filled(parameter) => Some(parameter),
                Slot::Empty | Slot::Wrong => None,
            });
            Ok(Parameters { values: filled.collect(), warnings: self.warnings })
        } else {
            Err(self.problems)
        }
    }
}

impl Origin {
    fn input(self) -> &'static str {
        match self {
            Self::File => "input 'ParametersFile'",
            Self::Task => "the task",
            Self::Override => "input 'ParameterOverrides'",
        }
    }
}

fn is_secure(kind: Kind) -> bool {
    matches!(kind, Kind::SecureString | Kind::SecureObject)
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "a string",
        Kind::SecureString => "a string (securestring)",
        Kind::Int => "an int: a whole number such as 5 or -5",
        Kind::Bool => "a bool: true or false",
        Kind::Array => "an array: JSON such as [\"a\", \"b\"]",
        Kind::Object => "an object: JSON such as {\"a\": 1}",
        Kind::SecureObject => "an object (secureObject): JSON such as {\"a\": 1}",
    }
}

fn accepts(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::String | Kind::SecureString => value.is_string(),
        Kind::Int => value.as_number().is_some_and(|number| whole(&number.to_string()).is_some()),
        Kind::Bool => value.is_boolean(),
        Kind::Array => value.is_array(),
        Kind::Object | Kind::SecureObject => value.is_object(),
    }
}

fn from_file(declaration: &Declaration, entry: Value) -> Result<Parameter, String> {
    let Value::Object(mut entry) = entry else { return Err(format!("input 'ParametersFile': '{}' is malformed", declaration.name)) };
    let given = match (entry.remove("reference"), entry.remove("value")) {
        (Some(reference), _) => Given::Reference(reference),
        (None, value) => {
            let value = value.unwrap_or(Value::Null);
            if !(accepts(declaration.kind, &value) || value.is_null() && declaration.nullable) {
                return Err(format!(
                    "input 'ParametersFile': parameter '{}' is {}, but the template declares {}",
                    declaration.name,
                    shape(&value),
                    expected(declaration.kind)
                ));
            }
            Given::Value(value)
        }
    };
    Ok(Parameter { name: declaration.name.clone(), kind: declaration.kind, given, origin: Origin::File, secret: declaration.secure() })
}

fn from_override(declaration: &Declaration, item: &Override) -> Result<Parameter, String> {
    let value = typed(declaration, &item.value).ok_or_else(|| {
        let shown = if item.secure || declaration.secure() { String::new() } else { format!(" '{}'", excerpt(&item.value)) };
        format!(
            "input 'ParameterOverrides': the value{shown} of '{}' is {}, but the template declares {}",
            declaration.name,
            text_shape(&item.value),
            expected(declaration.kind)
        )
    })?;
    Ok(Parameter {
        name: declaration.name.clone(),
        kind: declaration.kind,
        given: Given::Value(value),
        origin: Origin::Override,
        secret: item.secure || declaration.secure(),
    })
}

/// The text as a value of the declared type; `None` when it is none.
fn typed(declaration: &Declaration, text: &str) -> Option<Value> {
    match declaration.kind {
        Kind::String | Kind::SecureString => Some(Value::String(text.to_owned())),
        Kind::Int => whole(text.trim()).map(Value::Number),
        Kind::Bool => match text.trim().trim_start_matches('$').to_ascii_lowercase().as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        Kind::Array | Kind::Object | Kind::SecureObject => json(text).filter(|value| accepts(declaration.kind, value)),
    }
}

fn json(text: &str) -> Option<Value> {
    Document::parse(text.as_bytes()).ok().map(|document| document.value().clone())
}

/// A whole number of 64 bits, as Azure's `int` is, in JSON's spelling.
fn whole(text: &str) -> Option<Number> {
    text.strip_prefix('+').unwrap_or(text).parse::<i64>().ok().map(Number::from)
}

fn unknown(name: &str, origin: Origin, declarations: &[Declaration]) -> String {
    let what = format!("{}: '{name}' is no parameter of the template", origin.input());
    let names: Vec<&str> = declarations.iter().map(|declaration| declaration.name.as_str()).collect();
    if names.is_empty() {
        return format!("{what}, which declares none");
    }
    let suggestion = template::nearest_name(name, names.iter().copied()).map_or(String::new(), |near| format!(" (did you mean '{near}'?)"));
    format!("{what}{suggestion}; it declares {}", listed(&names))
}

/// Names in quotes, separated by commas.
pub fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

fn same(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}

fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a bool",
        Value::Number(number) if whole(&number.to_string()).is_some() => "an int",
        Value::Number(_) => "a number that is no 64-bit int",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn text_shape(text: &str) -> &'static str {
    let trimmed = text.trim();
    match json(trimmed) {
        Some(value) => shape(&value),
        None if trimmed.is_empty() => "empty",
        None if trimmed.starts_with(['{', '[']) => "malformed JSON",
        None => "a string",
    }
}

/// The beginning of a value, on one line, for a message.
fn excerpt(text: &str) -> String {
    let line: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    match line.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::overrides, *};

    fn template() -> Template {
        let document = Document::from_value(
            json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0", "resources": [], "parameters": {
                "name": {"type": "string"},
                "Password": {"type": "secureString"},
                "count": {"type": "int", "defaultValue": 1},
                "flag": {"type": "bool", "defaultValue": false},
                "sizes": {"type": "array", "defaultValue": []},
                "settings": {"type": "object", "defaultValue": {}},
                "keys": {"type": "secureObject", "defaultValue": {}},
                "color": {"type": "string", "defaultValue": "red", "allowedValues": ["red", "blue"]},
            }}),
        );
        Template::parse(document).expect("a good template")
    }

    fn merged(file: &Value, text: &str) -> Result<Parameters, Vec<String>> {
        merge(Sources {
            template: &template(),
            file: parameters_file(file).expect("a good file"),
            supplied: &[],
            overrides: overrides::parse(text).expect("good overrides"),
        })
    }

    #[test]
    fn overrides_take_the_types_that_the_template_declares() {
        for (text, name, expected) in [
            ("-name 5", "name", json!("5")),
            (r#"-name '["a","b"]'"#, "name", json!(r#"["a","b"]"#)),
            ("-name ''", "name", json!("")),
            ("-count 5", "count", json!(5)),
            ("-count -5", "count", json!(-5)),
            ("-COUNT '+007'", "count", json!(7)),
            ("-flag True", "flag", json!(true)),
            ("-flag $false", "flag", json!(false)),
            (r#"-sizes '["a","b"]'"#, "sizes", json!(["a", "b"])),
            (r#"-settings '{"a": "b c"}'"#, "settings", json!({"a": "b c"})),
            (r#"-settings {"a": ["b c"]}"#, "settings", json!({"a": ["b c"]})),
        ] {
            let parameters = merged(&json!({"name": "n", "password": "p"}), text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
            assert_eq!(parameters.for_deployment()[name], json!({ "value": expected }), "{text}");
        }
    }

    #[test]
    fn wrong_types_name_the_parameter_the_shape_and_the_type_but_no_secret() {
        for (text, expected) in [
            ("-count five", "the value 'five' of 'count' is a string, but the template declares an int"),
            ("-count 5.5", "the value '5.5' of 'count' is a number that is no 64-bit int, but"),
            ("-count 9223372036854775808", "is a number that is no 64-bit int"),
            ("-flag 1", "the value '1' of 'flag' is an int, but the template declares a bool"),
            ("-sizes {}", "is an object, but the template declares an array"),
            ("-sizes [1,", "is malformed JSON, but the template declares an array"),
            ("-settings ''", "is empty, but the template declares an object"),
            ("-keys hunter2", "the value of 'keys' is a string, but the template declares an object (secureObject)"),
            ("-count (ConvertTo-SecureString 'hunter2' -AsPlainText -Force)", "the value of 'count' is a string"),
            ("-color green", "input 'ParameterOverrides': the value for the template parameter 'color' is not valid: "),
            ("-color (ConvertTo-SecureString 'hunter2' -AsPlainText -Force)", "the value of 'color' is not one that the template allows"),
        ] {
            let problems = merged(&json!({"name": "n", "password": "p"}), text).map(|_| ()).expect_err(text).join("\n");
            assert!(problems.contains(expected) && !problems.contains("hunter2"), "{text}: {problems}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let problems =
            merged(&json!({"parameters": {"count": {"value": "5"}, "size": {"value": 1}}}), "-flg true").map(|_| ()).unwrap_err();
        insta::assert_snapshot!(problems.join("\n"), @r"
        input 'ParametersFile': parameter 'count' is a string, but the template declares an int: a whole number such as 5 or -5
        input 'ParametersFile': 'size' is no parameter of the template (did you mean 'sizes'?); it declares 'name', 'Password', 'count', 'flag', 'sizes', 'settings', 'keys', 'color'
        input 'ParameterOverrides': 'flg' is no parameter of the template (did you mean 'flag'?); it declares 'name', 'Password', 'count', 'flag', 'sizes', 'settings', 'keys', 'color'
        the template's required parameters 'name', 'Password' are not given: set them in ParametersFile or ParameterOverrides
        ");
    }

    #[test]
    fn a_reference_passes_through_and_an_override_goes_before_it() {
        let file = json!({"parameters": {"name": {"value": "n"}, "password": {"reference": {"secretName": "s"}}}});
        let parameters = merged(&file, "").unwrap();
        assert_eq!(parameters.for_deployment()["Password"], json!({"reference": {"secretName": "s"}}));
        let parameters = merged(&file, "-PASSWORD 'x'").unwrap();
        assert_eq!(parameters.for_deployment()["Password"], json!({"value": "x"}));
        assert_eq!(parameters.secrets(), ["x"]);
    }

    #[test]
    fn the_last_of_two_equal_names_wins_with_a_warning() {
        let parameters = merged(&json!({"name": "n", "password": "p", "count": 2}), "-Count 8 -count 9").unwrap();
        assert_eq!(parameters.for_deployment()["count"], json!({"value": 9}));
        assert_eq!(parameters.warnings, ["input 'ParameterOverrides': 'count' is given more than once; the last one counts"]);
    }

    #[test]
    fn what_the_task_supplies_stands_between_the_file_and_the_overrides() {
        let supplied = [
            Supplied { name: "NAME", value: "task", yields_to_file: false },
            Supplied { name: "password", value: "task", yields_to_file: true },
            Supplied { name: "undeclared", value: "task", yields_to_file: false },
        ];
        let merge_with = |overrides: &str| {
            merge(Sources {
                template: &template(),
                file: parameters_file(&json!({"name": "file", "password": "file"})).unwrap(),
                supplied: &supplied,
                overrides: overrides::parse(overrides).unwrap(),
            })
            .unwrap_or_else(|problems| panic!("{problems:?}"))
        };
        assert_eq!((merge_with("").text("name"), merge_with("").text("password")), (Some("task"), Some("file")));
        assert_eq!(merge_with("-name override").text("name"), Some("override"));
    }

    #[test]
    fn every_text_in_a_secure_value_is_a_secret() {
        let parameters = merged(&json!({"name": "n", "password": "p", "keys": {"a": ["x", {"b": "y"}], "n": 1}}), "").unwrap();
        assert_eq!(parameters.secrets(), ["p", "x", "y"]);
    }

    #[test]
    fn parameters_files_come_in_two_forms_and_errors_say_what_is_wrong() {
        assert_eq!(
            parameters_file(&json!({"$schema": "s", "contentVersion": "1.0.0.0", "a": 1})),
            Ok(Map::from_iter([("a".to_owned(), json!({"value": 1}))]))
        );
        for (file, expected) in [
            (json!([]), "it holds an array, not an object"),
            (json!({"resources": []}), "it is a template, not a parameters file"),
            (json!({"parameters": []}), "'parameters' is an array, not an object"),
            (json!({"parameters": {"a": 1}}), "parameter 'a' must hold either 'value' or 'reference'"),
            (json!({"parameters": {"a": {"value": 1, "reference": {}}}}), "parameter 'a' must hold either 'value' or 'reference'"),
        ] {
            assert_eq!(parameters_file(&file), Err(vec![expected.to_owned()]));
        }
    }
}
