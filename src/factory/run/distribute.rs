//! Copies an image of the factory's lab to the receiving labs, in waves; VHDs are copied by `vhd`.
//!
//! The copy is a custom image on the same disk: on the factory image's snapshot when that was specialized, on its managed image when it was
//! generalized (`customImages` 2018-09-15 takes `managedSnapshotId` and `managedImageId`). Nothing leaves the region, and no storage
//! account's key is needed; in return the factory's image stays as long as a copy stands on its disk.

use std::ops::ControlFlow;

use futures::future::{join_all, select};
use serde_json::json;

use super::{Factory, Failure, LabResult, Line, Source, Status, capture::AUTHOR};
use crate::{
    arm::{Request, ResourceId},
    compute::replication::RegionStatus,
    devtestlab::API_VERSION,
    factory::{
        IMAGE_PATH_TAG, RUN_TAG,
        inventory::{Inventory, State},
        plan::Distribute,
    },
};

impl Factory<'_> {
    /// Makes an image's copies: all at once, or wave by wave where the configuration says so. The last wave of it repeats.
    pub(super) async fn in_waves(
        &self,
        copies: &[&Distribute],
        source: &Source,
        statuses: &Result<Vec<RegionStatus>, String>,
        inventory: &Inventory,
    ) -> Vec<LabResult> {
        let waves = &self.configuration.settings.waves;
        let host = self.client.host();
        let mut results = Vec::new();
        let mut waiting = copies;
        for number in 0.. {
            if waiting.is_empty() {
                break;
            }
            let wave = waves.get(number).or(waves.last()).copied().unwrap_or_default();
            if number > 0 && !wave.pause.is_zero() {
                let minutes = wave.pause.as_secs().div_ceil(60);
                (self.say)(Line::Info(&format!("Image '{}': wave {} begins in {minutes} min.", source.name, number + 1)));
                select(host.sleep(wave.pause), host.cancelled()).await;
            }
            let (now, later) = waiting.split_at(wave.labs.unwrap_or(waiting.len()).min(waiting.len()));
            results.extend(join_all(now.iter().map(|copy| self.distribute(copy, source, statuses, inventory))).await);
            waiting = later;
        }
        results
    }

    /// Makes a copy, or waits for one that is being made.
    pub(super) async fn distribute(
        &self,
        copy: &Distribute,
        source: &Source,
        statuses: &Result<Vec<RegionStatus>, String>,
        inventory: &Inventory,
    ) -> LabResult {
        let version = source.version.as_ref().map(|version| version.name.clone());
        let result = self.distributed(copy, source, statuses, inventory).await;
        LabResult { version, ..result }
    }

    async fn distributed(
        &self,
        copy: &Distribute,
        source: &Source,
        statuses: &Result<Vec<RegionStatus>, String>,
        inventory: &Inventory,
    ) -> LabResult {
        let what = format!("image '{}' for lab '{}'", copy.image, lab_name(&copy.lab));
        let mut attempts = self.attempts(what.clone());
        let copied = loop {
            let copied = self.try_distribute(copy, source, statuses, inventory, attempts.number).await;
            if let ControlFlow::Break(ended) = attempts.settle(copied) {
                break ended;
            }
        };
        match copied {
            Ok(()) => {
                (self.say)(Line::Info(&format!("Image '{}' is in lab '{}'.", copy.image, lab_name(&copy.lab))));
                LabResult::of_image(&copy.image, &copy.lab, Status::Succeeded, None)
            }
            Err(failure) => {
                let told = failure.to_string();
                (self.say)(Line::Error(&format!("{what}: {told}")));
                LabResult::of_image(&copy.image, &copy.lab, failure.status(), Some(told))
            }
        }
    }

    async fn try_distribute(
        &self,
        copy: &Distribute,
        source: &Source,
        statuses: &Result<Vec<RegionStatus>, String>,
        inventory: &Inventory,
        attempt: u32,
    ) -> Result<(), Failure> {
        let refused = |problem: String| Failure::Refused(problem);
        let lab: ResourceId = copy.lab.parse().map_err(|error: crate::arm::IdError| refused(error.to_string()))?;
        let known = inventory.receivers.iter().filter_map(|target| target.lab.as_ref().ok()).find(|known| known.id == lab);
        if let (Some(version), Some(known)) = (&source.version, known) {
            return self.offer(known, version, statuses, inventory).await;
        }
        let id = lab.child("customimages", &copy.image).map_err(|error| refused(error.to_string()))?;
        if let Some(vhd) = &source.backing.vhd {
            return self.distribute_vhd(copy, source, vhd, inventory).await;
        }
        let mut properties = json!({"author": AUTHOR, "description": source.description});
        match (&source.backing.snapshot_id, &source.backing.managed_image_id) {
            (Some(snapshot), _) => properties["managedSnapshotId"] = json!(snapshot),
            (None, Some(image)) => properties["managedImageId"] = json!(image),
            (None, None) => {
                return Err(refused(format!("image '{}' shows neither a snapshot nor a managed image to make a copy of", source.name)));
            }
        }
        let body = json!({
            "tags": {IMAGE_PATH_TAG: source.path.as_str(), RUN_TAG: self.options.run_id},
            "properties": properties,
        });
        let request = Request::put(id.as_str(), API_VERSION, body);
        // Roles on a disk that this run has made take time.
        let request = if source.vm.is_some() { request.linking_new() } else { request };
        let is_under_way = known.and_then(|lab| lab.image(&copy.image)).is_some_and(|image| image.state == State::Changing);
        let _permit = self.gate.acquire().await;
        let made = if is_under_way && attempt == 1 {
            self.follow(&request, self.options.operation_timeout).await
        } else {
            self.operate(request, self.options.operation_timeout).await
        };
        made.map(|_| ()).map_err(Failure::azure(format!("make a copy of image '{}'", copy.image)))
    }
}

fn lab_name(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}
