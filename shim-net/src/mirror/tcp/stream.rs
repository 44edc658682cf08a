//! Mirror of `TcpStream`.
//!
//! Owns the type. Must not know segments. Invariant: every method is one line by way of the shared holder.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BufMut;
use real::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};

use super::inet;
use super::split::{ReadHalf, WriteHalf};
use super::split_owned::{self, OwnedReadHalf, OwnedWriteHalf};
use crate::mirror::addr::{self, ToSocketAddrs};
use crate::mirror::socket::{Socket, read_into};
use crate::sys::{self, Addr, Direction, Kind, Name, op};

/// A TCP connection.
///
/// Every method fails on a node whose process is dead; what else can go wrong is what Linux says.
pub struct TcpStream {
    socket: Socket,
}

/// Making one, and giving it away.
impl TcpStream {
    /// Connects to the first of the addresses that answers.
    ///
    /// # Errors
    /// The last address's error.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn connect<A: ToSocketAddrs>(addr: A) -> io::Result<TcpStream> {
        let mut last = None;
        for address in addr::to_socket_addrs(addr).await? {
            let socket = Socket::open_for(address, Kind::Stream);
            match TcpStream::connect_opened(socket, address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(addr::no_address))
    }

    async fn connect_opened(socket: io::Result<Socket>, address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect_socket(socket?, address).await
    }

    pub(super) async fn connect_socket(socket: Socket, address: SocketAddr) -> io::Result<TcpStream> {
        socket.connect(&Addr::Inet(address)).await.map(TcpStream::new)
    }

    pub(super) fn new(socket: Socket) -> TcpStream {
        TcpStream { socket }
    }

    /// Takes a connection that was opened through std inside the simulation.
    ///
    /// # Panics
    /// Outside a runtime; in a debug build where it is blocking.
    #[track_caller]
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        Socket::adopt(stream).map(TcpStream::new)
    }

    /// Gives the socket away as a non-blocking stream of std.
    pub fn into_std(self) -> io::Result<net::TcpStream> {
        self.socket.into_descriptor().map(net::TcpStream::from)
    }

    /// Splits into halves that borrow the stream.
    pub fn split<'a>(&'a mut self) -> (ReadHalf<'a>, WriteHalf<'a>) {
        (ReadHalf(self), WriteHalf(self))
    }

    /// Splits into halves that share the stream.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split_owned::split(self)
    }
}

/// Waiting and reading.
impl TcpStream {
    /// Waits until the stream is ready for something of `interest`.
    ///
    /// # Cancel safety
    /// Nothing is lost where this is dropped; so it is with the other waits.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.socket.ready(interest).await
    }

    /// Waits until there is something to read, or the end.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// As [`readable`](TcpStream::readable); only the task that polled last is woken.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(Direction::Read, cx)
    }

    /// Waits until there is room to write.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// As [`writable`](TcpStream::writable); only the task that polled last is woken.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(Direction::Write, cx)
    }

    /// Reads what is there.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.try_call(Interest::READABLE, op::recv(self.socket.id, buf, false))
    }

    /// As [`try_read`](TcpStream::try_read), into several buffers.
    pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.socket.try_call(Interest::READABLE, op::recv_vectored(self.socket.id, bufs, false))
    }

    /// As [`try_read`](TcpStream::try_read), at the end of `buf`.
    pub fn try_read_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        let read = |space: &mut [u8]| Ok((sys::recv(self.socket.id, space, false)?, ()));
        self.socket.try_io(Interest::READABLE, || read_into(buf, read)).map(|(len, ())| len)
    }

    /// Writes what there is room for.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.try_call(Interest::WRITABLE, op::send(self.socket.id, buf))
    }

    /// As [`try_write`](TcpStream::try_write), from several buffers.
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_call(Interest::WRITABLE, op::send_vectored(self.socket.id, bufs))
    }

    /// Calls `f` where the stream is ready.
    pub fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.socket.try_io(interest, f)
    }

    /// Calls `f` each time the stream is ready, until it does not say `WouldBlock`.
    pub async fn async_io<R>(&self, interest: Interest, f: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.socket.async_io(interest, f).await
    }

    /// Reads, and leaves what it reads.
    ///
    /// # Cancel safety
    /// Nothing is lost where this is dropped.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.async_call(Interest::READABLE, op::recv(self.socket.id, buf, true)).await
    }

    /// As [`peek`](TcpStream::peek); only the task that polled last is woken.
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        self.socket.poll_peek(cx, buf)
    }

    pub(super) fn poll_read_shared(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.socket.poll_read(cx, buf)
    }

    pub(super) fn poll_write_shared(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, buf)
    }

    pub(super) fn poll_write_vectored_shared(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_send_vectored(cx, bufs)
    }

    pub(super) fn end_writing(&self) -> io::Result<()> {
        self.socket.shutdown_stream(Shutdown::Write)
    }
}

/// Addresses and options.
impl TcpStream {
    /// The local address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_addr(self.socket.id).and_then(inet)
    }

    /// The address of the peer.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        sys::peer_addr(self.socket.id).and_then(inet)
    }

    /// Takes the pending error.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        sys::take_error(self.socket.id)
    }

    /// `TCP_NODELAY`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.flag(Name::NoDelay)
    }

    /// Sets `TCP_NODELAY`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.set_flag(Name::NoDelay, nodelay)
    }

    /// `TCP_QUICKACK`.
    pub fn quickack(&self) -> io::Result<bool> {
        self.socket.flag(Name::QuickAck)
    }

    /// Sets `TCP_QUICKACK`.
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        self.socket.set_flag(Name::QuickAck, quickack)
    }

    /// `SO_LINGER`.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.socket.linger()
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

    /// `IP_TTL`.
    pub fn ttl(&self) -> io::Result<u32> {
        self.socket.number(Name::Ttl)
    }

    /// Sets `IP_TTL`.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.socket.set_number(Name::Ttl, ttl)
    }
}

impl TryFrom<net::TcpStream> for TcpStream {
    type Error = io::Error;

    /// As [`from_std`](TcpStream::from_std).
    fn try_from(stream: net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(stream)
    }
}

impl AsRef<TcpStream> for TcpStream {
    fn as_ref(&self) -> &TcpStream {
        self
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.debug("TcpStream", f)
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.raw_fd()
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.borrow_fd()
    }
}

stream_io!(TcpStream, whole);
