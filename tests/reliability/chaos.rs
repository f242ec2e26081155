//! Every task and the image factory against faults by chance: each run ends in the right state, or in an error that names what remains.
//!
//! A seed decides on the task, on the rate of faults and on each fault. `DTL_CHAOS_RUNS` is the number of seeds, `DTL_CHAOS_SEED` runs one
//! alone and shows its log. `docs/reliability.md` tells what has been run.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use dtl::agent::Outcome;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use serde_json::{Value, json};

use super::{
    fast_host::FastHost,
    stories::{PASSWORD, STORIES, Story},
};
use crate::harness::{Finished, Harness, Step};

/// How many seeds are run without being asked for more.
const RUNS: u64 = 300;
/// How many runs go on together.
const TOGETHER: usize = 8;
/// Shares of requests that meet a fault.
const RATES: [f64; 3] = [0.03, 0.1, 0.25];
/// How often the agent runs a factory that failed once more (`retryCountOnTaskFailure`); the step is the same, with its run id.
const AGAIN: usize = 2;

const VM: &str = "Microsoft.DevTestLab/labs/virtualmachines";
const IMAGE: &str = "Microsoft.DevTestLab/labs/customimages";
const ENVIRONMENT: &str = "Microsoft.DevTestLab/labs/users/environments";
const VERSION: &str = "Microsoft.Compute/galleries/images/versions";

impl Story {
    /// Whether the task may delete this, which was there before.
    fn may_delete(self, id: &str) -> bool {
        let id = id.to_lowercase();
        match self {
            Self::DeleteVm => id.ends_with("/virtualmachines/vm1"),
            Self::DeleteImage => id.ends_with("/customimages/image1"),
            Self::DeleteEnvironment => id.ends_with("/environments/env1"),
            Self::Retire => id.ends_with("/versions/1.0.0") || id.ends_with("/versions/1.1.0"),
            _ => false,
        }
    }

    /// What is wrong with the state in which a run that succeeded has left the lab.
    fn complaint(self, after: &[Value]) -> Option<String> {
        let states = |kind: &str| -> Vec<String> {
            let found = after.iter().filter(|resource| text(resource, "/type").eq_ignore_ascii_case(kind));
            found.map(|resource| format!("{} {}", text(resource, "/name"), text(resource, "/properties/provisioningState"))).collect()
        };
        let (found, expected): (Vec<String>, Vec<&str>) = match self {
            Self::CreateVm | Self::CreateVmWithRetries | Self::StartVm | Self::StopVm => (states(VM), vec!["vm1 Succeeded"]),
            Self::DeleteVm => (states(VM), vec![]),
            Self::CreateImage => (states(IMAGE), vec!["image1 Succeeded"]),
            Self::DeleteImage => (states(IMAGE), vec![]),
            Self::CreateEnvironment | Self::PopulateEnvironment => (states(ENVIRONMENT), vec!["env1 Succeeded"]),
            Self::DeleteEnvironment => (states(ENVIRONMENT), vec![]),
            Self::Definition => (
                states("Microsoft.Compute/galleries/images").into_iter().filter(|image| image.starts_with("fresh")).collect(),
                vec!["fresh Succeeded"],
            ),
            Self::Publish | Self::Promote => (states(VERSION), vec!["1.0.0 Succeeded"]),
            Self::Retire => (states(VERSION), vec!["1.2.0 Succeeded"]),
            Self::Factory => {
                let good = states(IMAGE).iter().filter(|image| image.ends_with(" Succeeded")).count();
                (vec![format!("{good} images, {} machines", states(VM).len())], vec!["11 images, 0 machines"])
            }
        };
        (found != expected).then(|| format!("{found:?} is there in place of {expected:?}"))
    }

