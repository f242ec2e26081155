//! Makes an image definition in a compute gallery, or brings one up to date; the gallery too, on request.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    error::{Error, Problems, about},
    gallery::{self, GallerySession, Quota},
    ledger::Origin,
    session::{CommonInputs, Desk, Done, Session, Undertaking, common_inputs_without_lab},
};
use crate::{
    agent::{Agent, Sensitivity},
    arm::{Request, ResourceId},
    compute::{
        self,
        definition::{Definition, Identifier, Mutable, Plan, Range, check_range, parse_disk_types},
        features::{Features, SECURITY_TYPES},
        gallery::{body, check_definition_name, check_identifier, parse_tags},
        region::Region,
        source::Kind,
    },
};

struct Inputs {
    gallery: ResourceId,
    create_gallery: bool,
    gallery_description: Option<String>,
    name: ResourceId,
    location: Option<Region>,
    plan_source: Option<(ResourceId, Kind)>,
    /// Its location is the gallery's until that is known.
    definition: Definition,
}

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    let (common, inputs) = read(desk.agent)?;
    let session = Session::open(desk, common).await?;
    let agent = session.agent;
    let id = &inputs.name;
    let found = gallery::find(&session, &inputs.gallery).await?;
    let existing = match found {
        Some(_) => gallery::find_definition(&session, id).await?,
        None => None,
    };
    let location = location(&session, &inputs, existing.as_ref().or(found.as_ref())).await?;
    let mut definition = Definition { location: location.clone(), ..inputs.definition.clone() };
    if let Some((source, kind)) = &inputs.plan_source {
        definition.plan = copied_plan(&session, source, *kind).await?;
    }

    match &existing {
        Some(existing) => refuse_conflicts(id, &definition, existing)?,
        None => refuse_new(&session, &inputs, &definition, found.is_some()).await?,
    }

    if found.is_none() {
        let gallery = &inputs.gallery;
        session.makes(
            format!("gallery '{}'", gallery.name()),
            gallery.as_str(),
            Origin::New,
            Request::delete(gallery.path(), compute::GALLERY),
        );
        create_gallery(&session, &inputs, &location).await?;
    }
    if existing.is_none() {
        session.makes(format!("image definition '{}'", id.name()), id.as_str(), Origin::New, Request::delete(id.path(), compute::GALLERY));
    }
    let put = |body: Value| Request::put(id.path(), compute::GALLERY, body);
    let (made, what) = match existing {
        // Caches and roles may be behind a gallery that is as new.
        None if found.is_none() => (write(&session, id, put(definition.body()).about_new(), "creation").await?, "created".to_owned()),
        None => (write(&session, id, put(definition.body()), "creation").await?, "created".to_owned()),
        Some(existing) => match definition.update(&existing) {
            None => (existing, "already there, and all is as wanted".to_owned()),
            Some((body, changed)) => (write(&session, id, put(body), "update").await?, format!("updated: {}", changed.join(", "))),
        },
    };

    let made_id = made["id"].as_str().unwrap_or(id.as_str());
    agent.set_output("imageDefinitionId", made_id, Sensitivity::Public);
    agent.set_output("galleryId", inputs.gallery.as_str(), Sensitivity::Public);
    let message = format!("The image definition '{}' is {what}.", id.name());
    agent.info(&message);
    agent.info(&format!("imageDefinitionId = {made_id}"));
    let identifier = &definition.identifier;
    session.summarize(
        format!("Image definition '{}'", id.name()),
        vec![
            ("Id".to_owned(), made_id.to_owned()),
            ("Result".to_owned(), what),
            (
                "Image".to_owned(),
                format!("{} {}, {}, {}", definition.os_state, definition.os_type, definition.hyper_v_generation, definition.architecture),
            ),
            ("Identifier".to_owned(), format!("{} / {} / {}", identifier.publisher, identifier.offer, identifier.sku)),
            ("Features".to_owned(), Features::read(&made["properties"]["features"]).to_string()),
        ],
        &[("Image definition in the portal", made_id)],
    );
    Ok(Done::succeeded(message))
}

/// Where the definition is described: where it was asked for, where it is already, where its gallery or resource group is.
async fn location(session: &GallerySession<'_>, inputs: &Inputs, found: Option<&Value>) -> Result<Region, Error> {
    if found.is_none() && !inputs.create_gallery {
        return Err(gallery::missing(&inputs.gallery, "correct GalleryName, or set CreateGallery to true"));
    }
    if let Some(location) = &inputs.location {
        return Ok(location.clone());
    }
    if let Some(location) = found.and_then(|found| found["location"].as_str()) {
        return Ok(Region::new(location));
    }
    let group = inputs.gallery.resource_group_id();
    let action = format!("read the resource group '{}'", inputs.gallery.resource_group());
    let group = session.get(action, Request::get(group, gallery::RESOURCES)).await?;
    Ok(Region::new(group["location"].as_str().unwrap_or_default()))
}

