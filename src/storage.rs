//! Microsoft.Storage: accounts and their keys; blobs, by addresses that those sign.
//!
//! Requests are built here and answers read; [`copy::wait`] follows a copy to its end. Which blobs are meant is the factory's to know.

pub mod account;
pub mod blob;
pub mod copy;
mod signature;

use crate::arm::ApiVersion;

/// The version of the provider that all requests ask for.
pub const API_VERSION: ApiVersion = ApiVersion("2023-05-01");
/// The version of the blob service, and of the format of signatures.
pub const SERVICE_VERSION: &str = "2021-08-06";
