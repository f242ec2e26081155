//! Deletes a custom image.

use super::{
    error::Error,
    removal,
    session::{Desk, Done},
};
use crate::devtestlab::{Kind, custom_image};

/// Runs the task.
pub async fn run(desk: Desk<'_>) -> Result<Done, Error> {
    removal::run(desk, "CustomImageId", Kind::CustomImage, "custom image", custom_image::delete).await
}
