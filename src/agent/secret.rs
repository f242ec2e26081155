//! The vault that takes secrets out of the environment, and the rule for what is worth masking.
//!
//! The agent hands over inputs, credentials and secret variables as environment variables, which every child process would inherit and
//! every dump would show. They are taken out first of all, as the task library does it.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::Value;

use super::command;
use crate::host::Host;

/// Variables whose names start so are moved into the vault.
const VAULTED_PREFIXES: [&str; 5] = ["INPUT_", "ENDPOINT_AUTH_", "SECUREFILE_TICKET_", "SECRET_", "VSTS_TASKVARIABLE_"];
/// Variables that are moved into the vault by their full names.
const VAULTED_NAMES: [&str; 4] = ["COMMAND_CORRELATION_ID", "VSTS_PUBLIC_VARIABLES", "VSTS_SECRET_VARIABLES", "IDENTITY_HEADER"];
/// Parameters of a service connection that are secret. The others (tenant, application) are not, and masking them would garble the log.
const SECRET_PARAMETERS: [&str; 5] = ["SERVICEPRINCIPALKEY", "SERVICEPRINCIPALCERTIFICATE", "ACCESSTOKEN", "PASSWORD", "APITOKEN"];
/// The shortest text that is masked. Anything shorter would be blanked out all over the log and give itself away.
const SHORTEST_SECRET: usize = 4;

/// What was taken out of the environment. Names are compared without case.
#[derive(Default)]
pub(super) struct Vault {
    values: BTreeMap<String, String>,
}

impl Vault {
    /// Moves everything that is nobody else's business out of the environment.
    pub(super) fn take(host: &dyn Host) -> Self {
        let mut vault = Self::default();
        for name in host.variable_names() {
            let key = name.to_ascii_uppercase();
            if VAULTED_NAMES.contains(&key.as_str()) || VAULTED_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
                if let Some(value) = host.variable(&name).filter(|value| !value.is_empty()) {
                    vault.values.insert(key, value);
                }
                host.remove_variable(&name);
            }
        }
        vault
    }

    /// A value that was taken out; empty ones count as absent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(&name.to_ascii_uppercase()).map(String::as_str)
    }

    /// The values that must never be shown, in the order of their variables' names.
    pub(super) fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        for (name, value) in &self.values {
            if name.starts_with("SECRET_") || name.starts_with("SECUREFILE_TICKET_") || name == "IDENTITY_HEADER" {
                secrets.push(value.clone());
            } else if name.starts_with("ENDPOINT_AUTH_PARAMETER_") {
                if SECRET_PARAMETERS.iter().any(|parameter| name.ends_with(&format!("_{parameter}"))) {
                    secrets.push(value.clone());
                }
            } else if name.starts_with("ENDPOINT_AUTH_") && !name.starts_with("ENDPOINT_AUTH_SCHEME_") {
                secrets.extend(secret_parameters(value));
            }
        }
        secrets
    }

    /// The pipeline variables that are secret, by the agent's list and by their values' being here.
    pub(super) fn is_secret_variable(&self, mangled_name: &str) -> bool {
        self.get(&format!("SECRET_{mangled_name}")).is_some()
            || self
                .get("VSTS_SECRET_VARIABLES")
                .and_then(|names| serde_json::from_str::<Vec<String>>(names).ok())
                .is_some_and(|names| names.iter().any(|name| super::inputs::mangle(name) == mangled_name))
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Vault").field("values", &self.values.len()).finish()
    }
}

/// The secrets that are known so far, each in the forms in which it may be shown.
#[derive(Default)]
pub(super) struct Known {
    lines: HashSet<String>,
    /// Longest first, so that no secret is left standing within another.
    forms: Vec<String>,
}

/// The shortest secret by which a longer text is told to be one.
const TELLING: usize = 8;

impl Known {
    /// Adds a line; whether it is new.
    pub(super) fn insert(&mut self, line: &str) -> bool {
        if !self.lines.insert(line.to_owned()) {
            return false;
        }
        let encoded = percent_encoding::utf8_percent_encode(line, percent_encoding::NON_ALPHANUMERIC).to_string();
        // The last characters of Base64 depend on what follows.
        let base64 = STANDARD_NO_PAD.encode(line);
        let json = Value::from(line).to_string();
        // Without the quotes around it; those within are part of it.
        for form in [line, encoded.as_str(), base64.as_str(), &json[1..json.len() - 1]] {
            if !self.forms.iter().any(|known| known == form) {
                let place = self.forms.partition_point(|known| known.len() >= form.len());
                self.forms.insert(place, form.to_owned());
            }
        }
        true
    }

    pub(super) fn mask(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for form in &self.forms {
            if masked.contains(form.as_str()) {
                masked = masked.replace(form.as_str(), "***");
            }
        }
        masked
    }

