//! JSON Schemas of the configuration's files, generated from their types, for completion and checks in editors.

use serde_json::Value;

use super::configuration::files::{FactoryFile, LabsFile};

/// The schema of `Labs.json`.
pub fn labs() -> Value {
    schemars::schema_for!(LabsFile).to_value()
}

/// The schema of `factory.json`.
pub fn factory() -> Value {
    schemars::schema_for!(FactoryFile).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_name_what_the_files_may_hold() {
        let labs = labs();
        let item = &labs["$defs"]["LabItem"];
        assert_eq!(item["required"], serde_json::json!(["SubscriptionId", "LabName", "ImagePaths"]));
        assert!(item["properties"]["ResourceGroup"]["description"].is_string());
        let factory = factory();
        assert_eq!(factory["properties"]["retention"]["minimum"], 1);
        assert!(factory["properties"]["$schema"].is_object() && factory.get("required").is_none());
        let states = &factory["$defs"]["OsState"]["oneOf"];
        assert_eq!(states[1]["const"], "specialized");
    }
}
