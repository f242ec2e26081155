//! The image factory against the emulator in process.

mod gallery;
mod page;
mod survival;
mod vhd;

use std::{fs, path::Path, time::Duration};

use dtl::agent::Outcome;
use serde_json::{Value, json};

use crate::harness::{Finished, Harness, SUBSCRIPTION, Step, data, project};

const OTHER_SUBSCRIPTION: &str = "22222222-2222-4222-8222-222222222222";

fn lab(subscription: &str, group: &str, name: &str) -> String {
    format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.DevTestLab/labs/{name}")
}

pub fn factory_lab() -> String {
    lab(SUBSCRIPTION, "image-factory", "factory")
}

/// The example's labs. The emulator's clock is the factory's own: what a run has left a day ago no later run goes on with.
pub async fn example() -> Harness {
    Harness::with(|options| options.seed = Some(project("examples/image-factory/seed.json"))).await
}

pub fn step<'a>(harness: &'a Harness, command: &str, configuration: &Path) -> Step<'a> {
    harness
        .step("AzureDevTestLabsImageFactory")
        .input("LabId", factory_lab())
        .input("Command", command)
        .input("ConfigurationLocation", configuration.to_string_lossy())
}

pub fn example_configuration() -> std::path::PathBuf {
    project("examples/image-factory/Configuration")
}

/// The custom images of a lab, by golden image, as `path state`; ordered.
pub async fn images(harness: &Harness, lab: &str) -> Vec<String> {
    let inside = format!("{}/customimages/", lab.to_lowercase());
    let resources = harness.resources().await;
    let found = resources.iter().filter(|resource| resource["id"].as_str().is_some_and(|id| id.to_lowercase().starts_with(&inside)));
    let text = |image: &Value, pointer: &str| image.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let mut images: Vec<_> =
        found.map(|image| format!("{} {}", text(image, "/tags/ImagePath"), text(image, "/properties/provisioningState"))).collect();
    images.sort();
    images
}

async fn of_type(harness: &Harness, resource_type: &str) -> Vec<String> {
    harness.names(resource_type).await
}

/// Nothing is left of a run but images.
async fn assert_swept(harness: &Harness) {
    assert_eq!(of_type(harness, "Microsoft.DevTestLab/labs/virtualmachines").await, [""; 0]);
    assert_eq!(of_type(harness, "Microsoft.Resources/deployments").await, [""; 0]);
}

