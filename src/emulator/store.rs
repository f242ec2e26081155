//! All resources, ordered by id, with an index by type.
//!
//! Ids compare in lower case. A collection's members and everything below a resource are ranges of the ordered map, so that nothing
//! is found by looking at everything. Every change is noted in the ledger.
//!
//! Resources are held as text, which takes a fifth of the memory, and the latest that were looked at as values.

mod kept;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::{
    id::scope_part,
    ledger::{Ledger, Pending},
};

pub use kept::{Kept, parse};

/// A resource.
#[derive(Debug)]
pub struct Resource {
    /// The id in lower case.
    pub key: Arc<str>,
    /// The full type in its own casing.
    pub type_name: String,
    /// What Azure shows.
    pub body: Kept<Value>,
    /// What Azure never shows.
    pub private: Kept<Map<String, Value>>,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When its provisioning last ended.
    pub updated_at: OffsetDateTime,
}

impl Resource {
    /// A resource whose body carries `id` and `type`.
    pub fn new(body: Value, now: OffsetDateTime) -> Self {
        let key = body["id"].as_str().unwrap_or_default().to_ascii_lowercase().into();
        let type_name = body["type"].as_str().unwrap_or_default().to_owned();
        Self { key, type_name, body: body.into(), private: Map::new().into(), created_at: now, updated_at: now }
    }

    /// The id as Azure shows it.
    pub fn id(&self) -> &str {
        self.body["id"].as_str().unwrap_or_default()
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.body["name"].as_str().unwrap_or_default()
    }

    /// A property.
    pub fn property(&self, name: &str) -> &Value {
        &self.body["properties"][name]
    }

    /// A property that is a text; empty when there is none.
    pub fn text(&self, name: &str) -> &str {
        self.property(name).as_str().unwrap_or_default()
    }

    /// The provisioning state.
    pub fn state(&self) -> &str {
        self.text("provisioningState")
    }

    /// The location.
    pub fn location(&self) -> &str {
        self.body["location"].as_str().unwrap_or_default()
    }

    /// Sets a property.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        if !self.body["properties"].is_object() {
            self.body["properties"] = json!({});
        }
        self.body["properties"][name] = value.into();
    }

    /// Sets the provisioning state.
    pub fn set_state(&mut self, state: &str) {
        self.set("provisioningState", state);
    }

    /// Remembers the id that it was made with: what follows from that, such as its keys, stays.
    pub fn keep_origin(&mut self) {
        if self.hidden("origin").is_empty() {
            let key = self.key.to_string();
            self.hide("origin", key);
        }
    }

    /// The id that it was made with, in lower case.
    pub fn origin(&self) -> &str {
        if self.hidden("origin").is_empty() { &self.key } else { self.hidden("origin") }
    }

    /// A hidden value that is a text; empty when there is none.
    pub fn hidden(&self, name: &str) -> &str {
        self.private.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Hides a value.
    pub fn hide(&mut self, name: &str, value: impl Into<Value>) {
        self.private.insert(name.into(), value.into());
    }
}

impl Clone for Resource {
    fn clone(&self) -> Self {
        let (key, type_name) = (self.key.clone(), self.type_name.clone());
        let (body, private) = (self.body.again(), self.private.again());
        Self { key, type_name, body, private, created_at: self.created_at, updated_at: self.updated_at }
    }
}

