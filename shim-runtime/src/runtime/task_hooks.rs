//! What a program wants to be called for its tasks (`tokio_unstable`): spawned, polled, over.
//!
//! Owns the calls. Must not know the scheduler. Invariant: a hook is called with the world given back, and only in
//! runs where some runtime has hooks is anything looked up.

#![cfg_attr(
    not(tokio_unstable),
    allow(dead_code, unreachable_pub, reason = "only unstable settings ask for hooks")
)]

use std::marker::PhantomData;
use std::panic::Location;
use std::sync::Arc;

use super::RuntimeId;
use crate::context::Shared;
use crate::task::{Id, TaskRef};

/// What a hook is told of a task.
#[allow(missing_debug_implementations, reason = "tokio's has none")]
pub struct TaskMeta<'a> {
    id: Id,
    spawned_at: &'static Location<'static>,
    _of_the_call: PhantomData<&'a ()>,
}

impl TaskMeta<'_> {
    /// The number of the task.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Where the task was spawned.
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }
}

pub(crate) type TaskHook = Arc<dyn Fn(&TaskMeta<'_>) + Send + Sync>;

/// The hooks of a runtime's tasks.
#[derive(Clone, Default)]
pub(crate) struct TaskHooks {
    pub(crate) spawn: Option<TaskHook>,
    pub(crate) before_poll: Option<TaskHook>,
    pub(crate) after_poll: Option<TaskHook>,
    pub(crate) terminate: Option<TaskHook>,
}

impl TaskHooks {
    pub(crate) fn any(&self) -> bool {
        self.spawn.is_some()
            || self.before_poll.is_some()
            || self.after_poll.is_some()
            || self.terminate.is_some()
    }
}

/// Calls the hook that `which` names, for a task of `runtime`, if there is one.
pub(crate) fn call(
    shared: &Shared,
    runtime: RuntimeId,
    (task, spawned_at): (TaskRef, &'static Location<'static>),
    which: impl FnOnce(&TaskHooks) -> Option<&TaskHook>,
) {
    if !shared.has_task_hooks.get() {
        return;
    }
    let hook = shared.with(|world| which(&world.runtimes.get(&runtime)?.task_hooks).cloned());
    if let Some(hook) = hook {
        hook(&TaskMeta { id: Id(task.id), spawned_at, _of_the_call: PhantomData });
    }
}
