//! What the Create VM task is given, checked before anything is sent.

use std::{sync::Arc, time::Duration};

use crate::{
    agent::Agent,
    devtestlab::{
        Kind, Lab, custom_image,
        virtual_machine::{name_limit, name_problem, numbered_name},
    },
    tasks::{
        deployment::{self, TemplateFile},
        error::{Error, Problems},
        parameters::{Origin, Parameters, Supplied},
        session::{CommonInputs, Session, common_inputs},
    },
    template::{self, Context, Image, LabVirtualMachine, OsType, Template},
};

/// All inputs of the task's own.
pub(super) struct Inputs {
    /// The template.
    pub(super) template: TemplateFile,
    /// Whether artifacts that failed fail the task.
    pub(super) fail_on_artifact_error: bool,
    /// How long to wait for artifacts once the deployment is done.
    pub(super) artifact_wait: Duration,
    /// What to do when an attempt fails.
    pub(super) retry: Option<Retry>,
    wanted_name: String,
    parameters: Parameters,
    limit: usize,
    /// The custom image that the virtual machine is made from, where the template tells no operating system.
    custom_image: Option<String>,
}

/// What to do when an attempt fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    /// How many more attempts there may be.
    pub(super) count: u64,
    /// Whether the failed virtual machine is deleted first.
    pub(super) delete_vm: bool,
    /// Whether the failed deployment's record is deleted first.
    pub(super) delete_deployment: bool,
    append_number: bool,
}

impl Inputs {
    /// The name that the virtual machine of the first attempt gets.
    pub(super) fn name(&self) -> &str {
        self.parameters.text("newVMName").unwrap_or(&self.wanted_name)
    }

    /// Looks at the custom image for the operating system, where a name might be too long for Windows and the template does not tell.
    pub(super) async fn check_by_image(&mut self, session: &Session<'_>) -> Result<(), Error> {
        const SUFFIX: usize = 4;
        let longest = self.name().len() + if self.retry.is_some_and(|retry| retry.append_number) { SUFFIX } else { 0 };
        let image = self.custom_image.as_ref().and_then(|id| session.lab.member(Kind::CustomImage, id).ok());
        let Some(image) = image.filter(|_| longest > name_limit(Some("Windows"))) else { return Ok(()) };
        let found = session.find(format!("look for the custom image '{}'", image.name()), custom_image::get(&image)).await?;
        let os = found.as_ref().and_then(custom_image::os_type);
        self.limit = name_limit(os);
        match name_problem(self.name(), os) {
            Some(problem) => Err(Error::Inputs(vec![format!(
                "input 'VirtualMachineName': '{}' is no name for a virtual machine made from the custom image '{}': {problem}",
                self.name(),
                image.name()
            )])),
            None => Ok(()),
        }
    }

    /// The name and the parameters of an attempt, counted from 0.
    pub(super) fn for_attempt(&self, attempt: u64) -> (String, Parameters) {
        let mut parameters = self.parameters.clone();
        let numbered = attempt > 0 && self.retry.is_some_and(|retry| retry.append_number) && parameters.get("newVMName").is_some();
        if !numbered {
            return (self.name().to_owned(), parameters);
        }
        let name = numbered_name(self.name(), attempt, self.limit);
        parameters.set_text("newVMName", &name);
        (name, parameters)
    }
}

