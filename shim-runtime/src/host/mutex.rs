//! `pthread_mutex_lock`: the locks of C libraries.
//!
//! Owns how a thread of a world waits for one: its holder may be another thread of the world, which gave the
//! baton away while it had the lock. Must not know who locks. Invariants: a lock that is free, and every lock
//! outside a run, is libc's own business; a thread whose node is gone ends only when it holds none.

use std::cell::Cell;
use std::time::Duration;

use libc::{c_int, pthread_mutex_t};

use super::next::Next;
use crate::{context, device, threads};

/// How long a thread waits before it looks again, at first and at most.
const WAIT_MIN: Duration = Duration::from_micros(1);
const WAIT_MAX: Duration = Duration::from_micros(256);

thread_local! {
    /// How many locks the calling thread took inside a run.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// Whether the calling thread holds locks of libraries, which others may wait for.
pub(crate) fn holds_any() -> bool {
    HELD.try_with(Cell::get).is_ok_and(|held| held > 0)
}

/// `pthread_mutex_unlock(3)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    static NEXT: Next = Next::new(c"pthread_mutex_unlock");
    // SAFETY: as libc's, whose symbol has this type.
    let result = unsafe {
        let real: unsafe extern "C" fn(*mut pthread_mutex_t) -> c_int = std::mem::transmute(NEXT.address());
        real(mutex)
    };
    let was_last = HELD.try_with(|held| held.replace(held.get().saturating_sub(1)) == 1).unwrap_or(false);
    if was_last && device::is_reachable() {
        threads::end_if_node_is_gone();
    }
    result
}

/// `pthread_mutex_lock(3)`.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int {
    static NEXT: Next = Next::new(c"pthread_mutex_lock");
    if context::in_run() {
        let mut wait = WAIT_MIN;
        loop {
            // SAFETY: the caller vouches for the lock.
            let result = unsafe { libc::pthread_mutex_trylock(mutex) };
            if result != libc::EBUSY {
                let taken = usize::from(result == 0);
                let _ = HELD.try_with(|held| held.set(held.get() + taken));
                return result;
            }
            // The engine's own call, in the middle of something: its holder is no thread that waits.
            if !device::is_reachable() {
                break;
            }
            threads::block_on_waker("a lock of a library", Some(wait), |_| None::<()>);
            wait = (wait * 2).min(WAIT_MAX);
        }
    }
    // SAFETY: as libc's, whose symbol has this type.
    unsafe {
        let real: unsafe extern "C" fn(*mut pthread_mutex_t) -> c_int = std::mem::transmute(NEXT.address());
        real(mutex)
    }
}
