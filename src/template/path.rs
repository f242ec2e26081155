//! JSON paths: `resources[0].properties['a.b']`, built on the way down without an allocation a step.

use std::fmt::Write;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// A path as a list that grows on the stack.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trail<'t> {
    /// Where the walk starts, such as `resources[0]`.
    Start(&'t str),
    Key(&'t Trail<'t>, &'t str),
    Index(&'t Trail<'t>, usize),
}

impl<'t> Trail<'t> {
    pub(crate) fn key(&'t self, key: &'t str) -> Trail<'t> {
        Trail::Key(self, key)
    }

    pub(crate) fn index(&'t self, index: usize) -> Trail<'t> {
        Trail::Index(self, index)
    }
}

impl std::fmt::Display for Trail<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut steps = Vec::new();
        let mut trail = self;
        let start = loop {
            match trail {
                Trail::Start(start) => break start,
                Trail::Key(parent, key) => {
                    steps.push(Step::Key((*key).to_owned()));
                    trail = parent;
                }
                Trail::Index(parent, index) => {
                    steps.push(Step::Index(*index));
                    trail = parent;
                }
            }
        };
        steps.reverse();
        let mut text = (*start).to_owned();
        for step in &steps {
            push(&mut text, step);
        }
        out.write_str(&text)
    }
}

/// A path as text.
pub(crate) fn show(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        push(&mut text, step);
    }
    text
}

/// `path` with one more key.
pub(crate) fn join(path: &str, key: &str) -> String {
    Trail::Start(path).key(key).to_string()
}

/// `path` with one more index.
pub(crate) fn at(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

fn push(text: &mut String, step: &Step) {
    // Writing to a string cannot fail.
    let _ = match step {
        Step::Index(index) => write!(text, "[{index}]"),
        Step::Key(key) if !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$')) => {
            write!(text, "{}{key}", if text.is_empty() { "" } else { "." })
        }
        Step::Key(key) => write!(text, "['{}']", key.replace('\'', "\\'")),
    };
}

/// The steps of a path's text. What is no path ends the list early.
pub(crate) fn parse_path(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("['") {
            let mut key = String::new();
            let mut chars = quoted.char_indices();
            let end = loop {
                match chars.next() {
                    Some((_, '\\')) => key.extend(chars.next().map(|(_, c)| c)),
                    Some((i, '\'')) if quoted[i + 1..].starts_with(']') => break i + 2,
                    Some((_, c)) => key.push(c),
                    None => return steps,
                }
            };
            steps.push(Step::Key(key));
            rest = &quoted[end..];
        } else if let Some(indexed) = rest.strip_prefix('[') {
            let Some((index, after)) = indexed.split_once(']') else { return steps };
            let Ok(index) = index.parse() else { return steps };
            steps.push(Step::Index(index));
            rest = after;
        } else {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            steps.push(Step::Key(rest[..end].to_owned()));
            if end == 0 {
                return steps;
            }
            rest = &rest[end..];
        }
    }
    steps
}
