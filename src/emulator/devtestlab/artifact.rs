//! Artifact sources, artifacts, and how they are applied to machines: one after another.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{new_resource, repository::Repository, require_lab, with_location};
use crate::emulator::{
    clock::dtl_date,
    compute,
    error::ApiError,
    faults::Outcome,
    id::Id,
    provider,
    provision::{Applied, Put},
    settings::Work,
    store::Resource,
    world::World,
};

/// Makes or changes an artifact source. A new one that names no repository of its own has the built-in one behind it.
pub fn put_source(world: &Arc<World>, put: &Put<'_>) -> Result<Applied, ApiError> {
    let lab = require_lab(world, put.id)?;
    let mut given = super::lab_properties(put.body)?;
    given.remove("securityToken");
    given.insert("provisioningState".into(), json!("Succeeded"));
    if let Some(existing) = world.store.get(&put.id.key()) {
        let resource = world.settle(&existing.key, |source| given.into_iter().for_each(|(name, value)| source.set(&name, value)));
        return Ok(Applied { created: false, resource: resource.unwrap_or(existing), operation: None });
    }
    given.entry("createdDate").or_insert(json!(dtl_date(world.clock.now())));
    given.entry("status").or_insert(json!("Enabled"));
    given.entry("displayName").or_insert(json!(put.id.name()));
    given.entry("sourceType").or_insert(json!("GitHub"));
    let resource = world.store.put(new_resource(world, put.id, &with_location(put.body, &lab), given));
    add_contents(world, put.id, &super::repository::built_in());
    Ok(Applied { created: true, resource, operation: None })
}

/// Puts a source in place with the contents of a repository.
pub fn add_source(world: &World, id: &Id, repository: &Repository) {
    let lab = world.store.get(&id.ancestor(1).key());
    let location = lab.as_ref().map(|lab| lab.location().to_owned()).unwrap_or_default();
    let properties = json!({
        "displayName": if id.name().eq_ignore_ascii_case("public repo") { "Public Artifact Repo" } else { id.name() },
        "uri": "https://github.com/Azure/azure-devtestlab.git", "sourceType": "GitHub", "folderPath": "/Artifacts",
        "armTemplateFolderPath": "/Environments", "branchRef": "master", "status": "Enabled",
        "createdDate": dtl_date(world.clock.now()), "provisioningState": "Succeeded",
    });
    let properties = properties.as_object().cloned().unwrap_or_default();
    world.store.put(new_resource(world, id, &json!({"location": location}), properties));
    add_contents(world, id, repository);
}

fn add_contents(world: &World, source: &Id, repository: &Repository) {
    let now = world.clock.now();
    for (name, definition) in &repository.artifacts {
        let id = source.child("artifacts", name);
        let text = |field: &str| definition[field].as_str().unwrap_or_default();
        let properties = json!({
            "title": text("title"), "description": text("description"), "publisher": text("publisher"),
            "filePath": format!("Artifacts/{name}/Artifactfile.json"), "icon": text("iconUri"), "targetOsType": text("targetOsType"),
            "parameters": definition.get("parameters").cloned().unwrap_or_else(|| json!({})), "createdDate": dtl_date(now),
        });
        let mut artifact = Resource::new(
            json!({"properties": properties, "id": id.key(), "name": name, "type": provider::proper_type(&id.type_name())}),
            now,
        );
        artifact.hide("definition", definition.clone());
        world.store.put(artifact);
    }
    for (name, environment) in &repository.environments {
        let id = source.child("armtemplates", name);
        let text = |field: &str| environment.metadata[field].as_str().unwrap_or_default();
        let title = if text("itemDisplayName").is_empty() { name.as_str() } else { text("itemDisplayName") };
        let properties = json!({
            "displayName": title, "description": text("description"), "publisher": text("githubUsername"), "icon": text("iconUri"),
            "contents": environment.template, "createdDate": dtl_date(now), "parametersValueFilesInfo": environment.parameter_files,
            "enabled": true,
        });
        let body = json!({"properties": properties, "id": id.key(), "name": name, "type": provider::proper_type(&id.type_name())});
        world.store.put(Resource::new(body, now));
    }
}

/// Checks the artifacts that a request names and makes them ready to be applied.
pub fn resolve(world: &World, lab: &Resource, wanted: &Value, os: &str) -> Result<Vec<Value>, ApiError> {
    let wanted = match wanted {
        Value::Null => return Ok(Vec::new()),
        Value::Array(wanted) => wanted,
        _ => return Err(ApiError::invalid_content("'artifacts' must be a list")),
    };
    wanted.iter().map(|one| resolve_one(world, lab, one, os)).collect()
}

