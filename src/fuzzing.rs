//! What the fuzzers call: a function for each target, which takes any bytes and must neither panic nor hang.
//!
//! `fuzz/` drives them (`cargo xtask fuzz`); the test below runs them on our own files, on real ones, and on everything that was ever found.

#![allow(clippy::missing_panics_doc, reason = "a panic is what a fuzzer looks for")]

mod answers;

use std::sync::Arc;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::{
    agent::command,
    arm,
    cli::{logging_command::LoggingCommand, pipeline},
    emulator,
    factory::configuration::{Configuration, File},
    tasks::overrides,
    template::{self, CheckOptions, Context, Document, Level, Mode, Offline, ResourceGroup, Template},
};

/// A target: its name and what it does with its input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 9] = [
    ("template", template),
    ("overrides", overrides),
    ("logging_command", logging_command),
    ("pipeline", pipeline),
    ("labs", labs),
    ("arm_error", arm_error),
    ("retry_after", retry_after),
    ("long_running", answers::long_running),
    ("emulator", emulator::fuzz),
];

/// Reads a template, checks it, and evaluates it with its defaults.
pub fn template(data: &[u8]) {
    let Ok(document) = Document::parse(data) else { return };
    let context = context();
    let checked = template::check(&document, &context, &CheckOptions::default());
    for finding in checked.errors.iter().chain(&checked.warnings) {
        let _ = finding.to_string();
    }
    if let Ok(template) = Template::parse(document) {
        let _ = template::evaluate(&Arc::new(template), &Map::new(), &context, &Offline);
    }
}

fn context() -> Context {
    let group = ResourceGroup { name: "group".into(), location: "westeurope".into(), tags: Map::new() };
    Context {
        tenant_id: "22222222-2222-4222-8222-222222222222".into(),
        subscription_id: "11111111-1111-4111-8111-111111111111".into(),
        subscription_name: "subscription".into(),
        level: Level::ResourceGroup(group),
        deployment_name: "deployment".into(),
        location: None,
        mode: Mode::Incremental,
        template_link: None,
        environment: template::public_cloud(),
        now: OffsetDateTime::UNIX_EPOCH,
    }
}

/// Parses parameter overrides.
pub fn overrides(data: &[u8]) {
    if let Err(error) = overrides::parse(&String::from_utf8_lossy(data)) {
        let _ = error.to_string();
    }
}

/// Parses a line of a task's output as the agent would; and what we print of any text is no command but our own.
pub fn logging_command(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.lines() {
        let _ = LoggingCommand::parse(line);
    }
    let printed = command::harmless_lines(&text);
    assert!(printed.lines().all(|line| LoggingCommand::parse(line).is_none()), "{printed}");
}

/// Parses a pipeline file.
pub fn pipeline(data: &[u8]) {
    if let Err(faults) = pipeline::parse(&String::from_utf8_lossy(data)) {
        assert!(!faults.is_empty(), "refused without a reason");
    }
}

/// Reads a configuration folder of the image factory, in which these bytes stand for each kind of file in turn.
pub fn labs(data: &[u8]) {
    const LABS: &[u8] = br#"{"Labs": []}"#;
    let file = |path: &str, contents: &[u8]| File { path: path.to_owned(), contents: Ok(contents.to_vec()) };
    Configuration::read(vec![file("Labs.json", data), file("GoldenImages/a.json", b"{}")]);
    Configuration::read(vec![file("Labs.json", LABS), file("factory.json", data)]);
    Configuration::read(vec![file("Labs.json", LABS), file("GoldenImages/a.json", data)]);
}

/// Unwraps the body of an error.
pub fn arm_error(data: &[u8]) {
    if let Ok(body) = serde_json::from_slice::<Value>(data) {
        arm::error::unwrap(&body);
    }
}

/// Reads the header that says when to come back.
pub fn retry_after(data: &[u8]) {
    let value = String::from_utf8_lossy(data).into_owned();
    for name in ["retry-after", "x-ms-retry-after-ms"] {
        arm::retry::retry_after(&[(name.to_owned(), value.clone())], OffsetDateTime::UNIX_EPOCH);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests run natively, where files are real")]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    use super::*;

    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { files(&path, found) } else { found.push(path) }
        }
    }

    #[test]
    fn our_files_real_ones_and_what_was_found_pass() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut seeds = Vec::new();
        files(&root.join("examples"), &mut seeds);
        files(&root.join("../shared/data/swagger-examples/2018-09-15"), &mut seeds);
        for (name, target) in TARGETS {
            let mut inputs = seeds.clone();
            files(&root.join("fuzz/seeds").join(name), &mut inputs);
            files(&root.join("fuzz/found").join(name), &mut inputs);
            assert!(inputs.len() > 10, "{name}");
            for input in inputs {
                target(&fs::read(&input).expect("an input"));
            }
        }
    }
}
