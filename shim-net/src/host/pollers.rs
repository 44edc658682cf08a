//! The tables of simulated `epoll` instances and of the world's event counters.
//!
//! Owns [`Pollers`]: who is watched for what, and which edges were shown. Must not know sockets beyond their
//! numbers, nor the kernel. Invariant: a descriptor is marked as a poller or a counter exactly while one
//! world's table has it.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::task::Waker;

use super::table::{self, Mark};
use crate::stack::readiness::Edges;
use crate::sys::SocketId;

/// What an instance watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    Socket(SocketId),
    /// An event counter.
    Counter(u32),
}

/// One entry of an instance's interest list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) fd: RawFd,
    pub(super) target: Target,
    /// As `epoll_ctl` was given them; only the flags are left once a one-shot entry was shown.
    pub(super) events: u32,
    pub(super) data: u64,
    /// The edges up to which everything was shown; `None` where the level decides once more.
    pub(super) seen: Option<Edges>,
}

/// One instance.
#[derive(Default)]
pub(super) struct Poller {
    /// In the order in which they are looked at: what was shown goes to the end.
    pub(super) entries: Vec<Entry>,
    /// How many descriptors of the machine the placeholder watches.
    pub(super) of_kernel: usize,
}

impl Poller {
    pub(super) fn find(&mut self, fd: RawFd, target: Target) -> Option<usize> {
        self.entries.iter().position(|entry| (entry.fd, entry.target) == (fd, target))
    }

    /// Of these entries everything was shown, or is no more.
    pub(super) fn shown(&mut self, looked: &[(Entry, u32)]) {
        for (entry, events) in looked {
            let Some(place) = self.find(entry.fd, entry.target) else { continue };
            self.entries[place].seen = entry.seen;
            if *events != 0 {
                let mut entry = self.entries.remove(place);
                if entry.events & libc::EPOLLONESHOT as u32 != 0 {
                    entry.events &= FLAGS;
                }
                self.entries.push(entry);
            }
        }
    }
}

/// The bits of an entry's events that are no events.
const FLAGS: u32 = (libc::EPOLLET | libc::EPOLLONESHOT | libc::EPOLLWAKEUP | libc::EPOLLEXCLUSIVE) as u32;

/// One event counter. Its value is the kernel's.
#[derive(Default)]
pub(super) struct Counter {
    pub(super) edges: Edges,
}

/// Values that several descriptors may share.
struct Numbered<T> {
    numbers: BTreeMap<RawFd, u32>,
    values: BTreeMap<u32, (usize, T)>,
    last: u32,
}

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered { numbers: BTreeMap::new(), values: BTreeMap::new(), last: 0 }
    }
}

impl<T> Numbered<T> {
    fn insert(&mut self, fd: RawFd, value: T) {
        self.last += 1;
        self.numbers.insert(fd, self.last);
        self.values.insert(self.last, (1, value));
    }

    fn copy(&mut self, fd: RawFd, copy: RawFd) -> bool {
        let Some(key) = self.numbers.get(&fd).copied() else { return false };
        self.numbers.insert(copy, key);
        self.values.get_mut(&key).expect("invariant: a number leads to a value").0 += 1;
        true
    }

    /// Takes `fd` out; its value's key, where nobody else has it.
    fn remove(&mut self, fd: RawFd) -> Option<u32> {
        let key = self.numbers.remove(&fd)?;
        let users = &mut self.values.get_mut(&key).expect("invariant: a number leads to a value").0;
        *users -= 1;
        (*users == 0).then(|| {
            self.values.remove(&key);
            key
        })
    }

    fn get(&mut self, fd: RawFd) -> Option<&mut T> {
        let key = self.numbers.get(&fd)?;
        self.values.get_mut(key).map(|value| &mut value.1)
    }
}

/// The simulated `epoll` instances and event counters of one world.
#[derive(Default)]
pub(crate) struct Pollers {
    pollers: Numbered<Poller>,
    counters: Numbered<Counter>,
    /// Threads that wait for an instance, or for a counter.
    waiting: Vec<Waker>,
}

