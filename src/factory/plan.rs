//! What a run will do, and why: a pure function of configuration, inventory, options and the clock.
//!
//! Nothing here sends a request. A plan that would delete too much says so in `guards`; whoever carries it out stops there.

mod clean_up;
pub(super) mod gallery;
mod images;
mod retire;

use std::collections::BTreeSet;

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use crate::factory::{
    configuration::{Configuration, Receiver},
    inventory::{self, Inventory, Lab},
    names::ImagePath,
};

/// How far dates may lie ahead of the clock before that is worth a warning.
const CLOCK_SKEW: Duration = Duration::minutes(5);

/// Which part of the work is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything, in order.
    Run,
    /// Making virtual machines.
    Build,
    /// Making images of virtual machines.
    Capture,
    /// Copying images to labs.
    Distribute,
    /// Deleting old images.
    Retire,
    /// Deleting virtual machines that are done.
    CleanUp,
}

impl Scope {
    fn includes(self, part: Scope) -> bool {
        self == Scope::Run || self == part
    }
}

/// One job's share of a run that is spread over several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// This job's number, from 1.
    pub position: usize,
    /// The number of jobs.
    pub total: usize,
}

impl Slice {
    /// The whole run.
    pub const WHOLE: Self = Self { position: 1, total: 1 };

    /// Whether this job is the only one.
    pub fn is_whole(self) -> bool {
        self.total <= 1
    }

    /// Whether the golden image of this index, in the order of paths, is this job's.
    pub fn holds(self, index: usize) -> bool {
        self.is_whole() || index % self.total == self.position.saturating_sub(1)
    }
}

/// What a plan is for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The run's id.
    pub run_id: String,
    /// The part of the work.
    pub scope: Scope,
    /// This job's share.
    pub slice: Slice,
    /// How many good images of a golden image a lab keeps.
    pub retention: u32,
    /// The longest time for one virtual machine.
    pub timeout: std::time::Duration,
}

/// A virtual machine to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// The golden image.
    pub image_path: ImagePath,
    /// The virtual machine's name.
    pub vm: String,
    /// Why.
    pub reason: String,
}

/// An image to be made of a virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capture {
    /// The golden image.
    pub image_path: ImagePath,
    /// The image's name.
    pub image: String,
    /// The virtual machine.
    pub vm: String,
    /// Why.
    pub reason: String,
    /// The gallery's version that it becomes, as `definition/number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// An image to be copied to a lab, or offered in it through the gallery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Distribute {
    /// The image's name.
    pub image: String,
    /// The lab's id.
    pub lab: String,
    /// The golden image.
    pub image_path: ImagePath,
    /// Why.
    pub reason: String,
    /// The gallery's version, as `definition/number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// An image to be deleted, or no longer to be offered in a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retire {
    /// The image's name.
    pub image: String,
    /// The lab's id.
    pub lab: String,
    /// The golden image.
    pub image_path: ImagePath,
    /// Why.
    pub reason: String,
    /// The gallery's version, as `definition/number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What exactly it is.
    #[serde(skip)]
    pub target: Target,
}

/// What is retired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A custom image of the lab.
    CustomImage,
    /// A VHD in the storage account of the factory's lab.
    Vhd,
    /// A version in the gallery.
    Version {
        /// Its id.
        id: String,
    },
    /// A definition in the gallery, empty by then.
    Definition {
        /// Its id.
        id: String,
    },
    /// An image of the gallery that the lab offers; nothing is deleted.
    SharedImage {
        /// The gallery's name in the lab.
        gallery: String,
        /// Whether the gallery is detached from the lab besides.
        detach: bool,
    },
}

/// A virtual machine to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CleanUp {
    /// The virtual machine's name.
    pub vm: String,
    /// The lab's id.
    pub lab: String,
    /// Why.
    pub reason: String,
}

/// What stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The image's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The virtual machine's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// The lab's id.
    pub lab: String,
    /// Why.
    pub reason: String,
}

/// What cannot be done, and is known before anything is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The golden image that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_path: Option<ImagePath>,
    /// The image that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The lab that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lab: Option<String>,
    /// What is wrong, and the remedy.
    pub error: String,
}

