//! The way to the world: the one thread-local, and what is read so often that it is not inside the world.
//!
//! Owns `Shared` (a run's world and its `Cell`s) and the functions that reach it. Must not know what the
//! world does. Invariant: no borrow of the world outlives the closure it was lent to.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::Waker;

use scoped_tls::scoped_thread_local;

use crate::clock::SimTime;
use crate::device::{Device, DeviceContext};
use crate::external::External;
use crate::host::pthread;
use crate::host::tsc::Counter;
use crate::node::NodeId;
use crate::run;
use crate::runtime::{RuntimeFlavor, RuntimeId};
use crate::task::TaskRef;
use crate::task::header::Inbox;
use crate::threads::guest::Door;
use crate::world::World;

scoped_thread_local!(static WORLD: Arc<Shared>);

thread_local! {
    /// Runtimes entered by a guard (`Handle::enter`) on a thread that is in no run.
    static ENTERED: RefCell<Vec<Guarded>> = const { RefCell::new(Vec::new()) };
}

struct Guarded {
    shared: Arc<Shared>,
}

/// On whose behalf code runs right now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    pub(crate) node: NodeId,
    pub(crate) task: Option<TaskRef>,
    /// What `tokio::task::id` shows; local tasks have one of their own inside their set's task.
    pub(crate) task_id: Option<u64>,
    pub(crate) runtime: Option<RuntimeId>,
    /// Whether a runtime is being driven on this stack.
    pub(crate) entered: Entered,
    /// The simulated worker that polls the task.
    pub(crate) worker: Option<u32>,
}

/// Whether a runtime is being driven on this stack, and what that forbids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entered {
    /// None is: blocking is allowed.
    No,
    /// One is: `block_on` is refused.
    Yes {
        /// Whether `block_in_place` is allowed.
        may_block_in_place: bool,
    },
    /// Inside `block_in_place`: blocking is allowed again.
    InPlace,
}

impl Entered {
    /// Inside a task, or a `block_on`, of a runtime of this kind.
    pub(crate) fn into(flavor: RuntimeFlavor) -> Entered {
        Entered::Yes { may_block_in_place: flavor == RuntimeFlavor::MultiThread }
    }

    /// Whether blocking is refused.
    pub(crate) fn forbids_blocking(self) -> bool {
        matches!(self, Entered::Yes { .. })
    }
}

impl Current {
    pub(crate) const NONE: Current = Current {
        node: NodeId(0),
        task: None,
        task_id: None,
        runtime: None,
        entered: Entered::No,
        worker: None,
    };
}

/// What a pending task waits for, as far as the resource told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Some waker: a channel, a lock, a notification.
    Waker,
    /// A timer, due at the given time.
    Timer(SimTime),
    /// A socket, by its number, and what for.
    Socket(u64, &'static str),
    /// Another task's end.
    Join(u64),
    /// A blocking call of a thread.
    Blocked(&'static str),
}

/// A run: its world, and what is read on every step.
pub(crate) struct Shared {
    pub(crate) now: Cell<SimTime>,
    pub(crate) current: Cell<Current>,
    pub(crate) wait: Cell<Wait>,
    /// Reads of the clock since the last step: a reader that spins must see time pass.
    pub(crate) clock_reads: Cell<u64>,
    /// The time-stamp counter.
    pub(crate) counter: Cell<Counter>,
    /// How often a thread stood in for a driver that had to wait.
    pub(crate) stand_ins: Cell<u64>,
    /// Whether a runtime has hooks for its tasks, or ends with a panic of one.
    pub(crate) has_task_hooks: Cell<bool>,
    /// Whether hooks of workers wait to be called.
    pub(crate) has_hooks: Cell<bool>,
    /// How many `time::pause`s are in force.
    pub(crate) paused: Cell<u32>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) external: Arc<External>,
    /// What the clocks show at the beginning, in nanoseconds: `CLOCK_MONOTONIC` and `CLOCK_REALTIME`.
    pub(crate) monotonic_base_ns: u64,
    pub(crate) wall_base_ns: u64,
    /// Whether the run is one of loose runtimes on a thread that is in no run.
    pub(crate) is_ambient: bool,
    /// Where threads from outside wait to be let in.
    pub(crate) door: Door,
    pub(crate) world: RefCell<World>,
}

impl Shared {
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        f(&mut self.world.borrow_mut())
    }

    /// Runs `f` with this run as the thread's own.
    pub(crate) fn enter<R>(self: &Arc<Shared>, f: impl FnOnce() -> R) -> R {
        if is_current(self) { f() } else { WORLD.set(self, f) }
    }

    /// Calls the wakers that a device collected.
    fn wake_all(wakes: &mut Vec<Waker>) {
        for waker in wakes.drain(..) {
            waker.wake();
        }
    }
}

fn is_current(shared: &Arc<Shared>) -> bool {
    WORLD.is_set() && WORLD.with(|own| Arc::ptr_eq(own, shared))
}

/// Whether the calling thread takes part in `shared`.
pub(crate) fn is_member(shared: &Arc<Shared>) -> bool {
    try_with_run(|own| Arc::ptr_eq(own, shared)).unwrap_or(false)
}

/// Whether the calling thread runs inside a simulation.
pub fn in_simulation() -> bool {
    WORLD.is_set() || holds_guard() || pthread::is_adopted() || run::has_ambient()
}

/// The run that the calling thread is in.
pub(crate) fn shared() -> Option<Arc<Shared>> {
    try_with_shared(Arc::clone)
}

