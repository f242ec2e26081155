//! Expressions looked at without evaluating them: syntax, names, numbers of arguments; and what is never used.

use std::collections::HashSet;

use serde_json::Value;

use super::{Checked, is_expression};
use crate::template::{
    Finding, Template,
    expression::{Call, Expression},
    functions::{member, nearest, signature, unknown},
    path::{self, Trail},
};

/// Parameters that tools fill in, whether the template uses them or not.
const BY_TOOLS: [&str; 2] = ["_artifactslocation", "_artifactslocationsastoken"];

/// Checks every expression of a template, nested templates among them.
pub(super) fn check(template: &Template, checked: &mut Checked) {
    let mut walk = Walk { template, function: None, used: HashSet::new(), checked };
    for (name, declared) in template.section("parameters").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = member(declared, "defaultValue") {
            let path = path::join(&path::join(&template.path("parameters"), name), "defaultValue");
            walk.value(value, &Trail::Start(&path));
        }
    }
    for variable in &template.variables {
        walk.value(&variable.value, &Trail::Start(&variable.path));
    }
    for section in ["resources", "outputs"] {
        if let Some(value) = template.section(section) {
            walk.value(value, &Trail::Start(&template.path(section)));
        }
    }
    for function in &template.functions {
        let path = path::join(&path::join(&function.path, "output"), "value");
        walk.function = Some(&function.parameters);
        walk.value(&function.output, &Trail::Start(&path));
    }
    // What was put in place of a link has used the names that the link did.
    for link in template.document.links_below(&template.base) {
        walk.value(link, &Trail::Start(&template.base));
    }
    let used = walk.used;
    unused(template, &used, checked);
}

/// A use of a parameter or a variable, in lower case.
type Use = (bool, String);

fn unused(template: &Template, used: &HashSet<Use>, checked: &mut Checked) {
    for parameter in &template.parameters {
        let name = parameter.name.to_ascii_lowercase();
        if !used.contains(&(true, name.clone())) && !BY_TOOLS.contains(&name.as_str()) {
            checked.warning(template.finding(&parameter.path, format!("the parameter '{}' is never used", parameter.name)));
        }
    }
    for variable in &template.variables {
        if !used.contains(&(false, variable.name.to_ascii_lowercase())) {
            checked.warning(template.finding(&variable.path, format!("the variable '{}' is never used", variable.name)));
        }
    }
}

struct Walk<'w> {
    template: &'w Template,
    /// The parameters of the template's function that is being looked at.
    function: Option<&'w [String]>,
    used: HashSet<Use>,
    checked: &'w mut Checked,
}

