//! What the gallery tasks share: their inputs, what is looked up before anything is written, and what a source turns out to be.

use serde_json::Value;

use super::{
    error::{Error, InputProblem, Problems, about},
    parameters::listed,
    session::{CommonInputs, Session},
};
use crate::{
    agent::Agent,
    arm::{ApiVersion, Request, ResourceId},
    compute::{
        COMPUTE, DISK, GALLERY, Invalid,
        gallery::{check_gallery_name, soft_delete_days},
        region::{Region, TargetRegion, check_available},
        source::{DiskSource, Facts, Kind, Source},
        version::VersionNumber,
        vhd,
    },
    devtestlab,
};

/// A task at work that has no lab.
pub type GallerySession<'a> = Session<'a, ()>;

/// Resource groups and providers.
pub const RESOURCES: ApiVersion = ApiVersion("2022-09-01");
/// Storage accounts.
const STORAGE: ApiVersion = ApiVersion("2023-05-01");

/// A source that was looked at.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What Azure is to be given.
    pub source: Source,
    /// What Azure told of it.
    pub facts: Facts,
    /// The storage account that holds its VHD, where it is one.
    pub vhd_account: Option<ResourceId>,
}

impl InputProblem for Invalid {
    fn describe(&self) -> String {
        self.to_string()
    }
}

/// What is wrong with an input, in the words that inputs are refused with.
pub fn wrong(input: &str, invalid: &Invalid) -> String {
    format!("input '{input}' is '{}': {}", invalid.value, invalid.problem)
}

/// An input that must be given and obey a rule.
pub fn checked_input(
    agent: &Agent,
    problems: &mut Problems,
    input: &'static str,
    check: impl FnOnce(&str) -> Result<(), Invalid>,
) -> Option<String> {
    let text = problems.take(agent.required_input(input))?;
    problems.take(check(&text).map_err(|error| wrong(input, &error)))?;
    Some(text)
}

/// An input that is read by `parse`: `Some(None)` when it is empty, `None` when it is wrong.
pub fn parsed_input<T>(
    agent: &Agent,
    problems: &mut Problems,
    input: &'static str,
    parse: impl FnOnce(&str) -> Result<T, Invalid>,
) -> Option<Option<T>> {
    match agent.input(input) {
        None => Some(None),
        Some(text) => problems.take(parse(text.trim()).map_err(|error| wrong(input, &error))).map(Some),
    }
}

/// One of several words; without a default it must be given.
pub fn choice_input(
    agent: &Agent,
    problems: &mut Problems,
    input: &'static str,
    choices: &[&'static str],
    default: Option<&'static str>,
) -> Option<&'static str> {
    let pairs: Vec<(&'static str, &'static str)> = choices.iter().map(|choice| (*choice, *choice)).collect();
    let chosen = problems.take(agent.choice_input(input, &pairs))?.or(default);
    if chosen.is_none() {
        problems.add(format!("input '{input}' is required: give one of {}", choices.join(", ")));
    }
    chosen
}

/// A region's name.
pub fn region_input(agent: &Agent, problems: &mut Problems, input: &'static str) -> Option<Option<Region>> {
    parsed_input(agent, problems, input, |text| {
        let region = Region::new(text);
        let fits = region.normalized().chars().all(|character| character.is_ascii_alphanumeric());
        if fits { Ok(region) } else { Err(Invalid::new(text, "this is no region's name; write it as in westus2")) }
    })
}

/// The gallery that the inputs name: by its name in a resource group of the connection's subscription, or by its id anywhere.
pub fn gallery_input(agent: &Agent, problems: &mut Problems, common: Option<&CommonInputs<()>>) -> Option<ResourceId> {
    let name = problems.take(agent.required_input("GalleryName"));
    if let Some(id) = name.as_deref().filter(|name| name.starts_with('/')) {
        let id: ResourceId = problems.take(id.trim_end_matches('/').parse().map_err(|error| about("GalleryName", error)))?;
        if !id.is_type("Microsoft.Compute/galleries") {
            problems.add(format!("input 'GalleryName': '{id}' is the id of a '{}', not of a gallery", id.resource_type()));
            return None;
        }
        return Some(id);
    }
    let name = name.filter(|name| problems.take(check_gallery_name(name).map_err(|error| wrong("GalleryName", &error))).is_some());
    let group = problems.take(agent.required_input("ResourceGroupName"));
    let (name, group) = (name?, group?);
    // Without a subscription the rest is still checked, so that all that is wrong is told at once.
    let subscription =
        common.and_then(|common| problems.take(common.connection.subscription().map_err(|error| about("GalleryName", error))));
    let subscription = subscription.unwrap_or("00000000-0000-0000-0000-000000000000");
    let id: Result<ResourceId, _> =
        format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/galleries/{name}").parse();
    let id = problems.take(id.map_err(|error| wrong("ResourceGroupName", &Invalid::new(&group, error.problem))))?;
    common.map(|_| id)
}

