//! The table of descriptors: which are simulated, and which socket each one is.
//!
//! Owns the marks, which are the process's, and [`Descriptors`], which is one world's. Must not know what a
//! socket is. Invariant: a descriptor is marked as a socket exactly while one world's table has it.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::sys::SocketId;

/// What a descriptor is, as far as this layer cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// None of ours.
    None,
    /// The placeholder of a simulated socket.
    Socket,
    /// The placeholder of an end of a simulated pipe.
    Pipe,
    /// An open file of random bytes.
    Entropy,
    /// The placeholder of an `epoll` instance.
    Poller,
    /// An event counter.
    Counter,
}

/// Descriptors from this number on are never simulated: it is the most that Linux gives by default.
const DESCRIPTORS_MAX: usize = 1 << 20;
static MARKS: [AtomicU8; DESCRIPTORS_MAX] = [const { AtomicU8::new(0) }; DESCRIPTORS_MAX];

/// What `fd` is: one load, for any number.
pub(super) fn mark(fd: RawFd) -> Mark {
    match MARKS.get(fd as usize).map_or(0, |mark| mark.load(Ordering::Relaxed)) {
        0 => Mark::None,
        1 => Mark::Socket,
        2 => Mark::Pipe,
        3 => Mark::Entropy,
        4 => Mark::Poller,
        _ => Mark::Counter,
    }
}

impl Mark {
    /// Whether a world's table has the descriptor.
    pub(super) fn is_simulated(self) -> bool {
        matches!(self, Mark::Socket | Mark::Pipe)
    }
}

/// Sets the mark of `fd`; false where the number is too large for one.
pub(super) fn set_mark(fd: RawFd, mark: Mark) -> bool {
    MARKS.get(fd as usize).map(|place| place.store(mark as u8, Ordering::Relaxed)).is_some()
}

/// The simulated descriptors of one world.
#[derive(Default)]
pub(crate) struct Descriptors {
    sockets: BTreeMap<RawFd, SocketId>,
    users: BTreeMap<SocketId, Users>,
}

/// The descriptors of one socket.
#[derive(Default)]
struct Users {
    open: usize,
    /// Those that belong to a value of the mirror; the application has the others.
    held: Vec<RawFd>,
}

impl Descriptors {
    /// The socket that `fd` is.
    pub(super) fn find(&self, fd: RawFd) -> Option<SocketId> {
        self.sockets.get(&fd).copied()
    }

    /// `fd`, which is new, is one of socket `id`'s; false where the number is too large.
    pub(super) fn insert(&mut self, fd: RawFd, id: SocketId, mark: Mark) -> bool {
        if !set_mark(fd, mark) {
            return false;
        }
        self.sockets.insert(fd, id);
        self.users.entry(id).or_default().open += 1;
        true
    }

    /// Forgets `fd`: its socket, and whether that has no other descriptor.
    pub(super) fn remove(&mut self, fd: RawFd) -> Option<(SocketId, bool)> {
        let id = self.sockets.remove(&fd)?;
        set_mark(fd, Mark::None);
        let users = self.users.get_mut(&id).expect("invariant: a descriptor's socket has users");
        users.open -= 1;
        users.held.retain(|held| *held != fd);
        let last = users.open == 0;
        if last {
            self.users.remove(&id);
        }
        Some((id, last))
    }

    /// A descriptor of `id` that the mirror holds.
    pub(super) fn held(&self, id: SocketId) -> Option<RawFd> {
        self.users.get(&id)?.held.first().copied()
    }

    /// The mirror holds `fd` from now on.
    pub(super) fn hold(&mut self, fd: RawFd) -> Option<SocketId> {
        let id = self.find(fd)?;
        self.users.get_mut(&id)?.held.push(fd);
        Some(id)
    }

    /// The application owns `fd` from now on.
    pub(super) fn release(&mut self, fd: RawFd) {
        let users = self.find(fd).and_then(|id| self.users.get_mut(&id));
        if let Some(users) = users {
            users.held.retain(|held| *held != fd);
        }
    }
}

impl Drop for Descriptors {
    /// The world ended. What the mirror held is closed. What the application still owns becomes a plain
    /// kernel socket, unbound: its owner will close it, and must find it open.
    fn drop(&mut self) {
        for fd in self.sockets.keys() {
            set_mark(*fd, Mark::None);
        }
        for fd in self.users.values().flat_map(|users| &users.held) {
            super::fd::close_placeholder(*fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that the process does not use; each test has its own.
    fn numbers(first: RawFd) -> [RawFd; 3] {
        [first, first + 1, first + 2]
    }

    #[test]
    fn a_socket_is_open_until_its_last_descriptor() {
        let [a, b, _] = numbers(900_000);
        let (mut table, id) = (Descriptors::default(), SocketId(7));
        assert!(table.insert(a, id, Mark::Socket) && table.insert(b, id, Mark::Socket));
        assert_eq!((mark(a), table.find(b)), (Mark::Socket, Some(id)));
        assert_eq!(table.remove(a), Some((id, false)));
        assert_eq!(mark(a), Mark::None);
        assert_eq!(table.remove(b), Some((id, true)));
        assert_eq!(table.remove(b), None);
    }

    #[test]
    fn a_held_descriptor_is_found_until_it_is_released() {
        let [a, b, c] = numbers(900_010);
        let (mut table, id) = (Descriptors::default(), SocketId(8));
        assert!(table.insert(a, id, Mark::Socket) && table.insert(b, id, Mark::Socket));
        assert_eq!(table.held(id), None);
        assert_eq!((table.hold(b), table.hold(c)), (Some(id), None));
        assert_eq!(table.held(id), Some(b));
        table.release(b);
        assert_eq!(table.held(id), None);
    }

    #[test]
    fn numbers_out_of_range_are_never_simulated() {
        assert_eq!((mark(-1), mark(RawFd::MAX)), (Mark::None, Mark::None));
        assert!(!Descriptors::default().insert(RawFd::MAX, SocketId(9), Mark::Socket));
    }
}
