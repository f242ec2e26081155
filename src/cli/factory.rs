//! `dtl factory`: the image factory from the command line.
//!
//! Standard output carries one JSON value, standard error the log.

use std::{collections::BTreeMap, io::Write as _, path::PathBuf, sync::Arc, time::Duration};

use azure_core::credentials::Secret;
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Exit,
    console::Console,
    environment::{connection_environment, connection_id, input_name, job_connection_environment, system_variables, task_environment},
    explained,
    host::{Canceller, NativeHost, Setup, Transport, Trust},
    logging_command::LoggingCommand,
    place::{Place, PlaceArguments, VariableArguments},
    process_variable, say_error, say_warning,
    terminal::{steerless_json, tell},
};
use crate::{
    agent::Agent,
    factory::{
        self, Factory, RunOptions,
        configuration::Configuration,
        listing, new_password,
        plan::{Plan, Scope, Slice},
        run::Line,
        table::table,
    },
    tasks::sign_in,
};

/// The command line of `dtl factory`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  dtl factory validate --configuration Configuration\n  \
    dtl factory plan --configuration Configuration --lab LABID\n  dtl factory run --configuration Configuration --lab LABID --run-id 42\n\
    The password of the machines that are made comes from DTL_MACHINE_PASSWORD; without it one is made up and never shown.")]
pub struct Arguments {
    /// What to do
    #[arg(value_enum, value_name = "COMMAND")]
    command: Verb,
    /// The configuration folder: Labs.json and the folder of golden images
    #[arg(long, value_name = "DIR")]
    configuration: PathBuf,
    /// The id of the factory's own lab, in which images are made
    #[arg(long, value_name = "LABID", required_if_eq_any([("command", "plan"), ("command", "run"), ("command", "build"), ("command", "capture"), ("command", "distribute"), ("command", "clean-up"), ("command", "retire"), ("command", "list"), ("command", "report")]))]
    lab: Option<String>,
    /// With `plan`: what one command alone would do now
    #[arg(long, value_enum, value_name = "COMMAND")]
    only: Option<Only>,
    /// The size of the machines that are made
    #[arg(long, value_name = "S")]
    vm_size: Option<String>,
    /// How many good images of a golden image each lab keeps
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    retention: Option<u32>,
    /// The most Azure operations in flight together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_concurrent: Option<u32>,
    /// The administrator's name on the machines that are made
    #[arg(long, value_name = "U")]
    machine_user_name: Option<String>,
    /// Minutes to make one machine before it is given up
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1440))]
    timeout_minutes: Option<u64>,
    /// The run's id; running again with the same goes on where that run ended
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Delete even more than the configured share of a lab's images
    #[arg(long)]
    allow_deletions: bool,
    /// Write the JSON into a file instead; with `report` the page
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Verb {
    /// Say everything that is wrong with the configuration
    Validate,
    /// Say what a run would do, and change nothing
    Plan,
    /// Build, capture, distribute, retire and clean up
    Run,
    /// Make the virtual machines
    Build,
    /// Make images of the virtual machines
    Capture,
    /// Copy the newest images to the labs that list them
    Distribute,
    /// Delete virtual machines that are done
    CleanUp,
    /// Delete old images
    Retire,
    /// List the factory's images
    List,
    /// Write an HTML page of all images
    Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    Build,
    Capture,
    Distribute,
    CleanUp,
    Retire,
}

impl Only {
    fn scope(self) -> Scope {
        match self {
            Self::Build => Scope::Build,
            Self::Capture => Scope::Capture,
            Self::Distribute => Scope::Distribute,
            Self::CleanUp => Scope::CleanUp,
            Self::Retire => Scope::Retire,
        }
    }
}

/// Runs the command.
pub async fn run(arguments: Arguments) -> Exit {
    let scope = match arguments.command {
        Verb::Validate => return validate(&arguments),
        Verb::Plan | Verb::List | Verb::Report => arguments.only.map_or(Scope::Run, Only::scope),
        Verb::Run => Scope::Run,
        Verb::Build => Scope::Build,
        Verb::Capture => Scope::Capture,
        Verb::Distribute => Scope::Distribute,
        Verb::CleanUp => Scope::CleanUp,
        Verb::Retire => Scope::Retire,
    };
    let console = Arc::new(Console::standard());
    let place = match Place::prepare(arguments.place.clone(), VariableArguments::default(), console).await {
        Ok(place) => place,
        Err(exit) => return exit,
    };
    let exit = work(&arguments, scope, &place).await.unwrap_or_else(|problem| {
        say_error(&problem);
        Exit::Failure
    });
    place.leave().await;
    exit
}

fn validate(arguments: &Arguments) -> Exit {
    let host = match reading_host() {
        Ok(host) => host,
        Err(problem) => {
            say_error(&problem);
            return Exit::Failure;
        }
    };
    let Some(configuration) = load(&host, arguments) else { return Exit::Usage };
    let is_good = configuration.findings.errors.is_empty();
    match print(arguments, &configuration.findings) {
        Ok(()) if is_good => Exit::Success,
        Ok(()) => Exit::Failure,
        Err(problem) => {
            say_error(&problem);
            Exit::Failure
        }
    }
}

/// Reads the configuration; a folder that cannot be read has been told.
fn load(host: &NativeHost, arguments: &Arguments) -> Option<Configuration> {
    let folder = arguments.configuration.to_string_lossy();
    Configuration::load(host, &folder).map_err(|error| say_error(&explained(&error))).ok()
}

/// The machine as far as files go.
fn reading_host() -> Result<NativeHost, String> {
    Ok(NativeHost::new(Setup {
        transport: Trust::machine(process_variable).and_then(|trust| Transport::new(&trust)).map_err(|error| explained(&error))?,
        variables: BTreeMap::new(),
        working_directory: std::env::current_dir().map_err(|error| explained(&error))?,
        sink: Arc::new(|_| {}),
        cancellation: Canceller::new().cancellation(),
    }))
}

