//! What `check` finds, and where; and that it finds nothing where nothing is wrong.

use std::{path::Path, sync::Arc};

use dtl::template::{self, Capture, CheckOptions, Checked, Context, Document, Offline, OsType, Template};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::{context, corpus, files};

fn check(template: &str, parameters: Option<&str>) -> Checked {
    let template = Document::parse(template.as_bytes()).unwrap();
    let file = parameters.map(|text| Document::parse(text.as_bytes()).unwrap());
    let values = file.as_ref().map(|file| template::parameter_values(file).unwrap());
    let options = CheckOptions {
        parameters: values.as_ref(),
        parameters_file: file.as_ref().map(|file| ("parameters.json", file)),
        ..CheckOptions::default()
    };
    template::check(&template, &context(), &options)
}

/// `line:column path: message`, after the file where that is another one.
fn short(findings: &[template::Finding]) -> Vec<String> {
    let one = |finding: &template::Finding| {
        let at = finding.position.map(|position| format!("{}:{}", position.line, position.column)).unwrap_or_default();
        let file = finding.file.as_deref().map(|file| format!("{file} ")).unwrap_or_default();
        format!("{file}{at} {}: {}", finding.path, finding.message)
    };
    findings.iter().map(one).collect()
}

const PLANTED: &str = r#"{
  "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
  "contentVersion": "1.0.0.0",
  "parameters": {
    "newVMName": { "type": "string" },
    "labName": { "type": "string" },
    "size": { "type": "string", "allowedValues": ["Standard_D2s_v5"], "defaultValue": "Standard_D4s_v5" },
    "count": { "type": "int" },
    "ghost": { "type": "strng" },
    "spare": { "type": "string", "defaultValue": "" }
  },
  "variables": {
    "vmName": "[concat(parameters('labName'), '/', parameters('newVMNam'))]",
    "half": "[toLower('a', 'b')]",
    "bad": "[concat('a', ]"
  },
  "resources": [
    {
      "type": "Microsoft.DevTestLab/labs/virtualmachines",
      "apiVersion": "2018",
      "name": "[concat(parameters('labName'), '/', parameters('newVMName'))]",
      "dependsOn": [ "nowhere" ],
      "properties": {
        "size": "Standard_A2",
        "notes": "[concat(variables('vmNam'), parameters('ghost'), variables('half'), variables('bad'))]",
        "labSubnetName": "[lenght('x')]",
        "count": "[parameters('count')]",
        "size2": "[parameters('size')]",
        "galleryImageReference": { "osType": "Windows", "publisher": "p", "offer": "o", "sku": "s" }
      }
    }
  ],
  "outputs": {
    "id": { "type": "int", "value": "[variables('vmName')]" },
    "wrong": { "type": "int", "value": "text" }
  }
}"#;

#[test]
fn planted_faults_are_found_each_in_its_place() {
    let parameters = r#"{
  "parameters": {
    "newVMName": { "value": "a-name-that-is-too-long" },
    "labName": { "value": "lab" },
    "count": { "value": "three" },
    "cuont": { "value": 3 }
  }
}"#;
    let checked = check(PLANTED, Some(parameters));
    insta::assert_snapshot!(
        "planted",
        format!("errors\n{}\nwarnings\n{}", short(&checked.errors).join("\n"), short(&checked.warnings).join("\n"))
    );
}

#[test]
fn without_parameters_nothing_is_missing() {
    let template = r#"{
  "$schema": "http://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json", "contentVersion": "1.0.0.0",
  "parameters": { "existingLabName": { "type": "string" }, "newVMName": { "type": "string" }, "items": { "type": "array" } },
  "resources": [
    { "type": "Microsoft.DevTestLab/labs/virtualmachines", "apiVersion": "2018-10-15-preview",
      "name": "[concat(parameters('existingLabName'), '/', parameters('newVMName'))]", "properties": { "x": "[parameters('items')[0].y]" } },
    { "type": "A.B/c", "apiVersion": "2020-01-01", "name": "x", "dependsOn": [ "[parameters('newVMName')]" ] }
  ]
}"#;
    let checked = check(template, None);
    assert_eq!((short(&checked.errors), short(&checked.warnings)), (Vec::new(), Vec::new()));
}

