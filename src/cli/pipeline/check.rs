//! A pipeline's tasks held against their manifests, before anything runs.

use super::{Action, Pipeline, Step, yaml::Fault};
use crate::cli::{
    manifest::{self, Input, Manifest},
    nearest,
};

/// What is wrong with a pipeline's tasks.
#[derive(Debug, Default)]
pub struct Findings {
    /// What keeps it from running.
    pub faults: Vec<Fault>,
    /// What is worth a look.
    pub warnings: Vec<Fault>,
}

/// Checks every task of a pipeline: its name, its version, its inputs.
pub fn check(pipeline: &Pipeline) -> Findings {
    let mut findings = Findings::default();
    for step in pipeline.jobs.iter().flat_map(|job| &job.steps) {
        check_step(step, &mut findings);
    }
    findings
}

fn check_step(step: &Step, findings: &mut Findings) {
    let Action::Task { name, version, inputs } = &step.action else { return };
    let Some(manifest) = manifest::find(&name.text) else {
        let hint = manifest::nearest(&name.text).map_or_else(
            || format!("there are {}", manifest::all().iter().map(|manifest| manifest.name.as_str()).collect::<Vec<_>>().join(", ")),
            |nearest| format!("did you mean {nearest}?"),
        );
        findings.faults.push(Fault::new(name.position, format!("the task '{}' is none of this extension's; {hint}", name.text)));
        return;
    };
    match version {
        Some(version) if *version == manifest.major || version.starts_with(&format!("{}.", manifest.major)) => {}
        _ => findings
            .faults
            .push(Fault::new(name.position, format!("the version to name is {0}: write `task: {1}@{0}`", manifest.major, manifest.name))),
    }
    for (index, (key, _)) in inputs.iter().enumerate() {
        let Some(input) = manifest.input(&key.text) else {
            let hint = nearest::nearest(&key.text, manifest.inputs.iter().map(|input| input.name.as_str()));
            let hint = hint.map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"));
            findings.warnings.push(Fault::new(key.position, format!("{} has no input '{}'{hint}", manifest.name, key.text)));
            continue;
        };
        if let Some((first, _)) = inputs[..index].iter().find(|(other, _)| input.is_called(&other.text)) {
            findings.faults.push(Fault::new(key.position, format!("'{}' and '{}' are the same input", first.text, key.text)));
        }
    }
    let given = |input: &Input| inputs.iter().find(|(key, _)| input.is_called(&key.text)).map(|(_, value)| value.as_str());
    let missing: Vec<_> =
        manifest.inputs.iter().filter(|input| is_missing(manifest, input, &given)).map(|input| input.name.as_str()).collect();
    if !missing.is_empty() {
        let (noun, verb) = if missing.len() == 1 { ("input", "is") } else { ("inputs", "are") };
        findings
            .faults
            .push(Fault::new(name.position, format!("{} needs the {noun} {}, which {verb} not given", manifest.name, missing.join(", "))));
    }
}

fn is_missing<'a>(manifest: &Manifest, input: &Input, given: &impl Fn(&Input) -> Option<&'a str>) -> bool {
    let value_of = |name: &str| manifest.input(name).map(|other| given(other).unwrap_or(&other.default).to_owned());
    input.required && given(input).unwrap_or(&input.default).trim().is_empty() && input.is_visible(value_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(steps: &str) -> (Vec<String>, Vec<String>) {
        let findings = check(&super::super::parse(&format!("steps:\n{steps}")).unwrap());
        let show = |faults: Vec<Fault>| {
            faults.into_iter().map(|fault| format!("{}:{} {}", fault.position.line, fault.position.column, fault.message)).collect()
        };
        (show(findings.faults), show(findings.warnings))
    }

    #[test]
    fn names_versions_and_inputs_are_held_against_the_manifests() {
        let good = "\n  inputs: {azureSubscription: a, LabId: b, LabVmId: c}\n";
        for (step, fault) in [
            (format!("- task: AzureDevTestLabsDeleteVM@4{good}"), None),
            (format!("- task: AzureDevTestLabsDeleteVM@4.1{good}"), None),
            (format!("- task: AzureDevTestLabsDeleteVM@3{good}"), Some("2:9 the version to name is 4: write `task: AzureDevTestLabsDeleteVM@4`")),
            (format!("- task: AzureDevTestLabsDeleteVM{good}"), Some("2:9 the version to name is 4: write `task: AzureDevTestLabsDeleteVM@4`")),
            (format!("- task: AzureDevTestLabDeleteVM@4{good}"), Some("2:9 the task 'AzureDevTestLabDeleteVM' is none of this extension's; did you mean AzureDevTestLabsDeleteVM?")),
            (
                "- task: AzureDevTestLabsDeleteVM@4\n  inputs: {azureSubscription: a, ConnectedServiceName: b, LabId: '$(lab)', LabVmId: c}\n".into(),
                Some("3:34 'azureSubscription' and 'ConnectedServiceName' are the same input"),
            ),
            (
                "- task: AzureDevTestLabsDeleteVM@4\n  inputs: {azureSubscription: a, LabVmId: ' '}\n".into(),
                Some("2:9 AzureDevTestLabsDeleteVM needs the inputs LabId, LabVmId, which are not given"),
            ),
        ] {
            assert_eq!(findings(&step).0, fault.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{step}");
        }
    }

    #[test]
    fn unknown_inputs_are_warnings_that_suggest_the_nearest() {
        let (faults, warnings) = findings(
            "- task: AzureDevTestLabsDeleteVM@4\n  inputs: {azureSubscription: a, LabId: b, LabVmId: c, LabVmID2: d, Colour: e}\n",
        );
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(
            warnings,
            [
                "3:56 AzureDevTestLabsDeleteVM has no input 'LabVmID2'; did you mean LabVmId?",
                "3:69 AzureDevTestLabsDeleteVM has no input 'Colour'"
            ]
        );
    }
}
