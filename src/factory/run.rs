//! Carries a plan out: builds, captures, distributes, retires and cleans up, each thing with a result of its own.
//!
//! One semaphore caps everything that goes on in Azure. What fails is told and left behind; the rest goes on.

mod again;
mod build;
mod capture;
mod distribute;
mod gallery;
mod hold;
mod offer;
mod remove;
mod vhd;

use std::{ops::ControlFlow, time::Duration};

use async_lock::{Mutex, Semaphore};
use azure_core::credentials::Secret;
use futures::future::{join, join_all};
use serde::Serialize;

use crate::{
    arm::{self, Client, ResourceId},
    compute::{region::Region, replication::RegionStatus},
    factory::{
        configuration::{Configuration, Finding, settings::CaptureKind},
        in_words, inventory,
        inventory::Inventory,
        names::ImagePath,
        plan::{self, Capture, Guard, Plan, Scope, Slice, plan},
        report,
        vhd::{self as vhds, Stores},
    },
    order,
};

/// Takes lines of the log.
pub type Say<'a> = &'a (dyn Fn(Line<'_>) + Send + Sync);

/// A line of the log.
#[derive(Clone, Copy, Debug)]
pub enum Line<'a> {
    /// What goes on.
    Info(&'a str),
    /// What deserves a look.
    Warning(&'a str),
    /// What was not done.
    Error(&'a str),
}

/// What a run is told besides its configuration.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The run's id: running again with the same goes on where that run ended.
    pub run_id: String,
    /// This job's share of the run.
    pub slice: Slice,
    /// How many good images of a golden image a lab keeps.
    pub retention: u32,
    /// The most Azure operations in flight together.
    pub max_concurrent: u32,
    /// The longest time for one virtual machine.
    pub timeout: Duration,
    /// The longest time to make or copy an image, or to delete something.
    pub operation_timeout: Duration,
    /// The virtual machines' size.
    pub vm_size: String,
    /// The administrator's name.
    pub machine_user_name: String,
    /// The administrator's password.
    pub machine_password: Secret,
    /// Whether more may be deleted than the configured share of a lab's images.
    pub allow_deletions: bool,
    /// Whether deployments go on when the run is broken off; otherwise they are cancelled.
    pub leaves_deployments: bool,
}

/// How one thing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Status {
    /// It was done.
    Succeeded,
    /// It could not be done.
    Failed,
    /// It was done before, or there was nothing to do it with.
    Skipped,
    /// The agent asked to stop.
    Canceled,
}

/// What became of a golden image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageResult {
    /// The golden image.
    pub image_path: ImagePath,
    /// The image's name; empty where none was to be made.
    pub image: String,
    /// The gallery's version, as `definition/number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The virtual machine's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vm: String,
    /// How it ended.
    pub status: Status,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of a copy, or of an image that was to be deleted.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LabResult {
    /// The image's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The gallery's version, as `definition/number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The virtual machine's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vm: String,
    /// The lab's id.
    pub lab: String,
    /// How it ended.
    pub status: Status,
    /// Why it was to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a run did.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The run's id.
    pub run_id: String,
    /// The golden images.
    pub images: Vec<ImageResult>,
    /// The copies.
    pub distribution: Vec<LabResult>,
    /// The images deleted.
    pub retired: Vec<LabResult>,
    /// The virtual machines deleted: those that images were captured from, and those left of earlier runs.
    pub cleaned_up: Vec<LabResult>,
    /// What is wrong with the configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Finding>,
    /// What else could not be done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<plan::Problem>,
    /// What deserves a look.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Report {
    /// Whether everything was done.
    pub fn is_success(&self) -> bool {
        let statuses = self.images.iter().map(|result| result.status);
        let labs = self.distribution.iter().chain(&self.retired).chain(&self.cleaned_up).map(|result| result.status);
        let all_good = statuses.chain(labs).all(|status| matches!(status, Status::Succeeded | Status::Skipped));
        all_good && self.errors.is_empty() && self.problems.is_empty()
    }
}

/// Why a run did not take place.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration cannot be used at all.
    #[error("the configuration cannot be used: {}", .0.join("; "))]
    Configuration(Vec<String>),
    /// The factory's lab cannot be read.
    #[error("failed to read the factory's lab '{lab}'")]
    Lab {
        /// The lab's id.
        lab: String,
        /// Why.
        source: Box<arm::Error>,
    },
    /// The plan would delete too much.
    #[error("{}", guarded(.0))]
    TooManyDeletions(Vec<Guard>),
}

fn guarded(guards: &[Guard]) -> String {
    let labs: Vec<_> =
        guards.iter().map(|guard| format!("{} of {} factory images of {}", guard.deleted, guard.images, guard.lab)).collect();
    format!(
        "nothing was done, since {} would be deleted: look at the plan, and allow it by AllowDeletions (--allow-deletions) if that is meant",
        labs.join(", and ")
    )
}

/// A factory at work.
pub struct Factory<'a> {
    client: Client,
    lab: ResourceId,
    configuration: &'a Configuration,
    options: RunOptions,
    gate: Semaphore,
    stores: Stores,
    say: Say<'a>,
    /// Whether the gallery is known to be there.
    gallery_is_there: Mutex<bool>,
}

