//! Lab virtual machines.

use serde_json::json;

use super::client::{Azure, DTL, GROUP, LAB, linux, windows};

fn path(name: &str) -> String {
    format!("{LAB}/virtualmachines/{name}?api-version={DTL}")
}

#[tokio::test]
async fn a_machine_is_made_shown_and_deleted_as_azure_does_it() {
    let azure = Azure::at_speed(600.0, None).await;
    let answer = azure.put(&path("Build1"), windows(&[])).await.expect(201);
    let lower = format!("{}/virtualmachines/build1", LAB.to_lowercase());
    assert_eq!(answer.body["id"], lower);
    assert_eq!((&answer.body["name"], &answer.body["type"]), (&json!("Build1"), &json!("Microsoft.DevTestLab/labs/virtualMachines")));
    assert_eq!(answer.body["properties"]["provisioningState"], "Creating");
    assert!(answer.body["properties"].get("password").is_none());
    assert!(answer.header("azure-asyncoperation").contains("/providers/Microsoft.DevTestLab/locations/westeurope/operations/"));
    assert_eq!((answer.header("location"), answer.header("retry-after")), ("", ""));
    assert_eq!(azure.get(&path("build1")).await.body["properties"]["provisioningState"], "Creating");

    assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}));
    let machine =
        azure.get(&format!("{}&$expand=Properties($expand=ComputeVm,NetworkInterface,Artifacts)", path("BUILD1"))).await.expect(200).body;
    assert_eq!(machine["properties"]["lastKnownPowerState"], "Running");
    assert_eq!(machine["properties"]["computeVm"]["statuses"][1]["code"], "PowerState/running");
    let compute = machine["properties"]["computeId"].as_str().expect("a compute machine").to_owned();
    let shown = azure.get(&format!("{compute}?api-version=2024-03-01&$expand=instanceView")).await.expect(200).body;
    assert_eq!(shown["properties"]["instanceView"]["statuses"][1]["code"], "PowerState/running");
    let interface = shown["properties"]["networkProfile"]["networkInterfaces"][0]["id"].as_str().expect("an interface");
    let interface = azure.get(&format!("{interface}?api-version=2024-01-01")).await.expect(200).body;
    let configuration = &interface["properties"]["ipConfigurations"][0]["properties"];
    assert_eq!(configuration["privateIPAddress"], machine["properties"]["networkInterface"]["privateIpAddress"]);
    let address = azure
        .get(&format!("{}?api-version=2024-01-01", configuration["publicIPAddress"]["id"].as_str().expect("an address")))
        .await
        .expect(200);
    assert_eq!(address.body["properties"]["dnsSettings"]["fqdn"], machine["properties"]["fqdn"]);

    let answer = azure.delete(&path("build1")).await.expect(202);
    assert!(answer.header("location").contains("monitor=true&"), "{}", answer.header("location"));
    assert_eq!(azure.get(answer.header("location")).await.status, 202);
    assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}));
    assert_eq!(azure.get(answer.header("location")).await.status, 200);
    azure.get(&path("build1")).await.refused(404, "ResourceNotFound");
    azure.get(&format!("{compute}?api-version=2024-03-01")).await.refused(404, "ResourceGroupNotFound");
    azure.delete(&path("build1")).await.expect(204);
}

#[tokio::test]
async fn names_follow_the_operating_system() {
    let azure = Azure::start().await;
    for (name, body, good) in [
        ("sixteen-letters-", windows(&[]), false),
        ("exactly-15-long", windows(&[]), true),
        ("sixteen-letters0", windows(&[]), false),
        ("sixteen-letters0", linux(), true),
        ("12345", linux(), false),
        ("-abc", linux(), false),
        ("a_b", linux(), false),
        (&"a".repeat(64), linux(), true),
        (&"a".repeat(65), linux(), false),
    ] {
        let answer = azure.put(&path(name), body).await;
        if good {
            answer.expect(201);
        } else {
            answer.refused(400, "InvalidVirtualMachineName");
        }
    }
}

