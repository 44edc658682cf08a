//! Between the nodes: which node has an address, and what each link does to a packet.
//!
//! Owns [`Fabric`]: routes, links, packets on their way, counters. Must not know sockets, nor the event
//! queue: it says when a packet arrives, and `Net` schedules that. Invariant: every packet that a stack
//! sends to another node gets exactly one fate (two arrivals where it is duplicated).

pub(crate) mod dns;
pub(crate) mod firewall;
pub(crate) mod gates;
pub(crate) mod link;
pub(crate) mod nat;
pub(crate) mod path;
pub(crate) mod router;
pub(crate) mod segment;
mod train;
mod ways;

use std::collections::BTreeMap;

use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

use crate::capture::{Capture, Names as CapturedNames, Remark};
use crate::fragment;
use crate::packet::Packet;
use crate::stack::table::FixedMap;
use dns::Names;
use firewall::Firewall;
use link::{Fate, Gate, Link, LinkConfig, Passage, Rules, Settled};
use path::Trip;
use router::Router;
use segment::{Element, INTERNET, Segment};
pub(crate) use train::pieces;
use ways::Ways;

/// How many packets met which fate.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Sent over a link; where there are routers between, each of the links counts.
    pub sent: u64,
    /// Bytes of them, headers included.
    pub sent_bytes: u64,
    /// Arrived at a living node.
    pub delivered: u64,
    /// Sent and received on one node.
    pub loopback: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Lost to a partition.
    pub cut: u64,
    /// Sent while the link was down.
    pub down: u64,
    /// Dropped at a full queue.
    pub queue_full: u64,
    /// Dropped by a queue that was not full, so that senders slow down.
    pub queue_early: u64,
    /// Marked by a queue, so that senders slow down.
    pub marked: u64,
    /// Dropped for their size.
    pub too_big: u64,
    /// Arrived twice.
    pub duplicated: u64,
    /// Changed on the way, unnoticed.
    pub corrupted: u64,
    /// Changed on the way, and dropped by the receiver, whose checksum shows it.
    pub damaged: u64,
    /// Kept by `hold`.
    pub held: u64,
    /// Dropped by a firewall or a NAT, or for a source that is not the sender's.
    pub filtered: u64,
    /// For an address that nobody has.
    pub unroutable: u64,
    /// Arrived at a machine without power.
    pub dead_host: u64,
}

/// What the fabric decided about a packet, for the trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Verdict {
    Loopback = 1,
    Sent,
    Duplicated,
    Lost,
    Cut,
    QueueFull,
    TooBig,
    Held,
    Unroutable,
    Filtered,
    Down,
    QueueEarly,
    Damaged,
}

/// A packet on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) trip: Trip,
    pub(crate) packet: Box<Packet>,
}

/// What `Net` must schedule and record.
pub(crate) struct Outcome {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) verdict: Verdict,
    pub(crate) digest: u64,
    /// When which packet on its way arrives.
    pub(crate) arrival: Option<(SimTime, u32)>,
}

/// Everything between the nodes.
pub(crate) struct Fabric {
    pub(crate) segments: Vec<Segment>,
    pub(crate) routers: Vec<Router>,
    /// Of nodes that have one of their own.
    pub(crate) firewalls: BTreeMap<u32, Firewall>,
    /// Whether the firewall that judged last wants an answer sent.
    was_rejected: bool,
    links: Vec<Link>,
    places: FixedMap<u64, u32>,
    ways: Ways,
    pub(crate) default_link: Rules,
    /// What the way to a switch does that has no rules of its own: nothing.
    line: Rules,
    flights: Vec<Option<Flight>>,
    free: Vec<u32>,
    pub(crate) names: Names,
    pub(crate) stats: Stats,
    /// What was decided since `Net` looked.
    pub(crate) outcomes: Vec<Outcome>,
    /// Of nodes.
    pub(crate) node_names: BTreeMap<u32, String>,
    pub(crate) capture: Option<Box<Capture>>,
    /// When which link must be served, since `Net` looked.
    pub(crate) services: Vec<(SimTime, u32)>,
    settled: Vec<Settled>,
    /// How many packets were cut on their way.
    fragmented: u64,
}

