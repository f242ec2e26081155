//! Publishes an image version to a compute gallery; promotes one that was published for tests; retires old ones.

mod promote;
mod publish;
mod retire;
mod source;
mod watch;

use serde_json::Map;

use self::{promote::Promotion, publish::Publication, retire::Retirement};
use super::{
    error::{Error, Problems, about},
    gallery::{self, GallerySession},
    session::{CommonInputs, Desk, Done, Session, common_inputs_without_lab},
};
use crate::{
    agent::Agent,
    arm::ResourceId,
    compute::{
        self, edge_zone, encryption,
        gallery::{check_definition_name, parse_date, parse_tags},
        image_version::Publishing,
        region::{Region, Replication, STORAGE_ACCOUNT_TYPES, check_replicas, parse_target_regions},
        replica_set,
        replication::WaitFor,
    },
};

/// What the task is asked to do.
enum Mode {
    /// Make a version.
    Publish(Box<Publication>),
    /// Change what is published about one.
    Promote(Box<Promotion>),
    /// Delete old ones.
    Retire(Retirement),
}

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    let (common, (definition, mode)) = read(desk.agent)?;
    let session: GallerySession<'_> = Session::open(desk, common).await?;
    match mode {
        Mode::Publish(publication) => publish::run(&session, &definition, *publication).await,
        Mode::Promote(promotion) => promote::run(&session, &definition, *promotion).await,
        Mode::Retire(retirement) => retire::run(&session, &definition, &retirement).await,
    }
}

fn read(agent: &Agent) -> Result<(CommonInputs<()>, (ResourceId, Mode)), Error> {
    let mut problems = Problems::default();
    let common = common_inputs_without_lab(agent, &mut problems);
    let gallery = gallery::gallery_input(agent, &mut problems, common.as_ref());
    let name = gallery::checked_input(agent, &mut problems, "DefinitionName", check_definition_name);
    let definition = gallery
        .zip(name)
        .and_then(|(gallery, name)| problems.take(gallery.child("images", &name).map_err(|error| about("DefinitionName", error))));
    let mode = match gallery::choice_input(agent, &mut problems, "Mode", &["publish", "promote", "retire"], Some("publish")) {
        Some("promote") => promote::read(agent, &mut problems).map(|promotion| Mode::Promote(Box::new(promotion))),
        Some("retire") => retire::read(agent, &mut problems).map(Mode::Retire),
        Some(_) => publish::read(agent, &mut problems).map(|publication| Mode::Publish(Box::new(publication))),
        None => None,
    };
    problems.finish(common.zip(definition.zip(mode)))
}

/// What is published about a version, but for the regions, which are complete only when the source's region is known.
fn publishing(agent: &Agent, problems: &mut Problems) -> Option<Publishing> {
    let targets = gallery::parsed_input(agent, problems, "TargetRegions", parse_target_regions);
    let count = problems.take(agent.number_input("ReplicaCount", 1..=compute::region::MOST_REPLICAS));
    let storage = gallery::choice_input(agent, problems, "StorageAccountType", &STORAGE_ACCOUNT_TYPES, Some("Standard_LRS"));
    let end_of_life = gallery::parsed_input(agent, problems, "EndOfLifeDate", parse_date);
    let mode = gallery::choice_input(agent, problems, "ReplicationMode", &["Full", "Shallow"], Some("Full"));
    let encryption = gallery::parsed_input(agent, problems, "DiskEncryptionSets", encryption::parse_sets);
    let confidential = gallery::parsed_input(agent, problems, "ConfidentialVMEncryption", encryption::parse_confidential);
    let edge_zones = gallery::parsed_input(agent, problems, "TargetEdgeZones", edge_zone::parse);
    let replica_sets = gallery::parsed_input(agent, problems, "AdditionalReplicaSets", replica_set::parse);
    let excluded = gallery::parsed_input(agent, problems, "ExcludedRegions", |text| {
        parse_target_regions(text).map(|regions| regions.into_iter().map(|region| region.name).collect::<Vec<_>>())
    });
    let tags = gallery::parsed_input(agent, problems, "Tags", parse_tags);
    let given = |input: &'static str| agent.input(input).map(|_| agent.boolean_input(input));
    let blocked = given("BlockDeletionBeforeEndOfLife");
    if blocked == Some(true) && agent.input("EndOfLifeDate").is_none() {
        problems.add("input 'EndOfLifeDate' is required: BlockDeletionBeforeEndOfLife blocks the deletion until that date");
    }
    Some(Publishing {
        targets: targets?.unwrap_or_default(),
        default: Replication { replica_count: count?.unwrap_or(1), storage_account_type: storage? },
        exclude_from_latest: agent.boolean_input("ExcludeFromLatest"),
        end_of_life_date: end_of_life?,
        replication_mode: Some(mode?),
        encryption: encryption?.unwrap_or_default(),
        confidential: confidential?.unwrap_or_default(),
        edge_zones: edge_zones?,
        replica_sets: replica_sets?.unwrap_or_default(),
        uefi: None,
        excluded_regions: excluded?,
        allow_deletion_of_replicated_locations: given("AllowDeletionOfReplicatedLocations"),
        block_deletion_before_end_of_life: blocked,
        tags: tags?.unwrap_or_else(Map::new),
    })
}

fn wait_for(agent: &Agent, problems: &mut Problems) -> Option<WaitFor> {
    let text = agent.input("WaitFor");
    problems.take(WaitFor::parse(text.as_deref()).map_err(|error| gallery::wrong("WaitFor", &error)))
}

/// Checks what depends on all regions together, the source's included: in other words what the inputs alone could not tell.
async fn check_targets(
    session: &GallerySession<'_>,
    subscription: &str,
    publishing: &Publishing,
    wait_for: &WaitFor,
) -> Result<Vec<Region>, Error> {
    let targets: Vec<Region> = publishing.targets.iter().map(|target| target.name.clone()).collect();
    let refuse =
        |input: &str, result: Result<(), compute::Invalid>| result.map_err(|error| Error::Inputs(vec![gallery::wrong(input, &error)]));
    refuse("TargetRegions", check_replicas(&publishing.targets, publishing.default, replica_set::count(&publishing.replica_sets)))?;
    refuse("WaitFor", wait_for.check(&targets))?;
    check_named_regions(publishing, &targets)?;
    gallery::check_regions(session, "TargetRegions", subscription, &targets).await?;
    Ok(targets)
}

/// Checks the regions that settings name against those that the version goes to.
fn check_named_regions(publishing: &Publishing, regions: &[Region]) -> Result<(), Error> {
    publishing.check_regions(regions).map_err(|(input, wrong)| Error::Inputs(vec![gallery::wrong(input, &wrong)]))
}
