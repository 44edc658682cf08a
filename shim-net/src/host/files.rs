//! The files that belong to a simulation: `/dev/urandom`, `/dev/random`, and the names of Unix sockets.
//!
//! Owns `open` and `unlink` as far as those go. Must not know any other file. Invariant: inside a simulation
//! random bytes come from the current node's stream, also through a file.
//!
//! `open` and `openat` are variadic in C; see `flags` for why a third (or fourth) named argument serves.

use std::ffi::CStr;
use std::io::IoSliceMut;

use libc::{c_char, c_int, mode_t, ssize_t};
use shim_runtime::host::{fill_entropy, in_run, raw};

use super::table::{self, Mark};
use super::{int, kernel};
use crate::sys;

/// Fills buffers from the simulation; `None` outside of one.
pub(super) fn fill(buffers: &mut [IoSliceMut<'_>]) -> Option<ssize_t> {
    let mut count = 0;
    for buffer in buffers {
        if !buffer.is_empty() && !fill_entropy(buffer) {
            return None;
        }
        count += buffer.len();
    }
    in_run().then_some(count as ssize_t)
}

/// `open(2)`.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as this call.
    unsafe { openat(libc::AT_FDCWD, path, flags, mode) }
}

/// `open(2)`, by glibc's other name.
///
/// # Safety
/// As [`open`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as this call.
    unsafe { openat(libc::AT_FDCWD, path, flags, mode) }
}

/// `openat(2)`, by glibc's other name.
///
/// # Safety
/// As [`openat`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn openat64(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    // SAFETY: as this call.
    unsafe { openat(folder, path, flags, mode) }
}

/// `openat(2)`. A file of random bytes is the real one, marked, so that it has a number and flags.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn openat(
    folder: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    // SAFETY: as the system call.
    let result = unsafe { kernel(libc::SYS_openat, [int(folder), path as usize, int(flags), mode as usize]) };
    if result >= 0 && in_run() {
        // SAFETY: the caller vouches for the path, which the kernel has read.
        let path = unsafe { CStr::from_ptr(path) };
        if matches!(path.to_bytes(), b"/dev/urandom" | b"/dev/random") {
            table::set_mark(result as c_int, Mark::Entropy);
        }
    }
    raw::to_libc(result) as c_int
}

/// `unlink(2)`: the name of a simulated Unix socket has no file.
///
/// # Safety
/// `path` must be a C string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller vouches for the path.
    if in_run() && !path.is_null() && sys::unlink(unsafe { CStr::from_ptr(path) }.to_bytes()) {
        return 0;
    }
    // SAFETY: as the system call.
    raw::to_libc(unsafe { kernel(libc::SYS_unlinkat, [int(libc::AT_FDCWD), path as usize, 0]) }) as c_int
}