async fn assert_example_is_distributed(harness: &Harness) {
    let all = [
        "Linux/Docker.json Succeeded",
        "Linux/Ubuntu.json Succeeded",
        "Win2022/Browser.json Succeeded",
        "Win2022/Datacenter.json Succeeded",
    ];
    assert_eq!(images(harness, &factory_lab()).await, all);
    assert_eq!(images(harness, &lab(SUBSCRIPTION, "teams", "web-team")).await, [all[0], all[2], all[3]]);
    assert_eq!(images(harness, &lab(SUBSCRIPTION, "teams", "test-team")).await, [all[2]]);
    assert_eq!(images(harness, &lab(OTHER_SUBSCRIPTION, "platform", "platform-team")).await, [all[0], all[1], all[3]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_brings_every_image_to_the_labs_that_list_it_and_leaves_nothing_else() {
    let harness = example().await;
    let finished = step(&harness, "run", &example_configuration()).run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    assert_example_is_distributed(&harness).await;
    assert_swept(&harness).await;
    assert!(finished.summary().contains("4 succeeded"), "{}", finished.summary());
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scripts_own_sample_runs_unchanged() {
    let Some(sample) = data("arm-corpus/samples/DevTestLabs/Scripts/ImageFactory/Configuration/GoldenImages") else { return };
    let harness = example().await;
    copy(&sample, &harness.folders().sources.join("Configuration/GoldenImages"));
    let labs = json!({"Labs": [
        {"SubscriptionId": SUBSCRIPTION, "LabName": "web-team", "ImagePaths": ["Win2012R2", "Win2016/Datacenter.json"]},
        {"SubscriptionId": OTHER_SUBSCRIPTION, "LabName": "platform-team", "ResourceGroup": "", "ImagePaths": [r"Win2016\SQLServer 2016 Express.json"]},
    ]});
    harness.file("Configuration/Labs.json", &labs.to_string());
    let finished = step(&harness, "run", &harness.folders().sources.join("Configuration")).run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    assert_eq!(
        images(&harness, &lab(SUBSCRIPTION, "teams", "web-team")).await,
        ["Win2012R2/VS2015 Enterprise with Azure SDK.json Succeeded", "Win2016/Datacenter.json Succeeded"]
    );
    let copies = images(&harness, &lab(OTHER_SUBSCRIPTION, "platform", "platform-team")).await;
    assert_eq!(copies, ["Win2016/SQLServer 2016 Express.json Succeeded"]);
    assert_swept(&harness).await;
    harness.finish().await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the sample's folder").map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::write(&target, fs::read(entry.path()).expect("a file of the sample")).expect("a copy");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_changes_nothing() {
    let harness = example().await;
    let before = harness.resources().await;
    let finished = step(&harness, "plan", &example_configuration()).run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    assert_eq!(harness.resources().await, before);
    let writes: Vec<_> = harness.requests().await.into_iter().filter(|request| request["method"] != "GET").collect();
    assert!(writes.iter().all(|request| request["path"].as_str().is_some_and(|path| path.ends_with("/token"))), "{writes:#?}");
    let log = finished.log();
    for expected in ["build       Linux/Docker.json", "distribute  Win2022_Browser-", "clean up"] {
        assert!(log.contains(expected), "{expected}\n{log}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_failures_are_told_and_everything_else_is_done() {
    let harness = example().await;
    harness
        .faults(&json!([
            {"path": "labs/factory/virtualmachines/Browser/artifacts/windows-chrome", "provisioning": "Failed"},
            {"path": "labs/factory/customimages/Linux_Ubuntu", "method": "PUT", "provisioning": "Failed"},
            {"path": "labs/platform-team/customimages/Win2022_Datacenter", "method": "PUT", "status": 403,
             "body": {"error": {"code": "AuthorizationFailed", "message": "The client may not write here."}}},
        ]))
        .await;
    let finished = step(&harness, "run", &example_configuration()).run().await;
    assert_eq!(finished.outcome, Outcome::Failed, "{finished}");
    let errors = finished.errors().join("\n");
    for expected in ["Win2022/Browser.json", "Chrome", "Linux/Ubuntu.json", "AuthorizationFailed", "platform-team"] {
        assert!(errors.contains(expected), "{expected}\n{errors}");
    }
    assert_eq!(images(&harness, &factory_lab()).await, ["Linux/Docker.json Succeeded", "Win2022/Datacenter.json Succeeded"]);
    let web = ["Linux/Docker.json Succeeded", "Win2022/Datacenter.json Succeeded"];
    assert_eq!(images(&harness, &lab(SUBSCRIPTION, "teams", "web-team")).await, web);
    assert_eq!(images(&harness, &lab(OTHER_SUBSCRIPTION, "platform", "platform-team")).await, ["Linux/Docker.json Succeeded"]);
    assert_swept(&harness).await;
    // What failed is all that the same run has left to do.
    harness.settings(&json!({})).await;
    let again = step(&harness, "run", &example_configuration()).run().await;
    assert_eq!(again.outcome, Outcome::Succeeded, "{again}");
    assert_example_is_distributed(&harness).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_run_started_again_writes_nothing() {
    let harness = example().await;
    let finished = step(&harness, "run", &example_configuration()).input("RunId", "42").run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    let before = harness.requests().await.len();
    let again = step(&harness, "run", &example_configuration()).input("RunId", "42").run().await;
    assert_eq!(again.outcome, Outcome::Succeeded, "{again}");
    let requests = harness.requests().await;
    let writes: Vec<_> = requests[before..].iter().filter(|request| request["method"] == "PUT" || request["method"] == "DELETE").collect();
    assert!(writes.is_empty(), "{writes:#?}");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_says_how_to_go_on_and_the_next_one_does() {
    let harness = example().await;
    harness.settings(&json!({"durations": {"virtualMachine": 3000}})).await;
    let run = || step(&harness, "run", &example_configuration()).input("RunId", "42");
    let cancelled = run().cancelled_at("PUT", "/deployments/").run().await;
    assert_eq!(cancelled.outcome, Outcome::Canceled, "{cancelled}");
    assert!(cancelled.warnings().iter().any(|warning| warning.contains("run '42'")), "{cancelled}");
    let finished = run().run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    assert_example_is_distributed(&harness).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_cancelled_while_it_takes_a_deployments_record_away_names_the_record() {
    let harness = example().await;
    // The service refuses for long enough that the run is still asking when it is cancelled.
    harness.faults(&json!([{"method": "DELETE", "path": "/deployments/image-factory-", "times": 1000, "status": 503}])).await;
    let run = || step(&harness, "run", &example_configuration()).input("RunId", "42");
    let cancelled = run().cancelled_at("DELETE", "/deployments/image-factory-").run().await;
    assert_eq!(cancelled.outcome, Outcome::Canceled, "{cancelled}");
    let is_named = |warning: &String| warning.starts_with("the record of deployment 'image-factory-") && warning.contains(" remains (/");
    assert!(cancelled.warnings().iter().any(is_named), "{cancelled}");
    harness.no_faults().await;
    let finished = run().run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    assert_swept(&harness).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_in_parallel_share_the_work_and_a_last_one_retires() {
    let harness = example().await;
    let slice = |position: usize| {
        let step = step(&harness, "run", &example_configuration()).input("RunId", "42");
        step.variable("System.JobPositionInPhase", position.to_string()).variable("System.TotalJobsInPhase", "3").run()
    };
    for finished in futures::future::join_all((1..=3).map(slice)).await {
        assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    }
    assert_example_is_distributed(&harness).await;
    let puts = harness.requests().await.into_iter().filter(|request| request["method"] == "PUT");
    let deployments = puts.filter(|request| request["path"].as_str().is_some_and(|path| path.contains("/deployments/")));
    assert_eq!(deployments.count(), 4);
    for command in ["cleanUp", "retire"] {
        let finished = step(&harness, command, &example_configuration()).run().await;
        assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    }
    assert_example_is_distributed(&harness).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_run_do_together_what_the_run_does() {
    let harness = example().await;
    for command in ["build", "capture", "distribute", "cleanUp", "retire"] {
        let finished = step(&harness, command, &example_configuration()).input("RunId", "42").run().await;
        assert_eq!(finished.outcome, Outcome::Succeeded, "{command}: {finished}");
    }
    assert_example_is_distributed(&harness).await;
    assert_swept(&harness).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn later_runs_keep_two_images_and_retire_the_third_in_every_lab() {
    let harness = example().await;
    for run in 1..=3 {
        let finished = step(&harness, "run", &example_configuration()).input("RunId", run.to_string()).run().await;
        assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    }
    assert_eq!(images(&harness, &lab(SUBSCRIPTION, "teams", "test-team")).await, ["Win2022/Browser.json Succeeded"; 2]);
    assert_eq!(images(&harness, &factory_lab()).await.len(), 8);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_surely_superseded_stays() {
    let harness = example().await;
    let test_team = lab(SUBSCRIPTION, "teams", "test-team");
    let browser = "Win2022/Browser.json";
    for (name, tags) in [
        ("used-by-formula", json!({"ImagePath": browser})),
        ("untagged", json!({"owner": "me"})),
        ("ignored", json!({"ImagePath": browser, "FactoryIgnore": ""})),
        ("old", json!({"ImagePath": r"WIN2022\browser.json"})),
        ("newer", json!({"ImagePath": browser})),
        ("newest", json!({"ImagePath": browser})),
    ] {
        let body =
            json!({"tags": tags, "properties": {"vhd": {"imageName": "https://x.blob.core.windows.net/v/a.vhd", "osType": "Windows"}}});
        harness.put(&format!("{test_team}/customimages/{name}"), "2018-09-15", &body).await;
    }
    let formula = json!({"location": "westeurope", "properties": {"osType": "Windows", "formulaContent": {"properties": {
        "customImageId": format!("{test_team}/customImages/used-by-formula"),
    }}}});
    harness.put(&format!("{test_team}/formulas/web"), "2018-09-15", &formula).await;
    let finished = step(&harness, "retire", &example_configuration()).run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    let names = of_type(&harness, "Microsoft.DevTestLab/labs/customimages").await;
    assert_eq!(names, ["ignored", "newer", "newest", "untagged", "used-by-formula"]);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_most_of_a_lab_must_be_allowed() {
    let harness = example().await;
    let finished = step(&harness, "run", &example_configuration()).run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    copy(&example_configuration(), &harness.folders().sources.join("C"));
    fs::remove_dir_all(harness.folders().sources.join("C/GoldenImages/Win2022")).expect("the folder goes");
    let configuration = harness.folders().sources.join("C");
    let refused = step(&harness, "retire", &configuration).run().await;
    assert_eq!(refused.outcome, Outcome::Failed, "{refused}");
    assert!(refused.errors().iter().any(|error| error.contains("AllowDeletions")), "{refused}");
    assert_example_is_distributed(&harness).await;
    let allowed = step(&harness, "retire", &configuration).input("AllowDeletions", "true").run().await;
    assert_eq!(allowed.outcome, Outcome::Succeeded, "{allowed}");
    assert_eq!(images(&harness, &factory_lab()).await, ["Linux/Docker.json Succeeded", "Linux/Ubuntu.json Succeeded"]);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labs_that_cannot_be_reached_are_told_one_by_one_and_the_others_served() {
    let harness = example().await;
    copy(&example_configuration(), &harness.folders().sources.join("C"));
    let entry =
        |subscription: &str, name: &str, paths: &[&str]| json!({"SubscriptionId": subscription, "LabName": name, "ImagePaths": paths});
    let labs = json!({"Labs": [
        entry(SUBSCRIPTION, "web-team", &["Win2022/Browser.json"]),
        entry(SUBSCRIPTION, "nobody", &["Win2022/Browser.json"]),
        entry("33333333-3333-4333-8333-333333333333", "far", &["Linux"]),
    ]});
    harness.file("C/Labs.json", &labs.to_string());
    let finished = step(&harness, "run", &harness.folders().sources.join("C")).run().await;
    assert_eq!(finished.outcome, Outcome::Failed, "{finished}");
    let errors = finished.errors().join("\n");
    assert!(errors.contains("has no lab 'nobody'") && errors.contains("teams/web-team") && errors.contains("labs/far"), "{errors}");
    assert_eq!(images(&harness, &lab(SUBSCRIPTION, "teams", "web-team")).await, ["Win2022/Browser.json Succeeded"]);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn virtual_machines_of_others_are_left_alone() {
    let harness = example().await;
    let configuration = example_configuration();
    let template: Value =
        serde_json::from_slice(&fs::read(configuration.join("GoldenImages/Linux/Ubuntu.json")).expect("the example")).expect("JSON");
    let properties = &template["resources"][0]["properties"];
    for (name, tags) in [
        ("mine", json!({})),
        ("debugging", json!({"ImagePath": "gone.json", "FactoryIgnore": "yes"})),
        ("left", json!({"ImagePath": "gone.json"})),
    ] {
        let body = json!({"location": "westeurope", "tags": tags, "properties": {
            "galleryImageReference": properties["galleryImageReference"], "size": "Standard_D2s_v5", "userName": "me", "password": "Aa1!Aa1!Aa1!",
            "labVirtualNetworkId": format!("{}/virtualnetworks/Dtlfactory", factory_lab()), "labSubnetName": "DtlfactorySubnet",
        }});
        harness.put(&format!("{}/virtualmachines/{name}", factory_lab()), "2018-09-15", &body).await;
    }
    let finished = step(&harness, "cleanUp", &configuration).run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    assert!(finished.warnings().iter().any(|warning| warning.contains("'mine'")), "{finished}");
    assert_eq!(of_type(&harness, "Microsoft.DevTestLab/labs/virtualmachines").await, ["debugging", "mine"]);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_in_flight_than_the_cap_allows() {
    let harness = example().await;
    let finished = step(&harness, "run", &example_configuration()).input("MaxConcurrent", "2").run().await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
    let time = |resource: &Value, name: &str| resource["emulator"][name].as_str().unwrap_or_default().to_owned();
    let resources = harness.resources().await;
    let images = resources.iter().filter(|resource| resource["id"].as_str().is_some_and(|id| id.to_lowercase().contains("/customimages/")));
    let spans: Vec<_> = images.map(|image| (time(image, "createdAt"), time(image, "updatedAt"))).collect();
    assert_eq!(spans.len(), 11);
    for (start, _) in &spans {
        let open = spans.iter().filter(|(from, to)| from <= start && start < to).count();
        assert!(open <= 2, "{open} at {start}: {spans:#?}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_inputs_are_told_together_and_nothing_is_sent() {
    let harness = example().await;
    let finished = harness
        .step("AzureDevTestLabsImageFactory")
        .input("LabId", "/subscriptions/x")
        .input("Command", "destroy")
        .input("ConfigurationLocation", "/no/such/folder")
        .input("ImageRetention", "none")
        .input("MaxConcurrent", "0")
        .run()
        .await;
    assert_eq!(finished.outcome, Outcome::Failed, "{finished}");
    let told = finished.errors().join("\n");
    for input in ["LabId", "Command", "ConfigurationLocation", "ImageRetention", "MaxConcurrent"] {
        assert!(told.contains(input), "{input}\n{told}");
    }
    assert_eq!(harness.requests().await, [Value::Null; 0]);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_errors_is_told_with_places_and_fails_validation() {
    let harness = example().await;
    harness.file("C/Labs.json", "{\n  \"Labs\": [{}]\n}");
    harness.file("C/GoldenImages/a.json", "{");
    let finished: Finished = step(&harness, "validate", &harness.folders().sources.join("C")).run().await;
    assert_eq!(finished.outcome, Outcome::Failed, "{finished}");
    let errors = finished.errors().join("\n");
    assert!(errors.contains("Labs.json:2:12") && errors.contains("GoldenImages/a.json:1:1"), "{errors}");
    let good = step(&harness, "validate", &example_configuration()).run().await;
    assert_eq!(good.outcome, Outcome::Succeeded, "{good}");
    assert_eq!(harness.requests().await, [Value::Null; 0]);
    harness.finish().await;
}

/// Runs `dtl factory` on the harness's emulator: exit code, standard output, standard error.
async fn dtl(harness: &Harness, arguments: &[&str]) -> (Option<i32>, String, String) {
    let ready = harness.file("ready.json", &serde_json::to_string(harness.ready()).expect("the ready line"));
    let lab = factory_lab();
    let configuration = example_configuration().to_string_lossy().into_owned();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dtl"));
    command.arg("factory").args(arguments).current_dir(harness.folders().sources);
    if arguments[0] != "validate" {
        command.args(["--lab", &lab, "--on", &ready]);
    }
    if !arguments.contains(&"--configuration") {
        command.args(["--configuration", &configuration]);
    }
    let output = command.output().await.expect("dtl starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_prints_json_and_its_exit_code_tells() {
    let harness = example().await;
    let (code, output, log) = dtl(&harness, &["plan"]).await;
    let keys: Vec<_> = parsed(&output).as_object().expect("an object").keys().cloned().collect();
    assert_eq!((code, keys.join(" ").as_str()), (Some(0), "build capture distribute retire cleanUp kept"), "{log}");

    harness.faults(&json!([{"path": "labs/test-team/customimages", "method": "PUT", "provisioning": "Failed"}])).await;
    let (code, output, log) = dtl(&harness, &["run", "--run-id", "7"]).await;
    let report = parsed(&output);
    assert_eq!((code, &report["runId"]), (Some(1), &json!("7")), "{log}");
    // Named after the day of the run.
    let docker = report["images"].as_array().expect("a list").iter().find(|image| image["imagePath"] == "Linux/Docker.json");
    let docker = docker.and_then(|image| image["image"].as_str()).expect("its name").to_owned();
    let failed: Vec<_> = report["distribution"].as_array().expect("a list").iter().filter(|copy| copy["status"] == "Failed").collect();
    assert_eq!((failed.len(), &failed[0]["lab"]), (1, &json!(lab(SUBSCRIPTION, "teams", "test-team"))), "{report:#}");

    let (code, output, log) = dtl(&harness, &["run", "--run-id", "7"]).await;
    assert_eq!(code, Some(0), "{log}");
    let statuses: Vec<_> = parsed(&output)["images"].as_array().expect("a list").iter().map(|image| image["status"].clone()).collect();
    assert_eq!(statuses, ["Skipped"; 4]);
    assert_example_is_distributed(&harness).await;

    let (code, output, log) = dtl(&harness, &["list"]).await;
    assert_eq!((code, parsed(&output)["images"].as_array().map(Vec::len)), (Some(0), Some(11)), "{log}");
    let (code, output, log) = dtl(&harness, &["report", "--output", "page.html"]).await;
    assert_eq!((code, parsed(&output)), (Some(0), json!({"report": "page.html"})), "{log}");
    let page = fs::read_to_string(harness.folders().sources.join("page.html")).expect("the page");
    for expected in ["platform-team", docker.as_str(), "windows-chrome", "127 GiB", "Run <strong>7</strong>", "name=\"viewport\""] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
    assert!(!page.contains("http"), "the page fetches nothing");

    let (code, output, _) = dtl(&harness, &["validate"]).await;
    assert_eq!((code, parsed(&output)), (Some(0), json!({"errors": [], "warnings": []})));
    harness.file("bad/Labs.json", "{");
    let (code, output, _) = dtl(&harness, &["validate", "--configuration", "bad"]).await;
    assert_eq!((code, parsed(&output)["errors"][0]["file"].as_str()), (Some(1), Some("GoldenImages")));
    let (code, _, log) = dtl(&harness, &["run", "--configuration", "nowhere"]).await;
    assert_eq!(code, Some(2), "{log}");
    harness.finish().await;
}