#[tokio::test]
async fn bad_machines_are_refused_with_the_property_at_fault() {
    let azure = Azure::start().await;
    let cases = [
        ("size", json!(null), "MissingRequiredProperty"),
        ("userName", json!(""), "MissingRequiredProperty"),
        ("password", json!(null), "MissingRequiredProperty"),
        ("labVirtualNetworkId", json!(format!("{LAB}/virtualnetworks/other")), "VirtualNetworkNotFound"),
        ("labSubnetName", json!("other"), "SubnetNotFound"),
        ("galleryImageReference", json!(null), "MissingRequiredProperty"),
        ("customImageId", json!("x"), "InvalidVirtualMachineSource"),
        ("artifacts", json!([{"artifactId": format!("{LAB}/artifactsources/public repo/artifacts/none")}]), "ArtifactNotFound"),
        (
            "artifacts",
            json!([{"artifactId": format!("{LAB}/artifactsources/public repo/artifacts/linux-deprovision")}]),
            "ArtifactOsTypeMismatch",
        ),
        ("artifacts", json!("x"), "InvalidRequestContent"),
    ];
    for (name, value, code) in cases {
        let mut body = windows(&[]);
        body["properties"][name] = value;
        azure.put(&path("vm"), body).await.refused(400, code);
    }
    let other = format!("{GROUP}/providers/Microsoft.DevTestLab/labs/none/virtualmachines/vm?api-version={DTL}");
    azure.put(&other, windows(&[])).await.refused(404, "ParentResourceNotFound");
}

#[tokio::test]
async fn artifacts_are_applied_one_after_another() {
    let azure = Azure::at_speed(300.0, None).await;
    azure.control("settings", json!({"durations": {"virtualMachine": 0, "artifact": 30}})).await;
    let answer = azure.put(&path("vm"), windows(&["windows-noop", "windows-noop"])).await.expect(201);
    azure.finished(&answer).await;
    let mut seen = Vec::new();
    loop {
        let machine = azure.get(&format!("{}&$expand=properties($expand=artifacts)", path("vm"))).await.body;
        let states: Vec<String> = machine["properties"]["artifacts"]
            .as_array()
            .expect("artifacts")
            .iter()
            .map(|one| one["status"].as_str().expect("a status").to_owned())
            .collect();
        if seen.last() != Some(&states) {
            seen.push(states);
        }
        if machine["properties"]["provisioningState"] == "Succeeded" {
            assert_eq!(
                machine["properties"]["artifactDeploymentStatus"],
                json!({"deploymentStatus": "Succeeded", "artifactsApplied": 2, "totalArtifacts": 2})
            );
            break;
        }
        assert_eq!(machine["properties"]["provisioningState"], "ApplyingArtifacts");
    }
    assert!(seen.contains(&vec!["Installing".into(), "Pending".into()]), "{seen:?}");
    assert!(seen.contains(&vec!["Succeeded".into(), "Installing".into()]), "{seen:?}");
    assert!(azure.get(&path("vm")).await.body["properties"].get("artifacts").is_none());
}

#[tokio::test]
async fn an_artifact_that_fails_skips_the_rest_and_leaves_the_machine() {
    let azure = Azure::start().await;
    let fault = json!([{"path": "virtualmachines/vm/artifacts/windows-noop$", "provisioning": "Failed", "body": {"code": "ScriptFailed", "message": "exit code 7"}}]);
    azure.control("faults", fault).await;
    let machine = azure.machine("vm", windows(&["windows-noop", "windows-sysprep"])).await;
    assert_eq!(machine["properties"]["provisioningState"], "Succeeded");
    assert_eq!(machine["properties"]["artifactDeploymentStatus"]["deploymentStatus"], "Failed");
    assert_eq!(machine["properties"]["artifacts"][0]["status"], "Failed");
    assert_eq!(machine["properties"]["artifacts"][0]["vmExtensionStatusMessage"], "exit code 7");
    assert_eq!(machine["properties"]["artifacts"][1]["status"], "Skipped");
    assert_eq!(machine["properties"]["lastKnownPowerState"], "Running");
}

