//! What is wrong with a template, told before a deployment.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Context, Finding, Template};

/// How the image of the template's VM is to be captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// As a managed or custom image.
    ManagedImage,
    /// As a version in a gallery.
    GalleryVersion,
}

/// What to check against.
#[derive(Default)]
pub struct Options<'o> {
    /// The parameters that will be given, in a request's shape; without them missing ones are not told.
    pub parameters: Option<&'o Map<String, Value>>,
    /// How the image is to be captured.
    pub capture: Option<Capture>,
    /// The definition (`Artifactfile.json`) of an artifact's name, where it is known.
    pub artifact: Option<&'o dyn Fn(&str) -> Option<Value>>,
}

/// What a check finds.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// What Azure would refuse.
    pub errors: Vec<Finding>,
    /// What it would take, though it is hardly meant so.
    pub warnings: Vec<Finding>,
}

/// Checks a template.
pub fn check(_template: &Arc<Template>, _context: &Context, _options: &Options<'_>) -> Checked {
    Checked::default()
}
