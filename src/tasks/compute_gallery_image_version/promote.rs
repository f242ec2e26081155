//! Promotes a version that was published for tests: it counts as latest from now on, and goes to the regions where it is needed.

use serde_json::Value;

use super::{check_named_regions, check_targets, publish, publishing, wait_for, watch};
use crate::{
    agent::Agent,
    arm::{Operation, Progress, Request, ResourceId, Wait},
    compute::{
        GALLERY,
        image_version::{Publishing, targets},
        region::{Region, with_source_region},
        replication::WaitFor,
        version::VersionNumber,
    },
    tasks::{
        error::{Error, Problems},
        gallery::{self, GallerySession},
        session::Done,
    },
};

/// What is to be promoted, and to what.
pub struct Promotion {
    version: VersionNumber,
    publishing: Publishing,
    wait_for: WaitFor,
}

/// Reads the inputs.
pub fn read(agent: &Agent, problems: &mut Problems) -> Option<Promotion> {
    let version = problems.take(agent.required_input("Version"));
    let version = version.and_then(|text| problems.take(text.parse().map_err(|error| gallery::wrong("Version", &error))));
    let publishing = publishing(agent, problems);
    let wait_for = wait_for(agent, problems);
    Some(Promotion { version: version?, publishing: publishing?, wait_for: wait_for? })
}

/// Promotes.
pub async fn run(session: &GallerySession<'_>, definition: &ResourceId, mut promotion: Promotion) -> Result<Done, Error> {
    let number = promotion.version.to_string();
    let id = definition.child("versions", &number).map_err(|error| Error::Inputs(vec![error.to_string()]))?;
    let Some(found) = session.find(format!("read the image version '{number}'"), Request::get(id.path(), GALLERY)).await? else {
        gallery::definition(session, definition).await?;
        return Err(Error::refused(
            format!("input 'Version' is '{number}': the image definition '{}' has no such version", definition.name()),
            "give the number of a version that is there, such as the output imageVersion of the step that published it",
        ));
    };
    let built_in = Region::new(found["location"].as_str().unwrap_or_default());
    if promotion.publishing.targets.is_empty() {
        check_named_regions(&promotion.publishing, &targets(&found))?;
    } else {
        let (regions, added) = with_source_region(std::mem::take(&mut promotion.publishing.targets), &built_in);
        promotion.publishing.targets = regions;
        if added {
            let region = built_in.normalized();
            session.agent.warning(&format!("input 'TargetRegions': {region} was added: a version stays in the region where it was built"));
        }
        check_targets(session, definition.subscription_id(), &promotion.publishing, &promotion.wait_for).await?;
    }
    let version = settled(session, &id, found).await?;
    let (operation, changed) = apply(session, &id, &promotion.publishing, &version).await?;
    let wanted = promotion.publishing.targets.iter().map(|target| target.name.clone()).collect::<Vec<_>>();
    let regions = if wanted.is_empty() { targets(&version) } else { wanted };
    promotion.wait_for.check(&regions).map_err(|error| Error::Inputs(vec![gallery::wrong("WaitFor", &error)]))?;
    let watched = watch::Watched {
        id: &id,
        targets: &regions,
        built_in: &built_in,
        wait_for: &promotion.wait_for,
        operation: &operation,
        deadline: session.time_out,
    };
    let version = publish::finish(session, &watched, &promotion.publishing).await?;
    let what = if changed { "promoted" } else { "already as wanted; nothing was changed" };
    Ok(watch::tell(session, &id, &version, None, what))
}

/// The version once Azure has ended what it does with it: until then it takes no change. One that failed takes none at all.
pub async fn settled(session: &GallerySession<'_>, id: &ResourceId, version: Value) -> Result<Value, Error> {
    let state = version["properties"]["provisioningState"].as_str().unwrap_or_default();
    if state.eq_ignore_ascii_case("Failed") {
        return Err(Error::refused(
            format!("the image version '{}' failed when it was made", id.name()),
            "delete it and publish another one",
        ));
    }
    if state.eq_ignore_ascii_case("Succeeded") {
        return Ok(version);
    }
    session.agent.info(&format!("The image version '{}' is {state}; waiting until that is over.", id.name()));
    let operation = session.client.follow(&Request::get(id.path(), GALLERY));
    let observe = |_: &Progress| ();
    let waited = session.client.wait(&operation, Wait { deadline: session.time_out, observe: &observe }).await;
    waited.map_err(|error| Error::azure(format!("wait for the image version '{}'", id.name()), error))
}

/// Writes what differs. Returns the operation to watch, and whether there is one of ours.
pub async fn apply(
    session: &GallerySession<'_>,
    id: &ResourceId,
    publishing: &Publishing,
    version: &Value,
) -> Result<(Operation, bool), Error> {
    let Some(body) = publishing.update(version) else {
        return Ok((session.client.follow(&Request::get(id.path(), GALLERY)), false));
    };
    for difference in publishing.differences(version) {
        session.agent.info(&format!("Changing {difference}"));
    }
    let started = session.client.start(Request::put(id.path(), GALLERY, body)).await;
    let operation = started.map_err(|error| Error::azure(format!("update the image version '{}'", id.name()), error))?;
    Ok((operation, true))
}
