//! `dtl task`: runs one task.

use std::{fmt::Write as _, sync::Arc};

use super::{
    Exit, assignment,
    condition::Condition,
    console::{Console, Tone},
    manifest::{self, Manifest},
    pipeline::{Action, Job, Pipeline, Step, check, yaml::Position, yaml::Scalar},
    place::{Place, PlaceArguments, VariableArguments, described},
    run::run_in,
    say_error, say_warning,
};

/// The command line of `dtl task`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example: dtl task DeleteVM --input LabVmId=vm1\n\
    ConnectedServiceName need not be given. LabId need not be given where the emulator has one lab. `dtl task list` lists the tasks, `dtl task NAME --describe` the inputs.")]
pub struct Arguments {
    /// The task, such as `AzureDevTestLabsDeleteVM` or `DeleteVM`; `list` lists them
    #[arg(value_name = "NAME")]
    name: String,
    /// Set an input: `--input LabVmId=vm1`; may be repeated
    #[arg(long = "input", value_name = "K=V", value_parser = assignment)]
    inputs: Vec<(String, String)>,
    /// Show the task's inputs and outputs and run nothing
    #[arg(long)]
    describe: bool,
    #[command(flatten)]
    variables: VariableArguments,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Runs the command.
pub async fn run(arguments: Arguments) -> Exit {
    let console = Arc::new(Console::standard());
    if arguments.name == "list" {
        list(&console);
        return Exit::Success;
    }
    let Some(manifest) = manifest::find_short(&arguments.name) else {
        say_error(&format!("there is no task '{}'; `dtl task list` lists the tasks", arguments.name));
        return Exit::Usage;
    };
    if arguments.describe {
        describe(&console, manifest);
        return Exit::Success;
    }
    let (on, speed) = (arguments.place.on.clone(), arguments.place.speed);
    let place = match Place::prepare(arguments.place, arguments.variables, Arc::clone(&console)).await {
        Ok(place) => place,
        Err(exit) => return exit,
    };
    let mut inputs = arguments.inputs;
    give(&mut inputs, manifest, "ConnectedServiceName", "local");
    if let [lab] = place.settings.target.labs.as_slice() {
        give(&mut inputs, manifest, "LabId", lab);
    }
    let pipeline = pipeline(manifest, inputs);
    let findings = check::check(&pipeline);
    for fault in &findings.warnings {
        say_warning(&fault.message);
    }
    for fault in &findings.faults {
        say_error(&fault.message);
    }
    if !findings.faults.is_empty() {
        say_error(&format!("nothing was run; `dtl task {} --describe` shows the inputs", arguments.name));
        place.leave().await;
        return Exit::Usage;
    }
    let heading = format!("Running {} {}", manifest.name, described(&on, speed, &place.settings));
    run_in(place, &pipeline, &console, &heading).await
}

/// Gives an input that the task has and the command line does not.
fn give(inputs: &mut Vec<(String, String)>, manifest: &Manifest, name: &str, value: &str) {
    if let Some(input) = manifest.input(name)
        && !inputs.iter().any(|(given, _)| input.is_called(given))
    {
        inputs.push((name.to_owned(), value.to_owned()));
    }
}

/// A pipeline of this one step.
fn pipeline(manifest: &Manifest, inputs: Vec<(String, String)>) -> Pipeline {
    let position = Position { line: 1, column: 1 };
    let scalar = |text: String| Scalar { position, text };
    let inputs = inputs.into_iter().map(|(name, value)| (scalar(name), value)).collect();
    let step = Step {
        position,
        action: Action::Task { name: scalar(manifest.name.clone()), version: Some(manifest.major.clone()), inputs },
        name: Some("task".into()),
        display_name: Some(manifest.friendly_name.clone()),
        enabled: true,
        condition: Condition::succeeded(),
        continue_on_error: false,
        timeout: None,
        retries: 0,
        env: Vec::new(),
    };
    let job = Job {
        title: None,
        names: Vec::new(),
        depends_on: Vec::new(),
        condition: Condition::succeeded(),
        variables: Vec::new(),
        steps: vec![step],
    };
    Pipeline { jobs: vec![job] }
}

fn list(console: &Console) {
    let width = manifest::all().iter().map(|manifest| manifest.name.len()).max().unwrap_or(0);
    for manifest in manifest::all() {
        console.line(&format!("{:width$}  {}", manifest.name, manifest.description), Tone::Plain);
    }
}

fn describe(console: &Console, manifest: &Manifest) {
    console.line(&format!("{}@{}", manifest.name, manifest.major), Tone::Heading);
    console.line(&manifest.description, Tone::Plain);
    console.blank();
    console.line("Inputs", Tone::Heading);
    for input in &manifest.inputs {
        let mut line = format!("  {} ({}", input.name, input.kind);
        if input.required {
            line.push_str(", required");
        }
        if !input.default.is_empty() {
            let _ = write!(line, ", default {}", input.default);
        }
        line.push(')');
        if !input.aliases.is_empty() {
            let _ = write!(line, ", also {}", input.aliases.join(", "));
        }
        console.line(&line, Tone::Plain);
        console.line(&format!("      {}", input.help), Tone::Faint);
    }
    if !manifest.outputs.is_empty() {
        console.blank();
        console.line("Outputs", Tone::Heading);
        manifest.outputs.iter().for_each(|output| console.line(&format!("  {output}"), Tone::Plain));
    }
}
