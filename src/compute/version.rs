//! Version numbers of gallery image versions, and what comes next.

use std::{fmt, str::FromStr};

use super::Invalid;

/// The largest part of a version number: Azure keeps 32-bit integers.
const LARGEST: u32 = i32::MAX.unsigned_abs();

/// `Major.Minor.Patch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionNumber {
    /// Major.
    pub major: u32,
    /// Minor.
    pub minor: u32,
    /// Patch.
    pub patch: u32,
}

/// Which version to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionRequest {
    /// This one, and no other.
    Exact(VersionNumber),
    /// The one after the newest.
    Next(Bump),
}

/// Which part of a number is counted up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bump {
    /// `1.2.3` → `2.0.0`.
    Major,
    /// `1.2.3` → `1.3.0`.
    Minor,
    /// `1.2.3` → `1.2.4`.
    Patch,
}

impl FromStr for VersionNumber {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let &[major, minor, patch] = parts.as_slice() else {
            return Err(Invalid::new(text, "a version is three numbers, Major.Minor.Patch, such as 1.0.0"));
        };
        let part = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if !digits {
                return Err(Invalid::new(text, format!("'{part}' is no number; a version is Major.Minor.Patch, such as 1.0.0")));
            }
            if part.len() > 1 && part.starts_with('0') {
                return Err(Invalid::new(
                    text,
                    format!("'{part}' begins with a zero; write {}", part.trim_start_matches('0').parse().unwrap_or(0_u64)),
                ));
            }
            let number = part.parse().ok().filter(|number| *number <= LARGEST);
            number.ok_or_else(|| Invalid::new(text, format!("'{part}' is too large; each part is at most {LARGEST}")))
        };
        Ok(Self { major: part(major)?, minor: part(minor)?, patch: part(patch)? })
    }
}

impl fmt::Display for VersionNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl VersionRequest {
    /// Reads the input: `x.y.z`, `auto` or nothing (the next patch), `auto:patch`, `auto:minor`, `auto:major`.
    pub fn parse(text: Option<&str>) -> Result<Self, Invalid> {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(Self::Next(Bump::Patch)) };
        match text.to_ascii_lowercase().as_str() {
            "auto" | "auto:patch" => Ok(Self::Next(Bump::Patch)),
            "auto:minor" => Ok(Self::Next(Bump::Minor)),
            "auto:major" => Ok(Self::Next(Bump::Major)),
            other if other.starts_with("auto") => Err(Invalid::new(text, "give auto, auto:minor, auto:major or a number such as 1.0.0")),
            other => other.parse().map(Self::Exact).map_err(|wrong: Invalid| Invalid::new(text, wrong.problem)),
        }
    }
}

impl fmt::Display for VersionRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(number) => number.fmt(formatter),
            Self::Next(Bump::Patch) => formatter.write_str("auto"),
            Self::Next(Bump::Minor) => formatter.write_str("auto:minor"),
            Self::Next(Bump::Major) => formatter.write_str("auto:major"),
        }
    }
}

/// The number after the newest of `existing`; `1.0.0` when there is none.
pub fn next(existing: impl IntoIterator<Item = VersionNumber>, bump: Bump) -> Result<VersionNumber, Invalid> {
    let Some(newest) = existing.into_iter().max() else { return Ok(VersionNumber { major: 1, minor: 0, patch: 0 }) };
    let (part, name) = match bump {
        Bump::Major => (newest.major, "major"),
        Bump::Minor => (newest.minor, "minor"),
        Bump::Patch => (newest.patch, "patch"),
    };
    if part >= LARGEST {
        return Err(Invalid::new(newest.to_string(), format!("no {name} number comes after this; count up a part further to the left")));
    }
    Ok(match bump {
        Bump::Major => VersionNumber { major: part + 1, minor: 0, patch: 0 },
        Bump::Minor => VersionNumber { minor: part + 1, patch: 0, ..newest },
        Bump::Patch => VersionNumber { patch: part + 1, ..newest },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_three_32_bit_integers() {
        for good in ["0.0.0", "1.2.3", "2026.1120.1", "2147483647.0.1"] {
            assert_eq!(good.parse::<VersionNumber>().map(|number| number.to_string()), Ok(good.to_owned()));
        }
        for (bad, problem) in [
            ("1.0", "a version is three numbers, Major.Minor.Patch, such as 1.0.0"),
            ("1.0.0.0", "a version is three numbers, Major.Minor.Patch, such as 1.0.0"),
            ("1.0.x", "'x' is no number; a version is Major.Minor.Patch, such as 1.0.0"),
            ("v1.0.0", "'v1' is no number; a version is Major.Minor.Patch, such as 1.0.0"),
            ("1..0", "'' is no number; a version is Major.Minor.Patch, such as 1.0.0"),
            ("1.+2.0", "'+2' is no number; a version is Major.Minor.Patch, such as 1.0.0"),
            ("1.02.0", "'02' begins with a zero; write 2"),
            ("1.0.2147483648", "'2147483648' is too large; each part is at most 2147483647"),
            ("1.0.20261120101112131415", "'20261120101112131415' is too large; each part is at most 2147483647"),
        ] {
            assert_eq!(bad.parse::<VersionNumber>().unwrap_err().problem, problem, "{bad}");
        }
    }

    #[test]
    fn requests_are_numbers_or_auto() {
        for (text, expected) in [
            (None, "auto"),
            (Some(" "), "auto"),
            (Some("AUTO"), "auto"),
            (Some("auto:patch"), "auto"),
            (Some("auto:minor"), "auto:minor"),
            (Some("Auto:Major"), "auto:major"),
            (Some("1.2.3"), "1.2.3"),
        ] {
            assert_eq!(VersionRequest::parse(text).map(|request| request.to_string()), Ok(expected.to_owned()), "{text:?}");
        }
        for bad in ["auto:x", "automatic", "latest", "1.2"] {
            assert!(VersionRequest::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_next_number_is_counted_from_the_newest_by_value() {
        let next = |existing: &[&str], bump| {
            next(existing.iter().map(|text| text.parse().unwrap()), bump)
                .map(|number| number.to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(next(&[], Bump::Patch), Ok("1.0.0".into()));
        assert_eq!(next(&[], Bump::Minor), Ok("1.0.0".into()));
        assert_eq!(next(&["1.9.0", "1.10.2"], Bump::Patch), Ok("1.10.3".into()));
        assert_eq!(next(&["1.9.0", "1.10.2"], Bump::Minor), Ok("1.11.0".into()));
        assert_eq!(next(&["1.9.0", "1.10.2"], Bump::Major), Ok("2.0.0".into()));
        assert_eq!(
            next(&["1.0.2147483647"], Bump::Patch),
            Err("'1.0.2147483647': no patch number comes after this; count up a part further to the left".into())
        );
    }

    proptest! {
        #[test]
        fn what_comes_next_is_newer_than_everything(parts in proptest::collection::vec((0_u32..9, 0_u32..9, 0_u32..9), 0..8), bump in 0..3) {
            let bump = [Bump::Major, Bump::Minor, Bump::Patch][usize::try_from(bump).unwrap()];
            let existing: Vec<_> = parts.into_iter().map(|(major, minor, patch)| VersionNumber { major, minor, patch }).collect();
            let next = next(existing.iter().copied(), bump).unwrap();
            prop_assert!(existing.iter().all(|number| *number < next));
        }
    }
}
