//! The files that belong to a simulation: `/dev/urandom`, `/dev/random`, FIFOs, and the names of Unix sockets.
//!
//! Owns `open` and `unlink` as far as those go. Must not know any other file. Invariant: inside a simulation
//! random bytes come from the current node's stream, also through a file.
//!
//! `open` and `openat` are variadic in C; see `flags` for why a third (or fourth) named argument serves.

use std::ffi::CStr;
use std::io::{self, IoSliceMut};
use std::os::fd::RawFd;

use libc::{c_char, c_int, mode_t, ssize_t};
use shim_runtime::host::{fill_entropy, in_run, raw};
use shim_runtime::runtime::is_reachable;

use super::table::{self, Mark};
use super::{int, kernel, pipe, to_libc};
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

/// Opens a file that is none of a disk's: random bytes, or a FIFO of the real file system. `None` where `path`,
/// which is relative to `folder`, is another one.
pub(super) fn open_special((folder, path): (c_int, &CStr), flags: c_int) -> Option<io::Result<RawFd>> {
    if matches!(path.to_bytes(), b"/dev/urandom" | b"/dev/random") {
        return in_run().then(|| open_random(path, flags));
    }
    let key = fifo_key((folder, path), flags)?;
    Some(pipe::open_fifo(key, flags))
}

/// The file of random bytes is the real one, marked, so that it has a number and flags.
fn open_random(path: &CStr, flags: c_int) -> io::Result<RawFd> {
    let arguments = [int(libc::AT_FDCWD), path.as_ptr() as usize, int(flags), 0];
    // SAFETY: the path is a C string.
    let opened = unsafe { kernel(libc::SYS_openat, arguments) };
    if opened < 0 {
        return Err(io::Error::from_raw_os_error(-opened as c_int));
    }
    table::set_mark(opened as RawFd, Mark::Entropy);
    Ok(opened as RawFd)
}

/// What names the FIFO at `path`: the device and the number of its file. `None` where there is no FIFO, or where
/// it is opened for something else than data.
pub(super) fn fifo_key((folder, path): (c_int, &CStr), flags: c_int) -> Option<(u64, u64)> {
    if flags & (libc::O_PATH | libc::O_DIRECTORY) != 0 {
        return None;
    }
    let follow = if flags & libc::O_NOFOLLOW == 0 { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    let arguments = [int(folder), path.as_ptr() as usize, stat.as_mut_ptr() as usize, int(follow)];
    // SAFETY: the path is a C string, and the place is valid to write.
    if unsafe { kernel(libc::SYS_newfstatat, arguments) } < 0 {
        return None;
    }
    // SAFETY: the kernel has filled it.
    let stat = unsafe { stat.assume_init() };
    let exclusive = flags & (libc::O_CREAT | libc::O_EXCL) == libc::O_CREAT | libc::O_EXCL;
    (stat.st_mode & libc::S_IFMT == libc::S_IFIFO && !exclusive).then_some((stat.st_dev, stat.st_ino))
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

/// `openat(2)`.
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
    let real =
        || unsafe { kernel(libc::SYS_openat, [int(folder), path as usize, int(flags), mode as usize]) };
    if path.is_null() || !is_reachable() {
        return raw::to_libc(real()) as c_int;
    }
    // SAFETY: the caller vouches for the path.
    let path = unsafe { CStr::from_ptr(path) };
    match open_special((folder, path), flags) {
        Some(opened) => to_libc(opened.map(|fd| fd as isize)) as c_int,
        None => raw::to_libc(real()) as c_int,
    }
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
