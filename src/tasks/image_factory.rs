//! Runs the image factory: golden images built, captured, distributed and retired.

use std::time::Duration;

use azure_core::credentials::Secret;

use super::{
    error::{Error, Problems, about},
    ledger::OnCancel,
    session::{CommonInputs, Desk, Done, Session, common_inputs, refuse_removal},
};
use crate::{
    agent::{Agent, Sensitivity},
    arm,
    factory::{
        Factory, RunOptions,
        configuration::{Configuration, Findings},
        new_password,
        plan::{Plan, Scope, Slice},
        run::{Line, Report, Status},
        table::table,
    },
};

#[derive(Clone, Copy)]
enum Command {
    Validate,
    Plan,
    Report,
    Work(Scope),
}

const COMMANDS: [(&str, Command); 9] = [
    ("run", Command::Work(Scope::Run)),
    ("plan", Command::Plan),
    ("validate", Command::Validate),
    ("build", Command::Work(Scope::Build)),
    ("capture", Command::Work(Scope::Capture)),
    ("distribute", Command::Work(Scope::Distribute)),
    ("cleanUp", Command::Work(Scope::CleanUp)),
    ("retire", Command::Work(Scope::Retire)),
    ("report", Command::Report),
];

/// The file's name of the HTML page.
const PAGE: &str = "image-factory-report.html";

struct Inputs {
    command: Command,
    configuration: Configuration,
    options: RunOptions,
}

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    let (common, inputs) = read(desk.agent)?;
    tell_findings(desk.agent, &inputs.configuration.findings);
    let errors = inputs.configuration.findings.errors.len();
    if let Command::Validate = inputs.command {
        return match errors {
            0 => Ok(Done::succeeded(format!("the configuration is good: {}", extent(&inputs.configuration)))),
            _ => Err(Error::refused(format!("the configuration has {errors} errors"), "mend them; each names its file, line and column")),
        };
    }
    let session = Session::open(desk, common).await?;
    let agent = session.agent;
    let say = |line: Line<'_>| match line {
        Line::Info(text) => agent.info(text),
        Line::Warning(text) => agent.warning(text),
        Line::Error(text) => agent.error(text),
    };
    let run_id = inputs.options.run_id.clone();
    let allows_deletions = inputs.options.allow_deletions;
    let factory = Factory::new(session.client.clone(), session.lab.id().clone(), &inputs.configuration, inputs.options, &say);
    let failed = |error: crate::factory::run::RunError| match error {
        crate::factory::run::RunError::Lab { lab, source } => {
            Error::Azure { action: format!("read the factory's lab '{lab}'"), source, notes: Vec::new() }
        }
        other => Error::refused(other.to_string(), "run the command `plan` to see what would be done"),
    };
    let scope = match inputs.command {
        Command::Work(scope) => scope,
        Command::Report => return write_page(&session, &factory.page().await.map_err(failed)?),
        Command::Plan | Command::Validate => {
            let plan = factory.plan(Scope::Run).await.map_err(failed)?;
            return show_plan(&session, &plan, allows_deletions);
        }
    };
    let lab = session.lab.id().to_string();
    session.leaves(format!("run '{run_id}' of the image factory, which a run with the same id goes on with"), &lab);
    let report = factory.run(scope).await;
    if agent.host().is_cancelled() {
        let during = format!("run '{run_id}' of the image factory");
        return Err(Error::azure("run the image factory", arm::Error::Cancelled { during }));
    }
    session.leaves_no_more(&lab);
    conclude(&session, &report.map_err(failed)?)
}

