//! Child processes: scripts and packaged tasks, started, heard and stopped as the agent does.

use std::{io, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::timeout,
};

use super::environment::Environment;

/// How long a process has after the first request to stop, and after the second.
const AFTER_INTERRUPT: Duration = Duration::from_millis(7_500);
const AFTER_TERMINATE: Duration = Duration::from_millis(2_500);
/// How long output may go on after the process ended: a child of its own may hold the pipe open.
const AFTER_EXIT: Duration = Duration::from_secs(5);

/// A program to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The folder to run it in.
    pub working_directory: PathBuf,
    /// Its variables; nothing is inherited.
    pub environment: Environment,
    /// Whether output and errors are told in the order in which they were written rather than apart.
    pub merges_output: bool,
}

/// A line that a process printed.
#[derive(Debug)]
pub enum Line {
    /// On standard output, or on either where the two are merged.
    Out(String),
    /// On standard error.
    Error(String),
}

/// Runs a program to its end, handing on each line, and asks it to stop when `stop` resolves. `None` is a process that a signal ended.
pub async fn run(program: &Program, mut line: impl FnMut(Line), stop: impl Future<Output = ()>) -> io::Result<Option<i32>> {
    let mut command = Command::new(&program.executable);
    command
        .args(&program.arguments)
        .current_dir(&program.working_directory)
        .env_clear()
        .envs(&program.environment)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // A group of its own, so that Ctrl-C in the terminal reaches this program alone, which then stops the child in the agent's way.
    #[cfg(unix)]
    command.process_group(0);
    // A shell starts what goes on in its background with interrupts ignored, and children inherit that. Where this program listens, they get
    // the default back.
    #[cfg(unix)]
    let _listening = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let merged = connect(&mut command, program.merges_output)?;
    let mut child = command.spawn()?;
    // The command holds an end of the pipe, which would never end.
    drop(command);

    let (sender, mut lines) = mpsc::unbounded_channel();
    if let Some(output) = merged {
        tokio::spawn(read_lines(output, Line::Out, sender.clone()));
    }
    if let Some(output) = child.stdout.take() {
        tokio::spawn(read_lines(output, Line::Out, sender.clone()));
    }
    if let Some(output) = child.stderr.take() {
        tokio::spawn(read_lines(output, Line::Error, sender.clone()));
    }
    drop(sender);

    let id = child.id();
    let exit = end(&mut child, stop);
    tokio::pin!(exit);
    let status = loop {
        tokio::select! {
            // Lines first, so that nothing printed before the end is told after it.
            biased;
            Some(next) = lines.recv() => line(next),
            status = &mut exit => break status?,
        }
    };
    let drained = timeout(AFTER_EXIT, async {
        while let Some(next) = lines.recv().await {
            line(next);
        }
    });
    if drained.await.is_err() {
        signal(id, Signal::Kill);
    }
    Ok(status.code())
}

/// Connects output and errors: to one pipe, where order counts more than telling them apart and the system has such pipes, else to two.
#[cfg(unix)]
fn connect(command: &mut Command, merges: bool) -> io::Result<Option<tokio::net::unix::pipe::Receiver>> {
    if !merges {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        return Ok(None);
    }
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into()).map(Some)
}

#[cfg(not(unix))]
fn connect(command: &mut Command, _merges: bool) -> io::Result<Option<tokio::process::ChildStdout>> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(None)
}

async fn read_lines(output: impl AsyncRead + Unpin, kind: fn(String) -> Line, lines: mpsc::UnboundedSender<Line>) {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    while matches!(output.read_until(b'\n', &mut bytes).await, Ok(read) if read > 0) {
        let text = String::from_utf8_lossy(&bytes);
        if lines.send(kind(text.trim_end_matches(['\n', '\r']).to_owned())).is_err() {
            return;
        }
        bytes.clear();
    }
}

