//! Pipeline files: the part of Azure Pipelines' YAML that can be run locally.
//!
//! A file is read whole and every fault in it is told, with line and column. What only the service can do (templates, `${{ }}`, agents,
//! matrices) is refused rather than passed over; what has no meaning locally (triggers, pools) is passed over.

pub mod check;
pub mod yaml;

use std::time::Duration;

use super::condition::Condition;
use yaml::{Fault, Node, Position, Scalar, Value};

/// A pipeline, flattened into the jobs to run, in order.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The jobs in order.
    pub jobs: Vec<Job>,
}

/// Jobs that share variables and folders with nobody.
#[derive(Clone, Debug)]
pub struct Job {
    /// The name to show, absent for a file that has steps alone.
    pub title: Option<String>,
    /// The names by which others wait for it: its own and its stage's.
    pub names: Vec<String>,
    /// The names of jobs or stages that it waits for.
    pub depends_on: Vec<String>,
    /// When it runs.
    pub condition: Condition,
    /// Its variables: the pipeline's, the stage's and its own, in this order.
    pub variables: Vec<VariableSetting>,
    /// Its steps.
    pub steps: Vec<Step>,
}

/// A variable that the file sets.
#[derive(Clone, Debug)]
pub struct VariableSetting {
    /// Its name.
    pub name: String,
    /// Its value, with macros.
    pub value: String,
    /// Whether it may be set again.
    pub read_only: bool,
}

/// A step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where it stands in the file.
    pub position: Position,
    /// What it does.
    pub action: Action,
    /// The name by which its outputs are read.
    pub name: Option<String>,
    /// The name to show, with macros.
    pub display_name: Option<String>,
    /// Whether it runs at all.
    pub enabled: bool,
    /// When it runs.
    pub condition: Condition,
    /// Whether the job goes on as if it had succeeded.
    pub continue_on_error: bool,
    /// The longest time that it may take.
    pub timeout: Option<Duration>,
    /// How often it is run again when it fails.
    pub retries: u32,
    /// Environment variables, with macros.
    pub env: Vec<(String, String)>,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Runs one of this extension's tasks.
    Task {
        /// The task as written, without its version.
        name: Scalar,
        /// The version as written.
        version: Option<String>,
        /// The inputs as written, with macros.
        inputs: Vec<(Scalar, String)>,
    },
    /// Runs a script.
    Script {
        /// What runs it.
        shell: Shell,
        /// The script, with macros.
        text: String,
        /// The folder to run it in, with macros.
        working_directory: Option<String>,
        /// Whether anything on standard error is a failure.
        fail_on_stderr: bool,
    },
    /// Fetches the sources, which a local run already has.
    Checkout,
}

/// What runs a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// `script`: the operating system's own.
    System,
    /// `bash`.
    Bash,
    /// `pwsh` and `powershell`.
    PowerShell,
}

const SUPPORTED_STEPS: &str = "task, script, bash, pwsh, powershell and checkout";

/// Reads a pipeline file.
pub fn parse(text: &str) -> Result<Pipeline, Vec<Fault>> {
    let root = yaml::parse(text).map_err(|fault| vec![fault])?;
    let mut reader = Reader { faults: Vec::new() };
    reader.refuse_expressions(&root);
    let jobs = reader.pipeline(&root);
    check_dependencies(&jobs, root.position, &mut reader.faults);
    if reader.faults.is_empty() {
        Ok(Pipeline { jobs })
    } else {
        reader.faults.sort_by_key(|fault| fault.position);
        reader.faults.dedup();
        Err(reader.faults)
    }
}

/// Jobs run in the order of the file, so what a job waits for stands above it.
fn check_dependencies(jobs: &[Job], position: Position, faults: &mut Vec<Fault>) {
    for (index, job) in jobs.iter().enumerate() {
        for name in &job.depends_on {
            let stands_above = jobs[..index].iter().any(|other| other.names.iter().any(|known| known.eq_ignore_ascii_case(name)));
            if !stands_above {
                let title = job.title.as_deref().unwrap_or("the job");
                faults.push(Fault::new(
                    position,
                    format!(
                        "{title} waits for '{name}', which is no job or stage above it; a local run takes them in the order of the file"
                    ),
                ));
            }
        }
    }
}

