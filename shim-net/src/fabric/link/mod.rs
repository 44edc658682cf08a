//! One direction between two nodes: what becomes of the packets that are sent over it.
//!
//! Owns what a link remembers, and the order in which its rules are applied. Must not know nodes or the event queue: it
//! is told the time, and says when it wants to be called again. Invariants: every packet gets one fate; packets keep
//! their order unless the rules say otherwise.
//!
//! | file | what it knows |
//! |---|---|
//! | `config` | the rules, as data |
//! | `latency` | distributions |
//! | `loss` | bursts, patterns, outages |
//! | `rate` | framing, schedules, the transmitter |
//! | `queue`, `red`, `codel`, `fq_codel` | what waits |
//! | `presets` | networks as they were measured |

mod codel;
mod config;
mod fq_codel;
mod latency;
mod loss;
pub mod presets;
mod queue;
mod rate;
mod red;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

pub use codel::CoDel;
pub use config::LinkConfig;
pub(crate) use config::Rules;
pub use fq_codel::FqCoDel;
pub use latency::Latency;
pub use loss::{BurstLoss, LossPattern, Outages};
pub use presets::Preset;
pub use queue::{Above, Queue};
pub use rate::{Framing, Schedule, Step};
pub use red::Red;

use super::Flight;
use super::path::Trip;
use crate::packet::{Body, Packet};
use crate::stack::table::Flow;
use latency::Drawn;
use loss::{Losses, Picks};
use queue::{Backlog, Drop, Limit, Waiting};
use rate::{Transmitter, next_slot};

/// Whether packets pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Gate {
    #[default]
    Open,
    /// Packets are lost.
    Cut,
    /// Packets are kept.
    Held,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Arrives(SimTime),
    ArrivesTwice(SimTime, SimTime),
    Lost,
    /// The link is down.
    Down,
    QueueFull,
    /// The queue's discipline dropped it.
    QueueEarly,
    /// Its checksum is wrong when it arrives.
    Damaged(SimTime),
    /// What would not have been, and when the sender is told of it, where it is.
    TooBig(Option<(u16, SimTime)>),
}

impl Fate {
    /// What to say of it in a capture.
    pub(crate) fn remark(self) -> Option<&'static str> {
        match self {
            Fate::Arrives(_) => None,
            Fate::ArrivesTwice(..) => Some("arrives twice"),
            Fate::Lost => Some("lost"),
            Fate::Down => Some("lost: the link is down"),
            Fate::QueueFull => Some("dropped: the queue is full"),
            Fate::QueueEarly => Some("dropped early, by the queue's discipline"),
            Fate::Damaged(_) => Some("damaged: its checksum is wrong"),
            Fate::TooBig(_) => Some("dropped: too big for the link"),
        }
    }
}

/// A packet's fate, and what was done to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Passage {
    pub(crate) fate: Fate,
    /// Whether the queue has marked it.
    pub(crate) marked: bool,
    /// Whether a bit of its data was changed.
    pub(crate) corrupted: bool,
}

impl From<Fate> for Passage {
    fn from(fate: Fate) -> Passage {
        Passage { fate, marked: false, corrupted: false }
    }
}

/// A packet that has waited, and what became of it.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) flight: Flight,
    pub(crate) passage: Passage,
}

/// ECN: the ends understand marks; a queue has marked it (RFC 3168).
const ECN_ECT: u8 = 0b11;
const ECN_CE: u8 = 0b11;

/// One direction between two nodes.
pub(crate) struct Link {
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Its own rules; else the default's.
    pub(crate) rules: Option<Box<Rules>>,
    pub(crate) gate: Gate,
    pub(crate) held: Vec<(Trip, Box<Packet>)>,
    /// The segment in which it was used last, whose rules it has where it has none.
    pub(crate) segment: u32,
    /// When the last packet arrives: the next one does not overtake it.
    last_arrival: SimTime,
    /// How many packets were sent over it.
    sent: u64,
    losses: Losses,
    drawn: Drawn,
    reordered: Picks,
    since_reordered: u32,
    backlog: Backlog<Flight>,
    transmitter: Transmitter,
    /// When it has asked to be called again.
    due: Option<SimTime>,
}