    /// Whether a text holds a secret.
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.len() >= TELLING && text.contains(line.as_str()))
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Known").field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}

/// The secrets of a connection's JSON form, `{"parameters":{…},"scheme":"…"}`.
fn secret_parameters(json: &str) -> Vec<String> {
    let Ok(authorization) = serde_json::from_str::<Value>(json) else { return vec![json.to_owned()] };
    let Some(parameters) = authorization.get("parameters").and_then(Value::as_object) else { return Vec::new() };
    parameters
        .iter()
        .filter(|(name, _)| SECRET_PARAMETERS.contains(&name.to_ascii_uppercase().as_str()))
        .filter_map(|(_, value)| value.as_str().map(str::to_owned))
        .collect()
}

/// The texts to register for a secret: the agent masks write by write, so that a value of several lines is known by its lines.
pub fn maskable_lines(secret: &str) -> Vec<&str> {
    command::lines(secret).into_iter().map(str::trim).filter(|line| !is_trivial(line)).collect()
}

fn is_trivial(line: &str) -> bool {
    let common = ["true", "false", "null", "none"];
    line.chars().count() < SHORTEST_SECRET
        || !line.chars().any(char::is_alphanumeric)
        || common.iter().any(|word| line.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::scripted::ScriptedHost;

    #[test]
    fn everything_that_the_task_library_vaults_leaves_the_environment() {
        let host = ScriptedHost::new();
        let vaulted = [
            "INPUT_LABID",
            "ENDPOINT_AUTH_abc",
            "ENDPOINT_AUTH_SCHEME_abc",
            "ENDPOINT_AUTH_PARAMETER_abc_SERVICEPRINCIPALKEY",
            "SECUREFILE_TICKET_abc",
            "SECRET_PASSWORD",
            "VSTS_TASKVARIABLE_X",
            "COMMAND_CORRELATION_ID",
            "VSTS_PUBLIC_VARIABLES",
            "VSTS_SECRET_VARIABLES",
        ];
        for name in vaulted {
            host.set_variable(name, "value");
        }
        host.set_variable("INPUT_EMPTY", "");
        for name in ["ENDPOINT_URL_abc", "ENDPOINT_DATA_abc", "BUILD_BUILDID", "PATH"] {
            host.set_variable(name, "stays");
        }
        let vault = Vault::take(host.as_ref());
        let mut left = host.variable_names();
        left.sort();
        assert_eq!(left, ["BUILD_BUILDID", "ENDPOINT_DATA_abc", "ENDPOINT_URL_abc", "PATH"]);
        assert_eq!(vault.get("input_labid"), Some("value"));
        assert_eq!(vault.get("INPUT_EMPTY"), None);
    }

    #[test]
    fn only_what_is_secret_is_registered() {
        let host = ScriptedHost::new();
        host.set_variable(
            "ENDPOINT_AUTH_a",
            r#"{"parameters":{"tenantid":"tenant","serviceprincipalkey":"the key"},"scheme":"ServicePrincipal"}"#,
        );
        host.set_variable("ENDPOINT_AUTH_PARAMETER_a_TENANTID", "tenant");
        host.set_variable("ENDPOINT_AUTH_PARAMETER_a_SERVICEPRINCIPALKEY", "the key");
        host.set_variable("INPUT_X", "an input");
        host.set_variable("SECRET_PW", "pass word");
        assert_eq!(Vault::take(host.as_ref()).secrets(), ["the key", "the key", "pass word"]);
    }

    #[test]
    fn a_secret_is_masked_in_every_form_and_within_another() {
        let mut known = Known::default();
        assert!(known.insert("pa$$ \"word\"") && known.insert("word") && !known.insert("word"));
        for (text, masked) in [
            ("it is pa$$ \"word\" here", "it is *** here"),
            ("?p=pa%24%24%20%22word%22&x", "?p=***&x"),
            (r#"{"p":"pa$$ \"word\""}"#, r#"{"p":"***"}"#),
            ("cGEkJCAid29yZCI=", "***="),
            ("a word", "a ***"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(known.mask(text), masked);
        }
        assert!(known.is_in("x pa$$ \"word\"") && !known.is_in("a word"));
    }

    #[test]
    fn secrets_are_masked_line_by_line_without_trivial_ones() {
        let cases: [(&str, &[&str]); 6] = [
            ("one line", &["one line"]),
            ("-----BEGIN-----\r\nabcdef\n{\n}\n", &["-----BEGIN-----", "abcdef"]),
            ("true", &[]),
            ("abc", &[]),
            ("", &[]),
            ("------", &[]),
        ];
        for (secret, expected) in cases {
            assert_eq!(maskable_lines(secret), expected, "{secret:?}");
        }
    }
}
