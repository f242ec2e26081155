//! Resource ids: parsed, printed, compared without case.

use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use super::request::encode_path;

/// The id of a resource below a resource group, such as a lab or a lab's virtual machine.
///
/// The text keeps its casing; ids are equal when they differ in case only, as Azure sees them.
#[derive(Clone, Debug)]
pub struct ResourceId {
    text: String,
}

/// Why a text is no resource id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not a resource id: {problem}; one looks like /subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.DevTestLab/labs/<lab>"
)]
pub struct IdError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Segments before the provider's name: `subscriptions`, the id, `resourceGroups`, the group, `providers`.
const PROVIDER: usize = 5;

impl ResourceId {
    /// The subscription's GUID.
    pub fn subscription_id(&self) -> &str {
        self.segment(1)
    }

    /// The resource group's name.
    pub fn resource_group(&self) -> &str {
        self.segment(3)
    }

    /// The provider's namespace, such as `Microsoft.DevTestLab`, as written.
    pub fn namespace(&self) -> &str {
        self.segment(PROVIDER)
    }

    /// The full type, such as `Microsoft.DevTestLab/labs/virtualmachines`, as written.
    pub fn resource_type(&self) -> String {
        let types = self.segments().skip(PROVIDER + 1).step_by(2);
        std::iter::once(self.namespace()).chain(types).collect::<Vec<_>>().join("/")
    }

    /// Whether the type is this one, without case.
    pub fn is_type(&self, resource_type: &str) -> bool {
        self.resource_type().eq_ignore_ascii_case(resource_type)
    }

    /// The last name.
    pub fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// All names, outermost first: `["lab", "vm"]`.
    pub fn names(&self) -> Vec<&str> {
        self.segments().skip(PROVIDER + 2).step_by(2).collect()
    }

    /// The id of the resource above, `None` at the top (below the resource group).
    pub fn parent(&self) -> Option<ResourceId> {
        if self.names().len() < 2 {
            return None;
        }
        let mut segments = self.text.rsplitn(3, '/');
        segments.nth(2).map(|text| ResourceId { text: text.to_owned() })
    }

    /// The id of a resource below. The name is checked by `FromStr`'s rules, and may not hold a slash.
    pub fn child(&self, child_type: &str, name: &str) -> Result<ResourceId, IdError> {
        let name = name.trim();
        if name.contains('/') {
            return Err(IdError { text: name.to_owned(), problem: "a name holds no '/'".to_owned() });
        }
        format!("{}/{child_type}/{name}", self.text).parse()
    }

    /// The id of the resource group: `/subscriptions/{s}/resourceGroups/{g}`.
    pub fn resource_group_id(&self) -> String {
        format!("/subscriptions/{}/resourceGroups/{}", self.subscription_id(), self.resource_group())
    }

    /// The id as text. `Request` percent-encodes what a URL's path cannot hold.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// As a path for a URL, each segment percent-encoded.
    pub fn path(&self) -> String {
        encode_path(&self.text)
    }

    fn segments(&self) -> impl Iterator<Item = &str> {
        self.text[1..].split('/')
    }

    fn segment(&self, index: usize) -> &str {
        self.segments().nth(index).unwrap_or_default()
    }
}

impl FromStr for ResourceId {
    type Err = IdError;

    /// Takes an id with or without a slash at its end, in white space or not.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let trimmed = text.trim();
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        match problem(trimmed) {
            Some(problem) => Err(IdError { text: text.trim().to_owned(), problem }),
            None => Ok(Self { text: trimmed.to_owned() }),
        }
    }
}

/// What keeps a text from being a resource id.
fn problem(text: &str) -> Option<String> {
    let Some(path) = text.strip_prefix('/') else { return Some("it does not start with '/'".to_owned()) };
    let segments: Vec<&str> = path.split('/').collect();
    if let Some(problem) = segments.iter().find_map(|segment| segment_problem(segment)) {
        return Some(problem);
    }
    for (index, keyword) in [(0, "subscriptions"), (2, "resourceGroups"), (4, "providers")] {
        if !segments.get(index).is_some_and(|segment| segment.eq_ignore_ascii_case(keyword)) {
            return Some(format!("'{keyword}' is missing as its part {}", index + 1));
        }
    }
    if uuid::Uuid::try_parse(segments[1]).is_err() || segments[1].len() != 36 {
        return Some(format!("'{}' is not the GUID of a subscription", segments[1]));
    }
    match segments.len() - PROVIDER {
        1 | 2 => Some("the resource's type and name are missing".to_owned()),
        count if count % 2 == 0 => Some("types and names do not pair up".to_owned()),
        _ => None,
    }
}

