//! The factory's compute gallery: what is in it, who uses it, and which labs have it attached.

pub mod names;
pub(super) mod read;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::{
    arm::ResourceId,
    compute::{gallery::parse_date, image_version::targets, region::Region, version::VersionNumber},
    factory::{
        FINGERPRINT_TAG, IMAGE_NAME_TAG, IMAGE_PATH_TAG, LAB_TAG, RUN_TAG,
        configuration::settings::OsType,
        golden_image::{fingerprint, property},
        inventory::{Backing, Image, State, Tags},
        names::ImagePath,
    },
};

/// The longest value of a tag.
const LONGEST_TAG: usize = 256;

/// A gallery and what is in it.
#[derive(Clone, Debug)]
pub struct Gallery {
    /// Its id.
    pub id: ResourceId,
    /// Its region; `None` when it is not there yet.
    pub location: Option<String>,
    /// Why it could not be read; then nothing else is known of it.
    pub problem: Option<String>,
    /// Its image definitions, also those of others.
    pub definitions: Vec<Definition>,
    /// What uses versions, by version's id in lower case.
    pub users: BTreeMap<String, String>,
    /// Why not all that may use versions could be read.
    pub unknown_users: Vec<String>,
    /// How each lab has the gallery, by lab's id in lower case.
    pub labs: BTreeMap<String, LabView>,
}

/// An image definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Its golden image, where this factory made it.
    pub image_path: Option<ImagePath>,
    /// Whether it bears the tag that protects it.
    pub is_ignored: bool,
    /// Its operating system.
    pub os_type: Option<OsType>,
    /// `Generalized` or `Specialized`.
    pub os_state: String,
    /// Its versions; read only where this factory made the definition.
    pub versions: Vec<Version>,
}

/// A version.
#[derive(Clone, Debug)]
pub struct Version {
    /// The version as an image: its name, tags, state and date. Other people's versions bear no image path here.
    pub image: Image,
    /// Its number.
    pub number: VersionNumber,
    /// The regions that it is replicated to.
    pub regions: Vec<Region>,
    /// Whether `latest` leaves it out.
    pub exclude_from_latest: bool,
    /// Until when its deletion is blocked.
    pub blocked_until: Option<OffsetDateTime>,
}

/// How a lab has the gallery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabView {
    /// Why that could not be read.
    pub problem: Option<String>,
    /// The gallery's name in the lab, where it is attached.
    pub attached_as: Option<String>,
    /// Whether this factory attached it.
    pub is_own: bool,
    /// Whether the lab allows every image of the gallery.
    pub allows_all: bool,
    /// The definitions that the lab allows one by one, in lower case.
    pub enabled: BTreeSet<String>,
    /// The lab's formulas that use an image of the gallery.
    pub formulas: Vec<Formula>,
}

/// A formula of a lab that uses an image of the gallery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formula {
    /// Its name.
    pub name: String,
    /// The definition, in lower case.
    pub definition: String,
    /// The version's number, where it names one.
    pub version: Option<String>,
}

impl LabView {
    /// Whether virtual machines can be made of a definition in the lab.
    pub fn offers(&self, definition: &str) -> bool {
        self.attached_as.is_some() && (self.allows_all || self.enabled.contains(&definition.to_ascii_lowercase()))
    }
}

impl Gallery {
    /// A gallery of which only the id is known.
    pub fn empty(id: ResourceId) -> Self {
        Self {
            id,
            location: None,
            problem: None,
            definitions: Vec::new(),
            users: BTreeMap::new(),
            unknown_users: Vec::new(),
            labs: BTreeMap::new(),
        }
    }

    /// The definition of this name.
    pub fn definition(&self, name: &str) -> Option<&Definition> {
        self.definitions.iter().find(|definition| definition.name.eq_ignore_ascii_case(name))
    }

    /// The factory's versions, each with its definition.
    pub fn own_versions(&self) -> impl Iterator<Item = (&Definition, &Version)> {
        let own = self.definitions.iter().filter(|definition| definition.image_path.is_some());
        own.flat_map(|definition| definition.versions.iter().map(move |version| (definition, version)))
    }

