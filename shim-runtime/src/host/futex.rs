//! `futex(2)` for the threads of a world: `Mutex`, `Condvar`, `park`, and what parking_lot makes of them.
//!
//! Owns who waits at which address. Must not know locks. Invariants: a thread of the world that waits gives
//! the baton away; a time-out is virtual.
//!
//! Of the threads of a world only one runs at a time, so that a wait can only end by another thread's wake,
//! or by its time-out. Threads that the scheduler does not control wake through the kernel: the engine's
//! wait is then noticed by the word's change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;
use std::time::Duration;

use libc::timespec;

use super::raw;
use crate::clock::SimTime;
use crate::context::{self, Shared, Wait};
use crate::scheduler::Event;
use crate::threads;

/// Who waits at which address.
#[derive(Default)]
pub(crate) struct Futexes {
    waiting: BTreeMap<usize, Vec<Waiter>>,
    next: u64,
}

struct Waiter {
    number: u64,
    mask: u32,
    /// What the word held when the wait began.
    value: u32,
    waker: Waker,
}

impl Futexes {
    fn add(&mut self, address: usize, mask: u32, value: u32, waker: &Waker) -> u64 {
        self.next += 1;
        let waiter = Waiter { number: self.next, mask, value, waker: waker.clone() };
        self.waiting.entry(address).or_default().push(waiter);
        self.next
    }

    /// Who waits at a word that has changed: a thread that the scheduler does not control did it.
    pub(crate) fn changed(&self) -> Vec<Waker> {
        let mut changed = Vec::new();
        for (address, waiters) in &self.waiting {
            // SAFETY: a thread waits at this word in a call that has not returned, so the word is still there.
            let word = unsafe { &*(*address as *const AtomicU32) }.load(Ordering::SeqCst);
            changed.extend(waiters.iter().filter(|waiter| waiter.value != word).map(|w| w.waker.clone()));
        }
        changed
    }

    fn is_waiting(&self, address: usize, number: u64) -> bool {
        self.waiting.get(&address).is_some_and(|waiters| waiters.iter().any(|waiter| waiter.number == number))
    }

    fn remove(&mut self, address: usize, number: u64) -> Option<Waker> {
        let waiters = self.waiting.get_mut(&address)?;
        let place = waiters.iter().position(|waiter| waiter.number == number)?;
        let waiter = waiters.remove(place);
        if waiters.is_empty() {
            self.waiting.remove(&address);
        }
        Some(waiter.waker)
    }

    fn take(&mut self, address: usize, count: usize, mask: u32) -> Vec<Waker> {
        let Some(waiters) = self.waiting.get_mut(&address) else { return Vec::new() };
        let mut taken = Vec::new();
        while taken.len() < count {
            let Some(place) = waiters.iter().position(|waiter| waiter.mask & mask != 0) else { break };
            taken.push(waiters.remove(place).waker);
        }
        if waiters.is_empty() {
            self.waiting.remove(&address);
        }
        taken
    }
}

/// The world's answer to a `futex` call: a result as the kernel gives it; `None` for operations that are the
/// kernel's.
///
/// # Safety
/// As the system call: `address` is a valid futex word, `timeout` null or valid.
pub(crate) unsafe fn answer(
    address: usize,
    operation: usize,
    value: usize,
    timeout: usize,
    mask: usize,
) -> Option<isize> {
    let shared = context::run_of_thread()?;
    // The engine's own locks are never contended; if a foreign thread holds one, the kernel must wait.
    if shared.world.try_borrow().is_err() {
        return None;
    }
    let operation = operation as i32;
    let command = operation & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
    let mask = match command {
        libc::FUTEX_WAIT_BITSET | libc::FUTEX_WAKE_BITSET => mask as u32,
        _ => u32::MAX,
    };
    match command {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
            // SAFETY: the caller vouches for the word and the time-out.
            let (word, timeout) =
                unsafe { (&*(address as *const AtomicU32), (timeout as *const timespec).as_ref()) };
            let deadline = timeout.map(|timeout| deadline(&shared, command, operation, timeout));
            Some(wait(&shared, word, value as u32, deadline, mask))
        }
        libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET => {
            let wakers = shared.with(|world| world.futexes.take(address, value, mask));
            let count = wakers.len();
            wakers.into_iter().for_each(Waker::wake);
            if count >= value {
                return Some(count as isize);
            }
            // SAFETY: as the caller's call; it wakes threads that are not the world's.
            let others = unsafe {
                raw::syscall6(
                    libc::SYS_futex,
                    address,
                    operation as usize,
                    value - count,
                    0,
                    0,
                    mask as usize,
                )
            };
            Some(count as isize + others.max(0))
        }
        _ => None,
    }
}

fn deadline(shared: &Shared, command: i32, operation: i32, timeout: &timespec) -> SimTime {
    let asked = Duration::new(timeout.tv_sec.max(0) as u64, timeout.tv_nsec as u32);
    if command == libc::FUTEX_WAIT {
        return shared.now.get() + asked;
    }
    let base = if operation & libc::FUTEX_CLOCK_REALTIME != 0 {
        shared.wall_base_ns
    } else {
        shared.monotonic_base_ns
    };
    SimTime(u64::try_from(asked.as_nanos()).unwrap_or(u64::MAX).saturating_sub(base))
}

fn wait(shared: &Arc<Shared>, word: &AtomicU32, value: u32, deadline: Option<SimTime>, mask: u32) -> isize {
    // A waiter that is dead must not take a wake from one that lives: nodes share what is in a `static`.
    threads::wait_tidily(|must_end| wait_at(shared, word, (value, mask), deadline, must_end))
}

fn wait_at(
    shared: &Arc<Shared>,
    word: &AtomicU32,
    (value, mask): (u32, u32),
    deadline: Option<SimTime>,
    must_end: &dyn Fn() -> bool,
) -> isize {
    if word.load(Ordering::SeqCst) != value {
        return -(libc::EAGAIN as isize);
    }
    let address = word.as_ptr() as usize;
    let mut own: Option<u64> = None;
    let mut timer = None;
    let result = threads::block(shared, Wait::Blocked("a lock or a wait of a thread"), false, |waker| {
        let Some(number) = own else {
            if must_end() {
                return Some(-(libc::EINTR as isize));
            }
            own = Some(shared.with(|world| world.futexes.add(address, mask, value, waker)));
            if let Some(at) = deadline {
                timer = Some(shared.with(|world| world.queue.push(at, Event::Timer(waker.clone()))));
            }
            return None;
        };
        if !shared.with(|world| world.futexes.is_waiting(address, number)) {
            return Some(0);
        }
        if must_end() {
            return Some(-(libc::EINTR as isize));
        }
        if deadline.is_some_and(|at| shared.now.get() >= at) {
            return Some(-(libc::ETIMEDOUT as isize));
        }
        // A thread that the scheduler does not control may have changed the word.
        if word.load(Ordering::SeqCst) != value { Some(0) } else { None }
    });
    let left = shared.with(|world| {
        let waker = own.and_then(|number| world.futexes.remove(address, number));
        (waker, timer.and_then(|timer| world.queue.cancel(timer)))
    });
    drop(left);
    result
}
