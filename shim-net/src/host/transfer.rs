//! Moving data: what the calls that send and receive have in common.
//!
//! Owns how much a call moves before it returns, what the flags mean, and the caller's vectors of buffers. Must
//! not know which call it was. Invariants: `SIGPIPE` is never raised; a blocking call that sends on a stream
//! returns when all of it is in the buffer.

use std::io::{self, IoSlice, IoSliceMut};

use libc::{c_int, c_void, iovec};

use super::{loud, refuse, wait};
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
    let waits = !dont_wait && !wait::is_nonblocking(fd) && !stream();
    let received = wait::until_done((fd, id), dont_wait, Direction::Read, || {
        match sys::recv_from_vectored(id, buffers, peek) {
            // Nothing will come: who waits is told, who does not is told to.
            Err(error) if waits && super::would_block(&error) && sys::events(id).read_hang_up => {
                Ok(Received { len: 0, full_len: 0, from: None, to: None, ecn: 0, segment_size: None })
            }
            result => result,
        }
    });
    if received.as_ref().is_ok_and(|received| received.len == 0) && !wait::is_nonblocking(fd) && stream() {
        // A thread that reads again and again past the end must not keep the others from going on.
        // SAFETY: the call has no pointers.
        unsafe { libc::sched_yield() };
    }
    received
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
            let part =
                wait::until_done(socket, dont_wait, Direction::Read, || sys::recv(socket.1, rest, false));
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
    let first =
        wait::until_done((fd, id), dont_wait, Direction::Write, || sys::send_to(id, data, to, extra))?;
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
pub(super) unsafe fn slice<'a>(bytes: *const c_void, len: usize) -> &'a [u8] {
    // SAFETY: the caller vouches for the bytes.
    if len == 0 { &[] } else { unsafe { std::slice::from_raw_parts(bytes.cast(), len) } }
}

/// The caller's buffer.
///
/// # Safety
/// `bytes` is valid to write for `len` bytes, or `len` is zero.
pub(super) unsafe fn slice_mut<'a>(bytes: *mut c_void, len: usize) -> &'a mut [u8] {
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

/// What a receiving call returns.
pub(super) fn shown_len(received: &Received, flags: c_int) -> usize {
    if flags & libc::MSG_TRUNC != 0 { received.full_len } else { received.len }
}
