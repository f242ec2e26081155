//! Microsoft.Compute's machines and what it offers.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Azure, GROUP};

const VERSION: &str = "api-version=2024-07-01";
const SUBSCRIPTION: &str = "/subscriptions/11111111-1111-4111-8111-111111111111";

fn path(rest: &str) -> String {
    format!("{GROUP}/providers/Microsoft.Compute/{rest}?{VERSION}")
}

async fn interface(azure: &Azure, name: &str) -> String {
    let base = format!("{GROUP}/providers/Microsoft.Network");
    let network = json!({"location": "westeurope", "properties": {"addressSpace": {"addressPrefixes": ["10.1.0.0/16"]},
        "subnets": [{"name": "a", "properties": {"addressPrefix": "10.1.0.0/24"}}]}});
    azure.put(&format!("{base}/virtualNetworks/net?api-version=2024-05-01"), network).await;
    let body = json!({"location": "westeurope", "properties": {"ipConfigurations": [{"name": "c", "properties": {"subnet": {"id": format!("{base}/virtualNetworks/net/subnets/a")}}}]}});
    let made = azure.put(&format!("{base}/networkInterfaces/{name}?api-version=2024-05-01"), body).await.expect(201).body;
    made["id"].as_str().expect("an id").to_owned()
}

fn machine(interface: &str) -> Value {
    json!({"location": "westeurope", "properties": {
        "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
        "storageProfile": {"imageReference": {"publisher": "Canonical", "offer": "ubuntu-24_04-lts", "sku": "server", "version": "latest"},
            "osDisk": {"createOption": "FromImage", "deleteOption": "Delete"},
            "dataDisks": [{"lun": 0, "createOption": "Empty", "diskSizeGB": 8}]},
        "osProfile": {"computerName": "vm", "adminUsername": "tester", "adminPassword": "P@ssw0rd-tester"},
        "networkProfile": {"networkInterfaces": [{"id": interface}]}}})
}

