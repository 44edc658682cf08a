//! The real runtime that each thread has: for the cooperative budget, and so that real primitives know where they must
//! not block.
//!
//! Must not run tasks. Invariant: it has no I/O driver and no clock, so that nothing real can wake it.
//!
//! Its handle's `block_on` is used, not its own: that one polls with a fresh budget, calls wakers that primitives put
//! off at once, and lets `block_in_place` leave it, so that what blocks in there finds itself outside of a runtime.

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
    REAL.with(|runtime| runtime.handle().block_on(future))
}

/// Makes the thread's real runtime.
pub(crate) fn prepare_thread() {
    REAL.with(|_| ());
}

/// Polls once inside the thread's real runtime.
pub(crate) fn poll_once<R>(
    cx: &mut Context<'_>,
    poll: &mut impl FnMut(&mut Context<'_>) -> Poll<R>,
) -> Poll<R> {
    block_on(poll_fn(|_| Poll::Ready(poll(cx))))
}

/// Calls `f` outside of the thread's real runtime, if the thread is inside it, and with no cooperative budget.
pub(crate) fn leave<R>(f: impl FnOnce() -> R) -> R {
    let mut f = Some(f);
    let call = poll_fn(|_| Poll::Ready(f.take().map(real::task::block_in_place)));
    // Only this puts the budget back to what it was.
    match pin!(real::task::coop::unconstrained(call)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(result)) => result,
        _ => panic!("invariant: a call is ready at once, and made once"),
    }
}
