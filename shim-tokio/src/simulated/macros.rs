//! `select!`, whose first branch is drawn from the run's own stream.
//!
//! What tokio's own macros expand to (`support`) is the real one's; it is no interface, but has that name.
//!
//! Must not parse anything: `shim-macros` does. Invariant: the syntax is tokio's.

pub use real::macros::support;

/// Waits for the first of several branches; see tokio's documentation for the syntax.
///
/// # Determinism
/// Which branch is polled first is drawn from the `select` stream of the run (the first in order, where it
/// says `biased;`).
#[cfg(feature = "macros")]
#[macro_export]
macro_rules! select {
    ($($tokens:tt)*) => {
        $crate::sim::__private::select_with!($crate; { $($tokens)* })
    };
}
