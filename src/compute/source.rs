//! What a version is made from: one source with the operating system, and data disks; what is known of it, and whether it fits a definition.

use serde_json::{Map, Value, json};

use super::{Invalid, choice, definition::Plan, features::Features, vhd, whole_number};
use crate::arm::ResourceId;

/// The largest data disk that a version takes.
pub const LARGEST_DATA_DISK_GB: u64 = 1024;
/// The highest logical unit number of a data disk.
pub const HIGHEST_LUN: u64 = 63;

/// What a resource id names, as a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A virtual machine.
    VirtualMachine,
    /// A lab's virtual machine, which stands for the compute virtual machine behind it.
    LabVirtualMachine,
    /// A managed image.
    ManagedImage,
    /// A lab's custom image, which stands for the managed image or snapshot behind it.
    CustomImage,
    /// Another version, of whatever gallery.
    ImageVersion,
    /// A snapshot.
    Snapshot,
    /// A managed disk.
    Disk,
}

const KINDS: [(Kind, &str, &str); 7] = [
    (Kind::VirtualMachine, "Microsoft.Compute/virtualMachines", "virtual machine"),
    (Kind::LabVirtualMachine, "Microsoft.DevTestLab/labs/virtualmachines", "lab virtual machine"),
    (Kind::ManagedImage, "Microsoft.Compute/images", "managed image"),
    (Kind::CustomImage, "Microsoft.DevTestLab/labs/customimages", "custom image"),
    (Kind::ImageVersion, "Microsoft.Compute/galleries/images/versions", "image version"),
    (Kind::Snapshot, "Microsoft.Compute/snapshots", "snapshot"),
    (Kind::Disk, "Microsoft.Compute/disks", "disk"),
];

impl Kind {
    /// What an id names, or why it can be no source.
    pub fn of(id: &ResourceId) -> Result<Self, Invalid> {
        let found = KINDS.iter().find(|(_, resource_type, _)| id.is_type(resource_type));
        found.map(|(kind, ..)| *kind).ok_or_else(|| {
            let allowed: Vec<&str> = KINDS.iter().map(|(.., noun)| *noun).collect();
            let problem = format!("a version is not made from a '{}'; give the id of a {}", id.resource_type(), allowed.join(", "));
            Invalid::new(id.to_string(), problem)
        })
    }

    /// The kind in words.
    pub fn noun(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("resource", |(.., noun)| noun)
    }
}

/// Where a disk's content comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskSource {
    /// A snapshot or a managed disk.
    Resource(ResourceId),
    /// A VHD in a storage account.
    Vhd(String),
}

/// A data disk of the version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDisk {
    /// The logical unit number.
    pub lun: u64,
    /// Its content.
    pub source: DiskSource,
    /// Host caching, where something was said of it.
    pub host_caching: Option<&'static str>,
}

/// Reads an id that may be a source.
pub fn parse_id(text: &str) -> Result<(ResourceId, Kind), Invalid> {
    let id: ResourceId =
        text.trim().trim_end_matches('/').parse().map_err(|error: crate::arm::IdError| Invalid::new(error.text, error.problem))?;
    let kind = Kind::of(&id)?;
    Ok((id, kind))
}

/// Reads host caching.
pub fn parse_host_caching(text: &str) -> Result<&'static str, Invalid> {
    choice(text, &["None", "ReadOnly", "ReadWrite"])
}

/// Reads data disks: lines of `lun=id` or `lun=uri`, perhaps followed by the host caching.
pub fn parse_data_disks(text: &str) -> Result<Vec<DataDisk>, Invalid> {
    let mut disks: Vec<DataDisk> = Vec::new();
    for line in text.lines().map(|line| line.trim().trim_start_matches("- ").trim()).filter(|line| !line.is_empty()) {
        let disk = parse_data_disk(line)?;
        if disks.iter().any(|known| known.lun == disk.lun) {
            return Err(Invalid::new(line, format!("LUN {} is given twice; each data disk needs its own", disk.lun)));
        }
        disks.push(disk);
    }
    Ok(disks)
}

