//! Microsoft.DevTestLab: labs, virtual machines, custom images, environments, artifact sources.
//!
//! Requests are built here and answers read; sending and waiting are `arm`'s, deciding is the tasks'.

pub mod artifact_source;
pub mod custom_image;
pub mod environment;
pub mod shared_gallery;
pub mod virtual_machine;

use std::{fmt, str::FromStr};

use serde_json::Value;

use crate::arm::{ApiVersion, IdError, ResourceId};

/// The version of the provider that all requests ask for.
pub const API_VERSION: ApiVersion = ApiVersion("2018-09-15");

/// The id of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lab(ResourceId);

/// A kind of resource in a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A virtual machine.
    VirtualMachine,
    /// A custom image.
    CustomImage,
    /// An environment of one of the lab's users.
    Environment,
    /// A repository of artifacts and templates.
    ArtifactSource,
    /// A template for environments, in a repository.
    ArmTemplate,
}

/// Why an id cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabIdError {
    /// It is no resource id at all.
    #[error(transparent)]
    Malformed(#[from] IdError),
    /// It is the id of something else.
    #[error("'{id}' is the id of a '{found}', not of {expected}")]
    OtherType {
        /// The id.
        id: String,
        /// The type in it.
        found: String,
        /// What is wanted.
        expected: &'static str,
    },
    /// It lies in another lab.
    #[error("'{id}' lies in another lab than '{lab}'")]
    OtherLab {
        /// The id.
        id: String,
        /// The lab that is meant.
        lab: String,
    },
}

impl Lab {
    /// The lab's id.
    pub fn id(&self) -> &ResourceId {
        &self.0
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Reads a full id of something in this lab.
    pub fn member(&self, kind: Kind, id: &str) -> Result<ResourceId, LabIdError> {
        let id: ResourceId = id.trim().trim_end_matches('/').parse()?;
        if !id.is_type(kind.resource_type()) {
            return Err(LabIdError::OtherType { id: id.to_string(), found: id.resource_type(), expected: kind.noun() });
        }
        let lab = if matches!(kind, Kind::Environment | Kind::ArmTemplate) { id.parent().and_then(|id| id.parent()) } else { id.parent() };
        if lab.as_ref() != Some(&self.0) {
            return Err(LabIdError::OtherLab { id: id.to_string(), lab: self.0.to_string() });
        }
        Ok(id)
    }

    /// The id of something that lies straight in this lab, from its id or its name.
    pub fn member_or_name(&self, kind: Kind, text: &str) -> Result<ResourceId, LabIdError> {
        if is_id(text) { self.member(kind, text) } else { Ok(self.0.child(kind.segment(), text)?) }
    }
}

impl FromStr for Lab {
    type Err = LabIdError;

    fn from_str(text: &str) -> Result<Self, LabIdError> {
        let id: ResourceId = text.trim().trim_end_matches('/').parse()?;
        if id.is_type("Microsoft.DevTestLab/labs") {
            Ok(Self(id))
        } else {
            Err(LabIdError::OtherType { id: id.to_string(), found: id.resource_type(), expected: "a lab" })
        }
    }
}

impl fmt::Display for Lab {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Kind {
    /// With its article, for messages.
    pub fn noun(self) -> &'static str {
        match self {
            Self::VirtualMachine => "a lab virtual machine",
            Self::CustomImage => "a custom image",
            Self::Environment => "an environment",
            Self::ArtifactSource => "a repository",
            Self::ArmTemplate => "an environment template",
        }
    }

    /// The full type.
    pub fn resource_type(self) -> &'static str {
        match self {
            Self::VirtualMachine => "Microsoft.DevTestLab/labs/virtualmachines",
            Self::CustomImage => "Microsoft.DevTestLab/labs/customimages",
            Self::Environment => "Microsoft.DevTestLab/labs/users/environments",
            Self::ArtifactSource => "Microsoft.DevTestLab/labs/artifactsources",
            Self::ArmTemplate => "Microsoft.DevTestLab/labs/artifactsources/armtemplates",
        }
    }

    fn segment(self) -> &'static str {
        self.resource_type().rsplit('/').next().unwrap_or_default()
    }
}

/// Whether a text is meant as an id rather than a name; no name may hold a slash in front.
pub fn is_id(text: &str) -> bool {
    text.trim_start().starts_with('/')
}

/// The provisioning state that a resource shows.
pub fn provisioning_state(resource: &Value) -> Option<&str> {
    resource.pointer("/properties/provisioningState").and_then(Value::as_str)
}

/// A text inside an answer, such as `text(&vm, "/properties/computeId")`; empty counts as absent.
fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}
