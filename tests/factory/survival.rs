//! Runs that die, and runs that meet: the agent is killed at any moment and the run started again; two runs work at once.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use super::*;
use crate::packaged;

/// How much longer each start may live than the one before.
const MORE_LIFE: Duration = Duration::from_millis(250);

/// Slow enough for a run to be killed in each of its stages.
async fn slow_example() -> Harness {
    let harness = example().await;
    harness.settings(&json!({"speed": 300})).await;
    harness
}

/// Starts a run again and again, each killed a little later than the one before, until one ends by itself: how many were killed.
async fn run_to_the_end(mut start: impl FnMut() -> tokio::process::Command) -> u32 {
    for killed in 0.. {
        assert!(killed < 200, "no run ends by itself");
        let mut command = start();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("the run starts");
        match tokio::time::timeout(MORE_LIFE * killed, child.wait()).await {
            Ok(status) => {
                assert!(status.expect("the run ends").success(), "the run after {killed} killed ones failed");
                return killed;
            }
            // SIGKILL: nothing can be tidied up.
            Err(_) => child.kill().await.expect("the run is killed"),
        }
    }
    unreachable!("the loop returns or fails")
}

/// What was made, by the path of the request that made it.
async fn made(harness: &Harness, kind: &str) -> BTreeMap<String, usize> {
    let mut made = BTreeMap::new();
    for request in harness.requests().await {
        let path = request["path"].as_str().unwrap_or_default().to_lowercase();
        if request["method"] == "PUT" && request["status"] == 201 && path.contains(kind) {
            *made.entry(path).or_default() += 1;
        }
    }
    made
}

async fn assert_nothing_was_made_twice(harness: &Harness) {
    let images = made(harness, "/customimages/").await;
    assert!(images.len() == 11 && images.values().all(|times| *times == 1), "{images:#?}");
    let deployments = made(harness, "/deployments/").await;
    assert!(deployments.len() == 4 && deployments.values().all(|times| *times == 1), "{deployments:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_again_and_again_ends_as_if_it_had_not_been() {
    let harness = slow_example().await;
    let ready = harness.file("ready.json", &serde_json::to_string(harness.ready()).expect("the ready line"));
    let killed = run_to_the_end(|| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dtl"));
        command.args(["factory", "run", "--run-id", "42", "--lab", &factory_lab(), "--on", &ready, "--configuration"]);
        command.arg(example_configuration());
        command
    })
    .await;
    assert!(killed >= 4, "{killed} killed runs show little");
    assert_example_is_distributed(&harness).await;
    assert_swept(&harness).await;
    assert_nothing_was_made_twice(&harness).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_packaged_task_killed_again_and_again_ends_as_if_it_had_not_been() {
    const FACTORY: &str = "AzureDevTestLabsImageFactory";
    let folder = packaged::task_folder(FACTORY);
    let harness = slow_example().await;
    let environment = packaged::exported(&step(&harness, "run", &example_configuration()).input("RunId", "42"), &harness);
    let killed = run_to_the_end(|| packaged::command(packaged::NODES[0], &folder, &environment)).await;
    assert!(killed >= 4, "{killed} killed runs show little");
    assert_example_is_distributed(&harness).await;
    assert_swept(&harness).await;
    assert_nothing_was_made_twice(&harness).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_night_s_run_goes_on_with_what_a_dead_one_left() {
    let harness = slow_example().await;
    let ready = harness.file("ready.json", &serde_json::to_string(harness.ready()).expect("the ready line"));
    let start = |run: String| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dtl"));
        command.args(["factory", "run", "--run-id", &run, "--lab", &factory_lab(), "--on", &ready, "--configuration"]);
        command.arg(example_configuration()).kill_on_drop(true).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    for night in 1..=6_u32 {
        let mut child = start(night.to_string()).spawn().expect("the run starts");
        tokio::time::sleep(Duration::from_millis(600) * night).await;
        child.kill().await.expect("the run is killed");
    }
    // Six nights without an end have left more to retire than a run may without a word.
    let last = start("7".to_owned()).arg("--allow-deletions").stderr(Stdio::piped()).output().await.expect("the run starts");
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    assert_swept(&harness).await;
    for lab in [factory_lab(), lab(SUBSCRIPTION, "teams", "web-team"), lab(OTHER_SUBSCRIPTION, "platform", "platform-team")] {
        let states = images(&harness, &lab).await;
        assert!(states.iter().all(|state| state.ends_with(" Succeeded")), "{lab}: {states:#?}");
        // Whatever the nights left behind, no golden image is missing, and no more are kept than the factory keeps.
        let paths: std::collections::BTreeSet<_> = states.iter().collect();
        assert!(paths.len() == if lab == factory_lab() { 4 } else { 3 }, "{lab}: {states:#?}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runs_at_once_the_later_takes_over_and_nothing_is_lost() {
    let harness = slow_example().await;
    let configuration = example_configuration();
    let later = async {
        // The first run's machines are there, not yet captured.
        while harness.names("Microsoft.DevTestLab/labs/virtualmachines").await.len() < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        step(&harness, "run", &configuration).input("RunId", "2").run().await
    };
    let (first, second) = futures::join!(step(&harness, "run", &configuration).input("RunId", "1").run(), later);
    assert_eq!(second.outcome, Outcome::Succeeded, "{second}");
    assert_eq!(first.outcome, Outcome::Failed, "{first}");
    let errors = first.errors();
    let (sum, each) = errors.split_last().expect("the errors of the golden images, and their sum");
    assert!(sum.contains("4 things failed") && each.iter().all(|error| error.contains("run '2' has taken virtual machine")), "{first}");
    assert_example_is_distributed(&harness).await;
    assert_swept(&harness).await;
    harness.finish().await;
}