fn parse_data_disk(line: &str) -> Result<DataDisk, Invalid> {
    let (lun, rest) = line
        .split_once('=')
        .ok_or_else(|| Invalid::new(line, "write lun=id or lun=uri, one data disk on a line, such as 0=/subscriptions/…"))?;
    let lun = lun.trim().parse().ok().filter(|lun| *lun <= HIGHEST_LUN);
    let lun = lun.ok_or_else(|| Invalid::new(line, format!("a LUN is a whole number from 0 to {HIGHEST_LUN}")))?;
    let mut parts = rest.split_whitespace();
    let content = parts.next().unwrap_or_default();
    let host_caching = parts.next().map(parse_host_caching).transpose().map_err(|wrong| Invalid::new(line, wrong.problem))?;
    if parts.next().is_some() {
        return Err(Invalid::new(line, "nothing may follow the host caching"));
    }
    let source = if content.starts_with('/') {
        let (id, kind) = parse_id(content)?;
        if !matches!(kind, Kind::Snapshot | Kind::Disk) {
            return Err(Invalid::new(line, format!("a data disk comes from a snapshot, a disk or a VHD, not from a {}", kind.noun())));
        }
        DiskSource::Resource(id)
    } else {
        vhd::check_uri(content)?;
        DiskSource::Vhd(content.to_owned())
    };
    Ok(DataDisk { lun, source, host_caching })
}

/// Where the operating system comes from, as Azure takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A virtual machine with all its disks.
    VirtualMachine(ResourceId),
    /// A managed image or another version with all its disks.
    Image(ResourceId),
    /// One disk.
    OsDisk(DiskSource),
}

impl Source {
    /// The id or address, for messages and to recognise it.
    pub fn name(&self) -> String {
        match self {
            Self::VirtualMachine(id) | Self::Image(id) | Self::OsDisk(DiskSource::Resource(id)) => id.to_string(),
            Self::OsDisk(DiskSource::Vhd(uri)) => uri.clone(),
        }
    }
}

/// `storageProfile` of a request. A VHD that lies in none of the accounts by its address lies in the first.
pub fn storage_profile(source: &Source, os_host_caching: Option<&str>, data_disks: &[DataDisk], vhd_accounts: &[ResourceId]) -> Value {
    let disk = |source: &DiskSource| match source {
        DiskSource::Resource(id) => json!({"id": id.to_string()}),
        DiskSource::Vhd(uri) => match vhd::account_of(uri, vhd_accounts).or(vhd_accounts.first()) {
            Some(account) => json!({"uri": uri, "storageAccountId": account.to_string()}),
            None => json!({"uri": uri}),
        },
    };
    let mut profile = match source {
        Source::VirtualMachine(id) => json!({"source": {"virtualMachineId": id.to_string()}}),
        Source::Image(id) => json!({"source": {"id": id.to_string()}}),
        Source::OsDisk(os) => json!({"osDiskImage": {"source": disk(os)}}),
    };
    if let Some(caching) = os_host_caching {
        profile["osDiskImage"]["hostCaching"] = json!(caching);
    }
    if !data_disks.is_empty() {
        let images = data_disks.iter().map(|data| {
            let mut image = json!({"lun": data.lun, "source": disk(&data.source)});
            if let Some(caching) = data.host_caching {
                image["hostCaching"] = json!(caching);
            }
            image
        });
        profile["dataDiskImages"] = images.collect();
    }
    profile
}

/// Whether a version's storage profile has this source for its operating system.
pub fn feeds(storage_profile: &Value, source: &Source) -> bool {
    let name = source.name();
    ["/source/id", "/source/virtualMachineId", "/osDiskImage/source/id", "/osDiskImage/source/uri"]
        .iter()
        .filter_map(|pointer| storage_profile.pointer(pointer)?.as_str())
        .any(|there| there.eq_ignore_ascii_case(&name))
}

/// What Azure tells of a source. What it does not tell is absent and not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What it is, for messages: `the virtual machine 'vm1'`.
    pub what: String,
    /// Where it lies.
    pub location: String,
    /// `Windows` or `Linux`.
    pub os_type: Option<String>,
    /// `Generalized` or `Specialized`.
    pub os_state: Option<String>,
    /// `V1` or `V2`.
    pub hyper_v_generation: Option<String>,
    /// `x64` or `Arm64`.
    pub architecture: Option<String>,
    /// `TrustedLaunch` or `ConfidentialVM`.
    pub security_type: Option<String>,
    /// The plan of a third party's image.
    pub plan: Option<Plan>,
    /// Logical unit numbers and sizes of the data disks that come with it.
    pub data_disks: Vec<(u64, Option<u64>)>,
    /// What makes this content itself and no other; absent where the content can change under the same id.
    pub content: Option<String>,
    /// Why it can be no source as it is.
    pub unfit: Option<Unfit>,
}

