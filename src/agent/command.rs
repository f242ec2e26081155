//! Logging commands (`##vso[area.event …]`): formatting, escaping, and keeping foreign text from forming one.
//!
//! The text is what `azure-pipelines-task-lib` prints for the same call, byte for byte; a test under Node compares them.

/// What the agent looks for, anywhere in a line.
const COMMAND_MARK: &str = "##vso[";
/// What the log viewer looks for: groups, sections, colours.
const FORMAT_MARK: &str = "##[";

/// A logging command. Properties without a value are left out.
pub fn format(name: &str, properties: &[(&str, &str)], message: &str) -> String {
    let mut command = format!("{COMMAND_MARK}{name}");
    if !properties.is_empty() {
        command.push(' ');
    }
    for (key, value) in properties.iter().filter(|(_, value)| !value.is_empty()) {
        command.push_str(key);
        command.push('=');
        command.push_str(&escape_property(value));
        command.push(';');
    }
    command.push(']');
    command.push_str(&escape_data(message));
    command
}

/// Escapes a command's message. The agent's own name for the percent sign comes first, or it would escape the other escapes.
pub fn escape_data(text: &str) -> String {
    text.replace('%', "%AZP25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes the value of a command's property.
pub fn escape_property(text: &str) -> String {
    escape_data(text).replace(']', "%5D").replace(';', "%3B")
}

/// The lines of a text, however they end: CR LF, LF or a lone CR. A text without lines is one empty line.
pub fn lines(text: &str) -> Vec<&str> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r')).collect()
}

/// One line of foreign text made harmless: it can form no command and no log formatting, and cannot steer a terminal.
///
/// Control characters become visible (`\u{1b}`). Characters without a width go: the agent may search the mark by a culture's rules,
/// and those look past such characters.
pub fn harmless(line: &str) -> String {
    let mut safe = String::with_capacity(line.len());
    for character in line.chars().filter(|character| !is_ignorable(*character)) {
        if character.is_control() && character != '\t' || matches!(character, '\u{2028}' | '\u{2029}') {
            safe.extend(character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    break_marks(&safe)
}

/// Foreign text of several lines, made harmless line by line.
pub fn harmless_lines(text: &str) -> String {
    lines(text).into_iter().map(harmless).collect::<Vec<_>>().join("\n")
}

/// Writes `##_vso[` for `##vso[` in any case, as the task library's filter does, and likewise `##_[` for `##[`.
fn break_marks(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("##") {
        let (before, from) = rest.split_at(at);
        safe.push_str(before);
        safe.push('#');
        if starts_with_ignoring_case(from, COMMAND_MARK) || from.starts_with(FORMAT_MARK) {
            safe.push_str("#_");
            rest = &from[2..];
        } else {
            rest = &from[1..];
        }
    }
    safe.push_str(rest);
    safe
}

fn starts_with_ignoring_case(text: &str, start: &str) -> bool {
    text.as_bytes().get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}

/// Unicode's default-ignorable characters, as far as they have no place in a log.
pub fn is_ignorable(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    type Properties = &'static [(&'static str, &'static str)];

    #[test]
    fn commands_are_formatted_as_the_task_library_does() {
        let cases: [(&str, Properties, &str, &str); 6] = [
            ("task.setsecret", &[], "abc", "##vso[task.setsecret]abc"),
            ("task.setprogress", &[("value", "50")], "half", "##vso[task.setprogress value=50;]half"),
            ("task.complete", &[("result", "Failed")], "", "##vso[task.complete result=Failed;]"),
            ("a.b", &[("one", ""), ("two", "2")], "", "##vso[a.b two=2;]"),
            ("a.b", &[("one", "")], "", "##vso[a.b ]"),
            ("a.b", &[("k", "1;2]3%\r\n")], "5]; %0A\r\nx", "##vso[a.b k=1%3B2%5D3%AZP25%0D%0A;]5]; %AZP250A%0D%0Ax"),
        ];
        for (name, properties, message, expected) in cases {
            assert_eq!(format(name, properties, message), expected);
        }
    }

    #[test]
    fn foreign_text_cannot_form_a_command() {
        let cases = [
            ("##vso[task.complete result=Succeeded;]", "##_vso[task.complete result=Succeeded;]"),
            ("a ##VsO[x]b##vso[y]", "a ##_VsO[x]b##_vso[y]"),
            ("####vso[x]", "####_vso[x]"),
            ("##[error]no", "##_[error]no"),
            ("##v\u{200b}so[x] #\u{feff}#[group]", "##_vso[x] ##_[group]"),
            ("# ## ### heading", "# ## ### heading"),
            ("\u{1b}[2Jgone\u{7}", "\\u{1b}[2Jgone\\u{7}"),
            ("tab\tstays, Grüße bleiben", "tab\tstays, Grüße bleiben"),
            ("##", "##"),
        ];
        for (text, expected) in cases {
            assert_eq!(harmless(text), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_end_in_every_way() {
        assert_eq!(lines("a\r\nb\rc\n\nd\n"), ["a", "b", "c", "", "d"]);
        assert_eq!(lines(""), [""]);
        assert_eq!(harmless_lines("a\r##vso[x]\nb"), "a\n##_vso[x]\nb");
    }

    proptest::proptest! {
        #[test]
        fn no_text_survives_as_a_command(text in "[#vso\\[\\]VSO\u{200b}\u{ad}\r\n a]{0,40}") {
            let safe = harmless_lines(&text).to_ascii_lowercase();
            proptest::prop_assert!(!safe.contains("##vso[") && !safe.contains("##["), "{safe:?}");
        }

        #[test]
        fn escaped_text_is_one_line_and_unescapes_to_itself(text in "\\PC{0,20}[%\r\n;\\]]{0,8}\\PC{0,9}") {
            let escaped = escape_property(&text);
            proptest::prop_assert!(!escaped.contains(['\r', '\n', ';', ']']));
            let back = escaped.replace("%3B", ";").replace("%5D", "]").replace("%0A", "\n").replace("%0D", "\r").replace("%AZP25", "%");
            proptest::prop_assert_eq!(back, text);
        }
    }
}
