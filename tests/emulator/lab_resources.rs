//! What a lab holds beside machines, images and environments.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Azure, DTL, GROUP, LAB, windows};

fn path(rest: &str) -> String {
    format!("{LAB}/{rest}?api-version={DTL}")
}

async fn made(azure: &Azure, rest: &str, body: Value) -> Value {
    let answer = azure.put(&path(rest), body).await.expect(201);
    if !answer.header("azure-asyncoperation").is_empty() {
        assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}));
    }
    azure.get(&path(rest)).await.expect(200).body
}

async fn done(azure: &Azure, rest: &str, body: Value) {
    let answer = azure.post(&path(rest), body).await.expect(202);
    assert!(answer.header("location").contains("monitor=true&"));
    assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}));
}

#[tokio::test]
async fn every_kind_is_made_listed_tagged_and_deleted_as_the_description_has_it() {
    let azure = Azure::start().await;
    let cluster = format!("{GROUP}/providers/Microsoft.ServiceFabric/clusters/c");
    // Path, body, whether DELETE takes an operation.
    let cases = [
        ("virtualnetworks/net", json!({"properties": {"description": "d"}}), true),
        ("users/me/disks/d1", json!({"properties": {"diskSizeGiB": 8, "diskType": "Premium"}}), true),
        ("users/me/servicefabrics/f1", json!({"properties": {"externalServiceFabricId": cluster}}), true),
        ("users/you", json!({}), true),
        ("users/me/secrets/s1", json!({"properties": {"value": "hush-hush"}}), false),
        (
            "formulas/f1",
            json!({"properties": {"osType": "Windows", "formulaContent": {"properties": {"size": "Standard_D2s_v5", "password": "p"}}}}),
            false,
        ),
        (
            "notificationchannels/autoShutdown",
            json!({"properties": {"webHookUrl": "https://example.invalid/", "events": [{"eventName": "AutoShutdown"}]}}),
            false,
        ),
        (
            "policysets/default/policies/p1",
            json!({"properties": {"factName": "LabVmCount", "evaluatorType": "MaxValuePolicy", "threshold": "9"}}),
            false,
        ),
        ("schedules/LabVmsShutdown", json!({"properties": {"taskType": "LabVmsShutdownTask", "dailyRecurrence": {"time": "1900"}}}), false),
        ("artifactsources/mine", json!({"properties": {"uri": "https://example.invalid/r.git", "securityToken": "hush-hush"}}), false),
    ];
    for (rest, body, long) in cases {
        let shown = made(&azure, rest, body.clone()).await;
        assert_eq!(shown["id"], format!("{LAB}/{rest}").to_lowercase(), "{rest}");
        assert_eq!(shown["properties"]["provisioningState"], "Succeeded", "{rest}");
        assert!(!shown.to_string().contains("hush-hush") && !shown.to_string().contains("\"password\""), "{shown:#}");
        azure.put(&path(rest), body).await.expect(200);
        azure.settled(&path(rest)).await;
        let (collection, _) = rest.rsplit_once('/').expect("a collection");
        let listed = azure.get(&path(collection)).await.expect(200).body;
        assert!(listed["value"].as_array().is_some_and(|all| all.iter().any(|one| one["id"] == shown["id"])), "{rest}");
        let tagged = azure
            .send(Method::PATCH, &path(rest), Some(&json!({"tags": {"a": "b"}, "properties": {"description": "other"}})))
            .await
            .expect(200);
        assert_eq!(
            (&tagged.body["tags"]["a"], &tagged.body["properties"]["description"]),
            (&json!("b"), &shown["properties"]["description"]),
            "{rest}"
        );
        azure.send(Method::HEAD, &path(rest), None).await.expect(204);
        let answer = azure.delete(&path(rest)).await.expect(if long { 202 } else { 200 });
        if long {
            assert_eq!(azure.finished(&answer).await, json!({"status": "Succeeded"}), "{rest}");
        }
        azure.delete(&path(rest)).await.expect(204);
        azure.send(Method::HEAD, &path(rest), None).await.expect(404);
    }
}

#[tokio::test]
async fn labs_of_2016_take_properties_by_patch() {
    let azure = Azure::start().await;
    let old = format!("{LAB}?api-version=2016-05-15");
    let changed = azure
        .send(Method::PATCH, &old, Some(&json!({"properties": {"premiumDataDisks": "Enabled", "provisioningState": "Failed"}})))
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&changed["properties"]["premiumDataDisks"], &changed["properties"]["provisioningState"]),
        (&json!("Enabled"), &json!("Succeeded"))
    );
}