impl<'a> Factory<'a> {
    /// A factory in this lab. Nothing is sent yet.
    pub fn new(client: Client, lab: ResourceId, configuration: &'a Configuration, options: RunOptions, say: Say<'a>) -> Self {
        let gate = Semaphore::new(usize::try_from(options.max_concurrent.max(1)).unwrap_or(usize::MAX));
        Self { client, lab, configuration, options, gate, stores: Stores::default(), say, gallery_is_there: Mutex::new(false) }
    }

    /// What there is in the labs.
    pub async fn inventory(&self) -> Result<Inventory, RunError> {
        if !self.configuration.is_usable {
            let problems = self.configuration.findings.errors.iter();
            return Err(RunError::Configuration(problems.map(|finding| format!("{}: {}", finding.file, finding.message)).collect()));
        }
        let failed = |source| RunError::Lab { lab: self.lab.to_string(), source: Box::new(source) };
        let read = inventory::read::read(&self.client, &self.gate, &self.lab, &self.configuration.labs).await;
        let mut inventory = read.map_err(failed)?;
        if self.configuration.settings.capture == CaptureKind::Vhd {
            let account = self.stores.of(&self.client, &self.lab).await.map_err(failed)?;
            inventory.factory.images.extend(vhds::images(&self.client, &self.gate, &account).await.map_err(failed)?);
        }
        if let Some(settings) = &self.configuration.settings.gallery {
            let id = settings.id(&self.lab).map_err(|error| RunError::Configuration(vec![format!("factory.json: gallery: {error}")]))?;
            inventory.gallery = Some(crate::factory::gallery::read::read(&self.client, &self.gate, id, &inventory).await);
        }
        Ok(inventory)
    }

    /// What a run would do. Reads, and changes nothing.
    pub async fn plan(&self, scope: Scope) -> Result<Plan, RunError> {
        Ok(self.plan_from(&self.inventory().await?, scope))
    }

    /// The images that there are, as one self-contained HTML page.
    pub async fn page(&self) -> Result<String, RunError> {
        let inventory = self.inventory().await?;
        let disks = inventory::read::disks(&self.client, &self.gate, &inventory).await;
        Ok(report::page(self.configuration, &inventory, &disks, self.client.host().now()))
    }

    fn plan_from(&self, inventory: &Inventory, scope: Scope) -> Plan {
        let options = plan::Options {
            run_id: self.options.run_id.clone(),
            scope,
            slice: self.options.slice,
            retention: self.options.retention,
            timeout: self.options.timeout,
        };
        plan(self.configuration, inventory, &options, self.client.host().now())
    }

    /// Does the work.
    pub async fn run(&self, scope: Scope) -> Result<Report, RunError> {
        let inventory = self.inventory().await?;
        let plan = self.plan_from(&inventory, scope);
        if !plan.guards.is_empty() && !self.options.allow_deletions {
            return Err(RunError::TooManyDeletions(plan.guards));
        }
        let mut report = Report {
            run_id: self.options.run_id.clone(),
            errors: self.configuration.findings.errors.clone(),
            warnings: plan.warnings.clone(),
            ..Report::default()
        };
        plan.warnings.iter().for_each(|warning| (self.say)(Line::Warning(warning)));
        self.take_problems(&plan, &mut report);
        let swept = join_all(plan.clean_up.iter().filter(|item| is_left_over(&plan, item)).map(|item| self.sweep(item)));
        let (swept, made) = join(swept, join_all(self.chains(&plan, &inventory, scope))).await;
        report.cleaned_up = swept;
        for made in made {
            report.images.extend(made.image);
            report.distribution.extend(made.copies);
            report.cleaned_up.extend(made.cleaned_up);
        }
        if matches!(scope, Scope::Run | Scope::Retire) && (self.options.slice.is_whole() || scope == Scope::Retire) {
            self.retire(plan, scope, &mut report).await?;
        }
        if matches!(scope, Scope::Run | Scope::Build | Scope::CleanUp) {
            self.prune_deployments(&mut report).await;
        }
        Ok(report)
    }

