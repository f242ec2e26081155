//! Images kept as VHDs in the factory's storage account, as the older scripts keep them: `<guid>.vhd`, with a companion `<guid>.json`.
//!
//! What a run must know of a VHD is noted on the blob from the moment its copy begins; the companion comes when it is whole. A VHD without
//! companion is under way, or left behind.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_lock::{Mutex, OnceCell, Semaphore};
use futures::future::join_all;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    arm::{Client, Error, Request, ResourceId, Response},
    devtestlab,
    factory::{
        configuration::settings::OsType,
        inventory::{Backing, Image, State, Tags, Vhd},
        names::ImagePath,
    },
    storage::{
        account::{self, Account},
        blob::{self, Container, CopyStatus, Listed, Metadata},
        copy::{self, Target},
    },
};

/// The container, in the factory's storage account and in those of the receiving labs.
pub const CONTAINER: &str = "imagefactoryvhds";
/// A copy that is whole for so long without its companion was left behind.
const LEFT_BEHIND: time::Duration = time::Duration::hours(24);

/// The name of the blob of a run's image, without its extension: the same each time, so that nothing is copied twice.
pub fn guid(run_id: &str, path: &ImagePath) -> String {
    let key = format!("{run_id}/{}", path.as_str().to_ascii_lowercase());
    Uuid::new_v5(&Uuid::NAMESPACE_URL, key.as_bytes()).to_string()
}

/// What is to be known of an image while it is copied.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// The image's name.
    pub image: &'a str,
    /// The golden image.
    pub path: &'a ImagePath,
    /// The run.
    pub run_id: &'a str,
    /// The fingerprint of the golden image's file.
    pub fingerprint: &'a str,
    /// The operating system.
    pub os_type: OsType,
    /// The virtual machine that it is captured from.
    pub vm: &'a str,
    /// Now.
    pub now: OffsetDateTime,
}

impl Note<'_> {
    /// As it is noted on the blob.
    pub fn metadata(&self) -> Vec<(&'static str, String)> {
        vec![
            ("x-ms-meta-imagename", self.image.to_owned()),
            ("x-ms-meta-imagepath", self.path.to_string()),
            ("x-ms-meta-factoryrunid", self.run_id.to_owned()),
            ("x-ms-meta-factoryfingerprint", self.fingerprint.to_owned()),
            ("x-ms-meta-ostype", self.os_type.name().to_owned()),
            ("x-ms-meta-vm", self.vm.to_owned()),
            ("x-ms-meta-timestamp", timestamp(self.now)),
        ]
    }
}

/// The companion, as the older scripts write it.
pub fn companion(image: &Image, path: &ImagePath, vhd: &Vhd, now: OffsetDateTime) -> Value {
    json!({
        "imageName": image.name,
        "imagePath": path.as_str(),
        "description": image.description,
        "osType": image.os_type.map(OsType::name),
        "vhdFileName": vhd.blob,
        "timestamp": timestamp(now),
    })
}

/// The name of a VHD's companion.
pub fn companion_of(vhd: &str) -> String {
    format!("{}.json", vhd.strip_suffix(".vhd").unwrap_or(vhd))
}

fn timestamp(now: OffsetDateTime) -> String {
    now.format(&Rfc3339).unwrap_or_default()
}

/// The description of an image, as a custom image of the same bears it.
pub fn description(path: &ImagePath, run_id: &str) -> String {
    format!("Golden image {path}, made by run {run_id}")
}

/// The storage accounts of labs, each opened once.
#[derive(Default)]
pub struct Stores {
    opened: Mutex<BTreeMap<String, Arc<OnceCell<Account>>>>,
}

impl Stores {
    /// The storage account of a lab.
    pub async fn of(&self, client: &Client, lab: &ResourceId) -> Result<Account, Error> {
        let cell = self.opened.lock().await.entry(lab.as_str().to_ascii_lowercase()).or_default().clone();
        cell.get_or_try_init(|| open(client, lab)).await.cloned()
    }
}

async fn open(client: &Client, lab: &ResourceId) -> Result<Account, Error> {
    let request = Request::get(lab.as_str(), devtestlab::API_VERSION);
    let describe = request.describe();
    let unusable = |problem: String| Error::Answer { request: describe.clone(), problem };
    let lab = client.send(request).await?.body;
    let names = ["defaultStorageAccount", "artifactsStorageAccount"];
    let id = names.iter().find_map(|name| lab["properties"][name].as_str().filter(|id| !id.is_empty()));
    let id: ResourceId = id
        .ok_or_else(|| unusable("the lab names no storage account".to_owned()))?
        .parse()
        .map_err(|error: crate::arm::IdError| unusable(error.to_string()))?;
    let found = client.send(account::get(&id)).await?.body;
    let keys = client.send(account::list_keys(&id)).await?.body;
    for key in keys["keys"].as_array().into_iter().flatten().filter_map(|key| key["value"].as_str()) {
        client.register_secret(key);
    }
    Account::read(&found, &keys).map_err(|missing| unusable(format!("storage account '{}' does not show {missing}", id.name())))
}

