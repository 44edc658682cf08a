//! Between the nodes: which node has an address, and what each link does to a packet.
//!
//! Owns [`Fabric`]: routes, links, packets on their way, counters. Must not know sockets, nor the event
//! queue: it says when a packet arrives, and `Net` schedules that. Invariant: every packet that a stack
//! sends to another node gets exactly one fate (two arrivals where it is duplicated).

pub(crate) mod dns;
pub(crate) mod link;
pub(crate) mod topology;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

use crate::packet::{Body, Flags, Packet, Reason, Unreachable, ip_bits};
use crate::stack::table::FixedMap;
use dns::Names;
use link::{Fate, Gate, Link, LinkConfig, Settled};

/// How many packets met which fate.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Sent to another node.
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
    Down,
    QueueEarly,
    Damaged,
}

/// A packet on its way.
pub(crate) struct Flight {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) packet: Packet,
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
#[derive(Default)]
pub(crate) struct Fabric {
    routes: FixedMap<u128, u32>,
    links: Vec<Link>,
    places: FixedMap<u64, u32>,
    pub(crate) default_link: LinkConfig,
    flights: Vec<Option<Flight>>,
    free: Vec<u32>,
    pub(crate) names: Names,
    pub(crate) stats: Stats,
    /// What was decided since `Net` looked.
    pub(crate) outcomes: Vec<Outcome>,
    /// When which link must be served, since `Net` looked.
    pub(crate) services: Vec<(SimTime, u32)>,
    settled: Vec<Settled>,
}

/// How long Linux asks for a neighbour before it gives up.
const NEIGHBOUR_TIMEOUT: Duration = Duration::from_secs(3);

impl Fabric {
    /// The node that has `ip`.
    pub(crate) fn route(&self, ip: IpAddr) -> Option<u32> {
        self.routes.get(&ip_bits(ip)).copied()
    }

    /// From now on, `ip` is `node`'s; or nobody's.
    pub(crate) fn set_route(&mut self, ip: IpAddr, node: Option<u32>) {
        match node {
            Some(node) => self.routes.insert(ip_bits(ip), node),
            None => self.routes.remove(&ip_bits(ip)),
        };
    }

    /// The link from one node to another, made at its first use.
    pub(crate) fn link(&mut self, from: u32, to: u32) -> &mut Link {
        let place = self.place(from, to);
        &mut self.links[place]
    }

    fn place(&mut self, from: u32, to: u32) -> usize {
        let links = &mut self.links;
        let place = self.places.entry(u64::from(from) << 32 | u64::from(to)).or_insert_with(|| {
            links.push(Link::new(from, to));
            (links.len() - 1) as u32
        });
        *place as usize
    }

    /// All links that were used or changed, in the order in which that happened.
    pub(crate) fn links(&mut self) -> &mut [Link] {
        &mut self.links
    }

    /// A node sends `packet` to another.
    pub(crate) fn send(&mut self, from: u32, packet: Packet, now: SimTime, rng: &mut Stream) {
        match self.route(packet.destination.ip()) {
            Some(to) => self.cross(from, to, packet, now, rng),
            None => self.unroutable(from, packet, now),
        }
    }

    /// Sends `packet` over the link between two nodes.
    pub(crate) fn cross(&mut self, from: u32, to: u32, packet: Packet, now: SimTime, rng: &mut Stream) {
        let place = self.place(from, to);
        match self.links[place].gate {
            Gate::Open => {}
            Gate::Cut => {
                self.count(&packet);
                self.stats.cut += 1;
                return self.note(from, to, Verdict::Cut, &packet, None);
            }
            Gate::Held => {
                self.stats.held += 1;
                self.note(from, to, Verdict::Held, &packet, None);
                return self.links[place].held.push(packet);
            }
        }
        let rules = self.links[place].config.as_ref().unwrap_or(&self.default_link);
        if !rules.needs_single_packets() {
            return self.carry(place, packet, now, rng);
        }
        let mtu = rules.mtu_bytes.filter(|_| rules.clamp_mss);
        for piece in pieces(packet, mtu) {
            self.carry(place, piece, now, rng);
        }
    }

    fn carry(&mut self, place: usize, packet: Packet, now: SimTime, rng: &mut Stream) {
        self.count(&packet);
        self.with_link(place, |link, rules, out| link.send(rules, packet, now, rng, out));
    }

    /// The time has come that the link at `place` has asked for.
    pub(crate) fn serve(&mut self, place: u32, now: SimTime, rng: &mut Stream) {
        self.with_link(place as usize, |link, rules, out| link.serve(rules, now, rng, out));
    }

