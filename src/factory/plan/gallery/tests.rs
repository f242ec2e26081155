//! Plans through the gallery: a few by hand, and a second description of what may go that random galleries are held against.

use proptest::prelude::*;
use time::Duration;

use super::*;
use crate::factory::{
    configuration::{
        Configuration,
        tests::{labs as labs_json, read, template},
    },
    gallery::Formula,
    inventory::{Tags, Target as Receiving},
    plan::{
        Options, Scope, plan,
        tests::{NOW, id, lab, options},
    },
};

const WINDOWS: &str = "Win2016/Datacenter.json";
const LINUX: &str = "Linux/ubuntu.json";
const GONE: &str = "Old/gone.json";
const GALLERY: &str = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/g/providers/Microsoft.Compute/galleries/golden";

fn configuration() -> Configuration {
    read(&[
        ("Labs.json", &labs_json(&[("one", &["Win2016", LINUX]), ("two", &["Win2016"])])),
        ("factory.json", r#"{"distribution": "gallery", "gallery": {"name": "golden"}}"#),
        ("GoldenImages/Win2016/Datacenter.json", &template("Windows")),
        ("GoldenImages/Linux/ubuntu.json", &template("Linux")),
    ])
}

fn version(definition: &str, path: &str, minor: u32, age_days: i64) -> Version {
    let number = format!("2026.{minor}.0").parse().unwrap();
    Version {
        image: Image {
            name: format!("{definition}-{minor}"),
            id: format!("{GALLERY}/images/{definition}/versions/{number}"),
            tags: Tags { image_path: ImagePath::parse(path), ..Tags::default() },
            state: State::Succeeded,
            created: Some(NOW - Duration::days(age_days)),
            os_type: None,
            backing: inventory::Backing::default(),
            description: String::new(),
        },
        number,
        regions: vec![Region::new("West Europe")],
        exclude_from_latest: false,
        blocked_until: None,
    }
}

fn definition(path: &str, versions: Vec<Version>) -> Definition {
    let path = ImagePath::parse(path).unwrap();
    Definition {
        name: names::definition_name(&path),
        image_path: Some(path),
        is_ignored: false,
        os_type: None,
        os_state: "Generalized".into(),
        versions,
    }
}

fn gallery(definitions: Vec<Definition>) -> Gallery {
    Gallery { location: Some("westeurope".into()), definitions, ..Gallery::empty(GALLERY.parse().unwrap()) }
}

fn attached(enabled: &[&str]) -> LabView {
    let enabled = enabled.iter().map(|name| name.to_ascii_lowercase()).collect();
    LabView { attached_as: Some("golden".into()), is_own: true, enabled, ..LabView::default() }
}

fn inventory(gallery: Gallery) -> Inventory {
    let receivers = ["one", "two"].map(|name| Receiving { id: id(name), lab: Ok(lab(name)) });
    Inventory { factory: lab("factory"), receivers: receivers.into(), gallery: Some(gallery) }
}

fn retired(gallery: Gallery, retention: u32) -> Vec<(String, Option<String>)> {
    let options = Options { retention, ..options(Scope::Retire) };
    plan(&configuration(), &inventory(gallery), &options, NOW).retire.into_iter().map(|item| (item.image, item.version)).collect()
}

#[test]
fn a_first_run_makes_versions_and_attaches_the_gallery_to_every_lab() {
    let plan = plan(&configuration(), &inventory(Gallery::empty(GALLERY.parse().unwrap())), &options(Scope::Run), NOW);
    insta::assert_json_snapshot!(plan);
}

#[test]
fn a_version_of_this_run_is_gone_on_with_and_a_later_one_counts_up() {
    let mut made = version("Linux_ubuntu", LINUX, 1120, 0);
    made.image.tags.run_id = Some("7".into());
    made.image.state = State::Changing;
    let planned = |run: &str| {
        let options = Options { run_id: run.into(), ..options(Scope::Run) };
        plan(&configuration(), &inventory(gallery(vec![definition(LINUX, vec![made.clone()])])), &options, NOW)
    };
    let same = planned("7");
    assert_eq!(same.captured.iter().map(|item| item.version.as_deref()).collect::<Vec<_>>(), [Some("Linux_ubuntu/2026.1120.0")]);
    assert!(same.distribute.iter().any(|copy| copy.image == "Linux_ubuntu-1120" && copy.lab == id("one")), "{same:?}");
    let other = planned("8");
    assert!(other.capture.iter().any(|item| item.version.as_deref() == Some("Linux_ubuntu/2026.1120.1")), "{other:?}");
}

#[test]
fn what_a_lab_offers_already_is_skipped_and_another_region_is_added() {
    let mut gallery = gallery(vec![definition(WINDOWS, vec![version("Win2016_Datacenter", WINDOWS, 1, 1)])]);
    gallery.labs.insert(id("one").to_ascii_lowercase(), attached(&["win2016_datacenter"]));
    gallery.labs.insert(id("two").to_ascii_lowercase(), attached(&["win2016_datacenter"]));
    let mut inventory = inventory(gallery);
    inventory.receivers[1].lab = Ok(Lab { location: "eastus".into(), ..lab("two") });
    let plan = plan(&configuration(), &inventory, &options(Scope::Distribute), NOW);
    let copies: Vec<_> = plan.distribute.iter().map(|copy| (copy.lab.as_str(), copy.reason.as_str())).collect();
    assert_eq!(copies, [(id("two").as_str(), "the lab lists 'Win2016/Datacenter.json': it is replicated to the lab's region")]);
    assert!(plan.kept.iter().any(|kept| kept.lab == id("one") && kept.reason == "the lab has it"), "{plan:?}");
}

#[test]
fn a_definition_of_somebody_elses_stops_its_golden_image_before_it_is_built() {
    let foreign = Definition { image_path: None, ..definition(LINUX, vec![]) };
    let plan = plan(&configuration(), &inventory(gallery(vec![foreign])), &options(Scope::Run), NOW);
    assert_eq!(plan.build.len(), 1);
    assert!(plan.problems[0].error.contains("that this factory did not make"), "{:?}", plan.problems);
    let unreadable = Gallery { problem: Some("no access".into()), ..Gallery::empty(GALLERY.parse().unwrap()) };
    let plan = super::super::plan(&configuration(), &inventory(unreadable), &options(Scope::Run), NOW);
    assert_eq!((plan.build.len(), plan.retire.len()), (0, 0));
}

#[test]
fn a_golden_image_that_is_gone_takes_its_versions_and_its_definition_along() {
    let mut gallery = gallery(vec![definition(GONE, vec![version("Old_gone", GONE, 1, 1)])]);
    gallery.labs.insert(id("one").to_ascii_lowercase(), attached(&["old_gone"]));
    let version_of = |number: &str| ("Old_gone-1".to_owned(), Some(format!("Old_gone/{number}")));
    let name = |name: &str| (name.to_owned(), None);
    assert_eq!(retired(gallery.clone(), 1), [name("Old_gone"), version_of("2026.1.0"), name("Old_gone")]);
    // Attached by somebody else: the lab goes on offering it, and so it stays.
    gallery.labs.get_mut(&id("one").to_ascii_lowercase()).unwrap().is_own = false;
    assert_eq!(retired(gallery, 1), []);
}

#[test]
fn a_lab_that_lists_no_image_of_the_gallery_any_longer_is_detached() {
    let mut gallery = gallery(vec![definition(LINUX, vec![version("Linux_ubuntu", LINUX, 1, 1)])]);
    gallery.labs.insert(id("two").to_ascii_lowercase(), attached(&["linux_ubuntu"]));
    let plan_of = |gallery: Gallery| plan(&configuration(), &inventory(gallery), &options(Scope::Retire), NOW);
    let plan = plan_of(gallery.clone());
    assert_eq!(plan.retire[0].target, Target::SharedImage { gallery: "golden".into(), detach: true });
    assert_eq!(plan.retire.len(), 1);
    let formula = Formula { name: "web".into(), definition: "linux_ubuntu".into(), version: None };
    gallery.labs.get_mut(&id("two").to_ascii_lowercase()).unwrap().formulas.push(formula);
    assert_eq!(plan_of(gallery).retire, []);
}

#[test]
fn deleting_most_versions_is_guarded() {
    let versions = (1..=4).map(|minor| version("Linux_ubuntu", LINUX, minor, 9 - i64::from(minor))).collect();
    let plan = plan(&configuration(), &inventory(gallery(vec![definition(LINUX, versions)])), &options(Scope::Retire), NOW);
    assert_eq!(plan.guards, [Guard { lab: GALLERY.into(), deleted: 3, images: 4 }]);
}

/// The rules once more, as sentences about one version, written without the code above: may this version go?
fn may_go(inventory: &Inventory, definition: &Definition, version: &Version, retention: u32) -> bool {
    let gallery = inventory.gallery.as_ref().unwrap();
    let (Some(path), Some(_)) = (&definition.image_path, &version.image.tags.image_path) else { return false };
    let path = path.as_str().to_ascii_lowercase();
    let in_use = gallery.users.contains_key(&version.image.id.to_ascii_lowercase());
    let is_blocked = version.blocked_until.is_some_and(|until| until > NOW);
    if definition.is_ignored || version.image.tags.ignored || version.image.state == State::Changing || in_use || is_blocked {
        return false;
    }
    if !gallery.unknown_users.is_empty() {
        return false;
    }
    let is_gone = path == "old/gone.json";
    let listed = [["win2016/datacenter.json", "linux/ubuntu.json"].contains(&path.as_str()), path == "win2016/datacenter.json"];
    let views = ["one", "two"].map(|name| gallery.labs.get(&id(name).to_ascii_lowercase()));
    let is_latest = !definition.versions.iter().any(|other| {
        let counts = other.image.state == State::Succeeded && !other.exclude_from_latest;
        counts && other.number > version.number
    }) && version.image.state == State::Succeeded
        && !version.exclude_from_latest;
    for lab in 0..2 {
        let unread = inventory.receivers[lab].lab.is_err() || views[lab].is_some_and(|view| view.problem.is_some());
        if unread && (is_gone || listed[lab]) {
            return false;
        }
        let Some(view) = views[lab] else { continue };
        let formulas: Vec<_> = view.formulas.iter().filter(|formula| formula.definition == definition.name.to_ascii_lowercase()).collect();
        for formula in &formulas {
            let named =
                formula.version.as_ref().and_then(|number| definition.versions.iter().find(|other| other.number.to_string() == *number));
            if named.map_or(is_latest, |named| named.number == version.number) {
                return false;
            }
        }
        let enabled = view.enabled.contains(&definition.name.to_ascii_lowercase());
        let withdrawn = enabled && view.is_own && view.problem.is_none() && !listed[lab] && formulas.is_empty();
        let offered = view.attached_as.is_some() && (view.allows_all || (enabled && !withdrawn));
        if offered && is_latest {
            return false;
        }
    }
    let used_as_latest = gallery.users.contains_key(&format!("{GALLERY}/images/{}", definition.name).to_ascii_lowercase());
    if is_latest && (used_as_latest || !is_gone) {
        return false;
    }
    if is_gone {
        return true;
    }
    let Some(created) = version.image.created else { return false };
    let newer = definition.versions.iter().filter(|other| {
        let good = other.image.state == State::Succeeded && !other.image.tags.ignored && other.image.tags.image_path.is_some();
        good && other.image.created.is_some_and(|other| other > created)
    });
    newer.count() >= retention as usize
}

fn any_version(name: String, path: &'static str, minor: u32) -> impl Strategy<Value = (Version, bool)> {
    (
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.1),
        prop_oneof![6 => Just(State::Succeeded), 2 => Just(State::Failed), 1 => Just(State::Changing)],
        prop::option::weighted(0.9, 0_i64..8),
        prop::option::weighted(0.15, -5_i64..5),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.15),
    )
        .prop_map(move |(own, ignored, state, age, blocked, exclude, used)| {
            let mut version = version(&name, path, minor, age.unwrap_or_default());
            if !own {
                version.image.tags.image_path = None;
            }
            version.image.tags.ignored = ignored;
            version.image.state = state;
            version.image.created = age.map(|days| NOW - Duration::days(days));
            version.blocked_until = blocked.map(|days| NOW + Duration::days(days) + Duration::hours(1));
            version.exclude_from_latest = exclude;
            (version, used)
        })
}

