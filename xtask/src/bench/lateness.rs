//! How much later than it happened the end of an operation is known, by how long it took.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Figure,
    emulator::Emulator,
    measure::{Program, environment},
    plot::Plot,
};
use crate::npm;

/// About how long the operations take, in seconds, and how late their end may be known in the median: 0.3 s, or 2 %.
const OPERATIONS: [(f64, f64); 5] = [(1.0, 0.3), (3.0, 0.3), (10.0, 0.3), (31.0, 0.62), (90.0, 1.8)];

/// Machines that each program deletes, of each duration.
pub const SAMPLES: usize = 15;
/// The durations are spread evenly by this part to either side: a single length always meets a schedule at the same moment between two
/// polls, and would tell nothing about the median.
const SPREAD: f64 = 0.2;

/// Between two starts: starting must not slow down those that wait.
const APART: Duration = Duration::from_millis(900);

/// Measures our Delete VM and the baseline, and plots both.
pub fn measure(task: &Path, baseline: &Path) -> Result<(Vec<Figure>, Plot)> {
    let node = npm::node(20).unwrap_or_else(|| "node".into());
    let programs = [("ours", Program::new(&node, task)), ("theirs", Program::new(&node, baseline))];
    let start = |seconds: f64| (0..SAMPLES).map(|sample| Emulator::start(length(seconds, sample))).collect::<Result<Vec<_>>>();
    let emulators = OPERATIONS.iter().map(|(seconds, _)| start(*seconds)).collect::<Result<Vec<_>>>()?;
    let run = |operation: usize, sample: usize| -> Result<()> {
        std::thread::sleep(APART * u32::try_from(sample * OPERATIONS.len() + operation)?);
        std::thread::scope(|scope| {
            let runs = programs.each_ref().map(|(prefix, program)| {
                let environment = environment(&emulators[operation][sample], &format!("{prefix}{sample}"));
                scope.spawn(move || program.run(&environment))
            });
            runs.into_iter().try_for_each(|run| run.join().expect("measuring does not panic").map(drop))
        })
    };
    std::thread::scope(|scope| {
        let run = &run;
        let all = (0..OPERATIONS.len()).flat_map(|operation| (0..SAMPLES).map(move |sample| (operation, sample)));
        let jobs: Vec<_> = all.map(|(operation, sample)| scope.spawn(move || run(operation, sample))).collect();
        jobs.into_iter().try_for_each(|job| job.join().expect("measuring does not panic"))
    })?;
    let mut medians = Vec::new();
    for (emulators, (seconds, _)) in emulators.iter().zip(OPERATIONS) {
        let requests = emulators.iter().map(|emulator| emulator.control("GET", "requests", None)).collect::<Result<Vec<_>>>()?;
        let mut both = [0.0; 2];
        for ((prefix, _), median) in programs.iter().zip(&mut both) {
            let late = requests.iter().enumerate();
            let late = late.map(|(sample, requests)| lateness(requests, &format!("{prefix}{sample}"), length(seconds, sample)));
            *median = middle(late.collect::<Result<Vec<_>>>()?.into_iter());
        }
        medians.push(both);
    }
    let mut figures = Vec::new();
    let mut plot = Plot::new("lateness", "How late the end of an operation is known", "seconds the operation takes", "seconds late");
    for ((seconds, goal), [ours, theirs]) in OPERATIONS.iter().zip(&medians) {
        figures.push(
            Figure::new(format!("lateness after an operation of about {seconds} s, median"), "s", *ours, Some(*goal)).against(*theirs),
        );
    }
    for (who, name) in ["Delete VM", "baseline"].into_iter().enumerate() {
        plot.line(name, OPERATIONS.iter().zip(&medians).map(|((seconds, _), late)| (*seconds, late[who])));
    }
    Ok((figures, plot))
}

/// How long after a deletion's end the program asked for the last time, by what the emulator has noted: that answer told it.
fn lateness(requests: &Value, machine: &str, length: f64) -> Result<f64> {
    let requests = requests.as_array().context("the emulator lists no requests")?;
    let is_deletion = |request: &&Value| {
        request["method"] == "DELETE" && request["path"].as_str().is_some_and(|path| path.to_ascii_lowercase().ends_with(machine))
    };
    let deletion = requests.iter().find(is_deletion).with_context(|| format!("nobody deleted '{machine}'"))?;
    let last = requests.iter().rfind(|request| request["client"] == deletion["client"]).context("nobody asked")?;
    let at = |request: &Value| OffsetDateTime::parse(request["at"].as_str().unwrap_or_default(), &Rfc3339);
    Ok(((at(last)? - at(deletion)?).as_seconds_f64() - length).max(0.0))
}

/// How long the operation of one sample takes.
fn length(seconds: f64, sample: usize) -> f64 {
    let steps = f64::from(u32::try_from(SAMPLES - 1).expect("a few"));
    let step = f64::from(u32::try_from(sample).expect("a few"));
    seconds * (1.0 - SPREAD + 2.0 * SPREAD * step / steps)
}

/// The median.
pub fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
