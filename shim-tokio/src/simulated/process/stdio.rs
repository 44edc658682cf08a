//! The pipes of a child: of a simulated one, pipes of the world; of a real one, a descriptor behind a thread.
//!
//! Owns the narrow interface to pipes. Must not know who is at the other end. Invariant: a pipe whose other end is gone
//! is at its end for a reader, and broken (`EPIPE`) for a writer.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use real::io::{AsyncRead, AsyncWrite, ReadBuf};
use shim_net::mirror::unix::pipe::{Receiver, Sender};

use super::real::{RealReader, RealWriter};

/// An end for writing.
#[derive(Debug)]
pub(super) enum WriteEnd {
    Simulated(Sender),
    Real(RealWriter),
}

/// An end for reading.
#[derive(Debug)]
pub(super) enum ReadEnd {
    Simulated(Receiver),
    Real(RealReader),
}

// As tokio's: what is left of a pipe after a panic is bytes.
impl UnwindSafe for WriteEnd {}
impl RefUnwindSafe for WriteEnd {}
impl UnwindSafe for ReadEnd {}
impl RefUnwindSafe for ReadEnd {}

impl WriteEnd {
    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            WriteEnd::Simulated(pipe) => Pin::new(pipe).poll_write(cx, buf),
            WriteEnd::Real(pipe) => pipe.poll_write(cx, buf),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            WriteEnd::Simulated(_) => Poll::Ready(Ok(())),
            WriteEnd::Real(pipe) => pipe.poll_flush(cx),
        }
    }
}

/// The writing end of a child's standard input.
#[derive(Debug)]
pub struct ChildStdin {
    pub(super) end: WriteEnd,
}

/// The reading end of a child's standard output.
#[derive(Debug)]
pub struct ChildStdout {
    pub(super) end: ReadEnd,
}

/// The reading end of a child's standard error.
#[derive(Debug)]
pub struct ChildStderr {
    pub(super) end: ReadEnd,
}

impl ChildStdin {
    /// std's pipe, of a real child.
    ///
    /// # Errors
    /// Where the system has no thread left.
    pub fn from_std(inner: std::process::ChildStdin) -> io::Result<ChildStdin> {
        Ok(ChildStdin { end: WriteEnd::Real(RealWriter::new(inner.into())?) })
    }

    /// The pipe's descriptor.
    ///
    /// # Errors
    /// `WouldBlock` while bytes are under way to or from a real child.
    pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
        match self.end {
            WriteEnd::Simulated(pipe) => pipe.into_blocking_fd(),
            WriteEnd::Real(pipe) => pipe.into_owned_fd(),
        }
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        match &self.end {
            WriteEnd::Simulated(pipe) => pipe.as_raw_fd(),
            WriteEnd::Real(pipe) => pipe.raw_fd(),
        }
    }
}

impl AsyncWrite for ChildStdin {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.end.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.end.poll_write(cx, first.map_or(&[], |buf| &**buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.poll_flush(cx)
    }
}

macro_rules! reading_end {
    ($name:ident, $std:ident) => {
        impl $name {
            /// std's pipe, of a real child.
            ///
            /// # Errors
            /// Where the system has no thread left.
            pub fn from_std(inner: std::process::$std) -> io::Result<$name> {
                Ok($name { end: ReadEnd::Real(RealReader::new(inner.into())?) })
            }

            /// The pipe's descriptor.
            ///
            /// # Errors
            /// `WouldBlock` while bytes are under way to or from a real child.
            pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
                match self.end {
                    ReadEnd::Simulated(pipe) => pipe.into_blocking_fd(),
                    ReadEnd::Real(pipe) => pipe.into_owned_fd(),
                }
            }

            pub(super) fn raw_fd(&self) -> RawFd {
                match &self.end {
                    ReadEnd::Simulated(pipe) => pipe.as_raw_fd(),
                    ReadEnd::Real(pipe) => pipe.raw_fd(),
                }
            }
        }

        impl AsyncRead for $name {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match &mut self.end {
                    ReadEnd::Simulated(pipe) => Pin::new(pipe).poll_read(cx, buf),
                    ReadEnd::Real(pipe) => pipe.poll_read(cx, buf),
                }
            }
        }
    };
}

reading_end!(ChildStdout, ChildStdout);
reading_end!(ChildStderr, ChildStderr);

macro_rules! becomes_stdio {
    ($($name:ident),*) => {
        $(
            impl TryFrom<$name> for Stdio {
                type Error = io::Error;

                fn try_from(pipe: $name) -> io::Result<Stdio> {
                    pipe.into_owned_fd().map(Stdio::from)
                }
            }
        )*
    };
}

becomes_stdio!(ChildStdin, ChildStdout, ChildStderr);
