//! The emulator, by plain requests: what a client sees on the wire.

mod client;
mod deployments;
mod environments;
mod images;
mod machines;
mod manners;
mod sign_in;