fn any_view() -> impl Strategy<Value = Option<LabView>> {
    let names = ["win2016_datacenter", "linux_ubuntu", "old_gone"];
    let formula = (0_usize..3, prop::option::of(1_u32..6)).prop_map(move |(index, minor)| Formula {
        name: "web".into(),
        definition: names[index].into(),
        version: minor.map(|minor| format!("2026.{minor}.0")),
    });
    let enabled = prop::collection::vec(any::<bool>(), 3);
    let formulas = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(formula, 1..2)];
    let view = (prop::bool::weighted(0.8), prop::bool::weighted(0.15), enabled, formulas, prop::bool::weighted(0.05)).prop_map(
        move |(is_own, allows_all, enabled, formulas, broken)| {
            if broken {
                return LabView { problem: Some("no access".into()), ..LabView::default() };
            }
            let enabled = names.iter().zip(enabled).filter(|(_, enabled)| *enabled).map(|(name, _)| (*name).to_owned()).collect();
            LabView { problem: None, attached_as: Some("golden".into()), is_own, allows_all, enabled, formulas }
        },
    );
    prop::option::weighted(0.8, view)
}

fn any_inventory() -> impl Strategy<Value = Inventory> {
    let one = |path: &'static str| {
        let name = names::definition_name(&ImagePath::parse(path).unwrap());
        let versions: Vec<_> = (1..6).map(|minor| any_version(name.clone(), path, minor)).collect();
        (versions, 0_usize..6, prop::bool::weighted(0.1), prop::bool::weighted(0.1), prop::bool::weighted(0.1)).prop_map(
            move |(mut versions, count, foreign, ignored, used)| {
                versions.truncate(count);
                let users: Vec<String> =
                    versions.iter().filter(|(_, used)| *used).map(|(version, _)| version.image.id.to_ascii_lowercase()).collect();
                let mut made = definition(path, versions.into_iter().map(|(version, _)| version).collect());
                made.is_ignored = ignored;
                if foreign {
                    made.image_path = None;
                    made.versions.clear();
                }
                (made, users, used)
            },
        )
    };
    let labs = (any_view(), any_view(), prop::bool::weighted(0.05), prop::bool::weighted(0.05));
    (one(WINDOWS), one(LINUX), one(GONE), labs, prop::bool::weighted(0.05)).prop_map(|(windows, linux, gone, labs, unknown)| {
        let mut gallery = gallery(Vec::new());
        for (definition, users, used) in [windows, linux, gone] {
            let whole = format!("{GALLERY}/images/{}", definition.name).to_ascii_lowercase();
            let users = users.into_iter().chain(used.then_some(whole)).map(|id| (id, "virtual machine 'vm'".to_owned()));
            gallery.users.extend(users);
            gallery.definitions.push(definition);
        }
        if unknown {
            gallery.unknown_users.push("no access".into());
        }
        let (one, two, one_broken, two_broken) = labs;
        let mut inventory = inventory(gallery);
        for (index, (view, broken)) in [(one, one_broken), (two, two_broken)].into_iter().enumerate() {
            let key = inventory.receivers[index].id.to_ascii_lowercase();
            if broken {
                inventory.receivers[index].lab = Err("no access".into());
            } else if let (Some(view), Some(gallery)) = (view, inventory.gallery.as_mut()) {
                gallery.labs.insert(key, view);
            }
        }
        inventory
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_gallery_makes_the_factory_delete_what_the_model_keeps(inventory in any_inventory(), retention in 1_u32..4) {
        let configuration = configuration();
        let options = Options { retention, ..options(Scope::Retire) };
        let plan = plan(&configuration, &inventory, &options, NOW);
        let gallery = inventory.gallery.as_ref().unwrap();
        let goes = |id: &str| plan.retire.iter().any(|item| matches!(&item.target, Target::Version { id: gone } if gone == id));
        for definition in &gallery.definitions {
            for version in &definition.versions {
                let id = &version.image.id;
                prop_assert_eq!(goes(id), may_go(&inventory, definition, version, retention), "{:?}\n{:#?}", version, plan.kept);
            }
            let whole = format!("{GALLERY}/images/{}", definition.name);
            if plan.retire.iter().any(|item| matches!(&item.target, Target::Definition { id } if *id == whole)) {
                let is_gone = definition.image_path.as_ref().is_some_and(|path| path.as_str() == GONE);
                prop_assert!(is_gone && !definition.is_ignored, "{:?}", definition);
                prop_assert!(definition.versions.iter().all(|version| goes(&version.image.id)), "{:?}", definition);
            }
        }
        for item in &plan.retire {
            if let Target::SharedImage { .. } = &item.target {
                prop_assert!(gallery.lab(&item.lab).is_some_and(|view| view.is_own && view.problem.is_none()), "{:?}", item);
            }
        }
    }
}
