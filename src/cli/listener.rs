//! The agent's ear: what a step prints, and what that does to the job.
//!
//! Every line passes here before anyone sees it: commands are obeyed, secrets are masked, and the rest goes to the console.

use std::{fs, path::Path, sync::Arc};

use super::{
    console::{Console, Tone},
    logging_command::LoggingCommand,
    mask::Masker,
    variables::{Variable, Variables},
};

/// How a step or a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepResult {
    /// It did not run.
    Skipped,
    /// All was done.
    Succeeded,
    /// All was done, with warnings.
    SucceededWithIssues,
    /// It was asked to stop.
    Canceled,
    /// Something was not done.
    Failed,
}

/// A warning or an error that a step logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Whether it is an error rather than a warning.
    pub error: bool,
    /// Its text, masked.
    pub message: String,
}

/// A variable that a step handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The name by which other steps read it.
    pub name: String,
    /// Its value, masked.
    pub value: String,
}

/// What is known of a step after it has ended.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The job's variables as the step left them.
    pub variables: Variables,
    /// What it handed on, in order.
    pub outputs: Vec<Output>,
    /// What it warned of.
    pub issues: Vec<Issue>,
    /// Markdown that it uploaded.
    pub summaries: Vec<String>,
    /// The result that it claimed.
    pub result: Option<StepResult>,
}

/// Listens to one step.
pub struct Listener {
    console: Arc<Console>,
    masker: Arc<Masker>,
    /// The name before the dot of its outputs.
    reference: String,
    /// What the manifest declares as outputs.
    declared: Vec<String>,
    title: String,
    debug: bool,
    heard: Heard,
}

/// Commands that have a meaning in a pipeline and none here.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("task", "logdetail"),
    ("task", "setendpoint"),
    ("task", "settaskvariable"),
    ("task", "uploadfile"),
    ("task", "prependpath"),
    ("build", "uploadlog"),
    ("build", "updatebuildnumber"),
    ("build", "addbuildtag"),
    ("artifact", "associate"),
    ("artifact", "upload"),
    ("release", "updatereleasename"),
    ("telemetry", "publish"),
];

impl Listener {
    /// An ear for one step. `title` stands in the live line.
    pub fn new(
        console: Arc<Console>,
        masker: Arc<Masker>,
        variables: Variables,
        reference: String,
        declared: Vec<String>,
        title: String,
    ) -> Self {
        let debug = variables.value("System.Debug").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Self { console, masker, reference, declared, title, debug, heard: Heard { variables, ..Heard::default() } }
    }

    /// Takes one line.
    pub fn line(&mut self, line: &str) {
        if let Some(command) = LoggingCommand::parse(line) {
            self.obey(&command);
            return;
        }
        let line = self.masker.mask(line);
        let prefixed = |prefix: &str| line.strip_prefix(prefix);
        if let Some(title) = prefixed("##[group]") {
            self.console.line(title, Tone::Heading);
            self.console.indent();
        } else if prefixed("##[endgroup]").is_some() {
            self.console.dedent();
        } else if let Some(text) = prefixed("##[section]") {
            self.console.line(text, Tone::Heading);
        } else if let Some(text) = prefixed("##[command]") {
            self.console.line(text, Tone::Section);
        } else if let Some(text) = prefixed("##[warning]") {
            self.console.line(&format!("warning: {text}"), Tone::Warning);
        } else if let Some(text) = prefixed("##[error]") {
            self.console.line(&format!("error: {text}"), Tone::Error);
        } else if let Some(text) = prefixed("##[debug]") {
            self.show_debug(text);
        } else {
            self.console.line(&line, Tone::Plain);
        }
    }

    /// An error of the runner's own about this step.
    pub fn error(&mut self, message: &str) {
        self.issue(true, message);
    }

    /// A warning of the runner's own about this step.
    pub fn warning(&mut self, message: &str) {
        self.issue(false, message);
    }

    /// Worsens the result.
    pub fn result(&mut self, result: StepResult) {
        self.heard.result = Some(self.heard.result.map_or(result, |before| before.max(result)));
    }

    /// Everything heard so far.
    pub fn heard(&self) -> Heard {
        self.heard.clone()
    }

