//! The text of a `ParameterOverrides` input, taken apart without loss.
//!
//! The text is a list of `-name value` pairs, separated by any white space, lines included. Quoting follows PowerShell:
//!
//! | written | meant |
//! |---|---|
//! | `'it''s C:\dir'` | `it's C:\dir`: two single quotes are one, everything else stands for itself |
//! | `"say ""hi"""` | `say "hi"`: two double quotes are one |
//! | ``"a`tb`$"`` | PowerShell's backtick escapes, inside double quotes only; `$` is never expanded |
//! | `{"a": [1, 2]}`, `["x y"]` | JSON, taken whole up to its closing bracket |
//! | `(ConvertTo-SecureString -String 'x' -AsPlainText -Force)` | `x`, secret |
//! | `-5` | a negative number where a value is expected, never a name |
//!
//! A name that holds spaces is quoted too: `-"Admin Login" 'x'`. What a value means is the template's affair and is decided by
//! [`parameters`](super::parameters); errors here never quote a value, which may be a password.

use std::fmt;

/// One `-name value` pair.
#[derive(Clone, PartialEq, Eq)]
pub struct Override {
    /// The name as written, without the dash.
    pub name: String,
    /// The value, quotes taken off.
    pub value: String,
    /// Whether it was written as a `ConvertTo-SecureString` expression.
    pub secure: bool,
}

impl fmt::Debug for Override {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Override").field("name", &self.name).field("secure", &self.secure).finish_non_exhaustive()
    }
}

/// Why the text cannot be read; line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct OverrideError {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

/// Takes the text apart, in the order in which it was written.
pub fn parse(text: &str) -> Result<Vec<Override>, OverrideError> {
    let mut scanner = Scanner { characters: text.chars().collect(), at: 0 };
    let mut overrides = Vec::new();
    loop {
        scanner.skip_space();
        if scanner.peek().is_none() {
            return Ok(overrides);
        }
        overrides.push(scanner.pair(overrides.last())?);
    }
}

struct Scanner {
    characters: Vec<char>,
    at: usize,
}

impl Scanner {
    fn pair(&mut self, previous: Option<&Override>) -> Result<Override, OverrideError> {
        let start = self.at;
        if self.peek() != Some('-') || !self.starts_name() {
            return Err(self.error(
                start,
                match previous {
                    Some(previous) => format!(
                        "the text after the value of '-{}' belongs to no parameter: put a value that holds spaces in single quotes",
                        previous.name
                    ),
                    None => "expected '-name value'".to_owned(),
                },
            ));
        }
        self.at += 1;
        let name = match self.peek() {
            Some('\'') => self.single_quoted()?,
            Some('"') => self.double_quoted()?,
            _ => self.bare(|_| false),
        };
        self.skip_space();
        if self.peek().is_none() || self.starts_name() {
            return Err(self.error(
                start,
                format!("'-{name}' has no value: write '' for an empty one, and put a value that begins with a dash in single quotes"),
            ));
        }
        let (value, secure) = self.value()?;
        Ok(Override { name, value, secure })
    }

    fn value(&mut self) -> Result<(String, bool), OverrideError> {
        match self.peek() {
            Some('(') => Ok((self.secure_string(1)?, true)),
            Some('$') if self.peek_at(1) == Some('(') => Ok((self.secure_string(2)?, true)),
            Some('{' | '[') => match self.json() {
                Some(text) => Ok((text, false)),
                None => Ok((self.word(|_| false)?, false)),
            },
            _ => Ok((self.word(|_| false)?, false)),
        }
    }

    /// Bare characters and quoted parts that stand side by side make one value, as in PowerShell.
    fn word(&mut self, ends: fn(char) -> bool) -> Result<String, OverrideError> {
        let mut value = String::new();
        while let Some(character) = self.peek() {
            match character {
                '\'' => value.push_str(&self.single_quoted()?),
                '"' => value.push_str(&self.double_quoted()?),
                _ if character.is_whitespace() || ends(character) => break,
                _ => value.push_str(&self.bare(|character| matches!(character, '\'' | '"') || ends(character))),
            }
        }
        Ok(value)
    }

    fn bare(&mut self, ends: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(|character| !character.is_whitespace() && !ends(character)) {
            self.at += 1;
        }
        self.characters[start..self.at].iter().collect()
    }

    fn single_quoted(&mut self) -> Result<String, OverrideError> {
        let start = self.at;
        self.at += 1;
        let mut value = String::new();
        while let Some(character) = self.next() {
            match character {
                '\'' if self.peek() == Some('\'') => {
                    self.at += 1;
                    value.push('\'');
                }
                '\'' => return Ok(value),
                _ => value.push(character),
            }
        }
        Err(self.error(start, "the single quote is never closed: a quote inside is written twice ('')".to_owned()))
    }

