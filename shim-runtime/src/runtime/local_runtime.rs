//! Mirror of `tokio::runtime::LocalRuntime`: a runtime with a local set of its own.
//!
//! Must not be `Send`. Invariant: its local tasks run only while `block_on` does.

use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use super::{Builder, EnterGuard, Handle, Runtime, RuntimeMetrics};
use crate::task::{JoinHandle, LocalSet};

/// Options of a local runtime: none yet, as with tokio.
#[derive(Default, Debug)]
#[non_exhaustive]
pub struct LocalOptions {
    _not_send: PhantomData<*mut ()>,
}

impl UnwindSafe for LocalOptions {}
impl RefUnwindSafe for LocalOptions {}

/// A runtime whose tasks need not be `Send`.
pub struct LocalRuntime {
    // The local tasks go before the runtime does.
    local: LocalSet,
    runtime: Runtime,
}

impl UnwindSafe for LocalRuntime {}
impl RefUnwindSafe for LocalRuntime {}

impl LocalRuntime {
    /// A local runtime with everything enabled.
    ///
    /// # Errors
    /// None in a simulation.
    pub fn new() -> io::Result<LocalRuntime> {
        Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
    }

    pub(crate) fn around(runtime: Runtime) -> LocalRuntime {
        let local = LocalSet::new();
        let Handle { shared, runtime: id, .. } = runtime.handle();
        shared.with(|world| {
            if let Some(state) = world.runtimes.get_mut(id) {
                state.is_local = true;
            }
        });
        local.belongs_to(id.0);
        LocalRuntime { local, runtime }
    }

    /// The handle through which tasks are spawned.
    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Spawns a task that need not be `Send`.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.local.spawn_local(future)
    }

    /// Runs `func` on a thread of its own.
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, func: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.runtime.spawn_blocking(func)
    }

    /// Runs `future`, and the local tasks meanwhile, to its end.
    ///
    /// # Panics
    /// As [`Runtime::block_on`].
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.local.block_on(&self.runtime, future)
    }

    /// Makes this runtime the current one until the guard is dropped.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Ends the runtime; waits for blocking closures until `duration` (virtual) has passed.
    pub fn shutdown_timeout(self, duration: Duration) {
        let LocalRuntime { local, runtime } = self;
        drop(local);
        runtime.shutdown_timeout(duration);
    }

    /// Ends the runtime without waiting for blocking closures.
    pub fn shutdown_background(self) {
        self.shutdown_timeout(Duration::ZERO);
    }

    /// What the runtime has done so far.
    pub fn metrics(&self) -> RuntimeMetrics {
        self.runtime.metrics()
    }
}

impl fmt::Debug for LocalRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRuntime").field("runtime", &self.runtime).finish_non_exhaustive()
    }
}