impl Pollers {
    /// `fd`, which is new, is an instance, or a counter; false where the number is too large.
    pub(super) fn insert(&mut self, fd: RawFd, mark: Mark) -> bool {
        if !table::set_mark(fd, mark) {
            return false;
        }
        if mark == Mark::Poller {
            self.pollers.insert(fd, Poller::default());
        } else {
            self.counters.insert(fd, Counter::default());
        }
        true
    }

    /// `copy` is the same as `fd`.
    pub(super) fn copy(&mut self, fd: RawFd, copy: RawFd) {
        let known = self.pollers.copy(fd, copy) || self.counters.copy(fd, copy);
        if known {
            table::set_mark(copy, table::mark(fd));
        }
    }

    /// `fd` is about to be closed.
    pub(super) fn forget(&mut self, fd: RawFd) {
        self.pollers.remove(fd);
        if let Some(gone) = self.counters.remove(fd) {
            for (_, poller) in self.pollers.values.values_mut() {
                poller.entries.retain(|entry| entry.target != Target::Counter(gone));
            }
        }
    }

    pub(super) fn poller(&mut self, fd: RawFd) -> Option<&mut Poller> {
        self.pollers.get(fd)
    }

    /// The counter that `fd` is.
    pub(super) fn counter_of(&self, fd: RawFd) -> Option<Target> {
        self.counters.numbers.get(&fd).copied().map(Target::Counter)
    }

    /// A counter and one of its descriptors.
    pub(super) fn counter(&self, key: u32) -> Option<(RawFd, &Counter)> {
        let fd = self.counters.numbers.iter().find(|number| *number.1 == key)?.0;
        self.counters.values.get(&key).map(|value| (*fd, &value.1))
    }

    /// Somebody changed a counter's value: an edge for whoever watches it.
    pub(super) fn changed(&mut self, fd: RawFd, wakes: &mut Vec<Waker>) {
        if let Some(counter) = self.counters.get(fd) {
            counter.edges.count(true, true);
        }
        self.look_again(wakes);
    }

    /// Whoever waits looks again.
    pub(super) fn look_again(&mut self, wakes: &mut Vec<Waker>) {
        wakes.append(&mut self.waiting);
    }

    /// A thread waits for news of instances and counters.
    pub(super) fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|other| other.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    /// A thread waits no more; its waker must be dropped when the world is not borrowed.
    pub(super) fn stop_waiting(&mut self, waker: &Waker) -> Vec<Waker> {
        let (own, others) =
            std::mem::take(&mut self.waiting).into_iter().partition(|other| other.will_wake(waker));
        self.waiting = others;
        own
    }
}

impl Drop for Pollers {
    /// The world ended; whoever has the descriptors closes them.
    fn drop(&mut self) {
        for fd in self.pollers.numbers.keys().chain(self.counters.numbers.keys()) {
            table::set_mark(*fd, Mark::None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fd: RawFd, events: u32) -> Entry {
        Entry { fd, target: Target::Counter(fd as u32), events, data: 0, seen: None }
    }

    #[test]
    fn a_copy_keeps_a_counter_and_its_entries() {
        let (a, b, epoll) = (900_100, 900_101, 900_102);
        let mut pollers = Pollers::default();
        assert!(pollers.insert(a, Mark::Counter) && pollers.insert(epoll, Mark::Poller));
        pollers.copy(a, b);
        let target = pollers.counter_of(a).unwrap();
        assert_eq!((pollers.counter_of(b), table::mark(b)), (Some(target), Mark::Counter));
        pollers.poller(epoll).unwrap().entries.push(Entry { target, ..entry(a, 1) });
        pollers.forget(a);
        assert_eq!(pollers.poller(epoll).unwrap().entries.len(), 1);
        pollers.forget(b);
        assert!(pollers.poller(epoll).unwrap().entries.is_empty());
    }

    #[test]
    fn what_was_shown_goes_to_the_end_and_a_one_shot_is_silent() {
        let once = (libc::EPOLLIN | libc::EPOLLONESHOT) as u32;
        let mut poller = Poller { entries: vec![entry(1, once), entry(2, 1)], of_kernel: 0 };
        let looked = [(poller.entries[0], 1)];
        poller.shown(&looked);
        let order: Vec<_> = poller.entries.iter().map(|entry| (entry.fd, entry.events)).collect();
        assert_eq!(order, [(2, 1), (1, libc::EPOLLONESHOT as u32)]);
    }
}
