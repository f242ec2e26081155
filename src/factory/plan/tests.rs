//! Plans for small inventories, and the figure for a large one.

use std::collections::BTreeMap;

use time::macros::datetime;

use super::*;
use crate::factory::{
    configuration::Receiver,
    configuration::tests::{labs as labs_json, read, template},
    golden_image::GoldenImage,
    inventory::{Backing, Image, State, Tags, Target, Vm},
};

pub(super) const NOW: OffsetDateTime = datetime!(2026-11-20 12:00 UTC);

pub(super) fn id(lab: &str) -> String {
    format!("/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/g/providers/Microsoft.DevTestLab/labs/{lab}")
}

pub(super) fn lab(name: &str) -> Lab {
    Lab { id: id(name).parse().unwrap(), location: "westeurope".into(), images: vec![], vms: vec![], in_use: BTreeMap::new() }
}

fn image(lab: &str, name: &str, path: &str, age_days: i64) -> Image {
    Image {
        name: name.into(),
        id: format!("{}/customimages/{name}", id(lab)),
        tags: Tags { image_path: ImagePath::parse(path), ..Tags::default() },
        state: State::Succeeded,
        created: Some(NOW - Duration::days(age_days)),
        os_type: None,
        backing: Backing::default(),
        description: String::new(),
    }
}

fn vm(name: &str, path: Option<&str>, run: Option<&str>) -> Vm {
    let tags = Tags { image_path: path.and_then(ImagePath::parse), run_id: run.map(str::to_owned), ..Tags::default() };
    Vm { name: name.into(), tags, state: State::Succeeded, created: Some(NOW - Duration::hours(1)) }
}

fn configuration() -> Configuration {
    read(&[
        ("Labs.json", &labs_json(&[("one", &["Win2016", "Linux/ubuntu.json"]), ("two", &["Win2016"])])),
        ("GoldenImages/Win2016/Datacenter.json", &template("Windows")),
        ("GoldenImages/Linux/ubuntu.json", &template("Linux")),
    ])
}

fn inventory(factory: Lab, receivers: Vec<Lab>) -> Inventory {
    let receivers = receivers.into_iter().map(|lab| Target { id: lab.id.to_string(), lab: Ok(lab) }).collect();
    Inventory { factory, receivers, gallery: None }
}

pub(super) fn options(scope: Scope) -> Options {
    Options { run_id: "7".into(), scope, slice: Slice::WHOLE, retention: 1, timeout: std::time::Duration::from_mins(30) }
}

#[test]
fn a_first_run_builds_captures_and_distributes_everything() {
    let plan = plan(&configuration(), &inventory(lab("factory"), vec![lab("one"), lab("two")]), &options(Scope::Run), NOW);
    insta::assert_json_snapshot!(plan);
}

#[test]
fn a_later_run_retires_what_it_replaces_and_tells_why_the_rest_stays() {
    let mut factory = lab("factory");
    factory.images.push(image("factory", "old", "Win2016/Datacenter.json", 7));
    factory.vms.push(vm("someones", None, None));
    factory.vms.push(Vm { state: State::Failed, ..vm("broken", Some("gone.json"), Some("5")) });
    factory.vms.push(Vm { tags: Tags { ignored: true, ..Tags::default() }, state: State::Failed, ..vm("debugging", None, None) });
    let mut one = lab("one");
    one.images.push(image("one", "old", "Win2016/Datacenter.json", 7));
    one.images.push(image("one", "theirs", "x", 9));
    one.images[1].tags.image_path = None;
    let mut two = lab("two");
    two.images.push(image("two", "in use", r"Win2016\Datacenter.json", 7));
    two.in_use.insert(two.images[0].id.to_ascii_lowercase(), "formula 'web'".into());
    let plan = plan(&configuration(), &inventory(factory, vec![one, two]), &options(Scope::Run), NOW);
    insta::assert_json_snapshot!(plan);
}

#[test]
fn retiring_alone_deletes_by_what_is_there_now() {
    let mut one = lab("one");
    one.images.push(image("one", "last", "Win2016/Datacenter.json", 7));
    let plan = plan(&configuration(), &inventory(lab("factory"), vec![one, lab("two")]), &options(Scope::Retire), NOW);
    assert_eq!(plan.retire, []);
    assert!(plan.build.is_empty() && plan.distribute.is_empty());
}

