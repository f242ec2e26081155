//! The template language: on real files, on every function, on bad input.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::needless_pass_by_value,
    reason = "a test may stop at what it does not expect, and says why it skips"
)]

mod checks;
mod functions;
mod language;
mod limits;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use dtl::template::{self, Context, Document, Evaluation, Finding, Level, Mode, Offline, ResourceGroup, Template};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// A lab's resource group at a fixed moment.
fn context() -> Context {
    Context {
        tenant_id: "11111111-1111-1111-1111-111111111111".to_owned(),
        subscription_id: "22222222-2222-2222-2222-222222222222".to_owned(),
        subscription_name: "Team".to_owned(),
        level: Level::ResourceGroup(ResourceGroup { name: "group".to_owned(), location: "westeurope".to_owned(), tags: Map::new() }),
        deployment_name: "azuredeploy".to_owned(),
        location: None,
        mode: Mode::Incremental,
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
            Err(findings) => message.clone_from(&findings[0].message),
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

/// A short form of an evaluation: every resource with a fingerprint of all that it holds.
fn digest(evaluation: &Evaluation) -> String {
    let mut lines = Vec::new();
    for resource in &evaluation.resources {
        let id = resource["id"].as_str().unwrap().split("/providers/").nth(1).unwrap();
        lines.push(format!(
            "{id} {} {} {}",
            resource["apiVersion"].as_str().unwrap(),
            resource.get("location").unwrap_or(&Value::Null),
            fingerprint(resource)
        ));
    }
    for (name, output) in &evaluation.outputs {
        lines.push(format!("output {name} {} {}", output["type"].as_str().unwrap(), fingerprint(output)));
    }
    for unresolved in &evaluation.unresolved {
        lines.push(format!("unresolved {} {}", unresolved.path, fingerprint(&json!(unresolved.expression))));
    }
    lines.join("\n")
}

/// Changes with every character of a value.
fn fingerprint(value: &Value) -> String {
    let text = value.to_string();
    // The fingerprint is the language's own, whose vectors are tested above; long texts go in pieces.
    let pieces: Vec<String> =
        text.chars().collect::<Vec<_>>().chunks(4000).map(|piece| format!("'{}'", String::from_iter(piece).replace('\'', "''"))).collect();
    value_of(&format!("[uniqueString({})]", pieces.join(", "))).unwrap().as_str().unwrap().to_owned()
}

fn snapshot_name(corpus: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(corpus).unwrap().with_extension("");
    let parts: Vec<String> = relative.iter().map(|part| part.to_string_lossy().replace([' ', '.'], "_")).collect();
    parts[parts.len().saturating_sub(2)..].join("__")
}

#[test]
fn every_template_of_the_corpus_evaluates() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    for file in files(&corpus, ".json") {
        let document = Document::parse(&std::fs::read(&file).unwrap()).unwrap();
        if !document.value()["$schema"].as_str().is_some_and(|schema| schema.contains("deploymentTemplate")) {
            continue;
        }
        let template = Arc::new(Template::parse(document).unwrap());
        let given = sample_parameters(&template);
        let evaluation =
            template::evaluate(&template, &given, &context(), &Offline).unwrap_or_else(|e| panic!("{}: {e:?}", file.display()));
        assert!(!evaluation.resources.is_empty(), "{}", file.display());
        insta::assert_snapshot!(snapshot_name(&corpus, &file), digest(&evaluation));
        seen += 1;
    }
    assert!(seen >= 17, "{seen} templates");
}

#[test]
fn every_parameter_file_of_the_corpus_fits_its_template_or_is_refused_with_the_reason() {
    let Some(corpus) = corpus() else { return };
    for file in files(&corpus, ".parameters.json") {
        let values = template::parameter_values(&Document::parse(&std::fs::read(&file).unwrap()).unwrap()).unwrap();
        let template = file.to_string_lossy().replace(".parameters.json", ".json");
        let template = Arc::new(Template::parse(Document::parse(&std::fs::read(template).unwrap()).unwrap()).unwrap());
        let told = match template::evaluate(&template, &values, &context(), &Offline) {
            Ok(evaluation) => digest(&evaluation),
            Err(findings) => findings.iter().map(|finding| finding.message.clone()).collect::<Vec<_>>().join("\n"),
        };
        insta::assert_snapshot!(snapshot_name(&corpus, &file), told);
    }
}

/// An artifact's command is an expression over the artifact's parameters.
#[test]
fn every_artifact_of_the_corpus_has_a_command() {
    let Some(corpus) = corpus() else { return };
    let mut commands = Vec::new();
    for file in files(&corpus.join("Artifacts"), "artifactfile.json") {
        let artifact = Document::parse(&std::fs::read(&file).unwrap()).unwrap().value().clone();
        let mut parameters = artifact.get("parameters").cloned().unwrap_or_else(|| json!({}));
        for parameter in parameters.as_object_mut().unwrap().values_mut() {
            parameter["defaultValue"] = parameter.get("defaultValue").cloned().unwrap_or(match parameter["type"].as_str().unwrap() {
                "int" => json!(1),
                "bool" => json!(true),
                "array" => json!([]),
                "object" => json!({}),
                _ => json!("sample"),
            });
            parameter.as_object_mut().unwrap().remove("allowedValues");
        }
        let run = artifact.get("runCommand").or(artifact.get("runAzureVMExtension")).cloned().unwrap_or_default();
        let template = json!({"parameters": parameters, "resources": [], "outputs": {"o": {"type": "object", "value": run}}});
        let told = match evaluated(&template.to_string(), json!({})) {
            Ok(evaluation) => fingerprint(&evaluation.outputs["o"]["value"]),
            Err(findings) => findings[0].message.clone(),
        };
        commands.push(format!("{} {told}", file.parent().unwrap().file_name().unwrap().to_string_lossy()));
    }
    insta::assert_snapshot!("artifacts", commands.join("\n"));
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

/// Runs `dtl template` and answers its exit code and what it prints.
fn dtl(arguments: &[&str]) -> (i32, Value) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dtl")).arg("template").args(arguments).output().unwrap();
    let printed = Document::parse(&output.stdout).map(|document| document.value().clone()).unwrap_or_default();
    (output.status.code().unwrap(), printed)
}

#[test]
fn the_program_prints_what_checks_rely_on() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/linked-template/azuredeploy.json");
    let given = ["--set", "labName=lab1", "--set", "newVMName=\"vm1\"", "--set", "userName=me", "--set", "password=x"];
    let evaluate =
        [&["evaluate", example, "--resource-group", "rg", "--subscription", "sub", "--location", "northeurope"], &given[..]].concat();
    let (code, printed) = dtl(&evaluate);
    assert_eq!(code, 0);
    let keys: Vec<&String> = printed.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["resources", "outputs", "unresolved"]);
    let id = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.DevTestLab/labs/lab1/virtualmachines/vm1";
    assert_eq!((printed["resources"][0]["id"].as_str(), printed["resources"][0]["location"].as_str()), (Some(id), Some("northeurope")));
    assert_eq!(printed["outputs"]["labVmId"], json!({"type": "string", "value": id}));
    assert_eq!(dtl(&["check", example]), (0, json!({"errors": [], "warnings": []})));
    let (code, printed) = dtl(&["check", example, "--set", "nowhere=1", "--set", "userName=5"]);
    assert_eq!(code, 1);
    let paths: Vec<&str> = printed["errors"].as_array().unwrap().iter().map(|error| error["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["parameters.nowhere", "parameters.userName.value", "parameters.password"]);
    assert_eq!(dtl(&["evaluate", example]).0, 1, "parameters are missing");
    assert_eq!(dtl(&["check", "no-such-file.json"]).0, 2);
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.json");
    std::fs::write(&broken, "{\n  \"a\": }").unwrap();
    let (code, printed) = dtl(&["check", broken.to_str().unwrap()]);
    assert_eq!((code, printed["errors"][0]["line"].as_i64(), printed["errors"][0]["column"].as_i64()), (1, Some(2), Some(8)));
}
