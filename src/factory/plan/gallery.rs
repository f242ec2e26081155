//! What goes through the gallery: the version that a capture makes, the labs that get it, and the versions that are retired.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use super::{Distribute, Given, Guard, Kept, Plan, Problem, Retire, Target, retire::exceeds};
use crate::{
    compute::region::Region,
    factory::{
        configuration::{Receiver, gallery::DistributionKind},
        gallery::{Definition, Gallery, LabView, Version, names, version_name},
        golden_image::GoldenImage,
        inventory::{self, Image, Inventory, Lab, State},
        names::ImagePath,
        retention::{Listing, Verdict, verdicts},
    },
};

/// The gallery, where an image goes through it.
fn of_image<'a>(inventory: &'a Inventory, image: &GoldenImage) -> Option<&'a Gallery> {
    inventory.gallery.as_ref().filter(|_| image.settings.distribution == DistributionKind::Gallery)
}

/// Why a golden image cannot go through the gallery, as far as that is known before anything is built.
pub(super) fn obstacle(inventory: &Inventory, image: &GoldenImage) -> Option<String> {
    let gallery = of_image(inventory, image)?;
    if let Some(problem) = &gallery.problem {
        return Some(format!("the gallery '{}' cannot be read: {problem}", gallery.id.name()));
    }
    foreign_definition(gallery, &image.path)
}

/// Why a golden image cannot have the definition of its name.
pub(in crate::factory) fn foreign_definition(gallery: &Gallery, path: &ImagePath) -> Option<String> {
    let definition = gallery.definition(&names::definition_name(path))?;
    let (name, place) = (&definition.name, gallery.id.name());
    match &definition.image_path {
        Some(owner) if owner == path => None,
        Some(owner) => {
            Some(format!("the image definition '{name}' of gallery '{place}' belongs to golden image '{owner}': rename one of the two"))
        }
        None => Some(format!(
            "the gallery '{place}' has an image definition '{name}' that this factory did not make: rename the golden image, or delete that definition"
        )),
    }
}

/// The version that a capture of today makes; `None` when the image does not go through the gallery.
pub(super) fn next_version(inventory: &Inventory, image: &GoldenImage, now: OffsetDateTime) -> Option<String> {
    Some(version_after(of_image(inventory, image)?, &image.path, now))
}

fn version_after(gallery: &Gallery, path: &ImagePath, now: OffsetDateTime) -> String {
    let name = names::definition_name(path);
    let taken: Vec<_> =
        gallery.definition(&name).map(|found| found.versions.iter().map(|version| version.number).collect()).unwrap_or_default();
    version_name(&name, names::version_number(now.date(), &taken))
}

/// The names of the versions' images, in lower case.
pub(super) fn image_names(inventory: &Inventory) -> impl Iterator<Item = String> {
    inventory.gallery.iter().flat_map(|gallery| gallery.own_versions().map(|(_, version)| version.image.name.to_ascii_lowercase()))
}

/// The version of a golden image that this run has made, whole or still under way.
pub(super) fn captured<'a>(inventory: &'a Inventory, path: &'a ImagePath, run_id: &str) -> Option<(&'a Definition, &'a Version)> {
    inventory
        .gallery
        .as_ref()?
        .versions_of(path)
        .find(|(_, version)| version.image.tags.run_id.as_deref() == Some(run_id) && version.image.state != State::Failed)
}

/// The newest good version of a golden image.
pub(super) fn newest_good<'a>(inventory: &'a Inventory, path: &'a ImagePath) -> Option<(&'a Definition, &'a Version)> {
    let good = inventory.gallery.as_ref()?.versions_of(path);
    let good =
        good.filter(|(_, version)| version.image.state == State::Succeeded && !version.image.tags.ignored && !version.exclude_from_latest);
    good.max_by_key(|(_, version)| version.number)
}

