//! Expressions: `[concat(parameters('name'), '-vm')]`, parsed and printed. Evaluation is left to `evaluate`.

use std::fmt;

use super::functions::{self, Function};

/// The longest expression that the resource manager takes, in characters.
pub(crate) const MAX_LENGTH: usize = 24_576;
/// How deep calls may nest.
const MAX_DEPTH: usize = 64;

/// An expression. `at` is the offset of its first character in the string, in characters.
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Text(String),
    Integer(i64),
    Call(Call),
    /// A value and the steps into it, kept flat so that a long chain needs no deep recursion.
    Access(Box<Expression>, Vec<Accessor>),
}

/// A call of a function of ours or, with a namespace, of the template's.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) function: Option<&'static Function>,
    pub(crate) arguments: Vec<Expression>,
    pub(crate) at: usize,
}

/// `.name` or `[index]`.
#[derive(Clone, Debug)]
pub(crate) enum Accessor {
    Property(String, usize),
    Index(Expression, usize),
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// The offset in the string, in characters.
    pub(crate) at: usize,
    pub(crate) problem: String,
}

/// What a string of a template is.
pub(crate) enum Text<'t> {
    /// Itself.
    Literal(&'t str),
    /// Itself without the first bracket: `[[…]`.
    Escaped(&'t str),
    /// An expression, with the brackets.
    Expression(&'t str),
}

/// Tells expressions from other strings.
pub(crate) fn classify(text: &str) -> Text<'_> {
    if text.len() < 2 || !text.starts_with('[') || !text.ends_with(']') {
        Text::Literal(text)
    } else if let Some(rest) = text.strip_prefix("[[") {
        Text::Escaped(&text[text.len() - rest.len() - 1..])
    } else {
        Text::Expression(text)
    }
}

/// Parses an expression with its brackets.
pub(crate) fn parse(text: &str) -> Result<Expression, SyntaxError> {
    let length = text.chars().count();
    if length > MAX_LENGTH {
        let problem = format!("the expression has {length} characters, at most {MAX_LENGTH} are allowed");
        return Err(SyntaxError { at: 0, problem });
    }
    let characters: Vec<char> = text.chars().collect();
    let mut parser = Parser { characters: &characters[..length - 1], at: 1, depth: 0 };
    let expression = parser.expression()?;
    parser.blank();
    match parser.peek() {
        None => Ok(expression),
        Some(c) => Err(parser.fault(format!("expected the end of the expression, found '{c}'"))),
    }
}

struct Parser<'t> {
    characters: &'t [char],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn blank(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn fault(&self, problem: String) -> SyntaxError {
        SyntaxError { at: self.at, problem }
    }

    fn unexpected(&self, expected: &str) -> SyntaxError {
        self.fault(match self.peek() {
            Some(c) => format!("expected {expected}, found '{c}'"),
            None => format!("expected {expected}, found the end of the expression"),
        })
    }

    fn expression(&mut self) -> Result<Expression, SyntaxError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault(format!("the expression is nested more than {MAX_DEPTH} deep")));
        }
        self.blank();
        let base = match self.peek() {
            Some('\'') => Expression::Text(self.string()?),
            Some(c) if c == '-' || c == '+' || c.is_ascii_digit() => self.integer()?,
            Some(c) if c.is_alphabetic() || c == '_' => self.call()?,
            _ => return Err(self.unexpected("a function, a string in single quotes or an integer")),
        };
        let steps = self.accessors()?;
        self.depth -= 1;
        Ok(if steps.is_empty() { base } else { Expression::Access(Box::new(base), steps) })
    }

    fn accessors(&mut self) -> Result<Vec<Accessor>, SyntaxError> {
        let mut steps = Vec::new();
        loop {
            self.blank();
            let at = self.at;
            match self.peek() {
                Some('.') => {
                    self.at += 1;
                    self.blank();
                    let name = self.name();
                    if name.is_empty() {
                        return Err(self.unexpected("a property's name"));
                    }
                    steps.push(Accessor::Property(name, at));
                }
                Some('[') => {
                    self.at += 1;
                    let index = self.expression()?;
                    self.blank();
                    if self.peek() != Some(']') {
                        return Err(self.unexpected("']'"));
                    }
                    self.at += 1;
                    steps.push(Accessor::Index(index, at));
                }
                _ => return Ok(steps),
            }
        }
    }

    fn name(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            self.at += 1;
        }
        self.characters[start..self.at].iter().collect()
    }

    /// A string in single quotes; two of them inside stand for one.
    fn string(&mut self) -> Result<String, SyntaxError> {
        let opened = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                None => return Err(SyntaxError { at: opened, problem: "the string has no closing quote".to_owned() }),
                Some('\'') if self.characters.get(self.at + 1) == Some(&'\'') => {
                    text.push('\'');
                    self.at += 2;
                }
                Some('\'') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(c) => {
                    text.push(c);
                    self.at += 1;
                }
            }
        }
    }

    fn integer(&mut self) -> Result<Expression, SyntaxError> {
        let start = self.at;
        self.at += 1;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self.characters[start..self.at].iter().collect();
        if self.peek() == Some('.') && self.characters.get(self.at + 1).is_some_and(char::is_ascii_digit) {
            return Err(self.fault("expressions hold integers only; a fraction is written json('1.5')".to_owned()));
        }
        digits.parse().map(Expression::Integer).map_err(|_| SyntaxError { at: start, problem: format!("'{digits}' is no 64-bit integer") })
    }

    fn call(&mut self) -> Result<Expression, SyntaxError> {
        let at = self.at;
        let mut name = self.name();
        let mut namespace = None;
        self.blank();
        if self.peek() == Some('.') {
            self.at += 1;
            self.blank();
            namespace = Some(std::mem::replace(&mut name, self.name()));
            self.blank();
        }
        if self.peek() != Some('(') {
            let hint = if matches!(name.to_ascii_lowercase().as_str(), "true" | "false" | "null") {
                format!("'{name}' is written '{name}()' in an expression")
            } else {
                format!("expected '(' after the function name '{name}'")
            };
            return Err(SyntaxError { at, problem: hint });
        }
        self.at += 1;
        let arguments = self.arguments()?;
        let function = if namespace.is_none() { functions::find(&name) } else { None };
        Ok(Expression::Call(Call { namespace, name, function, arguments, at }))
    }

    fn arguments(&mut self) -> Result<Vec<Expression>, SyntaxError> {
        let mut arguments = Vec::new();
        self.blank();
        if self.peek() == Some(')') {
            self.at += 1;
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            self.blank();
            match self.peek() {
                Some(',') => self.at += 1,
                Some(')') => {
                    self.at += 1;
                    return Ok(arguments);
                }
                _ => return Err(self.unexpected("',' or ')'")),
            }
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(out, "'{}'", text.replace('\'', "''")),
            Self::Integer(number) => write!(out, "{number}"),
            Self::Call(call) => {
                if let Some(namespace) = &call.namespace {
                    write!(out, "{namespace}.")?;
                }
                write!(out, "{}(", call.name)?;
                for (index, argument) in call.arguments.iter().enumerate() {
                    write!(out, "{}{argument}", if index == 0 { "" } else { ", " })?;
                }
                out.write_str(")")
            }
            Self::Access(base, steps) => {
                write!(out, "{base}")?;
                for step in steps {
                    match step {
                        Accessor::Property(name, _) => write!(out, ".{name}")?,
                        Accessor::Index(index, _) => write!(out, "[{index}]")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl Expression {
    /// Calls `visit` on every call, outermost first.
    pub(crate) fn calls<'e>(&'e self, visit: &mut dyn FnMut(&'e Call)) {
        self.each(&mut |expression| {
            if let Self::Call(call) = expression {
                visit(call);
            }
        });
    }

    /// Where `deployment().properties.templateLink.uri` begins and where its last dot is, when the expression begins so.
    pub(crate) fn template_address(&self) -> Option<(usize, usize)> {
        let Self::Access(base, steps) = self else { return None };
        let Self::Call(call) = base.as_ref() else { return None };
        let [Accessor::Property(first, _), Accessor::Property(second, _), Accessor::Property(third, last), ..] = steps.as_slice() else {
            return None;
        };
        let names = [(first, "properties"), (second, "templateLink"), (third, "uri")];
        let asked = call.function.is_some_and(|function| function.name == "deployment")
            && names.iter().all(|(name, wanted)| name.eq_ignore_ascii_case(wanted));
        asked.then_some((call.at, *last))
    }

    /// Calls `visit` on every part, outermost first.
    pub(crate) fn each<'e>(&'e self, visit: &mut dyn FnMut(&'e Self)) {
        visit(self);
        match self {
            Self::Text(_) | Self::Integer(_) => {}
            Self::Call(call) => call.arguments.iter().for_each(|argument| argument.each(visit)),
            Self::Access(base, steps) => {
                base.each(visit);
                for step in steps {
                    if let Accessor::Index(index, _) = step {
                        index.each(visit);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An expression's text without its brackets, from all kinds of parts.
    fn text() -> impl Strategy<Value = String> {
        let leaf = prop_oneof!["'([ -&(-~]|''){0,8}'", any::<i64>().prop_map(|number| number.to_string())];
        leaf.prop_recursive(4, 20, 3, |inner| {
            let call = ("([a-z]{1,6}\\.)?[a-zA-Z]{1,8}", proptest::collection::vec(inner.clone(), 0..3))
                .prop_map(|(name, arguments)| format!("{name}({})", arguments.join(" , ")));
            prop_oneof![
                call.clone(),
                (call.clone(), "[a-zA-Z_]{1,5}").prop_map(|(call, name)| format!("{call} . {name}")),
                (call, inner).prop_map(|(call, index)| format!("{call}[{index}]")),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn printed_and_parsed_is_the_same(text in text()) {
            let parsed = parse(&format!("[{text}]")).unwrap();
            let printed = parsed.to_string();
            let again = parse(&format!("[{printed}]")).unwrap();
            prop_assert_eq!(again.to_string(), printed);
        }
    }

    #[test]
    fn faults_name_their_character() {
        for (text, at) in [("[a(]", 3), ("[a('x]", 3), ("[ b]", 2), ("[a().]", 5), ("[a()[1]", 6), ("[]", 1)] {
            assert_eq!(parse(text).expect_err(text).at, at, "{text}");
        }
    }
}
