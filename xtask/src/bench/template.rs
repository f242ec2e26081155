//! What evaluating a template costs, and how that grows with the number of resources.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::{Figure, median, plot::Plot};
use crate::shell;

/// The numbers of resources in a loop; the last is Azure's limit.
const RESOURCES: [u32; 4] = [100, 200, 400, 800];

const ROUNDS: usize = 15;

/// The time of `dtl template evaluate` for a loop, above that for a template without resources.
pub fn evaluation() -> Result<(Vec<Figure>, Plot)> {
    let files: Vec<PathBuf> = [0].into_iter().chain(RESOURCES).map(template).collect::<Result<_>>()?;
    let mut times = vec![Vec::new(); files.len()];
    for _ in 0..ROUNDS {
        for (file, times) in files.iter().zip(&mut times) {
            times.push(evaluate(file)?);
        }
    }
    let times: Vec<Duration> = times.into_iter().map(median).collect();
    let above: Vec<f64> = times[1..].iter().map(|time| time.saturating_sub(times[0]).as_secs_f64() * 1e3).collect();
    let [_, fewer, _, many] = above[..] else { bail!("a time for each loop") };
    let growth = many / fewer / (f64::from(RESOURCES[3]) / f64::from(RESOURCES[1]));
    let figures = vec![
        Figure::new(format!("evaluating a loop of {} resources", RESOURCES[3]), "ms", many, Some(50.0)),
        Figure::new(format!("its growth from {} on, 1 is linear", RESOURCES[1]), "", growth, Some(1.2)),
    ];
    let mut plot = Plot::new("template", "Evaluating a template with a loop", "resources", "milliseconds");
    plot.line("dtl template evaluate", RESOURCES.iter().map(|count| f64::from(*count)).zip(above));
    Ok((figures, plot))
}

/// A template with a loop of so many resources, each with expressions in its name, properties and tags.
pub fn template(count: u32) -> Result<PathBuf> {
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
    let file = super::folder()?.join(format!("loop-{count}.json"));
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
