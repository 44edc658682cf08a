//! Who runs the loop while its own thread waits: stand-in drivers.
//!
//! Owns the stack of drivers, and the threads kept in reserve for it. Must not know what a driver waits for.
//! Invariant: the last driver of the stack runs the loop, or has given the baton to a thread that it picked;
//! each one before it waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use super::{Own, SELF, SimThread, ThreadRef, end_if_killed, give_back, own};
use crate::context::{Current, Shared};
use crate::report::Stalled;
use crate::scheduler;

/// The calling driver must wait: another thread takes over the loop until the caller is picked.
pub(super) fn stand_in(shared: &Arc<Shared>, may_unwind: bool) {
    let me = own().expect("invariant: whoever is stood in for is a driver").thread;
    if !Arc::ptr_eq(&shared.with(|world| world.threads.driver()), &me) {
        // Somebody stands in already, from an earlier wait.
        give_back(shared, may_unwind);
        return;
    }
    shared.stand_ins.set(shared.stand_ins.get() + 1);
    let other = reserve(shared);
    shared.with(|world| world.threads.drivers.push(Arc::clone(&other)));
    other.run_and_wait_as(shared, &me);
    end_if_killed(shared, &me, may_unwind);
}

/// A thread that can drive: one from the reserve, or a new one.
fn reserve(shared: &Arc<Shared>) -> ThreadRef {
    if let Some(thread) = shared.with(|world| world.threads.reserve.pop()) {
        thread.retired.store(false, Ordering::Release);
        return thread;
    }
    let other = SimThread::driver();
    let (own, run) = (Arc::clone(&other), Arc::clone(shared));
    let name = shared.with(|world| world.worker_name());
    let spawned = crate::host::without_notice(|| {
        thread::Builder::new().name(name).spawn(move || {
            crate::host::tsc::begin();
            loop {
                own.parker.park();
                if own.killed.load(Ordering::Acquire) {
                    return;
                }
                turn(&run, &own);
            }
        })
    });
    let handle = spawned.expect("failed to start a thread for a blocking call");
    other.is_thread(handle);
    other
}

/// One time as a driver, from being asked to stand in to being retired.
fn turn(shared: &Arc<Shared>, me: &ThreadRef) {
    shared.current.set(Current::NONE);
    SELF.with(|slot| *slot.borrow_mut() = Some(Own { thread: Arc::clone(me), entry: None }));
    let stalled = shared.enter(|| scheduler::drive_until_retired(shared));
    SELF.with(|slot| *slot.borrow_mut() = None);
    let hears = |driver: &ThreadRef| driver.hears_stalls.load(Ordering::Acquire);
    let next = shared.with(|world| {
        let threads = &mut world.threads;
        threads.reserve.push(Arc::clone(me));
        let Some(stalled) = stalled else { return Ok(threads.driver()) };
        let Some(place) = threads.drivers.iter().rposition(hears) else { return Err(stalled) };
        for above in threads.drivers.split_off(place + 1) {
            above.retired.store(true, Ordering::Release);
        }
        threads.stalled = Some(stalled);
        Ok(threads.driver())
    });
    match next {
        Ok(next) => next.parker.unpark(),
        Err(stalled) => crate::run::stalled_in_stand_in(&stalled),
    }
}

/// What the run's loop told the calling thread's wait instead of picking it.
pub(super) fn take_stall(shared: &Shared) -> Option<Stalled> {
    shared.with(|world| world.threads.stalled.take())
}

/// After a poll: whether the calling thread is still the driver. If others stood in for it, it takes the
/// role back; if it was itself only a stand-in, and is no longer needed, it must end (false).
///
/// `seen` is how often anybody had stood in for a driver when this was asked last: where nobody did since, there
/// is nothing to look at.
pub(crate) fn still_driver(shared: &Arc<Shared>, seen: &mut u64) -> bool {
    if *seen == shared.stand_ins.get() {
        return true;
    }
    let drives = take_role_back(shared);
    *seen = shared.stand_ins.get();
    drives
}

/// Ends the time of those that stand in for the calling thread. False where it was itself retired meanwhile.
fn take_role_back(shared: &Arc<Shared>) -> bool {
    let me = own().expect("invariant: the loop runs on a driver").thread;
    let others = shared.with(|world| {
        let drivers = &mut world.threads.drivers;
        let own_place = drivers.iter().position(|driver| Arc::ptr_eq(driver, &me));
        own_place.map(|place| drivers.split_off(place + 1)).unwrap_or_default()
    });
    if me.retired.load(Ordering::Acquire) {
        return false;
    }
    for other in &others {
        other.retired.store(true, Ordering::Release);
    }
    if let Some(last) = others.last() {
        last.run_and_wait(&me);
        scheduler::rewake_roots(shared);
    }
    true
}

/// While it lives the calling thread drives; those that stand in for it end with it, also where it unwinds.
pub(crate) struct Role<'a> {
    shared: &'a Arc<Shared>,
}

impl<'a> Role<'a> {
    pub(crate) fn of(shared: &'a Arc<Shared>) -> Role<'a> {
        Role { shared }
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let current = self.shared.current.get();
        take_role_back(self.shared);
        self.shared.current.set(current);
    }
}

/// Whether the calling thread, a stand-in, was told to end while it waited.
pub(crate) fn is_retired() -> bool {
    let me = own().expect("invariant: the loop runs on a driver").thread;
    me.retired.load(Ordering::Acquire)
}
