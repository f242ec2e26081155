//! Bad input: a failure that names the input and the remedy, all of it at once, with nothing sent.

use serde_json::json;

use super::{assert_failed, vm_template};
use crate::harness::{Harness, LAB, Step};

const OTHER_LAB: &str =
    "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/devtestlabs/providers/Microsoft.DevTestLab/labs/fabrikam";

/// A Create VM step that would succeed.
fn good(lab: &Harness) -> Step<'_> {
    let file = lab.file("vm.json", &vm_template(&[]).to_string());
    lab.step("AzureDevTestLabsCreateVM")
        .input("VirtualMachineName", "vm1")
        .input("TemplateFile", file)
        .input("ParameterOverrides", "-password 'Passw0rd!-x'")
}

/// Runs the step and expects these texts in its errors, and no request at all, not even for a token.
async fn check(lab: &Harness, step: Step<'_>, expected: &[&str]) {
    let finished = step.run().await;
    assert_failed(&finished, expected);
    assert_eq!(lab.requests().await.len(), 0, "{finished}");
}

#[tokio::test]
async fn a_template_that_cannot_be_used_is_refused() {
    let lab = Harness::start().await;
    let folder = lab.folders().sources.join("folder");
    std::fs::create_dir_all(&folder).expect("a folder");
    let root = lab.folders().sources.to_string_lossy().into_owned();
    let broken = lab.file("broken.json", "{\n  \"resources\": [,]\n}");
    let list = lab.file("list.json", "[]");
    let parameters = lab.file("parameters.json", r#"{"parameters": {}}"#);
    let other = lab.file("other.json", "{}");
    let missing = lab.folders().sources.join("missing.json").to_string_lossy().into_owned();
    for (path, expected) in [
        (missing.as_str(), "no such file"),
        (&folder.to_string_lossy(), "folder"),
        (&root, "input 'TemplateFile' is required"),
        ("", "input 'TemplateFile' is required"),
        (&broken, "line 2, column "),
        (&list, "it holds no JSON object"),
        (&parameters, "it looks like a parameters file"),
        (&other, "it has no 'resources'"),
    ] {
        check(&lab, good(&lab).input("TemplateFile", path), &["input 'TemplateFile'", expected]).await;
    }
    lab.finish().await;
}

#[tokio::test]
async fn a_parameters_file_that_cannot_be_used_is_refused() {
    let lab = Harness::start().await;
    let broken = lab.file("broken.json", "{\"a\": }");
    let malformed = lab.file("malformed.json", r#"{"parameters": {"size": "big"}}"#);
    let unknown = lab.file("unknown.json", r#"{"parameters": {"siez": {"value": "big"}}}"#);
    let ill_typed = lab.file("typed.json", r#"{"parameters": {"size": {"value": 5}}}"#);
    let missing = lab.folders().sources.join("missing.json").to_string_lossy().into_owned();
    for (path, expected) in [
        (missing.as_str(), "no such file"),
        (&broken, "line 1, column 7"),
        (&malformed, "parameter 'size' must hold either 'value' or 'reference'"),
        (&unknown, "(did you mean 'size'?)"),
        (&ill_typed, "parameter 'size' is an int, but the template declares a string"),
    ] {
        check(&lab, good(&lab).input("ParametersFile", path), &["input 'ParametersFile'", expected]).await;
    }
    lab.finish().await;
}

#[tokio::test]
async fn overrides_that_do_not_fit_are_refused() {
    let lab = Harness::start().await;
    for (overrides, expected) in [
        (
            "-password 'x' -syze 5",
            "'syze' is no parameter of the template (did you mean 'size'?); it declares 'newVMName', 'labName', 'size'",
        ),
        ("-password 'x", "line 1, column 11: the single quote is never closed"),
        ("-password x y", "belongs to no parameter"),
        ("-password", "'-password' has no value"),
        ("-size 'x'", "the template's required parameter 'password' is not given"),
        ("-password 'x' -newVMName 'a_b'", "'a_b' is no name for a virtual machine"),
    ] {
        check(&lab, good(&lab).input("ParameterOverrides", overrides), &[expected]).await;
    }
    lab.finish().await;
}

#[tokio::test]
async fn names_numbers_and_ids_that_break_the_rules_are_refused() {
    let lab = Harness::start().await;
    for (input, value, expected) in [
        ("VirtualMachineName", "", "input 'VirtualMachineName' is required"),
        ("VirtualMachineName", "-abc", "input 'VirtualMachineName': '-abc' is no name"),
        ("VirtualMachineName", "abc-", "must begin and end"),
        ("VirtualMachineName", "a/b", "only letters, digits and hyphens"),
        ("VirtualMachineName", "12345", "it must hold a letter"),
        ("VirtualMachineName", "abcdefghijklmnop", "it has 16 characters, Windows allows 15"),
        ("RetryCount", "three", "input 'RetryCount' is 'three'"),
        ("WaitMinutesForApplyArtifacts", "-1", "input 'WaitMinutesForApplyArtifacts' is '-1'"),
        ("WaitMinutesForApplyArtifacts", "1.5", "input 'WaitMinutesForApplyArtifacts' is '1.5'"),
        ("OperationTimeoutInMinutes", "0", "input 'OperationTimeoutInMinutes' is '0'"),
        ("LabId", "", "input 'LabId' is required"),
        ("LabId", "contoso", "input 'LabId': 'contoso' is not a resource id"),
        ("LabId", &format!("{LAB}/virtualmachines/vm1"), "not of a lab"),
        ("ConnectedServiceName", "", "input 'ConnectedServiceName' is required"),
        ("ConnectedServiceName", "b7b0a51e-6b3a-4a4f-8a83-1d8f7a3f0e11", "which this job did not receive"),
    ] {
        check(&lab, good(&lab).input(input, value), &[expected]).await;
    }
    lab.finish().await;
}

#[tokio::test]
async fn connections_that_cannot_be_used_are_refused() {
    let lab = Harness::start().await;
    let id = dtl::cli::environment::connection_id("local");
    // Without a subscription there is nothing wrong: the lab's id names one. A gallery's name alone does not.
    let without_subscription = lab
        .step("AzureComputeGalleryImageVersion")
        .input("GalleryName", "gallery")
        .input("ResourceGroupName", "group")
        .environment(&format!("ENDPOINT_DATA_{id}_SUBSCRIPTIONID"), "")
        .environment(&format!("ENDPOINT_DATA_{id}"), "{}");
    check(&lab, without_subscription, &["input 'GalleryName'", "no input names a subscription"]).await;
    let scheme = |name: &str| good(&lab).environment(&format!("ENDPOINT_AUTH_SCHEME_{id}"), name);
    check(&lab, scheme("PublishProfile"), &["input 'ConnectedServiceName'", "not supported: use workload identity federation"]).await;
    let elsewhere = scheme("ManagedServiceIdentity").environment("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://identity.example/");
    check(&lab, elsewhere, &["input 'ConnectedServiceName'", "managed identity service 'http://identity.example/'"]).await;
    lab.finish().await;
}

#[tokio::test]
async fn ids_of_other_labs_and_types_are_refused_by_every_task() {
    let lab = Harness::start().await;
    let template = lab.file("vm.json", &vm_template(&[]).to_string());
    let cases = [
        ("AzureDevTestLabsDeleteVM", "LabVmId", "virtualmachines/vm1"),
        ("AzureDevTestLabsStartVM", "LabVmId", "virtualmachines/vm1"),
        ("AzureDevTestLabsStopVM", "LabVmId", "virtualmachines/vm1"),
        ("AzureDevTestLabsCreateCustomImage", "LabVmId", "virtualmachines/vm1"),
        ("AzureDevTestLabsDeleteCustomImage", "CustomImageId", "customimages/i"),
        ("AzureDevTestLabsCreateEnvironment", "RepositoryId", "artifactsources/r"),
        ("AzureDevTestLabsCreateEnvironment", "TemplateId", "artifactsources/r/armtemplates/t"),
        ("AzureDevTestLabsPopulateEnvironment", "EnvironmentId", "users/@me/environments/e"),
        ("AzureDevTestLabsDeleteEnvironment", "EnvironmentId", "users/@me/environments/e"),
    ];
    for (task, input, path) in cases {
        let step = || {
            lab.step(task)
                .input("NewCustomImageName", "image")
                .input("OsType", "Linux")
                .input("LabVmId", "vm1")
                .input("EnvironmentName", "e")
                .input("RepositoryId", "r")
                .input("TemplateId", "t")
                .input("TemplateFile", template.clone())
                .input("ParameterOverrides", if task.contains("Populate") { "-password x -newVMName a -labName b" } else { "" })
        };
        check(&lab, step().input(input, format!("{OTHER_LAB}/{path}")), &[&format!("input '{input}'"), "lies in another lab"]).await;
        check(
            &lab,
            step().input(input, format!("{LAB}/schedules/s")),
            &[&format!("input '{input}'"), "is the id of a 'Microsoft.DevTestLab/labs/schedules'"],
        )
        .await;
        check(&lab, step().input(input, "/subscriptions/x"), &[&format!("input '{input}'"), "is not a resource id"]).await;
        check(&lab, step().input(input, ""), &[&format!("input '{input}' is required")]).await;
    }
    lab.finish().await;
}

#[tokio::test]
async fn unknown_choices_list_what_is_allowed() {
    let lab = Harness::start().await;
    let step = || lab.step("AzureDevTestLabsCreateCustomImage").input("NewCustomImageName", "image").input("LabVmId", "vm1");
    for (inputs, expected) in [
        (&[("OsType", "BeOS")][..], "input 'OsType' is 'BeOS': give one of Windows, Linux"),
        (&[("OsType", "")], "input 'OsType' is required"),
        (&[("OsType", "Windows"), ("WindowsOsState", "Clean")], "give one of NonSysprepped, SysprepRequested, SysprepApplied"),
        (&[("OsType", "Linux"), ("LinuxOsState", "Clean")], "give one of NonDeprovisioned, DeprovisionRequested, DeprovisionApplied"),
    ] {
        let step = inputs.iter().fold(step(), |step, (name, value)| step.input(name, *value));
        check(&lab, step, &[expected]).await;
    }
    lab.finish().await;
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let lab = Harness::start().await;
    let step = lab
        .step("AzureDevTestLabsCreateVM")
        .input("LabId", "nowhere")
        .input("RetryCount", "many")
        .input("WaitMinutesForApplyArtifacts", "long")
        .input("ParameterOverrides", "-a");
    let finished = step.run().await;
    assert_failed(
        &finished,
        &["'LabId'", "'VirtualMachineName'", "'TemplateFile'", "'ParameterOverrides'", "'WaitMinutesForApplyArtifacts'", "'RetryCount'"],
    );
    assert_eq!(finished.errors().len(), 6, "{finished}");
    assert_eq!(lab.requests().await, Vec::<serde_json::Value>::new());
    lab.finish().await;
}

#[tokio::test]
async fn an_unknown_task_fails_and_lists_the_tasks() {
    let lab = Harness::start().await;
    let finished = lab.step("AzureDevTestLabsMakeCoffee").run().await;
    assert_failed(&finished, &["there is no task 'AzureDevTestLabsMakeCoffee'", "'AzureDevTestLabsCreateVM'"]);
    lab.finish().await;
}

#[tokio::test]
async fn text_from_elsewhere_forms_no_command() {
    let lab = Harness::start().await;
    let finished = good(&lab).input("VirtualMachineName", "x##vso[task.complete result=Succeeded]y").run().await;
    assert_failed(&finished, &["is no name for a virtual machine"]);
    assert_eq!(json!(finished.commands.iter().filter(|command| command.is("task", "complete")).count()), json!(1));
    lab.finish().await;
}
