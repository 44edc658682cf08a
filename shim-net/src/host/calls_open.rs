//! From `socket` to `close`: the calls that make, join and end simulated sockets.
//!
//! Owns which sockets are simulated and how a blocking `connect` and `accept` wait. Must not know data.
//! Invariant: a call that fails leaves neither a descriptor nor a socket behind.

use std::io;
use std::net::Shutdown;
use std::os::fd::RawFd;

use libc::{c_int, sockaddr, socklen_t};
use shim_runtime::host::raw;
use shim_runtime::runtime::is_reachable;

use super::table::{self, Mark};
use super::{address, adopt, answer, epoll, fail, fd, int, kernel, loud, refuse, target, to_libc, wait};
use crate::error::Errno;
use crate::sys::{self, Addr, Direction, Domain, Kind, SocketId};

/// The flags among the bits of a socket's type.
const TYPE_FLAGS: c_int = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
/// What `listen` makes of a larger or a negative backlog (`net.core.somaxconn`).
const BACKLOG_MAX: u32 = 4096;

/// `socket(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    if !is_reachable() {
        // SAFETY: the call has no pointers.
        return raw::to_libc(unsafe { kernel(libc::SYS_socket, [int(domain), int(kind), int(protocol)]) })
            as c_int;
    }
    let of = kind & !TYPE_FLAGS;
    let made = match domain {
        libc::AF_NETLINK => netlink(of, protocol),
        _ => simulated(domain, of, protocol).and_then(|(domain, of)| sys::socket(domain, of)),
    };
    let made = made.and_then(|id| fd::open_or_close(id, kind & TYPE_FLAGS));
    to_libc(made.map(|fd| fd as isize)) as c_int
}

/// The simulated socket that the arguments of `socket(2)` ask for.
fn simulated(domain: c_int, kind: c_int, protocol: c_int) -> io::Result<(Domain, Kind)> {
    let of = match domain {
        libc::AF_INET => Domain::Inet,
        libc::AF_INET6 => Domain::Inet6,
        libc::AF_UNIX => Domain::Unix,
        _ => {
            loud(&format!("socket: address family {domain}"));
            return refuse(Errno::EAFNOSUPPORT);
        }
    };
    let (of_kind, own) = match kind {
        libc::SOCK_STREAM => (Kind::Stream, libc::IPPROTO_TCP),
        libc::SOCK_DGRAM => (Kind::Datagram, libc::IPPROTO_UDP),
        _ => {
            loud(&format!("socket: type {kind} of address family {domain}"));
            return Err(io::Error::from_raw_os_error(libc::ESOCKTNOSUPPORT));
        }
    };
    let own = if of == Domain::Unix { libc::PF_UNIX } else { own };
    if protocol == 0 || protocol == own { Ok((of, of_kind)) } else { refuse(Errno::EPROTONOSUPPORT) }
}

/// A netlink socket, of the one family that is simulated.
fn netlink(kind: c_int, protocol: c_int) -> io::Result<SocketId> {
    if !matches!(kind, libc::SOCK_RAW | libc::SOCK_DGRAM) {
        return Err(io::Error::from_raw_os_error(libc::ESOCKTNOSUPPORT));
    }
    if protocol != libc::NETLINK_ROUTE {
        loud(&format!("socket: protocol {protocol} of netlink"));
        return refuse(Errno::EPROTONOSUPPORT);
    }
    sys::netlink_socket(kind == libc::SOCK_RAW, std::process::id())
}

/// `socketpair(2)`.
///
/// # Safety
/// `pair` must be valid to write for two descriptors.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn socketpair(
    domain: c_int,
    kind: c_int,
    protocol: c_int,
    pair: *mut c_int,
) -> c_int {
    if !is_reachable() {
        let arguments = [int(domain), int(kind), int(protocol), pair as usize];
        // SAFETY: as the system call.
        return raw::to_libc(unsafe { kernel(libc::SYS_socketpair, arguments) }) as c_int;
    }
    if domain == libc::AF_NETLINK {
        return fail(libc::EOPNOTSUPP) as c_int;
    }
    let made = simulated(domain, kind & !TYPE_FLAGS, protocol).and_then(|(of, of_kind)| {
        if of != Domain::Unix {
            return refuse(Errno::EOPNOTSUPP);
        }
        let (a, b) = sys::socketpair(of_kind)?;
        let first = fd::open_or_close(a, kind & TYPE_FLAGS).inspect_err(|_| sys::close(b))?;
        let second = fd::open_or_close(b, kind & TYPE_FLAGS).inspect_err(|_| close_simulated(first))?;
        // SAFETY: the caller vouches for `pair`.
        unsafe {
            *pair = first;
            *pair.add(1) = second;
        }
        Ok(0)
    });
    to_libc(made) as c_int
}

