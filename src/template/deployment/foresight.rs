//! A deployment as it can be shown before it runs: what asks for a secret, or for what only its course can tell, stays as it is written.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde_json::Value;

use super::{Deployment, Resource};
use crate::template::{
    Runtime,
    evaluate::{Argument, Evaluator, Scope},
};

/// A deployment's resources without its secrets.
#[derive(Debug)]
pub struct Foresight {
    deployment: Deployment,
    /// The ids that can be told, in lower case; of a deployment that is not nested all of them can.
    ids: Option<HashSet<String>>,
}

impl Deployment {
    /// The same deployment without its secrets.
    pub fn foresight(&self) -> Foresight {
        Foresight { deployment: self.given(self.scope.arguments.clone()), ids: None }
    }

    /// The same resources with other arguments, and none for secure parameters.
    fn given(&self, mut arguments: HashMap<String, Argument>) -> Self {
        let own = &self.scope;
        for parameter in own.template.parameters().iter().filter(|parameter| parameter.secure()) {
            arguments.insert(parameter.name.to_ascii_lowercase(), unknown());
        }
        Self {
            template: self.template.clone(),
            scope: Arc::new(Scope::new(own.template.clone(), own.context.clone(), arguments, own.budget.clone())),
            context: self.context.clone(),
            index: self.index.clone(),
            turns: self.turns.clone(),
            depth: self.depth,
        }
    }
}

impl Foresight {
    /// A resource's JSON as far as `runtime` can tell it; `None` where nothing can be told.
    pub fn body(&self, index: usize, runtime: &dyn Runtime) -> Option<Value> {
        let noted = RefCell::new(HashSet::new());
        self.deployment.body_with(index, &Evaluator::noting(runtime, &noted)).ok()
    }

    /// The nested deployment at `index`, of which is known what it comes to: `actual`.
    #[must_use]
    pub fn nested(&self, index: usize, runtime: &dyn Runtime, actual: &Deployment) -> Self {
        let noted = RefCell::new(HashSet::new());
        let (arguments, ids) = match self.deployment.nested_with(index, &Evaluator::noting(runtime, &noted)) {
            Ok(seen) => {
                let ids = seen.deployment.index.resources.iter().map(|resource| resource.id.to_ascii_lowercase());
                (seen.deployment.scope.arguments.clone(), ids.collect())
            }
            Err(_) => (actual.scope.arguments.keys().map(|name| (name.clone(), unknown())).collect(), HashSet::new()),
        };
        Self { deployment: actual.given(arguments), ids: Some(ids) }
    }

    /// Whether a resource's id can be told.
    pub fn identifies(&self, resource: &Resource) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.contains(&resource.id.to_ascii_lowercase()))
    }
}

fn unknown() -> Argument {
    Argument::Unknown("the value is not shown".to_owned())
}
