//! JSON as people write it for templates: comments, trailing commas, byte order marks, UTF-16; with positions, and numbers digit for digit.
//!
//! Schema and meaning are left to the other modules.

use serde_json::{Map, Number, Value};

use super::path::{Step, parse_path};

/// How deep arrays and objects may nest, as in the resource manager's own parser.
pub const MAX_DEPTH: usize = 100;

/// A line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// A parsed file that remembers where everything stood.
#[derive(Clone, Debug, Default)]
pub struct Document {
    value: Value,
    text: String,
    root: Option<Mark>,
    duplicates: Vec<(String, Position)>,
    included: Vec<Included>,
    /// Links that something was put in place of, with their path.
    links: Vec<(String, Value)>,
}

/// Another file's content, put in place of a link.
#[derive(Clone, Debug)]
struct Included {
    path: String,
    file: String,
    document: Document,
}

/// Where a value starts (and its key, in an object), with the same of what it holds, in the value's own order.
#[derive(Clone, Debug)]
struct Mark {
    start: usize,
    key: usize,
    children: Vec<Mark>,
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
    /// Parses a file's bytes: UTF-8 or UTF-16, with or without a byte order mark.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::read(bytes, false)
    }

    /// Parses also what `az` sends: names without quotes, and strings in single quotes.
    pub fn parse_tolerantly(bytes: &[u8]) -> Result<Self, ParseError> {
        Self::read(bytes, true)
    }

    fn read(bytes: &[u8], tolerant: bool) -> Result<Self, ParseError> {
        let text = decode(bytes)?;
        let mut parser = Parser { text: &text, at: 0, depth: 0, tolerant, path: Vec::new(), duplicates: Vec::new() };
        let (value, root) = parser.document()?;
        let duplicates =
            parser.duplicates.into_iter().take(super::fault::MAX_FINDINGS).map(|(path, at)| (path, position_of(&text, at))).collect();
        Ok(Self { value, root: Some(root), duplicates, text, included: Vec::new(), links: Vec::new() })
    }

    /// A document without a file: it has no positions.
    pub fn from_value(value: Value) -> Self {
        Self { value, ..Self::default() }
    }

    /// The JSON value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// How many bytes its text has; 0 for a document without a file.
    pub fn size(&self) -> usize {
        self.text.len()
    }

    /// The properties that an object has twice, by JSON path; the last one counts.
    pub fn duplicates(&self) -> &[(String, Position)] {
        &self.duplicates
    }

    /// Where the value at a JSON path stands; for a path that does not exist, where its nearest parent stands.
    pub fn position(&self, path: &str) -> Option<Position> {
        self.position_within(path, None)
    }

    /// The file in which the value at a JSON path stands, when that is not this one.
    pub fn file(&self, path: &str) -> Option<String> {
        let (included, rest) = self.included_at(path)?;
        Some(included.document.file(rest).unwrap_or_else(|| included.file.clone()))
    }

    /// Where the character `offset` of the string at a JSON path stands.
    pub(crate) fn position_within(&self, path: &str, offset: Option<usize>) -> Option<Position> {
        if let Some((included, rest)) = self.included_at(path) {
            return included.document.position_within(rest, offset);
        }
        let mut mark = self.root.as_ref()?;
        let mut value = &self.value;
        for step in parse_path(path) {
            let child = match (&step, value) {
                (Step::Key(key), Value::Object(map)) => map.iter().position(|(k, _)| k == key).map(|i| (i, &map[key.as_str()])),
                (Step::Index(index), Value::Array(items)) => items.get(*index).map(|v| (*index, v)),
                _ => None,
            };
            let Some((index, next)) = child else { return Some(position_of(&self.text, mark.key)) };
            (mark, value) = (mark.children.get(index)?, next);
        }
        let at = match offset {
            Some(offset) if value.is_string() => raw_offset(&self.text, mark.start, offset),
            _ => mark.key,
        };
        Some(position_of(&self.text, at))
    }

    /// Replaces the value at a path by another file's content, whose positions stay its own.
    pub(crate) fn include(&mut self, value: Value, included: Vec<(String, String, Document)>, links: Vec<(String, Value)>) {
        self.value = value;
        self.links.extend(links);
        self.included.extend(included.into_iter().map(|(path, file, document)| Included { path, file, document }));
    }

    /// The links that stood below a path before their files were put in place.
    pub(crate) fn links_below(&self, path: &str) -> Vec<&Value> {
        let own = self.links.iter().filter(|(at, _)| at.starts_with(path)).map(|(_, link)| link);
        let inner = self.included_at(path).map(|(included, rest)| included.document.links_below(rest));
        own.chain(inner.into_iter().flatten()).collect()
    }

    fn included_at<'d, 'p>(&'d self, path: &'p str) -> Option<(&'d Included, &'p str)> {
        self.included.iter().find_map(|included| {
            let rest = path.strip_prefix(included.path.as_str())?;
            (rest.is_empty() || rest.starts_with(['.', '['])).then(|| (included, rest.trim_start_matches('.')))
        })
    }
}