#[test]
fn a_resource_whose_name_is_not_known_is_checked_all_the_same() {
    let template = r#"{
  "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
  "parameters": { "labName": { "type": "string" }, "newVMName": { "type": "string" }, "many": { "type": "int" } },
  "resources": [
    { "type": "Microsoft.DevTestLab/labs/virtualmachines", "apiVersion": "2018-9-15",
      "name": "[concat(parameters('labName'), '/', parameters('newVMName'))]",
      "location": "[resourceGroup().locaton]",
      "dependsOn": [ "[resourceId('A.B/c', 'unseen')]", "[resourceId('A.B/d', 'nowhere')]" ],
      "properties": { "size": "Standard_A2" } },
    { "type": "A.B/c", "apiVersion": "2020-01-01", "name": "[concat('c', copyIndex())]", "copy": { "name": "cs", "count": "[parameters('many')]" } }
  ]
}"#;
    let checked = check(template, None);
    assert_eq!(
        (short(&checked.errors), short(&checked.warnings)),
        (
            vec![
                "5:60 resources[0].apiVersion: the api-version '2018-9-15' is no date such as 2018-09-15, with or without -preview".into(),
                "7:36 resources[0].location: the property 'locaton' doesn't exist, available properties are 'id, name, type, location, tags, properties'".into(),
                "8:57 resources[0].dependsOn[1]: the resource '/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/group/providers/A.B/d/nowhere' of 'dependsOn' is not defined in the template".into(),
            ],
            vec!["9:23 resources[0].properties.size: the size 'Standard_A2' was retired by Azure on 2024-08-31, choose a current one such as Standard_D2s_v5".to_owned()],
        )
    );
}

#[test]
fn the_corpus_has_no_false_errors() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    for file in files(&corpus, ".json") {
        let document = Document::parse(&std::fs::read(&file).unwrap()).unwrap();
        if !document.value()["$schema"].as_str().is_some_and(|schema| schema.contains("deploymentTemplate")) {
            continue;
        }
        let options = CheckOptions::default();
        let checked = template::check(&document, &context(), &options);
        assert!(checked.errors.is_empty(), "{}: {:#?}", file.display(), short(&checked.errors));
        seen += 1;
    }
    assert!(seen > 15, "{seen} templates");
}

#[test]
fn the_examples_have_no_errors() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples"));
    let mut seen = 0;
    for file in files(folder, ".json") {
        let Ok(document) = Document::parse(&std::fs::read(&file).unwrap()) else { panic!("{} is no JSON", file.display()) };
        if document.value()["$schema"].as_str().is_some_and(|schema| schema.to_lowercase().contains("deploymenttemplate.json")) {
            let checked = template::check(&document, &context(), &CheckOptions::default());
            assert!(checked.errors.is_empty(), "{}: {:#?}", file.display(), short(&checked.errors));
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen} templates");
}

#[test]
fn the_linked_example_has_no_findings() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/linked-template"));
    let main = Document::parse(&std::fs::read(folder.join("azuredeploy.json")).unwrap()).unwrap();
    let document = template::inline(main, "azuredeploy.json", &mut |path| Ok(std::fs::read(folder.join(path)).ok())).unwrap();
    let checked = template::check(&document, &context(), &CheckOptions::default());
    assert_eq!((short(&checked.errors), short(&checked.warnings)), (Vec::new(), Vec::new()));
}

#[test]
fn faults_of_linked_files_name_their_file() {
    let main = r#"{ "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
  "resources": [ { "type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": "n",
    "properties": { "mode": "Incremental", "templateLink": { "relativePath": "inner.json" }, "parameters": { "p": { "value": 5 } } } } ] }"#;
    let inner = "{\n  \"parameters\": { \"p\": { \"type\": \"string\" } },\n  \"resources\": [],\n  \"outputs\": {\n    \"o\": { \"type\": \"string\", \"value\": \"[variables('gone')]\" }\n  }\n}";
    let document = Document::parse(main.as_bytes()).unwrap();
    let document = template::inline(document, "main.json", &mut |_| Ok(Some(inner.as_bytes().to_vec()))).unwrap();
    let checked = template::check(&document, &context(), &CheckOptions::default());
    let errors = short(&checked.errors);
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[0].contains("'p' is not valid: expected the type 'string', found the number 5"), "{errors:#?}");
    assert!(errors[1].starts_with("inner.json 5:41 ") && errors[1].ends_with("the template variable 'gone' is not found"), "{errors:#?}");
}

