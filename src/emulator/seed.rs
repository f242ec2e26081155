//! What there is at the start: the seed file, or one subscription with one lab.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Error, ReadySubscription, authorization,
    devtestlab::{
        artifact, lab,
        repository::{Repository, built_in, read_artifacts, read_environments},
        virtual_machine,
    },
    http::parse_object,
    id::{Id, in_group, scope_part},
    identity::{Application, Provider, object_id},
    provider,
    resources::{add_subscription, generic, group},
    storage,
    store::{Kept, Resource},
    world::World,
};

/// The built-in subscription.
pub const SUBSCRIPTION: &str = "11111111-1111-4111-8111-111111111111";
/// As many items as Azure puts on most pages.
const PAGE_SIZE: usize = 1000;

/// A seed file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seed {
    subscriptions: Vec<Subscription>,
    /// Further applications that may sign in.
    #[serde(default)]
    pub identities: Vec<Application>,
    /// What the cloud says its authority is.
    #[serde(default)]
    pub identity_provider: Provider,
    /// How many items a page of a list holds.
    #[serde(default = "page_size")]
    pub page_size: usize,
    #[serde(skip)]
    folder: PathBuf,
}

fn page_size() -> usize {
    PAGE_SIZE
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscription {
    #[serde(rename = "subscriptionId")]
    id: String,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    resource_groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    location: String,
    #[serde(default)]
    labs: Vec<Lab>,
    #[serde(default)]
    resources: Vec<Kept<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lab {
    name: String,
    #[serde(default)]
    virtual_networks: Option<Vec<String>>,
    #[serde(default)]
    artifact_sources: Option<Vec<Source>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    name: String,
    #[serde(default)]
    artifacts: Option<PathBuf>,
    #[serde(default)]
    environments: Option<PathBuf>,
}

impl Seed {
    /// Reads a seed file; without one there is one subscription with one lab.
    pub fn read(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self::built_in()) };
        let bytes = std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let problem = |problem: String| Error::Seed { path: path.to_owned(), problem };
        // What is not strict JSON is read as requests are, with everything in memory at once.
        let tolerant = |_| {
            let value = parse_object(&bytes).map_err(|error| problem(error.message))?;
            serde_json::from_value(value).map_err(|error| problem(error.to_string()))
        };
        let mut seed: Self = serde_json::from_slice(&bytes).or_else(tolerant)?;
        if seed.page_size == 0 {
            return Err(problem("'pageSize' must be 1 or more".into()));
        }
        seed.folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Ok(seed)
    }

    fn built_in() -> Self {
        let lab = Lab { name: "contoso".into(), virtual_networks: None, artifact_sources: None };
        let group = Group { name: "devtestlabs".into(), location: "westeurope".into(), labs: vec![lab], resources: Vec::new() };
        let subscription = Subscription { id: SUBSCRIPTION.into(), display_name: Some("Emulator".into()), resource_groups: vec![group] };
        Self {
            subscriptions: vec![subscription],
            identities: Vec::new(),
            identity_provider: Provider::default(),
            page_size: PAGE_SIZE,
            folder: PathBuf::new(),
        }
    }

    /// Puts everything in place.
    pub fn plant(&mut self, world: &World) -> Result<(), Error> {
        self.subscriptions.iter().try_for_each(|subscription| self.plant_subscription(world, subscription))?;
        for group in self.subscriptions.iter_mut().flat_map(|subscription| &mut subscription.resource_groups) {
            // Each is forgotten as soon as it is in place.
            std::mem::take(&mut group.resources).into_iter().try_for_each(|resource| plant_resource(world, &resource, &group.location))?;
        }
        for application in &self.identities {
            for grant in application.roles.iter().flatten() {
                let problem = |problem| Error::Seed { path: PathBuf::from("identities"), problem };
                authorization::grant(world, &object_id(&application.client_id), &grant.role, &grant.scope).map_err(problem)?;
            }
        }
        Ok(())
    }

    fn plant_subscription(&self, world: &World, subscription: &Subscription) -> Result<(), Error> {
        let id = &subscription.id;
        add_subscription(world, id, subscription.display_name.as_deref().unwrap_or("Emulated subscription"));
        for group in &subscription.resource_groups {
            group::ensure(world, id, &group.name, &group.location);
            for lab in &group.labs {
                self.plant_lab(world, &in_group(id, &group.name, "Microsoft.DevTestLab", "labs", &lab.name), &group.location, lab)?;
            }
        }
        Ok(())
    }

    fn plant_lab(&self, world: &World, id: &Id, location: &str, lab: &Lab) -> Result<(), Error> {
        let default = vec![format!("Dtl{}", lab.name)];
        lab::seed(world, id, location, lab.virtual_networks.as_ref().unwrap_or(&default));
        for source in lab.artifact_sources.iter().flatten() {
            artifact::add_source(world, &id.child("artifactsources", &source.name), &self.repository(source)?);
        }
        lab::complete(world, id);
        // A lab whose sources the seed lists has no other.
        if lab
            .artifact_sources
            .as_ref()
            .is_some_and(|sources| !sources.iter().any(|source| source.name.eq_ignore_ascii_case("public repo")))
        {
            let source = id.child("artifactsources", "public repo").key();
            for resource in world.store.below(&source) {
                world.store.remove(&resource.key);
            }
        }
        Ok(())
    }

    fn repository(&self, source: &Source) -> Result<Repository, Error> {
        if source.artifacts.is_none() && source.environments.is_none() {
            return Ok(built_in());
        }
        Ok(Repository {
            artifacts: source.artifacts.as_ref().map_or_else(|| Ok(Vec::new()), |folder| read_artifacts(&self.folder.join(folder)))?,
            environments: source
                .environments
                .as_ref()
                .map_or_else(|| Ok(Vec::new()), |folder| read_environments(&self.folder.join(folder)))?,
        })
    }
}