/// Why a source cannot be used as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is a virtual machine that runs; the power state.
    Running(String),
    /// Anything else: what, and the remedy.
    Other(String, String),
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn other(problem: impl Into<String>, remedy: &str) -> Unfit {
    Unfit::Other(problem.into(), remedy.to_owned())
}

impl Facts {
    fn new(kind: Kind, value: &Value) -> Self {
        Self {
            what: format!("the {} '{}'", kind.noun(), text(value, "/name").unwrap_or_default()),
            location: text(value, "/location").unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Reads a virtual machine with its instance view.
    pub fn of_virtual_machine(vm: &Value) -> Self {
        let properties = &vm["properties"];
        let statuses = properties["instanceView"]["statuses"].as_array();
        let status = |group: &str| {
            let codes = statuses.into_iter().flatten().filter_map(|status| status["code"].as_str());
            codes
                .filter_map(|code| code.split_once('/'))
                .find(|(name, _)| name.eq_ignore_ascii_case(group))
                .map(|(_, state)| state.to_ascii_lowercase())
        };
        let generalized = status("OSState").is_some_and(|state| state == "generalized");
        let disks = properties["storageProfile"]["dataDisks"].as_array();
        let unfit = if properties["storageProfile"]["osDisk"]["diffDiskSettings"]["option"].is_string() {
            Some(other("its operating system disk is ephemeral and cannot be captured", "use a virtual machine with a managed disk"))
        } else {
            match status("PowerState") {
                Some(state) if state != "deallocated" && state != "stopped" => Some(Unfit::Running(state)),
                _ => None,
            }
        };
        Self {
            os_type: text(properties, "/storageProfile/osDisk/osType"),
            os_state: Some(if generalized { "Generalized" } else { "Specialized" }.to_owned()),
            hyper_v_generation: text(properties, "/instanceView/hyperVGeneration"),
            security_type: text(properties, "/securityProfile/securityType").filter(|security| !security.eq_ignore_ascii_case("Standard")),
            plan: Plan::read(&vm["plan"]),
            data_disks: disks
                .into_iter()
                .flatten()
                .filter_map(|disk| Some((whole_number(&disk["lun"])?, whole_number(&disk["diskSizeGB"]))))
                .collect(),
            // A generalized machine cannot be started again: what is on it stays.
            content: text(properties, "/vmId").filter(|_| generalized),
            unfit,
            ..Self::new(Kind::VirtualMachine, vm)
        }
    }

    /// Reads a managed image.
    pub fn of_managed_image(image: &Value) -> Self {
        let profile = &image["properties"]["storageProfile"];
        let disks = profile["dataDisks"].as_array();
        let id = text(image, "/id").unwrap_or_default();
        let made = text(image, "/properties/sourceVirtualMachine/id").unwrap_or_default();
        Self {
            os_type: text(profile, "/osDisk/osType"),
            os_state: text(profile, "/osDisk/osState"),
            hyper_v_generation: Some(text(image, "/properties/hyperVGeneration").unwrap_or_else(|| "V1".to_owned())),
            data_disks: disks
                .into_iter()
                .flatten()
                .filter_map(|disk| Some((whole_number(&disk["lun"])?, whole_number(&disk["diskSizeGB"]))))
                .collect(),
            content: Some(format!("{id} {made}").to_ascii_lowercase()),
            unfit: unfinished(image),
            ..Self::new(Kind::ManagedImage, image)
        }
    }

    /// Reads a snapshot or a managed disk.
    pub fn of_disk(kind: Kind, disk: &Value) -> Self {
        let properties = &disk["properties"];
        let state = text(properties, "/diskState").unwrap_or_default().to_ascii_lowercase();
        let attached = text(disk, "/managedBy");
        let unfit = if text(properties, "/osType").is_none() {
            Some(other("it holds no operating system", "give an operating system's disk as the source, and this one under DataDisks"))
        } else {
            busy_disk(kind, &state, attached.as_deref()).or_else(|| unfinished(disk))
        };
        Self {
            os_type: text(properties, "/osType"),
            hyper_v_generation: Some(text(properties, "/hyperVGeneration").unwrap_or_else(|| "V1".to_owned())),
            architecture: text(properties, "/supportedCapabilities/architecture"),
            security_type: text(properties, "/securityProfile/securityType"),
            plan: Plan::read(&properties["purchasePlan"]),
            // A disk can be written to under the same id, a snapshot cannot.
            content: text(properties, "/uniqueId").filter(|_| kind == Kind::Snapshot),
            unfit,
            ..Self::new(kind, disk)
        }
    }

    /// Reads another version, with the definition above it.
    pub fn of_version(version: &Value, definition: &Value) -> Self {
        let properties = &definition["properties"];
        let disks = version["properties"]["storageProfile"]["dataDiskImages"].as_array();
        let security = Features::read(&properties["features"]).security_type().to_owned();
        Self {
            os_type: text(properties, "/osType"),
            os_state: text(properties, "/osState"),
            hyper_v_generation: Some(text(properties, "/hyperVGeneration").unwrap_or_else(|| "V1".to_owned())),
            architecture: Some(text(properties, "/architecture").unwrap_or_else(|| "x64".to_owned())),
            security_type: ["TrustedLaunch", "ConfidentialVM"]
                .iter()
                .find(|known| known.eq_ignore_ascii_case(&security))
                .map(|known| (*known).to_owned()),
            plan: Plan::read(&properties["purchasePlan"]),
            data_disks: disks
                .into_iter()
                .flatten()
                .filter_map(|disk| Some((whole_number(&disk["lun"])?, whole_number(&disk["sizeInGB"]))))
                .collect(),
            content: text(version, "/id").map(|id| {
                format!("{id} {}", text(version, "/properties/publishingProfile/publishedDate").unwrap_or_default()).to_ascii_lowercase()
            }),
            unfit: unfinished(version),
            ..Self::new(Kind::ImageVersion, version)
        }
    }
}

/// What stands in the way of reading a disk: it must hang on no machine that runs, and nobody may be copying it.
fn busy_disk(kind: Kind, state: &str, attached: Option<&str>) -> Option<Unfit> {
    Some(match (kind, state) {
        (Kind::Disk, "attached") => other(
            format!("it is attached to {}, which is not deallocated", attached.unwrap_or("a virtual machine")),
            "deallocate the virtual machine, or make a snapshot and use that",
        ),
        (_, "activesas" | "activesasfrozen") => other("an access signature to it is in use", "end the access (endGetAccess) first"),
        (_, "readytoupload" | "activeupload") => other("its content is still being uploaded", "wait until the upload is done"),
        _ => return None,
    })
}

fn unfinished(value: &Value) -> Option<Unfit> {
    let state = text(value, "/properties/provisioningState")?;
    (!state.eq_ignore_ascii_case("Succeeded")).then(|| {
        let remedy = "wait until it is made, or make it again if that failed";
        Unfit::Other(format!("its provisioning state is {state}"), remedy.to_owned())
    })
}

/// What is wrong with a data disk that is to become part of a version; `None` when it fits.
pub fn data_disk_problem(kind: Kind, disk: &Value) -> Option<String> {
    let size = whole_number(&disk["properties"]["diskSizeGB"]);
    if let Some(size) = size.filter(|size| *size > LARGEST_DATA_DISK_GB) {
        return Some(format!("it has {size} GB, and a version takes data disks up to {LARGEST_DATA_DISK_GB} GB"));
    }
    let state = text(&disk["properties"], "/diskState").unwrap_or_default().to_ascii_lowercase();
    match busy_disk(kind, &state, text(disk, "/managedBy").as_deref()).or_else(|| unfinished(disk)) {
        Some(Unfit::Other(problem, remedy)) => Some(format!("{problem}; {remedy}")),
        _ => None,
    }
}

/// What of a source does not fit the definition or the further data disks: each with both values and the remedy.
pub fn mismatches(facts: &Facts, definition: &Value, data_disks: &[DataDisk]) -> Vec<String> {
    let properties = &definition["properties"];
    let name = text(definition, "/name").unwrap_or_default();
    let mut found = Vec::new();
    let mut compare = |what: &str, source: Option<&String>, pointer: &str, default: &str, remedy: &str| {
        let wanted = text(properties, pointer).unwrap_or_else(|| default.to_owned());
        if let Some(source) = source.filter(|source| !source.eq_ignore_ascii_case(&wanted)) {
            found.push(format!("{what}: {} has {source}, the definition '{name}' has {wanted}; {remedy}", facts.what));
        }
    };
    let elsewhere = "publish to a definition that says the same";
    compare("operating system", facts.os_type.as_ref(), "/osType", "", elsewhere);
    compare("Hyper-V generation", facts.hyper_v_generation.as_ref(), "/hyperVGeneration", "V1", elsewhere);
    compare("architecture", facts.architecture.as_ref(), "/architecture", "x64", elsewhere);
    let state_remedy = match facts.os_state.as_deref() {
        Some("Specialized") => {
            "run Sysprep or waagent -deprovision in it and mark it as generalized, or publish to a definition for specialized images"
        }
        _ => elsewhere,
    };
    compare("state of the operating system", facts.os_state.as_ref(), "/osState", "", state_remedy);
    found.extend(security_mismatch(facts, properties, &name));
    found.extend(plan_mismatch(facts, properties, &name));
    for (lun, size) in &facts.data_disks {
        if data_disks.iter().any(|disk| disk.lun == *lun) {
            found.push(format!("LUN {lun}: {} brings a data disk of this LUN along; give the further one another LUN", facts.what));
        }
        if let Some(size) = size.filter(|size| *size > LARGEST_DATA_DISK_GB) {
            found.push(format!(
                "data disk at LUN {lun}: it has {size} GB, and a version takes data disks up to {LARGEST_DATA_DISK_GB} GB; detach it first"
            ));
        }
    }
    found
}

fn security_mismatch(facts: &Facts, definition: &Value, name: &str) -> Option<String> {
    let source = facts.security_type.as_deref()?;
    let features = Features::read(&definition["features"]);
    let there = features.security_type();
    let fits: &[&str] = match source.to_ascii_lowercase().as_str() {
        "trustedlaunch" => &["TrustedLaunch", "TrustedLaunchSupported", "TrustedLaunchAndConfidentialVmSupported"],
        "confidentialvm" => &["ConfidentialVM", "ConfidentialVmSupported", "TrustedLaunchAndConfidentialVmSupported"],
        _ => return None,
    };
    (!fits.iter().any(|fit| fit.eq_ignore_ascii_case(there))).then(|| {
        format!(
            "security type: {} has {source}, the definition '{name}' has {there}; publish to a definition with SecurityType={source}",
            facts.what
        )
    })
}

fn plan_mismatch(facts: &Facts, definition: &Value, name: &str) -> Option<String> {
    let source = facts.plan.as_ref()?;
    let there = Plan::read(&definition["purchasePlan"]);
    if there.as_ref().is_some_and(|there| there.is(source)) {
        return None;
    }
    let shown = there.map_or("none".to_owned(), |there| there.to_string());
    Some(format!(
        "purchase plan: {} has {source}, the definition '{name}' has {shown}; make a definition with PlanPublisher={}, PlanProduct={}, PlanName={}",
        facts.what, source.publisher, source.product, source.name
    ))
}

/// A text by which the same content, asked for in the same way, is recognised; `None` where the content may have changed meanwhile.
pub fn fingerprint(facts: &Facts, source: &Source, data_disks: &[(DataDisk, Option<String>)], version: &str) -> Option<String> {
    let mut parts = Map::new();
    parts.insert("source".into(), json!(source.name().to_ascii_lowercase()));
    parts.insert("content".into(), json!(facts.content.as_ref()?));
    for (disk, content) in data_disks {
        parts.insert(disk.lun.to_string(), json!(content.as_ref()?));
    }
    parts.insert("version".into(), json!(version));
    let text = Value::Object(parts).to_string();
    Some(uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, text.as_bytes()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/g/providers";

    fn id(rest: &str) -> ResourceId {
        format!("{GROUP}/{rest}").parse().unwrap()
    }

    #[test]
    fn ids_tell_what_a_version_is_made_from() {
        for (rest, kind) in [
            ("Microsoft.Compute/virtualMachines/x", Kind::VirtualMachine),
            ("microsoft.devtestlab/labs/l/virtualmachines/x", Kind::LabVirtualMachine),
            ("Microsoft.Compute/images/x", Kind::ManagedImage),
            ("Microsoft.DevTestLab/labs/l/customimages/x", Kind::CustomImage),
            ("Microsoft.Compute/galleries/g/images/d/versions/1.0.0", Kind::ImageVersion),
            ("Microsoft.Compute/snapshots/x", Kind::Snapshot),
            ("Microsoft.Compute/disks/x", Kind::Disk),
        ] {
            assert_eq!(Kind::of(&id(rest)), Ok(kind), "{rest}");
        }
        let wrong = parse_id(&format!("{GROUP}/Microsoft.Network/virtualNetworks/x")).unwrap_err();
        assert!(
            wrong
                .problem
                .starts_with("a version is not made from a 'Microsoft.Network/virtualNetworks'; give the id of a virtual machine,")
        );
        assert!(parse_id("vm1").is_err());
    }

    #[test]
    fn data_disks_are_lines_of_lun_and_content() {
        let disk = id("Microsoft.Compute/disks/x");
        let text = format!("0={disk}\n\n- 2 = {disk} readonly\n5=https://a.blob.core.windows.net/vhds/d.vhd");
        let disks = parse_data_disks(&text).unwrap();
        assert_eq!(
            disks.iter().map(|disk| (disk.lun, disk.host_caching)).collect::<Vec<_>>(),
            [(0, None), (2, Some("ReadOnly")), (5, None)]
        );
        for (bad, problem) in [
            ("x".to_owned(), "write lun=id or lun=uri, one data disk on a line, such as 0=/subscriptions/…"),
            (format!("a={disk}"), "a LUN is a whole number from 0 to 63"),
            (format!("64={disk}"), "a LUN is a whole number from 0 to 63"),
            (format!("1={disk}\n1={disk}"), "LUN 1 is given twice; each data disk needs its own"),
            (format!("1={disk} fast"), "give one of None, ReadOnly, ReadWrite"),
            (format!("1={disk} None x"), "nothing may follow the host caching"),
            (
                format!("1={}", id("Microsoft.Compute/images/x")),
                "a data disk comes from a snapshot, a disk or a VHD, not from a managed image",
            ),
            ("1=".to_owned(), "give the https address of a VHD's blob, such as https://account.blob.core.windows.net/vhds/os.vhd"),
            ("1=https://a.blob.core.windows.net/d.vhd".to_owned(), "the address names no blob in a container"),
        ] {
            assert_eq!(parse_data_disks(&bad).unwrap_err().problem, problem, "{bad}");
        }
    }

    #[test]
    fn each_source_has_its_place_in_the_storage_profile() {
        let vm = id("Microsoft.Compute/virtualMachines/x");
        let disk = id("Microsoft.Compute/disks/x");
        let account = id("Microsoft.Storage/storageAccounts/a");
        let uri = "https://a.blob.core.windows.net/vhds/os.vhd";
        assert_eq!(
            storage_profile(&Source::VirtualMachine(vm.clone()), None, &[], &[]),
            json!({"source": {"virtualMachineId": vm.to_string()}})
        );
        assert_eq!(storage_profile(&Source::Image(vm.clone()), None, &[], &[]), json!({"source": {"id": vm.to_string()}}));
        let data = parse_data_disks(&format!("1={disk} ReadWrite\n2={uri}")).unwrap();
        let profile =
            storage_profile(&Source::OsDisk(DiskSource::Vhd(uri.into())), Some("ReadOnly"), &data, std::slice::from_ref(&account));
        assert_eq!(
            profile,
            json!({
                "osDiskImage": {"source": {"uri": uri, "storageAccountId": account.to_string()}, "hostCaching": "ReadOnly"},
                "dataDiskImages": [
                    {"lun": 1, "source": {"id": disk.to_string()}, "hostCaching": "ReadWrite"},
                    {"lun": 2, "source": {"uri": uri, "storageAccountId": account.to_string()}},
                ],
            })
        );
        assert!(feeds(&profile, &Source::OsDisk(DiskSource::Vhd(uri.to_ascii_uppercase().replace("HTTPS", "https")))));
        assert!(!feeds(&profile, &Source::VirtualMachine(vm)));
    }

    fn definition() -> Value {
        json!({"name": "d", "properties": {"osType": "Windows", "osState": "Generalized", "hyperVGeneration": "V2"}})
    }

    fn vm(codes: &[&str]) -> Value {
        let statuses: Vec<_> = codes.iter().map(|code| json!({"code": code})).collect();
        json!({"name": "vm1", "location": "westeurope", "properties": {
            "vmId": "1",
            "storageProfile": {"osDisk": {"osType": "Windows"}, "dataDisks": [{"lun": 0, "diskSizeGB": 32}]},
            "instanceView": {"hyperVGeneration": "V2", "statuses": statuses},
        }})
    }

    #[test]
    fn a_virtual_machine_must_stand_still_and_be_generalized_where_the_definition_says_so() {
        let ready = Facts::of_virtual_machine(&vm(&["PowerState/deallocated", "OSState/generalized"]));
        assert_eq!((mismatches(&ready, &definition(), &[]), ready.unfit), (vec![], None));
        let running = Facts::of_virtual_machine(&vm(&["PowerState/running"]));
        assert_eq!(running.unfit, Some(Unfit::Running("running".into())));
        assert_eq!(running.content, None);
        assert_eq!(
            mismatches(&running, &definition(), &[]),
            [
                "state of the operating system: the virtual machine 'vm1' has Specialized, the definition 'd' has Generalized; run Sysprep or \
                 waagent -deprovision in it and mark it as generalized, or publish to a definition for specialized images"
            ]
        );
    }

    #[test]
    fn what_does_not_fit_the_definition_is_told_with_both_values() {
        let mut source = vm(&["PowerState/stopped", "OSState/generalized"]);
        source["properties"]["storageProfile"]["osDisk"]["osType"] = json!("Linux");
        source["properties"]["instanceView"]["hyperVGeneration"] = json!("V1");
        source["properties"]["securityProfile"] = json!({"securityType": "TrustedLaunch"});
        source["properties"]["storageProfile"]["dataDisks"][0]["diskSizeGB"] = json!(2048);
        source["plan"] = json!({"name": "n", "product": "p", "publisher": "q"});
        let disks = parse_data_disks(&format!("0={}", id("Microsoft.Compute/disks/x"))).unwrap();
        let found = mismatches(&Facts::of_virtual_machine(&source), &definition(), &disks);
        let begins =
            ["operating system: ", "Hyper-V generation: ", "security type: ", "purchase plan: ", "LUN 0: ", "data disk at LUN 0: "];
        assert_eq!(found.len(), begins.len(), "{found:#?}");
        for (found, begin) in found.iter().zip(begins) {
            assert!(found.starts_with(begin), "{found}");
        }
    }

    #[test]
    fn a_disk_is_a_source_only_while_nobody_writes_to_it() {
        let disk = |state: &str| json!({"name": "x", "managedBy": "/vm", "properties": {"osType": "Linux", "diskState": state, "provisioningState": "Succeeded", "diskSizeGB": 30}});
        assert_eq!(Facts::of_disk(Kind::Disk, &disk("Unattached")).unfit, None);
        assert_eq!(Facts::of_disk(Kind::Disk, &disk("Reserved")).unfit, None);
        for state in ["Attached", "ActiveSAS", "ReadyToUpload"] {
            assert!(Facts::of_disk(Kind::Disk, &disk(state)).unfit.is_some(), "{state}");
            assert!(data_disk_problem(Kind::Disk, &disk(state)).is_some(), "{state}");
        }
        let mut data = disk("Unattached");
        data["properties"]["osType"] = Value::Null;
        assert!(Facts::of_disk(Kind::Disk, &data).unfit.is_some());
        assert_eq!(data_disk_problem(Kind::Disk, &data), None);
        data["properties"]["diskSizeGB"] = json!(1025);
        assert_eq!(data_disk_problem(Kind::Disk, &data).unwrap(), "it has 1025 GB, and a version takes data disks up to 1024 GB");
    }

    #[test]
    fn the_same_content_has_the_same_fingerprint_and_changing_content_has_none() {
        let image = json!({"id": "/i", "name": "i", "properties": {"storageProfile": {"osDisk": {"osType": "Linux"}}}});
        let source = Source::Image(id("Microsoft.Compute/images/i"));
        let facts = Facts::of_managed_image(&image);
        let one = fingerprint(&facts, &source, &[], "auto");
        assert!(one.is_some());
        assert_eq!(one, fingerprint(&facts, &source, &[], "auto"));
        assert_ne!(one, fingerprint(&facts, &source, &[], "auto:minor"));
        let disk = parse_data_disks(&format!("0={}", id("Microsoft.Compute/disks/x"))).unwrap().remove(0);
        assert_ne!(one, fingerprint(&facts, &source, &[(disk.clone(), Some("c".into()))], "auto"));
        assert_eq!(fingerprint(&facts, &source, &[(disk, None)], "auto"), None);
        assert_eq!(fingerprint(&Facts::of_virtual_machine(&vm(&[])), &source, &[], "auto"), None);
    }
}
