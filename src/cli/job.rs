//! The agent: runs the jobs of a pipeline step by step.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    condition::Situation,
    console::{Console, Tone, spoken},
    environment::{Folders, Scheme, system_variables},
    host::{Canceller, Transport},
    listener::{Heard, Listener, StepResult},
    mask::Masker,
    pipeline::{Action, Job, Pipeline, Shell, Step},
    step,
    target::Target,
    variables::{Variable, Variables},
};

/// What runs the tasks of this extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// In this process.
    #[default]
    Native,
    /// The packaged tasks under Node, as an agent runs them.
    Node,
}

/// How to run a pipeline.
pub struct Settings {
    /// What to work on.
    pub target: Target,
    /// The way there.
    pub transport: Transport,
    /// What runs the tasks.
    pub engine: Engine,
    /// Where the packaged tasks are, for Node.
    pub packages: Option<PathBuf>,
    /// How service connections sign in.
    pub scheme: Scheme,
    /// The job's folders.
    pub folders: Folders,
    /// Variables of the command line, which win over the file's.
    pub variables: Vec<(String, String)>,
    /// Secret variables of the command line.
    pub secrets: Vec<(String, String)>,
    /// The variables of the process, which scripts inherit as they do from an agent.
    pub inherited: Vec<(String, String)>,
    /// Where the log goes.
    pub console: Arc<Console>,
    /// Asks the run to stop.
    pub canceller: Canceller,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// How it ended: the worst of its jobs.
    pub result: StepResult,
    /// Every step in order.
    pub steps: Vec<StepReport>,
    /// How long it took.
    pub duration: Duration,
}

/// What came of a step.
#[derive(Debug)]
pub struct StepReport {
    /// Its name.
    pub title: String,
    /// How it ended.
    pub result: StepResult,
    /// How long it took.
    pub duration: Duration,
    /// What was heard of it.
    pub heard: Heard,
}

/// Runs all jobs, one after another.
pub async fn run(pipeline: &Pipeline, settings: &Settings) -> Report {
    let started = Instant::now();
    let mut steps = Vec::new();
    let mut results: Vec<StepResult> = Vec::new();
    let total = pipeline.jobs.iter().map(|job| job.steps.len()).sum();
    for job in &pipeline.jobs {
        if let Some(title) = &job.title {
            settings.console.line(&format!("Job {title}"), Tone::Heading);
            settings.console.blank();
        }
        let mut runner = JobRunner::new(job, settings, steps.len(), total);
        let waits_for_failure = pipeline.jobs.iter().zip(&results).any(|(other, result)| job.waits_for(other) && result.is_bad());
        let canceled = settings.canceller.is_cancelled();
        let situation = Situation { failed: waits_for_failure, canceled, variables: &runner.variables };
        if job.condition.holds(situation) {
            results.push(runner.run(job).await);
        } else {
            settings.console.line(&format!("skipped: {}", why_skipped(canceled)), Tone::Faint);
            settings.console.blank();
            // What the cancellation keeps from running has not succeeded.
            results.push(if canceled { StepResult::Canceled } else { StepResult::Skipped });
        }
        steps.append(&mut runner.reports);
    }
    let result = results.into_iter().max().unwrap_or(StepResult::Succeeded).max(StepResult::Succeeded);
    Report { result, steps, duration: started.elapsed() }
}

fn why_skipped(canceled: bool) -> &'static str {
    if canceled { "the run was canceled" } else { "its condition does not hold" }
}

impl StepResult {
    /// Whether a job with this result has not succeeded.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Canceled)
    }

    /// The result in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Succeeded => "succeeded",
            Self::SucceededWithIssues => "succeeded with issues",
            Self::Canceled => "canceled",
            Self::Failed => "failed",
        }
    }

    /// The result in words, after "the run".
    pub fn closing_words(self) -> &'static str {
        match self {
            Self::Canceled => "was canceled",
            other => other.words(),
        }
    }

    /// A sign for the result.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Skipped => "-",
            Self::Succeeded => "✓",
            Self::SucceededWithIssues => "!",
            Self::Canceled | Self::Failed => "✗",
        }
    }

    /// How the result is to be shown.
    pub fn tone(self) -> Tone {
        match self {
            Self::Skipped => Tone::Faint,
            Self::Succeeded => Tone::Good,
            Self::SucceededWithIssues => Tone::Warning,
            Self::Canceled | Self::Failed => Tone::Error,
        }
    }
}

