//! Mirror of `UnixDatagram`: the type, its addresses, and waiting.
//!
//! Owns the type. Must not know queues. Invariant: a socket has one address at most, and keeps it.

mod transfer;

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net;
use std::path::Path;
use std::task::{Context, Poll};

use real::io::{Interest, Ready};

use super::{SocketAddr, path_address, unix};
use crate::mirror::socket::Socket;
use crate::sys::{self, Direction, Domain, Kind};

/// A Unix socket for datagrams.
///
/// Every method fails on a node whose process is dead; what else can go wrong is what Linux says.
pub struct UnixDatagram {
    socket: Socket,
}

/// Making one, and giving it away.
impl UnixDatagram {
    /// Makes a socket at `path`.
    ///
    /// # Errors
    /// `EADDRINUSE`; and where std refuses the path.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn bind<P>(path: P) -> io::Result<UnixDatagram>
    where
        P: AsRef<Path>,
    {
        let address = path_address(path.as_ref())?;
        let datagram = UnixDatagram::unbound()?;
        sys::bind(datagram.socket.id, &address)?;
        Ok(datagram)
    }

    /// Makes two sockets that are connected to each other.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (a, b) = sys::socketpair(Kind::Datagram)?;
        let (a, b) = (Socket::new(a), Socket::new(b));
        Ok((UnixDatagram { socket: a.one_of_pair()? }, UnixDatagram { socket: b.one_of_pair()? }))
    }

    /// Makes a socket without a name.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::new(Socket::open(Domain::Unix, Kind::Datagram)?)
    }

    #[track_caller]
    pub(in crate::mirror::unix) fn new(socket: Socket) -> io::Result<UnixDatagram> {
        socket.register().map(|socket| UnixDatagram { socket })
    }

    /// Takes a socket that was opened through std inside the simulation.
    ///
    /// # Panics
    /// Outside a runtime; in a debug build where it is blocking.
    #[track_caller]
    pub fn from_std(datagram: net::UnixDatagram) -> io::Result<UnixDatagram> {
        Socket::adopt(datagram).map(|socket| UnixDatagram { socket })
    }

    /// Gives the socket away as a non-blocking socket of std.
    pub fn into_std(self) -> io::Result<net::UnixDatagram> {
        self.socket.into_descriptor().map(net::UnixDatagram::from)
    }

    /// Fixes the peer.
    ///
    /// # Errors
    /// `ENOENT` or `ECONNREFUSED` where nobody has the path.
    pub fn connect<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        sys::connect(self.socket.id, &path_address(path.as_ref())?)
    }

    /// The local address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_addr(self.socket.id).map(unix)
    }

    /// The address of the peer.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        sys::peer_addr(self.socket.id).map(unix)
    }

    /// Takes the pending error.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        sys::take_error(self.socket.id)
    }

    /// Ends one direction, or both.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        sys::shutdown(self.socket.id, how)
    }
}

/// Waiting.
impl UnixDatagram {
    /// Waits until the socket is ready for something of `interest`.
    ///
    /// # Cancel safety
    /// Nothing is lost where this is dropped; so it is with the other waits.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.socket.ready(interest).await
    }

    /// Waits until there is room to send.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// As [`writable`](UnixDatagram::writable); only the task that polled last is woken.
    pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(Direction::Write, cx)
    }

    /// Waits until there is something to receive.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// As [`readable`](UnixDatagram::readable); only the task that polled last is woken.
    pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(Direction::Read, cx)
    }

    /// Calls `f` where the socket is ready.
    pub fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.socket.try_io(interest, f)
    }

    /// Calls `f` each time the socket is ready, until it does not say `WouldBlock`.
    pub async fn async_io<R>(&self, interest: Interest, f: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.socket.async_io(interest, f).await
    }
}

impl TryFrom<net::UnixDatagram> for UnixDatagram {
    type Error = io::Error;

    /// As [`from_std`](UnixDatagram::from_std).
    fn try_from(datagram: net::UnixDatagram) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(datagram)
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.debug("UnixDatagram", f)
    }
}

impl AsRawFd for UnixDatagram {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.raw_fd()
    }
}

impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.borrow_fd()
    }
}
