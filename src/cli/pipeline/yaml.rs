//! YAML as Azure Pipelines reads it: every scalar is text, anchors are refused, and everything knows its line and column.

use granit_parser::{Event, Marker, Parser, ScalarStyle};

/// How deep a file may nest.
const MAX_DEPTH: usize = 64;

/// A line and a column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub position: Position,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl Fault {
    /// A fault at a position.
    pub fn new(position: Position, message: impl Into<String>) -> Self {
        Self { position, message: message.into() }
    }
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub position: Position,
    /// The value.
    pub value: Value,
}

/// What YAML is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A scalar, as text. `Null` is one that was left out.
    Scalar(String),
    /// Nothing, where a value could stand.
    Null,
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping, in the order of the file.
    Mapping(Vec<(Scalar, Node)>),
}

/// A scalar and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Where it begins.
    pub position: Position,
    /// Its text.
    pub text: String,
}

impl Node {
    /// What this is, in a message.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Scalar(_) => "text",
            Value::Null => "nothing",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// Parses a file of one document.
pub fn parse(text: &str) -> Result<Node, Fault> {
    let mut builder = Builder::default();
    for next in Parser::new_from_str(text.trim_start_matches('\u{feff}')) {
        let (event, span) = next.map_err(|error| Fault::new(position(error.marker()), error.info()))?;
        builder.take(event, position(&span.start))?;
    }
    builder.root.ok_or_else(|| Fault::new(Position { line: 1, column: 1 }, "the file is empty"))
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

/// A list or mapping whose end was not seen yet.
enum Open {
    Sequence(Position, Vec<Node>),
    Mapping { position: Position, entries: Vec<(Scalar, Node)>, key: Option<Scalar> },
}

/// Builds the tree from events, without recursion.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, position: Position) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Fault::new(position, "a second document begins; a pipeline is one document"))
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                Err(Fault::new(position, "anchors and aliases are not supported by Azure Pipelines"))
            }
            Event::Scalar(text, style, ..) => {
                let null = style == ScalarStyle::Plain && (text.is_empty() || text == "~" || text == "null");
                let value = if null { Value::Null } else { Value::Scalar(text.into_owned()) };
                self.place(Node { position, value })
            }
            Event::SequenceStart(..) => self.push(Open::Sequence(position, Vec::new()), position),
            Event::MappingStart(..) => self.push(Open::Mapping { position, entries: Vec::new(), key: None }, position),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence(position, items)) => self.place(Node { position, value: Value::Sequence(items) }),
                Some(Open::Mapping { position, entries, .. }) => self.place(Node { position, value: Value::Mapping(entries) }),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn push(&mut self, open: Open, position: Position) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::new(position, format!("nested more than {MAX_DEPTH} deep")));
        }
        self.open.push(open);
        Ok(())
    }

    /// Puts a whole node where it belongs: into the list, as key or value of the mapping, or at the top.
    fn place(&mut self, node: Node) -> Result<(), Fault> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence(_, items)) => items.push(node),
            Some(Open::Mapping { entries, key, .. }) => match key.take() {
                Some(name) => entries.push((name, node)),
                None => *key = Some(new_key(entries, node)?),
            },
        }
        Ok(())
    }
}

fn new_key(entries: &[(Scalar, Node)], node: Node) -> Result<Scalar, Fault> {
    let position = node.position;
    let Value::Scalar(text) = node.value else {
        return Err(Fault::new(position, format!("a key must be text, not {}", node.kind())));
    };
    match entries.iter().find(|(key, _)| key.text == text) {
        Some((first, _)) => {
            Err(Fault::new(position, format!("'{text}' is here a second time; the first is on line {}", first.position.line)))
        }
        None => Ok(Scalar { position, text }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Scalar(text) => format!("{text:?}"),
            Value::Null => "-".into(),
            Value::Sequence(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(",")),
            Value::Mapping(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, value)| format!("{}@{}:{}={}", key.text, key.position.line, key.position.column, show(value)))
                    .collect();
                format!("{{{}}}", entries.join(","))
            }
        }
    }

    #[test]
    fn scalars_stay_as_they_were_written() {
        let node = parse("a: 1.10\nb: yes\nc: 0x1F\nd: 'null'\ne: null\nf:\ng: |\n  x\n  y\n").unwrap();
        assert_eq!(show(&node), r#"{a@1:1="1.10",b@2:1="yes",c@3:1="0x1F",d@4:1="null",e@5:1=-,f@6:1=-,g@7:1="x\ny\n"}"#);
    }

    #[test]
    fn lists_and_mappings_know_where_they_stand() {
        assert_eq!(
            show(&parse("steps:\n- script: a\n  name: b\n- {script: c}\n").unwrap()),
            r#"{steps@1:1=[{script@2:3="a",name@3:3="b"},{script@4:4="c"}]}"#
        );
    }

    #[test]
    fn faults_are_found_with_line_and_column() {
        let deep = format!("{}x", "- ".repeat(100));
        for (text, line, column, part) in [
            ("", 1, 1, "the file is empty"),
            ("a: 1\na: 2\n", 2, 1, "'a' is here a second time; the first is on line 1"),
            ("a: &x 1\nb: *x\n", 2, 4, "anchors and aliases"),
            ("a: 1\n---\nb: 2\n", 2, 1, "second document"),
            ("[a]: 1\n", 1, 1, "a key must be text, not a list"),
            (&deep, 1, 129, "nested more than 64 deep"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.message.contains(part), "{text}: {fault:?}");
            assert_eq!(fault.position, Position { line, column }, "{text}");
        }
    }

    #[test]
    fn broken_yaml_is_a_fault_on_its_line() {
        for (text, line) in [("a: 1\n  b: 2\n", 2), ("a: 'open\n", 2), ("a: [1, 2\nb: 3\n", 2), ("a:\n\tb: 1\n", 2)] {
            let fault = parse(text).unwrap_err();
            assert!(!fault.message.is_empty());
            assert_eq!(fault.position.line, line, "{text:?}: {fault:?}");
        }
    }
}
