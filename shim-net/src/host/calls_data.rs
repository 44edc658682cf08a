//! `send`, `recv`, `read`, `write` and their kin.
//!
//! Owns the symbols. Must not know control messages, nor how long a call waits. Invariant: what is no simulated
//! socket goes to the kernel with the arguments as they were.

use std::io::{IoSlice, IoSliceMut};

use libc::{c_int, c_long, c_void, iovec, size_t, sockaddr, socklen_t, ssize_t};
use shim_fs::host::shared;
use shim_runtime::host::raw;

use super::table::{self, Mark};
use super::transfer::{receive, shown_len, slice, slice_mut, slices, slices_mut, transmit};
use super::{address, answer, eventfd, files, int, kernel, target};
use crate::sys::SendExtra;

/// `send(2)`.
///
/// # Safety
/// `buffer` must be valid to read for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn send(fd: c_int, buffer: *const c_void, len: size_t, flags: c_int) -> ssize_t {
    // SAFETY: as this call.
    unsafe { sendto(fd, buffer, len, flags, std::ptr::null(), 0) }
}

/// `sendto(2)`.
///
/// # Safety
/// `buffer` must be valid to read for `len` bytes, and `address` null or valid for `address_len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sendto(
    fd: c_int,
    buffer: *const c_void,
    len: size_t,
    flags: c_int,
    address: *const sockaddr,
    address_len: socklen_t,
) -> ssize_t {
    answer(
        "sendto",
        fd,
        || {
            let arguments =
                [int(fd), buffer as usize, len, int(flags), address as usize, address_len as usize];
            // SAFETY: as the system call.
            unsafe { kernel(libc::SYS_sendto, arguments) }
        },
        |id| {
            // SAFETY: the caller vouches for both.
            let (data, to) = unsafe {
                let to = target::to_send(id, address, address_len)?;
                (IoSlice::new(slice(buffer, len)), to)
            };
            transmit((fd, id), &[data], to.as_ref(), SendExtra::default(), flags).map(|sent| sent as isize)
        },
    )
}

/// `recv(2)`.
///
/// # Safety
/// `buffer` must be valid to write for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn recv(fd: c_int, buffer: *mut c_void, len: size_t, flags: c_int) -> ssize_t {
    // SAFETY: as this call.
    unsafe { recvfrom(fd, buffer, len, flags, std::ptr::null_mut(), std::ptr::null_mut()) }
}

/// `recvfrom(2)`.
///
/// # Safety
/// `buffer` must be valid to write for `len` bytes; `address` null, or valid to write for `*address_len`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn recvfrom(
    fd: c_int,
    buffer: *mut c_void,
    len: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_len: *mut socklen_t,
) -> ssize_t {
    answer(
        "recvfrom",
        fd,
        || {
            let arguments =
                [int(fd), buffer as usize, len, int(flags), address as usize, address_len as usize];
            // SAFETY: as the system call.
            unsafe { kernel(libc::SYS_recvfrom, arguments) }
        },
        |id| {
            // SAFETY: the caller vouches for the buffer.
            let buffer = IoSliceMut::new(unsafe { slice_mut(buffer, len) });
            let received = receive((fd, id), &mut [buffer], flags)?;
            // SAFETY: the caller vouches for the two.
            unsafe { address::write(received.from.as_ref(), address, address_len) };
            Ok(shown_len(&received, flags) as isize)
        },
    )
}

/// `read(2)`.
///
/// # Safety
/// `buffer` must be valid to write for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, len: size_t) -> ssize_t {
    // SAFETY: as the system call.
    let real = || raw::to_libc(unsafe { kernel(libc::SYS_read, [int(fd), buffer as usize, len]) });
    match table::mark(fd) {
        // SAFETY: as this call.
        Mark::None => unsafe { shared::read(fd, buffer, len) }.unwrap_or_else(real),
        Mark::Socket | Mark::Pipe => answer(
            "read",
            fd,
            || -(libc::EBADF as isize),
            |id| {
                if len == 0 && table::mark(fd) == Mark::Socket {
                    return Ok(0);
                }
                // SAFETY: the caller vouches for the buffer.
                let buffer = IoSliceMut::new(unsafe { slice_mut(buffer, len) });
                receive((fd, id), &mut [buffer], 0).map(|received| received.len as isize)
            },
        ),
        Mark::Entropy => {
            // SAFETY: the caller vouches for the buffer.
            let filled = files::fill(&mut [IoSliceMut::new(unsafe { slice_mut(buffer, len) })]);
            filled.unwrap_or_else(real)
        }
        Mark::Poller => real(),
        Mark::Counter => eventfd::read(fd, real),
    }
}

