//! Spawning: a future becomes a task of the current node and runtime.
//!
//! Owns the mirror of `tokio::spawn`. Invariant: a task inherits its node from whoever spawns it, and its
//! runtime from the handle it is spawned on.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::header::Header;
use super::join::JoinCell;
use super::{Body, Id, JoinError, JoinHandle, Task, TaskRef};
use crate::context::{self, Shared, Wait};
use crate::node::NodeId;
use crate::runtime::{CONTEXT_MISSING_ERROR, RuntimeId, task_hooks};
use crate::trace::Kind;

pin_project! {
    /// Polls a future and puts its output into the cell that its joiner reads.
    pub(crate) struct Spawned<F: Future> {
        #[pin]
        future: F,
        cell: Arc<JoinCell<F::Output>>,
    }
}

impl<F: Future> Spawned<F> {
    pub(crate) fn new(future: F, cell: Arc<JoinCell<F::Output>>) -> Spawned<F> {
        Spawned { future, cell }
    }
}

impl<F: Future> Future for Spawned<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        this.future.poll(cx).map(|output| this.cell.store(output))
    }
}

/// Where a task goes.
#[derive(Clone, Copy)]
pub(crate) struct SpawnOn {
    pub(crate) node: NodeId,
    pub(crate) runtime: RuntimeId,
    pub(crate) location: &'static Location<'static>,
    pub(crate) what: &'static str,
}

/// Spawns `future` on the current runtime.
///
/// # Panics
/// Outside a runtime.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let location = Location::caller();
    context::with_shared(|shared| {
        let current = shared.current.get();
        let Some(runtime) = current.runtime else { panic!("{CONTEXT_MISSING_ERROR}") };
        spawn_on(shared, future, SpawnOn { node: current.node, runtime, location, what: "task" })
    })
}

/// Spawns a future that need not be `Send`: the scheduler polls every future on its one thread.
pub(crate) fn spawn_on<F>(shared: &Arc<Shared>, future: F, on: SpawnOn) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let cell = JoinCell::new();
    let (task, alive) = shared.with(|world| {
        let alive = world.node(on.node).alive()
            && !world.closing
            && world.runtimes.get(&on.runtime).is_some_and(|runtime| !runtime.is_shut_down);
        (world.tasks.reserve(), alive)
    });
    let header = Header::new(task, Arc::clone(&shared.inbox));
    let handle = JoinHandle::new(Arc::clone(&cell), header.clone(), Id(task.id));
    let future = Box::pin(Spawned::new(future, Arc::clone(&cell)));
    if !alive {
        refuse(shared, task, &header, &cell, future);
        return handle;
    }
    let entry = Task {
        id: task.id,
        node: on.node,
        runtime: on.runtime,
        body: Body::Future(Some(future)),
        waker: Waker::from(Arc::clone(&header)),
        completion: Some(cell),
        location: on.location,
        what: on.what,
        wait: Wait::Waker,
        is_rewoken: false,
        header: Arc::clone(&header),
    };
    insert(shared, task, entry);
    task_hooks::call(shared, on.runtime, (task, on.location), |hooks| hooks.spawn.as_ref());
    header.notify();
    handle
}

pub(crate) fn insert(shared: &Shared, task: TaskRef, entry: Task) {
    let parent = shared.current.get().task_id.unwrap_or(0);
    shared.with(|world| {
        world.record(shared.now.get(), Kind::Spawn, task.id, parent);
        if let Some(runtime) = world.runtimes.get_mut(&entry.runtime) {
            runtime.spawned += 1;
            runtime.alive += 1;
        }
        world.tasks.insert(task, entry);
    });
}

/// A runtime that is shut down, and a node that is dead, cancel what is spawned on them at once.
fn refuse<F: Future>(
    shared: &Shared,
    task: TaskRef,
    header: &Header,
    cell: &JoinCell<F::Output>,
    future: Pin<Box<Spawned<F>>>,
) {
    shared.with(|world| world.tasks.release(task));
    drop(future);
    cell.store_error(JoinError::cancelled(Id(task.id)));
    header.close();
    cell.set_finished();
}
