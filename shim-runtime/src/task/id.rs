//! Mirror of `tokio::task::Id`.
//!
//! Owns the public number of a task. Invariant: numbers are the run's own and count up from 1, so that
//! they are the same in every run of a seed.

use std::fmt;

use crate::context;

/// A number that tells a task from the others of its run.
#[derive(Clone, Copy, Debug, Hash, Eq, PartialEq, Ord, PartialOrd)]
pub struct Id(pub(crate) u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of the task that is running.
///
/// # Panics
/// Outside a task; in particular in `block_on`, and in a `spawn_blocking` closure's thread after its end.
#[track_caller]
pub fn id() -> Id {
    try_id().expect("Can't get a task id when not inside a task")
}

/// The number of the task that is running, or `None` outside a task.
pub fn try_id() -> Option<Id> {
    context::try_with_shared(|shared| shared.current.get().task_id).flatten().map(Id)
}
