//! The futures of `block_on`: how the loop is driven until one is done.
//!
//! Owns what distinguishes a root from a task: it lives on its caller's stack. Must not choose tasks. Invariant: a
//! root that is woken while it cannot be polled is polled afterwards.

use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::polling::protected;
use super::workers::call_hooks;
use super::{add_entry_for, run_loop};
use crate::context::{Current, Entered, Shared, Wait};
use crate::host::watchdog;
use crate::report::Stalled;
use crate::runtime::{RuntimeFlavor, RuntimeId};
use crate::task::header::Header;
use crate::task::{Body, TaskRef};
use crate::threads;

/// Polls `root` to its end, and every other task meanwhile.
///
/// On a multi-threaded runtime the tasks run on another thread, as they do on the workers of a real one: so a task
/// that blocks in place does not hold up `root`.
pub(crate) fn drive<R>(
    shared: &Arc<Shared>,
    current: Current,
    location: &'static Location<'static>,
    mut root: impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> Result<R, Stalled> {
    let flavor = shared.with(|world| Some(world.runtimes.get(&current.runtime?)?.flavor));
    let flavor = flavor.unwrap_or(RuntimeFlavor::CurrentThread);
    if flavor == RuntimeFlavor::MultiThread {
        return drive_beside(shared, current, root);
    }
    threads::as_driver(shared, || {
        let (task, header) = add_entry_for(shared, Body::Root, "main", current, location);
        let waker = Waker::from(Arc::clone(&header));
        let _entry = Entry { shared, task, header: Arc::clone(&header) };
        let _core = take_core(shared, current, task);
        let _role = threads::Role::of(shared);
        let mut cx = Context::from_waker(&waker);
        run_loop(shared, |picked| {
            if picked != task {
                return None;
            }
            header.begin_poll();
            refuse_after_panic(shared, current);
            let inside = Current { task: Some(task), task_id: None, ..current };
            unpark_root(shared, inside);
            shared.current.set(inside);
            shared.wait.set(Wait::Waker);
            watchdog::poll_begins(task.id, location);
            let polled = protected(|| root(&mut cx));
            watchdog::poll_ends();
            Some(polled)
        })
        .map(|result| result.expect("invariant: only a stand-in is retired"))
    })
}

/// A runtime that ends with a panic of a task tells whoever drives it.
#[track_caller]
fn refuse_after_panic(shared: &Shared, current: Current) {
    if !shared.has_task_hooks.get() {
        return;
    }
    let panicked = shared.with(|world| Some(world.runtimes.get(&current.runtime?)?.has_panicked));
    assert!(
        panicked != Some(true),
        "a spawned task panicked and the runtime is configured to shut down on unhandled panic"
    );
}

/// The root that is called `task` waits for the core of its runtime, and has it where it is the first: if that is a
/// single-threaded runtime, and `current` drives it.
pub(crate) fn take_core(shared: &Shared, current: Current, task: TaskRef) -> Core<'_> {
    let drives = current.entered == Entered::into(RuntimeFlavor::CurrentThread);
    let runtime = current.runtime.filter(|_| drives);
    shared.with(|world| {
        if let Some(state) = runtime.and_then(|id| world.runtimes.get_mut(&id)) {
            state.take_core(task.id);
        }
    });
    Core { shared, runtime, task }
}

/// A root's turn at the core of its runtime, until this is dropped.
pub(crate) struct Core<'a> {
    shared: &'a Shared,
    runtime: Option<RuntimeId>,
    task: TaskRef,
}

impl Drop for Core<'_> {
    fn drop(&mut self) {
        self.shared.with(|world| {
            if let Some(state) = self.runtime.and_then(|id| world.runtimes.get_mut(&id)) {
                state.give_core(self.task.id);
            }
        });
    }
}

/// Polls `root` on the calling thread, while another drives.
#[track_caller]
fn drive_beside<R>(
    shared: &Arc<Shared>,
    current: Current,
    mut root: impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> Result<R, Stalled> {
    let waiting = shared.current.get();
    threads::beside(shared, "main", Wait::Waker, true, |waker| {
        shared.current.set(current);
        shared.wait.set(Wait::Waker);
        let mut cx = Context::from_waker(waker);
        let polled = crate::runtime::real::poll_once(&mut cx, &mut |cx| protected(|| root(cx)));
        shared.current.set(waiting);
        match polled {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    })
}

/// The future of a single-threaded runtime's `block_on` is about to be polled by its worker.
fn unpark_root(shared: &Shared, inside: Current) {
    let hook = shared.with(|world| {
        let state = world.runtimes.get_mut(&inside.runtime?)?;
        if state.polls_root() { state.unpark_hook().cloned() } else { None }
    });
    if let (Some(hook), Some(runtime)) = (hook, inside.runtime) {
        call_hooks(shared, vec![(runtime, hook)]);
    }
}

/// Drives in place of a driver that waits, until that one takes over again; or until the run cannot go on.
pub(crate) fn drive_until_retired(shared: &Arc<Shared>) -> Option<Stalled> {
    run_loop::<()>(shared, |_| None).err()
}

/// Takes the entry of a thread out of the table when its wait is over.
struct Entry<'a> {
    shared: &'a Shared,
    task: TaskRef,
    header: Arc<Header>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.header.close();
        let task = self.shared.with(|world| world.tasks.remove(self.task));
        drop(task);
    }
}

/// The root's poll returned: it waits. Where it was woken while the poll itself waited, `rewake_roots` has seen to it.
pub(super) fn root_waits(shared: &Shared, task: TaskRef) {
    let wait = shared.wait.get();
    shared.with(|world| {
        if let Some(entry) = world.tasks.find(task) {
            entry.wait = wait;
        }
    });
}

/// Somebody stood in for the driver on whose stack roots are: those that were picked meanwhile are ready again.
pub(crate) fn rewake_roots(shared: &Shared) {
    shared.with(|world| {
        for (task, entry) in world.tasks.iter_mut() {
            if matches!(entry.body, Body::Root) && std::mem::take(&mut entry.is_rewoken) {
                shared.inbox.push(task);
            }
        }
    });
}

/// The root was picked by a driver that cannot poll it: it is on the stack of one that waits.
pub(super) fn root_is_elsewhere(shared: &Shared, task: TaskRef) {
    shared.with(|world| {
        if let Some(entry) = world.tasks.find(task) {
            entry.is_rewoken = true;
        }
    });
}
