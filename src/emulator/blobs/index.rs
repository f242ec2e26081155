//! What the listener has seen go into Azurite: which blobs there are, how large, and which copies are still on their way.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A blob.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Blob {
    /// Its size in bytes.
    pub size: u64,
    /// The copy that it came from.
    pub copy: Option<Copy>,
}

/// A copy, which Azurite makes at once and which takes its time here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Copy {
    /// `x-ms-copy-id`.
    pub id: String,
    /// The key of the blob that it is made of.
    pub source: String,
    #[serde(with = "time::serde::rfc3339")]
    began: OffsetDateTime,
    takes: Duration,
    broken: Option<Broken>,
}

/// Why a copy ended early.
#[derive(Clone, std::marker::Copy, Debug, Serialize, Deserialize)]
enum Broken {
    Aborted,
    Unreadable,
}

impl Copy {
    /// A copy that begins now.
    pub fn new(id: String, source: String, takes: Duration) -> Self {
        Self { id, source, began: OffsetDateTime::now_utc(), takes, broken: None }
    }

    fn elapsed(&self) -> Duration {
        Duration::try_from(OffsetDateTime::now_utc() - self.began).unwrap_or_default()
    }

    /// `pending`, `success`, `aborted` or `failed`.
    pub fn status(&self) -> &'static str {
        match self.broken {
            Some(Broken::Aborted) => "aborted",
            Some(Broken::Unreadable) => "failed",
            None if self.elapsed() < self.takes => "pending",
            None => "success",
        }
    }

    /// Why it failed.
    pub fn description(&self) -> Option<&'static str> {
        matches!(self.broken, Some(Broken::Unreadable)).then_some("403 AuthenticationFailed \"Copy failed when reading the source.\"")
    }

    /// How many bytes of a size have arrived.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a size")]
    pub fn arrived(&self, size: u64) -> u64 {
        match self.status() {
            "pending" => (size as f64 * (self.elapsed().as_secs_f64() / self.takes.as_secs_f64()).min(1.0)) as u64,
            "success" => size,
            _ => 0,
        }
    }
}

/// All blobs, by `account/container/blob`.
#[derive(Debug, Default)]
pub struct Index {
    blobs: BTreeMap<String, Blob>,
    /// The keys that are to be written, where there is a state file.
    changed: Option<BTreeSet<String>>,
}

impl Index {
    /// An index that begins as it was kept, and whose changes are kept.
    pub fn restore(&mut self, blobs: BTreeMap<String, Blob>) {
        *self = Self { blobs, changed: Some(BTreeSet::new()) };
    }

    /// What has changed since the last time; without a blob those that are gone.
    pub fn take_changed(&mut self) -> Vec<(String, Option<Blob>)> {
        let changed = self.changed.as_mut().map(std::mem::take).unwrap_or_default();
        changed.into_iter().map(|key| (key.clone(), self.blobs.get(&key).cloned())).collect()
    }

    fn note(&mut self, key: &str) {
        if let Some(changed) = &mut self.changed {
            changed.insert(key.to_owned());
        }
    }

    /// The blob of this key.
    pub fn get(&self, key: &str) -> Option<&Blob> {
        self.blobs.get(key)
    }

    /// Notes a blob.
    pub fn put(&mut self, key: String, blob: Blob) {
        self.note(&key);
        self.blobs.insert(key, blob);
    }

    /// A blob is gone.
    pub fn remove(&mut self, key: &str) {
        self.note(key);
        self.blobs.remove(key);
    }

    /// A container, or an account, is gone with all that is in it.
    pub fn remove_below(&mut self, prefix: &str) {
        for key in self.below(prefix).map(str::to_owned).collect::<Vec<_>>() {
            self.remove(&key);
        }
    }

    /// The keys that begin so.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.blobs.keys().map(String::as_str).filter(move |key| key.starts_with(prefix))
    }

    /// Ends a copy that is still on its way. Tells whether there was one.
    pub fn abort(&mut self, key: &str, id: &str) -> bool {
        self.end(key, Broken::Aborted, |copy| copy.id == id)
    }

    /// What can no longer be read breaks the copies that are being made of it.
    pub fn fail_copies_of(&mut self, prefix: &str) {
        for key in self.blobs.keys().cloned().collect::<Vec<_>>() {
            self.end(&key, Broken::Unreadable, |copy| copy.source.starts_with(prefix));
        }
    }

    fn end(&mut self, key: &str, why: Broken, concerns: impl FnOnce(&Copy) -> bool) -> bool {
        let copy = self.blobs.get_mut(key).and_then(|blob| blob.copy.as_mut());
        let Some(copy) = copy.filter(|copy| copy.status() == "pending" && concerns(copy)) else { return false };
        copy.broken = Some(why);
        self.note(key);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_pending_until_its_time_or_its_end() {
        let mut index = Index::default();
        let pending = Copy::new("1".into(), "a/c/x".into(), Duration::from_hours(1));
        assert_eq!((pending.status(), pending.arrived(10)), ("pending", 0));
        index.put("a/c/b".into(), Blob { size: 10, copy: Some(pending) });
        assert!(!index.abort("a/c/b", "2"));
        index.fail_copies_of("a/c/");
        let failed = index.get("a/c/b").and_then(|blob| blob.copy.clone()).expect("the copy");
        assert_eq!((failed.status(), failed.description().is_some()), ("failed", true));
        assert!(!index.abort("a/c/b", "1"), "it has ended");
        assert_eq!(Copy::new("1".into(), String::new(), Duration::ZERO).status(), "success");
    }

    #[test]
    fn what_is_kept_is_what_changed() {
        let mut index = Index::default();
        index.put("a/c/lost".into(), Blob::default());
        assert!(index.take_changed().is_empty(), "in memory nothing is kept");
        let copy = Copy::new("1".into(), "a/c/x".into(), Duration::from_hours(1));
        index.restore([("a/c/old".to_owned(), Blob { size: 1, copy: Some(copy) })].into());
        index.put("a/c/new".into(), Blob { size: 2, copy: None });
        assert!(index.abort("a/c/old", "1"));
        let changed = index.take_changed();
        let written = serde_json::to_string(&changed).expect("written");
        let read: Vec<(String, Option<Blob>)> = serde_json::from_str(&written).expect("read");
        assert_eq!(read[1].1.as_ref().and_then(|blob| blob.copy.as_ref()).map(Copy::status), Some("aborted"));
        index.remove_below("a/c/n");
        let gone: Vec<_> = index.take_changed().into_iter().map(|(key, blob)| (key, blob.is_some())).collect();
        assert_eq!(gone, [("a/c/new".to_owned(), false)]);
    }
}
