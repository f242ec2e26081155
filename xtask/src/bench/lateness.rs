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
pub const SAMPLES: usize = 5;
/// The ends that are looked at are spread evenly by this part to either side: a single one always meets a schedule at the same moment between
/// two polls, and would tell nothing about the median.
const SPREAD: f64 = 0.2;
/// How many ends are looked at in each run.
const ENDS: u32 = 201;

/// Between two starts: starting must not slow down those that wait.
const APART: Duration = Duration::from_millis(900);

/// Measures our Delete VM and the baseline, and plots both.
pub fn measure(task: &Path, baseline: &Path) -> Result<(Vec<Figure>, Plot)> {
    let node = npm::node(20).unwrap_or_else(|| "node".into());
    let programs = [("ours", Program::new(&node, task)), ("theirs", Program::new(&node, baseline))];
    let start = |seconds: f64| (0..SAMPLES).map(|_| Emulator::start(seconds * (1.0 + SPREAD))).collect::<Result<Vec<_>>>();
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
            let polls = requests.iter().enumerate().map(|(sample, requests)| polls(requests, &format!("{prefix}{sample}")));
            let polls = polls.collect::<Result<Vec<_>>>()?;
            *median = middle(polls.iter().flat_map(|polls| ends(seconds).map(|end| lateness(polls, end))));
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

/// When the program asked for anything, in seconds after its deletion began, by what the emulator has noted: all that comes after is polls.
fn polls(requests: &Value, machine: &str) -> Result<Vec<f64>> {
    let requests = requests.as_array().context("the emulator lists no requests")?;
    let is_deletion = |request: &&Value| {
        request["method"] == "DELETE" && request["path"].as_str().is_some_and(|path| path.to_ascii_lowercase().ends_with(machine))
    };
    let at = |request: &Value| OffsetDateTime::parse(request["at"].as_str().unwrap_or_default(), &Rfc3339);
    let deletion = requests.iter().find(is_deletion).with_context(|| format!("nobody deleted '{machine}'"))?;
    let began = at(deletion)?;
    let asked = requests.iter().filter(|request| request["client"] == deletion["client"]);
    asked.map(|request| Ok((at(request)? - began).as_seconds_f64())).collect()
}

/// The moments at which an operation of about this length may end.
fn ends(seconds: f64) -> impl Iterator<Item = f64> {
    let step = 2.0 * SPREAD / f64::from(ENDS - 1);
    (0..ENDS).map(move |end| seconds * (1.0 - SPREAD + step * f64::from(end)))
}

/// How long after an end the next poll came, which would have been told of it.
fn lateness(polls: &[f64], end: f64) -> f64 {
    polls.iter().find(|poll| **poll >= end).map_or(f64::INFINITY, |poll| poll - end)
}

/// The median.
pub fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
