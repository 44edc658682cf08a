//! Mirror of `UnixListener`.
//!
//! Owns the type. Must not know queues. Invariant: an accepted stream is on the listener's node.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net;
use std::path::Path;
use std::task::{Context, Poll, ready};

use real::io::Interest;

use super::{SocketAddr, address_of, stream::UnixStream, unix};
use crate::mirror::socket::Socket;
use crate::sys::{self, Addr, Domain, Kind, SocketId, op};

/// More than the kernel gives, which is how std asks for all.
const BACKLOG: u32 = 4096;

/// Takes connections to a Unix socket.
///
/// Every method fails on a node whose process is dead.
pub struct UnixListener {
    socket: Socket,
}

impl UnixListener {
    /// Listens at `path`, or after a leading zero byte at an abstract name.
    ///
    /// # Errors
    /// `EADDRINUSE`; and where std refuses the path.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn bind<P>(path: P) -> io::Result<UnixListener>
    where
        P: AsRef<Path>,
    {
        UnixListener::bind_to(&address_of(path.as_ref())?)
    }

    /// Listens at `socket_addr`.
    ///
    /// # Errors
    /// As [`bind`](UnixListener::bind).
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn bind_addr(socket_addr: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::bind_to(&socket_addr.to_addr())
    }

    #[track_caller]
    fn bind_to(address: &Addr) -> io::Result<UnixListener> {
        let socket = Socket::open(Domain::Unix, Kind::Stream)?;
        sys::bind(socket.id, address)?;
        sys::listen(socket.id, BACKLOG)?;
        UnixListener::new(socket)
    }

    #[track_caller]
    pub(super) fn new(socket: Socket) -> io::Result<UnixListener> {
        socket.register().map(|socket| UnixListener { socket })
    }

    /// Takes a listener that was opened through std inside the simulation.
    ///
    /// # Panics
    /// Outside a runtime; in a debug build where it is blocking.
    #[track_caller]
    pub fn from_std(listener: net::UnixListener) -> io::Result<UnixListener> {
        Socket::adopt(listener).map(|socket| UnixListener { socket })
    }

    /// Gives the socket away as a non-blocking listener of std.
    pub fn into_std(self) -> io::Result<net::UnixListener> {
        self.socket.into_descriptor().map(net::UnixListener::from)
    }

    /// The address that it listens at.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_addr(self.socket.id).map(unix)
    }

    /// Takes the pending error.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        sys::take_error(self.socket.id)
    }

    /// Waits for a connection.
    ///
    /// # Cancel safety
    /// No connection is lost where this is dropped.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.socket.async_call(Interest::READABLE, op::accept(self.socket.id)).await.and_then(accepted)
    }

    /// As [`accept`](UnixListener::accept); only the task that polled last is woken.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        Poll::Ready(ready!(self.socket.poll_accept(cx)).and_then(accepted))
    }
}

fn accepted((id, address): (SocketId, Addr)) -> io::Result<(UnixStream, SocketAddr)> {
    Ok((UnixStream::new(Socket::accepted(id)?), unix(address)))
}

impl TryFrom<net::UnixListener> for UnixListener {
    type Error = io::Error;

    /// As [`from_std`](UnixListener::from_std).
    fn try_from(listener: net::UnixListener) -> io::Result<UnixListener> {
        UnixListener::from_std(listener)
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.debug("UnixListener", f)
    }
}

impl AsRawFd for UnixListener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.raw_fd()
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.borrow_fd()
    }
}