impl Job {
    fn waits_for(&self, other: &Self) -> bool {
        self.depends_on.iter().any(|name| other.names.iter().any(|known| known.eq_ignore_ascii_case(name)))
    }
}

/// One job on its way.
struct JobRunner<'a> {
    settings: &'a Settings,
    masker: Arc<Masker>,
    variables: Variables,
    result: StepResult,
    reports: Vec<StepReport>,
    /// Steps of the jobs before, and of all jobs.
    before: usize,
    total: usize,
    references: Vec<String>,
}

impl<'a> JobRunner<'a> {
    fn new(job: &Job, settings: &'a Settings, before: usize, total: usize) -> Self {
        let mut variables = system_variables(&settings.target, &settings.folders);
        for variable in &job.variables {
            variables.insert(Variable {
                name: variable.name.clone(),
                value: variable.value.clone(),
                secret: false,
                read_only: variable.read_only,
            });
        }
        for (name, value) in &settings.variables {
            variables.set(name, value.clone());
        }
        for (name, value) in &settings.secrets {
            variables.set_secret(name, value.clone());
        }
        variables.expand_values();
        let masker = Masker::default();
        masker.add(settings.target.client_secret.secret());
        variables.iter().filter(|variable| variable.secret).for_each(|variable| masker.add(&variable.value));
        let references = job.steps.iter().filter_map(|step| step.name.clone()).collect();
        Self {
            settings,
            masker: Arc::new(masker),
            variables,
            result: StepResult::Succeeded,
            reports: Vec::new(),
            before,
            total,
            references,
        }
    }

    async fn run(&mut self, job: &Job) -> StepResult {
        for step in &job.steps {
            let report = self.step(step).await;
            if report.result != StepResult::Skipped {
                let closing = format!("  {} {} in {}", report.result.sign(), report.result.words(), spoken(report.duration));
                self.settings.console.line(&closing, report.result.tone());
            }
            self.settings.console.blank();
            self.variables = report.heard.variables.clone();
            self.note(report.result);
            self.reports.push(report);
        }
        self.result
    }

    /// A failed step fails the job, and a canceled one cancels it; later successes do not mend that.
    fn note(&mut self, result: StepResult) {
        self.result = self.result.max(result);
        let status = match self.result {
            StepResult::Failed => "Failed",
            StepResult::Canceled => "Canceled",
            StepResult::SucceededWithIssues => "SucceededWithIssues",
            StepResult::Skipped | StepResult::Succeeded => "Succeeded",
        };
        self.variables.set("Agent.JobStatus", status);
    }

    async fn step(&mut self, step: &Step) -> StepReport {
        let console = &self.settings.console;
        let title = self.masker.mask(&self.title(step));
        console.line(&format!("{}/{} {title}", self.before + self.reports.len() + 1, self.total), Tone::Heading);
        let canceled = self.settings.canceller.is_cancelled();
        let situation = Situation { failed: self.result == StepResult::Failed, canceled, variables: &self.variables };
        let skipped = if !step.enabled {
            Some("it is disabled")
        } else if !step.condition.holds(situation) {
            Some(why_skipped(canceled))
        } else {
            None
        };
        if let Some(why) = skipped {
            console.line(&format!("  skipped: {why}"), Tone::Faint);
            if step.enabled && canceled {
                self.note(StepResult::Canceled);
            }
            return StepReport { title, result: StepResult::Skipped, duration: Duration::ZERO, heard: self.unheard() };
        }

        let started = Instant::now();
        let indentation = console.indentation();
        console.start_live(&title);
        console.indent();
        let (mut result, mut heard) = self.attempts(step, &title).await;
        console.set_indentation(indentation);
        console.stop_live();
        if result == StepResult::Failed && step.continue_on_error {
            result = StepResult::SucceededWithIssues;
        }
        heard.result = Some(result);
        StepReport { title, result, duration: started.elapsed(), heard }
    }

    fn unheard(&self) -> Heard {
        Heard { variables: self.variables.clone(), ..Heard::default() }
    }

