//! 1, 4, 16 and 64 times the work: what each further copy costs.

use std::time::Instant;

use anyhow::{Context as _, Result};

use super::{Figure, emulator::Emulator, factory, plot::Plot, regression};

/// Times the work.
const TIMES: [u32; 4] = [1, 4, 16, 64];

/// The work: golden images, and labs that list them all.
const IMAGES: u32 = 2;
const LABS: u32 = 2;
/// How much is under way at once. The smallest work fills it: with room left, more work would first of all fill that.
const CAP: u32 = 2;

/// So fast that the factory itself is what takes time.
const SPEED: f64 = 6000.0;

/// What one run took.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    requests: f64,
    mebibytes: f64,
    /// 0 where they cannot be counted.
    instructions: f64,
}

/// A cost's name, and how it is read.
type Reading = (&'static str, fn(&Cost) -> f64);

/// How the cost of a further copy grows, and the plot of it.
pub fn growth() -> Result<(Vec<Figure>, Plot)> {
    let costs = TIMES.map(cost).into_iter().collect::<Result<Vec<_>>>()?;
    let mut figures = Vec::new();
    let mut plot = Plot::new("scale", "What each further copy costs, against the first ones", "times the work", "1 is the same");
    let readings: [Reading; 4] = [
        ("time", |cost| cost.seconds),
        ("requests", |cost| cost.requests),
        ("memory", |cost| cost.mebibytes),
        ("instructions", |cost| cost.instructions),
    ];
    for (name, read) in readings {
        // The cost of one more copy between each two runs: what a process costs at all falls out.
        let further: Vec<f64> = costs
            .windows(2)
            .zip(TIMES.windows(2))
            .map(|(costs, times)| (read(&costs[1]) - read(&costs[0])) / f64::from((times[1] - times[0]) * IMAGES * LABS))
            .collect();
        let Some((first, last)) = further.first().zip(further.last()).filter(|(first, _)| **first > 0.0) else { continue };
        figures.push(Figure::new(
            format!("factory, growth of {name} per copy up to {} times the work", TIMES[3]),
            "",
            last / first,
            Some(1.2),
        ));
        plot.line(name, TIMES[1..].iter().zip(&further).map(|(times, each)| (f64::from(*times), each / first)));
    }
    Ok((figures, plot))
}

fn cost(times: u32) -> Result<Cost> {
    let name = format!("scale-{times}");
    let folder = factory::configuration(&name, IMAGES * times, LABS)?;
    let emulator = Emulator::serve(&name, &factory::seed(LABS), SPEED)?;
    let started = Instant::now();
    let mebibytes = factory::native(&emulator, &folder, CAP)?;
    let seconds = started.elapsed().as_secs_f64();
    let requests = emulator.control("GET", "requests", None)?;
    let requests = factory::count(requests.as_array().context("the emulator lists no requests")?.len());
    let again = Emulator::serve(&name, &factory::seed(LABS), SPEED)?;
    let instructions = regression::count(factory::dtl("run", &again, &folder)?.args(["--run-id", "bench"]))?.unwrap_or_default();
    Ok(Cost { seconds, requests, mebibytes, instructions })
}
