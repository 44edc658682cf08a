//! Links by themselves: a source of packets, a link, and a clock that a test moves.
//!
//! Owns [`Bench`]. Must not know stacks. Invariant: every packet that is sent has a fate when [`Bench::finish`] returns.

mod presets;
mod queues;
mod rates;
mod statistics;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

use super::{Fate, Link, LinkConfig, Passage, Rules, Settled};
use crate::fabric::Flight;
use crate::fabric::path::{Leg, Trip};
use crate::packet::{Body, Packet};

/// A fate, and which packet met it: they are numbered by their source port.
pub(super) struct Met {
    pub(super) port: u16,
    pub(super) fate: Fate,
    pub(super) marked: bool,
    pub(super) data: Bytes,
}

/// One link that a test sends packets over.
pub(super) struct Bench {
    pub(super) rules: LinkConfig,
    pub(super) now: SimTime,
    pub(super) met: Vec<Met>,
    pub(super) rng: Stream,
    link: Link,
    due: Vec<SimTime>,
}

/// A datagram of `bytes`, headers included, from `port`.
pub(super) fn datagram(port: u16, bytes: usize, ecn: u8) -> Packet {
    let address = |host: u8, port: u16| SocketAddr::from(([10, 0, 0, host], port));
    Packet {
        source: address(1, port),
        destination: address(2, 9),
        ecn,
        dont_fragment: true,
        body: Body::Udp(Bytes::from(vec![0; bytes - 28])),
    }
}

impl Bench {
    pub(super) fn new(rules: LinkConfig, seed: u64) -> Bench {
        Bench {
            rules,
            now: SimTime::ZERO,
            met: Vec::new(),
            rng: Stream::new(seed, "link", 0),
            link: Link::new(0, 1),
            due: Vec::new(),
        }
    }

    /// Sends a datagram from `port`.
    pub(super) fn send(&mut self, port: u16, bytes: usize) {
        self.send_packet(datagram(port, bytes, 0));
    }

    pub(super) fn send_packet(&mut self, packet: Packet) {
        let mut out = Vec::new();
        let trip = Trip { from: 0, to: 1, segment: 0, leg: Leg::Between, hops: 1 };
        let mut packet = Box::new(packet);
        let rules = Rules::from(self.rules.clone());
        let passage = self.link.send(&rules, &mut packet, self.now, &mut self.rng);
        let flight = Flight { trip, packet };
        let again = match passage {
            Some(passage) => {
                out.push(Settled { flight, passage });
                None
            }
            None => self.link.enqueue(&rules, flight, self.now, &mut self.rng, &mut out),
        };
        self.take(again, out);
    }

    fn take(&mut self, again: Option<SimTime>, out: Vec<Settled>) {
        self.due.extend(again);
        for Settled { flight: Flight { packet, .. }, passage: Passage { fate, marked, .. } } in out {
            let data = match &packet.body {
                Body::Udp(data) => data.clone(),
                Body::Tcp(segment) => segment.payload.clone(),
                _ => Bytes::new(),
            };
            self.met.push(Met { port: packet.source.port(), fate, marked, data });
        }
    }

    /// Lets the time pass until `until`.
    pub(super) fn run_until(&mut self, until: SimTime) {
        while let Some(at) = self.due.iter().copied().min().filter(|at| *at <= until) {
            self.due.retain(|due| *due != at);
            self.now = at;
            let mut out = Vec::new();
            let rules = Rules::from(self.rules.clone());
            let again = self.link.serve(&rules, at, &mut self.rng, &mut out);
            self.take(again, out);
        }
        self.now = until;
    }

    pub(super) fn pass(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Lets everything that waits be sent.
    pub(super) fn finish(&mut self) {
        self.run_until(SimTime(u64::MAX / 2));
        assert_eq!(self.link.waiting(), (0, 0));
    }

    /// How many bytes wait.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.link.waiting().1
    }

    /// When which packet arrives.
    pub(super) fn arrivals(&self) -> Vec<(u16, SimTime)> {
        let arrival = |met: &Met| match met.fate {
            Fate::Arrives(at) | Fate::ArrivesTwice(at, _) => Some((met.port, at)),
            _ => None,
        };
        self.met.iter().filter_map(arrival).collect()
    }

    pub(super) fn count(&self, is: impl Fn(Fate) -> bool) -> usize {
        self.met.iter().filter(|met| is(met.fate)).count()
    }
}

/// Rules without any latency, at a rate.
pub(super) fn limited(bandwidth_bps: u64) -> LinkConfig {
    LinkConfig {
        latency: super::Latency::Fixed(Duration::ZERO),
        bandwidth_bps: Some(bandwidth_bps),
        ..LinkConfig::default()
    }
}
