//! The image factory: golden images as code, built, captured, distributed and retired.
//!
//! A configuration folder says what there should be, an inventory what there is; `plan` is the pure difference of both, and everything that
//! changes Azure follows it. State lives in Azure, as tags: what a run makes bears its id, so that a later run can go on where it ended.

pub mod configuration;
pub mod gallery;
pub mod golden_image;
pub mod inventory;
pub mod listing;
pub mod names;
pub mod plan;
pub mod report;
pub mod retention;
pub mod run;
#[cfg(not(target_arch = "wasm32"))]
pub mod schema;
pub mod table;
pub mod vhd;

pub use run::{Factory, RunOptions};

use azure_core::credentials::Secret;

use crate::{
    arm::ResourceId,
    devtestlab::{self, LabIdError},
};

/// The tag that names the golden image of a virtual machine or an image.
pub const IMAGE_PATH_TAG: &str = "ImagePath";
/// What bears this tag is never touched.
pub const IGNORE_TAG: &str = "FactoryIgnore";
/// The tag that names the run that made something.
pub const RUN_TAG: &str = "FactoryRunId";
/// The tag that holds the fingerprint of the golden image's file.
pub const FINGERPRINT_TAG: &str = "FactoryFingerprint";
/// The tag that names, on a gallery's version, the image that it is.
pub const IMAGE_NAME_TAG: &str = "FactoryImage";
/// The tag that holds the id of the factory's lab: in a gallery, factories that share it know their own by this.
pub const LAB_TAG: &str = "FactoryLab";
/// What the names of the factory's own deployments begin with; only their records are ever removed.
pub const DEPLOYMENT_PREFIX: &str = "image-factory-";

/// Reads a lab's id.
pub fn lab_id(text: &str) -> Result<ResourceId, LabIdError> {
    text.parse::<devtestlab::Lab>().map(|lab| lab.id().clone())
}

/// A password that both operating systems take, other for each run.
pub fn new_password() -> Secret {
    // Upper case, lower case, digit and symbol must all be there.
    Secret::new(format!("Aa1!{}", uuid::Uuid::new_v4().simple()))
}

/// An error of Azure's on one line, with its details and its remedy.
fn in_words(error: &crate::arm::Error) -> String {
    crate::arm::report(error).lines().collect::<Vec<_>>().join("; ")
}
