//! Mirror of `Sleep`: a deadline and the number of a timer.
//!
//! Must not keep a waker: the queue does. Invariant: a `Sleep` that is dropped or reset has no timer left
//! in the queue.

use std::future::Future;
use std::marker::{PhantomData, PhantomPinned};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use shim_runtime::{EventId, SimTime, Wait, time, waits_for};

use crate::{Duration, Instant};

/// Waits until `deadline`.
///
/// # Panics
/// Outside a runtime.
///
/// # Cancel safety
/// Nothing is lost where this is dropped.
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(deadline)
}

/// Waits until `duration` has passed; the granularity is a millisecond, as with tokio.
///
/// # Panics
/// Outside a runtime.
///
/// # Cancel safety
/// Nothing is lost where this is dropped.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::new(Instant::now().checked_add(duration).unwrap_or_else(Instant::far_future))
}

#[derive(Debug)]
enum State {
    /// No timer has been asked for.
    New,
    /// A timer is in the queue.
    Waiting(EventId),
    /// The deadline passed.
    Elapsed,
}

#[derive(Debug)]
struct Timer {
    /// When the timer fires: the deadline, rounded up to a millisecond.
    at: SimTime,
    state: State,
    /// The runtime that was current when the timer was made.
    runtime: u64,
    /// tokio's type makes no promise of unwind safety.
    _not_unwind_safe: PhantomData<Box<dyn Send + Sync>>,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl Timer {
    fn new(deadline: Instant) -> Timer {
        Timer {
            at: deadline.sim_time().ceil_millis(),
            state: State::New,
            runtime: shim_runtime::runtime::current_number(),
            _not_unwind_safe: PhantomData,
        }
    }

    fn cancel(&mut self) {
        if let State::Waiting(timer) = self.state {
            time::cancel(timer);
            self.state = State::New;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if matches!(self.state, State::Elapsed) {
            return Poll::Ready(());
        }
        if time::now() >= self.at {
            self.cancel();
            self.state = State::Elapsed;
            return Poll::Ready(());
        }
        match self.state {
            State::Waiting(timer) if time::set_waker(timer, cx.waker()) => {}
            _ => {
                assert!(
                    !shim_runtime::runtime::is_shut_down(self.runtime),
                    "{}",
                    shim_runtime::runtime::SHUTTING_DOWN_ERROR
                );
                self.state = State::Waiting(time::register(self.at, cx.waker()));
            }
        }
        waits_for(Wait::Timer(self.at));
        Poll::Pending
    }

    fn is_elapsed(&self) -> bool {
        match self.state {
            State::Elapsed => true,
            State::Waiting(_) => time::now() >= self.at,
            State::New => false,
        }
    }
}

pin_project! {
    /// A future that is ready once its deadline has passed.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    pub struct Sleep {
        deadline: Instant,
        timer: Timer,
        #[pin]
        _pinned: PhantomPinned,
    }
}

impl Sleep {
    #[track_caller]
    pub(crate) fn new(deadline: Instant) -> Sleep {
        shim_runtime::runtime::require_timers();
        Sleep { deadline, timer: Timer::new(deadline), _pinned: PhantomPinned }
    }

    /// When this is ready.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the deadline has passed, as far as this was polled.
    pub fn is_elapsed(&self) -> bool {
        self.timer.is_elapsed()
    }

    /// Moves the deadline; whoever waits is woken at the new one.
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let this = self.project();
        *this.deadline = deadline;
        let at = deadline.sim_time().ceil_millis();
        this.timer.at = at;
        if let State::Waiting(timer) = this.timer.state {
            if time::now() >= at {
                // As with tokio, whoever waits is woken within this call.
                time::fire(timer);
                this.timer.state = State::Elapsed;
                return;
            }
            this.timer.state = match time::reschedule(timer, at) {
                Some(timer) => State::Waiting(timer),
                None => State::New,
            };
        } else {
            this.timer.state = State::New;
        }
    }

    /// Moves the deadline; no timer is asked for before the next poll.
    pub(crate) fn reset_without_timer(self: Pin<&mut Self>, deadline: Instant) {
        let this = self.project();
        *this.deadline = deadline;
        this.timer.cancel();
        this.timer.at = deadline.sim_time().ceil_millis();
        this.timer.state = State::New;
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let coop = ready!(real::task::coop::poll_proceed(cx));
        let this = self.project();
        ready!(this.timer.poll(cx));
        coop.made_progress();
        Poll::Ready(())
    }
}
