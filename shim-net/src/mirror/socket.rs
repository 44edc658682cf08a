//! What all mirror types hold: the number of a socket, and the ways to wait for it.
//!
//! Owns [`Socket`]. Must not know what kind of socket it is. Invariant: a socket is closed exactly once, when its holder is dropped or has given
//! it away.

use std::io::{self, IoSlice};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use bytes::BufMut;
use real::io::{Interest, ReadBuf, Ready};

use crate::host::fd;
use crate::sys::op::{self, Op};
use crate::sys::reactor::{self, Registration};
use crate::sys::{self, Addr, Direction, Domain, Kind, Received, SocketId};

/// The most that a stream copies at once into a buffer of unknown kind.
const COPY_BYTES_MAX: usize = 64 << 10;
/// The largest datagram that any socket takes.
const DATAGRAM_BYTES_MAX: usize = 256 << 10;

/// A socket that is open until this is dropped.
pub(crate) struct Socket {
    pub(crate) id: SocketId,
    registration: Option<Registration>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(registration) = self.registration {
            reactor::deregister(registration);
        }
        crate::host::fd::close_descriptor(self.id);
    }
}

impl Socket {
    /// Makes a socket on the current node.
    pub(crate) fn open(domain: Domain, kind: Kind) -> io::Result<Socket> {
        sys::socket(domain, kind).map(Socket::new)
    }

    /// Makes a socket for `address`.
    pub(crate) fn open_for(address: SocketAddr, kind: Kind) -> io::Result<Socket> {
        Socket::open(if address.is_ipv4() { Domain::Inet } else { Domain::Inet6 }, kind)
    }

    /// A socket whose number came from elsewhere.
    pub(crate) fn new(id: SocketId) -> Socket {
        Socket { id, registration: None }
    }

    /// Makes the reactor know the socket.
    ///
    /// # Errors
    /// Where the runtime was shut down.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub(crate) fn register(self) -> io::Result<Socket> {
        self.register_as(Interest::READABLE | Interest::WRITABLE, Ready::EMPTY)
    }

    /// As [`register`](Socket::register), with what tokio takes for granted of a new socket.
    #[track_caller]
    pub(crate) fn register_as(mut self, interest: Interest, assumed: Ready) -> io::Result<Socket> {
        self.registration = Some(reactor::register(self.id, interest, assumed)?);
        Ok(self)
    }

    /// A stream that was accepted: it counts as ready for both until a call says otherwise.
    #[track_caller]
    pub(crate) fn accepted(id: SocketId) -> io::Result<Socket> {
        let both = Interest::READABLE | Interest::WRITABLE;
        Socket::new(id).register_as(both, Ready::READABLE | Ready::WRITABLE)
    }

    /// One of a new pair: there is room to write.
    #[track_caller]
    pub(crate) fn one_of_pair(self) -> io::Result<Socket> {
        self.register_as(Interest::READABLE | Interest::WRITABLE, Ready::WRITABLE)
    }

    /// A socket that std or another library opened inside the simulation.
    ///
    /// # Panics
    /// Outside a runtime; and in a debug build where it is blocking, as with tokio.
    #[track_caller]
    pub(crate) fn adopt(descriptor: impl Into<OwnedFd>) -> io::Result<Socket> {
        let descriptor = descriptor.into();
        assert!(
            !cfg!(debug_assertions) || may_block() || !fd::is_blocking(&descriptor),
            "Registering a blocking socket with the tokio runtime is unsupported. \
            If you wish to do anyways, please add `--cfg tokio_allow_from_blocking_fd` to your \
            RUSTFLAGS. See github.com/tokio-rs/tokio/issues/7172 for details."
        );
        shim_runtime::runtime::io_runtime()?;
        Socket::new(fd::adopt(descriptor)?).register()
    }

    /// Gives the socket away as a descriptor.
    pub(crate) fn into_descriptor(self) -> io::Result<OwnedFd> {
        let descriptor = fd::into_owned(self.id)?;
        if let Some(registration) = self.registration {
            reactor::deregister(registration);
        }
        mem::forget(self);
        Ok(descriptor)
    }

    /// The descriptor, made where there is none.
    ///
    /// # Panics
    /// Where the host layer has none to give.
    #[track_caller]
    pub(crate) fn raw_fd(&self) -> RawFd {
        match fd::descriptor(self.id) {
            Ok(descriptor) => descriptor,
            Err(error) => panic!("simulation: no descriptor for a socket: {error}"),
        }
    }

    /// As [`raw_fd`](Socket::raw_fd), for as long as the socket is held.
    pub(crate) fn borrow_fd(&self) -> BorrowedFd<'_> {
        fd::as_fd(self, self.id)
    }
}

