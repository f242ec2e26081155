//! Publishes an image to the gallery: the gallery and the definition where they are missing, then a version of the virtual machine.

use serde_json::{Map, Value, json};

use super::{Factory, Failure, Line, Source};
use crate::{
    arm::{Request, ResourceId},
    compute::{
        COMPUTE, DISK, GALLERY,
        definition::{Definition, Mutable},
        features::Features,
        gallery::body,
        image_version::Publishing,
        region::{Region, Replication, TargetRegion, check_replicas, with_source_region},
        replication::{RegionStatus, Status},
        source::{Facts, Source as VersionSource, Unfit, mismatches, storage_profile},
        version::VersionNumber,
    },
    devtestlab::virtual_machine,
    factory::{
        FINGERPRINT_TAG, LAB_TAG, RUN_TAG,
        configuration::{OsState, gallery::GallerySettings, gallery::needs_gallery},
        gallery::{Definition as Known, Version, definition_tags, is_own, lab_tag, names, version_name, version_tags},
        golden_image::GoldenImage,
        inventory::{Inventory, State},
        names::ImagePath,
        plan::Capture,
    },
};

/// How often another number is tried when somebody else took the one that comes next.
const COLLISIONS: usize = 5;

/// A version that labs are given.
#[derive(Clone, Debug)]
pub(super) struct Published {
    /// Its id.
    pub id: ResourceId,
    /// Its definition's name.
    pub definition: String,
    /// `definition/number`.
    pub name: String,
    /// The definition's operating system.
    pub os_type: String,
    /// The definition's state.
    pub os_state: String,
}

fn settings_missing(vm: &str, security: &str) -> Failure {
    Failure::Refused(format!(
        "virtual machine '{vm}' has {security}, of which there is no managed image, and no gallery is configured: name one in factory.json, such as \"gallery\": {{\"name\": \"golden\"}}, and run again; the virtual machine stays for that"
    ))
}

