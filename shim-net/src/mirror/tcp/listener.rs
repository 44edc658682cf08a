//! Mirror of `TcpListener`.
//!
//! Owns the type. Must not know handshakes or backlogs. Invariant: an accepted stream is on the listener's
//! node.

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, ready};

use real::io::Interest;

use super::{inet, stream::TcpStream};
use crate::mirror::addr::{self, ToSocketAddrs};
use crate::mirror::socket::Socket;
use crate::sys::{self, Addr, Kind, Name, SocketId, op};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Takes TCP connections.
pub struct TcpListener {
    socket: Socket,
}

impl TcpListener {
    /// Listens at the first of the addresses that can be had, with `SO_REUSEADDR`.
    ///
    /// # Errors
    /// The last address's error.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<TcpListener> {
        addr::first_that(addr, |address| {
            let socket = Socket::open_for(address, Kind::Stream)?;
            socket.set_flag(Name::ReuseAddress, true)?;
            sys::bind(socket.id, &Addr::Inet(address))?;
            sys::listen(socket.id, BACKLOG)?;
            TcpListener::new(socket)
        })
        .await
    }

    #[track_caller]
    pub(super) fn new(socket: Socket) -> io::Result<TcpListener> {
        socket.register().map(|socket| TcpListener { socket })
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// Where the listener was shut down.
    ///
    /// # Cancel safety
    /// No connection is lost where this is dropped.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.async_call(Interest::READABLE, op::accept(self.socket.id)).await.and_then(accepted)
    }

    /// As [`accept`](TcpListener::accept); only the task that polled last is woken.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        Poll::Ready(ready!(self.socket.poll_accept(cx)).and_then(accepted))
    }

    /// Takes a listener that was opened through std inside the simulation.
    ///
    /// # Errors
    /// Where it is not the simulation's.
    ///
    /// # Panics
    /// Outside a runtime; in a debug build where it is blocking.
    #[track_caller]
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        Socket::adopt(listener).map(|socket| TcpListener { socket })
    }

    /// Gives the socket away as a non-blocking listener of std.
    ///
    /// # Errors
    /// Where no descriptor can be had.
    pub fn into_std(self) -> io::Result<net::TcpListener> {
        self.socket.into_descriptor().map(net::TcpListener::from)
    }

    /// The address that it listens at.
    ///
    /// # Errors
    /// On a node whose process is dead.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_addr(self.socket.id).and_then(inet)
    }

    /// `IP_TTL`.
    ///
    /// # Errors
    /// On a node whose process is dead.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.number(Name::Ttl)
    }

    /// Sets `IP_TTL`.
    ///
    /// # Errors
    /// `EINVAL` outside 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.set_number(Name::Ttl, ttl)
    }
}

fn accepted((id, address): (SocketId, Addr)) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::new(Socket::accepted(id)?);
    Ok((stream, inet(address)?))
}

impl TryFrom<net::TcpListener> for TcpListener {
    type Error = io::Error;

    /// As [`from_std`](TcpListener::from_std).
    fn try_from(listener: net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::from_std(listener)
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.debug("TcpListener", f)
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.raw_fd()
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.borrow_fd()
    }
}
