//! Containers and blobs: requests, and what their answers say.

use std::collections::BTreeMap;

use azure_core::http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};

use super::{SERVICE_VERSION, account::Account, signature};
use crate::arm::{Outside, Response};

/// How long a signature for one request of ours lives; the service's clock may differ from ours.
const SIGNED_FOR: Duration = Duration::hours(1);
/// What the path of a blob's address holds as it is.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What a header's value holds as it is; the rest is percent-encoded, since metadata takes ASCII only.
const IN_HEADER: &AsciiSet = &percent_encoding::CONTROLS.add(b'%');

/// A container of an account, at a moment: addresses are signed from then on.
#[derive(Clone, Copy, Debug)]
pub struct Container<'a> {
    /// The account.
    pub account: &'a Account,
    /// The container's name.
    pub name: &'a str,
    /// Now.
    pub now: OffsetDateTime,
}

/// What is noted on a blob, by names in lower case.
pub type Metadata = BTreeMap<String, String>;

/// A blob in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What is noted on it.
    pub metadata: Metadata,
}

/// How a copy stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Its id, by which it can be aborted.
    pub id: String,
    /// Its status.
    pub status: CopyStatus,
    /// Why it failed.
    pub description: String,
    /// Bytes that have arrived.
    pub arrived: u64,
    /// Bytes in all.
    pub total: u64,
}

/// The status of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStatus {
    /// It goes on.
    Pending,
    /// It is whole.
    Success,
    /// Somebody has ended it.
    Aborted,
    /// It could not be made.
    Failed,
}

