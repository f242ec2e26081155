//! The pipeline agent's protocol: how inputs and service connections arrive, and how logs, variables, progress and results leave.
//!
//! Knows nothing of Azure Resource Manager. Text that came from elsewhere cannot form a logging command here, and secrets taken from the
//! environment are held in a vault and registered with the agent before anything else is said.

pub mod command;
pub mod connection;
pub mod inputs;
pub mod secret;
pub mod summary;

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use crate::host::Host;

pub use connection::{Authentication, Connection, ConnectionError, IdentityService};
pub use inputs::{InputError, InputFile};
pub use summary::Summary;

/// How a task ended, in the agent's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All was done.
    Succeeded,
    /// All was done, with warnings that the pipeline shows in amber.
    SucceededWithIssues,
    /// Something was not done; an error was logged.
    Failed,
    /// The agent asked the task to stop.
    Canceled,
}

impl Outcome {
    /// The agent's word, in the agent's case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::SucceededWithIssues => "SucceededWithIssues",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }
}

/// Whether a variable's value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// Shown in logs.
    Public,
    /// Masked by the agent, and registered as a secret here.
    Secret,
}

/// One task's conversation with the agent.
#[derive(Debug)]
pub struct Agent {
    host: Arc<dyn Host>,
    vault: secret::Vault,
    correlation_id: String,
    secrets: Arc<Mutex<secret::Known>>,
}

impl Agent {
    /// Takes the secrets out of the environment and registers them with the agent.
    pub fn new(host: Arc<dyn Host>) -> Self {
        let vault = secret::Vault::take(host.as_ref());
        let correlation_id = vault.get("COMMAND_CORRELATION_ID").unwrap_or_default().to_owned();
        let agent = Self { host, vault, correlation_id, secrets: Arc::default() };
        for secret in agent.vault.secrets() {
            agent.register_secret(&secret);
        }
        agent
    }

    /// The machine below.
    pub fn host(&self) -> &Arc<dyn Host> {
        &self.host
    }

    /// An input's value; empty counts as absent.
    pub fn input(&self, name: &str) -> Option<String> {
        let value = self.vault.get(&format!("INPUT_{}", inputs::mangle(name)))?;
        (!value.trim().is_empty()).then(|| value.to_owned())
    }

    /// An input that must be given.
    pub fn required_input(&self, name: &'static str) -> Result<String, InputError> {
        self.input(name).ok_or(InputError::Missing { name })
    }

    /// True only for `true` in any case, as the agent has it.
    pub fn boolean_input(&self, name: &'static str) -> bool {
        self.input(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A whole number within limits; absent is `None`, anything else an error that names the input and the limits.
    pub fn number_input(&self, name: &'static str, limits: RangeInclusive<u64>) -> Result<Option<u64>, InputError> {
        self.input(name).map(|value| inputs::parse_number(name, &value, &limits)).transpose()
    }

    /// One of a list of values, compared without case; absent is `None`.
    pub fn choice_input<T: Copy>(&self, name: &'static str, choices: &[(&'static str, T)]) -> Result<Option<T>, InputError> {
        self.input(name).map(|value| inputs::parse_choice(name, &value, choices)).transpose()
    }

    /// The path of a `filePath` input. An unset one arrives as the build's root folder and counts as absent.
    pub fn path_input(&self, name: &'static str) -> Option<String> {
        let path = self.input(name)?;
        let roots = inputs::ROOT_FOLDERS.iter().filter_map(|folder| self.pipeline_variable(folder));
        (!roots.into_iter().any(|root| inputs::same_folder(&path, &root))).then_some(path)
    }

    /// The file that a `filePath` input names, read. A folder or an unreadable file is an error.
    pub fn file_input(&self, name: &'static str) -> Result<Option<InputFile>, InputError> {
        let Some(path) = self.path_input(name) else { return Ok(None) };
        let contents = self.host.read_file(&path).map_err(|error| inputs::file_error(name, &path, &error))?;
        Ok(Some(InputFile { path, contents }))
    }

    /// A variable of the pipeline, such as `Build.BuildId`, secret ones included; empty counts as absent.
    pub fn pipeline_variable(&self, name: &str) -> Option<String> {
        let key = inputs::mangle(name);
        let secret = self.vault.get(&format!("SECRET_{key}")).map(str::to_owned);
        secret.or_else(|| self.host.variable(&key)).filter(|value| !value.is_empty())
    }

    /// The Azure Resource Manager connection that a `connectedService` input names. Nothing is sent.
    pub fn connection(&self, input: &'static str) -> Result<Connection, ConnectionError> {
        connection::read(self, input)
    }

    /// Logs text, line by line, so that none of it can form a command.
    pub fn info(&self, text: &str) {
        for line in command::lines(&self.mask(text)) {
            self.host.print(&command::harmless(line));
        }
    }

