//! The reactor's door: registrations of sockets, and waiting for what they are told.
//!
//! Owns [`Registration`]. Must not know what is done once a socket is ready. Invariant: as with tokio, what a
//! registration was told is the reactor's news, not the socket's state.

use std::io;
use std::task::{Context, Poll};

use real::io::{Interest, Ready};
use shim_runtime::{device, runtime};

use super::op::Op;
use super::{Direction, SocketId, Told, Wait, call};
use crate::error::Errno;
use crate::net::Net;
use crate::stack::readiness::{self, interest_mask};

/// A socket that a runtime's reactor knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registration {
    /// The socket.
    pub id: SocketId,
    key: u32,
}

/// Makes a socket known to the current runtime. What is `assumed` counts as told from the beginning.
///
/// # Errors
/// Where the runtime was shut down; `EBADF`.
///
/// # Panics
/// Outside a runtime, or in one without I/O: at the caller's place, with tokio's text.
#[track_caller]
pub fn register(id: SocketId, interest: Interest, assumed: Ready) -> io::Result<Registration> {
    let runtime = runtime::io_runtime()?;
    let key = call(id, |stack, _| stack.register(id, runtime, interest, assumed))?;
    Ok(Registration { id, key })
}

/// The reactor forgets the registration. Does nothing outside a simulation.
pub fn deregister(registration: Registration) {
    let Registration { id, key } = registration;
    let gone = device::try_with::<Net, _>(|net, cx| {
        net.call(id.node(), cx, |stack, _| Ok(stack.table.find_mut(id)?.core.waiters.deregister(key)))
    });
    drop(gone);
}

/// What the registration was told of `interest`; nothing where its socket is gone.
pub fn told(registration: Registration, interest: Interest) -> Told {
    let Registration { id, key } = registration;
    let found = call(id, |stack, _| {
        Ok(stack.table.find_mut(id)?.core.waiters.find(key).map(|own| own.told(interest_mask(interest))))
    });
    found.ok().flatten().unwrap_or(GONE)
}

/// As [`told`], for a wait that ended.
///
/// # Errors
/// Where the runtime was shut down.
pub(crate) fn told_in_time(registration: Registration, interest: Interest) -> io::Result<Told> {
    let told = told(registration, interest);
    if told.is_shut_down { Err(runtime::shutdown_error()) } else { Ok(told) }
}

/// Of a registration that is no more.
const GONE: Told = Told { ready: Ready::EMPTY, tick: 0, is_shut_down: true };

/// An operation on what `told` says would block: hides it until there is news.
pub fn clear(registration: Registration, told: Told) {
    let Registration { id, key } = registration;
    let cleared = call(id, |stack, _| {
        if let Some(own) = stack.table.find_mut(id)?.core.waiters.find(key) {
            own.clear(told);
        }
        Ok(())
    });
    drop(cleared);
}

/// Waits until something of `interest` was told.
///
/// # Errors
/// Where the runtime was shut down.
pub fn poll_interest(
    registration: Registration,
    interest: Interest,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Told>> {
    poll(registration, interest_mask(interest), Wait::List, cx)
}

/// Waits for one direction; the last waker wins.
///
/// # Errors
/// Where the runtime was shut down.
pub fn poll_direction(
    registration: Registration,
    direction: Direction,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Told>> {
    poll(registration, direction.mask(), Wait::Slot, cx)
}

/// Who tries a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Try {
    /// Somebody who will not wait.
    Once,
    /// Somebody who waits where nothing was told.
    OrWait,
    /// Somebody who waited and was woken: what was told then counts, also where another has cleared it since.
    Woken,
}

/// What came of trying a call.
pub(crate) enum Attempt<R> {
    /// It was made, and did not say that it would block.
    Done(io::Result<R>),
    /// It was not made: the runtime was shut down, or the node's process is dead.
    Refused(io::Error),
    /// It was not made, since nothing was told.
    Unready,
    /// It would block, which is hidden from now on; whether nothing else is told, so that the caller waits.
    Blocked { waits: bool },
}

/// Makes a call where something of `mask` was told, all in one entry into the world. What would block, and what is
/// only a part, is hidden until there is news. Where the caller has to wait, `leave` leaves its waker.
pub(crate) fn attempt<R>(
    registration: Registration,
    (who, mask): (Try, Ready),
    op: &mut impl Op<R>,
    is_part: impl Fn(&R) -> bool,
    mut leave: impl FnMut(&mut readiness::Registration, Ready),
) -> Attempt<R> {
    let Registration { id, key } = registration;
    let found = call(id, |stack, cx| {
        let Some(own) = stack.table.find_mut(id)?.core.waiters.find(key) else { return Ok(None) };
        let told = own.told(mask);
        if told.is_shut_down && who != Try::Once {
            return Ok(None);
        }
        if told.ready.is_empty() && who != Try::Woken {
            leave(own, mask);
            return Ok(Some(Attempt::Unready));
        }
        let result = op(stack, cx);
        let blocked = matches!(result, Err(Errno::EAGAIN));
        let mut waits = false;
        if (blocked || result.as_ref().is_ok_and(is_part))
            && let Some(own) = stack.table.find_mut(id)?.core.waiters.find(key)
        {
            own.clear(told);
            waits = blocked && own.told(mask).ready.is_empty();
            if waits {
                leave(own, mask);
            }
        }
        Ok(Some(if blocked {
            Attempt::Blocked { waits }
        } else {
            Attempt::Done(result.map_err(io::Error::from))
        }))
    });
    match found {
        Ok(Some(attempt)) => attempt,
        Ok(None) => Attempt::Refused(runtime::shutdown_error()),
        Err(_) if who == Try::Woken => Attempt::Refused(runtime::shutdown_error()),
        // A socket that is gone, or whose node's process is: as the system call would say.
        Err(error) => Attempt::Refused(error),
    }
}

/// Notes what the calling task waits for.
pub(crate) fn note_wait(registration: Registration, mask: Ready) {
    let what = if mask.is_readable() { "read" } else { "write" };
    shim_runtime::waits_for(shim_runtime::Wait::Socket(registration.id.0, what));
}

fn poll(registration: Registration, mask: Ready, wait: Wait, cx: &mut Context<'_>) -> Poll<io::Result<Told>> {
    let Registration { id, key } = registration;
    // A waker that was displaced leaves the world before it is dropped, because that may run foreign code.
    let mut displaced = None;
    let found = call(id, |stack, _| {
        let Some(own) = stack.table.find_mut(id)?.core.waiters.find(key) else { return Ok(GONE) };
        let told = own.told(mask);
        if told.ready.is_empty() && !told.is_shut_down {
            displaced = own.wait(mask, wait, cx.waker());
        }
        Ok(told)
    });
    drop(displaced);
    match found {
        // A socket that is gone, or whose node's process is: as the system call would say.
        Err(error) => Poll::Ready(Err(error)),
        Ok(told) if told.is_shut_down => Poll::Ready(Err(runtime::shutdown_error())),
        Ok(told) if told.ready.is_empty() => {
            note_wait(registration, mask);
            Poll::Pending
        }
        Ok(told) => Poll::Ready(Ok(told)),
    }
}