#[tokio::test]
async fn a_machine_is_made_over_time_with_its_disks_and_deleted() {
    let azure = Azure::at_speed(600.0, None).await;
    let nic = interface(&azure, "nic").await;
    let answer = azure.put(&path("virtualMachines/vm"), machine(&nic)).await.expect(201);
    assert_eq!(answer.body["properties"]["provisioningState"], "Creating");
    assert!(!answer.body.to_string().contains("P@ssw0rd"));
    azure.put(&path("virtualMachines/vm"), machine(&nic)).await.refused(409, "AnotherOperationInProgress");
    assert_eq!(azure.finished(&answer).await["status"], "Succeeded");
    let made = azure.get(&format!("{}&$expand=instanceView", path("virtualMachines/vm"))).await.expect(200).body;
    let storage = &made["properties"]["storageProfile"];
    assert_eq!(
        (&storage["osDisk"]["osType"], &made["properties"]["instanceView"]["statuses"][1]["code"]),
        (&json!("Linux"), &json!("PowerState/running"))
    );
    let disk = |disk: &Value| format!("{}?{VERSION}", disk["managedDisk"]["id"].as_str().expect("a disk"));
    let (os, data) = (disk(&storage["osDisk"]), disk(&storage["dataDisks"][0]));
    assert_eq!(azure.get(&os).await.expect(200).body["managedBy"], made["id"]);
    let listed = azure.get(&path("disks")).await.expect(200).body;
    assert!(
        listed["value"]
            .as_array()
            .is_some_and(|all| all.len() == 2 && all.iter().all(|disk| disk["properties"]["diskState"] == "Attached")),
        "{listed:#}"
    );
    let mut other = machine(&nic);
    other["properties"]["osProfile"]["computerName"] = json!("vm2");
    azure.put(&path("virtualMachines/vm2"), other).await.refused(400, "NicInUse");

    let answer = azure
        .send(
            Method::PATCH,
            &path("virtualMachines/vm"),
            Some(&json!({"tags": {"a": "b"}, "properties": {"hardwareProfile": {"vmSize": "Standard_D4s_v5"}}})),
        )
        .await
        .expect(200);
    assert_eq!(azure.finished(&answer).await["status"], "Succeeded");
    let resized = azure.get(&path("virtualMachines/vm")).await.body;
    assert_eq!(
        (&resized["properties"]["hardwareProfile"]["vmSize"], &resized["properties"]["vmId"]),
        (&json!("Standard_D4s_v5"), &made["properties"]["vmId"])
    );
    azure
        .send(Method::PATCH, &path("virtualMachines/vm"), Some(&json!({"properties": {"osProfile": {"adminUsername": "other"}}})))
        .await
        .refused(409, "PropertyChangeNotAllowed");
    for list in [
        path("virtualMachines"),
        format!("{SUBSCRIPTION}/providers/Microsoft.Compute/virtualMachines?{VERSION}&statusOnly=true"),
        format!("{SUBSCRIPTION}/providers/Microsoft.Compute/locations/westeurope/virtualMachines?{VERSION}"),
    ] {
        assert_eq!(azure.get(&list).await.expect(200).body["value"][0]["name"], "vm", "{list}");
    }
    azure.post(&path("virtualMachines/vm/capture"), json!({})).await.refused(409, "OperationNotAllowed");
    for action in ["redeploy", "restart", "powerOff", "deallocate", "start"] {
        let answer = azure.post(&path(&format!("virtualMachines/vm/{action}")), json!({})).await.expect(202);
        assert_eq!(azure.finished(&answer).await["status"], "Succeeded", "{action}");
    }

    let extension = json!({"location": "westeurope", "properties": {"publisher": "Microsoft.Azure.Extensions", "type": "CustomScript", "typeHandlerVersion": "2.1",
        "settings": {"commandToExecute": "true"}, "protectedSettings": {"key": "hush-hush"}}});
    let answer = azure.put(&path("virtualMachines/vm/extensions/script"), extension.clone()).await.expect(201);
    assert!(!answer.body.to_string().contains("hush-hush"));
    assert_eq!(azure.finished(&answer).await["status"], "Succeeded");
    assert_eq!(azure.get(&path("virtualMachines/vm/extensions")).await.expect(200).body["value"][0]["name"], "script");
    let answer = azure.post(&path("virtualMachines/vm/deallocate"), json!({})).await.expect(202);
    azure.finished(&answer).await;
    azure.put(&path("virtualMachines/vm/extensions/other"), extension).await.refused(409, "OperationNotAllowed");

    let answer = azure.delete(&path("virtualMachines/vm")).await.expect(202);
    assert_eq!(azure.get(&path("virtualMachines/vm")).await.body["properties"]["provisioningState"], "Deleting");
    assert_eq!(azure.finished(&answer).await["status"], "Succeeded");
    azure.get(&os).await.refused(404, "ResourceNotFound");
    assert_eq!(azure.get(&data).await.expect(200).body["properties"]["diskState"], "Unattached");
    assert!(azure.get(&format!("{nic}?api-version=2024-05-01")).await.expect(200).body["properties"].get("virtualMachine").is_none());
    azure.delete(&path("virtualMachines/vm")).await.expect(204);
}

