//! Makes a custom image of a virtual machine of the factory's lab.

use serde_json::json;

use super::{Factory, Failure, Line, Source};
use crate::{
    arm::{Request, ResourceId},
    devtestlab::{
        API_VERSION,
        custom_image::{self, OsState as ImageState},
    },
    factory::{
        FINGERPRINT_TAG, IMAGE_PATH_TAG, RUN_TAG,
        configuration::{OsState, settings::OsType},
        inventory::{Image, Inventory},
        names::ImagePath,
        plan::Capture,
    },
};

/// Who made the images, as the older scripts write it.
pub(super) const AUTHOR: &str = "Image Factory";

impl Factory<'_> {
    /// Captures a virtual machine; the image bears its tags from the first moment.
    pub(super) async fn capture(&self, path: &ImagePath, capture: &Capture) -> Result<Source, Failure> {
        let image = self.configuration.image(path).ok_or_else(|| Failure::Refused(format!("there is no golden image '{path}'")))?;
        let os_type = image.os_type.ok_or_else(|| Failure::Refused(format!("the operating system of '{path}' is not known")))?;
        let id = self.image_id(&capture.image)?;
        let source = self.vm_id(&capture.vm)?;
        let state = image_state(os_type, image.settings.os_state);
        let info = match os_type {
            OsType::Windows => ("windowsOsInfo", json!({"windowsOsState": state.as_str()})),
            OsType::Linux => ("linuxOsInfo", json!({"linuxOsState": state.as_str()})),
        };
        let mut vm = json!({"sourceVmId": source.to_string()});
        vm[info.0] = info.1;
        let body = json!({
            "tags": {IMAGE_PATH_TAG: path.as_str(), RUN_TAG: self.options.run_id, FINGERPRINT_TAG: image.fingerprint},
            "properties": {"vm": vm, "author": AUTHOR, "description": format!("Golden image {path}, made by run {}", self.options.run_id)},
        });
        (self.say)(Line::Info(&format!("Capturing virtual machine '{}' as image '{}'.", capture.vm, capture.image)));
        let captured = {
            let _permit = self.gate.acquire().await;
            self.operate(Request::put(id.as_str(), API_VERSION, body), self.options.operation_timeout).await
        };
        match captured {
            Ok(made) => Ok(Source::of(&Image::read(&made), path, Some(capture.vm.clone()))),
            Err(error) => {
                let failure = Failure::azure(format!("capture virtual machine '{}' as image '{}'", capture.vm, capture.image))(error);
                // One that goes on is waited for by the next run with the same id.
                if failure.status() == super::Status::Failed && !failure.is_overdue() {
                    self.discard(&id, &capture.vm).await;
                }
                Err(failure)
            }
        }
    }

    /// A capture that failed leaves a failed image and a virtual machine that is good for nothing: a later run begins anew.
    async fn discard(&self, id: &ResourceId, vm: &str) {
        let removed = {
            let _permit = self.gate.acquire().await;
            self.operate(custom_image::delete(id), self.options.operation_timeout).await
        };
        let removed = removed.map(|_| ()).map_err(Failure::azure(format!("delete image '{}'", id.name())));
        for (what, removed) in
            [(format!("image '{}'", id.name()), removed), (format!("virtual machine '{vm}'"), self.delete_held_vm(vm).await)]
        {
            if let Err(failure) = removed {
                (self.say)(Line::Warning(&format!("{what} stays: {failure}")));
            }
        }
    }

    /// The image that this run has captured before; waits for one that is under way.
    pub(super) async fn await_captured(&self, done: &Capture, inventory: &Inventory) -> Result<Source, Failure> {
        if done.version.is_some() {
            return self.await_published(done, inventory).await;
        }
        let id = self.image_id(&done.image)?;
        let _permit = self.gate.acquire().await;
        let made = self.follow(&custom_image::get(&id), self.options.operation_timeout).await;
        let made = made.map_err(Failure::azure(format!("see image '{}' done", done.image)))?;
        Ok(Source::of(&Image::read(&made), &done.image_path, None))
    }

    pub(super) fn image_id(&self, image: &str) -> Result<ResourceId, Failure> {
        self.lab.child("customimages", image).map_err(|error| Failure::Refused(error.to_string()))
    }
}

fn image_state(os_type: OsType, state: OsState) -> ImageState {
    match (os_type, state) {
        (OsType::Windows, OsState::Generalized) => ImageState::SysprepApplied,
        (OsType::Windows, OsState::Specialized) => ImageState::NonSysprepped,
        (OsType::Linux, OsState::Generalized) => ImageState::DeprovisionApplied,
        (OsType::Linux, OsState::Specialized) => ImageState::NonDeprovisioned,
    }
}
