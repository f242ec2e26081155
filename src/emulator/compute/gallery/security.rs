//! What a version says of Secure Boot: templates and keys, for definitions whose machines have it.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{definition::security_type, invalid_parameter, word};
use crate::emulator::{error::ApiError, store::Resource};

const SETTINGS: &str = "galleryImageVersion.properties.securityProfile.uefiSettings";

/// Checks a version's security profile.
pub fn check(profile: &Value, definition: &Resource) -> Result<(), ApiError> {
    let settings = &profile["uefiSettings"];
    if settings.is_null() {
        return Ok(());
    }
    if security_type(definition.property("features")).eq_ignore_ascii_case("Standard") {
        let message = format!("The gallery image '{}' does not support Secure Boot, which 'uefiSettings' is for.", definition.name());
        return Err(invalid_parameter(SETTINGS, message));
    }
    let property = format!("{SETTINGS}.signatureTemplateNames");
    for name in settings["signatureTemplateNames"].as_array().into_iter().flatten() {
        word(name, &property, &["NoSignatureTemplate", "MicrosoftUefiCertificateAuthorityTemplate", "MicrosoftWindowsTemplate"])?;
    }
    let signatures = &settings["additionalSignatures"];
    check_key(&signatures["pk"], "pk")?;
    for database in ["kek", "db", "dbx"] {
        for key in signatures[database].as_array().into_iter().flatten() {
            check_key(key, database)?;
        }
    }
    Ok(())
}

fn check_key(key: &Value, database: &str) -> Result<(), ApiError> {
    if key.is_null() {
        return Ok(());
    }
    let property = format!("{SETTINGS}.additionalSignatures.{database}");
    word(&key["type"], &property, &["sha256", "x509"])?;
    let values = key["value"].as_array().filter(|values| !values.is_empty());
    let is_base64 = |value: &Value| value.as_str().is_some_and(|text| BASE64_STANDARD.decode(text).is_ok());
    if values.is_some_and(|values| values.iter().all(is_base64)) {
        return Ok(());
    }
    Err(invalid_parameter(&property, format!("The keys of '{database}' must be given in base64.")))
}
