//! The watchdog: a poll that does not return ends the process with a report that names its task.
//!
//! Owns the record of which task is being polled, and a thread that looks at it. Must not touch the world.
//! Invariant: what the thread reads is plain numbers and text that lives for ever.

use std::panic::Location;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

/// Counts polls.
static POLLS: AtomicU64 = AtomicU64::new(0);
/// The task that is being polled; zero between polls.
static POLLED: AtomicU64 = AtomicU64::new(0);
/// Where it was spawned.
static SPAWNED_AT: AtomicPtr<Location<'static>> = AtomicPtr::new(std::ptr::null_mut());

/// Notes that task `id`, spawned at `location`, is about to be polled.
pub(crate) fn poll_begins(id: u64, location: &'static Location<'static>) {
    SPAWNED_AT.store(std::ptr::from_ref(location).cast_mut(), Ordering::Relaxed);
    POLLED.store(id, Ordering::Relaxed);
    POLLS.store(POLLS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Notes that the poll returned.
pub(crate) fn poll_ends() {
    POLLED.store(0, Ordering::Relaxed);
}

/// Watches this process from now on: one poll may take `limit` of real time.
pub(crate) fn start(limit: Duration) {
    if limit.is_zero() {
        return;
    }
    let watch = move || {
        let mut seen = (0, Duration::ZERO);
        loop {
            super::real_sleep(Duration::from_millis(200).min(limit));
            let (polls, task) = (POLLS.load(Ordering::Relaxed), POLLED.load(Ordering::Relaxed));
            let now = super::clock::real_monotonic();
            if polls != seen.0 || task == 0 {
                seen = (polls, now);
            } else if now.saturating_sub(seen.1) >= limit {
                end(task, limit);
            }
        }
    };
    // Without the watchdog a stuck poll hangs, and nothing else is lost.
    drop(std::thread::Builder::new().name("sim-watchdog".to_owned()).stack_size(64 << 10).spawn(watch));
}

#[expect(clippy::disallowed_macros, reason = "the report is all that is left")]
fn end(task: u64, limit: Duration) -> ! {
    // SAFETY: the pointer was made from a `&'static Location`.
    let location = unsafe { SPAWNED_AT.load(Ordering::Relaxed).as_ref() };
    let place = location.map_or_else(String::new, |location| format!(", spawned at {location}"));
    eprintln!(
        "simulation: a poll did not return\n  task {task}{place}: its poll has taken more than {limit:?} of real time \
         (SIM_POLL_LIMIT_SECS)"
    );
    super::process::exit_now(crate::sweep::EXIT_STUCK);
}
