//! Which images of a lab are retired, and why: the rules under which the factory deletes.
//!
//! Whatever is not surely the factory's, surely known and surely superseded stays. `retention/tests.rs` checks that against a second
//! description of the rules.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use crate::{
    factory::{
        inventory::{Image, Lab, State},
        names::ImagePath,
    },
    order,
};

/// Whether the configuration still wants a golden image's images in a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// The golden image is there and the lab lists it.
    Listed,
    /// There is no such golden image any more.
    Gone,
    /// The golden image is there, but the lab does not list it.
    Unlisted,
}

/// What happens to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, for this reason.
    Kept(String),
    /// It is deleted, for this reason.
    Retired(String),
}

/// The verdict on each of a lab's images, in their order. `retention` is the number of good images kept of each golden image.
pub fn verdicts(lab: &Lab, retention: u32, listing: impl Fn(&ImagePath) -> Listing) -> Vec<Verdict> {
    let oldest_kept = oldest_kept(&lab.images, retention);
    lab.images.iter().map(|image| verdict(lab, image, &oldest_kept, retention, &listing)).collect()
}

/// When the oldest of the newest `retention` good images of each golden image was made; absent where there are fewer.
fn oldest_kept(images: &[Image], retention: u32) -> BTreeMap<&ImagePath, OffsetDateTime> {
    let mut good: BTreeMap<&ImagePath, Vec<OffsetDateTime>> = BTreeMap::new();
    for image in images.iter().filter(|image| image.state == State::Succeeded && !image.tags.ignored) {
        if let (Some(path), Some(created)) = (&image.tags.image_path, image.created) {
            good.entry(path).or_default().push(created);
        }
    }
    let nth = usize::try_from(retention.max(1)).unwrap_or(usize::MAX) - 1;
    good.into_iter()
        .filter_map(|(path, mut dates)| {
            order::sort(&mut dates, &mut |one, other| other.cmp(one));
            Some((path, *dates.get(nth)?))
        })
        .collect()
}

fn verdict(
    lab: &Lab,
    image: &Image,
    oldest_kept: &BTreeMap<&ImagePath, OffsetDateTime>,
    retention: u32,
    listing: &impl Fn(&ImagePath) -> Listing,
) -> Verdict {
    let kept = |reason: &str| Verdict::Kept(reason.to_owned());
    if image.tags.ignored {
        return kept("it is tagged FactoryIgnore");
    }
    let Some(path) = &image.tags.image_path else { return kept("it has no ImagePath tag: it is not the factory's") };
    if let Some(user) = lab.user_of(image) {
        return Verdict::Kept(format!("{user} uses it"));
    }
    if image.state == State::Changing {
        return kept("it is being made or changed");
    }
    match listing(path) {
        Listing::Gone => return Verdict::Retired(format!("golden image '{path}' is gone")),
        Listing::Unlisted => return Verdict::Retired(format!("the lab no longer lists '{path}'")),
        Listing::Listed => {}
    }
    let Some(created) = image.created else { return kept("nobody knows when it was made") };
    let Some(oldest) = oldest_kept.get(path) else {
        return Verdict::Kept(format!("there are fewer than {retention} good images of '{path}'"));
    };
    if created >= *oldest {
        return Verdict::Kept(format!("it is not older than the newest {retention} of '{path}'"));
    }
    Verdict::Retired(format!("it is older than the newest {retention} of '{path}'"))
}

#[cfg(test)]
mod tests;
