//! What must hold when things go wrong: cancellation, retry by cause, faults by chance, secrets, foreign text.

mod cancel;
mod chaos;
mod fast_host;
mod foreign_text;
mod retry;
mod secrets;