/// The line and column of a byte offset.
fn position_of(text: &str, at: usize) -> Position {
    let before = &text[..at.min(text.len())];
    let line = before.bytes().filter(|b| *b == b'\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    Position { line: narrow(line + 1), column: narrow(column + 1) }
}

fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The byte offset, in the file, of a string's character: escapes take more room there than in the value.
fn raw_offset(text: &str, start: usize, offset: usize) -> usize {
    let mut chars = text[start..].char_indices().skip(1).peekable();
    for _ in 0..offset {
        let Some((_, c)) = chars.next() else { break };
        if c == '\\' && matches!(chars.next(), Some((_, 'u'))) {
            for _ in 0..4 {
                chars.next();
            }
        }
    }
    chars.peek().map_or(text.len(), |(i, _)| start + i)
}

/// Bytes to text, by byte order mark or, without one, by where the zero bytes of the first characters are.
fn decode(bytes: &[u8]) -> Result<String, ParseError> {
    let fault = |problem: &str| ParseError { position: Position { line: 1, column: 1 }, problem: problem.to_owned() };
    let wide = |bytes: &[u8], read: fn([u8; 2]) -> u16| {
        if !bytes.len().is_multiple_of(2) {
            return Err(fault("the file ends in the middle of a UTF-16 character"));
        }
        char::decode_utf16(bytes.chunks_exact(2).map(|pair| read([pair[0], pair[1]])))
            .collect::<Result<String, _>>()
            .map_err(|_| fault("the file is not valid UTF-16"))
    };
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest),
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        [first, 0, ..] if *first != 0 => wide(bytes, u16::from_le_bytes),
        [0, second, ..] if *second != 0 => wide(bytes, u16::from_be_bytes),
        _ => utf8(bytes),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, ParseError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            Err(ParseError { position: position_of(&valid, valid.len()), problem: "the file is not valid UTF-8".to_owned() })
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    tolerant: bool,
    path: Vec<Step>,
    duplicates: Vec<(String, usize)>,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<(Value, Mark), ParseError> {
        self.blank()?;
        if self.peek().is_none() {
            return Err(self.fault("the file is empty, a JSON value was expected"));
        }
        let found = self.value(self.at)?;
        self.blank()?;
        match self.peek() {
            None => Ok(found),
            Some(c) => Err(self.fault(&format!("expected the end of the file, found {}", shown(c)))),
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn fault(&self, problem: &str) -> ParseError {
        self.fault_at(self.at, problem)
    }

    fn fault_at(&self, at: usize, problem: &str) -> ParseError {
        ParseError { position: position_of(self.text, at), problem: problem.to_owned() }
    }

    fn unexpected(&self, expected: &str) -> ParseError {
        match self.peek() {
            Some(c) => self.fault(&format!("expected {expected}, found {}", shown(c))),
            None => self.fault(&format!("expected {expected}, found the end of the file")),
        }
    }

    /// Skips white space and comments.
    fn blank(&mut self) -> Result<(), ParseError> {
        loop {
            let rest = &self.text[self.at..];
            if let Some(c) = rest.chars().next().filter(|c| c.is_whitespace() || *c == '\u{FEFF}') {
                self.at += c.len_utf8();
            } else if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if let Some(comment) = rest.strip_prefix("/*") {
                match comment.find("*/") {
                    Some(end) => self.at += end + 4,
                    None => return Err(self.fault("the comment that starts here has no end, '*/' is missing")),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self, key: usize) -> Result<(Value, Mark), ParseError> {
        let start = self.at;
        let mut children = Vec::new();
        let value = match self.peek() {
            Some('{') => self.nested(|parser| parser.object(&mut children))?,
            Some('[') => self.nested(|parser| parser.array(&mut children))?,
            Some('"') => Value::String(self.string('"')?),
            Some('\'') if self.tolerant => Value::String(self.string('\'')?),
            Some('\'') => return Err(self.fault("strings are written in double quotes, found a single quote")),
            Some(c) if c == '-' || c.is_ascii_digit() => self.number()?,
            Some(c) if c.is_ascii_alphabetic() => self.word()?,
            _ => return Err(self.unexpected("a JSON value")),
        };
        Ok((value, Mark { start, key, children }))
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Value, ParseError>) -> Result<Value, ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault(&format!("arrays and objects are nested more than {MAX_DEPTH} deep")));
        }
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self, marks: &mut Vec<Mark>) -> Result<Value, ParseError> {
        let opened = self.at;
        self.take();
        let mut map = Map::new();
        loop {
            self.blank()?;
            let key_at = self.at;
            let key = match self.peek() {
                Some('}') => {
                    self.take();
                    return Ok(Value::Object(map));
                }
                Some('"') => self.string('"')?,
                Some('\'') if self.tolerant => self.string('\'')?,
                Some(c) if self.tolerant && (c.is_ascii_alphabetic() || c == '_' || c == '$') => self.bare_name(),
                None => return Err(self.fault_at(opened, "the object that starts here has no end, '}' is missing")),
                Some(_) => return Err(self.unexpected("a property's name in double quotes, or '}'")),
            };
            self.blank()?;
            if self.peek() != Some(':') {
                return Err(self.unexpected(&format!("':' after the property name \"{key}\"")));
            }
            self.take();
            self.blank()?;
            self.path.push(Step::Key(key));
            let (value, mark) = self.value(key_at)?;
            self.add(&mut map, marks, value, mark);
            self.blank()?;
            match self.peek() {
                Some(',') => {
                    self.take();
                }
                Some('}') => {}
                None => return Err(self.fault_at(opened, "the object that starts here has no end, '}' is missing")),
                Some(_) => return Err(self.unexpected("',' or '}' after the property's value")),
            }
        }
    }

    /// Adds the property that the path's last step names. The last of two equal names counts.
    fn add(&mut self, map: &mut Map<String, Value>, marks: &mut Vec<Mark>, value: Value, mark: Mark) {
        let path = matches!(self.path.last(), Some(Step::Key(key)) if map.contains_key(key)).then(|| super::path::show(&self.path));
        let Some(Step::Key(key)) = self.path.pop() else { return };
        if let Some(path) = path {
            self.duplicates.push((path, mark.key));
            if let Some(old) = map.keys().position(|k| *k == key).and_then(|index| marks.get_mut(index)) {
                *old = mark;
            }
        } else {
            marks.push(mark);
        }
        map.insert(key, value);
    }

    fn array(&mut self, marks: &mut Vec<Mark>) -> Result<Value, ParseError> {
        let opened = self.at;
        self.take();
        let mut items = Vec::new();
        loop {
            self.blank()?;
            match self.peek() {
                Some(']') => {
                    self.take();
                    return Ok(Value::Array(items));
                }
                None => return Err(self.fault_at(opened, "the array that starts here has no end, ']' is missing")),
                Some(_) => {}
            }
            self.path.push(Step::Index(items.len()));
            let (value, mark) = self.value(self.at)?;
            self.path.pop();
            items.push(value);
            marks.push(mark);
            self.blank()?;
            match self.peek() {
                Some(',') => {
                    self.take();
                }
                Some(']') => {}
                None => return Err(self.fault_at(opened, "the array that starts here has no end, ']' is missing")),
                Some(_) => return Err(self.unexpected("',' or ']' after the array's element")),
            }
        }
    }

    /// A string. Line breaks inside are allowed, as the resource manager allows them.
    fn string(&mut self, quote: char) -> Result<String, ParseError> {
        let opened = self.at;
        self.take();
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.take() {
                None => return Err(self.fault_at(opened, "the string that starts here has no end, a closing quote is missing")),
                Some(c) if c == quote => return Ok(text),
                Some('\\') => text.push(self.escape(at)?),
                Some(c) => text.push(c),
            }
        }
    }

    fn escape(&mut self, at: usize) -> Result<char, ParseError> {
        Ok(match self.take() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some(c @ ('"' | '\\' | '/' | '\'')) => c,
            Some('u') => {
                let high = self.hex(at)?;
                if (0xDC00..0xE000).contains(&high) {
                    return Err(self.fault_at(at, "this \\u escape is half a character"));
                }
                if !(0xD800..0xDC00).contains(&high) {
                    return char::from_u32(high).ok_or_else(|| self.fault_at(at, "this \\u escape is no character"));
                }
                if !self.text[self.at..].starts_with("\\u") {
                    return Err(self.fault_at(at, "this \\u escape is half a character"));
                }
                self.at += 2;
                let low = self.hex(at)?;
                let combined = 0x10000 + ((high - 0xD800) << 10) + low.wrapping_sub(0xDC00);
                char::from_u32(combined)
                    .filter(|_| (0xDC00..0xE000).contains(&low))
                    .ok_or_else(|| self.fault_at(at, "this \\u escape is half a character"))?
            }
            Some(c) => return Err(self.fault_at(at, &format!("'\\{c}' is no JSON escape; a backslash is written '\\\\'"))),
            None => return Err(self.fault_at(at, "the file ends in the middle of an escape")),
        })
    }

    fn hex(&mut self, at: usize) -> Result<u32, ParseError> {
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(digits) = digits else { return Err(self.fault_at(at, "'\\u' needs four hexadecimal digits")) };
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| self.fault_at(at, "'\\u' needs four hexadecimal digits"))
    }

    fn number(&mut self) -> Result<Value, ParseError> {
        let start = self.at;
        let rest = &self.text[start..];
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        self.at += end;
        let digits = &rest[..end];
        match digits.parse::<Number>() {
            Ok(number) => Ok(Value::Number(number)),
            Err(_) => Err(self.fault_at(start, &format!("'{digits}' is no JSON number"))),
        }
    }

    fn word(&mut self) -> Result<Value, ParseError> {
        let start = self.at;
        match self.bare_name().as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            word => Err(self.fault_at(start, &format!("expected a JSON value, found '{word}'"))),
        }
    }

    fn bare_name(&mut self) -> String {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
        self.at += end;
        rest[..end].to_owned()
    }
}

fn shown(c: char) -> String {
    if c.is_control() { format!("the control character U+{:04X}", u32::from(c)) } else { format!("'{c}'") }
}
