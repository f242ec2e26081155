//! Every task against the emulator in process.