/// Waits for the end, which comes by itself or, once asked to stop, by stages.
async fn end(child: &mut Child, stop: impl Future<Output = ()>) -> io::Result<std::process::ExitStatus> {
    tokio::select! {
        status = child.wait() => return status,
        () = stop => {}
    }
    for (request, patience) in [(Signal::Interrupt, AFTER_INTERRUPT), (Signal::Terminate, AFTER_TERMINATE)] {
        signal(child.id(), request);
        if let Ok(status) = timeout(patience, child.wait()).await {
            return status;
        }
    }
    signal(child.id(), Signal::Kill);
    child.kill().await?;
    child.wait().await
}

#[derive(Clone, Copy, Debug)]
enum Signal {
    Interrupt,
    Terminate,
    Kill,
}

/// Signals the process and those that it started. A process that has gone already needs no signal.
#[cfg(unix)]
fn signal(id: Option<u32>, signal: Signal) {
    use rustix::process::{Pid, kill_process_group};
    let Some(group) = id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else { return };
    let signal = match signal {
        Signal::Interrupt => rustix::process::Signal::INT,
        Signal::Terminate => rustix::process::Signal::TERM,
        Signal::Kill => rustix::process::Signal::KILL,
    };
    let _ = kill_process_group(group, signal);
}

/// Windows has no signals for a program without a console: the tree is asked, then ended.
#[cfg(not(unix))]
fn signal(id: Option<u32>, signal: Signal) {
    let Some(id) = id else { return };
    let mut command = std::process::Command::new("taskkill");
    command.args(["/T", "/PID", &id.to_string()]);
    if matches!(signal, Signal::Kill) {
        command.arg("/F");
    }
    let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    async fn bash(script: &str, stop_after: Option<Duration>) -> (Option<i32>, Vec<String>) {
        bash_with(script, stop_after, false).await
    }

    async fn bash_with(script: &str, stop_after: Option<Duration>, merges_output: bool) -> (Option<i32>, Vec<String>) {
        let program = Program {
            executable: "bash".into(),
            arguments: vec!["-c".into(), script.into()],
            working_directory: std::env::temp_dir(),
            environment: Environment::from([("PATH".into(), std::env::var("PATH").unwrap_or_default()), ("ONLY".into(), "this".into())]),
            merges_output,
        };
        let mut lines = Vec::new();
        let stop = async move {
            match stop_after {
                Some(time) => tokio::time::sleep(time).await,
                None => std::future::pending().await,
            }
        };
        let take = |line| match line {
            Line::Out(text) => lines.push(text),
            Line::Error(text) => lines.push(format!("stderr: {text}")),
        };
        let code = run(&program, take, stop).await.expect("bash starts");
        (code, lines)
    }

    #[tokio::test]
    async fn every_line_and_the_exit_code_are_handed_on() {
        let (code, lines) = bash("echo one; echo two >&2; printf 'no newline'; exit 3", None).await;
        assert_eq!(code, Some(3));
        assert!(
            lines.contains(&"one".into()) && lines.contains(&"stderr: two".into()) && lines.contains(&"no newline".into()),
            "{lines:?}"
        );
    }

    #[tokio::test]
    async fn output_and_errors_keep_their_order_where_they_are_merged() {
        let (code, lines) = bash_with("for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done", None, true).await;
        assert_eq!(code, Some(0));
        assert_eq!(lines, ["o1", "e1", "o2", "e2", "o3", "e3", "o4", "e4", "o5", "e5"]);
    }

    #[tokio::test]
    async fn a_process_inherits_no_variables() {
        let (_, lines) = bash("echo \"$ONLY ${HOME:-none}\"", None).await;
        assert_eq!(lines, ["this none"]);
    }

    #[tokio::test]
    async fn a_process_is_asked_by_interrupt_first_and_may_clean_up() {
        let (code, lines) =
            bash("trap 'echo cleaned; exit 7' INT; while true; do sleep 0.05; done", Some(Duration::from_millis(200))).await;
        assert_eq!((code, lines), (Some(7), vec!["cleaned".to_owned()]));
    }

    #[tokio::test]
    async fn a_missing_program_is_an_error() {
        let program = Program {
            executable: "no-such-program".into(),
            arguments: vec![],
            working_directory: std::env::temp_dir(),
            environment: Environment::new(),
            merges_output: false,
        };
        assert!(run(&program, |_| {}, std::future::pending()).await.is_err());
    }
}
