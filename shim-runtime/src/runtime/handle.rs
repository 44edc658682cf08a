//! Mirror of `tokio::runtime::Handle`.
//!
//! Owns the way into a runtime from elsewhere in its run. Must not know the scheduler's order. Invariant: a
//! handle is used only by threads that its run knows; any other is refused loudly.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::metrics::RuntimeMetrics;
use super::{CONTEXT_MISSING_ERROR, Id, RuntimeFlavor, RuntimeId};
use crate::context::{self, Current, Shared, Wait};
use crate::node::NodeId;
use crate::task::{self, JoinHandle, SpawnOn};
use crate::{run, scheduler, threads};

/// The way into a runtime.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) runtime: RuntimeId,
    pub(crate) node: NodeId,
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
    _not_send: PhantomData<*mut ()>,
}

/// Undoes an entering when it is dropped.
struct Leave {
    shared: Arc<Shared>,
    before: Current,
    entered: bool,
}

impl fmt::Debug for EnterGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnterGuard").finish_non_exhaustive()
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
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
        let entered = context::enter_guarded(&self.shared);
        let before = self.shared.current.get();
        self.shared.current.set(Current { runtime: Some(self.runtime), node: self.node, ..before });
        let leave = Leave { shared: Arc::clone(&self.shared), before, entered };
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
            let name = shared.with(|world| world.runtimes.get(&runtime).and_then(|state| state.name.clone()));
            let name = name.map(Arc::from);
            Some(Handle { shared: Arc::clone(shared), runtime, node: current.node, name })
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
        self.refuse_strangers();
        let on = SpawnOn { node: self.node, runtime: self.runtime, location, what: "task" };
        task::spawn_on(&self.shared, future, on)
    }

    /// Runs `func` on a thread of its own.
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, func: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.refuse_strangers();
        let on = SpawnOn {
            node: self.node,
            runtime: self.runtime,
            location: Location::caller(),
            what: "blocking",
        };
        task::spawn_blocking_on(&self.shared, func, on)
    }

    /// As [`Handle::spawn_blocking`], for what runs although the runtime shuts down; `None` where it is down.
    #[track_caller]
    pub(crate) fn spawn_mandatory_blocking<F, R>(&self, func: F) -> Option<JoinHandle<R>>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.refuse_strangers();
        let runtime = self.runtime;
        let is_up =
            self.shared.with(|world| world.runtimes.get(&runtime).is_some_and(|state| !state.is_shut_down));
        let on = SpawnOn { node: self.node, runtime, location: Location::caller(), what: task::MANDATORY };
        is_up.then(|| task::spawn_blocking_on(&self.shared, func, on))
    }

    /// Runs `future` to its end on the calling thread.
    ///
    /// # Panics
    /// Within a runtime, as with tokio; and with the report of the run, where it can never end.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.refuse_strangers();
        let shared = &self.shared;
        let before = shared.current.get();
        assert!(
            !before.in_runtime || crate::task::blocking_allowed(),
            "Cannot start a runtime from within a runtime. This happens because a function (like `block_on`) \
             attempted to block the current thread while the thread is being used to drive asynchronous tasks."
        );
        let inside = Current { runtime: Some(self.runtime), node: self.node, task_id: None, ..before };
        let mut future = pin!(future);
        let location = Location::caller();
        let ended = shared.enter(|| {
            if threads::on_worker() || before.in_runtime {
                Ok(block_on_thread(shared, inside, |cx| future.as_mut().poll(cx)))
            } else {
                scheduler::drive(shared, inside, location, |cx| future.as_mut().poll(cx))
            }
        });
        shared.current.set(before);
        match ended {
            Ok(output) => output,
            Err(stalled) => run::stalled(stalled),
        }
    }

    /// What the runtime says that it is.
    pub fn runtime_flavor(&self) -> RuntimeFlavor {
        let state =
            |world: &mut crate::world::World| world.runtimes.get(&self.runtime).map(|state| state.flavor);
        self.shared.with(state).unwrap_or(RuntimeFlavor::CurrentThread)
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

    /// A thread that the run does not know would race with it.
    #[track_caller]
    fn refuse_strangers(&self) {
        let own = context::try_with_shared(|shared| Arc::ptr_eq(shared, &self.shared));
        assert!(
            own == Some(true) || run::may_enter(&self.shared),
            "simulation: a runtime handle was used from a thread that the simulation did not start; use \
             `tokio::task::spawn_blocking` instead of `std::thread::spawn` (see SUPPORT.md, threads)"
        );
    }
}

/// `block_on` on a thread that is not the driver: the future is polled here, between turns of the loop.
fn block_on_thread<R>(
    shared: &Arc<Shared>,
    inside: Current,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> R {
    let waiting = shared.current.get();
    threads::block(shared, Wait::Blocked("block_on"), true, |waker| {
        shared.current.set(Current { in_runtime: true, ..inside });
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