/// The gallery, if it is there.
pub async fn find(session: &GallerySession<'_>, id: &ResourceId) -> Result<Option<Value>, Error> {
    session.find(format!("read the gallery '{}'", id.name()), Request::get(id.path(), GALLERY)).await
}

/// That a gallery is not there, and what to do.
pub fn missing(id: &ResourceId, hint: &str) -> Error {
    Error::refused(format!("there is no gallery '{}' in the resource group '{}'", id.name(), id.resource_group()), hint)
}

/// An image definition, if it is there.
pub async fn find_definition(session: &GallerySession<'_>, id: &ResourceId) -> Result<Option<Value>, Error> {
    session.find(format!("read the image definition '{}'", id.name()), Request::get(id.path(), GALLERY)).await
}

/// An image definition that must be there.
pub async fn definition(session: &GallerySession<'_>, id: &ResourceId) -> Result<Value, Error> {
    if let Some(definition) = find_definition(session, id).await? {
        return Ok(definition);
    }
    let gallery = id.parent().unwrap_or_else(|| id.clone());
    if find(session, &gallery).await?.is_none() {
        return Err(missing(
            &gallery,
            "correct GalleryName and ResourceGroupName, or make the gallery with the task AzureComputeGalleryImageDefinition",
        ));
    }
    Err(Error::refused(
        format!("the gallery '{}' has no image definition '{}'", gallery.name(), id.name()),
        "correct DefinitionName, or make the definition with the task AzureComputeGalleryImageDefinition",
    ))
}

/// The versions of a definition.
pub async fn versions(session: &GallerySession<'_>, definition: &ResourceId) -> Result<Vec<Value>, Error> {
    let action = format!("list the versions of '{}'", definition.name());
    session.list(action, Request::get(format!("{}/versions", definition.path()), GALLERY)).await
}

/// The numbers of versions that were deleted and can still be brought back, in a gallery with soft delete
/// ([Soft Deleted Resource - List By Artifact Name](https://learn.microsoft.com/rest/api/compute/soft-deleted-resource/list-by-artifact-name)).
pub async fn soft_deleted(session: &GallerySession<'_>, definition: &ResourceId) -> Result<Vec<VersionNumber>, Error> {
    let Some(gallery) = definition.parent() else { return Ok(Vec::new()) };
    if find(session, &gallery).await?.as_ref().and_then(soft_delete_days).is_none() {
        return Ok(Vec::new());
    }
    let action = format!("list the deleted versions of '{}'", definition.name());
    let path = format!("{}/softDeletedArtifactTypes/Images/artifacts/{}/versions", gallery.path(), definition.name());
    let deleted = session.list(action, Request::get(path, GALLERY)).await?;
    let number = |version: &Value| version["properties"]["resourceArmId"].as_str()?.rsplit('/').next()?.parse().ok();
    Ok(deleted.iter().filter_map(number).collect())
}

/// Checks regions against those in which the subscription has galleries. A cloud that does not tell them is not asked twice.
pub async fn check_regions(session: &GallerySession<'_>, input: &str, subscription: &str, regions: &[Region]) -> Result<(), Error> {
    let request = Request::get(format!("/subscriptions/{subscription}/providers/Microsoft.Compute"), RESOURCES);
    let provider = session.find("read where galleries are available", request).await?.unwrap_or_default();
    let types = provider["resourceTypes"].as_array().map_or(&[][..], Vec::as_slice);
    let is = |wanted: &str| types.iter().find(|kind| kind["resourceType"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(wanted)));
    let kind = is("galleries/images/versions").or_else(|| is("galleries"));
    let locations = kind.and_then(|kind| kind["locations"].as_array()).into_iter().flatten();
    let available: Vec<Region> = locations.filter_map(Value::as_str).map(Region::new).collect();
    let targets: Vec<TargetRegion> = regions.iter().cloned().map(TargetRegion::new).collect();
    check_available(&targets, &available)
        .map_err(|error| Error::refused(wrong(input, &error), "give a region in which Azure has galleries"))
}

