//! The types of the provider as its description has them: what can be listed, made, changed and deleted, and what of it takes time.

use super::{
    disk,
    plain::{self, Making, Prepare},
    policy, schedule, shared_gallery,
};
use crate::emulator::{error::ApiError, id::Id, settings::Work};

/// How a PUT or DELETE is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// There is none.
    None,
    /// Done when it is answered.
    Sync,
    /// Answered with an operation, which has ended already.
    Quick,
    /// Answered with an operation that goes on for so long.
    Long(Work),
    /// The type's own module serves it.
    Own,
}

/// A type of the provider.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The types without the namespace, in lower case.
    pub name: &'static str,
    /// Whether its collection can be listed.
    pub lists: bool,
    /// PUT.
    pub put: Verb,
    /// DELETE.
    pub delete: Verb,
    /// What is checked and added before one is made.
    pub prepare: Prepare,
}

const fn kind(name: &'static str, put: Verb, delete: Verb, prepare: Prepare) -> Kind {
    Kind { name, lists: true, put, delete, prepare }
}

#[allow(clippy::unnecessary_wraps, reason = "other kinds refuse something here")]
fn as_given(_: &mut Making<'_>) -> Result<(), ApiError> {
    Ok(())
}

const KINDS: &[Kind] = &[
    kind("labs", Verb::Own, Verb::Own, as_given),
    kind("labs/artifactsources", Verb::Own, Verb::Sync, as_given),
    kind("labs/artifactsources/armtemplates", Verb::None, Verb::None, as_given),
    kind("labs/artifactsources/artifacts", Verb::None, Verb::None, as_given),
    Kind { lists: false, ..kind("labs/costs", Verb::Sync, Verb::None, plain::prepare_cost) },
    kind("labs/customimages", Verb::Own, Verb::Own, as_given),
    kind("labs/formulas", Verb::Quick, Verb::Sync, plain::prepare_formula),
    kind("labs/galleryimages", Verb::None, Verb::None, as_given),
    kind("labs/notificationchannels", Verb::Sync, Verb::Sync, plain::prepare_channel),
    Kind { lists: false, ..kind("labs/policysets", Verb::None, Verb::None, as_given) },
    kind("labs/policysets/policies", Verb::Sync, Verb::Sync, policy::prepare),
    kind("labs/schedules", Verb::Sync, Verb::Sync, schedule::prepare),
    kind("labs/servicerunners", Verb::Sync, Verb::Sync, plain::prepare_runner),
    kind("labs/sharedgalleries", Verb::Sync, Verb::Sync, shared_gallery::prepare),
    kind("labs/sharedgalleries/sharedimages", Verb::Sync, Verb::Sync, shared_gallery::prepare),
    kind("labs/users", Verb::Quick, Verb::Long(Work::Deletion), plain::prepare_user),
    kind("labs/users/disks", Verb::Long(Work::Start), Verb::Long(Work::Deletion), disk::prepare),
    kind("labs/users/environments", Verb::Own, Verb::Own, as_given),
    kind("labs/users/secrets", Verb::Quick, Verb::Sync, plain::prepare_secret),
    kind("labs/users/servicefabrics", Verb::Long(Work::Start), Verb::Long(Work::Deletion), plain::prepare_fabric),
    kind("labs/users/servicefabrics/schedules", Verb::Sync, Verb::Sync, schedule::prepare),
    kind("labs/virtualmachines", Verb::Own, Verb::Own, as_given),
    kind("labs/virtualmachines/schedules", Verb::Sync, Verb::Sync, schedule::prepare),
    kind("labs/virtualnetworks", Verb::Long(Work::Start), Verb::Long(Work::Deletion), plain::prepare_network),
    kind("schedules", Verb::Sync, Verb::Sync, schedule::prepare),
];

/// The type with these names, in lower case.
pub fn find(kinds: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == kinds)
}

/// The type of a resource.
pub fn of(id: &Id) -> Option<&'static Kind> {
    find(&id.pairs.iter().map(|(kind, _)| kind.to_ascii_lowercase()).collect::<Vec<_>>().join("/"))
}
