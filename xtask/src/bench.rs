//! `cargo xtask bench`: what the packaged tasks, the factory and the emulator cost, measured against the same work done the usual way in Node.
//!
//! Everything compared is measured in one run, turn by turn, so that the ratios hold on any machine. The figures go to
//! `target/bench.json`; the goals are printed beside them and do not fail the run.

mod emulator;
mod factory;
mod lateness;
mod load;
mod measure;
mod page;
mod plot;
pub mod regression;
mod scale;
mod template;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::Value;

use crate::{npm, package, shell};
use emulator::Emulator;
use measure::{Program, environment};

/// Turns of the start-up measurement; the first ones warm caches and do not count.
const ROUNDS: usize = 25;
const WARM_UP_ROUNDS: usize = 3;

/// How long a deletion takes in the emulator before its speed divides it.
const DELETION_SECONDS: f64 = 60.0;

const BASELINE: &str = "azure-pipelines-task-lib + @azure/identity + @azure/arm-devtestlabs, bundled by esbuild";

/// One measurement, as `target/bench.json` has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figure {
    name: String,
    unit: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    #[serde(skip)]
    goal: Option<f64>,
}

impl Figure {
    fn new(name: impl Into<String>, unit: &'static str, value: f64, goal: Option<f64>) -> Self {
        Self { name: name.into(), unit, value: round(value), baseline: None, baseline_value: None, ratio: None, goal }
    }

    fn against(self, baseline_value: f64) -> Self {
        self.against_another(BASELINE, baseline_value)
    }

    fn against_another(mut self, baseline: &'static str, baseline_value: f64) -> Self {
        self.baseline = Some(baseline);
        self.ratio = (baseline_value > 0.0).then(|| round(self.value / baseline_value));
        self.baseline_value = Some(round(baseline_value));
        self
    }
}

/// What is measured together.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Sizes and start-up of the packaged tasks
    Tasks,
    /// How late the end of an operation is known
    Lateness,
    /// Evaluating templates
    Template,
    /// The image factory, and how it grows
    Factory,
    /// The emulator under load
    Emulator,
}

/// Packages, measures, prints and writes; into the documentation too, if that is wanted.
pub fn run(docs: bool, only: Option<Part>) -> Result<()> {
    let wanted = |part: Part| only.is_none_or(|only| only == part);
    let (mut figures, mut plots) = (Vec::new(), Vec::new());
    build()?;
    if [Part::Tasks, Part::Lateness, Part::Factory].into_iter().any(wanted) {
        package::run()?;
    }
    let task = shell::root().join("dist/tasks/AzureDevTestLabsDeleteVM/index.js");
    if wanted(Part::Tasks) {
        figures.extend(tasks(&task, &bundle_baseline()?)?);
    }
    if wanted(Part::Lateness) {
        let (late, plot) = lateness::measure(&task, &bundle_baseline()?)?;
        figures.extend(late);
        plots.push(plot);
    }
    if wanted(Part::Template) {
        let (evaluation, plot) = template::evaluation()?;
        figures.extend(evaluation);
        plots.push(plot);
    }
    if wanted(Part::Factory) {
        figures.extend(factory::run()?);
        let (growth, plot) = scale::growth()?;
        figures.extend(growth);
        plots.push(plot);
    }
    if wanted(Part::Emulator) {
        let (load, plot) = load::measure()?;
        figures.extend(load);
        plots.extend(plot);
    }
    print(&figures);
    if docs {
        page::write(&figures, &plots, only.is_none())?;
    }
    let file = shell::target().join("bench.json");
    fs::write(&file, serde_json::to_string_pretty(&figures)? + "\n").with_context(|| format!("failed to write {}", file.display()))
}

fn tasks(task: &Path, baseline: &Path) -> Result<Vec<Figure>> {
    let mut figures = sizes(baseline)?;
    for major in [20, 24] {
        if let Some(node) = npm::node(major) {
            figures.extend(start_up(major, &Program::new(&node, task), &Program::new(&node, baseline))?);
        } else {
            println!("Node {major} has no package for this machine: not measured");
        }
    }
    Ok(figures)
}

/// Where the suite keeps what it makes.
fn folder() -> Result<PathBuf> {
    let folder = shell::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    Ok(folder)
}

