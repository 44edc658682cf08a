//! The re-export map under `cfg(sim)`: tokio's names, each from the crate of ours or the real one that has
//! it, behind the same feature.
//!
//! Must not hold behaviour. Invariant: what is not here does not exist in a simulation build, so that its
//! use is a compile error and never a silent difference.

#[cfg(feature = "net")]
pub use shim_net::mirror as net;

#[cfg(feature = "time")]
pub use shim_time as time;

#[cfg(feature = "rt")]
pub use shim_runtime::task::spawn;

#[cfg(feature = "sync")]
pub use real::sync;

pub mod io;

#[cfg(feature = "rt")]
pub mod runtime;

#[cfg(feature = "rt")]
pub mod task;

#[cfg(feature = "fs")]
pub use shim_fs::mirror as fs;

#[cfg(feature = "process")]
pub mod process;
#[cfg(feature = "signal")]
pub mod signal;

/// Streams are in `tokio-stream`, as with tokio.
pub mod stream {}

pub use real::pin;
#[cfg(feature = "rt")]
pub use real::task_local;

#[doc(hidden)]
pub mod macros;
#[cfg(all(feature = "macros", feature = "rt"))]
pub use real::main;
#[cfg(feature = "macros")]
pub use real::{join, try_join};
#[cfg(all(feature = "macros", feature = "rt-multi-thread"))]
pub use shim_macros::test;
#[cfg(all(feature = "macros", feature = "rt", not(feature = "rt-multi-thread")))]
pub use shim_macros::test_rt as test;
