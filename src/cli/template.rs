//! `dtl template`: a template evaluated or checked, with no Azure and nothing sent.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::{Exit, say_error};
use crate::template::{self, CheckOptions, Context, Document, Finding, Level, Mode, ResourceGroup, Template};

/// The command line of `dtl template`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Command {
    /// Print what a template comes to: resources, outputs, and what only a deployment can tell
    Evaluate(Evaluate),
    /// Print what is wrong with a template; exit code 1 when there are errors
    Check(Check),
}

/// The files and values that both commands take.
#[derive(Clone, Debug, clap::Args)]
struct Input {
    /// The template
    template: PathBuf,
    /// A parameter file
    #[arg(long, value_name = "FILE")]
    parameters: Option<PathBuf>,
    /// A parameter's value as JSON; a value that is no JSON is taken as a string
    #[arg(long = "set", value_name = "NAME=JSON", value_parser = super::assignment)]
    values: Vec<(String, String)>,
}

#[derive(Clone, Debug, clap::Args)]
struct Evaluate {
    #[command(flatten)]
    input: Input,
    /// The subscription that `subscription()` answers
    #[arg(long, value_name = "ID", default_value = "00000000-0000-0000-0000-000000000000")]
    subscription: String,
    /// The resource group that `resourceGroup()` answers
    #[arg(long, value_name = "NAME", default_value = "resource-group")]
    resource_group: String,
    /// The resource group's location
    #[arg(long, value_name = "LOCATION", default_value = "westeurope")]
    location: String,
}

#[derive(Clone, Debug, clap::Args)]
struct Check {
    #[command(flatten)]
    input: Input,
}

/// Runs the command.
pub fn run(arguments: Arguments) -> Exit {
    let done = match arguments.command {
        Command::Evaluate(arguments) => evaluate(&arguments),
        Command::Check(arguments) => check(&arguments.input),
    };
    done.unwrap_or_else(|problem| {
        say_error(&problem);
        Exit::Usage
    })
}

fn evaluate(arguments: &Evaluate) -> Result<Exit, String> {
    let input = &arguments.input;
    let document = match template_document(&input.template)? {
        Ok(document) => document,
        Err(findings) => return Ok(refused(&input.template, &findings)),
    };
    let (parameters, _) = parameters(input)?;
    let evaluated = Template::parse(document).and_then(|template| {
        let group = ResourceGroup { name: arguments.resource_group.clone(), location: arguments.location.clone(), tags: Map::new() };
        let context = context(&arguments.subscription, group, template.value(), &input.template);
        template::evaluate(&Arc::new(template), &parameters, &context, &template::Offline)
    });
    match evaluated {
        Ok(evaluation) => {
            let unresolved: Vec<Value> =
                evaluation.unresolved.iter().map(|each| json!({"path": each.path, "expression": each.expression})).collect();
            print(&json!({"resources": evaluation.resources, "outputs": evaluation.outputs, "unresolved": unresolved}))?;
            Ok(Exit::Success)
        }
        Err(findings) => Ok(refused(&input.template, &findings)),
    }
}

fn check(input: &Input) -> Result<Exit, String> {
    let given = parameters(input)?;
    let checked = match template_document(&input.template)? {
        Ok(document) => checked(input, &document, &given),
        Err(errors) => template::Checked { errors, warnings: Vec::new() },
    };
    let list = |findings: &[Finding]| findings.iter().map(shown).collect::<Vec<_>>();
    print(&json!({"errors": list(&checked.errors), "warnings": list(&checked.warnings)}))?;
    Ok(if checked.errors.is_empty() { Exit::Success } else { Exit::Failure })
}

fn checked(input: &Input, document: &Document, (values, file): &Parameters) -> template::Checked {
    let given = input.parameters.is_some() || !input.values.is_empty();
    let name = input.parameters.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    let folder = absolute(&input.template);
    let artifact = |name: &str| artifact_definition(&folder, name);
    let options = CheckOptions {
        parameters: given.then_some(values),
        parameters_file: file.as_ref().map(|document| (name.as_str(), document)),
        // The tasks supply these.
        supplied: &["labName", "newVMName"],
        capture: None,
        artifact: Some(&artifact),
    };
    let group = ResourceGroup { name: "resource-group".to_owned(), location: "westeurope".to_owned(), tags: Map::new() };
    let context = context("00000000-0000-0000-0000-000000000000", group, document.value(), &input.template);
    template::check(document, &context, &options)
}