/// Reads and checks everything.
pub(super) fn read(agent: &Agent) -> Result<(CommonInputs, Inputs), Error> {
    let mut problems = Problems::default();
    let (lab, common) = common_inputs(agent, &mut problems);
    let wanted_name = problems.take(agent.required_input("VirtualMachineName")).map(|name| name.trim().to_owned());
    let template = deployment::template_input(agent, &mut problems);
    let given = deployment::parameter_inputs(agent, &mut problems);
    let wait = problems.take(agent.number_input("WaitMinutesForApplyArtifacts", 0..=1440));
    let retry = retry(agent, &mut problems);

    let mut merged = None;
    let mut os = None;
    let mut custom_image = None;
    if let (Some(lab), Some(name), Some(file), Some(given)) = (&lab, &wanted_name, &template, &given) {
        let context = deployment::context(agent, lab.id().subscription_id(), lab.id().resource_group());
        merged = deployment::merge(&mut problems, file, given, &supplied(name, lab));
        let machine = merged.as_ref().and_then(|parameters| machine(&file.template, parameters, &context));
        os = machine.as_ref().and_then(|machine| machine.os_type).map(OsType::name);
        custom_image = machine.and_then(|machine| machine.image).and_then(|image| match image {
            Image::Custom(id) if os.is_none() => Some(id),
            _ => None,
        });
        let bad_name = check_name(&mut problems, name, merged.as_ref(), os);
        if let Some(parameters) = &mut merged {
            deployment::check(&mut problems, file, parameters, &context, bad_name.as_deref());
            warn_about_name(parameters, name, agent.boolean_input("AppendRetryNumberToVMName"));
        }
    } else if let Some(name) = &wanted_name {
        check_name(&mut problems, name, None, None);
    }
    let inputs =
        wanted_name.zip(template).zip(wait).zip(retry).zip(merged).map(|((((wanted_name, template), wait), retry), parameters)| Inputs {
            template,
            fail_on_artifact_error: agent.boolean_input("FailOnArtifactError"),
            artifact_wait: Duration::from_mins(wait.unwrap_or(0)),
            retry,
            wanted_name,
            parameters,
            limit: name_limit(os),
            custom_image,
        });
    problems.finish(common.zip(inputs))
}

#[allow(clippy::option_option, reason = "the outer one is None when an input is wrong")]
fn retry(agent: &Agent, problems: &mut Problems) -> Option<Option<Retry>> {
    let count = problems.take(agent.number_input("RetryCount", 0..=100))?.unwrap_or(3);
    if !agent.boolean_input("RetryOnFailure") {
        return Some(None);
    }
    Some(Some(Retry {
        count,
        delete_vm: agent.boolean_input("DeleteFailedLabVMBeforeRetry"),
        delete_deployment: agent.boolean_input("DeleteFailedDeploymentBeforeRetry"),
        append_number: agent.boolean_input("AppendRetryNumberToVMName"),
    }))
}

/// What the task knows by itself.
fn supplied<'a>(vm_name: &'a str, lab: &'a Lab) -> [Supplied<'a>; 3] {
    [
        Supplied { name: "newVMName", value: vm_name, yields_to_file: false },
        Supplied { name: "labName", value: lab.name(), yields_to_file: false },
        // The samples' word for the same: a file that is kept with its template may name another lab on purpose.
        Supplied { name: "existingLabName", value: lab.name(), yields_to_file: true },
    ]
}

/// Checks the name that counts: an override of `newVMName` goes before the input. Returns it when it is bad.
fn check_name(problems: &mut Problems, name: &str, parameters: Option<&Parameters>, os: Option<&str>) -> Option<String> {
    let overridden = parameters.filter(|parameters| parameters.get("newVMName").is_some_and(|found| found.origin == Origin::Override));
    let (input, name) = match overridden.and_then(|parameters| parameters.text("newVMName")) {
        Some(overridden) => ("ParameterOverrides", overridden),
        None => ("VirtualMachineName", name),
    };
    let problem = name_problem(name, os)?;
    problems.add(format!("input '{input}': '{name}' is no name for a virtual machine: {problem}"));
    Some(name.to_owned())
}

/// Warns where the virtual machine will not be called as the input says.
fn warn_about_name(parameters: &mut Parameters, name: &str, numbered: bool) {
    let warning = match parameters.get("newVMName") {
        None if numbered => {
            "the template declares no parameter 'newVMName': VirtualMachineName and AppendRetryNumberToVMName do not set the name"
                .to_owned()
        }
        None => "the template declares no parameter 'newVMName': VirtualMachineName does not set the name".to_owned(),
        Some(parameter) if parameter.origin == Origin::Override && parameters.text("newVMName") != Some(name) => {
            format!("input 'ParameterOverrides': '-newVMName' goes before VirtualMachineName, which is '{name}'")
        }
        Some(_) => return,
    };
    parameters.warnings.push(warning);
}

/// The first lab virtual machine that the template makes, as far as it is known before a deployment.
fn machine(template: &Arc<Template>, parameters: &Parameters, context: &Context) -> Option<LabVirtualMachine> {
    template::lab_virtual_machines(template, &parameters.for_deployment(), context).into_iter().next()
}
