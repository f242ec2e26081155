//! The shapes of `Labs.json` and `factory.json`. Their JSON Schemas are generated from the types here.

use std::time::Duration;

use serde_json::Value;

use super::{
    gallery,
    gallery::{DistributionKind, GalleryItem},
    reader::{Field, Reader, child, kind},
    settings::{CaptureKind, ImageOverride, OsState, OsType, Settings, Wave},
};
use crate::factory::names::ImagePath;

/// `Labs.json`: the labs that receive images.
#[derive(Clone, Debug)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema), schemars(rename_all = "PascalCase", title = "Labs.json"))]
pub struct LabsFile {
    /// The labs. They may lie in other subscriptions than the factory's own lab.
    pub labs: Vec<LabItem>,
}

/// A lab that receives images.
#[derive(Clone, Debug)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema), schemars(rename_all = "PascalCase"))]
pub struct LabItem {
    /// The id (a GUID) of the subscription that the lab is in.
    pub subscription_id: String,
    /// The lab's name.
    pub lab_name: String,
    /// The lab's resource group; needed only where the subscription has two labs of that name.
    pub resource_group: Option<String>,
    /// The golden images that the lab gets: files below `GoldenImages`, or folders standing for all images below them.
    pub image_paths: Vec<String>,
}

/// `factory.json`: what the factory does unless its inputs say otherwise. Everything is optional.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(target_arch = "wasm32"),
    derive(schemars::JsonSchema),
    schemars(rename_all = "camelCase", deny_unknown_fields, title = "factory.json")
)]
pub struct FactoryFile {
    /// The address of the JSON Schema, for editors.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(rename = "$schema"))]
    pub schema: Option<String>,
    /// How many good images of a golden image each lab keeps (default 1: the latest only).
    #[cfg_attr(not(target_arch = "wasm32"), schemars(range(min = 1, max = 1000)))]
    pub retention: Option<u32>,
    /// The most Azure operations in flight together, over all stages (default 20).
    #[cfg_attr(not(target_arch = "wasm32"), schemars(range(min = 1, max = 1000)))]
    pub max_concurrent: Option<u32>,
    /// Minutes to make one virtual machine before it is given up (default 30).
    #[cfg_attr(not(target_arch = "wasm32"), schemars(range(min = 1, max = 1440)))]
    pub timeout_minutes: Option<u32>,
    /// The part of a lab's factory images, from 0 to 1, that a run may delete without being allowed to (default 0.5).
    #[cfg_attr(not(target_arch = "wasm32"), schemars(range(min = 0, max = 1)))]
    pub maximum_deleted_share: Option<f64>,
    /// How often a virtual machine, an image or a copy is made before its failure counts, where Azure failed by itself (default 2).
    #[cfg_attr(not(target_arch = "wasm32"), schemars(range(min = 1, max = 5)))]
    pub attempts: Option<u32>,
    /// The size of the virtual machines (default `Standard_D2s_v5`).
    pub vm_size: Option<String>,
    /// The administrator's name on the virtual machines (default `factory`).
    pub machine_user_name: Option<String>,
    /// The lab's artifact source that holds windows-sysprep and linux-deprovision (default `public repo`).
    pub artifact_source: Option<String>,
    /// Whether windows-sysprep or linux-deprovision is appended to a template's artifacts (default true).
    pub append_generalizing_artifact: Option<bool>,
    /// Whether images are generalized (default) or specialized.
    pub os_state: Option<OsState>,
    /// How virtual machines are captured (default `customImage`).
    pub capture: Option<CaptureKind>,
    /// How an image reaches the other labs (default `customImage`).
    pub distribution: Option<DistributionKind>,
    /// The gallery for images whose distribution is `gallery`, or whose virtual machines have Trusted Launch.
    pub gallery: Option<GalleryItem>,
    /// The waves in which an image's copies are made, under the cap on all operations; the last one repeats (default: all at once).
    pub waves: Option<Vec<WaveItem>>,
    /// What is different for a golden image or a folder of them; the path is the property's name, and later ones win.
    pub images: Option<std::collections::BTreeMap<String, ImageItem>>,
}

/// A wave of an image's copies.
#[derive(Clone, Debug)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema), schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct WaveItem {
    /// How many labs get the image in this wave, in the order of `Labs.json` (default: all that are left).
    #[cfg_attr(not(target_arch = "wasm32"), schemars(range(min = 1, max = 1000)))]
    pub labs: Option<u32>,
    /// Minutes that the wave waits after the one before has ended (default 0).
    #[cfg_attr(not(target_arch = "wasm32"), schemars(range(min = 0, max = 1440)))]
    pub pause_minutes: Option<u32>,
}

