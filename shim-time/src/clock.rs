//! Mirror of `pause`, `resume` and `advance`.
//!
//! Must not hold state: the clock is the world's. Invariant: the texts of panics are tokio's.

use shim_runtime::time;

use crate::Duration;

/// Lets the clock stand still, but for jumps to the next timer when nothing is ready.
///
/// # Panics
/// Where it stands still already, outside a runtime, and on a multi-threaded one.
#[track_caller]
pub fn pause() {
    if let Err(message) = time::pause() {
        panic!("{message}");
    }
}

/// Lets the clock run again.
///
/// # Panics
/// Where it is not paused, and outside a runtime.
#[track_caller]
pub fn resume() {
    if let Err(message) = time::resume() {
        panic!("{message}");
    }
}

/// Moves the paused clock forward at once.
///
/// # Panics
/// Where it is not paused, and outside a runtime.
///
/// # Cancel safety
/// The clock has moved even where this is dropped at its yield.
pub async fn advance(duration: Duration) {
    if let Err(message) = time::advance(duration) {
        panic!("{message}");
    }
    shim_runtime::task::yield_now().await;
}
