//! Image definitions.

use super::*;

#[tokio::test]
async fn a_definition_and_its_gallery_are_made_with_everything_that_can_be_set() {
    let harness = Harness::start().await;
    let made = define(&harness, "windows")
        .input("CreateGallery", "true")
        .input("GalleryDescription", "golden images")
        .input("Features", "IsAcceleratedNetworkSupported=true DiskControllerTypes=SCSI,NVMe")
        .input("SecurityType", "TrustedLaunch")
        .input("MinimumVCPUs", "2")
        .input("MaximumVCPUs", "16")
        .input("MinimumMemory", "4")
        .input("DisallowedDiskTypes", "Standard_LRS")
        .input("EndOfLifeDate", "2028-06-30")
        .input("Description", "Windows Server")
        .input("Eula", "https://contoso.example/eula")
        .input("PrivacyStatementUri", "https://contoso.example/privacy")
        .input("ReleaseNoteUri", "https://contoso.example/notes")
        .input("PlanName", "plan")
        .input("PlanProduct", "product")
        .input("PlanPublisher", "seller")
        .input("Tags", "team=build")
        .run()
        .await;
    let made = succeeded(made);
    let definition = harness.resource(&made.output("imageDefinitionId")).await.expect("the definition");
    assert_eq!(made.output("imageDefinitionId"), compute("galleries/golden/images/windows"));
    let properties = &definition["properties"];
    assert_eq!(
        (&properties["osType"], &properties["osState"], &properties["hyperVGeneration"], &properties["architecture"]),
        (&json!("Windows"), &json!("Generalized"), &json!("V2"), &json!("x64"))
    );
    assert_eq!(properties["recommended"], json!({"vCPUs": {"min": 2, "max": 16}, "memory": {"min": 4}}));
    assert_eq!(properties["disallowed"], json!({"diskTypes": ["Standard_LRS"]}));
    assert_eq!(properties["purchasePlan"], json!({"name": "plan", "product": "product", "publisher": "seller"}));
    assert_eq!(properties["features"].as_array().map(Vec::len), Some(3));
    assert_eq!(properties["eula"], "https://contoso.example/eula");
    assert_eq!((&definition["tags"], &definition["location"]), (&json!({"team": "build"}), &json!("westeurope")));
    let gallery = harness.resource(&compute("galleries/golden")).await.expect("the gallery");
    assert_eq!(gallery["properties"]["description"], "golden images");
    assert!(made.summary().contains("Image definition"), "{}", made.summary());
    harness.finish().await;
}

#[tokio::test]
async fn what_exists_with_the_same_values_is_left_alone() {
    let harness = start().await;
    succeeded(define(&harness, "again").input("Description", "one").run().await);
    let before = writes(&harness).await.len();
    let again = succeeded(define(&harness, "again").input("Description", "one").run().await);
    assert!(again.log().contains("already there, and all is as wanted"), "{again}");
    assert_eq!(writes(&harness).await.len(), before, "nothing was written");
    harness.finish().await;
}

#[tokio::test]
async fn a_mutable_value_is_updated_and_the_rest_stays() {
    let harness = start().await;
    succeeded(define(&harness, "changing").input("Description", "one").input("Tags", "a=1").input("Eula", "e").run().await);
    let changed = define(&harness, "changing").input("ReleaseNoteUri", "https://notes.example").input("Tags", "b=2").run().await;
    assert!(succeeded(changed).log().contains("updated: releaseNoteUri, tags"));
    let definition = harness.resource(&compute("galleries/golden/images/changing")).await.expect("the definition");
    let properties = &definition["properties"];
    assert_eq!((&properties["description"], &properties["eula"]), (&json!("one"), &json!("e")));
    assert_eq!(definition["tags"], json!({"a": "1", "b": "2"}));
    harness.finish().await;
}

