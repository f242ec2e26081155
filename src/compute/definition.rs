//! Image definitions: what they hold, which of it can change, and the bodies that make and update them.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::{
    Invalid,
    features::Features,
    gallery::{format_date, merge_tags, same_date},
    region::Region,
    same_text, whole_number,
};
use crate::order;

/// The kinds of disk that a definition can rule out.
pub const DISK_TYPES: [&str; 6] = ["Standard_LRS", "StandardSSD_LRS", "Premium_LRS", "UltraSSD_LRS", "PremiumV2_LRS", "Premium_ZRS"];

/// Everything that can be set on an image definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Where its description lies; versions replicate anywhere.
    pub location: Region,
    /// `Windows` or `Linux`.
    pub os_type: &'static str,
    /// `Generalized` or `Specialized`.
    pub os_state: &'static str,
    /// `V1` or `V2`. Always sent: the service's default differs from one version of the interface to the next.
    pub hyper_v_generation: &'static str,
    /// `x64` or `Arm64`.
    pub architecture: &'static str,
    /// Publisher, offer and SKU, unique in a gallery.
    pub identifier: Identifier,
    /// The plan under which the image is sold, where it comes from a third party's.
    pub plan: Option<Plan>,
    /// Features by name, the security type included. Sent with a new definition even when there is none; none leaves those that are there.
    pub features: Features,
    /// Whether features of a definition that exists are to be changed, which Azure takes only when told so.
    pub update_features: bool,
    /// What can be changed later.
    pub mutable: Mutable,
    /// The licence's text or address.
    pub eula: Option<String>,
    /// Where the privacy statement is.
    pub privacy_statement_uri: Option<String>,
    /// Tags.
    pub tags: Map<String, Value>,
}

/// What Azure lets be changed on a definition that exists. Absent means: left as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mutable {
    /// The description.
    pub description: Option<String>,
    /// Where the release notes are.
    pub release_note_uri: Option<String>,
    /// When the image is to be used no longer.
    pub end_of_life_date: Option<OffsetDateTime>,
    /// Recommended processors.
    pub vcpus: Range,
    /// Recommended memory in GB.
    pub memory: Range,
    /// Kinds of disk that virtual machines made from the image must not have.
    pub disallowed_disk_types: Vec<&'static str>,
}

/// Publisher, offer and SKU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identifier {
    /// Publisher.
    pub publisher: String,
    /// Offer.
    pub offer: String,
    /// SKU.
    pub sku: String,
}

/// A purchase plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The plan's name.
    pub name: String,
    /// The product, which is the offer's name in the Marketplace.
    pub product: String,
    /// The publisher's name in the Marketplace.
    pub publisher: String,
}

/// A recommended range, both ends optional.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// At least.
    pub min: Option<u64>,
    /// At most.
    pub max: Option<u64>,
}

/// A value that is there and one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The property's name, as Azure spells it.
    pub property: &'static str,
    /// The value that is there.
    pub found: String,
    /// The value that was asked for.
    pub wanted: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: it is {}, and {} was asked for", self.property, self.found, self.wanted)
    }
}

impl Plan {
    /// A plan, all of it or none: Azure takes no part of one.
    pub fn from_parts(name: Option<String>, product: Option<String>, publisher: Option<String>) -> Result<Option<Self>, Vec<&'static str>> {
        match (name, product, publisher) {
            (None, None, None) => Ok(None),
            (Some(name), Some(product), Some(publisher)) => Ok(Some(Self { name, product, publisher })),
            (name, product, publisher) => {
                let parts = [("PlanName", name), ("PlanProduct", product), ("PlanPublisher", publisher)];
                Err(parts.into_iter().filter(|(_, value)| value.is_none()).map(|(input, _)| input).collect())
            }
        }
    }

    /// Reads a plan of Azure's; `None` when there is none.
    pub fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Some(Self { name: text("name")?, product: text("product").unwrap_or_default(), publisher: text("publisher").unwrap_or_default() })
    }

    /// Whether this is the same plan, without case.
    pub fn is(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
            && self.product.eq_ignore_ascii_case(&other.product)
            && self.publisher.eq_ignore_ascii_case(&other.publisher)
    }

    fn body(&self) -> Value {
        json!({"name": self.name, "product": self.product, "publisher": self.publisher})
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}/{}", self.publisher, self.product, self.name)
    }
}