    /// The most that a run may make of a type.
    fn most(self, kind: &str) -> usize {
        match self {
            Self::Factory if kind == IMAGE => 11,
            Self::Factory if kind == VM => 4,
            _ => 1,
        }
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Resources by lower-case id.
fn by_id(resources: &[Value]) -> BTreeMap<String, &Value> {
    resources.iter().map(|resource| (text(resource, "/id").to_lowercase(), resource)).collect()
}

/// What there is once nothing goes on any more.
async fn settled(harness: &Harness) -> Vec<Value> {
    let mut last = Vec::new();
    for _ in 0..600 {
        last = harness.resources().await;
        let goes_on = |resource: &Value| {
            let state = text(resource, "/properties/provisioningState");
            !["", "Succeeded", "Failed", "Canceled", "NotSpecified"].contains(&state)
        };
        if !last.iter().any(goes_on) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("this never ends: {last:#?}");
}

/// How a run ended, and what is wrong with that.
struct Ending {
    seed: u64,
    story: Story,
    outcome: Outcome,
    /// How often the agent ran it.
    runs: usize,
    faults: u64,
    wrong: Vec<String>,
    log: String,
    /// Outcome and final states, to compare runs of one seed.
    picture: Vec<String>,
}

fn story_of(seed: u64) -> Story {
    STORIES[usize::try_from(seed).unwrap() % STORIES.len()]
}

async fn run(seed: u64) -> Ending {
    let story = story_of(seed);
    let rate = RATES[usize::try_from(seed).unwrap() / STORIES.len() % RATES.len()];
    let harness = story.harness().await;
    let before = harness.resources().await;
    harness
        .settings(&json!({"chaos": {"seed": seed, "rate": rate, "maxDelaySeconds": 0.02, "stuckSeconds": 5, "retryAfterSeconds": 1}}))
        .await;
    let dressed = || {
        let step = story.step(&harness).input("OperationTimeoutInMinutes", "1").variable("System.Debug", "true");
        if seed.is_multiple_of(2) { step } else { step.federated() }
    };
    let is_cancelled = seed % 4 == 3;
    let step = if is_cancelled { broken_off(story, dressed(), seed) } else { dressed() };
    let mut finished = step.run_on(FastHost::new).await;
    let mut earlier: Vec<String> = Vec::new();
    let mut runs = 1;
    while story == Story::Factory && finished.outcome == Outcome::Failed && runs <= AGAIN {
        let again = dressed().run_on(FastHost::new).await;
        earlier.extend(std::mem::replace(&mut finished, again).lines);
        runs += 1;
    }
    let faults = harness.chaos().await["count"].as_u64().unwrap_or_default();
    harness.settings(&json!({"chaos": null})).await;
    let after = settled(&harness).await;
    let mut wrong = judge(story, is_cancelled, &finished, &earlier, &before, &after, &harness);
    let mut log = format!("{}\n{finished}", earlier.join("\n"));
    if story == Story::Factory && finished.outcome != Outcome::Succeeded {
        // Once the faults are over, the same step goes on to the end, wherever it was broken off. What a fault has broken before, as an
        // artifact of a machine under way, the first such run may still tell; the second makes it anew.
        let mut healed = dressed().run_on(FastHost::new).await;
        log = format!("{log}without faults:\n{healed}");
        if healed.outcome == Outcome::Failed {
            healed = dressed().run_on(FastHost::new).await;
            log = format!("{log}again:\n{healed}");
        }
        let state = settled(&harness).await;
        let complaint = if healed.outcome == Outcome::Succeeded { story.complaint(&state) } else { Some("it fails".to_owned()) };
        wrong.extend(complaint.map(|complaint| format!("gone on with without faults: {complaint}")));
    }
    let states = after.iter().map(|resource| format!("{} {}", text(resource, "/type"), text(resource, "/properties/provisioningState")));
    let mut picture: Vec<String> = states.chain([format!("{:?}", finished.outcome)]).collect();
    picture.sort();
    harness.finish().await;
    Ending { seed, story, outcome: finished.outcome, runs, faults, wrong, log, picture }
}

/// The agent asks the task to stop at some moment, with one of the wishes that the task takes.
fn broken_off(story: Story, step: Step<'_>, seed: u64) -> Step<'_> {
    let step = step.cancelled_after(Duration::from_millis(seed * 37 % 300));
    match story {
        Story::DeleteVm | Story::StartVm | Story::StopVm | Story::DeleteImage | Story::DeleteEnvironment => step,
        Story::PopulateEnvironment | Story::Factory => step.input("OnCancel", ["leave", "cancelDeployment"][usize::from(seed % 8 == 3)]),
        _ => step.input("OnCancel", ["leave", "cancelDeployment", "removeCreated"][usize::try_from(seed / 4 % 3).unwrap()]),
    }
}

/// Everything that is wrong with a run's end.
fn judge(
    story: Story,
    is_cancelled: bool,
    finished: &Finished,
    earlier: &[String],
    before: &[Value],
    after: &[Value],
    harness: &Harness,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let last = finished.lines.last().map(String::as_str).unwrap_or_default();
    if finished.completed() != finished.outcome.as_str() || !last.starts_with("##vso[task.complete ") {
        wrong.push(format!("the result that was told is not {:?}: {last}", finished.outcome));
    }
    match finished.outcome {
        Outcome::Succeeded | Outcome::SucceededWithIssues => wrong.extend(story.complaint(after)),
        Outcome::Failed if finished.errors().is_empty() => wrong.push("it failed without an error".to_owned()),
        Outcome::Failed => {}
        Outcome::Canceled if is_cancelled => {}
        Outcome::Canceled => wrong.push("nobody has cancelled it".to_owned()),
    }
    let (was, is) = (by_id(before), by_id(after));
    for id in was.keys().filter(|id| !is.contains_key(*id)) {
        // What a lab's resource is made of goes with it.
        let goes_with =
            was.keys().any(|other| story.may_delete(other) && !is.contains_key(other)) && !id.contains("/microsoft.devtestlab/");
        if !story.may_delete(id) && !goes_with {
            wrong.push(format!("it deleted {id}"));
        }
    }
    let said = [earlier, &finished.lines].concat().join("\n").to_lowercase();
    let group = |id: &str| id.split('/').take(5).collect::<Vec<_>>().join("/");
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, resource) in is.iter().filter(|(id, _)| !was.contains_key(*id)) {
        // The task speaks of its own user as Azure lets it.
        let own_user = id.split_once("/users/").and_then(|(lab, rest)| Some(format!("{lab}/users/@me/{}", rest.split_once('/')?.1)));
        for kind in [VM, IMAGE, ENVIRONMENT, VERSION] {
            if text(resource, "/type").eq_ignore_ascii_case(kind) {
                *made.entry(kind).or_default() += 1;
            }
        }
        // Groups that a lab makes for its machines and environments belong to those, and a lab's users to the lab. What a template makes that
        // was deployed as a whole is what was asked for.
        // So is what a deployment makes later that was named because it goes on.
        let goes_on =
            ["goes on in azure: deployment", "may go on in azure", "could not be listed"].iter().any(|words| said.contains(words));
        let is_asked_for = story == Story::PopulateEnvironment && (finished.outcome == Outcome::Succeeded || goes_on);
        let is_inside = !was.contains_key(&group(id))
            || text(resource, "/type").eq_ignore_ascii_case("Microsoft.DevTestLab/labs/users")
            || is_asked_for;
        let is_backing = id.contains("/microsoft.compute/") && story != Story::Definition && story != Story::Publish;
        let name = text(resource, "/name").to_lowercase();
        let is_named = said.contains(id.as_str())
            || own_user.is_some_and(|id| said.contains(&id))
            || (story == Story::Factory || id.contains("/deployments/")) && said.contains(&name);
        if !is_inside && !is_backing && !is_named {
            wrong.push(format!("nothing names {id}"));
        }
    }
    wrong.extend(made.iter().filter(|(kind, count)| **count > story.most(kind)).map(|(kind, count)| format!("{count} of {kind}")));
    for secret in [PASSWORD, harness.target().client_secret.secret()] {
        let shown = earlier
            .iter()
            .chain(&finished.lines)
            .find(|line| line.contains(secret) && !line.contains("task.setsecret]") && !line.contains("issecret=true"));
        wrong.extend(shown.map(|line| format!("a secret is shown: {line}")));
    }
    wrong
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a seed on a task of its own, so that a panic is the seed's alone.
fn guarded(seed: u64) -> BoxFuture<'static, Ending> {
    async move {
        let ending = tokio::time::timeout(Duration::from_mins(20), tokio::spawn(run(seed))).await;
        let failed = |problem: String| Ending {
            seed,
            story: story_of(seed),
            outcome: Outcome::Failed,
            runs: 0,
            faults: 0,
            wrong: vec![problem],
            log: String::new(),
            picture: Vec::new(),
        };
        match ending {
            Ok(Ok(ending)) => ending,
            Ok(Err(error)) => failed(format!("it panicked: {error}")),
            Err(_) => failed("it does not end".to_owned()),
        }
    }
    .boxed()
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "the numbers are what the test is run for")]
async fn every_run_ends_well_or_names_what_remains() {
    let first = number("DTL_CHAOS_FIRST").unwrap_or(0);
    let many = || (first..first + number("DTL_CHAOS_RUNS").unwrap_or(RUNS)).collect();
    let mut seeds: Vec<u64> = number("DTL_CHAOS_SEED").map_or_else(many, |seed| vec![seed]);
    if let Ok(story) = std::env::var("DTL_CHAOS_STORY") {
        seeds.retain(|seed| format!("{:?}", story_of(*seed)) == story);
    }
    let shows = seeds.len() == 1;
    let endings: Vec<Ending> = stream::iter(seeds.into_iter().map(guarded)).buffer_unordered(TOGETHER).collect().await;
    let mut table: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    for ending in &endings {
        let row = table.entry(format!("{:?}", ending.story)).or_default();
        row[0] += 1;
        row[1] += u64::from(matches!(ending.outcome, Outcome::Succeeded | Outcome::SucceededWithIssues));
        row[2] += u64::from(ending.outcome == Outcome::Succeeded && ending.runs == 1);
        row[3] += ending.faults;
    }
    for (story, [runs, good, at_once, faults]) in &table {
        eprintln!("{story:<22} {runs:>4} runs {good:>4} succeeded, {at_once:>4} at once, {faults:>5} faults");
    }
    if shows {
        eprintln!("{}", endings[0].log);
    }
    let bad: Vec<&Ending> = endings.iter().filter(|ending| !ending.wrong.is_empty()).collect();
    if let Some(folder) = std::env::var_os("DTL_CHAOS_LOGS").map(PathBuf::from) {
        for ending in &bad {
            std::fs::write(folder.join(format!("{}.log", ending.seed)), format!("{:#?}\n{}", ending.wrong, ending.log)).unwrap();
        }
    }
    let told: Vec<String> =
        bad.iter().map(|ending| format!("DTL_CHAOS_SEED={} ({:?}): {}", ending.seed, ending.story, ending.wrong.join("; "))).collect();
    assert!(bad.is_empty(), "{} of {} runs:\n{}\n{}", bad.len(), endings.len(), told.join("\n"), bad[0].log);
    let good = endings.iter().filter(|ending| ending.outcome == Outcome::Succeeded).count();
    let faults: u64 = endings.iter().map(|ending| ending.faults).sum();
    assert!(shows || (good * 3 > endings.len() && faults > 0), "{good} of {} runs succeeded, with {faults} faults", endings.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_tells_the_same_story_twice() {
    // How often an operation is polled depends on the machine; these tasks poll little.
    for seed in [2, 3, 4, 10] {
        let (first, second) = (run(seed).await, run(seed).await);
        assert_eq!(first.picture, second.picture, "seed {seed}\n{}\n{}", first.log, second.log);
    }
}
