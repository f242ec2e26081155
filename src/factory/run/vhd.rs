//! Captures as VHD, and copies VHDs to the receiving labs, as the older scripts did.
//!
//! Access to a disk is given for one copy and taken back whatever becomes of it. Whoever is cut off leaves a copy that goes on by itself; the
//! next run finds it by its name and waits for it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use super::{Factory, Failure, Line, Source, capture::AUTHOR};
use crate::{
    arm::{self, Client, Request, ResourceId, Wait},
    compute::{COMPUTE, DISK},
    devtestlab::{API_VERSION, virtual_machine},
    factory::{
        IMAGE_PATH_TAG, RUN_TAG,
        configuration::OsState,
        in_words,
        inventory::{Backing, Image, Inventory, State, Tags, Vhd},
        names::ImagePath,
        plan::{Capture, Distribute, Retire},
        vhd::{self, CONTAINER, Note},
    },
    storage::{
        account::Account,
        blob::{Container, Copy, CopyStatus},
        copy::{self, Target},
    },
};

/// How long what must be put right after a cancellation may take: the agent kills the task after ten seconds.
const LAST_WORD: Duration = Duration::from_secs(6);
/// How long an address outlives the time that its copy may take.
const SPARE: Duration = Duration::from_hours(1);
/// How often the progress of a copy is told.
const TELL_EVERY: Duration = Duration::from_mins(1);

