//! Bad input: each a failed result that names the input and the remedy, before anything is written.

use super::*;

#[tokio::test]
async fn wrong_inputs_of_a_definition_are_named_and_nothing_is_sent() {
    let harness = start().await;
    for (input, value, expected) in [
        (
            "GalleryName",
            "my-gallery",
            "input 'GalleryName' is 'my-gallery': '-' is not allowed in a name; use letters, digits, '.' and '_'",
        ),
        ("GalleryName", "", "input 'GalleryName' is required"),
        ("DefinitionName", "a b", "input 'DefinitionName' is 'a b': ' ' is not allowed in a name"),
        ("ResourceGroupName", "", "input 'ResourceGroupName' is required"),
        ("OsType", "BeOS", "input 'OsType' is 'BeOS': give one of Windows, Linux"),
        ("OsState", "", "input 'OsState' is required: give one of Generalized, Specialized"),
        ("HyperVGeneration", "V3", "input 'HyperVGeneration' is 'V3': give one of V2, V1"),
        ("Architecture", "ARM", "input 'Architecture' is 'ARM': give one of x64, Arm64"),
        ("Publisher", "", "input 'Publisher' is required"),
        ("Offer", "a/b", "input 'Offer' is 'a/b': '/' is not allowed"),
        ("Features", "SecurityType", "input 'Features' is 'SecurityType': write a feature as Name=value"),
        ("SecurityType", "Very", "input 'SecurityType' is 'Very': give one of Standard,"),
        ("EndOfLifeDate", "tomorrow", "input 'EndOfLifeDate' is 'tomorrow': give a date such as 2027-06-30"),
        ("MinimumVCPUs", "many", "input 'MinimumVCPUs' is 'many': give a whole number from 1 to 100000"),
        ("DisallowedDiskTypes", "Floppy", "input 'DisallowedDiskTypes' is 'Floppy': give one of Standard_LRS,"),
        ("Tags", "x", "input 'Tags' is 'x': write a tag as name=value"),
        ("PlanName", "n", "input 'PlanProduct' is required: a purchase plan has a name, a product and a publisher"),
        ("Location", "west/europe", "input 'Location' is 'west/europe': this is no region's name"),
    ] {
        let failed = define(&harness, "new").input(input, value).run().await;
        assert_eq!(failed.outcome, Outcome::Failed, "{input} {value}");
        assert!(failed.errors().iter().any(|error| error.starts_with(expected)), "{input} {value}: {expected}\n{failed}");
    }
    let failed = define(&harness, "new").input("HyperVGeneration", "V1").input("SecurityType", "TrustedLaunch").run().await;
    assert!(failed.errors()[0].starts_with("input 'SecurityType' is 'TrustedLaunch': Trusted Launch and Confidential VM need"), "{failed}");
    assert!(harness.journal().await.is_empty());
    let elsewhere = define(&harness, "new").input("Location", "atlantis").run().await;
    assert!(elsewhere.errors()[0].starts_with("input 'Location' is 'atlantis': galleries have no region of this name"), "{elsewhere}");
    assert!(writes(&harness).await.is_empty());
    harness.finish().await;
}

#[tokio::test]
async fn wrong_inputs_of_a_version_are_named_and_nothing_is_sent() {
    let harness = start().await;
    let disk = compute("disks/data");
    for (input, value, expected) in [
        ("Version", "1.0".to_owned(), "input 'Version' is '1.0': a version is three numbers"),
        ("Version", "1.0.2147483648".to_owned(), "input 'Version' is '1.0.2147483648': '2147483648' is too large"),
        ("Version", "auto:up".to_owned(), "input 'Version' is 'auto:up': give auto, auto:minor, auto:major or a number"),
        ("Mode", "delete".to_owned(), "input 'Mode' is 'delete': give one of publish, promote, retire"),
        ("SourceId", String::new(), "input 'SourceId' is required"),
        ("SourceId", "vm1".to_owned(), "input 'SourceId' is 'vm1': "),
        ("SourceId", id("Microsoft.Network/virtualNetworks/x"), "input 'SourceId' is '/subscriptions/"),
        ("OsVhdUri", "https://a.blob.core.windows.net/v/os.vhd".to_owned(), "input 'OsVhdUri': SourceId is given too"),
        ("DataDisks", format!("0={disk}\n0={disk}"), "input 'DataDisks' is '0=/subscriptions/"),
        ("DataDisks", "1=https://a.blob.core.windows.net/v/d.vhd".to_owned(), "input 'VhdStorageAccountId' is required"),
        ("TargetRegions", "eastus eastus=2".to_owned(), "input 'TargetRegions' is 'eastus=2': this region is listed twice"),
        ("TargetRegions", "eastus=many".to_owned(), "input 'TargetRegions' is 'eastus=many': give one of Standard_LRS"),
        ("ReplicaCount", "101".to_owned(), "input 'ReplicaCount' is '101': give a whole number from 1 to 100"),
        ("StorageAccountType", "Tape".to_owned(), "input 'StorageAccountType' is 'Tape': give one of"),
        ("ReplicationMode", "Deep".to_owned(), "input 'ReplicationMode' is 'Deep': give one of Full, Shallow"),
        ("WaitFor", "0".to_owned(), "input 'WaitFor' is '0': give all, build, none"),
        ("EndOfLifeDate", "31.12.2027".to_owned(), "input 'EndOfLifeDate' is '31.12.2027': give a date"),
        ("BlockDeletionBeforeEndOfLife", "true".to_owned(), "input 'EndOfLifeDate' is required"),
        ("DiskEncryptionSets", disk.clone(), "input 'DiskEncryptionSets' is '/subscriptions/"),
        ("StopVM", "kill".to_owned(), "input 'StopVM' is 'kill': give one of no, stop, deallocate"),
        ("OperationTimeoutInMinutes", "soon".to_owned(), "input 'OperationTimeoutInMinutes' is 'soon'"),
    ] {
        let failed = publish(&harness, "generalized", &compute("images/image")).input(input, &value).run().await;
        assert_eq!(failed.outcome, Outcome::Failed, "{input} {value}");
        assert!(failed.errors().iter().any(|error| error.starts_with(expected)), "{input} {value}: {expected}\n{failed}");
    }
    for mode in ["promote", "retire"] {
        let failed = on_versions(&harness, "generalized").input("Mode", mode).run().await;
        let expected = if mode == "promote" { "input 'Version' is required" } else { "input 'KeepVersions' is required" };
        assert!(failed.errors()[0].starts_with(expected), "{failed}");
    }
    assert!(harness.journal().await.is_empty());
    harness.finish().await;
}

