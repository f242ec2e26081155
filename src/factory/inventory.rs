//! What there is in the labs: images, virtual machines, and which images are in use.

pub(super) mod read;

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    arm::ResourceId,
    factory::{
        FINGERPRINT_TAG, IGNORE_TAG, IMAGE_PATH_TAG, RUN_TAG, configuration::settings::OsType, gallery::Gallery, golden_image::property,
        names::ImagePath,
    },
};

/// Everything that a plan is made from, besides the configuration.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The factory's own lab.
    pub factory: Lab,
    /// The receiving labs in the order of `Labs.json`: found and read, or why not.
    pub receivers: Vec<Target>,
    /// The factory's gallery, where its configuration names one.
    pub gallery: Option<Gallery>,
}

/// A receiving lab.
#[derive(Clone, Debug)]
pub struct Target {
    /// The lab's id, as far as it is known.
    pub id: String,
    /// What is in the lab, or why that could not be told.
    pub lab: Result<Lab, String>,
}

/// A lab and what is in it.
#[derive(Clone, Debug)]
pub struct Lab {
    /// Its id.
    pub id: ResourceId,
    /// Its region.
    pub location: String,
    /// Its custom images.
    pub images: Vec<Image>,
    /// Its virtual machines.
    pub vms: Vec<Vm>,
    /// The images in use, by id in lower case, and by what.
    pub in_use: BTreeMap<String, String>,
}

/// The state of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was made whole.
    Succeeded,
    /// It could not be made.
    Failed,
    /// It is being made, changed or deleted.
    Changing,
}

impl State {
    /// Reads a `provisioningState`.
    pub fn parse(text: Option<&str>) -> Self {
        match text.map(str::to_ascii_lowercase).as_deref() {
            Some("succeeded") => Self::Succeeded,
            Some("failed" | "canceled" | "cancelled") => Self::Failed,
            _ => Self::Changing,
        }
    }
}

/// The factory's tags on a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// The golden image that it comes from.
    pub image_path: Option<ImagePath>,
    /// Whether it must not be touched.
    pub ignored: bool,
    /// The run that made it.
    pub run_id: Option<String>,
    /// The fingerprint of the golden image's file.
    pub fingerprint: Option<String>,
}

impl Tags {
    /// Reads a resource's tags. The names of tags are compared without case, as Azure does.
    pub fn read(resource: &Value) -> Self {
        let tags = property(resource, "tags").unwrap_or(&Value::Null);
        let text = |name: &str| property(tags, name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
        Self {
            image_path: text(IMAGE_PATH_TAG).and_then(ImagePath::parse),
            ignored: property(tags, IGNORE_TAG).is_some(),
            run_id: text(RUN_TAG).map(str::to_owned),
            fingerprint: text(FINGERPRINT_TAG).map(str::to_owned),
        }
    }
}

/// A custom image.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// The factory's tags.
    pub tags: Tags,
    /// Its state.
    pub state: State,
    /// When it was made.
    pub created: Option<OffsetDateTime>,
    /// Its operating system.
    pub os_type: Option<OsType>,
    /// What it is made of, for the copies of it.
    pub backing: Backing,
    /// Its description.
    pub description: String,
}

/// What a custom image is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backing {
    /// The snapshot of the disk.
    pub snapshot_id: Option<String>,
    /// The managed image.
    pub managed_image_id: Option<String>,
    /// The VHD in the factory's storage account.
    pub vhd: Option<Vhd>,
}

/// A VHD in the factory's storage account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vhd {
    /// The blob's name.
    pub blob: String,
    /// The virtual machine that it is captured from; empty where nobody knows.
    pub vm: String,
}

impl Backing {
    /// The ids, in lower case, of what an image stands on. A copy stands on the same.
    pub fn disks(&self) -> impl Iterator<Item = String> {
        self.snapshot_id.iter().chain(&self.managed_image_id).map(|id| id.to_ascii_lowercase())
    }
}

/// A lab's virtual machine.
#[derive(Clone, Debug)]
pub struct Vm {
    /// Its name.
    pub name: String,
    /// The factory's tags.
    pub tags: Tags,
    /// Its state.
    pub state: State,
    /// When it was made.
    pub created: Option<OffsetDateTime>,
}

impl Lab {
    /// The image of this name.
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.name.eq_ignore_ascii_case(name))
    }

    /// All images by name in lower case, for many look-ups.
    pub fn images_by_name(&self) -> HashMap<String, &Image> {
        self.images.iter().map(|image| (image.name.to_ascii_lowercase(), image)).collect()
    }

    /// What uses an image.
    pub fn user_of(&self, image: &Image) -> Option<&str> {
        self.in_use.get(&image.id.to_ascii_lowercase()).map(String::as_str)
    }
}

impl Image {
    /// An image that will be there, as far as that is known.
    pub(super) fn to_come(name: &str, path: &ImagePath, created: OffsetDateTime) -> Self {
        Self {
            name: name.to_owned(),
            id: String::new(),
            tags: Tags { image_path: Some(path.clone()), ..Tags::default() },
            state: State::Succeeded,
            created: Some(created),
            os_type: None,
            backing: Backing::default(),
            description: String::new(),
        }
    }

    /// Reads a custom image.
    pub fn read(resource: &Value) -> Self {
        let properties = &resource["properties"];
        let vm = &properties["vm"];
        let from_vm = match (vm["windowsOsInfo"].is_object(), vm["linuxOsInfo"].is_object()) {
            (true, false) => Some(OsType::Windows),
            (false, true) => Some(OsType::Linux),
            _ => None,
        };
        let named = properties["vhd"]["osType"].as_str().or_else(|| properties["osType"].as_str());
        let own = |name: &str| properties[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            name: text(resource, "name"),
            id: text(resource, "id"),
            tags: Tags::read(resource),
            state: State::parse(properties["provisioningState"].as_str()),
            created: date(&properties["creationDate"]),
            os_type: from_vm.or_else(|| OsType::parse(named?)),
            backing: Backing { snapshot_id: own("managedSnapshotId"), managed_image_id: own("managedImageId"), vhd: None },
            description: own("description").unwrap_or_default(),
        }
    }
}

impl Vm {
    /// Reads a lab's virtual machine.
    pub fn read(resource: &Value) -> Self {
        let properties = &resource["properties"];
        Self {
            name: text(resource, "name"),
            tags: Tags::read(resource),
            state: State::parse(properties["provisioningState"].as_str()),
            created: date(&properties["createdDate"]),
        }
    }
}

/// The image that a virtual machine was made of, and what keeps it therefore.
fn used_by_vm(vm: &Value) -> Option<(String, String)> {
    let image = vm["properties"]["customImageId"].as_str()?;
    Some((image.to_ascii_lowercase(), format!("virtual machine '{}'", text(vm, "name"))))
}

/// The image that machines of a formula are made of, and what keeps it therefore.
fn used_by_formula(formula: &Value) -> Option<(String, String)> {
    let image = formula["properties"]["formulaContent"]["properties"]["customImageId"].as_str()?;
    Some((image.to_ascii_lowercase(), format!("formula '{}'", text(formula, "name"))))
}

fn text(resource: &Value, name: &str) -> String {
    resource[name].as_str().unwrap_or_default().to_owned()
}

fn date(value: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()
}