/// Calls `f` with the run that the calling thread is in, if any.
pub(crate) fn try_with_shared<R>(f: impl FnOnce(&Arc<Shared>) -> R) -> Option<R> {
    if WORLD.is_set() {
        return Some(WORLD.with(f));
    }
    if let Some(shared) = pthread::run_of_adopted() {
        return Some(f(&shared));
    }
    let shared = guarded().or_else(run::existing_ambient)?;
    Some(f(&shared))
}

/// The run that the calling thread entered last by a guard it still holds.
fn guarded() -> Option<Arc<Shared>> {
    let last = |entered: &RefCell<Vec<Guarded>>| {
        entered.try_borrow().ok()?.last().map(|top| Arc::clone(&top.shared))
    };
    ENTERED.try_with(last).ok().flatten()
}

fn holds_guard() -> bool {
    ENTERED.try_with(|entered| entered.try_borrow().is_ok_and(|e| !e.is_empty())).unwrap_or(false)
}

/// Calls `f` with the run that the calling thread belongs to, for the host layer: also while it holds a guard, for it
/// has the baton meanwhile, and must give it away where it waits. Safe at any time, also while a thread ends.
pub(crate) fn try_with_run<R>(f: impl FnOnce(&Arc<Shared>) -> R) -> Option<R> {
    if WORLD.is_set() {
        return Some(WORLD.with(f));
    }
    pthread::run_of_adopted().or_else(guarded).or_else(run::existing_ambient).map(|shared| f(&shared))
}

/// Whether the calling thread belongs to a run.
pub(crate) fn in_run() -> bool {
    WORLD.is_set() || pthread::is_adopted() || holds_guard() || run::has_ambient()
}

/// The run that the calling thread belongs to.
pub(crate) fn run_of_thread() -> Option<Arc<Shared>> {
    try_with_run(Arc::clone)
}

/// Calls `f` with the run that the calling thread is in.
///
/// # Panics
/// Outside a simulation, with tokio's text for a missing runtime.
#[track_caller]
pub(crate) fn with_shared<R>(f: impl FnOnce(&Arc<Shared>) -> R) -> R {
    match try_with_shared(f) {
        Some(result) => result,
        None => panic!("{}", crate::runtime::CONTEXT_MISSING_ERROR),
    }
}

/// Calls `f` with the world of the thread's run.
#[track_caller]
pub(crate) fn with_world<R>(f: impl FnOnce(&mut World) -> R) -> R {
    with_shared(|shared| shared.with(f))
}

/// Makes `shared` the thread's run until [`leave`] is called; for guards, which no closure can scope.
pub(crate) fn enter_guarded(shared: &Arc<Shared>) -> bool {
    if is_member(shared) {
        return false;
    }
    ENTERED.with(|entered| entered.borrow_mut().push(Guarded { shared: Arc::clone(shared) }));
    true
}

/// Undoes one [`enter_guarded`].
pub(crate) fn leave_guarded() {
    let top = ENTERED.try_with(|entered| entered.borrow_mut().pop());
    drop(top);
}

/// Notes what the task that is being polled waits for, for the report of a stalled run.
pub fn waits_for(wait: Wait) {
    try_with_shared(|shared| shared.wait.set(wait));
}

pub(crate) fn try_with_device<R>(
    kind: TypeId,
    make: impl FnOnce() -> Box<dyn Device>,
    f: impl FnOnce(&mut dyn Device, &mut DeviceContext<'_>) -> R,
) -> Option<R> {
    try_with_shared(|shared| with_device_of(shared, shared.current.get().node, kind, make, f))
}

/// Tells every device of the world something, on behalf of `caller`.
pub(crate) fn tell_devices(
    shared: &Shared,
    caller: NodeId,
    mut tell: impl FnMut(&mut dyn Device, &mut DeviceContext<'_>),
) {
    let wakes = shared.with(|world| {
        let mut wakes = Vec::new();
        for (id, device) in world.devices.iter_mut() {
            let mut cx = DeviceContext {
                device: id,
                now: shared.now.get(),
                wall_base_ns: shared.wall_base_ns,
                caller,
                nodes: &world.nodes,
                rng: &mut world.streams,
                wakes: &mut wakes,
                queue: &mut world.queue,
                trace: &mut world.trace,
            };
            tell(device.as_mut(), &mut cx);
        }
        wakes
    });
    wakes.into_iter().for_each(Waker::wake);
}

pub(crate) fn with_device_of<R>(
    shared: &Shared,
    node: NodeId,
    kind: TypeId,
    make: impl FnOnce() -> Box<dyn Device>,
    f: impl FnOnce(&mut dyn Device, &mut DeviceContext<'_>) -> R,
) -> R {
    let (result, mut wakes) = {
        let mut world = shared.world.borrow_mut();
        let world = &mut *world;
        let mut wakes = std::mem::take(&mut world.wakes);
        let (id, device, fresh) = world.devices.find_or_make(kind, make);
        let mut cx = DeviceContext {
            device: id,
            now: shared.now.get(),
            wall_base_ns: shared.wall_base_ns,
            caller: node,
            nodes: &world.nodes,
            rng: &mut world.streams,
            wakes: &mut wakes,
            queue: &mut world.queue,
            trace: &mut world.trace,
        };
        if fresh {
            for node in world.nodes.iter().filter(|node| node.machine == node.id) {
                device.node_changed(node.id, &node.name, crate::device::NodeChange::Started, &mut cx);
            }
        }
        let result = f(device, &mut cx);
        if wakes.is_empty() {
            world.wakes = wakes;
            return result;
        }
        (result, wakes)
    };
    Shared::wake_all(&mut wakes);
    shared.with(|world| {
        if world.wakes.capacity() < wakes.capacity() {
            world.wakes = wakes;
        }
    });
    result
}
