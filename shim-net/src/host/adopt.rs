//! Sockets from outside of the simulation that come into it: a listener that `main` had bound before it made a
//! runtime, a socket that a supervisor had handed down.
//!
//! Owns what of a kernel's socket can be carried over: its kind, its address, its options, whether it listens.
//! Must not know protocols. Invariant: a number that was taken over is a simulated socket's from then on, and the
//! kernel's socket behind it is gone; where it cannot be, nothing has changed.
//!
//! A stream whose peer is the kernel's cannot come along.

use std::io;
use std::os::fd::RawFd;

use libc::{c_int, sockaddr, socklen_t};
use shim_runtime::device;
use shim_runtime::runtime::is_reachable;

use super::address::{self, SOCKADDR_BYTES_MAX};
use super::{calls_open, fd, int, kernel, table};
use crate::sys::{self, Addr, Domain, Kind, Name, SocketId, UnixAddr, Value};

/// What `listen` was asked for is not known any more: what std asks for.
const BACKLOG: u32 = 128;

/// Where a listener from outside is looked for, and for how many numbers in a row that are no sockets.
const DESCRIPTORS_LOOKED_AT: RawFd = 1024;
const GAP_MAX: u32 = 64;

/// The options that are carried over, before the socket is bound.
const OPTIONS: [(c_int, c_int, Name); 9] = [
    (libc::SOL_SOCKET, libc::SO_REUSEADDR, Name::ReuseAddress),
    (libc::SOL_SOCKET, libc::SO_REUSEPORT, Name::ReusePort),
    (libc::SOL_SOCKET, libc::SO_BROADCAST, Name::Broadcast),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE, Name::KeepAlive),
    (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, Name::OnlyV6),
    (libc::IPPROTO_IP, libc::IP_TTL, Name::Ttl),
    (libc::IPPROTO_IP, libc::IP_TOS, Name::Tos),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY, Name::NoDelay),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, Name::UserTimeout),
];

/// Makes the kernel's socket `fd` a socket of the simulation, at the same number.
///
/// # Errors
/// `InvalidInput` where it is none that can come along; where its address is taken, or not the node's.
pub(super) fn adopt(fd: RawFd) -> io::Result<SocketId> {
    let (domain, kind) = shape(fd)?;
    let local = name(libc::SYS_getsockname, fd).unwrap_or(None);
    let peer = name(libc::SYS_getpeername, fd).ok().flatten();
    if peer.is_some() && (kind != Kind::Datagram || domain == Domain::Unix) {
        return refuse(fd, "it is connected, and its peer is not in the simulation");
    }
    let id = sys::socket(domain, kind)?;
    let made = dress(fd, id, local, peer).and_then(|()| exchange(fd, id));
    made.inspect_err(|_| sys::close(id)).map(|()| id)
}

/// A thread of the world accepts from the kernel's listener `fd`, which was bound outside: it comes along, unless
/// the kernel has connections for it.
pub(super) fn adopt_to_accept(fd: RawFd) {
    if is_outside(fd) && is_reachable() && !super::eventfd::events(fd).readable {
        drop(adopt(fd));
    }
}

/// A program of a loose runtime connects to `address`: what listens there was perhaps bound before the runtime was.
pub(crate) fn adopt_listener(address: &Addr) {
    let Addr::Inet(address) = address else { return };
    if !address.ip().is_loopback() || !is_reachable() || device::is_reachable() {
        return;
    }
    let mut closed = 0;
    for fd in 0..DESCRIPTORS_LOOKED_AT {
        if number(fd, libc::SOL_SOCKET, libc::SO_TYPE).is_some() {
            closed = 0;
        } else {
            closed += 1;
        }
        if closed > GAP_MAX {
            return;
        }
        if is_outside(fd)
            && let Ok(Some(Addr::Inet(own))) = name(libc::SYS_getsockname, fd)
            && own.port() == address.port()
            && (own.ip() == address.ip() || own.ip().is_unspecified())
        {
            return adopt_to_accept(fd);
        }
    }
}

/// Whether `fd` is a listener of the kernel.
fn is_outside(fd: RawFd) -> bool {
    !table::mark(fd).is_simulated() && number(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) == Some(1)
}