fn read(agent: &Agent) -> Result<(CommonInputs, Inputs), Error> {
    let mut problems = Problems::default();
    let (_, common) = common_inputs(agent, &mut problems);
    refuse_removal(&mut problems, common.as_ref());
    let command = problems.take(agent.choice_input("Command", &COMMANDS)).map(|command| command.unwrap_or(COMMANDS[0].1));
    let configuration = configuration(agent, &mut problems);
    let retention = problems.take(agent.number_input("ImageRetention", 1..=1000));
    let concurrent = problems.take(agent.number_input("MaxConcurrent", 1..=1000));
    let minutes = problems.take(agent.number_input("StandardTimeoutMinutes", 1..=1440));
    let slice = slice(agent, &mut problems);
    let inputs = match (command, configuration, retention, concurrent, minutes, slice) {
        (Some(command), Some(configuration), Some(retention), Some(concurrent), Some(minutes), Some(slice)) => {
            let settings = configuration.settings.clone();
            let narrow = |number: Option<u64>, other: u32| number.map_or(other, |number| u32::try_from(number).unwrap_or(u32::MAX));
            let options = RunOptions {
                run_id: run_id(agent),
                slice,
                retention: narrow(retention, settings.retention),
                max_concurrent: narrow(concurrent, settings.max_concurrent),
                timeout: minutes.map_or(settings.timeout, Duration::from_mins),
                operation_timeout: common.as_ref().map(|common| common.time_out).unwrap_or_default(),
                vm_size: agent.input("VmSize").unwrap_or(settings.vm_size),
                machine_user_name: agent.input("MachineUserName").unwrap_or(settings.machine_user_name),
                machine_password: password(agent),
                allow_deletions: agent.boolean_input("AllowDeletions"),
                leaves_deployments: common.as_ref().is_some_and(|common| common.on_cancel == OnCancel::Leave),
            };
            Some(Inputs { command, configuration, options })
        }
        _ => None,
    };
    problems.finish(common.zip(inputs))
}

fn configuration(agent: &Agent, problems: &mut Problems) -> Option<Configuration> {
    let Some(folder) = agent.path_input("ConfigurationLocation") else {
        problems.add("input 'ConfigurationLocation' is required: the folder with Labs.json and GoldenImages");
        return None;
    };
    problems.take(
        Configuration::load(agent.host().as_ref(), &folder).map_err(|error| about("ConfigurationLocation", super::error::chain(&error))),
    )
}

/// The same for every attempt at a job, so that a job run again goes on where it ended.
fn run_id(agent: &Agent) -> String {
    let given =
        agent.input("RunId").or_else(|| agent.pipeline_variable("Build.BuildId")).or_else(|| agent.pipeline_variable("Release.ReleaseId"));
    given.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string())
}

/// The share of a job that runs in parallel with others of its kind (`strategy: parallel`).
fn slice(agent: &Agent, problems: &mut Problems) -> Option<Slice> {
    let number = |name: &str| agent.pipeline_variable(name).filter(|text| !text.is_empty()).map(|text| text.parse::<usize>());
    match (number("System.JobPositionInPhase"), number("System.TotalJobsInPhase")) {
        (None, _) | (_, None) => Some(Slice::WHOLE),
        (Some(Ok(position)), Some(Ok(total))) if (1..=total).contains(&position) => Some(Slice { position, total }),
        _ => {
            problems
                .add("variables 'System.JobPositionInPhase' and 'System.TotalJobsInPhase' do not make a job's share: the agent sets them");
            None
        }
    }
}

fn password(agent: &Agent) -> Secret {
    let password = agent.input("MachinePassword").map_or_else(new_password, Secret::new);
    agent.register_secret(password.secret());
    password
}

fn tell_findings(agent: &Agent, findings: &Findings) {
    for finding in &findings.errors {
        agent.error(&format!("{}:{}:{}: {}", finding.file, finding.line, finding.column, finding.message));
    }
    for finding in &findings.warnings {
        agent.warning(&format!("{}:{}:{}: {}", finding.file, finding.line, finding.column, finding.message));
    }
}

fn extent(configuration: &Configuration) -> String {
    format!("{} golden images, {} labs", configuration.images.len(), configuration.labs.len())
}

/// Puts the page where the pipeline picks up what it publishes.
fn write_page(session: &Session<'_>, page: &str) -> Result<Done, Error> {
    let agent = session.agent;
    let folder = agent.pipeline_variable("Build.ArtifactStagingDirectory").or_else(|| agent.pipeline_variable("Agent.TempDirectory"));
    let file = agent.host().join_path(&folder.unwrap_or_default(), PAGE);
    let written = agent.host().write_file(&file, agent.mask(page).as_bytes());
    written
        .map_err(|error| Error::refused(format!("failed to write '{file}': {error}"), "see that the agent may write into that folder"))?;
    agent.set_output("imageFactoryReport", &file, Sensitivity::Public);
    Ok(Done::succeeded(format!("the page is written to {file}")))
}

