//! Mirror of `tokio::runtime::Handle`.
//!
//! Owns the way into a runtime from elsewhere in its run. Must not know the scheduler's order. Invariant: a
//! handle is used only by threads that its run knows; any other is refused loudly.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};

use super::metrics::RuntimeMetrics;
use super::{CONTEXT_MISSING_ERROR, Id, RuntimeFlavor, RuntimeId};
use crate::context::{self, Current, Entered, Shared, Wait};
use crate::node::NodeId;
use crate::report::Stalled;
use crate::task::{self, JoinHandle, SpawnOn};
use crate::threads::guest::{self, Pass};
use crate::world::World;
use crate::{run, scheduler, threads};

/// The way into a runtime.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) runtime: RuntimeId,
    pub(crate) node: NodeId,
    pub(crate) flavor: RuntimeFlavor,
    pub(crate) name: Option<Arc<str>>,
}

impl UnwindSafe for Handle {}
impl RefUnwindSafe for Handle {}

/// Makes a runtime the current one while it lives.
///
/// It has no destructor of its own, so that the runtime may be moved or dropped while a guard that is not used
/// any more still stands in the scope, as with tokio.
#[must_use = "Creating and dropping a guard does nothing"]
pub struct EnterGuard<'a> {
    _leave: Leave,
    _handle: PhantomData<&'a Handle>,
    /// As a mutex's guard: it stays on its thread, and may be looked at from others.
    _not_send: PhantomData<MutexGuard<'static, ()>>,
}

/// Undoes an entering when it is dropped.
struct Leave {
    shared: Arc<Shared>,
    before: Current,
    entered: bool,
    depth: usize,
    /// Where the thread is none of the run's.
    _pass: Option<Pass>,
}

thread_local! {
    /// How many guards the thread holds.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

impl fmt::Debug for EnterGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnterGuard").finish_non_exhaustive()
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        let depth = DEPTH.with(|depth| depth.replace(self.depth));
        if depth != self.depth + 1 {
            DEPTH.with(|own| own.set(depth));
            assert!(
                std::thread::panicking(),
                "`EnterGuard` values dropped out of order. Guards returned by `tokio::runtime::Handle::enter()` must \
                 be dropped in the reverse order as they were acquired."
            );
            return;
        }
        let now = self.shared.current.get();
        self.shared.current.set(Current { runtime: self.before.runtime, node: self.before.node, ..now });
        if self.entered {
            context::leave_guarded();
        }
    }
}