/// What a client can work with; what the seed names comes first, in its order.
pub fn subscriptions(world: &World, seed: &Seed) -> Vec<ReadySubscription> {
    let of = |subscription: &Resource| {
        let id = subscription.body["subscriptionId"].as_str()?.to_owned();
        let labs = world.store.of_type(&id, "Microsoft.DevTestLab/labs");
        Some(ReadySubscription { labs: labs.iter().filter_map(|lab| proper_lab_id(lab)).collect(), subscription_id: id })
    };
    let mut all: Vec<_> = world.store.members("/subscriptions").iter().filter_map(|subscription| of(subscription)).collect();
    let place = |one: &ReadySubscription| seed.subscriptions.iter().position(|other| other.id.eq_ignore_ascii_case(&one.subscription_id));
    all.sort_by_key(|one| place(one).unwrap_or(usize::MAX));
    all
}

/// The lab's id with the casing that people write.
fn proper_lab_id(lab: &Resource) -> Option<String> {
    let id = Id::parse(&lab.key)?;
    let group = format!("/subscriptions/{}/resourceGroups/{}", id.subscription()?, id.group()?);
    Some(format!("{group}/providers/Microsoft.DevTestLab/labs/{}", lab.name()))
}

/// A seeded resource is taken as it stands.
fn plant_resource(world: &World, given: &Value, location: &str) -> Result<(), Error> {
    let text = given["id"].as_str().unwrap_or_default();
    let problem = |problem: String| Error::Seed { path: PathBuf::from("resources"), problem };
    let id = Id::parse(text).ok_or_else(|| problem(format!("'{text}' is no resource's id")))?;
    if let (Some(subscription), Some(name)) = (scope_part(&id.scope, "subscriptions"), scope_part(&id.scope, "resourceGroups")) {
        group::ensure(world, subscription, name, location);
    }
    let in_lab = id.namespace.eq_ignore_ascii_case("Microsoft.DevTestLab");
    let mut body = given.clone();
    body["id"] = json!(if in_lab { id.key() } else { id.to_string() });
    body["type"] = json!(provider::proper_type(&id.type_name()));
    for (name, value) in [("name", json!(id.name())), ("location", json!(location))] {
        if body[name].is_null() {
            body[name] = value;
        }
    }
    if !body["properties"].is_object() {
        body["properties"] = json!({});
    }
    let secret = if id.is("Microsoft.KeyVault/vaults/secrets") { body["properties"]["value"].take() } else { Value::Null };
    let created = ["createdDate", "creationDate", "timeCreated"].iter().find_map(|name| body["properties"][*name].as_str());
    let created = created.and_then(|date| OffsetDateTime::parse(date, &Rfc3339).ok()).unwrap_or_else(|| world.clock.now());
    let mut resource = Resource::new(body, created);
    if resource.state().is_empty() {
        resource.set_state("Succeeded");
    }
    if !secret.is_null() {
        resource.hide("secret", secret);
        if let Some(properties) = resource.body["properties"].as_object_mut() {
            properties.remove("value");
        }
    }
    if !in_lab && let Some(properties) = resource.body["properties"].as_object_mut() {
        generic::complete(world, &id, properties);
    }
    let is_machine = resource.type_name == "Microsoft.DevTestLab/labs/virtualMachines";
    let resource = world.store.put(resource);
    if id.is(storage::ACCOUNTS) {
        storage::open(world, &resource);
    }
    if is_machine {
        virtual_machine::complete_seeded(world, &id);
    }
    Ok(())
}
