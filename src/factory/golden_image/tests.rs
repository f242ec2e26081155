//! What a template becomes before it is deployed.

use super::*;
use crate::factory::configuration::settings::OsState;

fn image(template: Value) -> GoldenImage {
    GoldenImage {
        path: ImagePath::parse("Win2016/Datacenter.json").unwrap(),
        file: "GoldenImages/Win2016/Datacenter.json".into(),
        os_type: Some(OsType::Windows),
        fingerprint: String::new(),
        template: Arc::new(template),
        settings: ImageSettings {
            vm_size: None,
            os_type: None,
            os_state: OsState::Generalized,
            timeout: None,
            generalize_from: Some("public repo".into()),
            distribution: crate::factory::configuration::gallery::DistributionKind::CustomImage,
        },
        problem: None,
    }
}

fn template(vm: &Value) -> Value {
    let mut resource = json!({"type": "Microsoft.DevTestLab/labs/virtualMachines", "properties": {}});
    resource.as_object_mut().unwrap().extend(vm.as_object().unwrap().clone());
    json!({"resources": [{"type": "Microsoft.Network/other"}, resource]})
}

fn dressed_vm(vm: &Value) -> Value {
    dressed(&image(template(vm)), &[("ImagePath", "Win2016/Datacenter.json"), ("FactoryRunId", "[it's]")])["resources"][1].take()
}

const SYSPREP: &str =
    "[resourceId('Microsoft.DevTestLab/labs/artifactsources/artifacts', parameters('labName'), 'public repo', 'windows-sysprep')]";

#[test]
fn a_virtual_machine_bears_its_tags_and_sysprep_comes_last() {
    let vm = dressed_vm(&json!({}));
    // A text that begins with a bracket is no expression.
    assert_eq!(vm["tags"], json!({"ImagePath": "Win2016/Datacenter.json", "FactoryRunId": "[[it's]"}));
    assert_eq!(vm["properties"]["artifacts"], json!([{"artifactId": SYSPREP}]));
}

#[test]
fn what_the_template_has_already_stays() {
    let chrome = json!({"artifactId": "[resourceId('…', 'windows-chrome')]"});
    let vm = dressed_vm(&json!({"tags": {"owner": "me"}, "properties": {"Artifacts": [chrome]}}));
    assert_eq!(vm["tags"]["owner"], "me");
    assert_eq!(vm["properties"]["Artifacts"], json!([chrome, {"artifactId": SYSPREP}]));
}

#[test]
fn sysprep_is_not_appended_twice() {
    let artifacts = json!([{"artifactId": "[resourceId('…', 'Windows-Sysprep')]"}]);
    assert_eq!(dressed_vm(&json!({"properties": {"artifacts": artifacts}}))["properties"]["artifacts"], artifacts);
}

#[test]
fn expressions_are_extended_by_expressions() {
    let vm = dressed_vm(&json!({"tags": "[parameters('tags')]", "properties": {"artifacts": "[variables('artifacts')]"}}));
    let tags = "[union(parameters('tags'), createObject('ImagePath', 'Win2016/Datacenter.json', 'FactoryRunId', '[it''s]'))]";
    assert_eq!(vm["tags"], tags);
    let inner = &SYSPREP[1..SYSPREP.len() - 1];
    assert_eq!(
        vm["properties"]["artifacts"],
        format!("[concat(variables('artifacts'), createArray(createObject('artifactId', {inner})))]")
    );
}

#[test]
fn a_virtual_machine_nested_in_its_lab_is_found() {
    let template =
        json!({"resources": [{"type": "Microsoft.DevTestLab/labs", "resources": [{"type": "virtualmachines", "properties": {}}]}]});
    let dressed = dressed(&image(template), &[("ImagePath", "a")]);
    assert_eq!(dressed["resources"][0]["resources"][0]["tags"]["ImagePath"], "a");
}

#[test]
fn the_operating_system_is_read_through_variables_and_default_values() {
    for (text, expected) in [
        ("linux", Some(OsType::Linux)),
        ("[variables('os')]", Some(OsType::Windows)),
        ("[ parameters( 'os' ) ]", Some(OsType::Linux)),
        ("[concat('Win', 'dows')]", None),
    ] {
        let vm = json!({"properties": {"galleryImageReference": {"osType": text}}});
        let template = json!({"variables": {"os": "Windows"}, "parameters": {"os": {"defaultValue": "Linux"}}});
        assert_eq!(os_type(&template, &vm), expected, "{text}");
    }
}
