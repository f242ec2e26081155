//! Every task against the emulator in process.

mod manifests;
