//! Mirror of `UdpSocket`: the type, its addresses, and waiting.
//!
//! Owns the type. Must not know which socket gets a datagram. Invariant: many tasks may use one socket at a
//! time; only the `poll_*` functions share one place for each direction.

mod options;
mod recv;
mod send;

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll};

use real::io::{Interest, Ready};

use super::addr::{self, ToSocketAddrs};
use super::socket::Socket;
use super::tcp::inet;
use crate::sys::{self, Addr, Direction, Kind};

/// A UDP socket.
///
/// Every method fails on a node whose process is dead; what else can go wrong is what Linux says.
pub struct UdpSocket {
    socket: Socket,
}

impl UdpSocket {
    /// Binds to the first of the addresses that can be had.
    ///
    /// # Errors
    /// The last address's error.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn bind<A: ToSocketAddrs>(addr: A) -> io::Result<UdpSocket> {
        addr::first_that(addr, |address| {
            let socket = Socket::open_for(address, Kind::Datagram)?;
            sys::bind(socket.id, &Addr::Inet(address))?;
            Ok(UdpSocket { socket: socket.register()? })
        })
        .await
    }

    /// Takes a socket that was opened through std inside the simulation.
    ///
    /// # Panics
    /// Outside a runtime; in a debug build where it is blocking.
    #[track_caller]
    pub fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        Socket::adopt(socket).map(|socket| UdpSocket { socket })
    }

    /// Gives the socket away as a non-blocking socket of std.
    pub fn into_std(self) -> io::Result<net::UdpSocket> {
        self.socket.into_descriptor().map(net::UdpSocket::from)
    }

    /// The local address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_addr(self.socket.id).and_then(inet)
    }

    /// The address that the socket is connected to.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        sys::peer_addr(self.socket.id).and_then(inet)
    }

    /// Fixes the peer: the first of the addresses that can be reached from here.
    ///
    /// # Errors
    /// The last address's error.
    pub async fn connect<A: ToSocketAddrs>(&self, addr: A) -> io::Result<()> {
        addr::first_that(addr, |address| sys::connect(self.socket.id, &Addr::Inet(address))).await
    }

    /// Takes the pending error.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        sys::take_error(self.socket.id)
    }
}

/// Waiting.
impl UdpSocket {
    /// Waits until the socket is ready for something of `interest`.
    ///
    /// # Cancel safety
    /// Nothing is lost where this is dropped; so it is with the other waits.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.socket.ready(interest).await
    }

    /// Waits until there is something to receive.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// As [`readable`](UdpSocket::readable); only the task that polled last is woken.
    pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(Direction::Read, cx)
    }

    /// Waits until there is room to send.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// As [`writable`](UdpSocket::writable); only the task that polled last is woken.
    pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(Direction::Write, cx)
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

impl TryFrom<net::UdpSocket> for UdpSocket {
    type Error = io::Error;

    /// As [`from_std`](UdpSocket::from_std).
    fn try_from(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        UdpSocket::from_std(socket)
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.debug("UdpSocket", f)
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.raw_fd()
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.borrow_fd()
    }
}
