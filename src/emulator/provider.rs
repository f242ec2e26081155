//! Which providers, types and api-versions there are, and in which regions.

mod types;

use super::{
    error::ApiError,
    resources::{is_region, region_names},
    router::Target,
};
pub use types::{PROVIDERS, Provider};

const LAB: &str = "Microsoft.DevTestLab";
const ALL: &[&str] = &["2015-05-21-preview", "2016-05-15", "2017-04-26-preview", "2018-09-15", "2018-10-15-preview"];
const PREVIEW: &[&str] = &["2018-10-15-preview"];

/// The types of Microsoft.DevTestLab with their casing and api-versions.
const LAB_TYPES: &[(&str, &[&str])] = &[
    ("labs", ALL),
    ("labs/artifactSources", ALL),
    ("labs/artifactSources/artifacts", ALL),
    ("labs/artifactSources/armTemplates", ALL),
    ("labs/costs", ALL),
    ("labs/customImages", ALL),
    ("labs/formulas", ALL),
    ("labs/galleryImages", ALL),
    ("labs/notificationChannels", ALL),
    ("labs/policySets", ALL),
    ("labs/policySets/policies", ALL),
    ("labs/schedules", ALL),
    ("labs/serviceRunners", ALL),
    ("labs/sharedGalleries", PREVIEW),
    ("labs/sharedGalleries/sharedImages", PREVIEW),
    ("labs/users", ALL),
    ("labs/users/disks", ALL),
    ("labs/users/environments", ALL),
    ("labs/users/secrets", ALL),
    ("labs/users/serviceFabrics", ALL),
    ("labs/users/serviceFabrics/schedules", ALL),
    ("labs/virtualMachines", ALL),
    ("labs/virtualMachines/schedules", ALL),
    ("labs/virtualNetworks", ALL),
    ("schedules", ALL),
    ("locations/operations", ALL),
];

/// Checks the namespace, the type and the api-version of a request.
pub fn check(target: &Target, api_version: &str) -> Result<(), ApiError> {
    check_date(api_version)?;
    let provider = Provider::named(&target.namespace).ok_or_else(|| unknown_namespace(&target.namespace))?;
    if provider.namespace == LAB {
        check_lab_type(&target.rest, api_version)?;
    }
    Ok(())
}

/// There is no such provider.
pub fn unknown_namespace(namespace: &str) -> ApiError {
    ApiError::new(404, "InvalidResourceNamespace", format!("The resource namespace '{namespace}' is invalid."))
}

/// Checks where a resource is to be: its type must be available there. Of types that are not known, nothing is known.
pub fn check_location(type_name: &str, location: &str) -> Result<(), ApiError> {
    let known = type_name.split_once('/').and_then(|(namespace, kinds)| Provider::named(namespace)?.type_named(kinds));
    if location.is_empty() || is_region(location) || !known.is_some_and(|(_, regional)| regional) {
        return Ok(());
    }
    let regions: Vec<&str> = region_names().collect();
    let message = format!(
        "The provided location '{location}' is not available for resource type '{type_name}'. List of available regions for the resource \
         type is '{}'.",
        regions.join(",")
    );
    Err(ApiError::bad_request("LocationNotAvailableForResourceType", message))
}

fn check_lab_type(rest: &[String], api_version: &str) -> Result<(), ApiError> {
    let kinds: Vec<&str> = rest.iter().step_by(2).map(String::as_str).collect();
    // An action stands where a type would: the resource's own type counts then.
    let versions = lab_versions(&kinds.join("/")).or_else(|| lab_versions(&kinds[..kinds.len().saturating_sub(1)].join("/")));
    match versions {
        Some((_, versions)) if versions.contains(&api_version) => Ok(()),
        Some((name, versions)) => Err(no_registered_provider("", api_version, name, versions)),
        None => Err(ApiError::new(
            404,
            "InvalidResourceType",
            format!("The resource type could not be found in the namespace 'Microsoft.DevTestLab' for api version '{api_version}'."),
        )),
    }
}

/// Checks the type and api-version of a template's resource.
pub fn check_template_type(type_name: &str, api_version: &str, location: &str) -> Result<(), ApiError> {
    let Some((namespace, kinds)) = type_name.split_once('/') else {
        return Err(ApiError::bad_request("InvalidTemplate", format!("The resource type '{type_name}' is not valid.")));
    };
    if !namespace.eq_ignore_ascii_case(LAB) {
        return Ok(());
    }
    match lab_versions(kinds) {
        Some((_, versions)) if versions.contains(&api_version) => Ok(()),
        Some((name, versions)) => Err(no_registered_provider(location, api_version, name, versions)),
        None => Err(ApiError::bad_request(
            "InvalidResourceType",
            format!("The resource type '{kinds}' could not be found in the namespace '{namespace}' for api version '{api_version}'."),
        )),
    }
}

fn no_registered_provider(location: &str, api_version: &str, name: &str, versions: &[&str]) -> ApiError {
    let regions: Vec<&str> = region_names().collect();
    ApiError::bad_request(
        "NoRegisteredProviderFound",
        format!(
            "No registered resource provider found for location '{location}' and API version '{api_version}' for type '{name}'. The \
             supported api-versions are '{}'. The supported locations are '{}'.",
            versions.join(", "),
            regions.join(", ")
        ),
    )
}

fn lab_versions(kinds: &str) -> Option<(&'static str, &'static [&'static str])> {
    LAB_TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(kinds)).copied()
}

/// A type's own casing, where it is known.
pub fn proper_type(type_name: &str) -> String {
    let Some((namespace, kinds)) = type_name.split_once('/') else { return type_name.to_owned() };
    let Some(provider) = Provider::named(namespace) else { return type_name.to_owned() };
    let kinds = provider.type_named(kinds).map_or(kinds, |(name, _)| name);
    format!("{}/{kinds}", provider.namespace)
}

/// Api-versions are dates, perhaps followed by a word.
pub fn check_date(api_version: &str) -> Result<(), ApiError> {
    let date = api_version.get(..10).unwrap_or_default();
    let shaped = date.bytes().enumerate().all(|(index, byte)| if matches!(index, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    let suffix = api_version.get(10..).unwrap_or_default();
    let known_suffix = suffix.is_empty() || matches!(suffix, "-preview" | "-alpha" | "-beta" | "-privatepreview");
    if date.len() == 10 && shaped && known_suffix && ("2014-01-01".."2027-01-01").contains(&date) {
        return Ok(());
    }
    let versions = Provider::named("Microsoft.Resources").map_or(&[][..], |provider| provider.versions);
    let message = format!("The api-version '{api_version}' is invalid. The supported versions are '{}'.", versions.join(","));
    Err(ApiError::bad_request("InvalidApiVersionParameter", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_versions_are_dates() {
        for good in ["2018-09-15", "2018-10-15-preview", "2026-09-01"] {
            assert!(check_date(good).is_ok(), "{good}");
        }
        for bad in ["", "1", "2018-9-15", "2018-09-15-", "2018-09-15-prev", "2099-01-01", "latest", "ä018-09-15"] {
            assert!(check_date(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_get_their_own_casing() {
        assert_eq!(proper_type("microsoft.devtestlab/LABS/virtualmachines"), "Microsoft.DevTestLab/labs/virtualMachines");
        assert_eq!(proper_type("Contoso.Widgets/x"), "Contoso.Widgets/x");
    }
}
