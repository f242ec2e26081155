//! Features of an image definition: `Name=value`, the security type among them.

use serde_json::{Value, json};

use super::{Invalid, choice};
use crate::order;

/// Security types of a definition, as its feature `SecurityType` has them. `Standard` stands for the feature's absence.
pub const SECURITY_TYPES: [&str; 6] = [
    "Standard",
    "TrustedLaunchSupported",
    "TrustedLaunch",
    "ConfidentialVmSupported",
    "ConfidentialVM",
    "TrustedLaunchAndConfidentialVmSupported",
];

/// Features by name, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features(Vec<(String, String)>);

impl Features {
    /// Reads `Name=value`, separated by blanks, commas, semicolons or lines; a comma also separates the values of one feature
    /// (`DiskControllerTypes=SCSI,NVMe`).
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut features = Self::default();
        for group in text.split(|character: char| character == ';' || character.is_whitespace()).filter(|group| !group.is_empty()) {
            for item in group.split(',').filter(|item| !item.is_empty()) {
                match (item.split_once('='), features.0.last_mut()) {
                    (Some((name, value)), _) => features.add(name, value)?,
                    (None, Some((_, values))) => *values = format!("{values},{item}"),
                    (None, None) => {
                        return Err(Invalid::new(item, "write a feature as Name=value, such as IsAcceleratedNetworkSupported=true"));
                    }
                }
            }
        }
        features.check()?;
        Ok(features)
    }

    fn check(&self) -> Result<(), Invalid> {
        for (name, value) in &self.0 {
            let shown = || format!("{name}={value}");
            match name.to_ascii_lowercase().as_str() {
                "securitytype" => {
                    choice(value, &SECURITY_TYPES).map_err(|wrong| Invalid::new(shown(), wrong.problem))?;
                }
                "isacceleratednetworksupported" | "ishibernatesupported" => {
                    choice(value, &["true", "false"]).map_err(|wrong| Invalid::new(shown(), wrong.problem))?;
                }
                "diskcontrollertypes" => {
                    for controller in value.split(',').map(str::trim) {
                        choice(controller, &["SCSI", "NVMe"]).map_err(|wrong| Invalid::new(shown(), wrong.problem))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), Invalid> {
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || value.is_empty() {
            return Err(Invalid::new(
                format!("{name}={value}"),
                "a feature needs a name and a value, such as IsAcceleratedNetworkSupported=true",
            ));
        }
        if self.get(name).is_some() {
            return Err(Invalid::new(name, "this feature is given twice"));
        }
        self.0.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// A feature's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Sets the security type unless the features say the same already; another value there is a contradiction.
    pub fn set_security_type(&mut self, security_type: &'static str) -> Result<(), Invalid> {
        match self.get("SecurityType") {
            Some(there) if there.eq_ignore_ascii_case(security_type) => Ok(()),
            Some(there) => Err(Invalid::new(security_type, format!("the features say SecurityType={there}; give it in one place"))),
            None => self.add("SecurityType", security_type),
        }
    }

    /// Reads the features of a definition.
    pub fn read(value: &Value) -> Self {
        let text = |item: &Value, name: &str| item[name].as_str().map(str::to_owned);
        let items = value.as_array().into_iter().flatten();
        Self(items.filter_map(|item| Some((text(item, "name")?, text(item, "value")?))).collect())
    }

    /// The security type; `Standard` when nothing is said.
    pub fn security_type(&self) -> &str {
        self.get("SecurityType").unwrap_or("Standard")
    }

    /// Whether a definition with the features `there` needs no change: it has the same, or none was given.
    pub fn fit(&self, there: &Self) -> bool {
        self.0.is_empty() || self.comparable() == there.comparable()
    }

    /// What Azure is sent: everything but `SecurityType=Standard`, which is the feature's absence.
    pub(super) fn body(&self) -> Value {
        let sent =
            self.0.iter().filter(|(name, value)| !(name.eq_ignore_ascii_case("SecurityType") && value.eq_ignore_ascii_case("Standard")));
        sent.map(|(name, value)| json!({"name": name, "value": value})).collect()
    }

    /// Comparable text: names in lower case and in order; what is the default is left out.
    fn comparable(&self) -> Vec<(String, String)> {
        let mut all: Vec<_> =
            self.0.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_ascii_lowercase().replace(' ', ""))).collect();
        all.retain(|(name, value)| !(name == "securitytype" && value == "standard") && value != "false");
        order::sort(&mut all, &mut Ord::cmp);
        all
    }
}

impl std::fmt::Display for Features {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        formatter.write_str(&if shown.is_empty() { "none".to_owned() } else { shown.join(" ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_and_checked() {
        for (text, expected) in [
            ("", "none"),
            ("SecurityType=TrustedLaunch IsHibernateSupported=true", "SecurityType=TrustedLaunch IsHibernateSupported=true"),
            ("A=1,B=2;C=3\nD=4", "A=1 B=2 C=3 D=4"),
            ("DiskControllerTypes=SCSI,NVMe A=1", "DiskControllerTypes=SCSI,NVMe A=1"),
        ] {
            assert_eq!(Features::parse(text).unwrap().to_string(), expected, "{text}");
        }
        for (bad, expected) in [
            ("x", "'x': write a feature as Name=value, such as IsAcceleratedNetworkSupported=true"),
            ("A=", "'A=': a feature needs a name and a value, such as IsAcceleratedNetworkSupported=true"),
            ("A=1 a=2", "'a': this feature is given twice"),
            ("IsHibernateSupported=yes", "'IsHibernateSupported=yes': give one of true, false"),
            ("DiskControllerTypes=IDE", "'DiskControllerTypes=IDE': give one of SCSI, NVMe"),
        ] {
            assert_eq!(Features::parse(bad).unwrap_err().to_string(), expected);
        }
        assert!(Features::parse("SecurityType=Secure").is_err());
        let mut features = Features::parse("SecurityType=TrustedLaunch").unwrap();
        assert_eq!(features.set_security_type("TrustedLaunch"), Ok(()));
        assert_eq!(
            features.set_security_type("ConfidentialVM").unwrap_err().problem,
            "the features say SecurityType=TrustedLaunch; give it in one place"
        );
    }
}
