//! A socket: what all kinds have in common, its waiting tasks, and its readiness.
//!
//! Owns [`SocketId`], `Socket`, `Core` and `Waiters`. Must not know protocols. Invariant: readiness is
//! computed from state each time it is asked for; no edge is stored that could be forgotten.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::Waker;

use real::io::{Interest, Ready};
use shim_runtime::clock::SimTime;
use shim_runtime::queue::EventId;

use super::options::Options;
use super::tcp::Tcp;
use super::udp::Udp;
use super::unix::Unix;
use crate::error::{Errno, Result};
use crate::packet::Packet;

/// Names a socket: its node, its place in the node's table, and which of the place's users it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SocketId(pub u64);

const INDEX_BITS: u32 = 22;
const GENERATION_BITS: u32 = 26;
/// How many bits a [`SocketId`] has; the rest of a token is free for its kind.
pub(crate) const ID_BITS: u32 = 62;

impl SocketId {
    pub(crate) fn new(node: u32, index: u32, generation: u32) -> SocketId {
        let low = u64::from(generation) << INDEX_BITS | u64::from(index);
        SocketId(u64::from(node) << (INDEX_BITS + GENERATION_BITS) | low)
    }

    /// The number of the node that the socket is on.
    pub fn node(self) -> u32 {
        (self.0 >> (INDEX_BITS + GENERATION_BITS)) as u32
    }

    pub(crate) fn index(self) -> u32 {
        self.0 as u32 & ((1 << INDEX_BITS) - 1)
    }
}

/// The address family of a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Domain {
    /// IPv4.
    Inet,
    /// IPv6, and IPv4 in mapped form unless `IPV6_V6ONLY` is set.
    Inet6,
    /// Unix.
    Unix,
}

/// What a socket carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A stream of bytes.
    Stream,
    /// Datagrams.
    Datagram,
}

/// The address of a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Addr {
    /// IPv4 or IPv6.
    Inet(SocketAddr),
    /// Unix.
    Unix(UnixAddr),
}

/// The address of a Unix socket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum UnixAddr {
    /// None: of an unbound socket or of a pair.
    Unnamed,
    /// A path of the file system.
    Path(Vec<u8>),
    /// A name in the abstract name space.
    Abstract(Vec<u8>),
}

/// What a stack wants done once a call is over.
#[derive(Default)]
pub(crate) struct Effects {
    /// Packets to deliver.
    pub(crate) outbox: VecDeque<Packet>,
    /// Tasks to wake.
    pub(crate) wakes: Vec<Waker>,
    /// Sockets whose timer event must be moved to the given time.
    pub(crate) arms: Vec<(SocketId, SimTime)>,
}

/// What every socket has.
pub(crate) struct Core {
    pub(crate) id: SocketId,
    pub(crate) domain: Domain,
    pub(crate) kind: Kind,
    pub(crate) options: Options,
    /// The local address in wire form, once there is one.
    pub(crate) local: Option<SocketAddr>,
    /// The port that the socket owns in the table of its protocol, or 0.
    pub(crate) port: u16,
    /// `SO_ERROR`.
    pub(crate) error: Option<Errno>,
    pub(crate) waiters: Waiters,
    /// Whether the application has closed it; the protocol may have work left.
    pub(crate) detached: bool,
    /// The pending timer event, and when it is due.
    pub(crate) event: Option<EventId>,
    pub(crate) armed: SimTime,
}

impl Core {
    pub(crate) fn new(id: SocketId, domain: Domain, kind: Kind) -> Core {
        let tcp = kind == Kind::Stream && domain != Domain::Unix;
        Core {
            id,
            domain,
            kind,
            options: Options::new(tcp),
            local: None,
            port: 0,
            error: None,
            waiters: Waiters::default(),
            detached: false,
            event: None,
            armed: SimTime::MAX,
        }
    }

    /// Fails with the pending error, which is thereby taken away.
    pub(crate) fn check_error(&mut self) -> Result<()> {
        match self.error.take() {
            Some(errno) => Err(errno),
            None => Ok(()),
        }
    }

    /// Sets the pending error and wakes everybody.
    pub(crate) fn fail(&mut self, errno: Errno, fx: &mut Effects) {
        self.error = Some(errno);
        self.waiters.wake(Ready::ALL, fx);
    }

    pub(crate) fn wake_readers(&mut self, fx: &mut Effects) {
        self.waiters.wake(Ready::READABLE | Ready::READ_CLOSED, fx);
    }

    pub(crate) fn wake_writers(&mut self, fx: &mut Effects) {
        self.waiters.wake(Ready::WRITABLE | Ready::WRITE_CLOSED, fx);
    }

    pub(crate) fn wake_all(&mut self, fx: &mut Effects) {
        self.waiters.wake(Ready::ALL, fx);
    }

    /// `address` as a socket of this domain shows it.
    pub(crate) fn show(&self, address: SocketAddr) -> SocketAddr {
        match address {
            SocketAddr::V4(v4) if self.domain == Domain::Inet6 => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            other => other,
        }
    }
}

/// A socket of any kind.
pub(crate) struct Socket {
    pub(crate) core: Core,
    pub(crate) inner: Inner,
}

/// The part of a socket that its protocol owns.
pub(crate) enum Inner {
    Tcp(Tcp),
    Udp(Udp),
    Unix(Unix),
}