/// Tells the numbers of packets that are cut on their way from those that their sender cuts.
const FRAGMENTED_ON_THE_WAY: u64 = 1 << 63;

impl Default for Fabric {
    fn default() -> Fabric {
        Fabric {
            segments: vec![Segment::new("internet", Vec::new())],
            routers: Vec::new(),
            firewalls: BTreeMap::new(),
            was_rejected: false,
            links: Vec::new(),
            places: FixedMap::default(),
            ways: Ways::default(),
            default_link: LinkConfig::default().into(),
            line: Rules::from(LinkConfig {
                latency: link::Latency::Fixed(std::time::Duration::ZERO),
                ..LinkConfig::default()
            }),
            flights: Vec::new(),
            free: Vec::new(),
            names: Names::default(),
            stats: Stats::default(),
            outcomes: Vec::new(),
            node_names: BTreeMap::new(),
            capture: None,
            services: Vec::new(),
            settled: Vec::new(),
            fragmented: 0,
        }
    }
}

impl Fabric {
    /// The link from one node to another, made at its first use.
    pub(crate) fn link(&mut self, from: u32, to: u32) -> &mut Link {
        let place = self.place(from, to);
        // The way to or from a switch is asked for only where it has rules.
        for end in [from, to] {
            if let Element::Switch(segment) = Element::of(end) {
                self.segments[segment as usize].expect_lines();
            }
        }
        &mut self.links[place]
    }

    fn link_key(from: u32, to: u32) -> u64 {
        u64::from(from) << 32 | u64::from(to)
    }

    fn place(&mut self, from: u32, to: u32) -> usize {
        let links = &mut self.links;
        let place = self.places.entry(Fabric::link_key(from, to)).or_insert_with(|| {
            links.push(Link::new(from, to));
            (links.len() - 1) as u32
        });
        *place as usize
    }

    /// All links that were used or changed, in the order in which that happened.
    pub(crate) fn links(&mut self) -> &mut [Link] {
        &mut self.links
    }

    /// Sends `packet` over the link at `place`.
    fn cross(&mut self, trip: Trip, place: usize, packet: Box<Packet>, now: SimTime, rng: &mut Stream) {
        let Link { from, to, gate, .. } = self.links[place];
        match gate {
            Gate::Open => {}
            Gate::Cut => {
                self.count(&packet);
                self.stats.cut += 1;
                self.capture(from, to, &packet, Remark::fate("lost: the link is cut"), now);
                return self.note(from, to, Verdict::Cut, &packet, None);
            }
            Gate::Held => {
                self.stats.held += 1;
                self.capture(from, to, &packet, Remark::fate("held"), now);
                self.note(from, to, Verdict::Held, &packet, None);
                return self.links[place].held.push((trip, packet));
            }
        }
        let rules = self.rules_of(place, trip.segment);
        if !rules.needs_single_packets {
            return self.carry(place, trip, packet, now, rng);
        }
        let (mtu, clamped) = (rules.mtu_bytes, rules.mtu_bytes.filter(|_| rules.clamp_mss));
        let packet = self.fitted(packet, mtu);
        for piece in pieces(packet, clamped) {
            self.carry(place, trip, piece, now, rng);
        }
    }

    /// `packet`, as fragments where it is longer than `mtu` and may be cut: routers of IPv6 never do.
    fn fitted(&mut self, packet: Box<Packet>, mtu: Option<usize>) -> Box<Packet> {
        let Some(mtu) = mtu else { return packet };
        let fits = packet.header_len() + packet.payload_len() <= mtu;
        if fits || packet.dont_fragment || !packet.destination.is_ipv4() {
            return packet;
        }
        self.fragmented += 1;
        fragment::train(packet, mtu, FRAGMENTED_ON_THE_WAY | self.fragmented)
    }