fn shown(finding: &Finding) -> Value {
    let mut shown = Map::new();
    shown.insert("path".to_owned(), finding.path.clone().into());
    shown.insert("message".to_owned(), finding.message.clone().into());
    shown.insert("code".to_owned(), finding.code.into());
    if let Some(file) = &finding.file {
        shown.insert("file".to_owned(), file.clone().into());
    }
    if let Some(position) = finding.position {
        shown.insert("line".to_owned(), position.line.into());
        shown.insert("column".to_owned(), position.column.into());
    }
    Value::Object(shown)
}

fn refused(file: &Path, findings: &[Finding]) -> Exit {
    for finding in findings {
        let place = if finding.file.is_some() { String::new() } else { format!("{}: ", file.display()) };
        say_error(&format!("{place}{finding}"));
    }
    Exit::Failure
}

fn print(value: &Value) -> Result<(), String> {
    let mut output = std::io::stdout();
    writeln!(output, "{}", super::terminal::steerless_json(&format!("{value:#}")))
        .and_then(|()| output.flush())
        .map_err(|error| format!("failed to print: {error}"))
}

/// The template with what it links to below its own folder; or what is wrong with those files.
fn template_document(file: &Path) -> Result<Result<Document, Vec<Finding>>, String> {
    let bytes = fs::read(file).map_err(|error| format!("failed to read the template '{}': {error}", file.display()))?;
    let document = match Document::parse(&bytes) {
        Ok(document) => document,
        Err(error) => return Ok(Err(vec![unreadable(&error)])),
    };
    let folder = absolute(file);
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(template::inline(document, &name, &mut |path| read_below(&folder, path)))
}

fn unreadable(error: &template::ParseError) -> Finding {
    let problem = error.problem.clone();
    Finding { code: "InvalidTemplate", path: String::new(), file: None, position: Some(error.position), message: problem }
}

/// The values, and the file that they stand in.
type Parameters = (Map<String, Value>, Option<Document>);

/// The parameters of the file and of the command line, the latter last.
fn parameters(input: &Input) -> Result<Parameters, String> {
    let (mut values, document) = match &input.parameters {
        None => (Map::new(), None),
        Some(file) => {
            let bytes = fs::read(file).map_err(|error| format!("failed to read the parameter file '{}': {error}", file.display()))?;
            let document =
                Document::parse(&bytes).map_err(|error| format!("the parameter file '{}' is no JSON: {error}", file.display()))?;
            let values = template::parameter_values(&document).map_err(|finding| format!("{}: {finding}", file.display()))?;
            (values, Some(document))
        }
    };
    for (name, text) in &input.values {
        let value = Document::parse(text.as_bytes()).map_or_else(|_| Value::String(text.clone()), |document| document.value().clone());
        let spelled = values.keys().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or(name).clone();
        values.insert(spelled, json!({"value": value}));
    }
    Ok((values, document))
}

/// Where the template goes: what its schema says.
fn context(subscription: &str, group: ResourceGroup, template: &Value, file: &Path) -> Context {
    let location = group.location.clone();
    Context {
        tenant_id: "00000000-0000-0000-0000-000000000000".to_owned(),
        subscription_id: subscription.to_owned(),
        subscription_name: "subscription".to_owned(),
        level: Level::of_schema(template, group),
        deployment_name: file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        location: Some(location),
        mode: Mode::Incremental,
        template_link: None,
        environment: template::public_cloud(),
        now: OffsetDateTime::now_utc(),
    }
}

/// A file below the template's folder. Nothing else is read, and nothing is downloaded.
fn read_below(folder: &Path, path: &str) -> Result<Option<Vec<u8>>, String> {
    let target = folder.join(path);
    if !target.is_file() {
        return Ok(None);
    }
    fs::read(&target).map(Some).map_err(|error| error.to_string())
}

/// The folder in which a file stands.
fn absolute(file: &Path) -> PathBuf {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    file.parent().map(Path::to_owned).unwrap_or_default()
}

/// An artifact's definition, when the template stands in a repository of artifacts: `Artifacts/<name>/Artifactfile.json` in a folder above.
fn artifact_definition(folder: &Path, name: &str) -> Option<Value> {
    folder.ancestors().find_map(|ancestor| {
        let artifact = entry(&entry(ancestor, "artifacts")?, name)?;
        let bytes = fs::read(entry(&artifact, "artifactfile.json")?).ok()?;
        Document::parse(&bytes).ok().map(|document| document.value().clone())
    })
}

/// A folder's entry, whatever its casing.
fn entry(folder: &Path, name: &str) -> Option<PathBuf> {
    let found =
        fs::read_dir(folder).ok()?.filter_map(Result::ok).find(|entry| entry.file_name().to_string_lossy().eq_ignore_ascii_case(name))?;
    Some(found.path())
}
