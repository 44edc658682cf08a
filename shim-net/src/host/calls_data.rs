//! `send`, `recv`, `read`, `write` and their kin.
//!
//! Owns how much a call moves before it returns, and what the flags mean. Must not know control messages.
//! Invariants: `SIGPIPE` is never raised; a blocking `send` on a stream returns when all is in the buffer.

use std::io::{self, IoSlice, IoSliceMut};

use libc::{c_int, c_long, c_void, iovec, size_t, sockaddr, socklen_t, ssize_t};
use shim_runtime::host::raw;

use super::table::{self, Mark};
use super::{address, answer, files, int, kernel, loud, refuse, wait};
use crate::error::Errno;
use crate::sys::{self, Addr, Direction, Kind, Received, SendExtra, SocketId};

/// Flags of sending that are hints, or mean what is done anyway.
const SEND_HINTS: c_int = libc::MSG_NOSIGNAL
    | libc::MSG_DONTWAIT
    | libc::MSG_EOR
    | libc::MSG_CONFIRM
    | libc::MSG_DONTROUTE
    | libc::MSG_MORE;
/// Flags of receiving that are known here.
const RECEIVE_FLAGS: c_int = libc::MSG_NOSIGNAL
    | libc::MSG_DONTWAIT
    | libc::MSG_PEEK
    | libc::MSG_TRUNC
    | libc::MSG_WAITALL
    | libc::MSG_CMSG_CLOEXEC;
/// `UIO_MAXIOV`.
const BUFFERS_MAX: usize = 1024;

/// Receives as the flags say.
pub(super) fn receive(
    (fd, id): (c_int, SocketId),
    buffers: &mut [IoSliceMut<'_>],
    flags: c_int,
) -> io::Result<Received> {
    if flags & libc::MSG_ERRQUEUE != 0 {
        // Errors come back by `SO_ERROR` alone, so that this queue is always empty.
        return refuse(Errno::EAGAIN);
    }
    let stream = || sys::describe(id).is_ok_and(|(_, kind)| kind == Kind::Stream);
    if flags & !RECEIVE_FLAGS != 0 || (flags & libc::MSG_TRUNC != 0 && stream()) {
        loud(&format!("recv: flags {flags:#x}"));
        return refuse(Errno::EOPNOTSUPP);
    }
    let peek = flags & libc::MSG_PEEK != 0;
    let dont_wait = flags & libc::MSG_DONTWAIT != 0;
    if flags & libc::MSG_WAITALL != 0 && !peek && stream() {
        return receive_all((fd, id), buffers, dont_wait);
    }
    wait::until_done((fd, id), dont_wait, Direction::Read, || sys::recv_from_vectored(id, buffers, peek))
}

/// `MSG_WAITALL`: fills the buffers, unless the stream ends.
fn receive_all(
    socket: (c_int, SocketId),
    buffers: &mut [IoSliceMut<'_>],
    dont_wait: bool,
) -> io::Result<Received> {
    let mut len = 0;
    let mut ended = Ok(());
    for buffer in buffers {
        let mut rest = &mut buffer[..];
        while !rest.is_empty() && ended.is_ok() {
            let part = wait::until_done(socket, dont_wait, Direction::Read, || sys::recv(socket.1, rest, false));
            match part {
                Ok(0) => break,
                Ok(count) => {
                    len += count;
                    rest = &mut rest[count..];
                }
                Err(error) => ended = Err(error),
            }
        }
        if !rest.is_empty() {
            break;
        }
    }
    match ended {
        Err(error) if len == 0 => Err(error),
        _ => Ok(Received { len, full_len: len, from: None, to: None, ecn: 0, segment_size: None }),
    }
}

/// Sends as the flags say.
pub(super) fn transmit(
    (fd, id): (c_int, SocketId),
    data: &[IoSlice<'_>],
    to: Option<&Addr>,
    extra: SendExtra,
    flags: c_int,
) -> io::Result<usize> {
    if flags & !SEND_HINTS != 0 {
        loud(&format!("send: flags {flags:#x}"));
        return refuse(Errno::EOPNOTSUPP);
    }
    let total: usize = data.iter().map(|slice| slice.len()).sum();
    let dont_wait = flags & libc::MSG_DONTWAIT != 0;
    let first = wait::until_done((fd, id), dont_wait, Direction::Write, || sys::send_to(id, data, to, extra))?;
    if first == total || dont_wait || wait::is_nonblocking(fd) {
        return Ok(first);
    }
    // A stream that took a part of it, and may block for the rest.
    let mut slices = data.to_vec();
    let mut rest = &mut slices[..];
    IoSlice::advance_slices(&mut rest, first);
    let mut sent = first;
    while sent < total {
        match wait::until_done((fd, id), false, Direction::Write, || sys::send_to(id, rest, to, extra)) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                IoSlice::advance_slices(&mut rest, count);
                sent += count;
            }
        }
    }
    Ok(sent)
}

/// The caller's bytes.
///
/// # Safety
/// `bytes` is valid to read for `len` bytes, or `len` is zero.
unsafe fn slice<'a>(bytes: *const c_void, len: usize) -> &'a [u8] {
    // SAFETY: the caller vouches for the bytes.
    if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(bytes.cast(), len) } }
}

