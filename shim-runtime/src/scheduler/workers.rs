//! The simulated workers at work: one that waits in the middle of a poll, and the hooks of those that park.
//!
//! Owns no counts: `runtime::state` does. Must not choose tasks. Invariant: hooks are called with the world given
//! back, inside their runtime.

use std::sync::Arc;

use crate::context::{Current, Entered, Shared};
use crate::runtime::{Hook, RuntimeFlavor, RuntimeId};

/// The worker that polls the calling task waits with it, as it does in a call that blocks.
pub(crate) fn hold_worker(shared: &Arc<Shared>, current: Current) -> Option<HeldWorker> {
    let runtime = current.runtime.filter(|_| current.entered.forbids_blocking())?;
    let held = shared.with(|world| {
        let state = world.runtimes.get_mut(&runtime)?;
        let single = state.flavor == RuntimeFlavor::CurrentThread;
        let worker = current.worker.or(if single { Some(0) } else { None })?;
        state.hold(worker, true);
        Some(worker)
    });
    held.map(|worker| HeldWorker { shared: Arc::clone(shared), runtime, worker })
}

/// A worker that waits in the middle of a poll; it goes on when this is dropped.
pub(crate) struct HeldWorker {
    shared: Arc<Shared>,
    runtime: RuntimeId,
    worker: u32,
}

impl Drop for HeldWorker {
    fn drop(&mut self) {
        let ready = self
            .shared
            .with(|world| world.runtimes.get_mut(&self.runtime).map(|state| state.hold(self.worker, false)));
        ready.into_iter().flatten().for_each(|task| self.shared.inbox.push(task));
    }
}

/// Calls hooks of workers, each inside its runtime.
pub(super) fn call_hooks(shared: &Shared, hooks: Vec<(RuntimeId, Hook)>) {
    let before = shared.current.get();
    for (runtime, hook) in hooks {
        let may_block_in_place = false;
        let entered = Entered::Yes { may_block_in_place };
        let node = shared.with(|world| world.runtimes.get_ever(&runtime).map(|state| state.node));
        let node = node.unwrap_or(before.node);
        shared.current.set(Current { runtime: Some(runtime), node, entered, ..Current::NONE });
        hook();
    }
    shared.current.set(before);
}
