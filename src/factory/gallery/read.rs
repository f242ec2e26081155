//! Reads the gallery, how the labs have it, and who uses its versions. What cannot be read is said, and keeps its versions from being retired.

use std::collections::BTreeSet;

use async_lock::Semaphore;
use futures::future::join_all;
use serde_json::Value;

use super::{Definition, Formula, Gallery, LabView, Version, is_own};
use crate::{
    arm::{Client, Error, Request, ResourceId},
    compute::{
        COMPUTE, GALLERY,
        retention::{Machine, users},
    },
    devtestlab::shared_gallery::{self, SharedGallery, SharedImage},
    factory::{
        in_words,
        inventory::{Inventory, Lab},
    },
};

/// Reads the gallery as far as it goes. It is no error that there is none yet.
pub async fn read(client: &Client, gate: &Semaphore, id: ResourceId, inventory: &Inventory) -> Gallery {
    let factory = &inventory.factory.id;
    let mut gallery = Gallery::empty(id);
    let found = match contents(client, gate, &gallery.id, factory).await {
        Ok(found) => found,
        Err(error) => return Gallery { problem: Some(in_words(&error)), ..gallery },
    };
    let labs: Vec<&Lab> = inventory.receivers.iter().filter_map(|target| target.lab.as_ref().ok()).collect();
    let views =
        labs.iter().map(|lab| async { (lab.id.to_string().to_ascii_lowercase(), view(client, gate, lab, &gallery.id, factory).await) });
    gallery.labs = join_all(views).await.into_iter().collect();
    let Some((location, definitions)) = found else { return gallery };
    gallery.location = Some(location);
    gallery.definitions = definitions;
    if gallery.own_versions().next().is_some() {
        read_users(client, gate, &mut gallery, inventory).await;
    }
    gallery
}

async fn list(client: &Client, gate: &Semaphore, request: Request) -> Result<Vec<Value>, Error> {
    let _permit = gate.acquire().await;
    client.list(request).await
}

/// The gallery's region and definitions; `None` when it is not there.
async fn contents(
    client: &Client,
    gate: &Semaphore,
    id: &ResourceId,
    factory: &ResourceId,
) -> Result<Option<(String, Vec<Definition>)>, Error> {
    let found = {
        let _permit = gate.acquire().await;
        client.find(Request::get(id.path(), GALLERY)).await?
    };
    let Some(found) = found else { return Ok(None) };
    let definitions = list(client, gate, Request::get(format!("{}/images", id.path()), GALLERY)).await?;
    let filled = definitions.iter().map(|resource| async move {
        let mut definition = Definition::read(resource, factory);
        if definition.image_path.is_some() {
            let path = format!("{}/images/{}/versions", id.path(), definition.name);
            let versions = list(client, gate, Request::get(path, GALLERY)).await?;
            definition.versions = versions.iter().filter_map(|version| Version::read(version, &definition, factory)).collect();
            for version in definition.versions.iter_mut().filter(|version| version.image.tags.image_path != definition.image_path) {
                // Somebody else's, or changed by hand: nobody knows what it is.
                version.image.tags.image_path = None;
            }
        }
        Ok::<_, Error>(definition)
    });
    let definitions = join_all(filled).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Some((found["location"].as_str().unwrap_or_default().to_owned(), definitions)))
}

async fn view(client: &Client, gate: &Semaphore, lab: &Lab, gallery: &ResourceId, factory: &ResourceId) -> LabView {
    match try_view(client, gate, lab, gallery, factory).await {
        Ok(view) => view,
        Err(error) => LabView { problem: Some(in_words(&error)), ..LabView::default() },
    }
}

