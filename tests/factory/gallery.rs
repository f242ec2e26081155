//! The image factory through a compute gallery, against the emulator in process.

use super::*;

const GALLERY: &str =
    "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/image-factory/providers/Microsoft.Compute/galleries/golden";

async fn galleries() -> Harness {
    Harness::with(|options| options.seed = Some(project("examples/image-factory-gallery/seed.json"))).await
}

fn gallery_configuration() -> std::path::PathBuf {
    project("examples/image-factory-gallery/Configuration")
}

fn dublin() -> String {
    lab(SUBSCRIPTION, "teams", "dublin-team")
}

fn virginia() -> String {
    lab(OTHER_SUBSCRIPTION, "platform", "virginia-team")
}

/// The versions of the gallery as `golden image: state, regions`; ordered.
async fn versions(harness: &Harness) -> Vec<String> {
    let resources = harness.resources().await;
    let found = resources.iter().filter(|resource| resource["type"] == "Microsoft.Compute/galleries/images/versions");
    let mut versions: Vec<String> = found
        .map(|version| {
            let properties = &version["properties"];
            let regions = properties["publishingProfile"]["targetRegions"].as_array().cloned().unwrap_or_default();
            let mut regions: Vec<_> = regions.iter().filter_map(|region| region["name"].as_str()).collect();
            regions.sort_unstable();
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            format!("{}: {}, {}", text(&version["tags"]["ImagePath"]), text(&properties["provisioningState"]), regions.join(" + "))
        })
        .collect();
    versions.sort();
    versions
}

