//! Which virtual machines are made, captured, and copied to which labs.

use std::collections::BTreeSet;

use time::{Duration, OffsetDateTime};

use super::{Build, Capture, Distribute, Given, Kept, Options, Plan, Problem, Scope, gallery, labs};
use crate::factory::{
    configuration::{Configuration, Receiver, gallery::DistributionKind},
    gallery::{Definition, Version, version_name},
    golden_image::GoldenImage,
    inventory::{Image, Inventory, Lab, State, Target, Vm},
    names::{ImagePath, image_name, vm_names},
};

/// How old a virtual machine of another run may be to be gone on with; an older one misses what its base image has gained since.
const ADOPTION: Duration = Duration::hours(24);

/// Plans building and capturing; notes what of this run is done already.
pub(super) fn plan_images(plan: &mut Plan, given: &Given<'_>) {
    let Given { configuration, inventory, options, ref paths, now } = *given;
    let factory = &inventory.factory;
    let vm_names = vm_names(configuration.images.iter().map(|image| &image.path), &names_of_others(configuration, factory));
    let in_labs = labs(inventory).flat_map(|lab| lab.images.iter().map(|image| image.name.to_ascii_lowercase()));
    let taken: BTreeSet<_> = in_labs.chain(gallery::image_names(inventory)).collect();
    for image in configuration.images.iter().filter(|image| paths.contains(&image.path)) {
        if !matches!(options.scope, Scope::Run | Scope::Build | Scope::Capture) {
            continue;
        }
        if let Some(error) = image.problem.clone().or_else(|| gallery::obstacle(inventory, image)) {
            plan.problems.push(Problem { image_path: Some(image.path.clone()), image: None, lab: None, error });
            continue;
        }
        let path = image.path.clone();
        if let Some(done) = captured(inventory, &path, &options.run_id) {
            let reason = "this run has captured it already".to_owned();
            // The disk of a VHD under way must stay until that is whole.
            let source = factory.image(&done.image).filter(|image| image.state == State::Changing);
            let vm = source.and_then(|image| Some(image.backing.vhd.as_ref()?.vm.clone())).unwrap_or_default();
            plan.captured.push(Capture { image_path: path, image: done.image, vm, reason, version: done.version });
            continue;
        }
        let capture = |vm: &str, reason: &str| Capture {
            image_path: path.clone(),
            image: image_name(&path, now.date(), &taken),
            vm: vm.to_owned(),
            reason: reason.to_owned(),
            version: gallery::next_version(inventory, image, now),
        };
        let adopted = factory.vms.iter().find(|vm| is_adopted(vm, image, options, now));
        if let Some(vm) = adopted {
            let reason = match vm.tags.run_id.as_deref() {
                Some(run) if run == options.run_id => "this run has made the virtual machine already".to_owned(),
                Some(run) => format!("goes on with the virtual machine of run '{run}'"),
                None => "the virtual machine bears its ImagePath".to_owned(),
            };
            if options.scope != Scope::Build {
                plan.capture.push(capture(&vm.name, &reason));
            }
            continue;
        }
        if options.scope == Scope::Capture {
            continue;
        }
        let Some(vm) = vm_names.get(&path) else { continue };
        plan.build.push(Build { image_path: path.clone(), vm: vm.clone(), reason: "every run builds every golden image anew".to_owned() });
        let in_the_way = factory.vms.iter().filter(|old| old.tags.image_path.as_ref() == Some(&path) && !old.tags.ignored);
        plan.replaced.extend(in_the_way.map(|old| (path.clone(), old.name.clone())));
        if options.scope == Scope::Run {
            plan.capture.push(capture(vm, "it is built in this run"));
        }
    }
}

/// The names (in lower case) of the lab's virtual machines that do not make room for the factory's own.
fn names_of_others(configuration: &Configuration, factory: &Lab) -> BTreeSet<String> {
    let is_replaceable = |vm: &&Vm| !vm.tags.ignored && vm.tags.image_path.as_ref().is_some_and(|path| configuration.image(path).is_some());
    factory.vms.iter().filter(|vm| !is_replaceable(vm)).map(|vm| vm.name.to_ascii_lowercase()).collect()
}

/// An image that copies are made of.
struct Source {
    image: String,
    /// The gallery's version that it is.
    version: Option<String>,
}

impl Source {
    fn of_version((definition, version): (&Definition, &Version)) -> Self {
        Self { image: version.image.name.clone(), version: Some(version_name(&definition.name, version.number)) }
    }

    fn of_image(image: &Image) -> Self {
        Self { image: image.name.clone(), version: None }
    }
}

/// What this run has captured of a golden image, whole or still under way.
fn captured(inventory: &Inventory, path: &ImagePath, run_id: &str) -> Option<Source> {
    let image = inventory.factory.images.iter().find(|image| {
        image.tags.image_path.as_ref() == Some(path) && image.tags.run_id.as_deref() == Some(run_id) && image.state != State::Failed
    });
    image.map(Source::of_image).or_else(|| gallery::captured(inventory, path, run_id).map(Source::of_version))
}

