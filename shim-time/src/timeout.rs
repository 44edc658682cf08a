//! Mirror of `Timeout`.
//!
//! Must not poll the deadline before the future. Invariant: a future that spends the whole cooperative
//! budget cannot keep its time-out from passing.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use real::task::coop;

use crate::error::Elapsed;
use crate::{Duration, Instant, Sleep};

/// Runs `future` for at most `duration`.
///
/// # Errors
/// [`Elapsed`], where it took longer; the future is dropped with this.
///
/// # Panics
/// Outside a runtime.
///
/// # Cancel safety
/// As `future` itself.
#[track_caller]
pub fn timeout<F>(duration: Duration, future: F) -> Timeout<F::IntoFuture>
where
    F: IntoFuture,
{
    // Not by `map`: the place of a panic is the caller's.
    let mut delay = None;
    if let Some(deadline) = Instant::now().checked_add(duration) {
        delay = Some(Sleep::new(deadline));
    }
    Timeout { value: future.into_future(), delay }
}

/// Runs `future` until `deadline`.
///
/// # Errors
/// [`Elapsed`], where it took longer; the future is dropped with this.
///
/// # Panics
/// Outside a runtime.
///
/// # Cancel safety
/// As `future` itself.
#[track_caller]
pub fn timeout_at<F>(deadline: Instant, future: F) -> Timeout<F::IntoFuture>
where
    F: IntoFuture,
{
    Timeout { value: future.into_future(), delay: Some(Sleep::new(deadline)) }
}

pin_project! {
    /// A future with a time-out.
    #[must_use = "futures do nothing unless you `.await` or poll them"]
    #[derive(Debug)]
    pub struct Timeout<T> {
        #[pin]
        value: T,
        #[pin]
        delay: Option<Sleep>,
    }
}

impl<T> Timeout<T> {
    /// The future inside.
    pub fn get_ref(&self) -> &T {
        &self.value
    }

    /// The future inside.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.value
    }

    /// The future inside.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T: Future> Future for Timeout<T> {
    type Output = Result<T::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let had_budget = coop::has_budget_remaining();
        if let Poll::Ready(output) = this.value.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let Some(delay) = this.delay.as_pin_mut() else { return Poll::Pending };
        let elapsed = if had_budget && !coop::has_budget_remaining() {
            let mut unconstrained = std::pin::pin!(coop::unconstrained(delay));
            unconstrained.as_mut().poll(cx)
        } else {
            delay.poll(cx)
        };
        elapsed.map(|()| Err(Elapsed::new()))
    }
}
