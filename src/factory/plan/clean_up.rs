//! Which virtual machines of the factory's lab are deleted.

use super::{CleanUp, Given, Kept, Plan, Scope};
use crate::factory::inventory::{State, Vm};

/// Plans the deletion of virtual machines: those that the plan itself makes and captures, and those that are left of earlier runs.
pub(super) fn plan_clean_up(plan: &mut Plan, given: &Given<'_>) {
    let inventory = given.inventory;
    let lab = inventory.factory.id.to_string();
    for vm in &inventory.factory.vms {
        let name = vm.name.clone();
        match fate(plan, given, vm) {
            Fate::Elsewhere => {}
            Fate::Deleted(reason) => plan.clean_up.push(CleanUp { vm: name, lab: lab.clone(), reason }),
            Fate::Kept(reason) => plan.kept.push(Kept { image: None, vm: Some(name), lab: lab.clone(), reason }),
            Fate::Unknown => {
                let reason = "it has neither an ImagePath nor a FactoryIgnore tag: it is not the factory's";
                plan.warnings.push(format!("virtual machine '{name}' of lab '{}' stays: {reason}", inventory.factory.id.name()));
                plan.kept.push(Kept { image: None, vm: Some(name), lab: lab.clone(), reason: reason.to_owned() });
            }
        }
    }
    let built: Vec<_> = plan.build.iter().map(|build| build.vm.clone()).collect();
    let built = built.into_iter().filter(|vm| !plan.clean_up.iter().any(|known| known.vm.eq_ignore_ascii_case(vm)));
    plan.clean_up.extend(built.collect::<Vec<_>>().into_iter().map(|vm| CleanUp {
        vm,
        lab: lab.clone(),
        reason: "it is captured in this run".to_owned(),
    }));
}

enum Fate {
    /// Another job's.
    Elsewhere,
    Deleted(String),
    Kept(String),
    Unknown,
}

fn fate(plan: &Plan, given: &Given<'_>, vm: &Vm) -> Fate {
    let options = given.options;
    if vm.tags.ignored {
        return Fate::Kept("it is tagged FactoryIgnore".to_owned());
    }
    let Some(path) = &vm.tags.image_path else { return Fate::Unknown };
    let exists = given.exists(path);
    if exists && !given.paths.contains(path) || !exists && !options.slice.is_whole() && options.scope == Scope::Run {
        return Fate::Elsewhere;
    }
    if plan.replaced.iter().any(|(_, replaced)| *replaced == vm.name) {
        return Fate::Deleted(left_over(vm));
    }
    if let Some(capture) = plan.capture.iter().chain(&plan.captured).find(|capture| capture.vm == vm.name) {
        return Fate::Deleted(format!("it is captured as '{}' first", capture.image));
    }
    let is_in_time = vm.created.is_none_or(|created| given.now - created < options.timeout);
    let is_own = vm.tags.run_id.as_deref() == Some(options.run_id.as_str());
    match vm.state {
        State::Failed => Fate::Deleted("it failed to provision".to_owned()),
        State::Changing if is_in_time && !is_own => Fate::Kept("it is being made".to_owned()),
        _ if !exists => Fate::Deleted(format!("golden image '{path}' is gone")),
        _ => Fate::Deleted(left_over(vm)),
    }
}

fn left_over(vm: &Vm) -> String {
    match &vm.tags.run_id {
        Some(run) => format!("run '{run}' is done with it"),
        None => "the factory is done with it".to_owned(),
    }
}
