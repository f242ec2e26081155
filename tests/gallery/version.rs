//! Versions: from every kind of source, to regions, read back, recognised, promoted.

use super::*;

/// What the row is about, the definition that it fits, inputs, and what must stand where in the storage profile.
type Row = (&'static str, &'static str, Vec<(&'static str, String)>, &'static str, String);

/// The rows of the document's source table.
fn rows() -> Vec<Row> {
    let source = |id: String| vec![("SourceId", id)];
    let vhd = "https://vhdstore.blob.core.windows.net/vhds/os.vhd";
    let account = id("Microsoft.Storage/storageAccounts/vhdstore");
    let vm = "/source/virtualMachineId";
    vec![
        (
            "virtual machine",
            "generalized",
            source(compute("virtualMachines/vm-generalized")),
            vm,
            compute("virtualMachines/vm-generalized"),
        ),
        (
            "specialized machine",
            "specialized",
            source(compute("virtualMachines/vm-specialized")),
            vm,
            compute("virtualMachines/vm-specialized"),
        ),
        (
            "lab machine",
            "generalized",
            source(id("Microsoft.DevTestLab/labs/contoso/virtualmachines/labvm")),
            vm,
            compute("virtualMachines/vm-of-lab"),
        ),
        ("managed image", "generalized", source(compute("images/image")), "/source/id", compute("images/image")),
        (
            "custom image of a generalized machine",
            "generalized",
            source(id("Microsoft.DevTestLab/labs/contoso/customimages/of-image")),
            "/source/id",
            compute("images/image"),
        ),
        (
            "custom image of a specialized machine",
            "specialized",
            source(id("Microsoft.DevTestLab/labs/contoso/customimages/of-snapshot")),
            "/osDiskImage/source/id",
            compute("snapshots/os"),
        ),
        ("snapshot", "generalized", source(compute("snapshots/os")), "/osDiskImage/source/id", compute("snapshots/os")),
        ("disk", "specialized", source(compute("disks/os")), "/osDiskImage/source/id", compute("disks/os")),
        (
            "VHD",
            "generalized",
            vec![("OsVhdUri", vhd.to_owned()), ("VhdStorageAccountId", account.clone())],
            "/osDiskImage/source/uri",
            vhd.to_owned(),
        ),
        (
            "VHD with data disks of every kind",
            "generalized",
            vec![
                ("OsVhdUri", vhd.to_owned()),
                ("VhdStorageAccountId", account),
                (
                    "DataDisks",
                    format!(
                        "0={}\n3={} ReadOnly\n5=https://vhdstore.blob.core.windows.net/vhds/data.vhd",
                        compute("snapshots/data"),
                        compute("disks/data")
                    ),
                ),
            ],
            "/dataDiskImages/1/source/id",
            compute("disks/data"),
        ),
        (
            "snapshot with a data disk",
            "generalized",
            vec![("SourceId", compute("snapshots/os")), ("DataDisks", format!("1={}", compute("disks/data")))],
            "/dataDiskImages/0/source/id",
            compute("disks/data"),
        ),
    ]
}

#[tokio::test]
async fn every_row_of_the_source_table_becomes_a_version() {
    let harness = start().await;
    for (index, (row, definition, inputs, pointer, expected)) in rows().into_iter().enumerate() {
        let number = format!("{}.0.0", index + 1);
        let step = inputs.into_iter().fold(on_versions(&harness, definition), |step, (input, value)| step.input(input, value));
        let made = succeeded(step.input("Version", &number).run().await);
        assert_eq!((made.output("imageVersion"), made.output("imageVersionRegions")), (number.clone(), "westeurope".into()), "{row}");
        let version = harness.resource(&version_id(definition, &number)).await.expect(row);
        assert_eq!(version["properties"]["storageProfile"].pointer(pointer), Some(&json!(expected)), "{row}: {version:#}");
        assert_eq!(version["properties"]["provisioningState"], "Succeeded", "{row}");
    }
    harness.finish().await;
}

#[tokio::test]
async fn a_custom_image_made_from_a_vhd_is_published_from_the_labs_storage_account() {
    let harness = start().await;
    let lab = harness.resource(harness.lab()).await.expect("the lab");
    let account = lab["properties"]["defaultStorageAccount"].as_str().expect("a storage account").to_owned();
    harness.put(&account, "2023-05-01", &json!({"location": "westeurope", "sku": {"name": "Standard_LRS"}, "kind": "StorageV2"})).await;
    let uri = format!("https://{}.blob.core.windows.net/uploads/os.vhd", account.rsplit('/').next().expect("a name"));
    let image = format!("{}/customimages/of-vhd", harness.lab());
    let body = json!({"properties": {"vhd": {"imageName": uri, "osType": "Windows", "sysPrep": true}}});
    harness.put(&image, "2018-09-15", &body).await;
    let made = succeeded(publish(&harness, "generalized", &image).run().await);
    let version = harness.resource(&made.output("imageVersionId")).await.expect("the version");
    let source = &version["properties"]["storageProfile"]["osDiskImage"]["source"];
    assert_eq!((&source["uri"], source["storageAccountId"].as_str().map(str::to_lowercase)), (&json!(uri), Some(account.to_lowercase())));
    harness.finish().await;
}

#[tokio::test]
async fn a_version_is_made_from_another_version() {
    let harness = start().await;
    let first = succeeded(publish(&harness, "generalized", &compute("images/image")).run().await);
    let copy = succeeded(publish(&harness, "generalized", &first.output("imageVersionId")).input("Version", "auto:major").run().await);
    assert_eq!((first.output("imageVersion"), copy.output("imageVersion")), ("1.0.0".into(), "2.0.0".into()));
    let version = harness.resource(&copy.output("imageVersionId")).await.expect("the copy");
    assert_eq!(version["properties"]["storageProfile"]["source"]["id"], first.output("imageVersionId"));
    assert_eq!(version["properties"]["storageProfile"]["dataDiskImages"][0]["lun"], 7, "the data disk comes along");
    harness.finish().await;
}

#[tokio::test]
async fn regions_replicas_and_settings_are_published_and_read_back() {
    let harness = start().await;
    let made = publish(&harness, "generalized", &compute("images/image"))
        .input("TargetRegions", "northeurope, eastus=1\nwestus2=3=standard_zrs")
        .input("ReplicaCount", "2")
        .input("StorageAccountType", "Premium_LRS")
        .input("ExcludeFromLatest", "true")
        .input("EndOfLifeDate", "2028-01-31")
        .input("BlockDeletionBeforeEndOfLife", "true")
        .input("Tags", "build=7")
        .run()
        .await;
    let made = succeeded(made);
    assert_eq!(made.warnings().len(), 1, "{made}");
    assert!(made.warnings()[0].contains("'TargetRegions': westeurope was added"), "{made}");
    let version = harness.resource(&made.output("imageVersionId")).await.expect("the version");
    let profile = &version["properties"]["publishingProfile"];
    assert_eq!(
        profile["targetRegions"],
        json!([
            {"name": "West Europe", "regionalReplicaCount": 2, "storageAccountType": "Premium_LRS"},
            {"name": "North Europe", "regionalReplicaCount": 2, "storageAccountType": "Premium_LRS"},
            {"name": "East US", "regionalReplicaCount": 1, "storageAccountType": "Premium_LRS"},
            {"name": "West US 2", "regionalReplicaCount": 3, "storageAccountType": "Standard_ZRS"},
        ])
    );
    assert_eq!((&profile["excludeFromLatest"], &profile["endOfLifeDate"]), (&json!(true), &json!("2028-01-31T00:00:00Z")));
    assert_eq!(version["properties"]["safetyProfile"]["blockDeletionBeforeEndOfLife"], true);
    assert_eq!(version["tags"]["build"], "7");
    assert_eq!(made.output("imageVersionRegions"), "westeurope,northeurope,eastus,westus2");
    let log = made.log();
    for line in ["West Europe: Replicating", "West Europe: Completed", "West US 2: Completed"] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    let percents: Vec<u8> = made
        .commands
        .iter()
        .filter(|command| command.is("task", "setprogress"))
        .filter_map(|command| command.property("value")?.parse().ok())
        .collect();
    assert!(percents.len() > 2 && percents.is_sorted(), "{percents:?}");
    harness.finish().await;
}

#[tokio::test]
async fn numbers_are_counted_up_and_collisions_are_followed_by_the_next() {
    let harness = start().await;
    let numbers =
        [("", "1.0.0"), ("auto", "1.0.1"), ("auto:minor", "1.1.0"), ("auto:major", "2.0.0"), ("3.7.0", "3.7.0"), ("auto", "3.7.1")];
    for (request, expected) in numbers {
        let step = publish(&harness, "specialized", &compute("disks/os")).input("Version", request);
        assert_eq!(succeeded(step.run().await).output("imageVersion"), expected, "{request}");
    }
    // Two at once count from the same newest: the one that comes second takes the next number.
    let (one, other) = tokio::join!(
        publish(&harness, "generalized", &compute("images/image")).input("ContentId", "one").run(),
        publish(&harness, "generalized", &compute("snapshots/os")).input("ContentId", "other").run(),
    );
    let mut numbers = [succeeded(one).output("imageVersion"), succeeded(other).output("imageVersion")];
    numbers.sort();
    assert_eq!(numbers, ["1.0.0", "1.0.1"]);
    harness.finish().await;
}

#[tokio::test]
async fn a_deleted_version_that_can_be_brought_back_keeps_its_number() {
    let harness = start().await;
    let policy = json!({"properties": {"softDeletePolicy": {"isSoftDeleteEnabled": true, "retentionPeriodInDays": 7}}});
    assert_eq!(harness.send(reqwest::Method::PATCH, &compute("galleries/golden"), API, Some(&policy)).await.0, 200);
    for (source, expected) in [("images/image", "1.0.0"), ("snapshots/os", "1.0.1")] {
        let made = publish(&harness, "generalized", &compute(source)).run().await;
        assert_eq!(succeeded(made).output("imageVersion"), expected);
    }
    harness.send(reqwest::Method::DELETE, &version_id("generalized", "1.0.1"), API, None).await;
    while harness.resource(&version_id("generalized", "1.0.1")).await.is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let deleted = compute("galleries/golden/softDeletedArtifactTypes/Images/artifacts/generalized/versions");
    let (status, listed) = harness.send(reqwest::Method::GET, &deleted, API, None).await;
    assert_eq!((status, &listed["value"][0]["name"], &listed["value"][1]), (200, &json!("1.0.1"), &Value::Null), "{listed}");

    let next = publish(&harness, "generalized", &compute("snapshots/os")).run().await;
    assert_eq!(succeeded(next).output("imageVersion"), "1.0.2");
    for number in ["1.0.0", "1.0.2"] {
        harness.send(reqwest::Method::DELETE, &version_id("generalized", number), API, None).await;
    }
    while !harness.names("Microsoft.Compute/galleries/images/versions").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (status, kept) = harness.send(reqwest::Method::DELETE, &compute("galleries/golden/images/generalized"), API, None).await;
    assert_eq!((status, &kept["error"]["code"]), (409, &json!("CannotDeleteResource")), "{kept}");
    harness.finish().await;
}

#[tokio::test]
async fn an_existing_number_is_refused_before_anything_is_written() {
    let harness = start().await;
    succeeded(publish(&harness, "generalized", &compute("images/image")).input("Version", "1.0.0").run().await);
    let before = writes(&harness).await;
    let refused = publish(&harness, "generalized", &compute("snapshots/os")).input("Version", "1.0.0").run().await;
    assert_eq!(refused.errors(), ["input 'Version' is '1.0.0': this version exists already, and its content cannot be replaced"]);
    assert_eq!(writes(&harness).await, before);
    harness.finish().await;
}

#[tokio::test]
async fn the_same_content_is_published_once() {
    let harness = start().await;
    let image = compute("images/image");
    let first = succeeded(publish(&harness, "generalized", &image).run().await);
    let again = succeeded(publish(&harness, "generalized", &image).run().await);
    assert_eq!(again.output("imageVersionId"), first.output("imageVersionId"));
    assert!(again.log().contains("was published as 1.0.0 already"), "{again}");
    // What was asked for anew is brought about on the version that is there.
    let wider = publish(&harness, "generalized", &image).input("TargetRegions", "westeurope eastus").input("ExcludeFromLatest", "true");
    assert_eq!(succeeded(wider.run().await).output("imageVersionRegions"), "westeurope,eastus");
    let anyway = succeeded(publish(&harness, "generalized", &image).input("PublishAgain", "true").run().await);
    assert_eq!(anyway.output("imageVersion"), "1.0.1");
    assert_eq!(harness.names("Microsoft.Compute/galleries/images/versions").await, ["1.0.0", "1.0.1"]);
    harness.finish().await;
}

#[tokio::test]
async fn a_machine_that_runs_is_stopped_and_marked_on_request_only() {
    let harness = start().await;
    let running = compute("virtualMachines/vm-running");
    let refused = publish(&harness, "generalized", &running).run().await;
    let errors = refused.errors().join("\n");
    assert!(errors.contains("the virtual machine 'vm-running' is running; stop it first, or set StopVM to deallocate"), "{refused}");
    assert!(errors.contains("state of the operating system: the virtual machine 'vm-running' has Specialized"), "{refused}");
    assert!(writes(&harness).await.is_empty());
    let made = publish(&harness, "generalized", &running).input("StopVM", "deallocate").input("MarkGeneralized", "true").run().await;
    assert_eq!(succeeded(made).output("imageVersion"), "1.0.0");
    let writes = writes(&harness).await;
    assert_eq!(
        writes,
        [
            "POST Microsoft.Compute/virtualMachines/vm-running/deallocate",
            "POST Microsoft.Compute/virtualMachines/vm-running/generalize",
            "PUT Microsoft.Compute/galleries/golden/images/generalized/versions/1.0.0",
        ]
    );
    harness.finish().await;
}

#[tokio::test]
async fn waiting_ends_at_what_was_asked_for() {
    for (wait_for, states) in [
        ("none", ["Creating"].as_slice()),
        ("build", &["Creating"]),
        ("2", &["Creating"]),
        ("northeurope", &["Creating"]),
        ("all", &["Succeeded"]),
    ] {
        let harness = start().await;
        harness.settings(&json!({"durations": {"galleryRegion": 900}})).await;
        let regions = "westeurope northeurope eastus westus2";
        let step = publish(&harness, "generalized", &compute("images/image")).input("TargetRegions", regions).input("WaitFor", wait_for);
        let made = succeeded(step.run().await);
        let version = harness.resource(&made.output("imageVersionId")).await.expect("the version");
        let state = version["properties"]["provisioningState"].as_str().expect("a state").to_owned();
        assert!(states.contains(&state.as_str()), "{wait_for}: {state}\n{made}");
        harness.finish().await;
    }
}

#[tokio::test]
async fn a_failed_region_fails_the_step_with_its_reason_unless_it_is_not_needed() {
    let harness = start().await;
    let regions = "westeurope northeurope eastus";
    let fault = |region: &str| {
        json!([{"path": format!("versions/.*/regions/{region}"), "provisioning": "Failed", "times": 1,
        "body": {"code": "ReplicationFailed", "message": "no capacity left"}}])
    };
    harness.faults(&fault("northeurope")).await;
    let failed = publish(&harness, "generalized", &compute("images/image")).input("TargetRegions", regions).run().await;
    assert_eq!(failed.outcome, Outcome::Failed);
    assert!(failed.errors()[0].contains("failed to make the image version '1.0.0': ReplicationFailed: no capacity left"), "{failed}");
    assert!(failed.log().contains("replication to North Europe failed: no capacity left"), "{failed}");
    harness.faults(&fault("northeurope")).await;
    let enough = publish(&harness, "generalized", &compute("images/image")).input("TargetRegions", regions).input("WaitFor", "2");
    assert_eq!(succeeded(enough.run().await).output("imageVersion"), "1.0.1");
    harness.finish().await;
}

#[tokio::test]
async fn a_failed_build_is_told_in_azures_words() {
    let harness = start().await;
    harness
        .faults(&json!([{"path": "versions/1.0.0$", "provisioning": "Failed", "body": {"code": "OutOfCapacity", "message": "the store is full"}}]))
        .await;
    let failed = publish(&harness, "generalized", &compute("images/image")).run().await;
    assert_eq!(failed.outcome, Outcome::Failed);
    assert!(failed.errors()[0].contains("failed to make the image version '1.0.0': OutOfCapacity: the store is full"), "{failed}");
    harness.finish().await;
}

#[tokio::test]
async fn an_image_that_feeds_another_version_is_waited_for() {
    let harness = start().await;
    let image = compute("images/image");
    harness.settings(&json!({"durations": {"galleryRegion": 2400}})).await;
    let first = publish(&harness, "generalized", &image).input("WaitFor", "none").run().await;
    assert_eq!(succeeded(first).output("imageVersion"), "1.0.0");
    let second = publish(&harness, "generalized", &image).input("Version", "2.0.0").run().await;
    let second = succeeded(second);
    assert!(second.log().contains("The source still feeds another version"), "{second}");
    harness.finish().await;
}

#[tokio::test]
async fn a_version_published_for_tests_is_promoted() {
    let harness = start().await;
    let made =
        publish(&harness, "generalized", &compute("images/image")).input("ExcludeFromLatest", "true").input("Tags", "a=1").run().await;
    let number = succeeded(made).output("imageVersion");
    let promote = || on_versions(&harness, "generalized").input("Mode", "promote").input("Version", &number);
    let promoted = succeeded(promote().input("TargetRegions", "eastus=2").input("EndOfLifeDate", "2029-01-01").run().await);
    assert_eq!(promoted.output("imageVersionRegions"), "westeurope,eastus");
    let version = harness.resource(&version_id("generalized", &number)).await.expect("the version");
    let profile = &version["properties"]["publishingProfile"];
    assert_eq!((&profile["excludeFromLatest"], &profile["targetRegions"][1]["regionalReplicaCount"]), (&json!(false), &json!(2)));
    assert_eq!(version["tags"]["a"], "1", "tags stay");
    let before = writes(&harness).await;
    let again = succeeded(promote().run().await);
    assert!(again.log().contains("already as wanted; nothing was changed"), "{again}");
    assert_eq!(writes(&harness).await, before);
    let missing = on_versions(&harness, "generalized").input("Mode", "promote").input("Version", "9.9.9").run().await;
    assert_eq!(missing.errors(), ["input 'Version' is '9.9.9': the image definition 'generalized' has no such version"]);
    harness.finish().await;
}

#[tokio::test]
async fn a_cancelled_step_names_what_goes_on() {
    let harness = start().await;
    harness.settings(&json!({"durations": {"galleryRegion": 60_000}})).await;
    let cancelled = publish(&harness, "generalized", &compute("images/image")).cancelled_at("PUT", "/versions/1.0.0").run().await;
    assert_eq!((cancelled.outcome, cancelled.completed()), (Outcome::Canceled, "Canceled"), "{cancelled}");
    assert!(cancelled.warnings().join("\n").contains(&version_id("generalized", "1.0.0")), "{cancelled}");
    harness.finish().await;
}

#[tokio::test]
async fn a_version_that_azure_keeps_differently_fails_the_step() {
    let harness = start().await;
    let regions = json!([{"name": "West Europe", "regionalReplicaCount": 1, "storageAccountType": "Standard_LRS"}]);
    let summary = json!([{"region": "West Europe", "state": "Completed", "progress": 100}]);
    let kept = json!({"id": version_id("generalized", "1.0.0"), "name": "1.0.0", "location": "westeurope", "properties": {
        "provisioningState": "Succeeded",
        "publishingProfile": {"targetRegions": regions, "excludeFromLatest": false},
        "replicationStatus": {"summary": summary},
    }});
    harness.faults(&json!([{"method": "GET", "path": "versions/1.0.0$", "status": 200, "body": kept, "times": 9}])).await;
    let failed = publish(&harness, "generalized", &compute("images/image")).input("ExcludeFromLatest", "true").run().await;
    assert_eq!(failed.outcome, Outcome::Failed, "{failed}");
    assert_eq!(failed.errors()[0], "the image version '1.0.0' is there, but Azure shows other values than were asked for");
    assert!(failed.to_string().contains("excludeFromLatest: it is false, and true was asked for"), "{failed}");
    harness.finish().await;
}

#[tokio::test]
async fn promotion_may_end_while_new_regions_are_still_filled() {
    let harness = start().await;
    let number = succeeded(publish(&harness, "generalized", &compute("images/image")).run().await).output("imageVersion");
    let path = version_id("generalized", &number);
    harness.settings(&json!({"durations": {"galleryRegion": 6000}})).await;
    let promote = on_versions(&harness, "generalized")
        .input("Mode", "promote")
        .input("Version", &number)
        .input("TargetRegions", "westeurope eastus")
        .input("WaitFor", "build");
    let promoted = succeeded(promote.run().await);
    assert_eq!(promoted.output("imageVersionRegions"), "westeurope,eastus");
    assert!(promoted.log().contains("replication goes on to 'eastus'"), "{promoted}");
    let (status, refused) = harness.send(reqwest::Method::DELETE, &path, API, None).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("OperationNotAllowed")), "{refused}");
    harness.finish().await;
}

