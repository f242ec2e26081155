//! Publishes a version: everything is looked at first, then the source is made ready, then the version is made, watched and read back.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    check_targets, publishing,
    source::{self, Checked, SourceInputs},
    wait_for,
    watch::{self, Watched},
};
use crate::{
    agent::Agent,
    arm::{self, Operation, Request, ResourceId, operation::interval},
    compute::{
        GALLERY,
        features::Features,
        image_version::{CONTENT_TAG, Publishing, published_before, targets},
        region::{Region, with_source_region},
        replication::WaitFor,
        source::{Source, feeds},
        uefi::{self, UefiSettings},
        version::{self, VersionNumber, VersionRequest},
    },
    tasks::{
        error::{Error, Problems},
        gallery::{self, GallerySession, Quota},
        ledger::Origin,
        session::Done,
    },
};

/// What is to be published.
pub struct Publication {
    version: VersionRequest,
    source: SourceInputs,
    publishing: Publishing,
    wait_for: WaitFor,
    /// What the content is to be recognised by, in the user's words.
    content_id: Option<String>,
    /// Whether the same content is to be published once more.
    publish_again: bool,
}

/// How often another number is tried when somebody else took the one that came next.
const COLLISIONS: usize = 5;
/// Codes with which Azure says that something else must end first.
const BUSY: [&str; 4] = ["AnotherOperationInProgress", "OperationNotAllowed", "ConflictingConcurrentWriteNotAllowed", "Conflict"];

/// Reads the inputs.
pub fn read(agent: &Agent, problems: &mut Problems) -> Option<Publication> {
    let version =
        problems.take(VersionRequest::parse(agent.input("Version").as_deref()).map_err(|error| gallery::wrong("Version", &error)));
    let source = source::read(agent, problems);
    let publishing = publishing(agent, problems);
    let publishing = with_keys(agent, problems, publishing);
    let wait_for = wait_for(agent, problems);
    Some(Publication {
        version: version?,
        source: source?,
        publishing: publishing?,
        wait_for: wait_for?,
        content_id: agent.input("ContentId"),
        publish_again: agent.boolean_input("PublishAgain"),
    })
}

/// Adds keys for Secure Boot. Files of certificates are found from the working directory.
fn with_keys(agent: &Agent, problems: &mut Problems, publishing: Option<Publishing>) -> Option<Publishing> {
    let folder = agent.pipeline_variable("System.DefaultWorkingDirectory");
    let host = agent.host();
    let read = |path: &str| {
        let path = folder.as_deref().map_or_else(|| path.to_owned(), |folder| host.join_path(folder, path));
        host.read_file(&path).map_err(|error| format!("{error}: {path}"))
    };
    let templates = gallery::parsed_input(agent, problems, "UefiSignatureTemplates", uefi::parse_templates);
    let keys = gallery::parsed_input(agent, problems, "UefiKeys", |text| uefi::parse_keys(text, read));
    let settings = UefiSettings::from_parts(templates?.unwrap_or_default(), keys?.unwrap_or_default());
    let uefi = problems.take(settings.map_err(|(input, wrong)| match wrong.value.as_str() {
        "" => format!("input '{input}' is required: {}", wrong.problem),
        _ => gallery::wrong(input, &wrong),
    }))?;
    Some(Publishing { uefi, ..publishing? })
}

/// Publishes.
pub async fn run(session: &GallerySession<'_>, definition: &ResourceId, mut publication: Publication) -> Result<Done, Error> {
    let agent = session.agent;
    let body = gallery::definition(session, definition).await?;
    if publication.publishing.uefi.is_some() {
        check_secure_boot(definition, &body)?;
    }
    let checked = source::check(session, &publication.source, &body).await?;
    let (regions, added) = with_source_region(std::mem::take(&mut publication.publishing.targets), &checked.region);
    publication.publishing.targets = regions;
    let targets = check_targets(session, definition.subscription_id(), &publication.publishing, &publication.wait_for).await?;
    if added && targets.len() > 1 {
        agent.warning(&format!(
            "input 'TargetRegions': {} was added, where {} lies: Azure builds a version in its source's region",
            checked.region.normalized(),
            checked.what
        ));
    }
    if let Some(content) = content(&publication, &checked) {
        publication.publishing.tags.insert(CONTENT_TAG.to_owned(), json!(content));
    }

    let versions = gallery::versions(session, definition).await?;
    if let Some(before) = recognised(&publication, &versions) {
        return again(session, definition, &publication, &targets, before).await;
    }
    refuse_taken(&publication, &versions)?;
    gallery::check_quota(session, definition, &Quota::VERSIONS, &checked.region).await?;
    checked.prepare(session).await?;

    let made = make(session, definition, &publication, &checked, versions).await?;
    let watched = Watched {
        id: &made.id,
        targets: &targets,
        built_in: &checked.region,
        wait_for: &publication.wait_for,
        operation: &made.operation,
        deadline: session.time_out,
    };
    let version = finish(session, &watched, &publication.publishing).await?;
    let what = if publication.wait_for == WaitFor::Nothing { "accepted" } else { "published" };
    Ok(watch::tell(session, &made.id, &version, Some(checked.source.name()), what))
}

