//! What `factory.json` says of galleries: which images go through one, and which gallery that is.

use serde_json::Value;

use super::{
    Finding, Findings,
    reader::{Field, Reader},
    settings::Settings,
};
use crate::{
    arm::{IdError, ResourceId},
    compute::{
        Invalid,
        gallery::{check_gallery_name, check_identifier},
        region::{MOST_REPLICAS, parse_storage_account_type},
    },
    factory::{gallery::names::definition_name, golden_image::GoldenImage},
};

/// How an image reaches the labs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema), schemars(rename_all = "camelCase"))]
pub enum DistributionKind {
    /// As a custom image of each lab, all in one region.
    #[default]
    CustomImage,
    /// As a version in a compute gallery that is attached to each lab, in every lab's region.
    Gallery,
}

/// The compute gallery that images are published to. It is made when it is not there.
#[derive(Clone, Debug)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema), schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct GalleryItem {
    /// The gallery's name: letters, digits, `.` and `_`.
    pub name: String,
    /// The gallery's resource group (default: the factory lab's).
    pub resource_group: Option<String>,
    /// The id (a GUID) of the gallery's subscription (default: the factory lab's).
    pub subscription_id: Option<String>,
    /// The publisher that image definitions name (default `ImageFactory`).
    pub publisher: Option<String>,
    /// Replicas of a version in each region (default 1).
    #[cfg_attr(not(target_arch = "wasm32"), schemars(range(min = 1, max = 100)))]
    pub replica_count: Option<u32>,
    /// The storage that replicas lie on: `Standard_LRS` (default), `Standard_ZRS` or `Premium_LRS`.
    pub storage_account_type: Option<String>,
}

/// The gallery of a factory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GallerySettings {
    /// Its name.
    pub name: String,
    /// Its resource group; the factory lab's where it is absent.
    pub resource_group: Option<String>,
    /// Its subscription; the factory lab's where it is absent.
    pub subscription_id: Option<String>,
    /// The publisher of its image definitions.
    pub publisher: String,
    /// Replicas in each region.
    pub replica_count: u64,
    /// The storage that they lie on.
    pub storage_account_type: &'static str,
}

impl GallerySettings {
    /// The gallery's id, for a factory in this lab.
    pub fn id(&self, factory: &ResourceId) -> Result<ResourceId, IdError> {
        let subscription = self.subscription_id.as_deref().unwrap_or(factory.subscription_id());
        let group = self.resource_group.as_deref().unwrap_or(factory.resource_group());
        format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/galleries/{}", self.name).parse()
    }
}

/// Reads `gallery`.
pub(super) fn settings(reader: &mut Reader, field: Option<&Field>) -> Option<GallerySettings> {
    let (value, place) = field.filter(|(value, _)| !value.is_null())?;
    let names = ["name", "resourceGroup", "subscriptionId", "publisher", "replicaCount", "storageAccountType"];
    let [name, group, subscription, publisher, replicas, storage] = reader.fields(value, place, names)?;
    let checked_name = reader.required_text(name.as_ref(), place, "name");
    let checked_name = checked(reader, name.as_ref(), checked_name, |name| check_gallery_name(name).map(|()| name.to_owned()));
    let subscription_text = reader.text(subscription.as_ref());
    let subscription = checked(reader, subscription.as_ref(), subscription_text, |text| match uuid::Uuid::try_parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(Invalid::new(text, "this is no subscription id, which is a GUID")),
    });
    let publisher_text = reader.text(publisher.as_ref());
    let publisher = checked(reader, publisher.as_ref(), publisher_text, |text| check_identifier(text, 128).map(|()| text.to_owned()));
    let storage_text = reader.text(storage.as_ref());
    let storage = checked(reader, storage.as_ref(), storage_text, parse_storage_account_type);
    Some(GallerySettings {
        name: checked_name?,
        resource_group: reader.text(group.as_ref()),
        subscription_id: subscription,
        publisher: publisher.unwrap_or_else(|| "ImageFactory".to_owned()),
        replica_count: reader.number(replicas.as_ref(), 1..=MOST_REPLICAS).unwrap_or(1),
        storage_account_type: storage.unwrap_or("Standard_LRS"),
    })
}

fn checked<T>(
    reader: &mut Reader,
    field: Option<&Field>,
    text: Option<String>,
    check: impl FnOnce(&str) -> Result<T, Invalid>,
) -> Option<T> {
    match check(&text?) {
        Ok(value) => Some(value),
        Err(invalid) => {
            reader.error(field.map_or("", |(_, place)| place), invalid.to_string());
            None
        }
    }
}

/// Reads `distribution`.
pub(super) fn distribution(reader: &mut Reader, field: Option<&Field>) -> Option<DistributionKind> {
    reader.choice(field, &[("customImage", DistributionKind::CustomImage), ("gallery", DistributionKind::Gallery)])
}

/// The security type that a golden image's virtual machine names, where it is one that no managed image takes.
pub(in crate::factory) fn security_type(vm: &Value) -> Option<&str> {
    let properties = crate::factory::golden_image::property(vm, "properties")?;
    let profile = crate::factory::golden_image::property(properties, "securityProfile");
    let named = profile.and_then(|profile| crate::factory::golden_image::property(profile, "securityType"));
    needs_gallery(named?.as_str()?)
}

/// The security type, when it is one of which Azure makes gallery versions only.
pub(in crate::factory) fn needs_gallery(security_type: &str) -> Option<&str> {
    ["TrustedLaunch", "ConfidentialVM"].iter().any(|known| known.eq_ignore_ascii_case(security_type)).then_some(security_type)
}

/// Sends images with Trusted Launch through the gallery, and notes which images lack one or would share a definition.
pub(super) fn settle(images: &mut [GoldenImage], settings: &Settings, findings: &mut Findings) {
    for image in images.iter_mut() {
        let security = crate::factory::golden_image::virtual_machine_of(&image.template).and_then(security_type).map(str::to_owned);
        if security.is_some() {
            image.settings.distribution = DistributionKind::Gallery;
        }
        if image.settings.distribution == DistributionKind::CustomImage || settings.gallery.is_some() {
            continue;
        }
        let why = security.map_or("its distribution is 'gallery'".to_owned(), |security| {
            format!("its virtual machine has {security}, of which there is no managed image")
        });
        refuse(image, format!("{why}: name a gallery in factory.json, such as \"gallery\": {{\"name\": \"golden\"}}"), findings);
    }
    let through: Vec<usize> = (0..images.len()).filter(|index| images[*index].settings.distribution == DistributionKind::Gallery).collect();
    for (position, index) in through.iter().enumerate() {
        let name = definition_name(&images[*index].path);
        let other = through[..position].iter().find(|other| definition_name(&images[**other].path).eq_ignore_ascii_case(&name));
        if let Some(other) = other {
            let message = format!("'{}' would have the image definition '{name}' too: rename one", images[*other].path);
            refuse(&mut images[*index], message, findings);
        }
    }
}

fn refuse(image: &mut GoldenImage, message: String, findings: &mut Findings) {
    findings.errors.push(Finding::new(&image.file, None, message.clone()));
    image.problem.get_or_insert(message);
}