#[tokio::test]
async fn bad_properties_are_refused_by_name() {
    let azure = Azure::start().await;
    let policy = |fact: &str, evaluator: &str, threshold: &str| json!({"properties": {"factName": fact, "evaluatorType": evaluator, "threshold": threshold}});
    let cases = [
        ("policysets/default/policies/p", policy("Tea", "MaxValuePolicy", "1"), "InvalidPropertyValue", "factName"),
        ("policysets/default/policies/p", policy("LabVmSize", "MaxValuePolicy", "1"), "InvalidPropertyValue", "evaluatorType"),
        ("policysets/default/policies/p", policy("LabVmSize", "AllowedValuesPolicy", "1"), "InvalidPropertyValue", "threshold"),
        ("policysets/default/policies/p", json!({"properties": {"factName": "LabVmCount"}}), "MissingRequiredProperty", "evaluatorType"),
        (
            "schedules/s",
            json!({"properties": {"taskType": "LabVmsShutdownTask", "dailyRecurrence": {"time": "2500"}}}),
            "InvalidPropertyValue",
            "dailyRecurrence.time",
        ),
        ("schedules/s", json!({"properties": {}}), "MissingRequiredProperty", "taskType"),
        ("users/@me/disks/d", json!({"properties": {}}), "MissingRequiredProperty", "diskSizeGiB"),
        ("users/@me/disks/d", json!({"properties": {"diskSizeGiB": 0}}), "InvalidPropertyValue", "diskSizeGiB"),
        ("users/@me/disks/d", json!({"properties": {"diskSizeGiB": 1, "diskType": "Floppy"}}), "InvalidPropertyValue", "diskType"),
        ("users/@me/secrets/s", json!({"properties": {}}), "MissingRequiredProperty", "value"),
        ("formulas/f", json!({"properties": {}}), "MissingRequiredProperty", "formulaContent"),
        (
            "formulas/f",
            json!({"properties": {"vm": {"labVmId": format!("{LAB}/virtualmachines/none")}}}),
            "LabVirtualMachineNotFound",
            "vm.labVmId",
        ),
        ("notificationchannels/n", json!({"properties": {}}), "MissingRequiredProperty", "webHookUrl"),
        ("servicerunners/r", json!({}), "MissingRequiredProperty", "identity"),
    ];
    for (rest, body, code, target) in cases {
        let answer = azure.put(&path(rest), body).await.refused(400, code);
        assert_eq!(answer.body["error"]["target"], target, "{rest}");
    }
    azure.put(&path("galleryimages/x"), json!({})).await.refused(405, "MethodNotAllowed");
    azure.delete(&path("costs/targetCost")).await.expect(405);
}

#[tokio::test]
async fn policies_are_evaluated_and_hold_for_machines() {
    let azure = Azure::start().await;
    let policy = |fact: &str, evaluator: &str, threshold: &str| json!({"properties": {"factName": fact, "evaluatorType": evaluator, "threshold": threshold, "status": "Enabled"}});
    made(&azure, "policysets/default/policies/sizes", policy("LabVmSize", "AllowedValuesPolicy", "[\"Standard_D2s_v5\"]")).await;
    made(&azure, "policysets/default/policies/mine", policy("UserOwnedLabVmCount", "MaxValuePolicy", "1")).await;
    let mut large = windows(&[]);
    large["properties"]["size"] = json!("Standard_E64_v5");
    let answer = azure.put(&path("virtualmachines/large"), large).await.refused(403, "PolicyViolation");
    assert_eq!(answer.body["error"]["target"], "LabVmSize");
    azure.machine("one", windows(&[])).await;
    azure.put(&path("virtualmachines/two"), windows(&[])).await.refused(403, "PolicyViolation");
    let asked = json!({"policies": [
        {"factName": "UserOwnedLabVmCount", "valueOffset": "1"}, {"factName": "UserOwnedLabVmCount", "valueOffset": "0"},
        {"factName": "LabVmSize", "factData": "Standard_A9"}, {"factName": "LabVmCount", "valueOffset": "99"}]});
    let answer = azure.post(&path("policysets/default/evaluatePolicies"), asked).await.expect(200).body;
    let violations: Vec<_> =
        answer["results"].as_array().expect("results").iter().map(|one| one["policyViolations"].as_array().map_or(0, Vec::len)).collect();
    assert_eq!(violations, [1, 0, 1, 0], "{answer:#}");
    // What nobody owns counts for nobody, and cannot be claimed past the limit.
    let mut claimable = windows(&[]);
    claimable["properties"]["allowClaim"] = json!(true);
    azure.machine("free", claimable).await;
    azure.post(&path("virtualmachines/free/claim"), json!({})).await.refused(403, "PolicyViolation");
    done(&azure, "virtualmachines/one/unClaim", json!({})).await;
    azure.post(&path("virtualmachines/one/unClaim"), json!({})).await.refused(409, "VirtualMachineNotClaimed");
    done(&azure, "virtualmachines/free/claim", json!({})).await;
    azure.post(&path("virtualmachines/free/claim"), json!({})).await.refused(409, "VirtualMachineNotClaimable");
    azure.delete(&path("policysets/default/policies/mine")).await.expect(200);
    done(&azure, "claimAnyVm", json!({})).await;
    assert_eq!(azure.get(&path("virtualmachines/one")).await.body["properties"]["allowClaim"], false);
}

