//! The native host and the command-line program `dtl`.
//!
//! One file a command (`run`, `task`, `emulator`, `factory`, `schema`, `template`). Below them stands the local agent: `pipeline` reads a
//! file, `job` and `step` run it, `listener` hears what steps print, `host` is the machine as the engine sees it.
#![allow(clippy::disallowed_methods, reason = "the native host is where clock, files and variables are real")]

pub mod condition;
pub mod console;
pub mod emulator;
pub mod environment;
pub mod factory;
pub mod host;
pub mod job;
pub mod listener;
pub mod logging_command;
pub mod manifest;
pub mod markdown;
pub mod mask;
pub mod nearest;
pub mod network;
pub mod pipeline;
pub mod place;
pub mod process;
pub mod run;
pub mod schema;
pub mod sign_in;
pub mod signature;
pub mod step;
pub mod target;
pub mod task;
pub mod template;
pub mod terminal;
pub mod variables;

use std::{error::Error, ffi::OsString, fmt::Write as _, process::ExitCode};

use clap::{
    Parser, Subcommand,
    builder::styling::{AnsiColor, Styles},
};
use tracing_subscriber::EnvFilter;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Azure `DevTest` Labs tasks for Azure Pipelines, run on your own machine: against an emulator that needs no Azure, or against Azure itself.
#[derive(Debug, Parser)]
#[command(name = "dtl", version, styles = STYLES, arg_required_else_help = true, about = "Azure DevTest Labs tasks for Azure Pipelines, on your own machine", long_about = LONG_ABOUT)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "Azure DevTest Labs tasks for Azure Pipelines, on your own machine: against an emulator that needs no Azure, or against Azure itself.\n\n\
    Start with: dtl run examples/golden-image.yml";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the steps of an Azure Pipelines YAML file locally, as the agent would
    Run(run::Arguments),
    /// Run one task
    Task(task::Arguments),
    /// Serve an emulator of Azure Resource Manager and DevTest Labs until interrupted
    Emulator(emulator::Arguments),
    /// Build, capture, distribute and retire golden images
    Factory(Box<factory::Arguments>),
    /// Print the JSON Schema of a file of the image factory
    Schema(schema::Arguments),
    /// Evaluate or check an ARM template
    Template(template::Arguments),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All was done.
    Success,
    /// What was asked for was tried and has failed.
    Failure,
    /// The command line or a file is wrong, and nothing was tried.
    Usage,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
        }
    }
}

/// Runs the program with these arguments, the program's own name first.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let program = match Program::try_parse_from(arguments) {
        Ok(program) => program,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { Exit::Success.code() });
        }
    };
    start_logging(matches!(program.command, Command::Emulator(_)));
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error);
            return ExitCode::from(Exit::Failure.code());
        }
    };
    let exit = runtime.block_on(async {
        match program.command {
            Command::Run(arguments) => run::run(arguments).await,
            Command::Task(arguments) => task::run(arguments).await,
            Command::Emulator(arguments) => emulator::run(arguments).await,
            Command::Factory(arguments) => factory::run(*arguments).await,
            Command::Schema(arguments) => schema::run(&arguments),
            Command::Template(arguments) => template::run(arguments),
        }
    });
    // What still runs (a connection, a reader of standard input) must not hold the program up.
    runtime.shutdown_background();
    ExitCode::from(exit.code())
}

/// Logs of the emulator and of libraries go to standard error; `RUST_LOG` asks for more of them.
fn start_logging(serving: bool) {
    let level = if serving { "warn,dtl=info" } else { "error,dtl=warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let colours = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).with_target(false).try_init();
}

/// Tells an error with its causes on standard error.
pub(crate) fn complain(error: &dyn Error) {
    say_error(&explained(error));
}

/// Tells an error on standard error.
pub(crate) fn say_error(message: &str) {
    terminal::tell(&format!("{} {message}", console::toned("error:", console::Tone::Error)));
}

/// Tells a warning on standard error.
pub(crate) fn say_warning(message: &str) {
    terminal::tell(&format!("{} {message}", console::toned("warning:", console::Tone::Warning)));
}

/// An error and its causes, one a line.
pub(crate) fn explained(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, "\n  caused by: {error}");
        cause = error.source();
    }
    text
}

/// Reads `name=value`.
pub(crate) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write name=value".into()),
    }
}

/// The value of one of the process's own variables.
pub(crate) fn process_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_put_together_well() {
        Program::command().debug_assert();
    }

    #[test]
    fn assignments_split_at_the_first_equals_sign() {
        assert_eq!(assignment("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(assignment("a="), Ok(("a".into(), String::new())));
        assert!(assignment("a").is_err() && assignment("=b").is_err());
    }
}
