//! What evaluation can end with besides a value: an error, or something that only a running deployment can tell; and the work budget.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Finding, Position};

/// The work that one deployment's evaluation may take, in bytes produced. An honest template stays below a hundredth.
const WORK: u64 = 128 << 20;

/// How many findings are told of one template: each costs a look through the file for its place.
pub(crate) const MAX_FINDINGS: usize = 100;

/// Why there is no value.
#[derive(Clone, Debug)]
pub(crate) struct Fault(Box<Detail>);

#[derive(Clone, Debug)]
struct Detail {
    unresolved: bool,
    placed: bool,
    offset: Option<usize>,
    finding: Finding,
}

impl Fault {
    /// An error of the template.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::with_code("InvalidTemplate", message)
    }

    pub(crate) fn with_code(code: &'static str, message: impl Into<String>) -> Self {
        let finding = Finding { code, message: message.into(), path: String::new(), file: None, position: None };
        Self(Box::new(Detail { unresolved: false, placed: false, offset: None, finding }))
    }

    /// Something that is not known here, though the template may be right.
    pub(crate) fn unresolved(message: impl Into<String>) -> Self {
        let mut fault = Self::new(message);
        fault.0.unresolved = true;
        fault
    }

    pub(crate) fn is_unresolved(&self) -> bool {
        self.0.unresolved
    }

    /// Names the character of the expression at which it happened; the innermost call counts.
    pub(crate) fn at(mut self, offset: usize) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// Names the string in which it happened; the innermost one counts.
    pub(crate) fn placed(mut self, document: &super::Document, path: &dyn Fn() -> String) -> Self {
        if !self.0.placed {
            let path = path();
            self.0.placed = true;
            self.0.finding.position = document.position_within(&path, self.0.offset);
            self.0.finding.file = document.file(&path);
            self.0.finding.path = path;
        }
        self
    }

    pub(crate) fn from_finding(finding: Finding) -> Self {
        Self(Box::new(Detail { unresolved: false, placed: true, offset: None, finding }))
    }

    pub(crate) fn into_finding(self) -> Finding {
        self.0.finding
    }
}

impl Finding {
    /// A finding about the value at a path of a document.
    pub(crate) fn at(document: &super::Document, path: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        let path = path.into();
        let position: Option<Position> = document.position(&path);
        Self { code, message: message.into(), file: document.file(&path), position, path }
    }
}

/// What is left of the work that an evaluation may take; shared by a deployment and what is nested in it.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU64);

impl Budget {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(WORK))
    }

    /// Takes `bytes` off the budget.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), Fault> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if taken.is_ok() {
            return Ok(());
        }
        self.0.store(0, Ordering::Relaxed);
        Err(Fault::new(format!("evaluating the template produces more than {} MB of values, which is not allowed", WORK >> 20)))
    }
}
