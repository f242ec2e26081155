//! What the emulator itself puts into Azurite: containers, and the disks that access is granted to.

use std::sync::Arc;

use azure_core::time::to_rfc7231;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes};
use time::{Duration, OffsetDateTime, macros::datetime};
use uuid::Uuid;

use super::{Blobs, DISK_ACCOUNT, index::Blob, lock, sas, sas::Grant};

/// The container of a lab's own uploads.
pub const UPLOADS: &str = "uploads";
/// The name of the policy that a disk is read by.
const POLICY: &str = "grant";
/// The name that Azure gives the contents of a disk.
const DISK_BLOB: &str = "abcd";
/// A VHD's footer, and the unit of page blobs.
const SECTOR: usize = 512;

/// A key that nobody else has.
pub fn random_key() -> String {
    BASE64_STANDARD.encode((0..4).flat_map(|_| *Uuid::new_v4().as_bytes()).collect::<Vec<u8>>())
}

impl Blobs {
    /// Makes a container.
    pub fn make_container(self: &Arc<Self>, account: &str, container: &str) {
        let (blobs, path) = (self.clone(), format!("/{account}/{container}"));
        self.later(async move { blobs.put(&path, "restype=container", &[], Vec::new()).await });
    }

    /// Deletes a container with all that is in it.
    pub fn delete_container(self: &Arc<Self>, account: &str, container: &str) {
        self.index().remove_below(&format!("{account}/{container}/"));
        let (blobs, path) = (self.clone(), format!("/{account}/{container}"));
        self.later(async move { blobs.send("DELETE", &path, "restype=container", &[], Vec::new()).await });
    }

    /// Forgets an account.
    pub fn delete_account(&self, account: &str) {
        self.index().remove_below(&format!("{account}/"));
        lock(&self.accounts).remove(account);
    }

    /// Lets a disk or snapshot be read: a fixed VHD of its size, with nothing in it but the footer. Returns the address, which is good once
    /// `then` has run.
    pub fn grant(self: &Arc<Self>, disk: &str, size_gib: u64, lifetime: Duration, then: impl FnOnce() + Send + 'static) -> String {
        let container = disk_container(disk);
        let path = format!("{DISK_ACCOUNT}/{container}/{DISK_BLOB}");
        let key = self.key_of(DISK_ACCOUNT);
        let address = format!("{}{path}?{}", self.endpoint, sas::blob(&path, &Grant::Policy(POLICY), &key));
        let size = (size_gib << 30) + SECTOR as u64;
        self.index().put(path.clone(), Blob { size, copy: None });
        let blobs = self.clone();
        self.later(async move {
            let container = format!("/{DISK_ACCOUNT}/{container}");
            blobs.put(&container, "restype=container", &[], Vec::new()).await;
            let page = [("x-ms-blob-type", "PageBlob".to_owned()), ("x-ms-blob-content-length", size.to_string())];
            blobs.put(&format!("/{path}"), "", &page, Vec::new()).await;
            let range = format!("bytes={}-{}", size - SECTOR as u64, size - 1);
            let update = [("x-ms-page-write", "update".to_owned()), ("x-ms-range", range)];
            blobs.put(&format!("/{path}"), "comp=page", &update, footer(size - SECTOR as u64).to_vec()).await;
            let (start, expiry) = (sas::expiry(Duration::minutes(-5)), sas::expiry(lifetime));
            let policy = format!(
                "<SignedIdentifier><Id>{POLICY}</Id><AccessPolicy><Start>{start}</Start><Expiry>{expiry}</Expiry>\
                 <Permission>r</Permission></AccessPolicy></SignedIdentifier>"
            );
            blobs.set_policies(&container, &policy).await;
            then();
        });
        address
    }

    /// Takes the access back. What is being copied of the disk fails.
    pub fn revoke(self: &Arc<Self>, disk: &str, then: impl FnOnce() + Send + 'static) {
        let container = disk_container(disk);
        self.index().fail_copies_of(&format!("{DISK_ACCOUNT}/{container}/"));
        let blobs = self.clone();
        self.later(async move {
            blobs.set_policies(&format!("/{DISK_ACCOUNT}/{container}"), "").await;
            then();
        });
    }

    /// An address that a VHD may be uploaded to.
    pub fn upload_uri(self: &Arc<Self>, account: &str, blob: &str) -> String {
        self.make_container(account, UPLOADS);
        let path = format!("{account}/{UPLOADS}/{blob}");
        let grant = Grant::Permissions { permissions: "rcw", lifetime: Duration::hours(24) };
        format!("{}{path}?{}", self.endpoint, sas::blob(&path, &grant, &self.key_of(account)))
    }