/// A resource as the store holds it, under its key.
#[derive(Clone, Debug)]
struct Stored {
    type_name: Arc<str>,
    body: Arc<str>,
    /// `None` when nothing is hidden.
    private: Option<Arc<str>>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl Stored {
    fn resource(&self, key: &Arc<str>) -> Arc<Resource> {
        Arc::new(Resource {
            key: key.clone(),
            type_name: (*self.type_name).to_owned(),
            body: Kept::of(self.body.clone()),
            private: self.private.clone().map_or_else(|| Map::new().into(), Kept::of),
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// An id, and the resource that it names now.
pub type Changed = (Arc<str>, Option<Arc<Resource>>);

#[derive(Clone, Debug, Default)]
struct Inner {
    by_key: BTreeMap<Arc<str>, Stored>,
    by_type: HashMap<(String, String), BTreeSet<Arc<str>>>,
    /// Each type's name once: many resources have the same.
    type_names: HashSet<Arc<str>>,
}

impl Inner {
    fn get(&self, key: &str) -> Option<Arc<Resource>> {
        self.by_key.get_key_value(key).map(|(key, stored)| stored.resource(key))
    }

    fn insert(&mut self, resource: &Resource) {
        let type_name = self.type_names.get(resource.type_name.as_str()).cloned().unwrap_or_else(|| {
            let name: Arc<str> = resource.type_name.as_str().into();
            self.type_names.insert(name.clone());
            name
        });
        let stored = Stored {
            type_name,
            body: resource.body.text(),
            private: (!resource.private.is_empty()).then(|| resource.private.text()),
            created_at: resource.created_at,
            updated_at: resource.updated_at,
        };
        self.by_key.insert(resource.key.clone(), stored);
    }
}

/// How many resources are held as values.
const LATEST: usize = 16_384;

/// The store.
#[derive(Debug, Default)]
pub struct Store {
    inner: RwLock<Inner>,
    /// What was looked at, changed only while `inner` is locked.
    latest: Mutex<HashMap<Arc<str>, Arc<Resource>>>,
    ledger: Arc<Ledger>,
}

impl Store {
    /// An empty store that notes what changes.
    pub fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, ..Self::default() }
    }

    /// A store of its own with the same resources.
    pub fn copy(&self, ledger: Arc<Ledger>) -> Self {
        Self { inner: RwLock::new(self.read().clone()), ledger, ..Self::default() }
    }

    /// What is to be written: everything noted, with the resources as they are at that moment.
    pub fn changed(&self, take: impl FnOnce() -> Pending) -> (Pending, Vec<Changed>) {
        let inner = self.read();
        let pending = take();
        let resources = pending.resources.iter().map(|key| (key.clone(), inner.get(key))).collect();
        (pending, resources)
    }

    /// The resource with this id, in whatever case.
    pub fn get(&self, id: &str) -> Option<Arc<Resource>> {
        let inner = self.read();
        inner.by_key.get_key_value(&*lower(id)).map(|(key, stored)| self.look(key, stored))
    }

    /// Whether there is one.
    pub fn contains(&self, id: &str) -> bool {
        self.read().by_key.contains_key(&*lower(id))
    }

    /// A resource as it will be looked at again soon.
    fn look(&self, key: &Arc<str>, stored: &Stored) -> Arc<Resource> {
        let mut latest = self.latest();
        if let Some(resource) = latest.get(key) {
            return resource.clone();
        }
        if latest.len() >= LATEST {
            latest.clear();
        }
        let resource = stored.resource(key);
        latest.insert(key.clone(), resource.clone());
        resource
    }

    /// Adds or replaces a resource.
    pub fn put(&self, resource: Resource) -> Arc<Resource> {
        let mut inner = self.write();
        self.ledger.resource(&resource.key, || inner.get(&resource.key));
        inner.by_type.entry(type_key(&resource)).or_default().insert(resource.key.clone());
        inner.insert(&resource);
        self.latest().remove(&resource.key);
        Arc::new(resource)
    }

    /// Changes a resource in place; `None` when there is none.
    pub fn update(&self, id: &str, change: impl FnOnce(&mut Resource)) -> Option<Arc<Resource>> {
        let mut inner = self.write();
        let (key, stored) = inner.by_key.get_key_value(&*lower(id))?;
        let mut resource = self.latest().remove(key).unwrap_or_else(|| stored.resource(key));
        self.ledger.resource(key, || Some(stored.resource(key)));
        change(Arc::make_mut(&mut resource));
        inner.insert(&resource);
        Some(resource)
    }

    /// Removes a resource.
    pub fn remove(&self, id: &str) -> Option<Arc<Resource>> {
        let mut inner = self.write();
        let (key, stored) = inner.by_key.remove_entry(&*lower(id))?;
        let resource = self.latest().remove(&key).unwrap_or_else(|| stored.resource(&key));
        self.ledger.resource(&key, || Some(resource.clone()));
        if let Some(keys) = inner.by_type.get_mut(&type_key(&resource)) {
            keys.remove(&resource.key);
        }
        Some(resource)
    }

    /// Everything whose id starts with `prefix`, in order.
    pub fn below(&self, prefix: &str) -> Vec<Arc<Resource>> {
        let prefix: Arc<str> = prefix.to_ascii_lowercase().into();
        let inner = self.read();
        inner
            .by_key
            .range((Bound::Included(prefix.clone()), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(&*prefix))
            .map(|(key, stored)| self.look(key, stored))
            .collect()
    }

    /// The first so many below `prefix` that `accepts` takes, from behind a key on.
    pub fn below_after(&self, prefix: &str, after: Option<&str>, count: usize, accepts: impl Fn(&Resource) -> bool) -> Vec<Arc<Resource>> {
        let prefix = prefix.to_ascii_lowercase();
        let inner = self.read();
        let below = inner.by_key.range((start(&prefix, after), Bound::Unbounded)).take_while(|(key, _)| key.starts_with(&*prefix));
        below.map(|(key, stored)| stored.resource(key)).filter(|resource| accepts(resource)).take(count).collect()
    }

    /// The members of a collection: ids of the form `{collection}/{name}` and no deeper.
    pub fn members(&self, collection: &str) -> Vec<Arc<Resource>> {
        self.range_of_members(collection, None, usize::MAX, |key, stored| self.look(key, stored))
    }

    /// The first so many members of a collection, from behind a key on.
    pub fn members_after(&self, collection: &str, after: Option<&str>, count: usize) -> Vec<Arc<Resource>> {
        self.range_of_members(collection, after, count, |key, stored| stored.resource(key))
    }

    fn range_of_members(
        &self,
        collection: &str,
        after: Option<&str>,
        count: usize,
        resource: impl Fn(&Arc<str>, &Stored) -> Arc<Resource>,
    ) -> Vec<Arc<Resource>> {
        let prefix = format!("{}/", collection.to_ascii_lowercase());
        let inner = self.read();
        let mut members = Vec::new();
        let mut from = start(&prefix, after);
        while members.len() < count {
            let next = inner.by_key.range((from, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(&*prefix));
            let mut deeper = None;
            for (key, stored) in next.take(count - members.len()) {
                match key[prefix.len()..].find('/') {
                    None => members.push(resource(key, stored)),
                    Some(end) => {
                        deeper = Some(&key[..prefix.len() + end]);
                        break;
                    }
                }
            }
            // What lies below a member is passed over in one step: '0' is what follows '/'.
            let Some(member) = deeper else { break };
            from = Bound::Included(format!("{member}0").into());
        }
        members
    }

    /// All resources of a type in a subscription.
    pub fn of_type(&self, subscription: &str, type_name: &str) -> Vec<Arc<Resource>> {
        let inner = self.read();
        let keys = inner.by_type.get(&(subscription.to_ascii_lowercase(), type_name.to_ascii_lowercase()));
        keys.into_iter().flatten().filter_map(|key| Some(self.look(key, inner.by_key.get(key)?))).collect()
    }

    /// Everything.
    pub fn all(&self) -> Vec<Arc<Resource>> {
        self.read().by_key.iter().map(|(key, stored)| stored.resource(key)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn latest(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Resource>>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a range of keys that begin so starts: behind one of them, or at the first.
fn start(prefix: &str, after: Option<&str>) -> Bound<Arc<str>> {
    match after {
        Some(key) if key >= prefix => Bound::Excluded(key.into()),
        _ => Bound::Included(prefix.into()),
    }
}

/// The id as keys are written.
fn lower(id: &str) -> Cow<'_, str> {
    if id.bytes().any(|byte| byte.is_ascii_uppercase()) { id.to_ascii_lowercase().into() } else { id.into() }
}

fn type_key(resource: &Resource) -> (String, String) {
    let subscription = scope_part(&resource.key, "subscriptions").unwrap_or_default();
    (subscription.to_owned(), resource.type_name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(id: &str, type_name: &str) -> Resource {
        Resource::new(json!({"id": id, "type": type_name, "name": "x"}), OffsetDateTime::UNIX_EPOCH)
    }

    #[test]
    fn ids_compare_without_case_and_members_are_no_grandchildren() {
        let store = Store::default();
        store.put(resource("/Subscriptions/S/a/L", "A/l"));
        store.put(resource("/subscriptions/s/a/l/B/c", "A/l/B"));
        store.put(resource("/subscriptions/s/a/l/b/c/d/e", "A/l/b/d"));
        store.put(resource("/subscriptions/s/a/l/bb/x", "A/l/bb"));
        store.put(resource("/subscriptions/s/a/l/b/d", "A/l/B"));
        store.put(resource("/subscriptions/s/a/l/b/c-1", "A/l/B"));
        assert!(store.contains("/SUBSCRIPTIONS/s/A/l"));
        let names: Vec<_> =
            store.members("/subscriptions/s/A/L/b").iter().map(|member| member.key.rsplit('/').next().map(str::to_owned)).collect();
        assert_eq!(names, [Some("c".to_owned()), Some("c-1".into()), Some("d".into())]);
        let after = |key: Option<&str>, count| store.members_after("/subscriptions/s/a/l/b", key, count).len();
        assert_eq!((after(None, 2), after(Some("/subscriptions/s/a/l/b/c"), 9), after(Some("/subscriptions/s/a/l/b/d"), 9)), (2, 2, 0));
        assert_eq!(store.below("/subscriptions/s/a/l/").len(), 5);
        assert_eq!(store.of_type("S", "a/L/b").len(), 3);
        assert!(store.remove("/subscriptions/s/a/l/b/C").is_some());
        assert_eq!(store.of_type("s", "A/l/b").len(), 2);
    }
}
