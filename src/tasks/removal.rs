//! Deleting, the same for all that can be deleted: what is not there is a warning, and the task waits until it is gone.

use std::time::Duration;

use super::{
    error::Error,
    session::{Done, Session, Undertaking},
};
use crate::arm::{Request, ResourceId};

/// What to delete.
pub struct Removal<'a> {
    /// What it is, such as `virtual machine`.
    pub noun: &'static str,
    /// Its id.
    pub id: &'a ResourceId,
    /// The request that looks whether it is there.
    pub get: Request,
    /// The request that deletes it.
    pub delete: Request,
}

/// How long a deletion usually takes.
const USUALLY: Duration = Duration::from_mins(3);

/// Deletes it, and waits until it is gone.
pub async fn remove(session: &Session<'_>, removal: &Removal<'_>) -> Result<Done, Error> {
    let what = format!("{} '{}'", removal.noun, removal.id.name());
    if session.find(format!("look for the {what}"), removal.get.clone()).await?.is_none() {
        session.agent.warning(&format!("the {what} is not in lab '{}': there is nothing to delete ({})", session.lab.name(), removal.id));
        return Ok(Done::with_issues(format!("The {what} was not there.")));
    }
    session.agent.info(&format!("Deleting the {what}: {}", removal.id));
    delete(session, removal).await?;
    let message = format!("The {what} is deleted.");
    session.agent.info(&message);
    session.summarize(
        format!("Deleted {what}"),
        vec![("Id".to_owned(), removal.id.to_string()), ("Lab".to_owned(), session.lab.to_string())],
        &[("Lab in the portal", session.lab.id().as_str())],
    );
    Ok(Done::succeeded(message))
}

/// Deletes it without a look first; that it has gone meanwhile is well.
pub async fn delete(session: &Session<'_>, removal: &Removal<'_>) -> Result<(), Error> {
    let what = format!("{} '{}'", removal.noun, removal.id.name());
    let result = session
        .complete(Undertaking {
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
        Err(Error::Azure { source, .. }) if source.status() == Some(404) => Ok(()),
        other => other.map(|_| ()),
    }
}
