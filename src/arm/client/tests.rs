//! The client over a scripted host.
