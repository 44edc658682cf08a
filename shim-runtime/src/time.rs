//! What the mirror of `tokio::time` needs of the engine: timers, the clock, and its pausing.
//!
//! Owns the pause counter's meaning. Must not know `Sleep` or `Instant`. Invariant: a timer that is
//! cancelled is gone from the queue.

use std::task::Waker;
use std::time::Duration;

use crate::clock::SimTime;
use crate::context::{self, Shared};
use crate::queue::EventId;
use crate::scheduler::Event;

/// The virtual time; zero outside a simulation.
pub fn now() -> SimTime {
    context::try_with_shared(|shared| shared.now.get()).unwrap_or(SimTime::ZERO)
}

/// Wakes `waker` at `at`.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn register(at: SimTime, waker: &Waker) -> EventId {
    context::with_world(|world| world.queue.push(at, Event::Timer(waker.clone())))
}

/// Has the timer wake `waker` instead; false where it has fired or was cancelled.
pub fn set_waker(timer: EventId, waker: &Waker) -> bool {
    let old = context::with_world(|world| match world.queue.event_mut(timer) {
        Some(Event::Timer(own)) if own.will_wake(waker) => Ok(None),
        Some(Event::Timer(own)) => Ok(Some(std::mem::replace(own, waker.clone()))),
        _ => Err(()),
    });
    old.is_ok()
}

/// Moves a timer to `at`; `None` where it has fired or was cancelled.
pub fn reschedule(timer: EventId, at: SimTime) -> Option<EventId> {
    context::try_with_shared(|shared| {
        shared.with(|world| {
            let event = world.queue.cancel(timer)?;
            Some(world.queue.push(at, event))
        })
    })
    .flatten()
}

/// Wakes whoever waits for a timer at once; does nothing where it has fired or was cancelled.
pub fn fire(timer: EventId) {
    let event = context::try_with_shared(|shared| shared.with(|world| world.queue.cancel(timer)));
    if let Some(Some(Event::Timer(waker))) = event {
        waker.wake();
    }
}

/// Cancels a timer; does nothing where it has fired, or outside a simulation.
pub fn cancel(timer: EventId) {
    let event = context::try_with_shared(|shared| shared.with(|world| world.queue.cancel(timer)));
    drop(event);
}

/// Whether the clock stands still.
pub fn is_paused() -> bool {
    context::try_with_shared(|shared| shared.paused.get() > 0).unwrap_or(false)
}

/// Lets the clock stand still, but for jumps to the next timer.
///
/// # Errors
/// tokio's text, where it is not allowed.
pub fn pause() -> Result<(), &'static str> {
    let outside = "time cannot be frozen from outside the Tokio runtime";
    context::try_with_shared(|shared| {
        let runtime = shared.current.get().runtime.ok_or(outside)?;
        let flavor = shared.with(|world| world.runtimes.get(&runtime).map(|state| state.flavor));
        if flavor == Some(crate::runtime::RuntimeFlavor::MultiThread) {
            return Err("`time::pause()` requires the `current_thread` Tokio runtime. \
                        This is the default Runtime used by `#[tokio::test].");
        }
        if shared.paused.get() > 0 {
            return Err("time is already frozen");
        }
        pass_a_slice(shared);
        crate::runtime::pause_clock(shared, runtime);
        Ok(())
    })
    .unwrap_or(Err(outside))
}

/// Lets the clock run again.
///
/// # Errors
/// tokio's text, where it was not paused.
pub fn resume() -> Result<(), &'static str> {
    context::try_with_shared(|shared| {
        if shared.paused.get() == 0 {
            return Err("time is not frozen");
        }
        shared.with(|world| world.runtimes.resume_clock());
        shared.paused.set(0);
        pass_a_slice(shared);
        Ok(())
    })
    .unwrap_or(Err("time cannot be frozen from outside the Tokio runtime"))
}

/// Where the clock runs, no call takes no time: a program may compare what it showed before and after.
fn pass_a_slice(shared: &Shared) {
    let slice_ns = shared.with(|world| world.config.slice_max_ns);
    shared.now.set(SimTime(shared.now.get().0 + slice_ns));
}

/// Moves the paused clock by `duration` at once.
///
/// # Errors
/// tokio's text, where the clock is not paused.
pub fn advance(duration: Duration) -> Result<(), &'static str> {
    context::try_with_shared(|shared| {
        if shared.paused.get() == 0 {
            return Err("time is not frozen");
        }
        let later = shared.now.get() + duration;
        if later == SimTime::MAX {
            return Err("the clock cannot be moved that far");
        }
        shared.now.set(later);
        Ok(())
    })
    .unwrap_or(Err("time cannot be frozen from outside the Tokio runtime"))
}

/// A draw below `bound` from the `select` stream, for `select!`'s first branch; zero outside a simulation.
pub fn select_start(bound: u32) -> u32 {
    context::try_with_shared(|shared| shared.with(|world| world.streams.select.below(bound))).unwrap_or(0)
}
