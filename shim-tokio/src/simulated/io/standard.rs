//! The standard streams: output goes to the process's own, input is always at its end.
//!
//! Must not use a thread. Invariant: what a program writes is written at once, in the order of the run.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{AsyncRead, AsyncWrite, ReadBuf};

/// Standard output.
#[derive(Debug)]
pub struct Stdout {
    std: io::Stdout,
}

/// Standard error.
#[derive(Debug)]
pub struct Stderr {
    std: io::Stderr,
}

/// Standard input, which is at its end: a simulated node has nobody at its keyboard.
#[derive(Debug)]
pub struct Stdin {
    _private: (),
}

/// The process's standard output.
pub fn stdout() -> Stdout {
    Stdout { std: io::stdout() }
}

/// The process's standard error.
pub fn stderr() -> Stderr {
    Stderr { std: io::stderr() }
}

/// A standard input that is at its end.
///
/// # Determinism
/// A simulation never reads the real standard input.
pub fn stdin() -> Stdin {
    Stdin { _private: () }
}

macro_rules! writes_through {
    ($name:ident) => {
        impl AsyncWrite for $name {
            fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                Poll::Ready(self.get_mut().std.write(buf))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.get_mut().std.flush())
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_flush(cx)
            }
        }
    };
}

writes_through!(Stdout);
writes_through!(Stderr);

impl AsyncRead for Stdin {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
