//! The emulator, by plain requests: what a client sees on the wire.

#![allow(clippy::needless_pass_by_value, reason = "bodies written in place read better without a reference")]
#![allow(clippy::print_stderr, reason = "a test that skips says so")]

mod authorization;
mod blobs;
mod chance;
pub mod client;
mod compute;
mod deployments;
mod environments;
mod images;
mod lab_resources;
mod machines;
mod manners;
mod network;
mod resources;
mod seeds;
mod sign_in;
mod slow;
mod state;
mod what_if;
