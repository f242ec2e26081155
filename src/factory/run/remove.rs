//! Deletes: retired images, virtual machines that are done, records of the factory's own deployments. Each image is looked at once more first.

use futures::future::join_all;

use super::{Factory, Failure, LabResult, Line, Report, Status};
use crate::{
    arm::{self, ResourceId},
    devtestlab::{custom_image, virtual_machine},
    factory::{
        DEPLOYMENT_PREFIX,
        configuration::settings::CaptureKind,
        in_words,
        inventory::{Image, State},
        plan::{CleanUp, Retire, Target},
    },
    resources,
};

impl Factory<'_> {
    /// Deletes an image, unless it has changed since the plan was made.
    pub(super) async fn retire_image(&self, item: &Retire) -> LabResult {
        let (status, error) = match self.try_retire(item).await {
            Ok(true) => {
                (self.say)(Line::Info(&format!("Retired image '{}' of {}: {}.", item.image, item.lab, item.reason)));
                (Status::Succeeded, None)
            }
            Ok(false) => (Status::Skipped, None),
            Err(failure) => {
                let told = failure.to_string();
                (self.say)(Line::Error(&told));
                (failure.status(), Some(told))
            }
        };
        LabResult {
            reason: item.reason.clone(),
            version: item.version.clone(),
            ..LabResult::of_image(&item.image, &item.lab, status, error)
        }
    }

    async fn try_retire(&self, item: &Retire) -> Result<bool, Failure> {
        match &item.target {
            Target::CustomImage => {}
            Target::Vhd => {
                let action = format!("retire VHD '{}' of the factory's lab", item.image);
                return self.retire_vhd(item).await.map_err(Failure::azure(action));
            }
            Target::Version { id } => return self.retire_version(item, id).await,
            Target::Definition { id } => return self.retire_definition(item, id).await,
            Target::SharedImage { gallery, detach } => return self.withdraw(item, gallery, *detach).await,
        }
        let refused = |error: arm::IdError| Failure::Refused(error.to_string());
        let lab: ResourceId = item.lab.parse().map_err(refused)?;
        let id = lab.child("customimages", &item.image).map_err(refused)?;
        let action = || format!("retire image '{}' of lab '{}'", item.image, lab.name());
        let _permit = self.gate.acquire().await;
        let Some(found) = self.client.find(custom_image::get(&id)).await.map_err(Failure::azure(action()))? else { return Ok(false) };
        let found = Image::read(&found);
        if found.tags.ignored || found.tags.image_path.as_ref() != Some(&item.image_path) || found.state == State::Changing {
            return Ok(false);
        }
        self.operate(custom_image::delete(&id), self.options.operation_timeout).await.map_err(Failure::azure(action()))?;
        Ok(true)
    }

    /// Deletes a virtual machine that is left of an earlier run, unless it is no longer the factory's.
    pub(super) async fn sweep(&self, item: &CleanUp) -> LabResult {
        let deleted = match self.tags_of(&item.vm).await {
            Ok(Some((tags, _))) if tags.ignored || tags.image_path.is_none() => Ok(false),
            Ok(None) => Ok(false),
            Ok(Some(_)) => {
                let deleted = self.delete_vm(&item.vm).await;
                deleted.map(|()| true).map_err(Failure::azure(format!("delete virtual machine '{}'", item.vm)))
            }
            Err(failure) => Err(failure),
        };
        self.tell_swept(item, deleted)
    }

    /// Deletes the virtual machine that an image was captured from.
    pub(super) async fn sweep_captured(&self, vm: &str, image: &str) -> LabResult {
        let item = CleanUp { vm: vm.to_owned(), lab: self.lab.to_string(), reason: format!("it is captured as '{image}'") };
        let deleted = match self.hold(vm).await {
            Err(Failure::Refused(problem)) => {
                (self.say)(Line::Warning(&problem));
                Ok(false)
            }
            Err(failure) => Err(failure),
            Ok(()) => {
                let deleted = self.delete_vm(vm).await;
                deleted.map(|()| true).map_err(Failure::azure(format!("delete virtual machine '{vm}'")))
            }
        };
        self.tell_swept(&item, deleted)
    }

    fn tell_swept(&self, item: &CleanUp, deleted: Result<bool, Failure>) -> LabResult {
        let (status, error) = match deleted {
            Ok(true) => {
                (self.say)(Line::Info(&format!("Deleted virtual machine '{}': {}.", item.vm, item.reason)));
                (Status::Succeeded, None)
            }
            Ok(false) => (Status::Skipped, None),
            Err(failure) => {
                (self.say)(Line::Error(&failure.to_string()));
                (failure.status(), Some(failure.to_string()))
            }
        };
        LabResult {
            image: String::new(),
            version: None,
            vm: item.vm.clone(),
            lab: item.lab.clone(),
            status,
            reason: item.reason.clone(),
            error,
        }
    }

    /// Deletes a virtual machine that is in this run's hands.
    pub(super) async fn delete_held_vm(&self, vm: &str) -> Result<(), Failure> {
        self.hold(vm).await?;
        self.delete_vm(vm).await.map_err(Failure::azure(format!("delete virtual machine '{vm}'")))
    }

    pub(super) async fn delete_vm(&self, vm: &str) -> Result<(), arm::Error> {
        let Ok(id) = self.lab.child("virtualmachines", vm) else { return Ok(()) };
        if self.configuration.settings.capture == CaptureKind::Vhd {
            self.release(vm).await?;
        }
        let _permit = self.gate.acquire().await;
        self.operate(virtual_machine::delete(&id), self.options.operation_timeout).await.map(|_| ())
    }

    /// Takes away the records of the factory's own deployments that have ended. Nobody's work depends on it, so failing is only told.
    pub(super) async fn prune_deployments(&self, report: &mut Report) {
        let listed = {
            let _permit = self.gate.acquire().await;
            self.client.list(resources::list(&self.lab.resource_group_id())).await
        };
        let records = match listed {
            Ok(records) => records,
            Err(error) => return self.warn(report, format!("failed to list the records of deployments: {}", in_words(&error))),
        };
        let ended = records.iter().filter(|record| {
            let is_own = record["name"].as_str().is_some_and(|name| name.starts_with(DEPLOYMENT_PREFIX));
            is_own && State::parse(record["properties"]["provisioningState"].as_str()) != State::Changing
        });
        let ids: Vec<ResourceId> = ended.filter_map(|record| record["id"].as_str()?.parse().ok()).collect();
        let removed = join_all(ids.iter().map(|id| async move {
            let _permit = self.gate.acquire().await;
            self.operate(resources::delete(id), self.options.operation_timeout).await
        }));
        for (id, removed) in ids.iter().zip(removed.await) {
            if let Err(error) = removed {
                self.warn(report, format!("failed to delete the record of deployment '{}': {}", id.name(), in_words(&error)));
            }
        }
    }

    fn warn(&self, report: &mut Report, warning: String) {
        (self.say)(Line::Warning(&warning));
        report.warnings.push(warning);
    }
}
