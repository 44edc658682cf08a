//! Mirror of `tokio::net::unix::pipe`.
//!
//! Owns the two ends and how FIFOs are opened. Must not know buffers. Invariant: every method is one line by way of
//! the shared holder.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BufMut;
use real::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};

use crate::host::fd;
use crate::mirror::socket::{Socket, read_into};
use crate::sys::{self, Direction, op};

/// Makes a pipe on the current node.
///
/// # Errors
/// Where the runtime was shut down.
///
/// # Panics
/// Outside a runtime.
pub fn pipe() -> io::Result<(Sender, Receiver)> {
    shim_runtime::runtime::io_runtime()?;
    let (reader, writer) = sys::pipe()?;
    let (reader, writer) = (Socket::new(reader), Socket::new(writer));
    Ok((Sender::new(writer)?, Receiver::new(reader)?))
}

/// How a FIFO is opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    read_write: bool,
    unchecked: bool,
}

impl OpenOptions {
    /// One direction, and a check that it is a pipe.
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// Opens for both directions: a sender then needs no receiver, and a receiver sees no end.
    pub fn read_write(&mut self, value: bool) -> &mut Self {
        self.read_write = value;
        self
    }

    /// Does not look whether it is a pipe.
    pub fn unchecked(&mut self, value: bool) -> &mut Self {
        self.unchecked = value;
        self
    }

    /// Opens the end to read from.
    ///
    /// # Errors
    /// Those of `open(2)`; `InvalidInput` where it is no pipe.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn open_receiver<P: AsRef<Path>>(&self, path: P) -> io::Result<Receiver> {
        Receiver::from_file_unchecked(self.open(path.as_ref(), true)?)
    }

    /// Opens the end to write to.
    ///
    /// # Errors
    /// As [`open_receiver`](OpenOptions::open_receiver); `ENXIO` where nobody has it open to read.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn open_sender<P: AsRef<Path>>(&self, path: P) -> io::Result<Sender> {
        Sender::from_file_unchecked(self.open(path.as_ref(), false)?)
    }

    fn open(&self, path: &Path, reads: bool) -> io::Result<File> {
        let mut options = std::fs::OpenOptions::new();
        options.read(reads || self.read_write).write(!reads || self.read_write);
        let file = options.custom_flags(libc::O_NONBLOCK).open(path)?;
        if self.unchecked || fd::is_pipe(file.as_fd())? { Ok(file) } else { Err(not_a_pipe()) }
    }
}

fn not_a_pipe() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a pipe")
}

/// Checks what was given to be an end, and has it not wait.
fn checked(end: &OwnedFd, reads: bool, refusal: &'static str) -> io::Result<()> {
    if !fd::is_pipe(end.as_fd())? {
        return Err(not_a_pipe());
    }
    let flags = fd::status_flags(end.as_fd())?;
    let own = if reads { libc::O_RDONLY } else { libc::O_WRONLY };
    if ![own, libc::O_RDWR].contains(&(flags & libc::O_ACCMODE)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, refusal));
    }
    fd::set_nonblocking(end.as_fd(), true)
}

