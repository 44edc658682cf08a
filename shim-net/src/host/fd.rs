//! Descriptors of simulated sockets: made on demand, given away, taken back.
//!
//! Owns the placeholders: real sockets that are never bound, which hold the number, `O_NONBLOCK` and
//! `FD_CLOEXEC`. Must not know protocols. Invariant: a socket is closed with the last of its descriptors, of
//! which a value of the mirror counts as one.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use libc::c_int;
use shim_runtime::device;

use super::{int, kernel};
use crate::net::Net;
use crate::sys::{self, Domain, Kind, SocketId};

/// The descriptor of a socket that the mirror holds, made where there is none. It stays the mirror's.
///
/// # Errors
/// Outside a simulation; `EMFILE`; on a node whose process is dead.
pub fn descriptor(id: SocketId) -> io::Result<RawFd> {
    match device::try_with::<Net, _>(|net, _| net.descriptors.held(id)) {
        None => return Err(io::Error::other("simulation: the simulation of this socket is over")),
        Some(Some(fd)) => return Ok(fd),
        Some(None) => {}
    }
    let fd = open(id, libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)?;
    device::with::<Net, _>(|net, _| net.descriptors.hold(fd));
    Ok(fd)
}

/// The descriptor of a socket, for as long as its `owner` is borrowed.
///
/// # Panics
/// Where [`descriptor`] fails.
#[track_caller]
pub fn as_fd<T: ?Sized>(_owner: &T, id: SocketId) -> BorrowedFd<'_> {
    match descriptor(id) {
        // SAFETY: the descriptor is open for as long as the mirror's value, which the result borrows.
        Ok(fd) => unsafe { BorrowedFd::borrow_raw(fd) },
        Err(error) => panic!("simulation: no descriptor for a socket: {error}"),
    }
}

/// Gives a socket of the mirror away: who closes the descriptor closes the socket.
///
/// # Errors
/// As [`descriptor`].
pub fn into_owned(id: SocketId) -> io::Result<OwnedFd> {
    let fd = descriptor(id)?;
    device::with::<Net, _>(|net, _| net.descriptors.release(fd));
    // SAFETY: the mirror gives up the descriptor, so that nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes a socket that was opened through std or another library inside the simulation: the mirror holds it.
///
/// # Errors
/// `InvalidInput` where the descriptor is a real one of the process.
pub fn adopt(fd: OwnedFd) -> io::Result<SocketId> {
    let number = fd.as_raw_fd();
    match device::try_with::<Net, _>(|net, _| net.descriptors.hold(number)).flatten() {
        Some(id) => {
            let _held = fd.into_raw_fd();
            Ok(id)
        }
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "simulation: descriptor {number} is not a socket of this simulation: it was opened outside of it, \
                 or by a call that the simulation does not see"
            ),
        )),
    }
}

/// Whether `O_NONBLOCK` is set; a socket without descriptor is as tokio makes them.
pub fn is_nonblocking(id: SocketId) -> bool {
    let held = device::try_with::<Net, _>(|net, _| net.descriptors.held(id)).flatten();
    held.is_none_or(super::wait::is_nonblocking)
}

/// A value of the mirror is gone: closes its descriptor, if it has one, and the socket unless another
/// descriptor of it is open. Does nothing outside a simulation.
pub fn close_descriptor(id: SocketId) {
    let held = device::try_with::<Net, _>(|net, _| {
        let fd = net.descriptors.held(id)?;
        net.descriptors.remove(fd).map(|(_, last)| (fd, last))
    });
    match held.flatten() {
        None => sys::close(id),
        Some((fd, last)) => {
            close_placeholder(fd);
            if last {
                sys::close(id);
            }
        }
    }
}

/// Makes a descriptor of `id`, which is the caller's, with `flags` as `socket(2)` takes them.
pub(super) fn open(id: SocketId, flags: c_int) -> io::Result<RawFd> {
    let (domain, kind) = sys::describe(id)?;
    let kind = match kind {
        Kind::Stream => libc::SOCK_STREAM,
        Kind::Datagram => libc::SOCK_DGRAM,
    };
    let domain = match domain {
        Domain::Inet => libc::AF_INET,
        Domain::Inet6 => libc::AF_INET6,
        Domain::Unix => libc::AF_UNIX,
    };
    let socket = |domain| {
        // SAFETY: the call has no pointers.
        unsafe { kernel(libc::SYS_socket, [int(domain), int(kind | flags), 0]) }
    };
    let mut fd = socket(domain);
    if fd == -(libc::EAFNOSUPPORT as isize) {
        // A host without IPv6: the placeholder's family is never seen.
        fd = socket(libc::AF_UNIX);
    }
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd as i32));
    }
    register(fd as RawFd, id)?;
    Ok(fd as RawFd)
}

/// Enters `fd`, which is new, as one of `id`'s descriptors.
pub(super) fn register(fd: RawFd, id: SocketId) -> io::Result<()> {
    if device::with::<Net, _>(|net, _| net.descriptors.insert(fd, id)) {
        return Ok(());
    }
    close_placeholder(fd);
    Err(io::Error::from_raw_os_error(libc::EMFILE))
}

/// As [`open`]; the socket is closed where that fails.
pub(super) fn open_or_close(id: SocketId, flags: c_int) -> io::Result<RawFd> {
    open(id, flags).inspect_err(|_| sys::close(id))
}

/// Forgets descriptor `fd`, and closes its socket if it was the last. The number stays taken.
pub(super) fn forget(fd: RawFd) {
    let removed = device::try_with::<Net, _>(|net, _| net.descriptors.remove(fd)).flatten();
    if let Some((id, true)) = removed {
        sys::close(id);
    }
}

/// Gives a number back to the kernel.
pub(super) fn close_placeholder(fd: RawFd) {
    // SAFETY: the placeholder is this layer's, and nobody uses it any more.
    unsafe { kernel(libc::SYS_close, [int(fd)]) };
}
