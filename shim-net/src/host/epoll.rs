//! `epoll`: several simulated sockets and event counters, waited for by one thread.
//!
//! Owns the symbols, and what an instance shows. Must not know what made a socket ready. Invariants: an
//! instance watches the world's descriptors or the machine's, never both; a wait for the world's is in virtual time.
//!
//! tokio's own reactor does not come here (`sys::reactor`); whoever has an event loop of its own does: mio, and with
//! it actix. The placeholder is a real instance, which watches the descriptors of the machine if there are any.

use std::io;
use std::os::fd::RawFd;
use std::task::Waker;
use std::time::Duration;

use libc::{c_int, c_short, epoll_event, sigset_t};
use real::io::Interest;
use shim_runtime::host::raw;
use shim_runtime::runtime::is_reachable;
use shim_runtime::{device, threads};

use super::pollers::{Entry, Poller, Target};
use super::table::{self, Mark};
use super::{Owner, adopt, eventfd, fail, int, kernel, loud, owner, poll, refuse, to_libc};
use crate::error::Errno;
use crate::net::Net;
use crate::stack::readiness::{Edges, interest_mask};
use crate::sys;

/// The size of the kernel's set of signals.
const KERNEL_MASK_BYTES: usize = 8;
/// Events at most of one look.
const EVENTS_MAX: usize = 4096;

/// `epoll_create1(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn epoll_create1(flags: c_int) -> c_int {
    // SAFETY: the call has no pointers.
    let made = raw::to_libc(unsafe { kernel(libc::SYS_epoll_create1, [int(flags)]) }) as c_int;
    if made >= 0 && is_reachable() {
        device::with::<Net, _>(|net, _| net.pollers.insert(made, Mark::Poller));
    }
    made
}

/// `epoll_create(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn epoll_create(size: c_int) -> c_int {
    if size <= 0 { fail(libc::EINVAL) as c_int } else { epoll_create1(0) }
}

/// `fd` is about to be closed.
pub(super) fn forget(fd: RawFd) {
    device::try_with::<Net, _>(|net, _| net.pollers.forget(fd));
}

/// The kernel copied `fd`, an instance or a counter.
pub(super) fn copied(fd: RawFd, copy: RawFd) {
    device::try_with::<Net, _>(|net, _| net.pollers.copy(fd, copy));
}

/// `epoll_ctl(2)`.
///
/// # Safety
/// `event` must be null, or valid to read.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn epoll_ctl(
    epoll: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut epoll_event,
) -> c_int {
    if let Some(target) = target(epoll, fd) {
        // SAFETY: the caller vouches for the event.
        let event = unsafe { event.as_ref() }.copied();
        return to_libc(change(epoll, operation, (fd, target), event)) as c_int;
    }
    if watches(epoll, |poller| !poller.entries.is_empty()) == Some(true) {
        loud("epoll_ctl: simulated sockets together with other descriptors");
        return fail(libc::EPERM) as c_int;
    }
    let arguments = [int(epoll), int(operation), int(fd), event as usize];
    // SAFETY: as the system call.
    let result = unsafe { kernel(libc::SYS_epoll_ctl, arguments) };
    if result == 0 {
        watches(epoll, |poller| match operation {
            libc::EPOLL_CTL_ADD => poller.of_kernel += 1,
            libc::EPOLL_CTL_DEL => poller.of_kernel = poller.of_kernel.saturating_sub(1),
            _ => {}
        });
    }
    raw::to_libc(result) as c_int
}

/// What of the world `fd` is. A socket from outside that joins others of the world comes into it.
fn target(epoll: c_int, fd: RawFd) -> Option<Target> {
    match owner(fd) {
        Owner::World(id) => Some(Target::Socket(id)),
        Owner::Elsewhere => None,
        Owner::Kernel => eventfd::target(fd).or_else(|| {
            let joins = watches(epoll, |poller| !poller.entries.is_empty()) == Some(true);
            joins.then(|| adopt::adopt(fd).ok()).flatten().map(Target::Socket)
        }),
    }
}

/// Asks the instance that `epoll` is, where it is one of this world.
fn watches<R>(epoll: c_int, ask: impl FnOnce(&mut Poller) -> R) -> Option<R> {
    if table::mark(epoll) != Mark::Poller {
        return None;
    }
    device::try_with::<Net, _>(|net, _| net.pollers.poller(epoll).map(ask)).flatten()
}

/// Changes the interest list of an instance.
fn change(
    epoll: c_int,
    operation: c_int,
    (fd, target): (RawFd, Target),
    event: Option<epoll_event>,
) -> io::Result<isize> {
    let changed = watches(epoll, |poller| {
        if poller.of_kernel > 0 {
            loud("epoll_ctl: simulated sockets together with other descriptors");
            return refuse(Errno::EPERM);
        }
        let place = poller.find(fd, target);
        if operation == libc::EPOLL_CTL_DEL {
            let Some(place) = place else { return Err(io::Error::from_raw_os_error(libc::ENOENT)) };
            poller.entries.remove(place);
            return Ok(0);
        }
        let Some(event) = event else { return Err(io::Error::from_raw_os_error(libc::EFAULT)) };
        let entry = Entry { fd, target, events: event.events, data: event.u64, seen: None };
        match (operation, place) {
            (libc::EPOLL_CTL_ADD, None) => poller.entries.push(entry),
            (libc::EPOLL_CTL_ADD, Some(_)) => return Err(io::Error::from_raw_os_error(libc::EEXIST)),
            (libc::EPOLL_CTL_MOD, Some(place)) => poller.entries[place] = entry,
            (libc::EPOLL_CTL_MOD, None) => return Err(io::Error::from_raw_os_error(libc::ENOENT)),
            _ => return refuse(Errno::EINVAL),
        }
        Ok(0)
    });
    let changed = changed.unwrap_or_else(|| {
        loud("epoll_ctl: a simulated socket, in an instance that is not its simulation's");
        refuse(Errno::EPERM)
    });
    // Another thread may be waiting already.
    device::try_with::<Net, _>(|net, cx| net.pollers.look_again(cx.wakes));
    changed
}

