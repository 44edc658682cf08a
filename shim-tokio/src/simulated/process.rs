//! Mirror of `tokio::process`: nothing of it exists in a simulation build yet (see SUPPORT.md).
//!
//! Invariant: a program that starts processes does not compile under `cfg(sim)`, rather than start real ones.
