//! Mirror of `tokio::task::yield_now`.
//!
//! Invariant: the task that yields is ready again at once, and goes behind nothing: the policy chooses.

use std::future::poll_fn;
use std::task::Poll;

/// Gives way to other tasks once.
///
/// # Determinism
/// Which task goes next is drawn from the schedule stream; it may be this one again.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
