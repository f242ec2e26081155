//! The emulator, by plain requests.
