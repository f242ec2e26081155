//! Names: of golden images, of the virtual machines made from them and of the images captured. The same input makes the same names.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{Hash, Hasher},
};

use serde::{Serialize, Serializer};
use time::{Date, Month};

/// The longest name of a virtual machine: Windows' limit, since golden images may change their operating system but not their name.
const VM_NAME_LENGTH: usize = 15;
/// What is left of a name that is too long.
const CUT_LENGTH: usize = 13;
/// What is left of a name that gets a number of three digits.
const NUMBERED_LENGTH: usize = VM_NAME_LENGTH - 3;

/// The path of a golden image below `GoldenImages`, such as `Win2016/Datacenter.json`: written with `/`, compared without case.
#[derive(Clone, Debug)]
pub struct ImagePath {
    text: String,
    key: String,
}

impl ImagePath {
    /// Reads a path as people and the older scripts write it: `\` counts as `/`. `None` when nothing is left.
    pub fn parse(text: &str) -> Option<Self> {
        let segments: Vec<_> = text.trim().split(['/', '\\']).map(str::trim).filter(|part| !part.is_empty() && *part != ".").collect();
        if segments.is_empty() {
            return None;
        }
        let text = segments.join("/");
        let key = text.to_ascii_lowercase();
        Some(Self { text, key })
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a lab that lists `listed` gets this image: `listed` is the file, with or without `.json`, or a folder above it.
    pub fn is_listed_by(&self, listed: &ImagePath) -> bool {
        let rest = self.key.strip_prefix(&listed.key);
        rest.is_some_and(|rest| rest.is_empty() || rest == ".json" || rest.starts_with('/'))
    }

    /// The file's name without `.json`.
    fn stem(&self) -> &str {
        let file = self.text.rsplit('/').next().unwrap_or_default();
        let cut = file.len().saturating_sub(".json".len());
        match (file.get(..cut), file.get(cut..)) {
            (Some(stem), Some(extension)) if !stem.is_empty() && extension.eq_ignore_ascii_case(".json") => stem,
            _ => file,
        }
    }

    /// The name of the folder that the file is in; `None` straight below `GoldenImages`.
    fn folder(&self) -> Option<&str> {
        self.text.rsplit('/').nth(1)
    }
}

impl PartialEq for ImagePath {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for ImagePath {}

impl PartialOrd for ImagePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ImagePath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl Hash for ImagePath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for ImagePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// The name of each golden image's virtual machine. `taken` are the names (in lower case) that others hold in the lab.
///
/// All golden images are named together, so that every job of a sliced run finds the same names.
pub fn vm_names<'a>(paths: impl IntoIterator<Item = &'a ImagePath>, taken: &BTreeSet<String>) -> BTreeMap<ImagePath, String> {
    let ordered: BTreeSet<_> = paths.into_iter().collect();
    let mut used = taken.clone();
    let mut names = BTreeMap::new();
    for path in ordered {
        let base = vm_base_name(path);
        let numbers = (0..1000).map(|step| (checksum(&path.key) + step) % 1000);
        let numbered = numbers.map(|number| format!("{}{number:03}", clip(&base, NUMBERED_LENGTH)));
        let name = std::iter::once(vm_short_name(&base)).chain(numbered).find(|name| !used.contains(&name.to_ascii_lowercase()));
        if let Some(name) = name {
            used.insert(name.to_ascii_lowercase());
            names.insert(path.clone(), name);
        }
    }
    names
}

/// Letters, digits and hyphens of the file's name, as both operating systems take them, and never digits alone.
fn vm_base_name(path: &ImagePath) -> String {
    let kept: String = path.stem().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let kept = kept.trim_matches('-');
    if kept.bytes().all(|byte| byte.is_ascii_digit()) { format!("vm{kept}") } else { kept.to_owned() }
}

fn vm_short_name(base: &str) -> String {
    let length = if base.len() > VM_NAME_LENGTH { CUT_LENGTH } else { VM_NAME_LENGTH };
    clip(base, length).trim_end_matches('-').to_owned()
}

fn clip(text: &str, length: usize) -> &str {
    text.get(..length).unwrap_or(text)
}

/// FNV-1a, for a number that is the same on every machine.
fn checksum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)) % 1000
}

/// What the names of all images of a golden image begin with: `<folder>_<file>`.
pub fn image_base_name(path: &ImagePath) -> String {
    let name = path.folder().map_or_else(|| path.stem().to_owned(), |folder| format!("{folder}_{}", path.stem()));
    let allowed = |c: char| match c {
        '.' => '_',
        c if c.is_alphanumeric() || matches!(c, '_' | '-' | '(' | ')') => c,
        _ => '-',
    };
    name.chars().map(allowed).collect()
}