impl Factory<'_> {
    /// Whether a capture goes to the gallery: as planned, or since no managed image can be made of the virtual machine.
    pub(super) async fn goes_to_gallery(&self, capture: &Capture) -> Result<bool, Failure> {
        if capture.version.is_some() {
            return Ok(true);
        }
        // Who may not read the machine learns from Azure that it cannot be captured.
        let Ok((_, vm)) = self.compute_machine(&capture.vm).await else { return Ok(false) };
        let Some(security) = Facts::of_virtual_machine(&vm).security_type.filter(|security| needs_gallery(security).is_some()) else {
            return Ok(false);
        };
        if self.configuration.settings.gallery.is_none() {
            return Err(settings_missing(&capture.vm, &security));
        }
        (self.say)(Line::Warning(&format!(
            "Virtual machine '{}' has {security}, of which there is no managed image: it is captured to the gallery.",
            capture.vm
        )));
        Ok(true)
    }

    /// The compute virtual machine behind one of the factory's lab.
    async fn compute_machine(&self, vm: &str) -> Result<(ResourceId, Value), Failure> {
        let action = || format!("read virtual machine '{vm}'");
        let _permit = self.gate.acquire().await;
        let found = self.client.send(virtual_machine::get(&self.vm_id(vm)?).about_new()).await.map_err(Failure::azure(action()))?.body;
        let id: ResourceId = found["properties"]["computeId"].as_str().unwrap_or_default().parse()?;
        let request = Request::get(id.path(), COMPUTE).query("$expand", "instanceView").about_new();
        let machine = self.client.send(request).await.map_err(Failure::azure(action()))?.body;
        Ok((id, machine))
    }

    /// Makes a version of a virtual machine, in the regions of all labs that list the image.
    pub(super) async fn capture_version(&self, path: &ImagePath, capture: &Capture, inventory: &Inventory) -> Result<Source, Failure> {
        let image = self.configuration.image(path).ok_or_else(|| Failure::Refused(format!("there is no golden image '{path}'")))?;
        let settings = self.configuration.settings.gallery.as_ref().ok_or_else(|| settings_missing(&capture.vm, "Trusted Launch"))?;
        if let Some(problem) =
            inventory.gallery.as_ref().and_then(|gallery| crate::factory::plan::gallery::foreign_definition(gallery, path))
        {
            return Err(Failure::Refused(problem));
        }
        let (machine, facts) = self.generalized(image, &capture.vm).await?;
        let gallery = self.ensured_gallery(settings, &facts.location).await?;
        let definition = gallery.child("images", &names::definition_name(path))?;
        let made = self.ensured_definition(settings, &definition, image, &facts).await?;
        let (regions, _) = with_source_region(self.regions(inventory, path), &Region::new(&facts.location));
        let publishing = Publishing {
            targets: regions,
            default: Replication { replica_count: settings.replica_count, storage_account_type: settings.storage_account_type },
            exclude_from_latest: false,
            end_of_life_date: None,
            replication_mode: None,
            encryption: Vec::new(),
            confidential: Vec::new(),
            edge_zones: None,
            replica_sets: Vec::new(),
            uefi: None,
            excluded_regions: None,
            allow_deletion_of_replicated_locations: Some(true),
            block_deletion_before_end_of_life: None,
            tags: version_tags(path, &self.lab, &self.options.run_id, &image.fingerprint, &capture.image),
        };
        check_replicas(&publishing.targets, publishing.default, 0).map_err(|wrong| Failure::Refused(wrong.to_string()))?;
        let body =
            publishing.body(&Region::new(&facts.location), &storage_profile(&VersionSource::VirtualMachine(machine), None, &[], &[]));
        (self.say)(Line::Info(&format!(
            "Publishing virtual machine '{}' as '{}' to gallery '{}'.",
            capture.vm,
            capture.image,
            gallery.name()
        )));
        let id = self.made_version(&definition, capture, &body).await?;
        Ok(Source::of_version(&capture.image, path, published(&id, &definition, &made["properties"]), Some(capture.vm.clone())))
    }

    /// The machine behind a lab's virtual machine, marked as generalized where the image is to be so.
    async fn generalized(&self, image: &GoldenImage, vm: &str) -> Result<(ResourceId, Facts), Failure> {
        let (machine, value) = self.compute_machine(vm).await?;
        let mut facts = Facts::of_virtual_machine(&value);
        match &facts.unfit {
            Some(Unfit::Running(state)) => return Err(Failure::Refused(format!("virtual machine '{vm}' is {state}, and must be stopped"))),
            Some(Unfit::Other(problem, remedy)) => return Err(Failure::Refused(format!("virtual machine '{vm}': {problem}; {remedy}"))),
            None => {}
        }
        let is_generalized = facts.os_state.as_deref() == Some("Generalized");
        match (image.settings.os_state, is_generalized) {
            (OsState::Generalized, false) => {
                // The artifact has generalized what is on the disk; Azure wants to be told.
                let request = Request::post(format!("{}/generalize", machine.path()), COMPUTE, None).about_new();
                let _permit = self.gate.acquire().await;
                let marked = self.operate(request, self.options.operation_timeout).await;
                marked.map_err(Failure::azure(format!("mark virtual machine '{vm}' as generalized")))?;
                facts.os_state = Some("Generalized".to_owned());
            }
            (OsState::Specialized, true) => {
                return Err(Failure::Refused(format!("virtual machine '{vm}' is generalized, and a specialized image is wanted")));
            }
            _ => {}
        }
        if facts.architecture.is_none() {
            facts.architecture = self.architecture(&value).await;
        }
        Ok((machine, facts))
    }

    /// The architecture, which the disk tells and the machine does not.
    async fn architecture(&self, machine: &Value) -> Option<String> {
        let disk: ResourceId = machine["properties"]["storageProfile"]["osDisk"]["managedDisk"]["id"].as_str()?.parse().ok()?;
        let _permit = self.gate.acquire().await;
        let disk = self.client.find(Request::get(disk.path(), DISK)).await.ok()??;
        disk["properties"]["supportedCapabilities"]["architecture"].as_str().map(str::to_owned)
    }

    async fn ensured_gallery(&self, settings: &GallerySettings, location: &str) -> Result<ResourceId, Failure> {
        let id = settings.id(&self.lab)?;
        // All golden images come here at once, and one makes the gallery for all of them.
        let mut is_there = self.gallery_is_there.lock().await;
        if !*is_there {
            let _permit = self.gate.acquire().await;
            let found = self.client.find(Request::get(id.path(), GALLERY)).await;
            if found.map_err(Failure::azure(format!("read gallery '{}'", id.name())))?.is_none() {
                (self.say)(Line::Info(&format!("Making gallery '{}' in resource group '{}'.", id.name(), id.resource_group())));
                let tags: Map<String, Value> = [(LAB_TAG.to_owned(), json!(lab_tag(&self.lab)))].into_iter().collect();
                let description = format!("Golden images of the image factory in lab {}", self.lab.name());
                let request = Request::put(id.path(), GALLERY, body(location, Some(&description), &tags));
                let made = self.operate(request, self.options.operation_timeout).await;
                made.map_err(Failure::azure(format!("make gallery '{}'", id.name())))?;
            }
            *is_there = true;
        }
        Ok(id)
    }

    /// The definition, made of what the virtual machine is where it is not there yet; one that is there must fit.
    async fn ensured_definition(
        &self,
        settings: &GallerySettings,
        id: &ResourceId,
        image: &GoldenImage,
        facts: &Facts,
    ) -> Result<Value, Failure> {
        let _permit = self.gate.acquire().await;
        let found = self.client.find(Request::get(id.path(), GALLERY)).await;
        if let Some(found) = found.map_err(Failure::azure(format!("read image definition '{}'", id.name())))? {
            let problems = mismatches(facts, &found, &[]);
            if problems.is_empty() {
                return Ok(found);
            }
            return Err(Failure::Refused(format!(
                "the golden image no longer fits its image definition '{}', of which these never change: {}; rename the golden image, which gives it a definition of its own",
                id.name(),
                problems.join("; ")
            )));
        }
        let definition = definition(settings, &self.lab, image, facts);
        let made = self.operate(Request::put(id.path(), GALLERY, definition.body()), self.options.operation_timeout).await;
        made.map_err(Failure::azure(format!("make image definition '{}'", id.name())))
    }

    /// The regions of all labs that list an image, whatever this job's share of them is.
    fn regions(&self, inventory: &Inventory, path: &ImagePath) -> Vec<TargetRegion> {
        let mut regions: Vec<TargetRegion> = Vec::new();
        for (receiver, target) in self.configuration.labs.iter().zip(&inventory.receivers) {
            let Ok(lab) = &target.lab else { continue };
            let region = Region::new(Region::new(&lab.location).normalized());
            if receiver.lists(path) && !regions.iter().any(|known| known.name == region) {
                regions.push(TargetRegion::new(region));
            }
        }
        regions
    }

    /// Makes the version, or goes on with the one that this run has begun. What ended as failed in its own region is taken away again.
    async fn made_version(&self, definition: &ResourceId, capture: &Capture, body: &Value) -> Result<ResourceId, Failure> {
        let action = || format!("publish virtual machine '{}' as '{}'", capture.vm, capture.image);
        let mut wanted: Option<VersionNumber> =
            capture.version.as_ref().and_then(|name| name.rsplit('/').next()).and_then(|number| number.parse().ok());
        for attempt in 0.. {
            let _permit = self.gate.acquire().await;
            let listed = self.client.list(Request::get(format!("{}/versions", definition.path()), GALLERY)).await;
            let versions = listed.map_err(Failure::azure(format!("list the versions of '{}'", definition.name())))?;
            let known = Known { name: definition.name().to_owned(), ..Known::read(&Value::Null, &self.lab) };
            let read: Vec<Version> = versions.iter().filter_map(|version| Version::read(version, &known, &self.lab)).collect();
            let begun = read.iter().find(|version| {
                let tags = &version.image.tags;
                let is_own = tags.image_path.as_ref() == Some(&capture.image_path);
                is_own && tags.run_id.as_deref() == Some(&self.options.run_id) && version.image.state != State::Failed
            });
            let taken: Vec<VersionNumber> = read.iter().map(|version| version.number).collect();
            let number = match (begun, wanted.take()) {
                (Some(begun), _) => begun.number,
                (None, Some(number)) if !taken.contains(&number) => number,
                _ => names::version_number(self.client.host().now().date(), &taken),
            };
            let id = definition.child("versions", &number.to_string())?;
            let request = Request::put(id.path(), GALLERY, body.clone()).about_new();
            let made = match begun {
                Some(_) => self.follow(&request, self.options.operation_timeout).await,
                None => self.operate(request, self.options.operation_timeout).await,
            };
            let Err(error) = made else { return Ok(id) };
            if error.is_cancelled() {
                return Err(Failure::azure(action())(error));
            }
            match self.after_failure(&id, body).await {
                // Other regions than its own are lacking: each lab is told.
                Some(true) => return Ok(id),
                // Somebody else took the number between the list and the request.
                Some(false) if attempt < COLLISIONS && error.status() == Some(409) => {}
                _ => return Err(Failure::azure(action())(error)),
            }
        }
        Err(Failure::Refused(format!("no number was free to {}", action())))
    }

    /// What a version that failed has become: `Some(true)` where it is built, `Some(false)` where it is somebody else's. Else it is deleted.
    async fn after_failure(&self, id: &ResourceId, body: &Value) -> Option<bool> {
        let found = self.client.find(Request::get(id.path(), GALLERY).query("$expand", "ReplicationStatus")).await.ok()??;
        let tag = |value: &Value, name: &str| value["tags"][name].as_str().map(str::to_owned);
        let is_ours = is_own(&found, &self.lab) && [RUN_TAG, FINGERPRINT_TAG].iter().all(|name| tag(&found, name) == tag(body, name));
        if !is_ours {
            return Some(false);
        }
        if is_built(&found) {
            return Some(true);
        }
        if State::parse(found["properties"]["provisioningState"].as_str()) == State::Failed
            && let Err(error) = self.operate(Request::delete(id.path(), GALLERY), self.options.operation_timeout).await
        {
            let told = crate::factory::in_words(&error);
            (self.say)(Line::Warning(&format!("failed to delete version '{}', which stays: {told}", id.name())));
        }
        None
    }

    /// The version that this run has made before; waits for one that is under way.
    pub(super) async fn await_published(&self, done: &Capture, inventory: &Inventory) -> Result<Source, Failure> {
        let published = inventory.gallery.as_ref().and_then(|gallery| {
            let (definition, version) = gallery.versions_of(&done.image_path).find(|(_, version)| version.image.name == done.image)?;
            of_known(definition, version)
        });
        let published = published.ok_or_else(|| Failure::Refused(format!("the version '{}' is gone", done.image)))?;
        let _permit = self.gate.acquire().await;
        let settled = self.follow(&Request::get(published.id.path(), GALLERY), self.options.operation_timeout).await;
        if let Err(error) = settled {
            let status = Request::get(published.id.path(), GALLERY).query("$expand", "ReplicationStatus");
            let found = if error.is_cancelled() { None } else { self.client.find(status).await.ok().flatten() };
            // Other regions than its own are lacking: each lab is told.
            if !found.is_some_and(|found| is_built(&found)) {
                return Err(Failure::azure(format!("see version '{}' done", done.image))(error));
            }
        }
        Ok(Source::of_version(&done.image, &done.image_path, published, None))
    }

    /// Where a version stands in each region, once it is in those of the labs that get it.
    pub(super) async fn replicated(&self, version: &Published, labs: &[Region]) -> Result<Vec<RegionStatus>, Failure> {
        let action = || format!("replicate version '{}'", version.name);
        let status = Request::get(version.id.path(), GALLERY).query("$expand", "ReplicationStatus");
        let _permit = self.gate.acquire().await;
        let found = self.client.send(status.clone()).await.map_err(Failure::azure(action()))?.body;
        let there = crate::compute::image_version::targets(&found);
        let missing: Vec<&Region> = labs.iter().filter(|region| !there.contains(region)).collect();
        if missing.is_empty() {
            return Ok(Status::read(&found).regions);
        }
        let mut body = found.clone();
        let replicas = &found["properties"]["publishingProfile"];
        let added = missing.iter().map(|region| {
            json!({"name": region.normalized(), "regionalReplicaCount": replicas["replicaCount"].as_u64().unwrap_or(1),
                "storageAccountType": replicas["storageAccountType"].as_str().unwrap_or("Standard_LRS")})
        });
        if let Some(targets) = body["properties"]["publishingProfile"]["targetRegions"].as_array_mut() {
            targets.extend(added);
        }
        if let Some(properties) = body["properties"].as_object_mut() {
            properties.shift_remove("provisioningState");
            properties.shift_remove("replicationStatus");
        }
        let body = json!({"location": body["location"], "tags": body["tags"], "properties": body["properties"]});
        let updated = self.operate(Request::put(version.id.path(), GALLERY, body), self.options.operation_timeout).await;
        let regions = match self.client.send(status).await {
            Ok(answer) => Status::read(&answer.body).regions,
            Err(error) => return Err(Failure::azure(action())(updated.err().unwrap_or(error))),
        };
        match updated {
            // A region that failed says so itself; what else went wrong is told here.
            Err(error) if !regions.iter().any(|region| region.state.eq_ignore_ascii_case("Failed")) => Err(Failure::azure(action())(error)),
            _ => Ok(regions),
        }
    }
}