    /// The addresses of the VHDs that were uploaded to an account.
    pub fn vhds(&self, account: &str) -> Vec<String> {
        let prefix = format!("{account}/{UPLOADS}/");
        let index = self.index();
        let found = index.below(&prefix).filter(|key| key.to_ascii_lowercase().ends_with(".vhd"));
        found.map(|key| format!("{}{key}", self.endpoint)).collect()
    }

    /// Whether there is a whole blob at an address.
    pub fn contains(&self, url: &str) -> bool {
        let key = url.strip_prefix(&self.endpoint).and_then(|rest| rest.split('?').next()).map(crate::emulator::http::decode);
        let index = self.index();
        let found = key.and_then(|key| index.get(&key).cloned());
        found.is_some_and(|blob| blob.copy.is_none_or(|copy| copy.status() == "success"))
    }

    fn key_of(&self, account: &str) -> String {
        lock(&self.accounts).get(account).map(|[key, _]| key.clone()).unwrap_or_default()
    }

    async fn set_policies(&self, container: &str, policies: &str) {
        let body = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><SignedIdentifiers>{policies}</SignedIdentifiers>");
        self.put(container, "restype=container&comp=acl", &[], body.into_bytes()).await;
    }

    async fn put(&self, path: &str, query: &str, headers: &[(&str, String)], body: Vec<u8>) {
        self.send("PUT", path, query, headers, body).await;
    }

    /// Sends a request of the emulator's own. What fails here shows when a client asks for it.
    async fn send(&self, method: &str, path: &str, query: &str, headers: &[(&str, String)], body: Vec<u8>) {
        let account = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let mut headers = headers.to_vec();
        headers.push(("x-ms-date", to_rfc7231(&OffsetDateTime::now_utc())));
        headers.push(("x-ms-version", sas::VERSION.to_owned()));
        let authorization = sas::shared_key(account, &self.key_of(account), method, path, query, &headers, body.len());
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}?{query}", self.address));
        // Azurite wants to be told also of an empty body.
        request = request.header("content-length", body.len());
        for (name, value) in headers.into_iter().chain([("authorization", authorization)]) {
            request = request.header(name, value);
        }
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed();
        let Ok(request) = request.body(body) else { return };
        match self.client.request(request).await {
            // A container that is there already is as good as a new one.
            Ok(answer) if answer.status().is_success() || answer.status().as_u16() == 409 => {
                if let Err(problem) = self.save().await {
                    tracing::warn!(target: "dtl::emulator", "azurite did not save {method} {path}: {problem}");
                }
            }
            Ok(answer) => tracing::warn!(target: "dtl::emulator", "azurite answered {method} {path} with {}", answer.status()),
            Err(error) => tracing::warn!(target: "dtl::emulator", "azurite did not answer {method} {path}: {error}"),
        }
    }
}

fn disk_container(disk: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, disk.to_ascii_lowercase().as_bytes()).to_string()
}

/// The footer of a fixed VHD of this many bytes.
fn footer(size: u64) -> [u8; SECTOR] {
    let mut footer = [0; SECTOR];
    let mut put = |at: usize, bytes: &[u8]| footer[at..at + bytes.len()].copy_from_slice(bytes);
    let seconds = (OffsetDateTime::now_utc() - datetime!(2000-01-01 00:00 UTC)).whole_seconds();
    put(0, b"conectix");
    put(8, &2_u32.to_be_bytes());
    put(12, &0x0001_0000_u32.to_be_bytes());
    put(16, &u64::MAX.to_be_bytes());
    put(24, &u32::try_from(seconds).unwrap_or_default().to_be_bytes());
    put(28, b"dtl ");
    put(32, &0x0001_0000_u32.to_be_bytes());
    put(36, b"Wi2k");
    put(40, &size.to_be_bytes());
    put(48, &size.to_be_bytes());
    put(56, &geometry(size));
    put(60, &2_u32.to_be_bytes());
    put(68, Uuid::new_v4().as_bytes());
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
    footer
}

/// Cylinders, heads and sectors as the format computes them, for disks that are larger than it can say: its largest.
fn geometry(size: u64) -> [u8; 4] {
    let sectors = (size / SECTOR as u64).min(65_535 * 16 * 255);
    let cylinders = u16::try_from(sectors / (16 * 255)).unwrap_or(u16::MAX).to_be_bytes();
    [cylinders[0], cylinders[1], 16, 255]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_footer_is_that_of_a_fixed_disk_and_its_checksum_holds() {
        let footer = footer(127 << 30);
        assert_eq!(
            (&footer[..8], &footer[60..64], &footer[48..56]),
            (&b"conectix"[..], &2_u32.to_be_bytes()[..], &(127_u64 << 30).to_be_bytes()[..])
        );
        let without = |at: usize| if (64..68).contains(&at) { 0 } else { u32::from(footer[at]) };
        let sum: u32 = (0..512).map(without).sum();
        assert_eq!(footer[64..68], (!sum).to_be_bytes());
    }
}
