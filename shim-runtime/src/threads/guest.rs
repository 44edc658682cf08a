//! Threads that were started before a run of loose runtimes, or outside of it, and use one of its handles.
//!
//! Owns the queue in which such a thread waits for its turn, and who lives in a run whose own thread has ended (a
//! runtime in a `static`, shared by tests). Must not let a guest touch the world before it has the baton. Invariant:
//! a run of loose runtimes has at most one resident: the thread outside the loop to which the baton belongs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::{Own, SimThread, ThreadRef, replace_own};
use crate::context::{Current, Shared, Wait};
use crate::scheduler;
use crate::task::header::Header;
use crate::task::{Body, TaskRef};

/// Who waits at the door of a run.
#[derive(Default)]
pub(crate) struct Door {
    state: Mutex<State>,
    any: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Nobody lives in the run: the next guest becomes its resident.
    is_vacant: bool,
    guests: Vec<Arc<Guest>>,
}

/// A thread that waits for its turn.
#[derive(Default)]
pub(crate) struct Guest {
    thread: ThreadRef,
    entry: Mutex<Option<(TaskRef, Arc<Header>)>>,
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a guest waits.
    pub(crate) fn has_guests(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }
}

/// The right of a guest to be in a run; it ends when this is dropped.
pub(crate) struct Pass {
    shared: Arc<Shared>,
    guest: Option<Arc<Guest>>,
    before: Option<Own>,
}

/// Waits until the calling thread, which is none of `shared`'s, may act in it.
pub(crate) fn enter(shared: &Arc<Shared>) -> Pass {
    let guest: Arc<Guest> = Arc::default();
    let is_resident = {
        let mut state = shared.door.lock();
        let vacant = std::mem::take(&mut state.is_vacant);
        if !vacant {
            state.guests.push(Arc::clone(&guest));
            shared.door.any.store(true, Ordering::Release);
        }
        vacant
    };
    if !is_resident {
        guest.thread.parker.park();
    }
    let entry = guest.entry.lock().unwrap_or_else(PoisonError::into_inner).take();
    let own = entry.map(|entry| Own { thread: Arc::clone(&guest.thread), entry: Some(entry) });
    let task = own.as_ref().and_then(|own| own.entry.as_ref()).map(|(task, _)| *task);
    let guest = own.is_some().then_some(guest);
    let before = replace_own(own);
    shared.current.set(Current { task, ..Current::NONE });
    Pass { shared: Arc::clone(shared), guest, before }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let own = replace_own(self.before.take());
        if self.guest.is_none() {
            wait_for_guests(&self.shared);
            leave(&self.shared);
            return;
        }
        if let Some(Own { entry: Some((task, _)), .. }) = own {
            scheduler::finish_thread(&self.shared, task, false);
        }
        let leaving = self.shared.with(|world| {
            world.threads.guests -= 1;
            if world.threads.guests == 0 { std::mem::take(&mut world.threads.leaving) } else { Vec::new() }
        });
        leaving.into_iter().for_each(Waker::wake);
        let driver = self.shared.with(|world| world.threads.drivers.last().cloned());
        if let Some(driver) = driver {
            driver.parker.unpark();
        }
    }
}

/// The loop looks at the door: guests become threads of the run.
#[inline]
pub(crate) fn admit(shared: &Shared) {
    if shared.door.has_guests() {
        admit_all(shared);
    }
}

#[cold]
fn admit_all(shared: &Shared) {
    let guests = {
        let mut state = shared.door.lock();
        shared.door.any.store(false, Ordering::Release);
        std::mem::take(&mut state.guests)
    };
    shared.with(|world| world.threads.guests += guests.len());
    for guest in &guests {
        let entry =
            scheduler::add_entry(shared, Body::Thread(Arc::clone(&guest.thread)), "thread from outside");
        *guest.entry.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
    }
}

/// Guests that were let in need somebody to drive until they have left: the resident that is about to.
pub(crate) fn wait_for_guests(shared: &Arc<Shared>) {
    if shared.with(|world| world.threads.guests > 0) {
        shared.enter(|| {
            super::block(shared, Wait::Blocked("threads from outside"), false, |waker| {
                shared.with(|world| {
                    if world.threads.guests == 0 {
                        return Some(());
                    }
                    world.threads.leaving.push(waker.clone());
                    None
                })
            });
        });
    }
}

/// The resident leaves: the next guest takes its place, or the run stands empty.
pub(crate) fn leave(shared: &Shared) {
    let mut state = shared.door.lock();
    if state.guests.is_empty() {
        state.is_vacant = true;
        return;
    }
    let next = state.guests.remove(0);
    shared.door.any.store(!state.guests.is_empty(), Ordering::Release);
    drop(state);
    let thread: &SimThread = &next.thread;
    thread.parker.unpark();
}
