//! Who waits for a socket, and what each of them was told: the reactor's half of a socket.
//!
//! Owns [`Events`], [`Registration`] and [`Waiters`]. Must not know protocols. Invariants: a registration learns
//! of an event at the next turn of the reactor, which is between two polls, never inside one; what it was told
//! stays told until an operation says that it would block.
//!
//! This is epoll with edges as tokio uses it. An event on a socket marks each registration that is interested in
//! it; at the turn the marked ones are told everything that the socket is ready for at that moment. Threads that
//! wait in a system call look at the level instead, and are woken at once.

use std::task::Waker;

use real::io::{Interest, Ready};

use super::socket::{Effects, SocketId};

/// What `poll(2)` would show.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Events {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// Urgent data.
    pub(crate) priority: bool,
    /// The peer sends no more, or reading was shut down.
    pub(crate) read_hang_up: bool,
    /// Both directions are over.
    pub(crate) hang_up: bool,
    pub(crate) error: bool,
}

impl Events {
    /// As mio and tokio put them: errors and ends are shown unasked.
    pub(crate) fn ready_for(self, interest: Interest) -> Ready {
        let readable = self.readable && interest.is_readable();
        let writable = self.writable && interest.is_writable();
        let priority = self.priority && interest.is_priority();
        let read_hang_up = self.read_hang_up && interest.is_readable();
        let only_error = self.error && !(readable || writable || priority || read_hang_up || self.hang_up);
        let bit = |is_set: bool, bit: Ready| if is_set { bit } else { Ready::EMPTY };
        bit(readable || priority, Ready::READABLE)
            | bit(writable, Ready::WRITABLE)
            | bit(self.hang_up || (readable && read_hang_up), Ready::READ_CLOSED)
            | bit(self.hang_up || (writable && self.error) || only_error, Ready::WRITE_CLOSED)
            | bit(priority, Ready::PRIORITY)
            | bit(self.error, Ready::ERROR)
    }
}

/// How many events there were so far, of each direction: who remembers a number knows whether there was news.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Edges {
    pub(crate) read: u64,
    pub(crate) write: u64,
}

impl Edges {
    /// There was an event.
    pub(crate) fn count(&mut self, reading: bool, writing: bool) {
        self.read += u64::from(reading);
        self.write += u64::from(writing);
    }
}

/// The readiness bits that satisfy `interest`.
pub(crate) fn interest_mask(interest: Interest) -> Ready {
    let mut mask = Ready::EMPTY;
    if interest.is_readable() {
        mask |= Ready::READABLE | Ready::READ_CLOSED;
    }
    if interest.is_writable() {
        mask |= Ready::WRITABLE | Ready::WRITE_CLOSED;
    }
    if interest.is_priority() {
        mask |= Ready::PRIORITY | Ready::READ_CLOSED;
    }
    if interest.is_error() {
        mask |= Ready::ERROR;
    }
    mask
}

/// Whose waker a `poll_*` call stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// The direction's one slot: the last waker wins, as tokio documents for its `poll_*` functions.
    Slot,
    /// The list: every waker is kept until it is called, as for tokio's `async` functions.
    List,
}

/// What a registration was told so far, and of which turn that is.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The part that was asked for.
    pub ready: Ready,
    pub(crate) tick: u64,
    /// Whether the registration's runtime has ended.
    pub is_shut_down: bool,
}

impl Told {
    /// The same news, of other bits.
    pub(crate) fn with(self, ready: Ready) -> Told {
        Told { ready, ..self }
    }
}

/// One value of `tokio::net`, or one `AsyncFd`, that is told of a socket's events.
pub(crate) struct Registration {
    pub(crate) key: u32,
    runtime: u64,
    interest: Interest,
    told: Ready,
    tick: u64,
    is_shut_down: bool,
    /// Whether something happened since the last turn.
    pub(crate) marked: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    list: Vec<(Ready, Waker)>,
}

