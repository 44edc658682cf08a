//! Mirror of `tokio::task::JoinSet`.
//!
//! Owns the handles of a set of tasks, and the order in which their ends were noticed. Must not know the
//! scheduler. Invariant: a handle is polled only when its task said that it ended, so a set of many tasks
//! costs no more for each of them than a small one.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::{AbortHandle, Id, JoinError, JoinHandle, LocalSet};
use crate::runtime::Handle;

/// A set of tasks that are joined in the order of their ends; dropping it aborts them.
pub struct JoinSet<T> {
    handles: BTreeMap<u64, JoinHandle<T>>,
    ended: Arc<Ended>,
}

#[derive(Default)]
struct Ended {
    state: Mutex<EndedState>,
}

#[derive(Default)]
struct EndedState {
    ids: VecDeque<u64>,
    waker: Option<Waker>,
}

/// The waker of one task's handle: notes that the task ended and wakes whoever polls the set.
struct Member {
    id: u64,
    ended: Arc<Ended>,
}

impl Wake for Member {
    fn wake(self: Arc<Self>) {
        let waker = {
            let mut state = self.ended.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.ids.push_back(self.id);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> JoinSet<T> {
    /// An empty set.
    pub fn new() -> JoinSet<T> {
        JoinSet { handles: BTreeMap::new(), ended: Arc::default() }
    }

    /// How many tasks have not been joined.
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Whether every task has been joined.
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }
}

impl<T: 'static> JoinSet<T> {
    /// Spawns `task` on the current runtime.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn spawn<F>(&mut self, task: F) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.insert(super::spawn(task))
    }

    /// Spawns `task` on the runtime of `handle`.
    #[track_caller]
    pub fn spawn_on<F>(&mut self, task: F, handle: &Handle) -> AbortHandle
    where
        F: Future<Output = T> + Send + 'static,
        T: Send,
    {
        self.insert(handle.spawn_any(task, Location::caller()))
    }

    /// Spawns `task` on the current local set.
    ///
    /// # Panics
    /// Outside a local set.
    #[track_caller]
    pub fn spawn_local<F>(&mut self, task: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.insert(super::spawn_local(task))
    }

    /// Spawns `task` on `local_set`.
    #[track_caller]
    pub fn spawn_local_on<F>(&mut self, task: F, local_set: &LocalSet) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        self.insert(local_set.spawn_local(task))
    }

    /// Runs `f` on a thread of its own.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, f: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.insert(super::spawn_blocking(f))
    }

    /// Runs `f` on a thread of its own, on the runtime of `handle`.
    #[track_caller]
    pub fn spawn_blocking_on<F>(&mut self, f: F, handle: &Handle) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        self.insert(handle.spawn_blocking(f))
    }

    pub(super) fn insert(&mut self, mut handle: JoinHandle<T>) -> AbortHandle {
        let abort = handle.abort_handle();
        let id = handle.id().0;
        handle.set_join_waker(&Waker::from(Arc::new(Member { id, ended: Arc::clone(&self.ended) })));
        self.handles.insert(id, handle);
        abort
    }

    /// Spawns into the set with a name.
    #[cfg(tokio_unstable)]
    pub fn build_task(&mut self) -> super::JoinSetBuilder<'_, T>
    where
        T: 'static,
    {
        super::JoinSetBuilder::new(self)
    }

    /// Waits for the next task to end; `None` where the set is empty.
    ///
    /// # Cancel safety
    /// No output is lost where this is dropped.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// As [`JoinSet::join_next`], with the task's number.
    ///
    /// # Cancel safety
    /// No output is lost where this is dropped.
    pub async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        poll_fn(|cx| self.poll_join_next_with_id(cx)).await
    }

    /// The output of a task that has ended, if there is one.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        self.try_join_next_with_id().map(|result| result.map(|(_, output)| output))
    }

    /// As [`JoinSet::try_join_next`], with the task's number.
    pub fn try_join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        let mut cx = Context::from_waker(Waker::noop());
        let polled =
            std::pin::pin!(real::task::unconstrained(poll_fn(|cx| Poll::Ready(self.poll_ended(cx)))));
        match polled.poll(&mut cx) {
            Poll::Ready(output) => output,
            Poll::Pending => None,
        }
    }

    /// Polls for the next task to end.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        self.poll_join_next_with_id(cx).map(|next| next.map(|result| result.map(|(_, output)| output)))
    }

    /// As [`JoinSet::poll_join_next`], with the task's number.
    pub fn poll_join_next_with_id(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<(Id, T), JoinError>>> {
        if self.handles.is_empty() {
            return Poll::Ready(None);
        }
        {
            let mut state = self.ended.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.ids.is_empty() {
                // A waker that is dropped may run code of its own: not while the state is locked.
                let old = match &mut state.waker {
                    Some(waker) if waker.will_wake(cx.waker()) => None,
                    waker => waker.replace(cx.waker().clone()),
                };
                drop(state);
                drop(old);
                return Poll::Pending;
            }
        }
        match self.poll_ended(cx) {
            Some(output) => Poll::Ready(Some(output)),
            // The budget is spent, or an id was noted twice: look again.
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Option<Result<(Id, T), JoinError>> {
        loop {
            let id = self.ended.state.lock().unwrap_or_else(PoisonError::into_inner).ids.pop_front()?;
            let Some(handle) = self.handles.get_mut(&id) else { continue };
            return match Pin::new(handle).poll(cx) {
                Poll::Ready(output) => {
                    self.handles.remove(&id);
                    Some(output.map(|output| (Id(id), output)))
                }
                Poll::Pending => {
                    self.ended.state.lock().unwrap_or_else(PoisonError::into_inner).ids.push_front(id);
                    None
                }
            };
        }
    }

    /// Aborts every task and waits for their ends.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Waits for every task; outputs in the order of their ends.
    ///
    /// # Panics
    /// With a task's panic, or where a task was cancelled.
    pub async fn join_all(mut self) -> Vec<T> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            match result {
                Ok(output) => outputs.push(output),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(error) => panic!("{error}"),
            }
        }
        outputs
    }

    /// Aborts every task; they are still to be joined.
    pub fn abort_all(&mut self) {
        self.handles.values().for_each(JoinHandle::abort);
    }

    /// Lets every task go on by itself.
    pub fn detach_all(&mut self) {
        self.handles.clear();
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        for handle in self.handles.values() {
            handle.abort();
        }
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        JoinSet::new()
    }
}

impl<T, F> FromIterator<F> for JoinSet<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn from_iter<I: IntoIterator<Item = F>>(iter: I) -> Self {
        let mut set = JoinSet::new();
        set.extend(iter);
        set
    }
}

impl<T, F> Extend<F> for JoinSet<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn extend<I: IntoIterator<Item = F>>(&mut self, iter: I) {
        iter.into_iter().for_each(|task| {
            self.spawn(task);
        });
    }
}
