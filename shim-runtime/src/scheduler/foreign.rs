//! Waiting for threads that the scheduler does not control.
//!
//! Owns what a run of loose runtimes does when nothing in it is ready: threads that were started before it, or by
//! others, may still wake something. Must not be asked by a run proper, whose threads are all its own. Invariant:
//! while this waits nothing of the run moves, not even its clock.

use std::time::Duration;

use crate::context::Shared;
use crate::host;

/// How long others may take before the run is called stalled.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the waiting sleeps between two looks.
const LOOK_EVERY: Duration = Duration::from_micros(300);

/// Waits for somebody outside to wake a task, or to change a word that a thread of the run waits at. False where the
/// run is none of loose runtimes, or where nobody did for too long.
pub(super) fn wait(shared: &Shared) -> bool {
    if !shared.is_ambient {
        return false;
    }
    // Whoever listens for signals may have to wait long for one.
    let patience = match shared.external.listens() {
        true => shared.with(|world| world.config.real_limit),
        false => PATIENCE,
    };
    let end = host::clock::real_monotonic() + patience;
    while host::clock::real_monotonic() < end {
        if !shared.inbox.is_empty() || shared.door.has_guests() || shared.external.has_signals() {
            return true;
        }
        let changed = shared.with(|world| world.futexes.changed());
        if !changed.is_empty() {
            changed.into_iter().for_each(std::task::Waker::wake);
            return true;
        }
        host::real_sleep(LOOK_EVERY);
    }
    false
}