/// Sends a request to make the container, which may be there.
pub async fn make_container(client: &Client, account: &Account) -> Result<(), Error> {
    let container = Container { account, name: CONTAINER, now: client.host().now() };
    match client.send_outside(&container.create()).await {
        Err(error) if error.status() != Some(409) => Err(error),
        _ => Ok(()),
    }
}

/// The images that a storage account holds; none where it has no such container.
pub async fn images(client: &Client, gate: &Semaphore, account: &Account) -> Result<Vec<Image>, Error> {
    let container = || Container { account, name: CONTAINER, now: client.host().now() };
    let _permit = gate.acquire().await;
    let mut listed = Vec::new();
    let mut marker = String::new();
    loop {
        let request = container().list(&marker);
        let page = match client.send_outside(&request).await {
            Err(error) if error.status() == Some(404) => return Ok(Vec::new()),
            answer => answer?,
        };
        let (blobs, next) = read_page(&request.describe(), &page)?;
        listed.extend(blobs);
        match next.filter(|next| *next != marker) {
            Some(next) => marker = next,
            None => break,
        }
    }
    let companions: Vec<&str> = listed.iter().filter_map(|blob| blob.name.strip_suffix(".json")).collect();
    let vhds = listed.iter().filter_map(|blob| Some((blob, blob.name.strip_suffix(".vhd")?)));
    let images = vhds.map(|(blob, guid)| image_of(client, account, blob, companions.contains(&guid)));
    join_all(images).await.into_iter().collect()
}

async fn image_of(client: &Client, account: &Account, blob: &Listed, has_companion: bool) -> Result<Image, Error> {
    let container = Container { account, name: CONTAINER, now: client.host().now() };
    let address = container.address(&blob.name);
    match (noted(blob, address.clone()), has_companion) {
        (Some(image), true) => Ok(image),
        (Some(image), false) => {
            let copy = copy::look(client, Target { account, container: CONTAINER, blob: &blob.name }).await?;
            let state = unfinished(copy.map(|copy| copy.status), image.created, container.now);
            Ok(Image { state, ..image })
        }
        (None, true) => {
            let answer = client.send_outside(&container.get(&companion_of(&blob.name))).await?;
            Ok(told(blob, address, &answer.body))
        }
        (None, false) => Ok(told(blob, address, &Value::Null)),
    }
}

fn read_page(request: &str, page: &Response) -> Result<(Vec<Listed>, Option<String>), Error> {
    blob::read_list(page).map_err(|problem| Error::Answer { request: request.to_owned(), problem })
}

/// The state of a VHD without companion.
fn unfinished(copy: Option<CopyStatus>, begun: Option<OffsetDateTime>, now: OffsetDateTime) -> State {
    match copy {
        Some(CopyStatus::Pending) => State::Changing,
        // Whoever copied it is about to write its companion, or died before.
        Some(CopyStatus::Success) if begun.is_some_and(|begun| now - begun < LEFT_BEHIND) => State::Changing,
        _ => State::Failed,
    }
}

/// The image that is noted on a blob; `None` where nothing is noted.
fn noted(blob: &Listed, address: String) -> Option<Image> {
    let text = |name: &str| blob.metadata.get(name).filter(|text| !text.is_empty());
    let path = ImagePath::parse(text("imagepath")?)?;
    let run_id = text("factoryrunid").cloned();
    let description = description(&path, run_id.as_deref().unwrap_or_default());
    let tags =
        Tags { image_path: Some(path), ignored: is_ignored(&blob.metadata), run_id, fingerprint: text("factoryfingerprint").cloned() };
    Some(Image {
        name: text("imagename")?.clone(),
        id: address,
        tags,
        state: State::Succeeded,
        created: text("timestamp").and_then(|date| OffsetDateTime::parse(date, &Rfc3339).ok()),
        os_type: text("ostype").and_then(|os| OsType::parse(os)),
        backing: backing(&blob.name, text("vm").cloned().unwrap_or_default()),
        description,
    })
}

