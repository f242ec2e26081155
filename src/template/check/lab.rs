//! What DevTest Labs makes of a template's virtual machines: names, sizes, images, artifacts.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Map, Value};
use time::{Date, Month};

use super::{Capture, Checked, Options, known_text, shown};
use crate::template::{
    Context, Template,
    deployment::{Resource, STAND_IN, arguments, expand_partly},
    evaluate::Evaluator,
    functions::{member, nearest, text_of},
    offline::Offline,
    path,
};

pub(super) const VIRTUAL_MACHINES: &str = "Microsoft.DevTestLab/labs/virtualmachines";

/// An operating system, as lab VMs know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
pub enum OsType {
    /// Windows.
    Windows,
    /// Linux.
    Linux,
}

impl OsType {
    /// Its name, as Azure spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Windows => "Windows",
            Self::Linux => "Linux",
        }
    }

    /// Reads its name, without case.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Windows, Self::Linux].into_iter().find(|os| os.name().eq_ignore_ascii_case(text))
    }
}

/// What a lab VM is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// An image of the Azure Marketplace.
    Marketplace {
        /// Its publisher.
        publisher: String,
        /// Its offer.
        offer: String,
        /// Its SKU.
        sku: String,
    },
    /// A custom image of the lab, by id.
    Custom(String),
    /// An image of a shared gallery, by id.
    Shared(String),
}

/// A lab VM that a template makes. What depends on values that are not known is `None`.
#[derive(Clone, Debug, Default)]
pub struct LabVirtualMachine {
    /// The lab's name.
    pub lab: Option<String>,
    /// The VM's name.
    pub name: Option<String>,
    /// Its operating system, as far as the template tells.
    pub os_type: Option<OsType>,
    /// What it is made from.
    pub image: Option<Image>,
    /// Its size.
    pub size: Option<String>,
    /// The JSON path of the resource.
    pub path: String,
}

/// The lab VMs that a template makes, nested deployments among them, with parameters in a request's shape as far as they are known.
pub fn lab_virtual_machines(template: &Arc<Template>, parameters: &Map<String, Value>, context: &Context) -> Vec<LabVirtualMachine> {
    let Ok(known) = arguments(parameters, &Offline) else { return Vec::new() };
    let (deployment, _) = expand_partly(template, known, context);
    let noted = std::cell::RefCell::new(HashSet::new());
    let evaluator = Evaluator::noting(&Offline, &noted);
    let mut machines = Vec::new();
    let mut deployments = vec![deployment];
    while let Some(deployment) = deployments.pop() {
        for (index, resource) in deployment.resources().iter().enumerate().filter(|(_, resource)| resource.condition && !resource.existing)
        {
            if resource.is_deployment() {
                deployments.extend(deployment.nested_with(index, &evaluator).ok().map(|nested| nested.deployment));
            } else if resource.resource_type.eq_ignore_ascii_case(VIRTUAL_MACHINES)
                && let Ok(body) = deployment.body_with(index, &evaluator)
            {
                machines.push(read(resource, &body, &noted.borrow()));
            }
        }
    }
    machines
}

/// Why a name is none for a lab VM of this operating system.
pub fn vm_name_problem(name: &str, os_type: Option<OsType>) -> Option<String> {
    let (most, of) = match os_type {
        Some(OsType::Windows) => (15, " of a Windows VM"),
        Some(OsType::Linux) => (64, " of a Linux VM"),
        None => (64, ""),
    };
    let length = name.chars().count();
    if name.is_empty() {
        return Some("the name of a VM must not be empty".to_owned());
    }
    if length > most {
        return Some(format!("the name '{name}'{of} has {length} characters, at most {most} are allowed"));
    }
    if name.bytes().all(|b| b.is_ascii_digit()) {
        return Some(format!("the name '{name}' of a VM must not be all digits"));
    }
    if let Some(wrong) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '-')) {
        return Some(format!("the name '{name}' of a VM holds '{wrong}', allowed are letters, digits and '-'"));
    }
    (name.starts_with('-') || name.ends_with('-')).then(|| format!("the name '{name}' of a VM must not start or end with '-'"))
}