async fn work(arguments: &Arguments, scope: Scope, place: &Place) -> Result<Exit, String> {
    let lab = arguments.lab.as_deref().unwrap_or_default();
    let lab = factory::lab_id(lab).map_err(|error| format!("--lab: {error}"))?;
    let host = host(place);
    let Some(configuration) = load(&host, arguments) else { return Ok(Exit::Usage) };
    let agent = Agent::new(Arc::new(host));
    let connection = agent.connection("ConnectedServiceName").map_err(|error| explained(&error))?;
    let (client, _) = sign_in::client(&agent, connection).await.map_err(|error| explained(&error))?;
    let say = |line: Line<'_>| match line {
        Line::Info(text) => tell(&agent.mask(text)),
        Line::Warning(text) => say_warning(&agent.mask(text)),
        Line::Error(text) => say_error(&agent.mask(text)),
    };
    for finding in &configuration.findings.errors {
        say_error(&format!("{}:{}:{}: {}", finding.file, finding.line, finding.column, finding.message));
    }
    for finding in &configuration.findings.warnings {
        say_warning(&format!("{}:{}:{}: {}", finding.file, finding.line, finding.column, finding.message));
    }
    let options = options(arguments, &configuration);
    agent.register_secret(options.machine_password.secret());
    let masked = |value: &Value| serde_json::from_str::<Value>(&agent.mask(&value.to_string())).unwrap_or_default();
    let factory = Factory::new(client, lab, &configuration, options, &say);
    match arguments.command {
        Verb::List => {
            let inventory = factory.inventory().await.map_err(|error| explained(&error))?;
            print(arguments, &json!({"images": listing::list(&inventory)}))?;
            Ok(Exit::Success)
        }
        Verb::Report => {
            let page = factory.page().await.map_err(|error| explained(&error))?;
            let file = arguments.output.clone().unwrap_or_else(|| PathBuf::from("image-factory-report.html"));
            std::fs::write(&file, agent.mask(&page)).map_err(|error| format!("failed to write '{}': {error}", file.display()))?;
            show(&json!({"report": file.to_string_lossy()}))?;
            Ok(Exit::Success)
        }
        Verb::Plan => {
            let plan = factory.plan(scope).await.map_err(|error| explained(&error))?;
            tell(table(&plan).trim_end());
            plan.warnings.iter().for_each(|warning| say_warning(warning));
            print(arguments, &plan)?;
            Ok(plan_exit(&plan, arguments.allow_deletions))
        }
        _ => {
            let report = factory.run(scope).await.map_err(|error| agent.mask(&explained(&error)))?;
            print(arguments, &masked(&serde_json::to_value(&report).unwrap_or_default()))?;
            Ok(if report.is_success() { Exit::Success } else { Exit::Failure })
        }
    }
}

/// A plan that cannot be carried out whole fails, as its run would.
fn plan_exit(plan: &Plan, allow_deletions: bool) -> Exit {
    let is_stopped = !plan.guards.is_empty() && !allow_deletions;
    if plan.problems.is_empty() && !is_stopped { Exit::Success } else { Exit::Failure }
}

fn options(arguments: &Arguments, configuration: &Configuration) -> RunOptions {
    let settings = &configuration.settings;
    RunOptions {
        run_id: arguments.run_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string()),
        slice: Slice::WHOLE,
        retention: arguments.retention.unwrap_or(settings.retention),
        max_concurrent: arguments.max_concurrent.unwrap_or(settings.max_concurrent),
        timeout: arguments.timeout_minutes.map_or(settings.timeout, Duration::from_mins),
        operation_timeout: Duration::from_hours(2),
        vm_size: arguments.vm_size.clone().unwrap_or_else(|| settings.vm_size.clone()),
        machine_user_name: arguments.machine_user_name.clone().unwrap_or_else(|| settings.machine_user_name.clone()),
        machine_password: process_variable("DTL_MACHINE_PASSWORD").filter(|text| !text.is_empty()).map_or_else(new_password, Secret::new),
        allow_deletions: arguments.allow_deletions,
        leaves_deployments: false,
    }
}

/// The machine as a task sees it, with a service connection for the place.
fn host(place: &Place) -> NativeHost {
    let settings = &place.settings;
    let connection = connection_id("local");
    let mut environment: BTreeMap<String, String> = task_environment(&system_variables(&settings.target, &settings.folders));
    environment.extend(job_connection_environment(&settings.target));
    environment.extend(connection_environment(&settings.target, &connection, settings.scheme));
    environment.insert(input_name("ConnectedServiceName"), connection);
    NativeHost::new(Setup {
        transport: settings.transport.clone(),
        variables: environment,
        working_directory: settings.folders.sources.clone(),
        sink: Arc::new(|line: &str| {
            if LoggingCommand::parse(line).is_none() {
                tell(line);
            }
        }),
        cancellation: settings.canceller.cancellation(),
    })
}

/// Writes the result to where it is wanted.
fn print(arguments: &Arguments, value: &impl Serialize) -> Result<(), String> {
    let value = serde_json::to_value(value).unwrap_or(Value::Null);
    match &arguments.output {
        Some(file) => {
            std::fs::write(file, format!("{value:#}\n")).map_err(|error| format!("failed to write '{}': {error}", file.display()))
        }
        None => show(&value),
    }
}

fn show(value: &Value) -> Result<(), String> {
    let mut output = std::io::stdout();
    writeln!(output, "{}", steerless_json(&format!("{value:#}")))
        .and_then(|()| output.flush())
        .map_err(|error| format!("failed to print: {error}"))
}
