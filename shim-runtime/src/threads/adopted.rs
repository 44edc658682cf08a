//! Threads that the application starts itself, as members of their run.
//!
//! Owns how such a thread waits for its first turn, and who waits for its end. Must not start threads.
//! Invariant: an adopted thread runs only with the baton, from its first instruction to its last.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::{AdoptedState, Own, SELF, ThreadRef, block};
use crate::context::{Current, Shared, Wait};
use crate::scheduler;
use crate::task::header::Header;
use crate::task::{Body, TaskRef};

/// A thread that the application started itself, and that takes part in the run.
#[derive(Clone)]
pub(crate) struct Adopted {
    pub(crate) shared: Arc<Shared>,
    thread: ThreadRef,
    task: TaskRef,
    header: Arc<Header>,
    current: Current,
}

/// Enters a thread that is about to be started, on the current node.
pub(crate) fn adopt(shared: &Arc<Shared>) -> Adopted {
    let thread = ThreadRef::default();
    let (task, header) = scheduler::add_entry(shared, Body::Thread(Arc::clone(&thread)), "thread");
    let node = shared.current.get().node;
    let current = Current { node, task: Some(task), ..Current::NONE };
    Adopted { shared: Arc::clone(shared), thread, task, header, current }
}

/// Notes the name by which libc knows a thread.
pub(crate) fn register(shared: &Shared, name: u64, adopted: &Adopted) {
    shared.with(|world| {
        let state = AdoptedState { header: Arc::clone(&adopted.header), joiners: Vec::new() };
        world.threads.adopted.insert(name, state);
    });
}

/// On the new thread: waits for the baton. False where the thread's node is gone already.
pub(crate) fn begin_adopted(adopted: &Adopted) -> bool {
    adopted.thread.parker.park();
    adopted.thread.runs.store(true, Ordering::Release);
    crate::host::tsc::begin();
    adopted.shared.current.set(adopted.current);
    let own =
        Own { thread: Arc::clone(&adopted.thread), entry: Some((adopted.task, Arc::clone(&adopted.header))) };
    SELF.with(|slot| *slot.borrow_mut() = Some(own));
    !adopted.thread.killed.load(Ordering::Acquire)
}

/// The thread is over: whoever joins it goes on.
pub(crate) fn end_adopted(adopted: &Adopted) {
    let Adopted { shared, task, header, .. } = adopted;
    scheduler::finish_thread(shared, *task, false);
    let (driver, joiners) = shared.with(|world| {
        let own = world.threads.adopted.values_mut().find(|state| Arc::ptr_eq(&state.header, header));
        let joiners = own.map(|state| std::mem::take(&mut state.joiners)).unwrap_or_default();
        (world.threads.drivers.last().cloned(), joiners)
    });
    joiners.into_iter().for_each(Waker::wake);
    if adopted.thread.runs.load(Ordering::Acquire)
        && let Some(driver) = driver
    {
        driver.parker.unpark();
    }
}

/// Waits until the thread that libc calls `name` is over, if it is one of the run's.
pub(crate) fn wait_for_adopted(shared: &Arc<Shared>, name: u64) {
    let known = shared.with(|world| world.threads.adopted.get(&name).map(|state| Arc::clone(&state.header)));
    let Some(header) = known else { return };
    block(shared, Wait::Join(header.task.id), false, |waker| {
        if header.is_finished() {
            return Some(());
        }
        shared.with(|world| {
            if let Some(state) = world.threads.adopted.get_mut(&name) {
                state.joiners.push(waker.clone());
            }
        });
        None
    });
    let gone = shared.with(|world| world.threads.adopted.remove(&name));
    drop(gone);
}
