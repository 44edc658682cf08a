//! The real current-thread runtime that each driving thread has: for the cooperative budget, and so that
//! real primitives know that they must not block.
//!
//! Must not run tasks. Invariant: it has no I/O driver and no clock, so that nothing real can wake it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

thread_local! {
    static REAL: real::runtime::Runtime = real::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers needs nothing of the system");
}

/// Runs `future` inside the thread's real runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    REAL.with(|runtime| runtime.block_on(future))
}

/// Makes the thread's real runtime.
pub(crate) fn prepare_thread() {
    REAL.with(|_| ());
}

/// Polls once inside the thread's real runtime. If the thread is inside it already, further up its stack, the
/// poll has no budget: whatever it would put off would only be called once that further poll returns.
pub(crate) fn poll_once<R>(
    cx: &mut Context<'_>,
    poll: &mut impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> Poll<R> {
    if real::runtime::Handle::try_current().is_ok() {
        return pin!(without_budget(poll_fn(|cx| poll(cx)))).poll(cx);
    }
    let mut polled = None;
    block_on(poll_fn(|real_cx| {
        if polled.is_none() {
            polled = Some(poll(cx));
            if polled.as_ref().is_some_and(Poll::is_pending) {
                // The real scheduler calls the wakers that were put off once it gets the thread back.
                real_cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }));
    polled.expect("invariant: the future was polled")
}

/// `future`, polled with no cooperative budget.
pub(crate) fn without_budget<F: Future>(future: F) -> impl Future<Output = F::Output> {
    real::task::coop::unconstrained(future)
}

/// Calls `f` with no cooperative budget.
pub(crate) fn call_without_budget<R>(f: impl FnOnce() -> R) -> R {
    let mut f = Some(f);
    let call = poll_fn(|_| Poll::Ready(f.take().map(|f| f())));
    match pin!(without_budget(call)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(result)) => result,
        _ => panic!("invariant: a call is ready at once, and made once"),
    }
}
