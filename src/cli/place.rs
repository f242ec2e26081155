//! Where a command works (`--on`), with all that must be kept alive meanwhile: the emulator, the folders, the wish to stop.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use tempfile::TempDir;

use super::{
    Exit, assignment, complain,
    console::Console,
    environment::{Folders, Scheme},
    host::{Cancellation, Canceller, Transport},
    job::{self, Engine, Report, Settings},
    pipeline::Pipeline,
    process_variable, say_error, say_warning, sign_in,
    target::{Target, TargetError},
};
use crate::emulator::{self, Emulator};

/// What `--on` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// An emulator, started for this command.
    Emulator,
    /// A running emulator, by the file that holds its ready line.
    Running(PathBuf),
    /// Azure, signed in as `sign_in` finds a way.
    Azure,
}

impl FromStr for On {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "emulator" => Self::Emulator,
            "azure" => Self::Azure,
            file => Self::Running(file.into()),
        })
    }
}

const ON_HELP: &str = "What to work on: `emulator` starts one for this command; FILE holds the ready line of a running `dtl emulator`; `azure` is Azure itself, \
    signed in by the first that is there: AZURE_CLIENT_ID and AZURE_TENANT_ID with AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH, workload identity \
    (AZURE_FEDERATED_TOKEN_FILE), the machine's managed identity, the Azure CLI";

/// The options of every command that runs tasks.
#[derive(Clone, Debug, clap::Args)]
pub struct PlaceArguments {
    /// What to work on
    #[arg(long, value_name = "emulator|FILE|azure", default_value = "emulator", help_heading = "Where to run", help = ON_HELP)]
    pub on: On,
    /// Seed of the emulator that is started: subscriptions, labs, resources
    #[arg(long, value_name = "FILE", help_heading = "Where to run")]
    pub seed: Option<PathBuf>,
    /// Divide every simulated duration of the emulator that is started by N
    #[arg(long, value_name = "N", default_value_t = 60.0, value_parser = speed, help_heading = "Where to run")]
    pub speed: f64,
    /// Give the storage accounts of the emulator that is started blobs, by Azurite, which `npm ci` installs
    #[arg(long, help_heading = "Where to run")]
    pub blobs: bool,
    /// How the service connection signs in
    #[arg(long, value_enum, value_name = "SCHEME", default_value_t, help_heading = "Where to run")]
    pub sign_in: Scheme,
    /// What runs the tasks: this program, or Node with the packages that `cargo xtask package` builds
    #[arg(long, value_enum, default_value_t, help_heading = "Where to run")]
    pub engine: Engine,
    /// The folder of the packaged tasks, for Node; without it `dist/tasks` is looked for from here upwards
    #[arg(long, value_name = "DIR", help_heading = "Where to run")]
    pub packages: Option<PathBuf>,
}

/// The options that set pipeline variables.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct VariableArguments {
    /// Set a variable, before those of the file: `--var name=value`; may be repeated
    #[arg(long = "var", value_name = "K=V", value_parser = assignment)]
    variables: Vec<(String, String)>,
    /// Set a secret variable, masked in the log; may be repeated
    #[arg(long = "secret", value_name = "K=V", value_parser = assignment)]
    secrets: Vec<(String, String)>,
}

/// Reads a speed: any number above zero.
pub fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed > 0.0 && speed.is_finite() => Ok(speed),
        _ => Err("a number above 0 is allowed".into()),
    }
}

/// All that must live as long as the command runs.
pub struct Place {
    /// The settings of the run.
    pub settings: Settings,
    /// Says that the run is to end at once, with what it has started.
    aborted: Cancellation,
    emulator: Option<Emulator>,
    /// Removed when the place goes.
    _folder: TempDir,
}

impl Place {
    /// Gets everything ready; an error has been told when this returns `Err`.
    pub async fn prepare(arguments: PlaceArguments, variables: VariableArguments, console: Arc<Console>) -> Result<Self, Exit> {
        let (target, emulator) = find_target(&arguments).await?;
        let transport = target.trust(process_variable).and_then(|trust| Transport::new(&trust)).map_err(|error| fail(&error))?;
        let sources = std::env::current_dir().map_err(|error| fail(&error))?;
        let folder = tempfile::Builder::new().prefix("dtl-").tempdir().map_err(|error| fail(&error))?;
        let folders = Folders { sources, temp: folder.path().join("temp"), staging: folder.path().join("staging") };
        for path in [&folders.temp, &folders.staging] {
            std::fs::create_dir(path).map_err(|error| fail(&error))?;
        }
        let packages = arguments.packages.or_else(|| find_packages(&folders.sources)).filter(|folder| folder.is_dir());
        if arguments.engine == Engine::Node && packages.is_none() {
            say_error("the packaged tasks are not there: build dist/tasks with `cargo xtask package`, or name the folder with --packages");
            return Err(Exit::Failure);
        }
        let canceller = Canceller::new();
        let last_word = Canceller::new();
        let aborted = last_word.cancellation();
        tokio::spawn(cancel_on_interrupt(canceller.clone(), last_word));
        tokio::spawn(cancel_without_reader(canceller.clone(), console.reader_is_gone()));
        let settings = Settings {
            target,
            transport,
            engine: arguments.engine,
            packages,
            scheme: arguments.sign_in,
            folders,
            variables: variables.variables,
            secrets: variables.secrets,
            inherited: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            console,
            canceller,
        };
        Ok(Self { settings, aborted, emulator, _folder: folder })
    }

