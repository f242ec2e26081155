//! The Markdown summary that a task puts on the run's page.

/// What a task did, as Markdown is made of it.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The heading.
    pub title: String,
    /// Rows of name and value, in order; values are escaped for Markdown.
    pub facts: Vec<(String, String)>,
    /// Links: text and address.
    pub links: Vec<(String, String)>,
}
