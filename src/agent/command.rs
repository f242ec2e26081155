//! Logging commands (`##vso[area.event …]`): formatting, escaping, and keeping foreign text from forming one.
