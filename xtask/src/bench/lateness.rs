//! How much later than it happened the end of an operation is known, by how long it took.

use std::{path::Path, time::Duration};

use anyhow::Result;

use super::{
    DELETION_SECONDS, Figure,
    emulator::Emulator,
    measure::{Program, environment},
    median,
    plot::Plot,
};
use crate::npm;

/// About how long the operations take, in seconds, and how late their end may be known in the median: 0.3 s, or 2 %.
const OPERATIONS: [(f64, f64); 5] = [(1.0, 0.3), (3.0, 0.3), (10.0, 0.3), (31.0, 0.62), (90.0, 1.8)];

/// Machines that each program deletes, of each duration.
pub const SAMPLES: usize = 7;
/// The durations are spread evenly by this part to either side: a single length always meets a schedule at the same moment between two
/// polls, and would tell nothing about the median.
const SPREAD: f64 = 0.1;

/// Between two starts: starting must not slow down those that wait.
const APART: Duration = Duration::from_millis(900);

/// Measures our Delete VM and the baseline, and plots both.
pub fn measure(task: &Path, baseline: &Path) -> Result<(Vec<Figure>, Plot)> {
    let node = npm::node(20).unwrap_or_else(|| "node".into());
    let programs = [("ours", Program::new(&node, task)), ("theirs", Program::new(&node, baseline))];
    let start = |seconds: f64| (0..SAMPLES).map(|sample| Emulator::start(length(seconds, sample))).collect::<Result<Vec<_>>>();
    let emulators = OPERATIONS.iter().map(|(seconds, _)| start(*seconds)).collect::<Result<Vec<_>>>()?;
    let idle = Emulator::start(DELETION_SECONDS)?;
    // A machine that is not there: all that a run takes but the waiting.
    let mut floors = [const { Vec::new() }; 2];
    for _ in 0..2 * SAMPLES {
        for ((_, program), floors) in programs.iter().zip(&mut floors) {
            floors.push(program.run(&environment(&idle, "not-there"))?);
        }
    }
    let floors = floors.map(median);
    let late = |operation: usize, sample: usize| -> Result<[f64; 2]> {
        let mut late = [0.0; 2];
        std::thread::sleep(APART * u32::try_from(sample * OPERATIONS.len() + operation)?);
        std::thread::scope(|scope| {
            let runs = [0, 1].map(|index| {
                let (prefix, program) = &programs[index];
                let environment = environment(&emulators[operation][sample], &format!("{prefix}{sample}"));
                scope.spawn(move || program.run(&environment))
            });
            for ((run, late), floor) in runs.into_iter().zip(&mut late).zip(floors) {
                let took = run.join().expect("measuring does not panic")?;
                *late = (took.as_secs_f64() - floor.as_secs_f64() - length(OPERATIONS[operation].0, sample)).max(0.0);
            }
            Ok(late)
        })
    };
    let measured = std::thread::scope(|scope| {
        let late = &late;
        let jobs = (0..OPERATIONS.len()).map(|operation| (0..SAMPLES).map(|sample| scope.spawn(move || late(operation, sample))).collect());
        let jobs: Vec<Vec<_>> = jobs.collect();
        let join = |job: std::thread::ScopedJoinHandle<'_, Result<[f64; 2]>>| job.join().expect("measuring does not panic");
        jobs.into_iter().map(|jobs| jobs.into_iter().map(join).collect()).collect::<Result<Vec<Vec<_>>>>()
    })?;
    let mut figures = Vec::new();
    let mut plot = Plot::new("lateness", "How late the end of an operation is known", "seconds the operation takes", "seconds late");
    let medians: Vec<[f64; 2]> =
        measured.iter().map(|samples| [0, 1].map(|who| middle(samples.iter().map(|sample| sample[who])))).collect();
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