/// An error that names the descriptor and says why it is not simulated.
pub(super) fn refuse<T>(fd: RawFd, why: &str) -> io::Result<T> {
    let text = format!(
        "simulation: descriptor {fd} is not of this simulation, and cannot come into it: {why} (see SUPPORT.md)"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

fn shape(fd: RawFd) -> io::Result<(Domain, Kind)> {
    let domain = match number(fd, libc::SOL_SOCKET, libc::SO_DOMAIN) {
        Some(libc::AF_INET) => Domain::Inet,
        Some(libc::AF_INET6) => Domain::Inet6,
        Some(libc::AF_UNIX) => Domain::Unix,
        Some(_) => return refuse(fd, "it is a socket of a family that is not simulated"),
        None => return refuse(fd, "it is no socket"),
    };
    match number(fd, libc::SOL_SOCKET, libc::SO_TYPE) {
        Some(libc::SOCK_STREAM) => Ok((domain, Kind::Stream)),
        Some(libc::SOCK_DGRAM) => Ok((domain, Kind::Datagram)),
        _ => refuse(fd, "it is a socket of a type that is not simulated"),
    }
}

/// Gives the new socket what the old one has.
fn dress(fd: RawFd, id: SocketId, local: Option<Addr>, peer: Option<Addr>) -> io::Result<()> {
    for (level, option, name) in OPTIONS {
        if let Some(value) = number(fd, level, option) {
            // An option of another family is no loss.
            drop(sys::set_option(id, name, Value::Int(value)));
        }
    }
    match local {
        Some(Addr::Inet(local)) if local.port() == 0 => {}
        Some(Addr::Unix(UnixAddr::Unnamed)) | None => {}
        Some(local) => sys::bind(id, &local)?,
    }
    if number(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) == Some(1) {
        sys::listen(id, BACKLOG)?;
    }
    peer.map_or(Ok(()), |peer| sys::connect(id, &peer))
}

/// Puts a placeholder where the kernel's socket was.
fn exchange(fd: RawFd, id: SocketId) -> io::Result<()> {
    let flags = |command| {
        // SAFETY: the call has no pointers.
        unsafe { kernel(libc::SYS_fcntl, [int(fd), int(command)]) as c_int }
    };
    let (status, descriptor) = (flags(libc::F_GETFL), flags(libc::F_GETFD));
    let nonblocking = if status & libc::O_NONBLOCK == 0 { 0 } else { libc::SOCK_NONBLOCK };
    let close_on_exec = if descriptor & libc::FD_CLOEXEC == 0 { 0 } else { libc::O_CLOEXEC };
    let placeholder = fd::open(id, nonblocking | libc::SOCK_CLOEXEC)?;
    // SAFETY: the call has no pointers.
    let moved = unsafe { kernel(libc::SYS_dup3, [int(placeholder), int(fd), int(close_on_exec)]) };
    let registered = match moved {
        error if error < 0 => Err(io::Error::from_raw_os_error(-error as c_int)),
        _ => fd::register(fd, id),
    };
    calls_open::close_one_of_several(placeholder);
    registered
}

/// An option that is a number.
fn number(fd: RawFd, level: c_int, option: c_int) -> Option<c_int> {
    let mut value: c_int = 0;
    let mut len = size_of::<c_int>() as socklen_t;
    let arguments = [int(fd), int(level), int(option), &raw mut value as usize, &raw mut len as usize];
    // SAFETY: the value and its length are valid to write.
    let result = unsafe { kernel(libc::SYS_getsockopt, arguments) };
    (result >= 0).then_some(value)
}

/// The address that `getsockname` or `getpeername` gives; `None` where it is not understood.
fn name(call: libc::c_long, fd: RawFd) -> io::Result<Option<Addr>> {
    let mut bytes = [0u64; SOCKADDR_BYTES_MAX / 8];
    let mut len = SOCKADDR_BYTES_MAX as socklen_t;
    let place: *mut sockaddr = bytes.as_mut_ptr().cast();
    // SAFETY: the address and its length are valid to write.
    let result = unsafe { kernel(call, [int(fd), place as usize, &raw mut len as usize]) };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result as c_int));
    }
    // SAFETY: the kernel has written `len` bytes there.
    Ok(unsafe { address::read(place, len) }.ok())
}
