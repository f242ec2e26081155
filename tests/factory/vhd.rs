//! Capturing as VHD and copying VHDs to the receiving labs, with blobs by Azurite.

use std::time::Duration;

use dtl::agent::Outcome;
use serde_json::{Value, json};

use super::{OTHER_SUBSCRIPTION, assert_swept, copy, example_configuration, factory_lab, images, lab, step};
use crate::harness::{Finished, Harness, SUBSCRIPTION, project};

/// The example's labs and golden images, captured as VHDs; `None` where Azurite is not there.
async fn example(copy_seconds_per_gib: f64) -> Option<(Harness, std::path::PathBuf)> {
    let harness = Harness::with_blobs(|options| options.seed = Some(project("examples/image-factory/seed.json"))).await?;
    harness.settings(&json!({"durations": {"blobCopySecondsPerGiB": copy_seconds_per_gib}})).await;
    let configuration = harness.folders().sources.join("C");
    copy(&example_configuration(), &configuration);
    harness.file("C/factory.json", &json!({"capture": "vhd", "waves": [{"labs": 1}, {}]}).to_string());
    Some((harness, configuration))
}

/// One golden image only, for the labs of both subscriptions.
fn keep_one(harness: &Harness) {
    for gone in ["Win2022/Browser.json", "Win2022/Datacenter.json", "Linux/Ubuntu.json"] {
        std::fs::remove_file(harness.folders().sources.join("C/GoldenImages").join(gone)).expect("the example has it");
    }
}

