//! The rules of deletion: a table, and a second description of them that random inventories are held against.

use proptest::prelude::*;
use time::Duration;

use super::*;
use crate::factory::inventory::{Backing, Tags};

const LAB: &str = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/g/providers/Microsoft.DevTestLab/labs/lab";
const PATHS: [&str; 4] = ["Win2016/Datacenter.json", "Linux/ubuntu.json", "gone.json", "Other/unlisted.json"];

fn image(index: usize, path: Option<&str>, age_days: Option<i64>) -> Image {
    Image {
        name: format!("image{index}"),
        id: format!("{LAB}/customimages/image{index}"),
        tags: Tags { image_path: path.and_then(ImagePath::parse), ..Tags::default() },
        state: State::Succeeded,
        created: age_days.map(|days| OffsetDateTime::UNIX_EPOCH + Duration::days(20_000 - days)),
        os_type: None,
        backing: Backing::default(),
        description: String::new(),
    }
}

fn lab(images: Vec<Image>) -> Lab {
    Lab { id: LAB.parse().unwrap(), location: "westeurope".into(), images, vms: Vec::new(), in_use: BTreeMap::new() }
}

fn listing(path: &ImagePath) -> Listing {
    match path.as_str().to_ascii_lowercase().as_str() {
        "gone.json" => Listing::Gone,
        "other/unlisted.json" => Listing::Unlisted,
        _ => Listing::Listed,
    }
}

fn retired(lab: &Lab, retention: u32) -> Vec<String> {
    let verdicts = verdicts(lab, retention, listing);
    let retired = lab.images.iter().zip(verdicts).filter(|(_, verdict)| matches!(verdict, Verdict::Retired(_)));
    retired.map(|(image, _)| image.name.clone()).collect()
}

#[test]
fn the_newest_n_stay_and_older_ones_go() {
    let images = (0..4).map(|index| image(index, Some(PATHS[0]), Some(i64::try_from(index).unwrap()))).collect();
    let lab = lab(images);
    assert_eq!(retired(&lab, 1), ["image1", "image2", "image3"]);
    assert_eq!(retired(&lab, 3), ["image3"]);
    assert_eq!(retired(&lab, 9), [""; 0]);
}

#[test]
fn a_failed_image_never_pushes_out_a_good_one() {
    let mut newest = image(0, Some(PATHS[0]), Some(0));
    newest.state = State::Failed;
    let mut oldest = image(2, Some(PATHS[0]), Some(9));
    oldest.state = State::Failed;
    assert_eq!(retired(&lab(vec![newest, image(1, Some(PATHS[0]), Some(5)), oldest]), 1), ["image2"]);
}

#[test]
fn an_image_in_use_stays_besides_the_n() {
    let mut lab = lab((0..4).map(|index| image(index, Some(PATHS[0]), Some(i64::try_from(index).unwrap()))).collect());
    lab.in_use.insert(lab.images[2].id.to_ascii_lowercase(), "formula 'web'".into());
    assert_eq!(retired(&lab, 1), ["image1", "image3"]);
}

#[test]
fn tags_of_the_older_scripts_name_the_same_golden_image() {
    let lab = lab(vec![image(0, Some(r"win2016\datacenter.json"), Some(1)), image(1, Some(PATHS[0]), Some(0))]);
    assert_eq!(retired(&lab, 1), ["image0"]);
}

#[test]
fn what_is_not_the_factorys_stays_and_so_does_what_is_ignored() {
    let mut ignored = image(1, Some("gone.json"), Some(50));
    ignored.tags.ignored = true;
    assert_eq!(retired(&lab(vec![image(0, None, Some(99)), ignored, image(2, Some("gone.json"), Some(1))]), 1), ["image2"]);
}

/// The rules once more, as sentences about one image, written without the code above: may this image go?
fn may_go(lab: &Lab, index: usize, retention: u32) -> bool {
    let image = &lab.images[index];
    let Some(path) = image.tags.image_path.as_ref().map(|path| path.as_str().to_ascii_lowercase().replace('\\', "/")) else { return false };
    let is_used = lab.in_use.keys().any(|id| id.eq_ignore_ascii_case(&image.id));
    if image.tags.ignored || is_used || image.state == State::Changing {
        return false;
    }
    if path == "gone.json" || path == "other/unlisted.json" {
        return true;
    }
    let Some(created) = image.created else { return false };
    let newer_good = lab.images.iter().filter(|other| {
        let same = other.tags.image_path.as_ref().is_some_and(|other| other.as_str().eq_ignore_ascii_case(&path));
        same && !other.tags.ignored && other.state == State::Succeeded && other.created.is_some_and(|other| other > created)
    });
    newer_good.count() >= retention as usize
}

prop_compose! {
    fn any_image(index: usize)(
        path in prop_oneof![1 => Just(None), 6 => (0..PATHS.len(), any::<bool>()).prop_map(Some)],
        ignored in prop::bool::weighted(0.1),
        state in prop_oneof![6 => Just(State::Succeeded), 2 => Just(State::Failed), 1 => Just(State::Changing)],
        age in prop::option::weighted(0.9, 0_i64..12),
    ) -> Image {
        let text = path.map(|(path, scripts)| if scripts { PATHS[path].replace('/', "\\").to_ascii_uppercase() } else { PATHS[path].to_owned() });
        let mut image = image(index, text.as_deref(), age);
        image.tags.ignored = ignored;
        image.state = state;
        image
    }
}

fn any_lab() -> impl Strategy<Value = Lab> {
    (0_usize..14).prop_flat_map(|count| {
        let images: Vec<_> = (0..count).map(any_image).collect();
        (images, prop::collection::vec(any::<prop::sample::Index>(), 0..3)).prop_map(|(images, used)| {
            let mut lab = lab(images);
            for index in used.iter().filter(|_| !lab.images.is_empty()) {
                let id = index.get(&lab.images).id.to_ascii_lowercase();
                lab.in_use.insert(id, "virtual machine 'vm'".into());
            }
            lab
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_inventory_makes_the_factory_delete_what_the_model_keeps(lab in any_lab(), retention in 1_u32..4) {
        for (index, verdict) in verdicts(&lab, retention, listing).into_iter().enumerate() {
            let goes = matches!(verdict, Verdict::Retired(_));
            prop_assert_eq!(goes, may_go(&lab, index, retention), "{:?}: {:?}", lab.images[index], verdict);
        }
    }

    #[test]
    fn the_last_good_image_of_a_listed_golden_image_always_stays(lab in any_lab(), retention in 1_u32..4) {
        let verdicts = verdicts(&lab, retention, listing);
        for path in PATHS.iter().filter_map(|path| ImagePath::parse(path)).filter(|path| listing(path) == Listing::Listed) {
            let good: Vec<_> = lab.images.iter().zip(&verdicts)
                .filter(|(image, _)| image.tags.image_path.as_ref() == Some(&path) && image.state == State::Succeeded)
                .collect();
            prop_assert!(good.is_empty() || good.iter().any(|(_, verdict)| matches!(verdict, Verdict::Kept(_))));
        }
    }
}