/// The image that a companion tells of, which the older scripts have written. Without an image path it is nobody's.
fn told(blob: &Listed, address: String, companion: &Value) -> Image {
    let text = |name: &str| companion[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    let tags = Tags { image_path: text("imagePath").and_then(ImagePath::parse), ignored: is_ignored(&blob.metadata), ..Tags::default() };
    Image {
        name: text("imageName").unwrap_or(&blob.name).to_owned(),
        id: address,
        tags,
        state: State::Succeeded,
        created: text("timestamp").and_then(|date| OffsetDateTime::parse(date, &Rfc3339).ok()),
        os_type: text("osType").and_then(OsType::parse),
        backing: backing(&blob.name, String::new()),
        description: text("description").unwrap_or_default().to_owned(),
    }
}

fn is_ignored(metadata: &Metadata) -> bool {
    metadata.contains_key("factoryignore")
}

fn backing(blob: &str, vm: String) -> Backing {
    Backing { vhd: Some(Vhd { blob: blob.to_owned(), vm }), ..Backing::default() }
}

/// How a copy goes, in words: `34.2 of 127.0 GiB (27 %), 210 MiB/s, about 7 min left`.
#[allow(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
pub fn progress(arrived: u64, total: u64, elapsed: Duration) -> String {
    const MIB: f64 = 1_048_576.0;
    let (arrived, total) = (arrived as f64 / MIB, total as f64 / MIB);
    let rate = arrived / elapsed.as_secs_f64().max(0.001);
    let percent = 100.0 * arrived / total.max(0.001);
    let left = (total - arrived) / rate.max(0.001) / 60.0;
    format!("{:.1} of {:.1} GiB ({percent:.0} %), {rate:.0} MiB/s, about {:.0} min left", arrived / 1024.0, total / 1024.0, left.ceil())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);

    #[test]
    fn a_run_names_an_images_vhd_the_same_each_time() {
        let path = |text: &str| ImagePath::parse(text).unwrap();
        assert_eq!(guid("7", &path("Win/A.json")), guid("7", &path(r"win\a.json")));
        assert_ne!(guid("7", &path("Win/A.json")), guid("8", &path("Win/A.json")));
    }

    #[test]
    fn what_is_noted_on_a_blob_is_read_again() {
        let path = ImagePath::parse("Win/A.json").unwrap();
        let note =
            Note { image: "Win_A-Nov-20-2026", path: &path, run_id: "7", fingerprint: "f", os_type: OsType::Linux, vm: "A", now: NOW };
        let metadata = note.metadata().into_iter().map(|(name, value)| (name.trim_start_matches("x-ms-meta-").to_owned(), value)).collect();
        let image = noted(&Listed { name: "g.vhd".into(), metadata }, "https://x/g.vhd".into()).unwrap();
        assert_eq!((image.name.as_str(), image.tags.image_path.as_ref(), image.created), ("Win_A-Nov-20-2026", Some(&path), Some(NOW)));
        assert_eq!(image.backing.vhd, Some(Vhd { blob: "g.vhd".into(), vm: "A".into() }));
        let written = companion(&image, &path, image.backing.vhd.as_ref().unwrap(), NOW);
        let keys: Vec<_> = written.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["imageName", "imagePath", "description", "osType", "vhdFileName", "timestamp"]);
        let again = told(&Listed { name: "g.vhd".into(), metadata: Metadata::new() }, String::new(), &written);
        assert_eq!((again.name, again.tags.image_path, again.os_type), (image.name, Some(path), Some(OsType::Linux)));
    }

    #[test]
    fn a_vhd_of_which_nothing_is_known_is_nobodys() {
        let image = told(&Listed { name: "x.vhd".into(), metadata: Metadata::new() }, String::new(), &Value::Null);
        assert_eq!((image.tags.image_path, image.created), (None, None));
    }

    #[test]
    fn a_vhd_without_companion_is_under_way_until_it_was_left_behind() {
        let old = Some(NOW - time::Duration::days(2));
        for (copy, begun, state) in [
            (Some(CopyStatus::Pending), old, State::Changing),
            (Some(CopyStatus::Success), Some(NOW), State::Changing),
            (Some(CopyStatus::Success), old, State::Failed),
            (Some(CopyStatus::Failed), Some(NOW), State::Failed),
            (Some(CopyStatus::Aborted), Some(NOW), State::Failed),
            (None, Some(NOW), State::Failed),
        ] {
            assert_eq!(unfinished(copy, begun, NOW), state, "{copy:?}");
        }
    }

    #[test]
    fn progress_is_told_with_bytes_and_rate() {
        let told = progress(34 << 30, 127 << 30, Duration::from_secs(170));
        assert_eq!(told, "34.0 of 127.0 GiB (27 %), 205 MiB/s, about 8 min left");
    }
}