    /// Lets a link do something by its rules, and carries out what it decided.
    fn with_link(
        &mut self,
        place: usize,
        f: impl FnOnce(&mut Link, &LinkConfig, &mut Vec<Settled>) -> Option<SimTime>,
    ) {
        let link = &mut self.links[place];
        let (from, to) = (link.from, link.to);
        let own = link.config.take();
        let mut settled = std::mem::take(&mut self.settled);
        let again = f(link, own.as_ref().unwrap_or(&self.default_link), &mut settled);
        link.config = own;
        self.services.extend(again.map(|at| (at, place as u32)));
        settled.drain(..).for_each(|settled| self.settle(from, to, settled));
        self.settled = settled;
    }

    fn settle(&mut self, from: u32, to: u32, settled: Settled) {
        let Settled { packet, fate, marked, corrupted } = settled;
        self.stats.marked += u64::from(marked);
        self.stats.corrupted += u64::from(corrupted);
        let (counter, verdict) = match fate {
            Fate::Arrives(at) => return self.depart(from, to, packet, at, Verdict::Sent),
            Fate::ArrivesTwice(at, again) => {
                self.stats.duplicated += 1;
                self.depart(from, to, packet.clone(), at, Verdict::Sent);
                return self.depart(from, to, packet, again, Verdict::Duplicated);
            }
            Fate::Lost => (&mut self.stats.lost, Verdict::Lost),
            Fate::Down => (&mut self.stats.down, Verdict::Down),
            Fate::QueueFull => (&mut self.stats.queue_full, Verdict::QueueFull),
            Fate::QueueEarly => (&mut self.stats.queue_early, Verdict::QueueEarly),
            Fate::Damaged(_) => (&mut self.stats.damaged, Verdict::Damaged),
            Fate::TooBig => (&mut self.stats.too_big, Verdict::TooBig),
        };
        *counter += 1;
        self.note(from, to, verdict, &packet, None);
    }

    fn depart(&mut self, from: u32, to: u32, packet: Packet, at: SimTime, verdict: Verdict) {
        let digest = packet.digest();
        let flight = Some(Flight { from, to, packet });
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

    /// Nobody answers for the address: after a while the sender's own kernel gives up.
    fn unroutable(&mut self, from: u32, packet: Packet, now: SimTime) {
        self.stats.unroutable += 1;
        self.note(from, from, Verdict::Unroutable, &packet, None);
        let tcp = matches!(packet.body, Body::Tcp(_));
        let icmp = Unreachable { reason: Reason::Host, tcp, original: packet.destination };
        let report = Packet {
            source: packet.source,
            destination: packet.source,
            ecn: 0,
            dont_fragment: false,
            body: Body::Unreachable(icmp),
        };
        self.depart(from, from, report, now + NEIGHBOUR_TIMEOUT, Verdict::Unroutable);
    }

    /// The packet on its way that was called `place` arrives.
    pub(crate) fn arrive(&mut self, place: u32) -> Option<Flight> {
        let flight = self.flights.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(flight)
    }

    /// The packet on its way that is called `place`.
    pub(crate) fn flight(&self, place: u32) -> Option<&Flight> {
        self.flights.get(place as usize)?.as_ref()
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

/// Takes a train of TCP segments apart, as a network card does, and lowers the segment size of a
/// handshake to what the link carries, as routers do.
pub(crate) fn pieces(mut packet: Packet, mtu: Option<usize>) -> Vec<Packet> {
    let headers = packet.header_len();
    let Body::Tcp(segment) = &mut packet.body else { return vec![packet] };
    let most = mtu.map_or(u16::MAX, |mtu| mtu.saturating_sub(headers).clamp(88, u16::MAX.into()) as u16);
    if segment.flags.has(Flags::SYN) {
        segment.mss = segment.mss.min(most);
        return vec![packet];
    }
    let size = usize::from(segment.mss.min(most)).max(1);
    if segment.payload.len() <= size {
        return vec![packet];
    }
    let whole = std::mem::replace(&mut segment.payload, Bytes::new());
    let flags = segment.flags;
    let mut result = Vec::with_capacity(whole.len().div_ceil(size));
    for start in (0..whole.len()).step_by(size) {
        let end = (start + size).min(whole.len());
        let mut piece = packet.clone();
        if let Body::Tcp(part) = &mut piece.body {
            part.seq += start as u64;
            part.payload = whole.slice(start..end);
            part.flags = if end == whole.len() { flags } else { Flags(flags.0 & !Flags::FIN.0) };
        }
        result.push(piece);
    }
    result
}
