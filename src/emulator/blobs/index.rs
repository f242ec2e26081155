//! What the listener has seen go into Azurite: which blobs there are, how large, and which copies are still on their way.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A blob.
#[derive(Clone, Debug, Default)]
pub struct Blob {
    /// Its size in bytes.
    pub size: u64,
    /// The copy that it came from.
    pub copy: Option<Copy>,
}

/// A copy, which Azurite makes at once and which takes its time here.
#[derive(Clone, Debug)]
pub struct Copy {
    /// `x-ms-copy-id`.
    pub id: String,
    /// The key of the blob that it is made of.
    pub source: String,
    began: Instant,
    takes: Duration,
    /// `aborted` or `failed`, and why.
    ended: Option<(&'static str, &'static str)>,
}

impl Copy {
    /// A copy that begins now.
    pub fn new(id: String, source: String, takes: Duration) -> Self {
        Self { id, source, began: Instant::now(), takes, ended: None }
    }

    /// `pending`, `success`, `aborted` or `failed`.
    pub fn status(&self) -> &'static str {
        match self.ended {
            Some((status, _)) => status,
            None if self.began.elapsed() < self.takes => "pending",
            None => "success",
        }
    }

    /// Why it failed.
    pub fn description(&self) -> Option<&'static str> {
        self.ended.map(|(_, description)| description).filter(|description| !description.is_empty())
    }

    /// How many bytes of a size have arrived.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a size")]
    pub fn arrived(&self, size: u64) -> u64 {
        match self.status() {
            "pending" => (size as f64 * (self.began.elapsed().as_secs_f64() / self.takes.as_secs_f64()).min(1.0)) as u64,
            "success" => size,
            _ => 0,
        }
    }
}

/// All blobs, by `account/container/blob`.
#[derive(Debug, Default)]
pub struct Index {
    blobs: BTreeMap<String, Blob>,
}

impl Index {
    /// The blob of this key.
    pub fn get(&self, key: &str) -> Option<&Blob> {
        self.blobs.get(key)
    }

    /// Notes a blob.
    pub fn put(&mut self, key: String, blob: Blob) {
        self.blobs.insert(key, blob);
    }

    /// A blob is gone.
    pub fn remove(&mut self, key: &str) {
        self.blobs.remove(key);
    }

    /// A container, or an account, is gone with all that is in it.
    pub fn remove_below(&mut self, prefix: &str) {
        self.blobs.retain(|key, _| !key.starts_with(prefix));
    }

    /// The keys that begin so.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.blobs.keys().map(String::as_str).filter(move |key| key.starts_with(prefix))
    }

    /// Ends a copy that is still on its way. Tells whether there was one.
    pub fn abort(&mut self, key: &str, id: &str) -> bool {
        let copy = self.blobs.get_mut(key).and_then(|blob| blob.copy.as_mut());
        match copy.filter(|copy| copy.id == id && copy.status() == "pending") {
            Some(copy) => {
                copy.ended = Some(("aborted", ""));
                true
            }
            None => false,
        }
    }

    /// What can no longer be read breaks the copies that are being made of it.
    pub fn fail_copies_of(&mut self, prefix: &str) {
        let copies = self.blobs.values_mut().filter_map(|blob| blob.copy.as_mut());
        for copy in copies.filter(|copy| copy.source.starts_with(prefix) && copy.status() == "pending") {
            copy.ended = Some(("failed", "403 AuthenticationFailed \"Copy failed when reading the source.\""));
        }
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
}
