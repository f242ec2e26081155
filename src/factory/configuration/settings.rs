//! What a factory does unless it is told otherwise.

use std::time::Duration;

use super::gallery::{DistributionKind, GallerySettings};
use crate::factory::names::ImagePath;
pub use crate::template::OsType;

/// The state of an image's operating system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema), schemars(rename_all = "camelCase"))]
pub enum OsState {
    /// Sysprep or deprovisioning ran: users, computer name and registry hives are gone.
    #[default]
    Generalized,
    /// An exact copy of the disk, with its users and its computer name.
    Specialized,
}

/// The artifact that generalizes a virtual machine.
pub fn generalizing_artifact(os: OsType) -> &'static str {
    match os {
        OsType::Windows => "windows-sysprep",
        OsType::Linux => "linux-deprovision",
    }
}

/// How a virtual machine is captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema), schemars(rename_all = "camelCase"))]
pub enum CaptureKind {
    /// As a custom image of the factory's own lab.
    #[default]
    CustomImage,
    /// As a VHD in the storage account of the factory's lab, as the older scripts did. The receiving labs get copies of it.
    Vhd,
}

/// A wave of copies of one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wave {
    /// How many labs get theirs; `None` is all that are left.
    pub labs: Option<usize>,
    /// How long the wave waits after the one before.
    pub pause: Duration,
}

/// The defaults of `factory.json`, with those of the documents below them.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How many good images of a golden image a lab keeps.
    pub retention: u32,
    /// The most Azure operations in flight together.
    pub max_concurrent: u32,
    /// The longest time for one virtual machine, from its deployment to its capture.
    pub timeout: Duration,
    /// The part of a lab's factory images, from 0 to 1, that may be deleted without being allowed to.
    pub deleted_share: f64,
    /// How often something is made before its failure counts, where Azure failed by itself.
    pub attempts: u32,
    /// The virtual machines' size.
    pub vm_size: String,
    /// The administrator's name.
    pub machine_user_name: String,
    /// The artifact source that holds the generalizing artifacts.
    pub artifact_source: String,
    /// Whether the generalizing artifact is appended to a template's artifacts.
    pub append_artifact: bool,
    /// The images' state.
    pub os_state: OsState,
    /// How images reach the labs.
    pub distribution: DistributionKind,
    /// The gallery that images go through.
    pub gallery: Option<GallerySettings>,
    /// How virtual machines are captured.
    pub capture: CaptureKind,
    /// The waves of an image's copies; all at once where there are none.
    pub waves: Vec<Wave>,
    /// What is different for some golden images, by image path or folder; later ones win.
    pub images: Vec<(ImagePath, ImageOverride)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention: 1,
            max_concurrent: 20,
            timeout: Duration::from_mins(30),
            deleted_share: 0.5,
            attempts: 2,
            vm_size: "Standard_D2s_v5".to_owned(),
            machine_user_name: "factory".to_owned(),
            artifact_source: "public repo".to_owned(),
            append_artifact: true,
            os_state: OsState::Generalized,
            distribution: DistributionKind::CustomImage,
            gallery: None,
            capture: CaptureKind::default(),
            waves: Vec::new(),
            images: Vec::new(),
        }
    }
}

/// What is different for one golden image or folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageOverride {
    /// The virtual machine's size.
    pub vm_size: Option<String>,
    /// The operating system, where the template does not say it.
    pub os_type: Option<OsType>,
    /// The image's state.
    pub os_state: Option<OsState>,
    /// The longest time for the virtual machine.
    pub timeout: Option<Duration>,
    /// Whether the generalizing artifact is appended.
    pub append_artifact: Option<bool>,
    /// How the image reaches the labs.
    pub distribution: Option<DistributionKind>,
}

/// What holds for one golden image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSettings {
    /// The virtual machine's size; `None` is the factory's.
    pub vm_size: Option<String>,
    /// The operating system, where the template does not say it.
    pub os_type: Option<OsType>,
    /// The image's state.
    pub os_state: OsState,
    /// The longest time for the virtual machine; `None` is the factory's.
    pub timeout: Option<Duration>,
    /// The artifact source that holds the generalizing artifact, when that is to be appended.
    pub generalize_from: Option<String>,
    /// How the image reaches the labs.
    pub distribution: DistributionKind,
}

impl Settings {
    /// What holds for one golden image.
    pub fn of_image(&self, path: &ImagePath) -> ImageSettings {
        let mut merged = ImageOverride::default();
        for (_, other) in self.images.iter().filter(|(listed, _)| path.is_listed_by(listed)) {
            merged = ImageOverride {
                vm_size: other.vm_size.clone().or(merged.vm_size),
                os_type: other.os_type.or(merged.os_type),
                os_state: other.os_state.or(merged.os_state),
                timeout: other.timeout.or(merged.timeout),
                append_artifact: other.append_artifact.or(merged.append_artifact),
                distribution: other.distribution.or(merged.distribution),
            };
        }
        let os_state = merged.os_state.unwrap_or(self.os_state);
        let appends = os_state == OsState::Generalized && merged.append_artifact.unwrap_or(self.append_artifact);
        ImageSettings {
            vm_size: merged.vm_size,
            os_type: merged.os_type,
            os_state,
            timeout: merged.timeout,
            generalize_from: appends.then(|| self.artifact_source.clone()),
            distribution: merged.distribution.unwrap_or(self.distribution),
        }
    }
}
