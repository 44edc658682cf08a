//! How a run's threads end with it.
//!
//! Owns the order: those that wait unwind, then those that have nothing to do end. Must not know why a run is over.
//! Invariant: whatever thread of the engine can end is over, to the operating system too, before the run is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{ThreadRef, resume};
use crate::context::Shared;
use crate::task::{Body, Task, TaskRef};

/// Marks the thread of a task whose node is gone; it ends when it is next picked.
pub(crate) fn kill(thread: &ThreadRef) {
    thread.killed.store(true, Ordering::Release);
}

/// Ends every thread that waits, at the end of a run. Called by the driver.
pub(crate) fn end_all(shared: &Arc<Shared>) {
    let waiting: Vec<(TaskRef, ThreadRef)> = shared.with(|world| {
        let threads = world.tasks.iter().filter_map(|(task, entry)| match &entry.body {
            Body::Thread(thread) => Some((task, Arc::clone(thread))),
            _ => None,
        });
        threads.collect()
    });
    for (task, thread) in waiting {
        kill(&thread);
        resume(shared, task, &thread);
        let entry: Option<Task> = shared.with(|world| world.tasks.remove(task));
        drop(entry);
    }
    let (idle, reserve) = shared
        .with(|world| (std::mem::take(&mut world.threads.idle), std::mem::take(&mut world.threads.reserve)));
    let idle = idle.into_iter().map(|(_, thread)| thread);
    for thread in reserve.into_iter().chain(idle) {
        kill(&thread);
        thread.parker.unpark();
        thread.join();
    }
}