fn refuse_conflicts(id: &ResourceId, definition: &Definition, existing: &Value) -> Result<(), Error> {
    let conflicts = definition.conflicts(existing);
    if conflicts.is_empty() {
        return Ok(());
    }
    Err(Error::refused(
        format!("the image definition '{}' exists with other values, which Azure does not let be changed", id.name()),
        "give the values that are there, or make a definition of another name",
    )
    .with_notes(conflicts.iter().map(ToString::to_string)))
}

/// Refuses a definition that Azure would not make, before anything is written.
async fn refuse_new(session: &GallerySession<'_>, inputs: &Inputs, definition: &Definition, in_gallery: bool) -> Result<(), Error> {
    let (id, region) = (&inputs.gallery, &definition.location);
    gallery::check_regions(session, "Location", id.subscription_id(), std::slice::from_ref(region)).await?;
    if in_gallery {
        refuse_taken_identifier(session, inputs, definition).await?;
    } else {
        gallery::check_quota(session, id, &Quota::GALLERIES, region).await?;
    }
    gallery::check_quota(session, id, &Quota::DEFINITIONS, region).await
}

async fn refuse_taken_identifier(session: &GallerySession<'_>, inputs: &Inputs, definition: &Definition) -> Result<(), Error> {
    let all = session
        .list("list the gallery's image definitions", Request::get(format!("{}/images", inputs.gallery.path()), compute::GALLERY))
        .await?;
    let Some(other) = definition.taken_by(inputs.name.name(), &all) else { return Ok(()) };
    let Identifier { publisher, offer, sku } = &definition.identifier;
    Err(Error::refused(
        format!(
            "publisher '{publisher}', offer '{offer}' and SKU '{sku}' belong to the image definition '{other}' of this gallery already"
        ),
        "these three together are unique in a gallery: change one of the inputs Publisher, Offer, Sku",
    ))
}

async fn copied_plan(session: &GallerySession<'_>, source: &ResourceId, kind: Kind) -> Result<Option<Plan>, Error> {
    let facts = gallery::resolve(session, "PlanSourceId", source, kind).await?.facts;
    if let Some(plan) = &facts.plan {
        session.agent.info(&format!("The purchase plan is copied from {}: {plan}", facts.what));
    } else {
        session.agent.info(&format!("{} has no purchase plan; the definition gets none.", super::session::capital(&facts.what)));
    }
    Ok(facts.plan)
}

async fn create_gallery(session: &GallerySession<'_>, inputs: &Inputs, location: &Region) -> Result<(), Error> {
    let name = inputs.gallery.name();
    let request = Request::put(
        inputs.gallery.path(),
        compute::GALLERY,
        body(&location.normalized(), inputs.gallery_description.as_deref(), &Map::new()),
    );
    session
        .complete(Undertaking {
            action: format!("create the gallery '{name}'"),
            noun: format!("creation of the gallery '{name}'"),
            id: &inputs.gallery,
            request,
            stop: None,
            occupies: None,
            usually: Duration::from_secs(10),
        })
        .await?;
    Ok(())
}

async fn write(session: &GallerySession<'_>, id: &ResourceId, request: Request, what: &str) -> Result<Value, Error> {
    let name = id.name();
    session
        .complete(Undertaking {
            action: format!("{} the image definition '{name}'", if what == "creation" { "create" } else { "update" }),
            noun: format!("{what} of the image definition '{name}'"),
            id,
            request,
            stop: None,
            occupies: None,
            usually: Duration::from_secs(10),
        })
        .await
}

