//! How far a version is: built, replicated to which regions; and when waiting is over.

use serde_json::Value;

use super::{Invalid, region::Region, whole_number};

/// How long to wait for a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// Until it is in every region.
    All,
    /// Until it is built, which is when it is in the region where it is made.
    Build,
    /// Until it is in so many regions.
    Count(usize),
    /// Until it is in these regions.
    Regions(Vec<Region>),
    /// Not at all: until Azure has accepted the request.
    Nothing,
}

/// Where one region stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionStatus {
    /// The region.
    pub region: Region,
    /// Azure's word: `Replicating`, `Completed`, `Failed`, `Unknown`.
    pub state: String,
    /// Percent done.
    pub percent: u64,
    /// What Azure adds.
    pub details: String,
}

/// Where a version stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Azure's word for the whole: `Creating`, `Updating`, `Succeeded`, `Failed`, …
    pub provisioning_state: String,
    /// The regions, in the order of Azure's summary.
    pub regions: Vec<RegionStatus>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Look again later.
    Wait,
    /// What was waited for is there.
    Reached,
    /// It will not come any more: why, a line for each reason.
    Failed(Vec<String>),
}

impl WaitFor {
    /// Reads the input; nothing means all. `targets` are the regions that the version is replicated to.
    pub fn parse(text: Option<&str>) -> Result<Self, Invalid> {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(Self::All) };
        match text.to_ascii_lowercase().as_str() {
            "all" => return Ok(Self::All),
            "build" => return Ok(Self::Build),
            "none" => return Ok(Self::Nothing),
            _ => {}
        }
        if text.starts_with(|character: char| character.is_ascii_digit() || character == '-') {
            let count = text.parse().ok().filter(|count| *count > 0);
            return count
                .map(Self::Count)
                .ok_or_else(|| Invalid::new(text, "give all, build, none, a number of regions from 1 up, or names of regions"));
        }
        let names = text.split(|character: char| character == ',' || character.is_whitespace()).filter(|name| !name.is_empty());
        let mut regions: Vec<Region> = Vec::new();
        for name in names {
            if ["all", "build", "none"].contains(&name.to_ascii_lowercase().as_str()) || name.contains('=') {
                return Err(Invalid::new(name, "give either all, build, none or a number, or names of regions alone"));
            }
            let region = Region::new(name.to_ascii_lowercase());
            if !regions.contains(&region) {
                regions.push(region);
            }
        }
        Ok(Self::Regions(regions))
    }

    /// Checks that what is waited for can come about with these target regions.
    pub fn check(&self, targets: &[Region]) -> Result<(), Invalid> {
        let listed = || targets.iter().map(Region::normalized).collect::<Vec<_>>().join(", ");
        match self {
            Self::Count(count) if *count > targets.len() => {
                Err(Invalid::new(count.to_string(), format!("the version goes to fewer regions: {}", listed())))
            }
            Self::Regions(regions) => match regions.iter().find(|region| !targets.contains(region)) {
                Some(region) => {
                    Err(Invalid::new(region.to_string(), format!("the version does not go to this region; its regions are {}", listed())))
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl Status {
    /// Reads a version that was asked for with `$expand=ReplicationStatus`.
    pub fn read(version: &Value) -> Self {
        let properties = &version["properties"];
        let summary = properties["replicationStatus"]["summary"].as_array();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            provisioning_state: text(&properties["provisioningState"]),
            regions: summary
                .into_iter()
                .flatten()
                .map(|item| RegionStatus {
                    region: Region::new(text(&item["region"])),
                    state: text(&item["state"]),
                    percent: whole_number(&item["progress"]).unwrap_or(0).min(100),
                    details: text(&item["details"]),
                })
                .collect(),
        }
    }

    fn region(&self, region: &Region) -> Option<&RegionStatus> {
        self.regions.iter().find(|status| status.region == *region)
    }

    fn is_provisioned(&self) -> bool {
        self.provisioning_state.eq_ignore_ascii_case("Succeeded")
    }

    /// Percent done over all `targets`.
    pub fn percent(&self, targets: &[Region]) -> u8 {
        let done: u64 = targets.iter().filter_map(|target| self.region(target)).map(RegionStatus::counted).sum();
        let percent = done / u64::try_from(targets.len()).unwrap_or(u64::MAX).max(1);
        u8::try_from(percent.min(100)).unwrap_or(100)
    }

    /// Whether what is waited for is there, may still come, or will not.
    pub fn verdict(&self, wait_for: &WaitFor, targets: &[Region], built_in: &Region) -> Verdict {
        let is = |region: &Region, test: fn(&RegionStatus) -> bool| self.region(region).is_some_and(test);
        let completed = |region: &&Region| is(region, RegionStatus::is_completed);
        let failed = |region: &&Region| is(region, RegionStatus::is_failed);
        let (wanted, needed): (Vec<&Region>, usize) = match wait_for {
            WaitFor::Nothing => return Verdict::Reached,
            WaitFor::All => (targets.iter().collect(), targets.len()),
            WaitFor::Build => (vec![built_in], 1),
            WaitFor::Count(count) => (targets.iter().collect(), *count),
            WaitFor::Regions(regions) => (regions.iter().collect(), regions.len()),
        };
        // Waiting for all also waits for the service to call the whole done; before that it takes no other change.
        let settled = *wait_for != WaitFor::All || self.is_provisioned();
        if wanted.iter().filter(|region| completed(region)).count() >= needed && settled {
            return Verdict::Reached;
        }
        let lost: Vec<&&Region> = wanted.iter().filter(|region| failed(region)).collect();
        let whole = ["Failed", "Canceled"].iter().any(|state| self.provisioning_state.eq_ignore_ascii_case(state));
        if wanted.len() - lost.len() >= needed && !whole {
            return Verdict::Wait;
        }
        let mut reasons: Vec<String> = self.regions.iter().filter(|status| status.is_failed()).map(RegionStatus::reason).collect();
        if reasons.is_empty() {
            reasons.push(format!("the version's provisioning state is {}", self.provisioning_state));
        }
        Verdict::Failed(reasons)
    }
}

impl RegionStatus {
    fn is_completed(&self) -> bool {
        self.state.eq_ignore_ascii_case("Completed")
    }

    fn is_failed(&self) -> bool {
        self.state.eq_ignore_ascii_case("Failed")
    }

    /// Percent done; what is completed counts whole even where the service says otherwise.
    fn counted(&self) -> u64 {
        if self.is_completed() { 100 } else { self.percent.min(99) }
    }

    fn reason(&self) -> String {
        let details = if self.details.is_empty() { "no details were given" } else { &self.details };
        format!("replication to {} failed: {details}", self.region)
    }
}

impl std::fmt::Display for RegionStatus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_completed() || self.is_failed() {
            write!(formatter, "{}: {}", self.region, self.state)
        } else {
            write!(formatter, "{}: {} {} %", self.region, self.state, self.percent)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn regions(names: &[&str]) -> Vec<Region> {
        names.iter().copied().map(Region::new).collect()
    }

    fn status(provisioning: &str, summary: &[(&str, &str, u64)]) -> Status {
        let summary: Vec<_> = summary
            .iter()
            .map(|(region, state, progress)| json!({"region": region, "state": state, "progress": progress, "details": ""}))
            .collect();
        Status::read(&json!({"properties": {"provisioningState": provisioning, "replicationStatus": {"summary": summary}}}))
    }

    #[test]
    fn what_to_wait_for_is_read() {
        for (text, expected) in [
            (None, WaitFor::All),
            (Some("ALL"), WaitFor::All),
            (Some("build"), WaitFor::Build),
            (Some("none"), WaitFor::Nothing),
            (Some("2"), WaitFor::Count(2)),
            (Some("westus2, EastUS westus2"), WaitFor::Regions(regions(&["westus2", "eastus"]))),
        ] {
            assert_eq!(WaitFor::parse(text), Ok(expected), "{text:?}");
        }
        for bad in ["0", "-1", "2x", "1.5", "all westus2", "westus2=1"] {
            assert!(WaitFor::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_can_come_is_waited_for() {
        let targets = regions(&["westus2", "eastus"]);
        for (text, problem) in [
            ("all", None),
            ("2", None),
            ("East", Some("the version does not go to this region; its regions are westus2, eastus")),
            ("3", Some("the version goes to fewer regions: westus2, eastus")),
        ] {
            let found = WaitFor::parse(Some(text)).unwrap().check(&targets).err().map(|wrong| wrong.problem);
            assert_eq!(found.as_deref(), problem, "{text}");
        }
    }

    #[test]
    fn waiting_ends_when_it_is_there_or_cannot_come() {
        let targets = regions(&["westus2", "eastus", "westeurope"]);
        let built_in = Region::new("West US 2");
        let half = [("West US 2", "Completed", 100), ("East US", "Replicating", 50), ("West Europe", "Replicating", 0)];
        let whole = [("West US 2", "Completed", 100), ("East US", "Completed", 100), ("West Europe", "Completed", 100)];
        let broken = [("West US 2", "Completed", 100), ("East US", "Failed", 0), ("West Europe", "Replicating", 10)];
        let failed = || Verdict::Failed(vec!["replication to East US failed: no details were given".into()]);
        for (wait_for, state, summary, expected) in [
            ("none", "Creating", &[][..], Verdict::Reached),
            ("all", "Creating", &[], Verdict::Wait),
            ("all", "Creating", &half, Verdict::Wait),
            ("all", "Updating", &whole, Verdict::Wait),
            ("all", "Succeeded", &whole, Verdict::Reached),
            ("all", "Creating", &broken, failed()),
            ("build", "Creating", &[], Verdict::Wait),
            ("build", "Creating", &half, Verdict::Reached),
            ("1", "Creating", &half, Verdict::Reached),
            ("2", "Creating", &half, Verdict::Wait),
            ("2", "Creating", &broken, Verdict::Wait),
            ("3", "Creating", &broken, failed()),
            ("eastus", "Creating", &broken, failed()),
            ("westeurope", "Creating", &broken, Verdict::Wait),
            ("westeurope", "Failed", &broken, failed()),
            ("all", "Failed", &[], Verdict::Failed(vec!["the version's provisioning state is Failed".into()])),
        ] {
            let wait_for = WaitFor::parse(Some(wait_for)).unwrap();
            assert_eq!(status(state, summary).verdict(&wait_for, &targets, &built_in), expected, "{wait_for:?} {state} {summary:?}");
        }
        assert_eq!(status("Creating", &half).percent(&targets), 50);
        assert_eq!(status("Creating", &[]).percent(&targets), 0);
    }
}