/// Builds the native program as it is shipped.
pub fn build() -> Result<()> {
    shell::run(shell::cargo().args(["build", "--release", "--quiet", "--bin", "dtl"]))
}

fn bundle_baseline() -> Result<PathBuf> {
    let output = folder()?.join("baseline.js");
    // The SDK's own script warns of what the bundler does with it.
    npm::bundle("xtask/bench/baseline.js", &output, &["--log-level=error".to_owned()])?;
    Ok(output)
}

/// The folders of Delete VM and of the largest task, and the extension. The baseline does Delete VM; its size is its one script, without
/// manifest and icon.
fn sizes(baseline: &Path) -> Result<Vec<Figure>> {
    let report: Value = serde_json::from_slice(&fs::read(shell::root().join("dist/package.json"))?)?;
    let tasks = report["tasks"].as_array().context("dist/package.json lists no tasks")?;
    let bytes = |task: &&Value| task["bytes"].as_f64();
    let largest = tasks.iter().filter_map(|task| bytes(&task)).fold(0.0, f64::max);
    let delete_vm = tasks.iter().find(|task| task["name"] == "AzureDevTestLabsDeleteVM").as_ref().and_then(bytes);
    let delete_vm = delete_vm.context("dist/package.json has no Delete VM")?;
    let vsix = report["vsixBytes"].as_f64().context("dist/package.json has no vsixBytes")?;
    let script = fs::metadata(baseline)?.len();
    Ok(vec![
        Figure::new("task folder of Delete VM", "KB", delete_vm / 1e3, Some(900.0)).against(kilobytes(script)),
        Figure::new("task folder, the largest", "KB", largest / 1e3, Some(900.0)),
        Figure::new("extension (VSIX)", "KB", vsix / 1e3, Some(3500.0)),
    ])
}

/// Wall time above an empty process, and peak memory. The machine that is to be deleted is not there: sign-in and one answer, no waiting.
fn start_up(major: u32, task: &Program, baseline: &Program) -> Result<Vec<Figure>> {
    let emulator = Emulator::start(DELETION_SECONDS)?;
    let environment = environment(&emulator, "not-there");
    let empty = Program::empty(task)?;
    let programs = [&empty, task, baseline];
    let mut times = [const { Vec::new() }; 3];
    for round in 0..ROUNDS + WARM_UP_ROUNDS {
        for (program, times) in programs.iter().zip(&mut times) {
            let time = program.run(&environment)?;
            if round >= WARM_UP_ROUNDS {
                times.push(time);
            }
        }
    }
    let [floor, ours, theirs] = times.map(median);
    let above = |time: Duration| time.saturating_sub(floor).as_secs_f64() * 1e3;
    let memory = |program: &Program| program.peak_memory(&environment);
    Ok(vec![
        Figure::new(format!("start-up of an empty process, Node {major}"), "ms", floor.as_secs_f64() * 1e3, None),
        Figure::new(format!("Delete VM above it, Node {major}"), "ms", above(ours), Some(25.0)).against(above(theirs)),
        Figure::new(format!("peak memory of Delete VM, Node {major}"), "MiB", memory(task)?, Some(60.0)).against(memory(baseline)?),
    ])
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[allow(clippy::cast_precision_loss, reason = "no file here has 2^52 bytes")]
fn kilobytes(bytes: u64) -> f64 {
    bytes as f64 / 1e3
}

fn print(figures: &[Figure]) {
    println!("\n{:<64} {:>10} {:>10} {:>7} {:>10}", "", "ours", "baseline", "ratio", "goal");
    for figure in figures {
        let optional = |value: Option<f64>, digits: usize| value.map_or(String::new(), |value| format!("{value:.digits$}"));
        let goal = figure.goal.map_or(String::new(), |goal| format!("{} {goal}", if figure.value <= goal { "≤" } else { "missed" }));
        let (name, unit) = (&figure.name, figure.unit);
        let (value, baseline, ratio) = (figure.value, optional(figure.baseline_value, 1), optional(figure.ratio, 2));
        println!("{name:<64} {value:>7.1} {unit:<3} {baseline:>9} {ratio:>7} {goal:>10}");
    }
    let baselines: BTreeSet<_> = figures.iter().filter_map(|figure| figure.baseline).collect();
    for baseline in baselines {
        println!("\nbaseline: {baseline}");
    }
}
