//! `poll`, `ppoll`, and the refusal of what else waits for several descriptors.
//!
//! Owns how readiness looks to `poll(2)`. Must not know what made a socket ready. Invariants: simulated and
//! real descriptors are never waited for in one call; a wait is in virtual time.

use std::task::Waker;
use std::time::Duration;

use libc::{c_int, c_short, fd_set, nfds_t, pollfd, sigset_t, timespec, timeval};
use real::io::Interest;
use shim_runtime::host::{in_run, raw};
use shim_runtime::threads;

use super::table;
use super::{Owner, fail, int, kernel, loud, owner};
use crate::stack::readiness::{Events, interest_mask};
use crate::sys::{self, SocketId};

const READ_EVENTS: c_short = libc::POLLIN | libc::POLLRDNORM;
const WRITE_EVENTS: c_short = libc::POLLOUT | libc::POLLWRNORM;
/// What `poll(2)` shows whether it was asked for or not.
const ALWAYS_SHOWN: c_short = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;

/// `now` as `poll(2)` shows it to who asked for `events`.
pub(super) fn shown(now: Events, events: c_short) -> c_short {
    let bits = [
        (now.readable, READ_EVENTS),
        (now.writable, WRITE_EVENTS),
        (now.priority, libc::POLLPRI),
        (now.read_hang_up, libc::POLLRDHUP),
        (now.hang_up, libc::POLLHUP),
        (now.error, libc::POLLERR),
    ];
    let all = bits.into_iter().filter(|bit| bit.0).fold(0, |all, bit| all | bit.1);
    all & (events | ALWAYS_SHOWN)
}

pub(super) fn interest(events: c_short) -> Interest {
    let mut interest = Interest::ERROR;
    if events & (READ_EVENTS | libc::POLLRDHUP) != 0 {
        interest |= Interest::READABLE;
    }
    if events & WRITE_EVENTS != 0 {
        interest |= Interest::WRITABLE;
    }
    interest
}

/// Waits for any of `entries`, all of them simulated or empty; how many are ready.
fn wait(entries: &mut [pollfd], timeout: Option<Duration>) -> isize {
    let mut sockets: Vec<(usize, SocketId)> = Vec::new();
    let mut wrong = 0;
    for (place, entry) in entries.iter_mut().enumerate() {
        entry.revents = 0;
        match owner(entry.fd) {
            _ if entry.fd < 0 => {}
            Owner::World(id) => sockets.push((place, id)),
            _ => {
                entry.revents = libc::POLLNVAL;
                wrong += 1;
            }
        }
    }
    let look = |entries: &mut [pollfd]| {
        let mut count = wrong;
        for (place, id) in &sockets {
            let entry = &mut entries[*place];
            entry.revents = shown(sys::events(*id), entry.events);
            count += isize::from(entry.revents != 0);
        }
        count
    };
    let count = look(entries);
    if count > 0 || timeout == Some(Duration::ZERO) {
        return count;
    }
    let mut left_behind: Option<Waker> = None;
    let ended = threads::block_on_waker("poll", timeout, |waker| {
        let count = look(entries);
        if count > 0 {
            return Some(count);
        }
        left_behind = Some(waker.clone());
        for (place, id) in &sockets {
            // A socket that is gone shows nothing, and has no events.
            drop(sys::wait_in_thread(*id, interest_mask(interest(entries[*place].events)), waker));
        }
        None
    });
    if let Some(waker) = left_behind {
        sockets.iter().for_each(|(_, id)| sys::forget(*id, &waker));
    }
    ended.unwrap_or(0)
}

/// Answers `poll` in a simulation; `None` where the kernel must.
///
/// # Safety
/// `entries` must be valid to write for `count` entries.
unsafe fn answer(entries: *mut pollfd, count: nfds_t, timeout: Option<Duration>) -> Option<isize> {
    let entries = match count {
        0 => &mut [][..],
        // SAFETY: the caller vouches for the entries.
        count => unsafe { std::slice::from_raw_parts_mut(entries, count as usize) },
    };
    let simulated = entries.iter().filter(|entry| table::mark(entry.fd).is_simulated()).count();
    let empty = entries.iter().filter(|entry| entry.fd < 0).count();
    if simulated == 0 {
        // With nothing to wait for it is a sleep.
        return (empty == entries.len() && timeout != Some(Duration::ZERO) && in_run())
            .then(|| wait(entries, timeout));
    }
    if simulated + empty < entries.len() {
        loud("poll: simulated sockets together with other descriptors");
        return Some(fail(libc::EINVAL));
    }
    Some(wait(entries, timeout))
}

