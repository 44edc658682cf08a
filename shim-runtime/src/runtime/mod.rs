//! Mirror of `tokio::runtime`: runtimes are groups of tasks of a node; the world's scheduler runs them all.
//!
//! Owns what a runtime is to the engine. Must not know the scheduler's order. Invariant: a runtime that is
//! shut down has no task left, and takes none.

mod builder;
mod handle;
mod local_runtime;
mod metrics;
mod reactor;
pub(crate) mod real;
mod runtime_object;
mod state;
pub(crate) mod task_hooks;
#[cfg(tokio_unstable)]
mod unstable;

use std::fmt;

pub use builder::Builder;
pub use handle::{EnterGuard, Handle, TryCurrentError};
pub use local_runtime::{LocalOptions, LocalRuntime};
pub use metrics::RuntimeMetrics;
pub use reactor::{io_runtime, is_reachable, shutdown_error};
pub use runtime_object::{Runtime, RuntimeFlavor};
pub(crate) use state::{Hook, Hooks, RuntimeState, Runtimes, add_runtime, end_runtime, pause_clock};
#[cfg(tokio_unstable)]
pub use task_hooks::TaskMeta;

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

/// The index of the simulated worker that polls the calling task, as `RuntimeMetrics` counts them.
pub fn worker_index() -> Option<usize> {
    crate::context::try_with_shared(|shared| {
        let current = shared.current.get();
        let worker = current.worker.map(|worker| worker as usize);
        worker.or_else(|| shared.with(|world| world.runtimes.get(&current.runtime?)?.core_of(current)))
    })
    .flatten()
}

/// The number of the current runtime; zero outside a runtime.
pub fn current_number() -> u64 {
    crate::context::try_with_shared(|shared| shared.current.get().runtime.map_or(0, |id| id.0)).unwrap_or(0)
}

/// Whether the runtime with this number was shut down. Zero is no runtime, and was not.
pub fn is_shut_down(number: u64) -> bool {
    let ended = |shared: &std::sync::Arc<crate::context::Shared>| {
        shared.with(|world| world.runtimes.get(&RuntimeId(number)).is_none_or(|state| state.is_shut_down))
    };
    number != 0 && crate::context::try_with_shared(ended).unwrap_or(false)
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

/// Refuses to listen for signals where the current runtime was built without I/O.
///
/// # Panics
/// With tokio's text; also outside a runtime.
#[track_caller]
pub fn require_signals() {
    require(
        |state| state.has_io,
        "there is no signal driver running, must be called from the context of Tokio runtime",
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
