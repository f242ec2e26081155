//! What evaluating a template costs, and how that grows with the number of resources.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{Figure, median};
use crate::shell;

/// Azure's limit for one loop, and a quarter of it.
const MANY: u32 = 800;
const FEWER: u32 = 200;

const ROUNDS: usize = 15;

/// The time of `dtl template evaluate` for a loop, above that for a template without resources.
pub fn evaluation() -> Result<Vec<Figure>> {
    let files = [0, FEWER, MANY].map(template);
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (file, times) in files.iter().zip(&mut times) {
            times.push(evaluate(file.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?)?);
        }
    }
    let [floor, fewer, many] = times.map(median);
    let above = |time: Duration| time.saturating_sub(floor).as_secs_f64() * 1e3;
    let growth = above(many) / above(fewer) / (f64::from(MANY) / f64::from(FEWER));
    Ok(vec![
        Figure::new(format!("evaluating a loop of {MANY} resources"), "ms", above(many), Some(50.0)),
        Figure::new(format!("its growth from {FEWER} on, 1 is linear"), "", growth, Some(1.2)),
    ])
}

/// A template with a loop of so many resources, each with expressions in its name, properties and tags.
fn template(count: u32) -> Result<PathBuf> {
    let resource = json!({
        "type": "Microsoft.Storage/storageAccounts",
        "apiVersion": "2023-01-01",
        "name": "[concat('s', uniqueString(resourceGroup().id, string(copyIndex())), copyIndex())]",
        "location": "[resourceGroup().location]",
        "copy": { "name": "accounts", "count": "[parameters('count')]" },
        "sku": { "name": "[if(equals(mod(copyIndex(), 2), 0), 'Standard_LRS', 'Standard_ZRS')]" },
        "kind": "StorageV2",
        "tags": { "index": "[string(copyIndex(1))]", "owner": "[toUpper(variables('owner'))]" },
        "properties": { "minimumTlsVersion": "TLS1_2" },
    });
    let template = json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": { "count": { "type": "int", "defaultValue": count } },
        "variables": { "owner": "[format('{0}-{1}', 'team', resourceGroup().name)]" },
        "resources": if count == 0 { json!([]) } else { json!([resource]) },
    });
    let file = shell::target().join(format!("bench/loop-{count}.json"));
    fs::write(&file, template.to_string()).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(file)
}

fn evaluate(template: &PathBuf) -> Result<Duration> {
    let started = Instant::now();
    let output = Command::new(shell::dtl()).args(["template", "evaluate"]).arg(template).output()?;
    let time = started.elapsed();
    ensure!(output.status.success(), "{} failed:\n{}", template.display(), shell::text(&output));
    Ok(time)
}
