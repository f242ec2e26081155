//! Evaluation: values of a template in a scope of parameters, variables, functions, loops and lambdas.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use serde_json::{Map, Value};

use super::{
    Context, Runtime,
    declare::Template,
    deployment::Index,
    expression::{Accessor, Call, Expression, Text, classify},
    fault::{Budget, Fault, MAX_FINDINGS},
    functions::{Arguments, Run, describe, get, signature},
    path::{self, Trail},
};

/// How deep evaluation may go through calls, variables, parameters and functions together.
const MAX_DEPTH: usize = 160;
/// What a value weighs on the work budget, besides its text.
const NODE: usize = 48;

pub(crate) type Evaluated<'s> = Result<Cow<'s, Value>, Fault>;

/// A parameter's value as given to a deployment.
#[derive(Clone, Debug)]
pub(crate) enum Argument {
    Value(Value),
    /// A value that is not known here, and why.
    Unknown(String),
    /// A value that an expression of the outer template will have, which is not known here.
    Later(String),
}

/// The names that a template's expressions see, and their values as far as they were asked for.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) template: Arc<Template>,
    pub(crate) context: Context,
    /// By name in lower case.
    pub(crate) arguments: HashMap<String, Argument>,
    parameters: Vec<OnceLock<Value>>,
    variables: Vec<OnceLock<Value>>,
    pub(crate) budget: Arc<Budget>,
}

impl Scope {
    pub(crate) fn new(template: Arc<Template>, context: Context, arguments: HashMap<String, Argument>, budget: Arc<Budget>) -> Self {
        let parameters = template.parameters.iter().map(|_| OnceLock::new()).collect();
        let variables = template.variables.iter().map(|_| OnceLock::new()).collect();
        Self { template, context, arguments, parameters, variables, budget }
    }
}

/// One walk over a template.
pub(crate) struct Evaluator<'e> {
    pub(crate) runtime: &'e dyn Runtime,
    /// With it, an expression that cannot be resolved stays as it stands and is noted here.
    pub(crate) unresolved: Option<&'e RefCell<HashSet<String>>>,
    /// With it, an expression that is wrong is noted here and counts as one that cannot be resolved.
    faults: Option<&'e RefCell<Vec<Fault>>>,
    depth: Cell<usize>,
    underway: RefCell<Vec<(&'static str, usize, usize)>>,
}

impl<'e> Evaluator<'e> {
    pub(crate) fn new(runtime: &'e dyn Runtime) -> Self {
        Self { runtime, unresolved: None, faults: None, depth: Cell::new(0), underway: RefCell::default() }
    }

    pub(crate) fn noting(runtime: &'e dyn Runtime, unresolved: &'e RefCell<HashSet<String>>) -> Self {
        Self { unresolved: Some(unresolved), ..Self::new(runtime) }
    }

    pub(crate) fn collecting(runtime: &'e dyn Runtime, unresolved: &'e RefCell<HashSet<String>>, faults: &'e RefCell<Vec<Fault>>) -> Self {
        Self { faults: Some(faults), ..Self::noting(runtime, unresolved) }
    }

    fn descend<T>(&self, run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        let depth = self.depth.get();
        if depth >= MAX_DEPTH {
            return Err(Fault::new(format!("functions, variables and parameters lead more than {MAX_DEPTH} deep into each other")));
        }
        self.depth.set(depth + 1);
        let result = run();
        self.depth.set(depth);
        result
    }
}

/// Where an expression stands: some functions are allowed in some places only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A parameter's default value: `newGuid` and `utcNow` are allowed here alone.
    Default,
    /// Variables, names, conditions, counts: settled before the first resource is deployed.
    Before,
    /// A resource's body or an output: what a running deployment can tell is allowed.
    During,
    /// The output of a function of the template's.
    Function,
}

/// A turn of a copy loop.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) name: String,
    pub(crate) index: i64,
    /// A loop over a property's values, whose index must be asked for by name.
    pub(crate) property: bool,
}

