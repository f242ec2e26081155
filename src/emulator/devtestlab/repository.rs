//! What lies behind an artifact source: artifacts and environments, read from folders or built in.

use std::path::Path;

use serde_json::{Value, json};

use crate::emulator::{Error, http::parse_object};

/// A template with its description.
#[derive(Clone, Debug)]
pub struct Environment {
    /// `azuredeploy.json`.
    pub template: Value,
    /// `metadata.json`; an empty object without one.
    pub metadata: Value,
    /// The parameter files beside it, as DevTest Labs lists them.
    pub parameter_files: Vec<Value>,
}

/// Artifacts and environments by name.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    /// Names and contents of `Artifactfile.json`.
    pub artifacts: Vec<(String, Value)>,
    /// Names and templates.
    pub environments: Vec<(String, Environment)>,
}

/// The small built-in repository.
pub fn built_in() -> Repository {
    let artifacts = [
        ("linux-apt-package", include_str!("../repository/artifacts/linux-apt-package/Artifactfile.json")),
        ("linux-deprovision", include_str!("../repository/artifacts/linux-deprovision/Artifactfile.json")),
        ("windows-noop", include_str!("../repository/artifacts/windows-noop/Artifactfile.json")),
        ("windows-sysprep", include_str!("../repository/artifacts/windows-sysprep/Artifactfile.json")),
    ];
    let environments = [
        (
            "Storage",
            include_str!("../repository/environments/Storage/azuredeploy.json"),
            include_str!("../repository/environments/Storage/metadata.json"),
        ),
        (
            "WebApp",
            include_str!("../repository/environments/WebApp/azuredeploy.json"),
            include_str!("../repository/environments/WebApp/metadata.json"),
        ),
    ];
    let parse = |text: &str| serde_json::from_str(text).unwrap_or_default();
    Repository {
        artifacts: artifacts.iter().map(|(name, text)| ((*name).to_owned(), parse(text))).collect(),
        environments: environments
            .iter()
            .map(|(name, template, metadata)| {
                let environment = Environment { template: parse(template), metadata: parse(metadata), parameter_files: Vec::new() };
                ((*name).to_owned(), environment)
            })
            .collect(),
    }
}

/// Reads a folder of artifacts: one folder each, with an `Artifactfile.json`.
pub fn read_artifacts(folder: &Path) -> Result<Vec<(String, Value)>, Error> {
    let mut artifacts = Vec::new();
    for (name, path) in folders(folder)? {
        if let Some(file) = find(&path, "artifactfile.json")? {
            artifacts.push((name, read_json(&file)?));
        }
    }
    Ok(artifacts)
}

/// Reads a folder of environments: one folder each, with an `azuredeploy.json`.
pub fn read_environments(folder: &Path) -> Result<Vec<(String, Environment)>, Error> {
    let mut environments = Vec::new();
    for (name, path) in folders(folder)? {
        let Some(file) = find(&path, "azuredeploy.json")? else { continue };
        let metadata = find(&path, "metadata.json")?.map_or_else(|| Ok(json!({})), |file| read_json(&file))?;
        let mut parameter_files = Vec::new();
        if let Some(file) = find(&path, "azuredeploy.parameters.json")? {
            let contents = read_json(&file)?;
            parameter_files.push(json!({"fileName": "azuredeploy.parameters.json", "parametersValueInfo": contents["parameters"]}));
        }
        environments.push((name, Environment { template: read_json(&file)?, metadata, parameter_files }));
    }
    Ok(environments)
}

/// The folders within a folder, by name.
fn folders(folder: &Path) -> Result<Vec<(String, std::path::PathBuf)>, Error> {
    let mut found: Vec<_> = entries(folder)?
        .into_iter()
        .filter(|path| path.is_dir())
        .filter_map(|path| Some((path.file_name()?.to_string_lossy().into_owned(), path.clone())))
        .collect();
    found.sort();
    Ok(found)
}

/// A file of a folder, whatever its casing.
fn find(folder: &Path, name: &str) -> Result<Option<std::path::PathBuf>, Error> {
    let matches = |path: &Path| path.file_name().is_some_and(|file| file.to_string_lossy().eq_ignore_ascii_case(name));
    Ok(entries(folder)?.into_iter().find(|path| path.is_file() && matches(path)))
}

fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>, Error> {
    let failed = |source| Error::File { path: folder.to_owned(), source };
    std::fs::read_dir(folder).map_err(failed)?.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}

fn read_json(path: &Path) -> Result<Value, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let document = crate::template::Document::parse(&bytes).map(|document| document.value().clone());
    let fallback = || parse_object(&bytes).map_err(|error| Error::Seed { path: path.to_owned(), problem: error.message });
    document.or_else(|_| fallback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_repository_is_whole() {
        let repository = built_in();
        for (name, artifact) in &repository.artifacts {
            assert!(artifact["title"].is_string() && artifact["targetOsType"].is_string(), "{name}");
        }
        for (name, environment) in &repository.environments {
            assert!(environment.template["resources"].is_array(), "{name}");
            assert!(environment.metadata["itemDisplayName"].is_string(), "{name}");
        }
    }
}
