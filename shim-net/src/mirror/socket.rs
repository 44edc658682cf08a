//! What all mirror types hold: the number of a socket, and the ways to wait for it.
//!
//! Owns [`Socket`], the budget that each operation takes, and the loop of `async_io`. Must not know what
//! kind of socket it is. Invariant: a socket is closed exactly once, when its holder is dropped or has given
//! it away.

use std::fmt;
use std::io::{self, IoSlice};
use std::mem;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BufMut;
use real::io::{Interest, ReadBuf, Ready};
use real::task::coop;
use shim_runtime::runtime::Handle;

use super::readiness::Readiness;
use super::unix::unix_name;
use crate::host::fd;
use crate::sys::{self, Addr, Direction, Domain, Kind, Name, SocketId, Value, Wait};

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
        sys::close(self.id);
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
        drop(Handle::current());
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

    /// Gives the number away: the socket stays open.
    pub(crate) fn into_id(self) -> SocketId {
        let id = self.id;
        mem::forget(self);
        id
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

/// Reports.
impl Socket {
    /// The addresses of the socket under the name of its type. Asks for no descriptor, and may be called
    /// where there is no simulation.
    pub(crate) fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct(name);
        if shim_runtime::in_simulation() {
            if let Ok(address) = sys::local_addr(self.id) {
                out.field("addr", &Shown(address));
            }
            if let Ok(address) = sys::peer_addr(self.id) {
                out.field("peer", &Shown(address));
            }
        }
        out.field("socket", &self.id.0).finish()
    }
}

/// An address as std shows it.
struct Shown(Addr);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Addr::Inet(address) => address.fmt(f),
            Addr::Unix(address) => unix_name(address.clone()).fmt(f),
        }
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

    pub(crate) fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
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

/// Options.
impl Socket {
    pub(crate) fn flag(&self, name: Name) -> io::Result<bool> {
        self.number(name).map(|value| value != 0)
    }

    pub(crate) fn set_flag(&self, name: Name, on: bool) -> io::Result<()> {
        self.set_number(name, on.into())
    }

    pub(crate) fn number(&self, name: Name) -> io::Result<u32> {
        match sys::option(self.id, name)? {
            Value::Int(value) => Ok(value as u32),
            other => panic!("invariant: {name:?} is a number, not {other:?}"),
        }
    }

    pub(crate) fn set_number(&self, name: Name, value: u32) -> io::Result<()> {
        sys::set_option(self.id, name, Value::Int(value as i32))
    }

    pub(crate) fn linger(&self) -> io::Result<Option<Duration>> {
        match sys::option(self.id, Name::Linger)? {
            Value::Linger(linger) => Ok(linger),
            other => panic!("invariant: SO_LINGER is a time, not {other:?}"),
        }
    }

    /// Sets `SO_LINGER`, whose unit is the second.
    pub(crate) fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        let linger = linger.map(|time| Duration::from_secs(time.as_secs()));
        sys::set_option(self.id, Name::Linger, Value::Linger(linger))
    }

    /// The interface that the socket is tied to.
    pub(crate) fn device(&self) -> io::Result<Option<Vec<u8>>> {
        match sys::option(self.id, Name::BindToDevice)? {
            Value::Bytes(mut name) => {
                name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
                Ok(Some(name).filter(|name| !name.is_empty()))
            }
            other => panic!("invariant: SO_BINDTODEVICE is a name, not {other:?}"),
        }
    }

    pub(crate) fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
        sys::set_option(self.id, Name::BindToDevice, Value::Bytes(interface.unwrap_or_default().to_vec()))
    }
}
