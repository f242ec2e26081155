//! Logging commands as the agent reads them: the other half of `agent::command`, and deliberately written apart from it.
//!
//! The agent looks for `##vso[` anywhere in a line and takes what it finds at its word. What a command does is for `listener` to say.

/// A logging command: `##vso[area.event key=value;]data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggingCommand {
    /// `task`, `build`, …, as written.
    pub area: String,
    /// `setvariable`, `logissue`, …, as written.
    pub event: String,
    /// The properties in order, unescaped.
    pub properties: Vec<(String, String)>,
    /// What follows the bracket, unescaped.
    pub data: String,
}

const PREFIX: &str = "##vso[";

impl LoggingCommand {
    /// Finds the command in a line, if it holds one.
    pub fn parse(line: &str) -> Option<Self> {
        let inner = &line[line.find(PREFIX)? + PREFIX.len()..];
        let (head, data) = inner.split_once(']')?;
        let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
        let (area, event) = name.split_once('.').filter(|(area, event)| !area.is_empty() && !event.is_empty() && !event.contains('.'))?;
        let properties = properties
            .split(';')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.trim().to_owned(), unescape(value, PROPERTY)));
        Some(Self { area: area.to_owned(), event: event.to_owned(), properties: properties.collect(), data: unescape(data, DATA) })
    }

    /// Whether this is the command `area.event`; case does not matter.
    pub fn is(&self, area: &str, event: &str) -> bool {
        self.area.eq_ignore_ascii_case(area) && self.event.eq_ignore_ascii_case(event)
    }

    /// A property's value; its name's case does not matter, and the last of two wins.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether a property is `true`.
    pub fn flag(&self, name: &str) -> bool {
        self.property(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// Escapes of a command's data. The escape of the percent sign stands last: undoing it first would undo what was never escaped.
const DATA: &[(&str, &str)] = &[("%0D", "\r"), ("%0A", "\n"), ("%AZP25", "%")];
/// Escapes of a property's value.
const PROPERTY: &[(&str, &str)] = &[("%3B", ";"), ("%5D", "]"), ("%0D", "\r"), ("%0A", "\n"), ("%AZP25", "%")];

fn unescape(text: &str, escapes: &[(&str, &str)]) -> String {
    escapes.iter().fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_found_anywhere_in_a_line_and_taken_apart() {
        let command = |area: &str, event: &str, properties: &[(&str, &str)], data: &str| {
            let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Some(LoggingCommand { area: area.to_owned(), event: event.to_owned(), properties, data: data.to_owned() })
        };
        for (line, expected) in [
            ("plain text", None),
            ("##vso[task.debug]hello", command("task", "debug", &[], "hello")),
            ("before ##vso[task.debug]hello", command("task", "debug", &[], "hello")),
            (
                "##vso[task.setvariable variable=a;isSecret=true;]v",
                command("task", "setvariable", &[("variable", "a"), ("isSecret", "true")], "v"),
            ),
            (
                "##vso[task.logissue type=error;code=a%3Bb%5D%AZP25]m",
                command("task", "logissue", &[("type", "error"), ("code", "a;b]%")], "m"),
            ),
            ("##vso[task.debug]x=%0A%0D%AZP250A", command("task", "debug", &[], "x=\n\r%0A")),
            ("##vso[task.debug no end", None),
            ("##vso[debug]no area", None),
            ("##vso[task.a.b]too many", None),
            ("##vso[.event]empty", None),
            ("##_vso[task.debug]defused", None),
        ] {
            assert_eq!(LoggingCommand::parse(line), expected, "{line}");
        }
    }

    #[test]
    fn the_case_of_names_does_not_matter_and_the_last_of_two_properties_wins() {
        let command = LoggingCommand::parse("##vso[Task.SetVariable Variable=a;ISSECRET=True;variable=b]").unwrap();
        assert!(command.is("task", "setvariable"));
        assert!(command.flag("issecret"));
        assert_eq!(command.property("variable"), Some("b"));
    }
}