    /// What is known beforehand not to work fails now, each thing by itself.
    fn take_problems(&self, plan: &Plan, report: &mut Report) {
        for problem in &plan.problems {
            let error = Some(problem.error.clone());
            match (&problem.image_path, &problem.image, &problem.lab) {
                (Some(path), None, None) => {
                    (self.say)(Line::Error(&format!("golden image '{path}' cannot be built: {}", problem.error)));
                    let (image, vm) = (String::new(), String::new());
                    report.images.push(ImageResult { image_path: path.clone(), image, version: None, vm, status: Status::Failed, error });
                }
                (_, Some(image), Some(lab)) => {
                    (self.say)(Line::Error(&format!("image '{image}' cannot be copied to {lab}: {}", problem.error)));
                    report.distribution.push(LabResult::of_image(image, lab, Status::Failed, error));
                }
                _ => {
                    (self.say)(Line::Error(&format!("{}: {}", problem.lab.as_deref().unwrap_or("the factory"), problem.error)));
                    report.problems.push(problem.clone());
                }
            }
        }
    }

    /// One chain of work for each golden image: each goes on by itself, as far as the cap lets it.
    fn chains<'f>(&'f self, plan: &'f Plan, inventory: &'f Inventory, scope: Scope) -> Vec<impl Future<Output = Made> + 'f> {
        let mut paths: Vec<&ImagePath> = plan.build.iter().map(|build| &build.image_path).collect();
        paths.extend(plan.capture.iter().chain(&plan.captured).map(|capture| &capture.image_path));
        paths.extend(plan.distribute.iter().map(|copy| &copy.image_path));
        order::sort(&mut paths, &mut Ord::cmp);
        paths.dedup();
        paths.into_iter().map(move |path| self.chain(plan, inventory, scope, path)).collect()
    }

    async fn chain(&self, plan: &Plan, inventory: &Inventory, scope: Scope, path: &ImagePath) -> Made {
        let mut made = Made::default();
        let source = match self.make(plan, inventory, scope, path, &mut made).await {
            Ok(Some(source)) => source,
            Ok(None) => return made,
            Err(error) => {
                let reason = format!("the image was not made: {error}");
                let copies = plan.distribute.iter().filter(|copy| copy.image_path == *path);
                made.copies =
                    copies.map(|copy| LabResult::of_image(&copy.image, &copy.lab, Status::Skipped, Some(reason.clone()))).collect();
                return made;
            }
        };
        let cleaning = async {
            match &source.vm {
                Some(vm) if scope == Scope::Run => Some(self.sweep_captured(vm, &source.name).await),
                _ => None,
            }
        };
        let statuses = self.statuses(plan, inventory, &source).await;
        let copies: Vec<_> = plan.distribute.iter().filter(|copy| copy.image_path == *path).collect();
        let (cleaned, copies) = join(cleaning, self.in_waves(&copies, &source, &statuses, inventory)).await;
        made.cleaned_up.extend(cleaned);
        made.copies = copies;
        made
    }

    /// Builds and captures as far as planned. `None` when there is nothing to copy; the error is for the copies that will not be made.
    async fn make(
        &self,
        plan: &Plan,
        inventory: &Inventory,
        scope: Scope,
        path: &ImagePath,
        made: &mut Made,
    ) -> Result<Option<Source>, String> {
        let build = plan.build.iter().find(|build| build.image_path == *path);
        let capture = plan.capture.iter().find(|capture| capture.image_path == *path);
        let done = plan.captured.iter().find(|capture| capture.image_path == *path);
        let mut result = ImageResult {
            image_path: path.clone(),
            image: capture.or(done).map(|capture| capture.image.clone()).unwrap_or_default(),
            version: None,
            vm: build.map(|build| build.vm.clone()).or(capture.map(|capture| capture.vm.clone())).unwrap_or_default(),
            status: Status::Succeeded,
            error: None,
        };
        let mut attempts = self.attempts(format!("golden image '{path}'"));
        let outcome = match (build, capture, done) {
            (_, _, Some(done)) => {
                result.status = Status::Skipped;
                match inventory.factory.image(&done.image).filter(|image| image.backing.vhd.is_some()) {
                    Some(image) => self.await_vhd(done, image).await.map(Some),
                    None => self.await_captured(done, inventory).await.map(Some),
                }
            }
            (_, Some(capture), _) if scope == Scope::Run => loop {
                let builds = build.is_some() || attempts.number > 1;
                let made = self.build_and_capture(plan, inventory, builds, attempts.number, capture).await;
                if let ControlFlow::Break(ended) = attempts.settle(made) {
                    break ended.map(Some);
                }
            },
            // What a capture has used up is built by the stage before.
            (_, Some(capture), _) => self.build_and_capture(plan, inventory, false, 1, capture).await.map(Some),
            (Some(build), None, _) => loop {
                let done = self.build(plan, path, &build.vm, attempts.number).await;
                if let ControlFlow::Break(ended) = attempts.settle(done) {
                    break ended.map(|()| None);
                }
            },
            (None, None, _) => return Ok(Source::existing(plan, inventory, path)),
        };
        let answer = match outcome {
            Ok(source) => {
                let version = source.as_ref().and_then(|source| source.version.as_ref());
                result.version = version.map(|version| version.name.clone());
                Ok(source.filter(|_| scope == Scope::Run))
            }
            Err(error) => {
                result.status = error.status();
                let told = error.to_string();
                (self.say)(Line::Error(&format!("golden image '{path}': {told}")));
                result.error = Some(told.clone());
                Err(told)
            }
        };
        made.image = Some(result);
        answer
    }

    async fn build_and_capture(
        &self,
        plan: &Plan,
        inventory: &Inventory,
        builds: bool,
        attempt: u32,
        capture: &Capture,
    ) -> Result<Source, Failure> {
        let path = &capture.image_path;
        if builds {
            self.build(plan, path, &capture.vm, attempt).await?;
        } else {
            self.take_over(self.golden_image(path)?, &capture.vm).await?;
            self.finish_vm(path, &capture.vm).await?;
        }
        self.hold(&capture.vm).await?;
        if self.goes_to_gallery(capture).await? {
            return self.capture_version(path, capture, inventory).await;
        }
        match self.configuration.settings.capture {
            CaptureKind::Vhd => self.capture_vhd(path, capture).await,
            CaptureKind::CustomImage => self.capture(path, capture).await,
        }
    }

    /// Where a version stands in the regions of the labs that get it; nothing for a custom image.
    async fn statuses(&self, plan: &Plan, inventory: &Inventory, source: &Source) -> Result<Vec<RegionStatus>, String> {
        let Some(version) = &source.version else { return Ok(Vec::new()) };
        let copies = plan.distribute.iter().filter(|copy| copy.image_path == source.path);
        let labs = copies.filter_map(|copy| inventory.receivers.iter().find(|target| target.id.eq_ignore_ascii_case(&copy.lab)));
        let mut regions: Vec<Region> = labs.filter_map(|target| Some(Region::new(&target.lab.as_ref().ok()?.location))).collect();
        regions.dedup();
        if regions.is_empty() {
            return Ok(Vec::new());
        }
        self.replicated(version, &regions).await.map_err(|failure| failure.to_string())
    }

    /// Retires by what is there after the copies, the receiving labs first: only when their copies are gone is the factory's own image free.
    async fn retire(&self, first: Plan, scope: Scope, report: &mut Report) -> Result<(), RunError> {
        let planned = if scope == Scope::Retire { first } else { self.plan(Scope::Retire).await? };
        if !planned.guards.is_empty() && !self.options.allow_deletions {
            let error = guarded(&planned.guards);
            (self.say)(Line::Error(&error));
            report.problems.push(plan::Problem { image_path: None, image: None, lab: None, error });
            return Ok(());
        }
        let is_own = |lab: &str| self.lab.as_str().eq_ignore_ascii_case(lab);
        let (own, others): (Vec<_>, Vec<_>) = planned.retire.iter().partition(|item| is_own(&item.lab));
        // A gallery is detached once the lab's other images of it are withdrawn.
        let (last, first): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|item| matches!(item.target, plan::Target::SharedImage { detach: true, .. }));
        report.retired = join_all(first.into_iter().map(|item| self.retire_image(item))).await;
        report.retired.extend(join_all(last.into_iter().map(|item| self.retire_image(item))).await);
        if !own.is_empty() {
            let now = self.plan(Scope::Retire).await?;
            let still =
                now.retire.iter().filter(|item| own.iter().any(|planned| planned.image == item.image && planned.target == item.target));
            // A definition goes once its versions have gone.
            let (last, first): (Vec<_>, Vec<_>) = still.partition(|item| matches!(item.target, plan::Target::Definition { .. }));
            report.retired.extend(join_all(first.into_iter().map(|item| self.retire_image(item))).await);
            report.retired.extend(join_all(last.into_iter().map(|item| self.retire_image(item))).await);
        }
        Ok(())
    }
}

