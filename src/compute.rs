//! Microsoft.Compute: image definitions and versions of a compute gallery, and what they are made of.
//!
//! Everything that can be known without asking Azure is a pure function here: names, numbers, regions, request bodies, comparisons, what a
//! replication status means, which versions may go. The tasks do the asking.

pub mod definition;
pub mod edge_zone;
pub mod encryption;
pub mod features;
pub mod gallery;
pub mod image_version;
pub mod region;
pub mod replica_set;
pub mod replication;
pub mod retention;
pub mod source;
pub mod uefi;
pub mod version;
pub mod vhd;

use serde_json::Value;

use crate::arm::ApiVersion;

/// Galleries, definitions and versions. The first version of the interface that knows blocked deletion, additional replica sets and changes of
/// a definition's features; the next one (2025-03-03) changes the defaults of a definition, which is why this one is kept.
pub const GALLERY: ApiVersion = ApiVersion("2024-03-03");
/// Virtual machines, scale sets and managed images.
pub const COMPUTE: ApiVersion = ApiVersion("2024-03-01");
/// Disks and snapshots.
pub const DISK: ApiVersion = ApiVersion("2023-10-02");

/// A value that Azure would refuse: what is wrong with it and what is allowed, to be said before anything is sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{value}': {problem}")]
pub struct Invalid {
    /// The value, or the part of it that is wrong.
    pub value: String,
    /// What is wrong with it, and what is allowed.
    pub problem: String,
}

impl Invalid {
    /// A refusal.
    pub fn new(value: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { value: value.into(), problem: problem.into() }
    }
}

/// The member of `choices` that a text names, without regard to case.
fn choice(text: &str, choices: &[&'static str]) -> Result<&'static str, Invalid> {
    let found = choices.iter().find(|choice| choice.eq_ignore_ascii_case(text.trim()));
    found.copied().ok_or_else(|| Invalid::new(text, format!("give one of {}", choices.join(", "))))
}

/// The whole number in a JSON value, written as a number or as text.
fn whole_number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Two texts of Azure's that mean the same: both absent or equal without case.
fn same_text(one: &Value, other: &Value) -> bool {
    match (one.as_str(), other.as_str()) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (None, None) => one == other,
        _ => false,
    }
}
