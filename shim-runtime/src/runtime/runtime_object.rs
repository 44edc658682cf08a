//! Mirror of `tokio::runtime::Runtime`.
//!
//! Owns a runtime's life: made on a node, shut down when it is dropped. Must not know the scheduler's
//! order. Invariant: after the drop no task of the runtime is left.

use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use super::builder::ThreadHooks;
use super::metrics::RuntimeMetrics;
use super::{EnterGuard, Handle, RuntimeId, RuntimeState};
use crate::context::{self, Shared, Wait};
use crate::node::lifecycle;
use crate::task::{self, JoinHandle};
use crate::{run, threads};

/// What a runtime says that it is.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
#[non_exhaustive]
pub enum RuntimeFlavor {
    /// Single-threaded.
    CurrentThread,
    /// Multi-threaded.
    MultiThread,
}

/// A group of tasks of a node, which ends when this is dropped.
pub struct Runtime {
    handle: Handle,
    down: bool,
    workers: usize,
    hooks: ThreadHooks,
}

/// What a builder asks for.
pub(crate) struct RuntimeSettings {
    pub(crate) flavor: RuntimeFlavor,
    pub(crate) workers: usize,
    pub(crate) max_blocking: usize,
    pub(crate) start_paused: bool,
    pub(crate) has_timers: bool,
    pub(crate) has_io: bool,
    pub(crate) name: Option<String>,
    pub(crate) hooks: ThreadHooks,
}

impl UnwindSafe for Runtime {}
impl RefUnwindSafe for Runtime {}

impl Runtime {
    /// A multi-threaded runtime with everything enabled.
    ///
    /// # Errors
    /// None in a simulation.
    pub fn new() -> std::io::Result<Runtime> {
        super::Builder::new_multi_thread().enable_all().build()
    }

    pub(crate) fn make(settings: RuntimeSettings) -> Runtime {
        let RuntimeSettings { flavor, workers, max_blocking, start_paused, has_timers, has_io, name, hooks } =
            settings;
        let shared = context::shared().unwrap_or_else(run::ambient);
        let node = shared.current.get().node;
        let id = add_runtime(&shared, flavor, workers);
        let workers = shared.with(|world| {
            let Some(runtime) = world.runtimes.get_mut(&id) else { return 0 };
            runtime.max_blocking = max_blocking;
            (runtime.has_timers, runtime.has_io) = (has_timers, has_io);
            runtime.name.clone_from(&name);
            if flavor == RuntimeFlavor::MultiThread { runtime.workers } else { 0 }
        });
        if start_paused {
            shared.paused.set(shared.paused.get() + 1);
        }
        if let Some(start) = &hooks.start {
            (0..workers).for_each(|_| start());
        }
        let handle = Handle { shared, runtime: id, node, name: name.map(Arc::from) };
        Runtime { handle, down: false, workers, hooks }
    }

    /// The handle through which tasks are spawned.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Spawns `future` on this runtime.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs `func` on a thread of its own.
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, func: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.handle.spawn_blocking(func)
    }

    /// Runs `future` to its end on the calling thread.
    ///
    /// # Panics
    /// Within a runtime, as with tokio; and with the report of the run, where it can never end.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Makes this runtime the current one until the guard is dropped.
    pub fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }

    /// Ends the runtime; waits for blocking closures until `duration` (virtual) has passed.
    pub fn shutdown_timeout(mut self, duration: Duration) {
        self.shut_down(Some(duration));
    }

    /// Ends the runtime without waiting for blocking closures.
    pub fn shutdown_background(self) {
        self.shutdown_timeout(Duration::ZERO);
    }

    /// What the runtime has done so far.
    pub fn metrics(&self) -> RuntimeMetrics {
        self.handle.metrics()
    }

    fn shut_down(&mut self, patience: Option<Duration>) {
        if std::mem::replace(&mut self.down, true) {
            return;
        }
        let Handle { shared, runtime, .. } = self.handle.clone();
        let shared = &shared;
        shared.enter(|| {
            lifecycle::end_tasks(shared, |task| task.runtime == runtime && task.what != task::MANDATORY);
            shared.with(|world| {
                if let Some(state) = world.runtimes.get_mut(&runtime) {
                    state.is_shut_down = true;
                }
            });
            if patience != Some(Duration::ZERO) {
                wait_for_blocking(shared, runtime, patience);
            }
            if let Some(stop) = &self.hooks.stop {
                (0..self.workers).for_each(|_| stop());
            }
            shared.with(|world| {
                if world.runtimes.get(&runtime).is_some_and(|state| state.blocking == 0) {
                    world.runtimes.remove(&runtime);
                }
            });
        });
    }
}

pub(crate) fn add_runtime(shared: &Shared, flavor: RuntimeFlavor, workers: usize) -> RuntimeId {
    shared.with(|world| {
        world.next_runtime += 1;
        let id = RuntimeId(world.next_runtime);
        let workers = if workers == 0 { world.config.cpus } else { workers };
        world.runtimes.insert(id, RuntimeState::new(flavor, workers));
        id
    })
}

/// tokio waits for blocking closures that have begun.
fn wait_for_blocking(shared: &Arc<Shared>, runtime: RuntimeId, patience: Option<Duration>) {
    let busy = || shared.with(|world| world.runtimes.get(&runtime).is_some_and(|state| state.blocking > 0));
    if !busy() {
        return;
    }
    let deadline = patience.map(|patience| shared.now.get() + patience);
    threads::block(shared, Wait::Blocked("runtime shutdown"), true, |waker| {
        if !busy() || deadline.is_some_and(|deadline| shared.now.get() >= deadline) {
            return Some(());
        }
        // Blocking closures end without telling anybody: look again after each virtual millisecond.
        let at = shared.now.get() + Duration::from_millis(1);
        shared.with(|world| world.queue.push(at, crate::scheduler::Event::Timer(waker.clone())));
        None
    });
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let in_runtime = context::try_with_shared(|shared| {
            shared.current.get().in_runtime && !threads::on_worker() && task::try_id().is_some()
        });
        let busy = self
            .handle
            .shared
            .with(|world| world.runtimes.get(&self.handle.runtime).is_some_and(|state| state.blocking > 0));
        let in_async = in_runtime == Some(true) && !self.down;
        if in_async && !std::thread::panicking() {
            self.shut_down(Some(Duration::ZERO));
            assert!(
                !busy && self.handle.shared.current.get().task_id.is_none(),
                "Cannot drop a runtime in a context where blocking is not allowed. This happens when a runtime is \
                 dropped from within an asynchronous context."
            );
        }
        self.shut_down(if std::thread::panicking() { Some(Duration::ZERO) } else { None });
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("handle", &self.handle).finish_non_exhaustive()
    }
}
