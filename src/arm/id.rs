//! Resource ids: parsed, printed, compared without case.

use std::{fmt, str::FromStr};

/// The id of a resource below a resource group, such as a lab or a lab's virtual machine.
#[derive(Clone, Debug)]
pub struct ResourceId {
    text: String,
}

/// Why a text is no resource id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a resource id: {problem}")]
pub struct IdError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

impl ResourceId {
    /// The subscription's GUID.
    pub fn subscription_id(&self) -> &str {
        todo!()
    }
    /// The resource group's name.
    pub fn resource_group(&self) -> &str {
        todo!()
    }
    /// The full type, such as `Microsoft.DevTestLab/labs/virtualmachines`, as written.
    pub fn resource_type(&self) -> String {
        todo!()
    }
    /// Whether the type is this one, without case.
    pub fn is_type(&self, _resource_type: &str) -> bool {
        todo!()
    }
    /// The last name.
    pub fn name(&self) -> &str {
        todo!()
    }
    /// All names, outermost first: `["lab", "vm"]`.
    pub fn names(&self) -> Vec<&str> {
        todo!()
    }
    /// The id of the resource above, `None` at the top (below the resource group).
    pub fn parent(&self) -> Option<ResourceId> {
        todo!()
    }
    /// The id of a resource below. The name is checked by `FromStr`'s rules.
    pub fn child(&self, _child_type: &str, _name: &str) -> Result<ResourceId, IdError> {
        todo!()
    }
    /// The id of the resource group: `/subscriptions/{s}/resourceGroups/{g}`.
    pub fn resource_group_id(&self) -> String {
        todo!()
    }
    /// As a path for a URL, each segment percent-encoded.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ResourceId {
    type Err = IdError;
    fn from_str(_text: &str) -> Result<Self, IdError> {
        todo!()
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.text.eq_ignore_ascii_case(&other.text)
    }
}

impl Eq for ResourceId {}
