//! Work outside of the world: real children, and signals that other threads of the process send.
//!
//! Owns the count of what is under way outside, the bell that its results ring, and the calls that must be
//! made on a thread of no world. Must not know what the work is. Invariant: only the idle loop waits for the
//! outside, and a run that does is marked as not deterministic (unless it is one of loose runtimes).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::context::{self, Shared};
use crate::host;
use crate::host::baton::Parker;
use crate::node::{NodeId, signal};

/// What a world knows of the outside.
#[derive(Default)]
pub(crate) struct External {
    bell: Parker,
    under_way: AtomicUsize,
    has_signals: AtomicBool,
    signals: Mutex<OutsideSignals>,
}

#[derive(Default)]
struct OutsideSignals {
    listened: Vec<i32>,
    sent: Vec<i32>,
}

/// The worlds of loose runtimes that ever listened for a signal.
static LISTENERS: Mutex<Vec<Weak<External>>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl External {
    /// Signals that any thread of the process sends to it are this world's, too, from now on.
    pub(crate) fn listen(self: &Arc<Self>, signal: i32) {
        let mut signals = locked(&self.signals);
        if signals.listened.is_empty() {
            let mut listeners = locked(&LISTENERS);
            listeners.retain(|listener| listener.strong_count() > 0);
            listeners.push(Arc::downgrade(self));
        }
        if !signals.listened.contains(&signal) {
            signals.listened.push(signal);
        }
    }

    fn ring(&self) {
        self.bell.unpark();
    }

    /// Whether it listens for signals.
    pub(crate) fn listens(&self) -> bool {
        !locked(&self.signals).listened.is_empty()
    }

    /// Whether signals have come that were not delivered yet.
    pub(crate) fn has_signals(&self) -> bool {
        self.has_signals.load(Ordering::Acquire)
    }
}

/// Sends `signal` to every world of loose runtimes that listens for it; whether one does.
pub(crate) fn send_to_listeners(signal: i32) -> bool {
    let listeners: Vec<Arc<External>> = locked(&LISTENERS).iter().filter_map(Weak::upgrade).collect();
    let mut heard = false;
    for listener in listeners {
        let mut signals = locked(&listener.signals);
        if signals.listened.contains(&signal) {
            heard = true;
            signals.sent.push(signal);
            drop(signals);
            listener.has_signals.store(true, Ordering::Release);
            listener.ring();
        }
    }
    heard
}

/// Tells the world what signals came from outside. Called by the loop on each turn.
#[inline]
pub(crate) fn deliver(shared: &Arc<Shared>) {
    if shared.external.has_signals() {
        deliver_all(shared);
    }
}

#[cold]
fn deliver_all(shared: &Arc<Shared>) {
    shared.external.has_signals.store(false, Ordering::Release);
    let sent = std::mem::take(&mut locked(&shared.external.signals).sent);
    for number in sent {
        signal::send_in(shared, NodeId(0), number);
    }
}

/// Nothing is ready: waits in real time where something is under way outside. True where the loop is to look
/// again, false where the clock may jump.
pub(crate) fn wait(shared: &Shared) -> bool {
    let external = &shared.external;
    if external.under_way.load(Ordering::Acquire) == 0 {
        return false;
    }
    let (next, limit) = shared.with(|world| (world.queue.next_at(), world.config.real_limit));
    let now = shared.now.get();
    let patience = match next {
        // A clock that stands still jumps where nothing is ready, as with tokio.
        Some(_) if shared.paused.get() > 0 => return false,
        Some(at) => at - now,
        None => limit,
    };
    let started = host::clock::real_monotonic();
    let rung = external.bell.park_timeout(patience);
    let passed = host::clock::real_monotonic().saturating_sub(started);
    if shared.paused.get() == 0 {
        let later = now + passed;
        shared.now.set(next.map_or(later, |at| later.min(at)));
    }
    rung || external.has_signals()
}

/// Something under way outside, for which the idle loop waits while this lives.
pub struct Outside {
    external: Arc<External>,
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.external.under_way.fetch_sub(1, Ordering::AcqRel);
        self.external.ring();
    }
}

/// Something is under way outside from now on. The run is marked: `why` it cannot be repeated.
///
/// # Panics
/// Outside a simulation.
pub fn hold(why: &str) -> Outside {
    context::with_shared(|shared| {
        if !shared.is_ambient {
            mark(shared, why);
        }
        shared.external.under_way.fetch_add(1, Ordering::AcqRel);
        Outside { external: Arc::clone(&shared.external) }
    })
}

/// Runs `work` on a thread outside of the world, beside the run. What it finds it leaves where somebody will look,
/// and calls a waker; then it drops what [`hold`] gave, which rings the bell.
///
/// # Errors
/// Where the system has no thread left.
pub fn beside(work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let builder = std::thread::Builder::new().name("sim-outside".to_owned());
    let started = host::without_notice(|| {
        builder.spawn(|| {
            // The counter's trap is inherited, also by processes that the thread starts.
            host::tsc::end();
            work();
        })
    });
    started.map(drop)
}

/// Runs `work` on a thread outside of the world, where every call is the machine's, and waits for it in real time.
/// Nothing of the run goes on meanwhile.
///
/// # Errors
/// Where the system has no thread left.
///
/// # Panics
/// Where `work` does.
pub fn call<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> std::io::Result<R> {
    let place = Arc::new((Mutex::new(None), Parker::default()));
    let there = Arc::clone(&place);
    beside(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        *locked(&there.0) = Some(result);
        there.1.unpark();
    })?;
    place.1.park();
    let result = locked(&place.0).take().expect("invariant: the call is over");
    Ok(result.unwrap_or_else(|payload| std::panic::resume_unwind(payload)))
}

fn mark(shared: &Shared, why: &str) {
    shared.with(|world| {
        if !world.not_deterministic.iter().any(|known| known == why) {
            world.not_deterministic.push(why.to_owned());
        }
    });
}

/// Marks the current run: `why` it cannot be repeated.
pub(crate) fn mark_not_deterministic(why: &str) {
    context::try_with_shared(|shared| mark(shared, why));
}

/// Waits, on a thread outside of the world, until the machine's process `pid` has ended, and leaves it to be waited for.
pub fn wait_for_child(pid: u32) {
    host::process::wait_without_reaping(pid);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: std::time::Duration = std::time::Duration::from_millis(20);

    #[test]
    fn a_bell_that_rang_before_is_heard() {
        let external = External::default();
        external.ring();
        assert!(external.bell.park_timeout(PATIENCE));
        assert!(!external.bell.park_timeout(PATIENCE));
    }

    #[test]
    fn nobody_hears_what_nobody_listens_for() {
        assert!(!send_to_listeners(libc::SIGUSR2));
        let external = Arc::new(External::default());
        external.listen(libc::SIGUSR2);
        assert!(send_to_listeners(libc::SIGUSR2));
        drop(external);
        assert!(!send_to_listeners(libc::SIGUSR2));
    }
}