#[tokio::test]
async fn a_differing_immutable_value_is_an_error_that_shows_both_and_writes_nothing() {
    let harness = start().await;
    let before = writes(&harness).await;
    let refused = define(&harness, "generalized").input("HyperVGeneration", "V1").input("Sku", "other").run().await;
    assert_eq!(refused.outcome, Outcome::Failed);
    let errors = refused.errors().join("\n");
    assert!(errors.contains("hyperVGeneration: it is 'V2', and 'V1' was asked for"), "{refused}");
    assert!(errors.contains("identifier.sku: it is 'generalized', and 'other' was asked for"), "{refused}");
    assert_eq!(writes(&harness).await, before);
    harness.finish().await;
}

#[tokio::test]
async fn features_of_a_definition_that_is_there_stay_and_are_changed_on_request_only() {
    let harness = start().await;
    succeeded(define(&harness, "featured").input("SecurityType", "TrustedLaunchSupported").input("Location", "eastus").run().await);
    let before = writes(&harness).await;
    // As with a definition that the portal or `az` has made: nothing is said of features or of where it is.
    succeeded(define(&harness, "featured").run().await);
    let other = || define(&harness, "featured").input("Features", "IsHibernateSupported=true");
    let refused = other().run().await;
    let expected = "features: it is SecurityType=TrustedLaunchSupported, and IsHibernateSupported=true was asked for";
    assert!(refused.errors().join("\n").contains(expected), "{refused}");
    assert_eq!(writes(&harness).await, before);
    let changed = other().input("UpdateFeatures", "true").run().await;
    assert!(succeeded(changed).log().contains("updated: features"));
    let definition = harness.resource(&compute("galleries/golden/images/featured")).await.expect("the definition");
    assert_eq!(definition["properties"]["features"], json!([{"name": "IsHibernateSupported", "value": "true"}]));
    assert_eq!(definition["location"], "eastus");
    harness.finish().await;
}

#[tokio::test]
async fn the_identifier_belongs_to_one_definition() {
    let harness = start().await;
    let refused = define(&harness, "second").input("Sku", "generalized").run().await;
    assert_eq!(refused.outcome, Outcome::Failed);
    assert!(refused.errors()[0].contains("belong to the image definition 'generalized' of this gallery already"), "{refused}");
    assert!(writes(&harness).await.is_empty());
    harness.finish().await;
}

#[tokio::test]
async fn a_missing_gallery_is_an_error_unless_it_is_to_be_made() {
    let harness = start().await;
    let refused = define(&harness, "x").input("GalleryName", "none").run().await;
    assert_eq!(refused.errors(), [format!("there is no gallery 'none' in the resource group '{RESOURCE_GROUP}'")]);
    assert!(refused.log().contains("set CreateGallery to true"), "{refused}");
    harness.finish().await;
}

#[tokio::test]
async fn the_plan_is_copied_from_what_has_one() {
    let mut planned = machine("vm-with-plan", "deallocated", true);
    planned["plan"] = json!({"name": "n", "product": "p", "publisher": "q"});
    let harness = start_with(&[planned]).await;
    succeeded(define(&harness, "planned").input("PlanSourceId", compute("virtualMachines/vm-with-plan")).run().await);
    let definition = harness.resource(&compute("galleries/golden/images/planned")).await.expect("the definition");
    assert_eq!(definition["properties"]["purchasePlan"], json!({"name": "n", "product": "p", "publisher": "q"}));
    // A version of a definition without that plan is refused before anything is written.
    let refused = publish(&harness, "generalized", &compute("virtualMachines/vm-with-plan")).run().await;
    assert!(refused.errors().join("\n").contains("purchase plan: the virtual machine 'vm-with-plan' has q/p/n"), "{refused}");
    succeeded(publish(&harness, "planned", &compute("virtualMachines/vm-with-plan")).run().await);
    harness.finish().await;
}

#[tokio::test]
async fn the_gallery_may_be_given_by_its_id() {
    let harness = start().await;
    let made = define(&harness, "by-id").without_input("ResourceGroupName").input("GalleryName", compute("galleries/golden")).run().await;
    assert_eq!(succeeded(made).output("galleryId"), compute("galleries/golden"));
    harness.finish().await;
}