#[tokio::test]
async fn edge_zones_encryption_and_regions_out_of_latest_are_published_and_read_back() {
    let harness = start().await;
    let set = |name: &str| compute(&format!("diskEncryptionSets/{name}"));
    let made = publish(&harness, "generalized", &compute("images/image"))
        .input("TargetRegions", "westeurope eastus=2")
        .input("ExcludedRegions", "eastus")
        .input("TargetEdgeZones", "eastus=microsoftboston1=1=standardssd_lrs")
        .input("DiskEncryptionSets", format!("westeurope={},7,{}\neastus=null,7,{0}", set("os"), set("data")))
        .input("ConfidentialVMEncryption", format!("eastus=EncryptedWithCmk,{}", set("own")))
        .input("ReplicationMode", "Shallow")
        .input("AllowDeletionOfReplicatedLocations", "false")
        .run()
        .await;
    let made = succeeded(made);
    let version = harness.resource(&made.output("imageVersionId")).await.expect("the version");
    let profile = &version["properties"]["publishingProfile"];
    let regions = profile["targetRegions"].as_array().expect("regions");
    let of = |name: &str| regions.iter().find(|region| region["name"] == name).cloned().unwrap_or_default();
    assert_eq!(
        of("West Europe")["encryption"],
        json!({"osDiskImage": {"diskEncryptionSetId": set("os")}, "dataDiskImages": [{"lun": 7, "diskEncryptionSetId": set("data")}]})
    );
    let own = json!({"confidentialVMEncryptionType": "EncryptedWithCmk", "secureVMDiskEncryptionSetId": set("own")});
    assert_eq!(of("East US")["encryption"]["osDiskImage"], json!({"securityProfile": own}));
    assert_eq!((&of("West Europe")["excludeFromLatest"], &of("East US")["excludeFromLatest"]), (&json!(false), &json!(true)));
    assert_eq!(profile["targetExtendedLocations"][0]["extendedLocation"], json!({"name": "microsoftboston1", "type": "EdgeZone"}));
    assert_eq!(profile["replicationMode"], "Shallow");
    assert_eq!(version["properties"]["safetyProfile"]["allowDeletionOfReplicatedLocations"], false);

    // Nothing is taken back by a promotion that says nothing of it; what is named changes alone.
    let promoted = on_versions(&harness, "generalized").input("Mode", "promote").input("Version", made.output("imageVersion"));
    let promoted = promoted.input("ReplicationMode", "Shallow").input("ExcludedRegions", "westeurope").run().await;
    succeeded(promoted);
    let version = harness.resource(&made.output("imageVersionId")).await.expect("the version");
    let excluded: Vec<_> = version["properties"]["publishingProfile"]["targetRegions"]
        .as_array()
        .expect("regions")
        .iter()
        .map(|region| (region["name"].clone(), region["excludeFromLatest"].clone()))
        .collect();
    assert_eq!(excluded, [(json!("West Europe"), json!(true)), (json!("East US"), json!(false))]);
    harness.finish().await;
}