/// Requests whose path ends so, by method, as their paths.
async fn sent(harness: &Harness, method: &str, ending: &str) -> Vec<String> {
    let requests = harness.requests().await;
    let is_meant = |request: &&Value| request["method"] == method && request["path"].as_str().is_some_and(|path| path.ends_with(ending));
    requests.iter().filter(is_meant).map(|request| request["path"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The VHDs that were begun to be copied, in order: the answer 202 is that of a copy.
async fn copies(harness: &Harness) -> Vec<String> {
    let requests = harness.requests().await;
    let is_copy = |request: &&Value| {
        let path = request["path"].as_str().unwrap_or_default();
        request["method"] == "PUT" && request["status"] == 202 && path.contains("/imagefactoryvhds/")
    };
    requests.iter().filter(is_copy).map(|request| request["path"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Waits until so many copies have begun.
async fn begun_copies(harness: &Harness, count: usize) {
    while copies(harness).await.len() < count {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Access was given, and nothing can be read any longer.
async fn assert_closed(harness: &Harness) {
    let (given, taken) = (sent(harness, "POST", "/beginGetAccess").await, sent(harness, "POST", "/endGetAccess").await);
    assert!(!given.is_empty());
    for disk in given {
        let end = disk.replace("beginGetAccess", "endGetAccess");
        assert!(taken.contains(&end), "{disk} stays open: {taken:#?}");
    }
    for resource in harness.resources().await.iter().filter(|resource| resource["type"] == "Microsoft.Compute/disks") {
        let (_, disk) = harness.send(reqwest::Method::GET, resource["id"].as_str().unwrap_or_default(), "2023-10-02", None).await;
        assert_ne!(disk["properties"]["diskState"], "ActiveSAS", "{disk}");
    }
}

/// Account keys and addresses with signatures are registered as secrets, and nothing else of the log holds one.
async fn assert_masked(harness: &Harness, finished: &Finished) {
    let (registered, shown): (Vec<&String>, Vec<_>) = finished.lines.iter().partition(|line| line.starts_with("##vso[task.setsecret"));
    let mut accounts_with_a_registered_key = 0;
    for account in harness.resources().await.iter().filter(|resource| resource["type"] == "Microsoft.Storage/storageAccounts") {
        let list = format!("{}/listKeys", account["id"].as_str().unwrap_or_default());
        let (status, keys) = harness.send(reqwest::Method::POST, &list, "2023-05-01", None).await;
        assert_eq!(status, 200, "{keys}");
        let keys: Vec<&str> = keys["keys"].as_array().into_iter().flatten().filter_map(|key| key["value"].as_str()).collect();
        assert!(keys.iter().all(|key| !shown.iter().any(|line| line.contains(key))), "a key of {list} is shown");
        accounts_with_a_registered_key += usize::from(keys.iter().any(|key| registered.iter().any(|line| line.contains(key))));
    }
    assert_eq!(accounts_with_a_registered_key, 4, "the factory's and those of three labs");
    assert!(registered.iter().any(|line| line.contains("sig=")), "the disk's address is registered");
    assert!(!shown.iter().any(|line| line.contains("sig=")), "a signature is shown: {finished}");
}

#[tokio::test(flavor = "multi_thread")]
async fn vhds_are_captured_with_companions_distributed_and_their_copies_deleted() {
    let Some((harness, configuration)) = example(6.0).await else { return };
    let finished = step(&harness, "run", &configuration).input("RunId", "1").run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    let all = ["Linux/Docker.json", "Linux/Ubuntu.json", "Win2022/Browser.json", "Win2022/Datacenter.json"]
        .map(|path| format!("{path} Succeeded"));
    assert_eq!(images(&harness, &factory_lab()).await, [""; 0], "they are VHDs, not custom images");
    assert_eq!(images(&harness, &lab(SUBSCRIPTION, "teams", "web-team")).await, [&*all[0], &all[2], &all[3]]);
    assert_eq!(images(&harness, &lab(SUBSCRIPTION, "teams", "test-team")).await, [&*all[2]]);
    assert_eq!(images(&harness, &lab(OTHER_SUBSCRIPTION, "platform", "platform-team")).await, [&*all[0], &all[1], &all[3]]);
    assert_swept(&harness).await;
    assert_closed(&harness).await;
    assert_masked(&harness, &finished).await;
    assert_eq!((sent(&harness, "PUT", ".json").await.len(), copies(&harness).await.len()), (4, 4 + 7));
    let deleted = sent(&harness, "DELETE", ".vhd").await;
    assert!(deleted.len() == 7 && !deleted.iter().any(|path| path.starts_with("/afactory")), "{deleted:#?}");
    assert!(finished.lines.iter().any(|line| line.contains("127.0 of 127.0 GiB (100 %)")), "{finished}");
    let custom: Vec<Value> = harness.resources().await.into_iter().filter(|resource| resource["properties"]["vhd"].is_object()).collect();
    assert!(custom.len() == 7 && custom.iter().all(|image| image["properties"]["vhd"]["sysPrep"] == true), "{custom:#?}");
    assert!(custom.iter().all(|image| image["properties"]["author"] == "Image Factory" && image["tags"]["ImagePath"].is_string()));

    // The next run's images supersede them: VHD and companion go, in the labs the custom images.
    let finished = step(&harness, "run", &configuration).input("RunId", "2").input("ImageRetention", "1").run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    let retired = |paths: Vec<String>| paths.iter().filter(|path| path.starts_with("/afactory")).count();
    assert_eq!((retired(sent(&harness, "DELETE", ".vhd").await), retired(sent(&harness, "DELETE", ".json").await)), (4, 4));
    assert_eq!(images(&harness, &lab(SUBSCRIPTION, "teams", "test-team")).await, [&*all[2]]);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_is_taken_back_when_the_copy_fails_and_the_next_run_goes_on() {
    let Some((harness, configuration)) = example(6.0).await else { return };
    keep_one(&harness);
    harness.faults(&json!([{"method": "PUT", "path": "imagefactoryvhds/.*vhd$", "status": 403}])).await;
    let failed = step(&harness, "run", &configuration).input("RunId", "1").run().await;
    assert_eq!(failed.outcome, Outcome::Failed, "{failed}");
    assert_closed(&harness).await;
    let finished = step(&harness, "run", &configuration).input("RunId", "1").run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    let platform = lab(OTHER_SUBSCRIPTION, "platform", "platform-team");
    assert_eq!(images(&harness, &platform).await, ["Linux/Docker.json Succeeded"]);
    assert_closed(&harness).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_copy_is_aborted_and_access_taken_back() {
    let Some((harness, configuration)) = example(30_000.0).await else { return };
    keep_one(&harness);
    let step = step(&harness, "run", &configuration);
    let canceller = step.canceller();
    let stopping = async {
        begun_copies(&harness, 1).await;
        canceller.cancel();
    };
    let (finished, ()) = futures::future::join(step.run(), stopping).await;
    assert_eq!(finished.outcome, Outcome::Canceled, "{finished}");
    assert_closed(&harness).await;
    let begun = copies(&harness).await;
    assert_eq!(sent(&harness, "DELETE", ".vhd").await, begun, "what had arrived is deleted");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_dead_agent_are_waited_for_and_none_is_made_twice() {
    let Some((harness, configuration)) = example(60.0).await else { return };
    keep_one(&harness);
    // Once while the disk is copied, once while the VHD is copied to the labs.
    for seen in [1, 2] {
        let run = step(&harness, "run", &configuration).input("RunId", "1").run();
        tokio::select! {
            finished = run => panic!("it was not cut off: {finished}"),
            () = begun_copies(&harness, seen) => {}
        }
    }
    let finished = step(&harness, "run", &configuration).input("RunId", "1").run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    let mut begun = copies(&harness).await;
    begun.sort();
    let count = begun.len();
    begun.dedup();
    assert_eq!((begun.len(), count), (3, 3), "{begun:#?}");
    assert_closed(&harness).await;
    assert_swept(&harness).await;
    for team in [lab(SUBSCRIPTION, "teams", "web-team"), lab(OTHER_SUBSCRIPTION, "platform", "platform-team")] {
        assert_eq!(images(&harness, &team).await, ["Linux/Docker.json Succeeded"]);
    }
    harness.finish().await;
}
