//! Deletes a custom image.

use super::{
    error::{Error, Problems},
    removal,
    session::{Desk, Done, Session, common_inputs},
};
use crate::devtestlab::{Kind, custom_image};

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    let mut problems = Problems::default();
    let (lab, common) = common_inputs(desk.agent, &mut problems);
    let id = super::member_input(desk.agent, &mut problems, lab.as_ref(), "CustomImageId", Kind::CustomImage);
    let (common, id) = problems.finish(common.zip(id))?;
    let session = Session::open(desk, common).await?;
    removal::remove(&session, &removal::Removal { noun: "custom image", id: &id, delete: custom_image::delete(&id) }).await
}
