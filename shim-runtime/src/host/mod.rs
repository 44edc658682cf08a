//! The host layer of the engine: what goes around tokio and straight to the operating system.
//!
//! Owns every `unsafe` block of this crate. Each libc symbol defined here answers from the world inside a
//! simulation and makes the raw system call anywhere else. Invariant: outside a simulation a process
//! behaves as if this crate were not there.
#![allow(unsafe_code, reason = "this folder is where the crate meets the operating system")]

pub(crate) mod baton;
pub(crate) mod clock;
pub(crate) mod entropy;
pub(crate) mod futex;
pub(crate) mod identity;
mod kill;
mod mutex;
pub mod next;
pub(crate) mod process;
pub(crate) mod pthread;
pub mod raw;
pub(crate) mod spawn;
mod syscall;
pub(crate) mod tsc;
pub(crate) mod watchdog;

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    /// The engine itself is starting a thread.
    static OWN_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread belongs to a run: what the host layers ask before anything else.
pub fn in_run() -> bool {
    crate::context::in_run()
}

/// Fills `bytes` with entropy of the current node; false outside a simulation.
pub fn fill_entropy(bytes: &mut [u8]) -> bool {
    entropy::fill(bytes)
}

/// Whether the calling thread holds locks of C libraries.
pub(crate) fn holds_locks() -> bool {
    mutex::holds_any()
}

fn is_own_thread() -> bool {
    OWN_THREAD.try_with(Cell::get).unwrap_or(true)
}

/// Runs `f`, whose new threads are the engine's own.
pub(crate) fn without_notice<R>(f: impl FnOnce() -> R) -> R {
    OWN_THREAD.with(|own| own.set(true));
    let result = f();
    OWN_THREAD.with(|own| own.set(false));
    result
}

/// Sleeps in real time.
pub(crate) fn real_sleep(duration: Duration) {
    let request = libc::timespec {
        tv_sec: duration.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(duration.subsec_nanos() as i32),
    };
    // SAFETY: `request` is valid to read; no remainder is asked for.
    unsafe { raw::syscall6(libc::SYS_nanosleep, &raw const request as usize, 0, 0, 0, 0, 0) };
}