/// Whether the run goes on with a virtual machine rather than making a new one.
fn is_adopted(vm: &Vm, image: &GoldenImage, options: &Options, now: OffsetDateTime) -> bool {
    if vm.tags.ignored || vm.state == State::Failed || vm.tags.image_path.as_ref() != Some(&image.path) {
        return false;
    }
    let is_own = vm.tags.run_id.as_deref() == Some(options.run_id.as_str());
    let is_same = vm.tags.fingerprint.as_deref() == Some(image.fingerprint.as_str());
    let is_recent = vm.created.is_some_and(|created| now - created < ADOPTION);
    // The documents capture every virtual machine that bears an ImagePath.
    is_own || (is_same && is_recent) || options.scope == Scope::Capture
}

/// Plans the copies: of this run's images in a whole run, otherwise of the newest good ones.
pub(super) fn plan_distribution(plan: &mut Plan, given: &Given<'_>) {
    let Given { configuration, inventory, ref paths, .. } = *given;
    let is_of_this_run = given.options.scope == Scope::Run;
    let sources: Vec<(ImagePath, Source)> = if is_of_this_run {
        let captures = plan.capture.iter().chain(&plan.captured);
        captures
            .map(|capture| (capture.image_path.clone(), Source { image: capture.image.clone(), version: capture.version.clone() }))
            .collect()
    } else {
        paths.iter().filter_map(|path| Some((path.clone(), newest_good(configuration, inventory, path)?))).collect()
    };
    for (receiver, target) in given.receivers() {
        let there = target.lab.as_ref().map(Lab::images_by_name).unwrap_or_default();
        for (path, source) in sources.iter().filter(|(path, _)| receiver.lists(path)) {
            let image = &source.image;
            match &source.version {
                Some(version) => gallery::distribute(plan, inventory, target, path, image, version),
                None => distribute(plan, inventory, target, there.get(&image.to_ascii_lowercase()).copied(), path, image),
            }
        }
        if given.options.scope == Scope::Distribute {
            warn_of_images_to_come(plan, receiver, paths, &sources);
        }
    }
}

fn warn_of_images_to_come(plan: &mut Plan, receiver: &Receiver, paths: &BTreeSet<ImagePath>, sources: &[(ImagePath, Source)]) {
    for path in paths.iter().filter(|path| receiver.lists(path) && !sources.iter().any(|(source, _)| source == *path)) {
        plan.warnings.push(format!("the factory has no good image of '{path}' for lab '{}' yet", receiver.lab_name));
    }
}

/// The newest good image of a golden image, where that goes through the gallery the newest good version. An image whose virtual machine
/// turned out to need the gallery has versions only.
fn newest_good(configuration: &Configuration, inventory: &Inventory, path: &ImagePath) -> Option<Source> {
    let good = inventory
        .factory
        .images
        .iter()
        .filter(|image| image.tags.image_path.as_ref() == Some(path) && image.state == State::Succeeded && !image.tags.ignored);
    let image = good.max_by(|one, other| (one.created, &one.name).cmp(&(other.created, &other.name))).map(Source::of_image);
    let version = gallery::newest_good(inventory, path).map(Source::of_version);
    let through_gallery = configuration.image(path).is_some_and(|image| image.settings.distribution == DistributionKind::Gallery);
    if through_gallery { version } else { image.or(version) }
}

/// Plans one copy; `there` is the image of that name which the lab has.
fn distribute(plan: &mut Plan, inventory: &Inventory, target: &Target, there: Option<&Image>, path: &ImagePath, image: &str) {
    let id = target.id.as_str();
    let problem =
        |error: String| Problem { image_path: Some(path.clone()), image: Some(image.to_owned()), lab: Some(id.to_owned()), error };
    let lab = match &target.lab {
        Ok(lab) => lab,
        Err(error) => return plan.problems.push(problem(error.clone())),
    };
    let factory = &inventory.factory;
    if lab.id == factory.id {
        return;
    }
    let mut kept = |reason: &str| {
        plan.kept.push(Kept { image: Some(image.to_owned()), vm: None, lab: id.to_owned(), reason: reason.to_owned() });
    };
    let reason = match there {
        None => format!("the lab lists '{path}' and does not have it"),
        Some(there) if there.tags.image_path.as_ref() != Some(path) => {
            let error = format!("the lab has an image '{image}' that the factory did not make: rename or delete it");
            return plan.problems.push(problem(error));
        }
        Some(there) if there.tags.ignored => return kept("it is tagged FactoryIgnore"),
        Some(there) if there.state == State::Succeeded => return kept("the lab has it"),
        Some(there) if there.state == State::Changing => "it is being copied: waits for that".to_owned(),
        Some(_) => "the copy that is there failed: makes it anew".to_owned(),
    };
    if !lab.location.eq_ignore_ascii_case(&factory.location) {
        return plan.problems.push(problem(format!(
            "the lab is in region '{}', the factory's lab in '{}': a custom image is made of a disk in its own region. Remedy: a factory lab in '{0}', with a Labs.json of its own",
            lab.location, factory.location
        )));
    }
    let (image, lab, image_path) = (image.to_owned(), id.to_owned(), path.clone());
    plan.distribute.push(Distribute { image, lab, image_path, reason, version: None });
}
