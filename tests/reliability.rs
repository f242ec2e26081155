//! What must hold when things go wrong: cancellation, retry by cause, faults by chance, secrets, foreign text.

mod cancel;
mod chaos;
mod endings;
pub mod fast_host;
mod foreign_text;
mod hosts;
mod retry;
mod secrets;
mod stories;
