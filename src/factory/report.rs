//! One self-contained HTML page: golden images, images by lab with age, disk and use, and what the last run did.

use std::collections::BTreeMap;

use askama::Template;
use serde_json::Value;
use time::OffsetDateTime;

use super::{
    configuration::Configuration,
    gallery::{Gallery, version_name},
    golden_image::{GoldenImage, virtual_machine_of},
    inventory::{Image, Inventory, Lab, State},
    listing::{list_gallery, list_lab},
    names::ImagePath,
    plan::labs,
};
use crate::order;

/// Sizes of disks in GiB, by the id, in lower case, of what an image stands on.
pub type Disks = BTreeMap<String, u64>;

#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    factory: String,
    now: String,
    figures: Vec<(&'static str, String)>,
    last_run: Option<LastRun>,
    golden_images: Vec<GoldenRow>,
    labs: Vec<LabSection>,
}

struct LastRun {
    id: String,
    images: usize,
    copies: usize,
    newest: String,
}

struct GoldenRow {
    path: String,
    base: String,
    artifacts: String,
    latest: String,
    age: String,
    problem: String,
}

struct LabSection {
    name: String,
    id: String,
    location: String,
    is_factory: bool,
    problem: String,
    images: Vec<ImageRow>,
}

struct ImageRow {
    name: String,
    path: String,
    os_type: &'static str,
    state: &'static str,
    age: String,
    disk: String,
    in_use_by: String,
}

/// The page.
pub fn page(configuration: &Configuration, inventory: &Inventory, disks: &Disks, now: OffsetDateTime) -> String {
    let factory = &inventory.factory;
    let mut sections = vec![section(factory, true, disks, now)];
    for (receiver, target) in configuration.labs.iter().zip(&inventory.receivers) {
        match &target.lab {
            Ok(lab) if lab.id == factory.id => {}
            Ok(lab) => sections.push(section(lab, false, disks, now)),
            Err(problem) => sections.push(LabSection {
                name: receiver.lab_name.clone(),
                id: target.id.clone(),
                location: String::new(),
                is_factory: false,
                problem: problem.clone(),
                images: Vec::new(),
            }),
        }
    }
    sections.extend(inventory.gallery.as_ref().map(|gallery| gallery_section(inventory, gallery, now)));
    let page = Page {
        factory: factory.id.name().to_owned(),
        now: minute(now),
        figures: figures(configuration, inventory, disks),
        last_run: last_run(inventory),
        golden_images: configuration.images.iter().map(|image| golden_row(image, inventory, now)).collect(),
        labs: sections,
    };
    // The template writes to a string alone, which cannot fail.
    page.render().unwrap_or_default()
}

/// The gallery, as a place that holds versions.
fn gallery_section(inventory: &Inventory, gallery: &Gallery, now: OffsetDateTime) -> LabSection {
    let rows = list_gallery(inventory, gallery).into_iter().filter_map(|listed| {
        let (_, version) = gallery
            .own_versions()
            .find(|(definition, version)| listed.version.as_deref() == Some(version_name(&definition.name, version.number).as_str()))?;
        Some((version, listed))
    });
    let images = rows.map(|(version, listed)| ImageRow {
        name: format!("{} ({})", listed.image, listed.version.unwrap_or_default()),
        path: listed.image_path.to_string(),
        os_type: listed.os_type.unwrap_or_default(),
        state: listed.state,
        age: age(version.image.created, now),
        disk: String::new(),
        in_use_by: listed.in_use_by.unwrap_or_default(),
    });
    LabSection {
        name: format!("Gallery {}", gallery.id.name()),
        id: gallery.id.to_string(),
        location: gallery.location.clone().unwrap_or_else(|| "not there yet".to_owned()),
        is_factory: false,
        problem: gallery.problem.clone().unwrap_or_default(),
        images: images.collect(),
    }
}

fn factory_images(lab: &Lab) -> impl Iterator<Item = &Image> {
    lab.images.iter().filter(|image| image.tags.image_path.is_some())
}

fn figures(configuration: &Configuration, inventory: &Inventory, disks: &Disks) -> Vec<(&'static str, String)> {
    let own = factory_images(&inventory.factory).count();
    let all = labs(inventory).flat_map(factory_images).count();
    let mut held: Vec<String> = labs(inventory).flat_map(factory_images).flat_map(|image| image.backing.disks()).collect();
    order::sort(&mut held, &mut Ord::cmp);
    held.dedup();
    let sizes: Vec<u64> = held.iter().filter_map(|disk| disks.get(disk).copied()).collect();
    let storage = if sizes.is_empty() { "unknown".to_owned() } else { format!("{} GiB", sizes.iter().sum::<u64>()) };
    vec![
        ("Golden images", configuration.images.len().to_string()),
        ("Receiving labs", configuration.labs.len().to_string()),
        ("Images", own.to_string()),
        ("Copies", (all - own).to_string()),
        ("Gallery versions", inventory.gallery.as_ref().map_or(0, |gallery| gallery.own_versions().count()).to_string()),
        ("Storage held", storage),
    ]
}

