//! The socket half of the host layer. For now only what the mirror of `tokio::net` needs of it.
//!
//! Owns the descriptors of simulated sockets. Must not know protocols. Invariant: all `unsafe` of the crate
//! is in this folder.

pub mod fd;
mod from_raw;
