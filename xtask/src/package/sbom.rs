//! What the WebAssembly is made of, as a `CycloneDX` document: every package that is compiled into an engine, with version, license and checksum.
//!
//! Tools that only build (npm's, and Rust's own) are not in what is shipped, and not in the document. It has no date and no serial number:
//! the same sources give the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{shell, supply};

/// The document.
pub fn document() -> Result<Value> {
    let metadata = supply::metadata(&["--filter-platform", super::wasm::TARGET])?;
    let packages: BTreeMap<&str, &Value> =
        list(&metadata["packages"]).iter().filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"]["nodes"]).iter().filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let root = packages.iter().find(|(_, package)| package["name"] == "dtl").map(|(id, _)| *id).context("the package is not there")?;
    let checksums = supply::checksums()?;
    let compiled = compiled()?;

    let mut reached = BTreeSet::new();
    let mut waiting = vec![root];
    while let Some(id) = waiting.pop() {
        if reached.insert(id) {
            let below = nodes.get(id).into_iter().flat_map(|node| linked(node));
            waiting.extend(below.filter(|id| packages.get(id).is_some_and(|package| compiled.contains(&supply::key(package)))));
        }
    }
    let reference = |id: &str| packages.get(id).map_or_else(String::new, |package| purl(package));
    let mut components: Vec<Value> =
        reached.iter().filter(|id| **id != root).filter_map(|id| packages.get(id)).map(|package| component(package, &checksums)).collect();
    components.sort_by_key(|component| component["purl"].to_string());
    let mut dependencies: Vec<Value> = reached
        .iter()
        .map(|id| {
            let below = nodes.get(id).into_iter().flat_map(|node| linked(node));
            let mut below: Vec<String> = below.filter(|id| reached.contains(id)).map(reference).collect();
            below.sort();
            json!({"ref": reference(id), "dependsOn": below})
        })
        .collect();
    dependencies.sort_by_key(|dependency| dependency["ref"].to_string());
    let own = packages.get(root).map(|package| component(package, &checksums)).unwrap_or_default();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": own},
        "components": components,
        "dependencies": dependencies,
    }))
}

/// Name and version of what is compiled into the engines: `cargo metadata` knows only the features of the whole workspace, which are more.
fn compiled() -> Result<BTreeSet<String>> {
    let mut command = shell::cargo();
    command.args(["tree", "--locked", "--package", "dtl", "--target", super::wasm::TARGET, "--all-features"]);
    let output = shell::capture(command.args(["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"]))?;
    let text = String::from_utf8(output.stdout)?;
    // A line is `name v1.2.3`, and perhaps where it lies or that it was shown before.
    let packages = text.lines().filter_map(|line| {
        let (name, rest) = line.split_once(" v")?;
        Some(format!("{name} {}", rest.split(' ').next()?))
    });
    Ok(packages.collect())
}

/// What is compiled into the same artifact: no build script's and no test's dependencies.
fn linked(node: &Value) -> impl Iterator<Item = &str> {
    let is_linked = |dependency: &&Value| list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
    list(&node["deps"]).iter().filter(is_linked).filter_map(|dependency| dependency["pkg"].as_str())
}

fn component(package: &Value, checksums: &BTreeMap<String, String>) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    });
    if let Some(license) = package["license"].as_str() {
        component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    if let Some(checksum) = checksums.get(&supply::key(package)) {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    component
}

fn purl(package: &Value) -> String {
    format!("pkg:cargo/{}@{}", package["name"].as_str().unwrap_or_default(), package["version"].as_str().unwrap_or_default())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
