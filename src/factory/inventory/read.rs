//! Reads the labs from Azure: every subscription's labs once, then each lab's images, virtual machines and formulas.

use std::collections::{BTreeMap, BTreeSet};

use async_lock::Semaphore;
use futures::future::{join_all, try_join3};
use serde_json::Value;

use super::{Image, Inventory, Lab, Target, Vm, used_by_formula, used_by_vm};
use crate::{
    arm::{ApiVersion, Client, Error, Request, ResourceId},
    devtestlab::API_VERSION,
    factory::{configuration::Receiver, in_words, plan::labs, report::Disks},
    order,
};

/// A version that both snapshots and managed images know.
const COMPUTE_VERSION: ApiVersion = ApiVersion("2023-04-02");

/// Reads the factory's lab and the receiving labs. A receiving lab that cannot be read is said to be so; the others go on.
pub async fn read(client: &Client, gate: &Semaphore, factory: &ResourceId, receivers: &[Receiver]) -> Result<Inventory, Error> {
    let own = read_factory(client, gate, factory);
    let mut subscriptions: Vec<String> = receivers.iter().map(|receiver| receiver.subscription_id.to_ascii_lowercase()).collect();
    order::sort(&mut subscriptions, &mut Ord::cmp);
    subscriptions.dedup();
    let lists = join_all(subscriptions.iter().map(|id| list_labs(client, gate, id)));
    let (own, lists) = futures::future::join(own, lists).await;
    let own = own?;
    let lists: BTreeMap<_, _> = subscriptions.iter().cloned().zip(lists).collect();
    let targets = receivers
        .iter()
        .map(|receiver| read_receiver(client, gate, &own, receiver, lists.get(&receiver.subscription_id.to_ascii_lowercase())));
    let receivers = join_all(targets).await;
    Ok(Inventory { factory: own, receivers, gallery: None })
}

async fn read_factory(client: &Client, gate: &Semaphore, id: &ResourceId) -> Result<Lab, Error> {
    let lab = {
        let _permit = gate.acquire().await;
        client.send(Request::get(id.as_str(), API_VERSION)).await?.body
    };
    read_lab(client, gate, id.clone(), &lab).await
}

async fn list_labs(client: &Client, gate: &Semaphore, subscription: &str) -> Result<Vec<Value>, String> {
    let _permit = gate.acquire().await;
    let path = format!("/subscriptions/{subscription}/providers/Microsoft.DevTestLab/labs");
    client.list(Request::get(path, API_VERSION)).await.map_err(|error| in_words(&error))
}

async fn read_receiver(
    client: &Client,
    gate: &Semaphore,
    factory: &Lab,
    receiver: &Receiver,
    labs: Option<&Result<Vec<Value>, String>>,
) -> Target {
    let group = receiver.resource_group.as_deref().map(|group| format!("/resourceGroups/{group}")).unwrap_or_default();
    let guess = format!("/subscriptions/{}{group}/providers/Microsoft.DevTestLab/labs/{}", receiver.subscription_id, receiver.lab_name);
    let found = match labs {
        Some(Ok(labs)) => find_lab(receiver, labs),
        Some(Err(error)) => Err(error.clone()),
        None => Err("its subscription was not read".to_owned()),
    };
    let (id, lab) = match found {
        Ok(found) => found,
        Err(error) => return Target { id: guess, lab: Err(error) },
    };
    let text = id.to_string();
    if id == factory.id {
        return Target { id: factory.id.to_string(), lab: Ok(factory.clone()) };
    }
    if lab["properties"]["provisioningState"].as_str().is_some_and(|state| state.eq_ignore_ascii_case("Deleting")) {
        return Target { id: text, lab: Err("the lab is being deleted: take it out of Labs.json".to_owned()) };
    }
    Target { id: text, lab: read_lab(client, gate, id, lab).await.map_err(|error| in_words(&error)) }
}

/// The one lab that is meant.
fn find_lab<'a>(receiver: &Receiver, labs: &'a [Value]) -> Result<(ResourceId, &'a Value), String> {
    let ids = labs.iter().filter_map(|lab| Some((lab_id(lab)?, lab)));
    let (mut named, others): (Vec<_>, Vec<_>) = ids.partition(|(id, _)| {
        let group = receiver.resource_group.as_deref().unwrap_or(id.resource_group());
        id.name().eq_ignore_ascii_case(&receiver.lab_name) && id.resource_group().eq_ignore_ascii_case(group)
    });
    match (named.pop(), named.is_empty()) {
        (Some(found), true) => Ok(found),
        (Some((last, _)), false) => {
            let groups: Vec<_> = named.iter().map(|(id, _)| id.resource_group()).chain([last.resource_group()]).collect();
            Err(format!("there are labs '{}' in resource groups {}: set ResourceGroup in Labs.json", receiver.lab_name, groups.join(", ")))
        }
        (None, _) => {
            let known: Vec<_> = others.iter().map(|(id, _)| format!("{}/{}", id.resource_group(), id.name())).collect();
            let shown =
                if known.is_empty() { "it shows no lab to this connection".to_owned() } else { format!("it has {}", known.join(", ")) };
            Err(format!("subscription '{}' has no lab '{}': {shown}", receiver.subscription_id, receiver.lab_name))
        }
    }
}

/// A lab's id in the casing that people write: DevTest Labs hands ids out in lower case.
fn lab_id(lab: &Value) -> Option<ResourceId> {
    let id: ResourceId = lab["id"].as_str()?.parse().ok()?;
    let name = lab["name"].as_str().unwrap_or(id.name());
    format!("{}/providers/Microsoft.DevTestLab/labs/{name}", id.resource_group_id()).parse().ok()
}

/// The sizes of the disks that the factory's images stand on. What cannot be read is left out.
pub async fn disks(client: &Client, gate: &Semaphore, inventory: &Inventory) -> Disks {
    let images = labs(inventory).flat_map(|lab| &lab.images).filter(|image| image.tags.image_path.is_some());
    let ids: BTreeSet<String> = images.flat_map(|image| image.backing.disks()).collect();
    let sizes = join_all(ids.iter().map(|id| async move {
        let _permit = gate.acquire().await;
        let found = client.send(Request::get(id.parse::<ResourceId>().ok()?.as_str(), COMPUTE_VERSION)).await.ok()?.body;
        let properties = &found["properties"];
        let size = properties["diskSizeGB"].as_u64().or_else(|| properties["storageProfile"]["osDisk"]["diskSizeGB"].as_u64())?;
        Some((id.clone(), size))
    }));
    sizes.await.into_iter().flatten().collect()
}

/// Of long lists only what counts here is kept.
async fn read_lab(client: &Client, gate: &Semaphore, id: ResourceId, lab: &Value) -> Result<Lab, Error> {
    let list = |kind: &str, each| {
        let request = Request::get(format!("{id}/{kind}"), API_VERSION);
        async move {
            let _permit = gate.acquire().await;
            client.list_each(request, each).await
        }
    };
    let (mut images, mut vms, mut by_vms, mut by_formulas) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut image = |image: Value| images.push(Image::read(&image));
    let mut vm = |vm: Value| {
        by_vms.extend(used_by_vm(&vm));
        vms.push(Vm::read(&vm));
    };
    let mut formula = |formula: Value| by_formulas.extend(used_by_formula(&formula));
    try_join3(list("customimages", &mut image), list("virtualmachines", &mut vm), list("formulas", &mut formula)).await?;
    let location = lab["location"].as_str().unwrap_or_default().to_owned();
    Ok(Lab { id, location, images, vms, in_use: by_vms.into_iter().chain(by_formulas).collect() })
}
