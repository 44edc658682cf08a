//! What waits for a registered socket: the loops around a call that may say that it would block.
//!
//! Owns the order in which readiness, budget and call follow each other, which is tokio's. Must not know what
//! kind of socket it is. Invariant: what a call found not ready is hidden until there is news.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use real::io::{Interest, ReadBuf};
use real::task::coop;

use super::readiness::Readiness;
use crate::stack::readiness::{self, interest_mask};
use crate::sys::op::{self, Op};
use crate::sys::reactor::{self, Attempt, Registration, Try};
use crate::sys::{Direction, Told, Wait};

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
            let budget = poll_fn(coop::poll_proceed).await;
            match f() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => reactor::clear(self, told),
                result => {
                    budget.made_progress();
                    return result;
                }
            }
        }
    }

    /// As [`try_io`](Registration::try_io), for a system call: one entry into the world.
    pub(crate) fn try_call<R>(self, interest: Interest, mut op: impl Op<R>) -> io::Result<R> {
        let how = (Try::Once, interest_mask(interest));
        match reactor::attempt(self, how, &mut op, |_| false, |_, _| {}) {
            Attempt::Done(result) => result,
            Attempt::Refused(_) | Attempt::Unready | Attempt::Blocked { .. } => {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    /// As [`async_io`](Registration::async_io), for a system call: one entry into the world for each poll.
    pub(crate) async fn async_call<R>(self, interest: Interest, mut op: impl Op<R>) -> io::Result<R> {
        let mut place = Readiness::new(self, interest);
        poll_fn(|cx| place.poll_call(cx, &mut op)).await
    }

    /// As [`async_call`](Registration::async_call), with one waker for each direction.
    pub(crate) fn poll_call<R>(
        self,
        direction: Direction,
        cx: &mut Context<'_>,
        op: impl Op<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_part(direction, cx, op, |_| false)
    }

    /// Reads from a stream. One that gave less than was asked has no more for now.
    pub(crate) fn poll_read(self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let asked = buffer.remaining();
        let op = op::recv(self.id, buffer, false);
        self.poll_part(Direction::Read, cx, op, |done| (1..asked).contains(done)).map_ok(drop)
    }

    /// Writes to a stream. One that took less than was offered has no more room for now.
    pub(crate) fn poll_write(self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let op = op::send(self.id, data);
        self.poll_part(Direction::Write, cx, op, |done| (1..data.len()).contains(done))
    }

    fn poll_part<R>(
        self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut op: impl Op<R>,
        is_part: impl Fn(&R) -> bool,
    ) -> Poll<io::Result<R>> {
        loop {
            let budget = ready!(coop::poll_proceed(cx));
            // A waker that was displaced leaves the world before it is dropped, because that may run foreign code.
            let mut displaced = None;
            let leave = |own: &mut readiness::Registration, mask| {
                displaced = own.wait(mask, Wait::Slot, cx.waker());
            };
            let attempt = reactor::attempt(self, (Try::OrWait, direction.mask()), &mut op, &is_part, leave);
            drop(displaced);
            match attempt {
                Attempt::Done(result) => {
                    budget.made_progress();
                    return Poll::Ready(result);
                }
                Attempt::Refused(error) => return Poll::Ready(Err(error)),
                Attempt::Unready => {
                    reactor::note_wait(self, direction.mask());
                    return Poll::Pending;
                }
                Attempt::Blocked { waits } => {
                    // Each try takes one from the budget, as with tokio.
                    budget.made_progress();
                    if waits {
                        let _unused = ready!(coop::poll_proceed(cx));
                        reactor::note_wait(self, direction.mask());
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}
