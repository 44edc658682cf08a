//! Mirror of `tokio::runtime::Runtime`.
//!
//! Owns a runtime's life: made on a node, shut down when it is dropped. Must not know the scheduler's
//! order. Invariant: after the drop no task of the runtime is left.

use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use super::metrics::RuntimeMetrics;
use super::task_hooks::TaskHooks;
use super::{EnterGuard, Handle, Hooks, RuntimeId, add_runtime, end_runtime, pause_clock};
use crate::context::{self, Shared, Wait};
use crate::node::lifecycle;
use crate::task::header::Header;
use crate::task::{Body, JoinHandle};
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
    hooks: Hooks,
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
    pub(crate) thread_name: Option<Arc<str>>,
    pub(crate) hooks: Hooks,
    pub(crate) task_hooks: TaskHooks,
    /// Whether a panic of a task ends the runtime.
    pub(crate) ends_on_panic: bool,
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
        let RuntimeSettings { flavor, hooks, .. } = &settings;
        let (flavor, hooks) = (*flavor, hooks.clone());
        let shared = context::shared().unwrap_or_else(run::ambient);
        let node = shared.current.get().node;
        let id = add_runtime(&shared, node, flavor, settings.workers);
        let workers = shared.with(|world| {
            let Some(runtime) = world.runtimes.get_mut(&id) else { return 0 };
            runtime.max_blocking = settings.max_blocking;
            (runtime.has_timers, runtime.has_io) = (settings.has_timers, settings.has_io);
            runtime.name.clone_from(&settings.name);
            runtime.set_hooks(hooks.clone());
            if settings.task_hooks.any() || settings.ends_on_panic {
                shared.has_task_hooks.set(true);
            }
            runtime.task_hooks = settings.task_hooks;
            runtime.ends_on_panic = settings.ends_on_panic;
            runtime.set_thread_name(settings.thread_name);
            if flavor == RuntimeFlavor::MultiThread { runtime.workers.len() } else { 0 }
        });
        if settings.start_paused {
            pause_clock(&shared, id);
        }
        if let Some(start) = &hooks.start {
            (0..workers).for_each(|_| start());
        }
        let handle = Handle { shared, runtime: id, node, flavor, name: settings.name.map(Arc::from) };
        Runtime { handle, down: false, hooks }
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
        self.handle.block_on_and_drive(future)
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
        let hooks = self.hooks.clone();
        self.handle.inside(|| shared.enter(|| end(&shared, runtime, &hooks, patience)));
    }
}

/// Ends a runtime: its tasks are dropped; blocking closures go on, for at most `patience` while the caller waits.
fn end(shared: &Arc<Shared>, runtime: RuntimeId, hooks: &Hooks, patience: Option<Duration>) {
    let workers = shared.with(|world| {
        let Some(state) = world.runtimes.get_mut(&runtime) else { return 0 };
        state.stop_workers();
        if state.flavor == RuntimeFlavor::MultiThread { state.workers.len() } else { 0 }
    });
    lifecycle::end_tasks(shared, |task| {
        task.runtime == runtime && matches!(task.body, Body::Future(Some(_)))
    });
    // A poll that waits goes on to its end, as that of a worker does.
    polls_under_way(shared, runtime).iter().for_each(|header| header.abort());
    super::reactor::tell_device(shared, runtime);
    if patience != Some(Duration::ZERO) {
        wait_for_blocking(shared, runtime, patience);
    }
    if let Some(stop) = &hooks.stop {
        (0..workers).for_each(|_| stop());
    }
    if shared.with(|world| world.runtimes.get(&runtime).is_some_and(|state| state.jobs == 0)) {
        end_runtime(shared, runtime);
    }
}

/// The tasks of a runtime that are being polled further up, by threads that wait; not the caller's own.
fn polls_under_way(shared: &Shared, runtime: RuntimeId) -> Vec<Arc<Header>> {
    let own = shared.current.get().task;
    shared.with(|world| {
        let tasks = world.tasks.iter().filter(|(task, entry)| entry.runtime == runtime && Some(*task) != own);
        let polled = tasks.filter(|(_, entry)| matches!(entry.body, Body::Future(None)));
        polled.map(|(_, entry)| Arc::clone(&entry.header)).collect()
    })
}

/// tokio waits for blocking closures, also for those that stand in the queue; and for workers in the middle of a poll.
fn wait_for_blocking(shared: &Arc<Shared>, runtime: RuntimeId, patience: Option<Duration>) {
    let has_jobs = || shared.with(|world| world.runtimes.get(&runtime).is_some_and(|state| state.jobs > 0));
    let busy = || has_jobs() || !polls_under_way(shared, runtime).is_empty();
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
        if self.down {
            return;
        }
        let in_task = context::try_with_shared(|shared| shared.current.get().entered.forbids_blocking());
        if in_task != Some(true) {
            self.shut_down(if std::thread::panicking() { Some(Duration::ZERO) } else { None });
            return;
        }
        self.shut_down(Some(Duration::ZERO));
        assert!(
            std::thread::panicking(),
            "Cannot drop a runtime in a context where blocking is not allowed. This happens when a runtime is \
             dropped from within an asynchronous context."
        );
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("handle", &self.handle).finish_non_exhaustive()
    }
}
