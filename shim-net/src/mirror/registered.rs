//! What waits for a registered socket: the loops around a call that may say that it would block.
//!
//! Owns the order in which readiness, budget and call follow each other, which is tokio's. Must not know what
//! kind of socket it is. Invariant: what a call found not ready is hidden until there is news.

use std::io;
use std::task::{Context, Poll, ready};

use real::io::{Interest, ReadBuf};
use real::task::coop;

use super::readiness::Readiness;
use crate::sys::reactor::{self, Registration};
use crate::sys::{self, Direction, Told};

impl Registration {
    /// Waits for `interest`. As with tokio, this takes nothing from the budget.
    pub(crate) fn ready(self, interest: Interest) -> Readiness {
        Readiness::new(self, interest)
    }

    /// Waits for one direction; only the task that polled last is woken.
    pub(crate) fn poll_ready(self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Result<Told>> {
        let budget = ready!(coop::poll_proceed(cx));
        let told = ready!(reactor::poll_direction(self, direction, cx))?;
        budget.made_progress();
        Poll::Ready(Ok(told))
    }

    /// Calls `f` where the socket is ready; what `f` finds not ready is hidden until the next event.
    pub(crate) fn try_io<R>(self, interest: Interest, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let told = reactor::told(self, interest);
        if told.ready.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match f() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                reactor::clear(self, told);
                Err(io::ErrorKind::WouldBlock.into())
            }
            result => result,
        }
    }

    /// Calls `f` each time the socket is ready, until it does not say that it would block.
    pub(crate) async fn async_io<R>(
        self,
        interest: Interest,
        mut f: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            let told = self.ready(interest).await?;
            let budget = std::future::poll_fn(coop::poll_proceed).await;
            match f() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => reactor::clear(self, told),
                result => {
                    budget.made_progress();
                    return result;
                }
            }
        }
    }

    /// As [`async_io`](Registration::async_io), with one waker for each direction.
    pub(crate) fn poll_io<R>(
        self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut f: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            let told = ready!(self.poll_ready(direction, cx))?;
            match f() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => reactor::clear(self, told),
                result => return Poll::Ready(result),
            }
        }
    }

    /// Reads from a stream. One that gave less than was asked has no more for now.
    pub(crate) fn poll_read(self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let asked = buffer.remaining();
        self.poll_part(Direction::Read, asked, cx, || sys::recv_buf(self.id, buffer, false)).map_ok(drop)
    }

    /// Writes to a stream. One that took less than was offered has no more room for now.
    pub(crate) fn poll_write(self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_part(Direction::Write, data.len(), cx, || sys::send(self.id, data))
    }

    fn poll_part(
        self,
        direction: Direction,
        asked: usize,
        cx: &mut Context<'_>,
        mut f: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let told = ready!(self.poll_ready(direction, cx))?;
            match f() {
                Ok(done) => {
                    if (1..asked).contains(&done) {
                        reactor::clear(self, told);
                    }
                    return Poll::Ready(Ok(done));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => reactor::clear(self, told),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}
