//! Masking of secrets in everything that is shown.

use std::sync::{PoisonError, RwLock};

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// The secrets of a job.
#[derive(Default)]
pub struct Masker {
    values: RwLock<Vec<String>>,
}

impl std::fmt::Debug for Masker {
    /// Shows no secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Masker")
    }
}

impl Masker {
    /// Masks a value from now on, also as it stands in JSON and in URLs. Blank values are left alone: masking them would hide the log.
    pub fn add(&self, value: &str) {
        let value = value.trim_matches(['\r', '\n']);
        if value.trim().is_empty() {
            return;
        }
        let json = serde_json::Value::from(value).to_string();
        let url = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string();
        let mut values = self.values.write().unwrap_or_else(PoisonError::into_inner);
        for form in [value, json.trim_matches('"'), &url] {
            if !form.is_empty() && !values.iter().any(|known| known == form) {
                values.push(form.to_owned());
            }
        }
    }

    /// The text with every secret masked; secrets that overlap or touch become one mask.
    pub fn mask(&self, text: &str) -> String {
        let values = self.values.read().unwrap_or_else(PoisonError::into_inner);
        let mut spans: Vec<(usize, usize)> = values.iter().flat_map(|value| occurrences(text, value)).collect();
        spans.sort_unstable();
        let mut masked = String::with_capacity(text.len());
        let mut shown_to = 0;
        let mut mask_to = None;
        for (start, end) in spans {
            if mask_to.is_none_or(|mask_to| start > mask_to) {
                masked.push_str(&text[shown_to..start]);
                masked.push_str(MASK);
            }
            shown_to = shown_to.max(end);
            mask_to = Some(shown_to);
        }
        masked.push_str(&text[shown_to..]);
        masked
    }
}

/// Every place where a value stands, also places that overlap.
fn occurrences(text: &str, value: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(value) {
        let start = from + at;
        found.push((start, start + value.len()));
        from = start + text[start..].chars().next().map_or(1, char::len_utf8);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masker(values: &[&str]) -> Masker {
        let masker = Masker::default();
        for value in values {
            masker.add(value);
        }
        masker
    }

    #[test]
    fn secrets_are_masked_wherever_and_however_they_stand() {
        for (secrets, text, masked) in [
            (&["pass"][..], "the pass is pass", "the *** is ***"),
            (&["pass", "password"], "a password", "a ***"),
            (&["abc", "cde"], "xabcdex", "x***x"),
            (&["aa"], "aaa", "***"),
            (&["a\"b"], r#"{"x":"a\"b"}"#, r#"{"x":"***"}"#),
            (&["a b&c"], "?key=a%20b%26c", "?key=***"),
            (&["", "  ", "\n"], "a b\nc", "a b\nc"),
            (&["ü"], "über", "***ber"),
            (&["line\n"], "line", "***"),
        ] {
            assert_eq!(masker(secrets).mask(text), masked, "{secrets:?}");
        }
    }

    proptest! {
        #[test]
        fn no_secret_is_left_standing(secrets in proptest::collection::vec("[a-c]{2,4}", 1..4), text in "[a-d]{0,30}") {
            let secrets: Vec<_> = secrets.iter().map(String::as_str).collect();
            let masked = masker(&secrets).mask(&text);
            for secret in secrets {
                prop_assert!(!masked.contains(secret), "{} in {}", secret, masked);
            }
        }
    }
}
