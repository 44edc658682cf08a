//! Mirror of `TcpSocket`: a socket before it is a listener or a stream.
//!
//! Owns the type. Must not know what an option does. Invariant: turning it into something else keeps the
//! number, and with it every option.

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::inet;
use super::listener::TcpListener;
use super::stream::TcpStream;
use crate::host::fd;
use crate::mirror::socket::Socket;
use crate::sys::{self, Addr, Domain, Kind, Name};

/// A TCP socket to be configured.
///
/// Every method fails on a node whose process is dead; the options fail as `getsockopt(2)` and
/// `setsockopt(2)` do.
pub struct TcpSocket {
    socket: Socket,
}

impl TcpSocket {
    /// Makes an IPv4 socket on the current node.
    ///
    /// # Errors
    /// On a node whose process is dead.
    pub fn new_v4() -> io::Result<TcpSocket> {
        // tokio needs no runtime yet.
        shim_runtime::run::ensure();
        Socket::open(Domain::Inet, Kind::Stream).map(|socket| TcpSocket { socket })
    }

    /// Makes an IPv6 socket on the current node.
    ///
    /// # Errors
    /// On a node whose process is dead.
    pub fn new_v6() -> io::Result<TcpSocket> {
        shim_runtime::run::ensure();
        Socket::open(Domain::Inet6, Kind::Stream).map(|socket| TcpSocket { socket })
    }

    /// Sets `SO_KEEPALIVE`.
    pub fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
        self.socket.set_flag(Name::KeepAlive, keepalive)
    }

    /// `SO_KEEPALIVE`.
    pub fn keepalive(&self) -> io::Result<bool> {
        self.socket.flag(Name::KeepAlive)
    }

    /// Sets `SO_REUSEADDR`.
    pub fn set_reuseaddr(&self, reuseaddr: bool) -> io::Result<()> {
        self.socket.set_flag(Name::ReuseAddress, reuseaddr)
    }

    /// `SO_REUSEADDR`.
    pub fn reuseaddr(&self) -> io::Result<bool> {
        self.socket.flag(Name::ReuseAddress)
    }

    /// Sets `SO_REUSEPORT`.
    pub fn set_reuseport(&self, reuseport: bool) -> io::Result<()> {
        self.socket.set_flag(Name::ReusePort, reuseport)
    }

    /// `SO_REUSEPORT`.
    pub fn reuseport(&self) -> io::Result<bool> {
        self.socket.flag(Name::ReusePort)
    }

    /// Sets `SO_SNDBUF`.
    pub fn set_send_buffer_size(&self, size: u32) -> io::Result<()> {
        self.socket.set_number(Name::SendBuffer, size)
    }

    /// `SO_SNDBUF`, which is twice what was set.
    pub fn send_buffer_size(&self) -> io::Result<u32> {
        self.socket.number(Name::SendBuffer)
    }

    /// Sets `SO_RCVBUF`.
    pub fn set_recv_buffer_size(&self, size: u32) -> io::Result<()> {
        self.socket.set_number(Name::ReceiveBuffer, size)
    }

    /// `SO_RCVBUF`, which is twice what was set.
    pub fn recv_buffer_size(&self) -> io::Result<u32> {
        self.socket.number(Name::ReceiveBuffer)
    }

    /// Sets `SO_LINGER`, in whole seconds.
    #[deprecated = "with `SO_LINGER` a drop blocks the thread"]
    pub fn set_linger(&self, dur: Option<Duration>) -> io::Result<()> {
        self.socket.set_linger(dur)
    }

    /// Sets `SO_LINGER` to zero: a drop resets the connection.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.socket.set_linger(Some(Duration::ZERO))
    }

    /// `SO_LINGER`.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.socket.linger()
    }

    /// Sets `TCP_NODELAY`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.set_flag(Name::NoDelay, nodelay)
    }

    /// `TCP_NODELAY`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.flag(Name::NoDelay)
    }

    /// `IPV6_TCLASS`.
    pub fn tclass_v6(&self) -> io::Result<u32> {
        self.socket.number(Name::TrafficClass)
    }

    /// Sets `IPV6_TCLASS`.
    pub fn set_tclass_v6(&self, tclass: u32) -> io::Result<()> {
        self.socket.set_number(Name::TrafficClass, tclass)
    }

    /// `IP_TOS`.
    pub fn tos_v4(&self) -> io::Result<u32> {
        self.socket.number(Name::Tos)
    }

    /// The old name of [`tos_v4`](TcpSocket::tos_v4).
    #[deprecated(note = "is now called `tos_v4`, because it is for IPv4 only")]
    #[doc(hidden)]
    pub fn tos(&self) -> io::Result<u32> {
        self.tos_v4()
    }

    /// Sets `IP_TOS`.
    pub fn set_tos_v4(&self, tos: u32) -> io::Result<()> {
        self.socket.set_number(Name::Tos, tos)
    }

    /// The old name of [`set_tos_v4`](TcpSocket::set_tos_v4).
    #[deprecated(note = "is now called `set_tos_v4`, because it is for IPv4 only")]
    #[doc(hidden)]
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        self.set_tos_v4(tos)
    }

    /// `SO_BINDTODEVICE`.
    pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
        self.socket.device()
    }

    /// Sets `SO_BINDTODEVICE`.
    pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
        self.socket.bind_device(interface)
    }

    /// The local address; unspecified before [`bind`](TcpSocket::bind).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_addr(self.socket.id).and_then(inet)
    }

    /// Takes the pending error.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        sys::take_error(self.socket.id)
    }

    /// Gives the socket a local address.
    pub fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        sys::bind(self.socket.id, &Addr::Inet(addr))
    }

    /// Connects.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn connect(self, addr: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect_socket(self.socket, addr).await
    }

    /// Takes connections from now on.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        sys::listen(self.socket.id, backlog.min(i32::MAX as u32))?;
        TcpListener::new(self.socket)
    }

    /// Takes a socket that was opened through std inside the simulation, connected or not.
    ///
    /// # Panics
    /// Where it is not the simulation's.
    #[track_caller]
    pub fn from_std_stream(std_stream: net::TcpStream) -> TcpSocket {
        TcpSocket::from_descriptor(std_stream.into())
    }

    /// # Panics
    /// Where the descriptor is not the simulation's.
    #[track_caller]
    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> TcpSocket {
        match fd::adopt(descriptor) {
            Ok(id) => TcpSocket { socket: Socket::new(id) },
            Err(error) => panic!("{error}"),
        }
    }
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.debug("TcpSocket", f)
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.raw_fd()
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.borrow_fd()
    }
}

impl IntoRawFd for TcpSocket {
    /// # Panics
    /// Where no descriptor can be had.
    fn into_raw_fd(self) -> RawFd {
        match self.socket.into_descriptor() {
            Ok(descriptor) => descriptor.into_raw_fd(),
            Err(error) => panic!("{error}"),
        }
    }
}
