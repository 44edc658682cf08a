//! Mirror of `UnixSocket`: a socket before it is a listener, a stream or a datagram socket.
//!
//! Owns the type. Must not know addresses. Invariant: turning it into something else keeps the number.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;

use super::address_of;
use super::datagram::UnixDatagram;
use super::listener::UnixListener;
use super::stream::UnixStream;
use crate::host::fd;
use crate::mirror::socket::Socket;
use crate::sys::{self, Domain, Kind};

/// A Unix socket to be configured.
///
/// Every method fails on a node whose process is dead.
pub struct UnixSocket {
    socket: Socket,
}

impl UnixSocket {
    /// Makes a datagram socket on the current node.
    pub fn new_datagram() -> io::Result<UnixSocket> {
        Socket::open(Domain::Unix, Kind::Datagram).map(|socket| UnixSocket { socket })
    }

    /// Makes a stream socket on the current node.
    pub fn new_stream() -> io::Result<UnixSocket> {
        Socket::open(Domain::Unix, Kind::Stream).map(|socket| UnixSocket { socket })
    }

    /// Gives the socket an address.
    ///
    /// # Errors
    /// `EADDRINUSE`; and where std refuses the path.
    pub fn bind(&self, path: impl AsRef<Path>) -> io::Result<()> {
        sys::bind(self.socket.id, &address_of(path.as_ref())?)
    }

    /// Takes connections from now on.
    ///
    /// # Errors
    /// Where it is a datagram socket.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn listen(self, backlog: u32) -> io::Result<UnixListener> {
        self.refuse(Kind::Datagram, "listen cannot be called on a datagram socket")?;
        sys::listen(self.socket.id, backlog.min(i32::MAX as u32))?;
        UnixListener::new(self.socket)
    }

    /// Connects.
    ///
    /// # Errors
    /// Where it is a datagram socket, or nobody listens at `path`.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn connect(self, path: impl AsRef<Path>) -> io::Result<UnixStream> {
        self.refuse(Kind::Datagram, "connect cannot be called on a datagram socket")?;
        UnixStream::connect_socket(self.socket, &address_of(path.as_ref())?).await
    }

    /// Makes a datagram socket of it.
    ///
    /// # Errors
    /// Where it is a stream socket.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn datagram(self) -> io::Result<UnixDatagram> {
        self.refuse(Kind::Stream, "datagram cannot be called on a stream socket")?;
        UnixDatagram::new(self.socket)
    }

    fn refuse(&self, wrong: Kind, text: &'static str) -> io::Result<()> {
        let (_, kind) = sys::describe(self.socket.id)?;
        if kind == wrong { Err(io::Error::other(text)) } else { Ok(()) }
    }

    /// # Panics
    /// Where the descriptor is not the simulation's.
    #[track_caller]
    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> UnixSocket {
        match fd::adopt(descriptor) {
            Ok(id) => UnixSocket { socket: Socket::new(id) },
            Err(error) => panic!("{error}"),
        }
    }
}

impl fmt::Debug for UnixSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.debug("UnixSocket", f)
    }
}

impl AsRawFd for UnixSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.raw_fd()
    }
}

impl AsFd for UnixSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.borrow_fd()
    }
}

impl IntoRawFd for UnixSocket {
    /// # Panics
    /// Where no descriptor can be had.
    fn into_raw_fd(self) -> RawFd {
        match self.socket.into_descriptor() {
            Ok(descriptor) => descriptor.into_raw_fd(),
            Err(error) => panic!("{error}"),
        }
    }
}
