//! `dtl run`: runs a pipeline file locally.

use std::{fmt::Write as _, path::PathBuf, sync::Arc};

use super::{
    Exit,
    console::{Console, Tone, spoken, toned},
    job::Report,
    listener::{Output, StepResult},
    markdown,
    pipeline::{self, Pipeline, check, yaml::Fault},
    place::{Place, PlaceArguments, VariableArguments, described},
    say_error, say_warning,
};

/// The command line of `dtl run`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "The log goes to standard output. Exit code 0: the job succeeded; 1: it failed or was canceled; 2: the file is wrong and nothing was run.\n\
    Relative paths in the file are taken from the current folder, as from the repository's root. \
    Service connections of any name stand for the place that --on names."
)]
pub struct Arguments {
    /// The pipeline
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    variables: VariableArguments,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Runs the command.
pub async fn run(arguments: Arguments) -> Exit {
    let Some(pipeline) = read(&arguments.file) else { return Exit::Usage };
    let console = Arc::new(Console::standard());
    let (on, speed) = (arguments.place.on.clone(), arguments.place.speed);
    let place = match Place::prepare(arguments.place, arguments.variables, Arc::clone(&console)).await {
        Ok(place) => place,
        Err(exit) => return exit,
    };
    let heading = format!("Running {} {}", arguments.file.display(), described(&on, speed, &place.settings));
    run_in(place, &pipeline, &console, &heading).await
}

/// Runs a checked pipeline in a place, shows how it ended, and leaves the place.
pub async fn run_in(place: Place, pipeline: &Pipeline, console: &Console, heading: &str) -> Exit {
    console.line(heading, Tone::Faint);
    console.blank();
    let report = place.run(pipeline).await;
    if let Some(report) = &report {
        show_report(console, report);
    }
    place.leave().await;
    report.map_or(Exit::Failure, |report| exit(&report))
}

/// The exit code for a report.
fn exit(report: &Report) -> Exit {
    if report.result.is_bad() { Exit::Failure } else { Exit::Success }
}

/// Reads and checks a file; what is wrong with it has been told when this returns `None`.
fn read(file: &PathBuf) -> Option<Pipeline> {
    let name = file.display().to_string();
    let text = match std::fs::read(file).map(String::from_utf8) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            say_error(&format!("{name} is not UTF-8 text"));
            return None;
        }
        Err(error) => {
            say_error(&format!("failed to read the pipeline {name}: {error}"));
            return None;
        }
    };
    let pipeline = match pipeline::parse(&text) {
        Ok(pipeline) => pipeline,
        Err(faults) => {
            for fault in &faults {
                say_error(&pointed(&name, &text, fault));
            }
            return None;
        }
    };
    let findings = check::check(&pipeline);
    for fault in &findings.warnings {
        say_warning(&pointed(&name, &text, fault));
    }
    for fault in &findings.faults {
        say_error(&pointed(&name, &text, fault));
    }
    findings.faults.is_empty().then_some(pipeline)
}

/// A fault with its place in the file, and the line that it is about.
fn pointed(name: &str, text: &str, fault: &Fault) -> String {
    let position = fault.position;
    let mut message = format!("{name}:{}:{}: {}", position.line, position.column, fault.message);
    if let Some(line) = text.lines().nth(position.line - 1).filter(|line| !line.trim().is_empty()) {
        let number = position.line.to_string();
        let margin = " ".repeat(number.len());
        let pointer = " ".repeat(position.column.saturating_sub(1));
        let _ = write!(message, "\n {number} | {}\n {margin} | {pointer}{}", line.replace('\t', " "), toned("^", Tone::Error));
    }
    message
}

/// Shows what came of a run: summaries, steps, outputs, issues, and the result last. A single step has just said most of that.
fn show_report(console: &Console, report: &Report) {
    let several = report.steps.len() > 1;
    if several {
        show_summaries(console, report);
        show_steps(console, report);
    }
    show_outputs(console, report);
    if several {
        show_issues(console, report);
    }
    let closing = format!("{} the run {} in {}", report.result.sign(), report.result.closing_words(), spoken(report.duration));
    console.line(&closing, report.result.tone());
}

fn show_summaries(console: &Console, report: &Report) {
    let summaries: Vec<_> = report.steps.iter().flat_map(|step| &step.heard.summaries).collect();
    if summaries.is_empty() {
        return;
    }
    console.line("Summary", Tone::Heading);
    for line in summaries.into_iter().flat_map(|summary| markdown::lines(summary)) {
        console.line(&format!("  {line}"), Tone::Plain);
    }
    console.blank();
}

fn show_steps(console: &Console, report: &Report) {
    console.line("Steps", Tone::Heading);
    let width = report.steps.iter().map(|step| step.title.chars().count()).max().unwrap_or(0);
    for step in &report.steps {
        let time = if step.result == StepResult::Skipped { String::new() } else { spoken(step.duration) };
        let words = if step.result == StepResult::Succeeded { "" } else { step.result.words() };
        let line = format!("  {} {:width$}  {time:>12}  {words}", step.result.sign(), step.title);
        console.line(line.trim_end(), step.result.tone());
    }
    console.blank();
}

fn show_outputs(console: &Console, report: &Report) {
    let outputs = report.steps.iter().map(|step| &step.heard.outputs);
    let outputs: Vec<_> = outputs.flat_map(|all| all.iter().filter(|output| !is_said_twice(output, all))).collect();
    if outputs.is_empty() {
        return;
    }
    console.line("Outputs", Tone::Heading);
    let width = outputs.iter().map(|output| output.name.chars().count()).max().unwrap_or(0);
    for output in outputs {
        let mut lines = output.value.lines();
        console.line(format!("  {:width$}  {}", output.name, lines.next().unwrap_or_default()).trim_end(), Tone::Plain);
        lines.for_each(|line| console.line(&format!("  {:width$}  {line}", ""), Tone::Plain));
    }
    console.blank();
}

/// Tasks set an output under its bare name too; the name with the step's is enough to show.
fn is_said_twice(output: &Output, all: &[Output]) -> bool {
    all.iter().any(|other| other.value == output.value && other.name.split_once('.').is_some_and(|(_, name)| name == output.name))
}

fn show_issues(console: &Console, report: &Report) {
    for (error, heading, tone) in [(false, "Warnings", Tone::Warning), (true, "Errors", Tone::Error)] {
        let issues: Vec<_> = report
            .steps
            .iter()
            .flat_map(|step| step.heard.issues.iter().map(move |issue| (step, issue)))
            .filter(|(_, issue)| issue.error == error)
            .collect();
        if issues.is_empty() {
            continue;
        }
        console.line(heading, Tone::Heading);
        for (step, issue) in issues {
            console.line(&format!("  {}: {}", step.title, issue.message.replace('\n', "\n    ")), tone);
        }
        console.blank();
    }
}
