//! State that outlives the process: an embedded database that holds what the emulator holds.
//!
//! One thread writes, many changes in one transaction, and whoever waits for the answer to a change waits for that transaction. What was
//! being done when the process died is taken up again as [`super::ledger`] describes.

use std::{collections::BTreeMap, path::Path, sync::Arc, thread::JoinHandle, time::Duration};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::{
    Error,
    blobs::{Blobs, Place, index::Blob},
    identity::{self, Application, Provider},
    ledger::{Begun, Pending},
    operation, router, storage,
    store::{self, Resource},
    tls,
    world::World,
};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const RESOURCES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("resources");
const OPERATIONS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("operations");
const WORK: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("work");
const BEFORE: TableDefinition<'_, (u64, &str), &[u8]> = TableDefinition::new("before");
const BLOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("blobs");

/// The layout of the file. A file of another version is refused.
const VERSION: u32 = 1;
/// How long work that was interrupted may take to catch up before the emulator serves anyway.
const CATCH_UP: Duration = Duration::from_secs(5);

/// What an emulator is besides what it holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    version: u32,
    /// The certificate authority.
    pub authority: tls::Authority,
    /// Secrets and signing keys.
    pub secrets: identity::Secrets,
    /// The applications of the seed.
    pub identities: Vec<Application>,
    /// What the cloud says its authority is.
    pub provider: Provider,
    /// How many items a page of a list holds.
    pub page_size: usize,
    /// Where blobs are; `None` without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blobs: Option<Place>,
}

impl Meta {
    /// What is kept of a new emulator.
    pub fn new(
        authority: tls::Authority,
        secrets: identity::Secrets,
        identities: Vec<Application>,
        provider: Provider,
        page_size: usize,
        blobs: Option<Place>,
    ) -> Self {
        Self { version: VERSION, authority, secrets, identities, provider, page_size, blobs }
    }
}

/// Settings that were made while it ran.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Settings {
    settings: Map<String, Value>,
    clock_offset: i64,
}

/// A resource as it is written.
#[derive(Serialize, Deserialize)]
struct Record<T> {
    #[serde(rename = "type")]
    type_name: String,
    body: T,
    private: T,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

/// The file.
#[derive(Debug)]
pub struct State {
    database: Database,
}

/// What a file holds.
#[derive(Debug)]
pub struct Loaded {
    /// The emulator's own.
    pub meta: Meta,
    settings: Settings,
    resources: Vec<Resource>,
    operations: Vec<operation::Record>,
    work: BTreeMap<u64, Begun>,
    before: Vec<((u64, String), Option<Resource>)>,
    blobs: BTreeMap<String, Blob>,
}

fn wrong(error: &dyn std::fmt::Display) -> Error {
    Error::State(error.to_string())
}

impl State {
    /// Opens a state file, or makes one.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { database: Database::create(path).map_err(|error| wrong(&error))? })
    }

