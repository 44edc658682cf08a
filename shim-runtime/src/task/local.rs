//! Mirror of `LocalSet` and `spawn_local`.
//!
//! Owns a little scheduler inside one task: its tasks run only while the set is polled, on its thread.
//! Must not know the world's table. Invariant: a local task is polled or dropped only by the set's owner.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::header::{Header, Inbox};
use super::join::{Completion, JoinCell};
use super::spawn::Spawned;
use super::{BoxFuture, Id, JoinError, JoinHandle, TaskRef};
use crate::context::{self, Current, Entered, Shared};
use crate::runtime::{self, RuntimeId};
use crate::scheduler::{self, Ready};
use crate::world::World;

/// How many local tasks one poll of the set may poll.
const TURN: usize = 61;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
    /// The local sets of this thread's local runtimes, by their runtimes' numbers.
    static OF_RUNTIMES: RefCell<BTreeMap<u64, Weak<Local>>> = const { RefCell::new(BTreeMap::new()) };
    static NEXT_ID: Cell<u64> = const { Cell::new(1 << 48) };
}

struct LocalTask {
    header: Arc<Header>,
    waker: Waker,
    future: Option<BoxFuture>,
    completion: Arc<dyn Completion>,
}

struct Local {
    inbox: Arc<Inbox>,
    tasks: RefCell<BTreeMap<u64, LocalTask>>,
    ready: RefCell<Ready>,
    number: u64,
    /// Whether a panic of a task ends the set.
    ends_on_panic: Cell<bool>,
    has_panicked: Cell<bool>,
}

/// Tasks that need not be `Send`, run where the set is awaited.
pub struct LocalSet {
    local: Rc<Local>,
}

/// Makes a local set the current one while it lives.
pub struct LocalEnterGuard {
    before: Option<Rc<Local>>,
}

impl fmt::Debug for LocalEnterGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalEnterGuard").finish()
    }
}

impl Drop for LocalEnterGuard {
    fn drop(&mut self) {
        let before = self.before.take();
        let _ = CURRENT.try_with(|current| std::mem::replace(&mut *current.borrow_mut(), before));
    }
}

fn enter(local: &Rc<Local>) -> LocalEnterGuard {
    // A set may be dropped while its thread ends, when there is nothing left to enter.
    let before = CURRENT.try_with(|current| current.borrow_mut().replace(Rc::clone(local)));
    LocalEnterGuard { before: before.ok().flatten() }
}

/// Spawns `future` on the current local set, or on the local runtime that is current.
///
/// # Panics
/// Outside of both; and on another thread than the local runtime's.
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let local = CURRENT.with(|current| current.borrow().clone()).or_else(of_current_runtime);
    match local {
        Some(local) => local.spawn(future),
        None => panic!("`spawn_local` called from outside of a `task::LocalSet` or `runtime::LocalRuntime`"),
    }
}

/// The local set of the current runtime, where that is a local one.
#[track_caller]
fn of_current_runtime() -> Option<Rc<Local>> {
    let number = runtime::current_number();
    let found = OF_RUNTIMES.with(|sets| sets.borrow().get(&number).and_then(Weak::upgrade));
    let is_local = || {
        let state =
            |world: &mut World| world.runtimes.get_ever(&RuntimeId(number)).is_some_and(|s| s.is_local);
        context::try_with_shared(|shared| shared.with(state)) == Some(true)
    };
    assert!(
        found.is_some() || !is_local(),
        "Local tasks can only be spawned on a LocalRuntime from the thread the runtime was created on"
    );
    found
}

impl Local {
    fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let number = context::try_with_shared(|shared| shared.with(|world| world.tasks.reserve_id()));
        let id = number.unwrap_or_else(|| NEXT_ID.with(|next| next.replace(next.get() + 1)));
        let cell = JoinCell::new();
        let header = Header::new(TaskRef { slot: 0, id }, Arc::clone(&self.inbox));
        let handle = JoinHandle::new(Arc::clone(&cell), header.clone(), Id(id));
        let task = LocalTask {
            waker: Waker::from(Arc::clone(&header)),
            header: Arc::clone(&header),
            future: Some(Box::pin(Spawned::new(future, Arc::clone(&cell)))),
            completion: cell,
        };
        self.tasks.borrow_mut().insert(id, task);
        header.notify();
        handle
    }

    /// Polls ready tasks; true where more are ready.
    fn turn(self: &Rc<Local>) -> bool {
        let _guard = enter(self);
        let _stays = Stays::here();
        let mut woken = Vec::new();
        let mut last = None;
        for _ in 0..TURN {
            self.inbox.drain_into(&mut woken);
            context::with_world(|world| {
                self.ready.borrow_mut().push_woken(&mut woken, last, &mut world.streams.schedule);
            });
            let picked =
                context::with_world(|world| self.ready.borrow_mut().pick(&mut world.streams.schedule));
            let Some(picked) = picked else { return false };
            last = Some(picked);
            self.run(picked);
            assert!(
                !self.has_panicked.get(),
                "a spawned task panicked and the LocalSet is configured to shutdown on unhandled panic"
            );
            if !real::task::coop::has_budget_remaining() {
                break;
            }
        }
        true
    }

    fn run(&self, picked: TaskRef) {
        let taken = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(&picked.id) else { return };
            task.header.begin_poll();
            task.future.take().map(|future| (future, task.waker.clone(), task.header.is_aborted()))
        };
        let Some((mut future, waker, aborted)) = taken else { return };
        let before = context::with_shared(|shared| {
            let before = shared.current.get();
            shared.current.set(Current { task_id: Some(picked.id), ..before });
            before
        });
        let polled = if aborted {
            let error = scheduler::drop_future(future, picked);
            Some(Some(error.unwrap_or_else(|| JoinError::cancelled(Id(picked.id)))))
        } else {
            let poll = move || (future.as_mut().poll(&mut Context::from_waker(&waker)), future);
            match catch_unwind(AssertUnwindSafe(poll)) {
                Ok((Poll::Pending, future)) => {
                    if let Some(task) = self.tasks.borrow_mut().get_mut(&picked.id) {
                        task.future = Some(future);
                    }
                    None
                }
                Ok((Poll::Ready(()), future)) => Some(scheduler::drop_future(future, picked)),
                Err(payload) => {
                    self.has_panicked.set(self.ends_on_panic.get());
                    Some(Some(JoinError::panic(Id(picked.id), payload)))
                }
            }
        };
        context::with_shared(|shared| shared.current.set(before));
        if let Some(error) = polled {
            let task = self.tasks.borrow_mut().remove(&picked.id);
            if let Some(task) = task {
                task.end(error);
            }
        }
    }
}