/// The name of an image captured on `date`: with a letter that is counted up when the day's name is taken. `taken` is in lower case.
pub fn image_name(path: &ImagePath, date: Date, taken: &BTreeSet<String>) -> String {
    let dated = format!("{}-{}-{}-{}", image_base_name(path), month(date.month()), date.day(), date.year());
    let lettered = (1_u32..).map(|count| format!("{dated}{}", letters(count)));
    let mut candidates = std::iter::once(dated.clone()).chain(lettered);
    candidates.find(|name| !taken.contains(&name.to_ascii_lowercase())).unwrap_or(dated)
}

fn month(month: Month) -> &'static str {
    const NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    NAMES[usize::from(u8::from(month)) - 1]
}

/// 1 is `A`, 26 is `Z`, 27 is `AA`.
fn letters(mut count: u32) -> String {
    let mut letters = Vec::new();
    while count > 0 {
        count -= 1;
        letters.push(char::from_digit(count % 26 + 10, 36).unwrap_or('a').to_ascii_uppercase());
        count /= 26;
    }
    letters.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        ImagePath::parse(text).unwrap()
    }

    fn november_20() -> Date {
        Date::from_calendar_date(2026, Month::November, 20).unwrap()
    }

    #[test]
    fn paths_are_compared_without_case_and_backslashes_are_slashes() {
        assert_eq!(path(r"Win2016\Datacenter.json"), path("./win2016//datacenter.JSON"));
        assert_eq!(path(r"\Win2016\Datacenter.json").as_str(), "Win2016/Datacenter.json");
        assert_eq!(ImagePath::parse(r" \/. "), None);
    }

    #[test]
    fn a_listed_path_is_a_file_or_a_folder_above_it() {
        for (listed, is_listed) in [
            ("Win2016", true),
            (r"win2016\", true),
            ("Win2016/Datacenter.json", true),
            ("Win2016/Datacenter", true),
            ("Win", false),
            ("Win2016/Data", false),
            ("Datacenter.json", false),
        ] {
            assert_eq!(path("Win2016/Datacenter.json").is_listed_by(&path(listed)), is_listed, "{listed}");
        }
    }

    #[test]
    fn vm_names_follow_the_documents() {
        for (image, name) in [
            ("Win2016/Datacenter.json", "Datacenter"),
            ("Win2016/SQLServer 2016 Express.json", "SQLServer2016"),
            ("Win2012R2/VS2015 Enterprise with Azure SDK.json", "VS2015Enterpr"),
            ("Linux/18.04.json", "vm1804"),
            ("Linux/my_image.json", "myimage"),
            ("Linux/fifteen-letters.json", "fifteen-letters"),
            ("Linux/thirteen-let-ters.json", "thirteen-let"),
            ("Linux/日本.json", "vm"),
        ] {
            assert_eq!(vm_names([&path(image)], &BTreeSet::new())[&path(image)], name);
        }
    }

    #[test]
    fn vm_names_that_are_taken_get_a_number_that_depends_on_the_path_alone() {
        let (one, two) = (path("a/Datacenter.json"), path("b/datacenter.json"));
        let names = vm_names([&two, &one], &BTreeSet::new());
        assert_eq!(names[&one], "Datacenter");
        assert_eq!(names, vm_names([&one, &two], &BTreeSet::new()));
        assert_ne!(names[&one].to_ascii_lowercase(), names[&two].to_ascii_lowercase());
        let numbered = &vm_names([&one], &BTreeSet::from(["datacenter".to_owned()]))[&one];
        assert!(numbered.len() <= 15 && numbered.starts_with("Datacenter"), "{numbered}");
        assert!(numbered.ends_with(|c: char| c.is_ascii_digit()), "{numbered}");
    }

    #[test]
    fn image_names_follow_the_documents() {
        for (image, name) in [
            ("Win2016/SQLServer 2016 Express.json", "Win2016_SQLServer-2016-Express-Nov-20-2026"),
            ("Servers/Win2016/Datacenter.json", "Win2016_Datacenter-Nov-20-2026"),
            ("Ubuntu 24.04.json", "Ubuntu-24_04-Nov-20-2026"),
            ("Linux/a&b.json", "Linux_a-b-Nov-20-2026"),
        ] {
            assert_eq!(image_name(&path(image), november_20(), &BTreeSet::new()), name);
        }
    }

    #[test]
    fn further_images_of_a_day_get_letters() {
        let mut taken = BTreeSet::new();
        let names: Vec<_> = (0..28)
            .map(|_| {
                let name = image_name(&path("a/b.json"), november_20(), &taken);
                taken.insert(name.to_ascii_lowercase());
                name
            })
            .collect();
        assert_eq!(names[0], "a_b-Nov-20-2026");
        assert_eq!(names[1], "a_b-Nov-20-2026A");
        assert_eq!(names[2], "a_b-Nov-20-2026B");
        assert_eq!(names[26], "a_b-Nov-20-2026Z");
        assert_eq!(names[27], "a_b-Nov-20-2026AA");
    }
}