async fn try_view(client: &Client, gate: &Semaphore, lab: &Lab, gallery: &ResourceId, factory: &ResourceId) -> Result<LabView, Error> {
    let attached = list(client, gate, shared_gallery::list(&lab.id)).await?;
    let mut view = LabView::default();
    let ours = attached.iter().find(|found| SharedGallery::read(found).gallery_id.eq_ignore_ascii_case(gallery.as_str()));
    let Some(found) = ours else { return Ok(view) };
    let shared = SharedGallery::read(found);
    if let Ok(id) = lab.id.child("sharedgalleries", &shared.name) {
        let images = list(client, gate, shared_gallery::list_images(&id)).await?;
        let images = images.iter().map(SharedImage::read).filter(|image| image.is_enabled);
        view.enabled = images.map(|image| image.definition.to_ascii_lowercase()).collect();
    }
    let request = Request::get(format!("{}/formulas", lab.id.path()), shared_gallery::API_VERSION);
    view.formulas = list(client, gate, request).await?.iter().filter_map(|formula| uses(formula, &shared.name)).collect();
    view.is_own = is_own(found, factory);
    view.allows_all = shared.allows_all;
    view.attached_as = Some(shared.name);
    Ok(view)
}

/// What a formula uses of a shared gallery.
fn uses(formula: &Value, gallery: &str) -> Option<Formula> {
    let content = &formula["properties"]["formulaContent"]["properties"];
    let id = content["sharedImageId"].as_str()?.to_ascii_lowercase();
    let (above, definition) = id.split_once("/sharedimages/")?;
    if !above.rsplit('/').next()?.eq_ignore_ascii_case(gallery) {
        return None;
    }
    let version = content["sharedImageVersion"].as_str().filter(|version| !version.is_empty() && !version.eq_ignore_ascii_case("latest"));
    Some(Formula {
        name: formula["name"].as_str().unwrap_or_default().to_owned(),
        definition: definition.to_owned(),
        version: version.map(str::to_owned),
    })
}

/// Finds the virtual machines and scale sets that use a version, in every subscription that the factory knows of.
async fn read_users(client: &Client, gate: &Semaphore, gallery: &mut Gallery, inventory: &Inventory) {
    let receivers =
        inventory.receivers.iter().filter_map(|target| Some(target.id.parse::<ResourceId>().ok()?.subscription_id().to_ascii_lowercase()));
    let own = [gallery.id.subscription_id().to_ascii_lowercase(), inventory.factory.id.subscription_id().to_ascii_lowercase()];
    let subscriptions: BTreeSet<String> = receivers.chain(own).collect();
    let requests = subscriptions.iter().flat_map(|subscription| {
        ["virtualMachines", "virtualMachineScaleSets"].map(|kind| {
            (subscription, kind, Request::get(format!("/subscriptions/{subscription}/providers/Microsoft.Compute/{kind}"), COMPUTE))
        })
    });
    let answers = requests.map(|(subscription, kind, request)| async move {
        let mut machines = Vec::new();
        let _permit = gate.acquire().await;
        let read = client.list_each(request, &mut |machine| machines.extend(Machine::read(&machine))).await;
        (subscription, kind, read.map(|()| machines))
    });
    let mut machines = Vec::new();
    for (subscription, kind, answer) in join_all(answers).await {
        match answer {
            Ok(found) => machines.extend(found),
            Err(error) => {
                gallery.unknown_users.push(format!("the {kind} of subscription '{subscription}' cannot be read: {}", in_words(&error)));
            }
        }
    }
    let is_pinned = |user: &str| machines.iter().any(|machine| machine.id == user && machine.is_pinned);
    let used: Vec<(String, String)> = gallery
        .own_versions()
        .filter_map(|(_, version)| Some((version.image.id.to_ascii_lowercase(), users(&version.image.id, &machines).into_iter().next()?)))
        .collect();
    let definitions = gallery.definitions.iter().filter(|definition| definition.image_path.is_some());
    let by_definition: Vec<(String, String)> = definitions
        .filter_map(|definition| {
            let id = format!("{}/images/{}", gallery.id, definition.name);
            Some((id.to_ascii_lowercase(), users(&id, &machines).into_iter().find(|user| !is_pinned(user))?))
        })
        .collect();
    gallery.users.extend(used);
    gallery.users.extend(by_definition);
}