/// What is known of a lab VM.
pub(super) fn read(resource: &Resource, body: &Value, noted: &HashSet<String>) -> LabVirtualMachine {
    let properties = member(body, "properties");
    let property = |name: &str| properties.and_then(|properties| member(properties, name));
    let text = |name: &str| known_text(property(name), noted).map(str::to_owned);
    let gallery = property("galleryImageReference");
    let part = |name: &str| known_text(gallery.and_then(|gallery| member(gallery, name)), noted).map(str::to_owned);
    let marketplace = || Some(Image::Marketplace { publisher: part("publisher")?, offer: part("offer")?, sku: part("sku")? });
    let image = marketplace().or_else(|| text("customImageId").map(Image::Custom)).or_else(|| text("sharedImageId").map(Image::Shared));
    let os_type = part("osType").or_else(|| text("osType")).as_deref().and_then(OsType::parse);
    let guessed = match (&os_type, &image) {
        (None, Some(Image::Marketplace { publisher, .. })) if publisher.starts_with("MicrosoftWindows") => Some(OsType::Windows),
        _ => os_type,
    };
    let mut names = resource.name.split('/').map(|name| (!name.starts_with(STAND_IN)).then(|| name.to_owned()));
    LabVirtualMachine {
        lab: names.next().flatten(),
        name: names.next().flatten(),
        os_type: guessed,
        image,
        size: text("size"),
        path: resource.path.clone(),
    }
}

#[allow(clippy::too_many_arguments, reason = "all that is known of one machine, in one place")]
pub(super) fn check(
    template: &Template,
    resource: &Resource,
    machine: &LabVirtualMachine,
    body: &Value,
    noted: &HashSet<String>,
    context: &Context,
    options: &Options<'_>,
    checked: &mut Checked,
) {
    let at = |key: &str| path::join(&resource.path, key);
    let properties = path::join(&resource.path, "properties");
    if let Some(problem) = machine.name.as_deref().and_then(|name| vm_name_problem(name, machine.os_type)) {
        checked.error(template.finding(at("name"), problem));
    }
    if let Some(size) = &machine.size
        && let Some(retired) = retired(size).filter(|date| *date <= context.now.date())
    {
        let message = format!("the size '{size}' was retired by Azure on {retired}, choose a current one such as Standard_D2s_v5");
        checked.warning(template.finding(path::join(&properties, "size"), message));
    }
    let property = |name: &str| member(body, "properties").and_then(|properties| member(properties, name));
    images(template, &properties, &property, checked);
    let security = property("securityProfile").and_then(|profile| member(profile, "securityType")).or_else(|| property("securityType"));
    if options.capture == Some(Capture::ManagedImage)
        && known_text(security, noted).is_some_and(|kind| kind.eq_ignore_ascii_case("TrustedLaunch"))
    {
        let message = "a VM with Trusted Launch cannot become a managed or custom image: capture a gallery version, or take the security type 'Standard'";
        checked.error(template.finding(path::join(&properties, "securityProfile"), message));
    }
    if let Some(artifacts) = property("artifacts") {
        let path = path::join(&properties, "artifacts");
        match artifacts {
            Value::Array(artifacts) => {
                for (index, artifact) in artifacts.iter().enumerate() {
                    artifact_check(template, &path::at(&path, index), artifact, noted, options, checked);
                }
            }
            Value::String(text) if noted.contains(text) => {}
            Value::Null => {}
            other => checked.error(template.finding(path, format!("'artifacts' must be an array, found {}", shown(Some(other))))),
        }
    }
}

fn images<'v>(template: &Template, path: &str, property: &dyn Fn(&str) -> Option<&'v Value>, checked: &mut Checked) {
    let kinds = ["galleryImageReference", "customImageId", "sharedImageId"];
    let given: Vec<&str> =
        kinds.into_iter().filter(|kind| property(kind).is_some_and(|value| !matches!(value, Value::Null) && value != "")).collect();
    if given.len() > 1 {
        checked.error(template.finding(path, format!("a lab VM is made from one image, '{}' are given", given.join("' and '"))));
    }
}

