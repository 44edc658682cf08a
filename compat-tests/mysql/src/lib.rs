//! A MySQL server for a test: ours on a node of its own in simulation, a real MariaDB over loopback otherwise.
//!
//! Owns starting it and the address. Must not know what tests do. Invariant: each test has an empty database to itself.

#[cfg(not(sim))]
mod real;
#[cfg(sim)]
mod simulated;

#[cfg(not(sim))]
pub use real::{MEANWHILE, database};
#[cfg(sim)]
pub use simulated::{HOST, MEANWHILE, database, database_of};

/// Skips a test, with a visible line, where there is no server to be had.
#[macro_export]
macro_rules! database_or_skip {
    () => {
        match $crate::database().await {
            Some(url) => url,
            None => return,
        }
    };
}
