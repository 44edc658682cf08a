//! Two stacks and a wire between them: the vocabulary of this folder's tests.
//!
//! Owns [`Pair`]. The time moves only when a test says so. Invariant: packets keep their order.

mod congestion;
mod open_close;
mod random;
mod tcp;
mod udp;
mod unix;

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::Duration;

use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

use super::Stack;
use super::socket::{Addr, Domain, Kind, SocketId};
use super::tcp::State;
use super::udp::SendExtra;
use crate::error::{Errno, Result};
use crate::packet::{Body, Packet, Segment};

/// Which end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub(super) enum End {
    Client = 0,
    Server = 1,
}
pub(super) use End::{Client, Server};

enum Pending {
    Arrival(End, Box<Packet>),
    Timer(End, SocketId),
}

/// A client's stack, a server's stack, and what is between.
pub(super) struct Pair {
    pub(super) stacks: [Stack; 2],
    pub(super) now: SimTime,
    pub(super) latency: Duration,
    pub(super) loss: f64,
    pub(super) jitter: Duration,
    /// Drops everything that is sent to this end.
    pub(super) deaf: Option<End>,
    /// Takes trains of segments apart, as links with rules for single packets do.
    pub(super) single: bool,
    /// Marks every packet that may be marked, as a congested queue does.
    pub(super) marks: bool,
    /// Every packet that was sent, with who sent it.
    pub(super) log: Vec<(End, SimTime, Box<Packet>)>,
    pub(super) rng: Stream,
    pending: BTreeMap<(SimTime, u64), Pending>,
    serial: u64,
}

pub(super) const SERVER_PORT: u16 = 80;

pub(super) fn address(end: End, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + end as u8], port))
}

impl Pair {
    pub(super) fn new() -> Pair {
        let stack = |end: End| Stack::new(end as u32, vec![address(end, 0).ip()]);
        Pair {
            stacks: [stack(Client), stack(Server)],
            now: SimTime(1_000_000_000),
            latency: Duration::from_millis(10),
            loss: 0.0,
            jitter: Duration::ZERO,
            deaf: None,
            single: false,
            marks: false,
            log: Vec::new(),
            rng: Stream::new(1, "pair", 0),
            pending: BTreeMap::new(),
            serial: 0,
        }
    }

    /// Lets one end's stack do something, and takes away what it leaves.
    pub(super) fn at<R>(&mut self, end: End, f: impl FnOnce(&mut Stack, SimTime) -> R) -> R {
        let result = f(&mut self.stacks[end as usize], self.now);
        self.collect(end);
        result
    }

    fn collect(&mut self, end: End) {
        let place = end as usize;
        while let Some(packet) = self.stacks[place].fx.outbox.pop_front() {
            if self.stacks[place].owns(packet.destination.ip()) {
                self.stacks[place].receive(packet, self.now);
                continue;
            }
            let single = self.single || self.loss > 0.0 || !self.jitter.is_zero();
            match single {
                true => crate::fabric::pieces(packet, None).for_each(|packet| self.carry(end, packet)),
                false => self.carry(end, packet),
            }
        }
        for (id, at) in std::mem::take(&mut self.stacks[place].fx.arms) {
            self.push(at, Pending::Timer(end, id));
        }
        self.stacks[place].fx.wakes.clear();
        self.stacks[place].cancels.clear();
    }

    fn carry(&mut self, from: End, mut packet: Box<Packet>) {
        if self.marks && packet.ecn & 3 != 0 {
            packet.ecn = 3;
        }
        self.log.push((from, self.now, packet.clone()));
        let to = if from == Client { Server } else { Client };
        if self.deaf == Some(to) || self.rng.chance(self.loss) {
            return;
        }
        let extra = self.rng.between(0, self.jitter.as_nanos() as u64);
        let at = self.now + self.latency + Duration::from_nanos(extra);
        self.push(at, Pending::Arrival(to, packet));
    }

    fn push(&mut self, at: SimTime, pending: Pending) {
        self.serial += 1;
        self.pending.insert((at.max(self.now), self.serial), pending);
    }

    /// Goes to the next event; false where there is none before `until`.
    pub(super) fn step(&mut self, until: SimTime) -> bool {
        let Some(entry) = self.pending.first_entry() else { return false };
        if entry.key().0 > until {
            return false;
        }
        let ((at, _), pending) = entry.remove_entry();
        self.now = at;
        match pending {
            Pending::Arrival(end, packet) => self.at(end, |stack, now| stack.receive(packet, now)),
            Pending::Timer(end, id) => self.at(end, |stack, now| stack.on_timer(id, now)),
        }
        true
    }