    fn double_quoted(&mut self) -> Result<String, OverrideError> {
        let start = self.at;
        self.at += 1;
        let mut value = String::new();
        while let Some(character) = self.next() {
            match character {
                '"' if self.peek() == Some('"') => {
                    self.at += 1;
                    value.push('"');
                }
                '"' => return Ok(value),
                '`' => value.extend(self.next().map(backtick_escape)),
                _ => value.push(character),
            }
        }
        Err(self.error(start, "the double quote is never closed: a quote inside is written twice (\"\")".to_owned()))
    }

    /// A JSON array or object, bare. `None`, with nothing consumed, when its brackets do not close or something is glued to its end.
    fn json(&mut self) -> Option<String> {
        let start = self.at;
        let mut depth = 0_usize;
        let mut in_string = false;
        let mut end = start;
        loop {
            let character = *self.characters.get(end)?;
            end += 1;
            match character {
                '\\' if in_string => end += 1,
                '"' => in_string = !in_string,
                '{' | '[' if !in_string => depth += 1,
                '}' | ']' if !in_string => {
                    depth -= 1;
                    if depth == 0 {
                        break;
                    }
                }
                _ => {}
            }
        }
        if self.characters.get(end).is_some_and(|character| !character.is_whitespace()) {
            return None;
        }
        self.at = end;
        Some(self.characters[start..end].iter().collect())
    }

    /// `(ConvertTo-SecureString -String 'x' -AsPlainText -Force)`, the switches in any order, `-String` left out at will.
    fn secure_string(&mut self, opening: usize) -> Result<String, OverrideError> {
        let start = self.at;
        self.at += opening;
        self.skip_space();
        if !self.closing_word()?.eq_ignore_ascii_case("ConvertTo-SecureString") {
            return Err(self.error(
                start,
                "an expression in brackets can only be (ConvertTo-SecureString -String '…' -AsPlainText -Force): put other values in single quotes"
                    .to_owned(),
            ));
        }
        let mut value = None;
        loop {
            self.skip_space();
            match self.peek() {
                None => return Err(self.error(start, "the bracket is never closed".to_owned())),
                Some(')') => {
                    self.at += 1;
                    break;
                }
                Some('-') if self.is_switch() => {
                    self.closing_word()?;
                }
                Some(_) => value = Some(self.closing_word()?),
            }
        }
        value.ok_or_else(|| self.error(start, "ConvertTo-SecureString is given no string".to_owned()))
    }

    fn closing_word(&mut self) -> Result<String, OverrideError> {
        let start = self.at;
        if matches!(self.peek(), Some('\'' | '"')) {
            return self.word(|character| character == ')');
        }
        let word = self.bare(|character| character == ')');
        if word.is_empty() {
            return Err(self.error(start, "expected ConvertTo-SecureString".to_owned()));
        }
        Ok(word)
    }

    fn is_switch(&self) -> bool {
        let word: String = self.characters[self.at..].iter().take_while(|c| c.is_ascii_alphabetic() || **c == '-').collect();
        ["-string", "-asplaintext", "-force"].contains(&word.to_ascii_lowercase().as_str())
    }

    /// Whether a `-name` begins here; `-5` and `-.5` are values, and so is a lone dash.
    fn starts_name(&self) -> bool {
        self.peek() == Some('-') && self.peek_at(1).is_some_and(|next| !next.is_ascii_digit() && next != '.' && !next.is_whitespace())
    }