/// The images of the gallery that a lab allows.
async fn offered(harness: &Harness, lab: &str) -> Vec<String> {
    let inside = format!("{lab}/sharedgalleries/golden/sharedimages/").to_lowercase();
    let resources = harness.resources().await;
    let images = resources.iter().filter(|resource| resource["id"].as_str().is_some_and(|id| id.to_lowercase().starts_with(&inside)));
    let enabled = images.filter(|image| image["properties"]["enableState"] == "Enabled");
    let mut names: Vec<_> = enabled.filter_map(|image| image["properties"]["definitionName"].as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

fn succeeded(finished: &Finished) {
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
}

const MADE: [&str; 2] =
    ["Linux/Ubuntu.json: Succeeded, East US + North Europe + West Europe", "Win2022/Secure.json: Succeeded, North Europe + West Europe"];

#[tokio::test(flavor = "multi_thread")]
async fn a_run_through_the_gallery_reaches_labs_in_every_region() {
    let harness = galleries().await;
    let finished = step(&harness, "run", &gallery_configuration()).input("RunId", "1").run().await;
    succeeded(&finished);
    assert_eq!(versions(&harness).await, MADE);
    assert_eq!(offered(&harness, &dublin()).await, ["Linux_Ubuntu", "Win2022_Secure"]);
    assert_eq!(offered(&harness, &virginia()).await, ["Linux_Ubuntu"]);
    assert_eq!(of_type(&harness, "Microsoft.DevTestLab/labs/customimages").await, [""; 0]);
    assert_swept(&harness).await;
    let definition = harness.resource(&format!("{GALLERY}/images/Win2022_Secure")).await.expect("the definition");
    let properties = &definition["properties"];
    assert_eq!(
        (&properties["osType"], &properties["osState"], &properties["hyperVGeneration"]),
        (&json!("Windows"), &json!("Generalized"), &json!("V2"))
    );
    assert_eq!(properties["features"], json!([{"name": "SecurityType", "value": "TrustedLaunch"}]));
    assert_eq!(properties["identifier"], json!({"publisher": "Contoso", "offer": "factory", "sku": "Win2022_Secure"}));

    // A lab makes machines of what it was given.
    let vm = json!({"location": "northeurope", "properties": {"size": "Standard_D2s_v5", "userName": "u", "password": "P@ssw0rd1234",
        "sharedImageId": format!("{}/sharedgalleries/golden/sharedimages/Linux_Ubuntu", dublin()),
        "labVirtualNetworkId": format!("{}/virtualnetworks/Dtldublin-team", dublin()), "labSubnetName": "Dtldublin-teamSubnet"}});
    harness.put(&format!("{}/virtualmachines/web", dublin()), "2018-10-15-preview", &vm).await;

    // The same run again has nothing left to do.
    let before = harness.requests().await.len();
    succeeded(&step(&harness, "run", &gallery_configuration()).input("RunId", "1").run().await);
    let requests = harness.requests().await;
    let writes: Vec<_> = requests[before..].iter().filter(|request| request["method"] == "PUT" || request["method"] == "DELETE").collect();
    assert!(writes.is_empty(), "{writes:#?}");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn later_runs_keep_two_versions_and_those_in_use() {
    let harness = galleries().await;
    succeeded(&step(&harness, "run", &gallery_configuration()).input("RunId", "1").run().await);
    let vm = json!({"location": "eastus", "properties": {"size": "Standard_D2s_v5", "userName": "u", "password": "P@ssw0rd1234",
        "sharedImageId": format!("{}/sharedgalleries/golden/sharedimages/Linux_Ubuntu", virginia()),
        "labVirtualNetworkId": format!("{}/virtualnetworks/Dtlvirginia-team", virginia()), "labSubnetName": "Dtlvirginia-teamSubnet"}});
    harness.put(&format!("{}/virtualmachines/web", virginia()), "2018-10-15-preview", &vm).await;
    for run in ["2", "3", "4"] {
        succeeded(&step(&harness, "run", &gallery_configuration()).input("RunId", run).run().await);
    }
    assert_eq!(versions(&harness).await, [MADE[0], MADE[0], MADE[0], MADE[1], MADE[1]]);
    let resources = harness.resources().await;
    let mut runs: Vec<_> = resources
        .iter()
        .filter(|resource| resource["tags"]["ImagePath"] == "Linux/Ubuntu.json" && resource["tags"]["FactoryRunId"].is_string())
        .map(|version| version["tags"]["FactoryRunId"].as_str().unwrap_or_default().to_owned())
        .collect();
    runs.sort();
    assert_eq!(runs, ["1", "3", "4"], "the first is in use, the second is superseded");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_through_the_gallery_killed_at_any_moment_is_gone_on_with() {
    let harness = galleries().await;
    for milliseconds in [30, 150, 300, 450, 600, 800, 1100] {
        let running = step(&harness, "run", &gallery_configuration()).input("RunId", "42").run();
        if tokio::time::timeout(Duration::from_millis(milliseconds), running).await.is_ok() {
            break;
        }
    }
    succeeded(&step(&harness, "run", &gallery_configuration()).input("RunId", "42").run().await);
    assert_eq!(versions(&harness).await, MADE);
    assert_eq!(offered(&harness, &dublin()).await, ["Linux_Ubuntu", "Win2022_Secure"]);
    assert_swept(&harness).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_fails_is_told_for_its_labs_and_the_next_run_makes_good() {
    let harness = galleries().await;
    harness.faults(&json!([{"path": "images/Linux_Ubuntu/versions/.*/regions/eastus", "provisioning": "Failed"}])).await;
    let failed = step(&harness, "run", &gallery_configuration()).input("RunId", "1").run().await;
    assert_eq!(failed.outcome, Outcome::Failed, "{failed}");
    let errors = failed.errors().join("\n");
    assert!(errors.contains("virginia-team") && errors.contains("eastus"), "{errors}");
    assert_eq!(offered(&harness, &dublin()).await, ["Linux_Ubuntu", "Win2022_Secure"]);
    assert_eq!(offered(&harness, &virginia()).await, [""; 0]);
    succeeded(&step(&harness, "run", &gallery_configuration()).input("RunId", "1").run().await);
    assert_eq!(offered(&harness, &virginia()).await, ["Linux_Ubuntu"]);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_run_through_the_gallery_do_together_what_the_run_does() {
    let harness = galleries().await;
    for command in ["build", "capture", "distribute", "cleanUp", "retire"] {
        let finished = step(&harness, command, &gallery_configuration()).input("RunId", "42").run().await;
        assert_eq!(finished.outcome, Outcome::Succeeded, "{command}: {finished}");
    }
    assert_eq!(versions(&harness).await, MADE);
    assert_eq!(offered(&harness, &virginia()).await, ["Linux_Ubuntu"]);
    assert_swept(&harness).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_lab_lists_any_longer_is_withdrawn_and_what_is_gone_goes_whole() {
    let harness = galleries().await;
    succeeded(&step(&harness, "run", &gallery_configuration()).input("RunId", "1").run().await);
    let foreign = json!({"location": "westeurope", "properties": {"osType": "Linux", "osState": "Generalized", "hyperVGeneration": "V2",
        "identifier": {"publisher": "other", "offer": "other", "sku": "other"}}, "tags": {"ImagePath": "Win2022/Secure.json"}});
    harness.put(&format!("{GALLERY}/images/others"), "2023-07-03", &foreign).await;
    copy(&gallery_configuration(), &harness.folders().sources.join("C"));
    let configuration = harness.folders().sources.join("C");
    fs::remove_dir_all(configuration.join("GoldenImages/Win2022")).expect("the folder goes");
    let labs = fs::read_to_string(configuration.join("Labs.json")).expect("Labs.json");
    let labs = labs.replace("\"Linux\",", "").replace("\"Win2022/Secure.json\"", "");
    fs::write(configuration.join("Labs.json"), labs).expect("Labs.json");
    let finished = step(&harness, "retire", &configuration).input("AllowDeletions", "true").run().await;
    succeeded(&finished);
    assert_eq!(versions(&harness).await, [MADE[0]]);
    assert_eq!(of_type(&harness, "Microsoft.Compute/galleries/images").await, ["Linux_Ubuntu", "others"]);
    assert_eq!(harness.resource(&format!("{}/sharedgalleries/golden", dublin())).await, None, "the gallery is detached");
    assert_eq!(offered(&harness, &virginia()).await, ["Linux_Ubuntu"]);
    harness.finish().await;
}

/// The example of custom images, with a golden image of the other example that has Trusted Launch.
fn with_trusted_launch(harness: &Harness, factory: &Value, says_so: bool) -> std::path::PathBuf {
    let configuration = harness.folders().sources.join("T");
    let secure = fs::read_to_string(gallery_configuration().join("GoldenImages/Win2022/Secure.json")).expect("the golden image");
    // Of a variable nobody can tell before the template is deployed.
    let hidden = secure.replacen("\"TrustedLaunch\"", "\"[concat('Trusted', 'Launch')]\"", 1);
    harness.file("T/GoldenImages/Win2022/Secure.json", if says_so { &secure } else { &hidden });
    harness.file("T/factory.json", &factory.to_string());
    let labs = json!({"Labs": [{"SubscriptionId": SUBSCRIPTION, "LabName": "dublin-team", "ImagePaths": ["Win2022"]}]});
    harness.file("T/Labs.json", &labs.to_string());
    configuration
}

#[tokio::test(flavor = "multi_thread")]
async fn trusted_launch_goes_through_the_gallery_by_itself() {
    for says_so in [true, false] {
        let harness = galleries().await;
        let configuration = with_trusted_launch(&harness, &json!({"gallery": {"name": "golden"}}), says_so);
        // What cannot be told from the template is in another region than custom images reach: known only once it is captured.
        let finished = step(&harness, "run", &configuration).input("RunId", "1").run().await;
        let versions = versions(&harness).await;
        assert_eq!(versions, ["Win2022/Secure.json: Succeeded, North Europe + West Europe"], "{finished}");
        if says_so {
            succeeded(&finished);
            assert_eq!(offered(&harness, &dublin()).await, ["Win2022_Secure"]);
        } else {
            assert!(finished.warnings().iter().any(|warning| warning.contains("TrustedLaunch")), "{finished}");
        }
        succeeded(&step(&harness, "distribute", &configuration).run().await);
        assert_eq!(offered(&harness, &dublin()).await, ["Win2022_Secure"]);
        harness.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trusted_launch_without_a_gallery_is_refused_with_the_remedy() {
    let harness = galleries().await;
    let configuration = with_trusted_launch(&harness, &json!({}), true);
    let finished = step(&harness, "run", &configuration).run().await;
    assert_eq!(finished.outcome, Outcome::Failed, "{finished}");
    assert!(finished.errors().iter().any(|error| error.contains("TrustedLaunch") && error.contains("\"gallery\"")), "{finished}");
    let puts = harness.requests().await.into_iter().filter(|request| request["method"] == "PUT").count();
    assert_eq!(puts, 0, "nothing is built");

    let configuration = with_trusted_launch(&harness, &json!({}), false);
    let finished = step(&harness, "run", &configuration).input("RunId", "1").run().await;
    assert!(finished.errors().iter().any(|error| error.contains("no gallery is configured")), "{finished}");
    assert_eq!(of_type(&harness, "Microsoft.DevTestLab/labs/virtualmachines").await, ["Secure"], "it stays for the next run");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_stand_beside_images_in_what_the_command_line_prints() {
    let harness = galleries().await;
    let configuration = gallery_configuration().to_string_lossy().into_owned();
    let (code, output, log) = dtl(&harness, &["plan", "--configuration", &configuration]).await;
    let plan = parsed(&output);
    let keys: Vec<_> = plan.as_object().expect("an object").keys().cloned().collect();
    assert_eq!((code, keys.join(" ").as_str()), (Some(0), "build capture distribute retire cleanUp kept"), "{log}");
    let version = plan["capture"][0]["version"].as_str().expect("a version").to_owned();
    assert!(version.starts_with("Linux_Ubuntu/"), "{plan:#}");

    let (code, output, log) = dtl(&harness, &["run", "--run-id", "7", "--configuration", &configuration]).await;
    let report = parsed(&output);
    assert_eq!((code, report["distribution"].as_array().map(Vec::len)), (Some(0), Some(3)), "{log}");
    assert_eq!(report["images"][0]["version"], json!(version), "{report:#}");

    let (_, output, log) = dtl(&harness, &["list", "--configuration", &configuration]).await;
    let listed = parsed(&output);
    assert_eq!(listed["images"].as_array().map(Vec::len), Some(2), "{log}");
    assert_eq!((&listed["images"][0]["version"], &listed["images"][0]["image"]), (&json!(version), &report["images"][0]["image"]));
    let (code, _, log) = dtl(&harness, &["report", "--output", "page.html", "--configuration", &configuration]).await;
    assert_eq!(code, Some(0), "{log}");
    let page = fs::read_to_string(harness.folders().sources.join("page.html")).expect("the page");
    for expected in ["Gallery golden", version.as_str(), "Gallery versions"] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_copies_goes_through_a_gallery_by_one_setting() {
    let harness = example().await;
    let folder = harness.folders().sources.join("Configuration");
    copy(&example_configuration(), &folder);
    let file = folder.join("factory.json");
    let mut settings: Value = serde_json::from_slice(&fs::read(&file).expect("the example's settings")).expect("JSON");
    settings["distribution"] = json!("gallery");
    settings["gallery"] = json!({"name": "golden", "publisher": "Contoso"});
    fs::write(&file, settings.to_string()).expect("the settings are written");
    succeeded(&step(&harness, "run", &folder).run().await);
    assert_eq!(versions(&harness).await.len(), 4);
    assert_eq!(of_type(&harness, "Microsoft.DevTestLab/labs/customimages").await, [""; 0]);
    for (lab, allowed) in [
        (lab(SUBSCRIPTION, "teams", "web-team"), ["Linux_Docker", "Win2022_Browser", "Win2022_Datacenter"].as_slice()),
        (lab(SUBSCRIPTION, "teams", "test-team"), &["Win2022_Browser"]),
        (lab(OTHER_SUBSCRIPTION, "platform", "platform-team"), &["Linux_Docker", "Linux_Ubuntu", "Win2022_Datacenter"]),
    ] {
        assert_eq!(offered(&harness, &lab).await, allowed, "{lab}");
    }
    assert_swept(&harness).await;
    harness.finish().await;
}

#[tokio::test]
async fn the_example_pipeline_runs_as_it_says() {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_dtl"));
    command.args(["run", "examples/image-factory-gallery/azure-pipelines.yml", "--seed", "examples/image-factory-gallery/seed.json"]);
    let output = command.args(["--speed", "3000"]).current_dir(project("")).env("NO_COLOR", "1").kill_on_drop(true).output().await;
    let output = output.expect("dtl runs");
    let log = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{log}\n{}", String::from_utf8_lossy(&output.stderr));
    for line in ["to gallery 'golden'", "No version of 'Linux_Ubuntu' is to be retired."] {
        assert!(log.contains(line), "{line}\n{log}");
    }
}
