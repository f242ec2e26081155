//! `$expand` as the provider reads it: `properties($expand=artifacts,computeVm)` adds, `properties($select=status)` leaves the rest out.

use serde_json::Value;

/// What a request wants to see.
#[derive(Clone, Debug, Default)]
pub struct Expand {
    added: Vec<String>,
    selected: Vec<String>,
}

impl Expand {
    /// Reads the parameter; what is no such expression asks for what it names.
    pub fn parse(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        let names = |text: &str| -> Vec<String> {
            text.split([',', '(', ')', '=', ';', ' ']).map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        match lower.split_once("$select=") {
            Some((before, rest)) => {
                let (selected, after) = rest.split_once([';', ')']).unwrap_or((rest, ""));
                Self { added: names(&format!("{before};{after}")), selected: names(selected) }
            }
            None => Self { added: names(&lower), selected: Vec::new() },
        }
    }

    /// Whether a property is asked for.
    pub fn has(&self, name: &str) -> bool {
        self.added.iter().chain(&self.selected).any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Leaves out what is not selected.
    pub fn select(&self, body: &mut Value) {
        if self.selected.is_empty() {
            return;
        }
        if let Some(properties) = body["properties"].as_object_mut() {
            properties.retain(|name, _| self.has(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_of_azures_clients_are_read() {
        let expand = Expand::parse("Properties($expand=ComputeVm,NetworkInterface,Artifacts)");
        assert!(expand.has("computeVm") && expand.has("artifacts") && !expand.has("applicableSchedule"));
        let mut body = json!({"name": "x", "properties": {"status": 1, "other": 2, "provisioningState": 3}});
        expand.select(&mut body);
        assert_eq!(body["properties"].as_object().map(serde_json::Map::len), Some(3));
        Expand::parse("properties($select=status)").select(&mut body);
        assert_eq!(body, json!({"name": "x", "properties": {"status": 1}}));
        assert!(!Expand::parse("").has("artifacts"));
    }
}