/// Keys mean nothing to machines without Secure Boot.
fn check_secure_boot(id: &ResourceId, definition: &Value) -> Result<(), Error> {
    let features = Features::read(&definition["properties"]["features"]);
    if features.security_type() != "Standard" {
        return Ok(());
    }
    Err(Error::refused(
        format!("input 'UefiSignatureTemplates': machines made from the image definition '{}' have no Secure Boot", id.name()),
        "publish to a definition whose SecurityType is TrustedLaunchSupported or TrustedLaunchAndConfidentialVmSupported",
    ))
}

/// By what the content is recognised: what the user says, or what the source says of itself.
fn content(publication: &Publication, checked: &Checked) -> Option<String> {
    let content = publication.content_id.clone().or_else(|| checked.content.clone())?;
    let keys = publication.publishing.uefi.as_ref().map_or(String::new(), |uefi| uefi.body().to_string());
    let text = format!("{content} {}{keys}", publication.version);
    Some(Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()).to_string())
}

fn recognised<'a>(publication: &Publication, versions: &'a [Value]) -> Option<&'a Value> {
    let content = publication.publishing.tags.get(CONTENT_TAG)?.as_str()?;
    if publication.publish_again { None } else { published_before(versions, content) }
}

fn refuse_taken(publication: &Publication, versions: &[Value]) -> Result<(), Error> {
    let VersionRequest::Exact(number) = publication.version else { return Ok(()) };
    if !numbers(versions).contains(&number) {
        return Ok(());
    }
    Err(Error::refused(
        format!("input 'Version' is '{number}': this version exists already, and its content cannot be replaced"),
        "give another number, or auto for the one that comes next",
    ))
}

fn numbers(versions: &[Value]) -> Vec<VersionNumber> {
    versions.iter().filter_map(|version| version["name"].as_str()?.parse().ok()).collect()
}

/// The same content was published already: that version is brought up to date where it differs, and waited for.
async fn again(
    session: &GallerySession<'_>,
    definition: &ResourceId,
    publication: &Publication,
    wanted: &[Region],
    before: &Value,
) -> Result<Done, Error> {
    let number = before["name"].as_str().unwrap_or_default();
    let id = definition.child("versions", number).map_err(|error| Error::Inputs(vec![error.to_string()]))?;
    session.agent.info(&format!(
        "The same content was published as {number} already; it is not made again. Set PublishAgain to true to publish it once more."
    ));
    let settled = super::promote::settled(session, &id, before.clone()).await?;
    let (operation, changed) = super::promote::apply(session, &id, &publication.publishing, &settled).await?;
    let built_in = Region::new(before["location"].as_str().unwrap_or_default());
    let all = targets(&settled);
    let regions = if changed { wanted } else { &all };
    let watched = Watched {
        id: &id,
        targets: regions,
        built_in: &built_in,
        wait_for: &publication.wait_for,
        operation: &operation,
        deadline: session.time_out,
    };
    let version = finish(session, &watched, &publication.publishing).await?;
    Ok(watch::tell(session, &id, &version, None, "already published with this content"))
}

/// Waits as was asked for, and reads back what Azure made of it.
pub async fn finish(session: &GallerySession<'_>, watched: &Watched<'_>, publishing: &Publishing) -> Result<Value, Error> {
    let id = watched.id;
    session.leaves(format!("the replication of the image version '{}'", id.name()), id.as_str());
    let version = watch::until_replicated(session, watched).await;
    if !version.as_ref().is_err_and(Error::is_cancelled) {
        session.leaves_no_more(id.as_str());
    }
    let version = version?;
    watch::read_back(id, publishing, &version)?;
    Ok(version)
}

/// A version that Azure has accepted.
struct Made {
    id: ResourceId,
    operation: Operation,
}

