//! The emulator's side of galleries, disks and images: its rules, and answers in the published shape.

use reqwest::Method;

use super::*;
use crate::harness::data;

const DISK_API: &str = "2023-10-02";
/// A GET with everything in it.
const EXPANDED: &str = "2024-03-03&%24expand=ReplicationStatus";

async fn refused(harness: &Harness, method: Method, path: &str, body: &Value, expected: (u16, &str)) {
    let (status, answer) = harness.send(method, path, API, Some(body)).await;
    assert_eq!((status, answer["error"]["code"].as_str().unwrap_or_default()), expected, "{path}: {answer}");
    assert!(!answer["error"]["message"].as_str().unwrap_or_default().is_empty());
}

fn version_body(storage: impl Into<Value>) -> Value {
    let storage = storage.into();
    json!({"location": "westeurope", "properties": {"storageProfile": storage, "publishingProfile": {"targetRegions": [{"name": "West Europe"}]}}})
}

#[tokio::test]
async fn definitions_and_versions_keep_azures_rules() {
    let harness = start().await;
    let image = json!({"source": {"id": compute("images/image")}});
    let definition = |change: fn(&mut Value)| {
        let identifier = json!({"publisher": "contoso", "offer": "server", "sku": "generalized"});
        let properties = json!({"osType": "Windows", "osState": "Generalized", "hyperVGeneration": "V2", "identifier": identifier});
        let mut body = json!({"location": "westeurope", "properties": properties});
        change(&mut body);
        body
    };
    let there = compute("galleries/golden/images/generalized");
    for (path, body, expected) in [
        (there.clone(), definition(|body| body["properties"]["osState"] = json!("Specialized")), (409, "PropertyChangeNotAllowed")),
        (there.clone(), definition(|body| body["properties"]["eula"] = json!("new")), (409, "PropertyChangeNotAllowed")),
        (there.clone(), definition(|body| body["properties"]["osType"] = json!("Unix")), (400, "InvalidParameter")),
        (compute("galleries/golden/images/twin"), definition(|_| ()), (409, "Conflict")),
        (compute("galleries/none/images/x"), definition(|_| ()), (404, "ParentResourceNotFound")),
        (compute("galleries/bad-name"), json!({"location": "westeurope"}), (400, "InvalidParameter")),
        (version_id("generalized", "1.0"), version_body(image.clone()), (400, "InvalidParameter")),
        (version_id("generalized", "1.0.0"), version_body(json!({})), (400, "InvalidParameter")),
        (version_id("generalized", "1.0.0"), version_body(json!({"source": {"id": compute("images/none")}})), (404, "ResourceNotFound")),
        (version_id("specialized", "1.0.0"), version_body(image.clone()), (400, "InvalidParameter")),
        (
            version_id("generalized", "1.0.0"),
            version_body(json!({"source": {"virtualMachineId": compute("virtualMachines/vm-running")}})),
            (409, "OperationNotAllowed"),
        ),
        (
            version_id("generalized", "1.0.0"),
            json!({"location": "westeurope", "properties": {"storageProfile": image, "publishingProfile": {"targetRegions": [{"name": "eastus"}]}}}),
            (400, "InvalidParameter"),
        ),
    ] {
        refused(&harness, Method::PUT, &path, &body, expected).await;
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_version_replicates_region_by_region_and_keeps_its_source() {
    let harness = start().await;
    harness.settings(&json!({"durations": {"galleryRegion": 1500}})).await;
    let path = version_id("generalized", "1.0.0");
    let mut body = version_body(json!({"source": {"id": compute("images/image")}}));
    body["properties"]["publishingProfile"]["targetRegions"] = json!([{"name": "eastus"}, {"name": "westeurope"}]);
    let (status, made) = harness.send(Method::PUT, &path, API, Some(&body)).await;
    assert_eq!((status, &made["properties"]["provisioningState"]), (201, &json!("Creating")), "{made}");
    // The image feeds one version at a time.
    let other = version_id("generalized", "1.0.1");
    refused(&harness, Method::PUT, &other, &version_body(json!({"source": {"id": compute("images/image")}})), (409, "Conflict")).await;
    let mut seen = Vec::new();
    for _ in 0..200 {
        let (_, version) = harness.send(Method::GET, &path, EXPANDED, None).await;
        let summary = version["properties"]["replicationStatus"]["summary"].as_array().cloned().unwrap_or_default();
        let regions: Vec<String> = summary.iter().map(|region| region["state"].as_str().unwrap_or_default().to_owned()).collect();
        if seen.last() != Some(&regions) {
            seen.push(regions);
        }
        if version["properties"]["provisioningState"] == "Succeeded" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(seen, [["Replicating", "Replicating"], ["Completed", "Replicating"], ["Completed", "Completed"]]);
    let changed = version_body(json!({"osDiskImage": {"source": {"id": compute("snapshots/os")}}}));
    refused(&harness, Method::PUT, &path, &changed, (409, "PropertyChangeNotAllowed")).await;
    refused(&harness, Method::DELETE, &compute("galleries/golden"), &Value::Null, (409, "CannotDeleteResource")).await;
    let (status, _) = harness.send(Method::DELETE, &path, API, None).await;
    assert_eq!(status, 202);
    harness.finish().await;
}

#[tokio::test]
async fn access_to_a_disk_is_given_by_a_signature_and_taken_back() {
    let harness = start().await;
    let made = json!({"location": "westeurope", "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": compute("disks/os")}}});
    let path = compute("snapshots/copy");
    let snapshot = harness.put(&path, DISK_API, &made).await;
    assert_eq!((&snapshot["properties"]["osType"], &snapshot["properties"]["diskSizeGB"]), (&json!("Windows"), &json!(127)));
    let grant = json!({"access": "Read", "durationInSeconds": 3600});
    let (status, _) = harness.send(Method::POST, &format!("{path}/beginGetAccess"), DISK_API, Some(&grant)).await;
    assert_eq!(status, 202);
    let (_, read) = harness.send(Method::GET, &path, DISK_API, None).await;
    assert_eq!(read["properties"]["diskState"], "ActiveSAS");
    refused(&harness, Method::DELETE, &path, &Value::Null, (409, "OperationNotAllowed")).await;
    let (status, _) = harness.send(Method::POST, &format!("{path}/endGetAccess"), DISK_API, None).await;
    assert_eq!(status, 202);
    let (status, _) = harness.send(Method::DELETE, &path, DISK_API, None).await;
    assert_eq!(status, 202);
    let (status, error) =
        harness.send(Method::PUT, &compute("disks/empty"), DISK_API, Some(&json!({"location": "westeurope", "properties": {}}))).await;
    assert_eq!((status, &error["error"]["code"]), (400, &json!("InvalidParameter")));
    harness.finish().await;
}

#[tokio::test]
async fn a_managed_image_is_captured_from_a_generalized_machine_only() {
    let harness = start().await;
    let body = |machine: &str| json!({"location": "westeurope", "properties": {"sourceVirtualMachine": {"id": compute(&format!("virtualMachines/{machine}"))}}});
    refused(&harness, Method::PUT, &compute("images/new"), &body("vm-specialized"), (409, "OperationNotAllowed")).await;
    let image = harness.put(&compute("images/new"), "2024-03-01", &body("vm-generalized")).await;
    assert_eq!(image["properties"]["storageProfile"]["osDisk"]["osState"], "Generalized");
    assert_eq!(image["properties"]["hyperVGeneration"], "V2");
    harness.finish().await;
}

/// Every answer has the shape that Azure publishes: the types of what it describes, and every member that it requires.
#[tokio::test]
async fn answers_have_the_published_shape() {
    let Some(folder) = data("openapi") else { return };
    let harness = start().await;
    succeeded(publish(&harness, "generalized", &compute("images/image")).input("TargetRegions", "eastus").run().await);
    let read = |file: &str| -> Value {
        let text = std::fs::read_to_string(folder.join(file)).expect("the description");
        serde_json::from_str(&text).expect("JSON")
    };
    let (galleries, disks, machines) = (read("compute-gallery.json"), read("compute-disk.json"), read("compute.json"));
    for (description, schema, path) in [
        (&galleries, "Gallery", compute("galleries/golden")),
        (&galleries, "GalleryList", compute("galleries")),
        (&galleries, "GalleryImage", compute("galleries/golden/images/generalized")),
        (&galleries, "GalleryImageList", compute("galleries/golden/images")),
        (&galleries, "GalleryImageVersion", version_id("generalized", "1.0.0")),
        (&galleries, "GalleryImageVersionList", compute("galleries/golden/images/generalized/versions")),
        (&disks, "Disk", compute("disks/os")),
        (&disks, "Snapshot", compute("snapshots/os")),
        (&machines, "Image", compute("images/image")),
        (&machines, "VirtualMachineInstanceView", compute("virtualMachines/vm-running/instanceView")),
    ] {
        let (status, answer) = harness.send(Method::GET, &path, EXPANDED, None).await;
        assert_eq!(status, 200, "{path}: {answer}");
        let mut faults = Vec::new();
        check_shape(description, &json!({"$ref": format!("#/components/schemas/{schema}")}), &answer, schema, &mut faults);
        assert!(faults.is_empty(), "{path}: {faults:#?}");
    }
    harness.finish().await;
}

/// Compares a value with a schema: types, members of known objects, words of enumerations. Words and members that came in later versions of
/// the interface are let pass.
fn check_shape(description: &Value, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = description.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}"));
        return check_shape(description, target, value, at, faults);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check_shape(description, part, value, at, faults);
    }
    let fits = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    if !fits {
        faults.push(format!("{at}: {value} is no {}", schema["type"]));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value[name].is_null() {
            faults.push(format!("{at}: '{name}' is missing"));
        }
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        if !value[name].is_null() {
            check_shape(description, member, &value[name], &format!("{at}.{name}"), faults);
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        check_shape(description, &schema["items"], item, &format!("{at}[{index}]"), faults);
    }
}
