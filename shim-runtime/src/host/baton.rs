//! The baton: which OS thread of a world runs, by a futex that no interposed symbol can see.
//!
//! Owns [`Parker`] and the promise that lets a world be reached from several threads. Must not know who
//! should run. Invariant: of the threads of one world, exactly one is not parked here.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::context::Shared;

// SAFETY: a world is shared only by threads that pass its baton: a thread gives it away by `unpark`ing
// another and at once `park`s itself (`threads`), so no two ever touch the world at the same time, and the
// futex word orders what one did before what the next does.
unsafe impl Sync for Shared {}
// SAFETY: as above. A thread that is over may let go of its count of the world after it gave the baton on; that
// touches the world only if it was the last to hold it, when no other thread can reach it any more.
unsafe impl Send for Shared {}

/// A thread waits here for the baton.
#[derive(Default)]
pub(crate) struct Parker {
    token: AtomicU32,
}

impl Parker {
    /// Waits for a token and takes it.
    pub(crate) fn park(&self) {
        while self.token.swap(0, Ordering::Acquire) == 0 {
            futex(&self.token, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 0, None);
        }
    }

    /// Waits for a token, in real time, for `timeout` at most; whether it took one.
    pub(crate) fn park_timeout(&self, timeout: Duration) -> bool {
        let end = super::clock::real_monotonic().saturating_add(timeout);
        while self.token.swap(0, Ordering::Acquire) == 0 {
            let left = end.saturating_sub(super::clock::real_monotonic());
            if left.is_zero() {
                return false;
            }
            let left = libc::timespec {
                tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: libc::c_long::from(left.subsec_nanos() as i32),
            };
            futex(&self.token, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 0, Some(&left));
        }
        true
    }

    /// Leaves a token.
    pub(crate) fn unpark(&self) {
        self.token.store(1, Ordering::Release);
        futex(&self.token, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1, None);
    }
}

/// `futex(2)` by the raw system call: `libc::syscall` is answered by the simulation.
fn futex(word: &AtomicU32, operation: i32, value: u32, timeout: Option<&libc::timespec>) {
    let timeout = timeout.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word and the time outlive the call, and these two operations touch nothing else.
    unsafe {
        super::raw::syscall6(
            libc::SYS_futex,
            word.as_ptr() as usize,
            operation as usize,
            value as usize,
            timeout as usize,
            0,
            0,
        );
    }
}
