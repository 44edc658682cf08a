//! The watchdog: a poll that does not return, and a run that does not end, end the process with a report.
//!
//! Owns the record of which task is being polled, and a timer's signal that looks at it. Must not touch the
//! world, allocate, or start a thread: a thread's stack would be mapped at a time of its own, and the
//! addresses of the run would differ. Invariant: what the handler reads is plain numbers, and text that lives
//! for ever.

use std::fmt::Write as _;
use std::panic::Location;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

use super::{clock, raw};

/// Counts polls.
static POLLS: AtomicU64 = AtomicU64::new(0);
/// The task that is being polled; zero between polls.
static POLLED: AtomicU64 = AtomicU64::new(0);
/// Where it was spawned.
static SPAWNED_AT: AtomicPtr<Location<'static>> = AtomicPtr::new(std::ptr::null_mut());

/// How many polls there had been at the last look at which something had changed.
static SEEN_POLLS: AtomicU64 = AtomicU64::new(0);
/// When that was, in nanoseconds of real time.
static SEEN_AT_NS: AtomicU64 = AtomicU64::new(0);
static POLL_LIMIT_NS: AtomicU64 = AtomicU64::new(u64::MAX);
/// When the run must have ended, in nanoseconds of real time.
static END_NS: AtomicU64 = AtomicU64::new(u64::MAX);

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Notes that task `id`, spawned at `location`, is about to be polled.
pub(crate) fn poll_begins(id: u64, location: &'static Location<'static>) {
    SPAWNED_AT.store(std::ptr::from_ref(location).cast_mut(), Ordering::Relaxed);
    POLLED.store(id, Ordering::Relaxed);
    POLLS.store(POLLS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Notes that the poll returned.
pub(crate) fn poll_ends() {
    POLLED.store(0, Ordering::Relaxed);
}

/// Watches this process from now on: one poll may take `poll_limit` of real time, and all of the run
/// `run_limit`. Zero is no limit.
pub(crate) fn start(poll_limit: Duration, run_limit: Duration) {
    let nanos = |limit: Duration| if limit.is_zero() { u64::MAX } else { limit.as_nanos() as u64 };
    let now = now_ns();
    SEEN_AT_NS.store(now, Ordering::Relaxed);
    POLL_LIMIT_NS.store(nanos(poll_limit), Ordering::Relaxed);
    END_NS.store(now.saturating_add(nanos(run_limit)), Ordering::Relaxed);
    static ARMED: Once = Once::new();
    ARMED.call_once(arm);
}

/// The run is over: nothing is watched until the next one begins.
pub(crate) fn stop() {
    POLLED.store(0, Ordering::Relaxed);
    END_NS.store(u64::MAX, Ordering::Relaxed);
}

/// The signal that the watchdog's timer sends.
pub(crate) fn signal_number() -> libc::c_int {
    libc::SIGRTMAX() - 1
}

fn arm() {
    let signal = signal_number();
    // SAFETY: all-zero is a valid action and a valid event; the handler has the type that is asked for, and
    // the structures live for the calls. Where the kernel refuses, there is no watchdog, and nothing else.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = look as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(signal, &action, std::ptr::null_mut());
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = signal;
        let mut timer: libc::timer_t = std::ptr::null_mut();
        if libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) == 0 {
            let every = libc::timespec { tv_sec: 0, tv_nsec: LOOK_EVERY.subsec_nanos().into() };
            let times = libc::itimerspec { it_interval: every, it_value: every };
            libc::timer_settime(timer, 0, &times, std::ptr::null_mut());
        }
    }
}

fn now_ns() -> u64 {
    clock::real_monotonic().as_nanos() as u64
}

extern "C" fn look(_: libc::c_int) {
    let (polls, task, now) = (POLLS.load(Ordering::Relaxed), POLLED.load(Ordering::Relaxed), now_ns());
    if polls != SEEN_POLLS.load(Ordering::Relaxed) || task == 0 {
        SEEN_POLLS.store(polls, Ordering::Relaxed);
        SEEN_AT_NS.store(now, Ordering::Relaxed);
    } else if now.saturating_sub(SEEN_AT_NS.load(Ordering::Relaxed)) >= POLL_LIMIT_NS.load(Ordering::Relaxed)
    {
        end("a poll did not return", "its poll takes too much real time (SIM_POLL_LIMIT_SECS)");
    }
    if now >= END_NS.load(Ordering::Relaxed) {
        end("the run takes too much real time (SIM_REAL_LIMIT_SECS)", "was polled last");
    }
}

/// Text on the stack.
struct Text {
    bytes: [u8; 1024],
    length: usize,
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.len() - self.length;
        let taken = text.len().min(room);
        self.bytes[self.length..self.length + taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        Ok(())
    }
}

fn end(headline: &str, what: &str) -> ! {
    // SAFETY: the pointer was made from a `&'static Location`.
    let location = unsafe { SPAWNED_AT.load(Ordering::Relaxed).as_ref() };
    let mut text = Text { bytes: [0; 1024], length: 0 };
    let _ = write!(text, "simulation: {headline}\n  task {}", POLLED.load(Ordering::Relaxed));
    if let Some(location) = location {
        let _ = write!(text, ", spawned at {location}");
    }
    let _ = writeln!(text, ": {what}; polls so far: {}", POLLS.load(Ordering::Relaxed));
    // SAFETY: the bytes are valid for their length.
    unsafe {
        raw::syscall6(libc::SYS_write, 2, text.bytes.as_ptr() as usize, text.length, 0, 0, 0);
    }
    super::process::exit_now(crate::sweep::EXIT_STUCK);
}