impl Link {
    pub(crate) fn new(from: u32, to: u32) -> Link {
        Link {
            from,
            to,
            rules: None,
            gate: Gate::Open,
            held: Vec::new(),
            segment: 0,
            last_arrival: SimTime::ZERO,
            sent: 0,
            losses: Losses::default(),
            drawn: Drawn::default(),
            reordered: Picks::default(),
            since_reordered: 0,
            backlog: Backlog::new(),
            transmitter: Transmitter::new(),
            due: None,
        }
    }

    /// Sends `packet`; `None` where it has to wait, and must be given to [`Link::enqueue`].
    pub(crate) fn send(
        &mut self,
        rules: &Rules,
        packet: &mut Packet,
        now: SimTime,
        rng: &mut Stream,
    ) -> Option<Passage> {
        self.sent += 1;
        if rules.only_delays && self.backlog.is_empty() {
            self.since_reordered += 1;
            let latency = self.drawn.draw(&rules.latency, rules.latency_correlation, rng);
            return Some(Fate::Arrives(self.in_order(now + latency)).into());
        }
        let bytes = packet.header_len() + packet.payload_len();
        if let Some(mtu) = rules.mtu_bytes.filter(|mtu| bytes > *mtu)
            && (packet.dont_fragment || !packet.destination.is_ipv4())
        {
            // Half of the way to the router that tells, and half back.
            let told = (mtu.min(u16::MAX.into()) as u16, now + rules.latency_at(now).quantile(0.5));
            return Some(Fate::TooBig(rules.icmp_too_big.then_some(told)).into());
        }
        if rules.outages.at(now) {
            return Some(Fate::Down.into());
        }
        if self.loses(rules, now, rng) {
            return Some(Fate::Lost.into());
        }
        let waits = rules.is_limited() || !self.backlog.is_empty();
        (!waits).then(|| self.depart(rules, packet, false, (now, now), rng))
    }

    /// Lets a packet wait for the rate. The fates that are known now go to `out`; when the time returned comes,
    /// [`Link::serve`] must be called.
    pub(crate) fn enqueue(
        &mut self,
        rules: &Rules,
        flight: Flight,
        now: SimTime,
        rng: &mut Stream,
        out: &mut Vec<Settled>,
    ) -> Option<SimTime> {
        self.transmit(rules, now, rng, out);
        let packet = &flight.packet;
        let bytes = packet.header_len() + packet.payload_len();
        let waiting = Waiting {
            wire_bytes: rules.framing.wire_bytes(bytes as u64),
            since: now,
            flow: Flow::new(packet.source, packet.destination).spread(),
            ecn_capable: packet.ecn & ECN_ECT != 0,
            marked: false,
            item: flight,
        };
        let limit = if self.backlog.is_empty() && self.transmitter.busy_until <= now {
            // Nobody is before it: no limit keeps it from being sent at once.
            Limit { bytes: u64::MAX, packets: usize::MAX }
        } else {
            let packets = rules.queue_limit_packets.map_or(usize::MAX, |most| most as usize);
            Limit { bytes: rules.queue_limit_bytes, packets }
        };
        let scheduled = rules.schedule.step(now).and_then(|step| step.bandwidth_bps);
        let rate = scheduled.or(rules.bandwidth_bps).unwrap_or(u64::MAX);
        let mut dropped = Vec::new();
        self.backlog.push(&rules.queue, limit, rate, waiting, rng, &mut dropped);
        settle_dropped(dropped, out);
        self.transmit(rules, now, rng, out);
        self.call_again()
    }

    /// The time has come that a call asked for: what waits is sent.
    pub(crate) fn serve(
        &mut self,
        rules: &Rules,
        now: SimTime,
        rng: &mut Stream,
        out: &mut Vec<Settled>,
    ) -> Option<SimTime> {
        self.due = None;
        self.transmit(rules, now, rng, out);
        self.call_again()
    }

    /// How many packets and bytes wait for the rate.
    pub(crate) fn waiting(&self) -> (usize, u64) {
        (self.backlog.len(), self.backlog.bytes())
    }

    /// When to be called, if not asked already.
    fn call_again(&mut self) -> Option<SimTime> {
        let at = self.transmitter.busy_until;
        if self.backlog.is_empty() || self.due.is_some_and(|due| due <= at) {
            return None;
        }
        self.due = Some(at);
        self.due
    }

