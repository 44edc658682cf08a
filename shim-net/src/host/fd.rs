//! Descriptors of simulated sockets: made on demand, given away, taken back.
//!
//! Owns the placeholders: real sockets that are never bound, which hold the number, `O_NONBLOCK` and
//! `FD_CLOEXEC`. Must not know protocols. Invariant: a socket is closed with the last of its descriptors, of
//! which a value of the mirror counts as one.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use libc::c_int;
use shim_runtime::device;

use super::table::Mark;
use super::{Owner, adopt, int, kernel, owner, pipe};
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

/// Takes a socket that std or another library opened, inside the simulation or before it: the mirror holds it.
///
/// # Errors
/// `InvalidInput` where the descriptor is a real one of the process that cannot be simulated.
pub fn adopt(fd: OwnedFd) -> io::Result<SocketId> {
    let number = fd.as_raw_fd();
    let id = socket_of(number)?;
    device::with::<Net, _>(|net, _| net.descriptors.hold(number));
    let _held = fd.into_raw_fd();
    Ok(id)
}

/// As [`adopt`], for a descriptor that need not be a socket's.
///
/// # Errors
/// As [`watched`].
pub(crate) fn adopt_watched(fd: OwnedFd) -> io::Result<SocketId> {
    watched(fd.as_raw_fd())?;
    adopt(fd)
}

/// The socket that `fd` is, or is made.
fn socket_of(fd: RawFd) -> io::Result<SocketId> {
    match owner(fd) {
        Owner::World(id) => Ok(id),
        Owner::Elsewhere => adopt::refuse(fd, "it is another simulation's"),
        Owner::Kernel => adopt::adopt(fd),
    }
}

/// The socket that `fd` is, for who wants to watch it.
///
/// # Errors
/// As epoll has them: `EBADF` where it is closed, `EPERM` where it is nothing that can be waited for; and
/// `InvalidInput` where it can, but is not the simulation's.
pub(crate) fn watched(fd: RawFd) -> io::Result<SocketId> {
    if shim_fs::host::shared::is_file(fd) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    if matches!(owner(fd), Owner::Kernel) {
        refused_by_epoll(fd)?;
    }
    socket_of(fd)
}

fn refused_by_epoll(fd: RawFd) -> io::Result<()> {
    // SAFETY: the call has no pointers.
    let epoll = unsafe { kernel(libc::SYS_epoll_create1, [int(libc::EPOLL_CLOEXEC)]) };
    if epoll < 0 {
        return Err(io::Error::from_raw_os_error(-epoll as c_int));
    }
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    let arguments = [epoll as usize, int(libc::EPOLL_CTL_ADD), int(fd), &raw mut event as usize];
    // SAFETY: the event is valid to read.
    let added = unsafe { kernel(libc::SYS_epoll_ctl, arguments) };
    close_placeholder(epoll as RawFd);
    if added < 0 { Err(io::Error::from_raw_os_error(-added as c_int)) } else { Ok(()) }
}

/// Whether a descriptor is an end of a pipe, or a FIFO.
///
/// # Errors
/// `EBADF`.
pub(crate) fn is_pipe(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the place is valid to write.
    let result = unsafe { kernel(libc::SYS_fstat, [int(fd.as_raw_fd()), stat.as_mut_ptr() as usize]) };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result as c_int));
    }
    // SAFETY: the kernel has filled it.
    Ok(unsafe { stat.assume_init() }.st_mode & libc::S_IFMT == libc::S_IFIFO)
}

/// What `F_GETFL` says.
///
/// # Errors
/// `EBADF`.
pub(crate) fn status_flags(fd: BorrowedFd<'_>) -> io::Result<c_int> {
    // SAFETY: the call has no pointers.
    let flags = unsafe { kernel(libc::SYS_fcntl, [int(fd.as_raw_fd()), int(libc::F_GETFL)]) };
    if flags < 0 { Err(io::Error::from_raw_os_error(-flags as c_int)) } else { Ok(flags as c_int) }
}

/// Sets `O_NONBLOCK`, or takes it away.
///
/// # Errors
/// `EBADF`.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
    let rest = status_flags(fd)? & !libc::O_NONBLOCK;
    let flags = if nonblocking { rest | libc::O_NONBLOCK } else { rest };
    // SAFETY: the call has no pointers.
    let result = unsafe { kernel(libc::SYS_fcntl, [int(fd.as_raw_fd()), int(libc::F_SETFL), int(flags)]) };
    if result < 0 { Err(io::Error::from_raw_os_error(-result as c_int)) } else { Ok(()) }
}

/// Whether a descriptor of the application is blocking.
pub fn is_blocking(fd: &OwnedFd) -> bool {
    !super::wait::is_nonblocking(fd.as_raw_fd())
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
    if domain == Domain::Pipe {
        return pipe::open(id, flags);
    }
    let kind = match kind {
        Kind::Stream => libc::SOCK_STREAM,
        Kind::Datagram => libc::SOCK_DGRAM,
    };
    let domain = match domain {
        Domain::Inet => libc::AF_INET,
        Domain::Inet6 => libc::AF_INET6,
        // What is told of a netlink socket is the world's alone; not every host lets one be made.
        Domain::Unix | Domain::Netlink | Domain::Pipe => libc::AF_UNIX,
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
    let (domain, _) = sys::describe(id)?;
    let mark = if domain == Domain::Pipe { Mark::Pipe } else { Mark::Socket };
    if device::with::<Net, _>(|net, _| net.descriptors.insert(fd, id, mark)) {
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
