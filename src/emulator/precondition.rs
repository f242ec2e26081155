//! `If-Match` and `If-None-Match`: whether a change is for the resource that its sender saw.

use super::{
    error::ApiError,
    world::{Call, World},
};

/// Refuses a change whose preconditions do not hold.
pub fn check(world: &World, call: &Call<'_>) -> Result<(), ApiError> {
    if !matches!(call.method(), "PUT" | "PATCH" | "DELETE") {
        return Ok(());
    }
    let (wanted, unwanted) = (call.request.header("if-match"), call.request.header("if-none-match"));
    if wanted.is_none() && unwanted.is_none() {
        return Ok(());
    }
    let found = world.store.get(call.request.path.trim_end_matches('/'));
    let etag = found.as_ref().and_then(|found| found.body["etag"].as_str().or_else(|| found.body["properties"]["etag"].as_str()));
    let matches = |tags: &str| match (found.is_some(), etag) {
        (false, _) => false,
        // What has no tag of its own is matched by any.
        (true, None) => true,
        (true, Some(etag)) => tags.split(',').any(|tag| plain(tag) == "*" || plain(tag) == plain(etag)),
    };
    let problem = match (wanted, unwanted) {
        (Some(tags), _) if !matches(tags) => format!("The etag '{tags}' of the 'If-Match' header does not match the resource's."),
        (_, Some("*")) if found.is_some() => "The resource exists already, and the request's 'If-None-Match' header is '*'.".to_owned(),
        (_, Some(tags)) if etag.is_some() && matches(tags) => {
            format!("The etag '{tags}' of the 'If-None-Match' header matches the resource's.")
        }
        _ => return Ok(()),
    };
    Err(ApiError::new(412, "PreconditionFailed", format!("Precondition failed. {problem}")))
}

/// Weak and strong tags, with and without quotes, are the same to Azure's providers.
fn plain(tag: &str) -> &str {
    tag.trim().trim_start_matches("W/").trim_matches('"')
}