/// Looks at a source: what Azure is to be given, and what it is. A lab's machine or image is followed to what lies behind it.
pub async fn resolve(session: &GallerySession<'_>, input: &str, id: &ResourceId, kind: Kind) -> Result<Resolved, Error> {
    match kind {
        Kind::LabVirtualMachine => {
            let vm = look_up(session, input, kind, Request::get(id.path(), devtestlab::API_VERSION), id).await?;
            let compute = behind(input, kind, id, vm["properties"]["computeId"].as_str())?;
            look_at(session, input, &compute, Kind::VirtualMachine).await
        }
        Kind::CustomImage => resolve_custom_image(session, input, id).await,
        _ => look_at(session, input, id, kind).await,
    }
}

fn behind(input: &str, kind: Kind, id: &ResourceId, found: Option<&str>) -> Result<ResourceId, Error> {
    let parsed = found.filter(|found| !found.is_empty()).and_then(|found| found.parse().ok());
    parsed.ok_or_else(|| nothing_behind(input, kind, id))
}

fn nothing_behind(input: &str, kind: Kind, id: &ResourceId) -> Error {
    Error::refused(
        format!("input '{input}': the {} '{}' has nothing behind it in Azure Compute yet", kind.noun(), id.name()),
        "wait until it is made; check its provisioning state in the lab",
    )
}

async fn resolve_custom_image(session: &GallerySession<'_>, input: &str, id: &ResourceId) -> Result<Resolved, Error> {
    let kind = Kind::CustomImage;
    let image = look_up(session, input, kind, Request::get(id.path(), devtestlab::API_VERSION), id).await?;
    let properties = &image["properties"];
    let text = |name: &str| properties[name].as_str().filter(|text| !text.is_empty());
    if let Some(managed) = text("managedImageId") {
        return look_at(session, input, &behind(input, kind, id, Some(managed))?, Kind::ManagedImage).await;
    }
    if let Some(snapshot) = text("managedSnapshotId") {
        let mut resolved = look_at(session, input, &behind(input, kind, id, Some(snapshot))?, Kind::Snapshot).await?;
        resolved.facts.os_state = Some(lab_state(properties).to_owned());
        return Ok(resolved);
    }
    let disk = &properties["vhd"];
    let uri = disk["imageName"].as_str().filter(|uri| uri.starts_with("https://")).ok_or_else(|| nothing_behind(input, kind, id))?;
    let lab = id.parent().unwrap_or_else(|| id.clone());
    let lab_body = session.get(format!("read the lab '{}'", lab.name()), Request::get(lab.path(), devtestlab::API_VERSION)).await?;
    let known = ["defaultStorageAccount", "artifactsStorageAccount"].map(|name| lab_body["properties"][name].as_str());
    let accounts: Vec<ResourceId> = known.into_iter().flatten().filter_map(|account| account.parse().ok()).collect();
    let account = vhd::account_of(uri, &accounts).or(accounts.first()).cloned().ok_or_else(|| nothing_behind(input, kind, id))?;
    let facts = Facts {
        what: format!("the custom image '{}'", id.name()),
        location: lab_body["location"].as_str().unwrap_or_default().to_owned(),
        os_type: disk["osType"].as_str().map(str::to_owned),
        os_state: Some(if disk["sysPrep"].as_bool().unwrap_or(false) { "Generalized" } else { "Specialized" }.to_owned()),
        content: Some(id.to_string().to_ascii_lowercase()),
        ..Facts::default()
    };
    Ok(Resolved { source: Source::OsDisk(DiskSource::Vhd(uri.to_owned())), facts, vhd_account: Some(account) })
}

/// Whether a lab's image is generalized, by what was said when it was captured.
fn lab_state(properties: &Value) -> &'static str {
    let said = ["/vm/windowsOsInfo/windowsOsState", "/vm/linuxOsInfo/linuxOsState"];
    let state = said.iter().find_map(|pointer| properties.pointer(pointer)?.as_str()).unwrap_or("Non");
    if state.starts_with("Non") { "Specialized" } else { "Generalized" }
}

