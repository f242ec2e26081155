//! Deleting, the same for all that can be deleted: what is not there is a warning, and the task waits until it is gone.

use std::time::Duration;

use super::{
    error::{Error, Problems},
    session::{Desk, Done, NO_CONTENT, Session, Undertaking, common_inputs},
};
use crate::{
    arm::{Request, ResourceId},
    devtestlab::Kind,
};

/// What to delete.
pub struct Removal<'a> {
    /// What it is, such as `virtual machine`.
    pub noun: &'static str,
    /// Its id.
    pub id: &'a ResourceId,
    /// The request that deletes it.
    pub delete: Request,
}

/// How long a deletion usually takes.
const USUALLY: Duration = Duration::from_mins(3);

/// Runs the task that deletes what an input names by its id, or by its name in the lab.
pub async fn run(
    desk: Desk<'_>,
    input: &'static str,
    kind: Kind,
    noun: &'static str,
    delete: fn(&ResourceId) -> Request,
) -> Result<Done, Error> {
    let mut problems = Problems::default();
    let (lab, common) = common_inputs(desk.agent, &mut problems);
    let id = super::member_input(desk.agent, &mut problems, lab.as_ref(), input, kind);
    let (common, id) = problems.finish(common.zip(id))?;
    let session = Session::open(desk, common).await?;
    remove(&session, &Removal { noun, id: &id, delete: delete(&id) }).await
}

/// Deletes it, and waits until it is gone.
///
/// Azure itself tells when it was not there (204, or 404), so that nothing is asked before.
pub async fn remove(session: &Session<'_>, removal: &Removal<'_>) -> Result<Done, Error> {
    let what = format!("{} '{}'", removal.noun, removal.id.name());
    session.agent.info(&format!("Deleting the {what}: {}", removal.id));
    if !delete(session, removal).await? {
        session.agent.warning(&format!("the {what} is not in lab '{}': there is nothing to delete ({})", session.lab.name(), removal.id));
        return Ok(Done::with_issues(format!("The {what} was not there.")));
    }
    let message = format!("The {what} is deleted.");
    session.agent.info(&message);
    session.summarize(
        format!("Deleted {what}"),
        vec![("Id".to_owned(), removal.id.to_string()), ("Lab".to_owned(), session.lab.to_string())],
        &[("Lab in the portal", session.lab.id().as_str())],
    );
    Ok(Done::succeeded(message))
}

/// Deletes it, and tells whether it was there.
pub async fn delete(session: &Session<'_>, removal: &Removal<'_>) -> Result<bool, Error> {
    let what = format!("{} '{}'", removal.noun, removal.id.name());
    let result = session
        .carry_out(Undertaking {
            action: format!("delete the {what}"),
            noun: format!("deletion of the {what}"),
            id: removal.id,
            request: removal.delete.clone(),
            stop: None,
            // A deployment's record is none of the lab's.
            occupies: (!removal.id.is_type("Microsoft.Resources/deployments")).then_some(removal.id),
            usually: USUALLY,
        })
        .await;
    match result {
        Ok((status, _)) => Ok(status != NO_CONTENT),
        Err(Error::Azure { source, .. }) if source.is_missing() => Ok(false),
        Err(error) => Err(error),
    }
}