    /// Runs a step, and again when it fails and may be tried again, each time a little later.
    async fn attempts(&mut self, step: &Step, title: &str) -> (StepResult, Heard) {
        let reference = self.reference(step);
        let mut retry = 0;
        loop {
            let (result, heard) = self.attempt(step, title, &reference).await;
            if result != StepResult::Failed || retry == step.retries || self.settings.canceller.is_cancelled() {
                return (result, heard);
            }
            retry += 1;
            let pause = Duration::from_secs(u64::from(retry.min(3)).pow(2));
            self.settings.console.line(&format!("failed; retry {retry} of {} in {}", step.retries, spoken(pause)), Tone::Warning);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.settings.canceller.cancellation().requested() => return (result, heard),
            }
        }
    }

    async fn attempt(&self, step: &Step, title: &str, reference: &str) -> (StepResult, Heard) {
        let declared = step::declared_outputs(step);
        let listener = Listener::new(
            Arc::clone(&self.settings.console),
            Arc::clone(&self.masker),
            self.variables.clone(),
            reference.to_owned(),
            declared,
            title.to_owned(),
        );
        let listener = Arc::new(Mutex::new(listener));
        let canceller = Canceller::new();
        // A step that runs after the run was canceled, to clean up, is not canceled by that once more.
        let cleans_up = self.settings.canceller.is_cancelled();
        let watch = watch(canceller.clone(), (!cleans_up).then(|| self.settings.canceller.clone()), step.timeout);
        let ending = tokio::select! {
            ending = step::run(step, &self.variables, self.settings, &listener, &canceller) => ending,
            never = watch => match never {},
        };
        let canceled = !cleans_up && self.settings.canceller.is_cancelled();
        let timed_out = canceller.is_cancelled() && !canceled;
        let mut listener = listener.lock().unwrap_or_else(PoisonError::into_inner);
        if timed_out {
            let limit = step.timeout.map(spoken).unwrap_or_default();
            listener.error(&format!("the step did not end within {limit} and was stopped"));
            listener.result(StepResult::Failed);
        } else if let Err(problem) = ending {
            if !canceled {
                listener.error(&problem);
            }
            listener.result(if canceled { StepResult::Canceled } else { StepResult::Failed });
        }
        let heard = listener.heard();
        (heard.result.unwrap_or(StepResult::Succeeded), heard)
    }

    fn title(&self, step: &Step) -> String {
        if let Some(name) = step.display_name.as_ref().filter(|name| !name.trim().is_empty()) {
            return self.variables.expand(name);
        }
        match &step.action {
            Action::Task { name, .. } => step.name.clone().unwrap_or_else(|| name.text.clone()),
            Action::Script { shell, .. } => match shell {
                Shell::System => "Script".into(),
                Shell::Bash => "Bash script".into(),
                Shell::PowerShell => "PowerShell script".into(),
            },
            Action::Checkout => "Checkout".into(),
        }
    }

    /// The name before the dot of the step's outputs: its own, or the task's, numbered when it is taken.
    fn reference(&mut self, step: &Step) -> String {
        if let Some(name) = &step.name {
            return name.clone();
        }
        let base = match &step.action {
            Action::Task { name, .. } => name.text.rsplit('.').next().unwrap_or(&name.text).to_owned(),
            Action::Script { shell: Shell::System, .. } => "CmdLine".to_owned(),
            Action::Script { shell: Shell::Bash, .. } => "Bash".to_owned(),
            Action::Script { shell: Shell::PowerShell, .. } => "PowerShell".to_owned(),
            Action::Checkout => "Checkout".to_owned(),
        };
        let numbered = (1_usize..).map(|number| if number == 1 { base.clone() } else { format!("{base}{number}") });
        let free = numbered.into_iter().find(|name| !self.references.iter().any(|taken| taken.eq_ignore_ascii_case(name))).unwrap_or(base);
        self.references.push(free.clone());
        free
    }
}

/// Passes on the wish to stop: the run's, or the end of the step's time.
async fn watch(step: Canceller, run: Option<Canceller>, limit: Option<Duration>) -> std::convert::Infallible {
    let time_is_up = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let run_is_canceled = async {
        match run {
            Some(run) => run.cancellation().requested().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = run_is_canceled => {}
        () = time_is_up => {}
    }
    step.cancel();
    std::future::pending().await
}
