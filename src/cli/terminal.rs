//! What may reach a terminal: text that came from elsewhere, a pipeline's file included, shows there and never steers it.

use std::{fmt::Write as _, io::Write as _};

/// Colours and weights that text may bring along; all else that begins with an escape becomes visible.
const OPEN_STYLES: [&str; 27] = [
    "", "0", "1", "2", "3", "4", "22", "23", "24", "30", "31", "32", "33", "34", "35", "36", "37", "39", "90", "91", "92", "93", "94",
    "95", "96", "97", "49",
];

/// One or more lines without anything that moves the cursor, changes the terminal or turns the direction of writing.
pub fn steerless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(style) = style(rest) {
            safe.push_str(style);
            rest = &rest[style.len()..];
            continue;
        }
        match character {
            '\n' | '\t' => safe.push(character),
            turning if is_turning(turning) => safe.extend(turning.escape_unicode()),
            '\r' if rest[1..].starts_with('\n') => {}
            control if control.is_control() => safe.extend(control.escape_unicode()),
            plain => safe.push(plain),
        }
        rest = &rest[character.len_utf8()..];
    }
    safe
}

/// A change of colour or weight at the start of a text.
fn style(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("\u{1b}[")?;
    let end = inner.find('m').filter(|end| *end <= 8)?;
    let is_open = inner[..end].split(';').all(|number| OPEN_STYLES.contains(&number));
    is_open.then(|| &text[..=2 + end])
}

/// JSON that means the same and steers no terminal: what JSON may hold as it is, and a terminal obeys, is escaped.
pub fn steerless_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if (character.is_control() && character != '\n') || is_turning(character) {
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Characters that turn the direction of writing, or end a line.
fn is_turning(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// Writes a line to standard error. A reader that has gone away is no reason to break off.
pub fn tell(line: &str) {
    let _ = writeln!(anstream::AutoStream::auto(std::io::stderr()), "{}", steerless(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_and_colours_stay() {
        for (given, expected) in [
            ("plain\ttext\nline\r\nnext", "plain\ttext\nline\nnext"),
            ("\u{1b}[31mred\u{1b}[0m \u{1b}[1;33mbold\u{1b}[m", "\u{1b}[31mred\u{1b}[0m \u{1b}[1;33mbold\u{1b}[m"),
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
            ("\u{1b}[8mhidden\u{1b}[41m", "\\u{1b}[8mhidden\\u{1b}[41m"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{9b}2J\u{0}\u{8}", "\\u{9b}2J\\u{0}\\u{8}"),
            ("over\rwritten", "over\\u{d}written"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("Grüße 👩\u{200d}💻", "Grüße 👩\u{200d}💻"),
        ] {
            assert_eq!(steerless(given), expected);
        }
        assert_eq!(steerless_json("{\n\"a\u{9b}\": \"\u{202e}ü\u{7f}\"}"), "{\n\"a\\u009b\": \"\\u202eü\\u007f\"}");
    }

    proptest::proptest! {
        #[test]
        fn no_text_steers(text in "[\u{1b}\\[0-9;mJHab\r\n\u{7}\u{9b}\u{202e}ü]{0,40}") {
            let safe = steerless(&text);
            let plain = anstream::adapter::strip_str(&safe).to_string();
            proptest::prop_assert!(!plain.chars().any(|character| character.is_control() && character != '\n'), "{safe:?}");
        }
    }
}
