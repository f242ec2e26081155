//! The template language on real files.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use dtl::template::{self, Context, Document, Evaluation, Finding, Offline, ResourceGroup, Template};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// A lab's resource group at a fixed moment.
fn context() -> Context {
    Context {
        tenant_id: "11111111-1111-1111-1111-111111111111".to_owned(),
        subscription_id: "22222222-2222-2222-2222-222222222222".to_owned(),
        subscription_name: "Team".to_owned(),
        resource_group: Some(ResourceGroup { name: "group".to_owned(), location: "westeurope".to_owned(), tags: Map::new() }),
        deployment_name: "azuredeploy".to_owned(),
        location: None,
        template_link: None,
        environment: template::public_cloud(),
        now: OffsetDateTime::from_unix_timestamp(1_763_632_800).unwrap(),
    }
}

fn corpus() -> Option<PathBuf> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/arm-corpus"));
    if folder.is_dir() {
        return Some(folder.to_owned());
    }
    eprintln!("skipped: {} is not there", folder.display());
    None
}

/// Every JSON file below a folder whose name ends so, in order.
fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, suffix));
        } else if path.to_string_lossy().to_lowercase().ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn parsed(text: &str) -> Arc<Template> {
    Arc::new(Template::parse(Document::parse(text.as_bytes()).unwrap()).unwrap())
}

fn evaluated(text: &str, parameters: Value) -> Result<Evaluation, Vec<Finding>> {
    let template = Template::parse(Document::parse(text.as_bytes()).unwrap())?;
    let Value::Object(parameters) = parameters else { panic!("the parameters are an object") };
    template::evaluate(&Arc::new(template), &parameters, &context(), &Offline)
}

/// The value of one output that is the expression.
fn value_of(expression: &str) -> Result<Value, String> {
    let kind = |value: &Value| match value {
        Value::String(_) | Value::Null => "string",
        Value::Number(_) => "int",
        Value::Bool(_) => "bool",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let mut message = String::new();
    for guess in [json!("x"), json!(1), json!(true), json!([]), json!({})] {
        let template = json!({"resources": [], "outputs": {"o": {"type": kind(&guess), "nullable": true, "value": expression}}});
        match evaluated(&template.to_string(), json!({})) {
            Ok(evaluation) => return Ok(evaluation.outputs["o"]["value"].clone()),
            Err(findings) => message = findings[0].message.clone(),
        }
        if !message.contains("the output has the type") {
            break;
        }
    }
    Err(message)
}

#[test]
fn unique_string_and_guid_are_exact() {
    for (expression, expected) in [
        ("[uniqueString('test')]", "rbgf3xv4ufgzg"),
        ("[uniqueString('hello', 'world')]", "a7wkljktk6wne"),
        ("[uniqueString('abc')]", "cgtzqvhu4i23s"),
        ("[uniqueString('/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/my-rg')]", "bmg7c6xu4tw46"),
        ("[uniqueString('foo', 'bar', 'baz')]", "xzi4ioaxtmth4"),
    ] {
        assert_eq!(value_of(expression), Ok(json!(expected)), "{expression}");
    }
}

#[test]
fn every_template_of_the_corpus_evaluates() {
    let Some(corpus) = corpus() else { return };
    for file in files(&corpus.join("samples"), ".json").into_iter().chain(files(&corpus.join("Environments"), "azuredeploy.json")) {
        if file.to_string_lossy().contains("parameters.json") {
            continue;
        }
        let template = Arc::new(Template::parse(Document::parse(&std::fs::read(&file).unwrap()).unwrap()).unwrap());
        let given = sample_parameters(&template);
        let evaluation =
            template::evaluate(&template, &given, &context(), &Offline).unwrap_or_else(|e| panic!("{}: {e:?}", file.display()));
        assert!(!evaluation.resources.is_empty(), "{}", file.display());
    }
}

/// A value for every parameter that needs one.
fn sample_parameters(template: &Template) -> Map<String, Value> {
    let mut given = Map::new();
    for parameter in template.parameters().iter().filter(|parameter| parameter.required()) {
        let value = match &parameter.allowed_values {
            Some(allowed) => allowed[0].clone(),
            None => match parameter.kind.name() {
                "int" => json!(1),
                "bool" => json!(true),
                "array" => json!([]),
                "object" | "secureObject" => json!({}),
                _ => json!("sample"),
            },
        };
        given.insert(parameter.name.clone(), json!({"value": value}));
    }
    given
}