/// Whose waker a `poll_*` call stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// The direction's one slot: the last waker wins, as tokio documents for its `poll_*` functions.
    Slot,
    /// The list: every waker is kept until it is called, as for tokio's `async` functions.
    List,
}

/// The two directions a task may wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Data, connections, or the end of the stream.
    Read,
    /// Room to send, or the outcome of `connect`.
    Write,
}

impl Direction {
    pub(crate) fn mask(self) -> Ready {
        match self {
            Direction::Read => Ready::READABLE | Ready::READ_CLOSED,
            Direction::Write => Ready::WRITABLE | Ready::WRITE_CLOSED,
        }
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

/// The tasks that wait for a socket.
#[derive(Default)]
pub(crate) struct Waiters {
    reader: Option<Waker>,
    writer: Option<Waker>,
    list: Vec<(Ready, Waker)>,
    pub(crate) cache: Cache,
}

/// What tokio remembers of a socket's readiness between two looks at it.
///
/// Bits that were shown stay shown until an operation says that it would block, also where the socket has
/// ceased to be ready meanwhile; bits that were cleared stay hidden until the next event, also where the
/// socket is ready. Programs that loop over `writable` and `try_write` until the latter would block rely on
/// the first; programs whose `try_io` says "would block" for reasons of their own rely on the second.
#[derive(Clone, Copy)]
pub(crate) struct Cache {
    shown: Ready,
    hidden: Ready,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache { shown: Ready::EMPTY, hidden: Ready::EMPTY }
    }
}

impl Cache {
    /// What is shown of `level`, which is what the socket is ready for now.
    pub(crate) fn look(&mut self, level: Ready) -> Ready {
        self.shown |= (level - self.hidden) & (Ready::READABLE | Ready::WRITABLE);
        (level - self.hidden) | self.shown
    }

    /// As [`Cache::look`], remembering nothing.
    pub(crate) fn peek(self, level: Ready) -> Ready {
        (level - self.hidden) | self.shown
    }

    /// An operation on the bits of `ready` would block. The closed bits stay.
    pub(crate) fn clear(&mut self, ready: Ready) {
        self.shown = self.shown - ready;
        self.hidden |= ready - Ready::READ_CLOSED - Ready::WRITE_CLOSED;
    }

    /// An operation on the bits of `ready` did part of what was asked: the rest would block.
    pub(crate) fn partial(&mut self, ready: Ready) {
        self.shown = self.shown - ready;
    }

    /// An event on the bits of `ready`.
    fn event(&mut self, ready: Ready) {
        self.hidden = self.hidden - ready;
    }
}

impl Waiters {
    /// Stores `waker` for the bits of `mask`. Gives back a waker that was displaced: its destructor may
    /// run foreign code, so it must be dropped when the world is not borrowed.
    pub(crate) fn register(&mut self, mask: Ready, wait: Wait, waker: &Waker) -> Option<Waker> {
        if wait == Wait::List {
            if !self.list.iter().any(|(other, listed)| *other == mask && listed.will_wake(waker)) {
                self.list.push((mask, waker.clone()));
            }
            return None;
        }
        let slot = if mask.is_readable() { &mut self.reader } else { &mut self.writer };
        match slot {
            Some(stored) if stored.will_wake(waker) => None,
            _ => slot.replace(waker.clone()),
        }
    }

    /// Takes `waker` out of the list: its future was dropped.
    pub(crate) fn forget(&mut self, waker: &Waker) -> Vec<Waker> {
        let mut gone = Vec::new();
        let mut place = 0;
        while place < self.list.len() {
            if self.list[place].1.will_wake(waker) {
                gone.push(self.list.remove(place).1);
            } else {
                place += 1;
            }
        }
        gone
    }

    /// An event on the bits of `mask`: shows them again and wakes who waits for one of them.
    pub(crate) fn wake(&mut self, mask: Ready, fx: &mut Effects) {
        self.cache.event(mask);
        if mask.is_readable() {
            fx.wakes.extend(self.reader.take());
        }
        if mask.is_writable() {
            fx.wakes.extend(self.writer.take());
        }
        let mut place = 0;
        while place < self.list.len() {
            if (self.list[place].0 & mask).is_empty() {
                place += 1;
            } else {
                fx.wakes.push(self.list.remove(place).1);
            }
        }
    }
}

/// What `poll(2)` would show, before it is put as tokio's [`Ready`].
#[derive(Clone, Copy, Default)]
pub(crate) struct Events {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer sends no more, or reading was shut down.
    pub(crate) read_hang_up: bool,
    /// Both directions are over.
    pub(crate) hang_up: bool,
    pub(crate) error: bool,
}

impl Events {
    /// As mio and tokio put them.
    pub(crate) fn ready(self) -> Ready {
        let mut ready = Ready::EMPTY;
        if self.readable || self.read_hang_up {
            ready |= Ready::READABLE;
        }
        if self.writable {
            ready |= Ready::WRITABLE;
        }
        if self.hang_up || self.read_hang_up {
            ready |= Ready::READ_CLOSED;
        }
        if self.hang_up || (self.error && self.writable) {
            ready |= Ready::WRITE_CLOSED;
        }
        if self.error {
            ready |= Ready::ERROR;
        }
        ready
    }
}