    fn obey(&mut self, command: &LoggingCommand) {
        if command.is("task", "setvariable") {
            self.set_variable(command);
        } else if command.is("task", "setsecret") {
            self.add_secret(&command.data);
        } else if command.is("task", "logissue") {
            self.log_issue(command);
        } else if command.is("task", "complete") {
            self.complete(command);
        } else if command.is("task", "setprogress") {
            self.progress(command);
        } else if command.is("task", "uploadsummary") {
            self.upload_summary(&command.data);
        } else if command.is("task", "addattachment") {
            if !Path::new(&command.data).is_file() {
                self.issue(false, &format!("cannot attach '{}': there is no such file", command.data));
            }
        } else if command.is("task", "debug") {
            self.show_debug(&command.data);
        } else if !WITHOUT_EFFECT.iter().any(|(area, event)| command.is(area, event)) {
            self.issue(false, &format!("there is no logging command {}.{}", command.area, command.event));
        }
    }

    fn set_variable(&mut self, command: &LoggingCommand) {
        let Some(name) = command.property("variable").filter(|name| !name.trim().is_empty()) else {
            self.refuse("task.setvariable names no variable");
            return;
        };
        let secret = command.flag("issecret");
        if secret && !self.add_secret(&command.data) {
            return;
        }
        if self.heard.variables.get(name).is_some_and(|variable| variable.read_only) {
            self.refuse(&format!("the variable '{name}' is read-only"));
            return;
        }
        // An output stands under the step's name alone.
        let is_output = command.flag("isoutput") || self.declared.iter().any(|declared| declared.eq_ignore_ascii_case(name));
        let name = if is_output { format!("{}.{name}", self.reference) } else { name.to_owned() };
        self.heard.variables.insert(Variable {
            name: name.clone(),
            value: command.data.clone(),
            secret,
            read_only: command.flag("isreadonly"),
        });
        self.heard.outputs.retain(|output| output.name != name);
        self.heard.outputs.push(Output { name, value: self.masker.mask(&command.data) });
    }

    /// The agent takes no secret of several lines: its log is masked line by line.
    fn add_secret(&mut self, value: &str) -> bool {
        if value.contains('\n') {
            self.refuse("a secret may not hold several lines: register each line");
            return false;
        }
        self.masker.add(value);
        true
    }

    fn log_issue(&mut self, command: &LoggingCommand) {
        match command.property("type").map(str::to_ascii_lowercase).as_deref() {
            Some("error") => self.issue(true, &command.data),
            Some("warning") => self.issue(false, &command.data),
            _ => self.refuse("task.logissue takes type=error or type=warning"),
        }
    }

    fn complete(&mut self, command: &LoggingCommand) {
        let result = match command.property("result") {
            Some("Succeeded") => StepResult::Succeeded,
            Some("SucceededWithIssues") => StepResult::SucceededWithIssues,
            Some("Failed") => StepResult::Failed,
            Some("Canceled") => StepResult::Canceled,
            Some("Skipped") => StepResult::Skipped,
            other => {
                self.refuse(&format!("task.complete knows no result '{}'", other.unwrap_or_default()));
                return;
            }
        };
        self.result(result);
    }

    fn progress(&mut self, command: &LoggingCommand) {
        let percent = command.property("value").and_then(|value| value.parse::<u8>().ok()).filter(|percent| *percent <= 100);
        let Some(percent) = percent else {
            self.refuse("task.setprogress takes value=0 to value=100");
            return;
        };
        let text = self.masker.mask(&command.data);
        // Nothing is known at 0 % but that it goes on, which the moving sign says already.
        let percent = if percent == 0 { String::new() } else { format!("{percent} %") };
        let parts: Vec<_> = [self.title.as_str(), &percent, &text].into_iter().filter(|part| !part.is_empty()).collect();
        self.console.live(&parts.join(" · "));
    }

    fn upload_summary(&mut self, path: &str) {
        match fs::read_to_string(path) {
            Ok(markdown) => self.heard.summaries.push(self.masker.mask(&markdown)),
            Err(error) => self.issue(false, &format!("cannot upload the summary '{path}': {error}")),
        }
    }

    fn show_debug(&self, text: &str) {
        if self.debug {
            self.console.line(&format!("debug: {}", self.masker.mask(text)), Tone::Faint);
        }
    }

