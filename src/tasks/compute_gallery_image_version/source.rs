//! The source of a version: its inputs, and everything that is checked about it before something is written.

use std::time::Duration;

use serde_json::Value;

use crate::{
    agent::Agent,
    arm::{Request, ResourceId},
    compute::{
        COMPUTE, DISK,
        region::Region,
        source::{
            DataDisk, DiskSource, Facts, Kind, Source, Unfit, data_disk_problem, fingerprint, mismatches, parse_data_disks,
            parse_host_caching, parse_id, storage_profile,
        },
        vhd,
    },
    tasks::{
        error::{Error, Problems},
        gallery::{self, GallerySession},
        parameters::listed,
        session::Undertaking,
    },
};

/// What the inputs say of the source.
pub struct SourceInputs {
    os: Os,
    vhd_accounts: Vec<ResourceId>,
    host_caching: Option<&'static str>,
    data_disks: Vec<DataDisk>,
    stop: Stop,
    mark_generalized: bool,
}

enum Os {
    Resource(ResourceId, Kind),
    Vhd(String),
}

/// What to do with a virtual machine that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Refuse,
    PowerOff,
    Deallocate,
}

/// A source that fits the definition.
pub struct Checked {
    /// What Azure is given.
    pub source: Source,
    /// `storageProfile` of the request.
    pub storage_profile: Value,
    /// Where the version is built.
    pub region: Region,
    /// By what the same content is recognised; absent where it can change under the same id.
    pub content: Option<String>,
    /// In words.
    pub what: String,
    /// What is to be done with the machine first, in this order.
    preparations: Vec<Preparation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preparation {
    PowerOff,
    Deallocate,
    Generalize,
}

/// Reads the inputs.
pub fn read(agent: &Agent, problems: &mut Problems) -> Option<SourceInputs> {
    let id = gallery::parsed_input(agent, problems, "SourceId", parse_id);
    let vhd = gallery::parsed_input(agent, problems, "OsVhdUri", |text| vhd::check_uri(text).map(|()| text.to_owned()));
    let accounts = gallery::parsed_input(agent, problems, "VhdStorageAccountId", vhd::parse_accounts);
    let data_disks = gallery::parsed_input(agent, problems, "DataDisks", parse_data_disks);
    let host_caching = gallery::parsed_input(agent, problems, "OsHostCaching", parse_host_caching);
    let stop =
        problems.take(agent.choice_input("StopVM", &[("no", Stop::Refuse), ("stop", Stop::PowerOff), ("deallocate", Stop::Deallocate)]));
    let os = match (id?, vhd?) {
        (Some((id, kind)), None) => Some(Os::Resource(id, kind)),
        (None, Some(uri)) => Some(Os::Vhd(uri)),
        (Some(_), Some(_)) => {
            problems.add("input 'OsVhdUri': SourceId is given too, and a version has one operating system; give one of the two");
            None
        }
        (None, None) => {
            problems.add("input 'SourceId' is required: give the id of what the version is made from, or a VHD in OsVhdUri");
            None
        }
    };
    let inputs = SourceInputs {
        os: os?,
        vhd_accounts: accounts?.unwrap_or_default(),
        host_caching: host_caching?,
        data_disks: data_disks?.unwrap_or_default(),
        stop: stop?.unwrap_or(Stop::Refuse),
        mark_generalized: agent.boolean_input("MarkGeneralized"),
    };
    check_vhds(&inputs, problems)?;
    Some(inputs)
}

/// Every VHD needs the id of the account that it lies in.
fn check_vhds(inputs: &SourceInputs, problems: &mut Problems) -> Option<()> {
    let os = if let Os::Vhd(uri) = &inputs.os { Some(("OsVhdUri", uri)) } else { None };
    let data =
        inputs.data_disks.iter().filter_map(|disk| if let DiskSource::Vhd(uri) = &disk.source { Some(("DataDisks", uri)) } else { None });
    let stray: Vec<(&str, &String)> = os.into_iter().chain(data).filter(|(_, uri)| inputs.account_of(uri).is_none()).collect();
    if stray.is_empty() {
        return Some(());
    }
    if inputs.vhd_accounts.is_empty() {
        problems.add("input 'VhdStorageAccountId' is required: give the id of the storage account that the VHD lies in");
        return None;
    }
    let names: Vec<&str> = inputs.vhd_accounts.iter().map(ResourceId::name).collect();
    for (input, uri) in stray {
        problems
            .add(format!("input '{input}': '{uri}' does not lie in the storage account {} that VhdStorageAccountId names", listed(&names)));
    }
    None
}

impl SourceInputs {
    fn account_of(&self, uri: &str) -> Option<&ResourceId> {
        vhd::account_of(uri, &self.vhd_accounts)
    }
}

/// Looks at the source and the data disks and checks them against the definition. Nothing is changed yet.
pub async fn check(session: &GallerySession<'_>, inputs: &SourceInputs, definition: &Value) -> Result<Checked, Error> {
    let (source, mut facts, vhd_accounts) = resolve(session, inputs).await?;
    let mut preparations = Vec::new();
    let mut problems = Vec::new();
    match &facts.unfit {
        None => {}
        Some(Unfit::Running(state)) => match inputs.stop {
            Stop::Refuse => {
                problems.push(format!("{} is {state}; stop it first, or set StopVM to deallocate so that the task does it", facts.what));
            }
            Stop::PowerOff => preparations.push(Preparation::PowerOff),
            Stop::Deallocate => preparations.push(Preparation::Deallocate),
        },
        Some(Unfit::Other(problem, remedy)) => problems.push(format!("{} cannot be used: {problem}; {remedy}", facts.what)),
    }
    let specialized = facts.os_state.as_deref() == Some("Specialized");
    let wanted = definition["properties"]["osState"].as_str().unwrap_or_default();
    if inputs.mark_generalized && specialized && wanted.eq_ignore_ascii_case("Generalized") && matches!(source, Source::VirtualMachine(_)) {
        preparations.push(Preparation::Generalize);
        facts.os_state = Some("Generalized".to_owned());
    }
    problems.extend(mismatches(&facts, definition, &inputs.data_disks));
    let data_disks = check_data_disks(session, inputs, &facts, &mut problems).await?;
    if !problems.is_empty() {
        let name = definition["name"].as_str().unwrap_or_default();
        return Err(Error::refused(
            format!("{} cannot become a version of '{name}'", facts.what),
            "nothing was changed; correct what is named above",
        )
        .with_notes(problems));
    }
    Ok(Checked {
        storage_profile: storage_profile(&source, inputs.host_caching, &inputs.data_disks, &vhd_accounts),
        region: Region::new(&facts.location),
        content: fingerprint(&facts, &source, &data_disks, ""),
        what: facts.what.clone(),
        source,
        preparations,
    })
}

async fn resolve(session: &GallerySession<'_>, inputs: &SourceInputs) -> Result<(Source, Facts, Vec<ResourceId>), Error> {
    match &inputs.os {
        Os::Resource(id, kind) => {
            let resolved = gallery::resolve(session, "SourceId", id, *kind).await?;
            let accounts = resolved.vhd_account.into_iter().chain(inputs.vhd_accounts.iter().cloned());
            Ok((resolved.source, resolved.facts, accounts.collect()))
        }
        Os::Vhd(uri) => {
            let location = match inputs.account_of(uri) {
                Some(account) => gallery::storage_region(session, "VhdStorageAccountId", account).await?.normalized(),
                None => String::new(),
            };
            let what = format!("the VHD '{}'", uri.rsplit('/').next().unwrap_or_default());
            Ok((Source::OsDisk(DiskSource::Vhd(uri.clone())), Facts { what, location, ..Facts::default() }, inputs.vhd_accounts.clone()))
        }
    }
}

/// Looks at every data disk; returns each with what identifies its content.
async fn check_data_disks(
    session: &GallerySession<'_>,
    inputs: &SourceInputs,
    facts: &Facts,
    problems: &mut Vec<String>,
) -> Result<Vec<(DataDisk, Option<String>)>, Error> {
    let mut checked = Vec::new();
    for disk in &inputs.data_disks {
        let mut content = None;
        let mut location = None;
        match &disk.source {
            DiskSource::Resource(id) => {
                let kind = if id.is_type("Microsoft.Compute/disks") { Kind::Disk } else { Kind::Snapshot };
                let found = gallery::look_up(session, "DataDisks", kind, Request::get(id.path(), DISK), id).await?;
                if let Some(problem) = data_disk_problem(kind, &found) {
                    problems.push(format!("data disk at LUN {}: the {} '{}': {problem}", disk.lun, kind.noun(), id.name()));
                }
                content = found["properties"]["uniqueId"].as_str().filter(|_| kind == Kind::Snapshot).map(str::to_owned);
                location = found["location"].as_str().map(Region::new);
            }
            DiskSource::Vhd(uri) => {
                if let Some(account) = inputs.account_of(uri) {
                    location = Some(gallery::storage_region(session, "VhdStorageAccountId", account).await?);
                }
            }
        }
        if let Some(location) = location.filter(|location| *location != Region::new(&facts.location)) {
            problems.push(format!(
                "data disk at LUN {}: it lies in {}, {} lies in {}; all disks of a version come from one region",
                disk.lun,
                location.normalized(),
                facts.what,
                Region::new(&facts.location).normalized()
            ));
        }
        checked.push((disk.clone(), content));
    }
    Ok(checked)
}

impl Checked {
    /// Stops and marks the machine as far as that was asked for.
    pub async fn prepare(&self, session: &GallerySession<'_>) -> Result<(), Error> {
        let Source::VirtualMachine(id) = &self.source else { return Ok(()) };
        for preparation in &self.preparations {
            let (action, verb, noun) = match preparation {
                Preparation::PowerOff => ("powerOff", "stop", "stop"),
                Preparation::Deallocate => ("deallocate", "deallocate", "deallocation"),
                Preparation::Generalize => ("generalize", "mark as generalized", "marking as generalized"),
            };
            session
                .complete(Undertaking {
                    action: format!("{verb} {}", self.what),
                    noun: format!("{noun} of {}", self.what),
                    id,
                    request: Request::post(format!("{}/{action}", id.path()), COMPUTE, None),
                    stop: None,
                    occupies: None,
                    usually: Duration::from_mins(1),
                })
                .await?;
        }
        Ok(())
    }
}