    /// Runs a pipeline here. `None` is a run that was ended before it could end by itself.
    pub async fn run(&self, pipeline: &Pipeline) -> Option<Report> {
        tokio::select! {
            report = job::run(pipeline, &self.settings) => Some(report),
            () = self.aborted.clone().requested() => {
                say_error("the run was ended; what it had begun may go on");
                None
            }
        }
    }

    /// Puts everything away, and names what the emulator could not do.
    pub async fn leave(self) {
        if let Some(emulator) = self.emulator {
            for route in emulator.unknown_routes() {
                say_warning(&format!("the emulator does not know {route}"));
            }
            emulator.stop().await;
        }
    }
}

/// In a few words, where a command works.
pub fn described(on: &On, speed: f64, settings: &Settings) -> String {
    let engine = match settings.engine {
        Engine::Native => "",
        Engine::Node => ", tasks under Node",
    };
    match on {
        On::Emulator => format!("on an emulator of its own, where time passes {speed} times as fast{engine}"),
        On::Running(file) => format!("on the emulator of {}{engine}", file.display()),
        On::Azure => {
            let by = settings.target.own_sign_in.as_ref().map(|own| format!(", signed in by {}", own.name)).unwrap_or_default();
            let subscription = Some(settings.target.subscription_id.as_str()).filter(|id| !id.is_empty());
            format!("on Azure{}{by}{engine}", subscription.map(|id| format!(", subscription {id}")).unwrap_or_default())
        }
    }
}

async fn find_target(arguments: &PlaceArguments) -> Result<(Target, Option<Emulator>), Exit> {
    if arguments.seed.is_some() && arguments.on != On::Emulator {
        say_error("--seed is for an emulator that this command starts: leave --on out, or give the seed to `dtl emulator`");
        return Err(Exit::Usage);
    }
    let wrong = |error: TargetError| {
        complain(&error);
        Exit::Usage
    };
    match &arguments.on {
        On::Azure => Ok((sign_in::azure(process_variable).await.map_err(|error| wrong(error.into()))?, None)),
        On::Running(file) => Ok((Target::running_emulator(file).map_err(wrong)?, None)),
        On::Emulator => {
            let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let azurite = arguments.blobs.then(emulator::find_azurite).transpose().map_err(|error| fail(&error))?;
            let options =
                emulator::Options { listen, seed: arguments.seed.clone(), speed: arguments.speed, azurite, ..emulator::Options::default() };
            let emulator = emulator::start(options).await.map_err(|error| fail(&error))?;
            Ok((Target::emulator(emulator.ready()).map_err(wrong)?, Some(emulator)))
        }
    }
}

fn fail(error: &dyn std::error::Error) -> Exit {
    complain(error);
    Exit::Failure
}

/// The nearest `dist/tasks`, from this folder upwards, then from the program upwards.
fn find_packages(from: &Path) -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let folders = from.ancestors().chain(program.iter().flat_map(|program| program.ancestors()));
    folders.map(|folder| folder.join("dist").join("tasks")).find(|folder| folder.is_dir())
}

/// The first Ctrl-C (or SIGTERM) cancels the run, as an agent would; the second ends it.
async fn cancel_on_interrupt(canceller: Canceller, last_word: Canceller) {
    interrupted().await;
    canceller.cancel();
    say_warning("canceling the run; once more ends it at once");
    interrupted().await;
    last_word.cancel();
}

/// Nobody reads any more: the run ends as if it was cancelled.
async fn cancel_without_reader(canceller: Canceller, gone: Cancellation) {
    gone.requested().await;
    canceller.cancel();
}

/// Resolves on SIGINT or SIGTERM, which are caught from the call on, not only from the first poll.
pub fn interrupted() -> impl Future<Output = ()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{Signal, SignalKind, signal};
        async fn received(signal: std::io::Result<Signal>) {
            match signal {
                Ok(mut signal) => drop(signal.recv().await),
                Err(_) => std::future::pending().await,
            }
        }
        let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        async move {
            tokio::select! {
                () = received(interrupt) => {}
                () = received(terminate) => {}
            }
        }
    }
    #[cfg(not(unix))]
    async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
