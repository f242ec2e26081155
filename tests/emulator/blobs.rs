//! Storage accounts with blobs: Azurite behind the emulator's listener.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Harness, LAB, RESOURCE_GROUP, SUBSCRIPTION};

const COMPUTE: &str = "2023-10-02";
const DTL: &str = "2018-09-15";

fn in_group(rest: &str) -> String {
    format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{RESOURCE_GROUP}/providers/{rest}")
}

/// A disk of this size, and an address that it can be read at.
async fn granted_disk(lab: &Harness, gib: u64) -> (String, String) {
    let disk = in_group("Microsoft.Compute/disks/one");
    let body = json!({"location": "westeurope", "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": gib}});
    lab.put(&disk, COMPUTE, &body).await;
    let url = grant(lab, &disk).await;
    (disk, url)
}

async fn grant(lab: &Harness, disk: &str) -> String {
    let body = json!({"access": "Read", "durationInSeconds": 3600});
    let answer = lab.operate(&format!("{disk}/beginGetAccess"), COMPUTE, &body).await;
    answer["accessSAS"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn blob(lab: &Harness, method: Method, url: &str, headers: &[(&'static str, String)]) -> reqwest::Response {
    let mut request = lab.transport().client().request(method, url).header("x-ms-version", "2021-08-06").header("content-length", "0");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.send().await.expect("the blob service answers")
}

fn text(response: &reqwest::Response, name: &str) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// An address in the lab's storage account, made by the lab.
async fn upload_uri(lab: &Harness, name: &str) -> String {
    let (status, answer) = lab.send(Method::POST, &format!("{LAB}/generateUploadUri"), DTL, Some(&json!({"blobName": name}))).await;
    assert_eq!(status, 200, "{answer}");
    answer["uploadUri"].as_str().expect("an address").to_owned()
}

async fn copy_status(lab: &Harness, url: &str) -> (String, String) {
    let response = blob(lab, Method::HEAD, url, &[]).await;
    (text(&response, "x-ms-copy-status"), text(&response, "x-ms-copy-progress"))
}

async fn copied(lab: &Harness, url: &str) {
    for _ in 0..500 {
        match copy_status(lab, url).await.0.as_str() {
            "success" => return,
            "pending" => tokio::time::sleep(Duration::from_millis(10)).await,
            other => panic!("the copy is '{other}'"),
        }
    }
    panic!("the copy does not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn access_to_a_disk_serves_a_vhd_and_ends_when_it_is_taken_back() {
    let Some(lab) = Harness::with_blobs(|_| {}).await else { return };
    let (disk, url) = granted_disk(&lab, 127).await;
    let size = (127_u64 << 30) + 512;
    let head = blob(&lab, Method::HEAD, &url, &[]).await;
    assert_eq!((head.status(), text(&head, "content-length")), (StatusCode::OK, size.to_string()), "{:?}", head.headers());
    let footer = blob(&lab, Method::GET, &url, &[("x-ms-range", format!("bytes={}-{}", size - 512, size - 1))]).await;
    let footer = footer.bytes().await.expect("the footer");
    assert_eq!((&footer[..8], footer.len()), (&b"conectix"[..], 512));
    assert_eq!(lab.send(Method::GET, &disk, COMPUTE, None).await.1["properties"]["diskState"], "ActiveSAS");

    lab.operate(&format!("{disk}/endGetAccess"), COMPUTE, &Value::Null).await;
    assert_eq!(blob(&lab, Method::HEAD, &url, &[]).await.status(), StatusCode::FORBIDDEN);
    let again = grant(&lab, &disk).await;
    assert_eq!(blob(&lab, Method::HEAD, &again, &[]).await.status(), StatusCode::OK);
    let forged = again.replace("sig=", "sig=A");
    assert_eq!(blob(&lab, Method::HEAD, &forged, &[]).await.status(), StatusCode::FORBIDDEN);
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vhd_is_copied_into_the_lab_listed_there_and_made_an_image() {
    let Some(lab) = Harness::with_blobs(|_| {}).await else { return };
    let (_, source) = granted_disk(&lab, 30).await;
    let target = upload_uri(&lab, "base.vhd").await;
    let address = target.split('?').next().expect("an address").to_owned();
    let image = |name: &str, vhd: &str| {
        let body = json!({"properties": {"vhd": {"imageName": vhd, "osType": "Linux", "sysPrep": false}, "description": "d"}});
        (format!("{LAB}/customimages/{name}"), body)
    };
    let (path, body) = image("early", &address);
    let (status, answer) = lab.send(Method::PUT, &path, DTL, Some(&body)).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("VhdNotFound")));

    lab.settings(&json!({"durations": {"blobCopySecondsPerGiB": 10}, "speed": 300})).await;
    let begun = blob(&lab, Method::PUT, &target, &[("x-ms-copy-source", source)]).await;
    assert_eq!((begun.status(), text(&begun, "x-ms-copy-status").as_str()), (StatusCode::ACCEPTED, "pending"), "{:?}", begun.headers());
    let (status, progress) = copy_status(&lab, &target).await;
    assert!(status == "pending" && progress.ends_with(&format!("/{}", (30_u64 << 30) + 512)), "{status} {progress}");
    let twice = blob(&lab, Method::DELETE, &target, &[]).await;
    assert_eq!((twice.status(), text(&twice, "x-ms-error-code").as_str()), (StatusCode::CONFLICT, "PendingCopyOperation"));
    copied(&lab, &target).await;

    let (status, listed) = lab.send(Method::POST, &format!("{LAB}/listVhds"), DTL, Some(&json!({}))).await;
    assert_eq!((status, listed), (200, json!({"value": [{"id": address}]})));
    let (path, body) = image("base", &address);
    lab.put(&path, DTL, &body).await;
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_breaks_when_its_source_is_closed_and_ends_when_it_is_aborted() {
    let Some(lab) = Harness::with_blobs(|_| {}).await else { return };
    let (disk, source) = granted_disk(&lab, 30).await;
    lab.settings(&json!({"durations": {"blobCopySecondsPerGiB": 1000}, "speed": 1})).await;
    let broken = upload_uri(&lab, "broken.vhd").await;
    let aborted = upload_uri(&lab, "aborted.vhd").await;
    blob(&lab, Method::PUT, &broken, &[("x-ms-copy-source", source.clone())]).await;
    let begun = blob(&lab, Method::PUT, &aborted, &[("x-ms-copy-source", source)]).await;
    let abort = format!("{aborted}&comp=copy&copyid={}", text(&begun, "x-ms-copy-id"));
    let ended = blob(&lab, Method::PUT, &abort, &[("x-ms-copy-action", "abort".to_owned())]).await;
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    assert_eq!(copy_status(&lab, &aborted).await.0, "aborted");
    lab.operate(&format!("{disk}/endGetAccess"), COMPUTE, &Value::Null).await;
    assert_eq!(copy_status(&lab, &broken).await.0, "failed");
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_made_at_run_time_have_blobs_and_names_are_held_once() {
    let Some(lab) = Harness::with_blobs(|_| {}).await else { return };
    let account = in_group("Microsoft.Storage/storageAccounts/contosodata");
    let body = json!({"location": "westeurope", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"});
    let made = lab.put(&account, "2023-05-01", &body).await;
    let endpoint = made["properties"]["primaryEndpoints"]["blob"].as_str().expect("an endpoint").to_owned();
    assert_eq!(Some(endpoint.clone()), lab.ready().blob_endpoint.as_ref().map(|base| format!("{base}contosodata/")));
    let container = format!("{account}/blobServices/default/containers/drop");
    lab.put(&container, "2023-05-01", &json!({"properties": {}})).await;
    // Without a signature Azurite says no; of an account that it does not know it says something else.
    let code = |response: reqwest::Response| (response.status(), text(&response, "x-ms-error-code"));
    let refused = code(blob(&lab, Method::GET, &format!("{endpoint}drop?restype=container"), &[]).await);
    assert_eq!(refused, (StatusCode::FORBIDDEN, "AuthorizationFailure".to_owned()));
    let unknown = code(blob(&lab, Method::GET, &format!("{}drop?restype=container", endpoint.replace("contosodata", "nobody")), &[]).await);
    assert_ne!(unknown, refused);

    let keys = |answer: &Value| answer["keys"].as_array().expect("keys").iter().map(|key| key["value"].clone()).collect::<Vec<_>>();
    let (_, before) = lab.send(Method::POST, &format!("{account}/listKeys"), "2023-05-01", None).await;
    let (status, after) =
        lab.send(Method::POST, &format!("{account}/regenerateKey"), "2023-05-01", Some(&json!({"keyName": "key2"}))).await;
    let (before, after) = (keys(&before), keys(&after));
    assert_eq!((status, before[0] == after[0], before[1] == after[1]), (200, true, false));

    let check = format!("/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Storage/checkNameAvailability");
    for (name, reason) in [("contosodata", json!("AlreadyExists")), ("Contoso", json!("AccountNameInvalid")), ("free", Value::Null)] {
        let body = json!({"name": name, "type": "Microsoft.Storage/storageAccounts"});
        assert_eq!(lab.send(Method::POST, &check, "2023-05-01", Some(&body)).await.1["reason"], reason, "{name}");
    }
    let bad = in_group("Microsoft.Storage/storageAccounts/Bad-Name");
    let (status, answer) = lab.send(Method::PUT, &bad, "2023-05-01", Some(&body)).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("AccountNameInvalid")));
    let (status, _) = lab.send(Method::DELETE, &account, "2023-05-01", None).await;
    assert_eq!((status, lab.resource(&container).await), (200, None));
    lab.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_and_the_journal_reach_blobs() {
    let Some(lab) = Harness::with_blobs(|_| {}).await else { return };
    let (_, url) = granted_disk(&lab, 1).await;
    lab.faults(&json!([{"path": "/abcd$", "method": "HEAD", "status": 503}])).await;
    assert_eq!(blob(&lab, Method::HEAD, &url, &[]).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(blob(&lab, Method::HEAD, &url, &[]).await.status(), StatusCode::OK);
    let requests = lab.requests().await;
    let seen: Vec<_> = requests.iter().filter(|request| request["method"] == "HEAD").map(|request| request["status"].clone()).collect();
    assert_eq!(seen, [503, 200]);
    lab.finish().await;
}
