//! A task as its users run it: by the program `dtl task`, and packaged under the agent's Node.

use std::{process::Stdio, time::Duration};

use dtl::cli::logging_command::LoggingCommand;
use tokio::process::{Child, Command};

use crate::{
    harness::{Harness, Step},
    packaged,
};

/// Generous: the machine may be busy with other tests.
const LIMIT: Duration = Duration::from_mins(3);

/// What runs a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `dtl task`.
    Program,
    /// The packaged task under this Node.
    Node(u32),
}

/// A task that has run.
#[derive(Debug)]
pub struct Ended {
    /// The result in the agent's words; empty where nothing states it.
    pub result: String,
    /// The lines of standard output.
    pub lines: Vec<String>,
    /// Standard error.
    pub errors: String,
    /// The exit code.
    pub code: Option<i32>,
}

impl Place {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Program, Self::Node(packaged::NODES[0]), Self::Node(packaged::NODES[1])];

    /// Starts a step.
    pub fn start(self, step: &Step<'_>, harness: &Harness) -> Child {
        let mut command = match self {
            Self::Program => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_dtl"));
                command.args(step.command_line()).env_clear().env("NO_COLOR", "1").env("RUST_LOG", "debug");
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
                command
            }
            Self::Node(major) => packaged::command(major, &packaged::task_folder(step.task()), &packaged::exported(step, harness)),
        };
        command.current_dir(harness.folders().sources).spawn().expect("it starts")
    }

    /// Waits for the end.
    pub async fn end(self, child: Child) -> Ended {
        let output = tokio::time::timeout(LIMIT, child.wait_with_output()).await.expect("the task ends").expect("it has ended");
        let said = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Ended { result: self.result(&lines, &errors).unwrap_or_default(), lines, errors, code: output.status.code() }
    }

    /// Runs a step to its end.
    pub async fn run(self, step: &Step<'_>, harness: &Harness) -> Ended {
        self.end(self.start(step, harness)).await
    }

    fn result(self, lines: &[String], errors: &str) -> Option<String> {
        match self {
            Self::Node(_) => {
                let complete = lines.iter().filter_map(|line| LoggingCommand::parse(line)).find(|command| command.is("task", "complete"));
                complete?.property("result").map(str::to_owned)
            }
            Self::Program => {
                let words = [
                    ("the run succeeded with issues in ", "SucceededWithIssues"),
                    ("the run succeeded in ", "Succeeded"),
                    ("the run failed in ", "Failed"),
                    ("the run was canceled in ", "Canceled"),
                ];
                let said = [lines.join("\n"), errors.to_owned()].concat();
                words.into_iter().find(|(words, _)| said.contains(words)).map(|(_, result)| result.to_owned())
            }
        }
    }
}

impl Ended {
    /// Whether either output says this, without regard to case.
    pub fn says(&self, text: &str) -> bool {
        let said = [self.lines.join("\n"), self.errors.clone()].concat().to_lowercase();
        said.contains(&text.to_lowercase())
    }
}

/// Sends a process a signal, as the agent does.
#[cfg(unix)]
pub fn signal(child: &Child, signal: &str) {
    let process = child.id().expect("a process that runs").to_string();
    let sent = std::process::Command::new("kill").args([signal, &process]).status().expect("kill starts");
    assert!(sent.success(), "kill {signal}: {sent}");
}
