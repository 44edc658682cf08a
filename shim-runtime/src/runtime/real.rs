//! The real current-thread runtime that each driving thread has: for the cooperative budget, and so that
//! real primitives know that they must not block.
//!
//! Must not run tasks. Invariant: it has no I/O driver and no clock, so that nothing real can wake it.

use std::future::Future;

thread_local! {
    static REAL: real::runtime::Runtime = real::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers needs nothing of the system");
}

/// Runs `future` inside the thread's real runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    REAL.with(|runtime| runtime.block_on(future))
}

/// Polls once inside the thread's real runtime, if the thread is not inside it already.
pub(crate) fn poll_once<R>(
    cx: &mut std::task::Context<'_>,
    poll: &mut impl FnMut(&mut std::task::Context<'_>) -> std::task::Poll<R>,
) -> std::task::Poll<R> {
    if real::runtime::Handle::try_current().is_ok() {
        return poll(cx);
    }
    block_on(std::future::poll_fn(|_| std::task::Poll::Ready(poll(cx))))
}
