//! Waiting in virtual time: what a blocking descriptor does where a simulated call says `EAGAIN`.
//!
//! Owns the loop around a call. Must not know which call. Invariants: the waker of a thread that waits no
//! more is in no socket's list; a descriptor with `O_NONBLOCK` never waits.

use std::io;
use std::os::fd::RawFd;
use std::task::Waker;
use std::time::Duration;

use shim_runtime::threads;

use super::{int, kernel, refuse, would_block};
use crate::error::Errno;
use crate::sys::{self, Direction, Name, SocketId, Value};

/// Whether `O_NONBLOCK` is set.
pub(super) fn is_nonblocking(fd: RawFd) -> bool {
    // SAFETY: the call has no pointers.
    let flags = unsafe { kernel(libc::SYS_fcntl, [int(fd), int(libc::F_GETFL)]) };
    flags >= 0 && flags as i32 & libc::O_NONBLOCK != 0
}

/// `SO_RCVTIMEO` or `SO_SNDTIMEO`.
fn time_limit(id: SocketId, direction: Direction) -> Option<Duration> {
    let name = match direction {
        Direction::Read => Name::ReceiveTimeout,
        Direction::Write => Name::SendTimeout,
    };
    match sys::option(id, name) {
        Ok(Value::Timeout(limit)) => limit,
        _ => None,
    }
}

/// Calls `attempt`, and where it would block, again after each event on the socket.
///
/// # Errors
/// Those of `attempt`; `EAGAIN` where the call must not block, or has waited for as long as it may.
pub(super) fn until_done<R>(
    (fd, id): (RawFd, SocketId),
    dont_wait: bool,
    direction: Direction,
    mut attempt: impl FnMut() -> io::Result<R>,
) -> io::Result<R> {
    match attempt() {
        Err(error) if would_block(&error) && !dont_wait && !is_nonblocking(fd) => {}
        result => return result,
    }
    let mut left_behind: Option<Waker> = None;
    let ended = threads::block_on_waker("a call on a socket", time_limit(id, direction), |waker| {
        match attempt() {
            Err(error) if would_block(&error) => {}
            result => return Some(result),
        }
        left_behind = Some(waker.clone());
        sys::wait_in_thread(id, direction.mask(), waker).err().map(Err)
    });
    if let Some(waker) = left_behind {
        sys::forget(id, &waker);
    }
    ended.unwrap_or_else(|| refuse(Errno::EAGAIN))
}

/// Waits for the outcome of a connection that is under way.
///
/// # Errors
/// The connection's; `EINPROGRESS` where it takes longer than the call may.
pub(super) fn connected((fd, id): (RawFd, SocketId)) -> io::Result<()> {
    if is_nonblocking(fd) {
        return refuse(Errno::EINPROGRESS);
    }
    let mut left_behind: Option<Waker> = None;
    let ended = threads::block_on_waker("connect", time_limit(id, Direction::Write), |waker| {
        left_behind = Some(waker.clone());
        match sys::connected(id) {
            Err(error) if would_block(&error) => {
                sys::wait_in_thread(id, Direction::Write.mask(), waker).err().map(Err)
            }
            result => Some(result),
        }
    });
    if let Some(waker) = left_behind {
        sys::forget(id, &waker);
    }
    ended.unwrap_or_else(|| refuse(Errno::EINPROGRESS))
}