/// Collects faults while it reads.
struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    fn fault(&mut self, position: Position, message: impl Into<String>) {
        self.faults.push(Fault::new(position, message));
    }

    fn refuse_expressions(&mut self, node: &Node) {
        match &node.value {
            Value::Scalar(text) if text.contains("${{") => {
                self.fault(
                    node.position,
                    "template expressions `${{ }}` are evaluated by the service; a local run knows $(name) and conditions",
                );
            }
            Value::Scalar(text) if text.trim_start().starts_with("$[") => {
                self.fault(node.position, "runtime expressions `$[ ]` are not supported by a local run; use $(name) or $(step.output)");
            }
            Value::Null | Value::Scalar(_) => {}
            Value::Sequence(items) => items.iter().for_each(|item| self.refuse_expressions(item)),
            Value::Mapping(entries) => {
                for (key, value) in entries {
                    if key.text.contains("${{") {
                        self.fault(key.position, "template expressions `${{ }}` are evaluated by the service and cannot be run locally");
                    }
                    self.refuse_expressions(value);
                }
            }
        }
    }

    fn pipeline(&mut self, root: &Node) -> Vec<Job> {
        let Some(mut fields) = Fields::of(root, "a pipeline", self) else { return Vec::new() };
        fields.pass_over(&[
            "name",
            "trigger",
            "pr",
            "schedules",
            "pool",
            "appendCommitMessageToRunName",
            "lockBehavior",
            "resources",
            "workspace",
        ]);
        fields.refuse(&["extends", "parameters"], "templates are expanded by the service and cannot be run locally", self);
        let variables = self.variables(fields.take("variables"));
        let (steps, jobs, stages) = (fields.take("steps"), fields.take("jobs"), fields.take("stages"));
        let result = match (steps, jobs, stages) {
            (Some(steps), None, None) => vec![Job {
                title: None,
                names: Vec::new(),
                depends_on: Vec::new(),
                condition: Condition::succeeded(),
                variables,
                steps: self.steps(steps),
            }],
            (None, Some(jobs), None) => self.jobs(jobs, &Scope { variables, ..Scope::default() }),
            (None, None, Some(stages)) => self.stages(stages, &variables),
            (None, None, None) => {
                self.fault(root.position, "a pipeline has steps, jobs or stages; this file has none of them");
                Vec::new()
            }
            _ => {
                self.fault(root.position, "a pipeline has steps, jobs or stages, but only one of them");
                Vec::new()
            }
        };
        fields.finish("name, trigger, pr, pool, resources, variables, steps, jobs, stages", self);
        result
    }

    fn stages(&mut self, node: &Node, variables: &[VariableSetting]) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut previous: Vec<String> = Vec::new();
        for item in self.items(node, "stages") {
            let Some(mut fields) = Fields::of(item, "a stage", self) else { continue };
            fields.pass_over(&["pool", "lockBehavior", "trigger", "isSkippable"]);
            let name = fields.text("stage", self);
            let title = fields.text("displayName", self).or_else(|| name.clone());
            let scope = Scope {
                variables: [variables.to_vec(), self.variables(fields.take("variables"))].concat(),
                depends_on: fields.take("dependsOn").map_or_else(|| previous.clone(), |node| self.names(node)),
                condition: self.condition(&mut fields),
                stage: name.clone(),
                title,
            };
            match fields.take("jobs") {
                Some(node) => jobs.extend(self.jobs(node, &scope)),
                None => self.fault(item.position, "a stage has jobs"),
            }
            fields.finish("stage, displayName, dependsOn, condition, variables, pool, jobs", self);
            previous = name.into_iter().collect();
        }
        jobs
    }

    fn jobs(&mut self, node: &Node, scope: &Scope) -> Vec<Job> {
        let mut jobs = Vec::new();
        for item in self.items(node, "jobs") {
            let Some(mut fields) = Fields::of(item, "a job", self) else { continue };
            fields.refuse(&["template", "deployment"], "a local run takes jobs that are written out: `- job: name` with steps", self);
            fields.refuse(
                &["strategy", "container", "services"],
                "a local run cannot do this; take it out of the copy that you run locally",
                self,
            );
            fields.pass_over(&["pool", "workspace", "timeoutInMinutes", "cancelTimeoutInMinutes", "continueOnError", "uses"]);
            let name = fields.text("job", self).filter(|name| !name.is_empty());
            let title = fields.text("displayName", self).or_else(|| name.clone()).unwrap_or_else(|| "Job".into());
            let depends_on = fields.take("dependsOn").map_or_else(Vec::new, |node| self.names(node));
            let condition = self.condition(&mut fields);
            let variables = [scope.variables.clone(), self.variables(fields.take("variables"))].concat();
            let steps = match fields.take("steps") {
                Some(steps) => self.steps(steps),
                None => Vec::new(),
            };
            fields.finish("job, displayName, dependsOn, condition, variables, pool, steps", self);
            jobs.push(Job {
                title: Some(scope.title.as_ref().map_or_else(|| title.clone(), |stage| format!("{stage} / {title}"))),
                names: name.into_iter().chain(scope.stage.clone()).collect(),
                depends_on: [scope.depends_on.clone(), depends_on].concat(),
                condition: condition.or_else(|| scope.condition.clone()).unwrap_or_else(Condition::succeeded),
                variables,
                steps,
            });
        }
        jobs
    }

    fn steps(&mut self, node: &Node) -> Vec<Step> {
        let items: Vec<_> = self.items(node, "steps").iter().collect();
        let steps: Vec<_> = items.into_iter().filter_map(|item| self.step(item)).collect();
        let mut names: Vec<&str> = Vec::new();
        for step in &steps {
            let Some(name) = step.name.as_deref() else { continue };
            if names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                self.faults.push(Fault::new(step.position, format!("a step above is already called '{name}'")));
            }
            names.push(name);
        }
        steps
    }

    fn step(&mut self, node: &Node) -> Option<Step> {
        let mut fields = Fields::of(node, "a step", self)?;
        let action = self.action(&mut fields);
        fields.pass_over(&["target"]);
        let name = fields.scalar("name", self);
        if let Some(name) = &name
            && !is_reference_name(&name.text)
        {
            self.fault(
                name.position,
                format!("'{}' cannot name a step: letters, digits and _ are allowed, and no digit at the start", name.text),
            );
        }
        let step = Step {
            position: node.position,
            name: name.map(|name| name.text),
            display_name: fields.text("displayName", self),
            enabled: fields.boolean("enabled", self).unwrap_or(true),
            condition: self.condition(&mut fields).unwrap_or_else(Condition::succeeded),
            continue_on_error: fields.boolean("continueOnError", self).unwrap_or(false),
            timeout: fields
                .number("timeoutInMinutes", 10_000.0, self)
                .filter(|minutes| *minutes > 0.0)
                .map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
            retries: fields.number("retryCountOnTaskFailure", 10.0, self).map_or(0, whole),
            env: fields
                .take("env")
                .map_or_else(Vec::new, |node| self.texts(node, "env"))
                .into_iter()
                .map(|(key, value)| (key.text, value))
                .collect(),
            action: action.clone().unwrap_or(Action::Checkout),
        };
        if action.is_some() {
            fields.finish("name, displayName, enabled, condition, continueOnError, timeoutInMinutes, retryCountOnTaskFailure, env", self);
        }
        action.map(|_| step)
    }

    fn action(&mut self, fields: &mut Fields<'_>) -> Option<Action> {
        if let Some(task) = fields.scalar("task", self) {
            let (name, version) = match task.text.split_once('@') {
                Some((name, version)) => (name.to_owned(), Some(version.to_owned())),
                None => (task.text.clone(), None),
            };
            let inputs = fields.take("inputs").map_or_else(Vec::new, |node| self.texts(node, "inputs"));
            return Some(Action::Task { name: Scalar { position: task.position, text: name }, version, inputs });
        }
        for (key, shell) in
            [("script", Shell::System), ("bash", Shell::Bash), ("pwsh", Shell::PowerShell), ("powershell", Shell::PowerShell)]
        {
            if let Some(text) = fields.text(key, self) {
                let working_directory = fields.text("workingDirectory", self);
                let fail_on_stderr = fields.boolean("failOnStderr", self).unwrap_or(false);
                if shell == Shell::PowerShell {
                    fields.pass_over(&[
                        "errorActionPreference",
                        "warningPreference",
                        "ignoreLASTEXITCODE",
                        "informationPreference",
                        "verbosePreference",
                        "debugPreference",
                    ]);
                }
                return Some(Action::Script { shell, text, working_directory, fail_on_stderr });
            }
        }
        if fields.text("checkout", self).is_some() {
            fields.pass_over(&[
                "clean",
                "fetchDepth",
                "fetchTags",
                "lfs",
                "submodules",
                "path",
                "persistCredentials",
                "fetchFilter",
                "workspaceRepo",
            ]);
            return Some(Action::Checkout);
        }
        let found = fields.first().map_or_else(|| "an empty mapping".to_owned(), |key| format!("'{key}'"));
        self.fault(fields.position, format!("{found} is no step that can be run locally; there are {SUPPORTED_STEPS}"));
        None
    }

    fn condition(&mut self, fields: &mut Fields<'_>) -> Option<Condition> {
        let condition = fields.scalar("condition", self)?;
        match Condition::parse(&condition.text) {
            Ok(parsed) => Some(parsed),
            Err(problem) => {
                self.fault(condition.position, format!("condition: {problem}"));
                None
            }
        }
    }

    /// Variables as a mapping, or as a list of `name` and `value`.
    fn variables(&mut self, node: Option<&Node>) -> Vec<VariableSetting> {
        let Some(node) = node else { return Vec::new() };
        if let Value::Mapping(_) = node.value {
            return self
                .texts(node, "variables")
                .into_iter()
                .map(|(key, value)| VariableSetting { name: key.text, value, read_only: false })
                .collect();
        }
        let mut variables = Vec::new();
        for item in self.items(node, "variables") {
            let Some(mut fields) = Fields::of(item, "a variable", self) else { continue };
            fields.refuse(
                &["group"],
                "variable groups live in the service; set their variables with --var name=value and take this line out",
                self,
            );
            fields.refuse(&["template"], "templates are expanded by the service and cannot be run locally", self);
            let read_only = fields.boolean("readonly", self).unwrap_or(false);
            let value = fields.text("value", self).unwrap_or_default();
            if let Some(name) = fields.text("name", self) {
                variables.push(VariableSetting { name, value, read_only });
            }
            fields.finish("name, value, readonly", self);
        }
        variables
    }

    /// A mapping of texts.
    fn texts(&mut self, node: &Node, what: &str) -> Vec<(Scalar, String)> {
        let Value::Mapping(entries) = &node.value else {
            if node.value != Value::Null {
                self.fault(node.position, format!("{what} must be a mapping of names and values, not {}", node.kind()));
            }
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (key, value) in entries {
            match &value.value {
                Value::Scalar(text) => texts.push((key.clone(), text.clone())),
                Value::Null => texts.push((key.clone(), String::new())),
                _ => self.fault(value.position, format!("the value of '{}' must be text, not {}", key.text, value.kind())),
            }
        }
        texts
    }

    fn items<'a>(&mut self, node: &'a Node, what: &str) -> &'a [Node] {
        if let Value::Sequence(items) = &node.value {
            return items;
        }
        self.fault(node.position, format!("{what} must be a list, not {}", node.kind()));
        &[]
    }

    /// One name or a list of names.
    fn names(&mut self, node: &Node) -> Vec<String> {
        match &node.value {
            Value::Null => Vec::new(),
            Value::Scalar(name) => vec![name.clone()],
            _ => self
                .items(node, "dependsOn")
                .iter()
                .filter_map(|item| if let Value::Scalar(name) = &item.value { Some(name.clone()) } else { None })
                .collect(),
        }
    }
}

