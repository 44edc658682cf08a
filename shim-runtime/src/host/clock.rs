//! The clocks of the host: `clock_gettime`, `gettimeofday`, `time`, `nanosleep`, `clock_nanosleep`.
//!
//! Owns what a program sees as time and how a thread sleeps. Must not know tokio's timers. Invariant: inside
//! a simulation every clock shows the one virtual time, and reading it without end moves it on.

use std::time::Duration;

use libc::{c_int, c_long, clockid_t, time_t, timespec, timeval};

use super::raw;
use crate::clock::SimTime;
use crate::context::{self, Shared, Wait};
use crate::scheduler::Event;
use crate::threads;

/// Reads of the clock between two steps that cost nothing, so that a log line more or less does not change
/// a run.
const FREE_READS: u64 = 64;
/// What each read costs after those: a program that spins on the clock sees it move.
const READ_COST_NS: u64 = 1_000;
const NANOS: u64 = 1_000_000_000;

/// Notes a read of the clock and tells the time.
pub(crate) fn read(shared: &Shared) -> SimTime {
    let reads = shared.clock_reads.get() + 1;
    shared.clock_reads.set(reads);
    if reads > FREE_READS {
        shared.now.set(SimTime(shared.now.get().0.saturating_add(READ_COST_NS)));
    }
    shared.now.get()
}

/// What `clock` shows inside a simulation, in nanoseconds; `None` for clocks that measure the processor.
fn shown(shared: &Shared, clock: clockid_t) -> Option<u64> {
    let now = read(shared).nanos();
    match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => {
            Some((shared.wall_base_ns + now).saturating_add_signed(wall_offset_ns(shared)))
        }
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_BOOTTIME => Some(shared.monotonic_base_ns + now),
        // Time on the processor: a deterministic machine has spent what the world's clock shows.
        libc::CLOCK_PROCESS_CPUTIME_ID | libc::CLOCK_THREAD_CPUTIME_ID => Some(now),
        _ => None,
    }
}

fn wall_offset_ns(shared: &Shared) -> i64 {
    let node = shared.current.get().node;
    shared
        .world
        .try_borrow()
        .ok()
        .and_then(|world| {
            let machine = world.nodes.get(node.0 as usize)?.machine;
            Some(world.node(machine).wall_offset_ns)
        })
        .unwrap_or(0)
}

/// What the clocks of a run of loose runtimes begin with: the real ones.
pub(crate) fn real_bases_ns() -> (u64, u64) {
    let real = |clock| real_time(clock).as_nanos() as u64;
    (real(libc::CLOCK_MONOTONIC), real(libc::CLOCK_REALTIME))
}

/// `clock_gettime(2)`.
///
/// # Safety
/// `out` must be valid to write, as for the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(clock: clockid_t, out: *mut timespec) -> c_int {
    let nanos = context::try_with_run(|shared| shown(shared, clock)).flatten();
    if let Some(nanos) = nanos {
        // SAFETY: the caller vouches for `out`.
        unsafe {
            (*out).tv_sec = (nanos / NANOS) as time_t;
            (*out).tv_nsec = (nanos % NANOS) as c_long;
        }
        return 0;
    }
    // SAFETY: as the system call.
    raw::to_libc(unsafe { real_clock_gettime(clock, out) }) as c_int
}

/// The real clock: by the kernel's fast page where there is one, else by the system call.
unsafe fn real_clock_gettime(clock: clockid_t, out: *mut timespec) -> isize {
    // SAFETY: as the system call.
    unsafe { raw::syscall6(libc::SYS_clock_gettime, clock as usize, out as usize, 0, 0, 0, 0) }
}

/// The real monotonic clock, for limits on real time.
pub(crate) fn real_monotonic() -> Duration {
    real_time(libc::CLOCK_MONOTONIC)
}