impl Range {
    fn body(self) -> Value {
        let mut body = Map::new();
        for (name, value) in [("min", self.min), ("max", self.max)] {
            if let Some(value) = value {
                body.insert(name.to_owned(), json!(value));
            }
        }
        Value::Object(body)
    }

    fn is_empty(self) -> bool {
        self.min.is_none() && self.max.is_none()
    }
}

/// Checks a recommended range.
pub fn check_range(range: Range) -> Result<(), Invalid> {
    match (range.min, range.max) {
        (Some(min), Some(max)) if min > max => Err(Invalid::new(format!("{min} to {max}"), "the minimum is larger than the maximum")),
        _ => Ok(()),
    }
}

/// Reads kinds of disk, separated by commas, blanks or lines.
pub fn parse_disk_types(text: &str) -> Result<Vec<&'static str>, Invalid> {
    let items = text.split(|character: char| character == ',' || character.is_whitespace()).filter(|item| !item.is_empty());
    let mut types = Vec::new();
    for item in items {
        let kind = super::choice(item, &DISK_TYPES)?;
        if !types.contains(&kind) {
            types.push(kind);
        }
    }
    Ok(types)
}

impl Definition {
    /// Settings that exclude one another, as the input that is to be changed and what is wrong.
    pub fn contradictions(&self) -> Vec<(&'static str, Invalid)> {
        let mut found = Vec::new();
        let security = self.features.security_type();
        if self.hyper_v_generation == "V1" && security != "Standard" {
            let problem = "Trusted Launch and Confidential VM need Hyper-V generation V2; set HyperVGeneration to V2";
            found.push(("SecurityType", Invalid::new(security, problem)));
        }
        if self.hyper_v_generation == "V1" && self.architecture == "Arm64" {
            found.push(("HyperVGeneration", Invalid::new("V1", "Arm64 images are of generation V2 only")));
        }
        found
    }

    /// The body that makes the definition.
    pub fn body(&self) -> Value {
        let mut properties = json!({
            "osType": self.os_type,
            "osState": self.os_state,
            "hyperVGeneration": self.hyper_v_generation,
            "architecture": self.architecture,
            "identifier": {"publisher": self.identifier.publisher, "offer": self.identifier.offer, "sku": self.identifier.sku},
            "features": self.features.body(),
        });
        if let Some(plan) = &self.plan {
            properties["purchasePlan"] = plan.body();
        }
        for (name, value) in [("eula", &self.eula), ("privacyStatementUri", &self.privacy_statement_uri)] {
            if let Some(value) = value {
                properties[name] = json!(value);
            }
        }
        self.mutable.apply(&mut properties);
        let mut body = json!({"location": self.location.normalized(), "properties": properties});
        if !self.tags.is_empty() {
            body["tags"] = json!(self.tags);
        }
        body
    }