/// What jobs take from the stage around them.
#[derive(Default)]
struct Scope {
    variables: Vec<VariableSetting>,
    depends_on: Vec<String>,
    condition: Option<Condition>,
    stage: Option<String>,
    title: Option<String>,
}

fn is_reference_name(name: &str) -> bool {
    name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_')
        && name.chars().next().is_some_and(|first| !first.is_ascii_digit())
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the number was checked to lie between 0 and a small limit")]
fn whole(number: f64) -> u32 {
    number as u32
}

/// The entries of a mapping that were not looked at yet.
struct Fields<'a> {
    position: Position,
    what: &'static str,
    entries: Vec<&'a (Scalar, Node)>,
}

impl<'a> Fields<'a> {
    fn of(node: &'a Node, what: &'static str, reader: &mut Reader) -> Option<Self> {
        if let Value::Mapping(entries) = &node.value {
            return Some(Self { position: node.position, what, entries: entries.iter().collect() });
        }
        reader.fault(node.position, format!("{what} must be a mapping, not {}", node.kind()));
        None
    }

    fn first(&self) -> Option<&str> {
        self.entries.first().map(|(key, _)| key.text.as_str())
    }

    fn take(&mut self, name: &str) -> Option<&'a Node> {
        let index = self.entries.iter().position(|(key, _)| key.text == name)?;
        Some(&self.entries.remove(index).1)
    }

    fn scalar(&mut self, name: &str, reader: &mut Reader) -> Option<Scalar> {
        let node = self.take(name)?;
        match &node.value {
            Value::Scalar(text) => Some(Scalar { position: node.position, text: text.clone() }),
            Value::Null => Some(Scalar { position: node.position, text: String::new() }),
            _ => {
                reader.fault(node.position, format!("{name} must be text, not {}", node.kind()));
                None
            }
        }
    }

    fn text(&mut self, name: &str, reader: &mut Reader) -> Option<String> {
        self.scalar(name, reader).map(|scalar| scalar.text)
    }

    fn boolean(&mut self, name: &str, reader: &mut Reader) -> Option<bool> {
        let scalar = self.scalar(name, reader)?;
        match scalar.text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                reader.fault(scalar.position, format!("{name} is '{}'; true and false are allowed", scalar.text));
                None
            }
        }
    }

    /// A number from 0 to a limit. Only a time-out may have a fraction, which is of use in local runs.
    fn number(&mut self, name: &str, limit: f64, reader: &mut Reader) -> Option<f64> {
        let scalar = self.scalar(name, reader)?;
        match scalar.text.parse::<f64>() {
            Ok(number) if (0.0..=limit).contains(&number) => Some(number),
            _ => {
                reader.fault(scalar.position, format!("{name} is '{}'; a number from 0 to {limit} is allowed", scalar.text));
                None
            }
        }
    }

    fn pass_over(&mut self, names: &[&str]) {
        self.entries.retain(|(key, _)| !names.contains(&key.text.as_str()));
    }

    fn refuse(&mut self, names: &[&str], why: &str, reader: &mut Reader) {
        for (key, _) in self.entries.iter().filter(|(key, _)| names.contains(&key.text.as_str())) {
            reader.fault(key.position, format!("'{}' is not supported: {why}", key.text));
        }
        self.pass_over(names);
    }

    fn finish(self, allowed: &str, reader: &mut Reader) {
        for (key, _) in self.entries {
            reader.fault(key.position, format!("'{}' is not known in {}; there are {allowed}", key.text, self.what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        match parse(text) {
            Ok(_) => "none".into(),
            Err(faults) => faults
                .iter()
                .map(|fault| format!("{}:{} {}", fault.position.line, fault.position.column, fault.message))
                .collect::<Vec<_>>()
                .join("\n"),
        }
    }

    fn steps(text: &str) -> Vec<Step> {
        parse(text).unwrap().jobs.remove(0).steps
    }

    #[test]
    fn a_step_takes_every_field_that_the_agent_knows() {
        let text = "steps:\n- task: AzureDevTestLabsCreateVM@4\n  name: vm\n  displayName: Create $(x)\n  enabled: false\n  condition: always()\n  continueOnError: true\n  timeoutInMinutes: 5\n  retryCountOnTaskFailure: 2\n  env: {A: b}\n  inputs:\n    LabId: 1.10\n    Flag: true\n    Empty:\n";
        let step = steps(text).remove(0);
        assert_eq!((step.name.as_deref(), step.display_name.as_deref(), step.enabled), (Some("vm"), Some("Create $(x)"), false));
        assert_eq!((step.continue_on_error, step.timeout, step.retries), (true, Some(Duration::from_mins(5)), 2));
        assert_eq!(step.env, [("A".to_owned(), "b".to_owned())]);
        let Action::Task { name, version, inputs } = step.action else { panic!("a task") };
        assert_eq!((name.text.as_str(), version.as_deref()), ("AzureDevTestLabsCreateVM", Some("4")));
        let inputs: Vec<_> = inputs.iter().map(|(name, value)| (name.text.as_str(), value.as_str())).collect();
        assert_eq!(inputs, [("LabId", "1.10"), ("Flag", "true"), ("Empty", "")]);
    }

    #[test]
    fn variables_are_read_as_mapping_and_as_list_and_add_up() {
        let text = "variables: {a: 1}\nstages:\n- stage: s\n  variables:\n  - name: b\n    value: 2\n    readonly: true\n  jobs:\n  - job: j\n    variables: {c: 3}\n    steps: [{script: x}]\n";
        let job = parse(text).unwrap().jobs.remove(0);
        let variables: Vec<_> =
            job.variables.iter().map(|variable| (variable.name.as_str(), variable.value.as_str(), variable.read_only)).collect();
        assert_eq!(variables, [("a", "1", false), ("b", "2", true), ("c", "3", false)]);
        assert_eq!(job.title.as_deref(), Some("s / j"));
    }

    #[test]
    fn stages_wait_for_the_one_before_and_jobs_for_what_they_name() {
        let text = "stages:\n- stage: a\n  jobs:\n  - job: one\n    steps: [{script: x}]\n  - job: two\n    dependsOn: one\n    steps: [{script: x}]\n- stage: b\n  jobs: [{job: three, steps: [{script: x}]}]\n";
        let waits: Vec<_> = parse(text).unwrap().jobs.into_iter().map(|job| job.depends_on).collect();
        assert_eq!(waits, [vec![], vec!["one".to_owned()], vec!["a".to_owned()]]);
    }

    #[test]
    fn every_fault_is_told_with_line_and_column() {
        for (text, expected) in [
            ("trigger: none\n", "1:1 a pipeline has steps, jobs or stages; this file has none of them"),
            ("- script: a\n", "1:1 a pipeline must be a mapping, not a list"),
            ("steps: x\n", "1:8 steps must be a list, not text"),
            (
                "steps:\n- template: x.yml\n",
                "2:3 'template' is no step that can be run locally; there are task, script, bash, pwsh, powershell and checkout",
            ),
            (
                "steps:\n- script: a\n  conditon: always()\n",
                "3:3 'conditon' is not known in a step; there are name, displayName, enabled, condition, continueOnError, timeoutInMinutes, retryCountOnTaskFailure, env",
            ),
            (
                "steps:\n- script: a\n  condition: suceeded(\n  enabled: maybe\n",
                "3:14 condition: the function 'suceeded' is not known; did you mean succeeded?\n4:12 enabled is 'maybe'; true and false are allowed",
            ),
            (
                "variables:\n- group: g\nsteps: []\n",
                "2:3 'group' is not supported: variable groups live in the service; set their variables with --var name=value and take this line out",
            ),
            (
                "steps:\n- script: echo ${{ parameters.a }}\n",
                "2:11 template expressions `${{ }}` are evaluated by the service; a local run knows $(name) and conditions",
            ),
            (
                "variables:\n  a: $[ counter() ]\nsteps: []\n",
                "2:6 runtime expressions `$[ ]` are not supported by a local run; use $(name) or $(step.output)",
            ),
            ("steps:\n- script: a\n  timeoutInMinutes: soon\n", "3:21 timeoutInMinutes is 'soon'; a number from 0 to 10000 is allowed"),
            (
                "steps:\n- script: a\n  name: 1st\n- script: b\n  name: x\n- script: c\n  name: X\n",
                "3:9 '1st' cannot name a step: letters, digits and _ are allowed, and no digit at the start\n6:3 a step above is already called 'X'",
            ),
            (
                "jobs:\n- deployment: d\n",
                "2:3 'deployment' is not supported: a local run takes jobs that are written out: `- job: name` with steps",
            ),
            (
                "jobs:\n- job: a\n  dependsOn: b\n  steps: []\n- job: b\n  steps: []\n",
                "1:1 a waits for 'b', which is no job or stage above it; a local run takes them in the order of the file",
            ),
            ("steps:\n- task: X@4\n  inputs:\n    A: [1]\n", "4:8 the value of 'A' must be text, not a list"),
        ] {
            assert_eq!(faults(text), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_meaning_locally_is_passed_over() {
        assert_eq!(
            faults("name: x\ntrigger: none\npool: {vmImage: ubuntu-latest}\nsteps:\n- checkout: self\n  clean: true\n- script: a\n"),
            "none"
        );
    }
}