    /// Logs a line that only a debugging run shows.
    pub fn debug(&self, text: &str) {
        self.command("task.debug", &[], &self.foreign(text));
    }

    /// Logs a warning (`task.logissue`).
    pub fn warning(&self, text: &str) {
        self.issue("warning", text);
    }

    /// Logs an error (`task.logissue`).
    pub fn error(&self, text: &str) {
        self.issue("error", text);
    }

    /// Opens a group of lines that the log can fold; closed by `end_group`.
    pub fn group(&self, title: &str) {
        self.host.print(&format!("##[group]{}", self.foreign(title).replace('\n', " ")));
    }

    /// Closes the group.
    pub fn end_group(&self) {
        self.host.print("##[endgroup]");
    }

    /// Sets the step's progress bar (0 to 100) and the text beside it.
    pub fn progress(&self, percent: u8, text: &str) {
        let percent = percent.min(100).to_string();
        self.command("task.setprogress", &[("value", &percent)], &self.foreign(text));
    }

    /// Sets a variable, also as this step's output variable.
    ///
    /// The agent keeps an output variable under the step's reference name only, so that both forms are said: `$(name)` for the same job's
    /// later steps, `$(step.name)` for others. A secret of several lines is refused by the agent; it is left out with a warning.
    pub fn set_output(&self, name: &str, value: &str, sensitivity: Sensitivity) {
        let secret = sensitivity == Sensitivity::Secret
            || self.vault.is_secret_variable(&inputs::mangle(name))
            // What holds a secret is one, such as a connection string with a password in it.
            || self.with_secrets(|secrets| secrets.is_in(value));
        if secret {
            self.register_secret(value);
            if command::lines(value).len() > 1 && !self.allows_multiline_secrets() {
                self.warning(&format!(
                    "variable '{name}' is not set: its value is a secret of several lines, which the agent does not take"
                ));
                return;
            }
        }
        for output in ["false", "true"] {
            let properties = [("variable", name), ("isOutput", output), ("issecret", if secret { "true" } else { "false" })];
            self.command("task.setvariable", &properties, value);
        }
    }

    /// Has the agent mask a value, line by line. Values too short or too common to be secrets are left alone.
    pub fn register_secret(&self, value: &str) {
        register(self.host.as_ref(), &self.secrets, value);
    }

    /// The text with every registered secret masked, also as it stands in Base64 and in URLs.
    ///
    /// The agent masks its log too, but not what others read: files, a terminal, a pipe.
    pub fn mask(&self, text: &str) -> String {
        self.with_secrets(|secrets| secrets.mask(text))
    }

    fn with_secrets<T>(&self, act: impl FnOnce(&secret::Known) -> T) -> T {
        act(&self.secrets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Foreign text for a command: masked, and harmless line by line.
    fn foreign(&self, text: &str) -> String {
        command::harmless_lines(&self.mask(text))
    }

    /// What `register_secret` does, for those who come by secrets without knowing the agent.
    pub fn secret_registrar(&self) -> Arc<dyn Fn(&str) + Send + Sync> {
        let (host, secrets) = (Arc::clone(&self.host), Arc::clone(&self.secrets));
        Arc::new(move |value| register(host.as_ref(), &secrets, value))
    }

    /// Shows a Markdown summary on the run's page. Without a folder to write to it costs a debug line.
    pub fn upload_summary(&self, summary: &Summary) {
        let Some(folder) = self.pipeline_variable("Agent.TempDirectory") else {
            self.debug("no summary: Agent.TempDirectory is not set");
            return;
        };
        let path = self.host.join_path(&folder, &format!("dtl-summary-{}.md", uuid::Uuid::new_v4()));
        match self.host.write_file(&path, self.mask(&summary.to_markdown()).as_bytes()) {
            Ok(()) => self.command("task.uploadsummary", &[], &path),
            Err(error) => self.debug(&format!("no summary: failed to write {path}: {error}")),
        }
    }

    /// Says the result. The last thing that a task says.
    pub fn complete(&self, outcome: Outcome, message: &str) {
        self.command("task.complete", &[("result", outcome.as_str())], &self.foreign(message));
    }

    fn issue(&self, kind: &str, text: &str) {
        let properties = [("type", kind), ("correlationId", self.correlation_id.as_str())];
        self.command("task.logissue", &properties, &self.foreign(text));
    }

    fn command(&self, name: &str, properties: &[(&str, &str)], message: &str) {
        self.host.print(&command::format(name, properties, message));
    }

    fn allows_multiline_secrets(&self) -> bool {
        self.pipeline_variable("SYSTEM_UNSAFEALLOWMULTILINESECRET").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

fn register(host: &dyn Host, secrets: &Mutex<secret::Known>, value: &str) {
    for line in secret::maskable_lines(value) {
        if secrets.lock().unwrap_or_else(PoisonError::into_inner).insert(line) {
            host.print(&command::format("task.setsecret", &[], line));
        }
    }
}

#[cfg(test)]
mod tests;