/// A template of one lab VM.
fn machine(name: &str, properties: Value) -> String {
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "parameters": {"labName": {"type": "string", "defaultValue": "lab"}, "newVMName": {"type": "string", "defaultValue": name}},
        "resources": [{"type": "Microsoft.DevTestLab/labs/virtualmachines", "apiVersion": "2018-09-15",
            "name": "[concat(parameters('labName'), '/', parameters('newVMName'))]", "properties": properties}],
    })
    .to_string()
}

#[test]
fn names_of_vms_follow_their_operating_system() {
    for (name, os, problem) in [
        ("vm1", Some(OsType::Windows), None),
        ("a23456789012345", Some(OsType::Windows), None),
        ("a234567890123456", Some(OsType::Windows), Some("16 characters, at most 15")),
        ("a234567890123456", Some(OsType::Linux), None),
        ("a234567890123456", None, None),
        ("123", None, Some("all digits")),
        ("-abc", None, Some("start or end with '-'")),
        ("abc-", Some(OsType::Linux), Some("start or end with '-'")),
        ("a_b", None, Some("holds '_'")),
        ("", None, Some("empty")),
    ] {
        let found = template::vm_name_problem(name, os);
        match problem {
            None => assert_eq!(found, None, "{name}"),
            Some(word) => assert!(found.as_ref().is_some_and(|found| found.contains(word)), "{name}: {found:?}"),
        }
    }
    let image = |os: &str| json!({"galleryImageReference": {"OsType": os, "Publisher": "p", "Offer": "o", "Sku": "s"}});
    let checked = check(&machine("a234567890123456", image("Windows")), None);
    assert!(checked.errors.iter().any(|finding| finding.path == "resources[0].name"), "{:?}", checked.errors);
    assert!(check(&machine("a234567890123456", image("Linux")), None).errors.is_empty());
}

#[test]
fn retired_sizes_are_warned_of() {
    // A day after the last series that is gone, and before the next.
    let context = Context { now: OffsetDateTime::from_unix_timestamp(1_790_899_200).unwrap(), ..context() };
    for (size, warned) in [
        ("Standard_NV6", true),
        ("Standard_NV12s_v3", true),
        ("Standard_NV8as_v4", true),
        ("Standard_NV6ads_A10_v5", false),
        ("Standard_NC24ads_A100_v4", false),
        ("Standard_ND6s", true),
        ("Standard_L8s_v3", false),
        ("Standard_A2", true),
        ("Basic_A1", true),
        ("standard_nc6s_v3", true),
        ("Standard_A2_v2", false),
        ("Standard_D2s_v5", false),
        ("Standard_NC4as_T4_v3", false),
        ("Standard_DS1_v2", false),
        ("Standard_B2ms", false),
    ] {
        let document = Document::parse(machine("vm", json!({"size": size})).as_bytes()).unwrap();
        let checked = template::check(&document, &context, &CheckOptions::default());
        assert_eq!(checked.warnings.iter().any(|finding| finding.message.contains("retired")), warned, "{size}: {:?}", checked.warnings);
        assert!(checked.errors.is_empty());
    }
}

#[test]
fn artifacts_are_held_against_their_definitions() {
    let definition = json!({"parameters": {
        "packages": {"type": "string"}, "update": {"type": "string", "defaultValue": "true", "allowedValues": ["true", "false"]}, "options": {"type": "string", "allowEmpty": true},
    }});
    let find = |name: &str| (name == "linux-apt-package").then(|| definition.clone());
    let artifact = |parameters: Value| json!({"artifacts": [{"artifactId": "[concat('/x/artifactSources/public repo/artifacts/', 'linux-apt-package')]", "parameters": parameters}]});
    for (parameters, expected) in [
        (json!([{"name": "packages", "value": "git"}]), None),
        (json!([]), Some("needs the parameter 'packages'")),
        (json!([{"name": "packages", "value": ""}]), Some("must not be empty")),
        (json!([{"name": "packages", "value": "git"}, {"name": "update", "value": "maybe"}]), Some("'maybe' is no value")),
        (json!([{"name": "packages", "value": "git"}, {"name": "optoins", "value": ""}]), Some("did you mean 'options'?")),
        (json!([{"name": "packages", "value": "[reference('/x', '2020-01-01').y]"}]), None),
    ] {
        let document = Document::parse(machine("vm", artifact(parameters)).as_bytes()).unwrap();
        let checked = template::check(&document, &context(), &CheckOptions { artifact: Some(&find), ..CheckOptions::default() });
        match expected {
            None => assert!(checked.errors.is_empty(), "{:?}", checked.errors),
            Some(word) => assert!(checked.errors[0].message.contains(word), "{:?}", checked.errors),
        }
    }
}