    /// What the link at `place` does, in a segment.
    fn rules_of(&self, place: usize, segment: u32) -> &Rules {
        let link = &self.links[place];
        let segment = self.segment(segment);
        let (line, default_link) = (&self.line, &self.default_link);
        link.rules.as_deref().unwrap_or_else(|| inherited((link.from, link.to), segment, line, default_link))
    }

    /// What the link from one element to another does; where it has no rules of its own, in the first segment that both
    /// are in.
    pub(crate) fn rules_between(&self, from: u32, to: u32) -> &Rules {
        if let Some(place) = self.places.get(&Fabric::link_key(from, to))
            && let Some(own) = &self.links[*place as usize].rules
        {
            return own;
        }
        let holds = |segment: &&Segment| segment.members.contains(&from) && segment.members.contains(&to);
        let segment = self.segments.iter().find(holds).unwrap_or(self.segment(INTERNET));
        inherited((from, to), segment, &self.line, &self.default_link)
    }

    fn carry(&mut self, place: usize, trip: Trip, mut packet: Box<Packet>, now: SimTime, rng: &mut Stream) {
        self.count(&packet);
        self.links[place].segment = trip.segment;
        let passage = self.with_link(place, |link, rules| link.send(rules, &mut packet, now, rng));
        let flight = Flight { trip, packet };
        match passage {
            Some(passage) => self.settle(place, Settled { flight, passage }, now),
            None => {
                self.with_queue(place, now, |link, rules, out| link.enqueue(rules, flight, now, rng, out))
            }
        }
    }

    /// The time has come that the link at `place` has asked for.
    pub(crate) fn serve(&mut self, place: u32, now: SimTime, rng: &mut Stream) {
        self.with_queue(place as usize, now, |link, rules, out| link.serve(rules, now, rng, out));
    }

    /// Lets a link do something by its rules.
    fn with_link<R>(&mut self, place: usize, f: impl FnOnce(&mut Link, &Rules) -> R) -> R {
        let Fabric { links, segments, line, default_link, .. } = self;
        let link = &mut links[place];
        let own = link.rules.take();
        let segment = &segments[link.segment as usize];
        let rules =
            own.as_deref().unwrap_or_else(|| inherited((link.from, link.to), segment, line, default_link));
        let result = f(link, rules);
        link.rules = own;
        result
    }

    /// Lets a link do something with what waits, and carries out what it decided.
    fn with_queue(
        &mut self,
        place: usize,
        now: SimTime,
        f: impl FnOnce(&mut Link, &Rules, &mut Vec<Settled>) -> Option<SimTime>,
    ) {
        let mut settled = std::mem::take(&mut self.settled);
        let again = self.with_link(place, |link, rules| f(link, rules, &mut settled));
        self.services.extend(again.map(|at| (at, place as u32)));
        settled.drain(..).for_each(|settled| self.settle(place, settled, now));
        self.settled = settled;
    }

    fn settle(&mut self, place: usize, settled: Settled, now: SimTime) {
        let Settled { flight: Flight { trip, packet }, passage: Passage { fate, marked, corrupted } } =
            settled;
        let Link { from, to, .. } = self.links[place];
        self.stats.marked += u64::from(marked);
        self.stats.corrupted += u64::from(corrupted);
        if self.capture.is_some() {
            let is_damaged = matches!(fate, Fate::Damaged(_));
            let remark =
                Remark { fate: fate.remark(), is_damaged, is_marked: marked, is_corrupted: corrupted };
            self.capture(from, to, &packet, remark, now);
        }
        let (counter, verdict) = match fate {
            Fate::Arrives(at) => return self.depart(trip, packet, at, Verdict::Sent),
            Fate::ArrivesTwice(at, again) => {
                self.stats.duplicated += 1;
                self.depart(trip, packet.clone(), at, Verdict::Sent);
                return self.depart(trip, packet, again, Verdict::Duplicated);
            }
            Fate::Lost => (&mut self.stats.lost, Verdict::Lost),
            Fate::Down => (&mut self.stats.down, Verdict::Down),
            Fate::QueueFull => (&mut self.stats.queue_full, Verdict::QueueFull),
            Fate::QueueEarly => (&mut self.stats.queue_early, Verdict::QueueEarly),
            Fate::Damaged(_) => (&mut self.stats.damaged, Verdict::Damaged),
            Fate::TooBig(told) => {
                if let Some((mtu, at)) = told {
                    self.report_too_big(trip, &packet, mtu, at);
                }
                (&mut self.stats.too_big, Verdict::TooBig)
            }
        };
        *counter += 1;
        self.note(from, to, verdict, &packet, None);
    }