#[tokio::test]
async fn disks_go_from_machine_to_machine() {
    let azure = Azure::start().await;
    azure.machine("vm", windows(&[])).await;
    let disk = made(&azure, "users/other/disks/data", json!({"properties": {"diskSizeGiB": 16}})).await;
    let managed = format!("{}?api-version=2024-03-02", disk["properties"]["managedDiskId"].as_str().expect("a managed disk"));
    assert_eq!(azure.get(&managed).await.expect(200).body["properties"]["diskSizeGB"], 16);
    let vm = format!("{LAB}/virtualmachines/vm");
    done(&azure, "users/other/disks/data/attach", json!({"leasedByLabVmId": vm})).await;
    assert_eq!(azure.get(&path("users/other/disks/data")).await.body["properties"]["leasedByLabVmId"], vm.to_lowercase());
    assert_eq!(azure.get(&managed).await.body["properties"]["diskState"], "Attached");
    azure.post(&path("users/other/disks/data/attach"), json!({"leasedByLabVmId": vm})).await.refused(409, "DiskAlreadyAttached");
    azure.delete(&path("users/other/disks/data")).await.refused(409, "ResourceInUse");

    let new =
        json!({"attachNewDataDiskOptions": {"diskName": "extra", "diskSizeGiB": 4, "diskType": "StandardSSD"}, "hostCaching": "ReadOnly"});
    done(&azure, "virtualmachines/vm/addDataDisk", new).await;
    let shown = azure.get(&format!("{}&$expand=properties($expand=computeVm)", path("virtualmachines/vm"))).await.body;
    assert_eq!(shown["properties"]["computeVm"]["dataDiskIds"].as_array().map(Vec::len), Some(2));
    assert_eq!(shown["properties"]["computeVm"]["dataDisks"][1]["diskSizeGiB"], 4);
    let listed = azure.get(&path("users/@all/disks")).await.expect(200).body;
    assert_eq!(listed["value"].as_array().map(Vec::len), Some(2));

    done(&azure, "virtualmachines/vm/transferDisks", json!({})).await;
    azure.get(&path("users/other/disks/data")).await.expect(404);
    let mine = azure.get(&path("users/@me/disks/data")).await.expect(200).body["id"].clone();
    done(&azure, "virtualmachines/vm/detachDataDisk", json!({"existingLabDiskId": mine})).await;
    azure.post(&path("virtualmachines/vm/detachDataDisk"), json!({"existingLabDiskId": mine})).await.refused(409, "DiskNotAttached");
    assert_eq!(azure.get(&managed).await.body["properties"]["diskState"], "Unattached");
    let answer = azure.delete(&path("virtualmachines/vm")).await.expect(202);
    azure.finished(&answer).await;
    let freed = azure.get(&path("users/@me/disks/extra")).await.expect(200).body;
    assert!(freed["properties"].get("leasedByLabVmId").is_none(), "{freed:#}");
    let answer = azure.delete(&path("users/@me/disks/data")).await.expect(202);
    azure.finished(&answer).await;
    azure.get(&managed).await.expect(404);
}