fn segment_problem(segment: &str) -> Option<String> {
    if segment.trim().is_empty() {
        return Some("a part of it is empty".to_owned());
    }
    if segment == "." || segment.contains("..") {
        return Some(format!("'{segment}' is not a name"));
    }
    let bad = |character: char| character.is_control() || matches!(character, '?' | '#' | '%' | '\\' | '<' | '>' | '"');
    segment.chars().find(|character| bad(*character)).map(|character| format!("it holds the character {character:?}"))
}

impl fmt::Display for ResourceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.text.eq_ignore_ascii_case(&other.text)
    }
}

impl Eq for ResourceId {}

impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.to_ascii_lowercase().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM: &str = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/Rg (1)/providers/Microsoft.DevTestLab/labs/lab/virtualmachines/vm1";

    fn id(text: &str) -> ResourceId {
        text.parse().unwrap()
    }

    #[test]
    fn an_id_falls_into_its_parts() {
        let vm = id(VM);
        assert_eq!(vm.subscription_id(), "11111111-2222-3333-4444-555555555555");
        assert_eq!(vm.resource_group(), "Rg (1)");
        assert_eq!(vm.namespace(), "Microsoft.DevTestLab");
        assert_eq!(vm.resource_type(), "Microsoft.DevTestLab/labs/virtualmachines");
        assert!(vm.is_type("microsoft.devtestlab/LABS/virtualMachines"));
        assert_eq!((vm.name(), vm.names()), ("vm1", vec!["lab", "vm1"]));
        assert_eq!(vm.resource_group_id(), "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/Rg (1)");
        assert!(vm.path().contains("/Rg%20(1)/"), "{}", vm.path());
        let lab = vm.parent().unwrap();
        assert_eq!(lab.names(), ["lab"]);
        assert_eq!(lab.parent(), None);
        assert_eq!(lab.child("virtualMachines", "VM1").unwrap(), vm);
    }

    #[test]
    fn ids_differing_in_case_are_one() {
        let set: std::collections::HashSet<_> = [id(VM), id(&VM.to_ascii_lowercase()), id(&format!("  {VM}/ "))].into();
        assert_eq!(set.len(), 1);
        assert_eq!(id(&format!(" {VM}/\n")).as_str(), VM);
    }

    #[test]
    fn what_is_no_id_is_told_why() {
        let sub = "/subscriptions/11111111-2222-3333-4444-555555555555";
        let cases = [
            ("", "does not start with '/'"),
            ("vm1", "does not start with '/'"),
            ("/", "does not start with '/'"),
            ("/subscriptions//resourceGroups/g/providers/N/t/n", "empty"),
            ("/subscriptions/mine/resourceGroups/g/providers/N/t/n", "'mine' is not the GUID"),
            ("/subscriptions/11111111222233334444555555555555/resourceGroups/g/providers/N/t/n", "is not the GUID"),
            (&format!("{sub}/groups/g/providers/N/t/n"), "'resourceGroups' is missing"),
            (&format!("{sub}/resourceGroups/g"), "'providers' is missing"),
            (&format!("{sub}/resourceGroups/g/providers/N"), "type and name are missing"),
            (&format!("{sub}/resourceGroups/g/providers/N/t"), "type and name are missing"),
            (&format!("{sub}/resourceGroups/g/providers/N/t/n/t2"), "pair up"),
            (&format!("{sub}/resourceGroups/../providers/N/t/n"), "'..' is not a name"),
            (&format!("{sub}/resourceGroups/g/providers/N/t/n?x=y"), "the character '?'"),
            (&format!("{sub}/resourceGroups/g/providers/N/t/n#x"), "the character '#'"),
            (&format!("{sub}/resourceGroups/g/providers/N/t/n%2e"), "the character '%'"),
            (&format!("{sub}/resourceGroups/g/providers/N/t/n\u{7}x"), "the character '\\u{7}'"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<ResourceId>().unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("one looks like /subscriptions/"), "{text}: {error}");
        }
        for name in ["a/b", "..", "", "a?b"] {
            assert!(id(VM).child("disks", name).is_err(), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics_and_keeps_the_text(text in "[/a-zA-Z0-9.%? \\-]{0,80}") {
            if let Ok(id) = text.parse::<ResourceId>() {
                proptest::prop_assert_eq!(id.to_string(), text.trim().trim_end_matches('/'));
                let _ = (id.names(), id.parent(), id.resource_type());
            }
        }
    }
}