/// A lab of which a plan deletes more than may be deleted without being allowed to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Guard {
    /// The lab's id.
    pub lab: String,
    /// How many images would be deleted.
    pub deleted: usize,
    /// Of how many factory images, those counted in that the plan adds.
    pub images: usize,
}

/// What a run will do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Virtual machines to be made.
    pub build: Vec<Build>,
    /// Images to be made of them.
    pub capture: Vec<Capture>,
    /// Copies to be made of those.
    pub distribute: Vec<Distribute>,
    /// Images to be deleted.
    pub retire: Vec<Retire>,
    /// Virtual machines to be deleted.
    pub clean_up: Vec<CleanUp>,
    /// What stays.
    pub kept: Vec<Kept>,
    /// What cannot be done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// Labs of which too much would be deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// What is probably not meant so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The images of this run that are captured already.
    #[serde(skip)]
    pub captured: Vec<Capture>,
    /// Virtual machines of earlier runs that make room for new ones, with the golden image that waits for it.
    #[serde(skip)]
    pub replaced: Vec<(ImagePath, String)>,
}

/// Makes the plan.
pub fn plan(configuration: &Configuration, inventory: &Inventory, options: &Options, now: OffsetDateTime) -> Plan {
    let mut plan = Plan::default();
    let given = &Given { configuration, inventory, options, paths: slice_of(configuration, options.slice), now };
    images::plan_images(&mut plan, given);
    if options.scope.includes(Scope::Distribute) {
        images::plan_distribution(&mut plan, given);
    }
    if options.scope.includes(Scope::Retire) && (options.slice.is_whole() || options.scope == Scope::Retire) {
        retire::plan_retirement(&mut plan, given);
        if !configuration.images.is_empty() {
            gallery::plan_retirement(&mut plan, given);
        }
    }
    if options.scope.includes(Scope::CleanUp) {
        clean_up::plan_clean_up(&mut plan, given);
    }
    warn_of_clocks(&mut plan, inventory, now);
    plan
}

/// What a plan is made from.
struct Given<'a> {
    configuration: &'a Configuration,
    inventory: &'a Inventory,
    options: &'a Options,
    /// The golden images that are this job's.
    paths: BTreeSet<ImagePath>,
    now: OffsetDateTime,
}

impl<'a> Given<'a> {
    /// Whether there is a golden image of this path.
    fn exists(&self, path: &ImagePath) -> bool {
        self.configuration.image(path).is_some()
    }

    /// Every lab of the configuration, with what was found of it.
    fn receivers(&self) -> impl Iterator<Item = (&'a Receiver, &'a inventory::Target)> {
        self.configuration.labs.iter().zip(&self.inventory.receivers)
    }

    /// When an image comes to be that this plan makes: later than all that are there, whatever the clocks say.
    fn arrival(&self, there: impl Iterator<Item = Option<OffsetDateTime>>) -> OffsetDateTime {
        there.flatten().max().map_or(self.now, |newest| self.now.max(newest + Duration::seconds(1)))
    }
}

/// The golden images that are this job's.
fn slice_of(configuration: &Configuration, slice: Slice) -> BTreeSet<ImagePath> {
    let images = configuration.images.iter().enumerate();
    images.filter(|(index, _)| slice.holds(*index)).map(|(_, image)| image.path.clone()).collect()
}

/// Every lab that could be read, once: the factory's own first.
pub fn labs(inventory: &Inventory) -> impl Iterator<Item = &Lab> {
    let receivers = inventory.receivers.iter().filter_map(|target| target.lab.as_ref().ok());
    std::iter::once(&inventory.factory).chain(receivers.filter(|lab| lab.id != inventory.factory.id))
}

fn warn_of_clocks(plan: &mut Plan, inventory: &Inventory, now: OffsetDateTime) {
    for lab in labs(inventory) {
        let ahead = lab.images.iter().filter(|image| image.created.is_some_and(|created| created > now + CLOCK_SKEW));
        plan.warnings.extend(ahead.map(|image| {
            format!("image '{}' of lab '{}' bears a date in the future: is this machine's clock right?", image.name, lab.id.name())
        }));
    }
}

#[cfg(test)]
mod tests;
