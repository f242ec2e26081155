//! Custom images, made from lab virtual machines.

use serde_json::{Value, json};

use super::API_VERSION;
use crate::arm::{Request, ResourceId};

/// What is to become of the source's users and names: `NonSysprepped` and `NonDeprovisioned` make a specialized image, all others a
/// generalized one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OsState {
    /// Windows, as it is.
    NonSysprepped,
    /// Windows; the service runs Sysprep.
    SysprepRequested,
    /// Windows; Sysprep has been run.
    SysprepApplied,
    /// Linux, as it is.
    NonDeprovisioned,
    /// Linux; the service deprovisions it.
    DeprovisionRequested,
    /// Linux; it has been deprovisioned.
    DeprovisionApplied,
}

/// The image to make.
#[derive(Clone, Debug)]
pub struct NewCustomImage<'a> {
    /// The virtual machine to capture.
    pub source: &'a ResourceId,
    /// Its operating system's state, which tells the operating system too.
    pub state: OsState,
    /// The description.
    pub description: &'a str,
    /// Who made it.
    pub author: &'a str,
}

impl OsState {
    /// The states of a Windows virtual machine, by the service's words.
    pub const WINDOWS: [(&'static str, Self); 3] =
        [("NonSysprepped", Self::NonSysprepped), ("SysprepRequested", Self::SysprepRequested), ("SysprepApplied", Self::SysprepApplied)];
    /// The states of a Linux virtual machine, by the service's words.
    pub const LINUX: [(&'static str, Self); 3] = [
        ("NonDeprovisioned", Self::NonDeprovisioned),
        ("DeprovisionRequested", Self::DeprovisionRequested),
        ("DeprovisionApplied", Self::DeprovisionApplied),
    ];

    /// The service's word.
    pub fn as_str(self) -> &'static str {
        let states = if self.is_windows() { Self::WINDOWS } else { Self::LINUX };
        states.iter().find(|(_, state)| *state == self).map_or("", |(word, _)| word)
    }

    /// Whether it is a state of Windows rather than of Linux.
    pub fn is_windows(self) -> bool {
        matches!(self, Self::NonSysprepped | Self::SysprepRequested | Self::SysprepApplied)
    }

    /// Whether the image keeps the source's users and names.
    pub fn is_specialized(self) -> bool {
        matches!(self, Self::NonSysprepped | Self::NonDeprovisioned)
    }

    /// Whether capturing makes the source unusable.
    pub fn consumes_source(self) -> bool {
        matches!(self, Self::SysprepRequested | Self::DeprovisionRequested)
    }
}

/// GET of a custom image.
pub fn get(id: &ResourceId) -> Request {
    Request::get(id.as_str(), API_VERSION)
}

/// PUT of a custom image; long-running.
pub fn create(id: &ResourceId, image: &NewCustomImage<'_>) -> Request {
    Request::put(id.as_str(), API_VERSION, body(image))
}

/// DELETE of a custom image; long-running.
pub fn delete(id: &ResourceId) -> Request {
    Request::delete(id.as_str(), API_VERSION)
}

/// The operating system of an image, `Windows` or `Linux`, from a GET's answer.
pub fn os_type(image: &Value) -> Option<&str> {
    let properties = image.get("properties")?;
    let is_there = |pointer: &str| properties.pointer(pointer).is_some_and(|value| !value.is_null());
    if is_there("/vm/windowsOsInfo") {
        Some("Windows")
    } else if is_there("/vm/linuxOsInfo") {
        Some("Linux")
    } else {
        properties.pointer("/vhd/osType").and_then(Value::as_str)
    }
}

fn body(image: &NewCustomImage<'_>) -> Value {
    let mut vm = json!({ "sourceVmId": image.source.to_string() });
    if image.state.is_windows() {
        vm["windowsOsInfo"] = json!({ "windowsOsState": image.state.as_str() });
    } else {
        vm["linuxOsInfo"] = json!({ "linuxOsState": image.state.as_str() });
    }
    json!({ "properties": { "vm": vm, "description": image.description, "author": image.author } })
}
