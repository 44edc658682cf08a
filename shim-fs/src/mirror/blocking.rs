//! A blocking reader or writer on the blocking pool: what tokio's standard streams are.
//!
//! Owns the operation in flight. Must not know which stream it is. Invariant: one operation at a time; a write
//! returns when its bytes are taken, not when they are written.

use std::future::Future;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use real::io::{AsyncRead, AsyncWrite, ReadBuf};
use shim_runtime::runtime::SHUTTING_DOWN_ERROR;
use shim_runtime::task::{JoinHandle, spawn_blocking, spawn_mandatory_blocking};

use super::buffer::{Buffer, DEFAULT_MAX_BUF_SIZE};

#[derive(Debug)]
pub(super) struct Blocking<T> {
    state: State<T>,
    need_flush: bool,
    /// Whether an operation runs although the runtime shuts down.
    mandatory: bool,
}

#[derive(Debug)]
enum State<T> {
    Idle(T, Buffer),
    Busy(JoinHandle<Done<T>>),
    /// The operation that had the stream did not run.
    Gone,
}

type Done<T> = (io::Result<()>, T, Buffer);

fn gone() -> io::Error {
    io::Error::other(SHUTTING_DOWN_ERROR)
}

impl<T: Unpin + Send + 'static> Blocking<T> {
    pub(super) fn new(inner: T, mandatory: bool) -> Blocking<T> {
        Blocking { state: State::Idle(inner, Buffer::default()), need_flush: false, mandatory }
    }

    /// Begins an operation on what is idle.
    fn begin(
        &mut self,
        inner: T,
        buffer: Buffer,
        f: impl FnOnce(&mut T, &mut Buffer) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        let run = move || {
            let (mut inner, mut buffer) = (inner, buffer);
            let result = f(&mut inner, &mut buffer);
            (result, inner, buffer)
        };
        let handle = if self.mandatory { spawn_mandatory_blocking(run) } else { Some(spawn_blocking(run)) };
        self.state = State::Busy(handle.ok_or_else(gone)?);
        Ok(())
    }

    /// Takes what is idle.
    fn take(&mut self) -> Option<(T, Buffer)> {
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Idle(inner, buffer) => Some((inner, buffer)),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Waits until the operation in flight, if any, is done; its own result.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<io::Result<()>>> {
        match &mut self.state {
            State::Idle(..) => Poll::Ready(Ok(Ok(()))),
            State::Gone => Poll::Ready(Err(gone())),
            State::Busy(handle) => match ready!(Pin::new(handle).poll(cx)) {
                Ok((result, inner, buffer)) => {
                    self.state = State::Idle(inner, buffer);
                    Poll::Ready(Ok(result))
                }
                Err(error) => {
                    self.state = State::Gone;
                    Poll::Ready(Err(error.into()))
                }
            },
        }
    }
}

impl<T: Read + Unpin + Send + 'static> AsyncRead for Blocking<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut has_read = matches!(self.state, State::Busy(_));
        loop {
            ready!(self.poll_idle(cx))??;
            let Some((inner, mut buffer)) = self.take() else { return Poll::Ready(Err(gone())) };
            if has_read || !buffer.is_empty() {
                buffer.give(out);
                self.state = State::Idle(inner, buffer);
                return Poll::Ready(Ok(()));
            }
            let most = out.remaining().min(DEFAULT_MAX_BUF_SIZE);
            self.begin(inner, buffer, move |inner, buffer| buffer.read_from(inner, most).map(drop))?;
            has_read = true;
        }
    }
}

impl<T: Write + Unpin + Send + 'static> AsyncWrite for Blocking<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_idle(cx))??;
        let Some((inner, mut buffer)) = self.take() else { return Poll::Ready(Err(gone())) };
        let count = buffer.fill(&[IoSlice::new(data)], DEFAULT_MAX_BUF_SIZE);
        self.begin(inner, buffer, |inner, buffer| buffer.write_to(inner))?;
        self.need_flush = true;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_idle(cx))??;
            if !self.need_flush {
                return Poll::Ready(Ok(()));
            }
            let Some((inner, buffer)) = self.take() else { return Poll::Ready(Err(gone())) };
            self.begin(inner, buffer, |inner, _| inner.flush())?;
            self.need_flush = false;
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