fn artifact_check(
    template: &Template,
    path: &str,
    artifact: &Value,
    noted: &HashSet<String>,
    options: &Options<'_>,
    checked: &mut Checked,
) {
    let Some(id) = member(artifact, "artifactId") else {
        if artifact.is_object() {
            checked.error(template.finding(path, "the artifact has no 'artifactId'"));
        }
        return;
    };
    let Some(name) = known_text(Some(id), noted).and_then(|id| id.trim_end_matches('/').rsplit('/').next()) else { return };
    let Some(definition) = options.artifact.and_then(|find| find(name)) else { return };
    let Some(declared) = member(&definition, "parameters").and_then(Value::as_object) else { return };
    let given = member(artifact, "parameters").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if member(artifact, "parameters").is_some_and(|parameters| !parameters.is_array()) {
        return;
    }
    let mut names = HashSet::new();
    for (index, parameter) in given.iter().enumerate() {
        let Some(key) = known_text(member(parameter, "name"), noted) else { return };
        let path = path::at(&path::join(path, "parameters"), index);
        names.insert(key.to_ascii_lowercase());
        let Some((_, known)) = declared.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)) else {
            let hint = nearest(key, declared.keys().map(String::as_str));
            checked.error(template.finding(path, format!("the artifact '{name}' has no parameter '{key}'{hint}")));
            continue;
        };
        let value = member(parameter, "value").filter(|value| !value.as_str().is_some_and(|text| noted.contains(text)));
        let Some(value) = value else { continue };
        let text = text_of(value);
        let allowed = member(known, "allowedValues").and_then(Value::as_array);
        if text.is_empty() && !optional(known) {
            checked.error(template.finding(path, format!("the parameter '{key}' of the artifact '{name}' must not be empty")));
        } else if !text.is_empty() && allowed.is_some_and(|allowed| !allowed.iter().any(|each| text_of(each).eq_ignore_ascii_case(&text))) {
            let allowed: Vec<String> = allowed.into_iter().flatten().map(text_of).collect();
            let message =
                format!("'{text}' is no value of the parameter '{key}' of the artifact '{name}', allowed are '{}'", allowed.join("', '"));
            checked.error(template.finding(path, message));
        }
    }
    for (key, known) in declared {
        if !names.contains(&key.to_ascii_lowercase()) && !optional(known) && member(known, "defaultValue").is_none() {
            checked.error(template.finding(path, format!("the artifact '{name}' needs the parameter '{key}'")));
        }
    }
}

fn optional(parameter: &Value) -> bool {
    member(parameter, "allowEmpty")
        .is_some_and(|allowed| allowed.as_bool() == Some(true) || allowed.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
}

/// The names that the tasks supply, when a template declares nothing that looks like them.
pub(super) fn conventions(template: &Template, machines: &[LabVirtualMachine], checked: &mut Checked) {
    if machines.is_empty() {
        return;
    }
    for (name, ending, what) in [("labName", "labname", "the lab"), ("newVMName", "vmname", "the VM's name")] {
        if !template.parameters.iter().any(|parameter| parameter.name.to_ascii_lowercase().ends_with(ending)) {
            let message = format!("the template makes a lab VM but declares no parameter '{name}', so that {what} cannot be supplied");
            checked.warning(template.finding(template.path("parameters"), message));
        }
    }
}

/// Series of VM sizes by family and version, and the day (year, month, day) on which Azure retired them or will. From
/// learn.microsoft.com/azure/virtual-machines/sizes/retirement/retired-sizes-list (as of June 2026) and, for what it no longer lists, from the
/// series' own pages there: nc-series-retirement, ncv2-series-retirement, nd-series-retirement, nv-series-retirement, av1-series-retirement.
const RETIRED: [(&[&str], &[u32], [u16; 3]); 10] = [
    (&["NC", "ND", "NV"], &[1], [2023, 9, 6]),
    (&["NC"], &[2], [2023, 9, 6]),
    (&["A"], &[1], [2024, 8, 31]),
    (&["NC"], &[3], [2025, 9, 30]),
    (&["NV"], &[3, 4], [2026, 9, 30]),
    (&["D", "DS"], &[1, 2], [2028, 5, 1]),
    (&["L"], &[1], [2028, 5, 1]),
    (&["A", "L"], &[2], [2028, 11, 15]),
    (&["F", "FS"], &[1, 2], [2028, 11, 15]),
    (&["B", "G", "GS"], &[1], [2028, 11, 15]),
];

/// When Azure retired a VM size, or will.
fn retired(size: &str) -> Option<Date> {
    let on = |[year, month, day]: [u16; 3]| {
        let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
        Date::from_calendar_date(year.into(), month, u8::try_from(day).ok()?).ok()
    };
    let (tier, name) = size.split_once('_')?;
    if tier.eq_ignore_ascii_case("Basic") {
        return on([2024, 8, 31]);
    }
    let name = name.to_ascii_uppercase();
    let letters = name.find(|c: char| !c.is_ascii_alphabetic())?;
    let (family, rest) = name.split_at(letters);
    let version = rest.rsplit_once("_V").map_or(Some(1), |(_, version)| version.parse::<u32>().ok())?;
    // NCas_T4_v3 is another series than NCv3, and is not retired.
    if family == "NC" && rest.contains("AS") {
        return None;
    }
    let found = RETIRED.iter().find(|(families, versions, _)| families.contains(&family) && versions.contains(&version));
    on(found?.2)
}