#[tokio::test]
async fn schedules_apply_and_are_run() {
    let azure = Azure::start().await;
    azure.machine("a", windows(&[])).await;
    azure.machine("b", windows(&[])).await;
    let daily = |time: &str, task: &str| json!({"location": "westeurope", "properties": {"taskType": task, "status": "Enabled", "dailyRecurrence": {"time": time}}});
    made(&azure, "schedules/LabVmsShutdown", daily("1900", "LabVmsShutdownTask")).await;
    made(&azure, "schedules/LabVmAutoStart", daily("0700", "LabVmsStartupTask")).await;
    made(&azure, "virtualmachines/b/schedules/LabVmsShutdown", daily("2200", "LabVmsShutdownTask")).await;
    let shutdown = |body: &Value| body["properties"]["labVmsShutdown"]["properties"]["dailyRecurrence"]["time"].clone();
    let of_a = azure.post(&path("virtualmachines/a/listApplicableSchedules"), json!({})).await.expect(200).body;
    let of_b = azure.post(&path("virtualmachines/b/listApplicableSchedules"), json!({})).await.expect(200).body;
    assert_eq!((shutdown(&of_a), shutdown(&of_b)), (json!("1900"), json!("2200")));
    let expanded = azure.get(&format!("{}&$expand=properties($expand=applicableSchedule)", path("virtualmachines/b"))).await.body;
    assert_eq!(shutdown(&expanded["properties"]["applicableSchedule"]), "2200");
    let listed = azure.post(&path("schedules/LabVmsShutdown/listApplicable"), json!({})).await.expect(200).body;
    assert_eq!(listed["value"].as_array().map(Vec::len), Some(2));

    let power =
        async |name: &str| azure.get(&path(&format!("virtualmachines/{name}"))).await.body["properties"]["lastKnownPowerState"].clone();
    done(&azure, "virtualmachines/b/schedules/LabVmsShutdown/execute", json!({})).await;
    assert_eq!((power("a").await, power("b").await), (json!("Running"), json!("Stopped")));
    done(&azure, "schedules/LabVmsShutdown/execute", json!({})).await;
    assert_eq!(power("a").await, "Stopped");
    done(&azure, "schedules/LabVmAutoStart/execute", json!({})).await;
    assert_eq!((power("a").await, power("b").await), (json!("Running"), json!("Running")));

    // A schedule beside labs is for a compute machine.
    let compute = azure.get(&path("virtualmachines/a")).await.body["properties"]["computeId"].as_str().expect("compute").to_owned();
    let global = |rest: &str| format!("{GROUP}/providers/Microsoft.DevTestLab/schedules/shutdown-computevm-a{rest}?api-version={DTL}");
    let mut body = daily("1900", "ComputeVmShutdownTask");
    body["properties"]["targetResourceId"] = json!("/none");
    azure.put(&global(""), body).await.expect(201);
    azure.post(&global("/execute"), json!({})).await.refused(400, "TargetResourceNotFound");
    azure
        .post(&global("/retarget"), json!({"currentResourceId": "/other", "targetResourceId": compute}))
        .await
        .refused(400, "InvalidPropertyValue");
    azure.post(&global("/retarget"), json!({"currentResourceId": "/NONE", "targetResourceId": compute})).await.expect(202);
    let answer = azure.post(&global("/execute"), json!({})).await.expect(202);
    azure.finished(&answer).await;
    let view = azure.get(&format!("{compute}/instanceView?api-version=2024-03-01")).await.expect(200).body;
    assert_eq!(view["statuses"][1]["code"], "PowerState/deallocated");
}

#[tokio::test]
async fn formulas_are_taken_from_machines_and_networks_in_use_stay() {
    let azure = Azure::start().await;
    azure.machine("vm", windows(&[])).await;
    let formula = made(&azure, "formulas/like-vm", json!({"properties": {"vm": {"labVmId": format!("{LAB}/virtualmachines/vm")}}})).await;
    assert_eq!(formula["properties"]["formulaContent"]["properties"]["size"], "Standard_D2s_v5");
    assert_eq!(formula["properties"]["osType"], "Windows");
    azure.delete(&path("virtualnetworks/Dtlcontoso")).await.refused(409, "ResourceInUse");
    let selected = azure.get(&format!("{}&$expand=properties($select=description)", path("formulas"))).await.expect(200).body;
    assert!(selected["value"][0]["properties"].get("formulaContent").is_none());
}

#[tokio::test]
async fn channels_are_told_costs_are_kept_and_runners_have_identities() {
    let azure = Azure::start().await;
    made(
        &azure,
        "notificationchannels/c",
        json!({"properties": {"emailRecipient": "a@example.invalid", "events": [{"eventName": "Cost"}]}}),
    )
    .await;
    azure.post(&path("notificationchannels/c/notify"), json!({"eventName": "Cost", "jsonPayload": "{}"})).await.expect(200);
    azure.post(&path("notificationchannels/c/notify"), json!({"eventName": "Tea"})).await.refused(400, "InvalidPropertyValue");
    assert_eq!(azure.get(&path("costs/targetCost")).await.expect(200).body["properties"]["targetCost"]["target"], 0);
    azure
        .put(&path("costs/targetCost"), json!({"properties": {"targetCost": {"status": "Enabled", "target": 100}, "currencyCode": "EUR"}}))
        .await
        .expect(201);
    let cost = azure.get(&path("costs/targetCost")).await.expect(200).body;
    assert_eq!((&cost["properties"]["targetCost"]["target"], &cost["properties"]["currencyCode"]), (&json!(100), &json!("EUR")));
    let runner = made(&azure, "servicerunners/r", json!({"location": "westeurope", "identity": {"type": "userAssigned"}})).await;
    assert_eq!(runner["identity"]["type"], "userAssigned");
    azure.post(&path("exportResourceUsage"), json!({})).await.refused(400, "MissingRequiredProperty");
    done(&azure, "exportResourceUsage", json!({"blobStorageAbsoluteSasUri": "https://example.invalid/c?sig=x"})).await;
}