    fn issue(&mut self, error: bool, message: &str) {
        let message = self.masker.mask(message);
        let (word, tone) = if error { ("error", Tone::Error) } else { ("warning", Tone::Warning) };
        self.console.line(&format!("{word}: {message}"), tone);
        self.heard.issues.push(Issue { error, message });
    }

    /// A command that the agent cannot obey fails the step.
    fn refuse(&mut self, problem: &str) {
        self.issue(true, &format!("a logging command was refused: {problem}"));
        self.result(StepResult::Failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(lines: &[&str]) -> Heard {
        let mut variables = Variables::default();
        variables.insert(Variable { name: "fixed".into(), value: "1".into(), secret: false, read_only: true });
        let console = Arc::new(Console::plain(std::io::sink()));
        let mut listener = Listener::new(console, Arc::default(), variables, "vm".into(), vec!["labVmId".into()], "title".into());
        for line in lines {
            listener.line(line);
        }
        listener.heard()
    }

    #[test]
    fn variables_are_set_plainly_or_as_outputs() {
        let heard = hear(&[
            "##vso[task.setvariable variable=plain;]1",
            "##vso[task.setvariable variable=out;isOutput=true;]2",
            "##vso[task.setvariable variable=labVmId;]3",
            "##vso[task.setvariable variable=password;issecret=true;isoutput=true;]hidden",
        ]);
        let names = ["plain", "vm.out", "vm.labVmId", "vm.password", "out", "labVmId"].map(|name| heard.variables.value(name));
        assert_eq!(names, [Some("1"), Some("2"), Some("3"), Some("hidden"), None, None]);
        assert!(heard.variables.get("vm.password").unwrap().secret);
        assert_eq!(heard.outputs.last().unwrap().value, "***");
        assert!(heard.issues.is_empty() && heard.result.is_none());
    }

    #[test]
    fn secrets_are_masked_in_whatever_is_said_after_them() {
        let heard = hear(&["##vso[task.setsecret]hidden", "##vso[task.logissue type=error;]the hidden one"]);
        assert_eq!(heard.issues, [Issue { error: true, message: "the *** one".into() }]);
    }

    #[test]
    fn the_worst_result_stays() {
        for (lines, result) in [
            (&["##vso[task.complete result=Failed;]", "##vso[task.complete result=Succeeded;]"][..], Some(StepResult::Failed)),
            (
                &["##vso[task.complete result=Succeeded;]", "##vso[task.complete result=SucceededWithIssues;]"],
                Some(StepResult::SucceededWithIssues),
            ),
            (&["##vso[task.complete result=Canceled;]"], Some(StepResult::Canceled)),
            (&["done"], None),
        ] {
            assert_eq!(hear(lines).result, result);
        }
    }

    #[test]
    fn commands_that_cannot_be_obeyed_fail_the_step_and_say_why() {
        for (line, problem) in [
            ("##vso[task.setvariable]x", "task.setvariable names no variable"),
            ("##vso[task.setvariable variable=fixed;]2", "the variable 'fixed' is read-only"),
            ("##vso[task.setvariable variable=a;issecret=true;]x%0Ay", "a secret may not hold several lines: register each line"),
            ("##vso[task.setsecret]x%0Ay", "a secret may not hold several lines: register each line"),
            ("##vso[task.complete result=failed;]", "task.complete knows no result 'failed'"),
            ("##vso[task.logissue type=info;]x", "task.logissue takes type=error or type=warning"),
            ("##vso[task.setprogress value=101;]x", "task.setprogress takes value=0 to value=100"),
        ] {
            let heard = hear(&[line]);
            assert_eq!(heard.result, Some(StepResult::Failed), "{line}");
            assert_eq!(heard.issues[0].message, format!("a logging command was refused: {problem}"));
        }
    }

    #[test]
    fn missing_files_and_unknown_commands_are_warnings() {
        for line in
            ["##vso[task.uploadsummary]/no/such/file", "##vso[task.addattachment type=a;name=b;]/no/such/file", "##vso[task.unknown]x"]
        {
            let heard = hear(&[line]);
            assert!(!heard.issues[0].error, "{line}");
            assert_eq!(heard.result, None);
        }
        assert!(hear(&["##vso[build.addbuildtag]x"]).issues.is_empty());
    }
}
