//! What all mirror types hold: the number of a socket, and the ways to wait for it.
//!
//! Owns [`Socket`], the budget that each operation takes, and the loop of `async_io`. Must not know what
//! kind of socket it is. Invariant: a socket is closed exactly once, when its holder is dropped or has given
//! it away.

use std::io::{self, IoSlice};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll, ready};

use bytes::BufMut;
use real::io::{Interest, ReadBuf, Ready};
use real::task::coop;

use super::readiness::Readiness;
use crate::host::fd;
use crate::sys::{self, Addr, Direction, Domain, Kind, SocketId, Wait};

/// The most that a stream copies at once into a buffer of unknown kind.
const COPY_BYTES_MAX: usize = 64 << 10;
/// The largest datagram that any socket takes.
const DATAGRAM_BYTES_MAX: usize = 256 << 10;

/// A socket that is open until this is dropped.
pub(crate) struct Socket {
    pub(crate) id: SocketId,
}

impl Drop for Socket {
    fn drop(&mut self) {
        crate::host::fd::close_descriptor(self.id);
    }
}

impl Socket {
    /// Makes a socket on the current node.
    pub(crate) fn open(domain: Domain, kind: Kind) -> io::Result<Socket> {
        sys::socket(domain, kind).map(|id| Socket { id })
    }

    /// Makes a socket for `address`.
    pub(crate) fn open_for(address: SocketAddr, kind: Kind) -> io::Result<Socket> {
        Socket::open(if address.is_ipv4() { Domain::Inet } else { Domain::Inet6 }, kind)
    }

    /// A socket whose number came from elsewhere; tokio would tell its reactor of it.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub(crate) fn registered(id: SocketId) -> Socket {
        Socket { id }.register()
    }

    /// Goes through what tokio checks where a socket joins a reactor.
    ///
    /// # Panics
    /// Outside a runtime.
    #[track_caller]
    pub(crate) fn register(self) -> Socket {
        shim_runtime::runtime::require_io();
        self
    }

    /// A socket that std or another library opened inside the simulation.
    ///
    /// # Panics
    /// Outside a runtime; and in a debug build where it is blocking, as with tokio.
    #[track_caller]
    pub(crate) fn adopt(descriptor: impl Into<OwnedFd>) -> io::Result<Socket> {
        let socket = Socket { id: fd::adopt(descriptor.into())? };
        assert!(
            !cfg!(debug_assertions) || may_block() || fd::is_nonblocking(socket.id),
            "Registering a blocking socket with the tokio runtime is unsupported. \
            If you wish to do anyways, please add `--cfg tokio_allow_from_blocking_fd` to your \
            RUSTFLAGS. See github.com/tokio-rs/tokio/issues/7172 for details."
        );
        Ok(socket.register())
    }

    /// Gives the socket away as a descriptor.
    pub(crate) fn into_descriptor(self) -> io::Result<OwnedFd> {
        let descriptor = fd::into_owned(self.id)?;
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
    /// Waits for `interest`. As with tokio, this takes nothing from the budget.
    pub(crate) fn ready(&self, interest: Interest) -> Readiness {
        Readiness::new(self.id, interest)
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.ready(Interest::READABLE).await.map(drop)
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.ready(Interest::WRITABLE).await.map(drop)
    }

    pub(crate) fn poll_ready(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_with_budget(cx, |cx| sys::poll_direction(self.id, direction, Wait::Slot, cx)).map_ok(drop)
    }

    /// Calls `f` where the socket is ready; what `f` finds not ready is hidden until the next event.
    pub(crate) fn try_io<R>(&self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let ready = sys::ready_for(self.id, interest);
        if ready.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match f() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                sys::clear_ready(self.id, ready);
                Err(io::ErrorKind::WouldBlock.into())
            }
            result => result,
        }
    }

    /// Calls `f` each time the socket is ready, until it does not say that it would block.
    pub(crate) async fn async_io<R>(
        &self,
        interest: Interest,
        mut f: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            let ready: Ready = self.ready(interest).await?;
            let budget = std::future::poll_fn(coop::poll_proceed).await;
            match f() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sys::clear_ready(self.id, ready),
                result => {
                    budget.made_progress();
                    return result;
                }
            }
        }
    }
}

/// Takes one unit of the task's budget for `f`, and gives it back where `f` is pending.
pub(crate) fn poll_with_budget<R>(
    cx: &mut Context<'_>,
    f: impl FnOnce(&mut Context<'_>) -> Poll<R>,
) -> Poll<R> {
    let budget = ready!(coop::poll_proceed(cx));
    let result = ready!(f(cx));
    budget.made_progress();
    Poll::Ready(result)
}

/// Data.
impl Socket {
    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        poll_with_budget(cx, |cx| sys::poll_recv(self.id, Wait::Slot, cx, buffer))
    }

    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        poll_with_budget(cx, |cx| sys::poll_peek(self.id, Wait::Slot, cx, buffer))
    }

    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        poll_with_budget(cx, |cx| sys::poll_send(self.id, Wait::Slot, cx, data))
    }

    pub(crate) fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_with_budget(cx, |cx| sys::poll_send_vectored(self.id, Wait::Slot, cx, data))
    }

    /// Waits for a connection.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(SocketId, Addr)>> {
        poll_with_budget(cx, |cx| sys::poll_accept(self.id, Wait::Slot, cx))
    }

    /// Connects, and waits for the outcome.
    pub(crate) async fn connect(&self, address: &Addr) -> io::Result<()> {
        match sys::connect(self.id, address) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        std::future::poll_fn(|cx| poll_with_budget(cx, |cx| sys::poll_connect(self.id, Wait::Slot, cx))).await
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