/// The run that made the newest image.
fn last_run(inventory: &Inventory) -> Option<LastRun> {
    let newest = labs(inventory).flat_map(factory_images).filter(|image| image.tags.run_id.is_some()).max_by_key(|image| image.created)?;
    let of_run = |lab: &Lab| factory_images(lab).filter(|image| image.tags.run_id == newest.tags.run_id).count();
    let images = of_run(&inventory.factory);
    let all: usize = labs(inventory).map(of_run).sum();
    Some(LastRun {
        id: newest.tags.run_id.clone().unwrap_or_default(),
        images,
        copies: all - images,
        newest: newest.created.map(minute).unwrap_or_default(),
    })
}

fn golden_row(image: &GoldenImage, inventory: &Inventory, now: OffsetDateTime) -> GoldenRow {
    let factory = &inventory.factory;
    let vm = virtual_machine_of(&image.template);
    let properties = vm.map_or(&Value::Null, |vm| &vm["properties"]);
    let images = factory_images(factory).filter(|other| other.tags.image_path.as_ref() == Some(&image.path));
    let versions = inventory.gallery.iter().flat_map(|gallery| gallery.versions_of(&image.path)).map(|(_, version)| &version.image);
    let latest = images.chain(versions).filter(|image| image.state == State::Succeeded).max_by_key(|image| image.created);
    GoldenRow {
        path: image.path.to_string(),
        base: base_image(properties),
        artifacts: artifacts(properties),
        latest: latest.map_or_else(|| "none yet".to_owned(), |latest| latest.name.clone()),
        age: age(latest.and_then(|latest| latest.created), now),
        problem: image.problem.clone().unwrap_or_default(),
    }
}

fn base_image(properties: &Value) -> String {
    let reference = &properties["galleryImageReference"];
    let parts = ["publisher", "offer", "sku"].iter().filter_map(|part| reference[*part].as_str());
    parts.collect::<Vec<_>>().join(" / ")
}

/// The artifacts' names, as far as the template names them.
fn artifacts(properties: &Value) -> String {
    let listed = properties["artifacts"].as_array().into_iter().flatten();
    let names = listed.filter_map(|artifact| artifact["artifactId"].as_str()).map(artifact_name);
    names.collect::<Vec<_>>().join(", ")
}

/// The last part of an id; in an expression that of the text that names an artifact, or of the last text.
fn artifact_name(id: &str) -> &str {
    let texts = id.split('\'').skip(1).step_by(2);
    let text = texts.clone().find(|text| text.contains("/artifacts/")).or_else(|| texts.last()).unwrap_or(id);
    text.rsplit('/').next().unwrap_or(text)
}

fn section(lab: &Lab, is_factory: bool, disks: &Disks, now: OffsetDateTime) -> LabSection {
    let rows = list_lab(lab).into_iter().filter_map(|listed| Some((lab.image(&listed.image)?, listed)));
    let images = rows.map(|(image, listed)| ImageRow {
        name: listed.image,
        path: image.tags.image_path.as_ref().map(ImagePath::to_string).unwrap_or_default(),
        os_type: listed.os_type.unwrap_or_default(),
        state: listed.state,
        age: age(image.created, now),
        disk: image.backing.disks().find_map(|disk| disks.get(&disk).map(|size| format!("{size} GiB"))).unwrap_or_default(),
        in_use_by: listed.in_use_by.unwrap_or_default(),
    });
    LabSection {
        name: lab.id.name().to_owned(),
        id: lab.id.to_string(),
        location: lab.location.clone(),
        is_factory,
        problem: String::new(),
        images: images.collect(),
    }
}

fn age(created: Option<OffsetDateTime>, now: OffsetDateTime) -> String {
    let Some(created) = created else { return String::new() };
    match (now - created).whole_hours() {
        hours if hours < 1 => "under 1 h".to_owned(),
        hours if hours < 48 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    }
}

fn minute(date: OffsetDateTime) -> String {
    let date = date.to_offset(time::UtcOffset::UTC);
    format!("{} {:02}:{:02} UTC", date.date(), date.hour(), date.minute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_are_named_however_the_template_writes_their_ids() {
        for id in [
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.DevTestLab/labs/l/artifactSources/public repo/artifacts/windows-chrome",
            "[resourceId('Microsoft.DevTestLab/labs/artifactsources/artifacts', parameters('labName'), 'public repo', 'windows-chrome')]",
            "[format('{0}/artifacts/windows-chrome', variables('artifacts'))]",
        ] {
            assert_eq!(artifact_name(id), "windows-chrome", "{id}");
        }
    }
}
