//! What our macros expand to. Not part of the interface.
//!
//! Must not hold behaviour. Invariant: names here change only together with `shim-macros`.

pub use std::future::{Future, IntoFuture, poll_fn};
pub use std::pin::pin;
pub use std::task::{Poll, ready};

pub use real::macros::support::poll_budget_available;
pub use shim_macros::select_with;
pub use shim_runtime::sweep::{TestSettings, test};
pub use shim_runtime::time::select_start;
