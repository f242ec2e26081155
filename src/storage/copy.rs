//! Follows a copy to its end.

use std::time::Duration;

use super::{
    account::Account,
    blob::{Container, Copy, CopyStatus},
};
use crate::arm::{Client, Error, operation::interval};

/// Where a copy arrives.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The account.
    pub account: &'a Account,
    /// The container.
    pub container: &'a str,
    /// The blob.
    pub blob: &'a str,
}

impl Target<'_> {
    /// The container, with addresses signed from now on.
    pub fn container(&self, client: &Client) -> Container<'_> {
        Container { account: self.account, name: self.container, now: client.host().now() }
    }
}

/// The copy that a blob comes from; `None` when there is no such blob, or it is no copy.
pub async fn look(client: &Client, target: Target<'_>) -> Result<Option<Copy>, Error> {
    match client.send_outside(&target.container(client).properties(target.blob)).await {
        Ok(response) => Ok(Copy::read(&response)),
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until a copy is whole. `observe` is told of it at each look.
pub async fn wait(client: &Client, target: Target<'_>, deadline: Duration, observe: &(dyn Fn(&Copy) + Send + Sync)) -> Result<(), Error> {
    let begun = client.host().elapsed();
    let describe = target.container(client).properties(target.blob).describe();
    loop {
        let copy = look(client, target).await?;
        let elapsed = client.host().elapsed().saturating_sub(begun);
        let ended = |problem: String| Err(Error::Answer { request: describe.clone(), problem });
        let Some(copy) = copy else { return ended("the blob is gone, or is no copy".to_owned()) };
        observe(&copy);
        match copy.status {
            CopyStatus::Success => return Ok(()),
            CopyStatus::Pending if elapsed >= deadline => {
                let status = format!("{} of {} bytes copied", copy.arrived, copy.total);
                return Err(Error::DeadlineExceeded { resource: target.blob.to_owned(), operation_url: None, status, waited: elapsed });
            }
            CopyStatus::Pending => client.sleep_during(interval(elapsed, None).min(deadline.saturating_sub(elapsed)), &describe).await?,
            CopyStatus::Aborted => return ended("somebody has aborted the copy".to_owned()),
            CopyStatus::Failed => return ended(format!("the copy failed: {}", copy.description)),
        }
    }
}

/// Ends a copy that is under way and deletes what has arrived.
pub async fn abort(client: &Client, target: Target<'_>) -> Result<(), Error> {
    let Some(copy) = look(client, target).await? else { return Ok(()) };
    let container = target.container(client);
    if copy.status == CopyStatus::Pending {
        match client.send_outside(&container.abort(target.blob, &copy.id)).await {
            // It ended by itself meanwhile.
            Err(error) if error.status() != Some(409) => return Err(error),
            _ => {}
        }
    }
    client.send_outside(&container.delete(target.blob)).await.map(|_| ())
}
