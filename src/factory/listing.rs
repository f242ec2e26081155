//! The images that there are: by lab, with age, golden image and use.

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    gallery::{Definition, Gallery, Version, version_name},
    inventory::{Image, Inventory, Lab, State},
    names::ImagePath,
    plan::labs,
};
use crate::order;

/// An image of the factory in a lab.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The image's name.
    pub image: String,
    /// The gallery's version, as `definition/number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its golden image.
    pub image_path: ImagePath,
    /// The lab's id.
    pub lab: String,
    /// `Windows` or `Linux`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_type: Option<&'static str>,
    /// When it was made, in ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// `Succeeded`, `Failed` or `Changing`.
    pub state: &'static str,
    /// What uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_use_by: Option<String>,
    /// The run that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

/// The factory's images in all labs that could be read: the factory's lab first, then in the order of `Labs.json`; the newest first.
/// Last the versions of its gallery, which count as its lab's.
pub fn list(inventory: &Inventory) -> Vec<Listed> {
    let versions = inventory.gallery.iter().flat_map(|gallery| list_gallery(inventory, gallery));
    labs(inventory).flat_map(list_lab).chain(versions).collect()
}

/// The factory's versions in the gallery, the newest first.
pub fn list_gallery(inventory: &Inventory, gallery: &Gallery) -> Vec<Listed> {
    let mut versions: Vec<(&ImagePath, &Definition, &Version)> = gallery
        .own_versions()
        .filter_map(|(definition, version)| Some((version.image.tags.image_path.as_ref()?, definition, version)))
        .collect();
    order::sort(&mut versions, &mut |(one_path, _, one), (other_path, _, other)| (one_path, other.number).cmp(&(other_path, one.number)));
    let entry = |(path, definition, version): (&ImagePath, &Definition, &Version)| Listed {
        version: Some(version_name(&definition.name, version.number)),
        in_use_by: gallery.users.get(&version.image.id.to_ascii_lowercase()).cloned(),
        ..listed(&inventory.factory, path, &version.image)
    };
    versions.into_iter().map(entry).collect()
}

/// The factory's images in one lab, the newest first.
pub fn list_lab(lab: &Lab) -> Vec<Listed> {
    let mut images: Vec<(&ImagePath, &Image)> =
        lab.images.iter().filter_map(|image| Some((image.tags.image_path.as_ref()?, image))).collect();
    order::sort(&mut images, &mut |(one_path, one), (other_path, other)| {
        (one_path, other.created, &one.name).cmp(&(other_path, one.created, &other.name))
    });
    images.into_iter().map(|(path, image)| listed(lab, path, image)).collect()
}

fn listed(lab: &Lab, path: &ImagePath, image: &Image) -> Listed {
    Listed {
        image: image.name.clone(),
        version: None,
        image_path: path.clone(),
        lab: lab.id.to_string(),
        os_type: image.os_type.map(super::configuration::settings::OsType::name),
        created: image.created.and_then(|created: OffsetDateTime| created.format(&Rfc3339).ok()),
        state: match image.state {
            State::Succeeded => "Succeeded",
            State::Failed => "Failed",
            State::Changing => "Changing",
        },
        in_use_by: lab.user_of(image).map(str::to_owned),
        run_id: image.tags.run_id.clone(),
    }
}
