//! Repositories of a lab, and the environment templates that they hold.

use serde_json::Value;

use super::{API_VERSION, Lab, text};
use crate::arm::{Request, ResourceId};

/// A repository or a template, by the names that a user may know it under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The name it is shown under.
    pub display_name: Option<String>,
}

/// The list of a lab's repositories.
pub fn list(lab: &Lab) -> Request {
    Request::get(format!("{}/artifactsources", lab.id().as_str()), API_VERSION)
}

/// The list of a repository's templates.
pub fn list_templates(source: &ResourceId) -> Request {
    Request::get(format!("{}/armtemplates", source.as_str()), API_VERSION)
}

/// GET of a template; its `properties.contents` is the template itself.
pub fn get_template(id: &ResourceId) -> Request {
    Request::get(id.as_str(), API_VERSION)
}

impl Named {
    /// Reads an item of a list.
    pub fn read(value: &Value) -> Self {
        Self {
            id: text(value, "/id").unwrap_or_default(),
            name: text(value, "/name").unwrap_or_default(),
            display_name: text(value, "/properties/displayName"),
        }
    }

    /// Whether it goes by this name.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.display_name.as_ref().is_some_and(|shown| shown.eq_ignore_ascii_case(name))
    }
}