/// What an entry is for.
fn interest(entry: &Entry) -> Interest {
    poll::interest(entry.events as c_short)
}

/// The bits to show of `entry`, and the edges that this was about; `None` where its target is gone.
fn look_at(entry: &Entry) -> Option<(u32, Edges)> {
    let (now, edges) = match entry.target {
        Target::Socket(id) => sys::events_and_edges(id).ok()?,
        Target::Counter(key) => eventfd::events_and_edges(key)?,
    };
    // An entry without interest is still shown errors and ends, which both directions tell of.
    let wants = interest(entry);
    let any = !(wants.is_readable() || wants.is_writable());
    let edges = Edges {
        read: if any || wants.is_readable() { edges.read } else { 0 },
        write: if any || wants.is_writable() { edges.write } else { 0 },
    };
    let silent = entry.events & !((libc::EPOLLONESHOT | libc::EPOLLET) as u32) == 0
        && entry.events & libc::EPOLLONESHOT as u32 != 0;
    let old = entry.events & libc::EPOLLET as u32 != 0 && entry.seen == Some(edges);
    let shown = if silent || old { 0 } else { poll::shown(now, entry.events as c_short) };
    Some((u32::from(shown as u16), edges))
}

/// What an instance shows now, at most `most` events; it is shown only once where edges are asked for.
fn look(epoll: c_int, most: usize) -> Vec<epoll_event> {
    let entries = watches(epoll, |poller| poller.entries.clone()).unwrap_or_default();
    let (mut found, mut looked) = (Vec::new(), Vec::new());
    for mut entry in entries {
        if found.len() == most {
            break;
        }
        let Some((events, edges)) = look_at(&entry) else { continue };
        if events != 0 {
            found.push(epoll_event { events, u64: entry.data });
        }
        entry.seen = Some(edges);
        looked.push((entry, events));
    }
    watches(epoll, |poller| poller.shown(&looked));
    found
}

/// Waits until the instance shows something.
fn wait(epoll: c_int, most: usize, timeout: Option<Duration>) -> Vec<epoll_event> {
    let found = look(epoll, most);
    if !found.is_empty() || timeout == Some(Duration::ZERO) {
        return found;
    }
    let (mut left_behind, mut sockets): (Option<Waker>, Vec<_>) = (None, Vec::new());
    let ended = threads::block_on_waker("epoll_wait", timeout, |waker| {
        let found = look(epoll, most);
        if !found.is_empty() {
            return Some(found);
        }
        left_behind = Some(waker.clone());
        device::try_with::<Net, _>(|net, _| net.pollers.wait(waker));
        for entry in watches(epoll, |poller| poller.entries.clone()).unwrap_or_default() {
            if let Target::Socket(id) = entry.target {
                drop(sys::wait_in_thread(id, interest_mask(interest(&entry)), waker));
                sockets.push(id);
            }
        }
        None
    });
    if let Some(waker) = left_behind {
        sockets.sort_unstable();
        sockets.dedup();
        sockets.iter().for_each(|id| sys::forget(*id, &waker));
        drop(device::try_with::<Net, _>(|net, _| net.pollers.stop_waiting(&waker)));
    }
    ended.unwrap_or_default()
}

/// Answers a wait in a simulation; `None` where the kernel must.
///
/// # Safety
/// `events` must be valid to write for `most` entries.
unsafe fn answer(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: Option<Duration>,
) -> Option<c_int> {
    if watches(epoll, |poller| poller.of_kernel > 0)? {
        return None;
    }
    if most <= 0 {
        return Some(fail(libc::EINVAL) as c_int);
    }
    let found = wait(epoll, (most as usize).min(EVENTS_MAX), timeout);
    for (place, event) in found.iter().enumerate() {
        // SAFETY: the caller vouches for the entries, of which there are not more than it said.
        unsafe { events.add(place).write_unaligned(*event) };
    }
    Some(found.len() as c_int)
}

/// `epoll_wait(2)`.
///
/// # Safety
/// `events` must be valid to write for `most` entries.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn epoll_wait(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout_millis: c_int,
) -> c_int {
    // SAFETY: as this call.
    unsafe { epoll_pwait(epoll, events, most, timeout_millis, std::ptr::null()) }
}

/// `epoll_pwait(2)`. A simulated wait is never interrupted, so that the mask means nothing to it.
///
/// # Safety
/// As [`epoll_wait`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn epoll_pwait(
    epoll: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout_millis: c_int,
    mask: *const sigset_t,
) -> c_int {
    let timeout = u64::try_from(timeout_millis).ok().map(Duration::from_millis);
    // SAFETY: as this call.
    if let Some(result) = unsafe { answer(epoll, events, most, timeout) } {
        return result;
    }
    let arguments =
        [int(epoll), events as usize, int(most), int(timeout_millis), mask as usize, KERNEL_MASK_BYTES];
    // SAFETY: as the system call.
    raw::to_libc(unsafe { kernel(libc::SYS_epoll_pwait, arguments) }) as c_int
}
