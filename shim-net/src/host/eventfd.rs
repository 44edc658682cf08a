//! `eventfd`: counters that threads of the world wake each other with, mostly out of `epoll_wait`.
//!
//! Owns the symbol, and how a read waits. Must not know who watches. Invariant: a counter is a real one of the
//! kernel, never waited for there; the world only learns that its value changed.

use std::os::fd::RawFd;

use libc::{c_int, c_uint};
use shim_runtime::host::raw;
use shim_runtime::runtime::is_reachable;
use shim_runtime::{device, threads};

use super::pollers::Target;
use super::table::{self, Mark};
use super::wait::is_nonblocking;
use super::{int, kernel};
use crate::net::Net;
use crate::stack::readiness::{Edges, Events};

/// `eventfd(2)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn eventfd(value: c_uint, flags: c_int) -> c_int {
    // SAFETY: the call has no pointers.
    let made = raw::to_libc(unsafe { kernel(libc::SYS_eventfd2, [value as usize, int(flags)]) }) as c_int;
    if made >= 0 && is_reachable() {
        device::with::<Net, _>(|net, _| net.pollers.insert(made, Mark::Counter));
    }
    made
}

/// The counter that `fd` is, where it is one of this world.
pub(super) fn target(fd: RawFd) -> Option<Target> {
    if table::mark(fd) != Mark::Counter {
        return None;
    }
    device::try_with::<Net, _>(|net, _| net.pollers.counter_of(fd)).flatten()
}

/// What `poll(2)` shows of a counter, and how often it was changed.
pub(super) fn events_and_edges(key: u32) -> Option<(Events, Edges)> {
    let (fd, edges) =
        device::try_with::<Net, _>(|net, _| net.pollers.counter(key).map(|(fd, of)| (fd, of.edges)))??;
    Some((events(fd), edges))
}

/// What the kernel shows of a descriptor at this moment.
pub(super) fn events(fd: RawFd) -> Events {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let arguments = [&raw mut entry as usize, 1, &raw const now as usize, 0, 0];
    // SAFETY: the entry and the time are valid.
    unsafe { kernel(libc::SYS_ppoll, arguments) };
    let shown = |bit| entry.revents & bit != 0;
    Events {
        readable: shown(libc::POLLIN),
        writable: shown(libc::POLLOUT),
        error: shown(libc::POLLERR),
        ..Events::default()
    }
}

/// `read(2)` of the counter `fd`.
pub(super) fn read(fd: RawFd, real: impl FnOnce() -> isize) -> isize {
    if target(fd).is_some() && !is_nonblocking(fd) && !events(fd).readable {
        threads::block_on_waker("read of an eventfd", None, |waker| {
            if events(fd).readable {
                return Some(());
            }
            device::try_with::<Net, _>(|net, _| net.pollers.wait(waker));
            None
        });
    }
    changed(fd, real())
}

/// `write(2)` of the counter `fd`.
pub(super) fn write(fd: RawFd, real: impl FnOnce() -> isize) -> isize {
    changed(fd, real())
}

/// A call that changes the counter where it succeeds.
fn changed(fd: RawFd, result: isize) -> isize {
    if result > 0 {
        device::try_with::<Net, _>(|net, cx| net.pollers.changed(fd, cx.wakes));
    }
    result
}