async fn look_at(session: &GallerySession<'_>, input: &str, id: &ResourceId, kind: Kind) -> Result<Resolved, Error> {
    let (source, facts) = match kind {
        Kind::VirtualMachine => {
            let vm = look_up(session, input, kind, Request::get(id.path(), COMPUTE).query("$expand", "instanceView"), id).await?;
            (Source::VirtualMachine(id.clone()), Facts::of_virtual_machine(&vm))
        }
        Kind::ManagedImage => (
            Source::Image(id.clone()),
            Facts::of_managed_image(&look_up(session, input, kind, Request::get(id.path(), COMPUTE), id).await?),
        ),
        Kind::ImageVersion => {
            let version = look_up(session, input, kind, Request::get(id.path(), GALLERY), id).await?;
            let parent = id.parent().unwrap_or_else(|| id.clone());
            let definition =
                session.get(format!("read the image definition '{}'", parent.name()), Request::get(parent.path(), GALLERY)).await?;
            (Source::Image(id.clone()), Facts::of_version(&version, &definition))
        }
        _ => {
            let disk = look_up(session, input, kind, Request::get(id.path(), DISK), id).await?;
            (Source::OsDisk(DiskSource::Resource(id.clone())), Facts::of_disk(kind, &disk))
        }
    };
    Ok(Resolved { source, facts, vhd_account: None })
}

/// A GET of something that an input names; that it is not there is an error that says so.
pub async fn look_up(session: &GallerySession<'_>, input: &str, kind: Kind, request: Request, id: &ResourceId) -> Result<Value, Error> {
    let found = session.find(format!("read the {} '{}'", kind.noun(), id.name()), request).await?;
    found.ok_or_else(|| {
        Error::refused(
            format!("input '{input}': there is no {} '{}' in the resource group '{}'", kind.noun(), id.name(), id.resource_group()),
            "check the id, and that the service connection may read it",
        )
    })
}

/// The region of a storage account.
pub async fn storage_region(session: &GallerySession<'_>, input: &str, account: &ResourceId) -> Result<Region, Error> {
    let found = session.find(format!("read the storage account '{}'", account.name()), Request::get(account.path(), STORAGE)).await?;
    let location = found.as_ref().and_then(|account| account["location"].as_str());
    location.map(Region::new).ok_or_else(|| {
        Error::refused(
            format!(
                "input '{input}': there is no storage account '{}' in the resource group '{}'",
                account.name(),
                account.resource_group()
            ),
            "check the id, and that the service connection may read it",
        )
    })
}

/// What a region of a subscription holds only so many of.
pub struct Quota {
    resource_type: &'static str,
    what: &'static str,
    most: usize,
}

impl Quota {
    /// Galleries.
    pub const GALLERIES: Self = Self { resource_type: "Microsoft.Compute/galleries", what: "galleries", most: 100 };
    /// Image definitions, of all galleries together.
    pub const DEFINITIONS: Self = Self { resource_type: "Microsoft.Compute/galleries/images", what: "image definitions", most: 1_000 };
    /// Image versions, of all galleries together.
    pub const VERSIONS: Self = Self { resource_type: "Microsoft.Compute/galleries/images/versions", what: "image versions", most: 10_000 };
}

/// Refuses what the region has no room for any more. What the identity may not read is not counted: Azure has the last word.
pub async fn check_quota(session: &GallerySession<'_>, id: &ResourceId, quota: &Quota, region: &Region) -> Result<(), Error> {
    let Quota { resource_type, what, most } = quota;
    let path = format!("/subscriptions/{}/resources", id.subscription_id());
    let request = Request::get(path, RESOURCES).query("$filter", format!("resourceType eq '{resource_type}'"));
    let all = session.list(format!("count the subscription's {what}"), request).await?;
    let there = all.iter().filter(|found| found["location"].as_str().is_some_and(|place| Region::new(place) == *region)).count();
    if there < *most {
        return Ok(());
    }
    Err(Error::refused(
        format!("the region '{}' has {there} {what} of this subscription already, and takes at most {most}", region.normalized()),
        "delete what is not needed any more, use another region or subscription, or ask Azure for more",
    ))
}

/// Names for a message.
pub fn names(regions: &[Region]) -> String {
    let names: Vec<String> = regions.iter().map(Region::normalized).collect();
    listed(&names.iter().map(String::as_str).collect::<Vec<_>>())
}