/// A lambda's variable.
pub(crate) struct Bound<'f> {
    pub(crate) name: &'f str,
    pub(crate) value: &'f Value,
    pub(crate) outer: Option<&'f Bound<'f>>,
}

/// What an expression sees.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'f> {
    pub(crate) evaluator: &'f Evaluator<'f>,
    pub(crate) scope: &'f Scope,
    /// The resources of the deployment, once they are known.
    pub(crate) index: Option<&'f Index>,
    pub(crate) place: Place,
    pub(crate) turns: &'f [Turn],
    pub(crate) bound: Option<&'f Bound<'f>>,
    /// The parameters of the template's function that is being evaluated, by name in lower case.
    pub(crate) function: Option<&'f HashMap<String, Value>>,
}

impl<'f> Frame<'f> {
    pub(crate) fn new(evaluator: &'f Evaluator<'f>, scope: &'f Scope, place: Place) -> Self {
        Self { evaluator, scope, index: None, place, turns: &[], bound: None, function: None }
    }

    pub(crate) fn charge(&self, bytes: usize) -> Result<(), Fault> {
        self.scope.budget.charge(bytes)
    }

    /// A value of the template's JSON with every expression in it evaluated and every property loop expanded.
    pub(crate) fn value(&self, value: &Value, trail: &Trail<'_>) -> Result<Value, Fault> {
        self.charge(NODE)?;
        match value {
            Value::String(text) => self.text(text, trail),
            Value::Array(items) => {
                items.iter().enumerate().map(|(i, item)| self.value(item, &trail.index(i))).collect::<Result<_, _>>().map(Value::Array)
            }
            Value::Object(map) => self.object(map, trail).map(Value::Object),
            other => {
                self.charge(weight(other))?;
                Ok(other.clone())
            }
        }
    }

    fn object(&self, map: &Map<String, Value>, trail: &Trail<'_>) -> Result<Map<String, Value>, Fault> {
        let mut result = Map::with_capacity(map.len());
        for (key, item) in map {
            let trail = trail.key(key);
            if let Some(loops) = loops(key, item) {
                for (i, each) in loops.iter().enumerate() {
                    let trail = trail.index(i);
                    let name = each.get("name").and_then(Value::as_str).unwrap_or_default();
                    result.insert(name.to_owned(), self.looped(each, name, &trail)?);
                }
            } else {
                self.charge(NODE + key.len())?;
                result.insert(key.clone(), self.value(item, &trail)?);
            }
        }
        Ok(result)
    }

    /// `{"name", "count", "input"}`, expanded.
    pub(crate) fn looped(&self, each: &Value, name: &str, trail: &Trail<'_>) -> Result<Value, Fault> {
        let count = self.count(each.get("count").unwrap_or(&Value::Null), trail)?;
        let input = each.get("input").unwrap_or(&Value::Null);
        let mut turns = self.turns.to_vec();
        turns.push(Turn { name: name.to_owned(), index: 0, property: self.place == Place::During });
        let mut items = Vec::new();
        for index in 0..count {
            if let Some(turn) = turns.last_mut() {
                turn.index = index;
            }
            items.push(Frame { turns: &turns, ..*self }.value(input, &trail.key("input"))?);
        }
        Ok(Value::Array(items))
    }

    /// A copy loop's count.
    pub(crate) fn count(&self, count: &Value, trail: &Trail<'_>) -> Result<i64, Fault> {
        let trail = trail.key("count");
        let evaluated = Frame { place: Place::Before, ..*self }.value(count, &trail)?;
        let place = |fault: Fault| fault.placed(&self.scope.template.document, &|| trail.to_string());
        let Some(number) = evaluated.as_i64() else {
            return Err(place(Fault::new(format!("the copy count must be an integer, found {}", describe(&evaluated)))));
        };
        if !(0..=MAX_COPIES).contains(&number) {
            return Err(place(Fault::new(format!("the copy count is {number}, it must be between 0 and {MAX_COPIES}"))));
        }
        Ok(number)
    }