    /// Reads everything; `None` when the file is new.
    pub fn load(&self) -> Result<Option<Loaded>, Error> {
        let transaction = self.database.begin_read().map_err(|error| wrong(&error))?;
        let Ok(meta) = transaction.open_table(META) else { return Ok(None) };
        let read = |name: &str| meta.get(name).map_err(|error| wrong(&error));
        let Some(own) = read("emulator")? else { return Ok(None) };
        let version = parse::<Value>(own.value())?["version"].as_u64();
        if version != Some(u64::from(VERSION)) {
            return Err(Error::State(format!("it was written by another version of the emulator ({version:?}, this one reads {VERSION})")));
        }
        let settings = read("settings")?.map(|bytes| parse(bytes.value())).transpose()?.unwrap_or_default();
        let mut loaded = Loaded {
            meta: parse(own.value())?,
            settings,
            resources: Vec::new(),
            operations: Vec::new(),
            work: BTreeMap::new(),
            before: Vec::new(),
            blobs: BTreeMap::new(),
        };
        let table = transaction.open_table(RESOURCES).map_err(|error| wrong(&error))?;
        for row in table.iter().map_err(|error| wrong(&error))? {
            let (key, value) = row.map_err(|error| wrong(&error))?;
            loaded.resources.push(resource(key.value(), value.value())?);
        }
        let table = transaction.open_table(OPERATIONS).map_err(|error| wrong(&error))?;
        for row in table.iter().map_err(|error| wrong(&error))? {
            loaded.operations.push(parse(row.map_err(|error| wrong(&error))?.1.value())?);
        }
        let table = transaction.open_table(WORK).map_err(|error| wrong(&error))?;
        for row in table.iter().map_err(|error| wrong(&error))? {
            let (number, value) = row.map_err(|error| wrong(&error))?;
            loaded.work.insert(number.value(), parse(value.value())?);
        }
        let table = transaction.open_table(BEFORE).map_err(|error| wrong(&error))?;
        for row in table.iter().map_err(|error| wrong(&error))? {
            let (key, value) = row.map_err(|error| wrong(&error))?;
            let (number, id) = key.value();
            let before = if value.value().is_empty() { None } else { Some(resource(id, value.value())?) };
            loaded.before.push(((number, id.to_owned()), before));
        }
        // Files of emulators that could not keep blobs have no such table.
        if let Ok(table) = transaction.open_table(BLOBS) {
            for row in table.iter().map_err(|error| wrong(&error))? {
                let (key, value) = row.map_err(|error| wrong(&error))?;
                loaded.blobs.insert(key.value().to_owned(), parse(value.value())?);
            }
        }
        Ok(Some(loaded))
    }

    /// Writes what was noted since the last time.
    fn write(&self, world: &World, meta: Option<&Meta>) -> Result<u64, redb::Error> {
        let (pending, resources) = world.store.changed(|| world.ledger.take());
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(META)?;
            if let Some(meta) = meta {
                table.insert("emulator", bytes(meta).as_slice())?;
            }
            if meta.is_some() || pending.settings {
                let settings = Settings { settings: world.settings().changed.clone(), clock_offset: world.clock.offset() };
                table.insert("settings", bytes(&settings).as_slice())?;
            }
            let mut table = transaction.open_table(RESOURCES)?;
            for (key, resource) in resources {
                match resource {
                    Some(resource) => table.insert(&*key, record(&resource).as_slice())?,
                    None => table.remove(&*key)?,
                };
            }
            if let Some(blobs) = &world.blobs {
                write_blobs(&mut transaction.open_table(BLOBS)?, blobs)?;
            }
            write_operations(&mut transaction.open_table(OPERATIONS)?, world, &pending)?;
            write_work(&mut transaction.open_table(WORK)?, &mut transaction.open_table(BEFORE)?, &pending)?;
        }
        transaction.commit()?;
        Ok(pending.last)
    }

    /// Starts the thread that writes, after it has written `meta` and what is there.
    pub fn keep(self, world: &Arc<World>, meta: &Meta) -> Result<JoinHandle<()>, Error> {
        let last = self.write(world, Some(meta)).map_err(|error| wrong(&error))?;
        world.ledger.tell(Ok(last));
        let world = world.clone();
        let writer = std::thread::Builder::new().name("state".into()).spawn(move || {
            while world.ledger.wait() {
                match self.write(&world, None) {
                    Ok(last) => world.ledger.tell(Ok(last)),
                    Err(error) => {
                        anstream::eprintln!("emulator: failed to write the state file: {error}; nothing is acknowledged any more");
                        world.ledger.tell(Err(()));
                        return;
                    }
                }
            }
        });
        writer.map_err(|error| wrong(&error))
    }
}

fn write_operations(table: &mut redb::Table<'_, &str, &[u8]>, world: &World, pending: &Pending) -> Result<(), redb::Error> {
    for name in &pending.operations {
        match world.operations.get(name) {
            Some(operation) => table.insert(name.as_str(), bytes(&operation.record()).as_slice())?,
            None => table.remove(name.as_str())?,
        };
    }
    Ok(())
}

