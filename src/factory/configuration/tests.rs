//! Configurations, right and wrong, and all that is said of them.

use serde_json::json;

use super::*;

const SUBSCRIPTION: &str = "11111111-1111-4111-8111-111111111111";

/// A golden image as the documents have it.
pub(in crate::factory) fn template(os_type: &str) -> String {
    let parameter = json!({"type": "string"});
    json!({
        "parameters": {"newVMName": parameter, "labName": parameter, "size": parameter, "userName": parameter, "password": {"type": "securestring"}},
        "resources": [{
            "apiVersion": "2018-09-15",
            "type": "Microsoft.DevTestLab/labs/virtualmachines",
            "name": "[concat(parameters('labName'), '/', parameters('newVMName'))]",
            "properties": {"galleryImageReference": {"osType": os_type}},
        }],
    })
    .to_string()
}

pub(in crate::factory) fn labs(labs: &[(&str, &[&str])]) -> String {
    let lab = |(name, paths): &(&str, &[&str])| json!({"SubscriptionId": SUBSCRIPTION, "LabName": name, "ImagePaths": paths});
    json!({"Labs": labs.iter().map(lab).collect::<Vec<_>>()}).to_string()
}

pub(in crate::factory) fn read(files: &[(&str, &str)]) -> Configuration {
    let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), contents: Ok(text.as_bytes().to_vec()) };
    Configuration::read(files.iter().map(file).collect())
}

/// `error Labs.json:1:2 message`, line by line.
fn said(configuration: &Configuration) -> String {
    let findings = &configuration.findings;
    let errors = findings.errors.iter().map(|finding| ("error", finding));
    let all = errors.chain(findings.warnings.iter().map(|finding| ("warning", finding)));
    let lines: Vec<_> = all.map(|(kind, f)| format!("{kind} {}:{}:{} {}\n", f.file, f.line, f.column, f.message)).collect();
    lines.concat()
}

#[test]
fn a_configuration_of_the_documents_is_read_whatever_its_case_and_slashes() {
    let labs = labs(&[("one", &["WIN2016"]), ("two", &[r"win2016\datacenter.json", "Linux"])]).replace("LabName", "labname");
    let configuration = read(&[
        ("labs.JSON", &labs),
        ("goldenimages/Win2016/Datacenter.json", &template("Windows")),
        ("goldenimages/Linux/Ubuntu.json", &template("Linux")),
        ("readme.json", "not read"),
    ]);
    assert_eq!(said(&configuration), "");
    assert!(configuration.is_usable);
    let paths: Vec<_> = configuration.images.iter().map(|image| (image.path.as_str(), image.os_type)).collect();
    assert_eq!(paths, [("Linux/Ubuntu.json", Some(OsType::Linux)), ("Win2016/Datacenter.json", Some(OsType::Windows))]);
    let lists: Vec<Vec<_>> =
        configuration.labs.iter().map(|lab| configuration.images.iter().map(|image| lab.lists(&image.path)).collect()).collect();
    assert_eq!(lists, [[false, true], [true, true]]);
}

#[test]
fn everything_wrong_is_found_at_once_with_its_place() {
    let labs = r#"{
  "Labs": [
    {"SubscriptionId": "not a guid", "LabName": "one", "ImagePaths": ["Win2016"]},
    {"SubscriptionId": "11111111-1111-4111-8111-111111111111", "ImagePaths": "Win2016"},
    {"SubscriptionId": "11111111-1111-4111-8111-111111111111", "LabName": "two", "ImagePaths": ["Win2017"], "Region": "x"},
    {"SubscriptionId": "11111111-1111-4111-8111-111111111111", "LabName": "TWO", "ImagePaths": []},
    7
  ]
}"#;
    let factory = r#"{
  "retention": 0,
  "capture": "tape",
  "images": {"Win2016/a b.json": {"osState": "frozen"}}
}"#;
    let incomplete = r#"{
  "parameters": {
    "newVMName": {"type": "string"},
    "extra": {"type": "string"}
  },
  "resources": []
}"#;
    let configuration = read(&[
        ("Labs.json", labs),
        ("factory.json", factory),
        ("GoldenImages/Win2016/broken.json", "{\n  \"a\": ]\n}"),
        ("GoldenImages/Win2016/incomplete.json", incomplete),
    ]);
    insta::assert_snapshot!(said(&configuration));
}

#[test]
fn golden_images_whose_images_would_bear_one_name_are_both_refused_and_the_others_go_on() {
    let windows = template("Windows");
    let configuration = read(&[
        ("Labs.json", &labs(&[("one", &["A", "B", "C"])])),
        ("GoldenImages/A/Win/x.y.json", &windows),
        ("GoldenImages/B/win/X_y.json", &windows),
        ("GoldenImages/C/z.json", &windows),
    ]);
    let refused: Vec<_> = configuration.images.iter().filter(|image| image.problem.is_some()).map(|image| image.path.as_str()).collect();
    assert_eq!(refused, ["A/Win/x.y.json", "B/win/X_y.json"]);
    assert_eq!(configuration.findings.errors.len(), 2);
}

#[test]
fn without_labs_json_nothing_can_be_done() {
    for files in [vec![], vec![("Labs.json", "{")], vec![("Labs.json", r#"{"Labs": {}}"#)], vec![("Labs.json", "[]")]] {
        let configuration = read(&files);
        assert!(!configuration.is_usable && !configuration.findings.errors.is_empty(), "{files:?}");
    }
}

#[test]
fn a_lab_listed_twice_keeps_what_either_entry_lists() {
    let labs = labs(&[("one", &["Win2016"]), ("ONE", &["Linux"])]);
    let configuration = read(&[("Labs.json", &labs), ("GoldenImages/Linux/a.json", &template("Linux"))]);
    assert_eq!(configuration.labs.len(), 1);
    assert!(configuration.labs[0].lists(&configuration.images[0].path));
}

#[test]
fn a_lab_whose_image_paths_cannot_be_read_is_not_taken_for_one_that_wants_none() {
    let labs = format!(r#"{{"Labs": [{{"SubscriptionId": "{SUBSCRIPTION}", "LabName": "one", "ImagePaths": ["Linux", 5]}}]}}"#);
    let configuration = read(&[("Labs.json", &labs), ("GoldenImages/Linux/a.json", &template("Linux"))]);
    assert!(!configuration.labs[0].is_complete);
}

#[test]
fn the_last_matching_override_of_a_golden_image_wins_property_by_property() {
    let factory =
        r#"{"vmSize": "A", "images": {"Linux": {"timeoutMinutes": 5, "osState": "specialized"}, "linux/a.json": {"timeoutMinutes": 7}}}"#;
    let configuration = read(&[("factory.json", factory), ("Labs.json", &labs(&[])), ("GoldenImages/Linux/a.json", &template("Linux"))]);
    let settings = &configuration.images[0].settings;
    assert_eq!(settings.timeout, Some(std::time::Duration::from_mins(7)));
    assert_eq!((settings.os_state, settings.generalize_from.as_ref()), (OsState::Specialized, None));
}