#[tokio::test]
async fn bad_machines_are_refused_by_the_parameter() {
    let azure = Azure::start().await;
    let nic = interface(&azure, "nic").await;
    let cases: [(&str, Value, u16, &str); 8] = [
        ("/hardwareProfile/vmSize", json!("Huge"), 400, "InvalidParameter"),
        ("/hardwareProfile/vmSize", json!("Standard_A2"), 400, "InvalidParameter"),
        ("/networkProfile/networkInterfaces", json!([]), 400, "InvalidParameter"),
        ("/networkProfile/networkInterfaces/0/id", json!(format!("{nic}x")), 400, "InvalidResourceReference"),
        ("/storageProfile/imageReference", json!(null), 400, "InvalidParameter"),
        ("/storageProfile/imageReference", json!({"id": format!("{GROUP}/providers/Microsoft.Compute/images/none")}), 404, "ImageNotFound"),
        (
            "/storageProfile/dataDisks/0/managedDisk",
            json!({"id": format!("{GROUP}/providers/Microsoft.Compute/disks/none")}),
            404,
            "NotFound",
        ),
        ("/osProfile/adminPassword", json!(""), 400, "InvalidParameter"),
    ];
    for (pointer, value, status, code) in cases {
        let mut body = machine(&nic);
        let slot = &mut body["properties"];
        match slot.pointer_mut(pointer) {
            Some(slot) => *slot = value,
            None => slot["storageProfile"]["dataDisks"][0]["managedDisk"] = value,
        }
        azure.put(&path("virtualMachines/vm"), body).await.refused(status, code);
    }
}

#[tokio::test]
async fn sizes_quotas_and_images_are_offered() {
    let azure = Azure::start().await;
    let at = |rest: &str| format!("{SUBSCRIPTION}/providers/Microsoft.Compute/{rest}");
    let sizes = azure.get(&format!("{}?{VERSION}", at("locations/westeurope/vmSizes"))).await.expect(200).body;
    assert!(
        sizes["value"].as_array().is_some_and(|all| all.iter().any(|size| size["name"] == "Standard_D2s_v5" && size["numberOfCores"] == 2))
    );
    let skus = azure.get(&format!("{}?{VERSION}&$filter=location eq 'westeurope'", at("skus"))).await.expect(200).body;
    assert!(skus["value"].as_array().is_some_and(|all| !all.is_empty() && all.iter().all(|sku| sku["locations"] == json!(["westeurope"]))));
    let nic = interface(&azure, "nic").await;
    let answer = azure.put(&path("virtualMachines/vm"), machine(&nic)).await.expect(201);
    azure.finished(&answer).await;
    let usages = azure.get(&format!("{}?{VERSION}", at("locations/westeurope/usages"))).await.expect(200).body;
    let cores = usages["value"].as_array().expect("a list").iter().find(|one| one["name"]["value"] == "cores").expect("cores");
    assert_eq!(cores["currentValue"], 2);
    let base = at("locations/westeurope/publishers");
    let publishers = azure.get(&format!("{base}?{VERSION}")).await.expect(200).body;
    assert!(publishers.as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "MicrosoftWindowsServer")), "{publishers:#}");
    let base = format!("{base}/MicrosoftWindowsServer/artifacttypes/vmimage/offers/WindowsServer/skus");
    let skus = azure.get(&format!("{base}?{VERSION}")).await.expect(200).body;
    let sku = skus[0]["name"].as_str().expect("a SKU").to_owned();
    let version = azure.get(&format!("{base}/{sku}/versions/latest?{VERSION}")).await.expect(200).body;
    assert_eq!(version["properties"]["osDiskImage"]["operatingSystem"], "Windows");
    azure.get(&format!("{base}/none/versions?{VERSION}")).await.refused(404, "NotFound");
    azure.get(&format!("{}?{VERSION}", at("locations/atlantis/vmSizes"))).await.refused(400, "NoRegisteredProviderFound");
}

#[tokio::test]
async fn a_disk_that_was_made_is_what_its_operation_results_in() {
    let azure = Azure::at_speed(600.0, None).await;
    let disk = json!({"location": "westeurope", "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 8}});
    let answer = azure.put(&path("disks/data"), disk).await.expect(202);
    let location = answer.header("location").to_owned();
    let result = azure.get(&location).await.expect(200).body;
    assert_eq!((&result["name"], &result["properties"]["diskSizeGB"]), (&json!("data"), &json!(8)));
    let filter = "$filter=resourceGroup eq 'devtestlabs' and name eq 'data'";
    let listed = azure.get(&format!("{SUBSCRIPTION}/resources?api-version=2021-04-01&{filter}")).await.expect(200).body;
    assert_eq!(listed["value"][0]["id"], result["id"]);
}