    fn text(&self, text: &str, trail: &Trail<'_>) -> Result<Value, Fault> {
        self.charge(text.len())?;
        let expression = match classify(text) {
            Text::Literal(text) | Text::Escaped(text) => return Ok(Value::String(text.to_owned())),
            Text::Expression(expression) => expression,
        };
        let result = self
            .scope
            .template
            .expression(expression)
            .map_err(|error| Fault::new(format!("the expression is not valid: {}", error.problem)).at(error.at))
            .and_then(|parsed| self.evaluate(&parsed).map(|value| (weight(&value), value.into_owned())));
        match result {
            Ok((weight, value)) => {
                self.charge(weight)?;
                Ok(value)
            }
            Err(fault) if fault.is_unresolved() && self.evaluator.unresolved.is_some() && self.place == Place::During => {
                self.leave(text, fault)
            }
            Err(fault) => {
                let fault = fault.placed(&self.scope.template.document, &|| trail.to_string());
                self.leave(text, fault)
            }
        }
    }

    /// Leaves an expression as it stands, where that is what the walk is for.
    fn leave(&self, text: &str, fault: Fault) -> Result<Value, Fault> {
        let evaluator = self.evaluator;
        let (Some(noted), Place::During) = (evaluator.unresolved, self.place) else { return Err(fault) };
        match evaluator.faults {
            _ if fault.is_unresolved() => {}
            Some(faults) if faults.borrow().len() < MAX_FINDINGS => faults.borrow_mut().push(fault),
            _ => return Err(fault),
        }
        let text = self.origin(text).unwrap_or(text);
        noted.borrow_mut().insert(text.to_owned());
        Ok(Value::String(text.to_owned()))
    }