/// What is different for a golden image or a folder of them.
#[derive(Clone, Debug)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema), schemars(rename_all = "camelCase", deny_unknown_fields))]
pub struct ImageItem {
    /// The size of the virtual machine.
    pub vm_size: Option<String>,
    /// The operating system, where the template does not say it.
    pub os_type: Option<OsType>,
    /// Whether the image is generalized or specialized.
    pub os_state: Option<OsState>,
    /// Minutes to make the virtual machine before it is given up.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(range(min = 1, max = 1440)))]
    pub timeout_minutes: Option<u32>,
    /// Whether windows-sysprep or linux-deprovision is appended to the template's artifacts.
    pub append_generalizing_artifact: Option<bool>,
    /// How the image reaches the other labs.
    pub distribution: Option<DistributionKind>,
}

/// A lab as far as it could be read.
#[derive(Default)]
pub(super) struct LabEntry {
    /// The item's JSON path.
    pub(super) place: String,
    pub(super) subscription_id: Option<String>,
    pub(super) lab_name: Option<String>,
    pub(super) resource_group: Option<String>,
    /// Image paths, each with its place.
    pub(super) image_paths: Vec<(String, String)>,
    /// Whether there is a list of image paths, with texts only.
    pub(super) has_all_paths: bool,
}

/// The labs of `Labs.json`; `None` when there is no list of them.
pub(super) fn labs(reader: &mut Reader) -> Option<Vec<LabEntry>> {
    let [labs] = reader.fields(reader.root(), "", ["Labs"])?;
    let Some((value, path)) = labs else {
        reader.error("", "'Labs' is missing: a list of labs is expected");
        return None;
    };
    let Value::Array(items) = value else {
        reader.error(&path, format!("{} is given, a list of labs is expected", kind(value)));
        return None;
    };
    Some(items.iter().enumerate().map(|(index, item)| lab(reader, item, format!("{path}[{index}]"))).collect())
}

fn lab(reader: &mut Reader, item: &Value, place: String) -> LabEntry {
    let names = ["SubscriptionId", "LabName", "ResourceGroup", "ImagePaths"];
    let Some([subscription, name, group, paths]) = reader.fields(item, &place, names) else {
        return LabEntry { place, ..LabEntry::default() };
    };
    // The older scripts' files leave the group empty for "any".
    let group = group.filter(|(value, _)| value.as_str() != Some(""));
    let listed = paths.as_ref().and_then(|(value, _)| value.as_array()).map(Vec::len);
    let image_paths = image_paths(reader, paths, &place);
    LabEntry {
        subscription_id: reader.required_text(subscription.as_ref(), &place, "SubscriptionId"),
        lab_name: reader.required_text(name.as_ref(), &place, "LabName"),
        resource_group: reader.text(group.as_ref()),
        has_all_paths: listed == Some(image_paths.len()),
        image_paths,
        place,
    }
}

fn image_paths(reader: &mut Reader, field: Option<Field>, lab: &str) -> Vec<(String, String)> {
    let Some((value, path)) = field else {
        reader.error(lab, "'ImagePaths' is missing: a list of golden images, or of folders of them, is expected");
        return Vec::new();
    };
    let Value::Array(items) = value else {
        reader.error(&path, format!("{} is given, a list of texts is expected", kind(value)));
        return Vec::new();
    };
    let mut paths = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let place = format!("{path}[{index}]");
        match item {
            Value::String(text) => paths.push((text.clone(), place)),
            other => reader.error(&place, format!("{} is given, a text is expected", kind(other))),
        }
    }
    paths
}

