//! The door: everything that touches a simulated socket goes through these functions.
//!
//! Owns the system calls, each named after the one that it stands for; [`reactor`] has the calls that wait.
//! Must not know protocols. Invariants: nothing here blocks; each call enters the world
//! once; a socket of a node whose process is dead answers `ENETDOWN`.
//!
//! What comes back is what Linux gives for a non-blocking socket, as `io::Error` with the error's number.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::task::Waker;

use real::io::{ReadBuf, Ready};
use shim_fs::special;
use shim_runtime::device;
use shim_runtime::device::DeviceContext;

use crate::error::{Errno, Result};
use crate::net::Net;
use crate::stack::Stack;
use crate::stack::buffer::Scatter;
use crate::stack::readiness::{Edges, Events};

pub(crate) mod interfaces;
pub(crate) mod op;
pub mod reactor;

pub use crate::stack::options::{Name, Value};
pub use crate::stack::readiness::{Told, Wait};
pub use crate::stack::socket::{Addr, Direction, Domain, Kind, SocketId, UnixAddr};
pub use crate::stack::udp::{Received, SendExtra};

/// Enters the world on behalf of the socket's own node.
///
/// # Errors
/// Those of `f`; where the world of the socket has ended, that its runtime has.
fn call<R>(id: SocketId, f: impl FnOnce(&mut Stack, &mut DeviceContext<'_>) -> Result<R>) -> io::Result<R> {
    match device::try_with::<Net, _>(|net, cx| net.call(id.node(), cx, f)) {
        Some(result) => result.map_err(io::Error::from),
        None => Err(shim_runtime::runtime::shutdown_error()),
    }
}

/// Enters the world on behalf of the node that the calling code runs on.
fn call_here<R>(f: impl FnOnce(&mut Stack, &mut DeviceContext<'_>) -> Result<R>) -> io::Result<R> {
    device::with::<Net, _>(|net, cx| net.call(cx.node().0, cx, f)).map_err(io::Error::from)
}

/// Makes a socket on the current node.
///
/// # Errors
/// `ENETDOWN` on a node whose process is dead.
pub fn socket(domain: Domain, kind: Kind) -> io::Result<SocketId> {
    call_here(|stack, _| stack.socket(domain, kind))
}

/// Makes a pair of connected Unix sockets on the current node.
///
/// # Errors
/// As [`socket`].
pub fn socketpair(kind: Kind) -> io::Result<(SocketId, SocketId)> {
    call_here(|stack, _| stack.socketpair(kind))
}

/// Makes a pipe on the current node: the end to read from, and the end to write to.
///
/// # Errors
/// As [`socket`].
pub fn pipe() -> io::Result<(SocketId, SocketId)> {
    call_here(|stack, _| stack.pipe())
}

/// Opens the current node's FIFO that `key`, its file's device and number, names, for reading and writing as
/// `access` says. With the end comes whether an opening that `waits` must wait for the other side.
///
/// # Errors
/// `ENXIO` where a writer does not wait and nobody reads.
pub(crate) fn fifo_open(key: u64, access: (bool, bool), waits: bool) -> io::Result<(SocketId, bool)> {
    call_here(|stack, _| stack.fifo_open(key, access, waits))
}

/// How many of the other side have ever come to a FIFO.
pub(crate) fn fifo_count(id: SocketId) -> io::Result<u64> {
    call(id, |stack, _| stack.fifo_count(id))
}

/// Whether an end of a pipe is for reading, and whether for writing.
pub(crate) fn pipe_access(id: SocketId) -> io::Result<(bool, bool)> {
    call(id, |stack, _| stack.pipe_access(id))
}

/// How much a read would give: of a datagram socket the next datagram.
///
/// # Errors
/// `EINVAL` of a listener.
pub(crate) fn unread(id: SocketId) -> io::Result<usize> {
    call(id, |stack, _| stack.unread(id))
}

/// As [`connect`], with an address that is wrong by itself: what the socket says first, else `errno`.
pub(crate) fn connect_wrong(id: SocketId, errno: Errno) -> io::Result<()> {
    call(id, |stack, cx| stack.connect_wrong(id, errno, cx.now))
}

/// As [`connect`], to nowhere: the socket has no peer any more.
pub(crate) fn disconnect(id: SocketId) -> io::Result<()> {
    call(id, |stack, cx| stack.disconnect(id, cx.now))
}

/// Gives a UDP socket that is to send a port, as Linux does before it looks where to.
pub(crate) fn ensure_port(id: SocketId) -> io::Result<()> {
    call(id, |stack, _| stack.ensure_port(id))
}

/// Changes the size of a pipe's buffer.
///
/// # Errors
/// `EBUSY` where more than that is in it.
pub(crate) fn pipe_resize(id: SocketId, bytes: usize) -> io::Result<()> {
    call(id, |stack, _| stack.pipe_resize(id, bytes))
}

/// Gives the socket a local address.
///
/// # Errors
/// `EADDRINUSE`, `EADDRNOTAVAIL`, `EINVAL` where it has one. For a path also as `mknod(2)`.
pub fn bind(id: SocketId, address: &Addr) -> io::Result<()> {
    let Addr::Unix(UnixAddr::Path(path)) = address else {
        return call(id, |stack, _| stack.bind(id, address));
    };
    let made = special::make(path, special::Special::Socket, 0o777).map_err(|errno| match errno.0 {
        libc::EEXIST => Errno::EADDRINUSE,
        other => Errno(other),
    })?;
    if made.is_some() {
        // A socket that had the name before lost it with its file.
        unlink(path);
    }
    call(id, |stack, _| stack.bind(id, address)).inspect_err(|_| {
        if made.is_some() {
            special::take_back(path);
        }
    })
}

/// Makes the socket take connections.
///
/// # Errors
/// `EADDRINUSE` where another listener has the address; `EOPNOTSUPP` for datagrams.
pub fn listen(id: SocketId, backlog: u32) -> io::Result<()> {
    call(id, |stack, _| stack.listen(id, backlog))
}

/// Connects the socket.
///
/// # Errors
/// `EINPROGRESS` where the handshake is under way, for TCP always: poll for writing, then [`take_error`].
pub fn connect(id: SocketId, address: &Addr) -> io::Result<()> {
    crate::host::adopt::adopt_listener(address);
    call(id, |stack, cx| stack.connect(id, address, cx.now))
}

/// Takes the oldest connection out of the queue.
///
/// # Errors
/// `EAGAIN` where there is none.
pub fn accept(id: SocketId) -> io::Result<(SocketId, Addr)> {
    call(id, op::accept(id))
}

/// Reads bytes, or one datagram whose rest is lost; with `peek`, they stay.
///
/// # Errors
/// `EAGAIN` where there is nothing.
pub fn recv(id: SocketId, buffer: &mut [u8], peek: bool) -> io::Result<usize> {
    call(id, op::recv(id, buffer, peek))
}

/// As [`recv`], into a buffer that knows how much of it is filled.
///
/// # Errors
/// As [`recv`].
pub fn recv_buf(id: SocketId, buffer: &mut ReadBuf<'_>, peek: bool) -> io::Result<usize> {
    call(id, op::recv(id, buffer, peek))
}

/// As [`recv`], into several buffers.
///
/// # Errors
/// As [`recv`].
pub fn recv_vectored(id: SocketId, buffers: &mut [IoSliceMut<'_>], peek: bool) -> io::Result<usize> {
    call(id, op::recv_vectored(id, buffers, peek))
}

/// Reads one datagram (or bytes), and tells what is known about it.
///
/// # Errors
/// As [`recv`].
pub fn recv_from(id: SocketId, buffer: &mut [u8], peek: bool) -> io::Result<Received> {
    call(id, op::recv_from(id, buffer, peek))
}

/// As [`recv_from`], into a buffer that knows how much of it is filled.
///
/// # Errors
/// As [`recv`].
pub fn recv_buf_from(id: SocketId, buffer: &mut ReadBuf<'_>, peek: bool) -> io::Result<Received> {
    call(id, op::recv_from(id, buffer, peek))
}

/// As [`recv_from`], into several buffers.
///
/// # Errors
/// As [`recv`].
pub fn recv_from_vectored(id: SocketId, buffers: &mut [IoSliceMut<'_>], peek: bool) -> io::Result<Received> {
    call(id, op::recv_from(id, Scatter::new(buffers), peek))
}

/// Sends bytes, as many as there is room for, or one datagram to the peer.
///
/// # Errors
/// `EAGAIN` where there is no room; `EPIPE`, `ECONNRESET` and other ends.
pub fn send(id: SocketId, data: &[u8]) -> io::Result<usize> {
    call(id, op::send(id, data))
}

/// As [`send`], from several buffers.
///
/// # Errors
/// As [`send`].
pub fn send_vectored(id: SocketId, data: &[IoSlice<'_>]) -> io::Result<usize> {
    call(id, op::send_vectored(id, data))
}

/// Sends one datagram, or with [`SendExtra::segment_size`] a batch of them.
///
/// # Errors
/// As [`send`]; `EMSGSIZE`, `EACCES` for a broadcast without `SO_BROADCAST`.
pub fn send_to(id: SocketId, data: &[IoSlice<'_>], to: Option<&Addr>, extra: SendExtra) -> io::Result<usize> {
    call(id, |stack, cx| stack.send_to(id, data, to, extra, cx.now))
}

/// Where a datagram would go: to `to`, else to the peer. `None` of a socket that is not UDP's.
///
/// # Errors
/// What [`send_to`] says of a destination.
pub fn destination(id: SocketId, to: Option<&Addr>) -> io::Result<Option<IpAddr>> {
    call(id, |stack, _| stack.destination_of(id, to))
}

/// Ends one direction, or both.
///
/// # Errors
/// `ENOTCONN`.
pub fn shutdown(id: SocketId, how: std::net::Shutdown) -> io::Result<()> {
    use std::net::Shutdown;
    let (read, write) = (how != Shutdown::Write, how != Shutdown::Read);
    call(id, |stack, cx| stack.shutdown(id, read, write, cx.now))
}

/// Lets go of the socket. Never fails; does nothing outside a simulation, or on a dead node.
pub fn close(id: SocketId) {
    device::try_with::<Net, _>(|net, cx| {
        let closed = net.call(id.node(), cx, |stack, cx| {
            stack.close(id, cx.now);
            Ok(())
        });
        debug_assert!(matches!(closed, Ok(()) | Err(Errno::ENETDOWN)), "invariant: close does not fail");
    });
}

/// The local address; unspecified where there is none.
///
/// # Errors
/// `EBADF`.
pub fn local_addr(id: SocketId) -> io::Result<Addr> {
    call(id, |stack, _| stack.local_addr(id))
}

/// The address of the peer.
///
/// # Errors
/// `ENOTCONN`.
pub fn peer_addr(id: SocketId) -> io::Result<Addr> {
    call(id, |stack, _| stack.peer_addr(id))
}

/// Takes the pending error (`SO_ERROR`).
///
/// # Errors
/// `EBADF`.
pub fn take_error(id: SocketId) -> io::Result<Option<io::Error>> {
    call(id, |stack, _| Ok(stack.table.find_mut(id)?.core.error.take().map(io::Error::from)))
}

/// Reads an option.
///
/// # Errors
/// `ENOPROTOOPT`.
pub fn option(id: SocketId, name: Name) -> io::Result<Value> {
    call(id, |stack, cx| stack.option(id, name, cx.now))
}

/// Sets an option.
///
/// # Errors
/// `ENOPROTOOPT`, `EINVAL`.
pub fn set_option(id: SocketId, name: Name, value: Value) -> io::Result<()> {
    call(id, |stack, cx| stack.set_option(id, name, value, cx.now))
}

/// The domain and kind of the socket, for as long as it is open.
///
/// # Errors
/// `EBADF`.
pub fn describe(id: SocketId) -> io::Result<(Domain, Kind)> {
    call(id, |stack, _| stack.table.find(id).map(|socket| (socket.core.domain, socket.core.kind)))
}

/// What `poll(2)` would show of the socket; nothing where it is not open.
pub(crate) fn events(id: SocketId) -> Events {
    call(id, |stack, _| stack.events(id)).unwrap_or_default()
}

/// As [`events`], and how many there were so far.
///
/// # Errors
/// Where the socket is not open.
pub(crate) fn events_and_edges(id: SocketId) -> io::Result<(Events, Edges)> {
    call(id, |stack, _| Ok((stack.events(id)?, stack.table.find(id)?.core.waiters.edges)))
}

/// Has the calling thread woken at the next event on something of `mask`, whatever the socket is ready for now.
pub(crate) fn wait_in_thread(id: SocketId, mask: Ready, waker: &Waker) -> io::Result<()> {
    call(id, |stack, _| {
        stack.table.find_mut(id)?.core.waiters.wait_in_thread(mask, waker);
        Ok(())
    })
}

/// Takes `waker` out of the socket's lists: its future was dropped, or its thread waits no more.
pub fn forget(id: SocketId, waker: &Waker) {
    let gone = device::try_with::<Net, _>(|net, cx| {
        net.call(id.node(), cx, |stack, _| Ok(stack.table.find_mut(id)?.core.waiters.forget(waker)))
    });
    drop(gone);
}

/// The outcome of a [`connect`] that said `EINPROGRESS`.
///
/// # Errors
/// The connection's; `EAGAIN` while it is under way.
pub(crate) fn connected(id: SocketId) -> io::Result<()> {
    call(id, |stack, cx| {
        let socket = stack.table.find_mut(id)?;
        if let Some(errno) = socket.core.error.take() {
            stack.disconnect(id, cx.now)?;
            return Err(errno);
        }
        let events = stack.events(id)?;
        if !(events.writable || events.hang_up) {
            return Err(Errno::EAGAIN);
        }
        stack.table.find_mut(id)?.core.connecting = false;
        Ok(())
    })
}

/// The addresses of `host`, as the current node sees them.
///
/// # Errors
/// The text of `getaddrinfo` for a name that nobody has.
pub fn lookup(host: &str) -> io::Result<Vec<IpAddr>> {
    let found = device::with::<Net, _>(|net, _| net.lookup(host)).filter(|found| !found.is_empty());
    found.ok_or_else(|| io::Error::other("failed to lookup address information: Name or service not known"))
}

/// Tells the current node's Unix sockets that the file at `path` was removed; whether one had it.
pub fn unlink(path: &[u8]) -> bool {
    call_here(|stack, _| Ok(stack.unlink(path))).unwrap_or(false)
}
