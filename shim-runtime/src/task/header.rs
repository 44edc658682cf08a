//! Wakers, and the inbox that wakes go into.
//!
//! Owns the part of a task that wakers share. Must not know the task's future. Invariant: a task stands in
//! the inbox at most once between two polls.
//!
//! The inbox is the one lock of the engine: a `Waker` may be called from any thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use super::TaskRef;

/// Where wakes wait for the scheduler.
#[derive(Default)]
pub(crate) struct Inbox {
    woken: Mutex<Vec<TaskRef>>,
    /// For an inbox inside a task (a `LocalSet`'s): wakes the task around it.
    outer: Option<Mutex<Option<Waker>>>,
    /// So that the scheduler need not lock to see that nothing came.
    count: AtomicU64,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Vec<TaskRef>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An inbox whose wakes also wake the task around it.
    pub(crate) fn nested() -> Inbox {
        Inbox { outer: Some(Mutex::new(None)), ..Inbox::default() }
    }

    /// Names the task around a nested inbox.
    pub(crate) fn set_outer(&self, waker: &Waker) {
        if let Some(outer) = &self.outer {
            let mut outer = outer.lock().unwrap_or_else(PoisonError::into_inner);
            if !outer.as_ref().is_some_and(|own| own.will_wake(waker)) {
                *outer = Some(waker.clone());
            }
        }
    }

    pub(crate) fn push(&self, task: TaskRef) {
        {
            let mut woken = self.lock();
            woken.push(task);
            self.count.store(woken.len() as u64, Ordering::Release);
        }
        if let Some(outer) = &self.outer {
            let waker = outer.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Moves what was woken into `out`, in task-id order.
    pub(crate) fn drain_into(&self, out: &mut Vec<TaskRef>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut woken = self.lock();
        self.count.store(0, Ordering::Release);
        std::mem::swap(&mut *woken, out);
        drop(woken);
        if out.len() > 1 {
            out.sort_unstable_by_key(|task| task.id);
        }
    }

    /// What is in it, for metrics.
    pub(crate) fn waiting(&self) -> Vec<TaskRef> {
        self.lock().clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }
}

/// What a task's wakers share.
pub(crate) struct Header {
    pub(crate) task: TaskRef,
    notified: AtomicBool,
    aborted: AtomicBool,
    finished: AtomicBool,
    inbox: Arc<Inbox>,
}

impl Header {
    pub(crate) fn new(task: TaskRef, inbox: Arc<Inbox>) -> Arc<Header> {
        let flag = || AtomicBool::new(false);
        Arc::new(Header { task, notified: flag(), aborted: flag(), finished: flag(), inbox })
    }

    pub(crate) fn notify(&self) {
        if !self.notified.swap(true, Ordering::AcqRel) {
            self.inbox.push(self.task);
        }
    }

    /// The task is about to be polled: wakes from here on count for its next poll.
    pub(crate) fn begin_poll(&self) {
        self.notified.store(false, Ordering::Release);
    }

    /// The task is over: wakes mean nothing any more.
    pub(crate) fn close(&self) {
        self.notified.store(true, Ordering::Release);
        self.finished.store(true, Ordering::Release);
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    pub(crate) fn is_notified(&self) -> bool {
        self.notified.load(Ordering::Acquire)
    }

    /// Asks the scheduler to drop the task instead of polling it.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        self.notify();
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }
}

impl Wake for Header {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}
