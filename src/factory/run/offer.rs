//! Offers a version in a lab, and takes back what the gallery and the labs no longer need.

use super::{Factory, Failure, Line, gallery::Published};
use crate::{
    arm::{Request, ResourceId},
    compute::{GALLERY, region::Region, replication::RegionStatus},
    devtestlab::shared_gallery::{self, SharedGallery, SharedImage},
    factory::{
        gallery::{Definition, LabView, Version, is_own, lab_tag},
        inventory::{Inventory, Lab, State},
        names::ImagePath,
        plan::Retire,
    },
};

impl Factory<'_> {
    /// Attaches the gallery to a lab and allows the image there, as far as that is not so already.
    pub(super) async fn offer(
        &self,
        lab: &Lab,
        version: &Published,
        statuses: &Result<Vec<RegionStatus>, String>,
        inventory: &Inventory,
    ) -> Result<(), Failure> {
        let region = Region::new(&lab.location);
        let statuses = statuses.as_ref().map_err(|error| Failure::Refused(error.clone()))?;
        match statuses.iter().find(|status| status.region == region) {
            Some(status) if status.state.eq_ignore_ascii_case("Completed") => {}
            Some(status) => {
                let details = if status.details.is_empty() { String::new() } else { format!(": {}", status.details) };
                return Err(Failure::Refused(format!(
                    "version '{}' is not in the lab's region {}, where its replication is {}{details}",
                    version.name, lab.location, status.state
                )));
            }
            None => return Err(Failure::Refused(format!("version '{}' does not go to the lab's region {}", version.name, lab.location))),
        }
        let gallery = version.id.parent().and_then(|definition| definition.parent()).unwrap_or_else(|| version.id.clone());
        let nothing = LabView::default();
        let view = inventory.gallery.as_ref().and_then(|gallery| gallery.lab(lab.id.as_str())).unwrap_or(&nothing);
        let _permit = self.gate.acquire().await;
        let id = match &view.attached_as {
            Some(name) => lab.id.child("sharedgalleries", name)?,
            None => self.attach(lab, &gallery).await?,
        };
        if !view.offers(&version.definition) {
            let image = id.child("sharedimages", &version.definition)?;
            let request = shared_gallery::allow(&image, &version.os_type, &version.os_state, true);
            let allowed = self.operate(request, self.options.operation_timeout).await;
            allowed.map_err(Failure::azure(format!("allow image '{}' in lab '{}'", version.definition, lab.id.name())))?;
        }
        Ok(())
    }

    /// Attaches the gallery under its own name, which another one must not have there.
    async fn attach(&self, lab: &Lab, gallery: &ResourceId) -> Result<ResourceId, Failure> {
        let action = || format!("attach gallery '{}' to lab '{}'", gallery.name(), lab.id.name());
        let id = lab.id.child("sharedgalleries", gallery.name())?;
        let found = self.client.find(Request::get(id.path(), shared_gallery::API_VERSION)).await.map_err(Failure::azure(action()))?;
        match found.map(|found| SharedGallery::read(&found)) {
            Some(other) if !other.gallery_id.eq_ignore_ascii_case(gallery.as_str()) => Err(Failure::Refused(format!(
                "lab '{}' has another gallery, '{}', attached as '{}': detach that, or choose another gallery",
                lab.id.name(),
                other.gallery_id,
                other.name
            ))),
            // Another golden image was quicker.
            Some(_) => Ok(id),
            None => {
                let tags = [(crate::factory::LAB_TAG.to_owned(), serde_json::json!(lab_tag(&self.lab)))].into_iter().collect();
                let request = shared_gallery::attach(&id, gallery, &lab.location, &tags);
                self.operate(request, self.options.operation_timeout).await.map_err(Failure::azure(action()))?;
                (self.say)(Line::Info(&format!("Gallery '{}' is attached to lab '{}'.", gallery.name(), lab.id.name())));
                Ok(id)
            }
        }
    }

    /// Deletes a version, unless it has changed since the plan was made.
    pub(super) async fn retire_version(&self, item: &Retire, id: &str) -> Result<bool, Failure> {
        let action = || format!("retire version '{}'", item.version.as_deref().unwrap_or(&item.image));
        let id: ResourceId = id.parse()?;
        let _permit = self.gate.acquire().await;
        let Some(found) = self.client.find(Request::get(id.path(), GALLERY)).await.map_err(Failure::azure(action()))? else {
            return Ok(false);
        };
        let definition = Definition::read(&serde_json::Value::Null, &self.lab);
        let Some(version) = Version::read(&found, &definition, &self.lab) else { return Ok(false) };
        let tags = &version.image.tags;
        let is_blocked = version.blocked_until.is_some_and(|until| until > self.client.host().now());
        if tags.ignored || tags.image_path.as_ref() != Some(&item.image_path) || version.image.state == State::Changing || is_blocked {
            return Ok(false);
        }
        self.operate(Request::delete(id.path(), GALLERY), self.options.operation_timeout).await.map_err(Failure::azure(action()))?;
        Ok(true)
    }

    /// Deletes a definition, if it is this factory's and nothing is in it.
    pub(super) async fn retire_definition(&self, item: &Retire, id: &str) -> Result<bool, Failure> {
        let action = || format!("delete image definition '{}'", item.image);
        let id: ResourceId = id.parse()?;
        let _permit = self.gate.acquire().await;
        let Some(found) = self.client.find(Request::get(id.path(), GALLERY)).await.map_err(Failure::azure(action()))? else {
            return Ok(false);
        };
        let definition = Definition::read(&found, &self.lab);
        let is_ours = |path: &ImagePath| *path == item.image_path;
        let versions =
            self.client.list(Request::get(format!("{}/versions", id.path()), GALLERY)).await.map_err(Failure::azure(action()))?;
        if definition.is_ignored || !definition.image_path.as_ref().is_some_and(is_ours) || !versions.is_empty() {
            return Ok(false);
        }
        self.operate(Request::delete(id.path(), GALLERY), self.options.operation_timeout).await.map_err(Failure::azure(action()))?;
        Ok(true)
    }

    /// Offers an image in a lab no longer, where this factory attached the gallery; detaches it when no image of it is offered any more.
    pub(super) async fn withdraw(&self, item: &Retire, name: &str, detach: bool) -> Result<bool, Failure> {
        let lab: ResourceId = item.lab.parse()?;
        let action = || format!("withdraw image '{}' from lab '{}'", item.image, lab.name());
        let gallery = lab.child("sharedgalleries", name)?;
        let image = gallery.child("sharedimages", &item.image)?;
        let _permit = self.gate.acquire().await;
        let attached =
            self.client.find(Request::get(gallery.path(), shared_gallery::API_VERSION)).await.map_err(Failure::azure(action()))?;
        let found = self.client.find(Request::get(image.path(), shared_gallery::API_VERSION)).await.map_err(Failure::azure(action()))?;
        let (Some(attached), Some(found)) = (attached, found) else { return Ok(false) };
        if !is_own(&attached, &self.lab) {
            return Ok(false);
        }
        let text = |name: &str| found["properties"][name].as_str().unwrap_or_default().to_owned();
        let request = shared_gallery::allow(&image, &text("osType"), &text("imageType"), false);
        self.operate(request, self.options.operation_timeout).await.map_err(Failure::azure(action()))?;
        if detach {
            let left = self.client.list(shared_gallery::list_images(&gallery)).await.map_err(Failure::azure(action()))?;
            if !left.iter().any(|image| SharedImage::read(image).is_enabled) {
                let detached = self.operate(shared_gallery::detach(&gallery), self.options.operation_timeout).await;
                detached.map_err(Failure::azure(format!("detach gallery '{name}' from lab '{}'", lab.name())))?;
            }
        }
        Ok(true)
    }
}