    /// Lets `duration` pass.
    pub(super) fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
        self.now = until;
    }

    pub(super) fn run_millis(&mut self, millis: u64) {
        self.run(Duration::from_millis(millis));
    }

    pub(super) fn tcp_socket(&mut self, end: End) -> SocketId {
        self.at(end, |stack, _| stack.socket(Domain::Inet, Kind::Stream)).unwrap()
    }

    /// A listener on the server's port 80.
    pub(super) fn listen(&mut self, backlog: u32) -> SocketId {
        let id = self.tcp_socket(Server);
        self.at(Server, |stack, _| {
            stack.bind(id, &Addr::Inet(SocketAddr::from(([0, 0, 0, 0], SERVER_PORT)))).unwrap();
            stack.listen(id, backlog).unwrap();
        });
        id
    }

    /// Begins to connect to the server's port 80.
    pub(super) fn begin_connect(&mut self) -> SocketId {
        let id = self.tcp_socket(Client);
        let result = self.connect_to(id, address(Server, SERVER_PORT));
        assert_eq!(result, Err(Errno::EINPROGRESS));
        id
    }

    pub(super) fn connect_to(&mut self, id: SocketId, to: SocketAddr) -> Result<()> {
        self.at(Client, |stack, now| stack.connect(id, &Addr::Inet(to), now))
    }

    /// A connection: the client's socket and the server's.
    pub(super) fn connect(&mut self) -> (SocketId, SocketId) {
        let listener = self.listen(16);
        let client = self.begin_connect();
        self.run_millis(100);
        let server = self.at(Server, |stack, _| stack.accept(listener)).unwrap().0;
        (client, server)
    }

    pub(super) fn send(&mut self, end: End, id: SocketId, data: &[u8]) -> Result<usize> {
        self.at(end, |stack, now| stack.send_to(id, &[IoSlice::new(data)], None, SendExtra::default(), now))
    }

    pub(super) fn recv(&mut self, end: End, id: SocketId, limit: usize) -> Result<Vec<u8>> {
        let mut buffer = vec![0; limit];
        let len = self.at(end, |stack, now| stack.recv(id, &mut &mut buffer[..], false, now))?;
        buffer.truncate(len);
        Ok(buffer)
    }

    pub(super) fn close(&mut self, end: End, id: SocketId) {
        self.at(end, |stack, now| stack.close(id, now));
    }

    pub(super) fn state(&self, end: End, id: SocketId) -> Option<State> {
        let socket = self.stacks[end as usize].table.get(id.index()).filter(|socket| socket.core.id == id)?;
        match &socket.inner {
            super::socket::Inner::Tcp(tcp) => tcp.connection().map(|t| t.state),
            _ => None,
        }
    }

    pub(super) fn error(&mut self, end: End, id: SocketId) -> Option<Errno> {
        self.at(end, |stack, _| stack.table.find_mut(id).unwrap().core.error.take())
    }

    /// The TCP segments that `end` sent, with their times in milliseconds since `since`.
    pub(super) fn segments(&self, end: End, since: SimTime) -> Vec<(u64, &Segment)> {
        let own = self.log.iter().filter(|(sender, at, _)| *sender == end && *at >= since);
        own.filter_map(|(_, at, packet)| match &packet.body {
            Body::Tcp(segment) => Some(((*at - since).as_millis() as u64, segment)),
            _ => None,
        })
        .collect()
    }

    /// Sends `data` from one end and reads it at the other, in rounds of a millisecond.
    pub(super) fn transfer(&mut self, from: (End, SocketId), to: (End, SocketId), data: &[u8]) -> Vec<u8> {
        let (mut sent, mut received) = (0, Vec::new());
        let start = self.now;
        while received.len() < data.len() {
            if sent < data.len() {
                match self.send(from.0, from.1, &data[sent..]) {
                    Ok(len) => sent += len,
                    Err(errno) => assert_eq!(errno, Errno::EAGAIN),
                }
            }
            self.run_millis(1);
            while let Ok(part) = self.recv(to.0, to.1, 65_536) {
                assert!(!part.is_empty(), "the stream ended after {} bytes", received.len());
                received.extend(part);
            }
            assert!(self.now - start < Duration::from_secs(3600), "stuck after {} bytes", received.len());
        }
        received
    }
}

/// `len` bytes that do not repeat soon.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
