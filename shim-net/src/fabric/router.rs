//! Routers: between an uplink and inner segments, perhaps with a NAT and a firewall.
//!
//! Owns [`Router`] and what it does with a packet. Must not know links, nor who is plugged in where. Invariant: what
//! comes from an inner segment leaves with an address that the segment it leaves into knows.

use std::net::IpAddr;

use shim_runtime::clock::SimTime;
use shim_runtime::rng::Stream;

use super::firewall::{Action, Firewall};
use super::nat::{Nat, Outbound};
use crate::packet::{Body, Packet, Reason, Unreachable};
use crate::stack::routes::Subnet;

/// Where a router is plugged in.
pub(crate) struct Port {
    pub(crate) segment: u32,
    pub(crate) addresses: Vec<IpAddr>,
    /// The networks behind it; none at the uplink.
    pub(crate) subnets: Vec<Subnet>,
}

/// What becomes of a packet at a router.
#[derive(Debug)]
pub(crate) enum Turn {
    /// It goes on into this segment.
    Onward(u32, Box<Packet>),
    /// This goes back into the segment that it came from.
    Back(Box<Packet>),
    /// It is filtered.
    Dropped(Box<Packet>),
}

/// A router.
pub(crate) struct Router {
    pub(crate) name: String,
    pub(crate) uplink: Port,
    pub(crate) inner: Vec<Port>,
    pub(crate) nat: Option<Nat>,
    pub(crate) firewall: Option<Firewall>,
}

impl Router {
    /// All its addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let ports = std::iter::once(&self.uplink).chain(&self.inner);
        ports.flat_map(|port| &port.addresses).copied()
    }

    /// Whether packets to `ip` are to be given to it by those at its uplink: it has the network, and does not hide it.
    pub(crate) fn announces(&self, ip: IpAddr) -> bool {
        !self.translates(ip) && self.inner_segment(ip).is_some()
    }

    fn translates(&self, ip: IpAddr) -> bool {
        self.nat.is_some() && ip.is_ipv4()
    }

    /// The inner segment with `ip`'s network.
    fn inner_segment(&self, ip: IpAddr) -> Option<u32> {
        let has = |port: &&Port| port.subnets.iter().any(|subnet| subnet.contains(ip));
        self.inner.iter().find(has).map(|port| port.segment)
    }

    /// Forgets what it knows of flows, as after a restart.
    pub(crate) fn restart(&mut self) {
        self.nat.iter_mut().for_each(Nat::clear);
        self.firewall.iter_mut().for_each(Firewall::clear);
    }

    /// A packet arrives from `segment`.
    pub(crate) fn forward(
        &mut self,
        segment: u32,
        packet: Box<Packet>,
        now: SimTime,
        rng: &mut Stream,
    ) -> Turn {
        if segment == self.uplink.segment {
            self.inbound(packet, now)
        } else {
            self.outbound(segment, packet, now, rng)
        }
    }

    fn inbound(&mut self, mut packet: Box<Packet>, now: SimTime) -> Turn {
        let to = packet.destination.ip();
        if self.uplink.addresses.contains(&to) {
            let is_let_in =
                self.translates(to) && self.nat.as_mut().is_some_and(|nat| nat.inbound(&mut packet, now));
            if !is_let_in {
                // A NAT says nothing of what it does not let in: that would tell of what there is.
                return if self.nat.is_some() { Turn::Dropped(packet) } else { self.refuse(packet) };
            }
        } else if self.translates(to) {
            return Turn::Dropped(packet);
        }
        if self.addresses().any(|own| own == packet.destination.ip()) {
            return self.refuse(packet);
        }
        let Some(inner) = self.inner_segment(packet.destination.ip()) else { return Turn::Dropped(packet) };
        match self.judge(&packet, false, now) {
            Action::Accept => Turn::Onward(inner, packet),
            Action::Drop => Turn::Dropped(packet),
            Action::Reject => self.refuse(packet),
        }
    }

    fn outbound(&mut self, segment: u32, mut packet: Box<Packet>, now: SimTime, rng: &mut Stream) -> Turn {
        let to = packet.destination.ip();
        let turns_round = self.uplink.addresses.contains(&to) && self.translates(to);
        if !turns_round && self.addresses().any(|own| own == to) {
            return self.refuse(packet);
        }
        if let Some(inner) = self.inner_segment(to).filter(|inner| *inner != segment) {
            return Turn::Onward(inner, packet);
        }
        match self.judge(&packet, true, now) {
            Action::Accept => {}
            Action::Drop => return Turn::Dropped(packet),
            Action::Reject => return self.refuse(packet),
        }
        if let Some(nat) = self.nat.as_mut().filter(|_| to.is_ipv4()) {
            if turns_round && !nat.config.hairpinning {
                return Turn::Dropped(packet);
            }
            match nat.outbound(&mut packet, now, rng) {
                Outbound::Passes => {}
                Outbound::Drop => return Turn::Dropped(packet),
                Outbound::Reset => return packet.reset().map_or(Turn::Dropped(packet), Turn::Back),
            }
        }
        if turns_round { self.inbound(packet, now) } else { Turn::Onward(self.uplink.segment, packet) }
    }

    fn judge(&mut self, packet: &Packet, is_outbound: bool, now: SimTime) -> Action {
        self.firewall.as_mut().map_or(Action::Accept, |firewall| firewall.judge(packet, is_outbound, now))
    }

    fn refuse(&self, packet: Box<Packet>) -> Turn {
        refusal(&packet).map_or(Turn::Dropped(packet), Turn::Back)
    }
}

/// What a refused packet is answered with: a reset, or an error; an error is never answered.
pub(crate) fn refusal(packet: &Packet) -> Option<Box<Packet>> {
    match &packet.body {
        Body::Tcp(_) => packet.reset(),
        Body::Udp(_) => {
            let icmp = Unreachable { reason: Reason::Port, tcp: false, original: packet.destination };
            Some(packet.answer(Body::Unreachable(icmp)))
        }
        _ => None,
    }
}