/// Whether the program was built to hand blocking sockets to tokio.
#[expect(unexpected_cfgs, reason = "a flag of tokio's, for programs that are built with it")]
fn may_block() -> bool {
    cfg!(tokio_allow_from_blocking_fd)
}

/// Waiting.
impl Socket {
    /// How the reactor knows the socket.
    fn registration(&self) -> Registration {
        self.registration.expect("invariant: a value of tokio::net that waits was registered")
    }

    /// Waits for `interest`. As with tokio, this takes nothing from the budget.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.registration().ready(interest).await.map(|told| told.ready)
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await.map(drop)
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await.map(drop)
    }

    pub(crate) fn poll_ready(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.registration().poll_ready(direction, cx).map_ok(drop)
    }

    /// Calls `f` where the socket is ready; what `f` finds not ready is hidden until the next event.
    pub(crate) fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.registration().try_io(interest, f)
    }

    /// Calls `f` each time the socket is ready, until it does not say that it would block.
    pub(crate) async fn async_io<R>(
        &self,
        interest: Interest,
        f: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        self.registration().async_io(interest, f).await
    }

    /// As [`try_io`](Socket::try_io), for a system call.
    pub(crate) fn try_call<R>(&self, interest: Interest, op: impl Op<R>) -> io::Result<R> {
        self.registration().try_call(interest, op)
    }

    /// As [`async_io`](Socket::async_io), for a system call.
    pub(crate) async fn async_call<R>(&self, interest: Interest, op: impl Op<R>) -> io::Result<R> {
        self.registration().async_call(interest, op).await
    }

    /// As [`async_call`](Socket::async_call); only the task that polled last is woken.
    fn poll_call<R>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        op: impl Op<R>,
    ) -> Poll<io::Result<R>> {
        self.registration().poll_call(direction, cx, op)
    }
}

/// Data.
impl Socket {
    /// Reads from a stream.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.registration().poll_read(cx, buffer)
    }

    /// Receives one datagram.
    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_call(Direction::Read, cx, op::recv(self.id, buffer, false)).map_ok(drop)
    }

    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        self.poll_call(Direction::Read, cx, op::recv(self.id, buffer, true))
    }

    pub(crate) fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        peek: bool,
    ) -> Poll<io::Result<Received>> {
        self.poll_call(Direction::Read, cx, op::recv_from(self.id, buffer, peek))
    }

    /// Writes to a stream.
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.registration().poll_write(cx, data)
    }

    /// Sends one datagram.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_call(Direction::Write, cx, op::send(self.id, data))
    }

    pub(crate) fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        data: &[u8],
        to: &Addr,
    ) -> Poll<io::Result<usize>> {
        self.poll_call(Direction::Write, cx, op::send_to(self.id, data, Some(to)))
    }

    pub(crate) fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_call(Direction::Write, cx, op::send_vectored(self.id, data))
    }

    /// Waits for a connection.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(SocketId, Addr)>> {
        self.poll_call(Direction::Read, cx, op::accept(self.id))
    }

    /// Connects, joins the reactor, and waits for the outcome.
    ///
    /// # Panics
    /// Outside a runtime.
    pub(crate) async fn connect(self, address: &Addr) -> io::Result<Socket> {
        match sys::connect(self.id, address) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let socket = self.register()?;
        std::future::poll_fn(|cx| socket.poll_ready(Direction::Write, cx)).await?;
        match sys::take_error(socket.id)? {
            Some(error) => Err(error),
            None => Ok(socket),
        }
    }

    /// Ends a direction of a stream; one that is not connected has nothing to end.
    pub(crate) fn shutdown_stream(&self, how: Shutdown) -> io::Result<()> {
        match sys::shutdown(self.id, how) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

/// Reads by way of `read` into a buffer that only grows, as much as a stream gives at once.
pub(crate) fn read_into<R>(
    buffer: &mut impl BufMut,
    read: impl FnOnce(&mut [u8]) -> io::Result<(usize, R)>,
) -> io::Result<(usize, R)> {
    copy_into(buffer, COPY_BYTES_MAX, read)
}

/// As [`read_into`], for datagrams, which must not be cut.
pub(crate) fn receive_into<R>(
    buffer: &mut impl BufMut,
    read: impl FnOnce(&mut [u8]) -> io::Result<(usize, R)>,
) -> io::Result<(usize, R)> {
    copy_into(buffer, DATAGRAM_BYTES_MAX, read)
}

fn copy_into<R>(
    buffer: &mut impl BufMut,
    most: usize,
    read: impl FnOnce(&mut [u8]) -> io::Result<(usize, R)>,
) -> io::Result<(usize, R)> {
    let mut space = vec![0; buffer.chunk_mut().len().min(most)];
    let (len, rest) = read(&mut space)?;
    buffer.put_slice(&space[..len]);
    Ok((len, rest))
}