#[test]
fn deleting_more_than_the_share_is_guarded_per_lab() {
    let mut one = lab("one");
    one.images = (0..4).map(|age| image("one", &format!("image{age}"), "Win2016/Datacenter.json", age)).collect();
    let inventory = inventory(lab("factory"), vec![one, lab("two")]);
    let plan_with = |retention| plan(&configuration(), &inventory, &Options { retention, ..options(Scope::Retire) }, NOW);
    assert_eq!(plan_with(1).guards, [Guard { lab: id("one"), deleted: 3, images: 4 }]);
    assert_eq!((plan_with(2).retire.len(), plan_with(2).guards), (2, vec![]));
}

#[test]
fn the_same_run_id_goes_on_where_it_ended() {
    let mut factory = lab("factory");
    let mut done = image("factory", "Win2016_Datacenter-Nov-20-2026", "Win2016/Datacenter.json", 0);
    done.tags.run_id = Some("7".into());
    factory.images.push(done);
    factory.vms.push(vm("ubuntu", Some("Linux/ubuntu.json"), Some("7")));
    let plan = plan(&configuration(), &inventory(factory, vec![lab("one"), lab("two")]), &options(Scope::Run), NOW);
    assert_eq!(plan.build, []);
    assert_eq!(plan.capture.iter().map(|capture| capture.vm.as_str()).collect::<Vec<_>>(), ["ubuntu"]);
    assert_eq!(plan.captured[0].image, "Win2016_Datacenter-Nov-20-2026");
    assert_eq!(plan.distribute.len(), 3);
}

#[test]
fn a_recent_virtual_machine_of_a_dead_run_is_adopted_when_its_file_is_the_same() {
    let configuration = configuration();
    let fingerprint = configuration.images[0].fingerprint.clone();
    let adopted = |hours: i64, fingerprint: &str| {
        let mut factory = lab("factory");
        let mut left = vm("ubuntu", Some("Linux/ubuntu.json"), Some("6"));
        left.tags.fingerprint = Some(fingerprint.to_owned());
        left.created = Some(NOW - Duration::hours(hours));
        factory.vms.push(left);
        let plan = plan(&configuration, &inventory(factory, vec![lab("one"), lab("two")]), &options(Scope::Run), NOW);
        plan.build.iter().all(|build| build.vm != "ubuntu")
    };
    assert!(adopted(1, &fingerprint));
    assert!(!adopted(30, &fingerprint));
    assert!(!adopted(1, "other"));
}

#[test]
fn a_second_run_of_the_day_gets_a_letter() {
    let mut factory = lab("factory");
    factory.images.push(image("factory", "Linux_ubuntu-Nov-20-2026", "Linux/ubuntu.json", 0));
    let plan = plan(&configuration(), &inventory(factory, vec![lab("one"), lab("two")]), &options(Scope::Run), NOW);
    assert_eq!(plan.capture[0].image, "Linux_ubuntu-Nov-20-2026A");
}

#[test]
fn what_cannot_be_done_is_told_per_lab_and_the_rest_goes_on() {
    let mut elsewhere = lab("one");
    elsewhere.location = "eastus".into();
    let mut inventory = inventory(lab("factory"), vec![elsewhere, lab("two")]);
    inventory.receivers[1].lab = Err("no access".into());
    let plan = plan(&configuration(), &inventory, &options(Scope::Run), NOW);
    assert_eq!((plan.build.len(), plan.distribute.len()), (2, 0));
    let errors: Vec<_> = plan.problems.iter().map(|problem| problem.error.as_str()).collect();
    assert_eq!(errors.len(), 3);
    assert!(errors[0].contains("'eastus'") && errors[2] == "no access", "{errors:?}");
}