    /// What was asked for and cannot become true of a definition that exists: Azure answers `PropertyChangeNotAllowed`.
    pub fn conflicts(&self, existing: &Value) -> Vec<Difference> {
        let properties = &existing["properties"];
        let mut differences = Vec::new();
        let mut compare = |property: &'static str, found: &Value, default: &str, wanted: &str| {
            let found = found.as_str().unwrap_or(default);
            if !found.eq_ignore_ascii_case(wanted) {
                differences.push(Difference { property, found: quoted(found), wanted: quoted(wanted) });
            }
        };
        compare("osType", &properties["osType"], "", self.os_type);
        compare("osState", &properties["osState"], "", self.os_state);
        compare("hyperVGeneration", &properties["hyperVGeneration"], "V1", self.hyper_v_generation);
        compare("architecture", &properties["architecture"], "x64", self.architecture);
        compare("identifier.publisher", &properties["identifier"]["publisher"], "", &self.identifier.publisher);
        compare("identifier.offer", &properties["identifier"]["offer"], "", &self.identifier.offer);
        compare("identifier.sku", &properties["identifier"]["sku"], "", &self.identifier.sku);
        // Nothing given means: left as it is.
        for (property, wanted) in [("eula", &self.eula), ("privacyStatementUri", &self.privacy_statement_uri)] {
            if let Some(wanted) = wanted {
                compare(property, &properties[property], "", wanted);
            }
        }
        let location = Region::new(existing["location"].as_str().unwrap_or_default());
        if location != self.location {
            differences.push(Difference {
                property: "location",
                found: quoted(&location.normalized()),
                wanted: quoted(&self.location.normalized()),
            });
        }
        differences.extend(self.plan_conflict(&properties["purchasePlan"]));
        let features = Features::read(&properties["features"]);
        if !self.update_features && !self.features.fit(&features) {
            differences.push(Difference { property: "features", found: features.to_string(), wanted: self.features.to_string() });
        }
        differences
    }

    fn plan_conflict(&self, existing: &Value) -> Option<Difference> {
        let existing = Plan::read(existing);
        let same = match (&existing, &self.plan) {
            (_, None) => true,
            (Some(existing), Some(wanted)) => existing.is(wanted),
            (None, Some(_)) => false,
        };
        let shown = |plan: Option<&Plan>| plan.map_or("none".to_owned(), |plan| quoted(&plan.to_string()));
        (!same).then(|| Difference { property: "purchasePlan", found: shown(existing.as_ref()), wanted: shown(self.plan.as_ref()) })
    }

    /// The body that brings an existing definition up to date, and the names of what it changes; `None` when all is as wanted.
    pub fn update(&self, existing: &Value) -> Option<(Value, Vec<&'static str>)> {
        let mut properties = existing["properties"].clone();
        let before = properties.clone();
        self.mutable.apply(&mut properties);
        let mut changed: Vec<&'static str> =
            MUTABLE.iter().copied().filter(|name| !same(name, &before[*name], &properties[*name])).collect();
        let tags = merge_tags(&existing["tags"], &self.tags);
        if tags != existing["tags"].as_object().cloned().unwrap_or_default() {
            changed.push("tags");
        }
        if self.update_features && !self.features.fit(&Features::read(&before["features"])) {
            properties["features"] = self.features.body();
            properties["allowUpdateImage"] = json!(true);
            changed.push("features");
        }
        if changed.is_empty() {
            return None;
        }
        // What was not said when the definition was made is said now, so that no newer default slips in.
        if properties["hyperVGeneration"].is_null() {
            properties["hyperVGeneration"] = json!("V1");
        }
        if properties["features"].is_null() {
            properties["features"] = json!([]);
        }
        if let Some(properties) = properties.as_object_mut() {
            properties.shift_remove("provisioningState");
        }
        Some((json!({"location": existing["location"], "tags": tags, "properties": properties}), changed))
    }

    /// The definition of a gallery, other than the one named, that has the same publisher, offer and SKU.
    pub fn taken_by<'a>(&self, name: &str, definitions: &'a [Value]) -> Option<&'a str> {
        let wanted = json!({"publisher": self.identifier.publisher, "offer": self.identifier.offer, "sku": self.identifier.sku});
        let taken = definitions.iter().find(|definition| {
            let there = &definition["properties"]["identifier"];
            !definition["name"].as_str().is_some_and(|other| other.eq_ignore_ascii_case(name))
                && ["publisher", "offer", "sku"].iter().all(|part| same_text(&there[*part], &wanted[*part]))
        })?;
        taken["name"].as_str()
    }
}

/// Properties that can change.
const MUTABLE: [&str; 5] = ["description", "releaseNoteUri", "endOfLifeDate", "recommended", "disallowed"];

fn same(name: &str, one: &Value, other: &Value) -> bool {
    match name {
        "endOfLifeDate" => same_date(one, other),
        "recommended" => {
            let numbers = |value: &Value| ["vCPUs", "memory"].map(|part| ["min", "max"].map(|end| whole_number(&value[part][end])));
            numbers(one) == numbers(other)
        }
        "disallowed" => {
            let mut sets = [one, other].map(|value| {
                let types = value["diskTypes"].as_array().into_iter().flatten().filter_map(Value::as_str);
                types.map(str::to_ascii_lowercase).collect::<Vec<_>>()
            });
            for set in &mut sets {
                order::sort(set, &mut Ord::cmp);
            }
            sets[0] == sets[1]
        }
        _ => one.as_str().unwrap_or_default() == other.as_str().unwrap_or_default(),
    }
}