fn write_blobs(table: &mut redb::Table<'_, &str, &[u8]>, blobs: &Blobs) -> Result<(), redb::Error> {
    for (key, blob) in blobs.take_changed() {
        match blob {
            Some(blob) => table.insert(key.as_str(), bytes(&blob).as_slice())?,
            None => table.remove(key.as_str())?,
        };
    }
    Ok(())
}

fn write_work(
    work: &mut redb::Table<'_, u64, &[u8]>,
    before: &mut redb::Table<'_, (u64, &str), &[u8]>,
    pending: &Pending,
) -> Result<(), redb::Error> {
    for (number, begun) in &pending.kept {
        work.insert(number, bytes(begun).as_slice())?;
    }
    for ((number, key), resource) in &pending.before {
        let row = resource.as_ref().map(|resource| record(resource)).unwrap_or_default();
        before.insert((*number, &**key), row.as_slice())?;
    }
    for number in &pending.finished {
        work.remove(number)?;
        before.retain_in::<(u64, &str), _>((*number, "")..(number + 1, ""), |_, _| false)?;
    }
    Ok(())
}

impl Loaded {
    /// Puts what is settled in place; the ledger is open afterwards.
    fn restore(&mut self, world: &World) {
        for resource in self.resources.drain(..) {
            world.store.put(resource);
        }
        for record in self.operations.drain(..).filter(|record| record.state.is_final()) {
            world.operations.restore(record);
        }
        if let Some(blobs) = &world.blobs {
            blobs.restore(std::mem::take(&mut self.blobs));
            storage::reopen(world);
        }
        world.settings_mut().apply(&std::mem::take(&mut self.settings.settings));
        world.clock.set_offset(self.settings.clock_offset);
        let last = self.work.keys().chain(self.before.iter().map(|((number, _), _)| number)).max().copied();
        world.ledger.open(last.map_or(1, |last| last + 1));
    }

    /// Puts everything in place, takes back what unfinished work changed, and begins it again where it would be by now.
    pub async fn take_up(mut self, world: &Arc<World>) {
        self.restore(world);
        // The latest first: each one's past is how the ones before it left things.
        self.before.sort_by(|one, other| other.0.cmp(&one.0));
        let mut numbers: Vec<u64> = self.work.keys().copied().collect();
        for ((number, key), before) in self.before {
            match before {
                Some(resource) => drop(world.store.put(resource)),
                None => drop(world.store.remove(&key)),
            }
            numbers.push(number);
        }
        for begun in self.work.into_values() {
            let credit = Duration::try_from(OffsetDateTime::now_utc() - begun.at).unwrap_or_default();
            let operations = begun.operations.clone();
            if let Err(error) = router::serve_again(world, begun, credit).await {
                for name in operations {
                    let operation = world.operations.begin_named(&name);
                    operation.finish(Err(error.clone()));
                }
            }
            let until = tokio::time::Instant::now() + CATCH_UP;
            while world.ledger.hurrying() > 0 && tokio::time::Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        world.ledger.forget(numbers);
    }
}

fn record(resource: &Resource) -> Vec<u8> {
    let private = Value::Object(resource.private.clone());
    bytes(&Record {
        type_name: resource.type_name.clone(),
        body: &*resource.body,
        private: &private,
        created_at: resource.created_at,
        updated_at: resource.updated_at,
    })
}

fn resource(key: &str, row: &[u8]) -> Result<Resource, Error> {
    let record: Record<Value> = parse(row)?;
    let private = match record.private {
        Value::Object(private) => private,
        _ => Map::new(),
    };
    Ok(Resource {
        key: key.into(),
        type_name: record.type_name,
        body: record.body.into(),
        private: private.into(),
        created_at: record.created_at,
        updated_at: record.updated_at,
    })
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    // Maps with text keys, texts and numbers: none of these fails.
    serde_json::to_vec(value).unwrap_or_default()
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    store::parse(bytes).map_err(|error| wrong(&error))
}
