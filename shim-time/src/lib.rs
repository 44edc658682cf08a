//! The mirror of `tokio::time` over the virtual clock, file by file as tokio has it.
//!
//! Owns the types; must not know the event queue's order or who else waits. Invariant: a timer fires at the
//! first whole millisecond of virtual time that is not before its deadline, as tokio's wheel does.
#![cfg(sim)]
#![forbid(unsafe_code)]

mod clock;
pub mod error;
mod instant;
mod interval;
mod sleep;
mod timeout;

pub use clock::{advance, pause, resume};
pub use instant::Instant;
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use sleep::{Sleep, sleep, sleep_until};
pub use std::time::Duration;
pub use timeout::{Timeout, timeout, timeout_at};