#[tokio::test]
async fn sysprep_leaves_a_machine_that_never_runs_again() {
    let azure = Azure::start().await;
    let machine = azure.machine("vm", windows(&["windows-sysprep"])).await;
    assert_eq!(machine["properties"]["lastKnownPowerState"], "Stopped");
    assert_eq!(machine["properties"]["computeVm"]["statuses"][1]["code"], "OSState/generalized");
    let start = format!("{LAB}/virtualmachines/vm/start?api-version={DTL}");
    azure.post(&start, json!({})).await.refused(409, "OperationNotAllowed");
}

#[tokio::test]
async fn a_machine_stops_and_starts_also_when_it_has_already() {
    let azure = Azure::start().await;
    azure.machine("vm", windows(&[])).await;
    for (action, state) in [("stop", "Stopped"), ("stop", "Stopped"), ("start", "Running"), ("start", "Running"), ("restart", "Running")] {
        let answer = azure.post(&format!("{LAB}/virtualmachines/vm/{action}?api-version={DTL}"), json!({})).await.expect(202);
        assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}), "{action}");
        assert_eq!(azure.get(&path("vm")).await.body["properties"]["lastKnownPowerState"], state, "{action}");
    }
    azure.post(&format!("{LAB}/virtualmachines/none/start?api-version={DTL}"), json!({})).await.refused(404, "ResourceNotFound");
    azure.post(&format!("{LAB}/virtualmachines/vm/explode?api-version={DTL}"), json!({})).await.refused(404, "InvalidResourceType");
}

#[tokio::test]
async fn the_same_machine_twice_is_fine_and_another_under_its_name_is_not() {
    let azure = Azure::start().await;
    azure.control("settings", json!({"durations": {"virtualMachine": 3000}})).await;
    let answer = azure.put(&path("vm"), windows(&[])).await.expect(201);
    azure.put(&path("vm"), windows(&[])).await.refused(409, "ResourceIsNotInValidState");
    azure.finished(&answer).await;
    azure.put(&path("vm"), windows(&[])).await.expect(200);
    let mut larger = windows(&[]);
    larger["properties"]["size"] = json!("Standard_D8s_v5");
    azure.put(&path("vm"), larger).await.refused(409, "CannotSetProperty");
}

#[tokio::test]
async fn a_machine_that_fails_can_be_made_again() {
    let azure = Azure::start().await;
    let fault = json!([{"path": "virtualmachines/vm$", "provisioning": "Failed", "status": 409, "body": {"error": {"code": "QuotaExceeded", "message": "no cores"}}}]);
    azure.control("faults", fault).await;
    let answer = azure.put(&path("vm"), windows(&[])).await.expect(201);
    let status = azure.finished(&answer).await;
    assert_eq!(status, json!({"status": "Failed", "error": {"code": "QuotaExceeded", "message": "no cores"}}));
    assert_eq!(azure.get(&path("vm")).await.body["properties"]["provisioningState"], "Failed");
    assert_eq!(azure.machine("vm", windows(&[])).await["properties"]["provisioningState"], "Succeeded");
}

#[tokio::test]
async fn create_environment_makes_a_machine_as_the_command_line_does() {
    let azure = Azure::start().await;
    let mut body = linux();
    body["name"] = json!("linuxvm1");
    let answer = azure.post(&format!("{LAB}/createEnvironment?api-version={DTL}"), body).await.expect(202);
    assert!(!answer.header("location").is_empty());
    assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}));
    let images = azure.get(&format!("{LAB}/galleryimages?api-version={DTL}&$filter=name eq 'Ubuntu Server 22.04 LTS'")).await.expect(200);
    assert_eq!(images.body["value"].as_array().map(Vec::len), Some(1));
    let networks = azure.get(&format!("{LAB}/virtualnetworks?api-version={DTL}&$top=1")).await.expect(200);
    assert_eq!(networks.body["value"][0]["name"], "Dtlcontoso");
    assert_eq!(azure.get(&path("linuxvm1")).await.body["properties"]["osType"], "Linux");
}