fn resolve_one(world: &World, lab: &Resource, wanted: &Value, os: &str) -> Result<Value, ApiError> {
    let id = wanted["artifactId"].as_str().unwrap_or_default();
    // Within a lab the part from `/artifactSources/` on is enough.
    let full = if id.to_ascii_lowercase().starts_with("/artifactsources/") { format!("{}{id}", lab.key) } else { id.to_owned() };
    let inside = full.to_ascii_lowercase().starts_with(&format!("{}/artifactsources/", lab.key));
    let artifact = world.store.get(&full).filter(|found| inside && found.type_name.ends_with("/artifacts")).ok_or_else(|| {
        ApiError::bad_request("ArtifactNotFound", format!("The artifact '{id}' was not found in the lab '{}'.", lab.name()))
            .with_target("artifactId")
    })?;
    let target = artifact.text("targetOsType");
    if !target.is_empty() && !target.eq_ignore_ascii_case(os) {
        let message = format!("The artifact '{}' is for {target}; the virtual machine's operating system is {os}.", artifact.name());
        return Err(ApiError::bad_request("ArtifactOsTypeMismatch", message).with_target("artifactId"));
    }
    let parameters = check_parameters(&artifact, wanted)?;
    Ok(json!({
        "artifactId": &*artifact.key, "artifactTitle": artifact.text("title"), "parameters": parameters, "status": "Pending",
        "deploymentStatusMessage": "", "vmExtensionStatusMessage": "",
    }))
}

/// Parameters must be declared, and what has no default must be given. Values of secure ones are not shown again.
fn check_parameters(artifact: &Resource, wanted: &Value) -> Result<Vec<Value>, ApiError> {
    let declared = artifact.property("parameters").as_object().cloned().unwrap_or_default();
    let given = wanted["parameters"].as_array().cloned().unwrap_or_default();
    let find = |name: &str| declared.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, declaration)| declaration);
    let invalid = |message: String| ApiError::bad_request("InvalidArtifactParameter", message).with_target("parameters");
    for parameter in &given {
        let name = parameter["name"].as_str().unwrap_or_default();
        if find(name).is_none() {
            return Err(invalid(format!("The artifact '{}' has no parameter '{name}'.", artifact.name())));
        }
    }
    for (name, declaration) in &declared {
        let value = given.iter().find(|parameter| parameter["name"].as_str().is_some_and(|given| given.eq_ignore_ascii_case(name)));
        let optional = !declaration["defaultValue"].is_null() || declaration["allowEmpty"] == Value::Bool(true);
        if value.is_none() && !optional {
            return Err(invalid(format!("The artifact '{}' needs a value for the parameter '{name}'.", artifact.name())));
        }
    }
    let secure = |name: &str| {
        find(name).is_some_and(|declared| declared["type"].as_str().unwrap_or_default().to_ascii_lowercase().starts_with("secure"))
    };
    Ok(given
        .iter()
        .map(|parameter| {
            let name = parameter["name"].as_str().unwrap_or_default();
            if secure(name) { json!({"name": name}) } else { json!({"name": name, "value": parameter["value"]}) }
        })
        .collect())
}

/// How many artifacts wait to be applied.
pub fn pending(machine: &Resource) -> usize {
    artifacts(machine).iter().filter(|artifact| artifact["status"] == "Pending").count()
}

fn artifacts(machine: &Resource) -> Vec<Value> {
    machine.property("artifacts").as_array().cloned().unwrap_or_default()
}

/// Applies what waits, one after another; the first failure ends it, and the rest is skipped.
pub async fn apply_pending(world: &Arc<World>, id: &Id) -> Result<(), ApiError> {
    let mut result = Ok(());
    while let Some(index) = next_pending(world, id) {
        let Some(name) = begin(world, id, index) else { break };
        let duration = world.settings().duration(Work::Artifact);
        let outcome = world.provisioning(&format!("{}/artifacts/{name}", id.key()), duration).await;
        if let Err(error) = end(world, id, index, outcome) {
            skip_rest(world, id, &format!("The artifact was skipped because '{name}' came before it and the machine could not go on."));
            result = result.and(Err(error));
        }
    }
    finish(world, id, result.is_ok());
    result
}

fn next_pending(world: &World, id: &Id) -> Option<usize> {
    let machine = world.store.get(&id.key()).filter(|machine| machine.state() == "ApplyingArtifacts")?;
    artifacts(&machine).iter().position(|artifact| artifact["status"] == "Pending")
}

/// Marks an artifact as being installed and tells its name.
fn begin(world: &World, id: &Id, index: usize) -> Option<String> {
    let now = dtl_date(world.clock.now());
    let machine = change(world, id, index, |artifact| {
        artifact["status"] = json!("Installing");
        artifact["installTime"] = json!(now);
        artifact["deploymentStatusMessage"] = json!("The artifact is being installed.");
    })?;
    let artifact = artifacts(&machine).into_iter().nth(index)?;
    artifact["artifactId"].as_str()?.rsplit('/').next().map(str::to_owned)
}