impl Factory<'_> {
    /// Copies a virtual machine's disk into the factory's storage account.
    pub(super) async fn capture_vhd(&self, path: &ImagePath, capture: &Capture) -> Result<Source, Failure> {
        let image = self.configuration.image(path).ok_or_else(|| Failure::Refused(format!("there is no golden image '{path}'")))?;
        let os_type = image.os_type.ok_or_else(|| Failure::Refused(format!("the operating system of '{path}' is not known")))?;
        let action = || format!("capture virtual machine '{}' as VHD '{}'", capture.vm, capture.image);
        let _permit = self.gate.acquire().await;
        let account = self.stores.of(&self.client, &self.lab).await.map_err(Failure::azure(action()))?;
        let disk = self.os_disk(&capture.vm).await.map_err(Failure::azure(action()))?;
        let disk = disk.ok_or_else(|| Failure::Refused(format!("virtual machine '{}' shows no managed disk", capture.vm)))?;
        (self.say)(Line::Info(&format!("Capturing virtual machine '{}' as VHD '{}'.", capture.vm, capture.image)));
        let now = self.client.host().now();
        let made = Image {
            name: capture.image.clone(),
            id: String::new(),
            tags: Tags { image_path: Some(path.clone()), run_id: Some(self.options.run_id.clone()), ..Tags::default() },
            state: State::Succeeded,
            created: Some(now),
            os_type: Some(os_type),
            backing: Backing {
                vhd: Some(Vhd { blob: format!("{}.vhd", vhd::guid(&self.options.run_id, path)), vm: capture.vm.clone() }),
                ..Backing::default()
            },
            description: vhd::description(path, &self.options.run_id),
        };
        let note = Note {
            image: &capture.image,
            path,
            run_id: &self.options.run_id,
            fingerprint: &image.fingerprint,
            os_type,
            vm: &capture.vm,
            now,
        };
        let copied = self.copy_disk(&account, &disk, &made, &note).await;
        // Also when it was never given, or its answer was lost.
        let closed = self.close(&disk).await;
        copied.map_err(Failure::azure(action()))?;
        if let Err(error) = closed {
            let told = in_words(&error);
            (self.say)(Line::Warning(&format!(
                "access to the disk of '{}' could not be taken back; the next run will: {told}",
                capture.vm
            )));
        }
        Ok(Source::of(&made, path, Some(capture.vm.clone())))
    }

    async fn copy_disk(&self, account: &Account, disk: &ResourceId, image: &Image, note: &Note<'_>) -> Result<(), arm::Error> {
        let Some(vhd) = &image.backing.vhd else { return Ok(()) };
        if self.is_open(disk).await? {
            // Left by a run that was cut off. Its copy, if it still goes on, is another image's.
            self.close(disk).await?;
        }
        let seconds = (self.options.operation_timeout + SPARE).as_secs();
        let begin = Request::post(format!("{disk}/beginGetAccess"), DISK, Some(json!({"access": "Read", "durationInSeconds": seconds})))
            .about_new();
        let describe = begin.describe();
        let granted = self.operate(begin, self.options.operation_timeout).await?;
        let places = ["/accessSAS", "/properties/output/accessSAS"];
        let address = places.iter().find_map(|place| granted.pointer(place)?.as_str()).map(str::to_owned);
        let address =
            address.ok_or(arm::Error::Answer { request: describe, problem: "it holds no address to read the disk".to_owned() })?;
        self.client.register_signed(&address);
        vhd::make_container(&self.client, account).await?;
        let target = Target { account, container: CONTAINER, blob: &vhd.blob };
        self.copy(target, &address, &note.metadata(), &format!("VHD '{}'", image.name)).await?;
        self.complete_vhd(account, image, note.path).await
    }

    /// Writes the companion: from now on the image is whole.
    async fn complete_vhd(&self, account: &Account, image: &Image, path: &ImagePath) -> Result<(), arm::Error> {
        let Some(vhd) = &image.backing.vhd else { return Ok(()) };
        let now = self.client.host().now();
        let container = Container { account, name: CONTAINER, now };
        let document = vhd::companion(image, path, vhd, image.created.unwrap_or(now));
        self.client.send_outside(&container.put_json(&vhd::companion_of(&vhd.blob), &document)).await.map(|_| ())
    }

    /// The VHD that this run has captured before; waits for one that is under way.
    pub(super) async fn await_vhd(&self, done: &Capture, image: &Image) -> Result<Source, Failure> {
        let path = &done.image_path;
        let action = || format!("see VHD '{}' done", done.image);
        if image.state == State::Changing
            && let Some(vhd) = &image.backing.vhd
        {
            let _permit = self.gate.acquire().await;
            (self.say)(Line::Info(&format!("VHD '{}' is being copied: waits for that.", done.image)));
            let account = self.stores.of(&self.client, &self.lab).await.map_err(Failure::azure(action()))?;
            let target = Target { account: &account, container: CONTAINER, blob: &vhd.blob };
            let copied = async {
                self.follow_copy(target, &format!("VHD '{}'", done.image)).await?;
                self.complete_vhd(&account, image, path).await
            };
            let copied = copied.await;
            let released = self.release(&vhd.vm).await;
            copied.and(released).map_err(Failure::azure(action()))?;
        }
        let vm = Some(done.vm.clone()).filter(|vm| !vm.is_empty());
        Ok(Source::of(image, path, vm))
    }

    /// Copies a VHD to a lab's storage account, makes a custom image of it, and deletes the copy.
    pub(super) async fn distribute_vhd(&self, copy: &Distribute, source: &Source, vhd: &Vhd, inventory: &Inventory) -> Result<(), Failure> {
        let refused = |problem: String| Failure::Refused(problem);
        let lab: ResourceId = copy.lab.parse().map_err(|error: arm::IdError| refused(error.to_string()))?;
        let id = lab.child("customimages", &copy.image).map_err(|error| refused(error.to_string()))?;
        let golden = self.configuration.image(&source.path);
        let os_type = golden
            .and_then(|image| image.os_type)
            .ok_or_else(|| refused(format!("the operating system of '{}' is not known", source.path)))?;
        let is_generalized = golden.is_some_and(|image| image.settings.os_state == OsState::Generalized);
        let failed = || format!("make a copy of image '{}'", copy.image);
        let _permit = self.gate.acquire().await;
        let from = self.stores.of(&self.client, &self.lab).await.map_err(Failure::azure(failed()))?;
        let to = self.stores.of(&self.client, &lab).await.map_err(Failure::azure(failed()))?;
        let now = self.client.host().now();
        let target = Target { account: &to, container: CONTAINER, blob: &vhd.blob };
        let address = target.container(&self.client).address(&vhd.blob);
        let body = json!({
            "tags": {IMAGE_PATH_TAG: source.path.as_str(), RUN_TAG: self.options.run_id},
            "properties": {
                "author": AUTHOR,
                "description": source.description,
                "vhd": {"imageName": address, "osType": os_type.name(), "sysPrep": is_generalized},
            },
        });
        let request = Request::put(id.as_str(), API_VERSION, body);
        let there = inventory.receivers.iter().filter_map(|target| target.lab.as_ref().ok()).find(|known| known.id == lab);
        let is_under_way = there.and_then(|lab| lab.image(&copy.image)).is_some_and(|image| image.state == State::Changing);
        let own = from.name == to.name;
        let made = if is_under_way {
            self.follow(&request, self.options.operation_timeout).await
        } else {
            if !own {
                let lifetime = time::Duration::try_from(self.options.operation_timeout + SPARE).unwrap_or(time::Duration::hours(3));
                let read = Container { account: &from, name: CONTAINER, now }.address_to_read(&vhd.blob, lifetime);
                let what = format!("image '{}' for lab '{}'", copy.image, lab.name());
                vhd::make_container(&self.client, &to).await.map_err(Failure::azure(failed()))?;
                self.copy(target, &read, &[], &what).await.map_err(Failure::azure(failed()))?;
            }
            self.operate(request, self.options.operation_timeout).await
        };
        // What is cancelled goes on in Azure, and needs its VHD.
        if !own && !made.as_ref().is_err_and(arm::Error::is_cancelled) {
            self.drop_copy(target, &copy.image).await;
        }
        made.map(|_| ()).map_err(Failure::azure(failed()))
    }

    /// The copy of a VHD has done its duty.
    async fn drop_copy(&self, target: Target<'_>, image: &str) {
        match self.client.send_outside(&target.container(&self.client).delete(target.blob)).await {
            Err(error) if error.status() != Some(404) => {
                let told = in_words(&error);
                (self.say)(Line::Warning(&format!("the copied VHD of image '{image}' in '{}' stays: {told}", target.account.name)));
            }
            _ => {}
        }
    }

    /// Copies, or waits for the same copy that is under way already. What is broken off is aborted and leaves nothing.
    async fn copy(&self, target: Target<'_>, source: &str, metadata: &[(&'static str, String)], what: &str) -> Result<(), arm::Error> {
        match copy::look(&self.client, target).await?.map(|copy| copy.status) {
            Some(CopyStatus::Success) if metadata.is_empty() => return Ok(()),
            Some(CopyStatus::Pending) => (self.say)(Line::Info(&format!("{what}: is being copied already; waits for that."))),
            _ => {
                let begun = self.client.send_outside(&target.container(&self.client).copy(target.blob, source, metadata)).await;
                match begun {
                    // The answer to an earlier try was lost: the copy is ours.
                    Err(error) if error.status() == Some(409) && error.has_code("PendingCopyOperation") => {}
                    other => {
                        other?;
                    }
                }
            }
        }
        let copied = self.follow_copy(target, what).await;
        if copied.is_err() {
            let aborted = copy::abort(&self.persistent(), target).await;
            if let Err(error) = aborted {
                (self.say)(Line::Warning(&format!("{what}: what was copied stays in '{}': {}", target.account.name, in_words(&error))));
            }
        }
        copied
    }

    async fn follow_copy(&self, target: Target<'_>, what: &str) -> Result<(), arm::Error> {
        let host = self.client.host();
        let begun = host.elapsed();
        let said = Mutex::new(begun);
        let observe = |copy: &Copy| {
            let now = host.elapsed();
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            let is_whole = copy.status == CopyStatus::Success;
            if is_whole || now.saturating_sub(*said) >= TELL_EVERY {
                *said = now;
                (self.say)(Line::Info(&format!("{what}: {}", vhd::progress(copy.arrived, copy.total, now.saturating_sub(begun)))));
            }
        };
        copy::wait(&self.client, target, self.options.operation_timeout, &observe).await
    }

    /// Deletes a retired VHD and its companion, unless it has changed since the plan was made.
    pub(super) async fn retire_vhd(&self, item: &Retire) -> Result<bool, arm::Error> {
        let account = self.stores.of(&self.client, &self.lab).await?;
        let images = vhd::images(&self.client, &self.gate, &account).await?;
        let Some(image) = images.into_iter().find(|image| image.name.eq_ignore_ascii_case(&item.image)) else { return Ok(false) };
        let Some(vhd) = image.backing.vhd.as_ref() else { return Ok(false) };
        if image.tags.ignored || image.tags.image_path.as_ref() != Some(&item.image_path) || image.state == State::Changing {
            return Ok(false);
        }
        let _permit = self.gate.acquire().await;
        // The companion first: a VHD without one is found again, a companion without VHD is not looked for.
        for blob in [vhd::companion_of(&vhd.blob), vhd.blob.clone()] {
            let container = Container { account: &account, name: CONTAINER, now: self.client.host().now() };
            match self.client.send_outside(&container.delete(&blob)).await {
                Err(error) if error.status() != Some(404) => return Err(error),
                _ => {}
            }
        }
        Ok(true)
    }

    /// Takes back the access to a virtual machine's disk that a run which was cut off has left open. Otherwise Azure does not delete the disk.
    pub(super) async fn release(&self, vm: &str) -> Result<(), arm::Error> {
        match self.os_disk(vm).await? {
            Some(disk) if self.is_open(&disk).await? => self.close(&disk).await,
            _ => Ok(()),
        }
    }

    async fn is_open(&self, disk: &ResourceId) -> Result<bool, arm::Error> {
        let found = self.client.find(Request::get(disk.as_str(), DISK)).await?.unwrap_or_default();
        Ok(found["properties"]["diskState"].as_str().is_some_and(|state| state.to_ascii_lowercase().starts_with("activesas")))
    }

    async fn close(&self, disk: &ResourceId) -> Result<(), arm::Error> {
        let client = self.persistent();
        let operation = client.start(Request::post(format!("{disk}/endGetAccess"), DISK, None)).await?;
        client.wait(&operation, Wait::silent(self.options.operation_timeout)).await.map(|_| ())
    }

    /// The client, which goes on for a moment when the agent has asked to stop.
    fn persistent(&self) -> Client {
        if self.client.host().is_cancelled() { self.client.for_clean_up(LAST_WORD) } else { self.client.clone() }
    }

    /// The disk with the operating system of a lab's virtual machine; `None` when there is no such machine.
    async fn os_disk(&self, vm: &str) -> Result<Option<ResourceId>, arm::Error> {
        let Ok(id) = self.lab.child("virtualmachines", vm) else { return Ok(None) };
        let found = self.client.find(virtual_machine::get(&id)).await?.unwrap_or_default();
        let Some(compute) = found["properties"]["computeId"].as_str() else { return Ok(None) };
        let machine = self.client.find(Request::get(compute, COMPUTE)).await?.unwrap_or_default();
        let disk = machine.pointer("/properties/storageProfile/osDisk/managedDisk/id").and_then(Value::as_str);
        Ok(disk.and_then(|disk| disk.parse().ok()))
    }
}
