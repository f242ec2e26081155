//! The dependencies: licenses, sources and bans of `deny.toml`, and lock files that name a checksum for everything.
//!
//! cargo-deny reads the same file, and knows advisories besides; it runs where it is installed. Installing it takes a machine longer than all
//! else that CI does, so that what can be told from `cargo metadata` alone is told here.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::shell;

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<String>,
}

/// Checks everything.
pub fn run() -> Result<()> {
    let text = fs::read_to_string(shell::root().join("deny.toml")).context("failed to read deny.toml")?;
    let deny: Deny = toml::from_str(&text).context("deny.toml is wrong")?;
    let packages = packages(&[])?;
    let problems: Vec<String> = packages.iter().filter_map(|package| problem(package, &deny)).collect();
    ensure!(problems.is_empty(), "dependencies that deny.toml forbids:\n{}", problems.join("\n"));
    let checksums = checksums()?;
    let unlocked: Vec<String> =
        packages.iter().filter(|package| package["source"].is_string()).map(key).filter(|key| !checksums.contains_key(key)).collect();
    ensure!(unlocked.is_empty(), "without a checksum in Cargo.lock: {}", unlocked.join(", "));
    check_npm()?;
    cargo_deny()
}

/// What `cargo metadata` tells of all packages; the lock file must be up to date.
pub fn packages(options: &[&str]) -> Result<Vec<Value>> {
    let mut metadata = metadata(options)?;
    match metadata["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => bail!("cargo metadata lists no packages"),
    }
}

/// What `cargo metadata` tells.
pub fn metadata(options: &[&str]) -> Result<Value> {
    let output = shell::capture(shell::cargo().args(["metadata", "--locked", "--format-version", "1"]).args(options))?;
    serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")
}

/// Name and version, as the lock file knows a package.
pub fn key(package: &Value) -> String {
    format!("{} {}", package["name"].as_str().unwrap_or_default(), package["version"].as_str().unwrap_or_default())
}

/// The checksums of Cargo.lock, by name and version.
pub fn checksums() -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    #[derive(Deserialize)]
    struct Locked {
        name: String,
        version: String,
        checksum: Option<String>,
    }
    let text = fs::read_to_string(shell::root().join("Cargo.lock")).context("failed to read Cargo.lock")?;
    let lock: Lock = toml::from_str(&text).context("Cargo.lock is wrong")?;
    Ok(lock.package.into_iter().filter_map(|package| Some((format!("{} {}", package.name, package.version), package.checksum?))).collect())
}

fn problem(package: &Value, deny: &Deny) -> Option<String> {
    let name = package["name"].as_str().unwrap_or_default();
    if deny.bans.deny.iter().any(|banned| banned == name) {
        return Some(format!("{name}: banned"));
    }
    let source = package["source"].as_str()?;
    if !source.starts_with("registry+") {
        return Some(format!("{name}: from {source}, which is no registry"));
    }
    let license = package["license"].as_str().unwrap_or_default();
    // Some packages still write `MIT/Apache-2.0`.
    let Ok(expression) = spdx::Expression::parse_mode(license, spdx::ParseMode::LAX) else {
        return Some(format!("{name}: its license '{license}' is no SPDX expression"));
    };
    let is_allowed = |requirement: &spdx::LicenseReq| deny.licenses.allow.iter().any(|allowed| *allowed == requirement.to_string());
    (!expression.evaluate(is_allowed)).then(|| format!("{name}: its license '{license}' is not allowed"))
}

/// Every package that npm installs is known by its content.
fn check_npm() -> Result<()> {
    let text = fs::read_to_string(shell::root().join("package-lock.json")).context("failed to read package-lock.json")?;
    let lock: Value = serde_json::from_str(&text).context("package-lock.json is not JSON")?;
    let packages = lock["packages"].as_object().context("package-lock.json lists no packages")?;
    let unlocked = packages
        .iter()
        .filter(|(path, package)| !path.is_empty() && package["integrity"].as_str().is_none_or(|sum| !sum.starts_with("sha512-")));
    let unlocked: Vec<&str> = unlocked.map(|(path, _)| path.as_str()).collect();
    ensure!(unlocked.is_empty(), "without a sha512 in package-lock.json: {}", unlocked.join(", "));
    Ok(())
}

fn cargo_deny() -> Result<()> {
    let found = shell::cargo().args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!("cargo-deny is not installed: advisories are not checked");
        return Ok(());
    }
    let mut command: Command = shell::cargo();
    shell::run(command.args(["deny", "--locked", "check"]))
}
