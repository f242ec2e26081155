//! Which images are deleted, seen from after the plan's own copies have arrived; and the guard against deleting too many.

use std::collections::{BTreeMap, BTreeSet};

use super::{Given, Guard, Kept, Plan, Problem, Retire, Target};
use crate::factory::{
    inventory::{Image, Lab},
    names::ImagePath,
    retention::{Listing, Verdict, verdicts},
};

/// Plans the deletion of images in every lab that could be read.
pub(super) fn plan_retirement(plan: &mut Plan, given: &Given<'_>) {
    let factory = &given.inventory.factory;
    if given.configuration.images.is_empty() {
        let error = "the configuration has no golden image, by which every image would look superfluous: nothing is retired".to_owned();
        return plan.problems.push(Problem { image_path: None, image: None, lab: None, error });
    }
    for (receiver, target) in given.receivers() {
        let failed = |error: &str| Problem { image_path: None, image: None, lab: Some(target.id.clone()), error: error.to_owned() };
        match &target.lab {
            Err(error) => {
                // A copy that failed for the same reason has told it already.
                let problem = failed(error);
                if !plan.problems.iter().any(|known| known.lab == problem.lab && known.error == problem.error) {
                    plan.problems.push(problem);
                }
            }
            Ok(lab) if lab.id == factory.id => {}
            Ok(_) if !receiver.is_complete => {
                plan.problems.push(failed("its image paths could not be read whole: nothing is retired in this lab"));
            }
            Ok(lab) => retire(plan, given, (lab, false), |path| match (given.exists(path), receiver.lists(path)) {
                (false, _) => Listing::Gone,
                (true, false) => Listing::Unlisted,
                (true, true) => Listing::Listed,
            }),
        }
    }
    let factory = with_copies_in_use(plan, given);
    retire(plan, given, (&factory, true), |path| if given.exists(path) { Listing::Listed } else { Listing::Gone });
}

/// The factory's lab, with those of its images in use that stand below a copy which stays: both are made of one disk. Of a lab that could
/// not be read, nobody knows which copies it holds.
fn with_copies_in_use(plan: &Plan, given: &Given<'_>) -> Lab {
    let there = &given.inventory.factory;
    let retired: BTreeSet<_> = plan.retire.iter().map(|item| (item.lab.as_str(), item.image.as_str())).collect();
    let mut disks = BTreeMap::new();
    let mut unknown = Vec::new();
    for (receiver, target) in given.receivers() {
        let Ok(lab) = &target.lab else {
            unknown.push(receiver);
            continue;
        };
        let is_staying = |copy: &&Image| !retired.contains(&(target.id.as_str(), copy.name.as_str()));
        for copy in lab.images.iter().filter(|_| lab.id != there.id).filter(is_staying) {
            disks.extend(copy.backing.disks().map(|disk| (disk, lab.id.name())));
        }
    }
    let mut factory = there.clone();
    for image in &there.images {
        let copy = image.backing.disks().find_map(|disk| disks.get(&disk)).map(|lab| format!("a copy in lab '{lab}'"));
        let user = copy.or_else(|| {
            let path = image.tags.image_path.as_ref()?;
            let lab = unknown.iter().find(|receiver| receiver.lists(path))?;
            Some(format!("lab '{}', which could not be read, may hold a copy and", lab.lab_name))
        });
        if let Some(user) = user {
            factory.in_use.entry(image.id.to_ascii_lowercase()).or_insert(user);
        }
    }
    factory
}

fn retire(plan: &mut Plan, given: &Given<'_>, (lab, is_factory): (&Lab, bool), listing: impl Fn(&ImagePath) -> Listing) {
    let later = with_arrivals(plan, given, lab, is_factory);
    let id = lab.id.to_string();
    let told: BTreeSet<String> = plan.kept.iter().filter(|kept| kept.lab == id).filter_map(|kept| kept.image.clone()).collect();
    let mut deleted = 0;
    for (image, verdict) in lab.images.iter().zip(verdicts(&later, given.options.retention, listing)) {
        match (verdict, &image.tags.image_path) {
            (Verdict::Retired(reason), Some(path)) => {
                deleted += 1;
                let (name, lab, image_path) = (image.name.clone(), id.clone(), path.clone());
                let target = if image.backing.vhd.is_some() { Target::Vhd } else { Target::CustomImage };
                plan.retire.push(Retire { image: name, lab, image_path, reason, version: None, target });
            }
            (Verdict::Kept(reason), _) if !told.contains(&image.name) => {
                plan.kept.push(Kept { image: Some(image.name.clone()), vm: None, lab: id.clone(), reason });
            }
            (Verdict::Kept(_), _) | (Verdict::Retired(_), None) => {}
        }
    }
    let images = later.images.iter().filter(|image| image.tags.image_path.is_some()).count();
    if exceeds(deleted, images, given.configuration.settings.deleted_share) {
        plan.guards.push(Guard { lab: id, deleted, images });
    }
}

#[allow(clippy::cast_precision_loss, reason = "labs hold thousands of images, not 2^52")]
pub(super) fn exceeds(deleted: usize, images: usize, share: f64) -> bool {
    deleted as f64 > images as f64 * share
}

/// The lab as it will be once the plan's captures and copies are there. They come last.
fn with_arrivals(plan: &Plan, given: &Given<'_>, lab: &Lab, is_factory: bool) -> Lab {
    let created = given.arrival(lab.images.iter().map(|image| image.created));
    let captured =
        plan.capture.iter().filter(|capture| is_factory && capture.version.is_none()).map(|capture| (&capture.image, &capture.image_path));
    let copied = plan.distribute.iter().filter(|copy| copy.version.is_none() && lab.id.as_str().eq_ignore_ascii_case(&copy.lab));
    let arrivals = captured.chain(copied.map(|copy| (&copy.image, &copy.image_path)));
    let there = lab.images_by_name();
    let arrivals = arrivals
        .filter(|(name, _)| !there.contains_key(&name.to_ascii_lowercase()))
        .map(|(name, path)| Image { id: format!("{}/customimages/{name}", lab.id), ..Image::to_come(name, path, created) });
    let mut later = lab.clone();
    later.images.extend(arrivals.collect::<Vec<_>>());
    later
}