/// While it lives, `block_in_place` is refused: local tasks cannot move to another worker.
struct Stays {
    before: Option<(Arc<Shared>, Entered)>,
}

impl Stays {
    fn here() -> Stays {
        let before = context::try_with_shared(|shared| {
            let current = shared.current.get();
            if current.entered != (Entered::Yes { may_block_in_place: true }) {
                return None;
            }
            let entered = Entered::Yes { may_block_in_place: false };
            shared.current.set(Current { entered, ..current });
            Some((Arc::clone(shared), current.entered))
        });
        Stays { before: before.flatten() }
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        if let Some((shared, entered)) = self.before.take() {
            shared.current.set(Current { entered, ..shared.current.get() });
        }
    }
}

impl LocalTask {
    fn end(self, error: Option<JoinError>) {
        self.header.close();
        if let Some(error) = error {
            self.completion.fail(error);
        }
        self.completion.finish();
    }
}

impl LocalSet {
    /// An empty set.
    pub fn new() -> LocalSet {
        let number = NEXT_ID.with(|next| next.replace(next.get() + 1));
        LocalSet {
            local: Rc::new(Local {
                inbox: Arc::new(Inbox::nested()),
                tasks: RefCell::default(),
                ready: RefCell::new(Ready::new(crate::config::Policy::Random)),
                number,
                ends_on_panic: Cell::new(false),
                has_panicked: Cell::new(false),
            }),
        }
    }

    /// Makes this the local set of the runtime with this number.
    pub(crate) fn belongs_to(&self, runtime: u64) {
        OF_RUNTIMES.with(|sets| sets.borrow_mut().insert(runtime, Rc::downgrade(&self.local)));
    }

    /// Makes this set the current one until the guard is dropped.
    pub fn enter(&self) -> LocalEnterGuard {
        enter(&self.local)
    }

    /// Spawns `future` on this set; it runs when the set is awaited.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.local.spawn(future)
    }

    /// What a panic of a task does to the set.
    #[cfg(tokio_unstable)]
    pub fn unhandled_panic(&mut self, behavior: real::runtime::UnhandledPanic) -> &mut Self {
        let ends = matches!(behavior, real::runtime::UnhandledPanic::ShutdownRuntime);
        self.local.ends_on_panic.set(ends);
        self
    }

    /// Runs `future`, and this set's tasks meanwhile, on `rt`.
    #[track_caller]
    pub fn block_on<F>(&self, rt: &runtime::Runtime, future: F) -> F::Output
    where
        F: Future,
    {
        rt.block_on(self.run_until(future))
    }

    /// Runs `future`, and this set's tasks meanwhile.
    ///
    /// # Cancel safety
    /// As `future` itself.
    pub async fn run_until<F>(&self, future: F) -> F::Output
    where
        F: Future,
    {
        RunUntil { local_set: self, future }.await
    }

    /// The number of this set, among runtimes.
    pub fn id(&self) -> runtime::Id {
        runtime::Id(self.local.number)
    }
}

pin_project! {
    struct RunUntil<'a, F> {
        local_set: &'a LocalSet,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for RunUntil<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let local = &this.local_set.local;
        local.inbox.set_outer(cx.waker());
        {
            let _guard = enter(local);
            let _stays = Stays::here();
            if let Poll::Ready(output) = this.future.poll(cx) {
                return Poll::Ready(output);
            }
        }
        if local.turn() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Future for LocalSet {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.local.inbox.set_outer(cx.waker());
        if self.local.turn() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.local.tasks.borrow().is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Default for LocalSet {
    fn default() -> Self {
        LocalSet::new()
    }
}

impl Drop for LocalSet {
    fn drop(&mut self) {
        let _guard = enter(&self.local);
        let _stays = Stays::here();
        loop {
            let first = self.local.tasks.borrow_mut().pop_first();
            let Some((id, mut task)) = first else { return };
            let error =
                task.future.take().and_then(|future| scheduler::drop_future(future, TaskRef { slot: 0, id }));
            task.end(Some(error.unwrap_or_else(|| JoinError::cancelled(Id(id)))));
        }
    }
}

impl fmt::Debug for LocalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSet").finish()
    }
}
