//! The door: everything that touches a simulated socket goes through these functions.
//!
//! Owns the system calls, each named after the one that it stands for, and the `poll_*` calls that also
//! store a waker. Must not know protocols. Invariants: nothing here blocks; each call enters the world
//! once; a socket of a node whose process is dead answers `ENETDOWN`.
//!
//! What comes back is what Linux gives for a non-blocking socket, as `io::Error` with the error's number.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::task::{Context, Poll, Waker};

use real::io::{Interest, ReadBuf, Ready};
use shim_runtime::device;
use shim_runtime::device::DeviceContext;

use crate::error::{Errno, Result};
use crate::net::Net;
use crate::stack::Stack;
use crate::stack::buffer::Scatter;
use crate::stack::socket::interest_mask;
use shim_fs::special;

pub use crate::stack::options::{Name, Value};
pub use crate::stack::socket::{Addr, Direction, Domain, Kind, SocketId, UnixAddr, Wait};
pub use crate::stack::udp::{Received, SendExtra};

/// Enters the world on behalf of the socket's own node.
fn call<R>(id: SocketId, f: impl FnOnce(&mut Stack, &mut DeviceContext<'_>) -> Result<R>) -> io::Result<R> {
    device::with::<Net, _>(|net, cx| net.call(id.node(), cx, f)).map_err(io::Error::from)
}

/// As [`call`], for an operation that may say that it would block: what tokio remembers of the socket's
/// readiness is then out of date.
fn transfer<R>(
    id: SocketId,
    direction: Direction,
    f: impl FnOnce(&mut Stack, &mut DeviceContext<'_>) -> Result<R>,
) -> io::Result<R> {
    call(id, |stack, cx| {
        let result = f(stack, cx);
        if let Err(Errno::EAGAIN) = result
            && let Ok(socket) = stack.table.find_mut(id)
        {
            socket.core.waiters.cache.partial(direction.mask());
        }
        result
    })
}

/// Enters the world on behalf of the node that the calling code runs on.
fn call_here<R>(f: impl FnOnce(&mut Stack, &mut DeviceContext<'_>) -> Result<R>) -> io::Result<R> {
    device::with::<Net, _>(|net, cx| net.call(cx.node.0, cx, f)).map_err(io::Error::from)
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
    call(id, |stack, cx| stack.connect(id, address, cx.now))
}

/// Takes the oldest connection out of the queue.
///
/// # Errors
/// `EAGAIN` where there is none.
pub fn accept(id: SocketId) -> io::Result<(SocketId, Addr)> {
    transfer(id, Direction::Read, |stack, _| stack.accept(id))
}

/// Reads bytes, or one datagram whose rest is lost; with `peek`, they stay.
///
/// # Errors
/// `EAGAIN` where there is nothing.
pub fn recv(id: SocketId, buffer: &mut [u8], peek: bool) -> io::Result<usize> {
    transfer(id, Direction::Read, |stack, cx| stack.recv(id, &mut &mut *buffer, peek, cx.now))
}

/// As [`recv`], into several buffers.
///
/// # Errors
/// As [`recv`].
pub fn recv_vectored(id: SocketId, buffers: &mut [IoSliceMut<'_>], peek: bool) -> io::Result<usize> {
    transfer(id, Direction::Read, |stack, cx| stack.recv(id, &mut Scatter::new(buffers), peek, cx.now))
}

/// Reads one datagram (or bytes), and tells what is known about it.
///
/// # Errors
/// As [`recv`].
pub fn recv_from(id: SocketId, buffer: &mut [u8], peek: bool) -> io::Result<Received> {
    transfer(id, Direction::Read, |stack, cx| stack.recv_from(id, &mut &mut *buffer, peek, cx.now))
}

/// As [`recv_from`], into several buffers.
///
/// # Errors
/// As [`recv`].
pub fn recv_from_vectored(id: SocketId, buffers: &mut [IoSliceMut<'_>], peek: bool) -> io::Result<Received> {
    transfer(id, Direction::Read, |stack, cx| stack.recv_from(id, &mut Scatter::new(buffers), peek, cx.now))
}

/// Sends bytes, as many as there is room for, or one datagram to the peer.
///
/// # Errors
/// `EAGAIN` where there is no room; `EPIPE`, `ECONNRESET` and other ends.
pub fn send(id: SocketId, data: &[u8]) -> io::Result<usize> {
    send_vectored(id, &[IoSlice::new(data)])
}

/// As [`send`], from several buffers.
///
/// # Errors
/// As [`send`].
pub fn send_vectored(id: SocketId, data: &[IoSlice<'_>]) -> io::Result<usize> {
    transfer(id, Direction::Write, |stack, cx| stack.send_to(id, data, None, SendExtra::default(), cx.now))
}

/// Sends one datagram, or with [`SendExtra::segment_size`] a batch of them.
///
/// # Errors
/// As [`send`]; `EMSGSIZE`, `EACCES` for a broadcast without `SO_BROADCAST`.
pub fn send_to(id: SocketId, data: &[IoSlice<'_>], to: Option<&Addr>, extra: SendExtra) -> io::Result<usize> {
    transfer(id, Direction::Write, |stack, cx| stack.send_to(id, data, to, extra, cx.now))
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
    call(id, |stack, _| stack.option(id, name))
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

/// What the socket is ready for at this moment; nothing where it is not open.
pub fn ready_now(id: SocketId) -> Ready {
    let shown = |stack: &mut Stack, _: &mut DeviceContext<'_>| {
        let level = stack.level(id)?;
        Ok(stack.table.find(id)?.core.waiters.cache.peek(level))
    };
    call(id, shown).unwrap_or(Ready::EMPTY)
}

/// Hides `ready` until the next event on the socket: an operation said that it would block.
/// The closed bits are never hidden, as with tokio.
pub fn clear_ready(id: SocketId, ready: Ready) {
    let cleared = call(id, |stack, _| {
        stack.table.find_mut(id)?.core.waiters.cache.clear(ready);
        Ok(())
    });
    drop(cleared);
}

/// Waits until the socket is ready for something of `interest`. The waker joins the socket's list.
pub fn poll_ready(id: SocketId, interest: Interest, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
    poll_mask(id, interest_mask(interest), Wait::List, cx)
}

/// Waits for one direction. With [`Wait::Slot`] the last waker wins.
pub fn poll_direction(
    id: SocketId,
    direction: Direction,
    wait: Wait,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Ready>> {
    poll_mask(id, direction.mask(), wait, cx)
}

fn poll_mask(id: SocketId, mask: Ready, wait: Wait, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
    poll(id, mask, wait, cx.waker(), |stack, _| {
        let ready = stack.ready(id)? & mask;
        if ready.is_empty() { Err(Errno::EAGAIN) } else { Ok(ready) }
    })
}

/// Takes `waker` out of the socket's list, because the future that it belongs to was dropped.
pub fn forget(id: SocketId, waker: &Waker) {
    let gone = device::try_with::<Net, _>(|net, cx| {
        net.call(id.node(), cx, |stack, _| Ok(stack.table.find_mut(id)?.core.waiters.forget(waker)))
    });
    drop(gone);
}

/// As [`recv`], or stores the waker.
pub fn poll_recv(
    id: SocketId,
    wait: Wait,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let asked = buffer.remaining();
    poll(id, Direction::Read.mask(), wait, cx.waker(), |stack, cx| {
        let length = stack.recv(id, buffer, false, cx.now)?;
        note_partial(stack, id, length, asked, Ready::READABLE);
        Ok(())
    })
}

/// A stream that gave or took less than was asked has no more, or no more room, for now.
fn note_partial(stack: &mut Stack, id: SocketId, done: usize, asked: usize, ready: Ready) {
    if (1..asked).contains(&done)
        && let Ok(socket) = stack.table.find_mut(id)
    {
        socket.core.waiters.cache.partial(ready);
    }
}

/// As [`recv`] with `peek`, or stores the waker.
pub fn poll_peek(
    id: SocketId,
    wait: Wait,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<usize>> {
    poll(id, Direction::Read.mask(), wait, cx.waker(), |stack, cx| stack.recv(id, buffer, true, cx.now))
}

/// As [`recv_from`], or stores the waker.
pub fn poll_recv_from(
    id: SocketId,
    wait: Wait,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
    peek: bool,
) -> Poll<io::Result<Received>> {
    poll(id, Direction::Read.mask(), wait, cx.waker(), |stack, cx| stack.recv_from(id, buffer, peek, cx.now))
}

/// As [`send`], or stores the waker.
pub fn poll_send(id: SocketId, wait: Wait, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
    poll_send_vectored(id, wait, cx, &[IoSlice::new(data)])
}

/// As [`send_vectored`], or stores the waker.
pub fn poll_send_vectored(
    id: SocketId,
    wait: Wait,
    cx: &mut Context<'_>,
    data: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    poll_send_to(id, wait, cx, data, None, SendExtra::default())
}

/// As [`send_to`], or stores the waker.
pub fn poll_send_to(
    id: SocketId,
    wait: Wait,
    cx: &mut Context<'_>,
    data: &[IoSlice<'_>],
    to: Option<&Addr>,
    extra: SendExtra,
) -> Poll<io::Result<usize>> {
    let asked = data.iter().map(|part| part.len()).sum();
    poll(id, Direction::Write.mask(), wait, cx.waker(), |stack, cx| {
        let length = stack.send_to(id, data, to, extra, cx.now)?;
        note_partial(stack, id, length, asked, Ready::WRITABLE);
        Ok(length)
    })
}

/// As [`accept`], or stores the waker.
pub fn poll_accept(id: SocketId, wait: Wait, cx: &mut Context<'_>) -> Poll<io::Result<(SocketId, Addr)>> {
    poll(id, Direction::Read.mask(), wait, cx.waker(), |stack, _| stack.accept(id))
}

/// Waits for the outcome of a [`connect`] that said `EINPROGRESS`.
pub fn poll_connect(id: SocketId, wait: Wait, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    poll(id, Direction::Write.mask(), wait, cx.waker(), |stack, _| {
        stack.table.find_mut(id)?.core.check_error()?;
        let ready = stack.ready(id)?;
        if ready.is_writable() || ready.is_write_closed() { Ok(()) } else { Err(Errno::EAGAIN) }
    })
}

/// Calls `f`; where it says `EAGAIN`, stores the waker for the bits of `mask`.
fn poll<R>(
    id: SocketId,
    mask: Ready,
    wait: Wait,
    waker: &Waker,
    f: impl FnOnce(&mut Stack, &mut DeviceContext<'_>) -> Result<R>,
) -> Poll<io::Result<R>> {
    // A waker that was displaced leaves the world before it is dropped, because that may run foreign code.
    let mut displaced = None;
    let result = device::with::<Net, _>(|net, cx| {
        let displaced = &mut displaced;
        net.call(id.node(), cx, |stack, cx| {
            let result = f(stack, cx);
            if let Err(Errno::EAGAIN) = result
                && let Ok(socket) = stack.table.find_mut(id)
            {
                socket.core.waiters.cache.partial(mask);
                *displaced = socket.core.waiters.register(mask, wait, waker);
            }
            result
        })
    });
    drop(displaced);
    match result {
        Err(Errno::EAGAIN) => {
            let what = if mask.is_readable() { "read" } else { "write" };
            shim_runtime::waits_for(shim_runtime::Wait::Socket(id.0, what));
            Poll::Pending
        }
        result => Poll::Ready(result.map_err(io::Error::from)),
    }
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

/// The part of [`ready_now`] that satisfies `interest`.
pub fn ready_for(id: SocketId, interest: Interest) -> Ready {
    ready_now(id) & interest_mask(interest)
}