#[tokio::test]
async fn further_replicas_are_published_read_back_and_changed_by_promotion() {
    let harness = start().await;
    let made = publish(&harness, "generalized", &compute("images/image"))
        .input("TargetRegions", "westeurope eastus")
        .input("AdditionalReplicaSets", "eastus=2 eastus=1=premium_lrs")
        .run()
        .await;
    let id = succeeded(made).output("imageVersionId");
    let sets = async || {
        let version = harness.resource(&id).await.expect("the version");
        let regions = version["properties"]["publishingProfile"]["targetRegions"].as_array().expect("regions").clone();
        regions.iter().map(|region| region["additionalReplicaSets"].clone()).collect::<Vec<_>>()
    };
    let of = |count: u64, storage: &str| json!({"regionalReplicaCount": count, "storageAccountType": storage});
    assert_eq!(sets().await, [Value::Null, json!([of(2, "PremiumV2_LRS"), of(1, "Premium_LRS")])]);
    let promote = || on_versions(&harness, "generalized").input("Mode", "promote").input("Version", "1.0.0");
    succeeded(promote().input("AdditionalReplicaSets", "westeurope").run().await);
    assert_eq!(sets().await, [json!([of(1, "PremiumV2_LRS")]), json!([of(2, "PremiumV2_LRS"), of(1, "Premium_LRS")])]);
    let many = promote().input("TargetRegions", "westeurope eastus").input("AdditionalReplicaSets", "eastus=99").run().await;
    assert!(many.errors()[0].starts_with("input 'TargetRegions' is '101 replicas'"), "{many}");
    harness.finish().await;
}

