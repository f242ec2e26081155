//! Sign-in over a scripted host.
