//! How every task ends when it is broken off, as its users run it: by `dtl task` and packaged under Node.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    hosts::{Ended, Place},
    stories::{STORIES, Story},
};
use crate::{harness::Harness, packaged::NODES};

const LIMIT: Duration = Duration::from_mins(2);
/// How long the agent waits for a task that it has signalled before it kills it.
const PATIENCE: Duration = Duration::from_secs(10);

impl Story {
    /// The request by which the task begins what takes long: its method and a part of its path.
    fn beginning(self) -> (&'static str, &'static str) {
        match self {
            Self::CreateVm | Self::CreateVmWithRetries => ("PUT", "/deployments/dtl-vm1"),
            Self::DeleteVm => ("DELETE", "/virtualmachines/vm1"),
            Self::StartVm => ("POST", "/virtualmachines/vm1/start"),
            Self::StopVm => ("POST", "/virtualmachines/vm1/stop"),
            Self::CreateImage => ("PUT", "/customimages/image1"),
            Self::DeleteImage => ("DELETE", "/customimages/image1"),
            Self::CreateEnvironment => ("PUT", "/environments/env1"),
            Self::PopulateEnvironment => ("PUT", "/deployments/dtl-env1"),
            Self::DeleteEnvironment => ("DELETE", "/environments/env1"),
            Self::Definition => ("PUT", "/galleries/brandnew"),
            Self::Publish | Self::Promote => ("PUT", "/versions/1.0.0"),
            Self::Retire => ("DELETE", "/versions/1."),
            Self::Factory => ("PUT", "/deployments/"),
        }
    }

    /// What goes on in Azure, or remains, and must be named.
    fn remains(self) -> &'static str {
        match self {
            Self::CreateVm | Self::CreateVmWithRetries => "/deployments/dtl-vm1-",
            Self::DeleteVm | Self::StartVm | Self::StopVm => "/virtualmachines/vm1",
            Self::CreateImage | Self::DeleteImage => "/customimages/image1",
            Self::CreateEnvironment | Self::DeleteEnvironment => "/environments/env1",
            Self::PopulateEnvironment => "/deployments/dtl-env1-",
            Self::Definition => "/galleries/brandnew",
            Self::Publish | Self::Promote => "/versions/1.0.0",
            Self::Retire => "/versions/1.",
            Self::Factory => "a run with the id '7' goes on with it",
        }
    }
}

/// The lab of a task in which nothing ends by itself any more.
async fn slow(story: Story) -> Harness {
    let harness = story.harness().await;
    harness.settings(&json!({"speed": 1, "durations": {"start": 600, "stop": 600, "deletion": 600}})).await;
    // Galleries and updates are done at once otherwise.
    let (_, path) = story.beginning();
    if path.contains("/galleries/") || path.contains("/versions/") {
        harness.faults(&json!([{"path": format!("{path}[^/]*$"), "times": 9, "provisioning": "Succeeded", "delaySeconds": 600}])).await;
    }
    harness
}

async fn begun(harness: &Harness, story: Story) {
    let (method, part) = story.beginning();
    let started = Instant::now();
    while !harness.journal().await.iter().any(|line| line.starts_with(method) && line.to_lowercase().contains(part)) {
        assert!(started.elapsed() < LIMIT, "{story:?} does not begin: {:#?}", harness.journal().await);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Runs every task there, breaks it off once it has begun, and hands each over with its end.
async fn broken_off(
    place: impl Fn(usize) -> Place,
    break_off: impl Fn(&mut tokio::process::Child),
    patience: Duration,
    check: impl Fn(Story, &Ended),
) {
    for (number, story) in STORIES.into_iter().enumerate() {
        let harness = slow(story).await;
        let place = place(number);
        let mut child = place.start(&story.step(&harness), &harness);
        begun(&harness, story).await;
        break_off(&mut child);
        let broken_off = Instant::now();
        let ended = place.end(child).await;
        assert!(broken_off.elapsed() < patience, "{story:?} on {place:?} took {:?}: {ended:#?}", broken_off.elapsed());
        assert!(ended.says(story.remains()), "{story:?} on {place:?} does not name {}: {ended:#?}", story.remains());
        check(story, &ended);
        harness.finish().await;
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn every_task_of_the_program_is_canceled_by_a_signal_and_names_what_goes_on() {
    let interrupt = |child: &mut tokio::process::Child| super::hosts::signal(child, "-INT");
    broken_off(
        |_| Place::Program,
        interrupt,
        PATIENCE,
        |story, ended| {
            assert_eq!((ended.result.as_str(), ended.code), ("Canceled", Some(1)), "{story:?}: {ended:#?}");
        },
    )
    .await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn every_packaged_task_is_canceled_by_a_signal_and_names_what_goes_on() {
    let interrupt = |child: &mut tokio::process::Child| super::hosts::signal(child, "-INT");
    broken_off(
        |number| Place::Node(NODES[number % NODES.len()]),
        interrupt,
        PATIENCE,
        |story, ended| {
            assert_eq!((ended.result.as_str(), ended.code, ended.errors.as_str()), ("Canceled", Some(0), ""), "{story:?}: {ended:#?}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_packaged_task_notices_that_nobody_reads_and_tells_how_it_ended_where_errors_are_read() {
    let hang_up = |child: &mut tokio::process::Child| drop(child.stdout.take());
    broken_off(
        |number| Place::Node(NODES[(number + 1) % NODES.len()]),
        hang_up,
        LIMIT,
        |story, ended| {
            assert_eq!(ended.code, Some(1), "{story:?}: {ended:#?}");
            assert!(ended.errors.contains("Canceled: cancelled; look after"), "{story:?}: {ended:#?}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_nobody_has_ever_read_loses_no_result() {
    for place in Place::ALL {
        let harness = Story::DeleteVm.harness().await;
        let mut child = place.start(&Story::DeleteVm.step(&harness).input("LabVmId", "other"), &harness);
        drop(child.stdout.take());
        let ended = place.end(child).await;
        // Either it had ended before it noticed, or it was broken off: whichever, it says so. The agent learned nothing of it.
        let code = i32::from(place != Place::Program || ended.result == "Canceled");
        assert_eq!(ended.code, Some(code), "{place:?}: {ended:#?}");
        let told =
            ["SucceededWithIssues", "succeeded with issues", "Canceled", "canceled"].iter().any(|result| ended.errors.contains(result));
        assert!(told, "{place:?}: {ended:#?}");
        harness.finish().await;
    }
}
