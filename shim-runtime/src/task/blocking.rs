//! Mirror of `spawn_blocking` and `block_in_place`.
//!
//! Owns how a closure becomes a task with a thread. Must not know how threads pass the baton. Invariant: a
//! closure that was aborted before it began never runs.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::Waker;

use super::header::Header;
use super::join::JoinCell;
use super::{Body, Id, JoinError, JoinHandle, SpawnOn, Task};
use crate::context::{self, Current, Entered, Shared, Wait};
use crate::runtime::Handle;
use crate::threads::{Job, Killed};

/// Runs `f` on a thread of its own, which blocks nothing but itself.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn spawn_blocking<F, R>(f: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    Handle::current().spawn_blocking(f)
}

/// As [`spawn_blocking`], for what must happen once it was asked for (a file's write): it runs although the
/// runtime shuts down before it began. `None` where the runtime is down already.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn spawn_mandatory_blocking<F, R>(f: F) -> Option<JoinHandle<R>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    Handle::current().spawn_mandatory_blocking(f)
}

pub(crate) fn spawn_blocking_on<F, R>(shared: &Arc<Shared>, f: F, on: SpawnOn) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let cell: Arc<JoinCell<R>> = JoinCell::new();
    let task = shared.with(|world| world.tasks.reserve());
    let header = Header::new(task, Arc::clone(&shared.inbox));
    let handle = JoinHandle::new(Arc::clone(&cell), header.clone(), Id(task.id));
    let output = Arc::clone(&cell);
    let run = move || match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => output.store(value),
        Err(payload) if payload.is::<Killed>() => {
            output.store_error(JoinError::cancelled(Id(task.id)));
            resume_unwind(payload);
        }
        Err(payload) => output.store_error(JoinError::panic(Id(task.id), payload)),
    };
    let current = Current {
        node: on.node,
        task: Some(task),
        task_id: Some(task.id),
        runtime: Some(on.runtime),
        entered: Entered::No,
        worker: None,
    };
    let entry = Task {
        id: task.id,
        node: on.node,
        runtime: on.runtime,
        body: Body::Job(Some(Job { run: Box::new(run), current })),
        waker: Waker::from(Arc::clone(&header)),
        completion: Some(cell),
        location: on.location,
        what: on.what,
        wait: Wait::Waker,
        is_rewoken: false,
        header: Arc::clone(&header),
    };
    let refused = shared.with(|world| {
        !world.node(on.node).alive()
            || world.closing
            || world.runtimes.get(&on.runtime).is_none_or(|runtime| runtime.is_shut_down)
    });
    super::insert(shared, task, entry);
    shared.with(|world| {
        if let Some(runtime) = world.runtimes.get_mut(&on.runtime) {
            runtime.jobs += 1;
        }
    });
    header.notify();
    if refused {
        header.abort();
    }
    handle
}

/// Runs `f`, which may block, on the calling thread; another thread drives the scheduler meanwhile.
///
/// # Panics
/// On a single-threaded runtime, as with tokio.
#[track_caller]
pub fn block_in_place<F, R>(f: F) -> R
where
    F: FnOnce() -> R,
{
    let current = context::try_with_shared(|shared| (Arc::clone(shared), shared.current.get()));
    let Some((shared, before)) = current else { return f() };
    match before.entered {
        Entered::Yes { may_block_in_place: false } => {
            panic!("can call blocking only when running on the multi-threaded runtime")
        }
        Entered::No | Entered::InPlace => return f(),
        Entered::Yes { may_block_in_place: true } => {}
    }
    shared.current.set(Current { entered: Entered::InPlace, ..before });
    let _leave = Leave { shared: &shared, entered: before.entered };
    crate::runtime::real::leave(f)
}

struct Leave<'a> {
    shared: &'a Shared,
    entered: Entered,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let now = self.shared.current.get();
        self.shared.current.set(Current { entered: self.entered, ..now });
    }
}