impl Mutable {
    fn apply(&self, properties: &mut Value) {
        for (name, value) in [("description", &self.description), ("releaseNoteUri", &self.release_note_uri)] {
            if let Some(value) = value {
                properties[name] = json!(value);
            }
        }
        if let Some(date) = self.end_of_life_date {
            properties["endOfLifeDate"] = json!(format_date(date));
        }
        for (name, range) in [("vCPUs", self.vcpus), ("memory", self.memory)] {
            if !range.is_empty() {
                let there = &properties["recommended"][name];
                let known = |end: &str| whole_number(&there[end]);
                let whole = Range { min: range.min.or_else(|| known("min")), max: range.max.or_else(|| known("max")) };
                properties["recommended"][name] = whole.body();
            }
        }
        if !self.disallowed_disk_types.is_empty() {
            properties["disallowed"]["diskTypes"] = json!(self.disallowed_disk_types);
        }
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() { "empty".to_owned() } else { format!("'{text}'") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::gallery::parse_date;

    fn definition() -> Definition {
        Definition {
            location: Region::new("westeurope"),
            os_type: "Windows",
            os_state: "Generalized",
            hyper_v_generation: "V2",
            architecture: "x64",
            identifier: Identifier { publisher: "Contoso".into(), offer: "Server".into(), sku: "2022".into() },
            plan: None,
            features: Features::default(),
            update_features: false,
            mutable: Mutable::default(),
            eula: None,
            privacy_statement_uri: None,
            tags: Map::new(),
        }
    }

    #[test]
    fn generation_and_features_are_sent_even_when_nothing_was_said_of_them() {
        assert_eq!(
            definition().body(),
            json!({"location": "westeurope", "properties": {
                "osType": "Windows", "osState": "Generalized", "hyperVGeneration": "V2", "architecture": "x64",
                "identifier": {"publisher": "Contoso", "offer": "Server", "sku": "2022"}, "features": [],
            }})
        );
    }

    #[test]
    fn everything_that_can_be_set_is_sent() {
        let mut whole = definition();
        whole.plan = Plan::from_parts(Some("n".into()), Some("p".into()), Some("q".into())).unwrap();
        whole.features = Features::parse("IsHibernateSupported=true, DiskControllerTypes=SCSI,NVMe").unwrap();
        whole.features.set_security_type("TrustedLaunch").unwrap();
        whole.mutable = Mutable {
            description: Some("d".into()),
            release_note_uri: Some("https://r".into()),
            end_of_life_date: Some(parse_date("2027-06-30").unwrap()),
            vcpus: Range { min: Some(2), max: Some(8) },
            memory: Range { min: None, max: Some(64) },
            disallowed_disk_types: parse_disk_types("standard_lrs, UltraSSD_LRS").unwrap(),
        };
        whole.eula = Some("e".into());
        whole.privacy_statement_uri = Some("https://p".into());
        whole.tags.insert("a".into(), json!("b"));
        let body = whole.body();
        assert_eq!(
            body["properties"]["features"],
            json!([
                {"name": "IsHibernateSupported", "value": "true"},
                {"name": "DiskControllerTypes", "value": "SCSI,NVMe"},
                {"name": "SecurityType", "value": "TrustedLaunch"},
            ])
        );
        assert_eq!(body["properties"]["recommended"], json!({"vCPUs": {"min": 2, "max": 8}, "memory": {"max": 64}}));
        assert_eq!(body["properties"]["disallowed"], json!({"diskTypes": ["Standard_LRS", "UltraSSD_LRS"]}));
        assert_eq!(body["properties"]["purchasePlan"], json!({"name": "n", "product": "p", "publisher": "q"}));
        assert_eq!(body["properties"]["endOfLifeDate"], "2027-06-30T00:00:00Z");
        assert_eq!(body["tags"], json!({"a": "b"}));
        assert_eq!(whole.conflicts(&body), []);
        assert_eq!(whole.update(&body), None);
    }

    #[test]
    fn a_differing_immutable_value_shows_both() {
        let mut existing = definition().body();
        existing["location"] = json!("West Europe");
        assert_eq!(definition().conflicts(&existing), []);
        for (pointer, value, shown) in [
            ("/properties/osType", json!("Linux"), "osType: it is 'Linux', and 'Windows' was asked for"),
            ("/properties/osState", json!("Specialized"), "osState: it is 'Specialized', and 'Generalized' was asked for"),
            ("/properties/hyperVGeneration", Value::Null, "hyperVGeneration: it is 'V1', and 'V2' was asked for"),
            ("/properties/architecture", json!("Arm64"), "architecture: it is 'Arm64', and 'x64' was asked for"),
            ("/properties/identifier/sku", json!("2019"), "identifier.sku: it is '2019', and '2022' was asked for"),
            ("/location", json!("eastus"), "location: it is 'eastus', and 'westeurope' was asked for"),
        ] {
            let mut existing = existing.clone();
            *existing.pointer_mut(pointer).unwrap() = value;
            let conflicts: Vec<_> = definition().conflicts(&existing).iter().map(ToString::to_string).collect();
            assert_eq!(conflicts, [shown]);
        }
        let mut planned = definition();
        planned.plan = Some(Plan { name: "n".into(), product: "p".into(), publisher: "q".into() });
        planned.eula = Some("new".into());
        let conflicts: Vec<_> = planned.conflicts(&existing).iter().map(ToString::to_string).collect();
        assert_eq!(conflicts, ["eula: it is empty, and 'new' was asked for", "purchasePlan: it is none, and 'q/p/n' was asked for"]);
    }

    #[test]
    fn features_of_a_definition_that_is_there_stay_unless_others_are_given_and_may_be_changed() {
        let mut existing = definition().body();
        existing["properties"]["features"] = json!([{"name": "SecurityType", "value": "TrustedLaunch"}]);
        assert_eq!((definition().conflicts(&existing), definition().update(&existing)), (vec![], None));
        let mut other = definition();
        other.features = Features::parse("SecurityType=Standard").unwrap();
        let conflicts: Vec<_> = other.conflicts(&existing).iter().map(ToString::to_string).collect();
        assert_eq!(conflicts, ["features: it is SecurityType=TrustedLaunch, and SecurityType=Standard was asked for"]);
        other.update_features = true;
        assert_eq!(other.conflicts(&existing), []);
        let (body, changed) = other.update(&existing).unwrap();
        assert_eq!(changed, ["features"]);
        assert_eq!((&body["properties"]["features"], &body["properties"]["allowUpdateImage"]), (&json!([]), &json!(true)));
        assert_eq!(other.update(&definition().body()), None);
    }

    #[test]
    fn mutable_values_are_updated_and_what_was_not_said_stays() {
        let mut existing = definition().body();
        existing["properties"]["description"] = json!("old");
        existing["properties"]["provisioningState"] = json!("Succeeded");
        existing["properties"]["recommended"] = json!({"vCPUs": {"min": 1, "max": 4}});
        existing["properties"]["releaseNoteUri"] = json!("https://r");
        existing["tags"] = json!({"keep": "1"});
        assert_eq!(definition().update(&existing), None);
        let mut wanted = definition();
        wanted.mutable.description = Some("new".into());
        wanted.mutable.vcpus.max = Some(8);
        wanted.tags.insert("add".into(), json!("2"));
        let (body, changed) = wanted.update(&existing).unwrap();
        assert_eq!(changed, ["description", "recommended", "tags"]);
        assert_eq!(body["tags"], json!({"keep": "1", "add": "2"}));
        let properties = &body["properties"];
        assert_eq!((&properties["description"], &properties["releaseNoteUri"]), (&json!("new"), &json!("https://r")));
        assert_eq!(properties["recommended"], json!({"vCPUs": {"min": 1, "max": 8}}));
        assert_eq!(properties["provisioningState"], Value::Null);
    }

    #[test]
    fn what_excludes_itself_is_found_before_azure_does() {
        let mut wrong = definition();
        wrong.hyper_v_generation = "V1";
        wrong.architecture = "Arm64";
        wrong.features = Features::parse("SecurityType=TrustedLaunch").unwrap();
        let inputs: Vec<_> = wrong.contradictions().iter().map(|(input, _)| *input).collect();
        assert_eq!(inputs, ["SecurityType", "HyperVGeneration"]);
        assert_eq!(definition().contradictions(), []);
        assert!(check_range(Range { min: Some(4), max: Some(2) }).is_err());
        assert_eq!(Plan::from_parts(Some("n".into()), None, Some("q".into())), Err(vec!["PlanProduct"]));
    }

    #[test]
    fn publisher_offer_and_sku_are_unique_in_a_gallery() {
        let other = |name: &str, sku: &str| json!({"name": name, "properties": {"identifier": {"publisher": "contoso", "offer": "SERVER", "sku": sku}}});
        let definitions = [other("a", "2019"), other("b", "2022")];
        assert_eq!(definition().taken_by("new", &definitions), Some("b"));
        assert_eq!(definition().taken_by("B", &definitions), None);
    }
}
