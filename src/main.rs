//! The program `dtl`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dtl::cli::main(std::env::args_os())
}
