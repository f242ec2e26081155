//! `dtl schema`: the JSON Schemas of the image factory's files, for editors.

use std::io::Write as _;

use super::{Exit, say_error};
use crate::factory::schema;

/// The command line of `dtl schema`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The file that the schema is for
    #[arg(value_enum, value_name = "FILE")]
    file: File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum File {
    /// Labs.json: the labs that receive images
    Labs,
    /// factory.json: what the factory does unless it is told otherwise
    Factory,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Exit {
    let schema = match arguments.file {
        File::Labs => schema::labs(),
        File::Factory => schema::factory(),
    };
    let mut output = std::io::stdout();
    match writeln!(output, "{schema:#}").and_then(|()| output.flush()) {
        Ok(()) => Exit::Success,
        Err(error) => {
            say_error(&format!("failed to print: {error}"));
            Exit::Failure
        }
    }
}
