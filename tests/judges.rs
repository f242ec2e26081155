//! The judges of the emulator that were not written against its source: Azure's published descriptions, recorded traffic, Microsoft's own
//! SDKs and command line.

mod coverage;
mod routes;
pub mod schema;
pub mod sdk;
mod traces;
