//! The entropy of the host: `getrandom`, `getentropy`, and the `syscall` that reaches the same.
//!
//! Owns where random bytes come from. Must not know who wants them. Invariant: inside a simulation they come
//! from the current node's own stream; outside, from the kernel.

use libc::{c_int, c_uint, c_void, size_t, ssize_t};

use super::raw;
use crate::context;
use crate::trace::Kind;

/// Fills `bytes` from the current node's stream; false outside a simulation.
pub(crate) fn fill(bytes: &mut [u8]) -> bool {
    let filled = context::try_with_run(|shared| {
        let node = shared.current.get().node;
        let Ok(mut world) = shared.world.try_borrow_mut() else {
            panic!("invariant: the engine itself asked for entropy");
        };
        let world = &mut *world;
        let Some(owner) = world.nodes.get_mut(node.0 as usize) else { return false };
        owner.entropy.fill(bytes);
        world.trace.record(shared.now.get(), Kind::Entropy, u64::from(node.0), bytes.len() as u64);
        true
    });
    filled == Some(true)
}

/// `getrandom(2)`.
///
/// # Safety
/// `buffer` must be valid to write for `length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    if context::in_run() {
        if length == 0 {
            return 0;
        }
        // SAFETY: the caller vouches for `buffer`.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
        if fill(bytes) {
            return length as ssize_t;
        }
    }
    // SAFETY: as the system call.
    raw::to_libc(unsafe {
        raw::syscall6(libc::SYS_getrandom, buffer as usize, length, flags as usize, 0, 0, 0)
    })
}

/// `getentropy(3)`.
///
/// # Safety
/// `buffer` must be valid to write for `length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getentropy(buffer: *mut c_void, length: size_t) -> c_int {
    if length > 256 {
        raw::set_errno(libc::EIO);
        return -1;
    }
    // SAFETY: as this call.
    if unsafe { getrandom(buffer, length, 0) } == length as ssize_t { 0 } else { -1 }
}
