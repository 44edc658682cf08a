//! Mirror of `tokio::io::{stdin, stdout, stderr}`.
//!
//! Must not buffer beyond what tokio's do. Invariant: what a node reads is its own; what it writes is shown,
//! unless a test captures it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use real::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::blocking::Blocking;

/// A node's standard input.
#[derive(Debug)]
pub struct Stdin {
    std: io::Stdin,
    pool: Blocking<NodeInput>,
}

/// Reads a node's input without std's buffer, which all nodes share.
#[derive(Debug)]
struct NodeInput;

impl io::Read for NodeInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        crate::standard::read(buffer)
    }
}

/// The current node's standard input.
///
/// # Determinism
/// A simulation never reads the test's own standard input: it is at its end, unless a test feeds it.
pub fn stdin() -> Stdin {
    Stdin { std: io::stdin(), pool: Blocking::new(NodeInput, false) }
}

impl AsyncRead for Stdin {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pool).poll_read(cx, buf)
    }
}

macro_rules! output {
    ($(#[$documentation:meta])* $kind:ident, $function:ident) => {
        $(#[$documentation])*
        #[derive(Debug)]
        pub struct $kind {
            std: io::$kind,
            pool: Blocking<io::$kind>,
        }

        $(#[$documentation])*
        pub fn $function() -> $kind {
            $kind { std: io::$function(), pool: Blocking::new(io::$function(), true) }
        }

        impl AsyncWrite for $kind {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.pool).poll_write(cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.pool).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.pool).poll_shutdown(cx)
            }
        }
    };
}

output!(
    /// A node's standard output.
    Stdout,
    stdout
);
output!(
    /// A node's standard error.
    Stderr,
    stderr
);

macro_rules! descriptors {
    ($($kind:ident)*) => {
        $(
            impl AsRawFd for $kind {
                fn as_raw_fd(&self) -> RawFd {
                    self.std.as_raw_fd()
                }
            }

            impl AsFd for $kind {
                fn as_fd(&self) -> BorrowedFd<'_> {
                    self.std.as_fd()
                }
            }
        )*
    };
}

descriptors!(Stdin Stdout Stderr);
