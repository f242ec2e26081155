//! Lab virtual machines, and the artifacts that are applied to them.

use serde_json::Value;

use super::{API_VERSION, Lab, text};
use crate::arm::{Request, ResourceId, scrub};

/// A lab virtual machine, as a GET with everything expanded shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VirtualMachine {
    /// The lab's id for it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `Creating`, `Succeeded`, `Failed`, …
    pub provisioning_state: String,
    /// The id of the compute virtual machine behind it.
    pub compute_id: Option<String>,
    /// `Windows` or `Linux`.
    pub os_type: Option<String>,
    /// Its fully qualified domain name.
    pub fqdn: Option<String>,
    /// Its private address.
    pub private_ip_address: Option<String>,
    /// Its public address; behind a shared address that of the load balancer.
    pub public_ip_address: Option<String>,
    /// The power state that compute tells now, such as `running` or `deallocated`.
    pub power_state: Option<String>,
    /// The artifacts that were asked for.
    pub artifacts: Vec<Artifact>,
}

/// An artifact on a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Its title, or the last part of its id.
    pub title: String,
    /// The service's word: `Pending`, `Installing`, `Succeeded`, `Failed`, `Skipped`, …
    pub status: String,
    /// What the deployment and the virtual machine's extension said.
    pub message: Option<String>,
}

/// What has become of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArtifactState {
    /// It is still to be applied, or being applied.
    Pending,
    /// It was applied.
    Succeeded,
    /// It failed, or was skipped because another one failed.
    Failed,
}

/// GET of a virtual machine with its compute virtual machine, network interface and artifacts.
pub fn get(id: &ResourceId) -> Request {
    Request::get(id.as_str(), API_VERSION).query("$expand", "Properties($expand=ComputeVm,NetworkInterface,Artifacts)")
}

/// The list of a lab's virtual machines.
pub fn list(lab: &Lab) -> Request {
    Request::get(format!("{}/virtualmachines", lab.id().as_str()), API_VERSION)
}

/// DELETE of a virtual machine; long-running.
pub fn delete(id: &ResourceId) -> Request {
    Request::delete(id.as_str(), API_VERSION)
}

/// POST start; long-running.
pub fn start(id: &ResourceId) -> Request {
    Request::post(format!("{}/start", id.as_str()), API_VERSION, None)
}

/// POST stop; long-running.
pub fn stop(id: &ResourceId) -> Request {
    Request::post(format!("{}/stop", id.as_str()), API_VERSION, None)
}

impl VirtualMachine {
    /// Reads an answer.
    pub fn read(value: &Value) -> Self {
        let statuses = value.pointer("/properties/computeVm/statuses").and_then(Value::as_array);
        let power_state = statuses.into_iter().flatten().find_map(|status| {
            let (group, state) = status.get("code")?.as_str()?.split_once('/')?;
            group.eq_ignore_ascii_case("PowerState").then(|| state.to_ascii_lowercase())
        });
        let artifacts = value.pointer("/properties/artifacts").and_then(Value::as_array);
        Self {
            id: text(value, "/id").unwrap_or_default(),
            name: text(value, "/name").unwrap_or_default(),
            provisioning_state: text(value, "/properties/provisioningState").unwrap_or_default(),
            compute_id: text(value, "/properties/computeId"),
            os_type: text(value, "/properties/osType"),
            fqdn: text(value, "/properties/fqdn"),
            private_ip_address: text(value, "/properties/networkInterface/privateIpAddress"),
            public_ip_address: text(value, "/properties/networkInterface/publicIpAddress"),
            power_state,
            artifacts: artifacts.into_iter().flatten().map(Artifact::read).collect(),
        }
    }

    /// The resource group of the compute virtual machine.
    pub fn resource_group(&self) -> Option<String> {
        Some(self.compute_id.as_ref()?.parse::<ResourceId>().ok()?.resource_group().to_owned())
    }
}

impl Artifact {
    fn read(value: &Value) -> Self {
        let id = text(value, "/artifactId").unwrap_or_default();
        let messages: Vec<String> =
            ["/deploymentStatusMessage", "/vmExtensionStatusMessage"].iter().filter_map(|at| text(value, at)).collect();
        Self {
            title: text(value, "/artifactTitle").unwrap_or_else(|| id.rsplit('/').next().unwrap_or_default().to_owned()),
            status: text(value, "/status").unwrap_or_else(|| "Pending".to_owned()),
            // Scripts print what they were given.
            message: (!messages.is_empty()).then(|| scrub::text(&messages.join(" "))),
        }
    }

