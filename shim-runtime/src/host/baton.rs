//! The baton: which OS thread of a world runs, by a futex that no interposed symbol can see.
//!
//! Owns [`Parker`] and the promise that lets a world be reached from several threads. Must not know who
//! should run. Invariant: of the threads of one world, exactly one is not parked here.

use std::sync::atomic::{AtomicU32, Ordering};

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
            futex(&self.token, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 0);
        }
    }

    /// Leaves a token.
    pub(crate) fn unpark(&self) {
        self.token.store(1, Ordering::Release);
        futex(&self.token, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
    }
}

/// `futex(2)` without a time-out, by the raw system call: `libc::syscall` is answered by the simulation.
fn futex(word: &AtomicU32, operation: i32, value: u32) {
    // SAFETY: the word outlives the call, and these two operations touch nothing else.
    unsafe {
        super::raw::syscall6(
            libc::SYS_futex,
            word.as_ptr() as usize,
            operation as usize,
            value as usize,
            0,
            0,
            0,
        );
    }
}
