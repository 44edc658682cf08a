//! Mirror of `tokio::runtime`: runtimes are groups of tasks of a node; the world's scheduler runs them all.
//!
//! Owns what a runtime is to the engine. Must not know the scheduler's order. Invariant: a runtime that is
//! shut down has no task left, and takes none.

mod builder;
mod handle;
mod local_runtime;
mod metrics;
pub(crate) mod real;
mod runtime_object;

use std::collections::VecDeque;
use std::fmt;

pub use builder::Builder;
pub use handle::{EnterGuard, Handle, TryCurrentError};
pub use local_runtime::{LocalOptions, LocalRuntime};
pub use metrics::RuntimeMetrics;
pub(crate) use runtime_object::add_runtime;
pub use runtime_object::{Runtime, RuntimeFlavor};

use crate::task::TaskRef;

/// tokio's text for a call outside a runtime.
pub const CONTEXT_MISSING_ERROR: &str =
    "there is no reactor running, must be called from the context of a Tokio 1.x runtime";

/// tokio's text for an operation whose runtime was shut down.
pub const SHUTTING_DOWN_ERROR: &str = "A Tokio 1.x context was found, but it is being shutdown.";

/// Whether `error` is that of an operation whose runtime was shut down.
#[doc(hidden)]
pub fn is_rt_shutdown_err(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.to_string() == SHUTTING_DOWN_ERROR)
}

/// The number of a runtime in its run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct RuntimeId(pub(crate) u64);

impl RuntimeId {
    /// No runtime: what a thread has before it makes one.
    pub(crate) const NONE: RuntimeId = RuntimeId(0);
}

/// Mirror of `tokio::runtime::Id`: tells a runtime from the others.
#[derive(Clone, Copy, Debug, Hash, Eq, PartialEq)]
pub struct Id(pub(crate) u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Refuses a timer where the current runtime was built without them.
///
/// # Panics
/// With tokio's text; also outside a runtime.
#[track_caller]
pub fn require_timers() {
    require(
        |state| state.has_timers,
        "A Tokio 1.x context was found, but timers are disabled. Call `enable_time` on the runtime builder to enable timers.",
    );
}

/// Refuses a socket where the current runtime was built without I/O.
///
/// # Panics
/// With tokio's text; also outside a runtime.
#[track_caller]
pub fn require_io() {
    require(
        |state| state.has_io,
        "A Tokio 1.x context was found, but IO is disabled. Call `enable_io` on the runtime builder to enable IO.",
    );
}

#[track_caller]
fn require(enabled: impl FnOnce(&RuntimeState) -> bool, refusal: &str) {
    let found = crate::context::try_with_shared(|shared| {
        let runtime = shared.current.get().runtime?;
        Some(shared.with(|world| world.runtimes.get(&runtime).is_none_or(enabled)))
    });
    match found.flatten() {
        None => panic!("{CONTEXT_MISSING_ERROR}"),
        Some(false) => panic!("{refusal}"),
        Some(true) => {}
    }
}

/// A runtime, as the world knows it.
pub(crate) struct RuntimeState {
    pub(crate) flavor: RuntimeFlavor,
    pub(crate) workers: usize,
    pub(crate) name: Option<String>,
    pub(crate) is_shut_down: bool,
    pub(crate) has_timers: bool,
    pub(crate) has_io: bool,
    pub(crate) spawned: u64,
    pub(crate) alive: u64,
    pub(crate) max_blocking: usize,
    pub(crate) blocking: usize,
    blocked: VecDeque<TaskRef>,
}

impl RuntimeState {
    pub(crate) fn new(flavor: RuntimeFlavor, workers: usize) -> RuntimeState {
        RuntimeState {
            flavor,
            workers,
            name: None,
            is_shut_down: false,
            has_timers: true,
            has_io: true,
            spawned: 0,
            alive: 0,
            max_blocking: 512,
            blocking: 0,
            blocked: VecDeque::new(),
        }
    }

    /// Whether a blocking closure may begin; if not, it is kept until another ends.
    pub(crate) fn admit_blocking(&mut self, task: TaskRef) -> bool {
        if self.blocking >= self.max_blocking {
            self.blocked.push_back(task);
            return false;
        }
        self.blocking += 1;
        true
    }

    /// A blocking closure ended: the next one that waits, if any.
    pub(crate) fn blocking_ended(&mut self) -> Option<TaskRef> {
        self.blocking = self.blocking.saturating_sub(1);
        self.blocked.pop_front()
    }
}
