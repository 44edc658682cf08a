//! What the owner of `read`, `write`, `close`, `dup` and `fcntl` asks: those symbols serve sockets as well.
//!
//! Owns nothing. Must not know sockets. Invariant: `None` means that the descriptor is none of a simulated
//! file, and nothing was done.

use libc::{c_int, c_void, iovec, size_t, ssize_t};
use shim_runtime::device;

use super::call::world;
use super::{data, int, kernel, locks, machine, marks};
use crate::standard::{self, Output};

/// Whether `fd` is a simulated file.
pub fn is_file(fd: c_int) -> bool {
    marks::is_file(fd)
}

/// `read(2)`.
///
/// # Safety
/// `buffer` must be valid to write for `len` bytes.
pub unsafe fn read(fd: c_int, buffer: *mut c_void, len: size_t) -> Option<ssize_t> {
    if fd == 0 && device::is_reachable() && len > 0 {
        // SAFETY: the caller vouches for the buffer.
        let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), len) };
        return Some(standard::read(buffer).map_or(-1, |count| count as ssize_t));
    }
    // SAFETY: as the system call.
    data::read_with(fd, || unsafe { kernel(libc::SYS_read, [int(fd), buffer as usize, len]) })
}

/// `readv(2)`.
///
/// # Safety
/// `vector` must be valid to read for `count` entries, and each of them to write.
pub unsafe fn readv(fd: c_int, vector: *const iovec, count: c_int) -> Option<ssize_t> {
    if fd == 0 && device::is_reachable() {
        // SAFETY: the caller vouches for the entries.
        let first = unsafe { (0..count as usize).map(|place| *vector.add(place)).find(|it| it.iov_len > 0) };
        return match first {
            // SAFETY: as above.
            Some(first) => unsafe { read(fd, first.iov_base, first.iov_len) },
            None => Some(0),
        };
    }
    // SAFETY: as the system call.
    data::read_with(fd, || unsafe { kernel(libc::SYS_readv, [int(fd), vector as usize, int(count)]) })
}

fn output(fd: c_int) -> Option<Output> {
    match fd {
        1 => Some(Output::Stdout),
        2 => Some(Output::Stderr),
        _ => None,
    }
}

/// `write(2)`.
///
/// # Safety
/// `buffer` must be valid to read for `len` bytes.
pub unsafe fn write(fd: c_int, buffer: *const c_void, len: size_t) -> Option<ssize_t> {
    if let Some(output) = output(fd) {
        // SAFETY: the caller vouches for the buffer.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), len) };
        return standard::write(output, bytes).then_some(len as ssize_t);
    }
    data::write_with(fd, data::Place::Offset, len, |len| {
        // SAFETY: as the system call, with at most the caller's length.
        unsafe { kernel(libc::SYS_write, [int(fd), buffer as usize, len]) }
    })
}

/// `writev(2)`.
///
/// # Safety
/// `vector` must be valid to read for `count` entries, and each of them for its bytes.
pub unsafe fn writev(fd: c_int, vector: *const iovec, count: c_int) -> Option<ssize_t> {
    if !is_file(fd) && output(fd).is_none() {
        return None;
    }
    let entries = count.max(0) as usize;
    // SAFETY: the caller vouches for the entries.
    let len = unsafe { data::list_len(vector, entries) };
    if output(fd).is_some() {
        let mut done = 0;
        for place in 0..entries {
            // SAFETY: as above.
            let entry = unsafe { *vector.add(place) };
            // SAFETY: as above.
            done += unsafe { write(fd, entry.iov_base, entry.iov_len) }?;
        }
        return Some(done);
    }
    data::write_with(fd, data::Place::Offset, len, |wanted| {
        // SAFETY: as the system call, with at most the caller's lengths.
        unsafe {
            let all = || kernel(libc::SYS_writev, [int(fd), vector as usize, int(count)]);
            data::write_list(vector, entries, wanted, all, |buffer, len| {
                kernel(libc::SYS_write, [int(fd), buffer as usize, len])
            })
        }
    })
}

/// `fd` is about to be closed, or became another: forgets what it was.
pub fn forget(fd: c_int) {
    if !is_file(fd) {
        return;
    }
    if device::is_reachable() {
        world(|disks, cx| disks.closed(fd, cx.wakes));
    }
    // Another world's: its table forgets it when it ends.
    marks::set(fd, false);
}

/// The kernel made `copy` of `fd`.
pub fn copied(fd: c_int, copy: c_int) {
    if is_file(fd) && device::is_reachable() {
        world(|disks, _| disks.copied(fd, copy));
    }
}

/// The locks of `fcntl(2)`; `None` for its other commands, too.
///
/// # Safety
/// As the system call.
pub unsafe fn fcntl(fd: c_int, command: c_int, argument: usize) -> Option<c_int> {
    // SAFETY: as this function.
    unsafe { locks::fcntl(fd, command, argument) }
}

/// Closes a descriptor of this layer.
pub(super) fn close(fd: c_int) {
    forget(fd);
    machine::close(fd);
}
