//! The requests served, in order of arrival.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use time::OffsetDateTime;

use super::clock::millisecond_date;

/// How many requests are remembered.
const LIMIT: usize = 200_000;

#[derive(Clone, Debug)]
struct Entry {
    at: OffsetDateTime,
    method: String,
    path: String,
    query: String,
    status: u16,
    client: String,
}

/// An entry as the control interface shows it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    at: String,
    method: &'a str,
    path: &'a str,
    query: &'a str,
    status: u16,
    client: &'a str,
}

#[derive(Debug, Default)]
struct Inner {
    dropped: usize,
    entries: VecDeque<Entry>,
}

/// The journal.
#[derive(Debug, Default)]
pub struct Journal {
    inner: Mutex<Inner>,
}

impl Journal {
    /// Notes a request that has arrived; the ticket is for its answer. Its status is 0 until then, and stays 0 when there is none.
    pub fn arrived(&self, at: OffsetDateTime, method: &str, path: &str, query: &str, client: &str) -> usize {
        let mut inner = self.lock();
        if inner.entries.len() == LIMIT {
            inner.entries.pop_front();
            inner.dropped += 1;
        }
        let entry = Entry { at, method: method.into(), path: path.into(), query: query.into(), status: 0, client: client.into() };
        inner.entries.push_back(entry);
        inner.dropped + inner.entries.len() - 1
    }

    /// Notes the answer's status.
    pub fn answered(&self, ticket: usize, status: u16) {
        let mut inner = self.lock();
        let index = ticket.checked_sub(inner.dropped);
        if let Some(entry) = index.and_then(|index| inner.entries.get_mut(index)) {
            entry.status = status;
        }
    }

    /// All entries as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let entries: Vec<Entry> = self.lock().entries.iter().cloned().collect();
        let shown: Vec<Shown<'_>> = entries
            .iter()
            .map(|entry| Shown {
                at: millisecond_date(entry.at),
                method: &entry.method,
                path: &entry.path,
                query: &entry.query,
                status: entry.status,
                client: &entry.client,
            })
            .collect();
        serde_json::to_vec(&shown).unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
