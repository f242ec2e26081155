//! What must not grow unseen: the sizes of what is shipped, and the instructions of the hot paths.
//!
//! Both are the same on every machine, so they are compared with figures that are kept in the repository. Times are not: they are another
//! machine's. `cargo xtask bench --accept` takes today's figures as the new ones.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{factory, template};
use crate::shell;

/// How much more than the kept figure is a regression.
const TOLERANCE: f64 = 1.2;

/// Bytes and instructions, by what they are of.
#[derive(Default, Serialize, Deserialize)]
struct Figures {
    bytes: BTreeMap<String, f64>,
    instructions: BTreeMap<String, f64>,
}

fn kept() -> PathBuf {
    shell::root().join("xtask/bench/kept.json")
}

/// Fails when anything has grown by more than a fifth. Expects `dist/` and the release build.
pub fn compare() -> Result<()> {
    let kept: Figures = serde_json::from_slice(&fs::read(kept())?).context("xtask/bench/kept.json is not what --accept writes")?;
    let now = measure()?;
    let grown = grown("bytes", &kept.bytes, &now.bytes).chain(grown("instructions", &kept.instructions, &now.instructions));
    let grown: Vec<_> = grown.collect();
    if grown.is_empty() {
        println!("Sizes and instructions are within {:.0} % of those kept.", (TOLERANCE - 1.0) * 100.0);
        return Ok(());
    }
    bail!("{}\nIf that is meant, keep the new figures: cargo xtask bench --accept", grown.join("\n"))
}

/// Keeps today's figures.
pub fn accept() -> Result<()> {
    let now = measure()?;
    if now.instructions.is_empty() {
        bail!("without valgrind the instructions cannot be counted: nothing was kept");
    }
    fs::write(kept(), serde_json::to_string_pretty(&now)? + "\n")?;
    println!("Kept in {}.", kept().display());
    Ok(())
}

fn grown(unit: &str, kept: &BTreeMap<String, f64>, now: &BTreeMap<String, f64>) -> impl Iterator<Item = String> {
    now.iter().filter_map(move |(name, now)| match kept.get(name) {
        Some(kept) if *now > kept * TOLERANCE => {
            Some(format!("{name}: {now:.0} {unit}, {:.0} % more than the {kept:.0} kept", (now / kept - 1.0) * 100.0))
        }
        Some(_) => None,
        None => Some(format!("{name}: {now:.0} {unit}, with nothing kept to compare with")),
    })
}

fn measure() -> Result<Figures> {
    Ok(Figures { bytes: bytes()?, instructions: instructions()? })
}

fn bytes() -> Result<BTreeMap<String, f64>> {
    let report: Value = serde_json::from_slice(&fs::read(shell::root().join("dist/package.json"))?)?;
    let tasks = report["tasks"].as_array().context("dist/package.json lists no tasks")?;
    let folders = tasks.iter().filter_map(|task| Some((task["name"].as_str()?.to_owned(), task["bytes"].as_f64()?)));
    Ok(folders.chain([("extension (VSIX)".to_owned(), report["vsixBytes"].as_f64().context("no vsixBytes")?)]).collect())
}

/// Instructions of the hot paths, each a whole process; nothing where they cannot be counted.
fn instructions() -> Result<BTreeMap<String, f64>> {
    let template = template::template(200)?;
    let configuration = factory::configuration("regression", 200, 20)?;
    let example = shell::root().join("examples/linked-template/azuredeploy.json");
    let paths: [(&str, &[&str], &Path); 3] = [
        ("evaluate a loop of 200 resources", &["template", "evaluate"], &template),
        ("check the linked example", &["template", "check"], &example),
        ("validate 200 golden images", &["factory", "validate", "--configuration"], &configuration),
    ];
    let mut counted = BTreeMap::new();
    for (name, arguments, path) in paths {
        let Some(instructions) = count(Command::new(shell::dtl()).args(arguments).arg(path))? else {
            println!("skipped: without valgrind no instructions are counted");
            return Ok(BTreeMap::new());
        };
        counted.insert(name.to_owned(), instructions);
    }
    Ok(counted)
}

/// The instructions of a command, as valgrind counts them; `None` where it is not installed.
pub fn count(command: &Command) -> Result<Option<f64>> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Ok(None);
    }
    let mut counted = Command::new("valgrind");
    counted.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(command.get_program()).args(command.get_args());
    let output = shell::capture(&mut counted)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let instructions = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    Ok(Some(instructions.with_context(|| format!("valgrind counted nothing:\n{said}"))?))
}