impl Registration {
    /// What was told of `mask`.
    pub(crate) fn told(&self, mask: Ready) -> Told {
        Told { ready: self.told & mask, tick: self.tick, is_shut_down: self.is_shut_down }
    }

    /// An operation on what `told` says would block. Does nothing where there was news meanwhile; ends stay.
    pub(crate) fn clear(&mut self, told: Told) {
        if told.tick == self.tick {
            self.told = self.told - (told.ready - Ready::READ_CLOSED - Ready::WRITE_CLOSED);
        }
    }

    /// Stores `waker` for the bits of `mask`. Gives back a waker that was displaced: its destructor may
    /// run foreign code, so it must be dropped when the world is not borrowed.
    pub(crate) fn wait(&mut self, mask: Ready, wait: Wait, waker: &Waker) -> Option<Waker> {
        if wait == Wait::List {
            return listed(&mut self.list, mask, waker);
        }
        let slot = if mask.is_readable() { &mut self.reader } else { &mut self.writer };
        match slot {
            Some(stored) if stored.will_wake(waker) => None,
            _ => slot.replace(waker.clone()),
        }
    }

    /// Whether the reactor was asked for something of `events`: epoll passes over other ones.
    fn wants(&self, events: Ready) -> bool {
        let always = Ready::ERROR | Ready::READ_CLOSED | Ready::WRITE_CLOSED;
        !(events & (interest_mask(self.interest) | always)).is_empty()
    }

    /// The reactor's turn: tells what the socket is ready for.
    pub(crate) fn turn(&mut self, events: Events, fx: &mut Effects) {
        self.marked = false;
        let ready = events.ready_for(self.interest);
        if !ready.is_empty() {
            self.told |= ready;
            self.tick += 1;
            self.wake(ready, fx);
        }
    }

    fn wake(&mut self, ready: Ready, fx: &mut Effects) {
        if !(ready & interest_mask(Interest::READABLE)).is_empty() {
            fx.wakes.extend(self.reader.take());
        }
        if !(ready & interest_mask(Interest::WRITABLE)).is_empty() {
            fx.wakes.extend(self.writer.take());
        }
        wake_listed(&mut self.list, ready, fx);
    }
}

fn listed(list: &mut Vec<(Ready, Waker)>, mask: Ready, waker: &Waker) -> Option<Waker> {
    if !list.iter().any(|(other, listed)| *other == mask && listed.will_wake(waker)) {
        list.push((mask, waker.clone()));
    }
    None
}

fn wake_listed(list: &mut Vec<(Ready, Waker)>, ready: Ready, fx: &mut Effects) {
    take_listed(list, |entry| !(entry.0 & ready).is_empty(), &mut fx.wakes);
}

/// Moves the wakers that are `chosen` from `list` to `to`, in their order.
fn take_listed(
    list: &mut Vec<(Ready, Waker)>,
    chosen: impl Fn(&(Ready, Waker)) -> bool,
    to: &mut Vec<Waker>,
) {
    let mut place = 0;
    while place < list.len() {
        if chosen(&list[place]) {
            to.push(list.remove(place).1);
        } else {
            place += 1;
        }
    }
}

/// Everybody who waits for a socket.
#[derive(Default)]
pub(crate) struct Waiters {
    pub(crate) registrations: Vec<Registration>,
    /// Threads in a system call, who look at the level.
    threads: Vec<(Ready, Waker)>,
    pub(crate) edges: Edges,
    last_key: u32,
}

impl Waiters {
    /// Adds a registration for `runtime`. What is `assumed` counts as told from the beginning.
    pub(crate) fn register(&mut self, runtime: u64, interest: Interest, assumed: Ready) -> u32 {
        self.last_key += 1;
        self.registrations.push(Registration {
            key: self.last_key,
            runtime,
            interest,
            told: assumed,
            tick: 0,
            is_shut_down: false,
            marked: false,
            reader: None,
            writer: None,
            list: Vec::new(),
        });
        self.last_key
    }

