//! Conditions of steps and jobs: `and(succeeded(), eq(variables['Build.Reason'], 'Manual'))`.
//!
//! A condition is checked when the file is read and evaluated when its step's turn comes. Names are compared without case, as the agent does.

use std::{cmp::Ordering, iter::Peekable, str::CharIndices};

use super::{nearest::nearest, variables::Variables};

/// How deep calls may nest.
const MAX_DEPTH: usize = 32;

/// What a condition is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// A step, or a job that this one waits for, has failed.
    pub failed: bool,
    /// The run was asked to stop.
    pub canceled: bool,
    /// The variables at this time.
    pub variables: &'a Variables,
}

/// A parsed condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition(Expression);

impl Condition {
    /// Parses a condition.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Source { text, rest: text.char_indices().peekable(), depth: 0 };
        let expression = parser.expression()?;
        parser.skip_spaces();
        match parser.rest.peek() {
            None => Ok(Self(expression)),
            Some((at, _)) => Err(format!("'{}' is left over at the end of the condition", &text[*at..])),
        }
    }

    /// What stands where no condition is written.
    pub fn succeeded() -> Self {
        Self(Expression::Call(&FUNCTIONS[0], Vec::new()))
    }

    /// Whether the step is to run.
    pub fn holds(&self, situation: Situation<'_>) -> bool {
        self.0.evaluate(situation).truth()
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Expression {
    Literal(Value),
    Variable(String),
    Call(&'static Function, Vec<Expression>),
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Boolean(bool),
    Number(f64),
    Text(String),
}

struct Function {
    name: &'static str,
    arguments: std::ops::RangeInclusive<usize>,
    call: fn(Situation<'_>, &[Value]) -> Value,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

const MANY: usize = 64;

const FUNCTIONS: &[Function] = &[
    Function { name: "succeeded", arguments: 0..=0, call: |now, _| Value::Boolean(!now.failed && !now.canceled) },
    Function { name: "failed", arguments: 0..=0, call: |now, _| Value::Boolean(now.failed && !now.canceled) },
    Function { name: "succeededOrFailed", arguments: 0..=0, call: |now, _| Value::Boolean(!now.canceled) },
    Function { name: "always", arguments: 0..=0, call: |_, _| Value::Boolean(true) },
    Function { name: "canceled", arguments: 0..=0, call: |now, _| Value::Boolean(now.canceled) },
    Function { name: "and", arguments: 2..=MANY, call: |_, values| Value::Boolean(values.iter().all(Value::truth)) },
    Function { name: "or", arguments: 2..=MANY, call: |_, values| Value::Boolean(values.iter().any(Value::truth)) },
    Function { name: "not", arguments: 1..=1, call: |_, values| Value::Boolean(!values[0].truth()) },
    Function { name: "xor", arguments: 2..=2, call: |_, values| Value::Boolean(values[0].truth() != values[1].truth()) },
    Function { name: "eq", arguments: 2..=2, call: |_, values| Value::Boolean(values[0].equals(&values[1])) },
    Function { name: "ne", arguments: 2..=2, call: |_, values| Value::Boolean(!values[0].equals(&values[1])) },
    Function { name: "gt", arguments: 2..=2, call: |_, values| ordered(values, Ordering::is_gt) },
    Function { name: "ge", arguments: 2..=2, call: |_, values| ordered(values, Ordering::is_ge) },
    Function { name: "lt", arguments: 2..=2, call: |_, values| ordered(values, Ordering::is_lt) },
    Function { name: "le", arguments: 2..=2, call: |_, values| ordered(values, Ordering::is_le) },
    Function { name: "in", arguments: 2..=MANY, call: |_, values| Value::Boolean(is_among(values)) },
    Function { name: "notIn", arguments: 2..=MANY, call: |_, values| Value::Boolean(!is_among(values)) },
    Function { name: "contains", arguments: 2..=2, call: |_, values| Value::Boolean(values[0].folded().contains(&values[1].folded())) },
    Function {
        name: "startsWith",
        arguments: 2..=2,
        call: |_, values| Value::Boolean(values[0].folded().starts_with(&values[1].folded())),
    },
    Function { name: "endsWith", arguments: 2..=2, call: |_, values| Value::Boolean(values[0].folded().ends_with(&values[1].folded())) },
    Function { name: "lower", arguments: 1..=1, call: |_, values| Value::Text(values[0].text().to_lowercase()) },
    Function { name: "upper", arguments: 1..=1, call: |_, values| Value::Text(values[0].text().to_uppercase()) },
    Function {
        name: "coalesce",
        arguments: 2..=MANY,
        call: |_, values| values.iter().find(|value| !value.text().is_empty()).cloned().unwrap_or(Value::Null),
    },
];

fn is_among(values: &[Value]) -> bool {
    values[1..].iter().any(|value| values[0].equals(value))
}

fn ordered(values: &[Value], holds: fn(Ordering) -> bool) -> Value {
    let ordering = match &values[0] {
        Value::Number(left) => values[1].number().and_then(|right| left.partial_cmp(&right)),
        left => Some(left.folded().cmp(&values[1].folded())),
    };
    Value::Boolean(ordering.is_some_and(holds))
}

impl Value {
    fn truth(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Boolean(value) => *value,
            Self::Number(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Boolean(true) => "True".into(),
            Self::Boolean(false) => "False".into(),
            Self::Number(value) => value.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    fn folded(&self) -> String {
        self.text().to_lowercase()
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Null => Some(0.0),
            Self::Boolean(value) => Some(f64::from(u8::from(*value))),
            Self::Number(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }

    /// The right side becomes what the left side is, as the agent has it.
    fn equals(&self, other: &Self) -> bool {
        match self {
            Self::Null => matches!(other, Self::Null) || other.text().is_empty(),
            Self::Boolean(left) => *left == other.truth(),
            Self::Number(left) => other.number().is_some_and(|right| left.total_cmp(&right).is_eq()),
            Self::Text(_) => self.folded() == other.folded(),
        }
    }
}

impl Expression {
    fn evaluate(&self, situation: Situation<'_>) -> Value {
        match self {
            Self::Literal(value) => value.clone(),
            Self::Variable(name) => situation.variables.value(name).map_or(Value::Null, |value| Value::Text(value.to_owned())),
            Self::Call(function, arguments) => {
                let values: Vec<_> = arguments.iter().map(|argument| argument.evaluate(situation)).collect();
                (function.call)(situation, &values)
            }
        }
    }
}

struct Source<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
    depth: usize,
}

impl Source<'_> {
    fn expression(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("calls are nested more than {MAX_DEPTH} deep"));
        }
        self.skip_spaces();
        let expression = match self.rest.peek() {
            Some((_, '\'')) => Expression::Literal(Value::Text(self.quoted()?)),
            Some((_, first)) if first.is_ascii_digit() || *first == '-' => self.number()?,
            Some((_, first)) if first.is_ascii_alphabetic() || *first == '_' => self.named()?,
            Some((at, _)) => return Err(format!("expected a function, a variable or a value at '{}'", &self.text[*at..])),
            None => return Err("the condition ends too early".into()),
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn named(&mut self) -> Result<Expression, String> {
        let name = self.word(|character| character.is_ascii_alphanumeric() || character == '_');
        if name.eq_ignore_ascii_case("true") || name.eq_ignore_ascii_case("false") {
            return Ok(Expression::Literal(Value::Boolean(name.eq_ignore_ascii_case("true"))));
        }
        if name.eq_ignore_ascii_case("variables") {
            return self.variable();
        }
        if !self.accept('(') {
            return Err(format!("'{name}' is no value; text stands in single quotes, a variable is variables['{name}']"));
        }
        let known = FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(&name));
        let function = known.ok_or_else(|| unknown(&name))?;
        let arguments = self.arguments()?;
        if !function.arguments.contains(&arguments.len()) {
            return Err(format!("{} takes {}, not {}", function.name, counted(&function.arguments), arguments.len()));
        }
        Ok(Expression::Call(function, arguments))
    }

    fn arguments(&mut self) -> Result<Vec<Expression>, String> {
        let mut arguments = Vec::new();
        if self.accept(')') {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if self.accept(')') {
                return Ok(arguments);
            }
            if !self.accept(',') {
                return Err("expected ',' or ')' after an argument".into());
            }
        }
    }

    fn variable(&mut self) -> Result<Expression, String> {
        if self.accept('.') {
            return Ok(Expression::Variable(self.word(|character| character.is_ascii_alphanumeric() || character == '_')));
        }
        if !self.accept('[') {
            return Err("a variable is written variables['name']".into());
        }
        self.skip_spaces();
        let name = self.quoted()?;
        if !self.accept(']') {
            return Err("expected ']' after the variable's name".into());
        }
        Ok(Expression::Variable(name))
    }

    fn number(&mut self) -> Result<Expression, String> {
        let text = self.word(|character| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '+'));
        text.parse().map(|number| Expression::Literal(Value::Number(number))).map_err(|_| format!("'{text}' is not a number"))
    }

    /// Text in single quotes, of which two make one.
    fn quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        if self.rest.next().is_none_or(|(_, quote)| quote != '\'') {
            return Err("expected text in single quotes".into());
        }
        loop {
            match self.rest.next() {
                Some((_, '\'')) if self.rest.next_if(|(_, next)| *next == '\'').is_some() => text.push('\''),
                Some((_, '\'')) => return Ok(text),
                Some((_, character)) => text.push(character),
                None => return Err("a single quote is not closed".into()),
            }
        }
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let mut word = String::new();
        while let Some((_, character)) = self.rest.next_if(|(_, character)| belongs(*character)) {
            word.push(character);
        }
        word
    }

    fn accept(&mut self, wanted: char) -> bool {
        self.skip_spaces();
        self.rest.next_if(|(_, character)| *character == wanted).is_some()
    }

    fn skip_spaces(&mut self) {
        while self.rest.next_if(|(_, character)| character.is_whitespace()).is_some() {}
    }
}

fn unknown(name: &str) -> String {
    let names = FUNCTIONS.iter().map(|function| function.name);
    match nearest(name, names.clone()) {
        Some(nearest) => format!("the function '{name}' is not known; did you mean {nearest}?"),
        None => format!("the function '{name}' is not known to a local run; there are {}", names.collect::<Vec<_>>().join(", ")),
    }
}

fn counted(range: &std::ops::RangeInclusive<usize>) -> String {
    match (*range.start(), *range.end()) {
        (0, 0) => "no arguments".into(),
        (1, 1) => "1 argument".into(),
        (start, end) if start == end => format!("{start} arguments"),
        (start, _) => format!("at least {start} arguments"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, failed: bool, canceled: bool) -> bool {
        let mut variables = Variables::default();
        variables.set("Build.Reason", "Manual");
        variables.set("flag", "true");
        variables.set("count", "3");
        Condition::parse(text).unwrap().holds(Situation { failed, canceled, variables: &variables })
    }

    #[test]
    fn status_functions_follow_the_job() {
        for (text, succeeded, failed, canceled) in [
            ("succeeded()", true, false, false),
            ("failed()", false, true, false),
            ("succeededOrFailed()", true, true, false),
            ("always()", true, true, true),
            ("canceled()", false, false, true),
            ("not(succeeded())", false, true, true),
            ("true", true, true, true),
            ("false", false, false, false),
        ] {
            assert_eq!(
                [holds(text, false, false), holds(text, true, false), holds(text, false, true)],
                [succeeded, failed, canceled],
                "{text}"
            );
        }
    }

    #[test]
    fn values_are_compared_as_the_agent_compares_them() {
        for (text, expected) in [
            ("eq(variables['build.reason'], 'MANUAL')", true),
            ("eq(variables.flag, true)", true),
            ("eq(true, variables.flag)", true),
            ("ne(variables['Build.Reason'], 'Manual')", false),
            ("eq(variables['missing'], '')", true),
            ("eq('', variables['missing'])", true),
            ("eq(3, variables.count)", true),
            ("gt(variables.count, '2')", true),
            ("lt(10, 9)", false),
            ("ge(3, 3)", true),
            ("in(variables.count, 1, 2, 3)", true),
            ("notIn('b', 'a', 'c')", true),
            ("contains('Refs/Heads/main', 'heads')", true),
            ("startsWith('abc', 'AB')", true),
            ("endsWith('abc', 'bc')", true),
            ("and(true, eq(1, 1), not(false))", true),
            ("or(false, false)", false),
            ("xor(true, false)", true),
            ("eq(coalesce(variables.missing, 'x'), upper('X'))", true),
            ("eq('it''s', 'it''s')", true),
        ] {
            assert_eq!(holds(text, false, false), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let deep = "not(".repeat(40);
        for (text, message) in [
            ("", "the condition ends too early"),
            ("succeeded", "'succeeded' is no value; text stands in single quotes, a variable is variables['succeeded']"),
            ("eq(1)", "eq takes 2 arguments, not 1"),
            ("succeeded('job')", "succeeded takes no arguments, not 1"),
            ("eq(1, 2) x", "'x' is left over at the end of the condition"),
            ("eq('a, 2)", "a single quote is not closed"),
            ("eq(1 2)", "expected ',' or ')' after an argument"),
            ("variables[name]", "expected text in single quotes"),
            ("-", "'-' is not a number"),
            ("$(x)", "expected a function, a variable or a value at '$(x)'"),
            (&deep, "calls are nested more than 32 deep"),
        ] {
            assert_eq!(Condition::parse(text).unwrap_err(), message, "{text}");
        }
        assert!(
            Condition::parse("counter('a', 1)")
                .unwrap_err()
                .starts_with("the function 'counter' is not known to a local run; there are succeeded, failed")
        );
    }
}
