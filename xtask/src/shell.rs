//! Other programs: run with their output shown, or captured.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

/// The folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// Cargo, as it started this program, in the workspace's folder.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// The native program that `cargo build --release` makes.
pub fn dtl() -> PathBuf {
    target().join("release").join(format!("dtl{}", std::env::consts::EXE_SUFFIX))
}

/// Runs a command to its end, its output shown. Anything but success is an error.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", describe(command));
    let status = command.status().with_context(|| format!("failed to start {}", describe(command)))?;
    ensure!(status.success(), "{} ended with {status}", describe(command));
    Ok(())
}

/// Runs a command to its end, its output shown and returned.
pub fn run_and_read(command: &mut Command) -> Result<(ExitStatus, String)> {
    eprintln!("$ {}", describe(command));
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("failed to start {}", describe(command)))?;
    let mut output = child.stdout.take().expect("a pipe");
    let said = Arc::new(Mutex::new(Vec::new()));
    let reader = std::thread::spawn({
        let said = Arc::clone(&said);
        move || -> std::io::Result<()> {
            let mut piece = [0; 4096];
            loop {
                let length = output.read(&mut piece)?;
                if length == 0 {
                    return Ok(());
                }
                std::io::stdout().write_all(&piece[..length])?;
                std::io::stdout().flush()?;
                said.lock().expect("nobody panicked").extend_from_slice(&piece[..length]);
            }
        }
    });
    let status = child.wait()?;
    // A program that the command left behind may hold the pipe open: nobody waits for that.
    let begun = Instant::now();
    while !reader.is_finished() && begun.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let said = said.lock().expect("nobody panicked");
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

/// Runs a command to its end and returns what it wrote. Anything but success is an error that shows it.
pub fn capture(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("failed to start {}", describe(command)))?;
    ensure!(output.status.success(), "{} ended with {}\n{}", describe(command), output.status, text(&output));
    Ok(output)
}

/// Everything that a command wrote.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The command as one would type it: the program without its folder, paths below the workspace made relative.
fn describe(command: &Command) -> String {
    let root = format!("{}{}", root().display(), std::path::MAIN_SEPARATOR);
    let program = Path::new(command.get_program()).file_stem().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy().replace(&root, "")).collect();
    words.join(" ")
}
