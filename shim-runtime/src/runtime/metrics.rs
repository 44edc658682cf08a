//! Mirror of `tokio::runtime::RuntimeMetrics`: the numbers that are stable in tokio.
//!
//! Must not count anything itself. Invariant: every number is the world's own.

use std::time::Duration;

use super::state::Worker;
use super::{Handle, RuntimeState};
use crate::task::Body;

/// What a runtime has done so far; also after its end.
#[derive(Clone, Debug)]
pub struct RuntimeMetrics {
    pub(crate) handle: Handle,
}

impl RuntimeMetrics {
    pub(super) fn state<R: Default>(&self, read: impl FnOnce(&RuntimeState) -> R) -> R {
        let read =
            || self.handle.shared.with(|world| world.runtimes.get_ever(&self.handle.runtime).map(read));
        self.handle.inside(read).unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn worker<R>(&self, worker: usize, read: impl FnOnce(&Worker) -> R) -> R {
        let found = self.state(|state| Some(state.workers.get(worker).cloned().ok_or(state.workers.len())));
        match found {
            Some(Ok(worker)) => read(&worker),
            Some(Err(count)) => panic!("index out of bounds: the len is {count} but the index is {worker}"),
            None => panic!("invariant: a runtime is known for as long as its run"),
        }
    }

    /// How many workers the runtime says that it has.
    pub fn num_workers(&self) -> usize {
        self.state(|state| state.workers.len())
    }

    /// How many of its tasks are alive.
    pub fn num_alive_tasks(&self) -> usize {
        self.state(|state| state.alive as usize)
    }

    /// How many tasks are ready and wait for a worker: the workers of a simulated runtime share one queue.
    pub fn global_queue_depth(&self) -> usize {
        let shared = &self.handle.shared;
        self.handle.inside(|| {
            shared.with(|world| {
                let runtime = self.handle.runtime;
                let kept = world.runtimes.get(&runtime).map_or(0, RuntimeState::unserved);
                let mut ready = shared.inbox.waiting();
                ready.extend(world.ready.iter());
                let own = ready.into_iter().filter(|task| {
                    let entry = world.tasks.find(*task);
                    entry.is_some_and(|e| e.runtime == runtime && matches!(e.body, Body::Future(Some(_))))
                });
                kept + own.count()
            })
        })
    }

    /// How long the worker was busy, in virtual time.
    ///
    /// # Panics
    /// Where there is no such worker.
    #[track_caller]
    pub fn worker_total_busy_duration(&self, worker: usize) -> Duration {
        self.worker(worker, |worker| worker.busy)
    }

    /// How often the worker parked.
    ///
    /// # Panics
    /// Where there is no such worker.
    #[track_caller]
    pub fn worker_park_count(&self, worker: usize) -> u64 {
        self.worker(worker, |worker| worker.parks)
    }

    /// How often the worker parked or was unparked: odd while it is parked.
    ///
    /// # Panics
    /// Where there is no such worker.
    #[track_caller]
    pub fn worker_park_unpark_count(&self, worker: usize) -> u64 {
        self.worker(worker, |worker| worker.parks_and_unparks)
    }
}