    /// The expression of the outer template that an expression hands on, when it is nothing but a parameter.
    fn origin(&self, text: &str) -> Option<&'f str> {
        let Text::Expression(expression) = classify(text) else { return None };
        let parsed = self.scope.template.expression(expression).ok()?;
        let Expression::Call(call) = parsed.as_ref() else { return None };
        let (Some("parameters"), [Expression::Text(name)]) = (call.function.map(|function| function.name), call.arguments.as_slice())
        else {
            return None;
        };
        match self.scope.arguments.get(&name.to_ascii_lowercase()) {
            Some(Argument::Later(expression)) => Some(expression),
            _ => None,
        }
    }

    /// An expression's value.
    pub(crate) fn evaluate(&self, expression: &Expression) -> Evaluated<'f> {
        self.charge(8)?;
        match expression {
            Expression::Text(text) => {
                self.charge(text.len())?;
                Ok(Cow::Owned(Value::String(text.clone())))
            }
            Expression::Integer(number) => Ok(Cow::Owned(Value::from(*number))),
            Expression::Call(call) => self.evaluator.descend(|| self.call(call)).map_err(|fault| fault.at(call.at)),
            Expression::Access(..) if self.scope.context.template_link.is_none() && expression.template_address().is_some() => {
                Err(Fault::unresolved("the template has no address, it was not downloaded from anywhere: pass '_artifactsLocation'"))
            }
            Expression::Access(base, steps) => {
                let mut value = self.evaluate(base)?;
                for step in steps {
                    value = self.access(value, step)?;
                }
                Ok(value)
            }
        }
    }

    fn access(&self, value: Cow<'f, Value>, step: &Accessor) -> Evaluated<'f> {
        match step {
            Accessor::Property(name, at) => property(value, name).map_err(|message| Fault::new(message).at(*at)),
            Accessor::Index(index, at) => {
                let index = self.evaluate(index)?;
                let found = match index.as_ref() {
                    Value::String(name) => property(value, name),
                    number if number.is_number() => element(value, number.as_i64().unwrap_or(-1)),
                    other => Err(format!("an index must be an integer or a property's name, found {}", describe(other))),
                };
                found.map_err(|message| Fault::new(message).at(*at))
            }
        }
    }

    fn call(&self, call: &Call) -> Evaluated<'f> {
        if let Some(namespace) = &call.namespace {
            return self.user_function(namespace, call);
        }
        let Some(function) = call.function else {
            return Err(Fault::new(super::functions::unknown(&call.name)));
        };
        if !function.takes(call.arguments.len()) {
            return Err(Fault::new(signature(function, call.arguments.len())));
        }
        match function.run {
            Run::Special(run) => run(self, call),
            Run::Pure(run) => {
                let values = self.arguments(call)?;
                let result = run(&Arguments { values: &values })
                    .map_err(|problem| Fault::new(format!("the template function '{}' failed: {problem}", function.name)))?;
                self.charge(weight(&result))?;
                Ok(Cow::Owned(result))
            }
        }
    }

    /// The values of a call's arguments.
    pub(crate) fn arguments(&self, call: &Call) -> Result<Vec<Cow<'f, Value>>, Fault> {
        call.arguments.iter().map(|argument| self.evaluate(argument)).collect()
    }

    fn user_function(&self, namespace: &str, call: &Call) -> Evaluated<'f> {
        let name = format!("{namespace}.{}", call.name);
        let template = &self.scope.template;
        let Some(function) = template.function(&name) else {
            let hint = super::functions::nearest(&name, template.functions.iter().map(|f| f.name.as_str()));
            return Err(Fault::new(format!("the template has no function '{name}'{hint}")));
        };
        if call.arguments.len() != function.parameters.len() {
            return Err(Fault::new(format!(
                "the function '{}' takes {} argument(s), {} were given",
                function.name,
                function.parameters.len(),
                call.arguments.len()
            )));
        }
        let mut values = HashMap::new();
        for (parameter, value) in function.parameters.iter().zip(self.arguments(call)?) {
            self.charge(weight(&value))?;
            values.insert(parameter.to_ascii_lowercase(), value.into_owned());
        }
        let frame = Frame { place: Place::Function, turns: &[], bound: None, function: Some(&values), ..*self };
        let path = path::join(&function.path, "output");
        let path = path::join(&path, "value");
        frame.value(&function.output, &Trail::Start(&path)).map(Cow::Owned)
    }

    /// `parameters('name')`.
    pub(crate) fn parameter(&self, name: &str) -> Evaluated<'f> {
        let key = name.to_ascii_lowercase();
        if let Some(function) = self.function {
            return match function.get(&key) {
                Some(value) => {
                    self.charge(weight(value))?;
                    Ok(Cow::Owned(value.clone()))
                }
                None => Err(Fault::new(format!("the function has no parameter '{name}'; a function sees its own parameters only"))),
            };
        }
        let template = &self.scope.template;
        let Some(&index) = template.parameter_index.get(&key) else {
            let hint = super::functions::nearest(name, template.parameters.iter().map(|p| p.name.as_str()));
            return Err(Fault::new(format!("the template parameter '{name}' is not found{hint}")));
        };
        match self.scope.arguments.get(&key) {
            Some(Argument::Value(value)) => return Ok(Cow::Borrowed(value)),
            Some(Argument::Unknown(why)) => return Err(Fault::unresolved(why.clone())),
            Some(Argument::Later(expression)) => return Err(Fault::unresolved(format!("'{expression}' is not known here"))),
            None => {}
        }
        if let Some(value) = self.scope.parameters[index].get() {
            return Ok(Cow::Borrowed(value));
        }
        let parameter = &template.parameters[index];
        let value = match &parameter.default_value {
            None if parameter.nullable => Value::Null,
            None => return Err(Fault::unresolved(format!("the value for the template parameter '{}' is not provided", parameter.name))),
            Some(default) => self.once("parameter", index, name, || {
                let frame = Frame { place: Place::Default, turns: &[], bound: None, ..*self };
                frame.value(default, &Trail::Start(&path::join(&parameter.path, "defaultValue")))
            })?,
        };
        Ok(Cow::Borrowed(self.scope.parameters[index].get_or_init(|| value)))
    }

    /// `variables('name')`.
    pub(crate) fn variable(&self, name: &str) -> Evaluated<'f> {
        if self.function.is_some() {
            return Err(Fault::new("a function of the template cannot read its variables"));
        }
        if self.place == Place::Default {
            return Err(Fault::new("a parameter's default value cannot read variables"));
        }
        let template = &self.scope.template;
        let Some(&index) = template.variable_index.get(&name.to_ascii_lowercase()) else {
            let hint = super::functions::nearest(name, template.variables.iter().map(|v| v.name.as_str()));
            return Err(Fault::new(format!("the template variable '{name}' is not found{hint}")));
        };
        if let Some(value) = self.scope.variables[index].get() {
            return Ok(Cow::Borrowed(value));
        }
        let variable = &template.variables[index];
        let value = self.once("variable", index, name, || {
            let frame = Frame { place: Place::Before, turns: &[], bound: None, ..*self };
            let trail = Trail::Start(&variable.path);
            if variable.looped { frame.looped(&variable.value, &variable.name, &trail) } else { frame.value(&variable.value, &trail) }
        })?;
        Ok(Cow::Borrowed(self.scope.variables[index].get_or_init(|| value)))
    }

    /// Evaluates a name's value, unless that is what is being done already.
    fn once(&self, kind: &'static str, index: usize, name: &str, run: impl FnOnce() -> Result<Value, Fault>) -> Result<Value, Fault> {
        let underway = (kind, std::ptr::from_ref(self.scope) as usize, index);
        if self.evaluator.underway.borrow().contains(&underway) {
            return Err(Fault::new(format!("the template {kind} '{name}' refers to itself")));
        }
        self.evaluator.underway.borrow_mut().push(underway);
        let value = run();
        self.evaluator.underway.borrow_mut().pop();
        value
    }
}

