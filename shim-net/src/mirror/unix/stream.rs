//! Mirror of `UnixStream`.
//!
//! Owns the type. Must not know the other end. Invariant: every method is one line by way of the shared holder.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BufMut;
use real::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};

use super::split::{ReadHalf, WriteHalf};
use super::split_owned::{self, OwnedReadHalf, OwnedWriteHalf};
use super::{SocketAddr, UCred, address_of, unix};
use crate::mirror::socket::{Socket, read_into};
use crate::sys::{self, Addr, Direction, Domain, Kind, op};

/// A connection between two Unix sockets of a node.
///
/// Every method fails on a node whose process is dead; what else can go wrong is what Linux says.
pub struct UnixStream {
    socket: Socket,
}

/// Making one, and giving it away.
impl UnixStream {
    /// Connects to `path`, or after a leading zero byte to an abstract name.
    ///
    /// # Errors
    /// `ENOENT` or `ECONNREFUSED` where nobody listens; `EAGAIN` where too many wait.
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn connect<P>(path: P) -> io::Result<UnixStream>
    where
        P: AsRef<Path>,
    {
        let address = address_of(path.as_ref())?;
        UnixStream::connect_socket(Socket::open(Domain::Unix, Kind::Stream)?, &address).await
    }

    /// Connects to `socket_addr`.
    ///
    /// # Errors
    /// As [`connect`](UnixStream::connect).
    ///
    /// # Panics
    /// Outside a runtime.
    pub async fn connect_addr(socket_addr: &SocketAddr) -> io::Result<UnixStream> {
        let address = socket_addr.to_addr();
        UnixStream::connect_socket(Socket::open(Domain::Unix, Kind::Stream)?, &address).await
    }

    pub(super) async fn connect_socket(socket: Socket, address: &Addr) -> io::Result<UnixStream> {
        socket.connect(address).await.map(UnixStream::new)
    }

    /// Makes two streams that are connected to each other.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = sys::socketpair(Kind::Stream)?;
        let (a, b) = (Socket::new(a), Socket::new(b));
        Ok((UnixStream::new(a.one_of_pair()?), UnixStream::new(b.one_of_pair()?)))
    }

    pub(super) fn new(socket: Socket) -> UnixStream {
        UnixStream { socket }
    }

    /// Takes a connection that was opened through std inside the simulation.
    ///
    /// # Panics
    /// Outside a runtime; in a debug build where it is blocking.
    #[track_caller]
    pub fn from_std(stream: net::UnixStream) -> io::Result<UnixStream> {
        Socket::adopt(stream).map(UnixStream::new)
    }

    /// Gives the socket away as a non-blocking stream of std.
    pub fn into_std(self) -> io::Result<net::UnixStream> {
        self.socket.into_descriptor().map(net::UnixStream::from)
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
impl UnixStream {
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

    /// As [`readable`](UnixStream::readable); only the task that polled last is woken.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(Direction::Read, cx)
    }

    /// Waits until there is room to write.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// As [`writable`](UnixStream::writable); only the task that polled last is woken.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(Direction::Write, cx)
    }

    /// Reads what is there.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.try_call(Interest::READABLE, op::recv(self.socket.id, buf, false))
    }

    /// As [`try_read`](UnixStream::try_read), into several buffers.
    pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.socket.try_call(Interest::READABLE, op::recv_vectored(self.socket.id, bufs, false))
    }

    /// As [`try_read`](UnixStream::try_read), at the end of `buf`.
    pub fn try_read_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        let read = |space: &mut [u8]| Ok((sys::recv(self.socket.id, space, false)?, ()));
        self.socket.try_io(Interest::READABLE, || read_into(buf, read)).map(|(len, ())| len)
    }

    /// Writes what there is room for.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.try_call(Interest::WRITABLE, op::send(self.socket.id, buf))
    }

    /// As [`try_write`](UnixStream::try_write), from several buffers.
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

/// Addresses.
impl UnixStream {
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

    /// Who is at the other end.
    pub fn peer_cred(&self) -> io::Result<UCred> {
        UCred::own()
    }
}

impl TryFrom<net::UnixStream> for UnixStream {
    type Error = io::Error;

    /// As [`from_std`](UnixStream::from_std).
    fn try_from(stream: net::UnixStream) -> io::Result<UnixStream> {
        UnixStream::from_std(stream)
    }
}

impl AsRef<UnixStream> for UnixStream {
    fn as_ref(&self) -> &UnixStream {
        self
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.debug("UnixStream", f)
    }
}

impl AsRawFd for UnixStream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.raw_fd()
    }
}

impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.borrow_fd()
    }
}

stream_io!(UnixStream, whole);
