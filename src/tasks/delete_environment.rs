//! Deletes an environment with its resource group.

use super::{
    environment::{self, Address},
    error::{Error, Problems},
    removal::{self, Removal},
    session::{Desk, Done, Session, common_inputs},
};
use crate::{arm::ResourceId, devtestlab};

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    let mut problems = Problems::default();
    let (lab, common) = common_inputs(desk.agent, &mut problems);
    let address = environment::address_input(desk.agent, &mut problems, lab.as_ref());
    let (common, address) = problems.finish(common.zip(address))?;
    let session = Session::open(desk, common).await?;
    let id: ResourceId = match &address {
        Address::Id(id) => id.clone(),
        Address::Name(name) => {
            let Some(found) = environment::find(&session, &address).await? else {
                session
                    .agent
                    .warning(&format!("no user of lab '{}' has an environment '{name}': there is nothing to delete", session.lab.name()));
                return Ok(Done::with_issues(format!("The environment '{name}' was not there.")));
            };
            found.id.parse().map_err(|error| Error::refused(format!("the environment's id cannot be used: {error}"), "report this"))?
        }
    };
    removal::remove(&session, &Removal { noun: "environment", id: &id, delete: devtestlab::environment::delete(&id) }).await
}