impl LabResult {
    fn of_image(image: &str, lab: &str, status: Status, error: Option<String>) -> Self {
        Self { image: image.to_owned(), version: None, vm: String::new(), lab: lab.to_owned(), status, reason: String::new(), error }
    }
}

/// What one golden image's chain did.
#[derive(Default)]
struct Made {
    image: Option<ImageResult>,
    copies: Vec<LabResult>,
    cleaned_up: Vec<LabResult>,
}

/// An image of the factory's lab that copies are made of.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    path: ImagePath,
    backing: inventory::Backing,
    description: String,
    /// The gallery's version, where it is one rather than a custom image.
    version: Option<gallery::Published>,
    /// The virtual machine that it was captured from, to be deleted.
    vm: Option<String>,
}

impl Source {
    /// The image that the plan's copies are made of, when that is there already.
    fn existing(plan: &Plan, inventory: &Inventory, path: &ImagePath) -> Option<Self> {
        let copy = plan.distribute.iter().find(|copy| copy.image_path == *path)?;
        let name = &copy.image;
        if copy.version.is_some() {
            let mut versions = inventory.gallery.as_ref()?.versions_of(path);
            let (definition, version) = versions.find(|(_, version)| version.image.name == *name)?;
            return Some(Self::of_version(name, path, gallery::of_known(definition, version)?, None));
        }
        let image = inventory.factory.image(name)?;
        Some(Self::of(image, path, None))
    }

