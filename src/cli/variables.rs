//! The variables of a job: public and secret ones, and `$(name)` in text.

use std::collections::HashMap;

/// The variables of a job. Names are compared without case, and keep the case in which they were first written.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    entries: HashMap<String, Variable>,
}

/// One variable.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// The name as written.
    pub name: String,
    /// The value.
    pub value: String,
    /// Masked in every log, and kept from scripts unless they map it.
    pub secret: bool,
    /// Cannot be set again.
    pub read_only: bool,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = if self.secret { "***" } else { &self.value };
        formatter.debug_struct("Variable").field("name", &self.name).field("value", &value).finish_non_exhaustive()
    }
}

impl Variables {
    /// Sets a public variable.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.insert(Variable { name: name.to_owned(), value: value.into(), secret: false, read_only: false });
    }

    /// Sets a secret variable.
    pub fn set_secret(&mut self, name: &str, value: impl Into<String>) {
        self.insert(Variable { name: name.to_owned(), value: value.into(), secret: true, read_only: false });
    }

    /// Sets a variable. What was secret stays secret, as the agent has it.
    pub fn insert(&mut self, mut variable: Variable) {
        let key = variable.name.to_lowercase();
        if let Some(before) = self.entries.get(&key) {
            variable.secret |= before.secret;
            variable.name.clone_from(&before.name);
        }
        self.entries.insert(key, variable);
    }

    /// The variable of this name.
    pub fn get(&self, name: &str) -> Option<&Variable> {
        self.entries.get(&name.to_lowercase())
    }

    /// The value of the variable of this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(|variable| variable.value.as_str())
    }

    /// All variables, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Variable> {
        let mut all: Vec<_> = self.entries.values().collect();
        all.sort_by_key(|variable| variable.name.to_lowercase());
        all.into_iter()
    }

    /// Replaces every `$(name)` by the variable's value, once: what a value itself holds is not looked at again, and unknown names stay.
    pub fn expand(&self, text: &str) -> String {
        self.expand_noting(text, &mut |_| {})
    }

    /// Replaces `$(name)` in the values themselves, also through several steps, as the agent does when a job begins. What holds a secret
    /// becomes one.
    pub fn expand_values(&mut self) {
        const DEPTH: usize = 32;
        for _ in 0..DEPTH {
            let expanded: Vec<_> = self
                .entries
                .iter()
                .filter(|(_, variable)| variable.value.contains("$("))
                .filter_map(|(key, variable)| self.expanded(key, variable))
                .collect();
            if expanded.is_empty() {
                return;
            }
            self.entries.extend(expanded);
        }
    }

    /// The entry with its macros replaced; nothing if none of them is known, or one is the variable itself.
    fn expanded(&self, key: &str, variable: &Variable) -> Option<(String, Variable)> {
        let (mut secret, mut circular) = (variable.secret, false);
        let value = self.expand_noting(&variable.value, &mut |used| {
            secret |= used.secret;
            circular |= used.name.eq_ignore_ascii_case(key);
        });
        (value != variable.value && !circular).then(|| (key.to_owned(), Variable { value, secret, ..variable.clone() }))
    }

    fn expand_noting(&self, text: &str, note: &mut dyn FnMut(&Variable)) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("$(") {
            expanded.push_str(&rest[..start]);
            let inner = &rest[start + 2..];
            if let Some(end) = inner.find(')')
                && let Some(variable) = self.get(&inner[..end])
            {
                note(variable);
                expanded.push_str(&variable.value);
                rest = &inner[end + 1..];
            } else {
                expanded.push_str("$(");
                rest = inner;
            }
        }
        expanded + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_replaced_once_and_unknown_ones_stay() {
        let mut variables = Variables::default();
        variables.set("Name", "vm1");
        variables.set("nested", "$(Name)");
        variables.set("vm.labVmId", "/id");
        for (text, expanded) in [
            ("$(name)-$(NAME)", "vm1-vm1"),
            ("$(nested)", "$(Name)"),
            ("$(vm.labVmId)", "/id"),
            ("$(unknown) $(Name)", "$(unknown) vm1"),
            ("$(date +%s; echo $(name))", "$(date +%s; echo vm1)"),
            ("$(open", "$(open"),
            ("$name ${name} $()", "$name ${name} $()"),
        ] {
            assert_eq!(variables.expand(text), expanded);
        }
    }

    #[test]
    fn values_are_expanded_through_several_steps_and_pass_secrecy_on() {
        let mut variables = Variables::default();
        variables.set("a", "$(b)!");
        variables.set("b", "$(c)");
        variables.set_secret("c", "hidden");
        variables.set("self", "x$(self)");
        variables.set("left", "$(right)");
        variables.set("right", "$(left)");
        variables.set("unknown", "$(date)");
        variables.expand_values();
        assert_eq!(variables.value("a"), Some("hidden!"));
        assert!(variables.get("a").unwrap().secret);
        assert_eq!(variables.value("self"), Some("x$(self)"));
        assert_eq!(variables.value("unknown"), Some("$(date)"));
        assert!(variables.value("left").unwrap().len() < 10);
    }

    #[test]
    fn what_was_secret_stays_secret_and_debug_output_hides_it() {
        let mut variables = Variables::default();
        variables.set_secret("password", "first");
        variables.set("PASSWORD", "second");
        let variable = variables.get("Password").unwrap();
        assert!(variable.secret);
        assert_eq!(variable.value, "second");
        assert!(!format!("{variables:?}").contains("second"));
    }
}
