//! Mirror of `tokio::runtime::RuntimeMetrics`: the numbers that are stable in tokio.
//!
//! Must not count anything itself. Invariant: every number is the world's own.

use super::{Handle, RuntimeState};

/// What a runtime has done so far.
#[derive(Clone, Debug)]
pub struct RuntimeMetrics {
    pub(crate) handle: Handle,
}

impl RuntimeMetrics {
    fn state<R: Default>(&self, read: impl FnOnce(&RuntimeState) -> R) -> R {
        self.handle
            .shared
            .with(|world| world.runtimes.get(&self.handle.runtime).map(read))
            .unwrap_or_default()
    }

    /// How many workers the runtime says that it has.
    pub fn num_workers(&self) -> usize {
        self.state(|state| state.workers)
    }

    /// How many of its tasks are alive.
    pub fn num_alive_tasks(&self) -> usize {
        self.state(|state| state.alive as usize)
    }

    /// How many tasks wait in the queue that all workers share.
    pub fn global_queue_depth(&self) -> usize {
        self.handle.shared.with(|world| world.ready.len())
    }
}