fn real_time(clock: clockid_t) -> Duration {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid to write.
    unsafe { real_clock_gettime(clock, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// `gettimeofday(2)`.
///
/// # Safety
/// `out` must be valid to write or null, as for the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn gettimeofday(out: *mut timeval, zone: *mut libc::c_void) -> c_int {
    let shown = context::try_with_run(|shared| shown(shared, libc::CLOCK_REALTIME)).flatten();
    let Some(nanos) = shown else {
        // SAFETY: as the system call.
        let result =
            unsafe { raw::syscall6(libc::SYS_gettimeofday, out as usize, zone as usize, 0, 0, 0, 0) };
        return raw::to_libc(result) as c_int;
    };
    if !out.is_null() {
        // SAFETY: the caller vouches for `out`.
        unsafe {
            (*out).tv_sec = (nanos / NANOS) as time_t;
            (*out).tv_usec = (nanos % NANOS / 1_000) as libc::suseconds_t;
        }
    }
    0
}

/// `time(2)`.
///
/// # Safety
/// `out` must be valid to write or null.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn time(out: *mut time_t) -> time_t {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid to write.
    unsafe { clock_gettime(libc::CLOCK_REALTIME, &mut now) };
    if !out.is_null() {
        // SAFETY: the caller vouches for `out`.
        unsafe { *out = now.tv_sec };
    }
    now.tv_sec
}

/// `nanosleep(2)`.
///
/// # Safety
/// As for the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn nanosleep(request: *const timespec, remain: *mut timespec) -> c_int {
    // SAFETY: as the system call.
    let errno = unsafe { clock_nanosleep(libc::CLOCK_MONOTONIC, 0, request, remain) };
    if errno != 0 {
        raw::set_errno(errno);
        return -1;
    }
    0
}

/// `clock_nanosleep(2)`: returns the error instead of setting `errno`.
///
/// # Safety
/// As for the system call.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    request: *const timespec,
    remain: *mut timespec,
) -> c_int {
    if let Some(shared) = context::run_of_thread() {
        // SAFETY: the caller vouches for `request`.
        let request = unsafe { *request };
        if request.tv_sec < 0 || !(0..NANOS as c_long).contains(&request.tv_nsec) {
            return libc::EINVAL;
        }
        let asked = request.tv_sec as u64 * NANOS + request.tv_nsec as u64;
        let now = shared.now.get();
        let at = if flags & libc::TIMER_ABSTIME == 0 {
            now + Duration::from_nanos(asked)
        } else {
            let base =
                if clock == libc::CLOCK_REALTIME { shared.wall_base_ns } else { shared.monotonic_base_ns };
            SimTime(asked.saturating_sub(base))
        };
        sleep_until(&shared, at);
        return 0;
    }
    // SAFETY: as the system call.
    let result = unsafe {
        raw::syscall6(
            libc::SYS_clock_nanosleep,
            clock as usize,
            flags as usize,
            request as usize,
            remain as usize,
            0,
            0,
        )
    };
    -result as c_int
}

/// The calling thread sleeps until `at`; others go on.
fn sleep_until(shared: &std::sync::Arc<Shared>, at: SimTime) {
    threads::block(shared, Wait::Timer(at), false, |waker| {
        if shared.now.get() >= at {
            return Some(());
        }
        shared.with(|world| world.queue.push(at, Event::Timer(waker.clone())));
        None
    });
}

/// `sched_yield(2)`: whatever is ready goes first.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn sched_yield() -> c_int {
    let Some(shared) = context::run_of_thread().filter(|shared| shared.world.try_borrow().is_ok()) else {
        // SAFETY: the call has no arguments.
        return raw::to_libc(unsafe { raw::syscall6(libc::SYS_sched_yield, 0, 0, 0, 0, 0, 0) }) as c_int;
    };
    let mut yielded = false;
    threads::block(&shared, Wait::Blocked("sched_yield"), false, |waker| {
        if std::mem::replace(&mut yielded, true) {
            return Some(());
        }
        waker.wake_by_ref();
        None
    });
    0
}