    fn depart(&mut self, trip: Trip, packet: Box<Packet>, at: SimTime, verdict: Verdict) {
        let (from, to) = (trip.from, trip.to);
        let digest = packet.digest();
        let flight = Some(Flight { trip, packet });
        let place = match self.free.pop() {
            Some(place) => {
                self.flights[place as usize] = flight;
                place
            }
            None => {
                self.flights.push(flight);
                (self.flights.len() - 1) as u32
            }
        };
        self.outcomes.push(Outcome { from, to, verdict, digest, arrival: Some((at, place)) });
    }

    /// The packet on its way that is called `place`.
    pub(crate) fn flight(&self, place: u32) -> Option<&Flight> {
        self.flights.get(place as usize)?.as_ref()
    }

    /// Writes a packet that `from` sends to `to`, where there is a capture.
    pub(crate) fn capture(&mut self, from: u32, to: u32, packet: &Packet, remark: Remark, now: SimTime) {
        let Some(mut capture) = self.capture.take() else { return };
        let of = |number| self.element_name(number);
        let owner = |ip| self.segments.iter().find_map(|segment| segment.owner(ip)).map(of);
        capture.packet((from, to), packet, remark, now, &CapturedNames { of: &of, owner: &owner });
        self.capture = Some(capture);
    }

    /// The name of a node, router or switch.
    fn element_name(&self, number: u32) -> String {
        match Element::of(number) {
            Element::Node(node) => {
                self.node_names.get(&node).cloned().unwrap_or_else(|| format!("node {node}"))
            }
            Element::Router(place) => self.routers[place as usize].name.clone(),
            Element::Switch(segment) => self.segments[segment as usize].name.clone(),
        }
    }

    /// Whether there is something that `Net` must schedule or record.
    pub(crate) fn has_news(&self) -> bool {
        !self.outcomes.is_empty() || !self.services.is_empty()
    }

    /// What the link at `place` has to do, in words.
    pub(crate) fn describe_service(&self, place: u32) -> String {
        let Some(link) = self.links.get(place as usize) else { return "service of no link".to_owned() };
        let (packets, bytes) = link.waiting();
        format!("next of {packets} packets ({bytes} bytes) from node {} to node {}", link.from, link.to)
    }

    fn count(&mut self, packet: &Packet) {
        self.stats.sent += 1;
        self.stats.sent_bytes += (packet.header_len() + packet.payload_len()) as u64;
    }

    fn note(
        &mut self,
        from: u32,
        to: u32,
        verdict: Verdict,
        packet: &Packet,
        arrival: Option<(SimTime, u32)>,
    ) {
        self.outcomes.push(Outcome { from, to, verdict, digest: packet.digest(), arrival });
    }
}

/// What a link does that has no rules of its own.
fn inherited<'a>(
    (from, to): (u32, u32),
    segment: &'a Segment,
    line: &'a Rules,
    default_link: &'a Rules,
) -> &'a Rules {
    let is_switch = |end: u32| matches!(Element::of(end), Element::Switch(_));
    if is_switch(from) || is_switch(to) {
        return line;
    }
    segment.rules.as_ref().unwrap_or(default_link)
}
