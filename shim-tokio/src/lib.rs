//! The drop-in `tokio`: two `cfg` arms and nothing else.
//!
//! Built as usual this crate is the real tokio, re-exported unchanged. Built with `--cfg sim` it is the
//! simulation. Invariant: without `cfg(sim)` not one line of ours is compiled.
#![cfg_attr(sim, deny(unsafe_code))]

#[cfg(not(sim))]
pub use real::*;

#[cfg(sim)]
mod simulated;
#[cfg(sim)]
pub use simulated::*;

#[cfg(sim)]
pub mod sim;