/// Whether a version is in the region where it is made.
fn is_built(version: &Value) -> bool {
    let built_in = Region::new(version["location"].as_str().unwrap_or_default());
    let mut regions = Status::read(version).regions.into_iter();
    regions.any(|status| status.region == built_in && status.state.eq_ignore_ascii_case("Completed"))
}

fn definition(settings: &GallerySettings, lab: &ResourceId, image: &GoldenImage, facts: &Facts) -> Definition {
    let os_type = facts.os_type.as_deref().or(image.os_type.map(crate::factory::configuration::settings::OsType::name));
    let is = |text: Option<&str>, word: &str| text.is_some_and(|text| text.eq_ignore_ascii_case(word));
    let mut features = Features::default();
    let security = ["TrustedLaunch", "ConfidentialVM"].into_iter().find(|known| is(facts.security_type.as_deref(), known));
    if let Some(security) = security {
        // Nothing is set before, so that nothing contradicts it.
        let _ = features.set_security_type(security);
    }
    let is_second = is(facts.hyper_v_generation.as_deref(), "V2") || security.is_some();
    Definition {
        location: Region::new(&facts.location),
        os_type: if is(os_type, "Linux") { "Linux" } else { "Windows" },
        os_state: if is(facts.os_state.as_deref(), "Generalized") { "Generalized" } else { "Specialized" },
        hyper_v_generation: if is_second { "V2" } else { "V1" },
        architecture: if is(facts.architecture.as_deref(), "Arm64") { "Arm64" } else { "x64" },
        identifier: names::identifier(&settings.publisher, lab.name(), &image.path),
        plan: facts.plan.clone(),
        features,
        update_features: false,
        mutable: Mutable { description: Some(format!("Golden image {}", image.path)), ..Mutable::default() },
        eula: None,
        privacy_statement_uri: None,
        tags: definition_tags(&image.path, lab),
    }
}

fn published(id: &ResourceId, definition: &ResourceId, properties: &Value) -> Published {
    let text = |name: &str| properties[name].as_str().unwrap_or_default().to_owned();
    Published {
        name: format!("{}/{}", definition.name(), id.name()),
        id: id.clone(),
        definition: definition.name().to_owned(),
        os_type: text("osType"),
        os_state: text("osState"),
    }
}

/// What the inventory knows of a version.
pub(super) fn of_known(definition: &Known, version: &Version) -> Option<Published> {
    Some(Published {
        id: version.image.id.parse().ok()?,
        definition: definition.name.clone(),
        name: version_name(&definition.name, version.number),
        os_type: definition.os_type.map(|os| os.name().to_owned()).unwrap_or_default(),
        os_state: definition.os_state.clone(),
    })
}
