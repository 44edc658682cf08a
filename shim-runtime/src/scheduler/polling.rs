//! Polling one task, and what its end means.
//!
//! Owns the catching of panics, and the order of an end: the future is dropped, the task leaves the table,
//! the joiner is told. Must not choose tasks. Invariant: the world is not borrowed while a future is polled
//! or dropped.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::context::{Current, Shared};
use crate::host::watchdog;
use crate::runtime::RuntimeId;
use crate::runtime::task_hooks::{self, TaskHook, TaskHooks};
use crate::task::header::Header;
use crate::task::{Body, BoxFuture, Id, JoinError, Task, TaskRef};
use crate::trace::Kind;

/// A future that was taken out of the table to be polled.
pub(super) struct Polling {
    pub(super) future: BoxFuture,
    pub(super) waker: Waker,
    pub(super) header: Arc<Header>,
    pub(super) location: &'static Location<'static>,
}

/// Calls `f` so that a backtrace from inside ends there.
pub(super) fn protected<R>(f: impl FnOnce() -> R) -> R {
    __rust_begin_short_backtrace(f)
}

/// std ends a short backtrace at a function of this name: what is above it is the scheduler's.
#[inline(never)]
fn __rust_begin_short_backtrace<R>(f: impl FnOnce() -> R) -> R {
    let result = f();
    std::hint::black_box(());
    result
}

pub(super) fn poll_task(shared: &Shared, task: TaskRef, polling: Polling) {
    let Polling { future, waker, header, location } = polling;
    header.begin_poll();
    let runtime = shared.current.get().runtime;
    let hook = |which: fn(&TaskHooks) -> Option<&TaskHook>| {
        if let Some(runtime) = runtime {
            task_hooks::call(shared, runtime, (task, location), which);
        }
    };
    hook(|hooks| hooks.before_poll.as_ref());
    watchdog::poll_begins(task.id, location);
    // A future that panics is dropped by the unwinding, as with tokio: its destructor sees that.
    let polled = catch_unwind(AssertUnwindSafe(|| {
        let mut future = future;
        let poll = || future.as_mut().poll(&mut Context::from_waker(&waker));
        (__rust_begin_short_backtrace(poll), future)
    }));
    watchdog::poll_ends();
    hook(|hooks| hooks.after_poll.as_ref());
    count_forced_yield(shared, runtime, matches!(polled, Ok((Poll::Pending, _))));
    match polled {
        Ok((Poll::Pending, future)) => {
            let wait = shared.wait.get();
            let late = shared.with(|world| match world.tasks.find(task) {
                Some(entry) => {
                    entry.wait = wait;
                    entry.body = Body::Future(Some(future));
                    if std::mem::take(&mut entry.is_rewoken) {
                        shared.inbox.push(task);
                    }
                    None
                }
                // The task's node crashed, or its runtime was shut down, in this very poll.
                None => Some(future),
            });
            drop(late);
        }
        Ok((Poll::Ready(()), future)) => {
            let error = drop_future(future, task);
            end_task(shared, task, error);
        }
        Err(payload) => {
            note_panic(shared, runtime);
            end_task(shared, task, Some(JoinError::panic(Id(task.id), payload)));
        }
    }
    shared.current.set(Current::NONE);
}

/// Notes that a task yielded because its budget was spent.
#[cfg(tokio_unstable)]
fn count_forced_yield(shared: &Shared, runtime: Option<RuntimeId>, is_pending: bool) {
    if is_pending && !real::task::coop::has_budget_remaining() {
        shared.with(|world| {
            if let Some(state) = runtime.and_then(|id| world.runtimes.get_mut(&id)) {
                state.forced_yields += 1;
            }
        });
    }
}

#[cfg(not(tokio_unstable))]
fn count_forced_yield(_: &Shared, _: Option<RuntimeId>, _: bool) {}

/// A task panicked: where its runtime ends with that, whoever drives it is told.
fn note_panic(shared: &Shared, runtime: Option<RuntimeId>) {
    if !shared.has_task_hooks.get() {
        return;
    }
    shared.with(|world| {
        let state = runtime.and_then(|id| world.runtimes.get_mut(&id));
        let Some(state) = state.filter(|state| state.ends_on_panic) else { return };
        state.has_panicked = true;
        let roots = world.tasks.iter().filter(|(_, entry)| matches!(entry.body, Body::Root));
        roots.for_each(|(task, _)| shared.inbox.push(task));
    });
}

/// Drops a future; a panic of its destructor is the task's panic.
pub(crate) fn drop_future(future: BoxFuture, task: TaskRef) -> Option<JoinError> {
    catch_unwind(AssertUnwindSafe(|| drop(future)))
        .err()
        .map(|payload| JoinError::panic(Id(task.id), payload))
}

/// The task was aborted: its future is dropped instead of polled.
pub(super) fn cancel(shared: &Shared, task: TaskRef) {
    let body = shared.with(|world| {
        let entry = world.tasks.find(task)?;
        Some(std::mem::replace(&mut entry.body, Body::Future(None)))
    });
    let error = match body {
        Some(Body::Future(Some(future))) => drop_future(future, task),
        other => {
            if matches!(other, Some(Body::Job(_))) {
                shared.with(|world| {
                    let runtime = world.tasks.find(task).map(|entry| entry.runtime);
                    if let Some(state) = runtime.and_then(|id| world.runtimes.get_mut(&id)) {
                        state.jobs = state.jobs.saturating_sub(1);
                    }
                });
            }
            drop(other);
            None
        }
    };
    end_task(shared, task, Some(error.unwrap_or_else(|| JoinError::cancelled(Id(task.id)))));
    shared.current.set(Current::NONE);
}

/// Takes a task out of the table and tells its joiner.
pub(crate) fn end_task(shared: &Shared, task: TaskRef, error: Option<JoinError>) {
    let entry = shared.with(|world| {
        let entry = world.tasks.remove(task);
        if let Some(entry) = &entry {
            let outcome = error.as_ref().map_or(0, |error| if error.is_panic() { 2 } else { 1 });
            world.record(shared.now.get(), Kind::Done, task.id, outcome);
            if let Some(runtime) = world.runtimes.get_mut(&entry.runtime) {
                runtime.alive = runtime.alive.saturating_sub(1);
            }
        }
        entry
    });
    if let Some(entry) = entry {
        let (runtime, location) = (entry.runtime, entry.location);
        if matches!(entry.body, Body::Future(_)) {
            task_hooks::call(shared, runtime, (task, location), |hooks| hooks.terminate.as_ref());
        }
        finish_entry(entry, error);
    }
}

/// Tells a removed task's joiner how it ended.
pub(crate) fn finish_entry(entry: Task, error: Option<JoinError>) {
    let Task { header, completion, body, .. } = entry;
    drop(body);
    header.close();
    if let Some(completion) = completion {
        if let Some(error) = error {
            completion.fail(error);
        }
        completion.finish();
    }
}

/// A thread's job is over, or was ended with its node.
pub(crate) fn finish_thread(shared: &Shared, task: TaskRef, killed: bool) {
    let waiting = shared.with(|world| {
        let entry = world.tasks.find(task)?;
        let runtime = entry.runtime;
        let is_job = entry.completion.is_some();
        world.runtimes.get_mut(&runtime).filter(|_| is_job)?.blocking_ended()
    });
    end_task(shared, task, killed.then(|| JoinError::cancelled(Id(task.id))));
    if let Some(waiting) = waiting {
        shared.inbox.push(waiting);
    }
}