/// Plans to offer a version in a lab.
pub(super) fn distribute(plan: &mut Plan, inventory: &Inventory, target: &inventory::Target, path: &ImagePath, image: &str, version: &str) {
    let id = target.id.as_str();
    let problem =
        |error: String| Problem { image_path: Some(path.clone()), image: Some(image.to_owned()), lab: Some(id.to_owned()), error };
    let lab = match &target.lab {
        Ok(lab) => lab,
        Err(error) => return plan.problems.push(problem(error.clone())),
    };
    let Some(gallery) = &inventory.gallery else { return };
    let nothing = LabView::default();
    let view = gallery.lab(id).unwrap_or(&nothing);
    if let Some(error) = &view.problem {
        return plan.problems.push(problem(format!("which galleries the lab has cannot be read: {error}")));
    }
    let definition = version.split('/').next().unwrap_or_default();
    let there = gallery.versions_of(path).find(|(_, known)| known.image.name == image).map(|(_, known)| known);
    let is_near = |version: &Version| version.regions.contains(&Region::new(&lab.location));
    let todo = if view.attached_as.is_none() {
        "the gallery is attached to it"
    } else if !view.offers(definition) {
        "the image is allowed in it"
    } else {
        match there {
            Some(version) if !is_near(version) => "it is replicated to the lab's region",
            Some(version) if version.image.state == State::Succeeded => {
                let reason = "the lab has it".to_owned();
                return plan.kept.push(Kept { image: Some(image.to_owned()), vm: None, lab: id.to_owned(), reason });
            }
            Some(_) => "it is being made: waits for that",
            None => "the gallery brings the new version",
        }
    };
    plan.distribute.push(Distribute {
        image: image.to_owned(),
        lab: id.to_owned(),
        image_path: path.clone(),
        reason: format!("the lab lists '{path}': {todo}"),
        version: Some(version.to_owned()),
    });
}

/// Plans what the gallery loses: images that labs no longer list, versions, and definitions that are left empty.
pub(super) fn plan_retirement(plan: &mut Plan, given: &Given<'_>) {
    let Some(gallery) = &given.inventory.gallery else { return };
    if let Some(problem) = &gallery.problem {
        let error = format!("the gallery '{}' cannot be read, nothing in it is retired: {problem}", gallery.id.name());
        return plan.problems.push(Problem { image_path: None, image: None, lab: None, error });
    }
    let disallowed = disallow(plan, given, gallery);
    let holds = holds(given, gallery, &disallowed);
    retire_versions(plan, given, gallery, &holds);
    retire_definitions(plan, given, gallery, &disallowed);
}

/// Images that a lab offers and no longer lists. Only where this factory attached the gallery, and no formula needs them.
fn disallow(plan: &mut Plan, given: &Given<'_>, gallery: &Gallery) -> BTreeSet<(String, String)> {
    let mut disallowed = BTreeSet::new();
    for (receiver, target) in given.receivers() {
        let Some(view) = gallery.lab(&target.id).filter(|view| view.is_own && view.problem.is_none()) else { continue };
        if !receiver.is_complete {
            continue;
        }
        let mut kept = view.enabled.len();
        for definition in gallery.definitions.iter().filter(|definition| view.enabled.contains(&definition.name.to_ascii_lowercase())) {
            let Some(path) = &definition.image_path else { continue };
            let gone = !given.exists(path);
            if !gone && receiver.lists(path) {
                continue;
            }
            let formula = view.formulas.iter().find(|formula| formula.definition.eq_ignore_ascii_case(&definition.name));
            if let Some(formula) = formula {
                let reason = format!("formula '{}' uses it", formula.name);
                plan.kept.push(Kept { image: Some(definition.name.clone()), vm: None, lab: target.id.clone(), reason });
                continue;
            }
            let mut reason = if gone { format!("golden image '{path}' is gone") } else { format!("the lab no longer lists '{path}'") };
            kept -= 1;
            let arrives = plan.distribute.iter().any(|copy| copy.version.is_some() && copy.lab.eq_ignore_ascii_case(&target.id));
            let detach = kept == 0 && !arrives && !view.allows_all;
            if detach {
                reason.push_str(", and offers no other image of the gallery: it is detached");
            }
            disallowed.insert((target.id.to_ascii_lowercase(), definition.name.to_ascii_lowercase()));
            plan.retire.push(Retire {
                image: definition.name.clone(),
                lab: target.id.clone(),
                image_path: path.clone(),
                reason,
                version: None,
                target: Target::SharedImage { gallery: view.attached_as.clone().unwrap_or_default(), detach },
            });
        }
    }
    disallowed
}

