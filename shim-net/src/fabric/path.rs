//! The way of a packet through segments and routers.
//!
//! Owns what comes next: which link, which router, or the node that it is for. Must not know what a link does.
//! Invariant: a packet passes at most [`HOPS`] routers, so that none goes round for ever.

use std::net::IpAddr;
use std::time::Duration;

use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

use super::firewall::Action;
use super::router::{Router, Turn, refusal};
use super::segment::{Element, Segment};
use super::ways::{Lead, Way};
use super::{Fabric, Flight, Verdict};
use crate::capture::Remark;
use crate::packet::{Body, Packet, Reason, Unreachable};

/// How many routers a packet may pass: Linux' default time to live.
pub(crate) const HOPS: u8 = 64;

/// How long Linux asks for a neighbour before it gives up.
const NEIGHBOUR_TIMEOUT: Duration = Duration::from_secs(3);

/// The part of the way between two elements that a packet is on, or comes to next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leg {
    /// From the sender to the switch: only where that line has rules of its own.
    Up,
    /// From the sender to the receiver.
    Between,
    /// From the switch to the receiver: only where that line has rules of its own.
    Down,
    /// Nothing is left of it.
    Arrived,
}

/// From one element to another in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Trip {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) segment: u32,
    pub(crate) leg: Leg,
    pub(crate) hops: u8,
}

impl Trip {
    /// The ends of the link that it is on.
    fn ends(self) -> (u32, u32) {
        let switch = Element::Switch(self.segment).number();
        match self.leg {
            Leg::Up => (self.from, switch),
            Leg::Down => (switch, self.to),
            Leg::Between | Leg::Arrived => (self.from, self.to),
        }
    }
}

impl Fabric {
    /// The segment called `segment`.
    pub(crate) fn segment(&self, segment: u32) -> &Segment {
        &self.segments[segment as usize]
    }

    /// The automatic addresses of a node on the internet, or others of their kind that no switch has.
    pub(crate) fn free_of_subnets(&self, node: u32) -> Vec<IpAddr> {
        let is_hidden = |ip: &IpAddr| {
            self.segments.iter().flat_map(|segment| &segment.subnets).any(|subnet| subnet.contains(*ip))
        };
        let candidates = (0..250).map(|round| crate::net::automatic_addresses(node + 250 * round));
        let found = candidates.into_iter().find(|addresses| !addresses.iter().any(is_hidden));
        found.expect("simulation: the switches leave no address for a node on the internet")
    }

    /// Who takes a packet for `ip` in `segment`, of all but its sender.
    fn next_hop(&self, from: u32, segment: u32, ip: IpAddr) -> Option<u32> {
        let segment = self.segment(segment);
        if let Some(owner) = segment.owner(ip) {
            return Some(owner);
        }
        let announces = |router: &&u32| self.router(**router).is_some_and(|router| router.announces(ip));
        let announcer = segment.announcers.iter().find(announces).copied();
        announcer.or(segment.gateway).filter(|router| *router != from)
    }

    /// The addresses that the gateway of a segment has there; none where it has no gateway.
    pub(crate) fn gateway_addresses(&self, segment: u32) -> Vec<IpAddr> {
        let router = self.segment(segment).gateway.and_then(|gateway| self.router(gateway));
        let ports = router.map(|router| &router.inner[..]).unwrap_or_default();
        let own = ports.iter().filter(|port| port.segment == segment);
        own.flat_map(|port| port.addresses.iter().copied()).collect()
    }

    fn router(&self, number: u32) -> Option<&Router> {
        match Element::of(number) {
            Element::Router(place) => self.routers.get(place as usize),
            _ => None,
        }
    }

    /// An element sends `packet` into a segment.
    pub(crate) fn send(
        &mut self,
        from: u32,
        segment: u32,
        packet: Box<Packet>,
        hops: u8,
        now: SimTime,
        rng: &mut Stream,
    ) {
        let way = Way { from, segment, source: packet.source.ip(), destination: packet.destination.ip() };
        let lead = self.ways.find(&way, self.segment(segment));
        let is_node = matches!(Element::of(from), Element::Node(_));
        if is_node && lead.is_none() && self.segment(segment).owner(way.source) != Some(from) {
            // BCP 38: nobody sends with an address that is not its own here.
            return self.filtered(from, from, &packet);
        }
        if is_node && !self.passes_own_firewall(from, &packet, true, now) {
            self.filtered(from, from, &packet);
            if std::mem::take(&mut self.was_rejected)
                && let Some(answer) = refusal(&packet)
            {
                let trip = Trip { from, to: from, segment, leg: Leg::Arrived, hops };
                self.depart(trip, answer, now, Verdict::Sent);
            }
            return;
        }
        if let Some(Lead { to, place, .. }) = lead {
            let trip = Trip { from, to, segment, leg: Leg::Between, hops };
            return self.cross(trip, place as usize, packet, now, rng);
        }
        match self.next_hop(from, segment, way.destination) {
            Some(to) => {
                let trip = Trip { from, to, segment, leg: Leg::Up, hops };
                self.travel(trip, packet, now, rng);
                self.remember(way, to);
            }
            None => self.unroutable(from, segment, packet, now),
        }
    }

    /// A packet went this way: the next one needs no search, where the way is one between neighbours.
    fn remember(&mut self, way: Way, to: u32) {
        let segment = &self.segments[way.segment as usize];
        if segment.owner(way.destination) == Some(to) && !segment.has_lines() {
            let place = self.places.get(&Fabric::link_key(way.from, to));
            place.iter().for_each(|place| self.ways.remember(way, segment, to, **place));
        }
    }

