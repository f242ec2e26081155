//! Compute galleries that are attached to a lab, and which of their images the lab allows (2018-10-15-preview).

use serde_json::{Map, Value, json};

use super::text;
use crate::arm::{ApiVersion, Request, ResourceId};

/// The only version of the provider that knows shared galleries.
pub const API_VERSION: ApiVersion = ApiVersion("2018-10-15-preview");

/// A gallery as a lab shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedGallery {
    /// Its name in the lab.
    pub name: String,
    /// The compute gallery's id.
    pub gallery_id: String,
    /// Whether every image in it may be used, whatever is said of single ones.
    pub allows_all: bool,
    /// Its tags.
    pub tags: Map<String, Value>,
}

/// An image of such a gallery as a lab shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedImage {
    /// The image definition's name.
    pub definition: String,
    /// Whether the lab allows it.
    pub is_enabled: bool,
}

impl SharedGallery {
    /// Reads an answer.
    pub fn read(value: &Value) -> Self {
        Self {
            name: text(value, "/name").unwrap_or_default(),
            gallery_id: text(value, "/properties/galleryId").unwrap_or_default(),
            allows_all: text(value, "/properties/allowAllImages").is_some_and(|word| word.eq_ignore_ascii_case("Enabled")),
            tags: value["tags"].as_object().cloned().unwrap_or_default(),
        }
    }
}

impl SharedImage {
    /// Reads an answer.
    pub fn read(value: &Value) -> Self {
        Self {
            definition: text(value, "/properties/definitionName").or_else(|| text(value, "/name")).unwrap_or_default(),
            is_enabled: text(value, "/properties/enableState").is_some_and(|word| word.eq_ignore_ascii_case("Enabled")),
        }
    }
}

/// `SharedGalleries_List`.
pub fn list(lab: &ResourceId) -> Request {
    Request::get(format!("{}/sharedgalleries", lab.path()), API_VERSION)
}

/// `SharedImages_List`.
pub fn list_images(gallery: &ResourceId) -> Request {
    Request::get(format!("{}/sharedimages", gallery.path()), API_VERSION)
}

/// `SharedGalleries_CreateOrUpdate`: attaches a gallery of which no image is allowed unless that is said of it. Synchronous.
pub fn attach(id: &ResourceId, gallery: &ResourceId, location: &str, tags: &Map<String, Value>) -> Request {
    let properties = json!({"galleryId": gallery.to_string(), "allowAllImages": "Disabled"});
    Request::put(id.path(), API_VERSION, json!({"location": location, "tags": tags, "properties": properties}))
}

/// `SharedGalleries_Delete`. Synchronous; the gallery itself stays.
pub fn detach(id: &ResourceId) -> Request {
    Request::delete(id.path(), API_VERSION)
}

/// `SharedImages_CreateOrUpdate`: allows an image in the lab, or no longer. Synchronous.
pub fn allow(id: &ResourceId, os_type: &str, os_state: &str, is_enabled: bool) -> Request {
    let state = if is_enabled { "Enabled" } else { "Disabled" };
    let properties = json!({"definitionName": id.name(), "osType": os_type, "imageType": os_state, "enableState": state});
    Request::put(id.path(), API_VERSION, json!({"properties": properties}))
}