/// What both ends have.
macro_rules! end {
    ($end:ident, $interest:expr, $reads:expr, $refusal:literal) => {
        impl $end {
            fn new(socket: Socket) -> io::Result<$end> {
                socket.register_as($interest, Ready::EMPTY).map(|socket| $end { socket })
            }

            /// Takes an end that was opened inside the simulation.
            ///
            /// # Errors
            /// `InvalidInput` where it is no pipe, the wrong end, or not the simulation's.
            ///
            /// # Panics
            /// Outside a runtime.
            pub fn from_file(file: File) -> io::Result<$end> {
                $end::from_owned_fd(file.into())
            }

            /// As [`from_file`](Self::from_file).
            ///
            /// # Errors
            /// As [`from_file`](Self::from_file).
            ///
            /// # Panics
            /// Outside a runtime.
            pub fn from_owned_fd(owned_fd: OwnedFd) -> io::Result<$end> {
                checked(&owned_fd, $reads, $refusal)?;
                $end::from_owned_fd_unchecked(owned_fd)
            }

            /// As [`from_file`](Self::from_file), without a look at what it is.
            ///
            /// # Errors
            /// Where it cannot be waited for, or is not the simulation's.
            ///
            /// # Panics
            /// Outside a runtime.
            pub fn from_file_unchecked(file: File) -> io::Result<$end> {
                $end::from_owned_fd_unchecked(file.into())
            }

            /// As [`from_file_unchecked`](Self::from_file_unchecked).
            ///
            /// # Errors
            /// As [`from_file_unchecked`](Self::from_file_unchecked).
            ///
            /// # Panics
            /// Outside a runtime.
            pub fn from_owned_fd_unchecked(owned_fd: OwnedFd) -> io::Result<$end> {
                shim_runtime::runtime::io_runtime()?;
                $end::new(Socket::new(fd::adopt_watched(owned_fd)?))
            }

            /// Waits until the end is ready for something of `interest`.
            ///
            /// # Errors
            /// Where the runtime was shut down.
            ///
            /// # Cancel safety
            /// Nothing is lost where this is dropped; so it is with the other waits.
            pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
                self.socket.ready(interest).await
            }

            /// Calls `f` where the end is ready.
            ///
            /// # Errors
            /// `WouldBlock`; those of `f`.
            pub fn try_io<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
                self.socket.try_io($interest, f)
            }

            /// Gives the end away as a descriptor that waits.
            ///
            /// # Errors
            /// Where no descriptor can be had.
            pub fn into_blocking_fd(self) -> io::Result<OwnedFd> {
                let descriptor = self.into_nonblocking_fd()?;
                fd::set_nonblocking(descriptor.as_fd(), false)?;
                Ok(descriptor)
            }

            /// Gives the end away as a descriptor that does not wait.
            ///
            /// # Errors
            /// Where no descriptor can be had.
            pub fn into_nonblocking_fd(self) -> io::Result<OwnedFd> {
                self.socket.into_descriptor()
            }
        }

        impl AsRawFd for $end {
            fn as_raw_fd(&self) -> RawFd {
                self.socket.raw_fd()
            }
        }

        impl AsFd for $end {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket.borrow_fd()
            }
        }

        impl std::fmt::Debug for $end {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($end)).field("pipe", &self.socket.id.0).finish()
            }
        }
    };
}

/// The end of a pipe that is written to.
pub struct Sender {
    socket: Socket,
}

end!(Sender, Interest::WRITABLE, false, "not in O_WRONLY or O_RDWR access mode");

impl Sender {
    /// Waits until there is room to write, or nobody reads any more.
    ///
    /// # Errors
    /// Where the runtime was shut down.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// As [`writable`](Sender::writable); only the task that polled last is woken.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(Direction::Write, cx)
    }

    /// Writes what there is room for; up to `PIPE_BUF` bytes are written whole or not at all.
    ///
    /// # Errors
    /// `WouldBlock`; `EPIPE` where nobody reads.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.try_call(Interest::WRITABLE, op::send(self.socket.id, buf))
    }

    /// As [`try_write`](Sender::try_write), from several buffers.
    ///
    /// # Errors
    /// As [`try_write`](Sender::try_write).
    pub fn try_write_vectored(&self, buf: &[IoSlice<'_>]) -> io::Result<usize> {
        self.socket.try_call(Interest::WRITABLE, op::send_vectored(self.socket.id, buf))
    }
}

impl AsyncWrite for Sender {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_send_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Does nothing: the receiver sees the end when this is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The end of a pipe that is read from.
pub struct Receiver {
    socket: Socket,
}

end!(Receiver, Interest::READABLE, true, "not in O_RDONLY or O_RDWR access mode");

impl Receiver {
    /// Waits until there is something to read, or the end.
    ///
    /// # Errors
    /// Where the runtime was shut down.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// As [`readable`](Receiver::readable); only the task that polled last is woken.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready(Direction::Read, cx)
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock`.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.socket.try_call(Interest::READABLE, op::recv(self.socket.id, buf, false))
    }

    /// As [`try_read`](Receiver::try_read), into several buffers.
    ///
    /// # Errors
    /// As [`try_read`](Receiver::try_read).
    pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.socket.try_call(Interest::READABLE, op::recv_vectored(self.socket.id, bufs, false))
    }

    /// As [`try_read`](Receiver::try_read), at the end of `buf`.
    ///
    /// # Errors
    /// As [`try_read`](Receiver::try_read).
    pub fn try_read_buf<B: BufMut>(&self, buf: &mut B) -> io::Result<usize> {
        let read = |space: &mut [u8]| Ok((sys::recv(self.socket.id, space, false)?, ()));
        self.socket.try_io(Interest::READABLE, || read_into(buf, read)).map(|(len, ())| len)
    }
}

impl AsyncRead for Receiver {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_read(cx, buf)
    }
}