    /// What has become of it. A word that is not known counts as pending, so that it is shown rather than taken for success.
    pub fn state(&self) -> ArtifactState {
        match self.status.to_ascii_lowercase().as_str() {
            "succeeded" => ArtifactState::Succeeded,
            "failed" | "skipped" | "canceled" | "cancelled" | "timedout" => ArtifactState::Failed,
            _ => ArtifactState::Pending,
        }
    }
}

/// The longest name that an operating system allows.
pub fn name_limit(os_type: Option<&str>) -> usize {
    if os_type.is_some_and(|os| os.eq_ignore_ascii_case("Windows")) { 15 } else { 64 }
}

/// What is wrong with a name; `None` when it is good.
pub fn name_problem(name: &str, os_type: Option<&str>) -> Option<String> {
    let limit = name_limit(os_type);
    let length = name.chars().count();
    if name.is_empty() {
        Some("a name is needed".to_owned())
    } else if !name.chars().all(|character| character.is_ascii_alphanumeric() || character == '-') {
        Some("only letters, digits and hyphens are allowed".to_owned())
    } else if name.starts_with('-') || name.ends_with('-') {
        Some("it must begin and end with a letter or digit".to_owned())
    } else if name.chars().all(|character| character.is_ascii_digit()) {
        Some("it must hold a letter".to_owned())
    } else if length > limit {
        let os = if limit == 15 { "Windows" } else { "Linux" };
        Some(format!("it has {length} characters, {os} allows {limit}"))
    } else {
        None
    }
}

/// `name-number`, the name shortened so that the whole stays within the limit.
pub fn numbered_name(name: &str, number: u64, limit: usize) -> String {
    let suffix = format!("-{number}");
    let kept: String = name.chars().take(limit.saturating_sub(suffix.len())).collect();
    format!("{}{suffix}", kept.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_obey_the_rules_of_their_operating_system() {
        let windows = Some("windows");
        for (name, os, expected) in [
            ("vm1", None, None),
            ("a-b", windows, None),
            ("abcdefghijklmno", windows, None),
            ("abcdefghijklmnop", windows, Some("it has 16 characters, Windows allows 15")),
            ("abcdefghijklmnop", Some("Linux"), None),
            ("abcdefghijklmnop", None, None),
            (&"a".repeat(65), None, Some("it has 65 characters, Linux allows 64")),
            ("", None, Some("a name is needed")),
            ("-abc", None, Some("it must begin and end with a letter or digit")),
            ("abc-", None, Some("it must begin and end with a letter or digit")),
            ("a/b", None, Some("only letters, digits and hyphens are allowed")),
            ("a_b", None, Some("only letters, digits and hyphens are allowed")),
            ("a.b", None, Some("only letters, digits and hyphens are allowed")),
            ("vmü", None, Some("only letters, digits and hyphens are allowed")),
            ("12345", None, Some("it must hold a letter")),
        ] {
            assert_eq!(name_problem(name, os).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_numbered_name_stays_within_the_limit() {
        assert_eq!(numbered_name("vm", 1, 15), "vm-1");
        assert_eq!(numbered_name("abcdefghijklmno", 1, 15), "abcdefghijklm-1");
        assert_eq!(numbered_name("abcdefghijkl-no", 10, 15), "abcdefghijkl-10");
        assert_eq!(numbered_name("abcdefghijk--no", 1, 15), "abcdefghijk-1");
    }

    #[test]
    fn an_expanded_virtual_machine_is_read() {
        let vm = VirtualMachine::read(&json!({"id": "/x", "name": "vm1", "properties": {
            "provisioningState": "Succeeded",
            "computeId": "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/lab-vm1-1/providers/Microsoft.Compute/virtualMachines/vm1",
            "fqdn": "",
            "networkInterface": {"privateIpAddress": "10.0.0.4"},
            "computeVm": {"statuses": [{"code": "ProvisioningState/succeeded"}, {"code": "PowerState/deallocated"}]},
            "artifacts": [
                {"artifactId": "/a/windows-chrome", "status": "Failed", "deploymentStatusMessage": "m1", "vmExtensionStatusMessage": "m2"},
                {"artifactTitle": "Second", "artifactId": "/a/b", "status": "Installing"},
                {"artifactTitle": "Third"},
            ],
        }}));
        assert_eq!((vm.fqdn, vm.private_ip_address.as_deref(), vm.power_state.as_deref()), (None, Some("10.0.0.4"), Some("deallocated")));
        let artifacts: Vec<_> = vm.artifacts.iter().map(|artifact| (artifact.title.as_str(), artifact.state())).collect();
        assert_eq!(
            artifacts,
            [("windows-chrome", ArtifactState::Failed), ("Second", ArtifactState::Pending), ("Third", ArtifactState::Pending)]
        );
        assert_eq!(vm.artifacts[0].message.as_deref(), Some("m1 m2"));
    }
}
