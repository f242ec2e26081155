//! JSON as people write it for templates: comments, trailing commas, byte order marks, UTF-16; with positions, and numbers digit for digit.

use serde_json::Value;

/// A line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// A parsed file that remembers where everything stood.
#[derive(Clone, Debug)]
pub struct Document {
    value: Value,
}

/// Why a file is not JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {problem}", position.line, position.column)]
pub struct ParseError {
    /// Where.
    pub position: Position,
    /// What was expected, and what was found.
    pub problem: String,
}

impl Document {
    /// Parses a file's bytes.
    pub fn parse(_bytes: &[u8]) -> Result<Self, ParseError> {
        todo!()
    }

    /// The JSON value.
    pub fn value(&self) -> &Value {
        &self.value
    }
}