#[tokio::test]
async fn what_only_azure_knows_is_asked_before_anything_is_written() {
    let trusted = {
        let mut machine = machine("vm-trusted", "deallocated", true);
        machine["properties"]["securityProfile"] = json!({"securityType": "TrustedLaunch"});
        machine
    };
    let old = {
        let mut machine = machine("vm-old", "deallocated", true);
        machine["properties"]["instanceView"]["hyperVGeneration"] = json!("V1");
        machine["properties"]["storageProfile"]["osDisk"]["osType"] = json!("Linux");
        machine
    };
    let mut away = disk(&compute("disks/away"), None, 8);
    away["location"] = json!("eastus");
    let harness = start_with(&[trusted, old, away]).await;
    let image = compute("images/image");
    for (inputs, expected) in [
        (vec![("DefinitionName", "none".to_owned())], "the gallery 'golden' has no image definition 'none'"),
        (vec![("GalleryName", "none".to_owned())], "there is no gallery 'none'"),
        (vec![("SourceId", compute("images/none"))], "input 'SourceId': there is no managed image 'none'"),
        (
            vec![("SourceId", compute("virtualMachines/vm-old"))],
            "operating system: the virtual machine 'vm-old' has Linux, the definition 'generalized' has Windows",
        ),
        (vec![("SourceId", compute("virtualMachines/vm-old"))], "Hyper-V generation: the virtual machine 'vm-old' has V1"),
        (vec![("SourceId", compute("virtualMachines/vm-trusted"))], "security type: the virtual machine 'vm-trusted' has TrustedLaunch"),
        (vec![("SourceId", compute("disks/data"))], "the disk 'data' cannot be used: it holds no operating system"),
        (vec![("DataDisks", format!("0={}", compute("disks/huge")))], "data disk at LUN 0: the disk 'huge': it has 2048 GB"),
        (
            vec![("DataDisks", format!("7={}", compute("disks/data")))],
            "LUN 7: the managed image 'image' brings a data disk of this LUN along",
        ),
        (vec![("DataDisks", format!("0={}", compute("disks/none")))], "input 'DataDisks': there is no disk 'none'"),
        (vec![("DataDisks", format!("0={}", compute("disks/away")))], "data disk at LUN 0: it lies in eastus"),
        (vec![("TargetRegions", "atlantis".to_owned())], "input 'TargetRegions' is 'atlantis': galleries have no region of this name"),
        (vec![("TargetRegions", "eastus=60 westus=60".to_owned())], "input 'TargetRegions' is '121 replicas': a version has at most 100"),
        (vec![("WaitFor", "3".to_owned())], "input 'WaitFor' is '3': the version goes to fewer regions: westeurope"),
        (vec![("WaitFor", "eastus".to_owned())], "input 'WaitFor' is 'eastus': the version does not go to this region"),
    ] {
        let step = publish(&harness, "generalized", &image);
        let failed = inputs.iter().fold(step, |step, (input, value)| step.input(input, value)).run().await;
        assert_eq!(failed.outcome, Outcome::Failed, "{inputs:?}");
        assert!(failed.errors().iter().any(|error| error.starts_with(expected)), "{inputs:?}: {expected}\n{failed}");
    }
    assert!(writes(&harness).await.is_empty(), "nothing was written");
    harness.finish().await;
}