/// Asks for the version. A number that somebody else took meanwhile is followed by the next one where the number is free to choose.
async fn make(
    session: &GallerySession<'_>,
    definition: &ResourceId,
    publication: &Publication,
    checked: &Checked,
    mut versions: Vec<Value>,
) -> Result<Made, Error> {
    let agent = session.agent;
    let began = agent.host().elapsed();
    let mut collisions = 0;
    // A version that was deleted and may be brought back keeps its number.
    let deleted = match publication.version {
        VersionRequest::Next(_) => gallery::soft_deleted(session, definition).await?,
        VersionRequest::Exact(_) => Vec::new(),
    };
    loop {
        versions = until_free(session, definition, &checked.source, versions, began).await?;
        let number = match publication.version {
            VersionRequest::Exact(number) => number,
            VersionRequest::Next(bump) => {
                let taken = numbers(&versions).into_iter().chain(deleted.iter().copied());
                version::next(taken, bump).map_err(|error| Error::Inputs(vec![gallery::wrong("Version", &error)]))?
            }
        };
        let id = definition.child("versions", &number.to_string()).map_err(|error| Error::Inputs(vec![error.to_string()]))?;
        let targets: Vec<Region> = publication.publishing.targets.iter().map(|target| target.name.clone()).collect();
        agent.info(&format!("Publishing the image version {number} from {} to {}", checked.what, gallery::names(&targets)));
        let body = publication.publishing.body(&checked.region, &checked.storage_profile);
        session.makes(format!("image version '{number}'"), id.as_str(), Origin::New, Request::delete(id.path(), GALLERY));
        // What is found after a lost answer is this run's own only where it bears the tag that tells its content.
        let request = Request::put(id.path(), GALLERY, body);
        let tagged = publication.publishing.tags.contains_key(CONTENT_TAG);
        let error = match session.client.start(if tagged { request.of_new() } else { request }).await {
            Ok(operation) => return Ok(Made { id, operation }),
            Err(error) => error,
        };
        if !error.may_go_on() {
            session.unmakes(id.as_str());
        }
        let action = format!("make the image version '{number}'");
        if error.status() != Some(409) {
            return Err(Error::azure(action, error));
        }
        versions = gallery::versions(session, definition).await?;
        let taken = numbers(&versions).contains(&number);
        let free_to_choose = matches!(publication.version, VersionRequest::Next(_));
        let spent = agent.host().elapsed().saturating_sub(began);
        if taken && free_to_choose && collisions < COLLISIONS {
            collisions += 1;
            agent.info(&format!("Somebody else took the number {number} meanwhile; the next one is tried."));
        } else if !taken && is_busy(&error) && spent < session.time_out {
            agent.info(&format!("{error}"));
            pause(session, definition, spent).await?;
        } else {
            return Err(Error::azure(action, error));
        }
    }
}

fn is_busy(error: &arm::Error) -> bool {
    error.code().is_some_and(|code| BUSY.iter().any(|busy| busy.eq_ignore_ascii_case(code)))
}

async fn pause(session: &GallerySession<'_>, id: &ResourceId, spent: Duration) -> Result<(), Error> {
    let wait = interval(spent, None).max(Duration::from_millis(500));
    session.sleep(wait, id.as_str()).await.map_err(|error| Error::azure("wait until the source is free", error))
}

/// Waits until no other version is being made from the same source: a managed image feeds one version at a time, and any source is
/// read more slowly by two. Returns the definition's versions as they are then.
async fn until_free(
    session: &GallerySession<'_>,
    definition: &ResourceId,
    source: &Source,
    mut versions: Vec<Value>,
    began: Duration,
) -> Result<Vec<Value>, Error> {
    let mut said = String::new();
    loop {
        let mut others = if matches!(source, Source::Image(_)) { siblings(session, definition).await? } else { Vec::new() };
        others.extend(versions.iter().cloned());
        let Some(busy) = others.iter().find(|version| is_being_made(version) && feeds(&version["properties"]["storageProfile"], source))
        else {
            return Ok(versions);
        };
        let id = busy["id"].as_str().unwrap_or_default();
        if said != id {
            session.agent.info(&format!("The source still feeds another version; waiting until that is made: {id}"));
            id.clone_into(&mut said);
        }
        let spent = session.agent.host().elapsed().saturating_sub(began);
        if spent >= session.time_out {
            return Err(Error::refused(
                format!("the source still feeds another version after the time-out: {id}"),
                "publish again when that version is made, or raise OperationTimeoutInMinutes",
            ));
        }
        pause(session, definition, spent).await?;
        versions = gallery::versions(session, definition).await?;
    }
}

fn is_being_made(version: &Value) -> bool {
    let state = version["properties"]["provisioningState"].as_str().unwrap_or_default();
    ["Creating", "Updating"].iter().any(|known| known.eq_ignore_ascii_case(state))
}

/// The versions of the gallery's other definitions.
async fn siblings(session: &GallerySession<'_>, definition: &ResourceId) -> Result<Vec<Value>, Error> {
    let Some(gallery) = definition.parent() else { return Ok(Vec::new()) };
    let definitions =
        session.list("list the gallery's image definitions", Request::get(format!("{}/images", gallery.path()), GALLERY)).await?;
    let mut all = Vec::new();
    for other in definitions.iter().filter_map(|other| other["name"].as_str()).filter(|name| !name.eq_ignore_ascii_case(definition.name()))
    {
        let id = gallery.child("images", other).map_err(|error| Error::Inputs(vec![error.to_string()]))?;
        all.extend(gallery::versions(session, &id).await?);
    }
    Ok(all)
}
