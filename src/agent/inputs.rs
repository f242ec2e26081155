//! Inputs: their names, their types, and errors that name them.

use std::ops::RangeInclusive;

use crate::host::{FileError, upper_case};

/// A file named by an input, read.
#[derive(Clone, Debug)]
pub struct InputFile {
    /// The path as the agent gave it.
    pub path: String,
    /// Its bytes.
    pub contents: Vec<u8>,
}

/// Why an input cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// A required input is empty.
    #[error("input '{name}' is required")]
    Missing {
        /// The input's name.
        name: &'static str,
    },
    /// The value does not fit.
    #[error("input '{name}' is '{value}': {problem}")]
    Invalid {
        /// The input's name.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// What is wrong with it and what is allowed.
        problem: String,
    },
}

/// The folders at which an unset `filePath` input may point: the agent joins an empty value to the root of the build or release.
pub(super) const ROOT_FOLDERS: [&str; 7] = [
    "Build.SourcesDirectory",
    "Build.Repository.LocalPath",
    "System.DefaultWorkingDirectory",
    "System.ArtifactsDirectory",
    "Agent.ReleaseDirectory",
    "Agent.BuildDirectory",
    "Pipeline.Workspace",
];

/// An input's or a variable's name as the environment has it: `.` and space become `_`, then upper case.
pub fn mangle(name: &str) -> String {
    upper_case(&name.replace(['.', ' '], "_"))
}

/// A whole number within limits.
pub(super) fn parse_number(name: &'static str, value: &str, limits: &RangeInclusive<u64>) -> Result<u64, InputError> {
    let number = value.trim().parse::<u64>().ok().filter(|number| limits.contains(number));
    number.ok_or_else(|| InputError::Invalid {
        name,
        value: value.to_owned(),
        problem: match *limits.end() {
            u64::MAX => format!("give a whole number of at least {}", limits.start()),
            end => format!("give a whole number from {} to {end}", limits.start()),
        },
    })
}

/// One of a list of values, compared without case.
pub(super) fn parse_choice<T: Copy>(name: &'static str, value: &str, choices: &[(&'static str, T)]) -> Result<T, InputError> {
    let chosen = choices.iter().find(|(choice, _)| choice.eq_ignore_ascii_case(value.trim()));
    chosen.map(|(_, meaning)| *meaning).ok_or_else(|| InputError::Invalid {
        name,
        value: value.to_owned(),
        problem: format!("give one of {}", choices.iter().map(|(choice, _)| *choice).collect::<Vec<_>>().join(", ")),
    })
}

/// Explains why the file that an input names could not be read.
pub(super) fn file_error(name: &'static str, path: &str, error: &FileError) -> InputError {
    let remedy = match error {
        FileError::NotFound => "; check the path, and that an earlier step makes the file or checks it out",
        FileError::IsDirectory => "; give the path of a file in it",
        FileError::PermissionDenied => "; give the agent's account the right to read it",
        FileError::Other(_) => "",
    };
    InputError::Invalid { name, value: path.to_owned(), problem: format!("{error}{remedy}") }
}

/// Whether two paths are spelled for the same folder: slashes of both kinds, trailing ones, quotes, and on Windows letter case.
pub(super) fn same_folder(one: &str, other: &str) -> bool {
    let (one, other) = (plain_path(one), plain_path(other));
    let windows = |path: &str| path.as_bytes().get(1) == Some(&b':') || path.starts_with("//");
    if windows(&one) && windows(&other) { one.eq_ignore_ascii_case(&other) } else { one == other }
}

fn plain_path(path: &str) -> String {
    let path = path.trim().trim_matches('"').replace('\\', "/");
    let plain = path.trim_end_matches('/').trim_end_matches("/.");
    if plain.is_empty() { "/".to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_mangled_as_the_agent_does() {
        for (name, expected) in [("LabId", "LABID"), ("my input.x", "MY_INPUT_X"), ("a-b", "A-B"), ("straße", "STRASSE")] {
            assert_eq!(mangle(name), expected);
        }
    }

    #[test]
    fn numbers_are_whole_and_within_limits() {
        assert_eq!(parse_number("RetryCount", " 7 ", &(0..=10)), Ok(7));
        for value in ["eleven", "11", "-1", "1.5", "1e1", "0x5", "99999999999999999999999"] {
            let error = parse_number("RetryCount", value, &(0..=10)).unwrap_err();
            assert_eq!(error.to_string(), format!("input 'RetryCount' is '{value}': give a whole number from 0 to 10"));
        }
        let error = parse_number("N", "x", &(1..=u64::MAX)).unwrap_err();
        assert_eq!(error.to_string(), "input 'N' is 'x': give a whole number of at least 1");
    }

    #[test]
    fn choices_ignore_case_and_list_what_is_allowed() {
        let choices = [("Windows", 1), ("Linux", 2)];
        assert_eq!(parse_choice("OsType", "linux", &choices), Ok(2));
        let error = parse_choice("OsType", "BeOS", &choices).unwrap_err();
        assert_eq!(error.to_string(), "input 'OsType' is 'BeOS': give one of Windows, Linux");
    }

    #[test]
    fn folders_compare_in_both_spellings() {
        let cases = [
            ("/home/me/s", "/home/me/s/", true),
            ("/home/me/s", "/home/me/S", false),
            (r"C:\agent\_work\1\s", "c:/agent/_work/1/s/", true),
            (r#""D:\a\1\s\""#, r"D:\a\1\s", true),
            ("/", "/", true),
            ("/home/me/s/template.json", "/home/me/s", false),
            ("/home/me/s/.", "/home/me/s", true),
        ];
        for (one, other, expected) in cases {
            assert_eq!(same_folder(one, other), expected, "{one} {other}");
        }
    }
}