    fn loses(&mut self, rules: &Rules, now: SimTime, rng: &mut Stream) -> bool {
        let scheduled = rules.schedule.step(now).and_then(|step| step.loss);
        let mut lost = rng.chance(scheduled.unwrap_or(rules.loss));
        if let Some(model) = &rules.loss_bursts {
            lost |= self.losses.pick(model, rng);
        }
        lost | rules.loss_pattern.picks(self.sent)
    }

    /// Sends what waits, as long as nothing is being sent.
    fn transmit(&mut self, rules: &Rules, now: SimTime, rng: &mut Stream, out: &mut Vec<Settled>) {
        while self.transmitter.busy_until <= now && !self.backlog.is_empty() {
            let mut dropped = Vec::new();
            let next = self.backlog.pop(&rules.queue, now, &mut dropped);
            settle_dropped(dropped, out);
            let Some(Waiting { item: mut flight, wire_bytes, marked, .. }) = next else { return };
            let rate = rules.bandwidth_bps.or((!rules.is_limited()).then_some(u64::MAX));
            let passage = match self.transmitter.send(wire_bytes, rate, &rules.schedule, now) {
                Some(leaves) => self.depart(rules, &mut flight.packet, marked, (now, leaves), rng),
                None => Passage { marked, ..Fate::Down.into() },
            };
            out.push(Settled { flight, passage });
        }
    }

    /// The packet leaves at `leaves`: what happens to it on its way.
    fn depart(
        &mut self,
        rules: &Rules,
        packet: &mut Packet,
        marked: bool,
        (now, leaves): (SimTime, SimTime),
        rng: &mut Stream,
    ) -> Passage {
        if marked {
            packet.ecn = ECN_CE;
        }
        let latency = rules.latency_at(now);
        let correlation = rules.latency_correlation;
        let sent = next_slot(leaves, rules.slot);
        let mut arrives = sent + self.drawn.draw(latency, correlation, rng);
        let mut again = None;
        if self.leaves_order(rules, rng) {
            arrives += Duration::from_nanos(rng.between(0, rules.reorder_by.as_nanos() as u64));
        } else {
            if !rules.overtaking {
                arrives = self.in_order(arrives);
            }
            if rng.chance(rules.duplicate) {
                again = Some(arrives + self.drawn.draw(latency, correlation, rng));
            }
        }
        let chance = match &packet.body {
            Body::Tcp(_) => rules.corrupt_segments,
            _ => rules.corrupt,
        };
        let corrupted = rng.chance(chance) && corrupt(packet, rng);
        let fate = match again {
            _ if rng.chance(rules.damage) => Fate::Damaged(arrives),
            Some(again) => Fate::ArrivesTwice(arrives, again),
            None => Fate::Arrives(arrives),
        };
        Passage { fate, marked, corrupted }
    }

    /// When a packet arrives that would at `at`: not before the one ahead of it.
    fn in_order(&mut self, at: SimTime) -> SimTime {
        self.last_arrival = at.max(self.last_arrival);
        self.last_arrival
    }

    fn leaves_order(&mut self, rules: &Rules, rng: &mut Stream) -> bool {
        self.since_reordered += 1;
        if self.since_reordered < rules.reorder_gap {
            return false;
        }
        let picked = self.reordered.pick(rules.reorder, rules.reorder_correlation, rng);
        if picked {
            self.since_reordered = 0;
        }
        picked
    }
}

fn settle_dropped(dropped: Vec<(Waiting<Flight>, Drop)>, out: &mut Vec<Settled>) {
    for (waiting, why) in dropped {
        let fate = match why {
            Drop::Full => Fate::QueueFull,
            Drop::Early => Fate::QueueEarly,
        };
        out.push(Settled { flight: waiting.item, passage: fate.into() });
    }
}

/// Changes one bit of the packet's data; false where there is none.
fn corrupt(packet: &mut Packet, rng: &mut Stream) -> bool {
    let data: &mut Bytes = match &mut packet.body {
        Body::Udp(data) => data,
        Body::Tcp(segment) => &mut segment.payload,
        Body::Unreachable(_) | Body::Fragment(_) => return false,
    };
    if data.is_empty() {
        return false;
    }
    let mut changed = BytesMut::from(&data[..]);
    let place = rng.below(changed.len() as u32) as usize;
    changed[place] ^= 1 << rng.below(8);
    *data = changed.freeze();
    true
}
