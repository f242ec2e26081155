//! Compute galleries attached to a lab: what may be said of them, and the version that a virtual machine is made of.

use serde_json::{Map, Value, json};

use super::plain::Making;
use crate::emulator::{error::ApiError, id::Id, store::Resource, world::World};

const GALLERIES: &str = "Microsoft.DevTestLab/labs/sharedGalleries";

/// Checks and completes what is said of a shared gallery or of an image in one.
pub fn prepare(making: &mut Making<'_>) -> Result<(), ApiError> {
    complete(making.world, making.put.id, &mut making.given)
}

fn complete(world: &World, id: &Id, given: &mut Map<String, Value>) -> Result<(), ApiError> {
    if id.is(GALLERIES) {
        let named = given.get("galleryId").and_then(Value::as_str).unwrap_or_default();
        compute_gallery(world, named)?;
        word(given, "allowAllImages")?;
    } else {
        let shared = id.parent().and_then(|parent| world.store.get(&parent.key()));
        let gallery = shared.map(|shared| shared.text("galleryId").to_owned()).unwrap_or_default();
        let name = given.get("definitionName").and_then(Value::as_str).unwrap_or(id.name()).to_owned();
        let definition = world.store.get(&format!("{gallery}/images/{name}")).ok_or_else(|| {
            let message = format!("The image definition '{name}' was not found in the gallery '{gallery}'.");
            ApiError::bad_request("ImageDefinitionNotFound", message).with_target("definitionName")
        })?;
        word(given, "enableState")?;
        given.insert("definitionName".into(), json!(definition.name()));
        given.insert("osType".into(), definition.property("osType").clone());
        given.insert("imageType".into(), definition.property("osState").clone());
    }
    given.entry("uniqueIdentifier").or_insert_with(|| json!(uuid::Uuid::new_v4().to_string()));
    Ok(())
}

fn compute_gallery(world: &World, id: &str) -> Result<(), ApiError> {
    let refused = |message: String| Err(ApiError::bad_request("InvalidGalleryId", message).with_target("galleryId"));
    match Id::parse(id) {
        Some(parsed) if !parsed.is("Microsoft.Compute/galleries") => refused(format!("The id '{id}' does not name a compute gallery.")),
        Some(parsed) if !world.store.contains(&parsed.key()) => refused(format!("The gallery '{id}' was not found.")),
        Some(_) => Ok(()),
        None => refused("The property 'galleryId' must be the id of a compute gallery.".to_owned()),
    }
}

fn word(given: &mut Map<String, Value>, name: &str) -> Result<(), ApiError> {
    let text = given.get(name).and_then(Value::as_str).unwrap_or("Disabled");
    let found = ["Enabled", "Disabled"].into_iter().find(|word| word.eq_ignore_ascii_case(text));
    let message = || format!("The value '{text}' of '{name}' is not valid: it must be 'Enabled' or 'Disabled'.");
    let word = found.ok_or_else(|| ApiError::bad_request("InvalidPropertyValue", message()).with_target(name))?;
    given.insert(name.to_owned(), json!(word));
    Ok(())
}

/// The definition that a shared image of a lab stands for, if the lab allows it.
pub fn allowed_definition(world: &World, id: &Id) -> Option<String> {
    let shared = world.store.get(&id.parent()?.key())?;
    let image = world.store.get(&id.key());
    let is_enabled = image.as_ref().is_some_and(|image| image.text("enableState").eq_ignore_ascii_case("Enabled"));
    let allows_all = shared.text("allowAllImages").eq_ignore_ascii_case("Enabled");
    let name = image.as_ref().map(|image| image.text("definitionName").to_owned()).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| id.name().to_owned());
    (is_enabled || allows_all).then(|| format!("{}/images/{name}", shared.text("galleryId")))
}

/// The image reference of a compute machine made of a lab's shared image: the definition, and the version that was the latest.
pub fn image_reference(world: &World, machine: &Resource) -> Option<Value> {
    let id = Id::parse(machine.text("sharedImageId"))?;
    let definition = allowed_definition(world, &id)?;
    let named = machine.text("sharedImageVersion");
    let mut versions = world.store.members(&format!("{}/versions", definition.to_lowercase()));
    versions.retain(|version| {
        let excluded = version.property("publishingProfile")["excludeFromLatest"] == json!(true);
        let wanted = named.is_empty() || named.eq_ignore_ascii_case("latest") || version.name() == named;
        version.state() == "Succeeded" && wanted && (!excluded || version.name() == named)
    });
    let number = |version: &Resource| version.name().split('.').map(|part| part.parse().unwrap_or_default()).collect::<Vec<u64>>();
    let latest = versions.into_iter().max_by_key(|version| number(version));
    let exact = latest.map(|version| version.name().to_owned());
    Some(json!({"id": definition, "exactVersion": exact}))
}