fn end(world: &World, id: &Id, index: usize, outcome: Option<Outcome>) -> Result<(), ApiError> {
    let _gate = world.gate();
    let Some(machine) = world.store.get(&id.key()) else { return Ok(()) };
    if let Some(outcome) = outcome {
        let error = outcome.error;
        change(world, id, index, |artifact| {
            artifact["status"] = json!(outcome.state);
            artifact["deploymentStatusMessage"] = json!(error.envelope().to_string());
            artifact["vmExtensionStatusMessage"] = json!(error.message);
        });
        return Err(ApiError::conflict(
            "ArtifactFailed",
            format!("An artifact of the virtual machine '{}' failed: {}", id.name(), error.message),
        ));
    }
    change(world, id, index, |artifact| {
        artifact["status"] = json!("Succeeded");
        artifact["deploymentStatusMessage"] = json!("The artifact was installed.");
        artifact["vmExtensionStatusMessage"] = json!("Enable succeeded.");
    });
    let artifact = artifacts(&machine).into_iter().nth(index).unwrap_or_default();
    let definition = world.store.get(artifact["artifactId"].as_str().unwrap_or_default());
    if definition.is_some_and(|definition| shuts_down(&definition)) {
        generalize(world, id, &machine);
        let left = world.store.get(&id.key()).map_or(0, |machine| pending(&machine));
        if left > 0 {
            let message = format!("The virtual machine '{}' was generalized and takes no further artifacts.", id.name());
            return Err(ApiError::conflict("OperationNotAllowed", message));
        }
    }
    Ok(())
}

/// Sysprep and deprovision end with the machine deallocated; the artifact's file says so.
fn shuts_down(artifact: &Resource) -> bool {
    let actions = artifact.private.get("definition").map(|definition| definition["postDeployActions"].clone()).unwrap_or_default();
    actions.as_array().is_some_and(|actions| actions.iter().any(|action| action["action"].as_str() == Some("deallocate")))
}

/// The machine is the source of a generalized image now, and nothing else any more.
pub fn generalize(world: &World, id: &Id, machine: &Resource) {
    compute::set_power(world, machine.text("computeId"), "deallocated");
    compute::set_generalized(world, machine.text("computeId"));
    world.store.update(&id.key(), |machine| {
        machine.set("lastKnownPowerState", "Stopped");
        machine.hide("generalized", true);
    });
}

fn skip_rest(world: &World, id: &Id, reason: &str) {
    world.store.update(&id.key(), |machine| {
        let mut all = artifacts(machine);
        for artifact in all.iter_mut().filter(|artifact| artifact["status"] == "Pending") {
            artifact["status"] = json!("Skipped");
            artifact["deploymentStatusMessage"] = json!(reason);
        }
        machine.set("artifacts", all);
    });
}

fn change(world: &World, id: &Id, index: usize, change: impl FnOnce(&mut Value)) -> Option<Arc<Resource>> {
    world.store.update(&id.key(), |machine| {
        let mut all = artifacts(machine);
        if let Some(artifact) = all.get_mut(index) {
            change(artifact);
        }
        let applied = all.iter().filter(|artifact| artifact["status"] == "Succeeded").count();
        let status = json!({"deploymentStatus": "Installing", "artifactsApplied": applied, "totalArtifacts": all.len()});
        machine.set("artifactDeploymentStatus", status);
        machine.set("artifacts", all);
    })
}

fn finish(world: &World, id: &Id, succeeded: bool) {
    let _gate = world.gate();
    if world.store.get(&id.key()).is_none_or(|machine| machine.state() != "ApplyingArtifacts") {
        return;
    }
    world.settle(&id.key(), |machine| {
        machine.set_state("Succeeded");
        let mut status = machine.property("artifactDeploymentStatus").clone();
        status["deploymentStatus"] = json!(if succeeded { "Succeeded" } else { "Failed" });
        machine.set("artifactDeploymentStatus", status);
    });
}

/// The template that applies an artifact to a machine.
pub fn generate_template(artifact: &Resource, body: &Value) -> Value {
    let machine = body["virtualMachineName"].as_str().unwrap_or_default();
    let declared = artifact.property("parameters").as_object().cloned().unwrap_or_default();
    let parameters: Map<String, Value> = declared
        .into_iter()
        .map(|(name, declaration)| {
            let mut parameter = json!({"type": declaration["type"].as_str().unwrap_or("string")});
            if !declaration["defaultValue"].is_null() {
                parameter["defaultValue"] = declaration["defaultValue"].clone();
            }
            (name, parameter)
        })
        .collect();
    let command = artifact.private.get("definition").map(|definition| definition["runCommand"].clone()).unwrap_or_default();
    json!({
        "template": {
            "$schema": "https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#",
            "contentVersion": "1.0.0.0",
            "parameters": parameters,
            "resources": [{
                "type": "Microsoft.Compute/virtualMachines/extensions", "apiVersion": "2015-06-15",
                "name": format!("{machine}/{}", artifact.name()), "location": body["location"],
                "properties": {"publisher": "Microsoft.Compute", "type": "CustomScriptExtension", "typeHandlerVersion": "1.9",
                    "settings": command},
            }],
        },
        "parameters": {},
    })
}