#[test]
fn trusted_launch_cannot_be_captured_as_an_image() {
    let text = machine("vm", json!({"securityProfile": {"securityType": "TrustedLaunch"}}));
    let document = Document::parse(text.as_bytes()).unwrap();
    let with = |capture| template::check(&document, &context(), &CheckOptions { capture, ..CheckOptions::default() }).errors;
    assert!(with(Some(Capture::ManagedImage))[0].message.contains("Trusted Launch"));
    assert!(with(Some(Capture::GalleryVersion)).is_empty() && with(None).is_empty());
}

#[test]
fn a_lab_vm_without_the_usual_parameters_is_warned_of() {
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "resources": [{"type": "Microsoft.DevTestLab/labs/virtualmachines", "apiVersion": "2018-09-15", "name": "lab/vm", "properties": {}}],
    });
    let warnings = short(&check(&template.to_string(), None).warnings);
    assert!(warnings[0].contains("no parameter 'labName'") && warnings[1].contains("no parameter 'newVMName'"), "{warnings:?}");
}

#[test]
fn the_tasks_learn_the_vms_that_a_template_makes() {
    let image = json!({"galleryImageReference": {"publisher": "Canonical", "offer": "o", "sku": "s", "osType": "Linux"}, "size": "[parameters('later')]"});
    let mut value: Value = serde_json::from_str(&machine("vm9", image)).unwrap();
    value["parameters"]["later"] = json!({"type": "string"});
    let template = std::sync::Arc::new(template::Template::parse(Document::from_value(value)).unwrap());
    let machines = template::lab_virtual_machines(&template, &Map::new(), &context());
    assert_eq!(machines.len(), 1);
    assert_eq!((machines[0].lab.as_deref(), machines[0].name.as_deref()), (Some("lab"), Some("vm9")));
    assert_eq!((machines[0].os_type, machines[0].size.as_deref()), (Some(OsType::Linux), None));
    assert!(matches!(&machines[0].image, Some(template::Image::Marketplace { publisher, .. }) if publisher == "Canonical"));
}

#[test]
fn what_a_link_used_is_used_and_the_templates_place_need_not_be_given() {
    let main = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "parameters": {"_artifactsLocation": {"type": "string"}, "_artifactsLocationSasToken": {"type": "securestring"}, "folder": {"type": "string", "defaultValue": "nested"}},
        "variables": {"inner": "[uri(parameters('_artifactsLocation'), concat(parameters('folder'), '/inner.json', parameters('_artifactsLocationSasToken')))]", "spare": 1},
        "resources": [{"type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": "inner", "properties": {"mode": "Incremental", "templateLink": {"uri": "[variables('inner')]"}}}],
    });
    let inner = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "variables": {"leaf": "leaf.json"},
        "resources": [{"type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": "leaf", "properties": {"mode": "Incremental", "templateLink": {"relativePath": "[variables('leaf')]"}}}],
    });
    let leaf = r#"{"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0", "resources": []}"#;
    let document = Document::parse(main.to_string().as_bytes()).unwrap();
    let load = |path: &str| match path {
        "nested/inner.json" => Some(inner.to_string().into_bytes()),
        "nested/leaf.json" => Some(leaf.as_bytes().to_vec()),
        other => panic!("{other}"),
    };
    let document = template::inline(document, "main.json", &mut |path| Ok(load(path))).unwrap();
    let given = Map::new();
    let checked = template::check(&document, &context(), &CheckOptions { parameters: Some(&given), ..CheckOptions::default() });
    assert_eq!(short(&checked.errors), Vec::<String>::new());
    let warnings = short(&checked.warnings);
    assert!(warnings.len() == 1 && warnings[0].ends_with("the variable 'spare' is never used"), "{warnings:?}");
    // A link that stays where it is leaves the place to be given.
    let document = Document::parse(main.to_string().as_bytes()).unwrap();
    let document = template::inline(document, "main.json", &mut |_| Ok(None)).unwrap();
    let checked = template::check(&document, &context(), &CheckOptions { parameters: Some(&given), ..CheckOptions::default() });
    assert!(short(&checked.errors).iter().any(|error| error.contains("'_artifactsLocation' is not provided")), "{checked:?}");
}