/// Why versions must stay whatever their age, by id in lower case.
fn holds(given: &Given<'_>, gallery: &Gallery, disallowed: &BTreeSet<(String, String)>) -> BTreeMap<String, String> {
    let mut holds: BTreeMap<String, String> = BTreeMap::new();
    let mut hold = |version: &Version, reason: String| {
        holds.entry(version.image.id.to_ascii_lowercase()).or_insert(reason);
    };
    let unread: Vec<&Receiver> = given.receivers().filter(|(_, target)| is_unread(gallery, target)).map(|(receiver, _)| receiver).collect();
    for definition in gallery.definitions.iter().filter(|definition| definition.image_path.is_some()) {
        let Some(path) = &definition.image_path else { continue };
        let newest = latest(definition);
        for version in &definition.versions {
            if definition.is_ignored {
                hold(version, "its definition is tagged FactoryIgnore".to_owned());
            }
            if let Some(until) = version.blocked_until.filter(|until| *until > given.now) {
                hold(version, format!("its deletion is blocked until {}", until.date()));
            }
            if let Some(user) = gallery.users.get(&version.image.id.to_ascii_lowercase()) {
                hold(version, format!("{user} uses it"));
            }
            if let Some(unknown) = gallery.unknown_users.first() {
                hold(version, format!("nobody knows whether it is in use: {unknown}"));
            }
            if let Some(lab) = unread.iter().find(|receiver| receiver.lists(path) || !given.exists(path)) {
                hold(version, format!("lab '{}', which could not be read, may use it", lab.lab_name));
            }
        }
        for (lab, view) in &gallery.labs {
            let lab_name = lab.rsplit('/').next().unwrap_or_default();
            for formula in view.formulas.iter().filter(|formula| formula.definition.eq_ignore_ascii_case(&definition.name)) {
                let named = formula
                    .version
                    .as_ref()
                    .and_then(|number| definition.versions.iter().find(|known| known.number.to_string() == *number));
                if let Some(version) = named.or(newest) {
                    hold(version, format!("formula '{}' of lab '{lab_name}' uses it", formula.name));
                }
            }
            let is_withdrawn = !view.allows_all && disallowed.contains(&(lab.clone(), definition.name.to_ascii_lowercase()));
            let is_offered = view.offers(&definition.name) && !is_withdrawn;
            if let Some(version) = newest.filter(|_| is_offered) {
                hold(version, format!("it is the latest that lab '{lab_name}' offers"));
            }
        }
        let user = gallery.users.get(&format!("{}/images/{}", gallery.id, definition.name).to_ascii_lowercase());
        if let (Some(version), Some(user)) = (newest, user) {
            hold(version, format!("{user} uses the latest, which it is"));
        }
        if let Some(version) = newest.filter(|_| given.exists(path)) {
            hold(version, "it is what the latest version means".to_owned());
        }
    }
    holds
}

fn is_unread(gallery: &Gallery, target: &inventory::Target) -> bool {
    target.lab.is_err() || gallery.lab(&target.id).is_some_and(|view| view.problem.is_some())
}

/// What `latest` means: the highest good version that is not left out.
fn latest(definition: &Definition) -> Option<&Version> {
    let good = definition.versions.iter().filter(|version| version.image.state == State::Succeeded && !version.exclude_from_latest);
    good.max_by_key(|version| version.number)
}

