//! A socket: what all kinds have in common.
//!
//! Owns [`SocketId`], `Socket`, `Core` and `Effects`. Must not know protocols. Invariant: readiness is
//! computed from state each time it is asked for; who was told what of it is `readiness`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::Waker;

use real::io::Ready;
use shim_runtime::clock::SimTime;
use shim_runtime::queue::EventId;

use super::netlink::Netlink;
use super::options::Options;
use super::pipe::PipeEnd;
use super::readiness::Waiters;
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
    /// Netlink, of the routing family.
    Netlink,
    /// Not a socket at all, but an end of a pipe.
    Pipe,
}

/// What a socket carries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
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
    /// Netlink.
    Netlink {
        /// Whose it is; zero for the kernel.
        port: u32,
        /// The multicast groups, as bits.
        groups: u32,
    },
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
    pub(crate) outbox: VecDeque<Box<Packet>>,
    /// Tasks to wake.
    pub(crate) wakes: Vec<Waker>,
    /// Registrations that the reactor must tell of something at its next turn.
    pub(crate) marked: Vec<(SocketId, u32)>,
    /// Sockets whose timer event must be moved to the given time.
    pub(crate) arms: Vec<(SocketId, SimTime)>,
}

impl Effects {
    /// Whether nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.wakes.is_empty() && self.marked.is_empty() && self.arms.is_empty()
    }
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
    /// The address that the application asked for, in wire form: with the port that it got, or 0 where it has lost
    /// that again because it had not asked for it.
    pub(crate) bound: Option<SocketAddr>,
    /// Whether the application chose the port.
    pub(crate) chose_port: bool,
    /// Whether a `connect` is under way, or over without anybody having been told.
    pub(crate) connecting: bool,
    /// Whether the application shut down what had become of one.
    pub(crate) gave_up: bool,
    /// Whether a TCP socket that is in no connection was shut down for reading, or writing.
    pub(crate) idle_read_closed: bool,
    pub(crate) idle_write_closed: bool,
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
        let tcp = kind == Kind::Stream && matches!(domain, Domain::Inet | Domain::Inet6);
        Core {
            id,
            domain,
            kind,
            options: Options::new(tcp),
            local: None,
            port: 0,
            bound: None,
            chose_port: false,
            connecting: false,
            gave_up: false,
            idle_read_closed: false,
            idle_write_closed: false,
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
        self.wake_all(fx);
    }

    pub(crate) fn wake_readers(&mut self, fx: &mut Effects) {
        self.waiters.event(self.id, Ready::READABLE | Ready::READ_CLOSED, fx);
    }

    pub(crate) fn wake_writers(&mut self, fx: &mut Effects) {
        self.waiters.event(self.id, Ready::WRITABLE | Ready::WRITE_CLOSED, fx);
    }

    pub(crate) fn wake_all(&mut self, fx: &mut Effects) {
        self.waiters.event(self.id, Ready::ALL, fx);
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
    Netlink(Box<Netlink>),
    Pipe(PipeEnd),
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