    /// The factory's versions of a golden image.
    pub fn versions_of<'a>(&'a self, path: &'a ImagePath) -> impl Iterator<Item = (&'a Definition, &'a Version)> {
        self.own_versions().filter(move |(_, version)| version.image.tags.image_path.as_ref() == Some(path))
    }

    /// How a lab has the gallery.
    pub fn lab(&self, id: &str) -> Option<&LabView> {
        self.labs.get(&id.to_ascii_lowercase())
    }
}

/// `definition/number`, by which people tell versions.
pub fn version_name(definition: &str, number: VersionNumber) -> String {
    format!("{definition}/{number}")
}

/// The value of the tag that names the factory's lab.
pub fn lab_tag(lab: &ResourceId) -> String {
    let id = lab.to_string().to_ascii_lowercase();
    if id.len() <= LONGEST_TAG { id } else { fingerprint(id.as_bytes()) }
}

/// The tags that a definition bears.
pub fn definition_tags(path: &ImagePath, lab: &ResourceId) -> Map<String, Value> {
    [(IMAGE_PATH_TAG, json!(path.as_str())), (LAB_TAG, json!(lab_tag(lab)))]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The tags that a version bears.
pub fn version_tags(path: &ImagePath, lab: &ResourceId, run_id: &str, mark: &str, image: &str) -> Map<String, Value> {
    let mut tags = definition_tags(path, lab);
    tags.extend([(RUN_TAG, run_id), (FINGERPRINT_TAG, mark), (IMAGE_NAME_TAG, image)].map(|(name, value)| (name.to_owned(), json!(value))));
    tags
}

/// Whether this factory made a resource of the gallery.
pub fn is_own(resource: &Value, lab: &ResourceId) -> bool {
    let tag = property(resource, "tags").and_then(|tags| property(tags, LAB_TAG)).and_then(Value::as_str);
    tag.is_some_and(|tag| tag.eq_ignore_ascii_case(&lab_tag(lab)))
}

impl Definition {
    /// Reads a definition; its versions come later.
    pub fn read(resource: &Value, lab: &ResourceId) -> Self {
        let properties = &resource["properties"];
        let tags = Tags::read(resource);
        Self {
            name: resource["name"].as_str().unwrap_or_default().to_owned(),
            image_path: tags.image_path.filter(|_| is_own(resource, lab)),
            is_ignored: tags.ignored,
            os_type: properties["osType"].as_str().and_then(OsType::parse),
            os_state: properties["osState"].as_str().unwrap_or_default().to_owned(),
            versions: Vec::new(),
        }
    }
}

impl Version {
    /// Reads a version. `None` when its name is no number: nothing is known of what it means.
    pub fn read(resource: &Value, definition: &Definition, lab: &ResourceId) -> Option<Self> {
        let properties = &resource["properties"];
        let publishing = &properties["publishingProfile"];
        let number: VersionNumber = resource["name"].as_str()?.parse().ok()?;
        let mut tags = Tags::read(resource);
        if !is_own(resource, lab) {
            tags.image_path = None;
        }
        let named = property(resource, "tags").and_then(|tags| property(tags, IMAGE_NAME_TAG)).and_then(Value::as_str);
        let blocks = properties["safetyProfile"]["blockDeletionBeforeEndOfLife"].as_bool().unwrap_or(false);
        let end = publishing["endOfLifeDate"].as_str().and_then(|date| parse_date(date).ok());
        Some(Self {
            image: Image {
                name: named.map_or_else(|| version_name(&definition.name, number), str::to_owned),
                id: resource["id"].as_str().unwrap_or_default().to_owned(),
                tags,
                state: State::parse(properties["provisioningState"].as_str()),
                created: publishing["publishedDate"].as_str().and_then(|date| parse_date(date).ok()),
                os_type: definition.os_type,
                backing: Backing::default(),
                description: String::new(),
            },
            number,
            regions: targets(resource),
            exclude_from_latest: publishing["excludeFromLatest"].as_bool().unwrap_or(false),
            blocked_until: end.filter(|_| blocks),
        })
    }
}