    /// The packet comes to the next leg of its trip, and crosses the link there; false where none is left.
    pub(crate) fn travel(&mut self, mut trip: Trip, packet: Box<Packet>, now: SimTime, rng: &mut Stream) {
        if trip.leg == Leg::Up && !self.has_line(trip) {
            trip.leg = Leg::Between;
        }
        let (from, to) = trip.ends();
        let place = self.place(from, to);
        self.cross(trip, place, packet, now, rng);
    }

    /// Whether the link to or from the switch that the trip comes to has rules.
    fn has_line(&self, trip: Trip) -> bool {
        let (from, to) = trip.ends();
        self.segment(trip.segment).has_lines() && self.places.contains_key(&Fabric::link_key(from, to))
    }

    /// The packet on its way that was called `place` arrives: for whom, where that is a node.
    pub(crate) fn arrive(&mut self, place: u32, now: SimTime, rng: &mut Stream) -> Option<Flight> {
        let Flight { mut trip, packet } = self.flights.get_mut(place as usize)?.take()?;
        self.free.push(place);
        trip.leg = match trip.leg {
            Leg::Up => Leg::Between,
            Leg::Between => Leg::Down,
            Leg::Down | Leg::Arrived => Leg::Arrived,
        };
        if trip.leg == Leg::Between || (trip.leg == Leg::Down && self.has_line(trip)) {
            self.travel(trip, packet, now, rng);
            return None;
        }
        match Element::of(trip.to) {
            Element::Node(node) => {
                if node == trip.from {
                    // An error that the network itself made up.
                    let switch = Element::Switch(trip.segment).number();
                    self.capture(switch, node, &packet, Remark::default(), now);
                }
                if node != trip.from && !self.passes_own_firewall(node, &packet, false, now) {
                    self.filtered(trip.from, node, &packet);
                    self.answer_refused(node, trip, &packet, now, rng);
                    return None;
                }
                Some(Flight { trip, packet })
            }
            Element::Router(router) => {
                self.forward(router, trip, packet, now, rng);
                None
            }
            Element::Switch(_) => None,
        }
    }

    fn forward(&mut self, router: u32, trip: Trip, packet: Box<Packet>, now: SimTime, rng: &mut Stream) {
        if trip.hops == 0 {
            return self.filtered(trip.from, trip.to, &packet);
        }
        match self.routers[router as usize].forward(trip.segment, packet, now, rng) {
            Turn::Onward(segment, packet) => self.send(trip.to, segment, packet, trip.hops - 1, now, rng),
            Turn::Back(answer) => self.send(trip.to, trip.segment, answer, HOPS, now, rng),
            Turn::Dropped(packet) => self.filtered(trip.from, trip.to, &packet),
        }
    }

    /// Whether the firewall of a node lets a packet pass; those that it rejects are answered elsewhere.
    fn passes_own_firewall(&mut self, node: u32, packet: &Packet, is_outbound: bool, now: SimTime) -> bool {
        if self.firewalls.is_empty() {
            return true;
        }
        let Some(firewall) = self.firewalls.get_mut(&node) else { return true };
        let action = firewall.judge(packet, is_outbound, now);
        self.was_rejected = action == Action::Reject;
        action == Action::Accept
    }

    /// What a node's firewall rejected is answered as by the node.
    fn answer_refused(&mut self, node: u32, trip: Trip, packet: &Packet, now: SimTime, rng: &mut Stream) {
        if !std::mem::take(&mut self.was_rejected) {
            return;
        }
        if let Some(answer) = refusal(packet)
            && let Some(to) = self.next_hop(node, trip.segment, answer.destination.ip())
        {
            let trip = Trip { from: node, to, segment: trip.segment, leg: Leg::Up, hops: HOPS };
            self.travel(trip, answer, now, rng);
        }
    }

    /// Nobody answers for the address: after a while the sender's own kernel gives up, or a router tells the sender.
    fn unroutable(&mut self, from: u32, segment: u32, packet: Box<Packet>, now: SimTime) {
        self.stats.unroutable += 1;
        self.note(from, from, Verdict::Unroutable, &packet, None);
        let switch = Element::Switch(segment).number();
        self.capture(from, switch, &packet, Remark::fate("nobody has the address"), now);
        let tcp = packet.is_tcp();
        if packet.about().is_some() {
            return;
        }
        let icmp = Unreachable { reason: Reason::Host, tcp, original: packet.destination };
        let report = Box::new(Packet {
            source: packet.source,
            destination: packet.source,
            ecn: 0,
            dont_fragment: false,
            body: Body::Unreachable(icmp),
        });
        let trip = Trip { from, to: from, segment, leg: Leg::Arrived, hops: HOPS };
        self.depart(trip, report, now + NEIGHBOUR_TIMEOUT, Verdict::Unroutable);
    }

    /// The link after `trip.from` takes no packet as large as this one, and its sender is told.
    pub(super) fn report_too_big(&mut self, trip: Trip, packet: &Packet, mtu: u16, at: SimTime) {
        if packet.about().is_some() || matches!(&packet.body, Body::Fragment(part) if part.offset > 0) {
            // RFC 1122: nobody is told of errors, nor of any but the first fragment.
            return;
        }
        let icmp =
            Unreachable { reason: Reason::TooBig(mtu), tcp: packet.is_tcp(), original: packet.destination };
        let mut report = packet.answer(Body::Unreachable(icmp));
        report.dont_fragment = false;
        // As if it came to a router from the link that is too narrow: so it meets the NAT that the packet met.
        let trip = Trip { from: trip.from, to: trip.from, leg: Leg::Arrived, hops: HOPS, ..trip };
        self.depart(trip, report, at, Verdict::Sent);
    }

    /// A packet is dropped by a rule.
    fn filtered(&mut self, from: u32, to: u32, packet: &Packet) {
        self.stats.filtered += 1;
        self.note(from, to, Verdict::Filtered, packet, None);
    }
}
