//! What a runtime is to a reactor: who may register, and what is said once it has ended.
//!
//! Owns the way from a runtime's end to the world's device. Must not know sockets. Invariant: after a runtime
//! was shut down, everything that was registered with it has been told.

use std::io;
use std::sync::Arc;

use super::{CONTEXT_MISSING_ERROR, RuntimeId, SHUTTING_DOWN_ERROR};
use crate::context::{self, Shared};

/// The number of the current runtime, with which a socket is about to be registered.
///
/// # Errors
/// Where it was shut down.
///
/// # Panics
/// Outside a runtime, and in one without I/O, with tokio's text.
#[track_caller]
pub fn io_runtime() -> io::Result<u64> {
    let found = context::try_with_shared(|shared| {
        let runtime = shared.current.get().runtime?;
        Some(shared.with(|world| match world.runtimes.get(&runtime) {
            Some(state) if !state.is_shut_down => Ok((runtime, state.has_io)),
            _ => Err(shutdown_error()),
        }))
    });
    match found.flatten() {
        None => panic!("{CONTEXT_MISSING_ERROR}"),
        Some(Ok((_, false))) => panic!("{IO_DISABLED_ERROR}"),
        Some(found) => found.map(|(runtime, _)| runtime.0),
    }
}

/// Whether the calling thread can reach a world: it belongs to one, has entered one, or has a loose runtime.
pub fn is_reachable() -> bool {
    context::try_with_shared(|_| ()).is_some()
}

const IO_DISABLED_ERROR: &str = "A Tokio 1.x context was found, but IO is disabled. Call `enable_io` on the runtime builder to enable IO.";

/// What an operation says whose runtime was shut down.
pub fn shutdown_error() -> io::Error {
    io::Error::other(SHUTTING_DOWN_ERROR)
}

/// Tells the world's devices that `runtime` has ended.
pub(super) fn tell_device(shared: &Arc<Shared>, runtime: RuntimeId) {
    let node = shared.current.get().node;
    context::tell_devices(shared, node, |device, cx| device.runtime_ended(runtime.0, cx));
}