/// `poll(2)`.
///
/// # Safety
/// `entries` must be valid to write for `count` entries.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn poll(entries: *mut pollfd, count: nfds_t, timeout_millis: c_int) -> c_int {
    let timeout = u64::try_from(timeout_millis).ok().map(Duration::from_millis);
    // SAFETY: as this call.
    if let Some(result) = unsafe { answer(entries, count, timeout) } {
        return result as c_int;
    }
    let limit = timeout.map(|limit| timespec {
        tv_sec: limit.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(limit.subsec_nanos() as i32),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: as the system call; `ppoll` is there on every architecture.
    raw::to_libc(unsafe { kernel(libc::SYS_ppoll, [entries as usize, count as usize, limit as usize, 0, 0]) })
        as c_int
}

/// `ppoll(2)`. A simulated wait is never interrupted, so that the mask means nothing to it.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn ppoll(
    entries: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: the caller vouches for the time-out.
    let limit = unsafe { timeout.as_ref() };
    let limit = limit.map(|limit| Duration::new(limit.tv_sec.max(0) as u64, limit.tv_nsec.max(0) as u32));
    // SAFETY: as this call.
    if let Some(result) = unsafe { answer(entries, count, limit) } {
        return result as c_int;
    }
    // The kernel writes what is left into the time-out; libc's callers must not see that.
    // SAFETY: as above.
    let own = unsafe { timeout.as_ref() }.copied();
    let own = own.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let arguments = [entries as usize, count as usize, own as usize, mask as usize, KERNEL_MASK_BYTES];
    // SAFETY: as the system call.
    raw::to_libc(unsafe { kernel(libc::SYS_ppoll, arguments) }) as c_int
}

/// The size of the kernel's set of signals.
const KERNEL_MASK_BYTES: usize = 8;

/// `select(2)`: refused where a simulated socket is among the descriptors.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn select(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    let simulated = (0..count.min(libc::FD_SETSIZE as c_int)).filter(|fd| table::mark(*fd).is_simulated());
    for fd in simulated {
        for set in [read, write, except] {
            // SAFETY: the caller vouches for the sets.
            if !set.is_null() && unsafe { libc::FD_ISSET(fd, set) } {
                loud("select: simulated sockets");
                return fail(libc::EINVAL) as c_int;
            }
        }
    }
    let Some(limit) = (unsafe {
        // SAFETY: the caller vouches for the time-out.
        timeout.as_ref()
    }) else {
        let arguments = [int(count), read as usize, write as usize, except as usize, 0, 0];
        // SAFETY: as the system call.
        return raw::to_libc(unsafe { kernel(libc::SYS_pselect6, arguments) }) as c_int;
    };
    let mut limit = timespec { tv_sec: limit.tv_sec, tv_nsec: limit.tv_usec * 1000 };
    let arguments = [int(count), read as usize, write as usize, except as usize, &raw mut limit as usize, 0];
    // SAFETY: as the system call.
    let result = unsafe { kernel(libc::SYS_pselect6, arguments) };
    // As Linux: what is left of the time.
    // SAFETY: the caller vouches for the time-out.
    unsafe { *timeout = timeval { tv_sec: limit.tv_sec, tv_usec: limit.tv_nsec / 1000 } };
    raw::to_libc(result) as c_int
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_ends_are_shown_unasked() {
        let nothing = Events::default();
        let ended = Events { hang_up: true, error: true, readable: true, ..nothing };
        assert_eq!(shown(ended, 0), libc::POLLERR | libc::POLLHUP);
        assert_eq!(shown(Events { writable: true, ..nothing }, libc::POLLIN), 0);
        assert_eq!(shown(Events { readable: true, ..nothing }, libc::POLLIN | libc::POLLOUT), libc::POLLIN);
        let half = Events { readable: true, read_hang_up: true, ..nothing };
        assert_eq!(shown(half, libc::POLLIN | libc::POLLRDHUP), libc::POLLIN | libc::POLLRDHUP);
    }
}