    /// White space, and PowerShell's backtick at the end of a line.
    fn skip_space(&mut self) {
        loop {
            match self.peek() {
                Some(character) if character.is_whitespace() => self.at += 1,
                Some('`') if matches!(self.peek_at(1), Some('\n' | '\r')) => self.at += 2,
                _ => return,
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    fn peek_at(&self, offset: usize) -> Option<char> {
        self.characters.get(self.at + offset).copied()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek();
        self.at += usize::from(character.is_some());
        character
    }

    fn error(&self, at: usize, problem: String) -> OverrideError {
        let before = &self.characters[..at.min(self.characters.len())];
        let line = 1 + before.iter().filter(|character| **character == '\n').count();
        let column = 1 + before.iter().rev().take_while(|character| **character != '\n').count();
        OverrideError { line, column, problem }
    }
}

fn backtick_escape(character: char) -> char {
    match character {
        '0' => '\0',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'e' => '\u{1b}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).into_iter().map(|pair| (pair.name, pair.value)).collect()
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(pairs(text), expected, "{text}");
    }

    #[test]
    fn values_arrive_as_they_were_meant() {
        check("", &[]);
        check("  \r\n\t ", &[]);
        check("-a 1", &[("a", "1")]);
        check(r#"-password 'p@ss -word;"x"'"#, &[("password", r#"p@ss -word;"x""#)]);
        check(r#"-sizes '["a","b"]'"#, &[("sizes", r#"["a","b"]"#)]);
        check(r#"-json '{"a": "b c"}'"#, &[("json", r#"{"a": "b c"}"#)]);
        check("-n 5", &[("n", "5")]);
        check("-n -5 -m 3", &[("n", "-5"), ("m", "3")]);
        check("-n -.5", &[("n", "-.5")]);
        check("-a 'x'\n-b 'y'\n-c 'z w'", &[("a", "x"), ("b", "y"), ("c", "z w")]);
        check("-a 'x'\r\n-b 'y'", &[("a", "x"), ("b", "y")]);
        check("-a 'x' `\r\n  -b 'y'", &[("a", "x"), ("b", "y")]);
        check(r#"-a "it's""#, &[("a", "it's")]);
        check("-a 'it''s'", &[("a", "it's")]);
        check(r#"-a "say ""hi""""#, &[("a", r#"say "hi""#)]);
        check(r#"-a "x`"y`t``""#, &[("a", "x\"y\t`")]);
        check("-a 'no `t escape'", &[("a", "no `t escape")]);
        check(r"-p C:\dir\ -q 'C:\x\'", &[("p", r"C:\dir\"), ("q", r"C:\x\")]);
        check(r#"-url "https://x/?a=b&c=d""#, &[("url", "https://x/?a=b&c=d")]);
        check("-a '' -b \"\"", &[("a", ""), ("b", "")]);
        check("-a - -b x", &[("a", "-"), ("b", "x")]);
        check(r#"-"Database Administrator Login" 'x' -'b c' y"#, &[("Database Administrator Login", "x"), ("b c", "y")]);
        check("-a x'y z'\"w\"", &[("a", "xy zw")]);
        check("-a 'line\nbreak'", &[("a", "line\nbreak")]);
        check("-a $true -b $x", &[("a", "$true"), ("b", "$x")]);
        check("-ключ 'значение'", &[("ключ", "значение")]);
    }

    #[test]
    fn bare_json_is_taken_whole() {
        check(r#"-a {"b": [1, "} x"]} -c [1, 2]"#, &[("a", r#"{"b": [1, "} x"]}"#), ("c", "[1, 2]")]);
        check(r#"-a ["\"]", 1]"#, &[("a", r#"["\"]", 1]"#)]);
        check("-a [open -b x", &[("a", "[open"), ("b", "x")]);
    }

    #[test]
    fn secure_strings_are_understood_in_their_spellings() {
        for text in [
            "-p (ConvertTo-SecureString -String 'a b)c' -AsPlainText -Force)",
            "-p (convertto-securestring 'a b)c' -asplaintext -force)",
            "-p ( ConvertTo-SecureString -AsPlainText -Force -String \"a b)c\" )",
            "-p (ConvertTo-SecureString 'a b)c' -Force -AsPlainText)",
            "-p $(ConvertTo-SecureString -String 'a b)c' -AsPlainText -Force)",
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!((parsed[0].value.as_str(), parsed[0].secure, parsed.len()), ("a b)c", true, 1), "{text}");
        }
        check("-p (ConvertTo-SecureString -String P@ss-1 -AsPlainText -Force) -q 1", &[("p", "P@ss-1"), ("q", "1")]);
        check("-p (ConvertTo-SecureString -String -secret -AsPlainText -Force)", &[("p", "-secret")]);
    }

    #[test]
    fn errors_say_where_and_never_quote_a_value() {
        for (text, expected) in [
            ("x", "line 1, column 1: expected '-name value'"),
            ("-a", "line 1, column 1: '-a' has no value"),
            ("-a -b 'hunter2'", "line 1, column 1: '-a' has no value"),
            ("-a 1\n-b hunter2 hunter3", "line 2, column 12: the text after the value of '-b' belongs to no parameter"),
            ("-a 'hunter2", "line 1, column 4: the single quote is never closed"),
            ("-a \"hunter2", "line 1, column 4: the double quote is never closed"),
            ("-a (Get-Secret hunter2)", "line 1, column 4: an expression in brackets can only be (ConvertTo-SecureString"),
            ("-a (ConvertTo-SecureString 'hunter2'", "line 1, column 4: the bracket is never closed"),
            ("-a (ConvertTo-SecureString -Force)", "line 1, column 4: ConvertTo-SecureString is given no string"),
            ("-a (", "line 1, column 5: expected ConvertTo-SecureString"),
        ] {
            let message = parse(text).expect_err(text).to_string();
            assert!(message.starts_with(expected), "{text}: {message}");
            assert!(!message.contains("hunter"), "{text}: {message}");
        }
    }

    #[test]
    fn values_stay_out_of_debug_output() {
        assert!(!format!("{:?}", parse("-a 'hunter2'").unwrap()).contains("hunter2"));
    }

    proptest::proptest! {
        #[test]
        fn what_is_quoted_comes_back(values in proptest::collection::vec(".{0,20}", 0..5)) {
            let text: Vec<String> = values.iter().enumerate().map(|(n, value)| format!("-p{n} '{}'", value.replace('\'', "''"))).collect();
            let expected: Vec<_> = values.into_iter().enumerate().map(|(n, value)| (format!("p{n}"), value)).collect();
            proptest::prop_assert_eq!(pairs(&text.join("\n")), expected);
        }

        #[test]
        fn no_text_makes_it_panic(text in r#"[-'"`(){}\[\]$ \na-c\\]{0,60}"#) {
            let _ = parse(&text);
        }
    }
}