/// The most turns that a copy loop may have, and the most resources that a template may.
pub(crate) const MAX_COPIES: i64 = 800;

/// The loops of an object's `copy` property.
pub(crate) fn loops<'v>(key: &str, item: &'v Value) -> Option<&'v Vec<Value>> {
    let list = item.as_array().filter(|list| key.eq_ignore_ascii_case("copy") && !list.is_empty())?;
    list.iter().all(|each| ["name", "count", "input"].iter().all(|part| each.get(part).is_some())).then_some(list)
}

/// What a value weighs on the work budget.
pub(crate) fn weight(value: &Value) -> usize {
    NODE + match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(number) => number.as_str().len(),
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(map) => map.iter().map(|(key, item)| NODE + key.len() + weight(item)).sum(),
    }
}

fn property<'s>(value: Cow<'s, Value>, name: &str) -> Result<Cow<'s, Value>, String> {
    let missing = |map: &Map<String, Value>| {
        let available: Vec<&str> = map.keys().map(String::as_str).take(30).collect();
        format!("the property '{name}' doesn't exist, available properties are '{}'", available.join(", "))
    };
    match value {
        Cow::Borrowed(Value::Object(map)) => get(map, name).map(Cow::Borrowed).ok_or_else(|| missing(map)),
        Cow::Owned(Value::Object(mut map)) => {
            let key =
                if map.contains_key(name) { Some(name.to_owned()) } else { map.keys().find(|k| k.eq_ignore_ascii_case(name)).cloned() };
            key.and_then(|key| map.get_mut(&key).map(Value::take)).map(Cow::Owned).ok_or_else(|| missing(&map))
        }
        other => Err(format!("the property '{name}' can't be selected from {}", describe(&other))),
    }
}

fn element(value: Cow<'_, Value>, index: i64) -> Result<Cow<'_, Value>, String> {
    let at = usize::try_from(index).unwrap_or(usize::MAX);
    let out = |length: usize| format!("the array index '{index}' is out of bounds, the array has {length} element(s)");
    match value {
        Cow::Borrowed(Value::Array(items)) => items.get(at).map(Cow::Borrowed).ok_or_else(|| out(items.len())),
        Cow::Owned(Value::Array(mut items)) => {
            let length = items.len();
            items.get_mut(at).map(|item| Cow::Owned(item.take())).ok_or_else(|| out(length))
        }
        other => Err(format!("an element can't be selected from {}", describe(&other))),
    }
}