#[test]
fn nested_deployments_say_how_they_go() {
    let nested = |name: &str, mode: Value| {
        let mut properties = json!({"template": {"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0", "resources": []}});
        if !mode.is_null() {
            properties["mode"] = mode;
        }
        json!({"type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": name, "properties": properties})
    };
    let spec =
        "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/g/providers/Microsoft.Resources/templateSpecs/s/versions/1";
    let by_spec = json!({"type": "Microsoft.Resources/deployments", "apiVersion": "2021-04-01", "name": "spec", "properties": {"mode": "Incremental", "templateLink": {"id": spec}}});
    let resources = json!([
        nested("right", json!("incremental")),
        nested("none", Value::Null),
        nested("complete", json!("Complete")),
        nested("wrong", json!("Sideways")),
        by_spec
    ]);
    let main = json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0", "resources": resources});
    let checked = check(&main.to_string(), None);
    let paths = |findings: &[template::Finding]| findings.iter().map(|finding| finding.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(&checked.errors), ["resources[3].properties.mode"]);
    assert!(checked.errors[0].message.contains("'Incremental' or 'Complete', found \"Sideways\""), "{checked:?}");
    assert_eq!(paths(&checked.warnings), ["resources[1].properties", "resources[2].properties.mode"]);
    // What a template spec holds is not known here, and listed.
    let template = Template::parse(Document::parse(json!({"resources": [main["resources"][4]]}).to_string().as_bytes()).unwrap()).unwrap();
    let evaluation = template::evaluate(&Arc::new(template), &Map::new(), &context(), &Offline).unwrap();
    assert_eq!(evaluation.unresolved[0].expression, spec);
}

#[test]
fn symbolic_names_are_checked_where_they_are_used() {
    let store = |more: Value| {
        let mut resource =
            json!({"type": "Microsoft.Storage/storageAccounts", "apiVersion": "2021-04-01", "name": "abc", "location": "westeurope"});
        resource.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        resource
    };
    let template = |site: Value, outputs: Value| {
        json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "languageVersion": "2.0", "contentVersion": "1.0.0.0",
            "resources": {
                "store": store(json!({})),
                "vault": {"existing": true, "type": "Microsoft.KeyVault/vaults", "apiVersion": "2022-07-01", "name": "kv"},
                "many": store(json!({"copy": {"name": "loop", "count": 2}, "name": "[concat('s', copyIndex())]", "dependsOn": ["store"]})),
                "site": site,
            }, "outputs": outputs})
        .to_string()
    };
    let site = |properties: Value, needed: Value| json!({"type": "Microsoft.Web/sites", "apiVersion": "2022-03-01", "name": "site", "properties": properties, "dependsOn": needed});
    let right = template(
        site(
            json!({"a": "[reference('store').primaryEndpoints.blob]", "b": "[reference('vault').vaultUri]", "c": "[resourceInfo('many[1]').id]"}),
            json!(["store", "many", "loop", "[format('many[{0}]', 0)]", "vault"]),
        ),
        json!({"all": {"type": "array", "value": "[map(references('many'), lambda('one', lambdaVariables('one').primaryEndpoints))]"}}),
    );
    let checked = check(&right, None);
    assert_eq!((short(&checked.errors), short(&checked.warnings)), (Vec::new(), Vec::new()));
    let wrong = template(
        site(json!({"a": "[reference('stor').x]", "b": "[resourceInfo('many[2]').id]"}), json!(["stre", "store"])),
        json!({"all": {"type": "array", "value": "[references('mani')]"}}),
    );
    let errors = short(&check(&wrong, None).errors);
    assert!(errors.iter().any(|error| error.contains("site.properties.b") && error.contains("'many[2]'")), "{errors:#?}");
    assert!(errors.iter().any(|error| error.contains("outputs.all.value") && error.contains("'mani'")), "{errors:#?}");
    for (path, hint) in [("site.properties.a", "'store'"), ("dependsOn[0]", "'store'")] {
        assert!(errors.iter().any(|error| error.contains(path) && error.contains(&format!("did you mean {hint}"))), "{path}: {errors:#?}");
    }
}
