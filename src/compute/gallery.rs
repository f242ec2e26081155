//! Names, tags and dates that galleries, definitions and versions share.

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use super::Invalid;

/// The longest name of a gallery or a definition.
const LONGEST_NAME: usize = 80;

/// Checks a gallery's name: letters, digits, `.` and `_`, a letter or digit at both ends. Galleries take no `-`.
pub fn check_gallery_name(name: &str) -> Result<(), Invalid> {
    check_name(name, &['.', '_'], "letters, digits, '.' and '_'")
}

/// Checks a definition's name: letters, digits, `.`, `-` and `_`, a letter or digit at both ends.
pub fn check_definition_name(name: &str) -> Result<(), Invalid> {
    check_name(name, &['.', '-', '_'], "letters, digits, '.', '-' and '_'")
}

fn check_name(name: &str, punctuation: &[char], allowed: &str) -> Result<(), Invalid> {
    let fits = |character: char| character.is_ascii_alphanumeric() || punctuation.contains(&character);
    let ends = [name.chars().next(), name.chars().next_back()];
    let problem = if name.chars().count() > LONGEST_NAME {
        format!("a name has at most {LONGEST_NAME} characters, this one has {}", name.chars().count())
    } else if let Some(wrong) = name.chars().find(|character| !fits(*character)) {
        format!("'{wrong}' is not allowed in a name; use {allowed}")
    } else if !ends.into_iter().all(|end| end.is_some_and(|end| end.is_ascii_alphanumeric())) {
        "a name begins and ends with a letter or a digit".to_owned()
    } else {
        return Ok(());
    };
    Err(Invalid::new(name, problem))
}

/// Checks a publisher, offer or SKU of a definition.
pub fn check_identifier(text: &str, longest: usize) -> Result<(), Invalid> {
    let fits = |character: char| character.is_ascii_alphanumeric() || ['.', '-', '_'].contains(&character);
    if text.chars().count() > longest {
        return Err(Invalid::new(text, format!("at most {longest} characters are allowed, this has {}", text.chars().count())));
    }
    if let Some(wrong) = text.chars().find(|character| !fits(*character)) {
        return Err(Invalid::new(text, format!("'{wrong}' is not allowed; use letters, digits, '.', '-' and '_'")));
    }
    if text.ends_with('.') {
        return Err(Invalid::new(text, "it must not end with '.'"));
    }
    Ok(())
}

/// Reads a date: a day (`2027-06-30`, its beginning in UTC) or a moment (`2027-06-30T12:00:00Z`).
pub fn parse_date(text: &str) -> Result<OffsetDateTime, Invalid> {
    let text = text.trim();
    let moment = OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339));
    moment
        .map(|moment| moment.to_offset(UtcOffset::UTC))
        .map_err(|_| Invalid::new(text, "give a date such as 2027-06-30, or a moment such as 2027-06-30T12:00:00Z"))
}

/// A moment as Azure takes and gives it.
pub fn format_date(moment: OffsetDateTime) -> String {
    moment.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap_or_else(|_| moment.to_string())
}

/// Whether two dates of Azure's are the same moment, however they are written.
pub fn same_date(one: &Value, other: &Value) -> bool {
    match (one.as_str().map(parse_date), other.as_str().map(parse_date)) {
        (Some(Ok(one)), Some(Ok(other))) => one == other,
        _ => one == other,
    }
}

/// Reads tags: lines of `name=value`.
pub fn parse_tags(text: &str) -> Result<Map<String, Value>, Invalid> {
    const FORBIDDEN: &[char] = &['<', '>', '%', '&', '\\', '?', '/'];
    let mut tags = Map::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once('=').ok_or_else(|| Invalid::new(line, "write a tag as name=value, one on a line"))?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.chars().count() > 512 || name.contains(FORBIDDEN) {
            return Err(Invalid::new(line, "a tag's name has 1 to 512 characters and none of < > % & \\ ? /"));
        }
        if value.chars().count() > 256 {
            return Err(Invalid::new(name, format!("a tag's value has at most 256 characters, this one has {}", value.chars().count())));
        }
        if tags.keys().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(Invalid::new(name, "this tag is given twice"));
        }
        tags.insert(name.to_owned(), json!(value));
    }
    match tags.len() {
        0..=50 => Ok(tags),
        count => Err(Invalid::new(format!("{count} tags"), "a resource takes at most 50")),
    }
}