/// The settings of `factory.json`.
pub(super) fn settings(reader: &mut Reader) -> Settings {
    let names = [
        "retention",
        "maxConcurrent",
        "timeoutMinutes",
        "maximumDeletedShare",
        "attempts",
        "vmSize",
        "machineUserName",
        "artifactSource",
        "appendGeneralizingArtifact",
        "osState",
        "capture",
        "distribution",
        "gallery",
        "waves",
        "images",
    ];
    let default = Settings::default();
    let Some(fields) = reader.fields(reader.root(), "", names) else { return default };
    let [retention, concurrent, timeout, share, attempts, size, user, source, append, state, capture, distribution, gallery, waves, images] =
        fields;
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Settings {
        retention: reader.number(retention.as_ref(), 1..=1000).map_or(default.retention, narrow),
        max_concurrent: reader.number(concurrent.as_ref(), 1..=1000).map_or(default.max_concurrent, narrow),
        timeout: minutes(reader, timeout.as_ref()).unwrap_or(default.timeout),
        deleted_share: deleted_share(reader, share.as_ref()).unwrap_or(default.deleted_share),
        attempts: reader.number(attempts.as_ref(), 1..=5).map_or(default.attempts, narrow),
        vm_size: reader.text(size.as_ref()).unwrap_or(default.vm_size),
        machine_user_name: reader.text(user.as_ref()).unwrap_or(default.machine_user_name),
        artifact_source: reader.text(source.as_ref()).unwrap_or(default.artifact_source),
        append_artifact: reader.boolean(append.as_ref()).unwrap_or(default.append_artifact),
        os_state: os_state(reader, state.as_ref()).unwrap_or(default.os_state),
        distribution: gallery::distribution(reader, distribution.as_ref()).unwrap_or_default(),
        gallery: gallery::settings(reader, gallery.as_ref()),
        capture: reader
            .choice(capture.as_ref(), &[("customImage", CaptureKind::CustomImage), ("vhd", CaptureKind::Vhd)])
            .unwrap_or_default(),
        waves: waves.map(|waves| self::waves(reader, &waves)).unwrap_or_default(),
        images: images.map(|images| image_overrides(reader, &images)).unwrap_or_default(),
    }
}

fn waves(reader: &mut Reader, (value, path): &Field) -> Vec<Wave> {
    let Value::Array(items) = value else {
        if !value.is_null() {
            reader.error(path, format!("{} is given, a list of waves such as {{\"labs\": 1}} is expected", kind(value)));
        }
        return Vec::new();
    };
    let mut waves = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let place = format!("{path}[{index}]");
        let Some([labs, pause]) = reader.fields(item, &place, ["labs", "pauseMinutes"]) else { continue };
        let labs = reader.number(labs.as_ref(), 1..=1000).and_then(|labs| usize::try_from(labs).ok());
        let pause = reader.number(pause.as_ref(), 0..=1440).map(Duration::from_mins).unwrap_or_default();
        if labs.is_none() && index + 1 < items.len() {
            reader.warning(&place, "this wave takes all labs that are left: those after it are empty");
        }
        waves.push(Wave { labs, pause });
    }
    waves
}

fn minutes(reader: &mut Reader, field: Option<&Field>) -> Option<Duration> {
    reader.number(field, 1..=1440).map(Duration::from_mins)
}

fn os_state(reader: &mut Reader, field: Option<&Field>) -> Option<OsState> {
    reader.choice(field, &[("generalized", OsState::Generalized), ("specialized", OsState::Specialized)])
}

fn deleted_share(reader: &mut Reader, field: Option<&Field>) -> Option<f64> {
    let (value, path) = field?;
    let share = value.as_f64().filter(|share| (0.0..=1.0).contains(share));
    if share.is_none() && !value.is_null() {
        reader.error(path, format!("{value} is given, a number from 0 to 1 is expected"));
    }
    share
}

fn image_overrides(reader: &mut Reader, (value, path): &Field) -> Vec<(ImagePath, ImageOverride)> {
    let Value::Object(object) = value else {
        reader.error(path, format!("{} is given, an object of image paths is expected", kind(value)));
        return Vec::new();
    };
    let mut overrides = Vec::new();
    for (key, value) in object {
        let place = child(path, key);
        let Some(listed) = ImagePath::parse(key) else {
            reader.error(&place, "an image path is empty: name a golden image or a folder of golden images");
            continue;
        };
        let names = ["vmSize", "osType", "osState", "timeoutMinutes", "appendGeneralizingArtifact", "distribution"];
        let Some([size, os, state, timeout, append, distribution]) = reader.fields(value, &place, names) else { continue };
        let settings = ImageOverride {
            vm_size: reader.text(size.as_ref()),
            os_type: reader.choice(os.as_ref(), &[("Windows", OsType::Windows), ("Linux", OsType::Linux)]),
            os_state: os_state(reader, state.as_ref()),
            timeout: minutes(reader, timeout.as_ref()),
            append_artifact: reader.boolean(append.as_ref()),
            distribution: gallery::distribution(reader, distribution.as_ref()),
        };
        overrides.push((listed, settings));
    }
    overrides
}
