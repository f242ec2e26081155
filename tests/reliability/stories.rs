//! Every task, each with a lab in which it has something to do: what several tests run.

use dtl::agent::Outcome;
use serde_json::{Value, json};

use super::fast_host::FastHost;
use crate::{
    factory,
    gallery::{compute, define, on_versions, publish, seeded_version, start_with},
    harness::{Harness, Step},
    tasks::vm_template,
};

/// The password that machines get.
pub const PASSWORD: &str = "Passw0rd-of-chaos!";

/// A task to run, with what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    CreateVm,
    CreateVmWithRetries,
    DeleteVm,
    StartVm,
    StopVm,
    CreateImage,
    DeleteImage,
    CreateEnvironment,
    PopulateEnvironment,
    DeleteEnvironment,
    Definition,
    Publish,
    Promote,
    Retire,
    Factory,
}

/// All of them.
pub const STORIES: [Story; 15] = [
    Story::CreateVm,
    Story::CreateVmWithRetries,
    Story::DeleteVm,
    Story::StartVm,
    Story::StopVm,
    Story::CreateImage,
    Story::DeleteImage,
    Story::CreateEnvironment,
    Story::PopulateEnvironment,
    Story::DeleteEnvironment,
    Story::Definition,
    Story::Publish,
    Story::Promote,
    Story::Retire,
    Story::Factory,
];

impl Story {
    /// The lab, and in it what the task works on.
    pub async fn harness(self) -> Harness {
        let harness = match self {
            Self::Definition | Self::Publish => start_with(&[]).await,
            Self::Promote => start_with(&[seeded_version("generalized", "1.0.0", "Succeeded", json!({"excludeFromLatest": true}))]).await,
            Self::Retire => {
                let versions: Vec<Value> = ["1.0.0", "1.1.0", "1.2.0"]
                    .iter()
                    .map(|number| seeded_version("generalized", number, "Succeeded", json!({})))
                    .collect();
                start_with(&versions).await
            }
            Self::Factory => factory::example().await,
            _ => Harness::start().await,
        };
        harness.settings(&json!({"speed": 30_000})).await;
        match self {
            Self::DeleteVm | Self::StartVm | Self::StopVm | Self::CreateImage => make_vm(&harness).await,
            Self::DeleteImage => {
                make_vm(&harness).await;
                prepared(image(&harness)).await;
            }
            Self::PopulateEnvironment | Self::DeleteEnvironment => prepared(environment(&harness)).await,
            _ => {}
        }
        if self == Self::StartVm {
            prepared(harness.step("AzureDevTestLabsStopVM").input("LabVmId", "vm1")).await;
        }
        harness
    }

    /// The step that runs the task.
    pub fn step(self, harness: &Harness) -> Step<'_> {
        match self {
            Self::CreateVm => vm(harness),
            Self::CreateVmWithRetries => vm(harness)
                .input("FailOnArtifactError", "true")
                .input("RetryOnFailure", "true")
                .input("RetryCount", "2")
                .input("DeleteFailedLabVMBeforeRetry", "true")
                .input("DeleteFailedDeploymentBeforeRetry", "true"),
            Self::DeleteVm => harness.step("AzureDevTestLabsDeleteVM").input("LabVmId", "vm1"),
            Self::StartVm => harness.step("AzureDevTestLabsStartVM").input("LabVmId", "vm1"),
            Self::StopVm => harness.step("AzureDevTestLabsStopVM").input("LabVmId", "vm1"),
            Self::CreateImage => image(harness),
            Self::DeleteImage => harness.step("AzureDevTestLabsDeleteCustomImage").input("CustomImageId", "image1"),
            Self::CreateEnvironment => environment(harness),
            Self::PopulateEnvironment => harness
                .step("AzureDevTestLabsPopulateEnvironment")
                .input("EnvironmentId", "env1")
                .input("TemplateFile", harness.file("storage.json", &storage_template().to_string())),
            Self::DeleteEnvironment => harness.step("AzureDevTestLabsDeleteEnvironment").input("EnvironmentId", "env1"),
            Self::Definition => {
                define(harness, "fresh").input("GalleryName", "brandnew").input("CreateGallery", "true").input("Location", "westeurope")
            }
            Self::Publish => publish(harness, "generalized", &compute("images/image")).input("TargetRegions", "westeurope,northeurope"),
            Self::Promote => on_versions(harness, "generalized").input("Mode", "promote").input("Version", "1.0.0"),
            Self::Retire => on_versions(harness, "generalized").input("Mode", "retire").input("KeepVersions", "1"),
            Self::Factory => {
                factory::step(harness, "run", &factory::example_configuration()).input("RunId", "7").input("MachinePassword", PASSWORD)
            }
        }
    }
}

fn vm(harness: &Harness) -> Step<'_> {
    let template = harness.file("vm.json", &vm_template(&["windows-noop"]).to_string());
    harness
        .step("AzureDevTestLabsCreateVM")
        .input("VirtualMachineName", "vm1")
        .input("TemplateFile", template)
        .input("ParameterOverrides", format!("-password '{PASSWORD}'"))
}

fn image(harness: &Harness) -> Step<'_> {
    let step = harness.step("AzureDevTestLabsCreateCustomImage").input("NewCustomImageName", "image1").input("LabVmId", "vm1");
    step.input("OsType", "Windows").input("WindowsOsState", "NonSysprepped")
}

fn environment(harness: &Harness) -> Step<'_> {
    harness
        .step("AzureDevTestLabsCreateEnvironment")
        .input("EnvironmentName", "env1")
        .input("RepositoryId", "Public Artifact Repo")
        .input("TemplateId", "WebApp")
        .input("OutputTemplateVariables", "true")
}

fn storage_template() -> Value {
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#", "contentVersion": "1.0.0.0",
        "resources": [{
            "type": "Microsoft.Storage/storageAccounts", "apiVersion": "2021-04-01", "name": "chaosaccount",
            "location": "westeurope", "kind": "StorageV2", "sku": { "name": "Standard_LRS" }, "properties": {},
        }],
    })
}

async fn make_vm(harness: &Harness) {
    prepared(vm(harness)).await;
}

async fn prepared(step: Step<'_>) {
    let finished = step.run_on(FastHost::new).await;
    assert_eq!(finished.outcome, Outcome::Succeeded, "{finished}");
}
