//! Threads that outlive their node for a moment, because they hold locks of a C library.
//!
//! Owns how such a thread is let go on and when it ends. Must not know which library. Invariant: while it goes on,
//! every call that has an effect outside of it fails, because its node is gone.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Own, block_on_waker, end_if_killed, own};
use crate::context;

/// The calling thread of a run waits for `time` (virtual) in a call that can fail: false where its node is gone
/// and the call must fail, so that a library gives up its locks. Without any the thread ends here.
///
/// # Panics
/// Outside a simulation.
pub fn wait_or_fail(what: &'static str, time: Duration) -> bool {
    let own = own().filter(|_| crate::host::holds_locks());
    let is_killed = || own.as_ref().is_some_and(|own| own.thread.killed.load(Ordering::Acquire));
    let survives = |yes| own.iter().for_each(|own| own.thread.survives.store(yes, Ordering::Release));
    if is_killed() {
        return false;
    }
    survives(true);
    block_on_waker(what, Some(time), |_| is_killed().then_some(()));
    survives(false);
    let killed = is_killed();
    if let Some(Own { thread, entry: None }) = own.as_ref().filter(|_| killed) {
        // The poll ends; its thread is the run's.
        thread.killed.store(false, Ordering::Release);
    }
    !killed
}

/// Calls `wait`, which gives up where what it is given answers that the thread's node is gone, and leaves nothing
/// behind: then the thread ends.
pub(crate) fn wait_tidily<R>(wait: impl FnOnce(&dyn Fn() -> bool) -> R) -> R {
    let own = own();
    let is_killed = || own.as_ref().is_some_and(|own| own.thread.killed.load(Ordering::Acquire));
    let survives = |yes| own.as_ref().is_some_and(|own| own.thread.survives.swap(yes, Ordering::AcqRel));
    let before = survives(true);
    let result = wait(&is_killed);
    survives(before);
    end_if_node_is_gone();
    result
}

/// A thread that outlived its node, because it held locks of a library, holds none any more.
pub(crate) fn end_if_node_is_gone() {
    let Some(own) = own().filter(|own| own.thread.killed.load(Ordering::Acquire)) else { return };
    if let Some(shared) = context::run_of_thread() {
        end_if_killed(&shared, &own.thread, false);
    }
}
