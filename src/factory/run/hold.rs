//! In whose hands a virtual machine is: its tag names the run. Of two runs the later one takes over, and the earlier one then keeps its
//! hands off: neither captures nor deletes what the other works with.

use serde_json::{Map, Value, json};

use super::{Factory, Failure, Line};
use crate::{
    arm::Request,
    devtestlab::{API_VERSION, virtual_machine},
    factory::{FINGERPRINT_TAG, IMAGE_PATH_TAG, RUN_TAG, golden_image::GoldenImage, inventory::Tags},
};

impl Factory<'_> {
    /// Makes a virtual machine of an earlier run this run's own.
    pub(super) async fn take_over(&self, image: &GoldenImage, vm: &str) -> Result<(), Failure> {
        let Some((tags, body)) = self.tags_of(vm).await? else { return Ok(()) };
        if tags.run_id.as_deref() == Some(self.options.run_id.as_str()) {
            return Ok(());
        }
        if let Some(run) = &tags.run_id {
            (self.say)(Line::Info(&format!("Virtual machine '{vm}' of run '{run}' is taken over.")));
        }
        // Tags are replaced as a whole: https://learn.microsoft.com/rest/api/dtl/virtual-machines/update
        let mut all = body["tags"].as_object().cloned().unwrap_or_default();
        for (name, value) in
            [(IMAGE_PATH_TAG, image.path.as_str()), (RUN_TAG, &self.options.run_id), (FINGERPRINT_TAG, image.fingerprint.as_str())]
        {
            set(&mut all, name, value);
        }
        let request = Request::patch(self.vm_id(vm)?.as_str(), API_VERSION, json!({"tags": all}));
        let _permit = self.gate.acquire().await;
        let taken = self.operate(request, self.timeout(image)).await;
        taken.map(|_| ()).map_err(Failure::azure(format!("take over virtual machine '{vm}'")))
    }

    /// Fails when another run has taken a virtual machine over, or somebody wants it left alone.
    pub(super) async fn hold(&self, vm: &str) -> Result<(), Failure> {
        let Some((tags, _)) = self.tags_of(vm).await? else { return Ok(()) };
        if tags.ignored {
            return Err(Failure::Refused(format!("virtual machine '{vm}' is tagged FactoryIgnore now: it is left as it is")));
        }
        match tags.run_id {
            Some(run) if run != self.options.run_id => {
                Err(Failure::Refused(format!("run '{run}' has taken virtual machine '{vm}' over: that run captures and deletes it")))
            }
            _ => Ok(()),
        }
    }

    /// The tags of a virtual machine, and the whole of it; `None` when it is gone.
    pub(super) async fn tags_of(&self, vm: &str) -> Result<Option<(Tags, Value)>, Failure> {
        let id = self.vm_id(vm)?;
        let found = {
            let _permit = self.gate.acquire().await;
            self.client.find(virtual_machine::get(&id)).await
        };
        let found = found.map_err(Failure::azure(format!("read virtual machine '{vm}'")))?;
        Ok(found.map(|body| (Tags::read(&body), body)))
    }
}

/// Sets a tag; names of tags are compared without case.
fn set(tags: &mut Map<String, Value>, name: &str, value: &str) {
    let known = tags.keys().find(|known| known.eq_ignore_ascii_case(name)).cloned();
    tags.insert(known.unwrap_or_else(|| name.to_owned()), json!(value));
}