/// `existing` with the tags of `wanted` over it; names compare without case.
pub fn merge_tags(existing: &Value, wanted: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = existing.as_object().cloned().unwrap_or_default();
    for (name, value) in wanted {
        merged.retain(|known, _| !known.eq_ignore_ascii_case(name));
        merged.insert(name.clone(), value.clone());
    }
    merged
}

/// The body that makes a gallery.
pub fn body(location: &str, description: Option<&str>, tags: &Map<String, Value>) -> Value {
    let mut body = json!({"location": location, "properties": {}});
    if let Some(description) = description {
        body["properties"]["description"] = json!(description);
    }
    if !tags.is_empty() {
        body["tags"] = json!(tags);
    }
    body
}

/// Whether versions deleted from this gallery can be brought back, and for how many days.
pub fn soft_delete_days(gallery: &Value) -> Option<u64> {
    let policy = &gallery["properties"]["softDeletePolicy"];
    (policy["isSoftDeleteEnabled"] == json!(true)).then(|| super::whole_number(&policy["retentionPeriodInDays"]).unwrap_or(7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_azures_rules() {
        for good in ["a", "Gallery1", "my.gallery_1", &"a".repeat(80)] {
            assert_eq!(check_gallery_name(good), Ok(()), "{good}");
        }
        assert_eq!(check_definition_name("win-2022.core_x"), Ok(()));
        for (bad, problem) in [
            ("my-gallery", "'-' is not allowed in a name; use letters, digits, '.' and '_'"),
            ("_a", "a name begins and ends with a letter or a digit"),
            ("a.", "a name begins and ends with a letter or a digit"),
            ("a b", "' ' is not allowed in a name; use letters, digits, '.' and '_'"),
            ("größe", "'ö' is not allowed in a name; use letters, digits, '.' and '_'"),
        ] {
            assert_eq!(check_gallery_name(bad).unwrap_err().problem, problem, "{bad}");
        }
        assert!(check_gallery_name(&"a".repeat(81)).is_err());
        assert!(check_definition_name("").is_err());
    }

    #[test]
    fn dates_are_days_or_moments() {
        for (text, expected) in [
            ("2027-06-30", "2027-06-30T00:00:00Z"),
            ("2027-06-30T12:00:00Z", "2027-06-30T12:00:00Z"),
            ("2027-06-30T12:00:00+02:00", "2027-06-30T10:00:00Z"),
        ] {
            assert_eq!(format_date(parse_date(text).unwrap()), expected);
        }
        for bad in ["", "2027-13-01", "2027-02-30", "30.06.2027", "tomorrow", "2027-06-30 12:00", "27-06-30"] {
            assert!(parse_date(bad).is_err(), "{bad}");
        }
        assert!(same_date(&json!("2027-06-30"), &json!("2027-06-30T00:00:00.0000000+00:00")));
        assert!(!same_date(&json!("2027-06-30"), &Value::Null));
    }

    #[test]
    fn tags_are_lines_and_keep_what_is_there() {
        let tags = parse_tags("team=build\n\n query=a=b \nempty=").unwrap();
        assert_eq!(Value::from(tags.clone()), json!({"team": "build", "query": "a=b", "empty": ""}));
        assert_eq!(Value::from(merge_tags(&json!({"Team": "x", "other": "y"}), &tags))["other"], "y");
        assert_eq!(merge_tags(&json!({"Team": "x", "other": "y"}), &tags).len(), 4);
        for (bad, problem) in [
            ("team", "write a tag as name=value, one on a line"),
            ("=x", "a tag's name has 1 to 512 characters and none of < > % & \\ ? /"),
            ("a/b=x", "a tag's name has 1 to 512 characters and none of < > % & \\ ? /"),
            ("a=1\nA=2", "this tag is given twice"),
        ] {
            assert_eq!(parse_tags(bad).unwrap_err().problem, problem, "{bad}");
        }
    }
}