/// `bind(2)`.
///
/// # Safety
/// `address` must be valid to read for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn bind(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    answer(
        "bind",
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_bind, [int(fd), address as usize, len as usize]) },
        |id| {
            // SAFETY: the caller vouches for `address`.
            let address = unsafe { target::to_bind(id, address, len) }?;
            sys::bind(id, &address).map(|()| 0)
        },
    ) as c_int
}

/// `listen(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn listen(fd: c_int, backlog: c_int) -> c_int {
    answer(
        "listen",
        fd,
        // SAFETY: the call has no pointers.
        || unsafe { kernel(libc::SYS_listen, [int(fd), int(backlog)]) },
        |id| sys::listen(id, (backlog as u32).min(BACKLOG_MAX)).map(|()| 0),
    ) as c_int
}

/// `accept(2)`.
///
/// # Safety
/// As [`accept4`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    // SAFETY: as this call.
    unsafe { accept4(fd, address, len, 0) }
}

/// `accept4(2)`.
///
/// # Safety
/// `address` must be null, or valid to write for `*len` bytes and `len` for a number.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn accept4(
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
    flags: c_int,
) -> c_int {
    adopt::adopt_to_accept(fd);
    answer(
        "accept",
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_accept4, [int(fd), address as usize, len as usize, int(flags)]) },
        |id| {
            if flags & !TYPE_FLAGS != 0 {
                return refuse(Errno::EINVAL);
            }
            let (child, from) = wait::until_done((fd, id), false, Direction::Read, || sys::accept(id))?;
            let number = fd::open_or_close(child, flags)?;
            // SAFETY: the caller vouches for the two.
            unsafe { address::write(Some(&from), address, len) };
            Ok(number as isize)
        },
    ) as c_int
}

/// `connect(2)`.
///
/// # Safety
/// `address` must be valid to read for `len` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    answer(
        "connect",
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(libc::SYS_connect, [int(fd), address as usize, len as usize]) },
        |id| {
            // SAFETY: the caller vouches for `address`.
            match unsafe { target::connect(id, address, len) } {
                Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => wait::connected((fd, id)),
                result => result,
            }
            .map(|()| 0)
        },
    ) as c_int
}

/// `getsockname(2)`.
///
/// # Safety
/// As [`accept4`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getsockname(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    // SAFETY: as this call.
    unsafe { name_of("getsockname", libc::SYS_getsockname, sys::local_addr, fd, address, len) }
}

/// `getpeername(2)`.
///
/// # Safety
/// As [`accept4`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getpeername(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    // SAFETY: as this call.
    unsafe { name_of("getpeername", libc::SYS_getpeername, sys::peer_addr, fd, address, len) }
}

/// # Safety
/// As [`accept4`].
unsafe fn name_of(
    call: &'static str,
    number: libc::c_long,
    name: fn(SocketId) -> io::Result<Addr>,
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
) -> c_int {
    answer(
        call,
        fd,
        // SAFETY: as the system call.
        || unsafe { kernel(number, [int(fd), address as usize, len as usize]) },
        |id| {
            let name = name(id)?;
            // SAFETY: the caller vouches for the two.
            unsafe { address::write(Some(&name), address, len) };
            Ok(0)
        },
    ) as c_int
}

/// `shutdown(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn shutdown(fd: c_int, how: c_int) -> c_int {
    answer(
        "shutdown",
        fd,
        // SAFETY: the call has no pointers.
        || unsafe { kernel(libc::SYS_shutdown, [int(fd), int(how)]) },
        |id| {
            let how = match how {
                libc::SHUT_RD => Shutdown::Read,
                libc::SHUT_WR => Shutdown::Write,
                libc::SHUT_RDWR => Shutdown::Both,
                _ => return refuse(Errno::EINVAL),
            };
            sys::shutdown(id, how).map(|()| 0)
        },
    ) as c_int
}

/// `close(2)`, for descriptors of every kind.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn close(fd: c_int) -> c_int {
    forget(fd);
    // SAFETY: the call has no pointers.
    let closed = unsafe { kernel(libc::SYS_close, [int(fd)]) };
    // As glibc: where a signal interrupted it, the descriptor is closed all the same.
    if closed < 0 && closed != -(libc::EINTR as isize) { fail(-closed as c_int) as c_int } else { 0 }
}

/// Takes `fd` out of the tables, because its number is about to become free.
pub(super) fn forget(fd: RawFd) {
    match table::mark(fd) {
        Mark::None => shim_fs::host::shared::forget(fd),
        Mark::Socket | Mark::Pipe => {
            fd::forget(fd);
            // Another world's: its table forgets it when it looks for it.
            table::set_mark(fd, Mark::None);
        }
        Mark::Entropy => {
            table::set_mark(fd, Mark::None);
        }
        Mark::Poller | Mark::Counter => {
            epoll::forget(fd);
            table::set_mark(fd, Mark::None);
        }
    }
}

/// Closes a placeholder whose socket has others.
pub(super) fn close_one_of_several(fd: RawFd) {
    close_simulated(fd);
}

fn close_simulated(fd: RawFd) {
    forget(fd);
    fd::close_placeholder(fd);
}