#[tokio::test]
async fn keys_for_secure_boot_are_published_with_definitions_that_have_it() {
    let harness = start().await;
    let mut certificate = vec![0x30, 0x82, 1, 0];
    certificate.extend([7; 256]);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64_STANDARD.encode(&certificate));
    harness.file("keys/ours.pem", &pem);
    let image = compute("images/image");
    let keyed = |definition: &str, hash: &str| {
        publish(&harness, definition, &image)
            .input("UefiSignatureTemplates", "MicrosoftUefiCertificateAuthorityTemplate, microsoftwindowstemplate")
            .input("UefiKeys", format!("db=keys/ours.pem\ndbx=sha256:{}", hash.repeat(32)))
    };
    let refused = keyed("generalized", "0f").run().await;
    assert!(refused.errors()[0].contains("machines made from the image definition 'generalized' have no Secure Boot"), "{refused}");
    let before = writes(&harness).await;
    assert!(before.is_empty(), "{before:?}");
    succeeded(define(&harness, "secure").input("SecurityType", "TrustedLaunchSupported").run().await);
    let made = succeeded(keyed("secure", "0f").run().await);
    let version = harness.resource(&made.output("imageVersionId")).await.expect("the version");
    assert_eq!(
        version["properties"]["securityProfile"]["uefiSettings"],
        json!({
            "signatureTemplateNames": ["MicrosoftUefiCertificateAuthorityTemplate", "MicrosoftWindowsTemplate"],
            "additionalSignatures": {
                "db": [{"type": "x509", "value": [BASE64_STANDARD.encode(&certificate)]}],
                "dbx": [{"type": "sha256", "value": [BASE64_STANDARD.encode([0x0f; 32])]}],
            },
        })
    );
    // The same image with the same keys is the same content; with other keys it is not.
    assert_eq!(succeeded(keyed("secure", "0f").run().await).output("imageVersion"), "1.0.0");
    assert_eq!(succeeded(keyed("secure", "f0").run().await).output("imageVersion"), "1.0.1");
    // Promotion leaves the keys alone.
    let promoted = on_versions(&harness, "secure").input("Mode", "promote").input("Version", "1.0.0").input("EndOfLifeDate", "2030-01-01");
    succeeded(promoted.run().await);
    let after = harness.resource(&made.output("imageVersionId")).await.expect("the version");
    assert_eq!(after["properties"]["securityProfile"], version["properties"]["securityProfile"]);
    harness.finish().await;
}