    /// Takes a registration out; its wakers must be dropped when the world is not borrowed.
    pub(crate) fn deregister(&mut self, key: u32) -> Option<Registration> {
        let place = self.registrations.iter().position(|registration| registration.key == key)?;
        Some(self.registrations.remove(place))
    }

    pub(crate) fn find(&mut self, key: u32) -> Option<&mut Registration> {
        self.registrations.iter_mut().find(|registration| registration.key == key)
    }

    /// A thread waits for something of `mask`.
    pub(crate) fn wait_in_thread(&mut self, mask: Ready, waker: &Waker) {
        listed(&mut self.threads, mask, waker);
    }

    /// Takes `waker` out of every list: its future was dropped, or its thread waits no more.
    pub(crate) fn forget(&mut self, waker: &Waker) -> Vec<Waker> {
        let mut gone = Vec::new();
        let lists = self.registrations.iter_mut().map(|registration| &mut registration.list);
        for list in lists.chain([&mut self.threads]) {
            take_listed(list, |entry| entry.1.will_wake(waker), &mut gone);
        }
        gone
    }

    /// An event on the bits of `events`: wakes threads, and marks registrations for the next turn.
    pub(crate) fn event(&mut self, id: SocketId, events: Ready, fx: &mut Effects) {
        self.edges.count(events.is_readable(), events.is_writable());
        wake_listed(&mut self.threads, events, fx);
        let interested = self
            .registrations
            .iter_mut()
            .filter(|registration| !registration.marked && registration.wants(events));
        for registration in interested {
            registration.marked = true;
            fx.marked.push((id, registration.key));
        }
    }

    /// A runtime ended: its registrations say so from now on, and nobody waits for them.
    pub(crate) fn end_runtime(&mut self, runtime: u64, fx: &mut Effects) {
        for registration in self.registrations.iter_mut().filter(|own| own.runtime == runtime) {
            registration.is_shut_down = true;
            registration.wake(Ready::ALL, fx);
        }
    }

    /// The socket is gone: everybody shall find that out.
    pub(crate) fn wake_everybody(&mut self, fx: &mut Effects) {
        wake_listed(&mut self.threads, Ready::ALL, fx);
        self.registrations.iter_mut().for_each(|registration| registration.wake(Ready::ALL, fx));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_shown_but_errors_and_ends() {
        let all = Events {
            readable: true,
            writable: true,
            priority: true,
            read_hang_up: true,
            hang_up: false,
            error: true,
        };
        let every = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        assert_eq!(all.ready_for(every), Ready::ALL);
        assert_eq!(all.ready_for(Interest::ERROR), Ready::ERROR | Ready::WRITE_CLOSED);
        assert_eq!(all.ready_for(Interest::WRITABLE), Ready::WRITABLE | Ready::WRITE_CLOSED | Ready::ERROR);
        let ended = Events { hang_up: true, ..Events::default() };
        assert_eq!(ended.ready_for(Interest::READABLE), Ready::READ_CLOSED | Ready::WRITE_CLOSED);
    }

    #[test]
    fn a_clear_after_news_does_nothing() {
        let (mut waiters, mut fx) = (Waiters::default(), Effects::default());
        let key = waiters.register(1, Interest::READABLE | Interest::WRITABLE, Ready::EMPTY);
        let events = Events { readable: true, writable: true, ..Events::default() };
        let own = waiters.find(key).unwrap();
        own.turn(events, &mut fx);
        let told = own.told(Ready::READABLE);
        own.turn(events, &mut fx);
        own.clear(told);
        assert_eq!(own.told(Ready::ALL).ready, Ready::READABLE | Ready::WRITABLE);
        own.clear(own.told(Ready::READABLE));
        assert_eq!(own.told(Ready::ALL).ready, Ready::WRITABLE);
    }
}
