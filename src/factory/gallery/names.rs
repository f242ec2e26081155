//! Names in the gallery: of image definitions and of their versions. The same input makes the same names.

use time::Date;

use crate::{
    compute::{definition::Identifier, version::VersionNumber},
    factory::{
        golden_image::fingerprint,
        names::{ImagePath, image_base_name},
    },
};

/// The longest name of a definition.
const LONGEST: usize = 80;
/// The longest offer or SKU.
const LONGEST_SKU: usize = 64;

/// The name of a golden image's definition: `<folder>_<file>`, of the letters that Azure allows there.
pub fn definition_name(path: &ImagePath) -> String {
    cut(&allowed(&image_base_name(path)), LONGEST)
}

/// Publisher, offer and SKU of a golden image's definition: unique in a gallery, since its name is.
pub fn identifier(publisher: &str, lab: &str, path: &ImagePath) -> Identifier {
    Identifier { publisher: publisher.to_owned(), offer: cut(&allowed(lab), LONGEST_SKU), sku: cut(&definition_name(path), LONGEST_SKU) }
}

/// Letters, digits, `.`, `-` and `_`, with a letter or digit at both ends.
fn allowed(text: &str) -> String {
    let kept: String = text.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '-' }).collect();
    let kept = kept.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    // Nothing is left of a name in another alphabet.
    if kept.is_empty() { fingerprint(text.as_bytes()) } else { kept.to_owned() }
}

/// A text that is too long keeps its beginning, and what tells it from others of that beginning.
fn cut(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let mark = fingerprint(text.as_bytes());
    let start = text.get(..longest - mark.len() - 1).unwrap_or_default();
    format!("{}-{mark}", start.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()))
}

/// The number of a version made on `date`: `year.month and day.count`, such as `2026.1121.0`, the first that is free of `taken`.
pub fn version_number(date: Date, taken: &[VersionNumber]) -> VersionNumber {
    let major = u32::try_from(date.year()).unwrap_or_default();
    let minor = u32::from(u8::from(date.month())) * 100 + u32::from(date.day());
    let of_day = taken.iter().filter(|number| (number.major, number.minor) == (major, minor)).map(|number| number.patch);
    // After the highest, not in a gap: what comes later is the newer one.
    let patch = of_day.max().map_or(0, |highest| highest.saturating_add(1));
    VersionNumber { major, minor, patch }
}

#[cfg(test)]
mod tests {
    use time::Month;

    use super::*;
    use crate::compute::gallery::{check_definition_name, check_identifier};

    #[test]
    fn definitions_are_named_by_file_and_folder_in_azures_letters() {
        let long = format!("folder/{}.json", "x".repeat(120));
        let cases = [
            ("Win2022/Datacenter.json", "Win2022_Datacenter"),
            ("Linux/Ubuntu 24.04 (LTS).json", "Linux_Ubuntu-24_04--LTS"),
            ("a.json", "a"),
        ];
        for (text, expected) in cases {
            assert_eq!(definition_name(&ImagePath::parse(text).unwrap()), expected);
        }
        for text in [long.as_str(), "größe/übung.json", "日本/語.json", "_/_.json"] {
            let path = ImagePath::parse(text).unwrap();
            let (name, identifier) = (definition_name(&path), identifier("ImageFactory", "my lab (1)", &path));
            assert_eq!(check_definition_name(&name), Ok(()), "{name}");
            assert_eq!(check_identifier(&identifier.sku, 64).and(check_identifier(&identifier.offer, 64)), Ok(()), "{identifier:?}");
        }
        let other = format!("folder/{}y.json", "x".repeat(119));
        assert_ne!(definition_name(&ImagePath::parse(&long).unwrap()), definition_name(&ImagePath::parse(&other).unwrap()));
    }

    #[test]
    fn versions_are_numbered_by_the_day_and_counted_within_it() {
        let day = Date::from_calendar_date(2026, Month::November, 3).unwrap();
        let number = |taken: &[&str]| version_number(day, &taken.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>()).to_string();
        assert_eq!(number(&[]), "2026.1103.0");
        assert_eq!(number(&["2026.1102.7", "1.0.0"]), "2026.1103.0");
        assert_eq!(number(&["2026.1103.0", "2026.1103.4"]), "2026.1103.5");
    }
}
