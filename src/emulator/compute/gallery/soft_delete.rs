//! Versions that were deleted in a gallery with soft delete: they stay known for some days. Bringing them back is not emulated.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{VERSIONS, not_found};
use crate::emulator::{
    error::ApiError,
    http::Reply,
    id::Id,
    page,
    router::{self, Target},
    store::Resource,
    world::{Call, World},
};

/// The types in the path of the list: `galleries/{}/softDeletedArtifactTypes/{}/artifacts/{}/versions`.
pub const KINDS: &str = "galleries/softdeletedartifacttypes/artifacts/versions";

/// Where a gallery holds what was deleted in it.
const PRIVATE: &str = "softDeleted";

/// Lists the versions of a definition that were deleted and can be brought back
/// ([Soft Deleted Resource - List By Artifact Name](https://learn.microsoft.com/rest/api/compute/soft-deleted-resource/list-by-artifact-name)).
pub fn list(world: &World, call: &Call<'_>, target: &Target) -> Result<Reply, ApiError> {
    let ("GET", [_, gallery, _, kind, _, definition, _]) = (call.method(), target.rest.as_slice()) else {
        return Err(router::unknown(world, call));
    };
    let gallery =
        Id { scope: target.scope(), namespace: "Microsoft.Compute".into(), pairs: vec![("galleries".to_owned(), gallery.clone())] };
    let found = world.store.get(&gallery.key()).ok_or_else(|| not_found(&gallery))?;
    let is_asked_for = |entry: &&Value| kind.eq_ignore_ascii_case("images") && is_of(entry, definition);
    let items = known(world, &found).iter().filter(is_asked_for).map(|entry| entry["shown"].clone()).collect();
    page::values(world, call, items)
}

/// Whether something in a gallery, or of a definition, can still be brought back, so that it cannot be deleted itself.
pub fn holds(world: &World, id: &Id) -> bool {
    let gallery = id.ancestor(1);
    let Some(found) = world.store.get(&gallery.key()) else { return false };
    let entries = known(world, &found);
    match id.pairs.as_slice() {
        [_] => !entries.is_empty(),
        [_, (_, definition)] => entries.iter().any(|entry| is_of(entry, definition)),
        _ => false,
    }
}

/// Notes a version that was deleted, where its gallery has soft delete.
pub fn note(world: &World, version: &Resource) {
    let Some(id) = Id::parse(version.id()).filter(|id| id.is(VERSIONS)) else { return };
    let now = world.clock.now();
    world.store.update(&id.ancestor(1).key(), |gallery| {
        if retention(gallery).is_none() {
            return;
        }
        let shown = json!({
            "name": id.name(),
            "location": version.location(),
            "properties": {
                "resourceArmId": version.id(),
                "softDeletedArtifactType": "Images",
                "softDeletedTime": now.format(&Rfc3339).unwrap_or_default(),
            },
        });
        let entry = json!({"definition": id.ancestor(2).name(), "at": now.unix_timestamp(), "shown": shown});
        match gallery.private.get_mut(PRIVATE).and_then(Value::as_array_mut) {
            Some(entries) => entries.push(entry),
            None => drop(gallery.private.insert(PRIVATE.into(), json!([entry]))),
        }
    });
}

/// How long a gallery keeps what is deleted in it, where it does.
fn retention(gallery: &Resource) -> Option<Duration> {
    let policy = gallery.property("softDeletePolicy");
    (policy["isSoftDeleteEnabled"] == json!(true)).then(|| Duration::days(policy["retentionPeriodInDays"].as_i64().unwrap_or(7)))
}

fn known(world: &World, gallery: &Resource) -> Vec<Value> {
    let kept = retention(gallery).unwrap_or_default();
    let is_kept = |entry: &&Value| {
        let at = entry["at"].as_i64().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        at.is_some_and(|at| world.clock.now() < at + kept)
    };
    gallery.private.get(PRIVATE).and_then(Value::as_array).into_iter().flatten().filter(is_kept).cloned().collect()
}

fn is_of(entry: &Value, definition: &str) -> bool {
    entry["definition"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(definition))
}