#[tokio::test]
async fn settings_of_regions_and_keys_are_checked_before_anything_is_sent() {
    let harness = start().await;
    let set = compute("diskEncryptionSets/x");
    for (input, value, expected) in [
        ("DiskEncryptionSets", compute("disks/x"), "this is the id of a 'Microsoft.Compute/disks', not of a disk encryption set"),
        ("DiskEncryptionSets", format!("eastus={set},0"), "LUN 0 has no disk encryption set behind it"),
        ("DiskEncryptionSets", format!("eastus={set}\neastus={set}"), "this region is given twice"),
        ("ConfidentialVMEncryption", "Encrypted".to_owned(), "give one of EncryptedVMGuestStateOnlyWithPmk,"),
        ("ConfidentialVMEncryption", "eastus=EncryptedWithCmk".to_owned(), "EncryptedWithCmk needs a disk encryption set"),
        ("TargetEdgeZones", "westus".to_owned(), "write region=zone, region=zone=replicas or region=zone=replicas=storage"),
        ("TargetEdgeZones", "westus=zone=0".to_owned(), "the number of replicas is a whole number from 1 to 100"),
        ("ExcludedRegions", "east/us".to_owned(), "this is no region's name"),
        ("AdditionalReplicaSets", "eastus=1=tape".to_owned(), "give one of PremiumV2_LRS,"),
        ("UefiSignatureTemplates", "Mine".to_owned(), "give one of NoSignatureTemplate,"),
        ("UefiSignatureTemplates", "NoSignatureTemplate".to_owned(), "without a template UefiKeys must hold keys for pk, kek and db"),
        ("UefiKeys", "db=keys/none.cer".to_owned(), "no such file"),
    ] {
        let failed = publish(&harness, "generalized", &compute("images/image")).input(input, &value).run().await;
        assert_eq!(failed.outcome, Outcome::Failed, "{input} {value}");
        let start = format!("input '{input}' is '");
        assert!(failed.errors().iter().any(|error| error.starts_with(&start) && error.contains(expected)), "{input} {value}\n{failed}");
    }
    let both =
        publish(&harness, "generalized", &compute("images/image")).input("TargetRegions", "eastus=0").input("UefiKeys", "db=none.cer");
    assert_eq!(both.run().await.errors().len(), 2);
    assert!(harness.journal().await.is_empty());
    let failed = publish(&harness, "generalized", &compute("images/image")).input("ExcludedRegions", "eastus").run().await;
    assert!(failed.errors()[0].contains("'eastus': the version does not go to this region; its regions are westeurope"), "{failed}");
    let failed = publish(&harness, "generalized", &compute("images/image")).input("AdditionalReplicaSets", "eastus=2").run().await;
    assert!(
        failed.errors()[0].starts_with("input 'AdditionalReplicaSets' is 'eastus': the version does not go to this region"),
        "{failed}"
    );
    assert!(writes(&harness).await.is_empty());
    harness.finish().await;
}

#[tokio::test]
async fn a_region_that_is_full_is_told_before_anything_is_made() {
    let galleries: Vec<Value> =
        (0..99).map(|index| resource(&compute(&format!("galleries/full{index}")), json!({"provisioningState": "Succeeded"}))).collect();
    let harness = start_with(&galleries).await;
    let full = define(&harness, "new").input("GalleryName", "more").input("CreateGallery", "true").run().await;
    assert!(full.errors()[0].contains("'westeurope' has 100 galleries of this subscription already"), "{full}");
    assert!(writes(&harness).await.is_empty());
    let elsewhere =
        define(&harness, "new").input("GalleryName", "more").input("CreateGallery", "true").input("Location", "eastus").run().await;
    succeeded(elsewhere);
    harness.finish().await;

    // What lies in several galleries counts together.
    let definitions = |gallery: usize| {
        (0..500).map(move |index| {
            let id = compute(&format!("galleries/full{gallery}/images/d{index}"));
            let identifier = json!({"publisher": "p", "offer": "o", "sku": index.to_string()});
            resource(&id, json!({"osType": "Linux", "osState": "Generalized", "identifier": identifier, "provisioningState": "Succeeded"}))
        })
    };
    let more: Vec<Value> = galleries.into_iter().take(2).chain(definitions(0)).chain(definitions(1)).collect();
    let harness = start_with(&more).await;
    let full = define(&harness, "new").run().await;
    assert!(full.errors()[0].contains("'westeurope' has 1002 image definitions of this subscription already"), "{full}");
    assert!(writes(&harness).await.is_empty());
    harness.finish().await;

    let version = |index: usize| seeded_version("specialized", &format!("1.0.{index}"), "Succeeded", json!({}));
    let harness = start_with(&(0..10_000).map(version).collect::<Vec<_>>()).await;
    let full = publish(&harness, "generalized", &compute("images/image")).run().await;
    assert!(full.errors()[0].contains("'westeurope' has 10000 image versions of this subscription already"), "{full}");
    assert!(writes(&harness).await.is_empty());
    harness.finish().await;
}