fn read(agent: &Agent) -> Result<(CommonInputs<()>, Inputs), Error> {
    let mut problems = Problems::default();
    let common = common_inputs_without_lab(agent, &mut problems);
    let gallery = gallery::gallery_input(agent, &mut problems, common.as_ref());
    let name = gallery::checked_input(agent, &mut problems, "DefinitionName", check_definition_name);
    let id = gallery
        .as_ref()
        .zip(name)
        .and_then(|(gallery, name)| problems.take(gallery.child("images", &name).map_err(|error| about("DefinitionName", error))));
    let location = gallery::region_input(agent, &mut problems, "Location");
    let plan_source = gallery::parsed_input(agent, &mut problems, "PlanSourceId", compute::source::parse_id).flatten();
    let definition = definition(agent, &mut problems);
    if let Some(definition) = &definition {
        for (input, wrong) in definition.contradictions() {
            problems.add(gallery::wrong(input, &wrong));
        }
        if definition.plan.is_some() && plan_source.is_some() {
            problems.add("input 'PlanSourceId': PlanName, PlanProduct and PlanPublisher are given too; give the plan in one way");
        }
    }
    let inputs = gallery.zip(id).zip(definition).zip(location).map(|(((gallery, name), definition), location)| Inputs {
        gallery,
        create_gallery: agent.boolean_input("CreateGallery"),
        gallery_description: agent.input("GalleryDescription"),
        name,
        location,
        plan_source,
        definition,
    });
    problems.finish(common.zip(inputs))
}

fn definition(agent: &Agent, problems: &mut Problems) -> Option<Definition> {
    let identifier = identifier(agent, problems);
    let features = features(agent, problems);
    let plan = Plan::from_parts(agent.input("PlanName"), agent.input("PlanProduct"), agent.input("PlanPublisher")).map_err(|missing| {
        for input in missing {
            problems.add(format!("input '{input}' is required: a purchase plan has a name, a product and a publisher"));
        }
    });
    let mutable = mutable(agent, problems);
    let os_type = gallery::choice_input(agent, problems, "OsType", &["Windows", "Linux"], None);
    let os_state = gallery::choice_input(agent, problems, "OsState", &["Generalized", "Specialized"], None);
    let generation = gallery::choice_input(agent, problems, "HyperVGeneration", &["V2", "V1"], Some("V2"));
    let architecture = gallery::choice_input(agent, problems, "Architecture", &["x64", "Arm64"], Some("x64"));
    let tags = gallery::parsed_input(agent, problems, "Tags", parse_tags);
    Some(Definition {
        location: Region::new(""),
        os_type: os_type?,
        os_state: os_state?,
        hyper_v_generation: generation?,
        architecture: architecture?,
        identifier: identifier?,
        plan: plan.ok()?,
        features: features?,
        update_features: agent.boolean_input("UpdateFeatures"),
        mutable: mutable?,
        eula: agent.input("Eula"),
        privacy_statement_uri: agent.input("PrivacyStatementUri"),
        tags: tags?.unwrap_or_default(),
    })
}

fn identifier(agent: &Agent, problems: &mut Problems) -> Option<Identifier> {
    let mut part = |input, longest| gallery::checked_input(agent, problems, input, |text| check_identifier(text, longest));
    let (publisher, offer, sku) = (part("Publisher", 128), part("Offer", 64), part("Sku", 64));
    Some(Identifier { publisher: publisher?, offer: offer?, sku: sku? })
}

/// The features, with those that have an input of their own.
fn features(agent: &Agent, problems: &mut Problems) -> Option<Features> {
    let security = gallery::choice_input(agent, problems, "SecurityType", &SECURITY_TYPES, Some(""));
    let mut features = gallery::parsed_input(agent, problems, "Features", Features::parse)?.unwrap_or_default();
    if let Some(security) = security.filter(|security| !security.is_empty()) {
        problems.take(features.set_security_type(security).map_err(|error| gallery::wrong("SecurityType", &error)))?;
    }
    Some(features)
}

fn mutable(agent: &Agent, problems: &mut Problems) -> Option<Mutable> {
    let end_of_life = gallery::parsed_input(agent, problems, "EndOfLifeDate", compute::gallery::parse_date);
    let disallowed = gallery::parsed_input(agent, problems, "DisallowedDiskTypes", parse_disk_types);
    let vcpus = range(agent, problems, "MinimumVCPUs", "MaximumVCPUs");
    let memory = range(agent, problems, "MinimumMemory", "MaximumMemory");
    Some(Mutable {
        description: agent.input("Description"),
        release_note_uri: agent.input("ReleaseNoteUri"),
        end_of_life_date: end_of_life?,
        vcpus: vcpus?,
        memory: memory?,
        disallowed_disk_types: disallowed?.unwrap_or_default(),
    })
}

fn range(agent: &Agent, problems: &mut Problems, minimum: &'static str, maximum: &'static str) -> Option<Range> {
    let min = problems.take(agent.number_input(minimum, 1..=100_000));
    let max = problems.take(agent.number_input(maximum, 1..=100_000));
    let range = Range { min: min?, max: max? };
    problems.take(check_range(range).map_err(|wrong| gallery::wrong(minimum, &wrong)))?;
    Some(range)
}
