//! Resource ids: parsed from paths, compared without case.

use std::fmt;

/// A resource's id: a scope, and a provider with pairs of type and name below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// What lies above the last `/providers/`, such as `/subscriptions/…/resourceGroups/…`; empty at tenant level.
    pub scope: String,
    /// The provider's namespace.
    pub namespace: String,
    /// Pairs of type and name; never empty.
    pub pairs: Vec<(String, String)>,
}

impl Id {
    /// Parses an id such as `/subscriptions/…/resourceGroups/…/providers/Namespace/type/name`.
    pub fn parse(text: &str) -> Option<Self> {
        let segments: Vec<&str> = text.trim().strip_prefix('/')?.trim_end_matches('/').split('/').collect();
        let provider = segments.iter().rposition(|segment| segment.eq_ignore_ascii_case("providers"))?;
        let (namespace, rest) = segments[provider + 1..].split_first()?;
        if rest.is_empty() || rest.len() % 2 == 1 || segments.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let scope = segments[..provider].iter().flat_map(|segment| ["/", segment]).collect();
        let pairs = rest.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
        Some(Self { scope, namespace: (*namespace).to_owned(), pairs })
    }

    /// The id that compares: in lower case throughout.
    pub fn key(&self) -> String {
        self.to_string().to_ascii_lowercase()
    }

    /// The full type, such as `Microsoft.DevTestLab/labs/virtualMachines`.
    pub fn type_name(&self) -> String {
        self.pairs.iter().fold(self.namespace.clone(), |text, (kind, _)| text + "/" + kind)
    }

    /// The last name.
    pub fn name(&self) -> &str {
        self.pairs.last().map_or("", |(_, name)| name)
    }

    /// All names, separated by `/`, as templates write them.
    pub fn full_name(&self) -> String {
        self.pairs.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join("/")
    }

    /// The resource above, if this one is nested.
    pub fn parent(&self) -> Option<Self> {
        (self.pairs.len() > 1).then(|| Self { pairs: self.pairs[..self.pairs.len() - 1].to_vec(), ..self.clone() })
    }

    /// The ancestor that has `depth` pairs.
    pub fn ancestor(&self, depth: usize) -> Self {
        Self { pairs: self.pairs[..depth.min(self.pairs.len())].to_vec(), ..self.clone() }
    }

    /// A resource below.
    pub fn child(&self, kind: &str, name: &str) -> Self {
        let mut child = self.clone();
        child.pairs.push((kind.into(), name.into()));
        child
    }

    /// The subscription's GUID.
    pub fn subscription(&self) -> Option<&str> {
        scope_part(&self.scope, "subscriptions")
    }

    /// The resource group's name.
    pub fn group(&self) -> Option<&str> {
        scope_part(&self.scope, "resourceGroups")
    }

    /// Another resource in the same scope.
    pub fn sibling(&self, namespace: &str, kind: &str, name: &str) -> Self {
        Self { scope: self.scope.clone(), namespace: namespace.into(), pairs: vec![(kind.into(), name.into())] }
    }

    /// Whether the full type is this one, without case.
    pub fn is(&self, type_name: &str) -> bool {
        self.type_name().eq_ignore_ascii_case(type_name)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/providers/{}", self.scope, self.namespace)?;
        self.pairs.iter().try_for_each(|(kind, name)| write!(f, "/{kind}/{name}"))
    }
}

/// The id of a resource group.
pub fn group_id(subscription: &str, name: &str) -> String {
    format!("/subscriptions/{subscription}/resourceGroups/{name}")
}

/// A resource in a resource group.
pub fn in_group(subscription: &str, group: &str, namespace: &str, kind: &str, name: &str) -> Id {
    Id { scope: group_id(subscription, group), namespace: namespace.into(), pairs: vec![(kind.into(), name.into())] }
}

/// What follows `name` in a scope or id.
pub fn scope_part<'a>(scope: &'a str, name: &str) -> Option<&'a str> {
    let mut segments = scope.split('/');
    segments.by_ref().find(|segment| segment.eq_ignore_ascii_case(name))?;
    segments.next().filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_apart_and_put_together() {
        let text = "/subscriptions/1/resourceGroups/g/providers/Microsoft.DevTestLab/labs/L/virtualMachines/v";
        let id = Id::parse(text).expect("an id");
        assert_eq!(id.to_string(), text);
        assert_eq!(id.type_name(), "Microsoft.DevTestLab/labs/virtualMachines");
        assert_eq!((id.name(), id.group(), id.subscription()), ("v", Some("g"), Some("1")));
        assert_eq!(id.parent().map(|parent| parent.full_name()), Some("L".into()));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "/", "x", "/subscriptions/1/resourceGroups/g", "/subscriptions/1/providers/A/b", "/a//providers/A/b/c"] {
            assert_eq!(Id::parse(text), None, "{text}");
        }
    }
}