fn retire_versions(plan: &mut Plan, given: &Given<'_>, gallery: &Gallery, holds: &BTreeMap<String, String>) {
    let versions: Vec<(&Definition, &Version)> = gallery.own_versions().collect();
    let lab = as_lab(plan, given, gallery, &versions);
    let exists = |path: &ImagePath| if given.exists(path) { Listing::Listed } else { Listing::Gone };
    let place = given.inventory.factory.id.to_string();
    let mut deleted = 0;
    for ((definition, version), verdict) in versions.iter().zip(verdicts(&lab, given.options.retention, exists)) {
        let named = Some(version_name(&definition.name, version.number));
        let image = version.image.name.clone();
        let kept = match (verdict, holds.get(&version.image.id.to_ascii_lowercase()), &version.image.tags.image_path) {
            (Verdict::Retired(reason), None, Some(path)) => {
                deleted += 1;
                plan.retire.push(Retire {
                    image,
                    lab: place.clone(),
                    image_path: path.clone(),
                    reason,
                    version: named,
                    target: Target::Version { id: version.image.id.clone() },
                });
                continue;
            }
            (Verdict::Retired(_), Some(hold), _) => hold.clone(),
            (Verdict::Retired(reason) | Verdict::Kept(reason), ..) => reason,
        };
        plan.kept.push(Kept { image: Some(image), vm: None, lab: place.clone(), reason: kept });
    }
    let images = lab.images.iter().filter(|image| image.tags.image_path.is_some()).count();
    if exceeds(deleted, images, given.configuration.settings.deleted_share) {
        plan.guards.push(Guard { lab: gallery.id.to_string(), deleted, images });
    }
}

/// The versions as the rules for images see them, with those that the plan makes behind them.
fn as_lab(plan: &Plan, given: &Given<'_>, gallery: &Gallery, versions: &[(&Definition, &Version)]) -> Lab {
    let created = given.arrival(versions.iter().map(|(_, version)| version.image.created));
    let arrivals = plan.capture.iter().filter(|capture| capture.version.is_some());
    let arrivals = arrivals.map(|capture| Image::to_come(&capture.image, &capture.image_path, created));
    let images = versions.iter().map(|(_, version)| version.image.clone()).chain(arrivals).collect();
    let location = gallery.location.clone().unwrap_or_default();
    Lab { id: gallery.id.clone(), location, images, vms: Vec::new(), in_use: BTreeMap::new() }
}

/// Definitions of golden images that are gone, once nothing is in them and no lab offers them.
fn retire_definitions(plan: &mut Plan, given: &Given<'_>, gallery: &Gallery, disallowed: &BTreeSet<(String, String)>) {
    let is_unsure = given.receivers().any(|(_, target)| is_unread(gallery, target));
    for definition in gallery.definitions.iter().filter(|definition| !definition.is_ignored && !is_unsure) {
        let Some(path) = definition.image_path.as_ref().filter(|path| !given.exists(path)) else { continue };
        let goes = |version: &Version| {
            plan.retire.iter().any(|item| matches!(&item.target, Target::Version { id } if id.eq_ignore_ascii_case(&version.image.id)))
        };
        let is_offered = gallery.labs.iter().any(|(lab, view)| {
            let name = definition.name.to_ascii_lowercase();
            view.enabled.contains(&name) && !disallowed.contains(&(lab.clone(), name))
        });
        let is_used = gallery.users.contains_key(&format!("{}/images/{}", gallery.id, definition.name).to_ascii_lowercase());
        if definition.versions.iter().all(goes) && !is_offered && !is_used {
            plan.retire.push(Retire {
                image: definition.name.clone(),
                lab: given.inventory.factory.id.to_string(),
                image_path: path.clone(),
                reason: format!("golden image '{path}' is gone, and the image definition has no version left"),
                version: None,
                target: Target::Definition { id: format!("{}/images/{}", gallery.id, definition.name) },
            });
        }
    }
}

#[cfg(test)]
mod tests;