/// The caller's buffer.
///
/// # Safety
/// `bytes` is valid to write for `len` bytes, or `len` is zero.
unsafe fn slice_mut<'a>(bytes: *mut c_void, len: usize) -> &'a mut [u8] {
    // SAFETY: the caller vouches for the bytes, which the simulation only writes.
    if len == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(bytes.cast(), len) } }
}

/// The caller's data in several places.
///
/// # Errors
/// `EINVAL` where there are too many, or `EMSGSIZE` as `sendmsg(2)` has it.
///
/// # Safety
/// `vector` is valid to read for `count` entries, and each entry for its bytes.
pub(super) unsafe fn slices<'a>(vector: *const iovec, count: usize) -> io::Result<Vec<IoSlice<'a>>> {
    // SAFETY: the caller vouches for the entries.
    let entries = unsafe { entries(vector, count) }?;
    // SAFETY: the caller vouches for each entry's bytes.
    Ok(entries.iter().map(|entry| IoSlice::new(unsafe { slice(entry.iov_base, entry.iov_len) })).collect())
}

/// The caller's buffers.
///
/// # Errors
/// As [`slices`].
///
/// # Safety
/// As [`slices`], for writing.
pub(super) unsafe fn slices_mut<'a>(vector: *const iovec, count: usize) -> io::Result<Vec<IoSliceMut<'a>>> {
    // SAFETY: the caller vouches for the entries.
    let entries = unsafe { entries(vector, count) }?;
    let buffers = entries.iter().map(|entry| {
        // SAFETY: the caller vouches for each entry's bytes.
        IoSliceMut::new(unsafe { slice_mut(entry.iov_base, entry.iov_len) })
    });
    Ok(buffers.collect())
}

/// # Safety
/// As [`slices`].
unsafe fn entries<'a>(vector: *const iovec, count: usize) -> io::Result<&'a [iovec]> {
    if count > BUFFERS_MAX {
        return refuse(Errno::EINVAL);
    }
    // SAFETY: the caller vouches for the entries.
    Ok(if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(vector, count) } })
}

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
            let arguments = [int(fd), buffer as usize, len, int(flags), address as usize, address_len as usize];
            // SAFETY: as the system call.
            unsafe { kernel(libc::SYS_sendto, arguments) }
        },
        |id| {
            // SAFETY: the caller vouches for both.
            let (data, to) = unsafe {
                let to = (!address.is_null()).then(|| address::read(address, address_len)).transpose()?;
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
            let arguments = [int(fd), buffer as usize, len, int(flags), address as usize, address_len as usize];
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

/// What a receiving call returns.
pub(super) fn shown_len(received: &Received, flags: c_int) -> usize {
    if flags & libc::MSG_TRUNC != 0 { received.full_len } else { received.len }
}

/// `read(2)`.
///
/// # Safety
/// `buffer` must be valid to write for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, len: size_t) -> ssize_t {
    match table::mark(fd) {
        // SAFETY: as the system call.
        Mark::None => raw::to_libc(unsafe { kernel(libc::SYS_read, [int(fd), buffer as usize, len]) }),
        // SAFETY: as this call.
        Mark::Socket => unsafe { recv(fd, buffer, len, 0) },
        Mark::Entropy => {
            // SAFETY: the caller vouches for the buffer.
            let filled = files::fill(&mut [IoSliceMut::new(unsafe { slice_mut(buffer, len) })]);
            // SAFETY: as the system call.
            filled.unwrap_or_else(|| raw::to_libc(unsafe { kernel(libc::SYS_read, [int(fd), buffer as usize, len]) }))
        }
    }
}

/// `write(2)`.
///
/// # Safety
/// `buffer` must be valid to read for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, len: size_t) -> ssize_t {
    if table::mark(fd) == Mark::Socket {
        // SAFETY: as this call.
        return unsafe { send(fd, buffer, len, 0) };
    }
    // SAFETY: as the system call.
    raw::to_libc(unsafe { kernel(libc::SYS_write, [int(fd), buffer as usize, len]) })
}

/// `readv(2)`.
///
/// # Safety
/// `vector` must be valid to read for `count` entries, and each of them to write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn readv(fd: c_int, vector: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: as the system call.
    let real = || unsafe { kernel(libc::SYS_readv, [int(fd), vector as usize, int(count)]) };
    // SAFETY: the caller vouches for the entries.
    let buffers = || unsafe { slices_mut(vector, count as usize) };
    if table::mark(fd) == Mark::Entropy {
        let filled = buffers().ok().and_then(|mut buffers| files::fill(&mut buffers));
        return filled.unwrap_or_else(|| raw::to_libc(real()));
    }
    answer("readv", fd, real, |id| receive((fd, id), &mut buffers()?, 0).map(|received| received.len as isize))
}

/// `writev(2)`.
///
/// # Safety
/// `vector` must be valid to read for `count` entries, and each of them for its bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn writev(fd: c_int, vector: *const iovec, count: c_int) -> ssize_t {
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
pub(crate) unsafe extern "C" fn sendfile64(out: c_int, from: c_int, offset: *mut i64, count: size_t) -> ssize_t {
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
    if table::mark(out) == Mark::Socket || table::mark(from) == Mark::Socket {
        return super::fail(libc::EINVAL);
    }
    // SAFETY: as the system call.
    raw::to_libc(unsafe { kernel(call, arguments) })
}
