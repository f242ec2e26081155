//! The image factory: golden images as code, built, captured, distributed and retired.
//!
//! A configuration folder says what there should be, an inventory what there is; `plan` is the pure difference of both, and everything that
//! changes Azure follows it. State lives in Azure, as tags: what a run makes bears its id, so that a later run can go on where it ended.

pub mod configuration;
pub mod golden_image;
pub mod inventory;
pub mod names;
pub mod plan;
pub mod retention;

/// The tag that names the golden image of a virtual machine or an image.
pub const IMAGE_PATH_TAG: &str = "ImagePath";
/// What bears this tag is never touched.
pub const IGNORE_TAG: &str = "FactoryIgnore";
/// The tag that names the run that made something.
pub const RUN_TAG: &str = "FactoryRunId";
/// The tag that holds the fingerprint of the golden image's file.
pub const FINGERPRINT_TAG: &str = "FactoryFingerprint";
