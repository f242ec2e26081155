//! `dtl emulator`: serves an emulator until it is interrupted.

use std::{io::Write as _, net::SocketAddr, path::PathBuf};

use super::{Exit, complain, place::interrupted, place::speed, say_error};
use crate::emulator::{self, Options};

/// The command line of `dtl emulator`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "When it is ready, it prints one line of JSON on standard output: addresses, the certificate authority's file, credentials and the labs.\n\
    Write that line to a file and hand it to `dtl run --on FILE`. Its log, with every request that it does not know, goes to standard error."
)]
pub struct Arguments {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What there is at the start: subscriptions, labs, resources; without it one lab with a small artifact source
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// Divide every simulated duration by N
    #[arg(long, value_name = "N", default_value_t = 60.0, value_parser = speed)]
    speed: f64,
    /// Where to write the certificate (PEM) of the authority that clients must trust; without it a temporary file
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Keep everything across restarts in this file; what it holds counts, a seed is for its first start; without it all is in memory.
    /// Blobs are kept in the folder FILE.blobs
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Give storage accounts blobs: starts Azurite, which `npm ci` installs
    #[arg(long)]
    blobs: bool,
    /// A further host name in the certificate, for clients that reach the emulator by it; may be repeated
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
}

/// Runs the command.
pub async fn run(arguments: Arguments) -> Exit {
    allow_many_connections();
    let azurite = match arguments.blobs.then(emulator::find_azurite).transpose() {
        Ok(azurite) => azurite,
        Err(error) => {
            complain(&error);
            return Exit::Failure;
        }
    };
    let options = Options {
        listen: arguments.listen,
        seed: arguments.seed,
        speed: arguments.speed,
        ca_file: arguments.ca_file,
        state: arguments.state,
        azurite,
        names: arguments.names,
    };
    // Listened for before anyone can know that the emulator is there.
    let interrupted = interrupted();
    let emulator = match emulator::start(options).await {
        Ok(emulator) => emulator,
        Err(error) => {
            complain(&error);
            return Exit::Failure;
        }
    };
    let line = match serde_json::to_string(emulator.ready()) {
        Ok(line) => line,
        Err(error) => {
            complain(&error);
            return Exit::Failure;
        }
    };
    let mut output = std::io::stdout();
    if let Err(error) = writeln!(output, "{line}").and_then(|()| output.flush()) {
        say_error(&format!("failed to print the ready line: {error}"));
        return Exit::Failure;
    }
    interrupted.await;
    emulator.stop().await;
    Exit::Success
}

/// Every connection is a file: the soft limit, often 1024, is raised to the hard one.
#[cfg(unix)]
fn allow_many_connections() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(target: "dtl::emulator", %error, "the limit of open files stays as it is");
    }
}

#[cfg(not(unix))]
fn allow_many_connections() {}