/// `write(2)`.
///
/// # Safety
/// `buffer` must be valid to read for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, len: size_t) -> ssize_t {
    if table::mark(fd) == Mark::None
        // SAFETY: as this call.
        && let Some(written) = unsafe { shared::write(fd, buffer, len) }
    {
        return written;
    }
    if table::mark(fd) == Mark::Counter {
        // SAFETY: as the system call.
        let real = || raw::to_libc(unsafe { kernel(libc::SYS_write, [int(fd), buffer as usize, len]) });
        return eventfd::write(fd, real);
    }
    answer(
        "write",
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_write, [int(fd), buffer as usize, len]) },
        |id| {
            // SAFETY: the caller vouches for the buffer.
            let data = IoSlice::new(unsafe { slice(buffer, len) });
            transmit((fd, id), &[data], None, SendExtra::default(), 0).map(|sent| sent as isize)
        },
    )
}

/// `readv(2)`.
///
/// # Safety
/// `vector` must be valid to read for `count` entries, and each of them to write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn readv(fd: c_int, vector: *const iovec, count: c_int) -> ssize_t {
    if table::mark(fd) == Mark::None
        // SAFETY: as this call.
        && let Some(read) = unsafe { shared::readv(fd, vector, count) }
    {
        return read;
    }
    // SAFETY: as the system call.
    let real = || unsafe { kernel(libc::SYS_readv, [int(fd), vector as usize, int(count)]) };
    // SAFETY: the caller vouches for the entries.
    let buffers = || unsafe { slices_mut(vector, count as usize) };
    if table::mark(fd) == Mark::Entropy {
        let filled = buffers().ok().and_then(|mut buffers| files::fill(&mut buffers));
        return filled.unwrap_or_else(|| raw::to_libc(real()));
    }
    answer("readv", fd, real, |id| {
        let mut buffers = buffers()?;
        if table::mark(fd) == Mark::Socket && buffers.iter().all(|buffer| buffer.is_empty()) {
            return Ok(0);
        }
        receive((fd, id), &mut buffers, 0).map(|received| received.len as isize)
    })
}

/// `writev(2)`.
///
/// # Safety
/// `vector` must be valid to read for `count` entries, and each of them for its bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn writev(fd: c_int, vector: *const iovec, count: c_int) -> ssize_t {
    if table::mark(fd) == Mark::None
        // SAFETY: as this call.
        && let Some(written) = unsafe { shared::writev(fd, vector, count) }
    {
        return written;
    }
    answer(
        "writev",
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_writev, [int(fd), vector as usize, int(count)]) },
        |id| {
            // SAFETY: the caller vouches for the entries.
            let data = unsafe { slices(vector, count as usize) }?;
            transmit((fd, id), &data, None, SendExtra::default(), 0).map(|sent| sent as isize)
        },
    )
}

/// `sendfile(2)`: never into a simulated socket; std's copies fall back to reading and writing.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sendfile64(
    out: c_int,
    from: c_int,
    offset: *mut i64,
    count: size_t,
) -> ssize_t {
    // SAFETY: as the system call.
    unsafe { between(libc::SYS_sendfile, out, from, [int(out), int(from), offset as usize, count, 0, 0]) }
}

/// `splice(2)`: as [`sendfile64`].
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn splice(
    from: c_int,
    from_offset: *mut i64,
    out: c_int,
    out_offset: *mut i64,
    len: size_t,
    flags: libc::c_uint,
) -> ssize_t {
    let arguments = [int(from), from_offset as usize, int(out), out_offset as usize, len, flags as usize];
    // SAFETY: as the system call.
    unsafe { between(libc::SYS_splice, out, from, arguments) }
}

/// # Safety
/// As the system call.
unsafe fn between(call: c_long, out: c_int, from: c_int, arguments: [usize; 6]) -> ssize_t {
    let is_simulated = |fd| table::mark(fd).is_simulated() || shared::is_file(fd);
    if is_simulated(out) || is_simulated(from) {
        return super::fail(libc::EINVAL);
    }
    // SAFETY: as the system call.
    raw::to_libc(unsafe { kernel(call, arguments) })
}