    fn of(image: &inventory::Image, path: &ImagePath, vm: Option<String>) -> Self {
        let (backing, description) = (image.backing.clone(), image.description.clone());
        Self { name: image.name.clone(), path: path.clone(), backing, description, version: None, vm }
    }

    fn of_version(name: &str, path: &ImagePath, version: gallery::Published, vm: Option<String>) -> Self {
        let (name, path, version) = (name.to_owned(), path.clone(), Some(version));
        Self { name, path, backing: inventory::Backing::default(), description: String::new(), version, vm }
    }
}

/// Why something was not done.
#[derive(Debug)]
enum Failure {
    /// A request or an operation failed.
    Azure {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: Box<arm::Error>,
    },
    /// It cannot be gone on with.
    Refused(String),
}

impl Failure {
    fn azure(action: impl Into<String>) -> impl FnOnce(arm::Error) -> Self {
        let action = action.into();
        move |source| Self::Azure { action, source: Box::new(source) }
    }

    fn status(&self) -> Status {
        match self {
            Self::Azure { source, .. } if source.is_cancelled() => Status::Canceled,
            _ => Status::Failed,
        }
    }
}

impl From<arm::IdError> for Failure {
    fn from(error: arm::IdError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Azure { action, source } => write!(formatter, "failed to {action}: {}", in_words(source)),
            Self::Refused(problem) => formatter.write_str(problem),
        }
    }
}

/// Whether a virtual machine is none that the chains of this plan delete themselves.
fn is_left_over(plan: &Plan, item: &plan::CleanUp) -> bool {
    let is_captured = plan.capture.iter().chain(&plan.captured).any(|capture| capture.vm.eq_ignore_ascii_case(&item.vm));
    let is_built = plan.build.iter().any(|build| build.vm.eq_ignore_ascii_case(&item.vm));
    let is_replaced = plan.replaced.iter().any(|(_, vm)| vm.eq_ignore_ascii_case(&item.vm));
    !is_captured && !is_built && !is_replaced
}