fn show_plan(session: &Session<'_>, plan: &Plan, allows_deletions: bool) -> Result<Done, Error> {
    let agent = session.agent;
    agent.info(&table(plan));
    plan.warnings.iter().for_each(|warning| agent.warning(warning));
    let counts = [
        ("Build", plan.build.len()),
        ("Capture", plan.capture.len()),
        ("Distribute", plan.distribute.len()),
        ("Retire", plan.retire.len()),
        ("Clean up", plan.clean_up.len()),
        ("Keep", plan.kept.len()),
        ("Cannot be done", plan.problems.len()),
    ];
    let facts = counts.iter().map(|(name, count)| ((*name).to_owned(), count.to_string())).collect();
    session.summarize("Image factory: plan", facts, &[("Factory lab", session.lab.id().as_str())]);
    if !plan.guards.is_empty() && !allows_deletions {
        return Err(Error::refused(
            "the plan deletes more images than may be deleted unasked",
            "set AllowDeletions to true if that is meant",
        ));
    }
    match plan.problems.len() {
        0 => Ok(Done::succeeded("the plan is made; nothing was changed")),
        count => Err(Error::refused(format!("{count} things of the plan cannot be done"), "see the lines that begin with `cannot`")),
    }
}

fn conclude(session: &Session<'_>, report: &Report) -> Result<Done, Error> {
    let labs = |results: &[crate::factory::run::LabResult]| counted(results.iter().map(|result| result.status));
    let images = counted(report.images.iter().map(|result| result.status));
    let facts: Vec<(String, String)> = [
        ("Run", report.run_id.clone()),
        ("Golden images", images.clone()),
        ("Copies", labs(&report.distribution)),
        ("Retired", labs(&report.retired)),
        ("Virtual machines cleaned up", labs(&report.cleaned_up)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let failures = failures(report);
    let told = failures.iter().map(|(what, error)| (what.clone(), error.clone()));
    session.summarize("Image factory", facts.into_iter().chain(told).collect(), &[("Factory lab", session.lab.id().as_str())]);
    if report.is_success() {
        return Ok(Done::succeeded(format!("golden images: {images}; copies: {}", labs(&report.distribution))));
    }
    let count = failures.len() + report.errors.len();
    let summary = format!("{count} things failed, the rest was done: golden images: {images}; copies: {}", labs(&report.distribution));
    Err(Error::refused(summary, format!("mend what the errors name and run again with RunId '{}' to go on", report.run_id)))
}

/// What failed, and why.
fn failures(report: &Report) -> Vec<(String, String)> {
    let images = report.images.iter().map(|result| (result.status, result.image_path.to_string(), &result.error));
    let labs = report.distribution.iter().chain(&report.retired).chain(&report.cleaned_up);
    let labs = labs.map(|result| (result.status, format!("{}{} in {}", result.image, result.vm, result.lab), &result.error));
    let failed = images.chain(labs).filter(|(status, ..)| *status == Status::Failed);
    let problems = report.problems.iter().map(|problem| (problem.lab.clone().unwrap_or_default(), problem.error.clone()));
    failed.map(|(_, what, error)| (what, error.clone().unwrap_or_default())).chain(problems).collect()
}

/// Such as `3 succeeded, 1 failed`.
fn counted(statuses: impl Iterator<Item = Status>) -> String {
    let statuses: Vec<_> = statuses.collect();
    let words =
        [(Status::Succeeded, "succeeded"), (Status::Failed, "failed"), (Status::Skipped, "skipped"), (Status::Canceled, "canceled")];
    let parts = words.iter().filter_map(|(status, word)| {
        let count = statuses.iter().filter(|other| *other == status).count();
        (count > 0).then(|| format!("{count} {word}"))
    });
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}