#[test]
fn slices_share_the_golden_images_without_overlap_and_leave_deleting_to_the_last_job() {
    let configuration = configuration();
    let inventory = inventory(lab("factory"), vec![lab("one"), lab("two")]);
    let slice = |position, total| {
        let options = Options { slice: Slice { position, total }, ..options(Scope::Run) };
        plan(&configuration, &inventory, &options, NOW)
    };
    let whole = slice(1, 1);
    let mut parts: Vec<_> = (1..=3).flat_map(|position| slice(position, 3).build).collect();
    parts.sort_by(|one, other| one.image_path.cmp(&other.image_path));
    assert_eq!(parts, whole.build);
    assert!((1..=3).all(|position| slice(position, 3).retire.is_empty()));
}

#[test]
fn an_empty_folder_of_golden_images_retires_nothing() {
    let configuration = read(&[("Labs.json", &labs_json(&[("one", &["Win2016"])]))]);
    let mut one = lab("one");
    one.images.push(image("one", "last", "Win2016/Datacenter.json", 7));
    let plan = plan(&configuration, &inventory(lab("factory"), vec![one]), &options(Scope::Retire), NOW);
    assert_eq!((plan.retire.len(), plan.problems.len()), (0, 1));
}

/// Each lab holds the last three images of each golden image, of which one goes when the new one has come.
#[test]
fn many_golden_images_in_many_labs_are_planned_whole() {
    const IMAGES: usize = 200;
    const LABS: usize = 20;
    let names: Vec<String> = (0..LABS).map(|lab| format!("lab{lab}")).collect();
    let mut configuration = configuration();
    let model = configuration.images[0].clone();
    let path = |image: usize| ImagePath::parse(&format!("folder{}/image{image:04}.json", image % 10)).unwrap();
    configuration.images = (0..IMAGES).map(|image| GoldenImage { path: path(image), ..model.clone() }).collect();
    configuration.images.sort_by(|one, other| one.path.cmp(&other.path));
    let model = configuration.labs[0].clone();
    let folders: Vec<_> = (0..10).filter_map(|folder| ImagePath::parse(&format!("folder{folder}"))).collect();
    configuration.labs =
        names.iter().map(|name| Receiver { lab_name: name.clone(), image_paths: folders.clone(), ..model.clone() }).collect();
    let filled = |name: &str| {
        let images = (0..IMAGES * 3).map(|index| {
            let path = path(index % IMAGES);
            image(name, &format!("old{index}"), path.as_str(), i64::try_from(1 + index / IMAGES).unwrap())
        });
        Lab { images: images.collect(), ..lab(name) }
    };
    let inventory = inventory(lab("factory"), names.iter().map(|name| filled(name)).collect());
    let plan = plan(&configuration, &inventory, &Options { retention: 3, ..options(Scope::Run) }, NOW);
    assert_eq!((plan.build.len(), plan.distribute.len(), plan.retire.len()), (IMAGES, IMAGES * LABS, IMAGES * LABS));
    assert_eq!((plan.kept.len(), plan.guards.len()), (2 * IMAGES * LABS, 0));
}

#[test]
fn the_factorys_image_stays_while_a_copy_stands_on_its_disk() {
    let path = "Win2016/Datacenter.json";
    let on_disk = |lab: &str, age: i64| {
        let mut image = image(lab, &format!("image{age}"), path, age);
        image.backing.managed_image_id = Some(format!("/disks/{age}").to_ascii_uppercase());
        image
    };
    let mut factory = lab("factory");
    factory.images = (1..=4).map(|age| on_disk("factory", age)).collect();
    let mut two = lab("two");
    two.images = vec![on_disk("two", 1), on_disk("two", 3)];
    two.in_use.insert(two.images[1].id.to_ascii_lowercase(), "virtual machine 'web'".into());
    let retired = |two: Result<Lab, String>| {
        let mut inventory = inventory(factory.clone(), vec![lab("one"), lab("two")]);
        inventory.receivers[1].lab = two;
        let plan = plan(&configuration(), &inventory, &options(Scope::Retire), NOW);
        plan.retire.into_iter().map(|item| item.image).collect::<Vec<_>>()
    };
    assert_eq!(retired(Ok(two.clone())), ["image2", "image4"]);
    // Nothing uses the copy any longer: both go in one run.
    two.in_use.clear();
    assert_eq!(retired(Ok(two)), ["image3", "image2", "image3", "image4"]);
    assert_eq!(retired(Err("no access".into())), [""; 0]);
}