impl Handle {
    /// Makes this runtime the current one until the guard is dropped.
    pub fn enter(&self) -> EnterGuard<'_> {
        let pass = self.pass();
        let entered = context::enter_guarded(&self.shared);
        let before = self.shared.current.get();
        self.shared.current.set(Current { runtime: Some(self.runtime), node: self.node, ..before });
        let depth = DEPTH.with(|depth| depth.replace(depth.get() + 1));
        let leave = Leave { shared: Arc::clone(&self.shared), before, entered, depth, _pass: pass };
        EnterGuard { _leave: leave, _handle: PhantomData, _not_send: PhantomData }
    }

    /// The current runtime's handle.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn current() -> Handle {
        match Handle::try_current() {
            Ok(handle) => handle,
            Err(error) => panic!("{error}"),
        }
    }

    /// The current runtime's handle.
    ///
    /// # Errors
    /// Outside a runtime.
    pub fn try_current() -> Result<Handle, TryCurrentError> {
        context::try_with_shared(|shared| {
            let current = shared.current.get();
            let runtime = current.runtime?;
            // Also where it has ended, as in a hook of its shutdown.
            let (flavor, name) = shared.with(|world| {
                let state = world.runtimes.get_ever(&runtime)?;
                Some((state.flavor, state.name.as_deref().map(Arc::from)))
            })?;
            Some(Handle { shared: Arc::clone(shared), runtime, node: current.node, flavor, name })
        })
        .flatten()
        .ok_or(TryCurrentError { _private: () })
    }

    /// Spawns `future` on this runtime.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_any(future, Location::caller())
    }

    pub(crate) fn spawn_any<F>(
        &self,
        future: F,
        location: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.inside(|| {
            let on = SpawnOn { node: self.node, runtime: self.runtime, location, what: "task" };
            task::spawn_on(&self.shared, future, on)
        })
    }

    /// Runs `func` on a thread of its own.
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, func: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let location = Location::caller();
        self.inside(|| {
            let on = SpawnOn { node: self.node, runtime: self.runtime, location, what: "blocking" };
            task::spawn_blocking_on(&self.shared, func, on)
        })
    }

    /// As [`Handle::spawn_blocking`], for what runs although the runtime shuts down; `None` where it is down.
    #[track_caller]
    pub(crate) fn spawn_mandatory_blocking<F, R>(&self, func: F) -> Option<JoinHandle<R>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let runtime = self.runtime;
        let on =
            SpawnOn { node: self.node, runtime, location: Location::caller(), what: "mandatory blocking" };
        self.inside(|| {
            let is_up =
                |world: &mut World| world.runtimes.get(&runtime).is_some_and(|state| !state.is_shut_down);
            self.shared.with(is_up).then(|| task::spawn_blocking_on(&self.shared, func, on))
        })
    }

    /// Runs `future` to its end on the calling thread. On a single-threaded runtime, this does not run its tasks:
    /// `Runtime::block_on` does.
    ///
    /// # Panics
    /// Within a runtime, as with tokio; and with the report of the run, where it can never end.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.refuse_nested();
        let (entered, location) = (Entered::Yes { may_block_in_place: true }, Location::caller());
        match self.inside(|| self.run_to_end(future, entered, location)) {
            Ok(output) => output,
            Err(stalled) => run::stalled(&stalled),
        }
    }

    /// `Runtime::block_on`: the tasks of the runtime run meanwhile.
    #[track_caller]
    pub(crate) fn block_on_and_drive<F: Future>(&self, future: F) -> F::Output {
        self.refuse_nested();
        let location = Location::caller();
        let ended = self.inside(|| {
            let _drive = Drive::begin(self);
            self.run_to_end(future, Entered::into(self.flavor), location)
        });
        match ended {
            Ok(output) => output,
            Err(stalled) => run::stalled(&stalled),
        }
    }

    /// Refuses to block a thread that drives tasks.
    #[track_caller]
    fn refuse_nested(&self) {
        let nested = context::try_with_shared(|shared| {
            Arc::ptr_eq(shared, &self.shared) && shared.current.get().entered.forbids_blocking()
        });
        assert!(
            nested != Some(true),
            "Cannot start a runtime from within a runtime. This happens because a function (like `block_on`) \
             attempted to block the current thread while the thread is being used to drive asynchronous tasks. If \
             you are in an async function, use `.await` on the future instead of blocking on it."
        );
    }

    fn run_to_end<F: Future>(
        &self,
        future: F,
        entered: Entered,
        location: &'static Location<'static>,
    ) -> Result<F::Output, Stalled> {
        let shared = &self.shared;
        let before = shared.current.get();
        let _restore = Restore { shared, before };
        let inside = Current {
            runtime: Some(self.runtime),
            node: self.node,
            task_id: None,
            worker: None,
            entered,
            ..before
        };
        let mut future = pin!(future);
        shared.enter(|| {
            if threads::on_worker() || before.entered != Entered::No {
                Ok(block_on_thread(shared, inside, |cx| future.as_mut().poll(cx)))
            } else {
                scheduler::drive(shared, inside, location, |cx| future.as_mut().poll(cx))
            }
        })
    }

    /// What the runtime says that it is.
    pub fn runtime_flavor(&self) -> RuntimeFlavor {
        self.flavor
    }

    /// The number of the runtime.
    pub fn id(&self) -> Id {
        Id(self.runtime.0)
    }

    /// The name of the runtime.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What the runtime has done so far.
    pub fn metrics(&self) -> RuntimeMetrics {
        RuntimeMetrics { handle: self.clone() }
    }

    /// Calls `f` once the calling thread may act in the run: at once where it takes part in it.
    #[track_caller]
    pub(crate) fn inside<R>(&self, f: impl FnOnce() -> R) -> R {
        match self.pass() {
            None => f(),
            Some(_pass) => self.shared.enter(f),
        }
    }

    /// The right to act in the run, for a thread that does not take part in it.
    #[track_caller]
    fn pass(&self) -> Option<Pass> {
        let entered = context::try_with_shared(|shared| Arc::ptr_eq(shared, &self.shared));
        if entered == Some(true) {
            return None;
        }
        assert!(
            self.shared.is_ambient,
            "simulation: a runtime handle was used from a thread that the simulation did not start; use \
             `tokio::task::spawn_blocking` instead of `std::thread::spawn` (see SUPPORT.md, threads)"
        );
        Some(guest::enter(&self.shared))
    }
}

/// Puts back what the calling code ran on behalf of, also where a future panics.
struct Restore<'a> {
    shared: &'a Shared,
    before: Current,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        self.shared.current.set(self.before);
    }
}

/// While it lives, the runtime's tasks run.
struct Drive<'a> {
    handle: &'a Handle,
}

impl<'a> Drive<'a> {
    fn begin(handle: &'a Handle) -> Drive<'a> {
        let ready = handle.shared.with(|world| Some(world.runtimes.get_mut(&handle.runtime)?.begin_drive()));
        ready.into_iter().flatten().for_each(|task| handle.shared.inbox.push(task));
        Drive { handle }
    }
}

impl Drop for Drive<'_> {
    fn drop(&mut self) {
        self.handle.shared.with(|world| {
            if let Some(state) = world.runtimes.get_mut(&self.handle.runtime) {
                state.end_drive();
            }
        });
    }
}

/// `block_on` on a thread that is not the driver: the future is polled here, between turns of the loop.
fn block_on_thread<R>(
    shared: &Arc<Shared>,
    inside: Current,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> R {
    let waiting = shared.current.get();
    let _core = inside.task.map(|task| scheduler::take_core(shared, inside, task));
    threads::block(shared, Wait::Blocked("block_on"), true, |waker| {
        shared.current.set(inside);
        shared.wait.set(Wait::Waker);
        let mut cx = Context::from_waker(waker);
        let polled = super::real::poll_once(&mut cx, &mut poll);
        shared.current.set(waiting);
        match polled {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    })
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("runtime", &self.runtime.0)
            .field("node", &self.node.0)
            .finish_non_exhaustive()
    }
}

/// There is no current runtime.
#[derive(Debug)]
pub struct TryCurrentError {
    _private: (),
}

impl TryCurrentError {
    /// Whether no runtime was entered: always so here.
    pub fn is_missing_context(&self) -> bool {
        true
    }

    /// Whether the thread is ending: never so here.
    pub fn is_thread_local_destroyed(&self) -> bool {
        false
    }
}

impl fmt::Display for TryCurrentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CONTEXT_MISSING_ERROR)
    }
}

impl Error for TryCurrentError {}