impl Container<'_> {
    /// The address of a blob, without a signature.
    pub fn address(&self, blob: &str) -> String {
        format!("{}{}/{}", self.account.endpoint, self.name, utf8_percent_encode(blob, IN_PATH))
    }

    /// An address by which a blob can be read for some time.
    pub fn address_to_read(&self, blob: &str, lifetime: Duration) -> String {
        let query = signature::to_read(self.account, &format!("{}/{blob}", self.name), self.now + lifetime);
        format!("{}?{query}", self.address(blob))
    }

    fn request(&self, method: Method, blob: &str, query: &str) -> Outside {
        let address = if blob.is_empty() { format!("{}{}", self.account.endpoint, self.name) } else { self.address(blob) };
        let signature = signature::of_account(self.account, self.now + SIGNED_FOR);
        let url = format!("{address}?{query}{}{signature}", if query.is_empty() { "" } else { "&" });
        Outside::new(method, url).header("x-ms-version", SERVICE_VERSION)
    }

    /// Create Container. One that is there answers 409 `ContainerAlreadyExists`.
    pub fn create(&self) -> Outside {
        self.request(Method::Put, "", "restype=container")
    }

    /// List Blobs, with what is noted on them; from a marker on.
    pub fn list(&self, marker: &str) -> Outside {
        let marker = utf8_percent_encode(marker, NON_ALPHANUMERIC);
        self.request(Method::Get, "", &format!("restype=container&comp=list&include=metadata&marker={marker}"))
    }

    /// Copy Blob from an address that carries its own right to be read. The copy goes on by itself.
    pub fn copy(&self, blob: &str, source: &str, metadata: &[(&'static str, String)]) -> Outside {
        let request = self.request(Method::Put, blob, "").header("x-ms-copy-source", source);
        metadata.iter().fold(request, |request, (name, value)| request.header(name, in_header(value)))
    }

    /// Get Blob Properties.
    pub fn properties(&self, blob: &str) -> Outside {
        self.request(Method::Head, blob, "")
    }

    /// Abort Copy Blob.
    pub fn abort(&self, blob: &str, copy: &str) -> Outside {
        let request = self.request(Method::Put, blob, &format!("comp=copy&copyid={}", utf8_percent_encode(copy, NON_ALPHANUMERIC)));
        request.header("x-ms-copy-action", "abort")
    }

    /// Delete Blob.
    pub fn delete(&self, blob: &str) -> Outside {
        self.request(Method::Delete, blob, "")
    }

    /// Put Blob of a small JSON document.
    pub fn put_json(&self, blob: &str, document: &serde_json::Value) -> Outside {
        let request = self.request(Method::Put, blob, "").header("x-ms-blob-type", "BlockBlob").header("content-type", "application/json");
        Outside { body: document.to_string().into_bytes(), ..request }
    }

    /// Get Blob.
    pub fn get(&self, blob: &str) -> Outside {
        self.request(Method::Get, blob, "")
    }
}

fn in_header(value: &str) -> String {
    utf8_percent_encode(value, IN_HEADER).to_string()
}

fn from_header(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

impl Copy {
    /// The copy that a blob comes from, by the answer to [`Container::properties`] or [`Container::copy`].
    pub fn read(response: &Response) -> Option<Self> {
        let text = |name: &str| response.header(name).unwrap_or_default();
        let status = match text("x-ms-copy-status").to_ascii_lowercase().as_str() {
            "pending" => CopyStatus::Pending,
            "success" => CopyStatus::Success,
            "aborted" => CopyStatus::Aborted,
            "failed" => CopyStatus::Failed,
            _ => return None,
        };
        let (arrived, total) = text("x-ms-copy-progress").split_once('/').unwrap_or_default();
        Some(Self {
            id: text("x-ms-copy-id").to_owned(),
            status,
            description: text("x-ms-copy-status-description").to_owned(),
            arrived: arrived.parse().unwrap_or_default(),
            total: total.parse().unwrap_or_default(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    blobs: Blobs,
    #[serde(default)]
    next_marker: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blobs {
    #[serde(default)]
    blob: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    name: String,
    #[serde(default)]
    metadata: BTreeMap<String, Option<String>>,
}

/// The blobs of a page of a list, and the marker of the next page; `Err` says what is wrong.
pub fn read_list(response: &Response) -> Result<(Vec<Listed>, Option<String>), String> {
    let text = response.body.as_str().unwrap_or_default();
    let page: Page = azure_core::xml::from_xml(text.as_bytes()).map_err(|error| error.to_string())?;
    let listed = page.blobs.blob.into_iter().map(|entry| Listed {
        name: entry.name,
        metadata: entry
            .metadata
            .into_iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), from_header(&value.unwrap_or_default())))
            .collect(),
    });
    Ok((listed.collect(), Some(page.next_marker).filter(|marker| !marker.is_empty())))
}

#[cfg(test)]
mod tests {
    use azure_core::credentials::Secret;
    use serde_json::Value;

    use super::*;

    fn account() -> Account {
        Account { name: "data".into(), endpoint: "https://127.0.0.1:1/data/".into(), key: Secret::new("a2V5".to_owned()) }
    }

    #[test]
    fn requests_name_their_blob_and_hide_their_signature() {
        let account = account();
        let container = Container { account: &account, name: "vhds", now: OffsetDateTime::UNIX_EPOCH };
        let request = container.copy("a b.vhd", "https://x/y?sig=s", &[("x-ms-meta-imagepath", "Größe/50%".to_owned())]);
        assert_eq!(request.describe(), "PUT https://127.0.0.1:1/data/vhds/a%20b.vhd");
        assert!(!format!("{request:?}").contains("sig"));
        let noted = request.headers.iter().find(|(name, _)| *name == "x-ms-meta-imagepath").map(|(_, value)| value.clone()).unwrap();
        assert_eq!((noted.as_str(), from_header(&noted).as_str()), ("Gr%C3%B6%C3%9Fe/50%25", "Größe/50%"));
    }

    #[test]
    fn a_list_is_read_with_what_is_noted() {
        let body = "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://x/\" ContainerName=\"c\"><Prefix/>\
            <Blobs><Blob><Name>a.vhd</Name><Properties><Etag>1</Etag></Properties><Metadata><ImagePath>a%2Fb</ImagePath><run/></Metadata></Blob>\
            <Blob><Name>b</Name><Properties/></Blob></Blobs><NextMarker>m</NextMarker></EnumerationResults>";
        let answer = |body: &str| Response { status: 200, headers: vec![], body: Value::String(body.to_owned()) };
        let (listed, marker) = read_list(&answer(body)).unwrap();
        assert_eq!((listed.len(), marker.as_deref()), (2, Some("m")));
        assert_eq!((listed[0].name.as_str(), listed[0].metadata["imagepath"].as_str()), ("a.vhd", "a/b"));
        let empty = "<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>";
        assert_eq!(read_list(&answer(empty)).unwrap(), (vec![], None));
        assert!(read_list(&answer("nonsense")).is_err());
    }
}
