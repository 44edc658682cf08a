//! What our macros expand to. Not part of the interface.
//!
//! Must not decide anything. Invariant: names here change only together with `shim-macros`.

pub use std::future::{Future, IntoFuture, poll_fn};
pub use std::pin::pin;
pub use std::task::{Poll, ready};

pub use real::macros::support::poll_budget_available;
pub use shim_macros::select_with;
pub use shim_runtime::sweep::{TestSettings, test};
pub use shim_runtime::time::select_start;

pin_project_lite::pin_project! {
    /// The futures of a `select!`, one behind the other: pinned as one, so that one reference reaches them all.
    #[derive(Debug)]
    pub struct Chain<F, R> {
        #[pin]
        first: F,
        #[pin]
        rest: R,
    }
}

impl<F, R> Chain<F, R> {
    /// `first`, and `rest` behind it.
    pub fn new(first: F, rest: R) -> Chain<F, R> {
        Chain { first, rest }
    }

    /// The first future.
    pub fn first(self: std::pin::Pin<&mut Self>) -> std::pin::Pin<&mut F> {
        self.project().first
    }

    /// Those behind it.
    pub fn rest(self: std::pin::Pin<&mut Self>) -> std::pin::Pin<&mut R> {
        self.project().rest
    }
}