impl Walk<'_> {
    fn value(&mut self, value: &Value, trail: &Trail<'_>) {
        match value {
            Value::String(text) if is_expression(text) => match self.template.expression(text) {
                Ok(expression) => self.expression(&expression, trail),
                Err(error) => self.error(trail, error.at, format!("the expression is not valid: {}", error.problem)),
            },
            Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| self.value(item, &trail.index(index))),
            Value::Object(map) => {
                let nested = member(value, "properties").filter(|_| {
                    member(value, "type")
                        .and_then(Value::as_str)
                        .is_some_and(|kind| kind.eq_ignore_ascii_case("Microsoft.Resources/deployments"))
                });
                for (key, item) in map {
                    let trail = trail.key(key);
                    match nested {
                        Some(_) if key.eq_ignore_ascii_case("properties") => self.nested(item, &trail),
                        _ => self.value(item, &trail),
                    }
                }
            }
            _ => {}
        }
    }

    /// A nested deployment: its template sees its own names or, in the outer scope, ours.
    fn nested(&mut self, properties: &Value, trail: &Trail<'_>) {
        let options =
            member(properties, "expressionEvaluationOptions").and_then(|options| member(options, "scope")).and_then(Value::as_str);
        let inner = options.is_some_and(|scope| scope.eq_ignore_ascii_case("inner"));
        for (key, item) in properties.as_object().into_iter().flatten() {
            let trail = trail.key(key);
            if !key.eq_ignore_ascii_case("template") {
                self.value(item, &trail);
            } else if inner {
                let (template, findings) = Template::read(self.template.document.clone(), trail.to_string(), item.clone());
                self.checked.refuse(findings);
                check(&template, self.checked);
            } else {
                // Its own parameters and variables have no meaning in the outer scope.
                for section in ["resources", "outputs"] {
                    if let Some(value) = member(item, section) {
                        self.value(value, &trail.key(section));
                    }
                }
            }
        }
    }

    fn error(&mut self, trail: &Trail<'_>, offset: usize, message: String) {
        if self.checked.full() {
            return;
        }
        let path = trail.to_string();
        let document = &self.template.document;
        let position = document.position_within(&path, Some(offset));
        // Unlike what evaluation finds, several faults of one string are told.
        let finding = Finding { code: "InvalidTemplate", file: document.file(&path), position, path, message };
        if !self.checked.errors.contains(&finding) {
            self.checked.errors.push(finding);
        }
    }

    fn expression(&mut self, expression: &Expression, trail: &Trail<'_>) {
        let mut calls = Vec::new();
        expression.calls(&mut |call| calls.push(call));
        for call in calls {
            self.call(call, trail);
        }
    }

    fn call(&mut self, call: &Call, trail: &Trail<'_>) {
        // Looking for the nearest name costs more than all the rest.
        if self.checked.full() {
            return;
        }
        let given = call.arguments.len();
        if let Some(namespace) = &call.namespace {
            let name = format!("{namespace}.{}", call.name);
            match self.template.function(&name) {
                None => {
                    let known = self.template.functions.iter().map(|function| function.name.as_str());
                    self.error(trail, call.at, format!("the template has no function '{name}'{}", nearest(&name, known)));
                }
                Some(function) if function.parameters.len() != given => {
                    let message = format!("the function '{name}' takes {} argument(s), {given} were given", function.parameters.len());
                    self.error(trail, call.at, message);
                }
                Some(_) => {}
            }
            return;
        }
        match call.function {
            None => self.error(trail, call.at, unknown(&call.name)),
            Some(function) if !function.takes(given) => self.error(trail, call.at, signature(function, given)),
            Some(function) => match (function.name, call.arguments.first()) {
                ("parameters", Some(Expression::Text(name))) => self.parameter(name, call, trail),
                ("variables", Some(Expression::Text(name))) => self.variable(name, call, trail),
                // Which one is meant is known only when it runs.
                ("parameters", _) => self.used.extend(self.template.parameters.iter().map(|p| (true, p.name.to_ascii_lowercase()))),
                ("variables", _) => self.used.extend(self.template.variables.iter().map(|v| (false, v.name.to_ascii_lowercase()))),
                _ => {}
            },
        }
    }

    fn parameter(&mut self, name: &str, call: &Call, trail: &Trail<'_>) {
        if let Some(own) = self.function {
            if !own.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                self.error(
                    trail,
                    call.at,
                    format!("the function has no parameter '{name}'{}", nearest(name, own.iter().map(String::as_str))),
                );
            }
            return;
        }
        self.used.insert((true, name.to_ascii_lowercase()));
        if self.template.parameter(name).is_none() {
            let hint = nearest(name, self.template.parameters.iter().map(|parameter| parameter.name.as_str()));
            self.error(trail, call.at, format!("the template parameter '{name}' is not found{hint}"));
        }
    }

    fn variable(&mut self, name: &str, call: &Call, trail: &Trail<'_>) {
        self.used.insert((false, name.to_ascii_lowercase()));
        if !self.template.variable_index.contains_key(&name.to_ascii_lowercase()) {
            let hint = nearest(name, self.template.variables.iter().map(|variable| variable.name.as_str()));
            self.error(trail, call.at, format!("the template variable '{name}' is not found{hint}"));
        }
    }
}
