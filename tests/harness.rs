//! What every test stands on: an emulator in process, a host that records.