#[tokio::test]
async fn vhds_may_lie_in_several_storage_accounts() {
    let more = id("Microsoft.Storage/storageAccounts/datastore");
    let harness = start_with(&[resource(&more, json!({"provisioningState": "Succeeded"}))]).await;
    let accounts = format!("{}\n{more}", id("Microsoft.Storage/storageAccounts/vhdstore"));
    let made = on_versions(&harness, "generalized")
        .input("OsVhdUri", "https://vhdstore.blob.core.windows.net/vhds/os.vhd")
        .input("DataDisks", "0=https://datastore.blob.core.windows.net/vhds/data.vhd")
        .input("VhdStorageAccountId", accounts)
        .run()
        .await;
    let version = harness.resource(&succeeded(made).output("imageVersionId")).await.expect("the version");
    let storage = &version["properties"]["storageProfile"];
    assert_eq!(storage["osDiskImage"]["source"]["storageAccountId"], id("Microsoft.Storage/storageAccounts/vhdstore"));
    assert_eq!(storage["dataDiskImages"][0]["source"]["storageAccountId"], more);
    harness.finish().await;
}

#[tokio::test]
async fn edge_zones_have_keys_of_their_own_and_are_taken_away_by_none() {
    let harness = start().await;
    let set = compute("diskEncryptionSets/zone");
    let made = publish(&harness, "generalized", &compute("images/image"))
        .input("TargetEdgeZones", "westeurope=zone1=2")
        .input("DiskEncryptionSets", format!("zone1={set}"))
        .run()
        .await;
    let id = succeeded(made).output("imageVersionId");
    let profile = async || harness.resource(&id).await.expect("the version")["properties"]["publishingProfile"].clone();
    assert_eq!(profile().await["targetExtendedLocations"][0]["encryption"], json!({"osDiskImage": {"diskEncryptionSetId": set}}));
    assert_eq!(profile().await["targetRegions"][0]["encryption"], Value::Null);
    let promote = on_versions(&harness, "generalized").input("Mode", "promote").input("Version", "1.0.0").input("TargetEdgeZones", "none");
    succeeded(promote.run().await);
    assert_eq!(profile().await["targetExtendedLocations"], json!([]));
    harness.finish().await;
}
