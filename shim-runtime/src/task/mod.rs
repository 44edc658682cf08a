//! Tasks: the table of them, spawning, and the mirror of `tokio::task`.
//!
//! Owns a task's identity (node, runtime, where it was spawned) and its future between polls. Must not
//! know how the next task is chosen. Invariant: a future is out of the table while it is polled or dropped.

mod blocking;
#[cfg(tokio_unstable)]
mod builder;
pub(crate) mod header;
mod id;
mod join;
mod join_set;
#[cfg(tokio_unstable)]
mod join_set_builder;
mod local;
mod spawn;
mod yield_now;

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;

pub(crate) use blocking::spawn_blocking_on;
pub use blocking::{block_in_place, spawn_blocking, spawn_mandatory_blocking};
#[cfg(tokio_unstable)]
pub use builder::Builder;
pub use id::{Id, id, try_id};
pub use join::{AbortHandle, JoinError, JoinHandle};
pub(crate) use join::{Completion, payload_text};
pub use join_set::JoinSet;
#[cfg(tokio_unstable)]
pub use join_set_builder::Builder as JoinSetBuilder;
pub use local::{LocalEnterGuard, LocalSet, spawn_local};
pub use spawn::spawn;
pub(crate) use spawn::{SpawnOn, insert, spawn_on};
pub use yield_now::yield_now;

use crate::context::Wait;
use crate::node::NodeId;
use crate::runtime::RuntimeId;
use crate::threads::{Job, ThreadRef};
use header::Header;

/// Names a task: its place in the table, and its number, which is never used again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct TaskRef {
    pub(crate) slot: u32,
    pub(crate) id: u64,
}

pub(crate) type BoxFuture = Pin<Box<dyn Future<Output = ()>>>;

/// What is run when a task is picked.
pub(crate) enum Body {
    /// A future, here between polls.
    Future(Option<BoxFuture>),
    /// The future of the `block_on` that drives the scheduler; it lives on the driver's stack.
    Root,
    /// A thread that waits for the baton.
    Thread(ThreadRef),
    /// A closure that has no thread yet.
    Job(Option<Job>),
}

pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) node: NodeId,
    pub(crate) runtime: RuntimeId,
    pub(crate) body: Body,
    pub(crate) header: Arc<Header>,
    pub(crate) waker: Waker,
    pub(crate) completion: Option<Arc<dyn Completion>>,
    pub(crate) location: &'static Location<'static>,
    pub(crate) what: &'static str,
    pub(crate) wait: Wait,
    /// It was woken in the middle of a poll that waits, and must be made ready again after it.
    pub(crate) is_rewoken: bool,
}

/// The table of tasks.
#[derive(Default)]
pub(crate) struct Tasks {
    slots: Vec<Option<Task>>,
    free: Vec<u32>,
    next_id: u64,
}

impl Tasks {
    /// Reserves a place and a number.
    pub(crate) fn reserve(&mut self) -> TaskRef {
        self.next_id += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        TaskRef { slot, id: self.next_id }
    }

    /// A number for a task that lives elsewhere (in a `LocalSet`).
    pub(crate) fn reserve_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Gives back a reserved place.
    pub(crate) fn release(&mut self, task: TaskRef) {
        self.free.push(task.slot);
    }

    pub(crate) fn insert(&mut self, at: TaskRef, task: Task) {
        self.slots[at.slot as usize] = Some(task);
    }

    pub(crate) fn find(&mut self, task: TaskRef) -> Option<&mut Task> {
        self.slots.get_mut(task.slot as usize)?.as_mut().filter(|found| found.id == task.id)
    }

    pub(crate) fn remove(&mut self, task: TaskRef) -> Option<Task> {
        self.find(task)?;
        self.free.push(task.slot);
        self.slots[task.slot as usize].take()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (TaskRef, &mut Task)> {
        self.slots.iter_mut().enumerate().filter_map(|(slot, task)| {
            task.as_mut().map(|task| (TaskRef { slot: slot as u32, id: task.id }, task))
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TaskRef, &Task)> {
        self.slots.iter().enumerate().filter_map(|(slot, task)| {
            task.as_ref().map(|task| (TaskRef { slot: slot as u32, id: task.id }, task))
        })
    }
}
